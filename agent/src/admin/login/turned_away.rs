//! Attempts to sign in that were hung up on, by user: what is too much to answer is too much to record one by one.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Users who are counted at a time; of further ones, the agent's log alone tells.
const USERS: usize = 64;
/// Time between two summaries.
const EVERY: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct TurnedAway(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    by_user: HashMap<u32, u64>,
    told: Option<Instant>,
}

impl TurnedAway {
    /// Counts an attempt of a user.
    pub(super) fn count(&self, uid: u32) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.by_user.len() < USERS || counts.by_user.contains_key(&uid) {
            *counts.by_user.entry(uid).or_default() += 1;
        }
    }

    /// How many attempts of whom there were since this was last told; nothing before it is time again.
    pub(super) fn due(&self, now: Instant) -> HashMap<u32, u64> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_soon = counts.told.is_some_and(|told| now.saturating_duration_since(told) < EVERY);
        if is_soon || counts.by_user.is_empty() {
            return HashMap::new();
        }
        counts.told = Some(now);
        std::mem::take(&mut counts.by_user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_now_and_then_and_of_so_many_users_at_most() {
        let (turned_away, now) = (TurnedAway::default(), Instant::now());
        assert!(turned_away.due(now).is_empty());
        turned_away.count(1000);
        assert_eq!(turned_away.due(now), HashMap::from([(1000, 1)]), "the first at once");
        for uid in 0..1000 {
            turned_away.count(uid);
            turned_away.count(0);
        }
        assert!(turned_away.due(now + EVERY / 2).is_empty());
        let told = turned_away.due(now + EVERY);
        assert_eq!((told.len(), told[&0]), (USERS, 1001));
        assert!(turned_away.due(now + EVERY * 3).is_empty());
    }
}
