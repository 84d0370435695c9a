//! What is made of a request's record, or of the one that stands in for it: the response of a call that an earlier agent left
//! open, and the restatement of one that stays open.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use super::{
    super::{
        event::{Outcome, Phase},
        open_calls::{Fields, OpenCall, STILL_OPEN},
    },
    record::{Class, Metadata, Severity},
};

/// The record's fields: who, where and what as in the request; nothing that only the request had.
pub(super) fn fields(open: &OpenCall, time: i64, uid: Uuid) -> serde_json::Result<Fields> {
    let mut mcp = open.mcp.clone();
    put(&mut mcp, "phase", &Phase::Response)?;
    put(&mut mcp, "outcome", &Outcome::Unknown)?;
    let mut record = of_call(open, time, uid)?;
    put(&mut record, "severity_id", &(Severity::Low as u32))?;
    put(&mut record, "message", "the agent ended before it saw the response")?;
    put(&mut record, "mcp", &mcp)?;
    Ok(record)
}

/// What stands in for a request's record from here on: the same, without its payload, and when the call began.
pub(in crate::audit) fn restate(open: &OpenCall, time: Timestamp, uid: Uuid) -> serde_json::Result<String> {
    let mut mcp = open.mcp.clone();
    put(&mut mcp, "phase", STILL_OPEN)?;
    if let Some(began) = open.event.get("time").filter(|_| !mcp.contains_key("since")) {
        mcp.insert("since".to_owned(), began.clone());
    }
    let mut record = of_call(open, time.as_millisecond(), uid)?;
    put(&mut record, "message", "the call is still open")?;
    put(&mut record, "mcp", &mcp)?;
    serde_json::to_string(&record)
}

/// What both have in common.
fn of_call(open: &OpenCall, time: i64, uid: Uuid) -> serde_json::Result<Fields> {
    let mut record = open.event.clone();
    for only_in_request in ["status_detail", "duration"] {
        record.remove(only_in_request);
    }
    let metadata = Metadata { uid, correlation: Some(open.call_id), truncated: false, in_cloud: false };
    put(&mut record, "time", &time)?;
    put(&mut record, "status_id", &0)?;
    put(&mut record, "status", "Unknown")?;
    put(&mut record, "metadata", &metadata.of(Class::ApiActivity))?;
    put(&mut record, "masked", &Fields::new())?;
    Ok(record)
}

fn put<T: Serialize + ?Sized>(fields: &mut Fields, name: &str, value: &T) -> serde_json::Result<()> {
    let value: Box<RawValue> = to_raw_value(value)?;
    fields.insert(name.to_owned(), value);
    Ok(())
}
