//! What is known of one endpoint's definitions: which forms are trusted, and which one waits for a person.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::form::{Definition, Fingerprint, Item};

/// Most entries of one endpoint. What does not fit is never trusted.
pub(super) const ENTRIES: usize = 4096;

/// Most forms of one entry that are trusted at once; beyond it the one that was accepted longest ago is not any more.
const FORMS: usize = 8;

/// Longest text of a member that is kept to be shown, in bytes; of a longer one its beginning.
const TEXT: usize = 16 << 10;

/// Most bytes of such texts for one endpoint; beyond it only digests are kept.
const TEXTS: usize = 2 << 20;

/// Longest name and longest server that are kept to be shown, in bytes.
const NAME: usize = 256;

/// How often the form that waits is exchanged for a newer one: a server that says something else each time writes no faster.
const EXCHANGE: Duration = Duration::from_secs(10);

/// Which entry: a digest of the server, the kind and the name, none of which need be kept in the clear.
pub(super) type EntryId = Fingerprint;

/// All that is known of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Book {
    /// What was trusted has been lost: from then on nothing is trusted at first sight, until all of it is accepted.
    pub(super) lost: bool,
    pub(super) entries: HashMap<EntryId, Entry>,
}

/// What is known of one tool, prompt or template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is.
    pub item: Item,
    /// Where it is offered, masked.
    pub server: String,
    /// Its name or URI template, masked.
    pub name: String,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// The forms that are trusted, the newest first; none after a loss.
    pub trusted: Vec<Form>,
    /// Another form that the server has offered since, and that nobody has accepted yet.
    pub offered: Option<Form>,
}

/// One form of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Form {
    /// Of all that is watched.
    pub fingerprint: Fingerprint,
    /// When it was first seen.
    pub seen: Timestamp,
    /// By name.
    pub members: BTreeMap<String, Said>,
}

/// What one member says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Of its text.
    pub sha256: Fingerprint,
    /// Its beginning, masked; none where it is not kept.
    pub text: Option<String>,
}

/// An entry of a list, as it is offered.
#[derive(Debug, Clone)]
pub(super) struct Offer<'o> {
    pub(super) id: EntryId,
    pub(super) item: Item,
    pub(super) server: &'o str,
    pub(super) name: &'o str,
    pub(super) fingerprint: Fingerprint,
    pub(super) definition: &'o Definition,
    /// The same as it may be kept; none where a mask leaves nothing of it.
    pub(super) masked: Option<&'o Definition>,
}

/// What an offer is, to who knows what was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It is trusted.
    Trusted,
    /// It was never seen before, and is trusted from now on.
    New,
    /// It was trusted in another form, and this one is seen for the first time.
    Changed,
    /// It waits for a person: this form, or another one of it.
    Waiting,
    /// There is no room to remember it.
    NoRoom,
}

/// What a person accepts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Which {
    /// Its name; all that wait where there is none.
    pub name: Option<String>,
    /// The beginning of a fingerprint: only this form. A form that is trusted already means that what waits is not accepted.
    pub fingerprint: Option<String>,
}

impl Entry {
    /// Which members of the form that waits are not as they were trusted last.
    pub fn changed_members(&self) -> Vec<&str> {
        let Some(offered) = &self.offered else { return Vec::new() };
        let trusted = self.trusted.first();
        let was = |name: &str| trusted.and_then(|form| form.members.get(name)).map(|said| said.sha256);
        let is = |name: &str| offered.members.get(name).map(|said| said.sha256);
        let names = trusted.into_iter().chain([offered]).flat_map(|form| form.members.keys());
        let names: BTreeSet<&str> = names.map(String::as_str).collect();
        names.into_iter().filter(|name| was(name) != is(name)).collect()
    }

    /// Whether this form is trusted.
    pub fn trusts(&self, fingerprint: Fingerprint) -> bool {
        self.trusted.iter().any(|form| form.fingerprint == fingerprint)
    }

    fn text_bytes(&self) -> usize {
        self.trusted.iter().chain(&self.offered).map(Form::text_bytes).sum()
    }
}

impl Form {
    fn of(offer: &Offer<'_>, seen: Timestamp, room: &mut usize) -> Self {
        let said = |(name, text): (&String, &String)| {
            let masked = offer.masked.and_then(|masked| masked.members.get(name));
            let shown = masked.map(|masked| cut(masked, TEXT)).filter(|shown| shown.len() <= *room);
            *room -= shown.as_ref().map_or(0, String::len);
            (name.clone(), Said { sha256: Fingerprint::of(text), text: shown })
        };
        let members = offer.definition.members.iter().map(said).collect();
        Self { fingerprint: offer.fingerprint, seen, members }
    }

    fn text_bytes(&self) -> usize {
        self.members.values().filter_map(|said| said.text.as_ref()).map(String::len).sum()
    }
}

impl Book {
    /// Whether an offer is nothing new, and nothing waits of it.
    pub(super) fn is_settled(&self, id: EntryId, fingerprint: Fingerprint) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.offered.is_none() && entry.trusts(fingerprint))
    }

    /// Whether an offer would be noted as what is known already, so that nothing has to be written.
    pub(super) fn look_up(&self, offer: &Offer<'_>, now: Timestamp) -> Option<Noted> {
        let Some(entry) = self.entries.get(&offer.id) else {
            return (self.entries.len() >= ENTRIES).then_some(Noted::NoRoom);
        };
        match &entry.offered {
            None => entry.trusts(offer.fingerprint).then_some(Noted::Trusted),
            Some(waiting) => {
                let is_known = waiting.fingerprint == offer.fingerprint || entry.trusts(offer.fingerprint);
                let too_soon = now.duration_since(waiting.seen).abs()
                    < SignedDuration::try_from(EXCHANGE).unwrap_or(SignedDuration::MAX);
                (is_known || too_soon).then_some(Noted::Waiting)
            }
        }
    }

    /// How many bytes of text may still be kept.
    pub(super) fn room(&self) -> usize {
        TEXTS.saturating_sub(self.entries.values().map(Entry::text_bytes).sum())
    }

    /// Notes an offer that [`look_up`](Self::look_up) has no answer for. What is kept of it is taken from `room`.
    pub(super) fn note(&mut self, offer: &Offer<'_>, now: Timestamp, room: &mut usize) -> Noted {
        let form = Form::of(offer, now, room);
        if let Some(entry) = self.entries.get_mut(&offer.id) {
            entry.offered = Some(form);
            return Noted::Changed;
        }
        let (trusted, offered, noted) =
            if self.lost { (Vec::new(), Some(form), Noted::Changed) } else { (vec![form], None, Noted::New) };
        let (server, name) = (cut(offer.server, NAME), cut(offer.name, NAME));
        let entry = Entry { item: offer.item, server, name, first_seen: now, trusted, offered };
        self.entries.insert(offer.id, entry);
        noted
    }

    /// The entries that wait and that `which` means.
    pub(super) fn meant<'b>(&'b self, which: &'b Which) -> impl Iterator<Item = (&'b EntryId, &'b Entry)> {
        self.entries.iter().filter(|(_, entry)| {
            let is_named = which.name.as_ref().is_none_or(|name| *name == entry.name);
            is_named && entry.offered.is_some() && (which.fingerprint.is_none() || which.settled_in(entry).is_some())
        })
    }

    /// Trusts what waits, as far as `which` means it.
    pub(super) fn accept(&mut self, which: &Which) {
        let meant: Vec<EntryId> = self.meant(which).map(|(id, _)| *id).collect();
        for id in meant {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            let keeps = which.settled_in(entry) == Some(Settled::Kept);
            if let Some(offered) = entry.offered.take().filter(|_| !keeps) {
                entry.trusted.insert(0, offered);
                entry.trusted.truncate(FORMS);
            }
        }
        self.lost &= *which != Which::default();
    }

    /// What may not be used until somebody accepts it.
    pub(super) fn waiting(&self) -> HashSet<EntryId> {
        self.entries.iter().filter(|(_, entry)| entry.offered.is_some()).map(|(id, _)| *id).collect()
    }
}

/// What a fingerprint means for an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// The form that waits is accepted.
    Accepted,
    /// It is not: a form that was trusted stays the one.
    Kept,
}

impl Which {
    fn settled_in(&self, entry: &Entry) -> Option<Settled> {
        let Some(beginning) = &self.fingerprint else { return Some(Settled::Accepted) };
        let begins = |form: &Form| form.fingerprint.to_string().starts_with(beginning.as_str());
        if entry.offered.as_ref().is_some_and(begins) {
            Some(Settled::Accepted)
        } else {
            entry.trusted.iter().any(begins).then_some(Settled::Kept)
        }
    }

    /// Whether the form that waits is to be trusted, of an entry that is meant.
    pub(crate) fn trusts_offered(&self, entry: &Entry) -> bool {
        self.settled_in(entry) == Some(Settled::Accepted)
    }
}

fn cut(text: &str, longest: usize) -> String {
    text[..text.floor_char_boundary(longest)].to_owned()
}
