//! What a record states, before it is written as OCSF. Payloads arrive here already masked.

mod catalogue;
mod life;
mod login;
mod shadow;
mod tally;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

pub use self::{
    catalogue::{Catalogue, CatalogueKind, DEFINITIONS, Defined},
    life::Life,
    login::{Login, LoginKind},
    shadow::{Shadow, ShadowKind, Sighting},
    tally::{Counts, EndpointTally, Reconciliation, UNREGISTERED, WorkloadTally},
};
pub use super::{checkpoint::statement::Attestation, open_calls::OpenCall, payload::Payload};
use crate::{
    credentials::Used,
    identity::{Caller, HostFacts, Workload},
    mcp::Era,
};

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it happened.
    pub time: Timestamp,
    /// What it was.
    pub what: What,
}

/// The kinds of record, each an OCSF class.
#[derive(Debug, Clone)]
pub enum What {
    /// A message of a call: API Activity (6003).
    Call(Box<Call>),
    /// An HTTP request at an endpoint's host that is not a JSON-RPC message (a stream's GET, a session's DELETE, OAuth
    /// discovery, other paths): HTTP Activity (4002).
    Http(Box<Http>),
    /// An intercepted connection that ended, or one that was refused: Network Activity (4001).
    Flow(Box<Flow>),
    /// MCP at a server that nobody registered: Network Activity (4001), an alert.
    Sighting(Box<Sighting>),
    /// Somebody signed in or out, or tried to: Authentication (3002).
    Login(Box<Login>),
    /// The agent itself: Application Lifecycle (6002).
    Agent(Agent),
    /// A checkpoint, or a change of the key that signs them: Application Lifecycle (6002).
    Attestation(Attestation),
    /// The end of a call that an earlier agent left open: API Activity (6003), `outcome = "unknown"`.
    Unfinished(Box<OpenCall>),
}

/// Where a flow came from and was going.
#[derive(Debug, Clone)]
pub struct Route {
    /// The application's side: the address that its bytes leave the namespace from, and its socket's port. A loopback address
    /// where nothing was connected for it.
    pub src: SocketAddr,
    /// Where the application meant to go.
    pub dst: SocketAddr,
    /// The host name that the client asked for (SNI or authority), when it said one.
    pub hostname: Option<String>,
    /// Names this flow in every record that belongs to it.
    pub flow_id: Uuid,
}

/// One message of a call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who.
    pub workload: Workload,
    /// For whom, where that is known.
    pub caller: Option<Arc<Caller>>,
    /// Between which addresses.
    pub route: Route,
    /// What was said.
    pub mcp: Mcp,
    /// What was decided.
    pub verdict: Verdict,
    /// How many values each mask rule replaced.
    pub masked: BTreeMap<String, u64>,
    /// What it is sent with, where the endpoint has credentials.
    pub credential: Option<Arc<Used>>,
    /// The HTTP request that carried it.
    pub http: HttpRequest,
}

/// `event.mcp`.
#[derive(Debug, Clone, Serialize)]
pub struct Mcp {
    /// Which message of the call this is.
    pub phase: Phase,
    /// Joins the records of one call.
    pub call_id: Uuid,
    /// How the call ended; on `response` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The JSON-RPC method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The tool, prompt or resource: `params.name` or `params.uri`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The configured endpoint's name.
    pub endpoint: String,
    /// The protocol's era.
    pub era: Era,
    /// The revision in force, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol_version: Option<String>,
    /// `Mcp-Session-Id`, or the legacy transport's message path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The JSON-RPC id, as JSON text; absent for notifications.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Payload>,
    /// Masked `params`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub params: Option<Payload>,
    /// Masked `result`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Payload>,
    /// Masked `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Payload>,
    /// The HTTP status that answered; on `response` only, when the answer came with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// From the request to this record, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The distributed trace that the call belongs to, in hex (W3C Trace Context §3.2.2.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Notifications and progress inside the stream; on `response` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<StreamEvents>,
    /// Edits that a rule ordered between what was parsed and what was sent, e.g. `content-encoding`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<&'static str>,
}

/// Notifications that a stream carried before its response.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StreamEvents {
    /// How many there were.
    pub count: u64,
    /// The first of them, masked, up to a limit.
    pub kept: Vec<Payload>,
}

/// `event.mcp.phase` (DESIGN's table of phases).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A client request or notification, judged, before it is sent.
    Request,
    /// The server asks the client.
    ServerRequest,
    /// The client's answer to it.
    ClientResponse,
    /// How a call ended.
    Response,
}

/// `event.mcp.outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A result arrived.
    Ok,
    /// A JSON-RPC error arrived, or a tool result with `isError`.
    Error,
    /// The client cancelled, by its era's rule.
    Cancelled,
    /// The connection or stream ended before a response.
    Broken,
    /// No response within the limit.
    Timeout,
    /// The agent refused the call; nothing was sent.
    Refused,
    /// The agent ended before it saw a response; written by recovery.
    Unknown,
}

impl Outcome {
    /// As records write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
            Self::Broken => "broken",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// `event.verdict`.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// What was done.
    pub action: Action,
    /// What decided: a policy's id, or the protocol rule that was broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Which policies were asked: the digest of the set. Absent where none were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why, in words that the client may see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `event.verdict.action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It went on.
    Allow,
    /// It was refused.
    Deny,
    /// It waits for an approval, or was refused for want of one.
    Hold,
}

/// The HTTP request line and what is safe to keep of its headers.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// `GET`, `POST` …
    pub method: String,
    /// Path and query, as sent.
    pub path: String,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// `1.1` or `2`.
    pub version: &'static str,
}

/// A request that is not a JSON-RPC message.
#[derive(Debug, Clone)]
pub struct Http {
    /// Who.
    pub workload: Workload,
    /// For whom, where that is known.
    pub caller: Option<Arc<Caller>>,
    /// Between which addresses.
    pub route: Route,
    /// The endpoint whose host it is.
    pub endpoint: String,
    /// The request.
    pub request: HttpRequest,
    /// Joins the record before the request was sent with the one after its response ended.
    pub request_id: Uuid,
    /// What was decided.
    pub verdict: Verdict,
    /// What it is sent with, where the endpoint has credentials.
    pub credential: Option<Arc<Used>>,
    /// The response's status, when there was one.
    pub status: Option<u16>,
    /// From request to the end of the response; absent in the record before.
    pub duration: Option<Duration>,
    /// Server-sent events that the response carried.
    pub events: u64,
}

/// A connection.
#[derive(Debug, Clone)]
pub struct Flow {
    /// Who.
    pub workload: Workload,
    /// Between which addresses.
    pub route: Route,
    /// The endpoint, when the destination is one.
    pub endpoint: Option<String>,
    /// The endpoint under which the kernel counted it as redirected, or [`UNREGISTERED`]; none if it was not redirected.
    pub tally: Option<String>,
    /// What became of it.
    pub end: FlowEnd,
    /// Why, in words; for every end but [`FlowEnd::Closed`].
    pub reason: Option<String>,
    /// From accept to end.
    pub duration: Duration,
    /// Bytes from the application.
    pub bytes_out: u64,
    /// Bytes to the application.
    pub bytes_in: u64,
    /// `tls`, `http`, or `opaque`.
    pub protocol: &'static str,
    /// MCP that was seen on it although its destination is no endpoint.
    pub shadow: Option<Shadow>,
}

/// What became of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowEnd {
    /// It ran its course through the proxy's protocol handling.
    Closed,
    /// It was passed through untouched.
    Spliced,
    /// The upstream could not be reached.
    UpstreamUnreachable,
    /// The upstream's TLS or certificate failed.
    UpstreamTls,
    /// The client did not complete TLS with us.
    ClientTls,
    /// A rule or a limit refused it.
    Refused,
    /// The agent that had it, or was to have it, ended first; written by the next one.
    Unknown,
    /// Older than the agent, and ended at its start, so that the application makes it again.
    Predates,
}

impl FlowEnd {
    /// As records write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Spliced => "spliced",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamTls => "upstream_tls",
            Self::ClientTls => "client_tls",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Predates => "predates",
        }
    }
}

/// The agent's own life.
#[derive(Debug, Clone)]
pub enum Agent {
    /// It started.
    Started {
        /// Its version.
        version: &'static str,
        /// Keyed digest of the configuration in force.
        config_digest: String,
        /// The kernel's boot id.
        boot_id: String,
        /// The EC2 instance, where that was asked for and is known.
        instance: Option<HostFacts>,
    },
    /// It stopped in order.
    Stopped {
        /// The signal or command.
        reason: String,
    },
    /// Recovery cut a torn tail.
    Recovered {
        /// Bytes cut.
        cut_bytes: u64,
        /// Records that a power loss took before they were synced; only with `durability = "process"`.
        lost_records: u64,
        /// Calls that were open, each answered by an `unknown` response record.
        open_calls: u64,
    },
    /// The kernel side was attached or taken over.
    Attached {
        /// Whether pins of an earlier agent were taken over.
        takeover: bool,
    },
    /// The kernel's counters beside the flow records.
    Tally(Box<Reconciliation>),
    /// `weir detach` removed the kernel side.
    Detached {
        /// Who asked.
        by: Requester,
    },
    /// What else happened to it.
    Life(Life),
}

/// Who asked the agent for something, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requester {
    /// The effective user.
    pub uid: u32,
    /// The process, as the agent sees it; none where it does not.
    pub pid: Option<u32>,
    /// The user who logged in, whoever the process has become since; none for a process of the system.
    pub login_uid: Option<u32>,
}
