//! How time grows with length, for tests.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Fails when the time that `make`'s work takes grows faster than its length: an eightfold one may take 32 times as long, where
/// what grows with the square would take 64 times.
pub(super) fn grows_with_length<W: FnMut()>(what: &str, make: impl Fn(usize) -> W) {
    let (short, long) = (8 << 10, 64 << 10);
    let (of_short, of_long) = (least(make(short)), least(make(long)));
    assert!(
        of_long < 32 * of_short.max(Duration::from_micros(50)),
        "{what}: {of_short:?} for {short} bytes, {of_long:?} for {long}"
    );
}

/// The least that some tries cost, in this thread's own time: on a busy machine, others take theirs.
fn least(mut work: impl FnMut()) -> Duration {
    let own_time = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("less than a second"))
    };
    let tries = (0..3).map(|_| {
        let started = own_time();
        work();
        own_time() - started
    });
    tries.min().expect("some tries")
}
