//! What every flow shares, and what all of them do with it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::{
    calls::{Calls, OpenCall, Scope},
    drain::Drain,
    ledger::Ledger,
    legacy::LegacyPaths,
    names::Names,
    pool::Pool,
    sessions::Sessions,
    tools::Tasks,
    unregistered::Sightings,
    versions::Versions,
};
use crate::{
    audit::{
        event::{Outcome, Payload},
        log::{AppendError, Log},
        payload::Payloads,
    },
    config::{Config, Registered},
    credentials::{Credentials, Placeholders},
    datapath::{CgroupTree, Datapath},
    guard::{Budgets, definitions::Definitions},
    identity::{Callers, Workloads},
    mask::{MaskKey, Masks},
    mcp,
    policy::{self, Catalogue},
    telemetry::Telemetry,
    tls::{Minter, Upstream},
};

/// What every flow shares.
pub(crate) struct Shared {
    pub(super) config: Arc<Config>,
    pub(super) datapath: Datapath,
    pub(super) cgroups: Arc<CgroupTree>,
    pub(super) workloads: Arc<Workloads>,
    pub(super) callers: Arc<Callers>,
    pub(super) minter: Arc<Minter>,
    pub(super) system_roots: Upstream,
    pub(super) verifiers: HashMap<String, Upstream>,
    pub(super) credentials: Credentials,
    pub(super) placeholders: Option<Arc<Placeholders>>,
    pub(super) masks: Masks,
    pub(super) mask_key: MaskKey,
    pub(super) policies: Arc<policy::Live>,
    /// Whether there are, or may come to be, policies to ask.
    pub(super) judges: bool,
    pub(super) catalogue: Catalogue,
    pub(super) budgets: Budgets,
    pub(super) definitions: Arc<Definitions>,
    pub(super) payloads: Payloads,
    pub(super) log: Log,
    pub(super) telemetry: Telemetry,
    pub(super) names: Arc<Names>,
    pub(super) pool: Pool,
    pub(super) calls: Calls,
    pub(super) legacy: LegacyPaths,
    pub(super) versions: Versions,
    pub(super) sessions: Sessions,
    pub(super) task_tools: Tasks,
    pub(super) sightings: Sightings,
    pub(super) places: Arc<Semaphore>,
    pub(super) refusals: Arc<Semaphore>,
    pub(super) ledger: Ledger,
    pub(super) counters: Counters,
    pub(super) tasks: TaskTracker,
    pub(super) drain: Drain,
}

impl Shared {
    /// What a record keeps of a message's content while the log has room for it.
    pub(super) fn content(&self, masked: &[u8]) -> Option<Payload> {
        self.while_there_is_room(masked, self.payloads.fit(masked).ok()?)
    }

    /// The same of what is kept beside it, in part where it is long.
    pub(super) fn excerpt(&self, masked: &[u8]) -> Option<Payload> {
        self.while_there_is_room(masked, self.payloads.excerpt(masked).ok()?)
    }

    fn while_there_is_room(&self, masked: &[u8], payload: Payload) -> Option<Payload> {
        if self.log.has_room_for(&payload) { Some(payload) } else { self.payloads.digest(masked).ok() }
    }

    pub(super) fn message_limits(&self) -> mcp::Limits {
        mcp::Limits { depth: self.config.limits.json_depth, ..mcp::Limits::default() }
    }

    pub(super) fn verifier_of(&self, endpoint: &Registered) -> Upstream {
        self.verifiers.get(endpoint.name()).unwrap_or(&self.system_roots).clone()
    }

    pub(super) fn connect_patience(&self) -> Duration {
        Duration::from_millis(self.config.limits.connect_timeout_ms)
    }

    /// Records the end of a call and forgets it.
    pub(super) async fn end(&self, scope: &Scope, call: &OpenCall, outcome: Outcome) {
        self.calls.close(scope, call);
        if let Err(error) = self.record_end(call, None, outcome, None, Vec::new()).await {
            tracing::error!(%error, call = %call.call_id, "the end of a call could not be recorded");
        }
    }

    /// The same, from where nothing can be awaited.
    pub(super) fn end_in_background(self: &Arc<Self>, call: Arc<OpenCall>, outcome: Outcome) {
        let shared = Arc::clone(self);
        self.spawn_record(async move { shared.record_end(&call, None, outcome, None, Vec::new()).await });
    }

    pub(super) fn spawn_record(&self, append: impl Future<Output = Result<(), AppendError>> + Send + 'static) {
        self.tasks.spawn(async move {
            if let Err(error) = append.await {
                tracing::error!(%error, "a record could not be written");
            }
        });
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys and certificates are in here: nothing of them is printed.
        f.write_str("Shared")
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) over_limit: AtomicU64,
    pub(super) unattributed: AtomicU64,
    pub(super) canaries: AtomicU64,
    pub(super) unresolved: Mutex<Vec<(String, String)>>,
    /// By endpoint: messages judged, and refused of these.
    pub(super) judged: Mutex<HashMap<String, (u64, u64)>>,
}

impl Counters {
    pub(super) fn judged(&self, endpoint: &str, refused: bool) {
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, of_them_refused) = judged.entry(endpoint.to_owned()).or_default();
        *all += 1;
        *of_them_refused += u64::from(refused);
    }

    pub(super) fn over_limit(&self) {
        self.over_limit.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn canary(&self) {
        self.canaries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn unattributed(&self) {
        self.unattributed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_unresolved(&self, unresolved: Vec<(String, String)>) {
        for (host, reason) in &unresolved {
            tracing::warn!(host, reason, "a registered name did not resolve");
        }
        *self.unresolved.lock().unwrap_or_else(PoisonError::into_inner) = unresolved;
    }
}
