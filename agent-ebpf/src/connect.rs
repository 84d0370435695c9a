//! `cgroup/connect4,6`: redirect or deny what is in scope.
//!
//! The kernel runs these hooks only for a socket that is not connected nor connecting (`__inet_stream_connect`), so a
//! repeated non-blocking `connect()` does not come here. A socket that failed or was disconnected may come again, for
//! another destination: what an earlier round left on it is replaced or removed.

use aya_ebpf::{
    EbpfContext,
    bindings::{BPF_NOEXIST, bpf_sock},
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
        generated::{bpf_get_current_cgroup_id, bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_ktime_get_boot_ns},
    },
    macros::cgroup_sock_addr,
    programs::SockAddrContext,
};
use aya_log_ebpf::{debug, warn};
use weir_ebpf::{Address, CANARY, Denial, Flow, ListenerPorts, PendingKey, UNREGISTERED, dns};

use crate::{
    announce::announce,
    counters::{Outcome, count, count_denial},
    destinations,
    heartbeat::{count_open, is_open, is_stale, mark_counted},
    listener::{is_ours_v4, is_ours_v6},
    maps::{FLOW, LISTENERS, ORIGIN, PENDING, SETTINGS, store, stored, unstore},
    origin::{SOCK_STREAM, adopt},
    scope::{task_in_scope, task_is_agent},
};

const DENY: i32 = 0;
const PASS: i32 = 1;
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
        count_open(endpoint);
        mark_counted(sock(ctx));
        return None;
    }

    let uid_gid = bpf_get_current_uid_gid();
    let flow = Flow {
        cookie: unsafe { bpf_get_socket_cookie(ctx.as_ptr()) },
        netns,
        task_cgroup,
        socket_cgroup: origin.map_or(0, |origin| origin.cgroup),
        boot_ns: unsafe { bpf_ktime_get_boot_ns() },
        destination: *destination,
        endpoint,
        tgid,
        tid: pid_tgid as u32,
        uid: uid_gid as u32,
        gid: (uid_gid >> 32) as u32,
        comm: bpf_get_current_comm().unwrap_or_default(),
    };
    Some(match redirect(ctx, flow, listeners) {
        Ok(port) => {
            count(endpoint, Outcome::Redirected);
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
    let take_all = SETTINGS.get(0).is_some_and(|settings| settings.take_all != 0);
    (take_all && !listeners.is_some_and(|ports| is_listener(destination, ports))).then_some(UNREGISTERED)
}

#[inline(always)]
fn is_listener(destination: &Address, ports: &ListenerPorts) -> bool {
    if destination.is_v4() {
        destination.ip[3] == Address::LOOPBACK_V4 && destination.port == ports.v4
    } else {
        destination.ip[0] == 0
            && destination.ip[1] == 0
            && destination.ip[2] == 0
            && destination.ip[3] == Address::LOOPBACK_V6_LAST
            && destination.port == ports.v6
    }
}

/// The port to redirect to, with the flow remembered on its socket.
#[inline(always)]
fn redirect(ctx: &SockAddrContext, flow: Flow, listeners: Option<&ListenerPorts>) -> Result<u32, Denial> {
    let ports = listeners.ok_or(Denial::NoListener)?;
    let is_v4 = flow.destination.is_v4();
    let port = if is_v4 { ports.v4 } else { ports.v6 };
    if port == 0 {
        return Err(Denial::NoListener);
    }
    let ours = if is_v4 { is_ours_v4(ctx, port) } else { is_ours_v6(ctx, port) };
    if !ours {
        return Err(Denial::DeadListener);
    }
    // It would wait for an `accept()` that may never come.
    if is_stale() {
        return Err(Denial::StaleAgent);
    }
    if !has_room(&flow) {
        return Err(Denial::NoRoom);
    }
    unsafe { store(&FLOW, sock(ctx), flow) }.map_err(|()| Denial::NoRoom)?;
    Ok(port)
}

/// Whether `PENDING` can take one more, shown by doing it. The source port that its key needs is only known when the SYN
/// is about to leave, when it is too late to deny.
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
    true
}
