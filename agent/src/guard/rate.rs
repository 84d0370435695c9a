//! How often each workload calls each tool. What it may remember is bounded by workload and in all, so that nobody's invented
//! names stand in the way of others, nor of what is known.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Most tools of one workload that are remembered at once.
pub(super) const TOOLS: usize = 1024;

/// Most pairs of workload and tool.
pub(super) const PAIRS: usize = 65_536;

/// After so long without a call a tool is as if it had never been called: the quota is by the minute.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// How often all pairs are looked through for those.
const SWEEP: Duration = Duration::from_secs(1);

/// Why a call is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooFast {
    /// Its tool has had its calls.
    Tool,
    /// There is no room to count a tool that was not called within a minute.
    ManyTools,
}

/// The rates of one endpoint.
#[derive(Debug)]
pub(super) struct Rates {
    quota: Quota,
    pairs: Mutex<Pairs>,
}

#[derive(Debug)]
struct Pairs {
    by_workload: HashMap<String, HashMap<String, Pace>>,
    count: usize,
    swept: Instant,
}

/// One workload's calls of one tool.
#[derive(Debug)]
struct Pace {
    limiter: DefaultDirectRateLimiter,
    last: Instant,
}

impl Rates {
    /// As many calls a minute; `None` for none.
    pub(super) fn new(calls_per_minute: u32) -> Option<Self> {
        let quota = Quota::per_minute(NonZeroU32::new(calls_per_minute)?);
        let pairs = Pairs { by_workload: HashMap::new(), count: 0, swept: Instant::now() };
        Some(Self { quota, pairs: Mutex::new(pairs) })
    }

    /// Counts one call.
    ///
    /// # Errors
    /// That it is too much.
    pub(super) fn check(&self, workload: &str, tool: &str) -> Result<(), TooFast> {
        self.check_at(workload, tool, Instant::now())
    }

    fn check_at(&self, workload: &str, tool: &str, now: Instant) -> Result<(), TooFast> {
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pace) = pairs.by_workload.get_mut(workload).and_then(|tools| tools.get_mut(tool)) {
            return pace.count(now);
        }
        if !pairs.has_room(workload, now) {
            return Err(TooFast::ManyTools);
        }
        let mut pace = Pace { limiter: RateLimiter::direct(self.quota), last: now };
        let counted = pace.count(now);
        pairs.count += 1;
        pairs.by_workload.entry(workload.to_owned()).or_default().insert(tool.to_owned(), pace);
        counted
    }
}

impl Pairs {
    /// Whether one more tool of a workload can be remembered; forgets what need not be, to that end.
    fn has_room(&mut self, workload: &str, now: Instant) -> bool {
        let of_workload = self.by_workload.get(workload).map_or(0, HashMap::len);
        if (of_workload >= TOOLS || self.count >= PAIRS) && now.saturating_duration_since(self.swept) >= SWEEP {
            self.sweep(now);
        }
        self.count < PAIRS && self.by_workload.get(workload).is_none_or(|tools| tools.len() < TOOLS)
    }

    fn sweep(&mut self, now: Instant) {
        self.swept = now;
        self.by_workload.retain(|_, tools| {
            tools.retain(|_, pace| now.saturating_duration_since(pace.last) < FORGOTTEN);
            !tools.is_empty()
        });
        self.count = self.by_workload.values().map(HashMap::len).sum();
    }
}

impl Pace {
    fn count(&mut self, now: Instant) -> Result<(), TooFast> {
        self.last = now;
        self.limiter.check().map_err(|_| TooFast::Tool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_has_its_calls_and_others_theirs() {
        let rates = Rates::new(2).unwrap();
        let all: Vec<_> = (0..3).map(|_| rates.check("me", "t")).collect();
        assert_eq!(all, [Ok(()), Ok(()), Err(TooFast::Tool)]);
        assert_eq!((rates.check("me", "u"), rates.check("you", "t")), (Ok(()), Ok(())));
    }

    #[test]
    fn invented_names_stand_in_nobodys_way() {
        let rates = Rates::new(5).unwrap();
        assert_eq!((rates.check("known", "t"), rates.check("me", "t")), (Ok(()), Ok(())));
        let refused = (0..2 * TOOLS).filter(|n| rates.check("me", &n.to_string()).is_err()).count();
        assert_eq!(refused, TOOLS + 1);
        assert_eq!(rates.check("me", "another"), Err(TooFast::ManyTools));
        assert_eq!(
            (rates.check("me", "t"), rates.check("known", "t"), rates.check("new", "t")),
            (Ok(()), Ok(()), Ok(()))
        );
        // A minute later they are forgotten.
        let later = Instant::now() + FORGOTTEN + SWEEP;
        assert_eq!(rates.check_at("me", "another", later), Ok(()));
        assert_eq!(rates.pairs.lock().unwrap().count, 1);
    }

    #[test]
    fn when_all_is_full_what_is_known_goes_on() {
        let rates = Rates::new(5).unwrap();
        for workload in 0..PAIRS / TOOLS {
            for tool in 0..TOOLS {
                assert_eq!(rates.check(&workload.to_string(), &tool.to_string()), Ok(()));
            }
        }
        assert_eq!(rates.check("new", "t"), Err(TooFast::ManyTools));
        assert_eq!(rates.check("7", "7"), Ok(()));
    }
}
