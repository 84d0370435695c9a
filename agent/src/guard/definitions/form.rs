//! What of an entry is watched, in one form that says the same whatever order, white space or escapes it was written in.
//!
//! The form follows RFC 8785: members in order, no white space, numbers by their value. It departs from it in two points that no
//! reader can see from outside: members are ordered by their UTF-8 bytes, and integers keep all their digits.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
};

use aws_lc_rs::digest::{Context, SHA256, digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

/// What a definition defines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// A tool.
    Tool,
    /// A prompt.
    Prompt,
    /// A template of resources' URIs. Resources themselves are data: they come, go and change by nature.
    Template,
}

impl Item {
    /// What the answer to `method` lists.
    pub fn listed_by(method: &str) -> Option<Self> {
        match method {
            "tools/list" => Some(Self::Tool),
            "prompts/list" => Some(Self::Prompt),
            "resources/templates/list" => Some(Self::Template),
            _ => None,
        }
    }

    /// What `method` uses by its name.
    pub fn used_by(method: &str) -> Option<Self> {
        match method {
            "tools/call" => Some(Self::Tool),
            "prompts/get" => Some(Self::Prompt),
            _ => None,
        }
    }

    /// As records and commands write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Template => "template",
        }
    }

    /// The members that a model or its user goes by.
    const fn members(self) -> &'static [&'static str] {
        match self {
            Self::Tool => &["name", "title", "description", "inputSchema", "outputSchema", "annotations"],
            Self::Prompt => &["name", "title", "description", "arguments"],
            Self::Template => &["uriTemplate", "name", "title", "description", "mimeType", "annotations"],
        }
    }
}

/// A SHA-256 digest, in hex where it is read by people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// That of a text.
    pub(super) fn of(text: &str) -> Self {
        Self::from(digest(&SHA256, text.as_bytes()))
    }

    /// That of several texts, each with its length, so that nothing can move from one to the next.
    pub(super) fn of_parts<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        Self::from(context.finish())
    }
}

impl From<aws_lc_rs::digest::Digest> for Fingerprint {
    fn from(digest: aws_lc_rs::digest::Digest) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let byte = |at: usize| text.get(2 * at..2 * at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let mut bytes = [0; 32];
        for (at, slot) in bytes.iter_mut().enumerate() {
            *slot = byte(at).ok_or_else(|| D::Error::custom("not 64 hex digits"))?;
        }
        if text.len() == 64 { Ok(Self(bytes)) } else { Err(D::Error::custom("not 64 hex digits")) }
    }
}

/// An entry of a list, as far as it is watched: each member's text in its one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    pub(super) members: BTreeMap<String, String>,
}

impl Definition {
    /// Reads an entry; `None` where it is no object.
    pub fn read(item: Item, entry: &str) -> Option<Self> {
        let Ok(Value::Object(mut entry)) = serde_json::from_str(entry) else { return None };
        let member = |name: &&str| Some(((*name).to_owned(), one_form(&entry.remove(*name)?)));
        Some(Self { members: item.members().iter().filter_map(member).collect() })
    }

    /// The same for equal definitions, and for no others.
    pub fn fingerprint(&self) -> Fingerprint {
        let members = self.members.iter().map(|(name, text)| format!("{}:{text}", Value::from(name.as_str())));
        Fingerprint::of(&format!("{{{}}}", members.collect::<Vec<_>>().join(",")))
    }
}

/// A value's one form.
fn one_form(value: &Value) -> String {
    let mut text = String::new();
    write_one_form(value, &mut text);
    text
}

fn write_one_form(value: &Value, text: &mut String) {
    match value {
        Value::Array(elements) => {
            text.push('[');
            for (at, element) in elements.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                write_one_form(element, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            text.push('{');
            // The map may keep the order of the text.
            let names: BTreeSet<&String> = members.keys().collect();
            for (at, name) in names.into_iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                let _ = write!(text, "{comma}{}:", Value::from(name.as_str()));
                write_one_form(&members[name], text);
            }
            text.push('}');
        }
        Value::Number(number) => write_number(number, text),
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

/// Integers beyond this are not all there as a double.
const WHOLE: f64 = 9_007_199_254_740_992.0;

fn write_number(number: &serde_json::Number, text: &mut String) {
    let _ = match number.as_f64() {
        Some(double) if !number.is_i64() && !number.is_u64() => {
            if double.fract() == 0.0 && double.abs() <= WHOLE {
                // Also what was written as -0.
                write!(text, "{:.0}", double + 0.0)
            } else {
                write!(text, "{double:e}")
            }
        }
        _ => write!(text, "{number}"),
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn fingerprint(entry: &str) -> Fingerprint {
        Definition::read(Item::Tool, entry).expect("an object").fingerprint()
    }

    #[test]
    fn what_says_the_same_has_one_fingerprint() {
        let one = r#"{"name":"add","description":"Ädds","inputSchema":{"type":"object","properties":{"n":{"minimum":1,"maximum":100,"x":-0,"y":0.5}}}}"#;
        let other = r#"  { "inputSchema" : {"properties":{"n":{"y":5e-1,"maximum":1.0e2,"x":0,"minimum":1.0}},"type":"object"} ,
            "description":"\u00c4dds", "name":"\u0061dd","_meta":{"seen":7},"icons":[] }"#;
        assert_eq!(fingerprint(one), fingerprint(other));
    }

    #[test]
    fn what_says_something_else_has_another() {
        let base = json!({ "name": "a", "title": "t", "description": "d", "inputSchema": { "n": [1, 2] },
            "outputSchema": { "n": 9_007_199_254_740_993_u64 }, "annotations": { "readOnlyHint": true } });
        let changes = [
            ("name", json!("b")),
            ("title", json!("T")),
            ("description", json!("d ")),
            ("description", json!(["d"])),
            ("inputSchema", json!({ "n": [2, 1] })),
            ("inputSchema", json!({ "n": ["1", 2] })),
            ("outputSchema", json!({ "n": 9_007_199_254_740_992_u64 })),
            ("annotations", json!({ "readOnlyHint": false })),
            ("annotations", json!({})),
            ("annotations", Value::Null),
        ];
        let mut seen = BTreeSet::from([fingerprint(&base.to_string())]);
        for (member, value) in changes {
            let mut entry = base.clone();
            entry[member] = value;
            assert!(seen.insert(fingerprint(&entry.to_string())), "{entry}");
            entry.as_object_mut().expect("an object").remove(member);
            seen.insert(fingerprint(&entry.to_string()));
        }
        assert!(Definition::read(Item::Tool, "[]").is_none() && Definition::read(Item::Tool, "{").is_none());
    }

    #[test]
    fn a_digest_reads_as_it_is_written() {
        let digest = Fingerprint::of("x");
        let text = serde_json::to_string(&digest).expect("text");
        assert_eq!(serde_json::from_str::<Fingerprint>(&text).expect("a digest"), digest);
        for wrong in ["\"\"", "\"00\"", &format!("\"{digest}00\""), &format!("\"{}\"", "zz".repeat(32))] {
            assert!(serde_json::from_str::<Fingerprint>(wrong).is_err(), "{wrong}");
        }
        let parts = |parts: [&str; 2]| Fingerprint::of_parts(parts.map(str::as_bytes));
        assert_ne!(parts(["ab", "c"]), parts(["a", "bc"]));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e300..1e300).prop_map(|number: f64| Value::from(number)),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// The value written by a stranger: members the other way round, white space, escapes, other forms of numbers.
    fn strangely(value: &Value) -> String {
        let escaped = |text: &str| {
            let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            format!("\"{units}\"")
        };
        match value {
            Value::Array(elements) => {
                format!("[ {} ]", elements.iter().map(strangely).collect::<Vec<_>>().join(" ,\n"))
            }
            Value::Object(members) => {
                let mut members: Vec<_> =
                    members.iter().map(|(name, value)| format!("{} :\t{}", escaped(name), strangely(value))).collect();
                members.reverse();
                format!("{{ {} }}", members.join(" , "))
            }
            Value::String(text) => escaped(text),
            Value::Number(number) if number.as_i64().is_some_and(|n| n.unsigned_abs() < 1 << 50) => {
                format!("{number}.0e0")
            }
            other => other.to_string(),
        }
    }

    proptest! {
        #[test]
        fn the_way_it_is_written_does_not_matter(schema in value(), description in ".*") {
            let entry = json!({ "name": "n", "inputSchema": schema, "description": description });
            prop_assert_eq!(fingerprint(&entry.to_string()), fingerprint(&strangely(&entry)));
        }

        #[test]
        fn another_value_is_another_fingerprint(one in value(), other in value(), member in 0_usize..6) {
            let entry = |value: &Value| {
                let mut entry = json!({ "name": "n" });
                entry[Item::Tool.members()[member]] = value.clone();
                fingerprint(&entry.to_string())
            };
            // Where both are read back alike, they are equal in JSON.
            let same = one_form(&one) == one_form(&other);
            prop_assert_eq!(one == other, same);
            prop_assert_eq!(entry(&one) == entry(&other), same);
        }
    }
}
