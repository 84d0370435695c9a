//! What was measured, for people and for programs.

use std::thread;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    evidence::Evidence,
    leg::Leg,
    load::Sample,
    statistics::{median, percentile},
    streams::Timing,
};

/// How it was measured.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Settings {
    pub(super) rounds: u32,
    pub(super) seconds: u32,
    pub(super) connections: u32,
    pub(super) streams: u32,
}

/// The results.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    time: Timestamp,
    cores: usize,
    kernel: String,
    settings: Settings,
    load: Vec<Load>,
    streams: Vec<Streams>,
    evidence: Vec<Evidence>,
}

/// Medians over the rounds of one leg. A ratio is the median of each round's own ratio.
#[derive(Debug, Serialize)]
struct Load {
    leg: String,
    calls_per_second: f64,
    rate_to_direct: f64,
    rate_to_nginx: f64,
    p50_ms: f64,
    p99_ms: f64,
    p50_to_direct: f64,
    p50_to_nginx: f64,
    cpu_s_per_1000: Option<f64>,
    cpu_to_nginx: Option<f64>,
    /// How many connections the server accepted for 1,000 calls.
    connections_per_1000: f64,
}

/// Of one leg, in milliseconds.
#[derive(Debug, Serialize)]
struct Streams {
    leg: String,
    cold_ms: f64,
    warm_ms: f64,
    delay_ms: f64,
    delay_p99_ms: f64,
    /// The difference of the medians to those of the direct leg.
    cold_over_direct_ms: f64,
    warm_over_direct_ms: f64,
    delay_over_direct_ms: f64,
}

/// The positions of the legs that others are compared with; [`Leg::all`] puts them there.
const DIRECT: usize = 0;
const NGINX: usize = 1;

impl Report {
    /// Puts the results together.
    pub(super) fn of(
        settings: Settings,
        legs: &[Leg],
        rounds: &[Vec<Sample>],
        streams: &[Option<Timing>],
        evidence: Vec<Evidence>,
    ) -> Self {
        let timed = legs.iter().zip(streams).filter_map(|(leg, timing)| Some((leg, timing.as_ref()?)));
        let direct = streams.get(DIRECT).and_then(Option::as_ref);
        Self {
            time: Timestamp::now(),
            cores: thread::available_parallelism().map_or(0, usize::from),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            settings,
            load: legs.iter().enumerate().map(|(position, leg)| Load::of(leg, position, rounds)).collect(),
            streams: timed.map(|(leg, timing)| Streams::of(leg, timing, direct.unwrap_or(timing))).collect(),
            evidence,
        }
    }

    /// As JSON, to standard output.
    pub(super) fn print_json(&self) -> Result<()> {
        println!("{}", serde_json::to_string_pretty(self)?);
        Ok(())
    }

    /// As tables, to standard output.
    pub(super) fn print(&self) -> Result<()> {
        let Settings { rounds, seconds, connections, .. } = self.settings;
        println!("\n{} cores, Linux {}, {}", self.cores, self.kernel, self.time.strftime("%Y-%m-%d"));
        println!("\nLoad: {connections} connections, medians of {rounds} rounds of {seconds} s");
        println!(
            "{:<14} {:>8} {:>9} {:>8} {:>8} {:>8} {:>10} {:>9} {:>14} {:>9} {:>14}",
            "",
            "calls/s",
            "× direct",
            "× nginx",
            "p50 ms",
            "p99 ms",
            "p50 × dir.",
            "p50 × ngx",
            "CPU s / 1,000",
            "× nginx",
            "conns / 1,000"
        );
        for load in &self.load {
            let or_none =
                |value: Option<f64>, digits| value.map_or("–".to_owned(), |value| format!("{value:.digits$}"));
            println!(
                "{:<14} {:>8.0} {:>9.2} {:>8.2} {:>8.2} {:>8.2} {:>10.2} {:>9.2} {:>14} {:>9} {:>14.2}",
                load.leg,
                load.calls_per_second,
                load.rate_to_direct,
                load.rate_to_nginx,
                load.p50_ms,
                load.p99_ms,
                load.p50_to_direct,
                load.p50_to_nginx,
                or_none(load.cpu_s_per_1000, 3),
                or_none(load.cpu_to_nginx, 2),
                load.connections_per_1000,
            );
        }
        println!("\nStreams: medians in ms, and how much more than direct");
        println!(
            "{:<14} {:>24} {:>24} {:>24} {:>10}",
            "", "first event, connecting", "first event, connected", "each event", "p99"
        );
        for s in &self.streams {
            let pair = |value: f64, over: f64| format!("{value:.2} ({over:+.2})");
            println!(
                "{:<14} {:>24} {:>24} {:>24} {:>10.2}",
                s.leg,
                pair(s.cold_ms, s.cold_over_direct_ms),
                pair(s.warm_ms, s.warm_over_direct_ms),
                pair(s.delay_ms, s.delay_over_direct_ms),
                s.delay_p99_ms,
            );
        }
        println!("\nThe logs are intact and hold every call:");
        for evidence in &self.evidence {
            println!("  {evidence}");
        }
        Ok(())
    }
}

impl Load {
    fn of(leg: &Leg, position: usize, rounds: &[Vec<Sample>]) -> Self {
        let of = |value: fn(&Sample) -> f64| median(rounds.iter().map(|samples| value(&samples[position])));
        let to = |base: usize, value: fn(&Sample) -> f64| {
            median(rounds.iter().map(|samples| value(&samples[position]) / value(&samples[base])))
        };
        let has_proxy = !leg.proxies.is_empty();
        Self {
            leg: leg.name.clone(),
            calls_per_second: of(|sample| sample.rate),
            rate_to_direct: to(DIRECT, |sample| sample.rate),
            rate_to_nginx: to(NGINX, |sample| sample.rate),
            p50_ms: of(|sample| sample.p50_ms),
            p99_ms: of(|sample| sample.p99_ms),
            p50_to_direct: to(DIRECT, |sample| sample.p50_ms),
            p50_to_nginx: to(NGINX, |sample| sample.p50_ms),
            cpu_s_per_1000: has_proxy.then(|| of(Sample::cpu_per_1000)),
            cpu_to_nginx: has_proxy.then(|| to(NGINX, Sample::cpu_per_1000)),
            connections_per_1000: of(Sample::connections_per_1000),
        }
    }
}

impl Streams {
    fn of(leg: &Leg, timing: &Timing, direct: &Timing) -> Self {
        let ms = |values: &[f64]| median(values.iter().map(|us| us / 1e3));
        Self {
            leg: leg.name.clone(),
            cold_ms: ms(&timing.cold),
            warm_ms: ms(&timing.warm),
            delay_ms: ms(&timing.delays),
            delay_p99_ms: percentile(timing.delays.iter().map(|us| us / 1e3), 0.99),
            cold_over_direct_ms: ms(&timing.cold) - ms(&direct.cold),
            warm_over_direct_ms: ms(&timing.warm) - ms(&direct.warm),
            delay_over_direct_ms: ms(&timing.delays) - ms(&direct.delays),
        }
    }
}
