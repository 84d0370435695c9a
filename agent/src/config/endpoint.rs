//! `[[endpoint]]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Budget, CallerRule, Credentials, GuardStance, ServerRequests};

/// `[[endpoint]]`: one registered MCP server.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Unique; appears in records, policy and messages. Letters, digits, `.`, `_` and `-`; at most 64.
    pub name: String,
    /// Exact host names (international ones in punycode) or IP literals. `*.suffix` stands for every name below the
    /// suffix, at any depth, but not for the suffix; their addresses are learnt from the DNS answers that applications get.
    #[schemars(length(min = 1))]
    pub hosts: Vec<String>,
    /// TCP ports.
    #[serde(default = "default_ports")]
    #[schemars(length(min = 1), inner(range(min = 1)))]
    pub ports: Vec<u16>,
    /// Path prefixes (whole segments) that are the endpoint; empty means every path. `/mcp` is `/mcp`, `/mcp/x` and
    /// `/mcp?x`, not `/mcpx`. A request whose path can be read both ways is refused.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Whether it is an MCP server. Other AWS services are none: their requests are recorded as HTTP and pass untouched, except
    /// that what a placeholder signed is signed again. Needs `[placeholder]` and `credentials.sigv4`.
    #[serde(default = "default_mcp")]
    pub mcp: bool,
    /// What happens to requests outside `paths`.
    #[serde(default)]
    pub other_paths: OtherPaths,
    /// What happens to TLS for a name that is not registered, at an address of this endpoint.
    #[serde(default)]
    pub other_names: OtherNames,
    /// PEM file with roots that may verify this server, besides the system's.
    #[serde(default)]
    pub upstream_ca: Option<PathBuf>,
    /// Whose tokens say who calls, and who may.
    #[serde(default)]
    pub caller: Option<CallerRule>,
    /// What the server may ask of its clients.
    #[serde(default)]
    pub server_requests: ServerRequests,
    /// In the place of `guard.catalogue`, for this endpoint.
    #[serde(default)]
    pub catalogue: Option<GuardStance>,
    /// How much of it a workload may use.
    #[serde(default)]
    pub budget: Budget,
    /// What its requests are sent with, in place of what the client sent.
    #[serde(default)]
    pub credentials: Credentials,
}

/// `endpoint.other_paths`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OtherPaths {
    /// Passed untouched and unsigned, recorded as HTTP metadata.
    #[default]
    Pass,
    /// Refused.
    Deny,
}

/// `endpoint.other_names`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OtherNames {
    /// Passed through uninspected and recorded as a flow, if the server there proves by a certificate for that name, and for
    /// no registered one, that it is another one. A load balancer that routes by `Host`, whatever name TLS was set up
    /// for, can still be talked into serving the endpoint: choose `deny` behind one.
    #[default]
    Verified,
    /// Refused.
    Deny,
}

fn default_ports() -> Vec<u16> {
    vec![443]
}

const fn default_mcp() -> bool {
    true
}
