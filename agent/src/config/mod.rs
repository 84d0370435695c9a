//! `weir.toml`: what the operator says, typed, with every default and limit in one place.
//!
//! [`Config`] is the file's shape; [`load`] reads and validates it. Unknown keys are errors, and every error names the
//! file, the line and the column, and what to do. [`Endpoints`] answers which endpoint a host, a port and a path belong
//! to. Nothing here does anything: rooms take the part they need.

mod audit;
mod caller;
mod checkpoint;
mod credentials;
mod endpoint;
mod endpoints;
mod error;
mod guard;
mod host;
mod load;
mod login;
mod mask;
mod objects;
mod paths;
mod placeholder;
mod policy;
mod ranges;
mod sinks;
mod telemetry;
mod unregistered;
mod validate;
mod workloads;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

pub use audit::{Audit, Durability, OnFull, Oversized};
pub(crate) use caller::is_safe_url;
pub use caller::{CallerRule, SignatureAlgorithm};
pub use checkpoint::{Checkpoint, KmsKey};
pub use credentials::{
    ClientAuth, ClientCertificate, Credentials, ManagedSecret, OAuth, Role, RoleProof, SecretFile, SecretSource,
    SessionTag, SigV4, SourceIdentity,
};
pub use endpoint::{Endpoint, OtherNames, OtherPaths};
pub use endpoints::{Endpoints, EndpointsError, PortEndpoints, Registered};
pub(crate) use error::render;
pub use error::{ConfigError, Position, Problem};
pub use guard::{Budget, Guard, GuardStance, Permission, ServerRequests};
pub use host::{Host, HostError, HostPattern};
pub use load::{load, load_with_files};
pub use login::Login;
pub use mask::{Detector, Mask, MaskStyle};
pub use objects::Objects;
pub use paths::{NormalPath, PathRefusal, Paths, normal_path};
pub use placeholder::{OtherCalls, OtherWorkloads, Placeholder};
pub use policy::{Policy, Stance};
pub use sinks::{FileSink, Kinesis, OtlpLogs};
pub use telemetry::{Otlp, Telemetry};
pub use unregistered::Unregistered;
pub use workloads::{Ecs, Instance, Kubernetes, Spire};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The whole of `weir.toml`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "weir.toml")]
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
    /// Who may do what.
    #[serde(default)]
    pub policy: Policy,
    /// What only MCP has to be watched for.
    #[serde(default)]
    pub guard: Guard,
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
    /// Names of pods.
    #[serde(default)]
    pub kubernetes: Option<Kubernetes>,
    /// Names of ECS tasks.
    #[serde(default)]
    pub ecs: Option<Ecs>,
    /// SPIFFE IDs of processes.
    #[serde(default)]
    pub spire: Option<Spire>,
    /// What instance this is.
    #[serde(default)]
    pub host: Option<Instance>,
    /// How people sign in.
    #[serde(default)]
    pub login: Option<Login>,
    /// Keys for workloads that must sign.
    #[serde(default)]
    pub placeholder: Option<Placeholder>,
    /// Spans and metrics.
    #[serde(default)]
    pub telemetry: Telemetry,
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
    /// What happens to connections that are no endpoint's. Only with `tcp = "all"`.
    pub unregistered: Unregistered,
    /// What happens to registered endpoints while no agent is alive.
    pub on_failure: OnFailure,
    /// Whether tasks in scope may make raw IP sockets, which could carry anything past the hooks.
    pub raw_sockets: RawSockets,
    /// Whether tasks in scope may write below IP, past the hooks: packet sockets, and TUN and TAP devices.
    pub link_layer: LinkLayer,
    /// The bpffs directory that holds the pinned links and maps.
    pub bpffs: PathBuf,
}

/// `intercept.tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TcpScope {
    /// Addresses that Weir has learnt for a registered endpoint.
    Registered,
    /// Every outbound TCP connection in scope, loopback included.
    All,
}

/// `intercept.on_failure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Unreachable rather than unwatched.
    Closed,
    /// Let through, and counted, once no agent has shown a sign of life for five seconds, or at once when it was stopped.
    Open,
}

/// `intercept.raw_sockets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawSockets {
    /// `socket()` fails with `EPERM`, and is counted.
    Deny,
    /// They are made; what they send to registered addresses is stopped.
    Allow,
}

/// `intercept.link_layer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkLayer {
    /// They may: a host's DHCP client, packet captures and VPNs do.
    Allow,
    /// `socket(AF_PACKET)`, `socket(AF_XDP)` and opening `/dev/net/tun` fail with `EPERM`, and are counted. Needs a kernel that
    /// runs BPF security hooks (`bpf` in `lsm=`); the agent does not start on another.
    Deny,
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
    #[schemars(range(min = 1024, max = 268_435_456))]
    pub request_bytes: usize,
    /// Largest non-streamed response on an endpoint path, in bytes, after content decoding; larger ones are cut.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub response_bytes: usize,
    /// Largest single SSE event, in bytes; a stream that exceeds it is cut.
    #[schemars(range(min = 1024, max = 268_435_456))]
    pub sse_event_bytes: usize,
    /// Largest header block, in bytes.
    #[schemars(range(min = 8192, max = 1_048_576))]
    pub header_bytes: usize,
    /// Deepest nesting of JSON arrays and objects; at most 127.
    #[schemars(range(min = 8, max = 127))]
    pub json_depth: usize,
    /// Longest wait for the first bytes of a flow before it counts as unrecognised, in milliseconds.
    #[schemars(range(min = 100, max = 60_000))]
    pub sniff_timeout_ms: u64,
    /// Longest wait for an upstream TCP connection and its TLS handshake, in milliseconds.
    #[schemars(range(min = 100, max = 120_000))]
    pub connect_timeout_ms: u64,
    /// Longest wait for a request's header block, in milliseconds.
    #[schemars(range(min = 100, max = 300_000))]
    pub header_timeout_ms: u64,
    /// Longest wait for a request's whole body on an endpoint path, in milliseconds.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub body_timeout_ms: u64,
    /// Idle upstream connections are kept this long for reuse, in milliseconds.
    #[schemars(range(min = 0, max = 600_000))]
    pub pool_idle_ms: u64,
    /// Most flows open at once, and half as many for one workload; beyond it new ones are closed and recorded.
    #[schemars(range(min = 1, max = 100_000))]
    pub flows: usize,
    /// Most network namespaces served at once, and half as many for the processes of one cgroup; beyond it connections
    /// from new ones are denied and counted. Each takes three file descriptors.
    #[schemars(range(min = 1, max = 16_384))]
    pub namespaces: usize,
    /// Most calls waiting for a response at once, and half as many for one workload; beyond it new ones are refused.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub open_calls: usize,
    /// Longest drain at shutdown, in milliseconds.
    #[schemars(range(min = 0, max = 600_000))]
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
    /// Where Prometheus finds `/metrics`, over plain HTTP; an address of the loopback, because it asks nobody who they are.
    pub metrics: Option<SocketAddr>,
}

fn default_state_dir() -> PathBuf {
    PathBuf::from("/var/lib/weir")
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: default_state_dir(),
            intercept: Intercept::default(),
            endpoints: Vec::new(),
            masks: Vec::new(),
            policy: Policy::default(),
            guard: Guard::default(),
            audit: Audit::default(),
            tls: Tls::default(),
            limits: Limits::default(),
            admin: Admin::default(),
            kubernetes: None,
            ecs: None,
            spire: None,
            host: None,
            login: None,
            placeholder: None,
            telemetry: Telemetry::default(),
        }
    }
}

impl Default for Intercept {
    fn default() -> Self {
        Self {
            base: "/".into(),
            cgroups: vec!["/".into()],
            exclude: Vec::new(),
            tcp: TcpScope::Registered,
            unregistered: Unregistered::Allow,
            on_failure: OnFailure::Closed,
            raw_sockets: RawSockets::Deny,
            link_layer: LinkLayer::Allow,
            bpffs: PathBuf::from("/sys/fs/bpf/weir"),
        }
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
            body_timeout_ms: 60_000,
            pool_idle_ms: 30_000,
            flows: 10_000,
            namespaces: 1024,
            open_calls: 10_000,
            drain_ms: 30_000,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: "unix:/run/weir/admin.sock".into(), group: None, metrics: None }
    }
}

impl Config {
    /// The directory of the audit log.
    pub fn audit_dir(&self) -> PathBuf {
        self.audit.dir.clone().unwrap_or_else(|| self.state_dir.join("audit"))
    }

    /// The JSON Schema of `weir.toml`.
    pub fn schema() -> schemars::Schema {
        schemars::schema_for!(Self)
    }
}

impl Admin {
    /// The socket's path, when `listen` has the form that validation requires.
    pub fn socket(&self) -> Option<&Path> {
        self.listen.strip_prefix("unix:").map(Path::new)
    }
}

#[cfg(test)]
mod tests;
