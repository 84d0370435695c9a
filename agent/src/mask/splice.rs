//! A message with stand-ins in place of values.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use serde_json::value::RawValue;

use super::{
    MaskKey, Way,
    select::Readings,
    walk::{Edit, Walk, is_json},
};

/// Stands for a rule's name in the token and in the counts when a text could not be masked and was replaced as a whole.
pub const UNREADABLE: &str = "unreadable";

/// A message after masking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masked<'t> {
    /// The masked text; borrowed when nothing was replaced.
    pub text: Cow<'t, str>,
    /// How many values each rule replaced.
    pub counts: BTreeMap<String, u64>,
    /// Where whole values were replaced, in `text`.
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

    /// Whether something was replaced.
    pub fn is_changed(&self) -> bool {
        !self.counts.is_empty()
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

/// Masks the JSON text of a message. What cannot be masked is replaced as a whole.
pub(super) fn message<'t>(text: &'t str, walk: &Walk<'_>) -> Masked<'t> {
    edits(text, walk)
        .map_or_else(|| Masked::whole(walk.tokens.of_text(UNREADABLE, text)), |edits| put_together(text, &edits))
}

/// Masks plain text, such as a URI's.
pub(super) fn plain<'t>(text: &'t str, way: &Way, key: &MaskKey) -> Masked<'t> {
    put_together(text, &Walk::of(way, &key.tokens()).finds(text, None))
}

fn edits(text: &str, walk: &Walk<'_>) -> Option<Vec<Edit>> {
    if walk.way.has_paths {
        let readings = Readings::of(text)?;
        return walk.message(text, Some(&readings.places(&walk.way.rules)?));
    }
    if is_json(text) { walk.message(text, None) } else { None }
}

fn put_together<'t>(text: &'t str, edits: &[Edit]) -> Masked<'t> {
    if edits.is_empty() {
        return Masked::untouched(text);
    }
    let mut counts = BTreeMap::new();
    for edit in edits {
        *counts.entry(edit.rule.clone()).or_default() += 1;
    }
    let (text, tokens) = spliced(text, edits);
    Masked { text: text.into(), counts, tokens }
}

/// The text after its edits, and where those of whole values stand in it.
pub(super) fn spliced(text: &str, edits: &[Edit]) -> (String, Vec<Range<usize>>) {
    let (mut spliced, mut tokens, mut copied) = (String::with_capacity(text.len()), Vec::new(), 0);
    for edit in edits {
        spliced.push_str(&text[copied..edit.range.start]);
        let start = spliced.len();
        spliced.push_str(&edit.text);
        if edit.whole {
            tokens.push(start..spliced.len());
        }
        copied = edit.range.end;
    }
    spliced.push_str(&text[copied..]);
    (spliced, tokens)
}
