//! Is the listener that a flow would be sent to the agent's own, and alive? A dead agent's port must not become
//! somebody else's harvest.

use core::mem::zeroed;

use aya_ebpf::{
    EbpfContext,
    bindings::bpf_sock_tuple,
    helpers::generated::{bpf_sk_lookup_tcp, bpf_sk_release},
    programs::SockAddrContext,
};
use weir_ebpf::Address;

use crate::maps::{OWN_LISTENERS, stored};

/// `BPF_F_CURRENT_NETNS`: the namespace of the context's socket.
const CURRENT_NETNS: u64 = u64::MAX;
const TUPLE_V4_LEN: u32 = 12;
const TUPLE_V6_LEN: u32 = 36;

/// Whether an agent's listener answers on `127.0.0.1:port` in the socket's namespace.
#[inline(always)]
pub(crate) fn is_ours_v4(ctx: &SockAddrContext, port: u32) -> bool {
    let mut tuple: bpf_sock_tuple = unsafe { zeroed() };
    let v4 = unsafe { &mut tuple.__bindgen_anon_1.ipv4 };
    v4.saddr = Address::LOOPBACK_V4;
    v4.daddr = Address::LOOPBACK_V4;
    v4.dport = (port as u16).to_be();
    is_ours(ctx, &mut tuple, TUPLE_V4_LEN)
}

/// Whether an agent's listener answers on `[::1]:port` in the socket's namespace.
#[inline(always)]
pub(crate) fn is_ours_v6(ctx: &SockAddrContext, port: u32) -> bool {
    let mut tuple: bpf_sock_tuple = unsafe { zeroed() };
    let v6 = unsafe { &mut tuple.__bindgen_anon_1.ipv6 };
    v6.saddr[3] = Address::LOOPBACK_V6_LAST;
    v6.daddr[3] = Address::LOOPBACK_V6_LAST;
    v6.dport = (port as u16).to_be();
    is_ours(ctx, &mut tuple, TUPLE_V6_LEN)
}

#[inline(always)]
fn is_ours(ctx: &SockAddrContext, tuple: &mut bpf_sock_tuple, len: u32) -> bool {
    let sk = unsafe { bpf_sk_lookup_tcp(ctx.as_ptr(), tuple, len, CURRENT_NETNS, 0) };
    if sk.is_null() {
        return false;
    }
    let ours = unsafe { stored(&OWN_LISTENERS, sk) }.is_some();
    unsafe { bpf_sk_release(sk.cast()) };
    ours
}
