//! W3C Trace Context, as callers carry it: in a message's `_meta` (MCP SEP-414), or in HTTP headers.

use http::HeaderMap;
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{SpanContext, TraceContextExt as _},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Trace context in text, not yet read. What is no context reads as none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carrier {
    /// `traceparent`.
    pub parent: Option<String>,
    /// `tracestate`.
    pub state: Option<String>,
}

impl Carrier {
    /// What an HTTP request carries.
    pub fn of_headers(headers: &HeaderMap) -> Self {
        let text = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
        Self { parent: text(TRACEPARENT), state: text(TRACESTATE) }
    }

    /// This context, or `other` where this says nothing.
    pub fn or(self, other: &Self) -> Self {
        if self.parent.is_some() { self } else { other.clone() }
    }

    /// The caller's context, valid or empty.
    pub(super) fn read(&self) -> Context {
        TraceContextPropagator::new().extract_with_context(&Context::new(), self)
    }

    /// The caller's span, when there is one.
    pub(super) fn caller(&self) -> Option<SpanContext> {
        self.parent.as_ref()?;
        let context = self.read();
        let caller = context.span().span_context().clone();
        caller.is_valid().then_some(caller)
    }
}

impl Extractor for Carrier {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => self.parent.as_deref(),
            TRACESTATE => self.state.as_deref(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}
