//! Tokens that say by their first letters what they are, and the other values in runs of key letters.

use std::{ops::Range, sync::LazyLock};

use aho_corasick::{AhoCorasick, MatchKind};
use regex::Regex;

use super::{Found, Set, Subject, api, aws, entropy, github, gitlab, google, jwt, oauth, slack, stands_alone, stripe};
use crate::config::Detector;

/// Longest token that is looked for.
const LONGEST: usize = 16 << 10;

/// So many letters may be tried at each prefix among them.
const FEW: usize = 256;

/// One form of token.
pub(super) struct Form {
    pub(super) detector: Detector,
    /// Its first letters.
    pub(super) prefix: &'static str,
    /// The whole of it, as a regular expression; must match at the prefix.
    pub(super) pattern: &'static str,
    /// Whether what matches is one.
    pub(super) check: fn(&str) -> bool,
}

/// A form whose shape says enough.
pub(super) const fn plain(detector: Detector, prefix: &'static str, pattern: &'static str) -> Form {
    Form { detector, prefix, pattern, check: |_| true }
}

const FAMILIES: [&[Form]; 8] =
    [aws::FORMS, jwt::FORMS, github::FORMS, gitlab::FORMS, slack::FORMS, stripe::FORMS, google::FORMS, api::FORMS];

struct Forms {
    prefixes: AhoCorasick,
    forms: Vec<(&'static Form, Regex)>,
}

static FORMS: LazyLock<Forms> = LazyLock::new(|| {
    let compiled = |form: &'static Form| {
        let anchored = Regex::new(&format!("^(?:{})", form.pattern));
        (form, anchored.expect("the patterns are constants, and a test compiles them"))
    };
    let forms: Vec<_> = FAMILIES.iter().copied().flatten().map(compiled).collect();
    let prefixes = forms.iter().map(|(form, _)| form.prefix);
    // The longest prefix says most: `sk-ant-` before `sk-`.
    let prefixes = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(prefixes);
    Forms { prefixes: prefixes.expect("a few short literals"), forms }
});

/// How many letters behind a prefix that led to nothing are not looked at again: none, but where they go on for so long that
/// trying each prefix among them would cost the square of their number.
fn passed_over(rest: &str) -> usize {
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c))).unwrap_or(rest.len());
    if end > FEW { end } else { 0 }
}

/// Looks at one run of key letters.
pub(super) fn look(subject: Subject<'_>, word: Range<usize>, set: Set, found: &mut Vec<Found>) {
    let Forms { prefixes, forms } = &*FORMS;
    let run = &subject.text[word.clone()];
    // By far the most long words in data: only a name can say that one is secret.
    if entropy::is_uuid(run) {
        found.extend(oauth::named(subject, word).filter(|_| set.contains(Detector::OauthToken)));
        return;
    }
    let mut from = 0;
    while let Some(hit) = prefixes.find(&run[from..]) {
        let start = from + hit.start();
        let (form, pattern) = &forms[hit.pattern().as_usize()];
        from += hit.end();
        if !set.contains(form.detector) {
            continue;
        }
        let rest = &run[start..run.len().min(start + LONGEST)];
        let ends_at = |end: usize| word.start + start..word.start + start + end;
        let is_token = |end: usize| stands_alone(subject.text, &ends_at(end)) && (form.check)(&rest[..end]);
        match pattern.find(rest).map(|matched| matched.end()).filter(|end| is_token(*end)) {
            Some(end) => {
                found.push(Found { range: ends_at(end), detector: form.detector });
                from = start + end;
            }
            None => from += passed_over(&run[from..]),
        }
    }
    if set.contains(Detector::AwsKey) {
        aws::secrets(subject, word.clone(), found);
    }
    if set.contains(Detector::OauthToken) {
        found.extend(oauth::named(subject, word.clone()));
    }
    if set.contains(Detector::HighEntropy) {
        found.extend(entropy::look(subject, word));
    }
}
