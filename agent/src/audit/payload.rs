//! Masked JSON text as it stands in a record: on one line, and bounded.
//!
//! Numbers and string escapes stay as they were written. Text beyond the limit becomes
//! `{"weir_truncated":{"bytes":N,"hmac_sha256":"<hex>","prefix":"…"}}`: the length and keyed digest of the whole (after
//! white space was removed), and its beginning. A peer could send such an object itself, so a record that really was cut
//! also says `event.metadata.is_truncated`. With `audit.oversized = "split"` the object also says `"parts":N`: the rest is in so
//! many records before it. With `"s3"` it says `"object":"s3://…","sha256":"<hex>"`: there the whole is.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::{hmac, rand};
use serde::Serialize;
use serde_json::value::RawValue;
use zeroize::{Zeroize, Zeroizing};

use super::{
    chain::hex,
    objects::{Object, Shelf},
    parts::{Pieces, fitting},
    segment::{create_dir, sync_dir},
};

/// JSON text on one line, at most as long as [`Payloads`] allows.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Payload {
    text: Box<RawValue>,
    #[serde(skip)]
    truncated: bool,
    #[serde(skip)]
    rest: Option<Rest>,
}

/// Where the rest of a longer text is kept.
#[derive(Debug, Clone)]
enum Rest {
    Pieces(Pieces),
    Object(Object),
}

impl Payload {
    /// The JSON text.
    pub fn text(&self) -> &str {
        self.text.get()
    }

    /// A text that stands for a longer one.
    pub(super) fn cut(text: Box<RawValue>) -> Self {
        Self { text, truncated: true, rest: None }
    }

    /// Bytes that keeping it takes, about.
    pub(super) fn bytes(&self) -> u64 {
        let rest = match &self.rest {
            None => 0,
            Some(Rest::Pieces(pieces)) => pieces.bytes(),
            Some(Rest::Object(object)) => object.bytes(),
        };
        self.text().len() as u64 + rest
    }

    /// What of a longer text goes into records of its own.
    pub(super) fn pieces(&self) -> Option<&Pieces> {
        match self.rest.as_ref()? {
            Rest::Pieces(pieces) => Some(pieces),
            Rest::Object(_) => None,
        }
    }

    /// The object that a longer text is.
    pub(super) fn object(&self) -> Option<&Object> {
        match self.rest.as_ref()? {
            Rest::Object(object) => Some(object),
            Rest::Pieces(_) => None,
        }
    }

    /// Whether it stands for a longer text.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}

/// The text is not JSON in UTF-8; nothing of it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the payload is not JSON text in UTF-8")]
pub struct NotJson;

/// The secret that digests are keyed with, so that a short secret cannot be guessed from the digest of its payload.
#[derive(Clone)]
pub struct DigestKey(hmac::Key);

/// Why the key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read or created.
    #[error("cannot read or create the digest key {path}: {error}")]
    Io {
        /// Its path.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// It has another length.
    #[error("the digest key {0} is not {LEN} bytes long; remove it and a new one is made (older digests stay, unmatched)", LEN = KEY_LEN)]
    Length(PathBuf),
    /// Others may read it.
    #[error("the digest key {0} may be read by others than its owner; run `chmod 600 {0}`")]
    Exposed(PathBuf),
}

const KEY_LEN: usize = 32;

impl DigestKey {
    /// Reads the key, or creates one, mode 0600.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        let failed = |error| KeyError::Io { path: path.to_owned(), error };
        let mut bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => create_key(path).map_err(failed)?,
            Err(error) => return Err(failed(error)),
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let length = bytes.len();
        bytes.zeroize();
        if length != KEY_LEN {
            return Err(KeyError::Length(path.to_owned()));
        }
        if fs::metadata(path).map_err(failed)?.mode() & 0o077 != 0 {
            return Err(KeyError::Exposed(path.to_owned()));
        }
        Ok(Self(key))
    }

    /// A key of its own for another purpose, which `label` names (HMAC-SHA-256 as in RFC 5869's expand step).
    pub fn derive(&self, label: &str) -> Zeroizing<[u8; KEY_LEN]> {
        let mut derived = Zeroizing::new([0; KEY_LEN]);
        derived.copy_from_slice(hmac::sign(&self.0, label.as_bytes()).as_ref());
        derived
    }

    /// The keyed digest of `bytes`: HMAC-SHA-256 in lower-case hex.
    pub fn digest(&self, bytes: &[u8]) -> String {
        hex(hmac::sign(&self.0, bytes).as_ref())
    }
}

/// Writes a new key of 32 random bytes beside `path` and renames it, so that it exists whole or not at all.
pub(super) fn create_key(path: &Path) -> io::Result<Vec<u8>> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_dir(dir)?;
    let mut bytes = Zeroizing::new([0; KEY_LEN]);
    rand::fill(&mut bytes[..]).map_err(|_| io::Error::other("no random bytes"))?;
    let temporary = path.with_extension("new");
    let mut file: File = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
    file.write_all(&bytes[..])?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_dir(dir)?;
    Ok(bytes.to_vec())
}

/// Makes payloads of masked JSON text.
#[derive(Clone)]
pub struct Payloads {
    key: DigestKey,
    limit: usize,
    longer: Longer,
}

/// What becomes of a longer text (`audit.oversized`).
#[derive(Debug, Clone, Default)]
pub enum Longer {
    /// Its beginning is kept.
    #[default]
    Cut,
    /// The rest goes into records of its own.
    Split,
    /// The whole goes there.
    Object(Shelf),
}

impl Payloads {
    /// Payloads of at most `limit` bytes (`audit.payload_bytes`, at least 1 KiB).
    pub fn new(key: DigestKey, limit: usize) -> Self {
        Self { key, limit: limit.max(1 << 10), longer: Longer::Cut }
    }

    /// What becomes of a longer text.
    #[must_use]
    pub fn keeping(self, longer: Longer) -> Self {
        Self { longer, ..self }
    }

    /// What stands for `json` where only its length and keyed digest are kept.
    ///
    /// # Errors
    /// [`NotJson`].
    pub fn digest(&self, json: &[u8]) -> Result<Payload, NotJson> {
        let json: &RawValue = serde_json::from_slice(json).map_err(|_| NotJson)?;
        let (text, _) = Self { key: self.key.clone(), limit: 0, longer: Longer::Cut }.truncated(&compact(json.get()));
        Ok(Payload::cut(parse(text)?))
    }

    /// As [`Self::fit`], and of a longer text never more than its beginning is kept.
    ///
    /// # Errors
    /// [`NotJson`].
    pub fn excerpt(&self, json: &[u8]) -> Result<Payload, NotJson> {
        Self { key: self.key.clone(), limit: self.limit, longer: Longer::Cut }.fit(json)
    }

    /// `json` without white space between tokens, or its marked beginning when that is over the limit.
    ///
    /// # Errors
    /// [`NotJson`].
    pub fn fit(&self, json: &[u8]) -> Result<Payload, NotJson> {
        // Checked before it is compacted: `1 2` is not JSON, `12` is.
        let json: &RawValue = serde_json::from_slice(json).map_err(|_| NotJson)?;
        let compacted = compact(json.get());
        let truncated = compacted.len() > self.limit;
        let (text, rest) = if truncated { self.truncated(&compacted) } else { (compacted, None) };
        let text = if text.len() == json.get().len() { json.to_owned() } else { parse(text)? };
        Ok(Payload { text, truncated, rest })
    }

    /// The marked beginning of `whole`, and what follows it if that is to be kept.
    fn truncated(&self, whole: &str) -> (String, Option<Rest>) {
        let digest = self.key.digest(whole.as_bytes());
        let start = format!(r#"{{"weir_truncated":{{"bytes":{},"hmac_sha256":"{digest}","prefix":""#, whole.len());
        let fitting = |end: usize| fitting(whole, self.limit.saturating_sub(start.len() + end));
        let (prefix, end, rest) = match &self.longer {
            Longer::Cut => (fitting(r#""}}"#.len()), r#""}}"#.to_owned(), None),
            Longer::Split => {
                let prefix = fitting(r#"","parts":4294967295}}"#.len());
                let pieces = Pieces::after(whole, prefix, self.limit, digest);
                (prefix, format!(r#"","parts":{}}}}}"#, pieces.count()), Some(Rest::Pieces(pieces)))
            }
            Longer::Object(shelf) => {
                let object = shelf.object(whole);
                let end = format!(r#"","object":"{}","sha256":"{}"}}}}"#, object.url, object.sha256);
                (fitting(end.len()), end, Some(Rest::Object(object)))
            }
        };
        let mut text = String::with_capacity(self.limit.max(start.len() + end.len()));
        text.push_str(&start);
        for char in whole[..prefix].chars() {
            // JSON without white space between tokens holds no control characters: two need an escape.
            if matches!(char, '"' | '\\') {
                text.push('\\');
            }
            text.push(char);
        }
        text.push_str(&end);
        (text, rest)
    }
}

fn parse(text: String) -> Result<Box<RawValue>, NotJson> {
    RawValue::from_string(text).map_err(|_| NotJson)
}

/// `json` without white space outside strings. Says nothing about text that is not JSON.
pub fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    let mut in_string = false;
    while let Some(at) = rest.find(if in_string { &['"', '\\'][..] } else { &['"', ' ', '\t', '\n', '\r'][..] }) {
        let found = rest.as_bytes()[at];
        // A backslash takes the character after it along.
        let mut end = at + 1;
        if found == b'\\' {
            end += rest[end..].chars().next().map_or(0, char::len_utf8);
        }
        let keep = if matches!(found, b'"' | b'\\') { end } else { at };
        out.push_str(&rest[..keep]);
        rest = &rest[end..];
        in_string ^= found == b'"';
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
