//! International bank account numbers (ISO 13616): a country's length, and 1 modulo 97 (ISO/IEC 7064). Written as one word or in
//! groups.

use std::ops::Range;

use super::Found;
use crate::config::Detector;

/// Bytes of the shortest one, Norway's.
pub(super) const SHORTEST: usize = 15;

/// Lengths by country, from SWIFT's IBAN registry.
const LENGTHS: [(&[u8; 2], usize); 83] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
];

pub(super) fn look(text: &str, run: Range<usize>, found: &mut Vec<Found>) {
    let bytes = text.as_bytes();
    let mut at = run.start;
    while at + SHORTEST <= run.end {
        let starts = at == 0
            || !(bytes[at - 1].is_ascii_alphanumeric()
                || bytes[at - 1] >= 0x80 && at == run.start && ends_in_letter(text, at));
        match starts.then(|| end_of(bytes, at, run.end)).flatten() {
            Some(end) => {
                found.push(Found { range: at..end, detector: Detector::Iban });
                at = end;
            }
            None => at += 1,
        }
    }
}

/// Whether a Latin letter outside ASCII goes before `at`; other scripts are written without spaces.
fn ends_in_letter(text: &str, at: usize) -> bool {
    text[..at].chars().next_back().is_some_and(|c| c.is_alphabetic() && c < '\u{250}')
}

/// Where the account number that begins at `start` ends.
fn end_of(bytes: &[u8], start: usize, limit: usize) -> Option<usize> {
    let country = [bytes[start], bytes[start + 1]];
    let (_, length) = LENGTHS.iter().find(|(code, _)| **code == country)?;
    let mut letters = Vec::with_capacity(*length);
    let mut at = start;
    while letters.len() < *length {
        match bytes.get(at).filter(|_| at < limit)? {
            b' ' | b'-' if at > start && bytes[at - 1].is_ascii_alphanumeric() => {}
            letter if letter.is_ascii_alphanumeric() => letters.push(*letter),
            _ => return None,
        }
        at += 1;
    }
    let goes_on = bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
    (!goes_on && letters[2].is_ascii_digit() && letters[3].is_ascii_digit() && remainder(&letters) == 1).then_some(at)
}

/// Modulo 97, the first four letters moved to the end and letters read as 10 to 35.
fn remainder(letters: &[u8]) -> u32 {
    letters[4..].iter().chain(&letters[..4]).fold(0, |sum, letter| match letter {
        b'0'..=b'9' => (sum * 10 + u32::from(letter - b'0')) % 97,
        _ => (sum * 100 + u32::from(letter.to_ascii_uppercase() - b'A') + 10) % 97,
    })
}
