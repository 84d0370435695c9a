//! An OpenTelemetry collector: OTLP 1.x over HTTP, in the protocol's JSON form (`opentelemetry-proto`, `logs/v1`).
//!
//! Each record is a log record whose body is the line, to the byte, so that what a collector keeps can still be verified;
//! attributes repeat what one searches by. A collector that rejects a part of a request gets it again: nothing is let go.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use super::{
    super::chain::Line,
    batch::{Batch, Bounds, Part},
    http::Poster,
    sink::{Sink, Trouble},
};
use crate::config;

/// The sink.
pub(crate) struct Otlp {
    config: config::OtlpLogs,
    /// Made at the first request, and anew when it was refused: the header may have been replaced.
    poster: Option<Poster>,
}

impl Otlp {
    pub(crate) fn new(config: config::OtlpLogs) -> Self {
        Self { config, poster: None }
    }

    /// Sends an empty request, as `weir doctor` does.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) async fn probe(&mut self) -> Result<String, String> {
        self.post(Vec::new(), "").await.map_err(|trouble| trouble.to_string())?;
        Ok(format!("{} answers", self.config.endpoint))
    }

    async fn post(&mut self, records: Vec<Record<'_>>, log: &str) -> Result<(), Trouble> {
        let poster = match &mut self.poster {
            Some(poster) => poster,
            None => self.poster.insert(poster(&self.config).map_err(Trouble::Failed)?),
        };
        let body = serde_json::to_vec(&request(records, log)).map_err(|error| Trouble::Failed(error.to_string()))?;
        let (status, answer) = poster.post(body.into()).await.map_err(Trouble::Failed)?;
        let outcome = judge(status, &answer);
        if status.is_client_error() {
            self.poster = None;
        }
        outcome
    }
}

fn poster(config: &config::OtlpLogs) -> Result<Poster, String> {
    let header = config.header_file.as_deref().map(read_header).transpose()?;
    Poster::new(&config.endpoint, header, config.ca.as_deref())
}

/// `name: value`, in a file that only its owner can read.
fn read_header(path: &Path) -> Result<(HeaderName, HeaderValue), String> {
    let shown = path.display();
    let unreadable = |error| format!("cannot read {shown}: {error}");
    if fs::metadata(path).map_err(unreadable)?.mode() & 0o077 != 0 {
        return Err(format!("{shown} may be read by others than its owner; run `chmod 600 {shown}`"));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let malformed = || format!("{shown} is not one line of the form `name: value`");
    let (name, value) = text.trim().split_once(':').ok_or_else(malformed)?;
    let mut value = HeaderValue::from_str(value.trim()).map_err(|_| malformed())?;
    value.set_sensitive(true);
    Ok((name.trim().parse().map_err(|_| malformed())?, value))
}

/// What the collector made of it (OTLP/HTTP, "Responses"). Only a collector's own answer counts: a proxy, or a page that asks
/// to sign in, answers 200 too.
fn judge(status: StatusCode, answer: &[u8]) -> Result<(), Trouble> {
    let said = || String::from_utf8_lossy(&answer[..answer.len().min(200)]).escape_debug().to_string();
    match status {
        StatusCode::OK => {
            let response = match answer.trim_ascii_start().first() {
                None => Some(Response::default()),
                // Read from a list, a structure would have its fields in order.
                Some(b'{') => serde_json::from_slice(answer).ok(),
                Some(_) => None,
            };
            let Some(Response { partial_success }) = response else {
                return Err(Trouble::Failed(format!("what answers is no OpenTelemetry collector: {}", said())));
            };
            let Partial { rejected_log_records: rejected, error_message } = partial_success.unwrap_or_default();
            match rejected {
                serde_json::Value::Null => Ok(()),
                none if none == 0 || none == "0" => Ok(()),
                count => Err(Trouble::Failed(format!("the collector rejected {count} records: {error_message}"))),
            }
        }
        StatusCode::TOO_MANY_REQUESTS => Err(Trouble::Throttled(status.to_string())),
        _ => Err(Trouble::Failed(format!("the collector answers {status}: {}", said()))),
    }
}

/// `ExportLogsServiceResponse`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default, expecting = "an export response")]
struct Response {
    #[serde(alias = "partial_success")]
    partial_success: Option<Partial>,
}

/// `ExportLogsPartialSuccess`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Partial {
    /// A 64-bit integer, which the protocol's JSON writes as text and some collectors as a number.
    #[serde(alias = "rejected_log_records")]
    rejected_log_records: serde_json::Value,
    #[serde(alias = "error_message")]
    error_message: String,
}

impl Sink for Otlp {
    fn bounds(&self) -> Bounds {
        Bounds { lines: 1000, bytes: 2 << 20 }
    }

    async fn deliver(&mut self, batch: &mut Batch) -> Result<(), Trouble> {
        let records = batch.unsent.iter().filter_map(|part| Record::of(batch, part)).collect();
        self.post(records, &batch.log).await?;
        batch.unsent.clear();
        Ok(())
    }
}

/// `LogRecord`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    time_unix_nano: String,
    severity_number: u32,
    body: Text<'a>,
    attributes: Vec<Attribute<'a>>,
}

#[derive(Serialize)]
struct Attribute<'a> {
    key: &'static str,
    value: Value<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Value<'a> {
    StringValue(&'a str),
    IntValue(String),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Text<'a> {
    string_value: &'a str,
}

impl<'a> Record<'a> {
    /// `None` only for what is no line, which no batch holds.
    fn of(batch: &'a Batch, part: &Part) -> Option<Self> {
        #[derive(Deserialize)]
        struct Event {
            time: i64,
            #[serde(default)]
            severity_id: u32,
            #[serde(default)]
            class_uid: u64,
        }
        let bytes = batch.bytes(part);
        let line = Line::parse(bytes).ok()?;
        let event = serde_json::from_str(line.event).unwrap_or(Event { time: 0, severity_id: 0, class_uid: 0 });
        // OCSF: 1 informational, 2 low, 3 medium. OpenTelemetry: 9 INFO, 10 INFO2, 13 WARN.
        let severity_number = match event.severity_id {
            0 | 1 => 9,
            2 => 10,
            _ => 13,
        };
        Some(Self {
            time_unix_nano: (i128::from(event.time) * 1_000_000).to_string(),
            severity_number,
            body: Text { string_value: std::str::from_utf8(bytes).ok()?.trim_end_matches('\n') },
            attributes: vec![
                Attribute { key: "weir.epoch", value: Value::IntValue(line.epoch.to_string()) },
                Attribute { key: "weir.seq", value: Value::IntValue(line.seq.to_string()) },
                Attribute { key: "ocsf.class_uid", value: Value::IntValue(event.class_uid.to_string()) },
            ],
        })
    }
}

/// `ExportLogsServiceRequest`.
fn request<'a>(records: Vec<Record<'a>>, log: &'a str) -> impl Serialize + use<'a> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Request<'a> {
        resource_logs: [ResourceLogs<'a>; 1],
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ResourceLogs<'a> {
        resource: Resource<'a>,
        scope_logs: [ScopeLogs<'a>; 1],
    }
    #[derive(Serialize)]
    struct Resource<'a> {
        attributes: [Attribute<'a>; 3],
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ScopeLogs<'a> {
        scope: Scope,
        log_records: Vec<Record<'a>>,
    }
    #[derive(Serialize)]
    struct Scope {
        name: &'static str,
    }
    let attributes = [
        Attribute { key: "service.name", value: Value::StringValue("weir") },
        Attribute { key: "service.version", value: Value::StringValue(env!("CARGO_PKG_VERSION")) },
        Attribute { key: "weir.log", value: Value::StringValue(log) },
    ];
    let scope_logs = [ScopeLogs { scope: Scope { name: "weir.audit" }, log_records: records }];
    Request { resource_logs: [ResourceLogs { resource: Resource { attributes }, scope_logs }] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_collector_says_is_understood() {
        for good in [
            "",
            "{}",
            r#"{"partialSuccess":{}}"#,
            r#"{"partialSuccess":null}"#,
            r#"{"partialSuccess":{"rejectedLogRecords":"0","errorMessage":"slow"}}"#,
        ] {
            assert!(judge(StatusCode::OK, good.as_bytes()).is_ok(), "{good}");
        }
        for rejected in ["3", "\"3\""] {
            let answer = format!(r#"{{"partialSuccess":{{"rejectedLogRecords":{rejected},"errorMessage":"no"}}}}"#);
            assert!(matches!(judge(StatusCode::OK, answer.as_bytes()), Err(Trouble::Failed(_))));
        }
        for other in
            ["<html>sign in</html>", "ok", "null", "[]", "\"\"", r#"{"error":"sign in"}"#, r#"{"partialSuccess":3}"#]
        {
            assert!(matches!(judge(StatusCode::OK, other.as_bytes()), Err(Trouble::Failed(_))), "{other}");
        }
        assert!(matches!(judge(StatusCode::TOO_MANY_REQUESTS, b""), Err(Trouble::Throttled(_))));
        assert!(matches!(judge(StatusCode::BAD_GATEWAY, b"x"), Err(Trouble::Failed(_))));
    }

    #[test]
    fn a_header_file_must_be_private_and_well_formed() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("header");
        let with = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            read_header(&path)
        };
        let (name, value) = with("Authorization: Bearer a:b\n", 0o600).unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("authorization", "Bearer a:b"));
        assert!(with("authorization: x", 0o640).unwrap_err().contains("chmod 600"));
        assert!(with("nothing", 0o600).unwrap_err().contains("name: value"));
    }
}
