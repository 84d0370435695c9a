//! Reports of MCP at servers that nobody registered: the first for a workload and destination at once, then at most one an
//! hour with how many flows it stands for. Every flow's own record says it too, so nothing depends on a report.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{
    audit::event::{Action, Event, Shadow, ShadowKind, Sighting, What},
    proxy::{Shared, flow::FlowContext},
};

/// How soon the same is reported again.
const AGAIN: Duration = Duration::from_secs(3600);

/// Most workloads remembered.
const WORKLOADS: usize = 4096;

/// Most destinations remembered of one workload; flows to further ones are not reported, only counted and recorded.
const DESTINATIONS: usize = 64;

/// What was reported, and how much was seen.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    reported: Mutex<HashMap<String, HashMap<Subject, Reported>>>,
    mcp: AtomicU64,
    likely: AtomicU64,
    unreported: AtomicU64,
}

/// A destination, and how sure it is that MCP is spoken there.
type Subject = (String, ShadowKind, Action);

#[derive(Debug)]
struct Reported {
    at: Instant,
    /// Flows since.
    since: u64,
}

/// MCP seen at servers that nobody registered, in flows since the agent's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ShadowStatus {
    /// Seen in clear text.
    pub mcp: u64,
    /// Guessed from the name that TLS was set up for.
    pub likely: u64,
    /// Of both, those without a report of their own: too many destinations of one workload.
    pub unreported: u64,
}

impl Sightings {
    /// Counts one flow; gives how many a report stands for, if one is due.
    fn count(&self, workload: &str, subject: Subject, now: Instant) -> Option<u64> {
        let counter = if subject.1 == ShadowKind::Mcp { &self.mcp } else { &self.likely };
        counter.fetch_add(1, Ordering::Relaxed);
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.len() >= WORKLOADS && !reported.contains_key(workload) {
            reported.retain(|_, subjects| subjects.values().any(|last| now.duration_since(last.at) < AGAIN));
        }
        if reported.len() >= WORKLOADS && !reported.contains_key(workload) {
            self.unreported.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let subjects = reported.entry(workload.to_owned()).or_default();
        if let Some(last) = subjects.get_mut(&subject) {
            last.since += 1;
            if now.duration_since(last.at) < AGAIN {
                return None;
            }
            let count = std::mem::take(&mut last.since);
            last.at = now;
            return Some(count);
        }
        if subjects.len() >= DESTINATIONS {
            subjects.retain(|_, last| now.duration_since(last.at) < AGAIN);
        }
        if subjects.len() >= DESTINATIONS {
            self.unreported.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        subjects.insert(subject, Reported { at: now, since: 0 });
        Some(1)
    }

    /// What was seen.
    pub(crate) fn status(&self) -> ShadowStatus {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ShadowStatus { mcp: load(&self.mcp), likely: load(&self.likely), unreported: load(&self.unreported) }
    }
}

impl Shared {
    /// Notes MCP on a flow, and reports it if that is due.
    pub(super) fn sighted(
        self: &Arc<Self>,
        flow: &FlowContext,
        hostname: Option<String>,
        shadow: &Shadow,
        action: Action,
    ) {
        let destination = match &hostname {
            Some(host) => format!("{host}:{}", flow.dst.0.port()),
            None => flow.dst.to_string(),
        };
        let subject = (destination, shadow.kind, action);
        let Some(count) = self.sightings.count(&flow.workload.id, subject, Instant::now()) else { return };
        let sighting = Sighting {
            workload: flow.workload.clone(),
            route: flow.route(hostname),
            shadow: shadow.clone(),
            action,
            count,
        };
        let event = Event { time: Timestamp::now(), what: What::Sighting(Box::new(sighting)) };
        let shared = Arc::clone(self);
        self.spawn_record(async move { shared.log.append(event).await.map(drop) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(destination: usize) -> Subject {
        (destination.to_string(), ShadowKind::Mcp, Action::Allow)
    }

    #[test]
    fn the_first_is_reported_at_once_and_the_rest_by_the_hour() {
        let (sightings, start) = (Sightings::default(), Instant::now());
        assert_eq!(sightings.count("a", to(1), start), Some(1));
        for _ in 0..9 {
            assert_eq!(sightings.count("a", to(1), start), None);
        }
        assert_eq!(sightings.count("a", to(2), start), Some(1));
        assert_eq!(sightings.count("b", to(1), start), Some(1));
        assert_eq!(sightings.count("a", to(1), start + AGAIN), Some(10));
        assert_eq!(sightings.status().mcp, 13);
    }

    #[test]
    fn one_workload_cannot_take_the_place_of_others() {
        let (sightings, start) = (Sightings::default(), Instant::now());
        let reports = (0..1000).filter_map(|n| sightings.count("flood", to(n), start)).count();
        assert_eq!(reports, DESTINATIONS);
        assert_eq!(sightings.status().unreported, 1000 - DESTINATIONS as u64);
        assert_eq!(sightings.count("other", to(1), start), Some(1));
        assert_eq!(sightings.count("flood", to(5000), start + AGAIN), Some(1), "old ones make room");
    }
}
