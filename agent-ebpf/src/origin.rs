//! `cgroup/sock_create`: a socket may be made in one cgroup and connected in another, so its birthplace is remembered: of
//! every kind, since raw sockets and SCTP's pass no other hook before the guard, which has to know their namespace. Raw
//! sockets are refused.

use aya_ebpf::{
    EbpfContext,
    bindings::bpf_sock,
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_current_cgroup_id, bpf_get_netns_cookie},
    },
    macros::cgroup_sock,
    programs::SockContext,
};
use weir_ebpf::Origin;

use crate::{
    announce::announce,
    maps::{LISTENERS, ORIGIN, place, store},
    raw::refuses_raw,
    scope::task_in_scope,
};

/// `SOCK_STREAM`: TCP, and MPTCP.
pub(crate) const SOCK_STREAM: u32 = 1;

#[cgroup_sock(sock_create)]
pub(crate) fn weir_origin(ctx: SockContext) -> i32 {
    if refuses_raw(&ctx) {
        return 0;
    }
    let netns = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    let in_scope = task_in_scope();
    // Of any kind: what looks a name up does so before it connects.
    if in_scope && unsafe { LISTENERS.get(&netns) }.is_none() {
        announce(netns);
    }
    let origin = Origin {
        cgroup: unsafe { bpf_get_current_cgroup_id() },
        netns,
        tgid: (bpf_get_current_pid_tgid() >> 32) as u32,
        in_scope: u32::from(in_scope),
        asks: 0,
        reserved: 0,
    };
    // Without memory the socket's birthplace stays unknown; the connecting task's cgroup still decides.
    let _ = unsafe { store(&ORIGIN, ctx.sock, origin) };
    1
}

/// A task in scope connects a socket that may have been made elsewhere, or asks a server of names through it: from now on, what
/// it sends comes from the scope.
#[inline(always)]
pub(crate) fn adopt(sk: *mut bpf_sock, netns: u64, asks: bool) {
    let known = unsafe { place(&ORIGIN, sk) };
    if known.is_null() {
        let origin = Origin { cgroup: 0, netns, tgid: 0, in_scope: 1, asks: asks.into(), reserved: 0 };
        // Without memory the cgroup where the socket was created decides alone.
        let _ = unsafe { store(&ORIGIN, sk, origin) };
    } else {
        unsafe {
            (*known).in_scope = 1;
            (*known).asks |= u32::from(asks);
        }
    }
}

/// A connection of TCP begins on a socket that the kernel made for itself (another subflow of MPTCP), or that is older than
/// the agent: the guard has to know its namespace.
#[inline(always)]
pub(crate) fn place_unknown(sk: *mut bpf_sock, netns: u64) {
    if unsafe { place(&ORIGIN, sk) }.is_null() {
        let origin = Origin { cgroup: 0, netns, tgid: 0, in_scope: 0, asks: 0, reserved: 0 };
        let _ = unsafe { store(&ORIGIN, sk, origin) };
    }
}
