//! The kernel's counters beside the flow records, at one time.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use aws_lc_rs::rand;
use jiff::Timestamp;

use super::{
    super::{Proxy, Shared},
    lock,
    orphans::{Orphans, OrphansError},
    tally_name,
};
use crate::{
    audit::{
        event::{Agent, Counts, EndpointTally, Event, Reconciliation, What, WorkloadTally},
        log::AppendError,
    },
    datapath::{
        Books, CgroupId, CgroupPath, EndpointCounts, EndpointIndex, FlowsInHand, MapsError, RegisterError,
        WorkloadCounts,
    },
};

/// How often the connections are tallied, if any of the numbers changed.
const EVERY: Duration = Duration::from_secs(60);
/// A tally that was disturbed is taken again, this often at most.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(25);
/// Most workloads listed for one endpoint.
const WORKLOADS: usize = 32;

/// Why the books could not be opened or closed.
#[derive(Debug, thiserror::Error)]
pub enum TallyError {
    /// The counters could not be used.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// Other agents could not be looked for.
    #[error(transparent)]
    Agents(#[from] RegisterError),
    /// An earlier agent's flows could not be accounted for.
    #[error(transparent)]
    Orphans(#[from] OrphansError),
    /// The tally could not be recorded.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The tally's thread ended.
    #[error("the tally was given up: {0}")]
    Ended(#[from] tokio::task::JoinError),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers to name the kernel's counters with")]
    Random,
}

impl Proxy {
    /// Accounts for what an earlier agent left, closes its books under the endpoints that it counted, and opens this one's. To
    /// be called before anything is accepted. `alone` is whether no other agent was alive at the registration.
    ///
    /// # Errors
    /// [`TallyError`].
    pub async fn open_books(&self, alone: bool) -> Result<(), TallyError> {
        let shared = &self.shared;
        let books = shared.datapath.books()?;
        if alone {
            let orphans = shared.settle_orphans(Orphans::All, &books.names).await?;
            if orphans > 0 {
                tracing::warn!(flows = orphans, "flows of an agent that ended without a word are accounted for");
            }
        }
        let id = match books.id {
            Some(id) => id,
            None => random_id()?,
        };
        let own = shared.ledger.books(id);
        let opens = books != own;
        // Beside another agent it would not be settled, and connections wait.
        if books.id.is_some() && alone {
            shared.record_tally(books, false, ATTEMPTS).await?;
        }
        if opens {
            shared.datapath.set_books(&own)?;
            shared.record_tally(own, true, if alone { ATTEMPTS } else { 1 }).await?;
        }
        Ok(())
    }

    /// Tallies now and then, until the drain.
    pub fn start_tallies(&self) {
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(EVERY) => {}
                    () = shared.drain.started() => return,
                }
                if let Err(error) = shared.keep_books(Orphans::Old).await {
                    tracing::error!(%error, "connections could not be tallied");
                }
            }
        });
    }

    /// Accounts for what was never accepted, and tallies for the last time. To be called when the drain is over.
    ///
    /// # Errors
    /// [`TallyError`].
    pub async fn close_books(&self) -> Result<(), TallyError> {
        self.shared.keep_books(Orphans::All).await
    }

    /// The connections as they are now.
    ///
    /// # Errors
    /// [`TallyError`].
    pub async fn tally(&self) -> Result<Reconciliation, TallyError> {
        self.shared.tally(self.shared.datapath.books()?, false, 1).await
    }
}

impl Shared {
    async fn keep_books(self: &Arc<Self>, which: Orphans) -> Result<(), TallyError> {
        if self.datapath.is_only_agent(&self.cgroups)? {
            self.settle_orphans(which, &self.ledger.names).await?;
        }
        self.record_tally(self.datapath.books()?, false, ATTEMPTS).await?;
        Ok(self.datapath.forget_gone_workloads(&self.cgroups)?)
    }

    async fn record_tally(self: &Arc<Self>, books: Books, opens: bool, attempts: u32) -> Result<(), TallyError> {
        let tally = self.tally(books, opens, attempts).await?;
        let before = lock(&self.ledger.last).clone();
        if before.as_ref() == Some(&tally) {
            return Ok(());
        }
        let stopped = before.filter(|_| !opens).and_then(|before| tally.stopped_since(&before));
        let what = What::Agent(Agent::Tally(Box::new(Reconciliation { stopped, ..tally.clone() })));
        self.log.append(Event { time: Timestamp::now(), what }).await?;
        *lock(&self.ledger.last) = Some(tally);
        Ok(())
    }

    /// Takes the numbers until nothing moved meanwhile, or as often as allowed.
    async fn tally(self: &Arc<Self>, books: Books, opens: bool, attempts: u32) -> Result<Reconciliation, TallyError> {
        let mut attempt = 1;
        loop {
            // Listing flows is many system calls.
            let (shared, names) = (Arc::clone(self), books.names.clone());
            let taken = tokio::task::spawn_blocking(move || shared.take_numbers(&names)).await??;
            if taken.settled || attempt >= attempts {
                let Taken { settled, epoch, endpoints } = taken;
                let counters = format!("{:016x}", books.id.unwrap_or_default());
                return Ok(Reconciliation { counters, epoch, opens, settled, stopped: None, endpoints });
            }
            attempt += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn take_numbers(&self, names: &[String]) -> Result<Taken, TallyError> {
        // What another agent has in hand is recorded here, and forgotten there.
        let alone = self.datapath.is_only_agent(&self.cgroups)?;
        let before = self.numbers(names.len())?;
        let epoch = self.log.status().epoch;
        let in_hand = self.datapath.flows_in_hand()?;
        let after = self.numbers(names.len())?;
        let settled = alone && in_hand.is_some() && after.confirms(&before);
        let FlowsInHand { endpoints: open } = in_hand.unwrap_or_default();
        // A break-down, which nothing is held against: it need not be of the same moment.
        let workloads = self.datapath.workload_counts()?;
        let tally = |(endpoint, counts): (EndpointIndex, EndpointCounts)| {
            let name = tally_name(names, endpoint);
            let (listed, left_out) = self.busiest(endpoint, &workloads);
            EndpointTally {
                counts: counts_of(&counts),
                flows_open: open.iter().filter(|open| **open == endpoint).count() as u64,
                flows_closed: after.closed.get(&name).copied().unwrap_or_default(),
                workloads: listed,
                workloads_left_out: left_out,
                endpoint: name,
            }
        };
        Ok(Taken { settled, epoch, endpoints: after.kernel.into_iter().map(tally).collect() })
    }

    fn numbers(&self, endpoints: usize) -> Result<Numbers, MapsError> {
        // In this order: a flow that is being recorded while the others are read is noticed before or after.
        let recording = self.ledger.recording.load(Ordering::SeqCst);
        let closed = self.log.flows_closed();
        let indexes =
            std::iter::once(EndpointIndex::UNREGISTERED).chain((0..endpoints).filter_map(EndpointIndex::of_endpoint));
        let kernel =
            indexes.map(|index| Ok((index, self.datapath.counts(index)?))).collect::<Result<_, MapsError>>()?;
        Ok(Numbers { recording, closed, kernel })
    }

    /// The workloads with the most attempts at an endpoint, and how many more there are.
    fn busiest(&self, endpoint: EndpointIndex, workloads: &[WorkloadCounts]) -> (Vec<WorkloadTally>, u64) {
        let mut of_it: Vec<_> = workloads.iter().filter(|workload| workload.endpoint == endpoint).collect();
        of_it.sort_by_key(|workload| (std::cmp::Reverse(workload.counts.seen), workload.cgroup));
        let left_out = of_it.len().saturating_sub(WORKLOADS) as u64;
        let tally = |workload: &WorkloadCounts| WorkloadTally {
            cgroup_id: workload.cgroup.0,
            cgroup: self.cgroup_path(workload.cgroup),
            counts: counts_of(&workload.counts),
        };
        (of_it.into_iter().take(WORKLOADS).map(tally).collect(), left_out)
    }

    fn cgroup_path(&self, cgroup: CgroupId) -> Option<String> {
        match self.cgroups.path_of(cgroup) {
            Ok(Some(CgroupPath::Inside(path))) => Some(path),
            _ => None,
        }
    }
}

struct Taken {
    settled: bool,
    epoch: u64,
    endpoints: Vec<EndpointTally>,
}

/// What is read before and after flows are listed.
struct Numbers {
    recording: u64,
    closed: BTreeMap<String, u64>,
    kernel: Vec<(EndpointIndex, EndpointCounts)>,
}

impl Numbers {
    /// Whether no flow began or ended in between. Attempts that were denied or dropped are no flows: whoever keeps making them
    /// cannot keep a tally from settling.
    fn confirms(&self, before: &Self) -> bool {
        let is_still = [self, before].iter().all(|numbers| numbers.recording == 0) && self.closed == before.closed;
        is_still && self.flows().eq(before.flows()) && self.kernel.iter().all(|(_, counts)| counts.is_whole())
    }

    fn flows(&self) -> impl Iterator<Item = [u64; 3]> {
        self.kernel
            .iter()
            .map(|(_, EndpointCounts { redirected, arrived, refused, .. })| [*redirected, *arrived, *refused])
    }
}

fn counts_of(counts: &EndpointCounts) -> Counts {
    let EndpointCounts { seen, redirected, denied, guarded, failed_open, arrived: _, refused } = *counts;
    Counts { seen, redirected, denied, guarded, failed_open, refused_before_accept: refused }
}

fn random_id() -> Result<u64, TallyError> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_| TallyError::Random)?;
    // 0 stands for none.
    Ok(u64::from_ne_bytes(bytes) | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(change: impl FnOnce(&mut EndpointCounts)) -> Numbers {
        let mut counts = EndpointCounts { seen: 5, redirected: 3, denied: 2, arrived: 3, ..EndpointCounts::default() };
        change(&mut counts);
        let closed = BTreeMap::from([("billing".to_owned(), 2)]);
        Numbers { recording: 0, closed, kernel: vec![(EndpointIndex::UNREGISTERED, counts)] }
    }

    #[test]
    fn only_flows_that_begin_or_end_disturb_a_tally() {
        let before = numbers(|_| {});
        assert!(numbers(|_| {}).confirms(&before));
        assert!(numbers(|counts| (counts.seen, counts.denied) = (9, 6)).confirms(&before), "denied attempts");
        assert!(!numbers(|counts| counts.denied = 6).confirms(&before), "torn");
        assert!(!numbers(|counts| (counts.seen, counts.redirected) = (6, 4)).confirms(&before), "a flow began");
        assert!(!numbers(|counts| counts.refused = 1).confirms(&before), "one ended early");
        assert!(!Numbers { recording: 1, ..numbers(|_| {}) }.confirms(&before), "one is being forgotten");
        let closed = BTreeMap::from([("billing".to_owned(), 3)]);
        assert!(!Numbers { closed, ..numbers(|_| {}) }.confirms(&before), "one was recorded");
    }
}
