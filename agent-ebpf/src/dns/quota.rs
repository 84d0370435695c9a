//! Who takes how much of the room for what is learnt, and how much each may take.
//!
//! A workload can make as many network namespaces as it likes, and cgroups too where some are delegated to it (as systemd
//! does to users). So room is shared out down the hierarchy, over all namespaces: what is below a cgroup can have half of what
//! its parent can. Nobody can take more than half from who is beside it, whatever it makes below itself.

use super::{Learnt, LearntFrom};

/// Most entries that one cgroup can have learnt from answers in one namespace. An address takes one for each port, and one.
pub const LEARNT_PER_CGROUP: u64 = 2048;

/// Most entries that one namespace can have learnt from answers.
pub const LEARNT_PER_NETNS: u64 = 8192;

/// Most entries in all.
pub const MAX_LEARNT: u32 = 131_072;

/// Most entries from answers; what is left is kept for hosts files.
pub const MAX_ANSWERED: u64 = MAX_LEARNT as u64 / 8 * 7;

/// How many levels of the hierarchy have shares, from the first below the root on. What the last one can have is so little that
/// levels below it need no share of their own.
pub const HOLDERS: usize = 5;

/// How many may have their room taken by one entry.
pub const TAKERS: usize = 3 + HOLDERS;

/// Whose learnt entries are counted.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    /// The namespace's cookie; 0 for all namespaces.
    pub netns: u64,
    /// 0 for all cgroups.
    pub cgroup: u64,
}

impl Quota {
    /// All that was learnt from answers.
    pub const ANSWERED: Self = Self { netns: 0, cgroup: 0 };
}

/// Somebody whose room an entry takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taker {
    /// Who.
    pub quota: Quota,
    /// How many entries it may have.
    pub most: u64,
}

impl Learnt {
    /// One of the [`TAKERS`] of an entry in a namespace, if there are as many. What hosts files say takes nothing from those who
    /// ask but within their own cgroups' shares.
    #[inline(always)]
    #[must_use]
    pub const fn taker(&self, netns: u64, n: usize) -> Option<Taker> {
        let (quota, most) = match n {
            0..=2 if self.from != LearntFrom::Answer as u32 => return None,
            0 => (Quota { netns, cgroup: self.cgroup }, LEARNT_PER_CGROUP),
            1 => (Quota { netns, cgroup: 0 }, LEARNT_PER_NETNS),
            2 => (Quota::ANSWERED, MAX_ANSWERED),
            _ => {
                let level = n - 3;
                if level >= HOLDERS || self.holders[level] == 0 {
                    return None;
                }
                (Quota { netns: 0, cgroup: self.holders[level] }, MAX_LEARNT as u64 >> (level + 1))
            }
        };
        Some(Taker { quota, most })
    }
}
