//! Terminals and their base: two words by UDP broadcast, three lines over TCP, one port for both.
//!
//! The base broadcasts [`Call::ShowYourself`]. Each terminal opens a TCP connection to the source
//! address of the broadcast, on the same port, and sends `show\n`, or `I am here\n` in a later
//! variant; the base learns only its address. The base broadcasts [`Call::GetUpdates`], or sends it
//! to one terminal. Each terminal opens a TCP connection, sends `get\n`, and stores the received
//! bytes up to the end of the stream as its new file: there is no length, no digest and no name.

use std::net::IpAddr;

use crate::model::NodeName;

/// The longest line over TCP, its break included: the longest known has ten bytes.
pub const MAX_LINE: usize = 64;

/// A call of a base, by UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// The terminals connect by TCP and report their presence.
    ShowYourself,
    /// The terminals connect by TCP and get the file.
    GetUpdates,
}

impl Call {
    /// The datagram.
    pub fn encode(self) -> &'static [u8] {
        match self {
            Self::ShowYourself => b"show yourself",
            Self::GetUpdates => b"get updates",
        }
    }

    /// Reads a datagram; `None` if it is no call. White space at its end is ignored.
    pub fn decode(datagram: &[u8]) -> Option<Self> {
        // A longer datagram is no call: trimming must not read all of it.
        let bytes = datagram
            .get(..datagram.len().min(MAX_LINE))?
            .trim_ascii_end();
        [Self::ShowYourself, Self::GetUpdates]
            .into_iter()
            .find(|call| call.encode() == bytes && datagram.len() <= MAX_LINE)
    }
}

/// A terminal's request over TCP: one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// `show`: the terminal is present.
    Show,
    /// `I am here`: the terminal is present, in the later variant.
    IAmHere,
    /// `get`: the terminal wants the file.
    Get,
}

impl Request {
    /// The line with its break.
    pub fn encode(self) -> &'static [u8] {
        match self {
            Self::Show => b"show\n",
            Self::IAmHere => b"I am here\n",
            Self::Get => b"get\n",
        }
    }
}

/// The state of a connection's first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The line has not ended.
    More,
    /// A request.
    Request(Request),
    /// A line that is no request, or that does not end within [`MAX_LINE`] bytes.
    UnknownLine,
}

/// The first line of a connection, byte by byte; it holds at most [`MAX_LINE`] bytes.
#[derive(Debug, Clone)]
pub struct Line {
    bytes: [u8; MAX_LINE],
    length: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            bytes: [0; MAX_LINE],
            length: 0,
        }
    }
}

impl Line {
    /// Adds received bytes. Bytes after the line are ignored: a terminal sends nothing more.
    pub fn feed(&mut self, received: &[u8]) -> Progress {
        for byte in received {
            if *byte == b'\n' {
                return self.request();
            }
            let Some(place) = self.bytes.get_mut(self.length) else {
                return Progress::UnknownLine;
            };
            *place = *byte;
            self.length += 1;
        }
        if self.length >= MAX_LINE {
            Progress::UnknownLine
        } else {
            Progress::More
        }
    }

    /// Handles the end of the stream: a line without its break counts, because some clients close
    /// the connection instead.
    pub fn end(&self) -> Progress {
        self.request()
    }

    fn request(&self) -> Progress {
        let line = self.bytes.get(..self.length).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let known = [Request::Show, Request::IAmHere, Request::Get];
        let request = known
            .into_iter()
            .find(|request| request.encode().strip_suffix(b"\n") == Some(line));
        request.map_or(Progress::UnknownLine, Progress::Request)
    }
}

/// The name of a terminal, derived from its address because a terminal sends no name:
/// `terminal-192-0-2-7`.
pub fn name_of(ip: IpAddr) -> NodeName {
    let text = match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("terminal-{a}-{b}-{c}-{d}")
        }
        IpAddr::V6(v6) => {
            let groups = v6.segments().map(|group| format!("{group:x}"));
            format!("terminal-{}", groups.join("-"))
        }
    };
    #[expect(
        clippy::expect_used,
        reason = "letters, digits and inner hyphens, at most 48 bytes"
    )]
    NodeName::parse(&text).expect("an address in hyphens is a name")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn calls_have_their_bytes() {
        assert_eq!(Call::ShowYourself.encode(), b"show yourself");
        assert_eq!(Call::GetUpdates.encode(), b"get updates");
        assert_eq!(Call::decode(b"show yourself"), Some(Call::ShowYourself));
        assert_eq!(Call::decode(b"get updates\r\n"), Some(Call::GetUpdates));
        let long = [b"show yourself".as_slice(), &[b' '; 60_000]].concat();
        for bytes in [
            &b""[..],
            b"show",
            b" show yourself",
            b"Show yourself",
            b"show yourself now",
            b"\xff",
            &long,
        ] {
            assert_eq!(Call::decode(bytes), None);
        }
    }

    #[test]
    fn lines_are_read_in_pieces_of_any_length() {
        for request in [Request::Show, Request::IAmHere, Request::Get] {
            let bytes = request.encode();
            assert_eq!(Line::default().feed(bytes), Progress::Request(request));
            let mut line = Line::default();
            let (last, first) = bytes.split_last().unwrap();
            for byte in first {
                assert_eq!(line.feed(&[*byte]), Progress::More);
            }
            assert_eq!(line.clone().end(), Progress::Request(request));
            assert_eq!(line.feed(&[*last, b'x']), Progress::Request(request));
        }
        assert_eq!(
            Line::default().feed(b"show\r\n"),
            Progress::Request(Request::Show)
        );
        assert_eq!(Request::IAmHere.encode(), b"I am here\n");
    }

    #[test]
    fn unknown_and_endless_lines_are_refused() {
        for bytes in [
            &b"\n"[..],
            b"SHOW\n",
            b"show me\n",
            b"get /etc/passwd\n",
            b"\xff\n",
            b"\0\n",
        ] {
            assert_eq!(
                Line::default().feed(bytes),
                Progress::UnknownLine,
                "{bytes:?}"
            );
        }
        assert_eq!(Line::default().end(), Progress::UnknownLine);
        let mut line = Line::default();
        assert_eq!(line.feed(&[b'a'; MAX_LINE - 1]), Progress::More);
        assert_eq!(line.feed(b"a"), Progress::UnknownLine);
        assert_eq!(line.feed(&[b'a'; 70_000]), Progress::UnknownLine);
    }

    #[test]
    fn terminal_is_named_by_its_address() {
        for (address, name) in [
            ("192.0.2.7", "terminal-192-0-2-7"),
            ("::ffff:192.0.2.7", "terminal-192-0-2-7"),
            ("fe80::", "terminal-fe80-0-0-0-0-0-0-0"),
            ("2001:db8::a:1", "terminal-2001-db8-0-0-0-0-a-1"),
        ] {
            assert_eq!(name_of(address.parse().unwrap()).as_str(), name);
        }
        let longest: IpAddr = "fff0:fff1:fff2:fff3:fff4:fff5:fff6:fff7".parse().unwrap();
        assert!(name_of(longest).as_str().len() <= NodeName::MAX_LABEL);
    }

    proptest! {
        #[test]
        fn decode_no_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..90), 0..5)) {
            let mut line = Line::default();
            for piece in &pieces {
                let _ = line.feed(piece);
                let _ = Call::decode(piece);
            }
            let _ = line.end();
        }
    }
}
