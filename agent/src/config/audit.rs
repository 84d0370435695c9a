//! `[audit]`: how the log is kept, how long, and where its records go.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    checkpoint::Checkpoint,
    objects::Objects,
    sinks::{FileSink, Kinesis, OtlpLogs},
};

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
    #[schemars(range(min = 1024, max = 786_432))]
    pub payload_bytes: usize,
    /// A segment is closed when it reaches this size, in bytes.
    #[schemars(range(min = 65_536, max = 4_294_967_296_u64))]
    pub segment_bytes: u64,
    /// Signed statements of the log's head.
    pub checkpoint: Checkpoint,
    /// What becomes of the rest of a longer payload.
    pub oversized: Oversized,
    /// Where payloads go with `oversized = "s3"`.
    pub objects: Option<Objects>,
    /// Most bytes of the whole log and of the objects that wait, at least four segments; default: what the disk holds. The last sixteenth is kept for the
    /// ends of calls that have left.
    #[schemars(range(min = 262_144, max = 1_125_899_906_842_624_u64))]
    pub max_bytes: Option<u64>,
    /// What happens when `max_bytes` is reached and nothing can be deleted because it is not shipped.
    pub on_full: OnFull,
    /// Most bytes of shipped segments that are kept. Only what every sink has is ever deleted.
    #[schemars(range(min = 0, max = 1_125_899_906_842_624_u64))]
    pub retain_bytes: u64,
    /// Longest time that shipped segments are kept, in days.
    #[schemars(range(min = 0, max = 36_500))]
    pub retain_days: u64,
    /// A Kinesis data stream that gets every record.
    pub kinesis: Option<Kinesis>,
    /// A file that gets every record, for a log agent.
    pub file: Option<FileSink>,
    /// Whether standard output gets every record.
    pub stdout: bool,
    /// An OpenTelemetry collector that gets every record as a log record.
    pub otlp: Option<OtlpLogs>,
    /// Longest wait at shutdown for the sinks to have every record, in milliseconds.
    #[schemars(range(min = 0, max = 600_000))]
    pub drain_ms: u64,
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

/// `audit.oversized`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Oversized {
    /// It is not recorded; its length and keyed digest are.
    #[default]
    Truncate,
    /// It is recorded in further records, which are in the log before the record that they belong to.
    Split,
    /// The whole payload is stored as an object in S3, which the record names with its digest.
    S3,
}

/// `audit.on_full`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFull {
    /// Calls are refused.
    #[default]
    Refuse,
    /// Calls go on, and their records have digests in the place of payloads. The log then grows beyond `max_bytes`, slowly.
    Metadata,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            dir: None,
            durability: Durability::Sync,
            payload_bytes: 256 << 10,
            segment_bytes: 64 << 20,
            checkpoint: Checkpoint::default(),
            oversized: Oversized::Truncate,
            objects: None,
            max_bytes: None,
            on_full: OnFull::Refuse,
            retain_bytes: 4 << 30,
            retain_days: 30,
            kinesis: None,
            file: None,
            stdout: false,
            otlp: None,
            drain_ms: 5000,
        }
    }
}

impl Audit {
    /// Whether records go anywhere.
    pub fn has_sink(&self) -> bool {
        let Self { kinesis, file, stdout, otlp, .. } = self;
        kinesis.is_some() || file.is_some() || *stdout || otlp.is_some()
    }
}
