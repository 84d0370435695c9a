//! What the queries of the rules select: a tree of places, laid beside the text when it is walked.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Value, json};
use serde_json_path::{NormalizedPath, PathElement};

use super::{Rule, strict};

/// How many texts inside each other are read as JSON.
pub(super) const EMBEDDED: usize = 3;

/// A value that a rule selects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit<'v> {
    pub(super) rule: &'v Arc<Rule>,
    pub(super) value: &'v Value,
}

/// A place on the way to selected values, so that each container is looked at once. Below a string that holds JSON text are
/// the places of what it holds.
#[derive(Debug, Default)]
pub(super) struct Spot<'v> {
    pub(super) selected: Option<Hit<'v>>,
    pub(super) members: HashMap<&'v str, Self>,
    pub(super) elements: HashMap<usize, Self>,
}

/// The values that queries are asked of: the message; the same with JSON texts read; and, as servers write structured content
/// once more as text, each such text where the structured content would stand.
pub(super) struct Readings {
    message: Value,
    opened: Option<Value>,
    mirrored: Vec<(usize, Value)>,
}

impl Readings {
    /// Reads `text`; `None` when it cannot be read in one way only.
    pub(super) fn of(text: &str) -> Option<Self> {
        let message = strict::parse(text).ok()?;
        let opened = holds_json(&message).then(|| opened(&message, EMBEDDED));
        let contents = opened.as_ref().and_then(|value| value.pointer("/result/content")).and_then(Value::as_array);
        let mirror = |(index, content): (usize, &Value)| {
            let text = content.get("text").filter(|text| text.is_object() || text.is_array())?;
            Some((index, json!({ "result": { "structuredContent": text } })))
        };
        let mirrored = contents.into_iter().flatten().enumerate().filter_map(mirror).collect();
        Some(Self { message, opened, mirrored })
    }

    /// The places that `rules` select. The first rule that selects a place has it.
    pub(super) fn places<'v>(&'v self, rules: &'v [Arc<Rule>]) -> Spot<'v> {
        let mut root = Spot::default();
        for rule in rules {
            for path in &rule.paths {
                for value in std::iter::once(&self.message).chain(&self.opened) {
                    for node in path.query_located(value) {
                        root.at(node.location().iter()).select(Hit { rule, value: node.node() });
                    }
                }
                for (index, value) in &self.mirrored {
                    for node in path.query_located(value) {
                        let Some(below) = below_structured_content(node.location()) else { continue };
                        root.text_of_content(*index).at(below).select(Hit { rule, value: node.node() });
                    }
                }
            }
        }
        root
    }
}

/// The rest of a path that leads to or through `$.result.structuredContent`.
fn below_structured_content<'p, 'v>(path: &'p NormalizedPath<'v>) -> Option<impl Iterator<Item = &'p PathElement<'v>>> {
    (path.len() >= 2).then(|| path.iter().skip(2))
}

impl<'v> Spot<'v> {
    fn at<'p>(&mut self, steps: impl Iterator<Item = &'p PathElement<'v>>) -> &mut Self
    where
        'v: 'p,
    {
        steps.fold(self, |spot, step| match *step {
            PathElement::Name(name) => spot.members.entry(name).or_default(),
            PathElement::Index(index) => spot.elements.entry(index).or_default(),
        })
    }

    fn text_of_content(&mut self, index: usize) -> &mut Self {
        let contents = self.members.entry("result").or_default().members.entry("content").or_default();
        contents.elements.entry(index).or_default().members.entry("text").or_default()
    }

    fn select(&mut self, hit: Hit<'v>) {
        self.selected.get_or_insert(hit);
    }

    /// Whether nothing here or below is selected.
    pub(super) fn is_empty(&self) -> bool {
        self.selected.is_none() && self.members.is_empty() && self.elements.is_empty()
    }
}

/// Whether a text might be JSON that holds values of its own.
pub(super) fn looks_like_json(text: &str) -> bool {
    let text = text.trim_ascii().as_bytes();
    matches!((text.first(), text.last()), (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')))
}

fn holds_json(value: &Value) -> bool {
    match value {
        Value::String(text) => looks_like_json(text),
        Value::Array(values) => values.iter().any(holds_json),
        Value::Object(members) => members.values().any(holds_json),
        _ => false,
    }
}

/// The value with each JSON text in it replaced by what it says.
fn opened(value: &Value, depth: usize) -> Value {
    match value {
        Value::String(text) if depth > 0 && looks_like_json(text) => {
            strict::parse(text).map_or_else(|_| value.clone(), |inner| opened(&inner, depth - 1))
        }
        Value::Array(values) => values.iter().map(|value| opened(value, depth)).collect(),
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), opened(value, depth))).collect(),
        _ => value.clone(),
    }
}
