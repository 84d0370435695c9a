//! What became of each attempt to reach an endpoint, and why what was refused was refused.

use weir_ebpf::{Denial, EndpointCounters, dns::DnsCount};

use crate::maps::{DENIALS, DNS_COUNTS, ENDPOINTS};

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Redirected,
    Denied,
    Guarded,
    /// No agent was alive, and the operator wants that let through.
    FailedOpen,
}

/// Counts one attempt to reach an endpoint: seen, and how it ended.
#[inline(always)]
pub(crate) fn count(endpoint: u32, outcome: Outcome) {
    let Some(counters) = ENDPOINTS.get_ptr_mut(endpoint) else { return };
    // A per-CPU slot: a program is not interrupted by another instance of itself on this CPU.
    let EndpointCounters { seen, redirected, denied, guarded, failed_open } = unsafe { &mut *counters };
    *seen += 1;
    match outcome {
        Outcome::Redirected => *redirected += 1,
        Outcome::Denied => *denied += 1,
        Outcome::Guarded => *guarded += 1,
        Outcome::FailedOpen => *failed_open += 1,
    }
}

/// Counts a reason.
#[inline(always)]
pub(crate) fn count_denial(reason: Denial) {
    if let Some(count) = DENIALS.get_ptr_mut(reason as u32) {
        unsafe { *count += 1 };
    }
}

/// Counts what became of a question or an answer.
#[inline(always)]
pub(crate) fn count_dns(what: DnsCount) {
    if let Some(count) = DNS_COUNTS.get_ptr_mut(what as u32) {
        unsafe { *count += 1 };
    }
}
