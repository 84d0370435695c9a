//! Room for what is learnt: who takes how much of it, and whose has to go where it is short.

use std::collections::HashMap;

use weir_ebpf::dns::{HOLDERS, Learnt, LearntKey, MAX_LEARNT, Quota, TAKERS, Taker};

use super::{CgroupError, CgroupId, CgroupTree};

/// In whose room an address is learnt: a cgroup, and those above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    cgroup: CgroupId,
    holders: [u64; HOLDERS],
}

impl Holder {
    /// Of a cgroup; none if that is gone.
    ///
    /// # Errors
    ///
    /// [`CgroupError`].
    pub fn of(cgroups: &CgroupTree, cgroup: CgroupId) -> Result<Option<Self>, CgroupError> {
        let Some(lineage) = cgroups.lineage(cgroup)? else { return Ok(None) };
        let mut holders = [0; HOLDERS];
        // The first is the root.
        for (holder, ancestor) in holders.iter_mut().zip(lineage.iter().skip(1)) {
            *holder = ancestor.0;
        }
        Ok(Some(Self { cgroup, holders }))
    }

    /// An entry of its own.
    pub(super) fn holding(self, learnt: Learnt) -> Learnt {
        Learnt { cgroup: self.cgroup.0, holders: self.holders, ..learnt }
    }

    /// The cgroup.
    #[must_use]
    pub fn cgroup(&self) -> CgroupId {
        self.cgroup
    }
}

/// Those whose room an entry takes.
pub(super) fn takers(netns: u64, learnt: &Learnt) -> impl Iterator<Item = Taker> {
    (0..TAKERS).filter_map(move |n| learnt.taker(netns, n))
}

/// How much room is taken by whom.
pub(super) struct Room {
    by_taker: HashMap<Quota, u64>,
    by_cgroup: HashMap<u64, u64>,
    entries: u64,
}

impl Room {
    /// Taken by these entries.
    pub(super) fn of<'e>(entries: impl IntoIterator<Item = (&'e LearntKey, &'e Learnt)>) -> Self {
        let mut room = Self { by_taker: HashMap::new(), by_cgroup: HashMap::new(), entries: 0 };
        for (key, learnt) in entries {
            room.entries += 1;
            *room.by_cgroup.entry(learnt.cgroup).or_default() += 1;
            for Taker { quota, .. } in takers(key.netns, learnt) {
                *room.by_taker.entry(quota).or_default() += 1;
            }
        }
        room
    }

    /// Whether more than half of all room is taken.
    pub(super) fn is_crowded(&self) -> bool {
        self.entries > u64::from(MAX_LEARNT) / 2
    }

    /// Whether others may want an entry's room: more than half of somebody's is taken whose room it takes. Where more than half
    /// of all is, that only counts against cgroups that have taken as much as the average or more: what a crowd takes is not to
    /// cost the others theirs.
    pub(super) fn is_scarce(&self, key: &LearntKey, learnt: &Learnt) -> bool {
        let of_cgroup = self.by_cgroup.get(&learnt.cgroup).copied().unwrap_or_default();
        let is_in_crowd = self.is_crowded() && of_cgroup * self.by_cgroup.len() as u64 >= self.entries;
        let is_short = |Taker { quota, most }| {
            quota != Quota::ANSWERED && self.by_taker.get(&quota).is_some_and(|taken| *taken > most / 2)
        };
        is_in_crowd || takers(key.netns, learnt).any(is_short)
    }

    /// As the programs count.
    pub(super) fn into_quotas(self) -> HashMap<Quota, u64> {
        self.by_taker
    }
}

#[cfg(test)]
mod tests {
    use std::iter::repeat_n;

    use weir_ebpf::dns::LearntFrom;

    use super::*;

    #[test]
    fn where_all_room_is_short_the_crowds_own_goes() {
        let key = LearntKey { netns: 1, ip: [0; 4], port: 0, reserved: 0 };
        // Nobody's share is touched: the root's own.
        let of = |cgroup| Learnt {
            until_ns: 0,
            cgroup,
            holders: [0; HOLDERS],
            name: 0,
            pattern: 0,
            endpoint: 0,
            from: LearntFrom::HostsFile as u32,
            several: 0,
            len: 0,
            text: [0; 256],
        };
        let (crowd, other) = (of(1), of(2));
        let room = |of_crowd| Room::of(repeat_n((&key, &crowd), of_crowd).chain(repeat_n((&key, &other), 6000)));
        let scarce = |room: &Room| [&crowd, &other].map(|learnt| room.is_scarce(&key, learnt));
        assert_eq!(scarce(&room(50_000)), [false, false]);
        assert_eq!(scarce(&room(60_000)), [true, false]);
    }
}
