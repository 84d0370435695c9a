//! From what is to what should be: which namespaces to open and to close, and how.

use std::{io, iter, net::TcpListener, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    Inner,
    desired::{self, Desired},
    found::{Entry, Served},
};
use crate::{
    datapath::{Announcement, ListenError, Listeners, Member, Netns, NetnsCookie, NetnsId, Visitor},
    proxy::accept,
};

/// Connections that were redirected before a namespace was withdrawn have arrived by then.
const ARRIVAL: Duration = Duration::from_millis(500);

/// When the task that was announced has gone, as many others of its cgroup are asked for the namespace.
const OTHERS: usize = 64;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Actions {
    /// Namespaces to serve, each with the process that leads there.
    pub(super) open: Vec<(NetnsId, Member)>,
    /// Namespaces to leave.
    pub(super) close: Vec<NetnsId>,
}

impl Actions {
    /// A namespace is left when a census that began after it was found did not see it, and who vouched for it no longer
    /// does: a census looks at processes, and a thread can be in a namespace of its own.
    pub(super) fn between(desired: &Desired, found: &[Entry], vouches: impl Fn(Member, NetnsId) -> bool) -> Self {
        let is_left = |entry: &&Entry| {
            let Entry { id, witness, since } = **entry;
            let unseen = since < desired.began && !desired.census.contains_key(&id);
            unseen && witness.is_some_and(|witness| !vouches(witness, id))
        };
        let is_new = |id: &NetnsId| found.iter().all(|entry| entry.id != *id);
        Self {
            open: desired.census.iter().filter(|(id, _)| is_new(id)).map(|(id, member)| (*id, *member)).collect(),
            close: found.iter().filter(is_left).map(|entry| entry.id).collect(),
        }
    }
}

/// Listeners in a namespace, published but not accepting yet.
#[derive(Debug)]
pub(super) struct Opened {
    /// The namespace.
    pub(super) netns: Netns,
    /// Its listeners.
    pub(super) listeners: Listeners,
    /// The process that led there; none for the agent's own namespace.
    pub(super) witness: Option<Member>,
}

impl Inner {
    /// Opens an announced namespace, if it is still to be found and not served. Blocks.
    ///
    /// # Errors
    /// It was found, and listeners could not be opened.
    pub(super) fn open_announced(
        &self,
        visitor: &Visitor,
        announcement: &Announcement,
    ) -> Result<Option<Opened>, ListenError> {
        let &Announcement { netns, cgroup, tid, tgid, .. } = announcement;
        if let Some(opened) = self.open_of(visitor, Member { pid: tid, cgroup }, netns)? {
            return Ok(Some(opened));
        }
        // Without a cookie nothing tells which of the others would be meant, and each of them is announced for itself.
        let Some(cookie) = netns else { return Ok(None) };
        let others = self.cgroups.processes_in(cgroup).unwrap_or_default();
        for pid in iter::once(tgid).chain(others).take(OTHERS) {
            if let Some(opened) = self.open_of(visitor, Member { pid, cgroup }, Some(cookie))? {
                return Ok(Some(opened));
            }
        }
        self.counters.vanished(cookie);
        Ok(None)
    }

    /// Opens the namespace that a process is in, unless that is served or not the one that is meant. Blocks.
    ///
    /// # Errors
    /// Listeners could not be opened.
    pub(super) fn open_of(
        &self,
        visitor: &Visitor,
        process: Member,
        meant: Option<NetnsCookie>,
    ) -> Result<Option<Opened>, ListenError> {
        let Ok(netns) = Netns::of_process(process.pid) else { return Ok(None) };
        if self.found().contains(netns.id()) {
            return Ok(None);
        }
        match self.shared.datapath.open_announced_listeners(visitor, &netns, meant) {
            Ok(listeners) => Ok(Some(Opened { netns, listeners, witness: Some(process) })),
            Err(ListenError::Another) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Accepts in an opened namespace, from now on.
    ///
    /// # Errors
    /// When there is no room for one more, or the runtime does not take the listeners; they are closed again.
    pub(super) fn serve(&self, opened: Opened) -> io::Result<()> {
        let _accepting_runs_there = self.runtime.enter();
        let Opened { netns, listeners, witness } = opened;
        let permit = Arc::clone(&self.room).try_acquire_owned().map_err(io::Error::other)?;
        let (permit, end, id) = (Arc::new(permit), CancellationToken::new(), netns.id());
        let Listeners { published, v4, v6 } = listeners;
        let accept = |listener: TcpListener| {
            let listener = accept::adopt(listener)?;
            let (netns, cookie) = (netns.clone(), published.netns());
            let place = accept::Place { netns, cookie, end: end.clone(), _permit: Arc::clone(&permit) };
            Ok((place, Arc::new(listener)))
        };
        let ready = [Some(v4), v6].into_iter().flatten().map(accept).collect::<io::Result<Vec<_>>>()?;
        let listeners = ready.iter().map(|(_, listener)| Arc::clone(listener)).collect();
        for (place, listener) in ready {
            self.shared.tasks.spawn(accept::run(Arc::clone(&self.shared), place, listener));
        }
        self.counters.opened();
        self.shared.names.read_files(&self.runtime, &self.cgroups, published.netns(), id, witness);
        let since = std::time::Instant::now();
        self.found().insert(id, Served { netns, published, listeners, witness, since, end });
        Ok(())
    }

    /// Leaves a namespace: redirects there no more, then closes what keeps it alive. Flows that are open go on.
    pub(super) fn close(&self, id: NetnsId) {
        let Some(Served { published, end, .. }) = self.found().remove(id) else { return };
        let cookie = published.netns();
        drop(published);
        self.counters.closed();
        self.shared.names.forget_files(cookie);
        tracing::info!(netns = cookie.0, "a network namespace has no process in scope any more");
        let _accepting_runs_there = self.runtime.enter();
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(ARRIVAL) => {}
                () = shared.drain.started() => {}
            }
            end.cancel();
            shared.pool.forget(cookie);
        });
    }

    /// Reads the files of every namespace that is served, again.
    pub(super) fn read_files(&self) {
        // Copied: whoever opens a namespace waits for the lock.
        for (netns, Entry { id, witness, .. }) in self.found().cookies_and_entries() {
            self.shared.names.read_files(&self.runtime, &self.cgroups, netns, id, witness);
        }
    }

    /// Takes stock of what is found, and brings it to what is desired.
    pub(super) fn actions(&self, desired: &Desired) -> Actions {
        let entries = {
            let mut found = self.found();
            found.renew_witnesses(desired);
            found.entries()
        };
        Actions::between(desired, &entries, desired::vouches)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::datapath::CgroupId;

    fn member(pid: u32) -> Member {
        Member { pid, cgroup: CgroupId(7) }
    }

    fn entry(inode: u64, witness: Option<u32>, since: Instant) -> Entry {
        Entry { id: NetnsId::new(4, inode), witness: witness.map(member), since }
    }

    fn desired(began: Instant, inodes: &[u64]) -> Desired {
        Desired {
            began,
            took: Duration::ZERO,
            census: inodes.iter().map(|inode| (NetnsId::new(4, *inode), member(100))).collect(),
        }
    }

    #[test]
    fn opens_what_is_new_and_leaves_what_has_gone() {
        let before = Instant::now();
        let began = before + Duration::from_secs(1);
        let found = [entry(1, None, before), entry(2, Some(20), before), entry(3, Some(30), before)];
        let actions = Actions::between(&desired(began, &[3, 4]), &found, |_, _| false);
        assert_eq!(actions, Actions { open: vec![(NetnsId::new(4, 4), member(100))], close: vec![NetnsId::new(4, 2)] });
    }

    #[test]
    fn keeps_what_came_during_the_census_and_what_a_thread_vouches_for() {
        let began = Instant::now();
        let later = began + Duration::from_millis(1);
        let earlier = began.checked_sub(Duration::from_secs(1)).unwrap();
        let found = [entry(2, Some(20), later), entry(3, Some(30), earlier)];
        let actions = Actions::between(&desired(began, &[]), &found, |witness, _| witness.pid == 30);
        assert_eq!(actions, Actions { open: Vec::new(), close: Vec::new() });
    }
}
