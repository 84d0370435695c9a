//! The sinks of `[audit]`: where records go besides the log. One of each kind; every one gets every record.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Audit,
    load::{Findings, Step},
    ranges,
};

/// `audit.kinesis`: an Amazon Kinesis data stream.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kinesis {
    /// The stream's name.
    pub stream: String,
    /// Its region; default: what the environment, the profile or the instance says.
    #[serde(default)]
    pub region: Option<String>,
    /// Another endpoint than the region's, such as a VPC endpoint's or an emulator's.
    #[serde(default)]
    pub endpoint_url: Option<String>,
    /// Whether several lines may share a Kinesis record when many are waiting. Readers split at newlines.
    #[serde(default = "yes")]
    pub pack: bool,
}

impl Kinesis {
    /// The stream of this name, and nothing else said.
    pub fn named(stream: String) -> Self {
        Self { stream, region: None, endpoint_url: None, pack: true }
    }
}

/// `audit.file`: a file of lines, for a log agent to collect.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSink {
    /// The file. Rotated ones stand beside it, as `<path>.<first seq>`.
    pub path: PathBuf,
    /// It is rotated when it has reached this size, in bytes.
    #[serde(default = "rotate_bytes")]
    #[schemars(range(min = 65_536, max = 1_099_511_627_776_u64))]
    pub rotate_bytes: u64,
    /// Rotated files that are kept; older ones are deleted, read or not.
    #[serde(default = "keep")]
    #[schemars(range(min = 1, max = 10_000))]
    pub keep: u64,
}

/// `audit.otlp`: an OpenTelemetry collector, by OTLP over HTTP in its JSON form.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtlpLogs {
    /// Where log records are posted, as in `http://127.0.0.1:4318/v1/logs`.
    pub endpoint: String,
    /// A file with one more header, `name: value`, such as `authorization`; mode 0600.
    #[serde(default)]
    pub header_file: Option<PathBuf>,
    /// PEM file with roots that may verify the collector, besides the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

const fn yes() -> bool {
    true
}

const fn rotate_bytes() -> u64 {
    64 << 20
}

const fn keep() -> u64 {
    16
}

/// Checks what the sinks' keys mean.
pub(super) fn meaning(audit: &Audit, findings: &mut Findings<'_>) {
    if let Some(most) = audit.max_bytes.filter(|most| *most < audit.segment_bytes.saturating_mul(4)) {
        let message = format!("{most} holds less than four segments of {} bytes", audit.segment_bytes);
        let hint = "raise it, or lower `segment_bytes`: only whole segments can be deleted";
        findings.add(&["audit".into(), "max_bytes".into()], message, hint);
    }
    if let Some(kinesis) = &audit.kinesis {
        kinesis_means(kinesis, findings);
    }
    if let Some(file) = &audit.file {
        if !file.path.is_absolute() || file.path.file_name().is_none() {
            let hint = "the agent has no working directory of yours: begin the path with `/` and name a file";
            findings.add(&file_key("path"), "not the absolute path of a file", hint);
        }
        for ranges::Outside { key, value, min, max } in ranges::outside(file) {
            let message = format!("{value} is outside the limits of `{key}`");
            findings.add(&file_key(&key), message, format!("use {min} to {max}"));
        }
    }
    if let Some(otlp) = &audit.otlp {
        let place = |key| ["audit".into(), "otlp".into(), Step::Key(key)];
        url(&otlp.endpoint, &place("endpoint"), findings);
        for (key, path) in [("header_file", &otlp.header_file), ("ca", &otlp.ca)] {
            if path.as_ref().is_some_and(|path| !path.is_absolute()) {
                let hint = "the agent has no working directory of yours: begin the path with `/`";
                findings.add(&place(key), "a relative path", hint);
            }
        }
    }
}

fn file_key(key: &str) -> [Step<'_>; 3] {
    ["audit".into(), "file".into(), Step::Key(key)]
}

fn kinesis_means(kinesis: &Kinesis, findings: &mut Findings<'_>) {
    let Kinesis { stream, region, endpoint_url, pack: _ } = kinesis;
    let place = |key| ["audit".into(), "kinesis".into(), Step::Key(key)];
    // https://docs.aws.amazon.com/kinesis/latest/APIReference/API_CreateStream.html
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if !(1..=128).contains(&stream.len()) || !plain(stream) {
        let message = format!("`{}` is not a stream's name", stream.escape_debug());
        findings.add(&place("stream"), message, "use its name, not its ARN: 1 to 128 letters, digits, `_`, `.`, `-`");
    }
    self::region(region.as_deref(), &place("region"), findings);
    if let Some(endpoint) = endpoint_url {
        url(endpoint, &place("endpoint_url"), findings);
    }
}

/// Checks a region's name.
pub(super) fn region(name: Option<&str>, place: &[Step<'_>], findings: &mut Findings<'_>) {
    let plain =
        |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if let Some(name) = name.filter(|name| name.is_empty() || !plain(name)) {
        let message = format!("`{}` is not a region", name.escape_debug());
        findings.add(place, message, "write it as in `us-east-1`");
    }
}

/// Checks that `text` is an `http` or `https` URL without secrets.
pub(super) fn url(text: &str, place: &[Step<'_>], findings: &mut Findings<'_>) {
    let hint = "write it as in `https://collector.example.com:4318/v1/logs`";
    match url::Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") || !url.has_host() => {
            findings.add(place, format!("`{}` is not an http or https URL", text.escape_debug()), hint);
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            findings.add(place, "a URL with a user or a password", "keep secrets out of the configuration");
        }
        Ok(_) => {}
        Err(error) => findings.add(place, format!("`{}` is not a URL: {error}", text.escape_debug()), hint),
    }
}
