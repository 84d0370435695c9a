//! JSON-RPC ids.

use std::hash::{Hash, Hasher};

use bytes::Bytes;

/// A JSON-RPC id. Equality is by what it says, so that an answer finds its request although the peer wrote the id with other
/// escapes; `1` and `"1"` differ. The text as it was written is kept for records and answers.
///
/// A string or an integer, as the SDKs have it (`RequestIdSchema` in the TypeScript SDK, `RequestId` in Python's).
#[derive(Debug, Clone)]
pub struct Id {
    text: Bytes,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Value {
    Integer(i128),
    String(Box<str>),
}

impl Id {
    /// Reads the JSON text of an id; `None` when it is not a string or an integer.
    pub fn parse(text: Bytes) -> Option<Self> {
        let value = match text.first()? {
            b'"' => Value::String(serde_json::from_slice(&text).ok()?),
            _ => Value::Integer(serde_json::from_slice(&text).ok()?),
        };
        Some(Self { text, value })
    }

    /// The JSON text, as written.
    pub fn text(&self) -> &Bytes {
        &self.text
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Eq for Id {}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.hash(state);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn id(text: &'static str) -> Id {
        Id::parse(Bytes::from_static(text.as_bytes())).unwrap()
    }

    #[test]
    fn equality_is_by_value_and_type() {
        assert_eq!(id(r#""a""#), id(r#""\u0061""#));
        assert_eq!(id("-0"), id("0"));
        assert_ne!(id("1"), id(r#""1""#));
        assert_ne!(id("9007199254740993"), id("9007199254740992"));
        assert_eq!(id(r#""\u0061""#).text(), r#""\u0061""#);
    }

    #[test]
    fn only_strings_and_integers_are_ids() {
        for text in ["null", "true", "1.0", "1e3", "1.5", "{}", "[]", "[1]", "", "1 2", "\"\\ud800\""] {
            assert!(Id::parse(Bytes::copy_from_slice(text.as_bytes())).is_none(), "{text}");
        }
        assert!(Id::parse("18446744073709551616".into()).is_some());
    }
}
