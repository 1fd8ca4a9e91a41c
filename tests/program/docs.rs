//! The pages of docs/ against the code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on fails by a panic"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hereabouts::api::view::Code;
use hereabouts::model::{
    Address, InterfaceName, Labels, Lease, NodeName, Origin, Record, Role, Timestamp,
};
use hereabouts::wire::v1::{Message, QUERY_DATAGRAM, QUERY_PAYLOAD, Registered, SignedRecord};
use hereabouts::wire::{Identity, KeyRing, MAX_DATAGRAM, MAX_PAYLOAD, MIN_DATAGRAM, Secret};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The bytes of the block of a page that begins with these: of each line the words up to the first that is no hexadecimal.
fn hex_block(page: &str, begins: &str) -> String {
    let blocks = page.split("```").skip(1).step_by(2);
    let block = blocks
        .map(|block| block.trim_start_matches('\n'))
        .find(|block| block.starts_with(begins));
    let lines = block
        .unwrap_or_else(|| panic!("no block begins with {begins}"))
        .lines();
    let is_hex = |word: &&str| {
        word.len().is_multiple_of(2) && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    lines
        .flat_map(|line| line.split_whitespace().take_while(is_hex))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn key_ring() -> KeyRing {
    KeyRing::new("home", &[Secret::key([1; 32])]).unwrap()
}

#[test]
fn the_worked_datagram_is_what_we_send() {
    let page = read("docs/reference/protocol.md");
    let message = Message::Registered(Registered {
        sequence: 9,
        seen: "192.0.2.7:40000".parse().unwrap(),
        lease: Lease(60),
        clock: Timestamp(1_795_200_000_123),
        offers: None,
    });
    let mut payload = [0; MAX_PAYLOAD];
    let length = message.encode(&mut payload).unwrap();
    assert_eq!(hex_block(&page, "82 04"), hex(&payload[..length]));
    let mut datagram = [0; MAX_DATAGRAM];
    let length = message
        .seal(
            key_ring().first(),
            &std::array::from_fn(|index| index as u8),
            &mut datagram,
        )
        .unwrap();
    assert_eq!(hex_block(&page, "01  "), hex(&datagram[..length]));
}

#[test]
fn the_worked_record_is_what_we_sign() {
    let page = read("docs/reference/protocol.md");
    let interface = InterfaceName::parse("eth0").unwrap();
    let record = Record {
        name: NodeName::parse("hub").unwrap(),
        epoch: 1,
        sequence: 2,
        boot: 3,
        lease: Lease(60),
        addresses: vec![
            Address {
                ip: "192.0.2.1".parse().unwrap(),
                interface: Some(interface),
                origin: Origin::Interface,
            },
            Address {
                ip: "2001:db8::1".parse().unwrap(),
                interface: None,
                origin: Origin::Advertised,
            },
        ],
        port: 24373,
        role: Role::Both,
        labels: Labels::new([("site", "home")]).unwrap(),
    };
    let signed = SignedRecord::sign(
        &record,
        &Identity::from_seed(&[1; 32]),
        key_ring().first().id(),
    )
    .unwrap();
    assert_eq!(hex_block(&page, "a9 "), hex(&signed.body));
    assert_eq!(hex_block(&page, "b2e06355"), hex(&signed.signature));
    assert!(page.contains(&hex(&signed.node.0)));
}

#[test]
fn the_limits_of_the_page_are_those_of_the_code() {
    let page = read("docs/reference/protocol.md");
    for text in [
        format!("A datagram has {MIN_DATAGRAM} to {MAX_DATAGRAM} bytes"),
        format!("| {MIN_DATAGRAM} to {MAX_DATAGRAM} / 1 to {MAX_PAYLOAD} bytes |"),
        format!("**at least {QUERY_PAYLOAD} bytes**, the datagram at least {QUERY_DATAGRAM}"),
        format!(
            "| {} bytes, {} addresses |",
            SignedRecord::MAX_BODY,
            Record::MAX_ADDRESSES
        ),
        format!("| keys of a channel | {} |", KeyRing::MAX_KEYS),
        format!("{} bytes in {} pairs", Labels::MAX_BYTES, Labels::MAX_PAIRS),
        format!(
            "text of 1 to {} bytes: parts of 1 to {}",
            NodeName::MAX,
            NodeName::MAX_LABEL
        ),
    ] {
        assert!(
            page.contains(&text),
            "docs/reference/protocol.md does not say: {text}"
        );
    }
}

/// Every name of three words and more in code form on the page of claims is a test.
#[test]
fn every_test_that_a_claim_rests_on_exists() {
    let page = read("docs/explanation/security.md");
    let mut sources = String::new();
    for directory in ["src", "tests", "integration"] {
        collect(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join(directory),
            &mut sources,
        );
    }
    let is_test = |word: &&str| {
        word.matches('_').count() >= 2
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let named: BTreeSet<&str> = page.split('`').skip(1).step_by(2).filter(is_test).collect();
    assert!(named.len() > 40, "{named:?}");
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !sources.contains(&format!("fn {name}(")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/explanation/security.md names tests that do not exist: {missing:#?}"
    );
}

/// The texts that follow one text in another: of each place, what is between quotation marks up to an end.
fn quoted_after<'a>(source: &'a str, begins: &str, ends: char) -> impl Iterator<Item = &'a str> {
    let places = source.split(begins).skip(1);
    places.flat_map(move |rest| {
        rest.split(ends)
            .next()
            .unwrap_or_default()
            .split('"')
            .skip(1)
            .step_by(2)
    })
}

/// The unit tests of the diagnosis show what a finding looks like; these show that its cause leads to it. They run the real
/// program and fail where it does not report the code that they name.
#[test]
fn every_finding_of_the_doctor_is_caused_by_a_test_of_the_real_program() {
    let namespaces =
        read("tests/privileged/doctor/mod.rs") + &read("tests/privileged/doctor/errors.rs");
    let containers = read("integration/doctor.rs");
    let mut caused = BTreeSet::new();
    caused.extend(quoted_after(&namespaces, ".reports(", ','));
    caused.extend(quoted_after(&namespaces, ".the(", ')'));
    caused.extend(quoted_after(&namespaces, ".each(", ']'));
    caused.extend(quoted_after(&containers, " the(&", ')'));
    let codes: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let missing: Vec<_> = codes.difference(&caused).collect();
    assert!(missing.is_empty(), "no test causes {missing:?}");
    let unknown: Vec<_> = caused.difference(&codes).collect();
    assert!(
        unknown.is_empty(),
        "tests wait for what the program never reports: {unknown:?}"
    );
}

#[test]
fn every_finding_of_the_doctor_is_documented() {
    let page = read("docs/reference/troubleshooting.md");
    for code in Code::ALL {
        assert!(page.contains(&format!("`{code}`")), "{code} is missing");
    }
}

fn collect(directory: &Path, into: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            into.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// Every page that people read: README.md, CONTRIBUTING.md where it exists, and docs/ with all its directories.
fn pages() -> Vec<PathBuf> {
    fn markdown(directory: &Path, pages: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                markdown(&path, pages);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    pages.extend(Some(root.join("CONTRIBUTING.md")).filter(|page| page.exists()));
    markdown(&root.join("docs"), &mut pages);
    pages.sort();
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

/// A line of a page, with where it is, and whether it is inside a block of code.
struct Line {
    place: String,
    text: String,
    code: bool,
}

impl Line {
    fn is_table(&self) -> bool {
        !self.code && self.text.trim_start().starts_with('|')
    }
}

fn lines(page: &Path) -> Vec<Line> {
    let name = page
        .strip_prefix(env!("CARGO_MANIFEST_DIR"))
        .unwrap()
        .display();
    let mut code = false;
    let mut lines = Vec::new();
    for (index, text) in fs::read_to_string(page).unwrap().lines().enumerate() {
        let is_fence = text.trim_start().starts_with("```");
        lines.push(Line {
            place: format!("{name}:{}", index + 1),
            text: text.to_owned(),
            code: code || is_fence,
        });
        code ^= is_fence;
    }
    assert!(!code, "{name}: a block of code does not end");
    lines
}

/// The longest line of a page, and the longest cell of its tables, in characters.
const LONGEST: usize = 120;

#[test]
fn no_line_of_the_documentation_is_longer_than_120_characters() {
    let lines = pages().into_iter().flat_map(|page| lines(&page));
    let long = lines.filter(|line| !line.is_table() && line.text.chars().count() > LONGEST);
    let long: Vec<_> = long
        .map(|line| format!("{}: {} characters", line.place, line.text.chars().count()))
        .collect();
    assert!(
        long.is_empty(),
        "break these lines, best at the end of a sentence: {long:#?}"
    );
}

#[test]
fn no_table_cell_of_the_documentation_is_longer_than_120_characters() {
    let mut long = Vec::new();
    for line in pages()
        .into_iter()
        .flat_map(|page| lines(&page))
        .filter(Line::is_table)
    {
        // A stroke behind a backslash is a character of its cell.
        let text = line.text.replace("\\|", "/");
        for cell in text
            .split('|')
            .map(str::trim)
            .filter(|cell| cell.chars().count() > LONGEST)
        {
            long.push(format!(
                "{}: {} characters: {cell}",
                line.place,
                cell.chars().count()
            ));
        }
    }
    assert!(
        long.is_empty(),
        "move what is in these cells below their table: {long:#?}"
    );
}

/// The targets of the links of a line, without those in code.
fn link_targets(text: &str) -> impl Iterator<Item = &str> {
    let outside_code = text.split('`').step_by(2);
    // The text of a link may itself be code, so that its target follows the code.
    outside_code
        .flat_map(|text| text.match_indices("](").map(|(at, _)| &text[at + 2..]))
        .filter_map(|rest| {
            let (target, _) = rest.split_once(')')?;
            target.split_whitespace().next()
        })
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = title
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_relative_link_of_the_documentation_leads_to_a_file_and_a_heading_that_exist() {
    let mut broken = Vec::new();
    for page in pages() {
        for line in lines(&page).into_iter().filter(|line| !line.code) {
            for target in link_targets(&line.text).filter(|target| !target.contains("://")) {
                let (file, fragment) = target
                    .split_once('#')
                    .map_or((target, None), |(file, at)| (file, Some(at)));
                let file = if file.is_empty() {
                    page.clone()
                } else {
                    page.parent().unwrap().join(file)
                };
                let exists = file.exists()
                    && fragment.is_none_or(|fragment| {
                        let headings = lines(&file)
                            .into_iter()
                            .filter(|line| !line.code && line.text.starts_with('#'));
                        headings
                            .map(|heading| anchor(&heading.text))
                            .any(|anchor| anchor == fragment)
                    });
                if !exists {
                    broken.push(format!("{}: {target}", line.place));
                }
            }
        }
    }
    assert!(broken.is_empty(), "these links lead nowhere: {broken:#?}");
}
