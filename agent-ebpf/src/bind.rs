//! `cgroup/bind4,6`: the port of an agent's listener is nobody else's, not even while the agent is down. `connect` would
//! notice a stranger there; this keeps strangers away.

use aya_ebpf::{
    EbpfContext, helpers::generated::bpf_get_netns_cookie, macros::cgroup_sock_addr, programs::SockAddrContext,
};
use aya_log_ebpf::warn;
use weir_ebpf::{Address, Denial};

use crate::{
    connect::port, counters::count_denial, maps::LISTENERS, origin::SOCK_STREAM, report::is_due, scope::task_is_agent,
};

const DENY: i32 = 0;
const PASS: i32 = 1;

#[cgroup_sock_addr(bind4)]
pub(crate) fn weir_bind4(ctx: SockAddrContext) -> i32 {
    let ip = unsafe { (*ctx.sock_addr).user_ip4 };
    judge(&ctx, Address::v4(ip, port(&ctx)))
}

#[cgroup_sock_addr(bind6)]
pub(crate) fn weir_bind6(ctx: SockAddrContext) -> i32 {
    let addr = ctx.sock_addr;
    // Word by word: the verifier refuses a copy of the array out of the context.
    let ip = unsafe { [(*addr).user_ip6[0], (*addr).user_ip6[1], (*addr).user_ip6[2], (*addr).user_ip6[3]] };
    judge(&ctx, Address::v6(ip, port(&ctx)))
}

#[inline(always)]
fn judge(ctx: &SockAddrContext, wanted: Address) -> i32 {
    if unsafe { (*ctx.sock_addr).type_ } != SOCK_STREAM || wanted.port == 0 {
        return PASS;
    }
    let netns = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    let Some(ports) = (unsafe { LISTENERS.get(&netns) }) else { return PASS };
    let reserved = wanted.accepts_at(&Address::v4(Address::LOOPBACK_V4, ports.v4))
        || wanted.accepts_at(&Address::v6([0, 0, 0, Address::LOOPBACK_V6_LAST], ports.v6));
    if !reserved || task_is_agent() {
        return PASS;
    }
    count_denial(Denial::ReservedPort);
    if is_due() {
        warn!(ctx, "denied: bind to the agent's port {}", wanted.port);
    }
    DENY
}
