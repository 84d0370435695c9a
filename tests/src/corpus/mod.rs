//! A labelled corpus for the detectors of `[[mask]]`: thousands of texts in several languages and forms, each with the values that
//! a detector should find in it, and near misses in which it should find nothing. Made anew from a fixed seed, always the same.

mod near;
mod random;
pub mod score;
mod text;
mod value;

use serde::Serialize;
use weir::config::Detector;

use self::random::Random;

/// One text with what is to be found in it.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// Whose sample it is.
    pub detector: Detector,
    /// The name of the member that holds the text.
    pub name: &'static str,
    /// The text.
    pub text: String,
    /// What the detector should find; empty for a near miss.
    pub values: Vec<String>,
}

/// Texts with a value, for each detector.
const POSITIVES: usize = 320;

/// Near misses made at random, for each detector, besides those that are written by hand.
const NEAR_MISSES: usize = 240;

/// The samples of one detector.
#[must_use]
pub fn of(detector: Detector) -> Vec<Sample> {
    let mut random = Random::new(detector as u64);
    let mut samples = Vec::new();
    for round in 0..POSITIVES {
        let value = value::of(detector, round, &mut random);
        let (name, text) = text::around(detector, &value, round);
        samples.push(Sample { detector, name, text, values: vec![value] });
    }
    let miss = |name, text| Sample { detector, name, text, values: Vec::new() };
    for round in 0..NEAR_MISSES {
        let value = near::of(detector, round, &mut random);
        let (name, text) = text::around_near_miss(detector, &value, round);
        samples.push(miss(name, text));
    }
    samples.extend(near::by_hand(detector).iter().map(|text| miss("text", (*text).to_owned())));
    samples
}

/// The whole corpus.
#[must_use]
pub fn all() -> Vec<Sample> {
    Detector::ALL.into_iter().flat_map(of).collect()
}
