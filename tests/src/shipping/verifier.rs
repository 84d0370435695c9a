//! The process that reads a stream back with `weir audit verify --stream`'s code, and says what it took.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use weir::{
    audit::verify::{Expectations, verify_stream},
    config,
};

/// Verifies the stream that a configuration ships to, and prints how it went.
///
/// # Errors
/// When it cannot be read, or is not intact.
pub fn run(config: &Path) -> Result<()> {
    let stream = config::load(config)?.audit.kinesis.context("no stream in the configuration")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let expect = Expectations::default();
    let report = runtime.block_on(verify_stream(&stream, &expect, Duration::from_secs(30), |_| {}))?;
    let records: u64 = report.logs.iter().map(|log| log.records).sum();
    println!("{}", json!({ "intact": report.intact, "records": records, "peak_mib": peak_memory()? >> 10 }));
    ensure!(report.intact, "{:?}", report.first_bad());
    Ok(())
}

/// Resident memory at its highest, in KiB (proc(5): `VmHWM`).
fn peak_memory() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(peak.trim().trim_end_matches(" kB").parse()?)
}
