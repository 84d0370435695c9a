//! The detectors of `[[mask]]` against the labelled corpus, and a table of how they did.

use weir::config::Detector;
use weir_tests::corpus::{self, score::score};

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
