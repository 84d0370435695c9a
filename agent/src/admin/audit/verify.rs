//! `weir audit verify`.

use std::{
    io::{self, IsTerminal as _, Write},
    path::Path,
};

use anstyle::{AnsiColor, Style};

use super::{Ended, Failure, Stop};
use crate::audit::verify::{Progress, Report, verify};

/// Arguments of `weir audit verify`.
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {}

/// Checks the log and says what it found; the first bad record makes the check fail.
pub(super) fn run(_args: &VerifyArgs, dir: &Path, json: bool, out: &mut dyn Write) -> Result<Ended, Stop> {
    let watched = io::stderr().is_terminal();
    let report = verify(dir, |progress| {
        if watched {
            show(progress);
        }
    });
    if watched {
        eprint!("\r\x1b[K");
    }
    let report = report.map_err(|error| Stop::Failed(Failure::Failed(error.to_string())))?;
    if json {
        serde_json::to_writer(&mut *out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        print(&report, out)?;
    }
    Ok(if report.bad.is_some() { Ended::CheckFailed } else { Ended::Done })
}

fn show(Progress { records, expected }: Progress) {
    let percent = records.saturating_mul(100).checked_div(expected).unwrap_or(100);
    eprint!("\r{records} of {expected} records checked ({percent} %)");
}

fn print(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let Report { log, records, epochs, bytes, last_hash, incomplete_bytes, bad } = report;
    let (good, failed) = (AnsiColor::Green.on_default().bold(), AnsiColor::Red.on_default().bold());
    let verdict = |style: Style, word: &str| format!("{style}{word}{style:#}");
    match bad {
        None => {
            let word = verdict(good, "intact");
            writeln!(out, "{word}: log {log}, {records} records in {epochs} epochs, {bytes} bytes")?;
            writeln!(out, "last hash {last_hash}")?;
        }
        Some(bad) => {
            writeln!(out, "{}: record {} was {}", verdict(failed, "not intact"), bad.seq, bad.fault)?;
            writeln!(out, "in {}, byte {}", bad.segment.display(), bad.offset)?;
            writeln!(out, "log {log}: the {records} records before it are intact, what follows was not checked")?;
        }
    }
    if *incomplete_bytes > 0 {
        writeln!(out, "{incomplete_bytes} bytes of an incomplete line at the end: being written, or torn by a crash")?;
    }
    Ok(())
}
