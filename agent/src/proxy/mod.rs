//! Drives: takes a flow from `accept` to its last byte and a call from its request to its response, one step after the
//! other, each a call into one room.
//!
//! | file | step |
//! |---|---|
//! | `accept` | match a connection with the kernel's facts and the workload |
//! | `flow`, `opening` | sniff; whose is it? splice, refuse, or |
//! | `intercept` | verify the server; mint; serve |
//! | `unregistered` | the same for a flow to an address that nobody registered |
//! | `http`, `passed` | one request: authority, framing, path; what is passed on without being a message |
//! | `call` | one POST: receive, parse, judge, record, send |
//! | `caller` | who calls? |
//! | `judge`, `refuse` | what policy says of its messages, and the answer to what is not let through |
//! | `guards` | budgets, what servers ask, what texts hide |
//! | `inline` | masks towards the other side, where a rule says so |
//! | `receive` | a request's body, bounded and decoded |
//! | `answer`, `events`, `hear` | what comes back, recorded message by message and delivered |
//! | `pending`, `calls`, `heard`, `sessions`, `versions`, `legacy` | calls that wait for their response, earlier words, their sessions |
//! | `sign`, `placeholder` | what a request is sent with, in the place of what |
//! | `metadata` | answer workloads that fetch AWS credentials |
//! | `tools` | whose rules hold for a message, also of a task |
//! | `record`, `shown` | from what was seen to what the log keeps, masked |
//! | `upstream`, `pool`, `way`, `tunnel` | the way to the server, through a proxy where the application asked for one |
//! | `namespaces` | serve every network namespace with a process in scope |
//! | `names` | which addresses are registered |
//! | `ledger` | what becomes of every redirected connection: claimed, recorded, tallied |
//! | `framing`, `headers` | what makes a request readable in one way only |
//! | `shared` | what every flow shares |
//! | `fuzzing` | what fuzz targets see of this room |
//! | `splice`, `stream`, `body`, `decode`, `aside`, `drain` | the means |

mod accept;
mod answer;
mod aside;
mod body;
mod call;
mod caller;
mod calls;
mod decode;
mod definitions;
mod drain;
mod events;
mod flow;
mod framing;
#[cfg(fuzzing)]
pub mod fuzzing;
mod guards;
mod headers;
mod hear;
mod heard;
mod http;
mod inline;
mod intercept;
mod judge;
mod ledger;
mod legacy;
mod metadata;
mod names;
mod namespaces;
mod opening;
mod passed;
mod pending;
mod placeholder;
mod pool;
mod receive;
mod record;
mod refuse;
mod sessions;
mod shared;
mod shown;
mod sign;
mod splice;
mod stream;
mod tools;
mod tunnel;
mod unregistered;
mod upstream;
mod versions;
mod way;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

pub(crate) use self::definitions::defined;
use self::{
    calls::Calls,
    drain::Drain,
    ledger::Ledger,
    legacy::LegacyPaths,
    names::Names,
    pool::Pool,
    sessions::Sessions,
    shared::{Counters, Shared},
    tools::Tasks,
    unregistered::Sightings,
    versions::Versions,
};
pub use self::{
    ledger::TallyError,
    names::{Addresses, KnownAddress, NamesError},
    namespaces::{Inherited, Lent, Namespaces, NamespacesError, NamespacesStatus},
    unregistered::ShadowStatus,
};
use crate::{
    audit::{event::Outcome, log::Log, payload::Payloads},
    config::{self, Config},
    credentials::{Credentials, Placeholders},
    datapath::{CgroupTree, Datapath, DnsCounts},
    guard::{Budgets, definitions::Definitions},
    identity::{Callers, Workloads},
    mask::{MaskKey, Masks},
    policy::{self, Catalogue},
    telemetry::Telemetry,
    tls::{Minter, Upstream},
};

/// How long a call whose connection has gone may still be answered on another stream of its session.
const ADRIFT: Duration = Duration::from_secs(300);

/// Most refused flows whose record is on its way.
const REFUSALS: usize = 1024;

/// How often idle connections and calls adrift are looked through.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// What the proxy is built from; each part is a room's.
pub struct Parts {
    /// The configuration in force.
    pub config: Arc<Config>,
    /// The kernel side, attached.
    pub datapath: Datapath,
    /// The cgroups that it is attached to.
    pub cgroups: Arc<CgroupTree>,
    /// The kernel's boot id.
    pub boot_id: String,
    /// From kernel facts to workloads.
    pub workloads: Arc<Workloads>,
    /// What endpoints ask of their callers.
    pub callers: Arc<Callers>,
    /// Mints what applications see.
    pub minter: Arc<Minter>,
    /// Verifies servers by the system's roots and the configured ones.
    pub system_roots: Upstream,
    /// Verifies each endpoint's servers, by its name.
    pub verifiers: HashMap<String, Upstream>,
    /// What endpoints' requests are sent with.
    pub credentials: Credentials,
    /// Keys for workloads that must sign, where there are any.
    pub placeholders: Option<Arc<Placeholders>>,
    /// The compiled `[[mask]]`.
    pub masks: Masks,
    /// What masks are keyed with.
    pub mask_key: MaskKey,
    /// Who may do what.
    pub policies: Arc<policy::Live>,
    /// What servers' tools, prompts and templates were when they were trusted.
    pub definitions: Arc<Definitions>,
    /// How payloads are kept.
    pub payloads: Payloads,
    /// The log, open.
    pub log: Log,
    /// Spans and metrics.
    pub telemetry: Telemetry,
}

/// The running proxy.
#[derive(Debug, Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
}

/// The proxy's state, for `weir status`.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct ProxyStatus {
    /// Flows open now.
    pub flows_open: u64,
    /// Calls waiting for a response.
    pub calls_open: u64,
    /// Connections closed because `limits.flows` were open, or half of them by their workload.
    pub flows_over_limit: u64,
    /// Connections to a listener that the kernel had not redirected.
    pub flows_unattributed: u64,
    /// Registered names without an address, and why.
    pub unresolved: Vec<(String, String)>,
    /// MCP seen at servers that nobody registered.
    pub shadow: ShadowStatus,
}

impl Proxy {
    /// Puts the parts together. Nothing runs yet.
    ///
    /// # Errors
    /// When the endpoints contradict each other.
    pub fn new(parts: Parts) -> Result<Self, NamesError> {
        let Parts {
            config,
            datapath,
            cgroups,
            boot_id,
            workloads,
            callers,
            minter,
            system_roots,
            verifiers,
            credentials,
            placeholders,
            masks,
            mask_key,
            policies,
            definitions,
            payloads,
            log,
            telemetry,
        } = parts;
        let limits = &config.limits;
        let mut tallied: Vec<_> = config.endpoints.iter().map(|endpoint| endpoint.name.clone()).collect();
        let names = Names::new(&config.endpoints, datapath.clone(), &config.state_dir)?;
        let names = if placeholders.is_some() {
            tallied.push(metadata::TALLY.to_owned());
            names.with_more(metadata::addresses(), config.endpoints.len())?
        } else {
            names
        };
        let shared = Shared {
            names: Arc::new(names),
            pool: Pool::new(Duration::from_millis(limits.pool_idle_ms)),
            calls: Calls::new(limits.open_calls),
            legacy: LegacyPaths::new(limits.open_calls),
            versions: Versions::new(),
            sessions: Sessions::new(),
            task_tools: Tasks::new(),
            sightings: Sightings::default(),
            places: Arc::new(Semaphore::new(limits.flows)),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            budgets: Budgets::new(config.endpoints.iter().map(|endpoint| (endpoint.name.as_str(), endpoint.budget))),
            ledger: Ledger::new(boot_id, tallied, limits.flows),
            counters: Counters::default(),
            tasks: TaskTracker::new(),
            drain: Drain::default(),
            judges: config.policy != config::Policy::default(),
            catalogue: Catalogue::default(),
            policies,
            definitions,
            config,
            datapath,
            cgroups,
            workloads,
            callers,
            minter,
            system_roots,
            verifiers,
            credentials,
            placeholders,
            masks,
            mask_key,
            payloads,
            log,
            telemetry,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Tells the kernel what can be known of registered names at once. No connection is to be accepted before.
    pub fn begin_names(&self) {
        self.shared.names.begin();
    }

    /// Learns the registered addresses, once now and then for as long as the proxy runs.
    pub async fn start_names(&self) {
        let Shared { names, counters, .. } = &*self.shared;
        // What the hosts file knows need not wait for a server of names that may be slow or down.
        let listed = names.learn_listed();
        let resolved = names.resolve(|host| !listed.contains(host)).await;
        counters.set_unresolved(resolved.unresolved);
        let mut holds = if listed.is_empty() { resolved.holds } else { Duration::ZERO };
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(holds) => {}
                    () = shared.drain.started() => return,
                }
                // Again: another agent may have begun to take over, and given up.
                shared.names.register();
                let listed = shared.names.learn_listed();
                let mut resolved = tokio::select! {
                    resolved = shared.names.resolve(|_| true) => resolved,
                    () = shared.drain.started() => return,
                };
                resolved.unresolved.retain(|(host, _)| !listed.iter().any(|known| known.to_string() == *host));
                shared.counters.set_unresolved(resolved.unresolved);
                holds = resolved.holds;
            }
        });
    }

    /// Sweeps what has been idle or adrift too long, until the drain.
    pub fn start_housekeeping(&self) {
        let shared = Arc::clone(&self.shared);
        shared.callers.refresh();
        shared.workloads.refresh();
        self.shared.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(HOUSEKEEPING) => {}
                    () = shared.drain.started() => return,
                }
                shared.pool.sweep();
                shared.callers.refresh();
                shared.workloads.refresh();
                let names = Arc::clone(&shared.names);
                let definitions = Arc::clone(&shared.definitions);
                let sweep = move || {
                    names.sweep();
                    definitions.refresh();
                };
                let _ = tokio::task::spawn_blocking(sweep).await;
                for call in shared.calls.expire(ADRIFT) {
                    shared.end_in_background(call, Outcome::Broken);
                }
            }
        });
    }

    /// How many messages of an endpoint were judged since the start, and how many of them were refused.
    pub fn calls_of(&self, endpoint: &str) -> (u64, u64) {
        let judged = self.shared.counters.judged.lock().unwrap_or_else(PoisonError::into_inner);
        judged.get(endpoint).copied().unwrap_or_default()
    }

    /// The addresses that have been learnt for an endpoint.
    pub fn addresses_of(&self, endpoint: &str) -> Addresses {
        self.shared.names.addresses_of(endpoint)
    }

    /// Every address that has been learnt, for the next agent.
    pub fn known_addresses(&self) -> Vec<KnownAddress> {
        self.shared.names.known()
    }

    /// Takes over what another agent has learnt; told to the kernel with the next names.
    pub fn adopt_addresses(&self, addresses: Vec<KnownAddress>) {
        self.shared.names.adopt(addresses);
    }

    /// What became of the questions and answers about registered names.
    pub fn dns_counts(&self) -> DnsCounts {
        self.shared.names.dns_counts()
    }

    /// How many canaries have arrived.
    pub fn canaries(&self) -> u64 {
        self.shared.counters.canaries.load(Ordering::Relaxed)
    }

    /// The proxy's state.
    pub fn status(&self) -> ProxyStatus {
        let shared = &self.shared;
        ProxyStatus {
            flows_open: (shared.config.limits.flows - shared.places.available_permits()) as u64,
            calls_open: shared.calls.len() as u64,
            flows_over_limit: shared.counters.over_limit.load(Ordering::Relaxed),
            flows_unattributed: shared.counters.unattributed.load(Ordering::Relaxed),
            unresolved: shared.counters.unresolved.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            shadow: shared.sightings.status(),
        }
    }

    /// Stops taking connections, lets what runs finish for at most `patience`, then cuts the rest. Every call that is
    /// still open has its end recorded.
    pub async fn drain(&self, patience: Duration) {
        self.shared.drain.start();
        self.finish(patience).await;
    }

    /// The same when another agent takes the connections from now on: HTTP connections are left open until their next
    /// response.
    pub async fn drain_gently(&self, patience: Duration) {
        self.shared.drain.start_gently();
        self.finish(patience).await;
    }

    async fn finish(&self, patience: Duration) {
        let shared = &self.shared;
        shared.tasks.close();
        if tokio::time::timeout(patience, shared.tasks.wait()).await.is_err() {
            shared.drain.expire();
            // Cut flows still write their last record.
            let _ = tokio::time::timeout(Duration::from_secs(5), shared.tasks.wait()).await;
        }
        for call in shared.calls.drain() {
            if let Err(error) = shared.record_end(&call, None, Outcome::Broken, None, Vec::new()).await {
                tracing::error!(%error, "the end of a call could not be recorded");
            }
        }
    }
}
