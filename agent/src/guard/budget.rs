//! Budgets: calls per session, calls per minute of one tool, calls at once, bytes of a result. Kept in memory, bounded, by
//! endpoint and workload; an agent that starts begins anew.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lru::LruCache;

use super::{
    Finding,
    rate::{Rates, TooFast},
};
use crate::config::{Budget, Permission};

/// Most sessions that are remembered for one endpoint; beyond it the one that was idle longest begins anew.
const SESSIONS: std::num::NonZeroUsize = std::num::NonZeroUsize::new(65_536).expect("not zero");

/// Who calls what.
#[derive(Debug, Clone, Copy)]
pub struct Use<'a> {
    /// The workload's id.
    pub workload: &'a str,
    /// The session, where the server has begun it.
    pub session: Option<&'a str>,
    /// The tool.
    pub tool: &'a str,
}

/// The ledgers of all endpoints that have a budget.
#[derive(Debug, Default)]
pub struct Budgets(HashMap<String, Ledger>);

impl Budgets {
    /// A ledger for each of `(endpoint, budget)` that bounds something.
    pub fn new<'c>(budgets: impl IntoIterator<Item = (&'c str, Budget)>) -> Self {
        let bounded = budgets.into_iter().filter(|(_, budget)| budget.is_any());
        Self(bounded.map(|(name, budget)| (name.to_owned(), Ledger::new(budget))).collect())
    }

    /// An endpoint's ledger, if it has one.
    pub fn of(&self, endpoint: &str) -> Option<&Ledger> {
        self.0.get(endpoint)
    }
}

/// What has been used of one endpoint's budget.
#[derive(Debug)]
pub struct Ledger {
    budget: Budget,
    /// Calls by workload and session.
    sessions: Mutex<LruCache<(String, String), u32>>,
    rates: Option<Rates>,
    /// Calls that wait for their answer, by workload.
    open: Arc<Mutex<HashMap<String, u32>>>,
}

/// One of the places for calls at once, held until the call has its answer.
#[derive(Debug)]
pub struct Place {
    open: Arc<Mutex<HashMap<String, u32>>>,
    workload: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(count) = open.get_mut(&self.workload) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.workload);
            }
        }
    }
}

impl Ledger {
    fn new(budget: Budget) -> Self {
        Self {
            budget,
            sessions: Mutex::new(LruCache::new(SESSIONS)),
            rates: budget.calls_per_minute.and_then(Rates::new),
            open: Arc::default(),
        }
    }

    /// Books one call.
    ///
    /// # Errors
    /// Which budget is used up; nothing is booked then but, where the session's is not used up, the call's rate.
    pub fn book(&self, used: Use<'_>) -> Result<Option<Place>, Finding> {
        let place = self.place(used.workload)?;
        self.check_rate(used)?;
        self.count_in_session(used)?;
        Ok(place)
    }

    /// Whether a result is within its bound.
    ///
    /// # Errors
    /// That it is not.
    pub fn check_result(&self, bytes: usize) -> Result<(), Finding> {
        match self.budget.result_bytes {
            Some(limit) if bytes as u64 > limit => Err(used_up(
                "guard/result-bytes",
                format!("the result has more than {limit} bytes (budget.result_bytes)"),
            )),
            _ => Ok(()),
        }
    }

    fn place(&self, workload: &str) -> Result<Option<Place>, Finding> {
        let Some(limit) = self.budget.concurrent_calls else { return Ok(None) };
        let mut open = lock(&self.open);
        let count = open.entry(workload.to_owned()).or_default();
        if *count >= limit {
            let reason = format!(
                "{limit} calls of this workload wait for their answer (budget.concurrent_calls); try again later"
            );
            return Err(used_up("guard/concurrent-calls", reason));
        }
        *count += 1;
        Ok(Some(Place { open: Arc::clone(&self.open), workload: workload.to_owned() }))
    }

    fn check_rate(&self, used: Use<'_>) -> Result<(), Finding> {
        let Some(rates) = &self.rates else { return Ok(()) };
        rates.check(used.workload, used.tool).map_err(|too_fast| {
            let calls = self.budget.calls_per_minute.unwrap_or_default();
            let reason = match too_fast {
                TooFast::Tool => {
                    format!("the tool was called more than {calls} times a minute (budget.calls_per_minute); slow down")
                }
                TooFast::ManyTools => {
                    "more tools were called within a minute than can be counted (budget.calls_per_minute); call fewer"
                        .into()
                }
            };
            used_up("guard/rate", reason)
        })
    }

    fn count_in_session(&self, used: Use<'_>) -> Result<(), Finding> {
        let Some(limit) = self.budget.calls_per_session else { return Ok(()) };
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (used.workload.to_owned(), used.session.unwrap_or_default().to_owned());
        let calls = sessions.get_or_insert_mut(key, || 0);
        if *calls >= limit {
            let reason = format!("the session has made its {limit} calls (budget.calls_per_session)");
            return Err(used_up("guard/calls-per-session", reason));
        }
        *calls += 1;
        Ok(())
    }
}

fn used_up(policy: &'static str, reason: String) -> Finding {
    Finding { policy, reason, permission: Permission::Deny }
}

fn lock(open: &Mutex<HashMap<String, u32>>) -> MutexGuard<'_, HashMap<String, u32>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Use<'_> = Use { workload: "me", session: Some("s"), tool: "t" };

    fn refused(ledger: &Ledger, used: Use<'_>) -> Option<&'static str> {
        ledger.book(used).err().map(|finding| finding.policy)
    }

    #[test]
    fn a_session_has_so_many_calls() {
        let ledger = Ledger::new(Budget { calls_per_session: Some(2), ..Budget::default() });
        assert_eq!([refused(&ledger, ME), refused(&ledger, ME)], [None, None]);
        assert_eq!(refused(&ledger, ME), Some("guard/calls-per-session"));
        assert_eq!(refused(&ledger, Use { session: Some("other"), ..ME }), None);
        assert_eq!(refused(&ledger, Use { workload: "other", ..ME }), None);
    }

    #[test]
    fn a_rate_is_by_workload_and_tool() {
        let ledger = Ledger::new(Budget { calls_per_minute: Some(3), ..Budget::default() });
        let all: Vec<_> = (0..4).map(|_| refused(&ledger, ME)).collect();
        assert_eq!(all, [None, None, None, Some("guard/rate")]);
        assert_eq!(refused(&ledger, Use { tool: "other", ..ME }), None);
    }

    #[test]
    fn a_place_is_free_again_when_its_call_is_answered() {
        let ledger = Ledger::new(Budget { concurrent_calls: Some(1), ..Budget::default() });
        let place = ledger.book(ME).unwrap();
        assert_eq!(refused(&ledger, ME), Some("guard/concurrent-calls"));
        drop(place);
        assert_eq!(refused(&ledger, ME), None);
        assert!(lock(&ledger.open).is_empty());
    }

    #[test]
    fn what_is_not_bounded_has_no_ledger() {
        let bounded = Budget { result_bytes: Some(1024), ..Budget::default() };
        let budgets = Budgets::new([("a", Budget::default()), ("b", bounded)]);
        assert!(budgets.of("a").is_none());
        let ledger = budgets.of("b").unwrap();
        assert!(ledger.check_result(1024).is_ok() && ledger.check_result(1025).is_err());
        assert_eq!(refused(ledger, ME), None);
    }
}
