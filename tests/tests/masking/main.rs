//! The detectors of `[[mask]]` against the labelled corpus, and a table of how they did.

use serde_json::json;
use weir::{
    config::{Detector, Mask},
    mask::{MaskKey, Masks},
};
use weir_tests::corpus::{self, Sample};

/// What one detector made of its samples. A text counts once for each value in it, and once for each that is none.
#[derive(Default)]
struct Score {
    found: usize,
    missed: Vec<String>,
    wrong: Vec<String>,
}

impl Score {
    fn recall(&self) -> f64 {
        self.found as f64 / (self.found + self.missed.len()) as f64
    }

    fn precision(&self) -> f64 {
        self.found as f64 / (self.found + self.wrong.len()) as f64
    }
}

fn score(detector: Detector, samples: &[Sample]) -> Score {
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

#[test]
fn every_detector_finds_what_it_should_and_little_else() {
    println!("| detector | texts | values | recall | precision |\n|---|---|---|---|---|");
    let mut failed = Vec::new();
    for detector in Detector::ALL {
        let samples = corpus::of(detector);
        let values: usize = samples.iter().map(|sample| sample.values.len()).sum();
        let score = score(detector, &samples);
        let (recall, precision) = (score.recall(), score.precision());
        println!("| {detector} | {} | {values} | {recall:.4} | {precision:.4} |", samples.len());
        if recall < 0.99 || precision < 0.98 {
            let show = |lines: &[String]| lines.iter().take(12).cloned().collect::<Vec<_>>().join("\n  ");
            failed.push(format!("{detector} missed:\n  {}\nwrong:\n  {}", show(&score.missed), show(&score.wrong)));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[test]
fn the_corpus_is_large_and_always_the_same() {
    let (one, two) = (corpus::all(), corpus::all());
    assert!(one.len() > 8000 && one.iter().map(|sample| sample.values.len()).sum::<usize>() > 5000);
    assert!(one.iter().zip(&two).all(|(one, two)| one.text == two.text));
    for sample in one {
        assert!(sample.values.iter().all(|value| sample.text.contains(value.as_str())), "{}", sample.text);
    }
}
