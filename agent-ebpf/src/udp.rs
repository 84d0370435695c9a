//! `cgroup/sendmsg4,6`: datagrams that name their destination. An `EPERM` at once makes QUIC clients fall back to TCP.

use aya_ebpf::{
    EbpfContext, helpers::generated::bpf_get_netns_cookie, macros::cgroup_sock_addr, programs::SockAddrContext,
};
use aya_log_ebpf::warn;
use weir_ebpf::{Address, Denial, dns};

use crate::{
    connect::port,
    counters::{Outcome, count, count_denial},
    destinations,
    heartbeat::{count_open, is_open, mark_counted},
    origin::adopt,
    report::is_due,
    scope::{task_in_scope, task_is_agent},
};

const DENY: i32 = 0;
const PASS: i32 = 1;

/// Sees v4-mapped destinations too.
#[cgroup_sock_addr(sendmsg4)]
pub(crate) fn weir_sendmsg4(ctx: SockAddrContext) -> i32 {
    let destination = Address::v4(unsafe { (*ctx.sock_addr).user_ip4 }, port(&ctx));
    judge(&ctx, &destination)
}

#[cgroup_sock_addr(sendmsg6)]
pub(crate) fn weir_sendmsg6(ctx: SockAddrContext) -> i32 {
    let addr = ctx.sock_addr;
    // Word by word: the verifier refuses a copy of the array out of the context.
    let ip = unsafe { [(*addr).user_ip6[0], (*addr).user_ip6[1], (*addr).user_ip6[2], (*addr).user_ip6[3]] };
    judge(&ctx, &Address::v6(ip, port(&ctx)))
}

/// A socket from the scope that a task elsewhere sends through is left to the guard, which knows sockets.
#[inline(always)]
fn judge(ctx: &SockAddrContext, destination: &Address) -> i32 {
    let netns = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    if destination.port == dns::PORT && task_in_scope() {
        adopt(unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk }, netns, true);
    }
    let Some(endpoint) = destinations::endpoint_of(netns, &destination.connected()) else { return PASS };
    if task_is_agent() || !task_in_scope() {
        return PASS;
    }
    if is_open() {
        count_open(endpoint);
        let sk = unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk };
        adopt(sk, netns, false);
        mark_counted(sk);
        return PASS;
    }
    count(endpoint, Outcome::Denied);
    count_denial(Denial::Datagram);
    if is_due() {
        warn!(ctx, "denied: datagram to endpoint {}", endpoint);
    }
    DENY
}
