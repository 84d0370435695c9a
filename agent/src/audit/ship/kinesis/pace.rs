//! How fast to send to a stream that said "less": a rate that falls by a part when it is throttled and grows by steps when
//! not, until it no longer matters (additive increase, multiplicative decrease).

use std::time::{Duration, Instant};

/// A shard takes 1 MB/s, so this much can always be tried.
const SLOWEST: f64 = 128.0 * 1024.0;
/// A rate above this is none.
const FASTEST: f64 = 64.0 * 1024.0 * 1024.0;
/// What a throttled rate falls to.
const FALL: f64 = 0.7;
/// What an accepted request adds, in bytes per second.
const STEP: f64 = 64.0 * 1024.0;
/// A request holds what the rate allows in this time, so that it does not come all at once.
const SHARE: f64 = 0.25;

/// The rate at which a stream takes bytes.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Bytes per second; `None` as long as nothing was throttled.
    rate: Option<f64>,
    /// When the next request may go.
    next: Option<Instant>,
    /// What was accepted lately, in bytes per second.
    accepted: f64,
    measured: Option<Instant>,
}

impl Pace {
    /// The most that a request may hold, if `most` is the service's limit.
    pub(super) fn request_bytes(&self, most: usize) -> usize {
        self.rate.map_or(most, |rate| most.min((rate * SHARE) as usize))
    }

    /// How long a request of `bytes` has to wait for its turn.
    pub(super) fn turn(&mut self, bytes: usize, now: Instant) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        let turn = self.next.map_or(now, |next| next.max(now));
        self.next = Some(turn + Duration::from_secs_f64(bytes as f64 / rate));
        turn.duration_since(now)
    }

    /// A request was accepted whole.
    pub(super) fn accepted(&mut self, bytes: usize, now: Instant) {
        self.measure(bytes, now);
        self.rate = self.rate.map(|rate| rate + STEP).filter(|rate| *rate < FASTEST);
    }

    /// Of a request only so many bytes were accepted, because it was too much.
    pub(super) fn throttled(&mut self, bytes: usize, now: Instant) {
        self.measure(bytes, now);
        self.rate = Some((self.rate.unwrap_or(self.accepted) * FALL).clamp(SLOWEST, FASTEST));
    }

    fn measure(&mut self, bytes: usize, now: Instant) {
        let since = self.measured.replace(now).map_or(1.0, |before| now.duration_since(before).as_secs_f64());
        let rate = bytes as f64 / since.max(0.001);
        self.accepted = 0.7 * self.accepted + 0.3 * rate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_falls_when_throttled_and_recovers() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        assert_eq!(pace.request_bytes(5 << 20), 5 << 20);
        for _ in 0..20 {
            assert_eq!(pace.turn(5 << 20, now), Duration::ZERO);
            pace.accepted(5 << 20, now);
            now += Duration::from_secs(1);
        }
        pace.throttled(0, now);
        let after_one = pace.rate.unwrap();
        assert!(after_one > SLOWEST && after_one < f64::from(5 << 20), "{after_one}");
        assert!(pace.request_bytes(5 << 20) < 2 << 20);
        for _ in 0..50 {
            pace.throttled(0, now);
        }
        assert_eq!(pace.rate, Some(SLOWEST), "never so slow that it would not be noticed when there is room again");
        let mut accepted = 0;
        while pace.rate.is_some() {
            pace.accepted(1 << 20, now);
            accepted += 1;
        }
        assert!((500..2000).contains(&accepted), "{accepted}");
    }

    #[test]
    fn it_holds_the_rate() {
        let mut pace = Pace { rate: Some(1_000_000.0), ..Pace::default() };
        let began = Instant::now();
        let mut now = began;
        for _ in 0..41 {
            let bytes = pace.request_bytes(5 << 20);
            assert_eq!(bytes, 250_000);
            now += pace.turn(bytes, now);
        }
        assert_eq!(now.duration_since(began).as_secs(), 10);
    }
}
