//! One value in several texts. The texts of a thread are read as one; what is found there is masked in each of them as far
//! as it stands in it.
//!
//! A record is made when all have come, so there every part is masked ([`across`]). To the client each text passes when it
//! comes ([`Threads`]): a part is masked from where the whole is known for what it is, and what went before it is gone.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
};

use zeroize::Zeroizing;

use super::{
    Way,
    detect::{self, Found, Set, Subject},
    layer::Layer,
    told::Told,
};
use crate::config::Detector;

/// How much of what a thread has said is looked at again.
const REACH: usize = 4 << 10;
/// And at most, where a value has not ended yet, such as a private key.
const FAR_REACH: usize = 16 << 10;
/// Most threads of one stream; beyond it the one that was silent longest is forgotten.
const THREADS: usize = 8;

/// What is found in one string of a message when it is read with the texts around it.
#[derive(Debug, Default)]
pub(super) struct Further {
    /// Where the string begins in the message.
    pub(super) literal: usize,
    /// By their place in what it says.
    pub(super) finds: Vec<Part>,
}

/// A value as far as it stands in one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) found: Found,
    /// Whether it goes on in another text.
    pub(super) goes_on: bool,
}

/// Texts, one behind the other.
#[derive(Default)]
struct Joined {
    text: Zeroizing<String>,
    parts: Vec<Range<usize>>,
}

impl Joined {
    fn push(&mut self, text: &str) {
        // What follows an address is a sentence of its own rather than its end.
        if text.starts_with(char::is_uppercase) && self.ends_in_address() {
            self.text.push('\n');
        }
        let start = self.text.len();
        self.text.push_str(text);
        self.parts.push(start..self.text.len());
    }

    fn ends_in_address(&self) -> bool {
        let last = self.parts.last().map_or("", |part| &self.text[part.clone()]);
        let addresses = detect::scan(Subject { text: last, name: None }, Set::of([Detector::Email]));
        addresses.last().is_some_and(|address| address.range.end == last.len())
    }

    fn finds(&self, name: &str, detectors: Set) -> Vec<Found> {
        detect::scan(Subject { text: &self.text, name: Some(name) }, detectors)
    }

    /// What of `finds` stands in one of the texts.
    fn within(&self, at: usize, finds: &[Found]) -> Vec<Part> {
        let own = &self.parts[at];
        let part = |found: &Found| {
            let (start, end) = (found.range.start.max(own.start), found.range.end.min(own.end));
            let range = start.checked_sub(own.start)?..end.checked_sub(own.start)?;
            let goes_on = (start, end) != (found.range.start, found.range.end);
            (start < end).then_some(Part { found: Found { range, detector: found.detector }, goes_on })
        };
        // They are in order and apart, so those that end before this text begins come first.
        let first = finds.partition_point(|found| found.range.end <= own.start);
        finds[first..].iter().take_while(|found| found.range.start < own.end).filter_map(part).collect()
    }
}

/// What is found in each of a stream's messages when those of a thread are read as one.
pub(super) fn across(messages: &[&str], way: &Way) -> Vec<Option<Further>> {
    let mut threads: HashMap<String, (Joined, Vec<(usize, Told)>)> = HashMap::new();
    for (at, message) in messages.iter().enumerate() {
        let Some((told, text)) = text_of(message, way) else { continue };
        let (joined, members) = threads.entry(told.thread.clone()).or_default();
        joined.push(&text.text);
        members.push((at, told));
    }
    let mut further: Vec<Option<Further>> = messages.iter().map(|_| None).collect();
    for (joined, members) in threads.into_values().filter(|(_, members)| members.len() > 1) {
        let finds = joined.finds(members[0].1.name, way.detectors);
        for (part, (at, told)) in members.into_iter().enumerate() {
            further[at] = Some(Further { literal: told.literal.start, finds: joined.within(part, &finds) });
        }
    }
    further
}

fn text_of<'m>(message: &'m str, way: &Way) -> Option<(Told, Layer<'m>)> {
    let told = Told::of(message).filter(|_| !way.detectors.is_empty())?;
    let text = Layer::of_string(message, &told.literal)?;
    Some((told, text))
}

/// What the threads of one stream said last. It has no `Debug`, since that is not masked, and is erased when dropped.
#[derive(Default)]
pub struct Threads(VecDeque<Thread>);

struct Thread {
    name: String,
    said: Zeroizing<String>,
    /// Where a value begins that was found in it and reaches its end.
    open: Option<usize>,
}

impl Threads {
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|thread| thread.said.capacity()).sum()
    }

    /// What is found in a message when it is read behind what its thread said, and whether a value among it began where nobody
    /// knew it for one.
    pub(super) fn follow(&mut self, message: &str, way: &Way) -> (Option<Further>, bool) {
        let Some((told, text)) = text_of(message, way) else { return (None, false) };
        let Thread { name, said, open } = self.take(told.thread);
        let mut joined = Joined::default();
        joined.push(&said);
        joined.push(&text.text);
        let finds = joined.finds(told.name, way.detectors);
        let own = joined.parts[1].start;
        let began_unseen = |found: &Found| {
            found.range.start < own && found.range.end > own && open.is_none_or(|open| found.range.start < open)
        };
        let is_late = finds.iter().any(began_unseen);
        let further = Further { literal: told.literal.start, finds: joined.within(1, &finds) };
        self.keep(name, &joined.text, finds.last());
        (Some(further), is_late)
    }

    fn take(&mut self, name: String) -> Thread {
        let known = self.0.iter().position(|thread| thread.name == name).and_then(|at| self.0.remove(at));
        known.unwrap_or_else(|| Thread { name, said: Zeroizing::default(), open: None })
    }

    fn keep(&mut self, name: String, text: &str, last: Option<&Found>) {
        let open = last.filter(|last| last.range.end == text.len()).map(|last| last.range.start);
        let near = text.len().saturating_sub(REACH);
        let from = open.map_or(near, |open| near.min(open)).max(text.len().saturating_sub(FAR_REACH));
        let from = text.floor_char_boundary(from);
        let said = Zeroizing::new(text[from..].to_owned());
        self.0.push_back(Thread { name, said, open: open.map(|open| open.saturating_sub(from)) });
        if self.0.len() > THREADS {
            self.0.pop_front();
        }
    }
}
