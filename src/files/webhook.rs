//! A program that is told by HTTP that a file was replaced.

use std::fmt;
use std::time::Duration;

use tokio::time::timeout;
use zeroize::Zeroizing;

use super::after::Taken;
use crate::model::HttpUrl;
use crate::net::{HttpClient, HttpError};

/// The share of the limit in which a connection must stand.
const CONNECT_SHARE: u32 = 2;

/// A URL that gets a POST.
#[derive(Clone)]
pub struct Webhook {
    /// The URL.
    pub url: HttpUrl,
    /// Further headers, by name.
    pub headers: Vec<(String, String)>,
    /// The bearer token.
    pub token: Option<Zeroizing<String>>,
    /// Who sends, with what it trusts.
    pub client: HttpClient,
    /// How long the whole request may take.
    pub limit: Duration,
}

impl fmt::Debug for Webhook {
    /// Without token and headers: neither is for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url,
            headers: _,
            token,
            client,
            limit,
        } = self;
        let token = token.as_ref().map(|_| "…");
        f.debug_struct("Webhook")
            .field("url", url)
            .field("token", &token)
            .field("client", client)
            .field("limit", limit)
            .finish_non_exhaustive()
    }
}

/// Why a webhook failed. No message holds more of the URL than scheme, host and port.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// It got no answer.
    #[error("{origin} got no answer: {source}")]
    Http {
        /// Scheme, host and port.
        origin: String,
        /// Why.
        #[source]
        source: HttpError,
    },
    /// It took too long.
    #[error("{origin} did not answer within {} s", limit.as_secs_f32())]
    TimedOut {
        /// Scheme, host and port.
        origin: String,
        /// The limit.
        limit: Duration,
    },
    /// It answered something else than 2xx.
    #[error("{origin} answered {status}{}", said(*status, line))]
    Refused {
        /// Scheme, host and port.
        origin: String,
        /// The status code.
        status: u16,
        /// The first line of the answer's body.
        line: String,
    },
}

/// What an answer said, behind its status.
fn said(status: u16, line: &str) -> String {
    match (status, line) {
        (300..400, _) => {
            ": redirects are not followed, so name the URL that it leads to".to_owned()
        }
        (_, "") => String::new(),
        (_, line) => format!(": {line}"),
    }
}

impl Webhook {
    /// Tells what was taken.
    pub async fn call(&self, taken: &Taken<'_>) -> Result<(), WebhookError> {
        // Names and numbers, and a path that came as text from the configuration: this can't fail.
        let body = serde_json::to_vec(taken).unwrap_or_default();
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(
            self.headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let token = self.token.as_ref().map(|token| token.as_str());
        let origin = || self.url.origin();
        let post = self
            .client
            .post(&self.url, &headers, token, body, self.limit / CONNECT_SHARE);
        let answer = timeout(self.limit, post)
            .await
            .map_err(|_| WebhookError::TimedOut {
                origin: origin(),
                limit: self.limit,
            })?
            .map_err(|source| WebhookError::Http {
                origin: origin(),
                source,
            })?;
        let status = answer.status.as_u16();
        if answer.status.is_success() {
            tracing::info!(file = taken.name, webhook = %origin(), status, "the webhook took it");
            Ok(())
        } else {
            Err(WebhookError::Refused {
                origin: origin(),
                status,
                line: answer.line,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_form_of_a_webhook_shows_no_secret() {
        let webhook = Webhook {
            url: "https://hub/s3cret?s3cret".parse().unwrap(),
            headers: vec![("X-Key".into(), "s3cret".into())],
            token: Some(Zeroizing::new("s3cret".into())),
            client: HttpClient::new(None).unwrap(),
            limit: Duration::from_secs(1),
        };
        let text = format!("{webhook:?}");
        assert!(
            !text.contains("s3cret") && text.contains("https://hub:443"),
            "{text}"
        );
    }
}
