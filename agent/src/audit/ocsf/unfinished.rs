//! The response record of a call that an earlier agent left open, made of its request's record.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use super::{
    super::{
        event::{Outcome, Phase},
        open_calls::{Fields, OpenCall},
    },
    record::{Class, Metadata, Severity},
};

/// The record's fields: who, where and what as in the request; nothing that only the request had.
pub(super) fn fields(open: &OpenCall, time: i64, uid: Uuid) -> serde_json::Result<Fields> {
    let mut mcp = open.mcp.clone();
    put(&mut mcp, "phase", &Phase::Response)?;
    put(&mut mcp, "outcome", &Outcome::Unknown)?;

    let mut record = open.event.clone();
    for only_in_request in ["status_detail", "duration"] {
        record.remove(only_in_request);
    }
    let metadata = Metadata { uid, correlation: Some(open.call_id), truncated: false, in_cloud: false };
    put(&mut record, "time", &time)?;
    put(&mut record, "severity_id", &(Severity::Low as u32))?;
    put(&mut record, "status_id", &0)?;
    put(&mut record, "status", "Unknown")?;
    put(&mut record, "message", "the agent ended before it saw the response")?;
    put(&mut record, "metadata", &metadata.of(Class::ApiActivity))?;
    put(&mut record, "masked", &Fields::new())?;
    put(&mut record, "mcp", &mcp)?;
    Ok(record)
}

fn put<T: Serialize + ?Sized>(fields: &mut Fields, name: &str, value: &T) -> serde_json::Result<()> {
    let value: Box<RawValue> = to_raw_value(value)?;
    fields.insert(name.to_owned(), value);
    Ok(())
}
