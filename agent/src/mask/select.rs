//! What the queries of the rules select: a tree of places, laid beside the text when it is walked.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_json::{Value, json};

use super::{
    Rule,
    query::{Query, Size, Step, anywhere},
    strict,
    walk::is_json,
};

/// How many texts inside each other are read as JSON.
pub(super) const EMBEDDED: usize = 3;

/// A value that a rule selects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit<'v> {
    pub(super) rule: &'v Arc<Rule>,
    /// The rule's place among all.
    pub(super) order: usize,
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

/// What paths make of a message.
#[derive(Debug)]
pub(super) struct Places<'v> {
    pub(super) root: Spot<'v>,
    /// JSON texts in strings that cannot be read in one way only, so that nobody can say what the paths select in them.
    pub(super) unreadable: &'v HashSet<String>,
}

/// The values that queries are asked of: the message; the same with JSON texts read; and, as servers write structured content
/// once more as text, each such text where the structured content would stand.
pub(super) struct Readings {
    message: Value,
    opened: Option<Value>,
    mirrored: Vec<(usize, Value)>,
    unreadable: HashSet<String>,
}

impl Readings {
    /// Reads `text`; `None` when it cannot be read in one way only.
    pub(super) fn of(text: &str) -> Option<Self> {
        let message = strict::parse(text).ok()?;
        let mut unreadable = HashSet::new();
        let opened = holds_json(&message).then(|| opened(&message, EMBEDDED, &mut unreadable));
        let contents = opened.as_ref().and_then(|value| value.pointer("/result/content")).and_then(Value::as_array);
        let mirror = |(index, content): (usize, &Value)| {
            let text = content.get("text").filter(|text| text.is_object() || text.is_array())?;
            Some((index, json!({ "result": { "structuredContent": text } })))
        };
        let mirrored = contents.into_iter().flatten().enumerate().filter_map(mirror).collect();
        Some(Self { message, opened, mirrored, unreadable })
    }

    /// The places that `rules` select. The first rule that selects a place has it. `None` when one of their queries would take too
    /// long.
    pub(super) fn places<'v>(&'v self, rules: &'v [Arc<Rule>]) -> Option<Places<'v>> {
        let size = Size::of(self.opened.as_ref().unwrap_or(&self.message));
        let may_be_asked = rules.iter().flat_map(|rule| &rule.paths).all(|path| path.may_be_asked(size));
        may_be_asked.then(|| Places { root: self.root(rules), unreadable: &self.unreadable })
    }

    fn root<'v>(&'v self, rules: &'v [Arc<Rule>]) -> Spot<'v> {
        let mut root = Spot::default();
        let mut names: HashMap<&str, (usize, &'v Arc<Rule>)> = HashMap::new();
        for (order, rule) in rules.iter().enumerate() {
            for path in &rule.paths {
                if let Query::Anywhere(name) = path {
                    names.entry(name).or_insert((order, rule));
                }
                for value in std::iter::once(&self.message).chain(&self.opened) {
                    path.ask(value, |way, value| root.at(way).select(Hit { rule, order, value }));
                }
                for (index, value) in &self.mirrored {
                    path.ask(value, |way, value| root.select_mirrored(*index, way, Hit { rule, order, value }));
                }
            }
        }
        if names.is_empty() {
            return root;
        }
        let mut way = Vec::new();
        for value in std::iter::once(&self.message).chain(&self.opened) {
            anywhere(&names, value, &mut way, &mut |way, value, (order, rule)| {
                root.at(way).select(Hit { rule, order, value });
            });
        }
        for (index, value) in &self.mirrored {
            anywhere(&names, value, &mut way, &mut |way, value, (order, rule)| {
                root.select_mirrored(*index, way, Hit { rule, order, value });
            });
        }
        root
    }
}

impl<'v> Spot<'v> {
    fn at(&mut self, way: &[Step<'v>]) -> &mut Self {
        way.iter().fold(self, |spot, step| match *step {
            Step::Member(name) => spot.members.entry(name).or_default(),
            Step::Element(index) => spot.elements.entry(index).or_default(),
        })
    }

    /// Selects in a text what is selected at or below `$.result.structuredContent`.
    fn select_mirrored(&mut self, index: usize, way: &[Step<'v>], hit: Hit<'v>) {
        if let Some(below) = way.get(2..) {
            self.text_of_content(index).at(below).select(hit);
        }
    }

    fn text_of_content(&mut self, index: usize) -> &mut Self {
        let contents = self.members.entry("result").or_default().members.entry("content").or_default();
        contents.elements.entry(index).or_default().members.entry("text").or_default()
    }

    fn select(&mut self, hit: Hit<'v>) {
        if self.selected.is_none_or(|first| hit.order < first.order) {
            self.selected = Some(hit);
        }
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

/// The value with each JSON text in it replaced by what it says. Those that cannot be read stay, and are noted.
fn opened(value: &Value, depth: usize, unreadable: &mut HashSet<String>) -> Value {
    match value {
        Value::String(text) if depth > 0 && looks_like_json(text) => match strict::parse(text) {
            Ok(inner) => opened(&inner, depth - 1, unreadable),
            Err(_) => {
                unreadable.extend(is_json(text).then(|| text.clone()));
                value.clone()
            }
        },
        Value::Array(values) => values.iter().map(|value| opened(value, depth, unreadable)).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| (key.clone(), opened(value, depth, unreadable))).collect()
        }
        _ => value.clone(),
    }
}
