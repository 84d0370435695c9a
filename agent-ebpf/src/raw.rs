//! Raw IP sockets write their own headers, which `connect` and `sendmsg` never see. By default the scope has none.

use aya_ebpf::programs::SockContext;
use aya_log_ebpf::warn;
use weir_ebpf::Denial;

use crate::{
    counters::count_denial,
    maps::SETTINGS,
    report::is_due,
    scope::{task_in_scope, task_is_agent},
};

const SOCK_RAW: u32 = 3;

/// Whether the socket that is being created is a raw one that the scope may not have. The hook sees IPv4 and IPv6 only.
#[inline(always)]
pub(crate) fn refuses_raw(ctx: &SockContext) -> bool {
    if unsafe { (*ctx.sock).type_ } != SOCK_RAW || SETTINGS.get(0).is_some_and(|settings| settings.allow_raw != 0) {
        return false;
    }
    if task_is_agent() || !task_in_scope() {
        return false;
    }
    count_denial(Denial::RawSocket);
    if is_due() {
        warn!(ctx, "denied: raw socket of protocol {}", unsafe { (*ctx.sock).protocol });
    }
    true
}
