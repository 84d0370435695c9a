//! Network namespaces that no agent serves yet are announced as early as these hooks can: when a program in scope is
//! executed, when a process in scope makes its first socket, and at the latest when a `connect()` is denied.

use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_current_cgroup_id, bpf_ktime_get_boot_ns},
    },
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use weir_ebpf::{ANY_NETNS, Announcement};

use crate::{
    maps::{ANNOUNCED, ANNOUNCEMENTS, ANNOUNCEMENTS_LOST},
    scope::task_in_scope,
};

/// A namespace is announced at most once in this time: the agent may have missed the process that was named, and the
/// next one is another chance.
const PAUSE_NS: u64 = 20_000_000;

/// An executed program comes before its first instruction, and so before its first socket. Which namespace it is in
/// cannot be read here.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub(crate) fn weir_exec(_ctx: RawTracePointContext) -> i32 {
    if task_in_scope() {
        send(ANY_NETNS, unsafe { bpf_ktime_get_boot_ns() });
    }
    0
}

/// Announces the namespace of the current task's socket.
#[inline(always)]
pub(crate) fn announce(netns: u64) {
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if let Some(last) = unsafe { ANNOUNCED.get(&netns) }
        && now - *last < PAUSE_NS
    {
        return;
    }
    let _ = ANNOUNCED.insert(&netns, &now, 0);
    send(netns, now);
}

#[inline(always)]
fn send(netns: u64, boot_ns: u64) {
    let pid_tgid = bpf_get_current_pid_tgid();
    let announcement = Announcement {
        netns,
        cgroup: unsafe { bpf_get_current_cgroup_id() },
        boot_ns,
        tgid: (pid_tgid >> 32) as u32,
        tid: pid_tgid as u32,
    };
    if ANNOUNCEMENTS.output::<Announcement>(&announcement, 0).is_err()
        && let Some(lost) = ANNOUNCEMENTS_LOST.get_ptr_mut(0)
    {
        unsafe { *lost += 1 };
    }
}
