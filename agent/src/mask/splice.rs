//! Finds the selected values in the text and puts tokens in their place.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
};

use serde_json::{Value, value::RawValue};
use serde_json_path::{NormalizedPath, PathElement};

use super::{MaskKey, Rule, key::Tokens, strict};

/// Stands for a rule's name in the token and in the counts when a text could not be masked and was replaced as a whole.
pub const UNREADABLE: &str = "unreadable";

/// A message after masking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masked<'t> {
    /// The masked text; borrowed when nothing was replaced.
    pub text: Cow<'t, str>,
    /// How many values each rule replaced.
    pub counts: BTreeMap<String, u64>,
    /// Where the tokens stand in `text`.
    tokens: Vec<Range<usize>>,
}

impl<'t> Masked<'t> {
    pub(super) fn untouched(text: &'t str) -> Self {
        Self { text: text.into(), counts: BTreeMap::new(), tokens: Vec::new() }
    }

    fn whole(token: String) -> Self {
        let tokens = std::iter::once(0..token.len()).collect();
        Self { text: token.into(), counts: BTreeMap::from([(UNREADABLE.to_owned(), 1)]), tokens }
    }

    /// The masked text of a member, e.g. `["params", "name"]`; `None` when the message has no such member. Where a value on the
    /// way was replaced, its token stands for all that it held. One pass over the text for each name.
    pub fn at(&self, names: &[&str]) -> Option<&str> {
        let mut part = self.text.trim_ascii();
        for name in names {
            let start = part.as_ptr().addr() - self.text.as_ptr().addr();
            if self.tokens.contains(&(start..start + part.len())) {
                break;
            }
            part = serde_json::from_str::<HashMap<Cow<'_, str>, &RawValue>>(part).ok()?.get(*name)?.get();
        }
        Some(part)
    }
}

/// Masks `text` by `rules`, of which there is at least one.
pub(super) fn mask<'t>(text: &'t str, rules: &[Arc<Rule>], key: &MaskKey) -> Masked<'t> {
    let tokens = key.tokens();
    replace(text, rules, &tokens).unwrap_or_else(|| Masked::whole(tokens.of_text(UNREADABLE, text)))
}

/// `None` when the text cannot be read, or a selected value cannot be found in it.
fn replace<'t>(text: &'t str, rules: &[Arc<Rule>], tokens: &Tokens) -> Option<Masked<'t>> {
    let value = strict::parse(text).ok()?;
    let mut root = Spot::default();
    for rule in rules {
        for node in rule.paths.iter().flat_map(|path| path.query_located(&value)) {
            root.mark(node.location(), Hit { rule, value: node.node() });
        }
    }
    let mut found = Vec::new();
    root.find(text.trim_ascii(), &mut found)?;
    Some(splice(text, found, tokens))
}

fn splice<'t>(text: &'t str, mut found: Vec<(&'t str, Hit<'_>)>, tokens: &Tokens) -> Masked<'t> {
    if found.is_empty() {
        return Masked::untouched(text);
    }
    let offset = |part: &str| part.as_ptr().addr() - text.as_ptr().addr();
    found.sort_by_key(|(part, _)| offset(part));
    let mut masked =
        Masked { text: Cow::Borrowed(""), counts: BTreeMap::new(), tokens: Vec::with_capacity(found.len()) };
    let (mut spliced, mut copied) = (String::with_capacity(text.len()), 0);
    for (part, Hit { rule, value }) in found {
        spliced.push_str(&text[copied..offset(part)]);
        let start = spliced.len();
        spliced.push_str(&tokens.of_value(&rule.name, value));
        masked.tokens.push(start..spliced.len());
        *masked.counts.entry(rule.name.clone()).or_default() += 1;
        copied = offset(part) + part.len();
    }
    spliced.push_str(&text[copied..]);
    Masked { text: spliced.into(), ..masked }
}

/// A value that a rule selects.
#[derive(Clone, Copy)]
struct Hit<'v> {
    rule: &'v Rule,
    value: &'v Value,
}

/// A place on the way to selected values: a tree of their paths, so that each container is read once.
#[derive(Default)]
struct Spot<'v> {
    selected: Option<Hit<'v>>,
    members: HashMap<&'v str, Self>,
    elements: HashMap<usize, Self>,
}

impl<'v> Spot<'v> {
    fn mark(&mut self, path: &NormalizedPath<'v>, hit: Hit<'v>) {
        let mut spot = self;
        for step in path.iter() {
            spot = match *step {
                PathElement::Name(name) => spot.members.entry(name).or_default(),
                PathElement::Index(index) => spot.elements.entry(index).or_default(),
            };
        }
        spot.selected.get_or_insert(hit);
    }

    /// Finds the selected values in `text`, which is this place's. What is below a selected value goes with it.
    fn find<'t>(&self, text: &'t str, found: &mut Vec<(&'t str, Hit<'v>)>) -> Option<()> {
        if let Some(hit) = self.selected {
            found.push((text, hit));
            return Some(());
        }
        if !self.members.is_empty() {
            let members: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(text).ok()?;
            for (name, spot) in &self.members {
                spot.find(members.get(*name)?.get(), found)?;
            }
        }
        if !self.elements.is_empty() {
            let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            for (index, spot) in &self.elements {
                spot.find(elements.get(*index)?.get(), found)?;
            }
        }
        Some(())
    }
}
