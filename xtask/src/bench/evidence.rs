//! Fast is only worth something with the log whole: every call that was answered, or that the server saw, has its records,
//! and nothing was recorded that was not called.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::{leg::Leg, load::Sample, report::Settings, stage::Stage};

/// What one agent's log holds of the load.
#[derive(Debug, Serialize)]
pub(super) struct Evidence {
    leg: String,
    /// Calls that clients had answers to.
    answered: u64,
    /// Calls that the server saw.
    served: u64,
    /// `request` records.
    requests: u64,
    /// `response` records of calls that went well.
    responses: u64,
}

/// Verifies the logs and compares them with what clients and server counted. `checks` is the number of calls beside the load.
pub(super) fn check(
    stage: &Stage,
    settings: &Settings,
    legs: &[Leg],
    rounds: &[Vec<Sample>],
    checks: u64,
) -> Result<Vec<Evidence>> {
    let mut all = Vec::new();
    for (position, leg) in legs.iter().enumerate() {
        let Some(durability) = leg.durability else { continue };
        let verdict = stage.weir(durability, &["audit", "verify"])?;
        eprintln!("  {}: {}", leg.name, verdict.lines().next().unwrap_or_default());
        let sum = |count: fn(&Sample) -> u64| rounds.iter().map(|samples| count(&samples[position])).sum();
        let log = stage.audit(durability);
        let evidence = Evidence {
            leg: leg.name.clone(),
            answered: sum(|sample| sample.answered),
            served: sum(|sample| sample.served),
            requests: records(&log, r#""phase":"request",.*"endpoint":"load""#)?,
            responses: records(&log, r#""phase":"response",.*"outcome":"ok",.*"endpoint":"load""#)?,
        };
        // What was under way when a round's load ended was recorded, and perhaps served, but not answered.
        let cut_off = u64::from(settings.rounds) * u64::from(settings.connections);
        evidence.holds(checks, cut_off).with_context(|| format!("{evidence:?}"))?;
        all.push(evidence);
    }
    Ok(all)
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { leg, answered, served, requests, responses } = self;
        write!(
            f,
            "{leg}: {answered} calls answered, {served} seen by the server, {requests} requests and {responses} "
        )?;
        f.write_str("good responses recorded")
    }
}

impl Evidence {
    fn holds(&self, checks: u64, cut_off: u64) -> Result<()> {
        let Self { answered, served, requests, responses, .. } = *self;
        ensure!(requests >= served + checks, "the server saw calls that the log has no request of");
        ensure!(responses >= answered + checks, "clients had answers that the log has no response of");
        ensure!(requests <= answered + checks + cut_off, "the log has requests that no client made");
        ensure!(responses <= requests, "the log has responses to no request");
        Ok(())
    }
}

/// Lines of a log that match, counted by a program that knows nothing of Weir.
fn records(log: &Path, pattern: &str) -> Result<u64> {
    let mut grep = Command::new("grep");
    grep.args(["--count", "--no-filename", "--regexp", pattern]).env("LC_ALL", "C");
    for entry in fs::read_dir(log).with_context(|| format!("cannot read {}", log.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ndjson") {
            grep.arg(path);
        }
    }
    let output = grep.output().context("cannot start grep")?;
    let counts = String::from_utf8_lossy(&output.stdout).into_owned();
    counts.lines().map(|count| count.parse::<u64>().with_context(|| format!("grep: {count}"))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(answered: u64, served: u64, requests: u64, responses: u64) -> Evidence {
        Evidence { leg: "weir".to_owned(), answered, served, requests, responses }
    }

    #[test]
    fn what_was_under_way_at_the_end_may_be_recorded_or_not_answered() {
        assert!(evidence(100, 103, 104, 101).holds(1, 16).is_ok());
        assert!(evidence(100, 110, 117, 112).holds(1, 16).is_ok());
    }

    #[test]
    fn nothing_may_be_missing_or_invented() {
        for bad in [
            evidence(100, 105, 105, 101),
            evidence(100, 101, 104, 100),
            evidence(100, 101, 118, 101),
            evidence(100, 100, 101, 102),
        ] {
            assert!(bad.holds(1, 16).is_err(), "{bad:?}");
        }
    }
}
