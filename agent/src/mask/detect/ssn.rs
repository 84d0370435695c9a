//! US social security numbers: three parts, none of them one that is never issued (SSA, "Social Security Number Randomization").
//! With hyphens they stand for themselves; with spaces or nothing between the parts, words have to say what they are.

use std::{ops::Range, sync::LazyLock};

use super::{Found, Subject, context::Vocabulary};
use crate::config::Detector;

const WORDS: [&str; 9] = [
    "ssn",
    "social security",
    "social_security",
    "socialsecurity",
    "soc sec",
    "seguro social",
    "sécurité sociale",
    "sozialversicherung",
    "社会保障",
];

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| Vocabulary::of(&WORDS, &[]));

/// Numbers that were printed in advertisements, and are nobody's.
const NOBODYS: [&str; 3] = ["078051120", "219099999", "457555462"];

pub(super) fn look(subject: Subject<'_>, run: Range<usize>, found: &mut Vec<Found>) {
    let bytes = subject.text.as_bytes();
    let mut at = run.start;
    while at + 9 <= run.end {
        let before = at.checked_sub(1).map(|before| bytes[before]);
        let starts =
            bytes[at].is_ascii_digit() && !before.is_some_and(|b| b.is_ascii_alphanumeric() || b"-._/+".contains(&b));
        let Some((end, separator)) = starts.then(|| shape(bytes, at, run.end)).flatten() else {
            at += 1;
            continue;
        };
        let speaks = || subject.speaks_of(at, &VOCABULARY);
        let digits: String = subject.text[at..end].chars().filter(char::is_ascii_digit).collect();
        if is_issued(&digits) && (separator == Some(b'-') || speaks()) {
            found.push(Found { range: at..end, detector: Detector::Ssn });
        }
        at = end;
    }
}

/// The end of three, two and four digits with one kind of separator, or none, between them.
fn shape(bytes: &[u8], start: usize, limit: usize) -> Option<(usize, Option<u8>)> {
    let digits = |from: usize, count: usize| {
        bytes.get(from..from + count).is_some_and(|part| part.iter().all(u8::is_ascii_digit)).then_some(from + count)
    };
    let first = digits(start, 3)?;
    let separator = bytes.get(first).copied().filter(|b| matches!(b, b'-' | b' '));
    let width = usize::from(separator.is_some());
    let second = digits(first + width, 2)?;
    let is_same = separator.is_none() || bytes.get(second).copied() == separator;
    let end = digits(second + width, 4)?;
    let after = bytes.get(end).copied();
    let goes_on = after.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        || (after == Some(b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit));
    (is_same && !goes_on && end <= limit).then_some((end, separator))
}

fn is_issued(digits: &str) -> bool {
    let (area, rest) = digits.split_at(3);
    let (group, serial) = rest.split_at(2);
    let is_never = matches!(area, "000" | "666") || area.starts_with('9') || group == "00" || serial == "0000";
    !is_never && !NOBODYS.contains(&digits)
}
