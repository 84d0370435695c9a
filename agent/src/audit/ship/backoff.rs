//! How long to wait before the next attempt: exponential with full jitter, so that hosts which failed together do not come back
//! together.

use std::time::Duration;

use aws_lc_rs::rand;

/// The first wait is at most this long.
const FIRST: Duration = Duration::from_millis(100);
/// No wait is longer: after an outage of hours, records flow again within this.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);

/// Counts attempts that brought nothing.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The next wait: anything from nothing to a bound that doubles each time.
    pub(crate) fn next(&mut self) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.attempts.min(16)).min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        bound.mul_f64(random())
    }

    /// Something arrived: begin anew.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// Evenly from 0 to 1; without random bytes, 1: the longest wait is the safe one.
fn random() -> f64 {
    let mut bytes = [0; 4];
    rand::fill(&mut bytes).map_or(1.0, |()| f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_differ() {
        let mut backoff = Backoff::default();
        for attempt in 0..64 {
            let bound = FIRST * 2_u32.pow(attempt.min(9));
            assert!(backoff.next() <= bound.min(LONGEST));
        }
        let late: Vec<_> = (0..64).map(|_| backoff.next()).collect();
        assert!(late.iter().any(|wait| *wait < LONGEST / 2) && late.iter().any(|wait| *wait > LONGEST / 2));
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
