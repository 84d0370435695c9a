//! Payment card numbers: an issuer's range and length (ISO/IEC 7812), Luhn's check digit, written as one number or in the
//! groups that cards print.

use std::ops::Range;

use super::{Found, runs};
use crate::config::Detector;

/// A group of digits.
struct Group {
    range: Range<usize>,
    /// Whether one space or hyphen leads to it from the group before.
    joined: bool,
}

pub(super) fn look(text: &str, run: Range<usize>, found: &mut Vec<Found>) {
    let groups = groups(text.as_bytes(), run.clone());
    let mut first = 0;
    while first < groups.len() {
        match longest_card(text, &groups, first) {
            Some(last) => {
                let range = groups[first].range.start..groups[last].range.end;
                found.push(Found { range, detector: Detector::CardNumber });
                first = last + 1;
            }
            None => first += 1,
        }
    }
}

fn groups(bytes: &[u8], run: Range<usize>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut at = run.start;
    while at < run.end {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let start = at;
        while at < run.end && bytes[at].is_ascii_digit() {
            at += 1;
        }
        let joined =
            groups.last().is_some_and(|last| last.range.end + 1 == start && matches!(bytes[start - 1], b' ' | b'-'));
        groups.push(Group { range: start..at, joined });
    }
    groups
}

/// The last group of the longest card number that begins with group `first`.
fn longest_card(text: &str, groups: &[Group], first: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let start = groups[first].range.start;
    // Part of a word, a fraction, or a path.
    if start > 0 && (bytes[start - 1].is_ascii_alphanumeric() || b"._/".contains(&bytes[start - 1])) {
        return None;
    }
    let mut digits = String::new();
    let mut lengths = Vec::new();
    let mut card = None;
    for (at, group) in groups.iter().enumerate().skip(first) {
        let is_apart = at > first && !group.joined;
        if is_apart || digits.len() + group.range.len() > 19 {
            break;
        }
        digits.push_str(&text[group.range.clone()]);
        lengths.push(group.range.len());
        let after = bytes.get(group.range.end).copied();
        let goes_on = after.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
            || (after == Some(b'.') && bytes.get(group.range.end + 1).is_some_and(u8::is_ascii_digit));
        if !goes_on && are_printed(&lengths) && is_card(&digits) {
            card = Some(at);
        }
    }
    card
}

/// One number, groups of four with what is left last, or American Express's and Diners Club's 4-6-5 and 4-6-4.
fn are_printed(lengths: &[usize]) -> bool {
    match lengths {
        [_] | [4, 6, 4 | 5] => true,
        [fours @ .., last] => fours.iter().all(|length| *length == 4) && (1..=4).contains(last),
        [] => false,
    }
}

fn is_card(digits: &str) -> bool {
    let number = |length: usize| digits.get(..length).and_then(|start| start.parse::<u32>().ok()).unwrap_or_default();
    let issued = match digits.len() {
        13 => number(1) == 4,
        14 => matches!(number(3), 300..=305 | 309) || matches!(number(2), 36 | 38 | 39),
        15 => matches!(number(2), 34 | 37),
        16 | 19 => {
            number(1) == 4
                || (digits.len() == 16 && (matches!(number(2), 51..=55) || matches!(number(4), 2221..=2720)))
                || matches!(number(4), 6011 | 3528..=3589)
                || matches!(number(3), 644..=649)
                || matches!(number(2), 62 | 65)
                || matches!(number(4), 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763)
        }
        17 | 18 => number(2) == 62,
        _ => false,
    };
    issued && luhn(digits) && runs::digits(digits.as_bytes()) == digits.len() && varies(digits)
}

fn luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let digit = u32::from(digit - b'0') << (at % 2);
            digit / 10 + digit % 10
        })
        .sum();
    sum.is_multiple_of(10)
}

/// `4444 4444 4444 4448` is a filler, not a card.
fn varies(digits: &str) -> bool {
    let first = digits.as_bytes()[0];
    digits.bytes().filter(|digit| *digit != first).count() >= 2
}
