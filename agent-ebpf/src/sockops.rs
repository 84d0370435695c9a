//! `sock_ops`: hand a flow over to the accepting side, under the only name that it can see.

use aya_ebpf::{
    bindings::{
        BPF_NOEXIST, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_TCP_CLOSE,
        BPF_TCP_SYN_SENT,
    },
    macros::sock_ops,
    programs::SockOpsContext,
};
use weir_ebpf::{Address, Denial, Flow, PendingKey};

use crate::{
    counters::count_denial,
    maps::{FLOW, PENDING, stored},
};

#[sock_ops]
pub(crate) fn weir_sock_ops(ctx: SockOpsContext) -> u32 {
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => publish(&ctx),
        BPF_SOCK_OPS_STATE_CB => watch(&ctx),
        _ => {}
    }
    1
}

/// Just before the SYN: from here the agent can find the flow, so it is there at every `accept()`.
#[inline(always)]
fn publish(ctx: &SockOpsContext) {
    let Some(flow) = flow_of(ctx) else { return };
    // A flow that is already there under this name was reset before the agent accepted it. It keeps its facts; this one
    // stays without, and is closed at `accept()`.
    if PENDING.insert(key(ctx, flow), flow, BPF_NOEXIST.into()).is_err() {
        count_denial(Denial::Unpublished);
        return;
    }
    let _ = ctx.set_cb_flags((ctx.cb_flags() | BPF_SOCK_OPS_STATE_CB_FLAG) as i32);
}

/// The first change of state after the SYN: either the agent's side has it, or nobody ever will.
#[inline(always)]
fn watch(ctx: &SockOpsContext) {
    let (old, new) = (ctx.arg(0), ctx.arg(1));
    if old != BPF_TCP_SYN_SENT {
        return;
    }
    let _ = ctx.set_cb_flags((ctx.cb_flags() & !BPF_SOCK_OPS_STATE_CB_FLAG) as i32);
    if new == BPF_TCP_CLOSE
        && let Some(flow) = flow_of(ctx)
    {
        let _ = PENDING.remove(key(ctx, flow));
    }
}

#[inline(always)]
fn flow_of(ctx: &SockOpsContext) -> Option<&'static Flow> {
    let sk = unsafe { (*ctx.ops).__bindgen_anon_2.sk };
    if sk.is_null() {
        return None;
    }
    unsafe { stored(&FLOW, sk) }
}

#[inline(always)]
fn key(ctx: &SockOpsContext, flow: &Flow) -> PendingKey {
    let ops = ctx.ops;
    // Both addresses are read whatever the family, word by word and volatile: the verifier refuses the one load at a
    // chosen offset that the compiler would make of it ("dereference of modified ctx ptr").
    let (v4, v6) = unsafe {
        let v4 = (&raw const (*ops).local_ip4).read_volatile();
        let v6 = (&raw const (*ops).local_ip6).cast::<u32>();
        (v4, [v6.read_volatile(), v6.add(1).read_volatile(), v6.add(2).read_volatile(), v6.add(3).read_volatile()])
    };
    // Of a v4-mapped connection, the IPv6 address is not filled in yet.
    let source = if flow.destination.is_v4() { Address::v4(v4, 0) } else { Address::v6(v6, 0) };
    PendingKey {
        netns: flow.netns,
        source_ip: source.ip,
        source_port: ctx.local_port(),
        listener_port: u32::from_be(ctx.remote_port()),
    }
}
