//! MCP on the wire: strict JSON-RPC, the eras and their rules, SSE framing, and refusals that every SDK shows to its user
//! and that no client mistakes for an older server. No I/O here, and no clock.

use bytes::Bytes;
use serde::Serialize;

/// The protocol's era, told per request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Era {
    /// 2026-07-28: stateless.
    Modern,
    /// 2025-03-26 to 2025-11-25: Streamable HTTP with sessions.
    Session,
    /// 2024-11-05: HTTP+SSE.
    Sse,
}

/// A JSON-RPC id as it was written: `1` and `"1"` differ.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Id(pub Bytes);

/// One JSON-RPC message, with slices of the bytes that it was parsed from.
#[derive(Debug, Clone)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The message's own bytes.
    pub raw: Bytes,
}

/// What a message is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A call.
    Request {
        /// Joins it to its response.
        id: Id,
        /// The method.
        method: String,
        /// `params`, as written.
        params: Option<Bytes>,
    },
    /// A message without an id.
    Notification {
        /// The method.
        method: String,
        /// `params`, as written.
        params: Option<Bytes>,
    },
    /// The answer to a request; `id` is absent when the peer answered `null`.
    Response {
        /// The request's id.
        id: Option<Id>,
        /// What it says.
        answer: Answer,
    },
}

/// What a response says.
#[derive(Debug, Clone)]
pub enum Answer {
    /// `result`, as written.
    Result(Bytes),
    /// `error`, as written.
    Error(Bytes),
}
