//! MCP at servers that nobody registered.

use serde::Serialize;

use super::{Action, Route};
use crate::identity::Workload;

/// What makes a destination look like an MCP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shadow {
    /// How sure that is.
    pub kind: ShadowKind,
    /// What was seen: a header, a method, or a host name.
    pub evidence: String,
}

/// `event.flow.shadow.kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShadowKind {
    /// MCP was spoken in clear text.
    Mcp,
    /// The name that TLS was set up for looks like an MCP server's.
    LikelyMcp,
}

/// A report of MCP at a server that nobody registered: the first for a workload and destination, and then at most one an
/// hour.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// Who.
    pub workload: Workload,
    /// Between which addresses, the last time.
    pub route: Route,
    /// What was seen, the last time.
    pub shadow: Shadow,
    /// Whether it was let through.
    pub action: Action,
    /// How many flows this stands for: those since the report before.
    pub count: u64,
}
