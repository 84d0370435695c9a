//! The step of a call that masks what the other side gets, where a rule says `inline`, and what follows a changed body: the
//! headers that describe it, and those that mirror it. The record is made of the message as it came.

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use serde_json::Value;

use super::{
    Shared,
    aside::aside,
    headers::content_changed,
    judge::{self, Admitted},
    receive::Received,
    record::ExchangeFacts,
    tools::About,
};
use crate::{
    mask::{Threads, Tool},
    mcp::{self, Message, Params, params::target_member},
};

/// As `event.mcp.edits` says it.
pub(super) const EDIT: &str = "mask";
/// The same, where the client had already got the beginning of what was masked.
pub(super) const LATE: &str = "mask-late";

/// The headers that mirror arguments (2026-07-28, "Custom Request Headers").
const PARAM: &str = "mcp-param-";

impl Shared {
    /// A message as the other side is to get it; `None` where that is as it came.
    pub(super) fn inline(&self, endpoint: &str, tool: Tool<'_>, message: &Bytes) -> Option<Bytes> {
        let selected = self.masks.for_call(endpoint, tool);
        if !selected.has_inline() {
            return None;
        }
        // A message was parsed before it got here, so it is text.
        let text = std::str::from_utf8(message).unwrap_or_default();
        let masked = aside(text.len(), || selected.inline(text, &self.mask_key));
        masked.is_changed().then(|| masked.text.into_owned().into())
    }

    /// The same for a notification of a stream, read behind what the stream's `threads` have said; also whether the beginning of
    /// what is masked had already passed.
    pub(super) fn inline_next(
        &self,
        threads: &mut Threads,
        endpoint: &str,
        tool: Tool<'_>,
        message: &Bytes,
    ) -> Option<(Bytes, bool)> {
        let text = std::str::from_utf8(message).unwrap_or_default();
        let selected = self.masks.for_call(endpoint, tool);
        let (masked, is_late) = aside(text.len(), || selected.inline_next(threads, text, &self.mask_key));
        masked.is_changed().then(|| (masked.text.into_owned().into(), is_late))
    }
}

/// A POST's body as the server is to get it. Headers follow, and the messages' records say so.
pub(super) fn request<'a>(
    shared: &Shared,
    facts: &ExchangeFacts,
    headers: &mut HeaderMap,
    received: Received,
    mut admitted: Admitted<'a>,
) -> (Received, Admitted<'a>) {
    let masked: Vec<Option<Bytes>> = admitted.messages.iter().map(|(message, _)| of(shared, facts, message)).collect();
    if masked.iter().all(Option::is_none) {
        return (received, admitted);
    }
    let messages = || admitted.messages.iter().map(|(message, _)| *message).zip(&masked);
    for (message, masked) in messages() {
        if let Some(masked) = masked {
            follow(headers, message, masked);
        }
    }
    // What was taken out of a batch is a body of its own, of which the messages are no part.
    let body = received.text.as_ptr_range();
    let text = if messages().all(|(message, _)| body.contains(&message.raw.as_ptr())) {
        let parts = messages().filter_map(|(message, masked)| Some((&message.raw, &masked.as_ref()?[..])));
        judge::replace(&received.text, &parts.collect::<Vec<_>>())
    } else {
        let said = messages().map(|(message, masked)| masked.clone().unwrap_or_else(|| message.raw.clone()));
        mcp::refusal::batch(&said.collect::<Vec<_>>())
    };
    content_changed(headers);
    admitted.edits.push(EDIT);
    (Received { raw: text.clone(), text, trailers: received.trailers }, admitted)
}

fn of(shared: &Shared, facts: &ExchangeFacts, message: &Message) -> Option<Bytes> {
    let target = Params::of(message).target;
    let about = message.method().map(|method| shared.task_tools.about(facts, method, target.as_deref()));
    shared.inline(facts.endpoint.name(), about.as_ref().map_or(Tool::Without, About::tool), &message.raw)
}

/// Lets the headers that mirror the body say what it says now: a server refuses what differs.
fn follow(headers: &mut HeaderMap, message: &Message, masked: &[u8]) {
    let params = message.params().and_then(|params| serde_json::from_slice::<Value>(params).ok());
    let masked = serde_json::from_slice::<Value>(masked).ok();
    let (Some(method), Some(old), Some(new)) = (message.method(), &params, masked.as_ref().map(|m| &m["params"]))
    else {
        return;
    };
    if let Some(name) = target_member(method).and_then(|member| new[member].as_str())
        && headers.contains_key(mcp::headers::NAME)
    {
        headers.insert(mcp::headers::NAME, mcp::headers::encode(name));
    }
    let mut changes = Vec::new();
    compare(&old["arguments"], Some(&new["arguments"]), &mut changes);
    let mirrors: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with(PARAM)).cloned().collect();
    for name in mirrors {
        let said = headers[&name].to_str().ok().and_then(mcp::headers::decode);
        let Some((_, now)) = said.and_then(|said| changes.iter().find(|(was, _)| *was == said)) else { continue };
        match now {
            Some(now) => drop(headers.insert(name, mcp::headers::encode(now))),
            None => drop(headers.remove(name)),
        }
    }
}

/// The scalars that changed, as headers write them: what they were, and what they are, if they still are anything.
fn compare(old: &Value, new: Option<&Value>, changes: &mut Vec<(String, Option<String>)>) {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match old {
        Value::Object(members) => {
            for (name, value) in members {
                compare(value, new.and_then(|new| new.get(name)), changes);
            }
        }
        _ if Some(old) != new => changes.extend(text(old).map(|was| (was, new.and_then(text)))),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::{Body, Limits, parse};

    fn message(text: &'static str) -> Message {
        match parse(&Bytes::from_static(text.as_bytes()), &Limits::default()).unwrap() {
            Body::Single(message) => message,
            Body::Batch(_) => panic!("a batch"),
        }
    }

    #[test]
    fn mirrors_follow_the_body() {
        let old = message(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":{"to":{"iban":"A"},"n":7,"x":"y","gone":{"k":"B"}}}}"#,
        );
        let new = br#"{"params":{"name":"p\u00e9","arguments":{"to":{"iban":"[m]"},"n":"[7]","x":"y","gone":"[m]"}}}"#;
        let headers = [
            ("mcp-name", "pay"),
            ("mcp-param-iban", "A"),
            ("mcp-param-n", "7"),
            ("mcp-param-x", "y"),
            ("mcp-param-k", "B"),
        ];
        let mut headers: HeaderMap =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
        follow(&mut headers, &old, new);
        let said = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(said("mcp-name").and_then(mcp::headers::decode).as_deref(), Some("pé"));
        assert_eq!((said("mcp-param-iban"), said("mcp-param-n")), (Some("[m]"), Some("[7]")));
        assert_eq!((said("mcp-param-x"), said("mcp-param-k")), (Some("y"), None));
    }
}
