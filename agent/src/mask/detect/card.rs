//! Payment card numbers: an issuer's range and length (ISO/IEC 7812), Luhn's check digit, written as one number or in the
//! groups that cards print.

use std::ops::{Range, RangeInclusive};

use super::{Found, runs};
use crate::config::Detector;

/// Digits of the shortest and the longest card number.
const DIGITS: RangeInclusive<usize> = 13..=19;
/// Most groups that one is printed in.
const GROUPS: usize = 5;

pub(super) fn look(text: &str, run: Range<usize>, found: &mut Vec<Found>) {
    let bytes = text.as_bytes();
    if runs::digits(&bytes[run.clone()]) < *DIGITS.start() {
        return;
    }
    let mut at = run.start;
    while let Some(group) = group(bytes, at, run.end) {
        match longest_card(bytes, group.clone(), run.end) {
            Some(end) => {
                found.push(Found { range: group.start..end, detector: Detector::CardNumber });
                at = end;
            }
            None => at = group.end,
        }
    }
}

/// The first group of digits.
fn group(bytes: &[u8], from: usize, to: usize) -> Option<Range<usize>> {
    let start = from + bytes[from..to].iter().position(u8::is_ascii_digit)?;
    let length = bytes[start..to].iter().position(|b| !b.is_ascii_digit()).unwrap_or(to - start);
    Some(start..start + length)
}

/// The end of the longest card number that begins with the group `first`.
fn longest_card(bytes: &[u8], first: Range<usize>, to: usize) -> Option<usize> {
    // Part of a word, a fraction, or a path.
    if first.start > 0 && (bytes[first.start - 1].is_ascii_alphanumeric() || b"._/".contains(&bytes[first.start - 1])) {
        return None;
    }
    let (mut digits, mut count) = ([0; *DIGITS.end()], 0);
    let (mut lengths, mut groups) = ([0; GROUPS], 0);
    let mut card = None;
    let mut next = first;
    loop {
        let room = digits.get_mut(count..count + next.len()).filter(|_| groups < GROUPS);
        let Some(room) = room else { return card };
        room.copy_from_slice(&bytes[next.clone()]);
        count += next.len();
        lengths[groups] = next.len();
        groups += 1;
        let after = bytes.get(next.end).copied();
        let goes_on = after.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
            || (after == Some(b'.') && bytes.get(next.end + 1).is_some_and(u8::is_ascii_digit));
        if !goes_on && are_printed(&lengths[..groups]) && is_card(&digits[..count]) {
            card = Some(next.end);
        }
        // One space or hyphen leads to the next group.
        let is_joined = matches!(after, Some(b' ' | b'-')) && next.end + 1 < to && bytes[next.end + 1].is_ascii_digit();
        match group(bytes, next.end, to).filter(|_| is_joined) {
            Some(group) => next = group,
            None => return card,
        }
    }
}

/// One number, groups of four with what is left last, or American Express's and Diners Club's 4-6-5 and 4-6-4.
fn are_printed(lengths: &[usize]) -> bool {
    match lengths {
        [_] | [4, 6, 4 | 5] => true,
        [fours @ .., last] => fours.iter().all(|length| *length == 4) && (1..=4).contains(last),
        [] => false,
    }
}

fn is_card(digits: &[u8]) -> bool {
    let number = |length: usize| digits.iter().take(length).fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
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
    issued && luhn(digits) && varies(digits)
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
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
fn varies(digits: &[u8]) -> bool {
    digits.iter().filter(|digit| **digit != digits[0]).count() >= 2
}
