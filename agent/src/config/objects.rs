//! `audit.objects`: where payloads go that do not fit their record.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Audit, Oversized,
    load::{Findings, Step},
    sinks,
};

/// `audit.objects`: a bucket of Amazon S3. `oversized = "s3"` needs it; without, what still waits is stored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Objects {
    /// The bucket's name.
    pub bucket: String,
    /// What the objects' names begin with; after it come the log's id, `/`, a UUID and `.json`.
    #[serde(default = "prefix")]
    #[schemars(length(max = 256))]
    pub prefix: String,
    /// The bucket's region; default: what the environment, the profile or the instance says.
    #[serde(default)]
    pub region: Option<String>,
    /// Another endpoint than the region's, such as a VPC endpoint's or an emulator's. The bucket is then named in the path.
    #[serde(default)]
    pub endpoint_url: Option<String>,
}

impl Objects {
    /// Where the objects are, for people and records: `s3://bucket/prefix`.
    pub fn url(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }
}

fn prefix() -> String {
    "objects/".into()
}

/// Longest prefix in bytes: a name of an object has at most 1,024.
const MAX_PREFIX: usize = 256;

/// Checks what the keys mean.
pub(super) fn meaning(audit: &Audit, findings: &mut Findings<'_>) {
    let Some(Objects { bucket, prefix, region, endpoint_url }) = &audit.objects else {
        if audit.oversized == Oversized::S3 {
            let hint = "add `objects = { bucket = \"…\" }` under `[audit]`";
            findings.add(&["audit".into(), "oversized".into()], "\"s3\" without `audit.objects`", hint);
        }
        return;
    };
    let place = |key| ["audit".into(), "objects".into(), Step::Key(key)];
    if !is_bucket(bucket) {
        let message = format!("`{}` is not a bucket's name", bucket.escape_debug());
        let hint = "use its name, not its ARN: 3 to 63 lower-case letters, digits, `-`, `.`";
        findings.add(&place("bucket"), message, hint);
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=".contains(&byte);
    if prefix.len() > MAX_PREFIX || prefix.starts_with('/') || !prefix.bytes().all(plain) {
        let message = format!("`{}` is not a prefix", prefix.escape_debug());
        let hint = "use at most 256 letters, digits, `-`, `_`, `.`, `=` and `/`, the first of them not `/`";
        findings.add(&place("prefix"), message, hint);
    }
    sinks::region(region.as_deref(), &place("region"), findings);
    if let Some(endpoint) = endpoint_url {
        sinks::url(endpoint, &place("endpoint_url"), findings);
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
fn is_bucket(name: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [name.bytes().next(), name.bytes().next_back()];
    (3..=63).contains(&name.len())
        && name.bytes().all(|byte| alphanumeric(byte) || b"-.".contains(&byte))
        && ends.into_iter().all(|end| end.is_some_and(alphanumeric))
        && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::is_bucket;

    #[test]
    fn names_of_buckets() {
        for name in ["weir-audit-evidence-123456789012", "a.b", "abc"] {
            assert!(is_bucket(name), "{name}");
        }
        for name in ["", "ab", "Weir", "arn:aws:s3:::weir", "a/b", "-abc", "abc.", "a..b", "äbc", &"a".repeat(64)] {
            assert!(!is_bucket(name), "{name}");
        }
    }
}
