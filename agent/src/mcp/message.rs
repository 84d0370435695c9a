//! A body as JSON-RPC messages, slices of the bytes that arrived.
//!
//! A message has exactly the members that JSON-RPC 2.0 gives its kind. Unknown members of the envelope are refused: the
//! record keeps `params`, `result` and `error`, so what stands beside them would pass unrecorded; and the TypeScript SDK
//! refuses them on both sides (`JSONRPCMessageSchema`, strict objects), so no portable peer sends them. `params: null`
//! counts as absent, and so does a null `error` beside a result and a null `result` beside an error, which some
//! JSON-RPC libraries write.

use std::{collections::HashSet, fmt};

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    Id, Limits,
    json::{self, JsonError},
};

/// What one HTTP body or one SSE event carried.
#[derive(Debug, Clone)]
pub enum Body {
    /// One message.
    Single(Message),
    /// A batch (2025-03-26 only), never empty; its requests have different ids.
    Batch(Vec<Message>),
}

impl Body {
    /// Its messages, in order.
    pub fn messages(&self) -> &[Message] {
        match self {
            Self::Single(message) => std::slice::from_ref(message),
            Self::Batch(messages) => messages,
        }
    }
}

/// One JSON-RPC message, with slices of the bytes that it was parsed from.
#[derive(Debug, Clone)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The message's own bytes: valid UTF-8, accepted by [`json::check`].
    pub raw: Bytes,
}

/// What a message is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A call.
    Request {
        /// Joins it to its response.
        id: Id,
        /// The method.
        method: String,
        /// `params`, an object, as written.
        params: Option<Bytes>,
    },
    /// A message without an id.
    Notification {
        /// The method.
        method: String,
        /// `params`, an object, as written.
        params: Option<Bytes>,
    },
    /// The answer to a request. An error's `id` is absent when the peer could not tell which.
    Response {
        /// The request's id.
        id: Option<Id>,
        /// What it says.
        answer: Answer,
    },
}

/// What a response says.
#[derive(Debug, Clone)]
pub enum Answer {
    /// `result`, as written.
    Result(Bytes),
    /// `error`, as written.
    Error(Bytes),
}

impl Message {
    /// The request's or response's id.
    pub fn id(&self) -> Option<&Id> {
        match &self.kind {
            Kind::Request { id, .. } => Some(id),
            Kind::Notification { .. } => None,
            Kind::Response { id, .. } => id.as_ref(),
        }
    }

    /// The request's or notification's method.
    pub fn method(&self) -> Option<&str> {
        match &self.kind {
            Kind::Request { method, .. } | Kind::Notification { method, .. } => Some(method),
            Kind::Response { .. } => None,
        }
    }

    /// The request's or notification's `params`, as written.
    pub fn params(&self) -> Option<&Bytes> {
        match &self.kind {
            Kind::Request { params, .. } | Kind::Notification { params, .. } => params.as_ref(),
            Kind::Response { .. } => None,
        }
    }
}

/// Why a body is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not strict JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Neither an object nor an array.
    #[error("the body is not a JSON-RPC message; send an object")]
    NotAnObject,
    /// `[]`.
    #[error("the batch is empty; send at least one message")]
    EmptyBatch,
    /// More messages than the limit.
    #[error("the batch has more than {limit} messages; split it")]
    LongBatch {
        /// The limit.
        limit: usize,
    },
    /// Two requests of a batch with one id: their answers could not be told apart.
    #[error("two requests of the batch have the same id; give each its own")]
    DuplicateId,
    /// Not a JSON-RPC 2.0 message.
    #[error("the message is not JSON-RPC 2.0: {fault}")]
    Envelope {
        /// What is wrong.
        fault: Fault,
        /// The message's id, where it stands alone and can be read.
        id: Option<Id>,
    },
}

/// What is wrong with an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// `jsonrpc`.
    #[error("\"jsonrpc\" must be \"2.0\"")]
    Version,
    /// An unknown member.
    #[error("it has a member besides jsonrpc, id, method, params, result and error; remove it")]
    UnknownMember,
    /// `id`.
    #[error("\"id\" must be a string or an integer")]
    Id,
    /// `method`.
    #[error("\"method\" must be a string")]
    Method,
    /// `params`.
    #[error("\"params\" must be an object")]
    Params,
    /// Members of several kinds, or of none.
    #[error("it must be a request, a notification or a response, and only one of them")]
    Kind,
}

impl Invalid {
    /// The stable id of the rule that was broken.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Json(error) => error.rule(),
            Self::NotAnObject => "jsonrpc-not-an-object",
            Self::EmptyBatch => "jsonrpc-empty-batch",
            Self::LongBatch { .. } => "jsonrpc-long-batch",
            Self::DuplicateId => "jsonrpc-duplicate-id",
            Self::Envelope { fault, .. } => match fault {
                Fault::Version => "jsonrpc-version",
                Fault::UnknownMember => "jsonrpc-unknown-member",
                Fault::Id => "jsonrpc-id",
                Fault::Method => "jsonrpc-method",
                Fault::Params => "jsonrpc-params",
                Fault::Kind => "jsonrpc-kind",
            },
        }
    }
}

/// Parses a body; every slice in the result shares its memory.
pub fn parse(body: &Bytes, limits: &Limits) -> Result<Body, Invalid> {
    let text = json::check(body, limits.depth)?.trim_ascii();
    match text.as_bytes().first() {
        Some(b'{') => envelope(body, text).map(Body::Single),
        Some(b'[') => batch(body, text, limits.batch).map(Body::Batch),
        _ => Err(Invalid::NotAnObject),
    }
}

fn batch(body: &Bytes, text: &str, limit: usize) -> Result<Vec<Message>, Invalid> {
    let elements = Elements { limit }.deserialize(&mut serde_json::Deserializer::from_str(text));
    let elements = elements.map_err(|_| Invalid::LongBatch { limit })?;
    if elements.is_empty() {
        return Err(Invalid::EmptyBatch);
    }
    let messages = elements.into_iter().map(|element| match envelope(body, element.get()) {
        Err(Invalid::Envelope { fault, .. }) => Err(Invalid::Envelope { fault, id: None }),
        other => other,
    });
    let messages: Vec<Message> = messages.collect::<Result<_, _>>()?;
    let mut ids = HashSet::new();
    let mut requests = messages.iter().filter(|m| matches!(m.kind, Kind::Request { .. }));
    if requests.any(|m| !ids.insert(m.id())) {
        return Err(Invalid::DuplicateId);
    }
    Ok(messages)
}

fn envelope(body: &Bytes, text: &str) -> Result<Message, Invalid> {
    let members = Members::default().deserialize(&mut serde_json::Deserializer::from_str(text));
    let members = members.map_err(|_| Invalid::NotAnObject)?;
    let part = |raw: &RawValue| body.slice_ref(raw.get().as_bytes());
    let id = members.id.map(part);
    let known_id = id.clone().and_then(Id::parse);
    match kind(&members, part, id.as_ref(), known_id.clone()) {
        Ok(kind) => Ok(Message { kind, raw: body.slice_ref(text.as_bytes()) }),
        Err(fault) => Err(Invalid::Envelope { fault, id: known_id }),
    }
}

fn kind(
    members: &Members<'_>,
    part: impl Fn(&RawValue) -> Bytes,
    id_text: Option<&Bytes>,
    id: Option<Id>,
) -> Result<Kind, Fault> {
    if members.unknown {
        return Err(Fault::UnknownMember);
    }
    if members.jsonrpc.and_then(string).as_deref() != Some("2.0") {
        return Err(Fault::Version);
    }
    if let Some(method) = members.method {
        if members.result.is_some() || members.error.is_some() {
            return Err(Fault::Kind);
        }
        let method = string(method).ok_or(Fault::Method)?;
        let params = members.params.filter(|p| !is_null(p));
        if params.is_some_and(|p| !p.get().starts_with('{')) {
            return Err(Fault::Params);
        }
        let params = params.map(part);
        return match (id_text, id) {
            (None, _) => Ok(Kind::Notification { method, params }),
            (Some(_), Some(id)) => Ok(Kind::Request { id, method, params }),
            (Some(_), None) => Err(Fault::Id),
        };
    }
    if members.params.is_some() {
        return Err(Fault::Kind);
    }
    let answer = match (members.result, members.error) {
        (Some(result), None) => Answer::Result(part(result)),
        (Some(result), Some(error)) if is_null(error) && !is_null(result) => Answer::Result(part(result)),
        (None, Some(error)) if !is_null(error) => Answer::Error(part(error)),
        (Some(result), Some(error)) if is_null(result) && !is_null(error) => Answer::Error(part(error)),
        _ => return Err(Fault::Kind),
    };
    let nameless = id_text.is_none_or(|text| text == "null") && matches!(answer, Answer::Error(_));
    if id.is_none() && !nameless {
        return Err(Fault::Id);
    }
    Ok(Kind::Response { id, answer })
}

fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

/// The members of one envelope. `null` is kept apart from absent.
#[derive(Default)]
struct Members<'a> {
    jsonrpc: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    result: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    unknown: bool,
}

impl<'de> DeserializeSeed<'de> for Members<'de> {
    type Value = Self;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'de> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON-RPC message")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(key) = map.next_key_seed(json::Key)? {
            let member = match &*key {
                "jsonrpc" => &mut self.jsonrpc,
                "id" => &mut self.id,
                "method" => &mut self.method,
                "params" => &mut self.params,
                "result" => &mut self.result,
                "error" => &mut self.error,
                _ => {
                    self.unknown = true;
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *member = Some(map.next_value()?);
        }
        Ok(self)
    }
}

/// The elements of a batch, at most `limit`.
struct Elements {
    limit: usize,
}

impl<'de> DeserializeSeed<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            if elements.len() == self.limit {
                return Err(A::Error::custom("too many"));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

#[cfg(test)]
mod tests;
