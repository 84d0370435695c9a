//! The sinks' numbers as metrics, read from where `weir status` reads them.

use std::sync::Arc;

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Meter},
};

use crate::audit::ship::{Shipper, SinkStatus};

/// One number of a sink.
type Number = fn(&SinkStatus) -> u64;

/// What only grows.
const COUNTERS: [(&str, &str, &str, Number); 4] = [
    ("weir.sink.shipped", "{record}", "Records that the sink has", |sink| sink.shipped),
    ("weir.sink.retries", "{attempt}", "Attempts that brought less than everything", |sink| sink.retries),
    ("weir.sink.throttled", "{record}", "Records that were asked to come later, each time", |sink| sink.throttled),
    ("weir.sink.dropped", "{record}", "Records deleted by somebody before they were shipped", |sink| sink.dropped),
];

/// What goes up and down.
const GAUGES: [(&str, &str, &str, Number); 3] = [
    ("weir.sink.lag.records", "{record}", "Records that the sink does not have yet", |sink| sink.lag_records),
    ("weir.sink.lag.seconds", "s", "Age of the oldest of them", |sink| sink.lag_seconds),
    ("weir.sink.failing", "1", "1 while attempts fail", |sink| u64::from(sink.failing_since.is_some())),
];

/// Registers them. They are read for as long as the meter's provider lives.
pub(super) fn register(shipper: &Arc<Shipper>, meter: &Meter) {
    for (name, unit, description, number) in COUNTERS {
        let counter = meter.u64_observable_counter(name).with_unit(unit).with_description(description);
        counter.with_callback(observe(shipper, number)).build();
    }
    for (name, unit, description, number) in GAUGES {
        let gauge = meter.u64_observable_gauge(name).with_unit(unit).with_description(description);
        gauge.with_callback(observe(shipper, number)).build();
    }
}

fn observe(shipper: &Arc<Shipper>, number: Number) -> impl Fn(&dyn AsyncInstrument<u64>) + Send + Sync + 'static {
    let shipper = Arc::clone(shipper);
    move |instrument| {
        for sink in shipper.status() {
            instrument.observe(number(&sink), &[KeyValue::new("weir.sink", sink.name)]);
        }
    }
}
