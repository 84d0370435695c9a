//! Streams: when their events arrive.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{
    Bench,
    leg::{Leg, STREAM_PORT},
};

/// The legs take turns this many times.
const TURNS: u32 = 5;
/// Events of a short stream, which is for its first event, and the time between them.
const SHORT: (u32, u32) = (3, 10);
/// Long streams per leg and turn.
const LONG_STREAMS: u32 = 1;
/// Events of a long stream, which lasts for three seconds, and the time between them.
const LONG: (u32, u32) = (30, 100);

/// What one leg's streams did, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Timing {
    /// From before the connection to the first event.
    pub(super) cold: Vec<f64>,
    /// From the call, on an open connection, to the first event.
    pub(super) warm: Vec<f64>,
    /// From an event's sending to its arrival, in long streams.
    pub(super) delays: Vec<f64>,
}

/// A line of `first_event`.
#[derive(Debug, Deserialize)]
struct Line {
    cold_us: f64,
    warm_us: f64,
    delays_us: Vec<f64>,
}

/// One timing per leg; `None` where the leg carries no streams.
pub(super) fn measure(bench: &Bench<'_>, legs: &[Leg]) -> Result<Vec<Option<Timing>>> {
    let mut timings: Vec<_> = legs.iter().map(|leg| leg.carries_streams().then(Timing::default)).collect();
    let per_turn = bench.settings.streams.div_ceil(TURNS);
    for turn in 1..=TURNS {
        eprintln!("  streams, turn {turn} of {TURNS}");
        for (leg, timing) in legs.iter().zip(&mut timings) {
            let Some(timing) = timing else { continue };
            for line in run(bench, leg, per_turn, SHORT)? {
                timing.cold.push(line.cold_us);
                timing.warm.push(line.warm_us);
            }
            timing.delays.extend(run(bench, leg, LONG_STREAMS, LONG)?.into_iter().flat_map(|line| line.delays_us));
        }
    }
    Ok(timings)
}

fn run(bench: &Bench<'_>, leg: &Leg, streams: u32, (events, gap_ms): (u32, u32)) -> Result<Vec<Line>> {
    let mut client = Command::new(bench.stage.program("first_event"));
    client.arg(STREAM_PORT.to_string()).arg(&leg.trusted);
    client.args([streams, events, gap_ms].map(|number| number.to_string()));
    let lasts = Duration::from_millis(u64::from(streams) * u64::from(events) * u64::from(gap_ms));
    let output = bench.run_client("stream client", leg.place(client), lasts * 2 + Duration::from_secs(30))?;
    output.lines().map(|line| serde_json::from_str(line).with_context(|| format!("{}: {line}", leg.name))).collect()
}
