//! What time it is at who checks a signature. Signatures are good for five minutes around their time, and hosts' clocks can be
//! wrong by more. Each endpoint has a clock of its own, which only its server's answers correct, and STS another, by which
//! lifetimes are told: no server can move another's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_smithy_async::time::TimeSource;
use aws_smithy_types::{DateTime, date_time::Format};

/// A clock is not corrected by less, in seconds.
const SKEW: u64 = 60;
/// Nor away from the host's by more: a host this wrong would hardly get so far, since certificates would not verify.
const MOST: u64 = 24 * 3600;

/// The host's clock, corrected by some seconds. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock(Arc<AtomicI64>);

impl Clock {
    /// A clock that shows a time now.
    #[cfg(test)]
    pub(super) fn at(time: SystemTime) -> Self {
        let clock = Self::default();
        let seconds =
            |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
        clock.0.store(seconds(time) - seconds(SystemTime::now()), Ordering::Relaxed);
        clock
    }

    /// Takes over the time in a service's `Date` header (RFC 9110 §6.6.1). False when that changes nothing, because it is the
    /// time already, or more than a day from the host's.
    pub(super) fn correct(&self, date: &str) -> bool {
        let Some(theirs) = DateTime::from_str(date, Format::HttpDate).ok().map(|date| date.secs()) else {
            return false;
        };
        let Ok(ours) = SystemTime::now().duration_since(UNIX_EPOCH) else { return false };
        let offset = theirs.saturating_sub(ours.as_secs().cast_signed());
        if offset.unsigned_abs() > MOST || offset.abs_diff(self.0.load(Ordering::Relaxed)) <= SKEW {
            return false;
        }
        self.0.store(offset, Ordering::Relaxed);
        tracing::warn!(
            seconds = offset,
            "the host's clock is not the server's: requests to it are signed with its own"
        );
        true
    }
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        let offset = self.0.load(Ordering::Relaxed);
        let by = Duration::from_secs(offset.unsigned_abs());
        let now = SystemTime::now();
        if offset < 0 { now.checked_sub(by) } else { now.checked_add(by) }.unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http_date(time: SystemTime) -> String {
        DateTime::from(time).fmt(Format::HttpDate).expect("a date")
    }

    #[test]
    fn a_clock_is_corrected_once_and_back() {
        let clock = Clock::default();
        let hour = Duration::from_secs(3600);
        assert!(!clock.correct(&http_date(SystemTime::now())));
        assert!(!clock.correct("yesterday"));
        for theirs in [SystemTime::now() - hour, SystemTime::now() + hour] {
            assert!(clock.correct(&http_date(theirs)));
            assert!(!clock.correct(&http_date(theirs)), "known already");
            let off = clock.now().duration_since(theirs).unwrap_or_else(|early| early.duration());
            assert!(off < Duration::from_secs(30), "{off:?}");
        }
        assert!(clock.correct(&http_date(SystemTime::now())));
        for absurd in [SystemTime::now() - 25 * hour, SystemTime::now() + 25 * hour, UNIX_EPOCH] {
            assert!(!clock.correct(&http_date(absurd)), "no server can say that it is another day");
        }
    }
}
