//! Tokens that say by their first letters what they are, and the other values in runs of key letters.

use std::{ops::Range, sync::LazyLock};

use aho_corasick::{AhoCorasick, MatchKind};
use regex::Regex;

use super::{Found, Set, Subject, api, aws, entropy, github, gitlab, google, jwt, oauth, slack, stands_alone, stripe};
use crate::config::Detector;

/// Longest token that is looked for.
const LONGEST: usize = 16 << 10;

/// So many prefixes in one stretch of letters may lead to nothing before the rest of it is passed over: trying each of them
/// would cost the square of its length.
const TRIES: usize = 8;

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

/// Where the letters that a text begins with end.
fn end_of_stretch(text: &str) -> usize {
    text.find(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c))).unwrap_or(text.len())
}

/// Looks at one run of key letters.
pub(super) fn look(subject: Subject<'_>, word: Range<usize>, set: Set, found: &mut Vec<Found>) {
    let run = &subject.text[word.clone()];
    // By far the most long words in data: only a name can say that one is secret.
    if entropy::is_uuid(run) {
        found.extend(oauth::named(subject, word).filter(|_| set.contains(Detector::OauthToken)));
        return;
    }
    tokens(subject, word.clone(), set, found);
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

/// Tokens in a run that say by their first letters what they are.
fn tokens(subject: Subject<'_>, word: Range<usize>, set: Set, found: &mut Vec<Found>) {
    let Forms { prefixes, forms } = &*FORMS;
    let run = &subject.text[word.clone()];
    let (mut from, mut stretch_end, mut tries) = (0, 0, 0);
    while let Some(hit) = prefixes.find(&run[from..]) {
        let start = from + hit.start();
        let (form, pattern) = &forms[hit.pattern().as_usize()];
        from += hit.end();
        let begins = !run[..start].ends_with(|c: char| c.is_ascii_alphanumeric());
        if !begins || !set.contains(form.detector) {
            continue;
        }
        let rest = &run[start..run.len().min(start + LONGEST)];
        let ends_at = |end: usize| word.start + start..word.start + start + end;
        let is_token = |end: usize| stands_alone(subject.text, &ends_at(end)) && (form.check)(&rest[..end]);
        let end = pattern.find(rest).map(|matched| matched.end());
        if let Some(end) = end.filter(|end| is_token(*end)) {
            found.push(Found { range: ends_at(end), detector: form.detector });
            from = start + end;
            continue;
        }
        if start >= stretch_end {
            (stretch_end, tries) = (start + end_of_stretch(&run[start..]), 0);
        }
        tries += 1;
        if tries >= TRIES {
            from = from.max(stretch_end);
        }
        // Too long for any, and so would be what begins within it.
        if end == Some(LONGEST) {
            from = from.max(start + LONGEST);
        }
    }
}
