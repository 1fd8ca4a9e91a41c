//! PyDiscover 1.0: a query with a "magic" text, and any key/values as JSON for each client that
//! knows the magic.
//!
//! ```text
//! query    magic + seconds since 1970 as decimal text        fna349fn1795200000.123456
//! answer   magic#OK#{json}                                   fna349fn#OK#{"services": "10.0.0.1"}
//! refusal  magic#ERROR#text                                  fna349fn#ERROR#Timestamp is too old
//! ```
//!
//! A query older than [`MAX_AGE`] is not answered; one from the future is, as by the original
//! server. A refusal is only sent if *hidden mode* is off. With a password the whole datagram is
//! AES-256-CTR under the password, cut or padded with `0` to 32 characters; the counter starts at 1
//! for every datagram in both directions. So an attacker who knows or guesses the text of one
//! datagram can read the start of all others, and change them unnoticed: there is no tag. The
//! refusal of a wrong magic or password is sent in the clear, with or without a password, as by the
//! original server.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use aes::Aes256Enc;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

use tracing::trace;

use crate::model::{Labels, Timestamp};

/// How old a query may be.
pub const MAX_AGE: Duration = Duration::from_secs(20);
/// The longest answer that the original client receives, in bytes: a longer one is cut, and then it
/// is not JSON.
pub const MAX_ANSWER: usize = 1024;
/// The maximum number of pairs of a server's answer.
const MAX_PAIRS: usize = 64;
/// The longest text of a query's time, in bytes: Python prints at most 17 digits, a dot and some
/// more.
const MAX_TIME: usize = 32;
/// The length of a padded password.
const PASSWORD: usize = 32;

/// The group of programs that share a magic, and a password if there is one.
#[derive(Clone)]
pub struct Channel {
    magic: Box<str>,
    cipher: Option<Box<Aes256Enc>>,
}

/// Why a password can't be PyDiscover's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a PyDiscover password has ASCII characters alone: with any other, its own programs fail")]
pub struct PasswordError;

impl Channel {
    /// A channel; an empty password counts as none, as in the original programs.
    pub fn new(magic: &str, password: Option<&str>) -> Result<Self, PasswordError> {
        let password = password.filter(|password| !password.is_empty());
        let cipher = match password {
            Some(password) if !password.is_ascii() => return Err(PasswordError),
            Some(password) => {
                let mut key = zeroize::Zeroizing::new([b'0'; PASSWORD]);
                key.iter_mut()
                    .zip(password.bytes())
                    .for_each(|(to, from)| *to = from);
                Some(Box::new(Aes256Enc::new((&*key).into())))
            }
            None => None,
        };
        Ok(Self {
            magic: magic.into(),
            cipher,
        })
    }

    /// Encrypts or decrypts, which is the same.
    fn crypt(&self, bytes: &mut [u8]) {
        let Some(cipher) = &self.cipher else { return };
        for (counter, chunk) in (1_u128..).zip(bytes.chunks_mut(16)) {
            let mut block = Array::from(counter.to_be_bytes());
            cipher.encrypt_block(&mut block);
            chunk
                .iter_mut()
                .zip(block)
                .for_each(|(byte, key)| *byte ^= key);
        }
    }

    fn encrypted(&self, text: String) -> Vec<u8> {
        let mut bytes = text.into_bytes();
        self.crypt(&mut bytes);
        bytes
    }

    /// A client's query.
    pub fn query(&self, now: Timestamp) -> Vec<u8> {
        self.encrypted(format!(
            "{}{}.{:03}000",
            self.magic,
            now.0 / 1000,
            now.0 % 1000
        ))
    }

    /// Checks a query, which is decrypted in place: `Ok` if it must be answered.
    pub fn check(&self, query: &mut [u8], now: Timestamp) -> Result<(), Refusal> {
        let result = self.check_query(query, now);
        if let Err(refusal) = result {
            trace!(reason = refusal.as_str(), "a PyDiscover query is refused");
        }
        result
    }

    fn check_query(&self, query: &mut [u8], now: Timestamp) -> Result<(), Refusal> {
        self.crypt(query);
        let time = query
            .strip_prefix(self.magic.as_bytes())
            .ok_or(Refusal::Channel)?;
        let sent = seconds(time).ok_or(Refusal::Timestamp)?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds of our time have 41 bits, a double has 53"
        )]
        let now = now.0 as f64 / 1000.0;
        if sent < now - MAX_AGE.as_secs_f64() {
            Err(Refusal::TooOld)
        } else {
            Ok(())
        }
    }

    /// A server's answer.
    pub fn answer(&self, info: &Labels) -> Vec<u8> {
        self.encrypted(format!("{}#OK#{}", self.magic, json(info)))
    }

    /// A server's refusal.
    pub fn refusal(&self, refusal: Refusal) -> Vec<u8> {
        let text = format!("{}#ERROR#{}", self.magic, refusal.text());
        match refusal {
            Refusal::Channel => text.into_bytes(),
            Refusal::Timestamp | Refusal::TooOld => self.encrypted(text),
        }
    }

    /// Reads a server's answer, which is decrypted in place.
    pub fn read(&self, answer: &mut [u8]) -> Result<Answer, AnswerError> {
        // This refusal is in the clear, with or without a password.
        if answer == self.refusal(Refusal::Channel) {
            return Ok(Answer::Refused(Refusal::Channel.text().into()));
        }
        self.crypt(answer);
        let text = answer
            .strip_prefix(self.magic.as_bytes())
            .ok_or(AnswerError::OtherChannel)?;
        let text = std::str::from_utf8(text).map_err(|_| AnswerError::Malformed)?;
        if let Some(reason) = text.strip_prefix("#ERROR#") {
            return Ok(Answer::Refused(printable(reason)));
        }
        let json = text.strip_prefix("#OK#").ok_or(AnswerError::Malformed)?;
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(json).map_err(|_| AnswerError::Malformed)?;
        if object.len() > MAX_PAIRS {
            return Err(AnswerError::TooMany);
        }
        let pairs = object.into_iter().map(|(key, value)| {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (printable(&key), printable(&value))
        });
        Ok(Answer::Info(pairs.collect()))
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel")
            .field("has_password", &self.cipher.is_some())
            .finish_non_exhaustive()
    }
}

/// Why a server does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The magic or the password differs.
    Channel,
    /// The text after the magic is not a time.
    Timestamp,
    /// The query is older than [`MAX_AGE`].
    TooOld,
}

impl Refusal {
    /// The text of the original server.
    pub fn text(self) -> &'static str {
        match self {
            Self::Channel => "Invalid MAGIC or Password",
            Self::Timestamp => "Invalid timestamp",
            Self::TooOld => "Timestamp is too old",
        }
    }

    /// The name of its counter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Channel => "channel",
            Self::Timestamp => "timestamp",
            Self::TooOld => "too_old",
        }
    }
}

/// A server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Its key/values; a value that is not text is kept as JSON text. Control characters are
    /// replaced.
    Info(BTreeMap<String, String>),
    /// It refused, with this text.
    Refused(String),
}

/// Why a datagram is not a server's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It does not begin with the magic.
    #[error("it belongs to another channel, or has another password")]
    OtherChannel,
    /// It is neither an answer nor a refusal.
    #[error("it is no answer of PyDiscover")]
    Malformed,
    /// It has too many pairs.
    #[error("it has more than {MAX_PAIRS} pairs")]
    TooMany,
}

/// Seconds since 1970 as Python's `float` reads them, except infinities and NaN, which no clock
/// prints.
fn seconds(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.len() <= MAX_TIME)?
        .trim();
    let seconds: f64 = text.parse().ok()?;
    seconds.is_finite().then_some(seconds)
}

/// The object as Python's `json.dumps` writes it: a space after each comma and colon, only ASCII.
fn json(info: &Labels) -> String {
    let mut out = String::from("{");
    for (index, (key, value)) in info.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        quote(&mut out, key);
        out.push_str(": ");
        quote(&mut out, value);
    }
    out.push('}');
    out
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            ' '..='~' => out.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a string never fails.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
#[path = "pydiscover_tests.rs"]
mod tests;
