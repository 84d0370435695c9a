//! Serves every network namespace that holds a process in scope, in three words: what is *desired* (namespaces with such
//! a process), what is *found* (namespaces with listeners published), and the *actions* that bring the second to the
//! first.
//!
//! What is desired is learnt in two ways. The programs announce a namespace when a process in scope executes a program
//! there or makes its first socket there: that is fast, and may be lost. A census of all processes in scope is slow and
//! complete: it is taken at the start, when the process that vouched for a namespace has gone, and now and then.
//!
//! A listener keeps its namespace alive, so it is closed soon after the last process has gone. From a namespace that is
//! not served, or not yet, connections are denied by the programs, and counted.

mod actions;
mod desired;
mod found;
mod inherit;
mod manager;

use std::{
    fmt::Display,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
};
use tokio_util::sync::CancellationToken;

use self::found::Found;
pub use self::inherit::{Inherited, Lent};
use super::{Proxy, Shared};
use crate::datapath::{Announcements, CgroupError, CgroupTree, ListenError, NetnsCookie, OldConnections, Scope};

/// Why the namespaces that are there at the start cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum NamespacesError {
    /// The agent's own namespace cannot be served.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The cgroups in scope cannot be read.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A thread, or a wait, that the system refuses.
    #[error("cannot watch network namespaces: {0}")]
    Runtime(#[from] io::Error),
}

/// The served namespaces. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Namespaces {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    cgroups: Arc<CgroupTree>,
    scope: Mutex<Scope>,
    /// One permit for each namespace that has listeners, published or closing.
    room: Arc<Semaphore>,
    found: Mutex<Found>,
    counters: Counters,
    /// Where accepting runs.
    runtime: Handle,
    recount: Notify,
    withdrawn: CancellationToken,
}

/// What became of the namespaces, since the start.
#[derive(Debug, Default)]
struct Counters {
    opened: AtomicU64,
    closed: AtomicU64,
    refused: AtomicU64,
    vanished: AtomicU64,
    failed: AtomicU64,
    last_ready: AtomicU64,
    slowest_ready: AtomicU64,
    lost: AtomicU64,
}

/// The served namespaces, for `weir status`.
#[derive(Debug, Clone)]
pub struct NamespacesStatus {
    /// Each listener, with its namespace.
    pub listeners: Vec<(NetnsCookie, SocketAddr)>,
    /// Namespaces served now.
    pub serving: u64,
    /// Namespaces that were opened.
    pub opened: u64,
    /// Namespaces that were closed again.
    pub closed: u64,
    /// Times a namespace was turned away because `limits.namespaces` were served.
    pub refused: u64,
    /// Announced namespaces that no process could be found in any more.
    pub vanished: u64,
    /// Times listeners could not be opened or published.
    pub failed: u64,
    /// Announcements that found no room.
    pub lost: u64,
    /// From an announcement to published listeners: the last time.
    pub last_ready: Duration,
    /// The longest time.
    pub slowest_ready: Duration,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Namespaces").field("found", &self.found).finish_non_exhaustive()
    }
}

impl Namespaces {
    /// Serves the agent's own namespace, which is never closed, and those that hold a process in scope now; then keeps up
    /// with what comes and goes, until [`Self::withdraw`]. Those that were inherited come first, and are served at once.
    ///
    /// # Errors
    /// When the agent's own cannot be served, or the scope not be read. Others that cannot are reported.
    pub async fn open(
        proxy: &Proxy,
        cgroups: Arc<CgroupTree>,
        scope: Scope,
        announcements: Announcements,
        inherited: Vec<Inherited>,
    ) -> Result<Self, NamespacesError> {
        let shared = Arc::clone(&proxy.shared);
        let room = Arc::new(Semaphore::new(shared.config.limits.namespaces));
        let inner = Inner {
            shared,
            cgroups,
            scope: Mutex::new(scope),
            room,
            found: Mutex::default(),
            counters: Counters::default(),
            runtime: Handle::current(),
            recount: Notify::new(),
            withdrawn: CancellationToken::new(),
        };
        let inner = Arc::new(inner);
        manager::start(Arc::clone(&inner), announcements, inherited).await?;
        Ok(Self { inner })
    }

    /// Other cgroups are in scope now: looks at every process there soon.
    pub fn set_scope(&self, scope: Scope) {
        *self.inner.scope.lock().unwrap_or_else(PoisonError::into_inner) = scope;
        self.recount();
    }

    /// Looks at every process in scope soon: to be called once the scope is in force, for what came before it was.
    pub fn recount(&self) {
        self.inner.recount.notify_one();
    }

    /// Ends the connections to registered addresses that are older than the agent, so that they are made again through it, and
    /// records each. To
    /// be called once scope and destinations are in force. What cannot be ended stalls: the guard lets nothing out.
    pub fn close_old_connections(&self) {
        let namespaces = self.inner.found().namespaces();
        let inner = Arc::clone(&self.inner);
        // Listing sockets takes the kernel a while.
        self.inner.runtime.spawn_blocking(move || {
            for netns in namespaces {
                match inner.shared.datapath.close_old_connections(&netns, &inner.cgroups) {
                    Ok(OldConnections { ended, failed }) => {
                        if !ended.is_empty() {
                            tracing::info!(connections = ended.len(), "connections from before the agent were ended");
                        }
                        for old in &ended {
                            inner.runtime.block_on(inner.shared.record_old(old));
                        }
                        if let Some(error) = failed.first() {
                            let connections = failed.len();
                            tracing::warn!(%error, connections, "connections from before the agent were left; they stall");
                        }
                    }
                    Err(error) => tracing::warn!(%error, "connections from before the agent were left; they stall"),
                }
            }
        });
    }

    /// Stops redirecting in every namespace: new connections are denied. Accepting goes on until the drain.
    pub fn withdraw(&self) {
        self.inner.withdrawn.cancel();
        *self.inner.found() = Found::closed();
    }

    /// How they are.
    #[must_use]
    pub fn status(&self) -> NamespacesStatus {
        let found = self.inner.found();
        let Counters { opened, closed, refused, vanished, failed, last_ready, slowest_ready, lost } =
            &self.inner.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NamespacesStatus {
            listeners: found.listeners(),
            serving: found.len() as u64,
            opened: read(opened),
            closed: read(closed),
            refused: read(refused),
            vanished: read(vanished),
            failed: read(failed),
            lost: read(lost),
            last_ready: Duration::from_micros(read(last_ready)),
            slowest_ready: Duration::from_micros(read(slowest_ready)),
        }
    }
}

impl Inner {
    fn found(&self) -> MutexGuard<'_, Found> {
        // A panic elsewhere cannot leave it half-changed: every critical section is a single map operation.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, namespaces: usize) {
        if namespaces == 0 {
            return;
        }
        let before = self.counters.refused.fetch_add(namespaces as u64, Ordering::Relaxed);
        // Those that are turned away ask again and again; the census says it once in a while.
        if before == 0 || namespaces > 1 {
            let limit = self.shared.config.limits.namespaces;
            tracing::warn!(namespaces, limit, "network namespaces are not served: their connections are denied");
        }
    }

    fn failed(&self, error: &dyn Display) {
        self.counters.failed.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%error, "a network namespace cannot be served: its connections are denied");
    }
}

impl Counters {
    fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    fn closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    fn vanished(&self, netns: NetnsCookie) {
        self.vanished.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(netns = netns.0, "nobody is left in a network namespace that was announced");
    }

    fn lost(&self, in_all: u64) {
        self.lost.store(in_all, Ordering::Relaxed);
    }

    fn ready(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.last_ready.store(micros, Ordering::Relaxed);
        self.slowest_ready.fetch_max(micros, Ordering::Relaxed);
    }
}
