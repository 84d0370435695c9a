//! `[[mask]]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[[mask]]`: replaces the values that `paths` select before a record is written.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// Names the rule in `event.masked`; default `mask-<position>`, counted from 1.
    #[serde(default)]
    pub name: Option<String>,
    /// RFC 9535 `JSONPath` queries over the JSON-RPC message.
    #[schemars(length(min = 1))]
    pub paths: Vec<String>,
    /// Only at these endpoints; empty means all.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// Only for these tools; empty means all messages.
    #[serde(default)]
    pub tools: Vec<String>,
}
