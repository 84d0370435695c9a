//! MCP at a server that nobody registered, as an alert of Network Activity.

use std::borrow::Cow;

use serde::Serialize;

use super::{
    super::event::{Action, ShadowKind, Sighting, Verdict},
    Pen, control, parties,
    parts::{Connection, FlowPart},
    record::{Activity, Base, Class, Control, Ours, Parties, Severity, Status},
};

/// Network Activity that is an alert.
#[derive(Debug, Serialize)]
pub(super) struct SightingRecord<'a> {
    #[serde(flatten)]
    base: Base<'a>,
    is_alert: bool,
    count: u64,
    #[serde(flatten)]
    control: Control<'a>,
    #[serde(flatten)]
    parties: Parties<'a>,
    connection_info: Connection,
    #[serde(flatten)]
    ours: Ours<'a>,
}

impl Pen {
    pub(super) fn sighting<'a>(&self, sighting: &'a Sighting) -> SightingRecord<'a> {
        let Sighting { workload, route, shadow, action, count } = sighting;
        let denied = *action == Action::Deny;
        let (severity, status) = match (shadow.kind, denied) {
            (_, true) => (Severity::Medium, Status::Failure(Some("denied"))),
            (ShadowKind::Mcp, false) => (Severity::Medium, Status::Success),
            (ShadowKind::LikelyMcp, false) => (Severity::Low, Status::Success),
        };
        let to = route.hostname.clone().unwrap_or_else(|| route.dst.to_string());
        let message = match shadow.kind {
            ShadowKind::Mcp => format!("shadow MCP at {to}: {}", shadow.evidence),
            ShadowKind::LikelyMcp => format!("likely shadow MCP at {to}: {}", shadow.evidence),
        };
        let activity = Activity { class: Class::NetworkActivity, id: 6, name: "Traffic" };
        let mut base = self.base(activity, (severity, status), message);
        base.metadata.correlation = Some(route.flow_id);
        let flow = FlowPart { shadow: Some(shadow.clone()), ..FlowPart::of(route) };
        let verdict = Verdict { action: *action, policy: None, version: None, reason: None };
        SightingRecord {
            base,
            is_alert: true,
            count: *count,
            control: control(*action, None),
            parties: parties(workload, route, None),
            connection_info: Connection::new(route),
            ours: Ours { workload, verdict: Cow::Owned(verdict), flow },
        }
    }
}
