//! The answer to what is not let through: shown to the user by every SDK, never taken for an older server, never the end of
//! a session.
//!
//! # What the SDKs do with it
//!
//! Read from TypeScript `sdk` 1.32 and `client` 2.4, Python `mcp` 1.30 and 2.3:
//!
//! | a refusal as | TypeScript | Python |
//! |---|---|---|
//! | 200 with an error of the request's id | the call rejects with code and message | the call raises with code and message |
//! | 400 with it, modern | same, when the id is the request's (`_isModernEnvelopedRequest`); else the body is the message | same; a null id is taken for the request's |
//! | 4xx, session | the call rejects, the body is the message (`Error POSTing to endpoint`) | 1.30: `raise_for_status` in a task group: the client ends. 2.3: raised |
//! | 4xx to a notification | rejects, not fatal | 1.30: `Error in post_writer`, the session ends. 2.3: ignored |
//! | 404 with a session | rejects | "Session terminated": the session ends |
//! | 4xx to a POST of the 2024-11-05 transport | rejects, the body is the message | both: `raise_for_status` ends the writer, the session hangs |
//! | 401 | starts OAuth | starts OAuth |
//! | `server/discover` refused | any error and most 4xx mean "older server"; 403 and 5xx do not (`classifyHttpError`) | any error falls back to `initialize`, which is refused for the same cause, and raised |
//!
//! So: in a session a request's error travels with 200, and a notification is accepted and dropped (the record says that
//! it was refused). In the modern era the statuses are the specification's 400 for what it names; other refusals travel with
//! 200, but for `server/discover`. On the 2024-11-05 transport the POST is accepted and the error travels on the stream
//! ([`Refusal::event`]). 404 and 405 are never used; 401 only by a [`Challenge`], which asks for the token that the endpoint
//! demands. What has no readable id gets the status of its class.
//!
//! A refused `tools/call` ([`Class::Denied`]) is answered by a result with `isError`, because that is what an SDK hands to the model, which
//! can then do something else; an error ends the turn in many programs. Every SDK takes it, whatever output schema the tool
//! has. A call that asks for a task gets an error: its result would have to be a task.
//!
//! # Codes
//!
//! The specification's where it has one. Weir's own stand outside -32768..-32000, which JSON-RPC and MCP reserve; see
//! [`Class::code`].

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Body, Challenge, Era, Id, Invalid, Kind, Message};

/// Something was not let through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused by Weir: {reason} ({})", policy.as_deref().unwrap_or(rule))]
pub struct Refusal {
    /// The rule that was broken, e.g. `json-duplicate-key`. Stable: records and alerts rely on it.
    pub rule: &'static str,
    /// The policy that denies, where one does; `rule` is `policy` then.
    pub policy: Option<Arc<str>>,
    /// What kind of rule it was.
    pub class: Class,
    /// Why and what to do, for the client's user. Never holds a value from the message.
    pub reason: String,
    /// Asks the client to say who calls; decides the status then.
    pub challenge: Option<Challenge>,
}

/// What kind of rule was broken; decides codes and statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Not one strict JSON text.
    NotJson,
    /// Not a message that the era allows.
    NotRpc,
    /// Members that the era requires are missing from `params`.
    BadParams,
    /// Headers contradict the body (2026-07-28, "Server Validation").
    HeaderMismatch,
    /// A policy or the configuration says no.
    Denied,
    /// A limit of the agent is reached; trying later may succeed.
    Busy,
    /// The record could not be written.
    Unrecorded,
    /// Larger than a limit.
    TooLarge,
    /// The endpoint's credentials could not be had.
    NoCredential,
}

impl Class {
    /// The JSON-RPC error code.
    pub fn code(self) -> i32 {
        match self {
            Self::NotJson => -32700,
            Self::NotRpc => -32600,
            Self::BadParams => -32602,
            Self::HeaderMismatch => -32020,
            Self::Denied => -31001,
            Self::Busy => -31002,
            Self::Unrecorded => -31003,
            Self::TooLarge => -31004,
            Self::NoCredential => -31005,
        }
    }

    /// The HTTP status, where the refusal is told by one.
    pub fn status(self) -> StatusCode {
        match self {
            Self::NotJson | Self::NotRpc | Self::BadParams | Self::HeaderMismatch => StatusCode::BAD_REQUEST,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Busy | Self::Unrecorded | Self::NoCredential => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }
}

/// What the client sent, as far as an answer needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked<'a> {
    /// Nothing that has an id, or a body that could not be read.
    Unreadable,
    /// A request. The method is empty where it could not be read.
    Request {
        /// Its id.
        id: &'a Id,
        /// Its method.
        method: &'a str,
    },
    /// A tool's call that awaits a result and no task.
    ToolCall {
        /// Its id.
        id: &'a Id,
    },
    /// Several requests.
    Batch(Vec<&'a Id>),
    /// Notifications or responses: nothing awaits an answer.
    Unanswerable,
}

impl<'a> From<&'a Message> for Asked<'a> {
    fn from(message: &'a Message) -> Self {
        match &message.kind {
            Kind::Request { id, method, params } if method == "tools/call" && !asks_for_task(params.as_ref()) => {
                Self::ToolCall { id }
            }
            Kind::Request { id, method, .. } => Self::Request { id, method },
            Kind::Notification { .. } | Kind::Response { .. } => Self::Unanswerable,
        }
    }
}

impl<'a> From<&'a Body> for Asked<'a> {
    fn from(body: &'a Body) -> Self {
        let Body::Batch(messages) = body else { return Self::from(&body.messages()[0]) };
        let requests = messages.iter().filter(|m| matches!(m.kind, Kind::Request { .. }));
        let ids: Vec<_> = requests.filter_map(Message::id).collect();
        if ids.is_empty() { Self::Unanswerable } else { Self::Batch(ids) }
    }
}

impl<'a> From<&'a Invalid> for Asked<'a> {
    fn from(invalid: &'a Invalid) -> Self {
        match invalid {
            Invalid::Envelope { id: Some(id), .. } => Self::Request { id, method: "" },
            _ => Self::Unreadable,
        }
    }
}

impl From<&Invalid> for Refusal {
    fn from(invalid: &Invalid) -> Self {
        let class = if matches!(invalid, Invalid::Json(_)) { Class::NotJson } else { Class::NotRpc };
        Self::new(invalid.rule(), class, invalid.to_string())
    }
}

impl Refusal {
    /// A refusal. `reason` says what and why, and what to do, without values from the message.
    pub fn new(rule: &'static str, class: Class, reason: impl Into<String>) -> Self {
        Self { rule, policy: None, class, reason: reason.into(), challenge: None }
    }

    /// The same, asking the client to say who calls.
    #[must_use]
    pub fn challenging(self, challenge: Challenge) -> Self {
        Self { challenge: Some(challenge), ..self }
    }

    /// The HTTP status, where the refusal is told by one.
    pub fn status(&self) -> StatusCode {
        self.challenge.as_ref().map_or_else(|| self.class.status(), Challenge::status)
    }

    /// A refusal by a policy.
    pub fn by_policy(policy: Arc<str>, reason: impl Into<String>) -> Self {
        Self { policy: Some(policy), ..Self::new("policy", Class::Denied, reason) }
    }

    /// The HTTP response to the POST. On the 2024-11-05 transport it accepts, and [`Refusal::event`] must be sent on the
    /// session's stream; where that stream is not at hand, answer with [`Refusal::undeliverable`].
    pub fn response(&self, era: Era, asked: &Asked<'_>) -> Response<Bytes> {
        if self.challenge.is_some() {
            return self.undeliverable(asked);
        }
        match (era, asked) {
            (_, Asked::Unreadable) => json(self.class.status(), self.error(None)),
            (Era::Modern, Asked::Unanswerable | Asked::Batch(_)) => json(self.class.status(), self.error(None)),
            (Era::Modern, Asked::Request { id, method }) => json(self.modern_status(method), self.error(Some(id))),
            (Era::Modern, Asked::ToolCall { id }) => json(self.modern_status("tools/call"), self.tool_answer(era, id)),
            (Era::Session, Asked::Request { id, .. }) => json(StatusCode::OK, self.error(Some(id))),
            (Era::Session, Asked::ToolCall { id }) => json(StatusCode::OK, self.tool_answer(era, id)),
            (Era::Session, Asked::Batch(ids)) => json(StatusCode::OK, self.errors(ids)),
            (Era::Session, Asked::Unanswerable) | (Era::Sse, _) => accepted(),
        }
    }

    /// The answer as a body of its own, with the status of its class or of its challenge: that of last resort on the 2024-11-05 transport, when the error cannot travel on the stream. TypeScript shows
    /// it; Python's session ends.
    pub fn undeliverable(&self, asked: &Asked<'_>) -> Response<Bytes> {
        let body = match asked {
            Asked::Request { id, .. } | Asked::ToolCall { id } => self.error(Some(id)),
            Asked::Batch(ids) => self.errors(ids),
            Asked::Unreadable | Asked::Unanswerable => self.error(None),
        };
        let mut response = json(self.class.status(), body);
        if let Some(challenge) = &self.challenge {
            challenge.put(&mut response);
        }
        response
    }

    /// The error as an event for the stream of the 2024-11-05 transport; `None` when nothing awaits an answer. A batch has one
    /// event for each request, as that revision knows no batches.
    pub fn event(&self, asked: &Asked<'_>) -> Option<Bytes> {
        match asked {
            Asked::Batch(ids) => {
                let events = ids.iter().map(|id| event(&self.error(Some(id))));
                Some(events.collect::<Vec<_>>().concat().into())
            }
            _ => Some(event(&self.answer(Era::Sse, asked)?).into()),
        }
    }

    /// The message that answers one request, on one line; `None` when nothing awaits an answer.
    pub fn answer(&self, era: Era, asked: &Asked<'_>) -> Option<Bytes> {
        match asked {
            Asked::Request { id, .. } => Some(self.error(Some(id))),
            Asked::ToolCall { id } => Some(self.tool_answer(era, id)),
            Asked::Unreadable | Asked::Unanswerable | Asked::Batch(_) => None,
        }
    }

    /// What tells a tool's caller: a result that says so, where somebody said no; an error, where something is wrong.
    fn tool_answer(&self, era: Era, id: &Id) -> Bytes {
        if self.class != Class::Denied {
            return self.error(Some(id));
        }
        let result = ToolError {
            content: [Text { r#type: "text", text: self.to_string() }],
            is_error: true,
            result_type: (era == Era::Modern).then_some("complete"),
        };
        to_json(&ResultAnswer { jsonrpc: "2.0", id: serde_json::from_slice(id.text()).ok(), result })
    }

    /// The JSON-RPC error message for one request, on one line; without a request its id is `null`.
    pub fn error(&self, id: Option<&Id>) -> Bytes {
        to_json(&self.error_answer(id))
    }

    fn errors(&self, ids: &[&Id]) -> Bytes {
        to_json(&ids.iter().map(|id| self.error_answer(Some(id))).collect::<Vec<_>>())
    }

    fn error_answer<'a>(&'a self, id: Option<&'a Id>) -> ErrorAnswer<'a> {
        let id = id.and_then(|id| serde_json::from_slice(id.text()).ok());
        let data = Data { rule: self.rule, policy: self.policy.as_deref(), reason: &self.reason };
        ErrorAnswer { jsonrpc: "2.0", id, error: Error { code: self.class.code(), message: self.to_string(), data } }
    }

    fn modern_status(&self, method: &str) -> StatusCode {
        let status = self.class.status();
        // These say "no" without saying "older server" to a client that asks for the server's era.
        if status == StatusCode::BAD_REQUEST || method == "server/discover" { status } else { StatusCode::OK }
    }
}

/// Whether `params` ask for a task in the place of a result (2025-11-25, "Tasks").
fn asks_for_task(params: Option<&Bytes>) -> bool {
    #[derive(serde::Deserialize)]
    struct Params {
        #[serde(default)]
        task: Option<serde::de::IgnoredAny>,
    }
    params.is_some_and(|params| serde_json::from_slice::<Params>(params).map_or(true, |params| params.task.is_some()))
}

/// A message as an event of a stream.
pub fn event(message: &[u8]) -> Vec<u8> {
    [b"event: message\ndata: ", message, b"\n\n"].concat()
}

/// Answers to the requests of a batch, each its own.
pub fn batch(answers: &[Bytes]) -> Bytes {
    [b"[", answers.join(&b","[..]).as_slice(), b"]"].concat().into()
}

/// Answers to the requests of a batch, as a response in a session.
pub fn batch_response(answers: &[Bytes]) -> Response<Bytes> {
    if answers.is_empty() { accepted() } else { json(StatusCode::OK, batch(answers)) }
}

fn json(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn accepted() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

fn to_json(value: &impl Serialize) -> Bytes {
    // Strings and integers always serialise.
    serde_json::to_vec(value).unwrap_or_default().into()
}

#[derive(Serialize)]
struct ResultAnswer<'a> {
    jsonrpc: &'static str,
    id: Option<&'a RawValue>,
    result: ToolError,
}

/// `CallToolResult`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolError {
    content: [Text; 1],
    is_error: bool,
    /// The modern era asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
}

#[derive(Serialize)]
struct Text {
    r#type: &'static str,
    text: String,
}

#[derive(Serialize)]
struct ErrorAnswer<'a> {
    jsonrpc: &'static str,
    id: Option<&'a RawValue>,
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: i32,
    message: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    rule: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    reason: &'a str,
}

#[cfg(test)]
mod tests;
