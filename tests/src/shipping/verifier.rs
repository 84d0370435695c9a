//! The process that reads a stream back with `weir audit verify --stream`'s code, and says what it took.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use weir::{
    audit::{
        checkpoint::signer::KeyFiles,
        verify::{Expectations, LogReport, verify_stream},
    },
    config,
};

/// Verifies the stream that a configuration ships to, with the public key of its writer, and prints how it went.
///
/// # Errors
/// When it cannot be read, is not intact, or is not signed to its end.
pub fn run(config: &Path) -> Result<()> {
    let config = config::load(config)?;
    let stream = config.audit.kinesis.context("no stream in the configuration")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let keys = KeyFiles::new(&config.state_dir).public()?;
    ensure!(!keys.is_empty(), "the writer has no key");
    let expect = Expectations { keys: keys.into_iter().map(Into::into).collect(), ..Expectations::default() };
    let report = runtime.block_on(verify_stream(&stream, &expect, Duration::from_secs(30), |_| {}))?;
    let records: u64 = report.logs.iter().map(|log| log.records).sum();
    let checkpoints: u64 = report.logs.iter().map(|log| log.checkpoints).sum();
    let peak = peak_memory()? >> 10;
    println!(
        "{}",
        json!({ "intact": report.intact, "records": records, "checkpoints": checkpoints, "peak_mib": peak })
    );
    ensure!(report.intact, "{:?}", report.first_bad());
    // After the last checkpoint come its own record, and what retention records while the rest is shipped.
    let is_signed = |log: &LogReport| log.covered + 10 >= log.last_seq && log.keys.iter().all(|key| key.given);
    ensure!(report.logs.iter().all(is_signed), "not signed to its end: {:?}", report.logs);
    Ok(())
}

/// Resident memory at its highest, in KiB (proc(5): `VmHWM`).
fn peak_memory() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(peak.trim().trim_end_matches(" kB").parse()?)
}
