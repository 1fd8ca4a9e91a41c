//! What people see on a terminal: in network namespaces, with the real binary on a pseudo-terminal.
//!
//! Needs root, `ip` of iproute2 and `python3`.

use std::fs;
use std::time::{Duration, Instant};

use crate::namespaces::program::{Machine, Running};
use crate::namespaces::{BadCable, LIMIT, Lab};

/// The width of a terminal by default.
const COLUMNS: u16 = 80;
const SIZE: usize = 4 << 20;
/// One way. TCP sends a window in each round trip and doubles it from 14 KB on, so the file takes eight of them at least,
/// however fast the machine is.
const DELAY: Duration = Duration::from_millis(200);

/// A server with a file that a node takes, and a long cable between them.
struct Pair {
    hub: Machine,
    node: Machine,
    _running: [Running; 2],
    _cable: BadCable,
    _lab: Lab,
}

impl Pair {
    fn new() -> Self {
        let lab = Lab::new();
        let (a, b) = (lab.namespace("a"), lab.namespace("b"));
        for (namespace, bridge, address) in
            [(&a, "br0", "10.77.0.1/24"), (&b, "br1", "10.77.0.2/24")]
        {
            lab.plug(namespace, "eth0", bridge);
            namespace.ip(&["addr", "add", address, "brd", "+", "dev", "eth0"]);
        }
        let cable = lab.join_bridges_badly(DELAY, 0.0);
        let hub = Machine::new(
            &a,
            "hub",
            "server",
            "files: { offer: [{ name: catalogue, path: offered }] }",
        );
        let accept = "files: { spread: 0s, accept: [{ name: catalogue, path: taken }] }";
        let node = Machine::new(&b, "kiosk", "client", accept);
        fs::write(hub.directory().join("offered"), "small").unwrap();
        let running = [hub.run(), node.run()];
        let pair = Self {
            hub,
            node,
            _running: running,
            _cable: cable,
            _lab: lab,
        };
        let started = Instant::now();
        while !pair.node.directory().join("state/taken").exists() {
            assert!(
                started.elapsed() < LIMIT,
                "the first file did not come: {}",
                pair.node.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        pair
    }

    fn offer(&self, byte: u8) {
        let new = self.hub.directory().join("offered.new");
        fs::write(&new, vec![byte; SIZE]).unwrap();
        fs::rename(new, self.hub.directory().join("offered")).unwrap();
    }

    fn holds(&self, byte: u8) -> bool {
        fs::read(self.node.directory().join("state/taken")).unwrap_or_default() == vec![byte; SIZE]
    }
}

/// What was drawn, line by line, without the codes that move the cursor.
fn lines(drawn: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut characters = drawn.chars();
    while let Some(character) = characters.next() {
        match character {
            // ECMA-48 §5.4: a control sequence ends with a byte from @ to ~, here one of a letter.
            '\u{1b}' => {
                characters.find(char::is_ascii_alphabetic);
                lines.push(String::new());
            }
            '\r' | '\n' => lines.push(String::new()),
            _ => lines.last_mut().unwrap().push(character),
        }
    }
    lines.retain(|line| !line.trim().is_empty());
    lines
}

/// One bar as it was drawn.
#[derive(Debug)]
struct Bar {
    filled: usize,
    width: usize,
    done: String,
    rate: String,
    left: String,
    state: String,
}

/// The bars of a subject, in the order in which they were drawn; each is one line of the terminal, and whole.
fn bars(lines: &[String], subject: &str) -> Vec<Bar> {
    let drawn = lines.iter().filter(|line| line.contains(['█', '░']));
    let bar = |line: &String| {
        assert!(
            line.chars().count() <= usize::from(COLUMNS),
            "it does not fit the terminal: {line:?}"
        );
        // "kiosk  ███░░░  2.00 MiB/4.00 MiB  302.21 KiB/s  7s pulling"
        let (bar, numbers) = line.rsplit_once(['█', '░']).unwrap();
        let (name, bar) = bar.split_once(' ').unwrap();
        assert_eq!(name, subject, "{line:?}");
        let (done, rest) = numbers.split_once('/').unwrap();
        let mut words = rest.split_whitespace();
        assert_eq!(
            (words.next(), words.next()),
            (Some("4.00"), Some("MiB")),
            "{line:?}"
        );
        let rate = [words.next().unwrap(), words.next().unwrap()].join(" ");
        Bar {
            filled: bar.matches('█').count(),
            width: bar.matches(['█', '░']).count() + 1,
            done: done.trim().to_owned(),
            rate,
            left: words.next().unwrap().to_owned(),
            state: words.next().unwrap_or_default().to_owned(),
        }
    };
    drawn.map(bar).collect()
}

/// Whether among the bars is one of a file on its way: part of the bar, a rate and the time that is left.
fn shows_the_way(bars: &[Bar]) -> bool {
    bars.iter().any(|bar| {
        // "7s", and "2m" where the machine has much to do beside.
        let left = bar.left.trim_end_matches(['s', 'm']).parse::<u32>();
        bar.state == "pulling"
            && bar.filled > 0
            && bar.filled + 1 < bar.width
            && bar.done != "0 B"
            && bar.rate.ends_with("B/s")
            && !bar.rate.starts_with("0 ")
            && left.is_ok_and(|left| left > 0)
    })
}

/// Whether the last line shows that a subject is done, and nothing of a bar is left after it.
fn ends_well(lines: &[String], subject: &str) -> bool {
    let mut words = lines.last().unwrap().split('\t');
    let number = |word: &str| word.parse::<u64>().is_ok_and(|generation| generation > 0);
    words.next() == Some(subject)
        && words.next() == Some("done")
        && words.next().is_some_and(number)
        && words.next().is_none()
}

#[test]
fn a_push_draws_a_bar_with_rate_and_time_left_and_ends_with_a_line_a_node() {
    let pair = Pair::new();
    pair.offer(1);
    let (code, drawn) = pair.hub.on_terminal(COLUMNS, &["push", "catalogue"]);
    let lines = lines(&drawn);
    let bars = bars(&lines, "kiosk");
    assert_eq!(code, Some(0), "{drawn:?}");
    let notified = bars
        .iter()
        .find(|bar| bar.state == "notified")
        .unwrap_or_else(|| panic!("{bars:#?}"));
    assert_eq!(
        (
            notified.filled,
            notified.done.as_str(),
            notified.left.as_str()
        ),
        (0, "0 B", "-"),
        "nothing is known of the time yet"
    );
    assert!(shows_the_way(&bars), "{bars:#?}");
    assert!(ends_well(&lines, "kiosk"), "{drawn:?}");
    assert!(pair.holds(1));
    // In a pipe there is the line alone.
    assert_eq!(
        pair.hub.plain(&["push", "catalogue"]),
        lines.last().unwrap().as_str()
    );
}

#[test]
fn a_pull_draws_a_bar_with_rate_and_time_left_and_ends_with_a_line_a_file() {
    let pair = Pair::new();
    let started = Instant::now();
    // The node pulls as soon as it is notified, and the command follows that: it must come while the file does.
    for byte in 1.. {
        pair.offer(byte);
        while !pair.holds(byte) {
            let (code, drawn) = pair.node.on_terminal(COLUMNS, &["pull", "catalogue"]);
            let lines = lines(&drawn);
            let bars = bars(&lines, "catalogue");
            assert_eq!(code, Some(0), "{drawn:?}");
            assert!(ends_well(&lines, "catalogue"), "{drawn:?}");
            if shows_the_way(&bars) {
                assert!(pair.holds(byte));
                return;
            }
            assert!(
                started.elapsed() < LIMIT,
                "no bar was drawn within {LIMIT:?}: {drawn:?}"
            );
        }
    }
}
