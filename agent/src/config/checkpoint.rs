//! `audit.checkpoint`: how often the log's head is signed, and with what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `audit.checkpoint`: signed statements of the log's head. There are always some; the key is made when it is missing.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Checkpoint {
    /// After this many records.
    #[schemars(range(min = 1, max = 65_536))]
    pub records: u64,
    /// After this many seconds, also when nothing was recorded.
    #[schemars(range(min = 1, max = 86_400))]
    pub seconds: u64,
    /// Sign with a key in AWS KMS instead of the one in `state_dir`.
    pub kms: Option<KmsKey>,
}

/// `audit.checkpoint.kms`: an asymmetric signing key, `ECC_NIST_P256` or `ECC_NIST_EDWARDS25519`.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KmsKey {
    /// Its id, ARN or alias.
    #[schemars(length(min = 1, max = 2048))]
    pub key_id: String,
    /// Its region; default: what the environment says.
    #[serde(default)]
    pub region: Option<String>,
    /// Another address than the region's own, as a VPC endpoint's.
    #[serde(default)]
    pub endpoint_url: Option<String>,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self { records: 10_000, seconds: 60, kms: None }
    }
}
