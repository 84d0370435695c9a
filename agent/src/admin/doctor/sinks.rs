//! Where records go: does each sink answer?

use super::Check;
use crate::{
    admin::client,
    audit::ship::{self, Probe},
    config::Audit,
};

/// Asks every sink. One that does not answer is a warning: records wait in the log until it does.
pub(super) fn answers(audit: &Audit) -> Vec<Check> {
    let mut checks = Vec::new();
    if !audit.has_sink() {
        checks.push(Check::warn(
            "sinks",
            "records stay on this host, where root can change them",
            "configure one, such as `audit.kinesis`",
        ));
    }
    let check = |Probe { sink, answer }| {
        let name = format!("sink {sink}");
        match answer {
            Ok(says) => Check::pass(name, says),
            Err(error) => Check::warn(name, error, format!("check `audit.{sink}`; docs/shipping.md has what it needs")),
        }
    };
    match client::wait(ship::probe(audit)) {
        Ok(probes) => checks.extend(probes.into_iter().map(check)),
        Err(error) => checks.push(Check::warn("sinks", error.to_string(), "try again")),
    }
    checks
}
