//! Whether an agent is alive, by its own stamp: one that is gone, stopped or starved leaves it to grow old. Then connects are
//! denied, or let through and counted where the operator has chosen so.
//!
//! The stamp alone decides. A listener that does not answer is no proof: whoever is mighty in a network namespace can shut
//! down what listens there, and must not open a way past by it.

use aya_ebpf::{bindings::bpf_sock, helpers::generated::bpf_ktime_get_boot_ns};
use weir_ebpf::{FailedOpen, MAX_SILENCE_NS, NO_HEARTBEAT};

use crate::{
    counters::{Outcome, count},
    maps::{FAILED_OPEN, HEARTBEAT, ORIGIN, SETTINGS, place},
};

/// [`weir_ebpf::Origin::in_scope`] of a socket whose connection was let through and counted.
const COUNTED: u32 = 2;

/// Whether an agent has begun to stamp, and none has done so for too long.
#[inline(always)]
pub(crate) fn is_stale() -> bool {
    let Some(stamp) = HEARTBEAT.get(0) else { return false };
    *stamp != NO_HEARTBEAT && unsafe { bpf_ktime_get_boot_ns() }.saturating_sub(*stamp) > MAX_SILENCE_NS
}

/// Whether what would be redirected or denied is let through.
#[inline(always)]
pub(crate) fn is_open() -> bool {
    SETTINGS.get(0).is_some_and(|settings| settings.fail_open != 0) && is_stale()
}

/// Counts one attempt that is let through.
#[inline(always)]
pub(crate) fn count_open(endpoint: u32) {
    count(endpoint, Outcome::FailedOpen);
    let Some(failed) = FAILED_OPEN.get_ptr_mut(0) else { return };
    let FailedOpen { connections, first_ns, last_ns } = unsafe { &mut *failed };
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if *connections == 0 {
        *first_ns = now;
    }
    *last_ns = now;
    *connections += 1;
}

/// Remembers that a socket's connection was counted: its packets need not be.
#[inline(always)]
pub(crate) fn mark_counted(sk: *mut bpf_sock) {
    let origin = unsafe { place(&ORIGIN, sk) };
    if !origin.is_null() {
        unsafe { (*origin).in_scope = COUNTED };
    }
}

/// Whether a packet's socket was counted.
#[inline(always)]
pub(crate) fn is_counted(in_scope: u32) -> bool {
    in_scope == COUNTED
}
