//! The detectors beside another analyzer: `beside <kind> …` prints how those did on the labelled corpus, and in which time on a
//! processor together, a JSON object a line, as `peers/presidio/analyze.py` does.

use std::{env, fs, hint::black_box};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use weir::{
    config::{Detector, Mask},
    mask::{MaskKey, Masks},
};
use weir_tests::corpus::{self, Sample, score::score};

/// Rounds over all texts; the middle one is told.
const ROUNDS: usize = 21;

fn main() -> Result<()> {
    let names: Vec<String> = env::args().skip(1).collect();
    let detectors: Vec<Detector> =
        Detector::ALL.into_iter().filter(|detector| names.contains(&detector.to_string())).collect();
    ensure!(!names.is_empty() && detectors.len() == names.len(), "use: beside <kind> …, of {:?}", Detector::ALL);
    for detector in &detectors {
        let score = score(*detector, &corpus::of(*detector));
        let (recall, precision) = (score.recall(), score.precision());
        println!("{}", json!({ "kind": detector.to_string(), "recall": recall, "precision": precision }));
    }
    let samples: Vec<Sample> = detectors.iter().flat_map(|detector| corpus::of(*detector)).collect();
    let messages: Vec<String> =
        samples.iter().map(|sample| json!({ "params": { sample.name: sample.text } }).to_string()).collect();
    let masks = Masks::compile(&[Mask { detectors, ..Mask::default() }])?.for_call("any", None);
    let key = MaskKey::from_bytes(&[1; 32]);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let started = on_processor()?;
        for message in &messages {
            black_box(masks.apply(message, &key));
        }
        rounds.push(on_processor()? - started);
    }
    rounds.sort_by(f64::total_cmp);
    let bytes: usize = samples.iter().map(|sample| sample.text.len()).sum();
    println!("{}", json!({ "texts": samples.len(), "bytes": bytes, "seconds": rounds[ROUNDS / 2] }));
    Ok(())
}

/// How long this process has been on a processor, in seconds: others may want it too.
fn on_processor() -> Result<f64> {
    let times = fs::read_to_string("/proc/self/schedstat").context("cannot read the process's times")?;
    let nanoseconds: f64 = times.split(' ').next().unwrap_or_default().parse().context("a time that is no number")?;
    Ok(nanoseconds / 1e9)
}
