//! Flows that nobody answers for: their agent died, or their listener went with connections that it had not accepted.

use std::{collections::HashSet, io, path::Path, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use uuid::Uuid;

use super::{super::Shared, tally_name, unread};
use crate::{
    audit::{event::FlowEnd, flows},
    datapath::{MapsError, OpenFlow, since_boot},
};

/// A connection that was not accepted for this long never will be.
const UNACCEPTED: Duration = Duration::from_secs(60);

/// Most records that are on their way to the disk together.
const AT_ONCE: usize = 256;

/// Which flows are taken for orphans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Orphans {
    /// All that are not claimed: nothing accepts.
    All,
    /// Those that are too old to be waiting for `accept()`.
    Old,
}

/// Why orphans could not be looked for.
#[derive(Debug, thiserror::Error)]
pub enum OrphansError {
    /// The flows could not be listed.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// The log could not be searched for their records.
    #[error("cannot search the audit log for flows that an earlier agent recorded: {0}")]
    Log(#[from] io::Error),
}

impl Shared {
    /// Records the end of orphans, under the endpoints' `names` when they were counted, and says how many. To be called only
    /// while no other agent is alive, whose flows they might be.
    pub(super) async fn settle_orphans(
        self: &Arc<Self>,
        which: Orphans,
        names: &[String],
    ) -> Result<usize, OrphansError> {
        let now = since_boot();
        let is_meant =
            |flow: &OpenFlow| which == Orphans::All || now.saturating_sub(flow.facts.connected_at) >= UNACCEPTED;
        let open = self.datapath.open_flows()?.unwrap_or_default().into_iter().filter(is_meant);
        let named = open.map(|flow| (self.ledger.flow_id(&flow.facts), flow));
        let orphans: Vec<_> = named.filter(|(id, _)| self.ledger.claim(*id)).collect();
        let recorded = recorded(&self.config.audit_dir(), &orphans)?;
        let count = orphans.len();
        // Connections wait for this, and each record for the disk: many at once are one wait.
        let mut writing = JoinSet::new();
        for (id, OpenFlow { facts, .. }) in orphans {
            if recorded.contains(&id) {
                self.datapath.settle_flow(&facts)?;
                continue;
            }
            let endpoint = tally_name(names, facts.endpoint);
            let reason = "the agent ended before the connection did, or before it accepted it";
            let mut record = unread(id, &facts, self.workloads.resolve(&facts), FlowEnd::Unknown, reason);
            record.tally = Some(endpoint.clone());
            if writing.len() == AT_ONCE {
                writing.join_next().await;
            }
            let shared = Arc::clone(self);
            writing.spawn(async move { shared.write_end(&facts, endpoint, record).await });
        }
        writing.join_all().await;
        Ok(count)
    }
}

/// Those whose record their agent had written, and died before it could say so.
fn recorded(audit: &Path, orphans: &[(Uuid, OpenFlow)]) -> io::Result<HashSet<Uuid>> {
    let in_doubt = || orphans.iter().filter_map(|(id, flow)| Some((*id, flow.recording_from?)));
    let Some(from) = in_doubt().map(|(_, from)| from).min() else { return Ok(HashSet::new()) };
    flows::recorded(audit, from, &in_doubt().map(|(id, _)| id).collect())
}
