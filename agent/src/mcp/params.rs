//! The few members of `params` and `result` that the agent reads, decoded.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Answer, Id, Message};

/// The `_meta` key that carries the modern era's version (2026-07-28, "Per-request protocol fields").
pub const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";

/// What a request or notification says about itself. All members are absent where the type is not the protocol's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params {
    /// The tool, prompt, resource or task that the method names; see [`target_member`].
    pub target: Option<String>,
    /// `_meta`'s protocol version.
    pub claimed_version: Claim,
    /// `_meta.progressToken`, a string or an integer like an id.
    pub progress_token: Option<Id>,
    /// `notifications/cancelled`: the request that is cancelled.
    pub cancels: Option<Id>,
    /// `initialize`: the revision that the client asks for.
    pub requested_version: Option<String>,
    /// `_meta.traceparent` (SEP-414; W3C Trace Context §3.2).
    pub trace_parent: Option<String>,
    /// `_meta.tracestate` (the same, §3.3).
    pub trace_state: Option<String>,
}

/// What `_meta` says about the protocol's version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Claim {
    /// Nothing: a message of the session era.
    #[default]
    Absent,
    /// A version.
    Version(String),
    /// Something that is not a string.
    Malformed,
}

/// Which member of `params` names what `method` is about; `Mcp-Name` mirrors it (2026-07-28, "Standard Request Headers";
/// SEP-2663 for `tasks/*`; `MCP_NAME_HEADER_SOURCE` in the TypeScript SDK).
pub fn target_member(method: &str) -> Option<&'static str> {
    Some(match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" | "tasks/result" => "taskId",
        _ => return None,
    })
}

impl Params {
    /// Reads a message's `params`, in one pass.
    pub fn of(message: &Message) -> Self {
        let (Some(method), Some(text)) = (message.method(), message.params()) else { return Self::default() };
        let members: Members<'_> = object(text);
        let meta: Meta<'_> = members.meta.map(|meta| object(meta.get().as_bytes())).unwrap_or_default();
        let target = match target_member(method) {
            Some("name") => members.name,
            Some("uri") => members.uri,
            Some("taskId") => members.task_id,
            _ => None,
        };
        let version = members.protocol_version.filter(|_| method == "initialize");
        let cancels = members.request_id.filter(|_| method == "notifications/cancelled");
        let id = |raw: &RawValue| Id::parse(text.slice_ref(raw.get().as_bytes()));
        Self {
            target: target.and_then(decode),
            claimed_version: meta.version.map_or(Claim::Absent, |v| decode(v).map_or(Claim::Malformed, Claim::Version)),
            progress_token: meta.progress_token.and_then(id),
            cancels: cancels.and_then(id),
            requested_version: version.and_then(decode),
            trace_parent: meta.trace_parent.and_then(decode),
            trace_state: meta.trace_state.and_then(decode),
        }
    }
}

impl Answer {
    /// Whether a `tools/call` result says that the tool failed (`isError`).
    pub fn is_tool_error(&self) -> bool {
        matches!(self, Self::Result(text) if object::<ResultMembers<'_>>(text).is_error.is_some_and(|v| v.get() == "true"))
    }

    /// The revision that an `initialize` result settles on.
    pub fn protocol_version(&self) -> Option<String> {
        match self {
            Self::Result(text) => object::<ResultMembers<'_>>(text).protocol_version.and_then(decode),
            Self::Error(_) => None,
        }
    }
}

/// Members of an object; none of anything else (serde would take an array for a struct).
fn object<'a, T: Deserialize<'a> + Default>(text: &'a [u8]) -> T {
    if text.first() == Some(&b'{') { serde_json::from_slice(text).unwrap_or_default() } else { T::default() }
}

fn decode<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Members<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    uri: Option<&'a RawValue>,
    #[serde(borrow, rename = "taskId")]
    task_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "_meta")]
    meta: Option<&'a RawValue>,
    #[serde(borrow, rename = "requestId")]
    request_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "protocolVersion")]
    protocol_version: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Meta<'a> {
    #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion", deserialize_with = "even_null")]
    version: Option<&'a RawValue>,
    #[serde(borrow, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
    #[serde(borrow, rename = "traceparent")]
    trace_parent: Option<&'a RawValue>,
    #[serde(borrow, rename = "tracestate")]
    trace_state: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResultMembers<'a> {
    #[serde(borrow, rename = "isError")]
    is_error: Option<&'a RawValue>,
    #[serde(borrow, rename = "protocolVersion")]
    protocol_version: Option<&'a RawValue>,
}

/// `null` is a claim too, a malformed one.
fn even_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::{Body, Kind, Limits, id::tests::id, parse};

    fn message(rest: &str) -> Message {
        let text = format!(r#"{{"jsonrpc":"2.0",{rest}}}"#);
        match parse(&text.into(), &Limits::default()).unwrap() {
            Body::Single(message) => message,
            Body::Batch(_) => panic!("a batch"),
        }
    }

    #[test]
    fn targets_are_decoded_by_method() {
        let target = |method: &str, params: &str| {
            Params::of(&message(&format!(r#""id":1,"method":"{method}","params":{params}"#))).target
        };
        assert_eq!(target("tools/call", r#"{"name":"b\u006fok","uri":"x"}"#), Some("book".into()));
        assert_eq!(target("resources/read", r#"{"name":"book","uri":"file:///a"}"#), Some("file:///a".into()));
        assert_eq!(target("tasks/get", r#"{"taskId":"t"}"#), Some("t".into()));
        assert_eq!(target("tools/list", r#"{"name":"book"}"#), None);
        assert_eq!(target("tools/call", r#"{"name":7}"#), None);
        assert_eq!(target("tools/call", "null"), None);
    }

    #[test]
    fn meta_is_read_even_where_it_is_odd() {
        let claim = |meta: &str| {
            Params::of(&message(&format!(r#""id":1,"method":"x","params":{{"_meta":{meta}}}"#))).claimed_version
        };
        assert_eq!(
            claim(&format!(r#"{{"{VERSION_KEY}":"2026-07-28","progressToken":{{}}}}"#)),
            Claim::Version("2026-07-28".into())
        );
        assert_eq!(claim(&format!(r#"{{"{VERSION_KEY}":null}}"#)), Claim::Malformed);
        assert_eq!(claim(&format!(r#"{{"{VERSION_KEY}":[1]}}"#)), Claim::Malformed);
        assert_eq!(claim("{}"), Claim::Absent);
        assert_eq!(claim(r#"["2026-07-28"]"#), Claim::Absent);
        assert_eq!(claim("7"), Claim::Absent);
    }

    #[test]
    fn tokens_and_cancellations_keep_their_type() {
        let params =
            Params::of(&message(r#""id":1,"method":"x","params":{"_meta":{"progressToken":"1"},"requestId":1}"#));
        assert_eq!((params.progress_token, params.cancels), (Some(id("\"1\"")), None));
        let params =
            Params::of(&message(r#""method":"notifications/cancelled","params":{"requestId":1,"reason":"no"}"#));
        assert_eq!(params.cancels, Some(id("1")));
        let params = Params::of(&message(r#""id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}"#));
        assert_eq!(params.requested_version.as_deref(), Some("2025-06-18"));
    }

    #[test]
    fn results_are_read() {
        let answer = |rest: &str| match message(&format!(r#""id":1,{rest}"#)).kind {
            Kind::Response { answer, .. } => answer,
            _ => panic!("no response"),
        };
        assert!(answer(r#""result":{"content":[],"isError":true}"#).is_tool_error());
        assert!(!answer(r#""result":{"isError":"true"}"#).is_tool_error());
        assert!(answer(r#""result":{"protocolVersion":7,"isError":true}"#).is_tool_error());
        assert!(!answer(r#""result":[true]"#).is_tool_error());
        assert!(!answer(r#""error":{"isError":true}"#).is_tool_error());
        assert_eq!(
            answer(r#""result":{"protocolVersion":"2025-11-25"}"#).protocol_version().as_deref(),
            Some("2025-11-25")
        );
    }
}
