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

use std::{
    fmt::Display,
    future::pending,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::Semaphore,
    task::{JoinHandle, spawn_blocking},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use self::{
    actions::{Actions, Opened},
    desired::Desired,
    found::Found,
};
use super::{Proxy, Shared};
use crate::datapath::{
    Announced, Announcement, CgroupError, CgroupTree, ListenError, Netns, NetnsCookie, NetnsId, Scope, since_boot,
};

/// How often it is looked whether the processes that vouch for the namespaces are still there.
const CHECK: Duration = Duration::from_secs(2);
/// How old a census may be.
const CENSUS: Duration = Duration::from_secs(30);
/// Of this many times its own length, a census takes one: hosts have tens of thousands of cgroups, and processes that end
/// all the time.
const CENSUS_SHARE: u32 = 20;

/// Why the namespaces that are there at the start cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum NamespacesError {
    /// The agent's own namespace cannot be served.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The cgroups in scope cannot be read.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The runtime did not take a listener.
    #[error("cannot wait for connections: {0}")]
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
    scope: Scope,
    /// One permit for each namespace that has listeners, published or closing.
    room: Arc<Semaphore>,
    found: Mutex<Found>,
    counters: Counters,
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
    /// Namespaces that were opened, and closed again.
    pub opened: u64,
    /// See `opened`.
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
    /// Serves the agent's own namespace, which is never closed, and those that hold a process in scope now.
    ///
    /// # Errors
    /// When the agent's own cannot be served, or the scope not be read. Others that cannot are reported.
    pub async fn open(proxy: &Proxy, cgroups: Arc<CgroupTree>, scope: Scope) -> Result<Self, NamespacesError> {
        let shared = Arc::clone(&proxy.shared);
        let room = Arc::new(Semaphore::new(shared.config.limits.namespaces));
        let inner = Inner {
            shared,
            cgroups,
            scope,
            room,
            found: Mutex::default(),
            counters: Counters::default(),
            withdrawn: CancellationToken::new(),
        };
        let namespaces = Self { inner: Arc::new(inner) };
        let inner = &namespaces.inner;
        let own = Netns::current().map_err(ListenError::from)?;
        let listeners = inner.shared.datapath.open_listeners(&own)?;
        inner.serve(Opened { netns: own, listeners, witness: None })?;
        let census = finished(&mut Some(inner.start_census())).await?;
        inner.reconcile(census).await;
        Ok(namespaces)
    }

    /// Keeps up with what comes and goes, until [`Self::withdraw`]. To be called once the scope is in force: what came
    /// between [`Self::open`] and now is caught up on.
    pub fn follow(&self, announced: Announced) {
        let inner = Arc::clone(&self.inner);
        let tasks = inner.shared.tasks.clone();
        tasks.spawn(async move { inner.follow(announced).await });
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

    async fn follow(self: Arc<Self>, mut announced: Announced) {
        let mut check = interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The scope has only just come into force.
        let mut census = Some(self.start_census());
        let (mut taken, mut pause) = (Instant::now(), Duration::ZERO);
        loop {
            tokio::select! {
                () = self.withdrawn.cancelled() => return,
                announcement = announced.next() => match announcement {
                    Ok(announcement) => self.announced(announcement).await,
                    Err(error) => {
                        tracing::error!(%error, "announcements of network namespaces cannot be read");
                        tokio::time::sleep(CHECK).await;
                    }
                },
                desired = finished(&mut census), if census.is_some() => {
                    (census, taken) = (None, Instant::now());
                    match desired {
                        Ok(desired) => {
                            pause = desired.took * CENSUS_SHARE;
                            self.reconcile(desired).await;
                        }
                        Err(error) => tracing::error!(%error, "processes in scope cannot be looked at"),
                    }
                }
                _ = check.tick(), if census.is_none() => {
                    if let Ok(lost) = announced.lost() {
                        self.counters.lost.store(lost, Ordering::Relaxed);
                    }
                    let is_due = taken.elapsed() >= CENSUS || self.lacks_a_witness();
                    if is_due && taken.elapsed() >= pause {
                        census = Some(self.start_census());
                    }
                }
            }
        }
    }

    fn start_census(self: &Arc<Self>) -> Census {
        let inner = Arc::clone(self);
        spawn_blocking(move || Desired::look(&inner.cgroups, &inner.scope))
    }

    /// Whether a process that vouched for a namespace has gone. Another may still be there.
    fn lacks_a_witness(&self) -> bool {
        // Copied: looking takes longer than the lock should be held.
        let entries = self.found().entries();
        entries.iter().any(|entry| entry.witness.is_some_and(|witness| !desired::vouches(witness, entry.id)))
    }

    /// A process in scope is in a namespace that may be new.
    async fn announced(self: &Arc<Self>, announcement: Announcement) {
        if self.knows(&announcement) {
            return;
        }
        if self.room.available_permits() == 0 {
            self.refuse(1);
            return;
        }
        let inner = Arc::clone(self);
        let opened = spawn_blocking(move || inner.open_announced(&announcement)).await;
        match opened {
            Ok(Ok(Some(opened))) => {
                let cookie = opened.listeners.netns();
                if self.serve(opened).is_ok() {
                    self.ready(&announcement, cookie);
                }
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => self.failed(&error),
            Err(_) => self.failed(&"its task ended early"),
        }
    }

    /// Whether there is nothing to do.
    fn knows(&self, announcement: &Announcement) -> bool {
        let Some(cookie) = announcement.netns else {
            // A process that has gone by now needs nothing; what it started is announced for itself.
            return NetnsId::of_process(announcement.tid).map_or(true, |id| self.found().contains(id));
        };
        let broken = match self.found().with_cookie(cookie) {
            None => return false,
            // Announced all the same: what the programs hold is missing, or another agent's.
            Some((id, served)) if served.end.is_cancelled() || served.published.renew().is_err() => id,
            Some(_) => return true,
        };
        self.close(broken);
        false
    }

    fn ready(&self, announcement: &Announcement, netns: NetnsCookie) {
        let took = since_boot().saturating_sub(announcement.at);
        self.counters.ready(took);
        let (tid, at_exec) = (announcement.tid, announcement.netns.is_none());
        tracing::info!(netns = netns.0, tid, at_exec, ready_us = took.as_micros(), "a network namespace is served");
    }

    /// Brings what is found to what is desired.
    async fn reconcile(self: &Arc<Self>, desired: Desired) {
        let Actions { open, close } = self.actions(&desired);
        for id in close {
            self.close(id);
        }
        let room = self.room.available_permits();
        self.refuse(open.len().saturating_sub(room));
        if open.is_empty() {
            return;
        }
        let inner = Arc::clone(self);
        let opened = spawn_blocking(move || inner.open_all(open.into_iter().take(room))).await;
        for opened in opened.unwrap_or_default() {
            let _ = self.serve(opened);
        }
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

type Census = JoinHandle<Result<Desired, CgroupError>>;

/// Waits for a census; for ever when there is none.
async fn finished(census: &mut Option<Census>) -> Result<Desired, NamespacesError> {
    match census {
        Some(task) => Ok(task.await.map_err(io::Error::other)??),
        None => pending().await,
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

    fn ready(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.last_ready.store(micros, Ordering::Relaxed);
        self.slowest_ready.fetch_max(micros, Ordering::Relaxed);
    }
}
