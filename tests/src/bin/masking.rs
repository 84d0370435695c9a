//! What masks cost, in the time that one thread computes: `masking bench` measures, `masking corpus` prints the labelled corpus, a JSON object a line.

use std::{env, hint::black_box};

use anyhow::{Result, bail};
use serde_json::{Value, json, value::RawValue};
use weir::{
    config::{Detector, Mask},
    mask::{MaskKey, Masks, Selected},
};
use weir_tests::{corpus, cpu};

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
    let all = select(&[Mask { detectors: Detector::ALL.to_vec(), ..Mask::default() }])?;
    for (what, selected) in
        [(format!("{RULES} rules by path"), select(&rules)?), ("every detector".to_owned(), all.clone())]
    {
        println!(
            "{:<48} {:>8.1} µs",
            format!("{what}, a call of {} bytes", call.len()),
            micros(&selected, &call, ROUNDS)
        );
    }
    println!(
        "\n{:<48} {:>8} {:>16} {:>14}",
        "every detector, clean results", "MB/s", "× checking JSON", "× copying it"
    );
    for (what, result) in results() {
        let masks = micros(&all, &result, LONG_ROUNDS);
        let checking =
            cpu::middle(LONG_ROUNDS, || drop(black_box(serde_json::from_str::<&RawValue>(black_box(&result)))));
        let copying = cpu::middle(LONG_ROUNDS, || drop(black_box(black_box(&result).clone())));
        let times = |other: std::time::Duration| masks / (other.as_secs_f64() * 1e6);
        println!(
            "{:<48} {:>8.0} {:>16.1} {:>14.0}",
            format!("{what} of {} bytes", result.len()),
            result.len() as f64 / masks,
            times(checking),
            times(copying)
        );
    }
    let texts: Vec<String> =
        corpus::all().iter().map(|sample| json!({ "params": { sample.name: sample.text } }).to_string()).collect();
    let key = MaskKey::from_bytes(&[1; 32]);
    let (spent, ()) = cpu::spent(|| texts.iter().for_each(|text| drop(black_box(all.apply(text, &key)))));
    let each = spent.as_secs_f64() * 1e6 / texts.len() as f64;
    println!("\n{:<48} {each:>8.1} µs a text", format!("every detector, the corpus of {} texts", texts.len()));
    Ok(())
}

fn select(rules: &[Mask]) -> Result<Selected> {
    Ok(Masks::compile(rules)?.for_call("any", None))
}

/// The middle of so many rounds.
fn micros(selected: &Selected, text: &str, rounds: usize) -> f64 {
    let key = MaskKey::from_bytes(&[1; 32]);
    cpu::middle(rounds, || drop(black_box(selected.apply(black_box(text), &key)))).as_secs_f64() * 1e6
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
