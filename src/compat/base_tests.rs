use tokio::io::duplex;
use tokio::time::Instant;

use super::*;

/// An offer in memory.
struct Memory(&'static [u8]);

impl OfferSource for Memory {
    fn open(&self, name: &str) -> io::Result<Box<dyn AsyncRead + Send + Unpin>> {
        if name == "catalogue" {
            Ok(Box::new(self.0))
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

/// Sends bytes to a base over a pipe of eight bytes. Returns the answer, the claim and the counters.
async fn send(
    file: ServedFile,
    sent: &[u8],
    ends: bool,
) -> (Vec<u8>, Option<UnverifiedClaim>, Vec<&'static str>) {
    let (claims, mut recorded) = mpsc::channel(4);
    let tally = Tally::default();
    let base = Base {
        claims,
        file,
        tally: tally.clone(),
    };
    let (mut terminal, stream) = duplex(8);
    let exchange = base.exchange(stream, "192.0.2.7:4711".parse().unwrap());
    let terminal = async {
        // The base may close the connection before it has read all bytes.
        let _ = terminal.write_all(sent).await;
        if ends {
            let _ = terminal.shutdown().await;
        }
        let mut got = Vec::new();
        let _ = terminal.read_to_end(&mut got).await;
        got
    };
    let (_, got) = tokio::join!(exchange, terminal);
    let counts = tally.known().counts.keys().copied().collect();
    (got, recorded.try_recv().ok(), counts)
}

fn catalogue(bytes: &'static [u8]) -> ServedFile {
    Some(("catalogue".into(), Arc::new(Memory(bytes))))
}

#[tokio::test(start_paused = true)]
async fn terminal_that_shows_itself_is_recorded_by_its_address() {
    for line in [&b"show\n"[..], b"I am here\n"] {
        let (got, recorded, counts) = send(None, line, false).await;
        let claim = recorded.unwrap();
        assert_eq!(
            (claim.name.as_str(), claim.protocol),
            ("terminal-192-0-2-7", Protocol::Terminals)
        );
        assert_eq!(
            (got.as_slice(), counts.as_slice()),
            (&b""[..], &["terminals.showed"][..])
        );
    }
}

#[tokio::test(start_paused = true)]
async fn terminal_gets_the_whole_file() {
    static FILE: [u8; 200_000] = [7; 200_000];
    let (got, recorded, counts) = send(catalogue(&FILE), b"get\n", false).await;
    assert_eq!(
        (got.as_slice(), recorded, counts),
        (&FILE[..], None, vec!["terminals.served"])
    );
}

#[tokio::test(start_paused = true)]
async fn without_an_offer_nothing_is_sent() {
    let (got, _, counts) = send(None, b"get\n", false).await;
    assert_eq!((got.len(), counts), (0, vec!["terminals.not_served"]));
    let other = Some((
        "other".into(),
        Arc::new(Memory(b"x")) as Arc<dyn OfferSource>,
    ));
    assert_eq!(send(other, b"get\n", false).await.0.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn invalid_and_endless_lines_are_dropped() {
    let long = [b'a'; 70_000];
    for line in [
        &b"get ../../etc/passwd\n"[..],
        b"\xff\xfe\n",
        b"\x1b[31m\n",
        b"\n",
        &long,
    ] {
        let (got, recorded, counts) = send(catalogue(b"x"), line, false).await;
        assert_eq!(
            (got.len(), recorded, counts),
            (0, None, vec!["terminals.dropped_nonsense"]),
            "{line:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn unfinished_line_is_dropped_in_time() {
    let start = Instant::now();
    let (_, recorded, counts) = send(None, b"sho", false).await;
    assert_eq!((recorded, counts), (None, vec!["terminals.dropped_slow"]));
    assert_eq!(start.elapsed(), LINE_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn terminal_that_accepts_no_bytes_is_dropped_in_time() {
    let base = Base {
        claims: mpsc::channel(1).0,
        file: catalogue(&[7; 1000]),
        tally: Tally::default(),
    };
    let (mut terminal, stream) = duplex(8);
    terminal.write_all(b"get\n").await.unwrap();
    let start = Instant::now();
    base.exchange(stream, "192.0.2.7:4711".parse().unwrap())
        .await;
    assert!(start.elapsed() >= STALL_LIMIT && start.elapsed() < STALL_LIMIT * 2);
    assert_eq!(base.tally.known().counts["terminals.not_served"], 1);
}
