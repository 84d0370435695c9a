//! Credentials that are known by where they stand: behind `Bearer` or `Basic` (RFC 6750, RFC 7617), under the names that OAuth
//! gives its tokens (RFC 6749), or as the password of a URL (RFC 3986 section 3.2.1).

use std::ops::Range;

use base64::{Engine, engine::general_purpose::STANDARD};
use memchr::memmem;

use super::{
    Found, Subject,
    entropy::{Mix, bits_per_letter},
};
use crate::config::Detector;

/// Names without `_`, `-` and case.
const NAMES: [&str; 9] = [
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "clientsecret",
    "oauthtoken",
    "bearertoken",
    "authtoken",
    "sessiontoken",
    "clientassertion",
];

/// Longest user and password of a URL.
pub(super) const LONGEST_USERINFO: usize = 256;

/// The token in a run of key letters, if the words before it say that it is one.
pub(super) fn named(subject: Subject<'_>, word: Range<usize>) -> Option<Found> {
    let run = &subject.text[word.clone()];
    let bare = run.trim_end_matches('=');
    let start = word.start + bare.rfind('=').map_or(0, |at| at + 1);
    let range = start..word.start + run.trim_end_matches('.').len();
    let value = subject.text.get(range.clone()).filter(|value| value.len() >= 12)?;
    let found = || Found { range: range.clone(), detector: Detector::OauthToken };
    let before = subject.text[..start].trim_end_matches(' ');
    let scheme = before.len() < start || before.is_empty();
    if scheme && ends_with(before, "bearer") && is_opaque(value) {
        return Some(found());
    }
    if scheme && ends_with(before, "basic") && is_user_and_password(value) {
        return Some(found());
    }
    let name = subject.name_of(start)?;
    (NAMES.iter().any(|known| is_called(name, known)) && is_opaque(value)).then(found)
}

/// Whether the letters and digits of `name` end with `known`.
fn is_called(name: &str, known: &str) -> bool {
    let mut letters = name.bytes().rev().filter(u8::is_ascii_alphanumeric);
    known.bytes().rev().all(|letter| letters.next().is_some_and(|b| b.to_ascii_lowercase() == letter))
}

fn ends_with(text: &str, word: &str) -> bool {
    let from = text.len().saturating_sub(word.len());
    text.get(from..).is_some_and(|end| end.eq_ignore_ascii_case(word))
}

/// Words of prose and placeholders are not.
fn is_opaque(value: &str) -> bool {
    let mix = Mix::of(value);
    mix.digits > 0 && (mix.upper || mix.lower) && mix.changes >= 3 && bits_per_letter(value) >= 2.8
}

fn is_user_and_password(value: &str) -> bool {
    let decoded = STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.is_some_and(|text| text.contains(':') && !text.chars().any(char::is_control))
}

/// The passwords in texts like `scheme://user:password@host`. A password may have an `@` in it.
pub(super) fn passwords(text: &str, found: &mut Vec<Found>) {
    for scheme in memmem::find_iter(text.as_bytes(), "://") {
        let start = scheme + "://".len();
        let room = &text[start..text.floor_char_boundary(start + LONGEST_USERINFO)];
        let authority = room.split(|c: char| c.is_whitespace() || "/?#[]<>\"'".contains(c)).next().unwrap_or_default();
        let Some((user, password)) = authority.rsplit_once('@').and_then(|(userinfo, _)| userinfo.split_once(':'))
        else {
            continue;
        };
        let placeholder = password.starts_with(['$', '{', '*']) || matches!(password, "password" | "pass" | "");
        if !placeholder {
            let start = start + user.len() + 1;
            found.push(Found { range: start..start + password.len(), detector: Detector::OauthToken });
        }
    }
}
