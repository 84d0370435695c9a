//! Which cgroups are intercepted.

use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_get_current_ancestor_cgroup_id, bpf_get_current_cgroup_id, bpf_skb_ancestor_cgroup_id},
    },
    programs::SkBuffContext,
};
use weir_ebpf::{Agent, MAX_CGROUP_LEVEL, ScopeRule};

use crate::maps::{AGENTS, SCOPE};

/// Whether the current task is a running agent.
#[inline(always)]
pub(crate) fn task_is_agent() -> bool {
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    unsafe { AGENTS.get(&Agent { cgroup, tgid, reserved: 0 }) }.is_some()
}

/// Whether the current task is in scope.
#[inline(always)]
pub(crate) fn task_in_scope() -> bool {
    deepest_rule_includes(|level| unsafe { bpf_get_current_ancestor_cgroup_id(level) })
}

/// Whether the cgroup where a packet's socket was created is in scope.
#[inline(always)]
pub(crate) fn socket_in_scope(ctx: &SkBuffContext) -> bool {
    deepest_rule_includes(|level| unsafe { bpf_skb_ancestor_cgroup_id(ctx.skb.skb, level) })
}

/// The deepest rule on a cgroup's path decides. `ancestor` gives the ids on it, from the root on, and 0 beyond its end.
#[inline(always)]
fn deepest_rule_includes(ancestor: impl Fn(i32) -> u64) -> bool {
    let mut included = false;
    for level in 0..=MAX_CGROUP_LEVEL {
        let id = ancestor(level);
        if id == 0 {
            break;
        }
        if let Some(rule) = unsafe { SCOPE.get(&id) } {
            included = *rule == ScopeRule::Include as u32;
        }
    }
    included
}
