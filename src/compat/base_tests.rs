use tokio::io::duplex;
use tokio::time::Instant;

use super::*;

/// An offer in memory.
struct Memory(&'static [u8]);

impl Offers for Memory {
    fn open(&self, name: &str) -> io::Result<Box<dyn AsyncRead + Send + Unpin>> {
        if name == "catalogue" {
            Ok(Box::new(self.0))
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

/// Says something to a base over a pipe of eight bytes; what came back, what was recorded, what was counted.
async fn say(
    served: Served,
    said: &[u8],
    ends: bool,
) -> (Vec<u8>, Option<UnverifiedClaim>, Vec<&'static str>) {
    let (heard, mut recorded) = mpsc::channel(4);
    let tally = Tally::default();
    let base = Base {
        heard,
        served,
        tally: tally.clone(),
    };
    let (mut terminal, stream) = duplex(8);
    let talk = base.talk(stream, "192.0.2.7:4711".parse().unwrap());
    let script = async {
        // The base may hang up before it has heard all.
        let _ = terminal.write_all(said).await;
        if ends {
            let _ = terminal.shutdown().await;
        }
        let mut got = Vec::new();
        let _ = terminal.read_to_end(&mut got).await;
        got
    };
    let (_, got) = tokio::join!(talk, script);
    let counts = tally.known().counts.keys().copied().collect();
    (got, recorded.try_recv().ok(), counts)
}

fn catalogue(bytes: &'static [u8]) -> Served {
    Some(("catalogue".into(), Arc::new(Memory(bytes))))
}

#[tokio::test(start_paused = true)]
async fn terminal_that_shows_itself_is_recorded_by_its_address() {
    for line in [&b"show\n"[..], b"I am here\n"] {
        let (got, recorded, counts) = say(None, line, false).await;
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
async fn terminal_gets_the_file_whole() {
    static FILE: [u8; 200_000] = [7; 200_000];
    let (got, recorded, counts) = say(catalogue(&FILE), b"get\n", false).await;
    assert_eq!(
        (got.as_slice(), recorded, counts),
        (&FILE[..], None, vec!["terminals.served"])
    );
}

#[tokio::test(start_paused = true)]
async fn without_an_offer_nothing_is_sent() {
    let (got, _, counts) = say(None, b"get\n", false).await;
    assert_eq!((got.len(), counts), (0, vec!["terminals.not_served"]));
    let other = Some(("other".into(), Arc::new(Memory(b"x")) as Arc<dyn Offers>));
    assert_eq!(say(other, b"get\n", false).await.0.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn nonsense_and_endless_lines_are_dropped() {
    let long = [b'a'; 70_000];
    for said in [
        &b"get ../../etc/passwd\n"[..],
        b"\xff\xfe\n",
        b"\x1b[31m\n",
        b"\n",
        &long,
    ] {
        let (got, recorded, counts) = say(catalogue(b"x"), said, false).await;
        assert_eq!(
            (got.len(), recorded, counts),
            (0, None, vec!["terminals.dropped_nonsense"]),
            "{said:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn line_that_never_ends_is_dropped_in_time() {
    let start = Instant::now();
    let (_, recorded, counts) = say(None, b"sho", false).await;
    assert_eq!((recorded, counts), (None, vec!["terminals.dropped_slow"]));
    assert_eq!(start.elapsed(), LINE_WITHIN);
}

#[tokio::test(start_paused = true)]
async fn terminal_that_takes_nothing_is_dropped_in_time() {
    let base = Base {
        heard: mpsc::channel(1).0,
        served: catalogue(&[7; 1000]),
        tally: Tally::default(),
    };
    let (mut terminal, stream) = duplex(8);
    terminal.write_all(b"get\n").await.unwrap();
    let start = Instant::now();
    base.talk(stream, "192.0.2.7:4711".parse().unwrap()).await;
    assert!(start.elapsed() >= STALLED && start.elapsed() < STALLED * 2);
    assert_eq!(base.tally.known().counts["terminals.not_served"], 1);
}
