//! What becomes of every connection that was redirected, so that none goes without a record.
//!
//! The kernel enters a flow as open when its connection is made. Whoever writes the record of its end *claims* it first, so
//! that there is one record; only when that record is in the log is the flow forgotten in the kernel. An agent that dies in
//! between leaves it there, with a note of where in the log its record would be: the next agent looks, and writes what is
//! missing (`orphans`). The kernel's counters and the flows are put side by side now and then, and recorded (`tally`).

mod orphans;
mod share;
mod tally;

use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use uuid::{Builder, Uuid};

pub(crate) use self::share::{Share, Shares};
pub use self::tally::TallyError;
use super::Shared;
use crate::{
    audit::{
        event::{Event, Flow, FlowEnd, Reconciliation, Route, UNREGISTERED, What},
        log::AppendError,
    },
    datapath::{Books, EndpointIndex, FlowFacts, OldConnection, since_boot},
    identity::Workload,
};

/// A record that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger {
    boot_id: String,
    /// The configured endpoints, in their order.
    names: Vec<String>,
    claimed: Mutex<HashSet<Uuid>>,
    /// Flows that are counted as recorded, and are being forgotten.
    recording: AtomicU64,
    shares: Shares,
    last: Mutex<Option<Reconciliation>>,
}

impl Ledger {
    /// Empty. At most `flows` are open at once.
    pub(super) fn new(boot_id: String, names: Vec<String>, flows: usize) -> Self {
        Self {
            boot_id,
            names,
            claimed: Mutex::default(),
            recording: AtomicU64::new(0),
            shares: Shares::new(flows),
            last: Mutex::default(),
        }
    }

    /// Names a flow in every record. The same for every agent that meets the flow.
    pub(super) fn flow_id(&self, facts: &FlowFacts) -> Uuid {
        let name = format!("weir-flow-v1\n{}\n{}\n{}", self.boot_id, facts.cookie.0, facts.connected_at.as_nanos());
        let mut id = [0; 16];
        id.iter_mut().zip(digest(&SHA256, name.as_bytes()).as_ref()).for_each(|(to, from)| *to = *from);
        Builder::from_custom_bytes(id).into_uuid()
    }

    /// Takes it upon the caller to record the flow's end; false if somebody else has.
    pub(super) fn claim(&self, flow: Uuid) -> bool {
        lock(&self.claimed).insert(flow)
    }

    /// A place among the flows of a workload; none when its share is used up.
    pub(super) fn share_of(&self, workload: &Workload) -> Option<Share> {
        self.shares.take(workload)
    }

    fn books(&self, id: u64) -> Books {
        Books { id: Some(id), names: self.names.clone() }
    }
}

/// The name under which an endpoint is tallied.
fn tally_name(names: &[String], endpoint: EndpointIndex) -> String {
    let place = endpoint.place();
    let name = place.and_then(|place| names.get(place)).map(String::as_str);
    name.unwrap_or(UNREGISTERED).to_owned()
}

impl Shared {
    /// Records the end of a flow that was claimed, and forgets it. Tries until the log takes the record or the agent drains;
    /// then the next agent has to.
    pub(super) async fn close_flow(&self, facts: &FlowFacts, mut record: Flow) {
        let endpoint = tally_name(&self.ledger.names, facts.endpoint);
        record.tally = Some(endpoint.clone());
        self.write_end(facts, endpoint, record).await;
    }

    async fn write_end(&self, facts: &FlowFacts, endpoint: String, record: Flow) {
        let flow = record.route.flow_id;
        let event = Event { time: Timestamp::now(), what: What::Flow(Box::new(record)) };
        if let Err(error) = self.datapath.begin_recording(facts, self.log.next_seq()) {
            tracing::error!(%error, %flow, "a flow could not be marked; after a crash it may be recorded twice");
        }
        let receipt = loop {
            match self.log.append(event.clone()).await {
                Ok(receipt) => break receipt,
                Err(error) => {
                    tracing::error!(%error, %flow, "the end of a flow could not be recorded");
                    let is_final = !matches!(error, AppendError::Write(_));
                    let drains = async {
                        tokio::select! {
                            () = tokio::time::sleep(RETRY) => false,
                            () = self.drain.started() => true,
                        }
                    };
                    if is_final || drains.await {
                        return;
                    }
                }
            }
        };
        let _recording = Recording::begin(&self.ledger);
        self.log.count_flow(receipt, &endpoint);
        match self.datapath.settle_flow(facts) {
            Ok(()) => {
                lock(&self.ledger.claimed).remove(&flow);
            }
            Err(error) => tracing::error!(%error, %flow, "a flow stays entered as open"),
        }
    }

    /// Records a flow that was turned away before anything was read from it.
    pub(super) async fn refuse_flow(&self, facts: &FlowFacts, workload: Workload, reason: &str) {
        self.close_flow(facts, unread(self.ledger.flow_id(facts), facts, workload, FlowEnd::Refused, reason)).await;
    }

    /// Records a connection that is older than the agent, and was ended for that.
    pub(super) async fn record_old(&self, old: &OldConnection) {
        let &OldConnection { cgroup, uid, local, peer, endpoint } = old;
        let name = endpoint.place().and_then(|place| self.ledger.names.get(place));
        let flow = Flow {
            workload: self.workloads.of_cgroup(cgroup, uid),
            route: Route { src: local.0, dst: peer.0, hostname: None, flow_id: Uuid::now_v7() },
            endpoint: name.cloned(),
            tally: None,
            end: FlowEnd::Predates,
            reason: Some("older than the agent: ended, so that it is made again through it".to_owned()),
            duration: Duration::ZERO,
            bytes_out: 0,
            bytes_in: 0,
            protocol: "opaque",
            shadow: None,
        };
        let event = Event { time: Timestamp::now(), what: What::Flow(Box::new(flow)) };
        if let Err(error) = self.log.append(event).await {
            tracing::error!(%error, %peer, "the end of an old connection could not be recorded");
        }
    }
}

/// The record of a flow of which nothing was read.
fn unread(flow_id: Uuid, facts: &FlowFacts, workload: Workload, end: FlowEnd, reason: &str) -> Flow {
    Flow {
        workload,
        route: Route { src: facts.client.0, dst: facts.original_dst.0, hostname: None, flow_id },
        endpoint: None,
        tally: None,
        end,
        reason: Some(reason.to_owned()),
        duration: since_boot().saturating_sub(facts.connected_at),
        bytes_out: 0,
        bytes_in: 0,
        protocol: "opaque",
        shadow: None,
    }
}

/// While this lives, a flow is both open and closed.
struct Recording<'a>(&'a Ledger);

impl<'a> Recording<'a> {
    fn begin(ledger: &'a Ledger) -> Self {
        ledger.recording.fetch_add(1, Ordering::SeqCst);
        Self(ledger)
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        self.0.recording.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A panic elsewhere leaves none of these half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
