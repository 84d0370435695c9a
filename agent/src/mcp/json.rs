//! Is this text one JSON value that every parser reads alike?
//!
//! A parser that keeps the first of two equal keys and one that keeps the last see different calls; so do one that folds case
//! (Go's `encoding/json`) and one that does not. What could be read in two ways is refused here, so that the message that
//! was judged is the message that the server acts on:
//!
//! - not UTF-8, a byte order mark, anything after the value, nesting beyond the limit;
//! - an object with the same key twice, compared after unescaping, at any depth;
//! - a key that Unicode simple case folding turns into one that the agent reads, without being it: `Method`,
//!   `param\u017f` (long s) and the like, in the JSON-RPC envelope, in `params` and in its `ref`;
//! - a key `__proto__` in `params` and below: what JavaScript copies from it is an object's prototype, or nothing;
//! - an unpaired surrogate escape, and a number beyond the range of a double: infinity to some parsers, an error to others.
//!
//! Large integers are fine: the text is never written anew. `\u0000` inside a string is fine too: it is valid JSON,
//! parsers agree on it, and a record keeps it escaped.

use std::{borrow::Cow, collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// The deepest nesting that can be asked for; `serde_json` stops at 128.
pub const MAX_DEPTH: usize = 127;

/// The envelope's keys (JSON-RPC 2.0, sections 4 and 5).
const ENVELOPE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
/// The keys of `params` that decide what is called.
const PARAMS: &[&str] = &["name", "arguments", "uri", "ref", "_meta"];
/// The keys of `params.ref`, which says what a completion is for.
const REFERENCE: &[&str] = &["type", "name", "uri"];

/// Not a key like others in JavaScript (ECMA-262 section B.2.2.1): the npm SDKs drop it from the arguments.
const PROTOTYPE: &str = "__proto__";

/// Objects with more keys than this use a hash set.
const FEW_KEYS: usize = 16;

/// Why a text is not taken. Positions are for the text as it arrived; columns count bytes from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not UTF-8 (RFC 8259 section 8.1).
    #[error("the body is not UTF-8 at byte {offset}; send JSON as UTF-8")]
    NotUtf8 {
        /// The first bad byte, from 0.
        offset: usize,
    },
    /// RFC 8259 section 8.1 lets parsers differ on it.
    #[error("the body starts with a byte order mark; send JSON without one")]
    ByteOrderMark,
    /// Not JSON, or more than one value.
    #[error("the body is not one JSON value: {what} (line {line}, column {column})")]
    Syntax {
        /// The parser's words.
        what: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// Nested beyond the limit.
    #[error("arrays and objects are nested deeper than {limit} levels; flatten the message")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// The same key twice in one object. The key is not repeated here, it may be what a mask hides.
    #[error("an object has the same key twice (line {line}, column {column}); send each key once")]
    DuplicateKey {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A case variant of a key that decides what is called.
    #[error("a key differs from \"{means}\" only by case (line {line}, column {column}); spell it \"{means}\"")]
    AmbiguousKey {
        /// The key that some parsers would take it for.
        means: &'static str,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A key that JavaScript servers drop, or copy as something else.
    #[error("a key is \"__proto__\", which not every server reads (line {line}, column {column}); name it otherwise")]
    PrototypeKey {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
}

impl JsonError {
    /// The stable id of the rule that was broken.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::NotUtf8 { .. } => "json-not-utf8",
            Self::ByteOrderMark => "json-byte-order-mark",
            Self::Syntax { .. } => "json-syntax",
            Self::TooDeep { .. } => "json-too-deep",
            Self::DuplicateKey { .. } => "json-duplicate-key",
            Self::AmbiguousKey { .. } => "json-ambiguous-key",
            Self::PrototypeKey { .. } => "json-prototype-key",
        }
    }
}

/// Checks `bytes` in one pass and returns them as text. Recursion is bounded by `depth`.
pub fn check(bytes: &[u8], depth: usize) -> Result<&str, JsonError> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(JsonError::ByteOrderMark);
    }
    let text = std::str::from_utf8(bytes).map_err(|e| JsonError::NotUtf8 { offset: e.valid_up_to() })?;
    let mut scan = Scan { limit: depth.min(MAX_DEPTH), keys: Vec::new(), fault: None };
    let mut parser = serde_json::Deserializer::from_str(text);
    let read = Value { scan: &mut scan, place: Place::Body, depth: 0 }.deserialize(&mut parser);
    match read.and_then(|()| parser.end()) {
        Ok(()) => Ok(text),
        Err(error) => Err(scan.explain(&error)),
    }
}

/// Whether Unicode simple case folding makes `key` equal to `name`, which is lower-case ASCII. Besides ASCII case, only
/// U+017F and U+212A fold to ASCII letters (Unicode `CaseFolding.txt`, status C).
fn folds_to(key: &str, name: &str) -> bool {
    let mut folded = key.chars().map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    });
    name.chars().all(|c| folded.next() == Some(c)) && folded.next().is_none()
}

/// What one pass carries along.
struct Scan<'de> {
    limit: usize,
    /// Keys of the objects that are open, innermost last.
    keys: Vec<Cow<'de, str>>,
    /// The rule that was broken, when it is one of ours.
    fault: Option<Fault>,
}

enum Fault {
    TooDeep,
    DuplicateKey,
    AmbiguousKey(&'static str),
    PrototypeKey,
}

impl Scan<'_> {
    fn fail<E: serde::de::Error>(&mut self, fault: Fault) -> E {
        self.fault = Some(fault);
        E::custom("refused")
    }

    fn explain(&self, error: &serde_json::Error) -> JsonError {
        let (line, column) = (error.line(), error.column());
        match self.fault {
            Some(Fault::TooDeep) => JsonError::TooDeep { limit: self.limit },
            Some(Fault::DuplicateKey) => JsonError::DuplicateKey { line, column },
            Some(Fault::AmbiguousKey(means)) => JsonError::AmbiguousKey { means, line, column },
            Some(Fault::PrototypeKey) => JsonError::PrototypeKey { line, column },
            None => {
                let what = error.to_string();
                let what = what.split_once(" at line ").map_or(what.as_str(), |(what, _)| what).to_owned();
                JsonError::Syntax { what, line, column }
            }
        }
    }
}

/// Where in a message a value stands.
#[derive(Clone, Copy)]
enum Place {
    /// The whole body: a message or a batch.
    Body,
    /// An element of a batch.
    Message,
    /// A message's `params`.
    Params,
    /// `ref` in `params`.
    Reference,
    /// Anywhere else below `params`.
    Asked,
    /// Anywhere else.
    Inside,
}

impl Place {
    fn reserved(self) -> &'static [&'static str] {
        match self {
            Self::Body | Self::Message => ENVELOPE,
            Self::Params => PARAMS,
            Self::Reference => REFERENCE,
            Self::Asked | Self::Inside => &[],
        }
    }

    fn forbids(self, key: &str) -> bool {
        matches!(self, Self::Params | Self::Reference | Self::Asked) && key == PROTOTYPE
    }

    fn member(self, key: &str) -> Self {
        match self {
            Self::Body | Self::Message if key == "params" => Self::Params,
            Self::Params if key == "ref" => Self::Reference,
            Self::Params | Self::Reference | Self::Asked => Self::Asked,
            _ => Self::Inside,
        }
    }

    fn element(self) -> Self {
        match self {
            Self::Body => Self::Message,
            Self::Params | Self::Reference | Self::Asked => Self::Asked,
            _ => Self::Inside,
        }
    }
}

/// One value: read, checked and dropped.
struct Value<'s, 'de> {
    scan: &'s mut Scan<'de>,
    place: Place,
    /// Containers around it.
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Value<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { scan, place, depth } = self;
        if depth == scan.limit {
            return Err(scan.fail(Fault::TooDeep));
        }
        let (place, depth) = (place.element(), depth + 1);
        while elements.next_element_seed(Value { scan, place, depth })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { scan, place, depth } = self;
        if depth == scan.limit {
            return Err(scan.fail(Fault::TooDeep));
        }
        let base = scan.keys.len();
        let mut many = HashSet::new();
        while let Some(key) = members.next_key_seed(Key)? {
            if let Some(means) = place.reserved().iter().find(|name| key != **name && folds_to(&key, name)) {
                return Err(scan.fail(Fault::AmbiguousKey(means)));
            }
            if place.forbids(&key) {
                return Err(scan.fail(Fault::PrototypeKey));
            }
            let below = place.member(&key);
            if !is_new(key, &mut scan.keys, base, &mut many) {
                return Err(scan.fail(Fault::DuplicateKey));
            }
            members.next_value_seed(Value { scan, place: below, depth: depth + 1 })?;
        }
        scan.keys.truncate(base);
        Ok(())
    }
}

/// Notes `key` among its object's keys: in `few[base..]` while they are few, in `many` once they are not.
fn is_new<'de>(
    key: Cow<'de, str>,
    few: &mut Vec<Cow<'de, str>>,
    base: usize,
    many: &mut HashSet<Cow<'de, str>>,
) -> bool {
    if many.is_empty() {
        if few[base..].contains(&key) {
            return false;
        }
        few.push(key);
        if few.len() - base > FEW_KEYS {
            many.extend(few.drain(base..));
        }
        return true;
    }
    many.insert(key)
}

/// A key, unescaped; borrowed where it has no escapes.
pub(crate) struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

#[cfg(test)]
pub(crate) mod tests;
