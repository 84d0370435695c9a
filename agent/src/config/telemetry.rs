//! `[telemetry]`: spans and metrics for whoever runs the agent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// `[telemetry]`. Without it nothing is sent; `admin.metrics` serves the same metrics to Prometheus.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Where spans and metrics are sent.
    pub otlp: Option<Otlp>,
}

/// `telemetry.otlp`: an OpenTelemetry collector that takes OTLP over HTTP with protobuf bodies.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// Its base address, `http` or `https` (verified by the system's roots); `v1/traces` and `v1/metrics` are appended.
    pub endpoint: Url,
    /// Whether a span is sent for each call.
    #[serde(default = "yes")]
    pub traces: bool,
    /// Whether metrics are sent.
    #[serde(default = "yes")]
    pub metrics: bool,
    /// Of the calls whose caller did not decide it (a sampled or unsampled `traceparent`), the share that has a span: 0 to 1.
    #[serde(default = "all")]
    #[schemars(range(min = 0, max = 1))]
    pub sample: f64,
    /// Time between two sendings of metrics, in milliseconds.
    #[serde(default = "minute")]
    #[schemars(range(min = 1000, max = 3_600_000))]
    pub interval_ms: u64,
}

impl Otlp {
    /// Where one signal goes: `v1/traces`, for example.
    pub fn url(&self, signal: &str) -> String {
        format!("{}/{signal}", self.endpoint.as_str().trim_end_matches('/'))
    }
}

const fn yes() -> bool {
    true
}

const fn all() -> f64 {
    1.0
}

const fn minute() -> u64 {
    60_000
}
