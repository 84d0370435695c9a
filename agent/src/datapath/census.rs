//! Which network namespaces hold a process in scope: read from the cgroups, process by process.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::fs::DirEntryExt,
    path::Path,
};

use super::{CgroupError, CgroupId, CgroupTree, NetnsId};

/// The cgroups that are intercepted, as [`Datapath::set_scope`](super::Datapath::set_scope) takes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Subtrees in scope.
    pub include: Vec<CgroupId>,
    /// Subtrees out of scope.
    pub exclude: Vec<CgroupId>,
}

/// Namespaces, each with a process in scope that is in it.
pub type Census = HashMap<NetnsId, Member>;

/// A process in scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its pid here.
    pub pid: u32,
    /// Its cgroup.
    pub cgroup: CgroupId,
}

impl CgroupTree {
    /// Looks at every process in scope. What starts or ends meanwhile may be missed. Takes a few microseconds for each
    /// cgroup and each process, and blocks.
    ///
    /// # Errors
    ///
    /// [`CgroupError`], when a subtree's place cannot be looked up. Cgroups and processes that vanish are no error.
    pub fn census(&self, scope: &Scope) -> Result<Census, CgroupError> {
        let Scope { include, exclude } = scope;
        // Each named cgroup is entered from the list, if it is included, and never on the way down.
        let named: HashSet<u64> = include.iter().chain(exclude).map(|id| id.0).collect();
        let mut census = Census::new();
        for id in include.iter().filter(|id| !exclude.contains(id)) {
            if let Some(dir) = self.dir_of(*id)? {
                walk(&dir, *id, &named, &mut |member| {
                    if let Ok(netns) = NetnsId::of_process(member.pid) {
                        census.entry(netns).or_insert(member);
                    }
                });
            }
        }
        Ok(census)
    }

    /// The processes directly in a cgroup, by their pid here; none when it is gone.
    ///
    /// # Errors
    ///
    /// [`CgroupError::LookUp`].
    pub fn processes_in(&self, id: CgroupId) -> Result<Vec<u32>, CgroupError> {
        let mut pids = self.processes(id)?.unwrap_or_default();
        pids.retain(|pid| *pid != 0);
        Ok(pids)
    }
}

fn walk(dir: &Path, cgroup: CgroupId, named: &HashSet<u64>, visit: &mut impl FnMut(Member)) {
    // A cgroup that cannot be read has just been removed.
    let processes = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    // 0 is one that this pid namespace does not show.
    let pids = processes.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid != 0);
    pids.for_each(|pid| visit(Member { pid, cgroup }));
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.filter_map(io::Result::ok) {
        let is_below = entry.file_type().is_ok_and(|kind| kind.is_dir()) && !named.contains(&entry.ino());
        if is_below {
            walk(&entry.path(), CgroupId(entry.ino()), named, visit);
        }
    }
}
