//! `cgroup_skb/egress`: the last look at every packet. Nothing leaves the scope for a registered address unless an agent
//! sent it, whatever way it took here: a connection older than the agent, a connected datagram socket, another subflow of
//! MPTCP, a raw socket, an address that was translated on the way.

use core::ptr;

use aya_ebpf::{
    bindings::bpf_sock,
    helpers::generated::{bpf_sk_fullsock, bpf_skb_cgroup_id},
    macros::cgroup_skb,
    programs::SkBuffContext,
};
use aya_log_ebpf::warn;
use weir_ebpf::Origin;

use crate::{
    counters::{Outcome, count},
    destinations,
    heartbeat::{count_open, is_counted, is_open},
    maps::{AGENT_CGROUPS, ORIGIN, stored},
    packet::Packet,
    report::is_due,
    scope::socket_in_scope,
};

/// The sender of a datagram gets `EPERM`; TCP tries again until it times out.
const DROP: i32 = 0;
const PASS: i32 = 1;

#[cgroup_skb(egress)]
pub(crate) fn weir_guard(ctx: SkBuffContext) -> i32 {
    let Some(packet) = Packet::read(&ctx) else { return PASS };
    let origin = origin_of(&ctx);
    let netns = origin.map_or(destinations::UNKNOWN_NETNS, |origin| origin.netns);
    let Some(endpoint) = endpoint_of(&ctx, &packet, netns) else { return PASS };
    let cgroup = unsafe { bpf_skb_cgroup_id(ctx.skb.skb) };
    if unsafe { AGENT_CGROUPS.get(&cgroup) }.is_some() {
        return PASS;
    }
    // A reset brings a server nothing but the news that a connection is over.
    let mark = origin.map_or(0, |origin| origin.in_scope);
    if mark == 0 && !socket_in_scope(&ctx) || packet.is_bare_reset(&ctx) {
        return PASS;
    }
    if is_open() {
        if !is_counted(mark) {
            count_open(endpoint);
        }
        return PASS;
    }
    count(endpoint, Outcome::Guarded);
    if is_due() {
        warn!(&ctx, "guarded: protocol {}, endpoint {}, cgroup {}", packet.protocol, endpoint, cgroup);
    }
    DROP
}

/// The endpoint that a packet goes to. What has no port goes to the address, whatever port is registered there; except ICMP,
/// which hosts need.
#[inline(always)]
fn endpoint_of(ctx: &SkBuffContext, packet: &Packet, netns: u64) -> Option<u32> {
    if let Some(destination) = packet.destination(ctx) {
        return destinations::endpoint_of(netns, &destination);
    }
    if packet.is_icmp() {
        return None;
    }
    destinations::endpoint_at(netns, packet.to)
}

/// What is known of the socket that a packet comes from: where it is, and whether a task in scope made or connected it,
/// whatever cgroup it was made in.
#[inline(always)]
pub(crate) fn origin_of(ctx: &SkBuffContext) -> Option<&'static Origin> {
    let sk = socket_of(ctx);
    if sk.is_null() { None } else { unsafe { stored(&ORIGIN, sk) } }
}

/// The socket that a packet comes from, or goes to; null if there is none.
#[inline(always)]
pub(crate) fn socket_of(ctx: &SkBuffContext) -> *mut bpf_sock {
    let sk = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if sk.is_null() { ptr::null_mut() } else { unsafe { bpf_sk_fullsock(sk) } }
}
