//! `weir doctor`: each prerequisite, whether it holds, and what to do.

use std::fmt;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::{Context, Ended, Failure};
use crate::{
    config::{Config, Intercept, LinkLayer},
    datapath::{Feature, kernel_features},
};

mod host;
mod sinks;
mod storage;
mod trusted;

/// Arguments of `weir doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// One prerequisite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is checked.
    pub name: String,
    /// Whether it holds.
    pub state: State,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// Whether a prerequisite holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It does.
    Pass,
    /// The agent runs, but something is worse than it could be.
    Warn,
    /// The agent cannot do its work.
    Fail,
}

impl Check {
    /// It holds.
    pub(crate) fn pass(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Pass, detail: detail.into(), fix: None }
    }

    /// It could be better.
    pub(crate) fn warn(name: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Warn, detail: detail.into(), fix: Some(fix.into()) }
    }

    /// It does not hold.
    pub(crate) fn fail(name: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Fail, detail: detail.into(), fix: Some(fix.into()) }
    }
}

/// Runs the command. Without a configuration file the rest is checked for the defaults.
///
/// # Errors
/// The configuration is there but wrong.
pub fn execute(_args: &Args, context: &Context) -> Result<Ended, Failure> {
    let (config, first) = if context.config.try_exists().unwrap_or(true) {
        (context.load()?, storage::config(&context.config))
    } else {
        let missing = Check::fail(
            "config",
            format!("no {}", context.config.display()),
            "write one: docs/configuration.md lists the keys",
        );
        (Config::default(), missing)
    };
    let report = Report::of(std::iter::once(first).chain(checks(&config)).collect());
    context.print(&report)?;
    Ok(if report.ok { Ended::Done } else { Ended::CheckFailed })
}

/// Everything that is checked on the host.
pub fn checks(config: &Config) -> Vec<Check> {
    let mut checks = vec![host::privileges(), host::namespaces(), host::kernel()];
    let Intercept { base, bpffs, link_layer, .. } = &config.intercept;
    let features = kernel_features(base, bpffs, *link_layer == LinkLayer::Deny);
    checks.extend(features.into_iter().map(Check::from));
    checks.extend([
        host::unprivileged_bpf(),
        host::clock(),
        storage::directory("state directory", &config.state_dir),
        storage::directory("audit directory", &config.audit_dir()),
        storage::space(&config.audit_dir()),
    ]);
    checks.extend(sinks::answers(&config.audit));
    checks.extend(trusted::authority(&config.state_dir));
    checks
}

impl From<Feature> for Check {
    fn from(feature: Feature) -> Self {
        let Feature { name, ok, detail, fix } = feature;
        if ok { Self::pass(name, detail) } else { Self::fail(name, detail, fix) }
    }
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Check>,
}

impl Report {
    fn of(checks: Vec<Check>) -> Self {
        Self { ok: checks.iter().all(|check| check.state != State::Fail), checks }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |state| self.checks.iter().filter(|check| check.state == state).count();
        for check in &self.checks {
            let (word, color) = match check.state {
                State::Pass => ("pass", AnsiColor::Green),
                State::Warn => ("warn", AnsiColor::Yellow),
                State::Fail => ("FAIL", AnsiColor::Red),
            };
            let style = Style::new().fg_color(Some(color.into()));
            writeln!(f, "{style}{word}{style:#}  {:<17}  {}", check.name, check.detail)?;
            if let Some(fix) = &check.fix {
                writeln!(f, "      {:<17}  fix: {fix}", "")?;
            }
        }
        write!(f, "{} pass, {} warn, {} fail", count(State::Pass), count(State::Warn), count(State::Fail))
    }
}
