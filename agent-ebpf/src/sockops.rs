//! `sock_ops`: hand a flow over to the accepting side, under the only name that it can see, and count every end that it may
//! come to on the way there.
//!
//! A redirected connection is one entry in one map, and whoever takes it out answers for it:
//!
//! | when | from | to |
//! |---|---|---|
//! | the SYN is about to leave | | `PENDING`, counted as redirected |
//! | the listener makes the connection | `PENDING` | `OPEN` and the connection's `ARRIVED`, counted as arrived |
//! | the application's socket closes before that | `PENDING` | counted as refused |
//! | there is no room or memory for the next step | | counted as refused; the agent finds no facts, and closes it |
//! | the agent has recorded its end | `OPEN` | a flow record |

use aya_ebpf::{
    EbpfContext,
    bindings::{
        BPF_NOEXIST, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG,
        BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_TCP_CLOSE, bpf_sock,
    },
    helpers::generated::bpf_get_netns_cookie,
    macros::sock_ops,
    programs::SockOpsContext,
};
use weir_ebpf::{Address, CANARY, Denial, Flow, PendingKey};

use crate::{
    counters::{Outcome, Step, count_denial, count_for, count_step},
    holders::{hold, release},
    maps::{ARRIVED, FLOW, OPEN, PENDING, place, store, unstore},
    origin::place_unknown,
};

const AF_INET: u32 = 2;

#[sock_ops]
pub(crate) fn weir_sock_ops(ctx: SockOpsContext) -> u32 {
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => publish(&ctx),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => arrive(&ctx),
        BPF_SOCK_OPS_STATE_CB => watch(&ctx),
        _ => {}
    }
    1
}

/// Just before the SYN: from here the listener can find the flow.
#[inline(always)]
fn publish(ctx: &SockOpsContext) {
    let Some(flow) = flow_of(ctx) else {
        let sk = socket(ctx);
        if !sk.is_null() {
            place_unknown(sk, unsafe { bpf_get_netns_cookie(ctx.as_ptr()) });
        }
        return;
    };
    count_for(flow.task_cgroup, flow.endpoint, Outcome::Redirected);
    // Of a v4-mapped connection, the IPv6 address is not filled in yet.
    let ends = ends(ctx);
    let source = if flow.destination.is_v4() { Address::v4(ends.local_v4, 0) } else { Address::v6(ends.local_v6, 0) };
    flow.source = Address { port: ctx.local_port(), ..source };
    flow.listener_port = u32::from_be(ctx.remote_port());
    if PENDING.insert(&flow.pending_key(), &*flow, BPF_NOEXIST.into()).is_err() {
        flow.listener_port = 0;
        count_denial(Denial::Unpublished);
        count_step(flow, Step::Refused);
        return;
    }
    hold(flow);
    let _ = ctx.set_cb_flags((ctx.cb_flags() | BPF_SOCK_OPS_STATE_CB_FLAG) as i32);
}

/// The listener has made a connection, which nobody can have accepted yet: its socket is locked.
#[inline(always)]
fn arrive(ctx: &SockOpsContext) {
    let is_v4 = unsafe { (&raw const (*ctx.ops).family).read_volatile() } == AF_INET;
    let ends = ends(ctx);
    let source = if is_v4 { Address::v4(ends.remote_v4, 0) } else { Address::v6(ends.remote_v6, 0) };
    let key = PendingKey {
        netns: unsafe { bpf_get_netns_cookie(ctx.as_ptr()) },
        source_ip: source.ip,
        source_port: u32::from_be(ctx.remote_port()),
        listener_port: ctx.local_port(),
    };
    // Copied: once it is removed, another may be in its place.
    let Some(flow) = unsafe { PENDING.get(&key) }.copied() else { return };
    if PENDING.remove(&key).is_err() {
        return;
    }
    release(&flow);
    let sk = socket(ctx);
    if flow.endpoint == CANARY {
        // Nobody's flow: it is in no books.
        if !sk.is_null() {
            let _ = unsafe { store(&ARRIVED, sk, flow) };
        }
        return;
    }
    if sk.is_null() || unsafe { store(&ARRIVED, sk, flow) }.is_err() {
        count_step(&flow, Step::Refused);
    } else if OPEN.insert(&flow.key(), &flow, BPF_NOEXIST.into()).is_err() {
        unsafe { unstore(&ARRIVED, sk) };
        count_step(&flow, Step::Refused);
    } else {
        count_step(&flow, Step::Arrived);
    }
}

/// The application's socket changes its state: it is watched until its flow has arrived, or never will.
#[inline(always)]
fn watch(ctx: &SockOpsContext) {
    let Some(flow) = flow_of(ctx) else { return };
    if flow.listener_port == 0 {
        return;
    }
    let key = flow.pending_key();
    let is_over = ctx.arg(1) == BPF_TCP_CLOSE;
    if is_over && PENDING.remove(&key).is_ok() {
        release(flow);
        count_step(flow, Step::Refused);
    }
    if is_over || unsafe { PENDING.get(&key) }.is_none() {
        flow.listener_port = 0;
        let _ = ctx.set_cb_flags((ctx.cb_flags() & !BPF_SOCK_OPS_STATE_CB_FLAG) as i32);
    }
}

#[inline(always)]
fn socket(ctx: &SockOpsContext) -> *mut bpf_sock {
    unsafe { (*ctx.ops).__bindgen_anon_2.sk }
}

#[inline(always)]
fn flow_of(ctx: &SockOpsContext) -> Option<&'static mut Flow> {
    let sk = socket(ctx);
    if sk.is_null() {
        return None;
    }
    unsafe { place(&FLOW, sk).as_mut() }
}

struct Ends {
    local_v4: u32,
    local_v6: [u32; 4],
    remote_v4: u32,
    remote_v6: [u32; 4],
}

/// All are read whatever the family, word by word and volatile: the verifier refuses the one load at a chosen offset that the
/// compiler would make of it ("dereference of modified ctx ptr").
#[inline(always)]
fn ends(ctx: &SockOpsContext) -> Ends {
    let ops = ctx.ops;
    let words = |first: *const u32| unsafe {
        [
            first.read_volatile(),
            first.add(1).read_volatile(),
            first.add(2).read_volatile(),
            first.add(3).read_volatile(),
        ]
    };
    unsafe {
        Ends {
            local_v4: (&raw const (*ops).local_ip4).read_volatile(),
            local_v6: words((&raw const (*ops).local_ip6).cast()),
            remote_v4: (&raw const (*ops).remote_ip4).read_volatile(),
            remote_v6: words((&raw const (*ops).remote_ip6).cast()),
        }
    }
}
