//! Telephone numbers: international ones by `+` and an assigned country code (ITU-T E.164), North American ones by their form,
//! others where words say so.

use std::{ops::Range, sync::LazyLock};

use super::{Found, Subject, context::Vocabulary, runs};
use crate::config::Detector;

/// Bytes of the shortest run that is looked at; also for what shares the runs.
pub(super) const SHORTEST: usize = 8;
/// And its digits.
pub(super) const SHORTEST_DIGITS: usize = 8;
/// Most bytes between two of its digits: a separator, and brackets.
const BETWEEN: usize = 3;

const WORDS: [&str; 20] = [
    "phone",
    "tel:",
    "tel.",
    "tel ",
    "mobile",
    "mobil",
    "cell",
    "fax",
    "handy",
    "call me",
    "call us",
    "whatsapp",
    "téléphone",
    "teléfono",
    "telefon",
    "celular",
    "телефон",
    "电话",
    "電話",
    "전화",
];
const OTHERS: [&str; 6] = ["order", "invoice", "id", "number of", "serial", "version"];

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| Vocabulary::of(&WORDS, &OTHERS));

pub(super) fn look(subject: Subject<'_>, run: Range<usize>, found: &mut Vec<Found>) {
    let text = subject.text;
    let mut at = run.start;
    while at < run.end {
        let Some(start) = start_of(text, at, run.end) else { return };
        let end = end_of(text.as_bytes(), start, run.end);
        let number = &text[start..end];
        if stands_alone(text, start, end) && is_number(subject, start, number) {
            found.push(Found { range: start..end, detector: Detector::Phone });
        }
        at = end.max(start + 1);
    }
}

/// The next `+`, `(` or digit that opens a number.
fn start_of(text: &str, from: usize, to: usize) -> Option<usize> {
    text[from..to].find(|c: char| c.is_ascii_digit() || c == '+' || c == '(').map(|at| from + at)
}

/// One separator at a time, with brackets around it, as in `) (`; ends with a digit. What is looked at beyond the end is as
/// short, so that the next look can begin there.
fn end_of(bytes: &[u8], start: usize, limit: usize) -> usize {
    let mut end = start + 1;
    let mut separators = 0;
    for (at, byte) in bytes.iter().enumerate().take(limit).skip(start + 1) {
        if byte.is_ascii_digit() {
            separators = 0;
            end = at + 1;
        } else {
            separators += usize::from(!matches!(byte, b'(' | b')'));
            if separators > 1 || *byte == b'+' || at - end >= BETWEEN {
                break;
            }
        }
    }
    end
}

fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let bytes = text.as_bytes();
    let before = start.checked_sub(1).map(|at| bytes[at]);
    let after = bytes.get(end).copied();
    !before.is_some_and(|b| b.is_ascii_alphanumeric() || b"._-+/".contains(&b))
        && !after.is_some_and(|b| b.is_ascii_alphanumeric() || b"_".contains(&b))
}

fn is_number(subject: Subject<'_>, start: usize, number: &str) -> bool {
    // By far the most numbers with separators are dates.
    if is_date(number.as_bytes()) || runs::digits(number.as_bytes()) < SHORTEST_DIGITS {
        return false;
    }
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    if number.starts_with('+') {
        return (8..=15).contains(&digits.len()) && has_country_code(&digits) && !is_round(&digits);
    }
    let is_plain = !number.contains(['/', '.']) || runs::digits(number.as_bytes()) >= 9;
    is_north_american(number, &digits)
        || (is_plain && (8..=15).contains(&digits.len()) && subject.speaks_of(start, &VOCABULARY))
}

/// `2026-11-23`, whatever follows.
fn is_date(number: &[u8]) -> bool {
    number.len() >= 10 && number[4] == b'-' && number[7] == b'-' && matches!(&number[..2], b"19" | b"20")
}

fn is_round(digits: &str) -> bool {
    digits.ends_with("000000")
}

/// `(212) 555-0123`, `212-555-0123`, `1-212-555-0123`: area and exchange begin with 2 to 9.
fn is_north_american(number: &str, digits: &str) -> bool {
    let shape: String = number.chars().map(|c| if c.is_ascii_digit() { 'd' } else { c }).collect();
    let local = match shape.as_str() {
        "(ddd) ddd-dddd" | "(ddd)ddd-dddd" | "ddd-ddd-dddd" => digits,
        "d-ddd-ddd-dddd" | "d (ddd) ddd-dddd" if digits.starts_with('1') => &digits[1..],
        _ => return false,
    };
    let begins = |at: usize| matches!(local.as_bytes().get(at), Some(b'2'..=b'9'));
    begins(0) && begins(3)
}

/// Country codes of one digit, and the two-digit beginnings of the others: those that are assigned, with their spare
/// three-digit codes left out.
fn has_country_code(digits: &str) -> bool {
    let number = |length: usize| digits[..length].parse::<u16>().unwrap_or_default();
    match number(1) {
        1 => digits.len() == 11,
        7 => digits.len() == 11,
        0 => false,
        _ => match number(2) {
            20 | 27 | 30..=34 | 36 | 39..=41 | 43..=49 | 51..=58 | 60..=66 | 81 | 82 | 84 | 86 | 90..=95 | 98 => {
                digits.len() >= 9
            }
            _ => matches!(
                number(3),
                211..=213 | 216 | 218 | 220..=258 | 260..=269 | 290 | 291 | 297..=299 | 350..=359 | 370..=378 | 380..=383
                    | 385..=387 | 389 | 420 | 421 | 423 | 500..=509 | 590..=599 | 670 | 672..=692 | 800 | 808 | 850 | 852
                    | 853 | 855 | 856 | 870 | 878 | 880..=883 | 886 | 888 | 960..=968 | 970..=977 | 979 | 992..=996 | 998
            ),
        },
    }
}
