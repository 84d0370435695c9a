//! How fast records are shipped, and what it costs: live, beside the same load without a sink, and from a backlog.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    Emulator, KEYS, Stream,
    soak::{command, config},
};

/// Records per second of the live run.
const LIVE: u64 = 5000;
/// How long it lasts, in seconds.
const SECONDS: u64 = 20;
/// Records that wait when the backlog is drained.
const BACKLOG: u64 = 100_000;
/// Enough for ten times that: a shard takes 1,000 records and 1 MB a second, and here it may take more.
const SHARDS: i32 = 32;

/// Measures, and prints a table.
///
/// # Errors
/// When a run fails.
pub fn run(dir: &Path, program: &Path) -> Result<()> {
    let emulator = Emulator::ferrokinesis(dir, &["--shard-limit", "100"]);
    let stream = Stream::create(&emulator.url(), "weir-audit", SHARDS, KEYS);
    let sink =
        format!("kinesis = {{ stream = \"weir-audit\", region = \"us-east-1\", endpoint_url = {:?} }}", emulator.url());
    let run = |name: &str, sinks: &str, records: u64, rate: u64| -> Result<Value> {
        let dir = dir.join(name);
        fs::create_dir_all(&dir)?;
        let output = command(program, &config(&dir, sinks), records, rate).output().context("cannot run the writer")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_str(said.lines().last().context("it said nothing")?)?)
    };
    let alone = run("alone", "", LIVE * SECONDS, LIVE)?;
    let live = run("live", &sink, LIVE * SECONDS, LIVE)?;
    run("backlog", "", BACKLOG, 0)?;
    let drained = run("backlog", &sink, BACKLOG, 0)?;
    let arrived = stream.read().records();
    // And checkpoints.
    ensure!(arrived >= LIVE * SECONDS + BACKLOG, "{arrived} records arrived");

    let number = |value: &Value, key: &str| value[key].as_u64().unwrap_or(0) as f64;
    println!("{:<34} {:>10} {:>16} {:>8}", "", "records/s", "CPU ms / 1,000", "of a core");
    let line = |name: &str, records: u64, ms: f64, cpu: f64| {
        println!(
            "{name:<34} {:>10.0} {:>16.2} {:>7.0}%",
            records as f64 * 1e3 / ms,
            cpu * 1e3 / records as f64,
            cpu * 100.0 / ms
        );
    };
    let ms = number(&live, "shipped_ms");
    line("written, no sink", LIVE * SECONDS, number(&alone, "shipped_ms"), number(&alone, "cpu_ms"));
    line("written and shipped, live", LIVE * SECONDS, ms, number(&live, "cpu_ms"));
    line("of which shipping", LIVE * SECONDS, ms, number(&live, "cpu_ms") - number(&alone, "cpu_ms"));
    line("backlog of 100,000 drained", BACKLOG, number(&drained, "shipped_ms"), number(&drained, "cpu_ms"));
    Ok(())
}
