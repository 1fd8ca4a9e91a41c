use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// The result of `exchange` when the server answers a whole request with these bytes.
async fn answer(bytes: &[u8]) -> Result<Answer, HttpError> {
    let (near, mut far) = tokio::io::duplex(1024 * 1024);
    let request = request(&"http://hub/".parse().unwrap(), &[], None, b"{}".to_vec()).unwrap();
    let serve = async move {
        let mut read = Vec::new();
        while !read.ends_with(b"{}") {
            assert_ne!(
                far.read_buf(&mut read).await.unwrap(),
                0,
                "the whole request arrives"
            );
        }
        // A client that has read enough closes the connection.
        let _ = far.write_all(bytes).await;
        let _ = far.shutdown().await;
    };
    let (answer, ()) = tokio::join!(exchange(Box::new(near), request), serve);
    answer
}

#[tokio::test]
async fn first_line_of_a_failure_is_returned() {
    for (bytes, status, line) in [
        (&b"HTTP/1.1 204 No Content\r\n\r\n"[..], 204, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, ""),
        (b"HTTP/1.0 500 Oh\r\n\r\n\r\n  no \x1b[31mroom\nmore", 500, "no [31mroom"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\nno such hook", 404, "no such hook"),
        (
            b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbus\r\n5;x=y\r\ny now\r\n0\r\n\r\n",
            503,
            "busy now",
        ),
        (b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\ncut", 503, "cut"),
        (b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nno size", 503, ""),
    ] {
        let answer = answer(bytes).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.line.as_str()), (status, line));
    }
}

#[test]
fn token_is_marked_as_secret() {
    let url = "https://hub/a?b".parse().unwrap();
    let request = request(&url, &[("X-Shelf", "left")], Some("s3cret"), Vec::new()).unwrap();
    assert_eq!(request.headers()["authorization"], "Bearer s3cret");
    let shown = format!("{:?}", request.headers());
    assert!(
        shown.contains("left") && !shown.contains("s3cret"),
        "{shown}"
    );
    assert_eq!(
        (
            request.uri().to_string().as_str(),
            &request.headers()["host"]
        ),
        ("/a?b", &"hub".parse().unwrap())
    );
}

#[tokio::test]
async fn malformed_answer_is_an_error_and_its_bytes_are_not_kept() {
    assert!(matches!(answer(b"").await, Err(HttpError::Broken(_))));
    assert!(matches!(
        answer(b"HTTP/1.1 200 OK\r\nA: b").await,
        Err(HttpError::Broken(_))
    ));
    assert!(matches!(
        answer(b"SSH-2.0-OpenSSH\r\n").await,
        Err(HttpError::Malformed(_))
    ));
    let long = [&b"HTTP/1.1 200 OK\r\nA: "[..], &vec![b'a'; 2 * MAX_ANSWER]].concat();
    assert!(matches!(answer(&long).await, Err(HttpError::Malformed(_))));
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}\r\n",
        "a: b\r\n".repeat(MAX_HEADERS + 1)
    );
    assert!(matches!(
        answer(many.as_bytes()).await,
        Err(HttpError::Malformed(_))
    ));
    let body = [&b"HTTP/1.1 500 Oh\r\n\r\n"[..], &vec![b'a'; 512 * 1024]].concat();
    assert_eq!(answer(&body).await.unwrap().line.len(), MAX_LINE);
}

#[test]
fn ca_without_a_certificate_is_refused() {
    assert!(matches!(HttpClient::new(Some(b"")), Err(CaError::Empty)));
    assert!(matches!(
        HttpClient::new(Some(b"-----BEGIN CERTIFICATE-----\nx")),
        Err(CaError::Pem(_))
    ));
    let key = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(
        HttpClient::new(Some(key)),
        Err(CaError::Certificate(_))
    ));
    assert!(HttpClient::new(None).is_ok());
}
