//! What may be kept of messages, and of what surrounds them: every payload is masked here, once.

use super::{Shared, aside::aside, record::ExchangeFacts};
use crate::{
    audit::event::{HttpRequest, Payload},
    mask::{Masked, Tool},
    mcp::{self, Message, Params},
};

/// A message, and what its record may show of it.
#[derive(Debug)]
pub(crate) struct Shown<'m> {
    pub(super) message: &'m Message,
    pub(super) masked: Masked<'m>,
}

/// The members of a message that its record keeps.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) params: Option<Payload>,
    pub(super) result: Option<Payload>,
    pub(super) error: Option<Payload>,
}

impl Shown<'_> {
    /// What a record keeps, where `keep` says how much of it.
    pub(super) fn content(&self, keep: impl Fn(&[u8]) -> Option<Payload>) -> Content {
        let member = |name| self.masked.at(&[name]).and_then(|text| keep(text.as_bytes()));
        Content { params: member("params"), result: member("result"), error: member("error") }
    }

    /// What the message is about, as records show it: a mask on `$.params.name` or `$.params.uri` holds here too.
    pub(crate) fn name(&self, target: Option<&str>) -> Option<String> {
        let target = target?;
        if !self.masked.is_changed() {
            // As in most calls: the text need not be searched for what is known.
            return Some(target.to_owned());
        }
        let member = mcp::params::target_member(self.message.method()?)?;
        serde_json::from_str(self.masked.at(&["params", member])?).ok()
    }
}

impl Shared {
    /// A message as its record may show it. `tool` is whose masks hold for it.
    pub(crate) fn show<'m>(&self, facts: &ExchangeFacts, message: &'m Message, tool: Tool<'_>) -> Shown<'m> {
        Shown { message, masked: self.mask(facts.endpoint.name(), tool, &message.raw) }
    }

    /// The same for a message that says itself what it is about, with that as records show it.
    pub(crate) fn show_named<'m>(
        &self,
        facts: &ExchangeFacts,
        message: &'m Message,
        params: &Params,
        tool: Tool<'_>,
    ) -> (Shown<'m>, Option<String>) {
        let shown = self.show(facts, message, tool);
        let name = shown.name(params.target.as_deref());
        (shown, name)
    }

    /// A notification as a response's record keeps it by itself.
    pub(super) fn masked_event(&self, endpoint: &str, tool: Tool<'_>, raw: &[u8]) -> Option<Payload> {
        self.excerpt(self.mask(endpoint, tool, raw).text.as_bytes())
    }

    /// A text beside a message, as it may be kept: detectors look at it.
    pub(super) fn masked_text(&self, endpoint: &str, text: &str) -> String {
        self.masks.for_call(endpoint, None).plain(text, &self.mask_key).text.into_owned()
    }

    /// What is kept of the HTTP request besides its message: detectors look at it too.
    pub(super) fn masked_http(&self, facts: &ExchangeFacts, tool: Tool<'_>) -> HttpRequest {
        let selected = self.masks.for_call(facts.endpoint.name(), tool);
        let plain = |text: &str| selected.plain(text, &self.mask_key).text.into_owned();
        HttpRequest {
            path: plain(&facts.http.path),
            user_agent: facts.http.user_agent.as_deref().map(plain),
            ..facts.http.clone()
        }
    }

    /// A message as it may be kept.
    pub(super) fn mask<'t>(&self, endpoint: &str, tool: Tool<'_>, raw: &'t [u8]) -> Masked<'t> {
        // A message was parsed before it got here, so it is text; what is not is not kept.
        let text = std::str::from_utf8(raw).unwrap_or_default();
        aside(raw.len(), || self.masks.for_call(endpoint, tool).apply(text, &self.mask_key))
    }
}

#[cfg(test)]
mod tests;
