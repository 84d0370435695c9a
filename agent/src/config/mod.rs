//! `weir.toml`: what the operator says, typed, with every default and limit in one place.
//!
//! [`Config`] is the file's shape; [`load`](load::load) reads and validates it. Unknown keys are errors, and every error
//! names the file, the line and the column, and what to do. Nothing here does anything: rooms take the part they need.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The whole of `weir.toml`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the agent keeps its CA, keys and (by default) its log. Created 0700 when missing.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,
    /// What is taken from whom.
    #[serde(default)]
    pub intercept: Intercept,
    /// The registered MCP servers.
    #[serde(default, rename = "endpoint")]
    pub endpoints: Vec<Endpoint>,
    /// What never reaches the record in the clear.
    #[serde(default, rename = "mask")]
    pub masks: Vec<Mask>,
    /// The write-ahead log.
    #[serde(default)]
    pub audit: Audit,
    /// Trust in upstream servers.
    #[serde(default)]
    pub tls: Tls,
    /// Bounds on what a peer can make the agent hold.
    #[serde(default)]
    pub limits: Limits,
    /// The operator's way in.
    #[serde(default)]
    pub admin: Admin,
}

/// `[intercept]`: which cgroups' connections are taken.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Intercept {
    /// The cgroup treated as the host's root, relative to the cgroup2 mount: programs attach here and workload paths
    /// are read from here. Only nested hosts and tests move it.
    pub base: String,
    /// Subtrees in scope, relative to `base`.
    pub cgroups: Vec<String>,
    /// Subtrees out of scope; the deepest match wins.
    pub exclude: Vec<String>,
    /// Which TCP destinations are taken.
    pub tcp: TcpScope,
    /// What happens to registered endpoints while no agent is alive.
    pub on_failure: OnFailure,
    /// The bpffs directory that holds the pinned links and maps.
    pub bpffs: PathBuf,
}

/// `intercept.tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TcpScope {
    /// Addresses that Weir has learnt for a registered endpoint.
    Registered,
    /// Every outbound TCP connection in scope.
    All,
}

/// `intercept.on_failure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Unreachable rather than unwatched.
    Closed,
    /// Let through, and counted.
    Open,
}

/// `[[endpoint]]`: one registered MCP server.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Unique; appears in records, policy and messages.
    pub name: String,
    /// Exact host names or IP literals. `*.suffix` is accepted by the parser and reported by `weir check` as not yet
    /// enforced.
    pub hosts: Vec<String>,
    /// TCP ports.
    #[serde(default = "default_ports")]
    pub ports: Vec<u16>,
    /// Path prefixes (whole segments) that are the endpoint; empty means every path.
    #[serde(default)]
    pub paths: Vec<String>,
    /// What happens to requests outside `paths`.
    #[serde(default)]
    pub other_paths: OtherPaths,
    /// PEM file with roots that may verify this server, besides the system's.
    #[serde(default)]
    pub upstream_ca: Option<PathBuf>,
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

/// `[[mask]]`: replaces the values that `paths` select before a record is written.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// Names the rule in `event.masked`; default `mask-<position>`, counted from 1.
    #[serde(default)]
    pub name: Option<String>,
    /// RFC 9535 JSONPath queries over the JSON-RPC message.
    pub paths: Vec<String>,
    /// Only at these endpoints; empty means all.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// Only for these tools; empty means all messages.
    #[serde(default)]
    pub tools: Vec<String>,
}

/// `[audit]`: the write-ahead log.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Directory of the log; default `<state_dir>/audit`.
    pub dir: Option<PathBuf>,
    /// When an append counts as done.
    pub durability: Durability,
    /// Largest payload (`params`, `result`, `error`) kept whole in a record, in bytes; beyond it the record carries a
    /// marked prefix and the digest of the whole. 1 KiB to 768 KiB, so that a record fits a 1 MiB Kinesis record.
    pub payload_bytes: usize,
    /// A segment is closed when it reaches this size, in bytes.
    pub segment_bytes: u64,
}

/// `audit.durability`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// `fdatasync` before the call leaves: survives power loss.
    Sync,
    /// Written to the page cache: survives the agent, not the host.
    Process,
}

/// `[tls]`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// PEM files with roots that may verify any upstream, besides the system's.
    pub upstream_roots: Vec<PathBuf>,
}

/// `[limits]`: what one peer can make the agent hold or wait for.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest request body on an endpoint path, in bytes, after content decoding; larger ones are refused with 413.
    pub request_bytes: usize,
    /// Largest non-streamed response on an endpoint path, in bytes, after content decoding; larger ones are cut.
    pub response_bytes: usize,
    /// Largest single SSE event, in bytes; a stream that exceeds it is cut.
    pub sse_event_bytes: usize,
    /// Largest header block, in bytes.
    pub header_bytes: usize,
    /// Deepest nesting of JSON arrays and objects; at most 127.
    pub json_depth: usize,
    /// Longest wait for the first bytes of a flow before it counts as unrecognised, in milliseconds.
    pub sniff_timeout_ms: u64,
    /// Longest wait for an upstream TCP connection and its TLS handshake, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest wait for a request's header block, in milliseconds.
    pub header_timeout_ms: u64,
    /// Idle upstream connections are kept this long for reuse, in milliseconds.
    pub pool_idle_ms: u64,
    /// Most flows open at once; beyond it new ones are closed and counted.
    pub flows: usize,
    /// Most calls waiting for a response at once; beyond it new ones are refused.
    pub open_calls: usize,
    /// Longest drain at shutdown, in milliseconds.
    pub drain_ms: u64,
}

/// `[admin]`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// `unix:<path>`; peers must be root or in `group`.
    pub listen: String,
    /// Group id that may use the socket besides root.
    pub group: Option<u32>,
}

fn default_state_dir() -> PathBuf {
    PathBuf::from("/var/lib/weir")
}

fn default_ports() -> Vec<u16> {
    vec![443]
}

impl Default for Intercept {
    fn default() -> Self {
        Self {
            base: "/".into(),
            cgroups: vec!["/".into()],
            exclude: Vec::new(),
            tcp: TcpScope::Registered,
            on_failure: OnFailure::Closed,
            bpffs: PathBuf::from("/sys/fs/bpf/weir"),
        }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self { dir: None, durability: Durability::Sync, payload_bytes: 256 << 10, segment_bytes: 64 << 20 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: 8 << 20,
            response_bytes: 32 << 20,
            sse_event_bytes: 8 << 20,
            header_bytes: 64 << 10,
            json_depth: 100,
            sniff_timeout_ms: 10_000,
            connect_timeout_ms: 10_000,
            header_timeout_ms: 30_000,
            pool_idle_ms: 30_000,
            flows: 10_000,
            open_calls: 10_000,
            drain_ms: 30_000,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: "unix:/run/weir/admin.sock".into(), group: None }
    }
}

impl Config {
    /// The directory of the audit log.
    pub fn audit_dir(&self) -> PathBuf {
        self.audit.dir.clone().unwrap_or_else(|| self.state_dir.join("audit"))
    }
}
