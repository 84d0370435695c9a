//! What became of each attempt to reach an endpoint, and why what was refused was refused.
//!
//! The counters are shared by programs that interrupt each other (a system call, a packet), so every addition is atomic.

use core::arch::asm;

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_get_current_cgroup_id};
use weir_ebpf::{CANARY, Denial, EndpointCounters, Flow, WorkloadKey, dns::DnsCount};

use crate::maps::{DENIALS, DNS_COUNTS, ENDPOINTS, WORKLOADS};

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Redirected,
    Denied,
    Guarded,
    /// No agent was alive, and the operator wants that let through.
    FailedOpen,
}

/// What became of a flow that was redirected.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The listener made a connection of it.
    Arrived,
    /// It ended before.
    Refused,
}

/// Not a constant: that would be made on the stack, which `connect` has little of.
static NONE: EndpointCounters =
    EndpointCounters { seen: 0, redirected: 0, denied: 0, guarded: 0, failed_open: 0, arrived: 0, refused: 0 };

/// Counts one attempt of the current task to reach an endpoint: seen, and how it ended.
#[inline(always)]
pub(crate) fn count(endpoint: u32, outcome: Outcome) {
    count_for(unsafe { bpf_get_current_cgroup_id() }, endpoint, outcome);
}

/// The same of any cgroup, where the current task has nothing to do with it.
#[inline(always)]
pub(crate) fn count_for(cgroup: u64, endpoint: u32, outcome: Outcome) {
    in_each(cgroup, endpoint, |counters| {
        let EndpointCounters { seen, redirected, denied, guarded, failed_open, .. } = counters;
        add(seen, 1);
        match outcome {
            Outcome::Redirected => add(redirected, 1),
            Outcome::Denied => add(denied, 1),
            Outcome::Guarded => add(guarded, 1),
            Outcome::FailedOpen => add(failed_open, 1),
        }
    });
}

/// Counts what became of a redirected flow.
#[inline(always)]
pub(crate) fn count_step(flow: &Flow, step: Step) {
    in_each(flow.task_cgroup, flow.endpoint, |counters| match step {
        Step::Arrived => add(&mut counters.arrived, 1),
        Step::Refused => add(&mut counters.refused, 1),
    });
}

/// Counts a reason.
#[inline(always)]
pub(crate) fn count_denial(reason: Denial) {
    if let Some(count) = DENIALS.get_ptr_mut(reason as u32) {
        add(unsafe { &mut *count }, 1);
    }
}

/// Adds to a counter that others add to at the same time.
#[inline(always)]
pub(crate) fn add(counter: &mut u64, amount: u64) {
    // `core` has no atomics for this target. A counter in a map is aligned, as the kernel demands.
    unsafe { asm!("lock *(u64 *)({counter} + 0) += {amount}", counter = in(reg) counter, amount = in(reg) amount) };
}

/// In the endpoint's counters always; in the workload's where there is room for them. Canaries are no endpoint's.
#[inline(always)]
fn in_each(cgroup: u64, endpoint: u32, change: impl Fn(&mut EndpointCounters)) {
    if endpoint == CANARY {
        return;
    }
    if let Some(counters) = ENDPOINTS.get_ptr_mut(endpoint) {
        change(unsafe { &mut *counters });
    }
    let key = WorkloadKey { cgroup, endpoint, reserved: 0 };
    let counters = WORKLOADS.get_ptr_mut(&key).or_else(|| {
        let _ = WORKLOADS.insert(&key, &NONE, BPF_NOEXIST.into());
        WORKLOADS.get_ptr_mut(&key)
    });
    if let Some(counters) = counters {
        change(unsafe { &mut *counters });
    }
}

/// Counts what became of a question or an answer.
#[inline(always)]
pub(crate) fn count_dns(what: DnsCount) {
    if let Some(count) = DNS_COUNTS.get_ptr_mut(what as u32) {
        add(unsafe { &mut *count }, 1);
    }
}
