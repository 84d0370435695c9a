//! What happens to destinations that nobody registered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `intercept.unregistered`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unregistered {
    /// Passed through untouched and recorded as flows; MCP among them is reported.
    #[default]
    Allow,
    /// Refused, except to loopback and over TCP to the host's name servers. What would be refused by `deny-mcp` is
    /// refused there too.
    Deny,
    /// Passed through, except MCP that is seen in clear text: refused, before its message is sent.
    DenyMcp,
}
