//! A call's record in the names of OpenTelemetry's semantic conventions for MCP. What they do not name begins with `weir.`.

use opentelemetry::{KeyValue, Value};
use serde::Deserialize;

use super::names;
use crate::audit::event::{Action, Call, Outcome, Payload};

/// Everything that a span says.
pub(super) fn for_span(call: &Call) -> Vec<KeyValue> {
    let mut attributes = for_metrics(call);
    let mut say = |name: &'static str, value: Option<Value>| {
        attributes.extend(value.map(|value| KeyValue::new(name, value)));
    };
    let mcp = &call.mcp;
    say(names::MCP_SESSION_ID, mcp.session_id.clone().map(Value::from));
    say(names::JSONRPC_REQUEST_ID, mcp.id.as_ref().map(|id| id.text().trim_matches('"').to_owned().into()));
    let is_resource = mcp.method.as_deref().is_some_and(|method| method.starts_with("resources/"));
    say(names::MCP_RESOURCE_URI, mcp.name.clone().filter(|_| is_resource).map(Value::from));
    say(names::CLIENT_ADDRESS, Some(call.route.src.ip().to_string().into()));
    say(names::CLIENT_PORT, Some(i64::from(call.route.src.port()).into()));
    say(names::CALL_ID, Some(mcp.call_id.to_string().into()));
    say(names::WORKLOAD_ID, Some(call.workload.id.clone().into()));
    say(names::VERDICT_POLICY, call.verdict.policy.clone().map(Value::from));
    attributes
}

/// What of it has few values. Names that clients choose are bounded by the SDK, which sums what is beyond.
pub(super) fn for_metrics(call: &Call) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(16);
    let mut say = |name: &'static str, value: Option<Value>| {
        attributes.extend(value.map(|value| KeyValue::new(name, value)));
    };
    let mcp = &call.mcp;
    let method = mcp.method.as_deref();
    say(names::MCP_METHOD_NAME, mcp.method.clone().map(Value::from));
    say(names::GEN_AI_TOOL_NAME, mcp.name.clone().filter(|_| method == Some("tools/call")).map(Value::from));
    say(names::GEN_AI_OPERATION_NAME, (method == Some("tools/call")).then(|| "execute_tool".into()));
    say(names::GEN_AI_PROMPT_NAME, mcp.name.clone().filter(|_| method == Some("prompts/get")).map(Value::from));
    say(names::MCP_PROTOCOL_VERSION, mcp.protocol_version.clone().map(Value::from));
    let error = error_type(call);
    say(names::RPC_RESPONSE_STATUS_CODE, error_code(call).map(|code| code.to_string().into()));
    say(names::ERROR_TYPE, error.map(Value::from));
    say(names::NETWORK_TRANSPORT, Some("tcp".into()));
    say(names::NETWORK_PROTOCOL_NAME, Some("http".into()));
    say(names::NETWORK_PROTOCOL_VERSION, Some(call.http.version.into()));
    say(
        names::SERVER_ADDRESS,
        call.route.hostname.clone().or_else(|| Some(call.route.dst.ip().to_string())).map(Value::from),
    );
    say(names::SERVER_PORT, Some(i64::from(call.route.dst.port()).into()));
    say(names::ENDPOINT, Some(mcp.endpoint.clone().into()));
    let verdict = match call.verdict.action {
        Action::Allow => "allow",
        Action::Deny => "deny",
        Action::Hold => "hold",
    };
    say(names::VERDICT, Some(verdict.into()));
    attributes
}

/// What went wrong, if anything: the JSON-RPC error's code, `tool_error` for a tool's own, or how the call broke.
pub(super) fn error_type(call: &Call) -> Option<String> {
    match call.mcp.outcome? {
        Outcome::Ok => None,
        Outcome::Error => Some(error_code(call).map_or_else(|| "tool_error".to_owned(), |code| code.to_string())),
        other => Some(other.as_str().to_owned()),
    }
}

fn error_code(call: &Call) -> Option<i64> {
    #[derive(Deserialize)]
    struct Error {
        code: i64,
    }
    let text = call.mcp.error.as_ref().map(Payload::text)?;
    serde_json::from_str(text).ok().map(|Error { code }| code)
}
