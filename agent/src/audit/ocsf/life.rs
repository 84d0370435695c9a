//! How the agent's life is said in OCSF.

use super::{
    super::event::{Catalogue, CatalogueKind, Life, Requester},
    parts::{CataloguePart, Lifecycle, Retired},
    record::{Severity, Status},
};

/// An activity's id and name, the message, and the rest.
pub(super) type Said<'a> = (u32, &'static str, String, Lifecycle<'a>);

/// One event of the agent's life.
pub(super) fn say(life: &Life) -> Said<'_> {
    let none = Lifecycle::default();
    match life {
        Life::TookOver { pid, version } => {
            let lifecycle = Lifecycle { kind: "took_over", pid: Some(*pid), version: Some(version), ..none };
            (99, "Take Over", format!("took over from weir {version}, process {pid}"), lifecycle)
        }
        Life::KeptOn { reason } => {
            let lifecycle = Lifecycle { kind: "kept_on", reason: Some(reason), ..none };
            (99, "Keep On", format!("another agent failed to take over: {reason}"), lifecycle)
        }
        Life::Drained { pid, open_calls } => {
            let lifecycle = Lifecycle { kind: "drained", pid: Some(*pid), open_calls: Some(*open_calls), ..none };
            let message = format!("the former agent, process {pid}, has ended: {open_calls} calls left open");
            (99, "Drain", message, lifecycle)
        }
        Life::FailedOpen { connections, since, until } => {
            let lifecycle = Lifecycle {
                kind: "failed_open",
                connections: Some(*connections),
                since: Some(since.as_millisecond()),
                until: Some(until.as_millisecond()),
                ..none
            };
            let message = format!("without an agent, {connections} connections went past unwatched");
            (99, "Fail Open", message, lifecycle)
        }
        Life::Watched { check, healthy, detail } => {
            let lifecycle = Lifecycle {
                kind: "watched",
                check: Some(check),
                healthy: Some(*healthy),
                reason: Some(detail),
                ..none
            };
            (99, "Check", format!("{check}: {detail}"), lifecycle)
        }
        Life::Retired { through_seq, through_hash, segments, bytes } => {
            let retired = Retired { through_seq: *through_seq, through_hash, segments: *segments, bytes: *bytes };
            let lifecycle = Lifecycle { kind: "retired", retired: Some(retired), ..none };
            (99, "Retire", format!("shipped records up to {through_seq} are deleted"), lifecycle)
        }
        Life::PoliciesChanged { policy_version, policies } => {
            let lifecycle = Lifecycle {
                kind: "policies_changed",
                policy_version: Some(policy_version),
                policy_count: Some(*policies),
                ..none
            };
            (8, "Update", format!("{policies} policies are in force, version {policy_version}"), lifecycle)
        }
        Life::PoliciesRefused { policy_version, reason } => {
            let lifecycle = Lifecycle {
                kind: "policies_refused",
                policy_version: Some(policy_version),
                reason: Some(reason),
                ..none
            };
            (
                99,
                "Refuse",
                format!("changed policies are not taken; version {policy_version} stays in force"),
                lifecycle,
            )
        }
        Life::Catalogue(catalogue) => say_of_catalogue(catalogue),
    }
}

fn say_of_catalogue(catalogue: &Catalogue) -> Said<'_> {
    let Catalogue { kind, endpoint, by, definitions, reason } = catalogue;
    let count = definitions.len();
    let (id, name, kind, message) = match kind {
        CatalogueKind::Seen => {
            (1, "Install", "catalogue_seen", format!("{count} definitions first seen at {endpoint}"))
        }
        CatalogueKind::Changed => (
            99,
            "Change",
            "catalogue_changed",
            format!("{count} definitions at {endpoint} are not as they were trusted"),
        ),
        CatalogueKind::Accepted => {
            let who = by.map_or_else(String::new, |by| format!(" by uid {}", by.uid));
            (99, "Accept", "catalogue_accepted", format!("{count} definitions at {endpoint} were accepted{who}"))
        }
        CatalogueKind::Lost => {
            (99, "Lose", "catalogue_lost", format!("what was known of the definitions at {endpoint} is lost"))
        }
    };
    let lifecycle = Lifecycle {
        kind,
        reason: reason.as_deref(),
        uid: by.map(|by| by.uid),
        pid: by.and_then(|Requester { pid, .. }| pid),
        login_uid: by.and_then(|by| by.login_uid),
        catalogue: Some(CataloguePart { endpoint, definitions }),
        ..Lifecycle::default()
    };
    (id, name, message, lifecycle)
}

/// How it is rated.
pub(super) fn rate(life: &Life) -> (Severity, Status) {
    match life {
        Life::TookOver { .. }
        | Life::Drained { open_calls: 0, .. }
        | Life::Watched { healthy: true, .. }
        | Life::Retired { .. }
        | Life::PoliciesChanged { .. } => (Severity::Informational, Status::Success),
        Life::KeptOn { .. } | Life::Drained { .. } => (Severity::Medium, Status::Success),
        Life::PoliciesRefused { .. } => (Severity::Medium, Status::Failure(Some("refused"))),
        Life::Catalogue(catalogue) => match catalogue.kind {
            CatalogueKind::Seen => (Severity::Informational, Status::Success),
            CatalogueKind::Accepted => (Severity::Medium, Status::Success),
            CatalogueKind::Changed => (Severity::Medium, Status::Failure(Some("changed"))),
            CatalogueKind::Lost => (Severity::Medium, Status::Failure(Some("lost"))),
        },
        Life::FailedOpen { .. } | Life::Watched { .. } => (Severity::Medium, Status::Failure(Some("unwatched"))),
    }
}
