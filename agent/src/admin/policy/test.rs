//! `weir policy test`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;
use serde::Serialize;

use super::Asking;
use crate::{
    admin::{Context, Ended, Failure},
    policy::{
        Policies, Recorded, Verdict,
        replay::{self, Answer},
    },
};

/// Most calls that are listed one by one; beyond it they are counted.
const LISTED: usize = 10_000;

/// Arguments of `weir policy test`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TestArgs {
    #[command(flatten)]
    asking: Asking,
}

const EXAMPLES: &str = "\
Examples:
  What would new policies have changed?
    weir policy test --policy new.cedar
  The same over what was delivered, as JSON:
    weir policy test --policy new.cedar --file 2026-11-23.ndjson.gz --json

A call is undecidable where the answer rests on an argument that is masked, or cut off, in its record.
Lists are not asked again: what would vanish from them is what `tools/call` would be denied.";

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Report {
    version: String,
    policies: usize,
    /// Calls and notifications that were asked about.
    asked: u64,
    unchanged: u64,
    /// By what they were and would be, as in `allow → deny`.
    changes: BTreeMap<String, u64>,
    undecidable: u64,
    /// Calls with another verdict, and undecidable ones.
    calls: Vec<Call>,
    /// How many more of these there are.
    unlisted: u64,
    /// Policies that decided no call.
    idle: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Call {
    time: Timestamp,
    call_id: String,
    workload: String,
    endpoint: String,
    what: String,
    was: String,
    /// `undecidable`, or the verdict.
    would_be: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// Asks about every call of the log.
///
/// # Errors
/// The policies are wrong, or the log cannot be read.
pub(super) fn execute(args: &TestArgs, context: &Context) -> Result<Ended, Failure> {
    let config = context.load()?;
    let policies = args.asking.policies(&config)?;
    let mut report = Report { version: policies.version().to_string(), policies: policies.len(), ..Report::default() };
    let mut decided = BTreeSet::new();
    args.asking.each(&config, |recorded, catalogue| {
        let answer = recorded.ask(&policies, catalogue);
        if let Answer::Decided(verdict) = &answer {
            decided.extend(verdict.ground().policy.as_deref().map(str::to_owned));
        }
        report.note(recorded, &answer);
        Ok(())
    })?;
    report.idle = idle(&policies, &decided);
    context.print(&report)?;
    Ok(Ended::Done)
}

fn idle(policies: &Policies, decided: &BTreeSet<String>) -> Vec<String> {
    replay::idle(policies, decided).into_iter().map(str::to_owned).collect()
}

impl Report {
    fn note(&mut self, recorded: &Recorded, answer: &Answer) {
        self.asked += 1;
        let was = recorded.verdict.action.as_str();
        let (would_be, policy, why) = match answer {
            Answer::Decided(verdict) if verdict.action() == was => {
                self.unchanged += 1;
                return;
            }
            Answer::Decided(verdict) => {
                *self.changes.entry(format!("{was} → {}", verdict.action())).or_default() += 1;
                (verdict.action(), ground(verdict).0, ground(verdict).1)
            }
            Answer::Undecidable { why } => {
                self.undecidable += 1;
                ("undecidable", None, Some(why.clone()))
            }
        };
        if self.calls.len() == LISTED {
            self.unlisted += 1;
            return;
        }
        self.calls.push(Call {
            time: recorded.time(),
            call_id: recorded.call_id().to_owned(),
            workload: recorded.workload().to_owned(),
            endpoint: recorded.endpoint().to_owned(),
            what: recorded.what(),
            was: was.to_owned(),
            would_be: would_be.to_owned(),
            policy,
            why,
        });
    }
}

fn ground(verdict: &Verdict) -> (Option<String>, Option<String>) {
    let ground = verdict.ground();
    (ground.policy.as_deref().map(str::to_owned), ground.reason.as_deref().map(str::to_owned))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Call { time, call_id, workload, endpoint, what, was, would_be, policy, why } in &self.calls {
            let end = call_id.len().saturating_sub(8);
            let id = call_id.get(end..).unwrap_or(call_id);
            write!(f, "{time:.0} #{id} {workload} {endpoint} {what}: {was} → {would_be}")?;
            if let Some(policy) = policy {
                write!(f, " by {policy}")?;
            }
            if let Some(why) = why {
                write!(f, ": {why}")?;
            }
            writeln!(f)?;
        }
        if self.unlisted > 0 {
            writeln!(f, "and {} more", self.unlisted)?;
        }
        let Self { version, policies, asked, unchanged, changes, undecidable, idle, .. } = self;
        write!(f, "{policies} policies, version {version}: {asked} calls asked about, {unchanged} unchanged")?;
        for (change, count) in changes {
            write!(f, ", {count} {change}")?;
        }
        write!(f, ", {undecidable} undecidable")?;
        if !idle.is_empty() {
            write!(f, "\ndecided no call: {}", idle.join(", "))?;
        }
        Ok(())
    }
}
