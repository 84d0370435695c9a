//! What is taken or stopped although nobody registered it: with `tcp = "all"`, every TCP connection that can be dialled
//! again from its address, and QUIC, so that clients fall back to TCP.
//!
//! Loopback is taken like any other destination of TCP, and left alone otherwise: what goes there leaves nowhere.
//! IPv6 link-local destinations are not taken: they mean nothing without the interface, which no hook is told.

use aya_ebpf::programs::SkBuffContext;
use weir_ebpf::{Address, ListenerPorts};

use crate::{maps::SETTINGS, packet::Packet};

/// Where HTTP/3 is spoken (RFC 9114 §3.1).
const QUIC_PORT: u32 = 443;

#[inline(always)]
fn takes_all() -> bool {
    SETTINGS.get(0).is_some_and(|settings| settings.take_all != 0)
}

/// Whether a `connect()` of TCP to an unregistered destination is redirected.
#[inline(always)]
pub(crate) fn takes_connection(destination: &Address, listeners: Option<&ListenerPorts>) -> bool {
    takes_all() && !destination.is_link_local_v6() && !listeners.is_some_and(|ports| destination.is_listener_of(ports))
}

/// Whether a datagram to an unregistered destination is refused.
#[inline(always)]
pub(crate) fn refuses_datagram(destination: &Address) -> bool {
    destination.port == QUIC_PORT && takes_all() && !destination.is_loopback()
}

/// Whether a packet to an unregistered destination is stopped: QUIC, or a TCP connection that `connect()` was not asked
/// for, such as another subflow of MPTCP.
#[inline(always)]
pub(crate) fn stops_packet(ctx: &SkBuffContext, packet: &Packet, destination: &Address) -> bool {
    if destination.is_loopback() || destination.is_link_local_v6() || !takes_all() {
        return false;
    }
    if packet.is_tcp() { packet.opens_connection(ctx) } else { destination.port == QUIC_PORT }
}
