//! Spans and metrics for whoever runs the agent, by OpenTelemetry's conventions for MCP.
//!
//! Records are the evidence; what is said here helps to run things, may be sampled, and is dropped rather than waited for.
//! A span says nothing that the call's record does not say: it is made from the record, after the masks.
//!
//! | file | job |
//! |---|---|
//! | [`context`] | the caller's W3C trace context, from `_meta` or from headers |
//! | [`span`] | one call's span, and its duration |
//! | [`attributes`] | a call's record, in the conventions' names |
//! | [`collector`] | the way to an OTLP collector |
//!
//! What crosses the border: [`Telemetry`] is started once; a call is given a [`CallSpan`] when it opens, which ends when its
//! last record is written. Other rooms' numbers are registered on [`Telemetry::meter`] by the room that starts them.

mod attributes;
mod collector;
mod context;
mod names;
mod span;

use std::{sync::Arc, time::Duration};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    metrics::{Histogram, Meter, MeterProvider as _},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkError,
    metrics::{PeriodicReader, SdkMeterProvider},
    trace::{Sampler, SdkTracer, SdkTracerProvider},
};
use prometheus::{Encoder as _, Registry, TextEncoder};
use thiserror::Error;

use self::collector::Collector;
pub use self::{
    context::Carrier,
    span::{CallSpan, Direction},
};
use crate::config;

/// Upper bounds of the durations' buckets, in seconds (semantic conventions for MCP, "Metrics").
const DURATION_BOUNDS: [f64; 14] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Longest wait for the last spans and metrics to leave when the agent stops.
const FLUSH: Duration = Duration::from_secs(5);

/// Why telemetry could not be started.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The collector's address or certificates cannot be used.
    #[error("telemetry.otlp: {0}")]
    Collector(String),
    /// An exporter could not be built.
    #[error("telemetry.otlp cannot be used: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// The Prometheus exporter could not be built.
    #[error("admin.metrics cannot be used: {0}")]
    Prometheus(#[from] OTelSdkError),
}

/// Who reports.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// The agent's version.
    pub version: &'a str,
    /// What no other agent has, nor this one when it runs again.
    pub instance: &'a str,
    /// The host's name.
    pub host: &'a str,
}

/// Spans and metrics. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Telemetry {
    parts: Arc<Parts>,
}

#[derive(Debug)]
struct Parts {
    traces: Option<SdkTracerProvider>,
    tracer: Option<SdkTracer>,
    metrics: Option<Metrics>,
}

#[derive(Debug)]
struct Metrics {
    provider: SdkMeterProvider,
    registry: Option<Registry>,
    /// Calls that the client asked.
    client_operations: Histogram<f64>,
    /// Calls that the server asked.
    server_operations: Histogram<f64>,
}

impl Telemetry {
    /// Starts what the configuration asks for: nothing, by default. Needs a runtime, on which exporters send.
    ///
    /// # Errors
    /// As [`TelemetryError`] says.
    pub fn start(config: &config::Telemetry, prometheus: bool, service: Service<'_>) -> Result<Self, TelemetryError> {
        let resource = resource(service);
        let collector =
            config.otlp.as_ref().map(|otlp| Collector::new(otlp).map(|client| (otlp, client))).transpose()?;
        let traces = match &collector {
            Some((otlp, client)) if otlp.traces => Some(tracer_provider(otlp, client.clone(), resource.clone())?),
            _ => None,
        };
        let pushes = collector.filter(|(otlp, _)| otlp.metrics);
        let metrics = match pushes.is_some() || prometheus {
            true => Some(Metrics::new(pushes, prometheus, resource)?),
            false => None,
        };
        let tracer = traces.as_ref().map(|provider| provider.tracer_with_scope(scope()));
        Ok(Self { parts: Arc::new(Parts { traces, tracer, metrics }) })
    }

    /// Where other rooms register their numbers; none when nobody collects any.
    pub fn meter(&self) -> Option<Meter> {
        self.parts.metrics.as_ref().map(|metrics| metrics.provider.meter_with_scope(scope()))
    }

    /// Opens a call's span, as a child of the caller's.
    pub fn open(&self, direction: Direction, method: &str, target: Option<&str>, carrier: &Carrier) -> CallSpan {
        CallSpan::open(Arc::clone(&self.parts), direction, method, target, carrier)
    }

    /// All metrics in Prometheus' text format; none when it was not asked for.
    pub fn prometheus(&self) -> Option<String> {
        let registry = self.parts.metrics.as_ref()?.registry.as_ref()?;
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&registry.gather(), &mut text) {
            tracing::warn!(%error, "metrics could not be written");
        }
        String::from_utf8(text).ok()
    }

    /// Sends what is left, for a few seconds at most.
    pub async fn stop(self) {
        let stop = move || {
            if let Some(traces) = &self.parts.traces {
                let _ = traces.shutdown_with_timeout(FLUSH);
            }
            if let Some(metrics) = &self.parts.metrics {
                let _ = metrics.provider.shutdown_with_timeout(FLUSH);
            }
        };
        // The exporters' own threads wait for requests that this runtime carries.
        let _ = tokio::task::spawn_blocking(stop).await;
    }
}

impl Metrics {
    fn new(
        pushes: Option<(&config::Otlp, Collector)>,
        prometheus: bool,
        resource: Resource,
    ) -> Result<Self, TelemetryError> {
        let mut provider = SdkMeterProvider::builder().with_resource(resource);
        if let Some((otlp, client)) = pushes {
            let exporter = MetricExporter::builder()
                .with_http()
                .with_http_client(client)
                .with_endpoint(otlp.url("v1/metrics"))
                .build()?;
            let interval = Duration::from_millis(otlp.interval_ms);
            provider = provider.with_reader(PeriodicReader::builder(exporter).with_interval(interval).build());
        }
        let registry = prometheus.then(Registry::new);
        if let Some(registry) = &registry {
            let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone()).build()?;
            provider = provider.with_reader(exporter);
        }
        let provider = provider.build();
        let meter = provider.meter_with_scope(scope());
        let durations = |name, description| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(description);
            histogram.with_boundaries(DURATION_BOUNDS.to_vec()).build()
        };
        Ok(Self {
            client_operations: durations(
                names::CLIENT_OPERATION_DURATION,
                "From an application's request to the end of the server's response",
            ),
            server_operations: durations(
                names::SERVER_OPERATION_DURATION,
                "From a server's request to the application's answer",
            ),
            provider,
            registry,
        })
    }
}

fn tracer_provider(
    otlp: &config::Otlp,
    client: Collector,
    resource: Resource,
) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter =
        SpanExporter::builder().with_http().with_http_client(client).with_endpoint(otlp.url("v1/traces")).build()?;
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(otlp.sample)));
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_sampler(sampler).with_resource(resource).build())
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("weir").with_version(env!("CARGO_PKG_VERSION")).build()
}

fn resource(service: Service<'_>) -> Resource {
    Resource::builder()
        .with_service_name("weir")
        .with_attributes([
            KeyValue::new(names::SERVICE_VERSION, service.version.to_owned()),
            KeyValue::new(names::SERVICE_INSTANCE_ID, service.instance.to_owned()),
            KeyValue::new(names::HOST_NAME, service.host.to_owned()),
        ])
        .build()
}

#[cfg(test)]
mod tests;
