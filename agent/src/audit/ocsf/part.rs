//! A piece of a long payload: OCSF's Base Event, which asks for nothing that a piece does not have.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{
    super::parts::Part,
    record::{Activity, Base, Class, Metadata, Severity, Status},
};

#[derive(Serialize)]
struct PartRecord<'a> {
    #[serde(flatten)]
    base: Base<'a>,
    payload_part: &'a Part<'a>,
}

/// Writes the piece as one line of JSON. `uid` names the record.
///
/// # Errors
/// Only when a value cannot be serialised, which no piece holds.
pub(in crate::audit) fn render_part(time: Timestamp, part: &Part<'_>, uid: Uuid) -> serde_json::Result<String> {
    let message = format!("part {} of {} of the {} in record {}", part.part, part.parts, part.field, part.of);
    let base = Base {
        activity: Activity { class: Class::BaseEvent, id: 99, name: "Continue" },
        time: time.as_millisecond(),
        severity: Severity::Informational,
        status: Status::Unknown,
        status_detail: None,
        message,
        duration: None,
        metadata: Metadata { uid, correlation: Some(part.call_id), truncated: false, in_cloud: false },
    };
    serde_json::to_string(&PartRecord { base, payload_part: part })
}
