//! Webhooks against a real HTTP server, on loopback.
//!
//! Needs `python3` and `openssl`. See `tests/privileged/webhook/server.py`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use hereabouts::files::after::{After, AfterError};
use hereabouts::files::replacement::Replacement;
use hereabouts::files::webhook::{Webhook, WebhookError};
use hereabouts::model::{NodeName, Timestamp};
use hereabouts::net::HttpClient;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::needs;

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/privileged/webhook/server.py"
);
const SOON: Duration = Duration::from_secs(60);

struct Server {
    child: Child,
    port: u16,
    requests: mpsc::Receiver<Value>,
}

impl Server {
    fn start(certificate: Option<(&Path, &Path)>) -> Self {
        needs::programs(&[("python3", "python3")]);
        let mut command = Command::new("python3");
        command.arg(SCRIPT).stdout(Stdio::piped());
        if let Some((certificate, key)) = certificate {
            command.arg(certificate).arg(key);
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines
            .next()
            .expect("the server began")
            .unwrap()
            .parse()
            .unwrap();
        let (sender, requests) = mpsc::channel();
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| drop(sender.send(serde_json::from_str(&line).unwrap())));
        });
        Self {
            child,
            port,
            requests,
        }
    }

    fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://127.0.0.1:{}{path}", self.port)
    }

    fn request(&self) -> Value {
        self.requests.recv_timeout(SOON).expect("a request came")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn webhook(url: &str, ca: Option<&[u8]>) -> Webhook {
    let (url, client) = (url.parse().unwrap(), HttpClient::new(ca).unwrap());
    Webhook {
        url,
        headers: Vec::new(),
        token: None,
        client,
        limit: SOON,
    }
}

async fn call(webhook: Webhook) -> Result<(), WebhookError> {
    let (node, path): (NodeName, _) = (
        "kiosk-1".parse().unwrap(),
        Path::new("/var/lib/kiosk/menu.json"),
    );
    let time = Timestamp(1_795_200_000_123);
    let taken = Replacement {
        name: "menu",
        generation: 7,
        size: 1234,
        digest: [0xab; 32],
        node: &node,
        path,
        time,
    };
    After::Webhook(webhook)
        .run(&taken)
        .await
        .map_err(|error| match error {
            AfterError::Webhook(error) => error,
            other => panic!("{other}"),
        })
}

#[tokio::test]
async fn a_webhook_gets_what_was_taken_as_json() {
    let server = Server::start(None);
    let webhook = Webhook {
        headers: vec![("X-Shelf".into(), "left one".into())],
        token: Some(Zeroizing::new("s3cret".into())),
        ..webhook(&server.url("http", "/ok?shelf=1"), None)
    };
    call(webhook).await.unwrap();
    let request = server.request();
    assert_eq!(
        (request["method"].as_str(), request["path"].as_str()),
        (Some("POST"), Some("/ok?shelf=1"))
    );
    let headers = &request["headers"];
    assert_eq!(headers["Content-Type"], "application/json");
    assert_eq!(headers["Authorization"], "Bearer s3cret");
    assert_eq!(headers["X-Shelf"], "left one");
    assert_eq!(headers["Host"], format!("127.0.0.1:{}", server.port));
    let body: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
    let wanted = serde_json::json!({
        "name": "menu",
        "generation": 7,
        "size": 1234,
        "digest": "ab".repeat(32),
        "node": "kiosk-1",
        "path": "/var/lib/kiosk/menu.json",
        "time": "2026-11-20T18:40:00.123Z",
    });
    assert_eq!(body, wanted);
}

#[tokio::test]
async fn a_webhook_that_fails_is_reported_with_status_and_first_line() {
    let server = Server::start(None);
    for (path, text) in [
        ("/fail", "answered 500: the shelf is full"),
        ("/chunked", "answered 503: come back later"),
    ] {
        let error = call(webhook(&server.url("http", path), None))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.ends_with(text), "{error}");
        assert!(!error.contains(path), "the path may be a secret: {error}");
    }
}

#[tokio::test]
async fn redirects_of_a_webhook_are_not_followed() {
    let server = Server::start(None);
    let error = call(webhook(&server.url("http", "/redirect"), None))
        .await
        .unwrap_err();
    assert!(
        matches!(error, WebhookError::Refused { status: 307, .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("redirects are not followed"),
        "{error}"
    );
    assert_eq!(server.request()["path"], "/redirect");
    call(webhook(&server.url("http", "/last"), None))
        .await
        .unwrap();
    assert_eq!(
        server.request()["path"],
        "/last",
        "nothing was asked in between"
    );
}

#[tokio::test]
async fn a_webhook_that_never_answers_is_cut_at_its_limit() {
    let server = Server::start(None);
    let limit = Duration::from_millis(300);
    let late = Webhook {
        limit,
        ..webhook(&server.url("http", "/hang"), None)
    };
    let outcome = tokio::time::timeout(SOON, call(late))
        .await
        .expect("it ends by itself");
    assert!(
        matches!(outcome, Err(WebhookError::TimedOut { .. })),
        "{outcome:?}"
    );
    assert_eq!(server.request()["path"], "/hang", "the request did arrive");
}

#[tokio::test]
async fn a_webhook_without_a_server_is_reported_with_the_address_that_refused() {
    let server = Server::start(None);
    let url = server.url("http", "/ok");
    let port = server.port;
    drop(server);
    let error = call(webhook(&url, None)).await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("failed to connect to 127.0.0.1:{port}")),
        "{error}"
    );
}

/// A home-made authority, and what it signed for a name; the key is the same for all.
struct Authority(tempfile::TempDir);

impl Authority {
    fn new() -> Self {
        let authority = Self(tempfile::tempdir().unwrap());
        authority.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=home");
        authority
    }

    /// Signs a certificate; gives the paths of certificate and key.
    fn sign(&self, alt_name: &str) -> (PathBuf, PathBuf) {
        std::fs::write(
            self.0.path().join("ext"),
            format!("subjectAltName={alt_name}\n"),
        )
        .unwrap();
        self.openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj /CN=server");
        self.openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 1 -extfile ext",
        );
        (
            self.0.path().join("server.pem"),
            self.0.path().join("server.key"),
        )
    }

    fn pem(&self) -> Vec<u8> {
        std::fs::read(self.0.path().join("ca.pem")).unwrap()
    }

    fn openssl(&self, arguments: &str) {
        needs::programs(&[("openssl", "openssl")]);
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(&self.0)
            .output();
        let output = output.unwrap();
        assert!(
            output.status.success(),
            "openssl {arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[tokio::test]
async fn a_home_made_authority_is_trusted_by_ca_file_alone() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign("IP:127.0.0.1");
    let server = Server::start(Some((&certificate, &key)));
    let url = server.url("https", "/ok");
    call(webhook(&url, Some(&authority.pem()))).await.unwrap();
    assert_eq!(
        server.request()["headers"]["Content-Type"],
        "application/json"
    );
    // Neither the built-in authorities nor another one will do.
    let error = call(webhook(&url, None)).await.unwrap_err().to_string();
    assert!(
        error.contains("UnknownIssuer") && error.contains("ca_file"),
        "{error}"
    );
    let error = call(webhook(&url, Some(&Authority::new().pem())))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("TLS with 127.0.0.1 failed"), "{error}");
    assert!(
        server.requests.try_recv().is_err(),
        "nothing was sent to a server that is not trusted"
    );
    // What answers without TLS is no server for an https URL.
    let plain = Server::start(None);
    let error = call(webhook(&plain.url("https", "/ok"), Some(&authority.pem())))
        .await
        .unwrap_err();
    assert!(matches!(error, WebhookError::Http { .. }), "{error}");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign("DNS:localhost");
    let server = Server::start(Some((&certificate, &key)));
    let error = call(webhook(&server.url("https", "/ok"), Some(&authority.pem())))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("TLS with 127.0.0.1 failed"), "{error}");
    // By its name, which is looked up, it is the right one.
    let url = format!("https://localhost:{}/ok", server.port);
    call(webhook(&url, Some(&authority.pem()))).await.unwrap();
    assert_eq!(
        server.request()["headers"]["Host"],
        format!("localhost:{}", server.port)
    );
}
