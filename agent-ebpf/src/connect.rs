//! `cgroup/connect4,6`: redirect or deny what is in scope.
//!
//! The kernel runs these hooks only for a socket that is not connected nor connecting (`__inet_stream_connect`), so a
//! repeated non-blocking `connect()` does not come here. A socket that failed or was disconnected may come again, for
//! another destination: what an earlier round left on it is replaced or removed.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_NOEXIST, bpf_sock},
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        generated::{
            bpf_get_current_cgroup_id, bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_ktime_get_boot_ns,
            bpf_setsockopt,
        },
    },
    macros::cgroup_sock_addr,
    programs::SockAddrContext,
};
use aya_log_ebpf::{debug, warn};
use weir_ebpf::{Address, CANARY, Denial, Flow, FlowKey, ListenerPorts, PendingKey, UNREGISTERED, dns};

use crate::{
    announce::announce,
    counters::{Outcome, count, count_denial},
    destinations,
    heartbeat::{count_open, is_open, is_stale, mark_counted},
    holders::holder_with_room,
    listener::{is_ours_v4, is_ours_v6},
    maps::{FLOW, LISTENERS, OPEN, ORIGIN, PENDING, make_place, stored, unstore},
    origin::{SOCK_STREAM, adopt},
    scope::{task_in_scope, task_is_agent},
    unregistered::takes_connection,
};

const DENY: i32 = 0;
const PASS: i32 = 1;
/// `LOOPBACK_IFINDEX`, include/net/flow.h.
const LOOPBACK_DEVICE: u32 = 1;
// include/uapi/asm-generic/socket.h
const SOL_SOCKET: i32 = 1;
const SO_BINDTOIFINDEX: i32 = 62;
/// Also what MPTCP's first subflow shows.
const IPPROTO_TCP: u32 = 6;

enum Verdict {
    Pass,
    Deny,
    /// To the agent's IPv4 or IPv6 listener on this port, after the destination's family.
    Redirect(u32),
}

#[cgroup_sock_addr(connect4)]
pub(crate) fn weir_connect4(ctx: SockAddrContext) -> i32 {
    let addr = ctx.sock_addr;
    let destination = unsafe { Address::v4((*addr).user_ip4, port(&ctx)) };
    match decide(&ctx, &destination) {
        Verdict::Pass => PASS,
        Verdict::Deny => DENY,
        Verdict::Redirect(port) => {
            unsafe {
                (*addr).user_ip4 = Address::LOOPBACK_V4;
                (*addr).user_port = u32::from((port as u16).to_be());
            }
            PASS
        }
    }
}

#[cgroup_sock_addr(connect6)]
pub(crate) fn weir_connect6(ctx: SockAddrContext) -> i32 {
    let addr = ctx.sock_addr;
    // Word by word: the verifier refuses a copy of the array out of the context.
    let ip = unsafe { [(*addr).user_ip6[0], (*addr).user_ip6[1], (*addr).user_ip6[2], (*addr).user_ip6[3]] };
    let destination = Address::v6(ip, port(&ctx));
    match decide(&ctx, &destination) {
        Verdict::Pass => PASS,
        Verdict::Deny => DENY,
        Verdict::Redirect(port) => {
            unsafe {
                if destination.is_v4() {
                    // Stays v4-mapped: the socket may be bound to an IPv4 address.
                    (*addr).user_ip6[3] = Address::LOOPBACK_V4;
                } else {
                    (*addr).user_ip6[0] = 0;
                    (*addr).user_ip6[1] = 0;
                    (*addr).user_ip6[2] = 0;
                    (*addr).user_ip6[3] = Address::LOOPBACK_V6_LAST;
                }
                (*addr).user_port = u32::from((port as u16).to_be());
            }
            PASS
        }
    }
}

#[inline(always)]
pub(crate) fn port(ctx: &SockAddrContext) -> u32 {
    u32::from(u16::from_be(unsafe { (*ctx.sock_addr).user_port } as u16))
}

#[inline(always)]
fn sock(ctx: &SockAddrContext) -> *mut bpf_sock {
    unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk }
}

#[inline(always)]
fn decide(ctx: &SockAddrContext, destination: &Address) -> Verdict {
    // Of UDP, `connect()` sends nothing: resolvers probe source addresses with it. What is sent then meets the guard.
    if unsafe { (*ctx.sock_addr).type_ != SOCK_STREAM || (*ctx.sock_addr).protocol != IPPROTO_TCP } {
        if task_in_scope() {
            adopt(sock(ctx), unsafe { bpf_get_netns_cookie(ctx.as_ptr()) }, destination.port == dns::PORT);
        }
        return Verdict::Pass;
    }
    match intercept(ctx, destination) {
        Some(verdict) => verdict,
        None => {
            unsafe { unstore(&FLOW, sock(ctx)) };
            Verdict::Pass
        }
    }
}

/// None if the connection is none of ours.
#[inline(always)]
fn intercept(ctx: &SockAddrContext, destination: &Address) -> Option<Verdict> {
    if task_is_agent() {
        return None;
    }
    let netns = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
    let origin = unsafe { stored(&ORIGIN, sock(ctx)) };
    if !origin.is_some_and(|origin| origin.in_scope != 0) {
        if !task_in_scope() && !destination.is_canary() {
            return None;
        }
        adopt(sock(ctx), netns, false);
    }

    let task_cgroup = unsafe { bpf_get_current_cgroup_id() };
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    let listeners = unsafe { LISTENERS.get(&netns) };
    let endpoint = endpoint_of(netns, &destination.connected(), listeners)?;
    if endpoint != CANARY && is_open() {
        count_open(task_cgroup, endpoint);
        mark_counted(sock(ctx));
        return None;
    }

    let remembered = listener_port(ctx, destination, listeners).and_then(|port| {
        let origin = origin.map_or(0, |origin| origin.cgroup);
        remember(ctx, destination, Place { netns, endpoint, task_cgroup, socket_cgroup: origin, pid_tgid })?;
        unbind(ctx)?;
        Ok(port)
    });
    Some(match remembered {
        // Counted when its SYN leaves, by `sock_ops`.
        Ok(port) => {
            debug!(ctx, "redirected: endpoint {}, cgroup {}, tgid {}, port {}", endpoint, task_cgroup, tgid, port);
            Verdict::Redirect(port)
        }
        Err(reason) => {
            count(endpoint, Outcome::Denied);
            count_denial(reason);
            if matches!(reason, Denial::NoListener | Denial::DeadListener) {
                announce(netns);
            }
            warn!(
                ctx,
                "denied: reason {}, endpoint {}, cgroup {}, tgid {}", reason as u32, endpoint, task_cgroup, tgid
            );
            Verdict::Deny
        }
    })
}

/// The endpoint that `destination` belongs to, if it is to be taken.
#[inline(always)]
fn endpoint_of(netns: u64, destination: &Address, listeners: Option<&ListenerPorts>) -> Option<u32> {
    if destination.is_canary() {
        return Some(CANARY);
    }
    if let Some(endpoint) = destinations::endpoint_of(netns, destination) {
        return Some(endpoint);
    }
    takes_connection(destination, listeners).then_some(UNREGISTERED)
}

/// The port to redirect to: an agent listens there, and is alive.
#[inline(always)]
fn listener_port(
    ctx: &SockAddrContext,
    destination: &Address,
    listeners: Option<&ListenerPorts>,
) -> Result<u32, Denial> {
    let ports = listeners.ok_or(Denial::NoListener)?;
    let is_v4 = destination.is_v4();
    let port = if is_v4 { ports.v4 } else { ports.v6 };
    if port == 0 {
        return Err(Denial::NoListener);
    }
    let ours = if is_v4 { is_ours_v4(ctx, port) } else { is_ours_v6(ctx, port) };
    if !ours {
        return Err(Denial::DeadListener);
    }
    // It would wait for an `accept()` that may never come.
    if is_stale() { Err(Denial::StaleAgent) } else { Ok(port) }
}

/// What is known of a flow besides its destination.
struct Place {
    netns: u64,
    endpoint: u32,
    task_cgroup: u64,
    socket_cgroup: u64,
    pid_tgid: u64,
}

/// Leaves the flow on its socket, where `sock_ops` finds it. Written field by field: the stack has no room for the whole.
#[inline(always)]
fn remember(ctx: &SockAddrContext, destination: &Address, place: Place) -> Result<(), Denial> {
    let Place { netns, endpoint, task_cgroup, socket_cgroup, pid_tgid } = place;
    let holder = holder_with_room(task_cgroup).ok_or(Denial::NoRoom)?;
    let flow = unsafe { make_place(&FLOW, sock(ctx)) };
    if flow.is_null() {
        return Err(Denial::NoRoom);
    }
    let uid_gid = bpf_get_current_uid_gid();
    let Flow {
        cookie,
        netns: in_netns,
        task_cgroup: by_cgroup,
        socket_cgroup: from_cgroup,
        boot_ns,
        holder: in_share,
        recording_from,
        destination: to,
        source,
        listener_port,
        endpoint: of_endpoint,
        tgid,
        tid,
        uid,
        gid,
        device,
        mark,
        comm,
    } = unsafe { &mut *flow };
    unsafe {
        *cookie = bpf_get_socket_cookie(ctx.as_ptr());
        *boot_ns = bpf_ktime_get_boot_ns();
    }
    *in_netns = netns;
    *by_cgroup = task_cgroup;
    *from_cgroup = socket_cgroup;
    *in_share = holder;
    *recording_from = 0;
    *to = *destination;
    *source = Address::v6([0; 4], 0);
    *listener_port = 0;
    *of_endpoint = endpoint;
    *tgid = (pid_tgid >> 32) as u32;
    *tid = pid_tgid as u32;
    *uid = uid_gid as u32;
    *gid = (uid_gid >> 32) as u32;
    unsafe {
        *device = (*sock(ctx)).bound_dev_if;
        *mark = (*sock(ctx)).mark;
    }
    *comm = bpf_get_current_comm().unwrap_or_default();
    if !has_room(unsafe { &*flow }) {
        unsafe { unstore(&FLOW, sock(ctx)) };
        return Err(Denial::NoRoom);
    }
    Ok(())
}

/// A socket that is bound to a device does not get to the listener, which is behind the loopback device. The agent's own
/// connection to the server is bound in its place.
#[inline(always)]
fn unbind(ctx: &SockAddrContext) -> Result<(), Denial> {
    let device = unsafe { (*sock(ctx)).bound_dev_if };
    if device == 0 || device == LOOPBACK_DEVICE {
        return Ok(());
    }
    let none: i32 = 0;
    let value = (&raw const none).cast::<c_void>().cast_mut();
    let done = unsafe { bpf_setsockopt(ctx.as_ptr(), SOL_SOCKET, SO_BINDTOIFINDEX, value, size_of::<i32>() as i32) };
    if done == 0 {
        return Ok(());
    }
    // For lack of CAP_NET_RAW: `sock_bindtoindex_locked`, net/core/sock.c.
    unsafe { unstore(&FLOW, sock(ctx)) };
    Err(Denial::BoundDevice)
}

/// Whether the maps that the flow will need can take one more, shown by doing it. The source port that `PENDING`'s key needs
/// is only known when the SYN is about to leave, when it is too late to deny.
#[inline(always)]
fn has_room(flow: &Flow) -> bool {
    let trial = PendingKey {
        netns: 0,
        source_ip: [flow.cookie as u32, (flow.cookie >> 32) as u32, 0, 0],
        source_port: 0,
        listener_port: 0,
    };
    if PENDING.insert(&trial, flow, BPF_NOEXIST.into()).is_err() {
        return false;
    }
    let _ = PENDING.remove(&trial);
    let trial = FlowKey { cookie: flow.cookie, boot_ns: 0 };
    if OPEN.insert(&trial, flow, BPF_NOEXIST.into()).is_err() {
        return false;
    }
    let _ = OPEN.remove(&trial);
    true
}
