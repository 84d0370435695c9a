//! How much of `PENDING` each cgroup has: one must not be able to take all of it.

use core::ptr;

use aya_ebpf::bindings::BPF_NOEXIST;
use weir_ebpf::{Flow, OTHERS};

use crate::{counters::add, maps::HOLDERS};

/// How many one holder may have. Its value is set when the programs are loaded.
#[unsafe(no_mangle)]
static PENDING_SHARE: u32 = weir_ebpf::PENDING_SHARE;

/// Whose share a cgroup's next flow counts in; none when that is used up.
#[inline(always)]
pub(crate) fn holder_with_room(cgroup: u64) -> Option<u64> {
    let share = unsafe { ptr::read_volatile(&raw const PENDING_SHARE) };
    let holder = if unsafe { HOLDERS.get(&cgroup) }.is_some() || HOLDERS.insert(&cgroup, &0, BPF_NOEXIST.into()).is_ok()
    {
        cgroup
    } else {
        OTHERS
    };
    // The agent has made a place for the others.
    let held = unsafe { HOLDERS.get(&holder) }.copied()?;
    (held < u64::from(share)).then_some(holder)
}

/// The flow is in `PENDING`.
#[inline(always)]
pub(crate) fn hold(flow: &Flow) {
    if let Some(held) = HOLDERS.get_ptr_mut(&flow.holder) {
        add(unsafe { &mut *held }, 1);
    }
}

/// The flow is no longer in `PENDING`.
#[inline(always)]
pub(crate) fn release(flow: &Flow) {
    if let Some(held) = HOLDERS.get_ptr_mut(&flow.holder) {
        add(unsafe { &mut *held }, 1_u64.wrapping_neg());
    }
}
