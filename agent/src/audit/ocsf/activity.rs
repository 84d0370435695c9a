//! How MCP, HTTP and flows map to OCSF's activities.

use super::{
    super::event::{FlowEnd, Outcome},
    record::{Activity, Class, Severity, Status},
};

/// A method as CRUD. What a tool does cannot be seen, so `tools/call` is Other (99) with the method as its name.
pub(super) fn mcp(method: Option<&str>) -> Activity<'_> {
    let method = method.unwrap_or("unknown");
    let (id, name) = match method {
        "initialize" | "resources/subscribe" | "subscriptions/listen" => (1, "Create"),
        "ping"
        | "server/discover"
        | "tools/list"
        | "prompts/list"
        | "prompts/get"
        | "resources/list"
        | "resources/read"
        | "resources/templates/list"
        | "completion/complete"
        | "roots/list"
        | "tasks/list"
        | "tasks/get"
        | "tasks/result" => (2, "Read"),
        "logging/setLevel" | "tasks/update" => (3, "Update"),
        "resources/unsubscribe" | "tasks/cancel" | "notifications/cancelled" => (4, "Delete"),
        other => (99, other),
    };
    Activity { class: Class::ApiActivity, id, name }
}

/// The activity of an HTTP method, where OCSF lists it, and its name.
pub(super) fn http(method: &str) -> (Option<u32>, &str) {
    let listed = match method {
        "CONNECT" => (1, "Connect"),
        "DELETE" => (2, "Delete"),
        "GET" => (3, "Get"),
        "HEAD" => (4, "Head"),
        "OPTIONS" => (5, "Options"),
        "POST" => (6, "Post"),
        "PUT" => (7, "Put"),
        "TRACE" => (8, "Trace"),
        "PATCH" => (9, "Patch"),
        other => return (None, other),
    };
    (Some(listed.0), listed.1)
}

/// What a flow's end is called.
pub(super) fn flow(end: FlowEnd) -> (Activity<'static>, Severity, Status) {
    let (id, name, severity, status) = match end {
        FlowEnd::Closed | FlowEnd::Spliced => (2, "Close", Severity::Informational, Status::Success),
        FlowEnd::UpstreamUnreachable | FlowEnd::UpstreamTls | FlowEnd::ClientTls => {
            (4, "Fail", Severity::Low, Status::Failure(None))
        }
        FlowEnd::Refused => (5, "Refuse", Severity::Medium, Status::Failure(None)),
        FlowEnd::Unknown => (2, "Close", Severity::Low, Status::Unknown),
        FlowEnd::Predates => (3, "Reset", Severity::Low, Status::Success),
    };
    (Activity { class: Class::NetworkActivity, id, name }, severity, status)
}

/// How a call's end is rated; a call without one has not ended.
pub(super) fn outcome(outcome: Option<Outcome>) -> (Severity, Status) {
    match outcome {
        None => (Severity::Informational, Status::Unknown),
        Some(Outcome::Ok) => (Severity::Informational, Status::Success),
        Some(Outcome::Error) => (Severity::Low, Status::Failure(Some("error"))),
        Some(Outcome::Cancelled) => (Severity::Informational, Status::Other("cancelled")),
        Some(Outcome::Broken) => (Severity::Low, Status::Failure(Some("broken"))),
        Some(Outcome::Timeout) => (Severity::Low, Status::Failure(Some("timeout"))),
        Some(Outcome::Refused) => (Severity::Medium, Status::Failure(Some("refused"))),
        Some(Outcome::Unknown) => (Severity::Low, Status::Unknown),
    }
}
