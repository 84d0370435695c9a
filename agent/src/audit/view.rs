//! A record as the commands show and filter it: the fields that other programs rely on, read from a line.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::chain::Line;

/// A record's position, and what is shown of its event. What a record does not have is `None`.
#[derive(Debug)]
pub struct View<'a> {
    /// Its seq.
    pub seq: u64,
    /// Its epoch.
    pub epoch: u64,
    /// Its event.
    pub event: EventView<'a>,
}

/// `event`.
#[derive(Debug, Deserialize)]
pub struct EventView<'a> {
    /// `event.class_uid`.
    pub class_uid: u32,
    /// `event.time`, in milliseconds since 1970.
    pub time: i64,
    /// `event.message`.
    #[serde(default)]
    pub message: String,
    /// `event.duration`, in milliseconds.
    pub duration: Option<u64>,
    /// `event.mcp`.
    #[serde(borrow)]
    pub mcp: Option<McpView<'a>>,
    /// `event.workload`.
    pub workload: Option<WorkloadView>,
    /// `event.caller`.
    pub caller: Option<CallerView>,
    /// `event.credential`.
    pub credential: Option<CredentialView>,
    /// `event.verdict`.
    pub verdict: Option<VerdictView>,
    /// `event.dst_endpoint`.
    pub dst_endpoint: Option<EndpointView>,
    /// `event.flow`.
    pub flow: Option<FlowView>,
    /// `event.http_request`.
    pub http_request: Option<HttpView>,
    /// `event.http_response`.
    pub http_response: Option<HttpResponseView>,
    /// `event.traffic`.
    pub traffic: Option<TrafficView>,
    /// `event.masked`: values replaced, by rule.
    #[serde(default)]
    pub masked: BTreeMap<String, u64>,
    /// `event.metadata`.
    #[serde(default)]
    pub metadata: MetadataView,
}

/// `event.metadata`.
#[derive(Debug, Default, Deserialize)]
pub struct MetadataView {
    /// Something in the record was cut.
    #[serde(default)]
    pub is_truncated: bool,
}

/// `event.mcp`.
#[derive(Debug, Deserialize)]
pub struct McpView<'a> {
    /// `request`, `response` …
    pub phase: Option<String>,
    /// Joins the records of a call.
    pub call_id: Option<String>,
    /// How the call ended.
    pub outcome: Option<String>,
    /// The JSON-RPC method.
    pub method: Option<String>,
    /// The tool, prompt or resource.
    pub name: Option<String>,
    /// The endpoint's name.
    pub endpoint: Option<String>,
    /// `modern`, `session` or `sse`.
    pub era: Option<String>,
    /// The revision in force.
    pub protocol_version: Option<String>,
    /// The MCP session.
    pub session_id: Option<String>,
    /// The JSON-RPC id; a notification has none.
    #[serde(borrow)]
    pub id: Option<&'a RawValue>,
    /// The HTTP status that answered.
    pub http_status: Option<u16>,
    /// From request to response.
    pub duration_ms: Option<u64>,
    /// What a stream carried: how much, and of a call the first of it.
    #[serde(borrow)]
    pub events: Option<&'a RawValue>,
    /// What a rule changed between the message that was parsed and the one that was sent.
    #[serde(default)]
    pub edits: Vec<String>,
    /// `params`, as recorded.
    #[serde(borrow)]
    pub params: Option<&'a RawValue>,
    /// `result`, as recorded.
    #[serde(borrow)]
    pub result: Option<&'a RawValue>,
    /// `error`, as recorded.
    #[serde(borrow)]
    pub error: Option<&'a RawValue>,
}

/// `event.workload`.
#[derive(Debug, Deserialize)]
pub struct WorkloadView {
    /// Its stable name.
    pub id: String,
    /// Who opened the connection.
    pub process: Option<ProcessView>,
}

/// `event.workload.process`.
#[derive(Debug, Deserialize)]
pub struct ProcessView {
    /// In the host's numbering.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its short name.
    pub comm: String,
    /// Its program.
    pub exe: Option<String>,
}

/// `event.caller`: the person or service named in a verified token.
#[derive(Debug, Deserialize)]
pub struct CallerView {
    /// The token's subject.
    pub sub: String,
    /// Who says so.
    pub issuer: Option<String>,
}

/// `event.credential`: what the agent signed the request with.
#[derive(Debug, Deserialize)]
pub struct CredentialView {
    /// `sigv4`, `bearer` …
    pub kind: String,
    /// The role that was assumed.
    pub role_arn: Option<String>,
}

/// `event.verdict`.
#[derive(Debug, Deserialize)]
pub struct VerdictView {
    /// `allow`, `deny` or `hold`.
    pub action: String,
    /// What decided.
    pub policy: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The approval that it was held for.
    pub approval_id: Option<String>,
    /// Who approved or denied it.
    pub approver: Option<String>,
}

/// `event.dst_endpoint`.
#[derive(Debug, Deserialize)]
pub struct EndpointView {
    /// The name that the client asked for.
    pub hostname: Option<String>,
    /// The address.
    pub ip: Option<IpAddr>,
    /// The port.
    pub port: Option<u16>,
}

/// `event.flow`.
#[derive(Debug, Deserialize)]
pub struct FlowView {
    /// Joins the records of a connection.
    pub id: String,
    /// What became of it.
    pub end: Option<String>,
    /// What the client spoke.
    pub protocol: Option<String>,
}

/// `event.traffic`.
#[derive(Debug, Deserialize)]
pub struct TrafficView {
    /// Bytes to the application.
    pub bytes_in: u64,
    /// Bytes from the application.
    pub bytes_out: u64,
}

/// `event.http_request`.
#[derive(Debug, Deserialize)]
pub struct HttpView {
    /// Its method.
    pub http_method: Option<String>,
    /// Its URL.
    pub url: UrlView,
}

/// `event.http_request.url`.
#[derive(Debug, Deserialize)]
pub struct UrlView {
    /// The path.
    pub path: String,
}

/// `event.http_response`.
#[derive(Debug, Deserialize)]
pub struct HttpResponseView {
    /// The status code.
    pub code: u16,
}

impl<'a> View<'a> {
    /// Reads a line's event.
    ///
    /// # Errors
    /// When a field that every record has is missing or of another type.
    pub fn read(line: &Line<'a>) -> serde_json::Result<Self> {
        Ok(Self { seq: line.seq, epoch: line.epoch, event: serde_json::from_str(line.event)? })
    }

    /// When it happened.
    pub fn time(&self) -> Timestamp {
        Timestamp::from_millisecond(self.event.time).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}
