//! AWS credentials. Key ids begin with four letters that say their kind (IAM user guide, "Understanding unique ID prefixes") and
//! go on in base32. A secret access key is any 40 letters of base64, so words or a key id have to stand before it.

use std::{ops::Range, sync::LazyLock};

use super::{
    Found, Subject,
    context::Vocabulary,
    entropy::{Mix, bits_per_letter},
    stands_alone,
    token::{Form, plain},
};
use crate::config::Detector::AwsKey;

const KEY_ID: &str = "[A-Z]{4}[A-Z2-7]{16}";
const SESSION: &str = "[A-Za-z0-9+/]{100,}={0,2}";

pub(super) const FORMS: &[Form] = &[
    plain(AwsKey, "AKIA", KEY_ID),
    plain(AwsKey, "ASIA", KEY_ID),
    plain(AwsKey, "ABIA", KEY_ID),
    plain(AwsKey, "ACCA", KEY_ID),
    plain(AwsKey, "FwoGZXIvYXdz", SESSION),
    plain(AwsKey, "IQoJb3JpZ2lu", SESSION),
];

/// Letters of a secret access key.
const SECRET: usize = 40;

const WORDS: [&str; 9] =
    ["aws", "amazon", "secret", "accesskey", "access_key", "access key", "akia", "asia", "credential"];
const OTHERS: [&str; 7] = ["sha1", "commit", "digest", "etag", "request id", "requestid", "request-id"];
static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| Vocabulary::of(&WORDS, &OTHERS));

/// Secret access keys in a run.
pub(super) fn secrets(subject: Subject<'_>, word: Range<usize>, found: &mut Vec<Found>) {
    let run = &subject.text[word.clone()];
    if run.len() < SECRET {
        return;
    }
    let mut start = 0;
    for part in run.split(['_', '-', '=', '.', '~']) {
        let range = word.start + start..word.start + start + part.len();
        start += part.len() + 1;
        let is_one = part.len() == SECRET && is_random(part) && stands_alone(subject.text, &range);
        if is_one && subject.speaks_of(range.start, &VOCABULARY) {
            found.push(Found { range, detector: AwsKey });
        }
    }
}

/// 40 random letters of base64 have 4.8 bits each on average; one of a million such has less than 4.1.
fn is_random(part: &str) -> bool {
    let mix = Mix::of(part);
    mix.upper && mix.lower && mix.digits > 0 && bits_per_letter(part) >= 4.1
}
