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

    /// Whether some client may take one for the other, although they differ: the TypeScript SDK finds a call by `Number(id)`, Python's
    /// by `int(id)` where that can be had, and others care for neither case nor space. Says yes too often rather than not often
    /// enough.
    pub fn resembles(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Integer(one), Value::Integer(other)) => as_double(*one) == as_double(*other),
            (Value::String(one), Value::String(other)) => bare(one) == bare(other),
            (Value::Integer(_), Value::String(text)) | (Value::String(text), Value::Integer(_)) => may_be_number(text),
        }
    }

    /// The JSON text, as written.
    pub fn text(&self) -> &Bytes {
        &self.text
    }
}

/// As JavaScript has it: beyond 2^53, several integers are one.
#[expect(clippy::cast_precision_loss, reason = "what is lost is what is asked about")]
fn as_double(integer: i128) -> u64 {
    (integer as f64).to_bits()
}

/// A text without what some readers pass over.
fn bare(text: &str) -> String {
    let chars = text.chars().filter(|c| !(c.is_whitespace() || c.is_control() || *c == '\u{feff}'));
    chars.flat_map(char::to_lowercase).collect()
}

/// Whether some reader finds a number in a text. An empty one is 0 in JavaScript; digits are those of any script, in any base, with
/// signs, exponents and Python's underscores.
fn may_be_number(text: &str) -> bool {
    bare(text).chars().all(|c| c.is_numeric() || matches!(c, '+' | '-' | '.' | '_' | 'x' | 'o' | 'n' | 'a'..='f'))
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
    fn what_a_client_may_confuse_resembles() {
        for text in ["1", "01", " 1 ", "+1", "1.0", "1e0", "0x1", "0b1", "1_0", "\u{661}", "\u{feff}1\u{a0}", "", " "] {
            let other = Id::parse(serde_json::to_vec(text).unwrap().into()).unwrap();
            assert!(id("1").resembles(&other) && other.resembles(&id("1")), "{text:?}");
        }
        assert!(id("9007199254740993").resembles(&id("9007199254740992")));
        assert!(id(r#""Call-1 ""#).resembles(&id(r#""call-1""#)));
        assert!(id("1").resembles(&id("1")));
        for (one, other) in [("1", "2"), ("1", r#""server-error""#), (r#""a""#, r#""b""#), (r#""1""#, r#""01""#)] {
            assert!(!id(one).resembles(&id(other)), "{one} {other}");
        }
    }

    #[test]
    fn only_strings_and_integers_are_ids() {
        for text in ["null", "true", "1.0", "1e3", "1.5", "{}", "[]", "[1]", "", "1 2", "\"\\ud800\""] {
            assert!(Id::parse(Bytes::copy_from_slice(text.as_bytes())).is_none(), "{text}");
        }
        assert!(Id::parse("18446744073709551616".into()).is_some());
    }
}
