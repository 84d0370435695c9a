//! One call's span: opened with the call, ended with its last record.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, Tracer as _};
use opentelemetry_sdk::trace::Span;

use super::{Carrier, Parts, attributes};
use crate::audit::event::{self, Outcome};

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The application: the agent sends on its behalf.
    FromClient,
    /// The server: sampling, elicitation, roots.
    FromServer,
}

/// A call's span. Ending it twice ends it once; one that is dropped unended is reported as it stands.
#[derive(Debug)]
pub struct CallSpan {
    parts: Arc<Parts>,
    direction: Direction,
    started: Instant,
    trace_id: Option<String>,
    span: Mutex<Option<Span>>,
}

impl CallSpan {
    pub(super) fn open(
        parts: Arc<Parts>,
        direction: Direction,
        method: &str,
        target: Option<&str>,
        carrier: &Carrier,
    ) -> Self {
        let span = parts.tracer.as_ref().map(|tracer| {
            let kind = match direction {
                Direction::FromClient => SpanKind::Client,
                Direction::FromServer => SpanKind::Server,
            };
            let name = span_name(method, target);
            tracer.build_with_context(SpanBuilder::from_name(name).with_kind(kind), &carrier.read())
        });
        let own = span.as_ref().map(Span::span_context).cloned();
        let trace_id = own.or_else(|| carrier.caller()).map(|context| context.trace_id().to_string());
        Self { parts, direction, started: Instant::now(), trace_id, span: Mutex::new(span) }
    }

    /// The trace that the call belongs to, in hex: the caller's, else the agent's own.
    pub fn trace_id(&self) -> Option<&str> {
        self.trace_id.as_deref()
    }

    /// Ends the span as the call's last record says.
    pub fn end(&self, call: &event::Call) {
        if let Some(metrics) = &self.parts.metrics {
            let durations = match self.direction {
                Direction::FromClient => &metrics.client_operations,
                Direction::FromServer => &metrics.server_operations,
            };
            durations.record(self.started.elapsed().as_secs_f64(), &attributes::for_metrics(call));
        }
        let Some(mut span) = self.span.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        if span.is_recording() {
            span.set_attributes(attributes::for_span(call));
            if call.mcp.outcome != Some(Outcome::Ok) {
                span.set_status(Status::error(attributes::error_type(call).unwrap_or_default()));
            }
        }
        span.end();
    }
}

/// `{mcp.method.name} {target}`, where the target is a tool or a prompt; the address of a resource would make too many
/// names (semantic conventions for MCP, "Span name").
fn span_name(method: &str, target: Option<&str>) -> String {
    match (method, target) {
        ("tools/call" | "prompts/get", Some(target)) => format!("{method} {target}"),
        _ => method.to_owned(),
    }
}
