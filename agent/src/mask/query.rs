//! One `JSONPath` query. Most only name members, so these are asked without the engine, which makes a path of every value that
//! it passes.

use std::collections::HashMap;

use serde_json::Value;
use serde_json_path::{JsonPath, ParseError, PathElement};

/// A query, by the way that it is asked.
#[derive(Debug)]
pub(super) enum Query {
    /// `$.a.b`: one value at most.
    Members(Vec<String>),
    /// `$..a`: the members of this name, of any object.
    Anywhere(String),
    /// Any other.
    Any(Engine),
}

/// A query that the engine answers. It makes a path of every value that it passes, for each way that leads there.
#[derive(Debug)]
pub(super) struct Engine {
    query: JsonPath,
    /// How many `..` it has: each may come to a value from every value above it.
    descents: u32,
    /// How many filters look at the whole message, for every value.
    lookups: u32,
}

/// How large a message is, for queries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) values: u64,
    pub(super) depth: u64,
}

/// Most steps of paths that the engine may make for one query: some hundred megabytes.
const STEPS: u64 = 1 << 24;

impl Size {
    /// Counts a value and those in it.
    pub(super) fn of(value: &Value) -> Self {
        let inner = |values: &mut dyn Iterator<Item = &Value>| {
            let all = values.map(Self::of).fold(Self::default(), |all, one| Self {
                values: all.values + one.values,
                depth: all.depth.max(one.depth),
            });
            Self { values: all.values + 1, depth: all.depth + 1 }
        };
        match value {
            Value::Array(values) => inner(&mut values.iter()),
            Value::Object(members) => inner(&mut members.values()),
            _ => Self { values: 1, depth: 1 },
        }
    }
}

/// One step from a value to one in it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'v> {
    Member(&'v str),
    Element(usize),
}

impl<'v> From<&PathElement<'v>> for Step<'v> {
    fn from(element: &PathElement<'v>) -> Self {
        match *element {
            PathElement::Name(name) => Self::Member(name),
            PathElement::Index(index) => Self::Element(index),
        }
    }
}

impl Query {
    /// Reads a query (RFC 9535).
    pub(super) fn parse(text: &str) -> Result<Self, ParseError> {
        let query = JsonPath::parse(text)?;
        let is_name = |name: &&str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.bytes().all(plain)
        };
        if let Some(name) = text.strip_prefix("$..").filter(is_name) {
            return Ok(Self::Anywhere(name.to_owned()));
        }
        let names: Option<Vec<&str>> = text.strip_prefix("$.").map(|names| names.split('.').collect());
        Ok(match names.filter(|names| names.iter().all(is_name)) {
            Some(names) => Self::Members(names.into_iter().map(str::to_owned).collect()),
            None => {
                let count = |of: &str| u32::try_from(text.matches(of).count()).unwrap_or(u32::MAX);
                Self::Any(Engine { query, descents: count(".."), lookups: count("$").saturating_sub(1) })
            }
        })
    }

    /// Whether a message is small enough to be asked. What names members alone can be asked of any.
    pub(super) fn may_be_asked(&self, of: Size) -> bool {
        let Self::Any(Engine { descents, lookups, .. }) = self else { return true };
        let ways = of.depth.saturating_pow(*descents).saturating_mul(of.values.saturating_pow(*lookups));
        of.values.saturating_mul(ways) <= STEPS
    }

    /// Calls `select` with the way to each value that the query selects, and the value; but for [`Self::Anywhere`], which is asked
    /// together with its like: [`anywhere`].
    pub(super) fn ask<'v>(&'v self, value: &'v Value, mut select: impl FnMut(&[Step<'v>], &'v Value)) {
        match self {
            Self::Members(names) => {
                if let Some(found) = names.iter().try_fold(value, |value, name| value.get(name.as_str())) {
                    let steps: Vec<Step<'_>> = names.iter().map(|name| Step::Member(name)).collect();
                    select(&steps, found);
                }
            }
            Self::Anywhere(_) => {}
            Self::Any(Engine { query, .. }) => {
                for node in query.query_located(value) {
                    let steps: Vec<Step<'v>> = node.location().iter().map(Step::from).collect();
                    select(&steps, node.node());
                }
            }
        }
    }
}

/// Calls `select` with the way to each member of any object that has one of `names`, the member, and what `names` says of it.
pub(super) fn anywhere<'v, N: Copy>(
    names: &HashMap<&str, N>,
    value: &'v Value,
    way: &mut Vec<Step<'v>>,
    select: &mut impl FnMut(&[Step<'v>], &'v Value, N),
) {
    let mut enter = |step: Step<'v>, value: &'v Value, named: Option<&N>| {
        way.push(step);
        if let Some(of) = named {
            select(way, value, *of);
        }
        if value.is_object() || value.is_array() {
            anywhere(names, value, way, select);
        }
        way.pop();
    };
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                enter(Step::Member(name), value, names.get(name.as_str()));
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                enter(Step::Element(index), value, None);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn places(text: &str, value: &Value) -> Vec<String> {
        let show = |steps: &[Step<'_>]| {
            let step = |step: &Step<'_>| match step {
                Step::Member(name) => format!("/{name}"),
                Step::Element(index) => format!("/{index}"),
            };
            steps.iter().map(step).collect::<String>()
        };
        let mut places = Vec::new();
        match Query::parse(text).unwrap() {
            Query::Anywhere(name) => {
                let names = HashMap::from([(name.as_str(), ())]);
                anywhere(&names, value, &mut Vec::new(), &mut |steps, _, ()| places.push(show(steps)));
            }
            query => query.ask(value, |steps, _| places.push(show(steps))),
        }
        places.sort();
        places
    }

    fn any_value() -> impl Strategy<Value = Value> {
        Just(json!(1)).prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..4).prop_map(|members| json!(members)),
            ]
        })
    }

    #[test]
    fn only_plain_names_take_the_quick_ways() {
        let is_quick = |text: &str| !matches!(Query::parse(text).unwrap(), Query::Any(_));
        assert!(["$.a", "$.params.arguments.card_1", "$..a", "$.É"].map(is_quick) == [true, true, true, false]);
        for text in ["$", "$.a[0]", "$.a.*", "$..*", "$..a.b", "$.a..b", "$['a']", "$..[0]"] {
            assert!(!is_quick(text), "{text}");
        }
    }

    #[test]
    fn the_engine_is_not_asked_for_more_than_it_can_hold() {
        let nested = (0..120).fold(json!([{ "b": 1 }, { "b": 2 }]), |inner, _| json!({ "a": inner, "x": [null] }));
        let size = Size::of(&nested);
        assert_eq!((size.values, size.depth), (365, 123));
        let may = |text: &str, values: u64| Query::parse(text).unwrap().may_be_asked(Size { values, ..size });
        assert!(may("$..a..b", 365) && may("$..a[0]", 100_000) && may("$.a[*].b", 4 << 20));
        assert!(!may("$..a..b", 10_000) && !may("$..a..b..c", 365) && !may("$..a[?$.x == 1]", 100_000));
        assert!(may("$.a.b", u64::MAX) && may("$..a", u64::MAX));
    }

    proptest! {
        #[test]
        fn the_quick_ways_select_what_the_engine_does(
            value in any_value(),
            text in prop::sample::select(vec!["$.a", "$.a.b", "$.c.b.a", "$..a", "$..b", "$.b[0].a", "$.a.*"]),
        ) {
            let query = JsonPath::parse(text).unwrap();
            let mut expected: Vec<String> =
                query.query_located(&value).locations().map(serde_json_path::NormalizedPath::to_json_pointer).collect();
            expected.sort();
            prop_assert_eq!(places(text, &value), expected);
        }
    }
}
