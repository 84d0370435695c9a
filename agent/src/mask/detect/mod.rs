//! Finds secrets and personal data in text. Each family of values has a file of its own; a new one is that file and one line
//! here.
//!
//! Clean text has to be fast, so nothing is matched at every byte. A value can only stand in one of a few shapes: a long run of
//! the letters that keys are written in, a run of digits and their separators, around an `@`, behind `-----BEGIN`. [`runs`]
//! finds these in strides, and a family looks only there. What it finds it checks: by a checksum, a structure, or the words
//! before it.

mod api;
mod aws;
mod card;
mod context;
mod email;
mod entropy;
mod github;
mod gitlab;
mod google;
mod iban;
mod jwt;
mod oauth;
mod phone;
mod private_key;
mod runs;
mod slack;
mod ssn;
mod stripe;
mod token;

use std::ops::Range;

use self::runs::Class;
use crate::config::Detector;

/// Shortest run of key letters that is looked at.
const WORD: usize = 16;

/// A text, and the name of the member that it is the value of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'t> {
    pub(super) text: &'t str,
    pub(super) name: Option<&'t str>,
}

/// One value that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) range: Range<usize>,
    pub(super) detector: Detector,
}

/// Which detectors are asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Set(u32);

impl Set {
    pub(super) fn of(detectors: impl IntoIterator<Item = Detector>) -> Self {
        Self(detectors.into_iter().fold(0, |bits, detector| bits | 1 << detector as u32))
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn contains(self, detector: Detector) -> bool {
        self.0 & (1 << detector as u32) != 0
    }

    fn any(self, detectors: &[Detector]) -> bool {
        detectors.iter().any(|detector| self.contains(*detector))
    }
}

/// What `set` finds, in the order of the text and without overlaps. Where two values meet, one range stands for both.
pub(super) fn scan(subject: Subject<'_>, set: Set) -> Vec<Found> {
    let subject = subject.shortly_named();
    let mut found = Vec::new();
    let text = subject.text;
    if text.len() >= WORD {
        runs::each(text, Class::KEY, WORD, |word| token::look(subject, word, set, &mut found));
        if set.contains(Detector::PrivateKey) {
            private_key::look(text, &mut found);
        }
    }
    if text.len() >= phone::SHORTEST && set.any(&[Detector::CardNumber, Detector::Ssn, Detector::Phone]) {
        runs::each(text, Class::NUMBER, phone::SHORTEST, |run| {
            if runs::digits(&text.as_bytes()[run.clone()]) >= phone::SHORTEST_DIGITS {
                look_at_numbers(subject, run, set, &mut found);
            }
        });
    }
    if text.len() >= iban::SHORTEST && set.contains(Detector::Iban) {
        runs::each(text, Class::IBAN, iban::SHORTEST, |run| iban::look(text, run, &mut found));
    }
    if set.contains(Detector::Email) {
        found.extend(memchr::memchr_iter(b'@', text.as_bytes()).filter_map(|at| email::around(text, at)));
    }
    if set.contains(Detector::OauthToken) {
        oauth::passwords(text, &mut found);
    }
    merged(found)
}

fn look_at_numbers(subject: Subject<'_>, run: Range<usize>, set: Set, found: &mut Vec<Found>) {
    if set.contains(Detector::CardNumber) {
        card::look(subject.text, run.clone(), found);
    }
    if set.contains(Detector::Ssn) {
        ssn::look(subject, run.clone(), found);
    }
    if set.contains(Detector::Phone) {
        phone::look(subject, run, found);
    }
}

/// In order, overlapping ones as one; of two names the more telling one, which is the earlier in [`Detector::ALL`].
fn merged(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_by_key(|found| (found.range.start, found.detector));
    let mut apart: Vec<Found> = Vec::with_capacity(found.len());
    for next in found {
        match apart.last_mut() {
            Some(last) if next.range.start < last.range.end => {
                last.range.end = last.range.end.max(next.range.end);
                last.detector = last.detector.min(next.detector);
            }
            _ => apart.push(next),
        }
    }
    apart
}

/// Whether `range` begins and ends where no letter or digit goes on.
fn stands_alone(text: &str, range: &Range<usize>) -> bool {
    let bytes = text.as_bytes();
    let before = range.start.checked_sub(1).map(|at| bytes[at]);
    let after = bytes.get(range.end).copied();
    !before.is_some_and(|b| b.is_ascii_alphanumeric()) && !after.is_some_and(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests;
