//! One request to a webhook: a POST over HTTP/1.1 (RFC 9112), with or without TLS.
//!
//! A connection carries one request. The body of an answer is read only up to its first line, and
//! only after a failure. No redirect is followed: a redirect must not receive the token. Host names
//! are looked up as those of servers are. Proxies of the environment are not used.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tracing::debug;

use super::{ResolveError, resolve};
use crate::model::HttpUrl;

/// The maximum number of bytes of an answer's head, and of its body, that are read.
const MAX_ANSWER: usize = 64 * 1024;
/// The maximum number of header lines of an answer.
const MAX_HEADERS: usize = 100;
/// The maximum number of characters of a body's first line that are kept.
const MAX_LINE: usize = 200;
/// How long the first line of a body may be waited for.
const BODY_LIMIT: Duration = Duration::from_secs(2);

/// Why a request received no answer. No message holds a path, a header or a body, because these can
/// be secret.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The host's name gave no address.
    #[error("failed to {0}")]
    Resolve(#[from] ResolveError),
    /// No address of the host accepts a connection.
    #[error("failed to connect to {address}: {source}")]
    Connect {
        /// The address that was tried last.
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// The server has no trusted certificate, or does not use TLS.
    #[error("TLS with {host} failed: {source}{remedy}")]
    Tls {
        host: String,
        #[source]
        source: io::Error,
        /// What the operator can do, in parentheses; empty if nothing is known.
        remedy: &'static str,
    },
    /// The name or value of a header is invalid.
    #[error("the request can't be made: {0}")]
    Request(#[from] hyper::http::Error),
    /// The connection broke.
    #[error("the connection broke: {}", cause(.0))]
    Broken(#[source] hyper::Error),
    /// The answer is not HTTP.
    #[error("the answer is not HTTP/1.1: {0}")]
    Malformed(#[source] hyper::Error),
}

/// The deepest source of an error: the system's own message, if there is one.
fn cause(error: &hyper::Error) -> &dyn std::error::Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

impl From<hyper::Error> for HttpError {
    fn from(error: hyper::Error) -> Self {
        if error.is_parse() {
            Self::Malformed(error)
        } else {
            Self::Broken(error)
        }
    }
}

/// Why certificates can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error("it is not PEM: {0}")]
    Pem(pem::Error),
    #[error("it holds no certificate (-----BEGIN CERTIFICATE-----)")]
    Empty,
    #[error("it holds a certificate that is no certificate authority: {0}")]
    Certificate(rustls::Error),
}

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    /// The first line of the body that is not blank, without control characters, shortened. Empty
    /// after a success, of which only the head is read.
    pub line: String,
}

#[derive(Clone)]
pub struct HttpClient {
    tls: TlsConnector,
    /// Whether the operator's certificate authorities are trusted instead of Mozilla's.
    has_own_ca: bool,
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient")
            .field("has_own_ca", &self.has_own_ca)
            .finish_non_exhaustive()
    }
}

impl HttpClient {
    /// A client that trusts only the certificate authorities in `ca`, which is PEM; without `ca`,
    /// Mozilla's.
    pub fn new(ca: Option<&[u8]>) -> Result<Self, CaError> {
        let mut roots = RootCertStore::empty();
        match ca {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(text) => {
                for certificate in CertificateDer::pem_slice_iter(text) {
                    roots
                        .add(certificate.map_err(CaError::Pem)?)
                        .map_err(CaError::Certificate)?;
                }
                if roots.is_empty() {
                    return Err(CaError::Empty);
                }
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(CaError::Certificate)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            has_own_ca: ca.is_some(),
        })
    }

    /// Sends a body and waits for the answer without a time limit: the caller sets one.
    ///
    /// `headers` are names and values, and `token` is a bearer token (RFC 6750 §2.1). `connect`
    /// limits the time of all connection attempts together.
    pub async fn post(
        &self,
        url: &HttpUrl,
        headers: &[(&str, &str)],
        token: Option<&str>,
        body: Vec<u8>,
        connect: Duration,
    ) -> Result<Answer, HttpError> {
        let request = request(url, headers, token, body)?;
        let stream = self.connect(url, connect).await?;
        if !url.is_https() {
            return exchange(Box::new(stream), request).await;
        }
        let host = url.host().trim_end_matches('.');
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| self.tls_error(host, io::Error::other(error)))?;
        let stream = self
            .tls
            .connect(name, stream)
            .await
            .map_err(|error| self.tls_error(host, error))?;
        exchange(Box::new(stream), request).await
    }

    fn tls_error(&self, host: &str, source: io::Error) -> HttpError {
        let is_unknown_issuer = matches!(
            source
                .get_ref()
                .and_then(|error| error.downcast_ref::<rustls::Error>()),
            Some(rustls::Error::InvalidCertificate(
                rustls::CertificateError::UnknownIssuer
            ))
        );
        let remedy = match (is_unknown_issuer, self.has_own_ca) {
            (true, false) => " (the certificate of a CA of your own goes into ca_file)",
            (true, true) => " (no certificate in ca_file has signed it)",
            (false, _) => "",
        };
        HttpError::Tls {
            host: host.to_owned(),
            source,
            remedy,
        }
    }

    /// Connects to the first address that accepts; each address has an equal share of the time.
    async fn connect(&self, url: &HttpUrl, limit: Duration) -> Result<TcpStream, HttpError> {
        let authority = url.authority();
        let addresses = resolve(&authority).await?;
        let share = limit / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let mut failed = HttpError::Resolve(ResolveError::Empty { name: authority });
        for address in addresses {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    debug!(peer = %address, "connected for an HTTP request");
                    return Ok(stream);
                }
                Ok(Err(source)) => {
                    debug!(peer = %address, error = %source, "the address of an HTTP request refused the connection");
                    failed = HttpError::Connect { address, source };
                }
                Err(_) => {
                    debug!(peer = %address, limit = ?share, "the address of an HTTP request did not answer in time");
                    failed = HttpError::Connect {
                        address,
                        source: io::ErrorKind::TimedOut.into(),
                    }
                }
            }
        }
        Err(failed)
    }
}

fn request(
    url: &HttpUrl,
    headers: &[(&str, &str)],
    token: Option<&str>,
    body: Vec<u8>,
) -> Result<Request<Full<Bytes>>, HttpError> {
    let mut request = Request::post(url.target())
        .header(header::HOST, url.host_field())
        .header(
            header::USER_AGENT,
            concat!("hereabouts/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close");
    for &(name, value) in headers {
        request = request.header(name, value);
    }
    if let Some(token) = token {
        let mut value =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(hyper::http::Error::from)?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    Ok(request.body(Full::from(body))?)
}

/// A connection with or without TLS: behind one type, so that hyper is in the binary only once.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Sends a request and reads its answer.
async fn exchange(
    stream: Box<dyn Stream>,
    request: Request<Full<Bytes>>,
) -> Result<Answer, HttpError> {
    let (mut sender, connection) = http1::Builder::new()
        // Header names are the same in any case, but not every small program knows that.
        .title_case_headers(true)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_ANSWER)
        .handshake(TokioIo::new(stream))
        .await?;
    let answer = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let line = if head.status.is_success() {
            String::new()
        } else {
            line_of(body).await
        };
        Ok(Answer {
            status: head.status,
            line,
        })
    };
    tokio::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // The connection may end before its last data is read. The answer contains the reason.
        _ = connection => answer.await,
    }
}

/// Reads a body until its first line is complete, or until its end, and returns that line.
async fn line_of(mut body: Incoming) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while bytes.len() < MAX_ANSWER && !bytes.trim_ascii_start().contains(&b'\n') {
            let Some(Ok(frame)) = body.frame().await else {
                break;
            };
            bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
    };
    let _ = timeout(BODY_LIMIT, read).await;
    first_line(&String::from_utf8_lossy(&bytes))
}

/// The first line that is not blank, fit for a log.
fn first_line(text: &str) -> String {
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    line.chars()
        .filter(|c| !c.is_control())
        .take(MAX_LINE)
        .collect()
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
