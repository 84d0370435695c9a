//! `cgroup/getpeername4,6`: the application asks whom it is connected to, and is shown the server that it meant.

use aya_ebpf::{bindings::bpf_sock_addr, macros::cgroup_sock_addr, programs::SockAddrContext};
use weir_ebpf::Flow;

use crate::maps::{FLOW, stored};

/// The only value that the kernel takes from these hooks.
const DONE: i32 = 1;

#[cgroup_sock_addr(getpeername4)]
pub(crate) fn weir_peername4(ctx: SockAddrContext) -> i32 {
    let addr = ctx.sock_addr;
    if let Some(flow) = flow_of(addr) {
        unsafe {
            (*addr).user_ip4 = flow.destination.ip[3];
            (*addr).user_port = u32::from((flow.destination.port as u16).to_be());
        }
    }
    DONE
}

#[cgroup_sock_addr(getpeername6)]
pub(crate) fn weir_peername6(ctx: SockAddrContext) -> i32 {
    let addr = ctx.sock_addr;
    if let Some(flow) = flow_of(addr) {
        unsafe {
            (*addr).user_ip6[0] = flow.destination.ip[0];
            (*addr).user_ip6[1] = flow.destination.ip[1];
            (*addr).user_ip6[2] = flow.destination.ip[2];
            (*addr).user_ip6[3] = flow.destination.ip[3];
            (*addr).user_port = u32::from((flow.destination.port as u16).to_be());
        }
    }
    DONE
}

#[inline(always)]
fn flow_of(addr: *mut bpf_sock_addr) -> Option<&'static Flow> {
    unsafe { stored(&FLOW, (*addr).__bindgen_anon_1.sk) }
}
