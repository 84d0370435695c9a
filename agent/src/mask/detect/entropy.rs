//! Random-looking strings. Identifiers, digests and encoded data look random too, so words before the string have to say that
//! it is a secret.

use std::{ops::Range, sync::LazyLock};

use super::{Found, Subject, context::Vocabulary};
use crate::config::Detector;

/// Shortest and longest string that is taken for a secret.
const LENGTHS: Range<usize> = 16..513;

const WORDS: [&str; 37] = [
    "secret",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "api key",
    "access_key",
    "accesskey",
    "access key",
    "private_key",
    "private key",
    "privatekey",
    "signing key",
    "signing_key",
    "encryption_key",
    "encryption key",
    "credential",
    "authorization",
    "contraseña",
    "clave",
    "mot de passe",
    "passwort",
    "kennwort",
    "schlüssel",
    "senha",
    "segredo",
    "chiave",
    "пароль",
    "密码",
    "密钥",
    "パスワード",
    "비밀번호",
    "wachtwoord",
];

const OTHERS: [&str; 24] = [
    "sha",
    "md5",
    "digest",
    "checksum",
    "hash",
    "etag",
    "commit",
    "revision",
    "integrity",
    "fingerprint",
    "public",
    "uuid",
    "cursor",
    "nexttoken",
    "next_token",
    "pagetoken",
    "page_token",
    "continuation",
    "synctoken",
    "tokenizer",
    "token count",
    "request id",
    "requestid",
    "trace",
];

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| Vocabulary::of(&WORDS, &OTHERS));

/// The random-looking string that a run of key letters holds.
pub(super) fn look(subject: Subject<'_>, word: Range<usize>) -> Option<Found> {
    let run = &subject.text[word.clone()];
    // `name=value` is one run; padding at the end is the value's.
    let bare = run.trim_end_matches('=');
    let start = word.start + bare.rfind('=').map_or(0, |at| at + 1);
    let end = word.start + run.trim_end_matches('.').len();
    let value = subject.text.get(start..end)?;
    let fits = LENGTHS.contains(&value.len()) && is_random(value);
    (fits && subject.speaks_of(start, &VOCABULARY))
        .then_some(Found { range: start..end, detector: Detector::HighEntropy })
}

/// Which kinds of letters a text has.
#[derive(Default)]
pub(super) struct Mix {
    pub(super) upper: bool,
    pub(super) lower: bool,
    pub(super) digits: usize,
    /// Changes from one kind to another: words have few, random strings many.
    pub(super) changes: usize,
}

impl Mix {
    pub(super) fn of(text: &str) -> Self {
        let mut mix = Self::default();
        let mut last = None;
        for byte in text.bytes() {
            let kind = match byte {
                b'A'..=b'Z' => 0,
                b'a'..=b'z' => 1,
                b'0'..=b'9' => 2,
                _ => 3,
            };
            mix.upper |= kind == 0;
            mix.lower |= kind == 1;
            mix.digits += usize::from(kind == 2);
            mix.changes += usize::from(last.is_some_and(|last| last != kind));
            last = Some(kind);
        }
        mix
    }
}

/// Shannon's entropy of the letters as they are distributed in `text`, in bits.
pub(super) fn bits_per_letter(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text.bytes() {
        counts[byte as usize] += 1;
    }
    let length = text.len() as f64;
    let part = |count: &u32| {
        let share = f64::from(*count) / length;
        -share * share.log2()
    };
    counts.iter().filter(|count| **count > 0).map(part).sum()
}

fn is_random(value: &str) -> bool {
    if is_uuid(value) {
        return false;
    }
    let mix = Mix::of(value);
    if value.bytes().all(|b| b.is_ascii_hexdigit()) {
        return value.len() >= 32 && mix.digits > 0 && bits_per_letter(value) >= 2.8;
    }
    // Paths, host names and sentences of words change kind only where a word ends.
    let with_digits = mix.digits >= 2 && (mix.upper || mix.lower) && mix.changes * 5 >= value.len();
    let with_cases = mix.upper && mix.lower && mix.changes * 3 >= value.len();
    (with_digits || with_cases) && bits_per_letter(value) >= 3.2
}

/// RFC 9562 section 4.
pub(super) fn is_uuid(value: &str) -> bool {
    value.len() == 36
        && value.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
