//! The line format and the hash chain: pure functions over bytes.
//!
//! A line is `{"log":"…","epoch":E,"seq":N,"prev":"<hex>","hash":"<hex>","event":{…}}` and a newline. There is one way to
//! write it; [`Line::parse`] refuses every other.

use std::fmt::{self, Write as _};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::value::RawValue;

/// Largest line in bytes, newline included: what one Kinesis record holds.
pub const MAX_LINE: usize = 1 << 20;

/// Room that a line needs besides its event.
const OVERHEAD: usize = 512;

/// Largest event text in bytes.
pub const MAX_EVENT: usize = MAX_LINE - OVERHEAD;

const DOMAIN: &[u8] = b"weir-record-v1\n";

/// A SHA-256 hash; written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The `prev` of a log's first record.
    pub const ZERO: Self = Self([0; 32]);

    /// Reads 64 lower-case hex digits; anything else is `None`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (pairs, rest) = text.as_chunks::<2>();
        if !rest.is_empty() || pairs.len() != 32 {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, &[high, low]) in hash.iter_mut().zip(pairs) {
            *byte = digit(high)? << 4 | digit(low)?;
        }
        Some(Self(hash))
    }
}

fn digit(hex: u8) -> Option<u8> {
    match hex {
        b'0'..=b'9' => Some(hex - b'0'),
        b'a'..=b'f' => Some(hex - b'a' + 10),
        _ => None,
    }
}

/// Lower-case hex of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(text.as_bytes()).ok_or_else(|| D::Error::custom("not 64 lower-case hex digits"))
    }
}

/// Names a log for its life: 1 to 64 of `a-z`, `0-9` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct LogId(String);

impl LogId {
    /// Reads an id; `None` when it has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        ((1..=64).contains(&text.len()) && text.bytes().all(allowed)).then(|| Self(text.to_owned()))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for LogId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("not 1 to 64 of a-z, 0-9 and -"))
    }
}

/// One record as it stands in a line. Well-formed, not yet verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The log it says it belongs to.
    pub log: &'a str,
    /// Which start of the agent wrote it, from 1.
    pub epoch: u64,
    /// Its position in the log, from 1.
    pub seq: u64,
    /// The hash of the record before it.
    pub prev: Hash,
    /// Its own hash, as written.
    pub hash: Hash,
    /// The exact text of the event.
    pub event: &'a str,
}

/// Why bytes are not a line of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The newline is missing: a torn write, or a cut.
    #[error("the line does not end")]
    Unterminated,
    /// Longer than [`MAX_LINE`].
    #[error("the line is longer than {MAX_LINE} bytes")]
    TooLong,
    /// The envelope differs from its only form.
    #[error("the line's envelope is not in its exact form at byte {0}")]
    Envelope(usize),
    /// `event` is not one JSON object in UTF-8.
    #[error("the event is not one JSON object")]
    Event,
}

impl<'a> Line<'a> {
    /// Reads one line, newline included.
    ///
    /// # Errors
    /// [`Malformed`] for anything that the writer would not have written.
    pub fn parse(line: &'a [u8]) -> Result<Self, Malformed> {
        if line.len() > MAX_LINE {
            return Err(Malformed::TooLong);
        }
        let text = line.strip_suffix(b"\n").ok_or(Malformed::Unterminated)?;
        let mut cursor = Cursor { text, at: 0 };
        cursor.expect(b"{\"log\":\"")?;
        let log = cursor.log_id()?;
        cursor.expect(b"\",\"epoch\":")?;
        let epoch = cursor.number()?;
        cursor.expect(b",\"seq\":")?;
        let seq = cursor.number()?;
        cursor.expect(b",\"prev\":\"")?;
        let prev = cursor.hash()?;
        cursor.expect(b"\",\"hash\":\"")?;
        let hash = cursor.hash()?;
        cursor.expect(b"\",\"event\":")?;
        let rest = &text[cursor.at..];
        let event = rest.strip_suffix(b"}").ok_or(Malformed::Envelope(text.len()))?;
        Ok(Self { log, epoch, seq, prev, hash, event: object(event).ok_or(Malformed::Event)? })
    }

    /// The hash that its fields give.
    pub fn computed_hash(&self) -> Hash {
        record_hash(self.log, self.epoch, self.seq, self.prev, self.event)
    }
}

/// The text, if it is one JSON object from its first byte to its last.
fn object(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let framed = text.starts_with('{') && text.ends_with('}');
    (framed && serde_json::from_str::<&RawValue>(text).is_ok()).then_some(text)
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn expect(&mut self, literal: &[u8]) -> Result<(), Malformed> {
        if !self.text[self.at..].starts_with(literal) {
            return Err(Malformed::Envelope(self.at));
        }
        self.at += literal.len();
        Ok(())
    }

    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = &self.text[self.at..];
        let end = rest.iter().position(|byte| !accept(*byte)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn log_id(&mut self) -> Result<&'a str, Malformed> {
        let start = self.at;
        let id = self.take_while(|byte| byte != b'"');
        let id = std::str::from_utf8(id).map_err(|_| Malformed::Envelope(start))?;
        LogId::parse(id).map(|_| id).ok_or(Malformed::Envelope(start))
    }

    /// A decimal from 1 to `u64::MAX` without leading zeros.
    fn number(&mut self) -> Result<u64, Malformed> {
        let start = self.at;
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        if digits.first().is_none_or(|first| *first == b'0') {
            return Err(Malformed::Envelope(start));
        }
        std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or(Malformed::Envelope(start))
    }

    fn hash(&mut self) -> Result<Hash, Malformed> {
        let start = self.at;
        let hash = self.text.get(start..start + 64).and_then(Hash::parse).ok_or(Malformed::Envelope(start))?;
        self.at += 64;
        Ok(hash)
    }
}

/// The hash of a record: the format's name, log id, epoch, seq, prev and the event's exact bytes.
pub fn record_hash(log: &str, epoch: u64, seq: u64, prev: Hash, event: &str) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(DOMAIN);
    context.update(format!("{log}\n{epoch}\n{seq}\n").as_bytes());
    context.update(&prev.0);
    context.update(event.as_bytes());
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    Hash(hash)
}

/// The end of a chain: what the next record is linked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The last record's seq; 0 before the first.
    pub seq: u64,
    /// The last record's hash; [`Hash::ZERO`] before the first.
    pub hash: Hash,
}

impl Link {
    /// Before the first record.
    pub const START: Self = Self { seq: 0, hash: Hash::ZERO };

    /// Writes the next record's line to the end of `out` and moves to it.
    pub fn append(&mut self, out: &mut Vec<u8>, log: &LogId, epoch: u64, event: &str) {
        let seq = self.seq + 1;
        let prev = self.hash;
        let hash = record_hash(log.as_str(), epoch, seq, prev, event);
        out.extend_from_slice(
            format!(r#"{{"log":"{log}","epoch":{epoch},"seq":{seq},"prev":"{prev}","hash":"{hash}","event":"#)
                .as_bytes(),
        );
        out.extend_from_slice(event.as_bytes());
        out.extend_from_slice(b"}\n");
        *self = Self { seq, hash };
    }
}

#[cfg(test)]
mod tests;
