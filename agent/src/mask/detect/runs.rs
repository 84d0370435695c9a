//! Runs of bytes of one class, found in strides: where a window's last byte is of another class, no run of the window's
//! length can cover it, and the search goes on behind that byte.

use std::ops::Range;

/// A set of ASCII bytes.
pub(super) struct Class([bool; 256]);

impl Class {
    /// What keys, tokens and paths are written in.
    pub(super) const KEY: &Self = &Self::of(b"_-+/=.~", true, true);
    /// Digits, and what people put between them.
    pub(super) const NUMBER: &Self = &Self::of(b" -.()+/", false, false);
    /// What IBANs are written in.
    pub(super) const IBAN: &Self = &Self::of(b" -", true, false);

    const fn of(others: &[u8], upper: bool, lower: bool) -> Self {
        let mut set = [false; 256];
        let mut byte = 0;
        while byte < 128 {
            let is = byte as u8;
            set[byte] = is.is_ascii_digit() || (upper && is.is_ascii_uppercase()) || (lower && is.is_ascii_lowercase());
            byte += 1;
        }
        let mut at = 0;
        while at < others.len() {
            set[others[at] as usize] = true;
            at += 1;
        }
        Self(set)
    }

    fn has(&self, byte: u8) -> bool {
        self.0[byte as usize]
    }
}

/// Calls `look` with every longest run of `class` that has at least `shortest` bytes. Runs are of ASCII, so their ends are
/// characters' ends.
pub(super) fn each(text: &str, class: &Class, shortest: usize, mut look: impl FnMut(Range<usize>)) {
    let bytes = text.as_bytes();
    let mut start = 0;
    while let Some(window) = bytes.get(start..start + shortest) {
        if let Some(other) = window.iter().rposition(|byte| !class.has(*byte)) {
            start += other + 1;
            continue;
        }
        let rest = &bytes[start + shortest..];
        let end = start + shortest + rest.iter().position(|byte| !class.has(*byte)).unwrap_or(rest.len());
        look(start..end);
        start = end + 1;
    }
}

/// How many bytes are digits.
pub(super) fn digits(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| byte.is_ascii_digit()).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn strides_find_what_a_plain_walk_finds(text in "[a-cé \\-0-9.]{0,80}", shortest in 1usize..9) {
            let mut strides = Vec::new();
            each(&text, Class::NUMBER, shortest, |run| strides.push(run));
            let mut plain = Vec::new();
            let mut start = None;
            for (at, byte) in text.bytes().chain([b'x']).enumerate() {
                match (start, Class::NUMBER.has(byte)) {
                    (None, true) => start = Some(at),
                    (Some(from), false) => {
                        if at - from >= shortest {
                            plain.push(from..at);
                        }
                        start = None;
                    }
                    _ => {}
                }
            }
            prop_assert_eq!(strides, plain);
        }
    }
}
