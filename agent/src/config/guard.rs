//! `[guard]`, `endpoint.server_requests` and `endpoint.budget`: what only MCP has to be watched for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Config, Endpoint,
    load::{Findings, Step},
    ranges,
};

/// `[guard]`: watches over what servers say of their tools, and over what their texts hide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// Text that a person does not see and a model does: in descriptions of tools, and in results.
    pub instructions: GuardStance,
    /// Tools, prompts and resource templates whose definition is not what it was when it was first seen.
    pub catalogue: GuardStance,
}

impl Default for Guard {
    fn default() -> Self {
        Self { instructions: GuardStance::Off, catalogue: GuardStance::Alert }
    }
}

/// What becomes of a finding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GuardStance {
    /// Nothing is looked for.
    #[default]
    Off,
    /// It is recorded, and goes on.
    Alert,
    /// It is recorded, and not delivered.
    Deny,
}

/// `endpoint.server_requests`: what a server may ask of its clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerRequests {
    /// To have the client's model generate text (`sampling/createMessage`).
    pub sampling: Permission,
    /// To ask the client's user (`elicitation/create`).
    pub elicitation: Permission,
    /// To list the client's directories (`roots/list`).
    pub roots: Permission,
}

/// Whether something may be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// It may.
    #[default]
    Allow,
    /// It may not.
    Deny,
}

/// `endpoint.budget`: how much of a server a workload may use. What is not given is not bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Most `tools/call` in one session; where there are no sessions, in one workload since the agent's start.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub calls_per_session: Option<u32>,
    /// Most `tools/call` of one tool by one workload in a minute, on average; as many may come at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub calls_per_minute: Option<u32>,
    /// Most `tools/call` of one workload that wait for their answer at once.
    #[schemars(range(min = 1, max = 100_000))]
    pub concurrent_calls: Option<u32>,
    /// Largest answer to a `tools/call`, in bytes of JSON; a larger one is not delivered.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub result_bytes: Option<u64>,
}

impl Budget {
    /// Whether something is bounded.
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }
}

impl Config {
    /// What becomes of an endpoint's changed definitions.
    pub fn catalogue_of(&self, endpoint: &Endpoint) -> GuardStance {
        endpoint.catalogue.unwrap_or(self.guard.catalogue)
    }
}

/// Numbers within their limits.
pub(super) fn meaning(config: &Config, findings: &mut Findings<'_>) {
    for (i, endpoint) in config.endpoints.iter().enumerate() {
        for ranges::Outside { key, value, min, max } in ranges::outside(&endpoint.budget) {
            let place = ["endpoint".into(), i.into(), "budget".into(), Step::Key(&key)];
            findings.add(&place, format!("{value} is outside the limits of `{key}`"), format!("use {min} to {max}"));
        }
    }
}
