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
    Any(JsonPath),
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
            None => Self::Any(query),
        })
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
            Self::Any(query) => {
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
