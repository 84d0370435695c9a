//! MCP on the wire: strict JSON-RPC, the eras and their rules, SSE framing, and refusals that every SDK shows to its user
//! and that no client mistakes for an older server. No I/O here, and no clock.
//!
//! | module | job |
//! |---|---|
//! | [`json`] | is this text one JSON value that every parser reads alike? |
//! | [`message`] | a body as JSON-RPC messages, slices of the bytes that arrived |
//! | [`params`] | the few members of `params` and `result` that the agent reads |
//! | [`era`], [`headers`] | which era speaks, and do headers and body agree? |
//! | [`legacy`] | the `endpoint` event of the 2024-11-05 transport |
//! | [`sse`] | a stream of bytes as events, byte for byte |
//! | [`refusal`], [`challenge`] | the answer to what is not let through, and to who must say who calls |
//! | [`calls`] | which calls wait for a response |
//! | [`sighting`] | is this MCP, at a server that nobody registered? |
//!
//! The parsers are fuzzed: `cargo xtask fuzz message sse endpoint`.

use serde::Serialize;

pub mod calls;
pub mod challenge;
pub mod era;
pub mod headers;
pub mod id;
pub mod json;
pub mod legacy;
pub mod message;
pub mod params;
pub mod refusal;
pub mod sighting;
pub mod sse;

pub use calls::Calls;
pub use challenge::Challenge;
pub use era::{Context, classify};
pub use id::Id;
pub use message::{Answer, Body, Invalid, Kind, Message, parse};
pub use params::Params;
pub use refusal::{Asked, Class, Refusal};
pub use sse::{SseEvent, SseReader};

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

impl Era {
    /// As records write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Modern => "modern",
            Self::Session => "session",
            Self::Sse => "sse",
        }
    }
}

/// Bounds on one body. Its size in bytes is the caller's to bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Deepest nesting of arrays and objects; more than [`json::MAX_DEPTH`] counts as that.
    pub depth: usize,
    /// Most messages in one batch.
    pub batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 100, batch: 100 }
    }
}
