//! Which destinations are registered: those that the agent knows for every network namespace, and those that one namespace has
//! learnt by itself, which count nowhere else.

use weir_ebpf::{Address, dns::LearntKey};

use crate::maps::{DESTINATIONS, HOSTS, LEARNT};

/// No namespace has this cookie.
pub(crate) const UNKNOWN_NETNS: u64 = 0;

/// The endpoint that a destination in a namespace belongs to.
#[inline(always)]
pub(crate) fn endpoint_of(netns: u64, destination: &Address) -> Option<u32> {
    if let Some(endpoint) = unsafe { DESTINATIONS.get(destination) } {
        return Some(*endpoint);
    }
    learnt(netns, destination.ip, destination.port)
}

/// One of the endpoints at an address, whatever their ports.
#[inline(always)]
pub(crate) fn endpoint_at(netns: u64, ip: [u32; 4]) -> Option<u32> {
    if let Some(endpoint) = unsafe { HOSTS.get(ip) } {
        return Some(*endpoint);
    }
    learnt(netns, ip, 0)
}

#[inline(always)]
fn learnt(netns: u64, ip: [u32; 4], port: u32) -> Option<u32> {
    if netns == UNKNOWN_NETNS {
        return None;
    }
    unsafe { LEARNT.get(LearntKey { netns, ip, port, reserved: 0 }) }.map(|learnt| learnt.endpoint)
}
