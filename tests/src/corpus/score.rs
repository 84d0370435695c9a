//! How a detector did on samples.

use serde_json::json;
use weir::{
    config::{Detector, Mask},
    mask::{MaskKey, Masks},
};

use super::Sample;

/// What one detector made of its samples. A text counts once for each value in it, and once for each that is none.
#[derive(Debug, Default)]
pub struct Score {
    found: usize,
    /// Texts in which a value was missed, with what was made of them.
    pub missed: Vec<String>,
    /// Texts in which something else was found.
    pub wrong: Vec<String>,
}

impl Score {
    /// How much of what is there was found, from 0 to 1.
    #[must_use]
    pub fn recall(&self) -> f64 {
        self.found as f64 / (self.found + self.missed.len()) as f64
    }

    /// How much of what was found is there, from 0 to 1.
    #[must_use]
    pub fn precision(&self) -> f64 {
        self.found as f64 / (self.found + self.wrong.len()) as f64
    }
}

/// Runs one detector over samples.
///
/// # Panics
/// When its output is not what masks promise: JSON with the text still in its place.
#[must_use]
pub fn score(detector: Detector, samples: &[Sample]) -> Score {
    let rule = Mask { detectors: vec![detector], ..Mask::default() };
    let masks = Masks::compile(&[rule]).expect("a rule").for_call("any", None);
    let key = MaskKey::from_bytes(&[1; 32]);
    let mut score = Score::default();
    for Sample { name, text, values, .. } in samples {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "x", "params": { *name: text } }).to_string();
        let masked = masks.apply(&message, &key);
        let shown: serde_json::Value = serde_json::from_str(&masked.text).expect("JSON");
        let shown = shown["params"][name].as_str().expect("a text");
        let count = usize::try_from(masked.counts.values().sum::<u64>()).expect("a small number");
        // Exactly the values are gone: the rest of the text stands on both sides of the stand-ins.
        let expected = values.iter().fold(text.clone(), |text, value| text.replacen(value.as_str(), "\0", 1));
        let exact = matches(&expected, shown);
        match (values.is_empty(), exact && count == values.len()) {
            (false, true) => score.found += values.len(),
            (false, false) => {
                score.missed.push(format!("{text}\n   -> {shown}"));
                score.wrong.extend((count > 0).then(|| shown.to_owned()));
            }
            (true, _) => score.wrong.extend((count > 0).then(|| format!("{text}\n   -> {shown}"))),
        }
    }
    score
}

/// Whether `shown` is `expected` with a stand-in at each NUL.
fn matches(expected: &str, shown: &str) -> bool {
    let Some((before, after)) = expected.split_once('\0') else { return expected == shown };
    let Some(rest) = shown.strip_prefix(before).filter(|rest| rest.starts_with("[masked:")) else { return false };
    rest.split_once(']').is_some_and(|(_, rest)| matches(after, rest))
}
