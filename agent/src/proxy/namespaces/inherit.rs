//! From one agent to the next: the listeners of every namespace, as descriptors. Whoever holds one may accept; a connection
//! that waits for one waits on.

use std::{
    io,
    net::TcpListener,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use super::{Namespaces, actions::Opened, found::Found};
use crate::datapath::{CgroupId, Datapath, ListenError, Listeners, Member, Netns};

/// A namespace that another agent serves, on its way to this one.
#[derive(Debug)]
pub struct Inherited {
    netns: Netns,
    v4: TcpListener,
    v6: Option<TcpListener>,
    witness: Option<Member>,
}

/// A namespace that this agent serves, as another is told of it.
#[derive(Debug)]
pub struct Lent {
    netns: Netns,
    listeners: Vec<Arc<tokio::net::TcpListener>>,
    witness: Option<Member>,
}

impl Lent {
    /// The namespace's file, then its listeners.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let listeners = self.listeners.iter().map(|listener| listener.as_fd());
        std::iter::once(self.netns.as_fd()).chain(listeners).collect()
    }

    /// The process that vouches for it, and its cgroup; none for the agent's own.
    pub fn witness(&self) -> Option<(u32, u64)> {
        self.witness.map(|Member { pid, cgroup }| (pid, cgroup.0))
    }
}

impl Inherited {
    /// From what [`Lent`] says.
    ///
    /// # Errors
    /// These are not the descriptors of a namespace and one or two listeners.
    pub fn new(descriptors: Vec<OwnedFd>, witness: Option<(u32, u64)>) -> io::Result<Self> {
        let mut descriptors = descriptors.into_iter();
        let (Some(netns), Some(v4), v6, None) =
            (descriptors.next(), descriptors.next(), descriptors.next(), descriptors.next())
        else {
            return Err(io::Error::other("not the descriptors of a namespace and its listeners"));
        };
        let witness = witness.map(|(pid, cgroup)| Member { pid, cgroup: CgroupId(cgroup) });
        Ok(Self { netns: Netns::from_fd(netns)?, v4: v4.into(), v6: v6.map(TcpListener::from), witness })
    }

    /// Publishes the listeners as this agent's.
    pub(super) fn open(self, datapath: &Datapath) -> Result<Opened, ListenError> {
        let Self { netns, v4, v6, witness } = self;
        let listeners: Listeners = datapath.adopt_listeners(v4, v6)?;
        Ok(Opened { netns, listeners, witness })
    }
}

impl Namespaces {
    /// What another agent needs to serve the same namespaces. This one goes on serving them.
    #[must_use]
    pub fn lend(&self) -> Vec<Lent> {
        let found = self.inner.found();
        let lent = found.iter().map(|served| Lent {
            netns: served.netns.clone(),
            listeners: served.listeners.clone(),
            witness: served.witness,
        });
        lent.collect()
    }

    /// Accepts no more, and leaves what is lent to the agent that has it. What was accepted goes on.
    pub fn leave(&self) {
        self.inner.withdrawn.cancel();
        let found = std::mem::replace(&mut *self.inner.found(), Found::closed());
        for served in found.into_served() {
            served.published.leave();
            served.end.cancel();
        }
    }
}
