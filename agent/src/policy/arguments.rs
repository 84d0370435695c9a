//! JSON arguments as far as Cedar can hold them. Cedar has strings, 64-bit integers, decimals with four places, booleans, sets
//! and records; no floats, no null, no sets of different things. What it cannot hold is left out, and a policy that
//! reads what was left out fails, which denies.
//!
//! Only what policies name is looked up. A look-up that could end in two ways, depending on who reads the message, is a
//! [`Fault`]: a name in another case (some servers fold it), or a path through something that is no object (some servers parse
//! the JSON in a string).

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use cedar_policy::RestrictedExpression as Expression;
use serde_json::{Value, value::RawValue};

/// Most bytes of one value, as JSON, that policies can read.
const VALUE_BYTES: usize = 64 << 10;

/// Most bytes of all arguments that policies can read as a whole.
const WHOLE_BYTES: usize = 256 << 10;

/// How many ten-thousandths are in one: Cedar's decimals have four places.
const ONE: i128 = 10_000;

/// A path of names into the arguments, as policies write it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Path {
    /// As written.
    pub(super) text: String,
    steps: Vec<String>,
}

impl Path {
    /// Reads `filter/country`; `None` where `~` is not followed by 0 or 1 (RFC 6901 section 3).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let step = |step: &str| {
            let is_escaped = step.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
            is_escaped.then(|| step.replace("~1", "/").replace("~0", "~"))
        };
        let steps = text.split('/').map(step).collect::<Option<_>>()?;
        Some(Self { text: text.to_owned(), steps })
    }
}

/// Why arguments cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// `params.arguments` is no object.
    #[error("`arguments` is not an object, so policies cannot judge it; send an object")]
    NotAnObject,
    /// A path leads through a value without members.
    #[error("a policy reads the argument `{0}`, but what should hold it is not an object; send an object")]
    Through(String),
    /// A name that differs from one in a path by case alone.
    #[error("a policy reads the argument `{0}`, and the call spells it in another case; spell it `{0}`")]
    Case(String),
    /// What a path leads to, or through, is masked in this record.
    #[error("the argument `{0}` is in something that is masked in the record")]
    Masked(String),
    /// The record does not hold the arguments whole.
    #[error("the record does not hold the arguments whole, and a policy reads them")]
    Cut,
}

/// How a recorded call differs from the call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Veil {
    /// Tells a text with something masked in it.
    pub(super) hides: fn(&str) -> bool,
    /// Whether the arguments may not be there whole.
    pub(super) is_cut: bool,
}

/// The arguments of one call.
#[derive(Debug, Default)]
pub(super) struct Arguments<'a> {
    root: Object<'a>,
    text: Option<&'a RawValue>,
    /// For recorded calls.
    veil: Option<Veil>,
}

/// What a look-up finds.
enum Found<'a> {
    Nothing,
    Value(&'a RawValue),
    /// Something is there; what, the record does not say.
    Hidden,
}

impl<'a> Arguments<'a> {
    /// Reads an object. Its values are not looked at.
    pub(super) fn read(text: Option<&'a RawValue>, veil: Option<Veil>) -> Result<Self, Fault> {
        if veil.is_some_and(|veil| veil.is_cut) {
            return Err(Fault::Cut);
        }
        let root = match text {
            None => Object::default(),
            Some(text) => Object::read(text).ok_or(Fault::NotAnObject)?,
        };
        Ok(Self { root, text, veil })
    }

    /// The tags of those paths that lead to a value; of a number as decimal only with `decimals`.
    pub(super) fn tags(&self, paths: &BTreeSet<Path>, decimals: bool) -> Result<Vec<(String, Expression)>, Fault> {
        let mut inner = HashMap::new();
        let mut tags = Vec::new();
        for path in paths {
            let tag = match self.find(path, &mut inner)? {
                Found::Nothing => continue,
                Found::Value(value) => record(&value_members(value, decimals)),
                // No record: reading a member fails, and so does asking with `has` whether there is one.
                Found::Hidden => Expression::new_bool(false),
            };
            tags.push((path.text.clone(), tag));
        }
        Ok(tags)
    }

    /// The names at the top, and the whole as text; what is too large, or masked in part, is left out.
    pub(super) fn whole(&self) -> Vec<(String, Expression)> {
        let mut attributes = Vec::new();
        let text = self.text.map_or("{}", RawValue::get);
        if text.len() <= WHOLE_BYTES && !self.hides(text) {
            let names = self.root.members.keys().map(|name| Expression::new_string(name.clone().into_owned()));
            attributes.push(("keys".to_owned(), Expression::new_set(names)));
            attributes.extend(compact(text).map(|json| ("json".to_owned(), Expression::new_string(json))));
        }
        attributes
    }

    /// What a path leads to. The objects on the way are kept in `inner`, by the steps to them: other paths lead through them too.
    fn find<'p>(&self, path: &'p Path, inner: &mut HashMap<&'p [String], Object<'a>>) -> Result<Found<'a>, Fault> {
        let Some((last, through)) = path.steps.split_last() else { return Ok(Found::Nothing) };
        for (depth, step) in through.iter().enumerate() {
            if inner.contains_key(&through[..=depth]) {
                continue;
            }
            let at = inner.get(&through[..depth]).unwrap_or(&self.root);
            let Some(value) = at.member(step, path)? else { return self.nothing(at, path) };
            if value.get() == "null" {
                return Ok(Found::Nothing);
            }
            let object = Object::read(value).ok_or_else(|| match self.hides(value.get()) {
                true => Fault::Masked(path.text.clone()),
                false => Fault::Through(path.text.clone()),
            })?;
            inner.insert(&through[..=depth], object);
        }
        let at = inner.get(through).unwrap_or(&self.root);
        Ok(match at.member(last, path)? {
            None => return self.nothing(at, path),
            Some(value) if self.hides(value.get()) => Found::Hidden,
            Some(value) => Found::Value(value),
        })
    }

    /// Nothing has the name; what has a masked name might.
    fn nothing(&self, object: &Object<'_>, path: &Path) -> Result<Found<'a>, Fault> {
        if object.members.keys().any(|name| self.hides(name)) {
            Err(Fault::Masked(path.text.clone()))
        } else {
            Ok(Found::Nothing)
        }
    }

    /// Whether any of them is masked.
    pub(super) fn is_veiled(&self) -> bool {
        self.text.is_some_and(|text| self.hides(text.get()))
    }

    fn hides(&self, text: &str) -> bool {
        self.veil.is_some_and(|veil| (veil.hides)(text))
    }
}

/// The members of one object.
#[derive(Debug, Default)]
struct Object<'a> {
    members: BTreeMap<Cow<'a, str>, &'a RawValue>,
    /// How many names are one when their case is folded.
    folded: HashMap<String, usize>,
}

impl<'a> Object<'a> {
    /// Reads an object. Its values are not looked at.
    fn read(text: &'a RawValue) -> Option<Self> {
        #[derive(serde::Deserialize, PartialEq, Eq, PartialOrd, Ord)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        let members: BTreeMap<Name<'_>, &RawValue> = serde_json::from_str(text.get()).ok()?;
        let members: BTreeMap<_, _> = members.into_iter().map(|(Name(name), value)| (name, value)).collect();
        let mut folded = HashMap::with_capacity(members.len());
        for name in members.keys() {
            *folded.entry(fold(name)).or_default() += 1;
        }
        Some(Self { members, folded })
    }

    /// The member of a name, unless another member's name could be taken for it.
    fn member(&self, name: &str, path: &Path) -> Result<Option<&'a RawValue>, Fault> {
        let member = self.members.get(name).copied();
        let alike = self.folded.get(&fold(name)).copied().unwrap_or_default();
        if alike > usize::from(member.is_some()) { Err(Fault::Case(path.text.clone())) } else { Ok(member) }
    }
}

/// By Unicode's lower case, and as Go's `encoding/json` folds two letters that have none in ASCII.
fn fold(name: &str) -> String {
    let ascii = name.chars().map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c,
    });
    ascii.flat_map(char::to_lowercase).collect()
}

/// The members of `Value` that a value has the form for.
fn value_members(value: &RawValue, decimals: bool) -> Vec<(&'static str, Expression)> {
    let text = value.get();
    let small = text.len() <= VALUE_BYTES;
    let mut members = vec![("kind", Expression::new_string(kind(text).to_owned()))];
    if !small {
        return members;
    }
    match text.as_bytes().first() {
        Some(b'"') => members.extend(string(text).map(|text| ("text", Expression::new_string(text)))),
        Some(b't' | b'f') => members.push(("bool", Expression::new_bool(text == "true"))),
        Some(b'-' | b'0'..=b'9') => {
            if let Some(exact) = number(text) {
                members.extend(long(exact).map(|long| ("long", Expression::new_long(long))));
                let decimal = decimal(exact).filter(|_| decimals);
                members.extend(decimal.map(|decimal| ("decimal", Expression::new_decimal(decimal))));
            }
        }
        Some(b'[') => members.extend(sets(text)),
        _ => {}
    }
    members.extend(compact(text).map(|json| ("json", Expression::new_string(json))));
    members
}

fn kind(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        Some(b'[') => "array",
        Some(b'{') => "object",
        _ => "number",
    }
}

/// The sets that an array is; both for an empty one.
fn sets(text: &str) -> Vec<(&'static str, Expression)> {
    let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(text) else { return Vec::new() };
    let texts: Option<Vec<String>> = elements.iter().map(|element| string(element.get())).collect();
    let longs: Option<Vec<i64>> = elements.iter().map(|element| number(element.get()).and_then(long)).collect();
    let texts = texts.map(|texts| ("texts", Expression::new_set(texts.into_iter().map(Expression::new_string))));
    let longs = longs.map(|longs| ("longs", Expression::new_set(longs.into_iter().map(Expression::new_long))));
    texts.into_iter().chain(longs).collect()
}

fn string(text: &str) -> Option<String> {
    if text.starts_with('"') { serde_json::from_str(text).ok() } else { None }
}

/// The value without white space and needless escapes. Numbers beyond 64 bits are written as the nearest double.
fn compact(text: &str) -> Option<String> {
    serde_json::from_str::<Value>(text).ok().map(|value| value.to_string())
}

/// A JSON number in ten-thousandths, if it is exactly that many to every reader: also to those who have doubles for all numbers,
/// and to whom these pass it on.
fn number(text: &str) -> Option<i128> {
    let exact = ten_thousandths(text)?;
    let double: f64 = text.parse().ok()?;
    let is_written_alike = ten_thousandths(&double.to_string()) == Some(exact);
    // A double beyond 2^53 may be written as a number that it is not.
    let is_itself = exact % ONE != 0 || double as i128 == exact / ONE;
    (is_written_alike && is_itself).then_some(exact)
}

/// A JSON number in ten-thousandths, if it is exactly that many and not absurdly large.
fn ten_thousandths(text: &str) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits: String = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let places = i32::try_from(fraction.len()).ok()?;
    let shift = exponent.checked_sub(places)?.checked_add(4)?;
    let significant = digits.trim_end_matches('0');
    let shift = shift.checked_add(i32::try_from(digits.len() - significant.len()).ok()?)?;
    let value = 10_i128.checked_pow(u32::try_from(shift).ok()?)?.checked_mul(significant.parse().ok()?)?;
    Some(if negative { -value } else { value })
}

fn long(exact: i128) -> Option<i64> {
    if exact % ONE == 0 { i64::try_from(exact / ONE).ok() } else { None }
}

fn decimal(exact: i128) -> Option<String> {
    let exact = i64::try_from(exact).ok()?;
    let sign = if exact < 0 { "-" } else { "" };
    let ones = exact.unsigned_abs();
    Some(format!("{sign}{}.{:04}", ones / 10_000, ones % 10_000))
}

/// A record with these members.
fn record(members: &[(&'static str, Expression)]) -> Expression {
    let members = members.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    // Fails only for a name that is there twice.
    Expression::new_record(members).unwrap_or_else(|_| Expression::new_bool(false))
}

#[cfg(test)]
mod tests;
