//! What Cedar's validator does not ask of a policy: an id, annotations that mean something, names of arguments that can be
//! read without running the policy.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use cedar_policy::{Effect, Policy};
use serde_json::{Value, json};

use super::arguments::Path;

/// Longest id.
const MAX_ID: usize = 64;
/// Longest `@reason` and `@hold`.
const MAX_TEXT: usize = 512;

/// The principal, whose tags are labels, as Cedar's JSON has it.
static PRINCIPAL: LazyLock<Value> = LazyLock::new(|| json!({ "Var": "principal" }));

/// What a policy says of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Says {
    /// `@id`.
    pub(super) id: Option<String>,
    /// `@reason`: what the client is told.
    pub(super) reason: Option<Arc<str>>,
    /// `@hold`: who must approve.
    pub(super) hold: Option<Arc<str>>,
}

/// Values of Cedar's extension types, which cost more to make than all the rest of a question: the name of each one's constructor
/// is parsed anew. They are made for policies that name them. No policy can tell otherwise: records that lack them are equal
/// where they were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extensions {
    /// `context.time.now`.
    pub(super) now: bool,
    /// `ip` of both ends.
    pub(super) ip: bool,
    /// `decimal` of arguments.
    pub(super) decimal: bool,
}

impl Extensions {
    pub(super) const ALL: Self = Self { now: true, ip: true, decimal: true };

    /// What either names.
    pub(super) fn or(self, other: Self) -> Self {
        Self { now: self.now || other.now, ip: self.ip || other.ip, decimal: self.decimal || other.decimal }
    }

    fn note(&mut self, name: &str) {
        self.now |= name == "now";
        self.ip |= name == "ip";
        self.decimal |= name == "decimal";
    }
}

/// What a policy reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reads {
    /// Which of the costly values.
    pub(super) extensions: Extensions,
    /// Whether it looks at arguments at all.
    pub(super) any: bool,
    /// Whether it may look at them as a whole.
    pub(super) whole: bool,
    /// The arguments that it names.
    pub(super) paths: BTreeSet<Path>,
}

/// What is wrong with a policy: the message, and what to do.
pub(super) type Objection = (String, String);

/// Reads a policy's annotations.
pub(super) fn annotations(policy: &Policy) -> Result<Says, Objection> {
    let mut says = Says::default();
    for (key, value) in policy.annotations() {
        match key {
            "id" => says.id = Some(id(value)?),
            "reason" => says.reason = Some(text(key, value)?),
            "hold" => says.hold = Some(text(key, value)?),
            _ => {
                let near = ["id", "reason", "hold"].into_iter().min_by_key(|k| strsim::damerau_levenshtein(k, key));
                let hint =
                    format!("did you mean `@{}`? (`@id`, `@reason` and `@hold` are known)", near.unwrap_or("id"));
                return Err((format!("`@{key}` means nothing to Weir"), hint));
            }
        }
    }
    if says.hold.is_some() && policy.effect() == Effect::Forbid {
        let hint = "write it as `permit`: whoever may do it once it is approved is permitted to";
        return Err(("a `forbid` cannot be approved, so `@hold` does nothing here".into(), hint.into()));
    }
    Ok(says)
}

fn id(value: &str) -> Result<String, Objection> {
    let fits = (1..=MAX_ID).contains(&value.len());
    let plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
    match value {
        "default" => Err(("`default` is how records name `policy.default`".into(), "give it another id".into())),
        _ if fits && plain => Ok(value.to_owned()),
        _ => {
            let hint = format!("use 1 to {MAX_ID} letters, digits, `.`, `_`, `-` and `/`");
            Err((format!("`{}` cannot be an id", value.escape_debug()), hint))
        }
    }
}

fn text(key: &str, value: &str) -> Result<Arc<str>, Objection> {
    let fits = (1..=MAX_TEXT).contains(&value.len()) && !value.contains(char::is_control);
    let wrong = || {
        (
            format!("`@{key}` is empty, too long or has control characters"),
            format!("use 1 to {MAX_TEXT} bytes on one line"),
        )
    };
    fits.then(|| value.into()).ok_or_else(wrong)
}

/// Finds what a policy reads, in its JSON form, where nothing is written in two ways.
pub(super) fn reads(policy: &Policy) -> Result<Reads, Objection> {
    let json = policy.to_json().map_err(|error| (error.to_string(), "write it in another way".to_owned()))?;
    let mut reads = Reads::default();
    look(&json["conditions"], &mut reads)?;
    Ok(reads)
}

fn look(json: &Value, reads: &mut Reads) -> Result<(), Objection> {
    match json {
        Value::String(text) => {
            reads.extensions.note(text);
            match text.as_str() {
                "arguments" => reads.any = true,
                "keys" | "json" => reads.whole = true,
                _ => {}
            }
        }
        Value::Array(elements) => elements.iter().try_for_each(|element| look(element, reads))?,
        Value::Object(members) => {
            for (key, value) in members {
                reads.extensions.note(key);
                // Whatever else has tags is taken for the arguments, and no harm is done where it is not.
                if matches!(key.as_str(), "getTag" | "hasTag") && value["left"] != *PRINCIPAL {
                    reads.paths.insert(path(&value["right"])?);
                }
                look(value, reads)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

fn path(key: &Value) -> Result<Path, Objection> {
    let Some(text) = key["Value"].as_str() else {
        let hint = "write the argument's name in quotes: `hasTag(\"amount\")`";
        return Err(("the name of an argument is computed".into(), hint.into()));
    };
    let wrong = || {
        (
            format!("`{}` is not a path into the arguments", text.escape_debug()),
            "write `~` as `~0` and `/` within a name as `~1`".to_owned(),
        )
    };
    Path::parse(text).ok_or_else(wrong)
}
