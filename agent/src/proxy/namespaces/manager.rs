//! The loop. It has a thread of its own, which enters namespaces itself: on a busy host every hand-over to another thread may
//! cost milliseconds, in which an application that has just started is denied.

use std::{
    future::pending,
    io,
    sync::{Arc, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Builder,
    sync::oneshot,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::{
    Inner, NamespacesError,
    actions::{Actions, Opened},
    desired::{self, Desired},
    inherit::Inherited,
};
use crate::datapath::{
    Announced, Announcement, Announcements, CgroupError, CgroupId, ListenError, Netns, NetnsCookie, NetnsId, Visitor,
    since_boot,
};

/// How often it is looked whether the processes that vouch for the namespaces are still there.
const CHECK: Duration = Duration::from_secs(2);
/// How old a census may be.
const CENSUS: Duration = Duration::from_secs(30);
/// Of this many times its own length, a census takes one: hosts have tens of thousands of cgroups, and processes that end
/// all the time.
const CENSUS_SHARE: u32 = 20;

type Census = JoinHandle<Result<Desired, CgroupError>>;

/// Bound to its thread, as its visitor is.
struct Manager {
    inner: Arc<Inner>,
    visitor: Visitor,
    announced: Announced,
}

/// Starts the loop. Returns when what is there is served.
///
/// # Errors
/// As [`super::Namespaces::open`].
pub(super) async fn start(
    inner: Arc<Inner>,
    announcements: Announcements,
    inherited: Vec<Inherited>,
) -> Result<(), NamespacesError> {
    let (report, opened) = oneshot::channel();
    let manage = move || {
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = report.send(Err(error.into()));
                return;
            }
        };
        runtime.block_on(async {
            match Manager::open(inner, announcements, inherited).await {
                Ok(manager) => {
                    let _ = report.send(Ok(()));
                    manager.follow().await;
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                }
            }
        });
    };
    thread::Builder::new().name("weir-namespaces".into()).spawn(manage)?;
    opened.await.map_err(io::Error::other)?
}

impl Manager {
    /// Serves what is there.
    async fn open(
        inner: Arc<Inner>,
        announcements: Announcements,
        inherited: Vec<Inherited>,
    ) -> Result<Self, NamespacesError> {
        let own = Netns::current().map_err(ListenError::from)?;
        let visitor = Visitor::new().map_err(ListenError::from)?;
        let manager = Self { inner, visitor, announced: announcements.wait()? };
        for inherited in inherited {
            manager.serve(inherited.open(&manager.inner.shared.datapath).map(Some));
        }
        if !manager.inner.found().contains(own.id()) {
            let listeners = manager.inner.shared.datapath.open_listeners(&own)?;
            manager.inner.serve(Opened { netns: own, listeners, witness: None })?;
        }
        let desired = finished(&mut Some(manager.start_census())).await?;
        manager.reconcile(&desired);
        Ok(manager)
    }

    async fn follow(mut self) {
        let mut check = interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut census = None;
        let (mut taken, mut pause) = (Instant::now(), Duration::ZERO);
        loop {
            tokio::select! {
                () = self.inner.withdrawn.cancelled() => return,
                announcement = self.announced.next() => match announcement {
                    Ok(announcement) => self.announced(&announcement),
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
                            self.reconcile(&desired);
                        }
                        Err(error) => tracing::error!(%error, "processes in scope cannot be looked at"),
                    }
                }
                () = self.inner.recount.notified(), if census.is_none() => census = Some(self.start_census()),
                _ = check.tick(), if census.is_none() => {
                    self.inner.read_files();
                    if let Ok(lost) = self.announced.lost() {
                        self.inner.counters.lost(lost);
                    }
                    let is_due = taken.elapsed() >= CENSUS || self.lacks_a_witness();
                    if is_due && taken.elapsed() >= pause {
                        census = Some(self.start_census());
                    }
                }
            }
        }
    }

    fn start_census(&self) -> Census {
        let inner = Arc::clone(&self.inner);
        let scope = inner.scope.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.inner.runtime.spawn_blocking(move || Desired::look(&inner.cgroups, &scope))
    }

    /// Whether a process that vouched for a namespace has gone. Another may still be there.
    fn lacks_a_witness(&self) -> bool {
        // Copied: looking takes longer than the lock should be held.
        let entries = self.inner.found().entries();
        entries.iter().any(|entry| entry.witness.is_some_and(|witness| !desired::vouches(witness, entry.id)))
    }

    /// A process in scope is in a namespace that may be new.
    fn announced(&self, announcement: &Announcement) {
        let inner = &self.inner;
        if self.knows(announcement) {
            return;
        }
        if !self.has_room(announcement.cgroup) {
            inner.refuse(1);
            return;
        }
        if let Some(netns) = self.serve(inner.open_announced(&self.visitor, announcement)) {
            let took = since_boot().saturating_sub(announcement.at);
            inner.counters.ready(took);
            let (tid, at_exec) = (announcement.tid, announcement.netns.is_none());
            tracing::info!(netns = netns.0, tid, at_exec, ready_us = took.as_micros(), "a network namespace is served");
        }
    }

    /// Whether one more may be served for a cgroup: half of all are kept from each, for the others.
    fn has_room(&self, cgroup: CgroupId) -> bool {
        let share = self.inner.shared.config.limits.namespaces.div_ceil(2);
        self.inner.room.available_permits() > 0 && self.inner.found().for_cgroup(cgroup) < share
    }

    /// Whether there is nothing to do.
    fn knows(&self, announcement: &Announcement) -> bool {
        let inner = &self.inner;
        let Some(cookie) = announcement.netns else {
            // A process that has gone by now needs nothing; what it started is announced for itself.
            return NetnsId::of_process(announcement.tid).map_or(true, |id| inner.found().contains(id));
        };
        let broken = match inner.found().with_cookie(cookie) {
            None => return false,
            // Announced all the same: what the programs hold is missing, or another agent's.
            Some((id, served)) if served.end.is_cancelled() || served.published.renew().is_err() => id,
            Some(_) => return true,
        };
        inner.close(broken);
        false
    }

    /// Accepts in a namespace that was opened, and says which it is. Failures are reported.
    fn serve(&self, opened: Result<Option<Opened>, ListenError>) -> Option<NetnsCookie> {
        let serve = |opened: Opened| {
            let netns = opened.listeners.netns();
            self.inner.serve(opened).map(|()| netns)
        };
        let served = match opened {
            Ok(opened) => opened.map(serve).transpose().map_err(NamespacesError::from),
            Err(error) => Err(error.into()),
        };
        served.unwrap_or_else(|error| {
            self.inner.failed(&error);
            None
        })
    }

    /// Brings what is found to what is desired.
    fn reconcile(&self, desired: &Desired) {
        let inner = &self.inner;
        let Actions { open, close } = inner.actions(desired);
        for id in close {
            inner.close(id);
        }
        let mut refused = 0;
        for (_, process) in open {
            if self.has_room(process.cgroup) {
                self.serve(inner.open_of(&self.visitor, process, None));
            } else {
                refused += 1;
            }
        }
        inner.refuse(refused);
    }
}

/// Waits for a census; for ever when there is none.
async fn finished(census: &mut Option<Census>) -> Result<Desired, NamespacesError> {
    match census {
        Some(task) => Ok(task.await.map_err(io::Error::other)??),
        None => pending().await,
    }
}
