//! The agent's own numbers as metrics: read when they are collected, from where `weir status` reads them.

use std::sync::Arc;

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Meter},
};

use super::{sinks, watchdog::Health};
use crate::{
    audit::{checkpoint::Progress, log::Log, ship::Shipper},
    config::Config,
    datapath::{Datapath, EndpointCounts, EndpointIndex},
    proxy::{Namespaces, Proxy},
};

/// Where the numbers are.
#[derive(Clone)]
pub(super) struct Numbers {
    pub(super) config: Arc<Config>,
    pub(super) proxy: Proxy,
    pub(super) datapath: Datapath,
    pub(super) log: Log,
    pub(super) checkpoints: Progress,
    pub(super) shipper: Arc<Shipper>,
    pub(super) namespaces: Namespaces,
    pub(super) health: Health,
}

impl Numbers {
    /// Registers them. They are read for as long as the meter's provider lives.
    pub(super) fn register(self, meter: &Meter) {
        self.connections(meter);
        self.messages(meter);
        self.flows(meter);
        self.log(meter);
        self.checks(meter);
        sinks::register(&self.shipper, meter);
    }

    fn connections(&self, meter: &Meter) {
        let of = self.clone();
        let counted = move |counter: &dyn AsyncInstrument<u64>| {
            for (n, endpoint) in of.config.endpoints.iter().enumerate() {
                let Some(Ok(counts)) = EndpointIndex::of_endpoint(n).map(|index| of.datapath.counts(index)) else {
                    continue;
                };
                let EndpointCounts { redirected, denied, guarded, failed_open, .. } = counts;
                let outcomes = [
                    ("redirected", redirected),
                    ("denied", denied),
                    ("guarded", guarded),
                    ("failed_open", failed_open),
                ];
                for (outcome, count) in outcomes {
                    let attributes =
                        [KeyValue::new("weir.endpoint", endpoint.name.clone()), KeyValue::new("weir.outcome", outcome)];
                    counter.observe(count, &attributes);
                }
            }
        };
        meter
            .u64_observable_counter("weir.kernel.connections")
            .with_unit("{connection}")
            .with_description("Attempts to reach a registered endpoint, by what the kernel's side made of them")
            .with_callback(counted)
            .build();
    }

    fn messages(&self, meter: &Meter) {
        let of = self.clone();
        let counted = move |counter: &dyn AsyncInstrument<u64>| {
            for endpoint in &of.config.endpoints {
                let (judged, refused) = of.proxy.calls_of(&endpoint.name);
                for (verdict, count) in [("allow", judged - refused), ("deny", refused)] {
                    let attributes =
                        [KeyValue::new("weir.endpoint", endpoint.name.clone()), KeyValue::new("weir.verdict", verdict)];
                    counter.observe(count, &attributes);
                }
            }
        };
        meter
            .u64_observable_counter("weir.messages")
            .with_unit("{message}")
            .with_description("Messages from applications, by verdict")
            .with_callback(counted)
            .build();
    }

    fn flows(&self, meter: &Meter) {
        let proxy = self.proxy.clone();
        meter
            .u64_observable_gauge("weir.flows.open")
            .with_unit("{flow}")
            .with_description("Intercepted connections open now")
            .with_callback(move |gauge| gauge.observe(proxy.status().flows_open, &[]))
            .build();
        let proxy = self.proxy.clone();
        meter
            .u64_observable_gauge("weir.calls.open")
            .with_unit("{call}")
            .with_description("Calls that wait for their response")
            .with_callback(move |gauge| gauge.observe(proxy.status().calls_open, &[]))
            .build();
        let proxy = self.proxy.clone();
        meter
            .u64_observable_counter("weir.flows.refused")
            .with_unit("{flow}")
            .with_description("Intercepted connections closed on arrival, because of limits.flows or without facts")
            .with_callback(move |counter| {
                let status = proxy.status();
                counter.observe(status.flows_over_limit, &[KeyValue::new("weir.reason", "limit")]);
                counter.observe(status.flows_unattributed, &[KeyValue::new("weir.reason", "unattributed")]);
            })
            .build();
        let namespaces = self.namespaces.clone();
        meter
            .u64_observable_gauge("weir.namespaces.serving")
            .with_unit("{namespace}")
            .with_description("Network namespaces served now")
            .with_callback(move |gauge| gauge.observe(namespaces.status().serving, &[]))
            .build();
        let namespaces = self.namespaces.clone();
        meter
            .f64_observable_gauge("weir.namespaces.slowest_ready")
            .with_unit("s")
            .with_description("Longest time from a namespace's announcement to listeners in it")
            .with_callback(move |gauge| gauge.observe(namespaces.status().slowest_ready.as_secs_f64(), &[]))
            .build();
    }

    fn checks(&self, meter: &Meter) {
        let health = self.health.clone();
        meter
            .u64_observable_gauge("weir.check.failing")
            .with_description("1 while interception is not as it should be, by the check that says so")
            .with_callback(move |gauge| {
                for check in health.checks() {
                    gauge.observe(u64::from(!check.ok), &[KeyValue::new("weir.check", check.name)]);
                }
            })
            .build();
    }

    fn log(&self, meter: &Meter) {
        let log = self.log.clone();
        meter
            .u64_observable_counter("weir.log.records")
            .with_unit("{record}")
            .with_description("Records since the start, durable or refused")
            .with_callback(move |counter| {
                let status = log.status();
                counter.observe(status.appended, &[KeyValue::new("weir.outcome", "durable")]);
                counter.observe(status.refused, &[KeyValue::new("weir.outcome", "refused")]);
            })
            .build();
        let log = self.log.clone();
        meter
            .u64_observable_gauge("weir.log.failing")
            .with_description("1 while the log takes no records and every call is refused")
            .with_callback(move |gauge| gauge.observe(u64::from(log.status().failing.is_some()), &[]))
            .build();
        let checkpoints = self.checkpoints.clone();
        meter
            .u64_observable_gauge("weir.checkpoint.failing")
            .with_description("1 while the log's head cannot be signed")
            .with_callback(move |gauge| gauge.observe(u64::from(checkpoints.status().failure.is_some()), &[]))
            .build();
    }
}
