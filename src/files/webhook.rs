//! A webhook: an HTTP server that is notified of a replaced file.
//!
//! In goes a replacement; out comes one POST, and an error unless the server answers 2xx. Logs and errors must never
//! contain a token, a header, or more of the URL than scheme, host and port.

use std::fmt;
use std::time::Duration;

use tokio::time::timeout;
use zeroize::Zeroizing;

use super::replacement::Replacement;
use crate::model::HttpUrl;
use crate::net::{HttpClient, HttpError};

/// The share of the limit in which the connection must be established: one half.
const CONNECT_SHARE: u32 = 2;

#[derive(Clone)]
pub struct Webhook {
    pub url: HttpUrl,
    /// Further headers, by name.
    pub headers: Vec<(String, String)>,
    /// The bearer token.
    pub token: Option<Zeroizing<String>>,
    /// The client, with the certificate authorities that it trusts.
    pub client: HttpClient,
    /// How long the whole request may take.
    pub limit: Duration,
}

impl fmt::Debug for Webhook {
    /// Omits the token and the headers, as neither belongs in a log.
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

/// Why a webhook failed. No message contains more of the URL than scheme, host and port.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("{origin} got no answer: {source}")]
    Http {
        /// Scheme, host and port.
        origin: String,
        #[source]
        source: HttpError,
    },
    #[error("{origin} did not answer within {} s", limit.as_secs_f32())]
    TimedOut { origin: String, limit: Duration },
    /// The status was not 2xx.
    #[error("{origin} answered {status}{}", reason(*status, line))]
    Refused {
        origin: String,
        status: u16,
        /// The first line of the body.
        line: String,
    },
}

/// The text behind a status: the remedy for a redirect, else the first line of the body.
fn reason(status: u16, line: &str) -> String {
    match (status, line) {
        (300..400, _) => {
            ": redirects are not followed, so configure the URL that it leads to".to_owned()
        }
        (_, "") => String::new(),
        (_, line) => format!(": {line}"),
    }
}

impl Webhook {
    /// Posts the replacement as JSON.
    pub async fn call(&self, replacement: &Replacement<'_>) -> Result<(), WebhookError> {
        // The fields are names, numbers, and a path that was text in the configuration, so this can't fail.
        let body = serde_json::to_vec(replacement).unwrap_or_default();
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(
            self.headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let token = self.token.as_ref().map(|token| token.as_str());
        let origin = || self.url.origin();
        tracing::debug!(file = replacement.name, webhook = %origin(), "calling the webhook");
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
            tracing::info!(file = replacement.name, webhook = %origin(), status, "the webhook accepted the notification");
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
    fn debug_output_of_a_webhook_contains_no_secret() {
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
