//! Which cgroups are intercepted.

use aya_ebpf::helpers::generated::bpf_get_current_ancestor_cgroup_id;
use weir_ebpf::{MAX_CGROUP_LEVEL, ScopeRule};

use crate::maps::SCOPE;

/// Whether the current task is in scope: the deepest rule on its cgroup's path decides.
#[inline(always)]
pub(crate) fn task_in_scope() -> bool {
    let mut included = false;
    for level in 0..=MAX_CGROUP_LEVEL {
        let id = unsafe { bpf_get_current_ancestor_cgroup_id(level) };
        if id == 0 {
            break;
        }
        if let Some(rule) = unsafe { SCOPE.get(&id) } {
            included = *rule == ScopeRule::Include as u32;
        }
    }
    included
}
