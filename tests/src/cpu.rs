//! What this thread has computed for, however many others want its core.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The time that `once` computes for.
pub fn spent<T>(once: impl FnOnce() -> T) -> (Duration, T) {
    let before = thread_time();
    let made = once();
    (thread_time().saturating_sub(before), made)
}

/// The middle of `rounds`, after a tenth as many to warm up.
#[must_use]
pub fn middle(rounds: usize, mut once: impl FnMut()) -> Duration {
    (0..rounds / 10).for_each(|_| once());
    let mut times: Vec<Duration> = (0..rounds).map(|_| spent(&mut once).0).collect();
    times.sort_unstable();
    times.get(rounds / 2).copied().unwrap_or_default()
}

fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or_default(), u32::try_from(now.tv_nsec).unwrap_or_default())
}
