//! The objects inside a record.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use uuid::Uuid;

use super::super::{
    chain::Hash,
    event::{Defined, FlowEnd, HttpRequest, Mcp, Phase, Route, Shadow},
};
use crate::identity::{Process, Workload};

#[derive(Debug, Serialize)]
pub(super) struct App {
    name: &'static str,
    vendor_name: &'static str,
    version: &'static str,
}

impl App {
    pub(super) const WEIR: Self = Self { name: "Weir", vendor_name: "Weir", version: env!("CARGO_PKG_VERSION") };
}

#[derive(Debug, Serialize)]
pub(super) struct Actor<'a> {
    /// The workload, as OCSF's readers look for it.
    app_name: &'a str,
    process: ActorProcess<'a>,
}

#[derive(Debug, Serialize)]
struct ActorProcess<'a> {
    pid: u32,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    user: User,
}

#[derive(Debug, Serialize)]
struct User {
    uid: String,
}

impl<'a> Actor<'a> {
    pub(super) fn new(workload: &'a Workload) -> Self {
        let Process { pid, uid, comm, exe, started_ns: _, audit_session: _ } = &workload.process;
        let user = User { uid: uid.to_string() };
        let process = ActorProcess { pid: *pid, name: comm, path: exe.as_deref(), user };
        Self { app_name: &workload.id, process }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Endpoint<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'a str>,
    ip: IpAddr,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    svc_name: Option<&'a str>,
}

impl<'a> Endpoint<'a> {
    pub(super) fn source(route: &'a Route) -> Self {
        Self { hostname: None, ip: route.src.ip(), port: route.src.port(), svc_name: None }
    }

    pub(super) fn destination(route: &'a Route, endpoint: Option<&'a str>) -> Self {
        Self { hostname: route.hostname.as_deref(), ip: route.dst.ip(), port: route.dst.port(), svc_name: endpoint }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct ApiPart<'a> {
    operation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    service: Named<'a>,
    request: Uid,
}

#[derive(Debug, Serialize)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Debug, Serialize)]
struct Uid {
    uid: Uuid,
}

impl<'a> ApiPart<'a> {
    pub(super) fn new(mcp: &'a Mcp) -> Self {
        Self {
            operation: mcp.method.as_deref().unwrap_or("unknown"),
            version: mcp.protocol_version.as_deref(),
            service: Named { name: &mcp.endpoint },
            request: Uid { uid: mcp.call_id },
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct MessageContext<'a> {
    service: Named<'a>,
    /// 3 Tool where the server speaks, else 0: a gateway cannot see what its client is.
    ai_role_id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
}

impl<'a> MessageContext<'a> {
    pub(super) fn new(mcp: &'a Mcp) -> Self {
        let ai_role_id = match mcp.phase {
            Phase::Response | Phase::ServerRequest => 3,
            Phase::Request | Phase::ClientResponse => 0,
        };
        Self { service: Named { name: &mcp.endpoint }, ai_role_id, uid: mcp.session_id.as_deref() }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Resource<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    role_id: u32,
}

impl<'a> Resource<'a> {
    /// What the call is about: a tool, prompt or resource.
    pub(super) fn new(mcp: &'a Mcp) -> Option<Self> {
        let kind = match mcp.method.as_deref()?.split('/').next()? {
            "tools" => "tool",
            "prompts" => "prompt",
            "resources" => "resource",
            _ => return None,
        };
        const TARGET: u32 = 1;
        Some(Self { name: mcp.name.as_deref()?, kind, role_id: TARGET })
    }
}

#[derive(Debug, Serialize)]
pub(super) struct HttpPart<'a> {
    /// OCSF lists the methods; another one is in `activity_name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    http_method: Option<&'a str>,
    url: Url<'a>,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Url<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'a str>,
    port: u16,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_string: Option<&'a str>,
}

impl<'a> HttpPart<'a> {
    pub(super) fn new(request: &'a HttpRequest, route: &'a Route) -> Self {
        let (path, query_string) = match request.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (request.path.as_str(), None),
        };
        Self {
            http_method: super::activity::http(&request.method).0.map(|_| request.method.as_str()),
            url: Url { hostname: route.hostname.as_deref(), port: route.dst.port(), path, query_string },
            version: request.version,
            user_agent: request.user_agent.as_deref(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct HttpResponse {
    pub(super) code: u16,
}

#[derive(Debug, Serialize)]
pub(super) struct Connection {
    direction_id: u32,
    protocol_name: &'static str,
    protocol_num: u32,
    protocol_ver_id: u32,
    uid: Uuid,
}

impl Connection {
    pub(super) fn new(route: &Route) -> Self {
        let protocol_ver_id = match route.dst {
            SocketAddr::V4(_) => 4,
            SocketAddr::V6(_) => 6,
        };
        const OUTBOUND: u32 = 2;
        Self { direction_id: OUTBOUND, protocol_name: "tcp", protocol_num: 6, protocol_ver_id, uid: route.flow_id }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Traffic {
    pub(super) bytes: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Policy<'a> {
    pub(super) name: &'a str,
}

/// `event.flow`: joins every record of a connection.
#[derive(Debug, Serialize)]
pub(super) struct FlowPart {
    pub(super) id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<FlowEnd>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tally: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shadow: Option<Shadow>,
}

impl FlowPart {
    /// In a record that is not the flow's own.
    pub(super) fn of(route: &Route) -> Self {
        Self { id: route.flow_id, end: None, tally: None, protocol: None, shadow: None }
    }
}

/// `event.lifecycle`: what the agent says of itself.
#[derive(Debug, Default, Serialize)]
pub(super) struct Lifecycle<'a> {
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) config_digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) boot_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cut_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lost_records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) open_calls: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) takeover: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) login_uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connections: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) check: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) healthy: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) catalogue: Option<CataloguePart<'a>>,
    #[serde(flatten)]
    pub(super) retired: Option<Retired<'a>>,
}

/// What is said of an endpoint's definitions.
#[derive(Debug, Serialize)]
pub(super) struct CataloguePart<'a> {
    pub(super) endpoint: &'a str,
    #[serde(skip_serializing_if = "no_definitions")]
    pub(super) definitions: &'a [Defined],
}

fn no_definitions(definitions: &&[Defined]) -> bool {
    definitions.is_empty()
}

/// What of the log's front is deleted.
#[derive(Debug, Serialize)]
pub(super) struct Retired<'a> {
    pub(super) through_seq: u64,
    pub(super) through_hash: &'a Hash,
    pub(super) segments: u64,
    pub(super) bytes: u64,
}
