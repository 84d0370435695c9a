//! What masks cost: `masking bench` measures, `masking corpus` prints the labelled corpus, a JSON object a line.

use std::{env, hint::black_box, time::Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use weir::{
    config::{Detector, Mask},
    mask::{MaskKey, Masks, Selected},
};
use weir_tests::corpus;

/// Rounds of a short measurement; the middle one is told.
const ROUNDS: usize = 2001;
/// Rounds of a long one.
const LONG_ROUNDS: usize = 31;
/// Mask rules of the short one.
const RULES: usize = 50;

fn main() -> Result<()> {
    match env::args().nth(1).as_deref() {
        Some("bench") => bench(),
        Some("corpus") => corpus::all().iter().try_for_each(|sample| {
            println!("{}", serde_json::to_string(sample)?);
            Ok(())
        }),
        _ => bail!("use: masking bench | masking corpus"),
    }
}

fn bench() -> Result<()> {
    let rules: Vec<Mask> = (0..RULES)
        .map(|at| {
            let path = if at % 2 == 0 { format!("$.params.arguments.field{at}") } else { format!("$..secret{at}") };
            Mask { paths: vec![path], ..Mask::default() }
        })
        .collect();
    let call = call_of(4 << 10);
    println!(
        "{:<52} {:>8.1} µs",
        format!("{RULES} rules by path, a call of {} bytes", call.len()),
        micros(&select(&rules)?, &call, ROUNDS)
    );
    let all = select(&[Mask { detectors: Detector::ALL.to_vec(), ..Mask::default() }])?;
    println!(
        "{:<52} {:>8.1} µs",
        format!("every detector, a call of {} bytes", call.len()),
        micros(&all, &call, ROUNDS)
    );
    for (what, result) in results() {
        let rate = result.len() as f64 / micros(&all, &result, LONG_ROUNDS);
        println!("{:<52} {rate:>8.0} MB/s", format!("every detector, {what} of {} bytes", result.len()));
    }
    let texts: Vec<String> =
        corpus::all().iter().map(|sample| json!({ "params": { sample.name: sample.text } }).to_string()).collect();
    let key = MaskKey::from_bytes(&[1; 32]);
    let started = Instant::now();
    for text in &texts {
        black_box(all.apply(text, &key));
    }
    let each = started.elapsed().as_secs_f64() * 1e6 / texts.len() as f64;
    println!("{:<52} {each:>8.1} µs a text", format!("every detector, the corpus of {} texts", texts.len()));
    Ok(())
}

fn select(rules: &[Mask]) -> Result<Selected> {
    Ok(Masks::compile(rules)?.for_call("any", None))
}

/// The middle of so many rounds.
fn micros(selected: &Selected, text: &str, rounds: usize) -> f64 {
    let key = MaskKey::from_bytes(&[1; 32]);
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let started = Instant::now();
            black_box(selected.apply(black_box(text), &key));
            started.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn call_of(bytes: usize) -> String {
    let fields =
        (0..40).map(|at| (format!("field{at}"), Value::from("lorem ipsum dolor sit amet ".repeat(bytes / 40 / 40))));
    let arguments: serde_json::Map<String, Value> = fields.collect();
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "t", "arguments": arguments } })
        .to_string()
}

/// Clean results of about 1 MiB: prose as one text, rows as structured content, and these rows as text.
fn results() -> [(&'static str, String); 3] {
    let prose = "The quick brown fox jumps over 13 lazy dogs; see /usr/share/doc/readme.txt for more.\n".repeat(12_000);
    let rows: Vec<Value> = (0..6500)
        .map(|at| {
            json!({
                "id": at, "name": format!("customer number {at}"), "created": "2026-11-23T07:27:48Z", "amount": 12.5,
                "uuid": format!("0f8fad5b-d9cb-469f-a165-70867728{at:04x}"), "path": "/var/lib/thing",
            })
        })
        .collect();
    let content = |text: String| json!({ "jsonrpc": "2.0", "id": 1, "result": { "content": [{ "type": "text", "text": text }] } });
    [
        ("prose", content(prose).to_string()),
        (
            "rows",
            json!({ "jsonrpc": "2.0", "id": 1, "result": { "content": [], "structuredContent": { "rows": rows } } })
                .to_string(),
        ),
        ("rows as text", content(json!(rows).to_string()).to_string()),
    ]
}
