//! A workload can be refused millions of times a second; what is said of it is bounded. The counters miss nothing.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;

use crate::maps::REPORTED;

/// Each CPU reports at most once in this time.
const INTERVAL_NS: u64 = 100_000_000;

/// Whether this CPU may report again.
#[inline(always)]
pub(crate) fn is_due() -> bool {
    let Some(last) = REPORTED.get_ptr_mut(0) else { return false };
    let now = unsafe { bpf_ktime_get_ns() };
    let due = now.wrapping_sub(unsafe { *last }) >= INTERVAL_NS;
    if due {
        unsafe { *last = now };
    }
    due
}
