//! What is: the network namespaces with listeners that the programs redirect to.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Instant};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::desired::Desired;
use crate::datapath::{CgroupId, Member, Netns, NetnsCookie, NetnsId, Published};

/// The served namespaces.
#[derive(Debug, Default)]
pub(super) struct Found {
    served: HashMap<NetnsId, Served>,
    takes_no_more: bool,
}

/// One of them. It stays alive for as long as this, and as its listeners, which `end` closes.
#[derive(Debug)]
pub(super) struct Served {
    /// The namespace.
    pub(super) netns: Netns,
    /// Has the programs redirect there, while it lives.
    pub(super) published: Published,
    /// Its listeners, IPv4 first.
    pub(super) listeners: Vec<Arc<TcpListener>>,
    /// A process in scope that is in there; none for the agent's own namespace, which needs no reason.
    pub(super) witness: Option<Member>,
    /// When it was found.
    pub(super) since: Instant,
    /// Closes the listeners.
    pub(super) end: CancellationToken,
}

/// One of them, as far as what to do is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Which.
    pub(super) id: NetnsId,
    /// See [`Served`].
    pub(super) witness: Option<Member>,
    /// See [`Served`].
    pub(super) since: Instant,
}

impl Found {
    /// Nothing, and nothing more.
    pub(super) fn closed() -> Self {
        Self { served: HashMap::new(), takes_no_more: true }
    }

    /// Adds one, unless it is too late for that.
    pub(super) fn insert(&mut self, id: NetnsId, served: Served) {
        if !self.takes_no_more {
            self.served.insert(id, served);
        }
    }

    /// Takes one away.
    pub(super) fn remove(&mut self, id: NetnsId) -> Option<Served> {
        self.served.remove(&id)
    }

    /// All of them, to look at.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Served> {
        self.served.values()
    }

    /// All of them, to do away with.
    pub(super) fn into_served(self) -> impl Iterator<Item = Served> {
        self.served.into_values()
    }

    /// Whether a namespace is served.
    pub(super) fn contains(&self, id: NetnsId) -> bool {
        self.served.contains_key(&id)
    }

    /// The namespace with this cookie, if it is served.
    pub(super) fn with_cookie(&self, cookie: NetnsCookie) -> Option<(NetnsId, &Served)> {
        let found = self.served.iter().find(|(_, served)| served.published.netns() == cookie);
        found.map(|(id, served)| (*id, served))
    }

    /// How many are served for a process of this cgroup.
    pub(super) fn for_cgroup(&self, cgroup: CgroupId) -> usize {
        let witnesses = self.served.values().filter_map(|served| served.witness);
        witnesses.filter(|witness| witness.cgroup == cgroup).count()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.served.len()
    }

    /// All of them.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let entry = |(&id, &Served { witness, since, .. }): (&NetnsId, &Served)| Entry { id, witness, since };
        self.served.iter().map(entry).collect()
    }

    /// The same, each with its namespace's cookie.
    pub(super) fn cookies_and_entries(&self) -> Vec<(NetnsCookie, Entry)> {
        let cookies = self.served.values().map(|served| served.published.netns());
        cookies.zip(self.entries()).collect()
    }

    /// The namespaces themselves.
    pub(super) fn namespaces(&self) -> Vec<Netns> {
        self.served.values().map(|served| served.netns.clone()).collect()
    }

    /// Every listener, in the order of the cookies, which is that of the namespaces' making.
    pub(super) fn listeners(&self) -> Vec<(NetnsCookie, SocketAddr)> {
        let of = |served: &Served| {
            let cookie = served.published.netns();
            let addresses = served.listeners.iter().filter_map(|listener| listener.local_addr().ok());
            addresses.map(move |address| (cookie, address)).collect::<Vec<_>>()
        };
        let mut listeners: Vec<_> = self.served.values().flat_map(of).collect();
        listeners.sort_by_key(|(cookie, address)| (cookie.0, *address));
        listeners
    }

    /// Those that a census saw have the process that it saw vouch for them.
    pub(super) fn renew_witnesses(&mut self, desired: &Desired) {
        for (id, served) in &mut self.served {
            if let (Some(witness), Some(seen)) = (&mut served.witness, desired.census.get(id)) {
                *witness = *seen;
            }
        }
    }
}
