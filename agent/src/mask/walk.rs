//! Walks a JSON text once and collects what is to be replaced: values that queries select, and what detectors find in strings,
//! numbers and keys. Texts inside strings are walked like the message itself.

use std::ops::Range;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

use super::{
    Way,
    cursor::Cursor,
    detect::{self, Found, Subject},
    key::Tokens,
    layer::{Layer, escaped},
    parts::{Further, Part},
    place::Place,
    select::{EMBEDDED, Hit, Places, Spot, looks_like_json},
    splice::UNREADABLE,
    stand_in,
};
use crate::config::MaskStyle;

/// Members whose strings are base64 (MCP's `BlobResourceContents`, `ImageContent`, `AudioContent`).
const ENCODED: [&str; 2] = ["blob", "data"];

/// A range of a text, and what is to stand there.
#[derive(Debug)]
pub(super) struct Edit {
    pub(super) range: Range<usize>,
    pub(super) text: String,
    /// Whose rule it is.
    pub(super) rule: String,
    /// Whether a whole JSON value is replaced.
    pub(super) whole: bool,
}

/// What one pass over a message needs to know.
pub(super) struct Walk<'w> {
    pub(super) way: &'w Way,
    pub(super) tokens: &'w Tokens,
    /// Whether the members that the protocol needs stay as they are.
    pub(super) inline: bool,
    /// What is known of one of its strings from texts around the message.
    pub(super) further: Option<&'w Further>,
}

/// Where in the text and in the message the walk stands.
#[derive(Clone, Copy)]
struct Here<'h, 'v> {
    /// What the paths make of the whole message.
    places: Option<&'h Places<'v>>,
    spot: Option<&'h Spot<'v>>,
    /// What a selected container above hands down, where it may not be replaced as a whole.
    hit: Option<Hit<'v>>,
    place: Place,
    /// The member's name.
    name: Option<&'h str>,
    depth: usize,
    /// Texts around this one.
    embedded: usize,
}

impl<'w> Walk<'w> {
    /// Of a message by itself, for the record.
    pub(super) fn of(way: &'w Way, tokens: &'w Tokens) -> Self {
        Self { way, tokens, inline: false, further: None }
    }
}

impl Walk<'_> {
    /// What is to be replaced in `text`, which is JSON, in the order of the text. `None` when it is not JSON that can be walked.
    pub(super) fn message(&self, text: &str, places: Option<&Places<'_>>) -> Option<Vec<Edit>> {
        let mut edits = Vec::new();
        let spot = places.map(|places| &places.root);
        let here = Here { places, spot, hit: None, place: Place::Message, name: None, depth: 0, embedded: 0 };
        let mut cursor = Cursor { text, at: 0 };
        cursor.space();
        self.value(&mut cursor, here, &mut edits)?;
        Some(edits)
    }

    fn value<'h, 'v>(&self, cursor: &mut Cursor<'_>, here: Here<'h, 'v>, edits: &mut Vec<Edit>) -> Option<()> {
        let kept = self.inline && here.place.is_kept();
        let hit = here.hit.or_else(|| here.spot?.selected);
        let first = *cursor.text.as_bytes().get(cursor.at)?;
        if kept {
            cursor.skip()?;
            return Some(());
        }
        if let Some(hit) = hit.filter(|_| !(self.inline && first == b'{' && here.place.may_hold_kept())) {
            let start = cursor.at;
            cursor.skip()?;
            let label = &hit.rule.name;
            let text = stand_in::of_value(hit.rule.style, label, hit.value, self.tokens);
            let text = format!("\"{}\"", escaped(&text));
            edits.push(Edit { range: start..cursor.at, text, rule: label.clone(), whole: true });
            return Some(());
        }
        match first {
            b'{' => self.object(cursor, Here { hit, ..here }, edits),
            b'[' => self.array(cursor, here, edits),
            b'"' => {
                let literal = cursor.string()?;
                if here.place.is_kept() { Some(()) } else { self.string(cursor.text, &literal, here, edits) }
            }
            b'-' | b'0'..=b'9' => {
                let number = cursor.plain();
                if !here.place.is_kept() {
                    self.number(cursor.text, number, here.name, edits);
                }
                Some(())
            }
            _ => {
                cursor.plain();
                Some(())
            }
        }
    }

    fn object<'h, 'v>(&self, cursor: &mut Cursor<'_>, here: Here<'h, 'v>, edits: &mut Vec<Edit>) -> Option<()> {
        let depth = here.depth + 1;
        cursor.open(depth)?;
        while !cursor.closes(b'}')? {
            let literal = cursor.string()?;
            let key = Layer::of_string(cursor.text, &literal)?;
            let place = here.place.member(&key.text);
            if !place.is_kept() {
                self.key(&key, edits);
            }
            cursor.punctuation(b':')?;
            let spot = here.spot.and_then(|spot| spot.members.get(&*key.text));
            // Only what a selected container hands down is looked up in its value.
            let hit = here.hit.and_then(|hit| Some(Hit { value: hit.value.get(&*key.text)?, ..hit }));
            self.value(cursor, Here { spot, hit, place, name: Some(&key.text), depth, ..here }, edits)?;
            cursor.space();
        }
        Some(())
    }

    fn array<'h, 'v>(&self, cursor: &mut Cursor<'_>, here: Here<'h, 'v>, edits: &mut Vec<Edit>) -> Option<()> {
        let depth = here.depth + 1;
        cursor.open(depth)?;
        let place = here.place.element();
        let mut index = 0;
        while !cursor.closes(b']')? {
            let spot = here.spot.and_then(|spot| spot.elements.get(&index));
            self.value(cursor, Here { spot, hit: None, place, depth, ..here }, edits)?;
            cursor.space();
            index += 1;
        }
        Some(())
    }

    fn string<'h, 'v>(
        &self,
        upper: &str,
        literal: &Range<usize>,
        here: Here<'h, 'v>,
        edits: &mut Vec<Edit>,
    ) -> Option<()> {
        let has_places = here.spot.is_some_and(|spot| !spot.is_empty())
            || here.places.is_some_and(|places| !places.unreadable.is_empty());
        if self.way.detectors.is_empty() && !has_places {
            return Some(());
        }
        let layer = Layer::of_string(upper, literal)?;
        let further = self.further.filter(|further| here.embedded == 0 && further.literal == literal.start);
        let inner = self.text(&layer.text, here, further);
        edits.extend(inner.into_iter().map(|edit| Edit {
            range: layer.above(&edit.range),
            text: escaped(&edit.text),
            whole: false,
            ..edit
        }));
        Some(())
    }

    /// What is to be replaced in what a string says.
    fn text<'h, 'v>(&self, text: &str, here: Here<'h, 'v>, further: Option<&Further>) -> Vec<Edit> {
        if here.places.is_some_and(|places| places.unreadable.contains(text)) {
            let stand_in = stand_in::text(MaskStyle::Token, UNREADABLE, text, self.tokens);
            return vec![Edit { range: 0..text.len(), text: stand_in, rule: UNREADABLE.to_owned(), whole: false }];
        }
        if here.embedded < EMBEDDED && looks_like_json(text) && is_json(text) {
            let mut edits = Vec::new();
            let embedded = here.embedded + 1;
            let inside =
                Here { hit: None, place: Place::Inside { kept: false }, name: None, depth: 0, embedded, ..here };
            let mut cursor = Cursor { text, at: 0 };
            cursor.space();
            if self.value(&mut cursor, inside, &mut edits).is_some() {
                return edits;
            }
        }
        if let Some(edit) = self.encoded(text, here.name) {
            return vec![edit];
        }
        match further {
            None => self.finds(text, here.name),
            Some(further) => self.parts(text, here.name, further),
        }
    }

    /// What is to be replaced in plain text.
    pub(super) fn finds(&self, text: &str, name: Option<&str>) -> Vec<Edit> {
        self.found(text, name).into_iter().filter_map(|found| self.edit(text, found)).collect()
    }

    /// The same in a text whose values may go on in others.
    fn parts(&self, text: &str, name: Option<&str>, further: &Further) -> Vec<Edit> {
        let own = self.found(text, name).into_iter().map(|found| Part { found, goes_on: false });
        let mut parts: Vec<Part> = own.chain(further.finds.iter().cloned()).collect();
        parts.sort_by_key(|part| part.found.range.start);
        let mut apart: Vec<Part> = Vec::with_capacity(parts.len());
        for next in parts {
            match apart.last_mut() {
                Some(last) if next.found.range.start < last.found.range.end => {
                    last.found.range.end = last.found.range.end.max(next.found.range.end);
                    last.found.detector = last.found.detector.min(next.found.detector);
                    last.goes_on |= next.goes_on;
                }
                _ => apart.push(next),
            }
        }
        let edit = |Part { found, goes_on }: Part| {
            let rule = self.way.rule_of(found.detector)?;
            let label = format!("{}/{}", rule.name, found.detector);
            let edit = self.edit(text, found)?;
            // Of a part, nothing is shown and no token made: parts are short, and tokens of short texts can be learnt.
            Some(if goes_on { Edit { text: stand_in::of_part(&label), ..edit } } else { edit })
        };
        apart.into_iter().filter_map(edit).collect()
    }

    /// What detectors find in plain text.
    fn found(&self, text: &str, name: Option<&str>) -> Vec<Found> {
        let detectors = self.way.detectors;
        let mut found = detect::scan(Subject { text, name }, detectors);
        if found.is_empty()
            && text.contains('%')
            && let Some(decoded) = Layer::of_uri(text)
        {
            let below = detect::scan(Subject { text: &decoded.text, name }, detectors);
            found = below.into_iter().map(|found| Found { range: decoded.above(&found.range), ..found }).collect();
        }
        found
    }

    fn edit(&self, text: &str, found: Found) -> Option<Edit> {
        let rule = self.way.rule_of(found.detector)?;
        let label = format!("{}/{}", rule.name, found.detector);
        let stand_in = stand_in::text(rule.style, &label, &text[found.range.clone()], self.tokens);
        Some(Edit { range: found.range, text: stand_in, rule: rule.name.clone(), whole: false })
    }

    /// A string of base64 that holds text is masked behind its encoding, and encoded again.
    fn encoded(&self, text: &str, name: Option<&str>) -> Option<Edit> {
        let is_named = name.is_some_and(|name| ENCODED.contains(&name)) && text.len() >= 16;
        // Images and sounds show themselves by their first bytes.
        let first = is_named.then(|| text.get(..16)).flatten()?;
        let opens_as_text = STANDARD.decode(first).ok().is_some_and(|bytes| {
            std::str::from_utf8(&bytes).map_or_else(|error| error.error_len().is_none(), |_| true)
        });
        let decoded = opens_as_text.then(|| STANDARD.decode(text).ok()).flatten()?;
        let decoded = String::from_utf8(decoded).ok()?;
        let edits = self.finds(&decoded, None);
        let rule = edits.first()?.rule.clone();
        let (masked, _) = super::splice::spliced(&decoded, &edits);
        Some(Edit { range: 0..text.len(), text: STANDARD.encode(masked), rule, whole: false })
    }

    /// A key is replaced within its quotes. Two keys must not become one, so a key always gets a token.
    fn key(&self, key: &Layer<'_>, edits: &mut Vec<Edit>) {
        for found in detect::scan(Subject { text: &key.text, name: None }, self.way.detectors) {
            let Some(rule) = self.way.rule_of(found.detector) else { continue };
            let label = format!("{}/{}", rule.name, found.detector);
            let value = &key.text[found.range.clone()];
            let text = escaped(&stand_in::text(MaskStyle::Token, &label, value, self.tokens));
            edits.push(Edit { range: key.above(&found.range), text, rule: rule.name.clone(), whole: false });
        }
    }

    /// A number that is a value that detectors know becomes a string.
    fn number(&self, text: &str, range: Range<usize>, name: Option<&str>, edits: &mut Vec<Edit>) {
        let shown = &text[range.clone()];
        // The shortest that a detector knows.
        if shown.len() < 8 || self.way.detectors.is_empty() {
            return;
        }
        let found = detect::scan(Subject { text: shown, name }, self.way.detectors);
        let Some(found) = found.into_iter().next() else { return };
        let whole = Found { range: 0..shown.len(), ..found };
        if let Some(edit) = self.edit(shown, whole) {
            let text = format!("\"{}\"", escaped(&edit.text));
            edits.push(Edit { range, text, whole: true, ..edit });
        }
    }
}

/// Whether a text is one JSON value.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}
