//! Which cgroups are in scope, found by their paths. A cgroup that is made again, as a service's is at each of its starts, has another
//! id: paths are looked up whenever a cgroup appears where one of them leads, and every few seconds besides.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::watchdog::{Found, Health, SCOPE};
use crate::{
    audit::log::Log,
    config::Intercept,
    datapath::{Appearing, CgroupError, CgroupId, CgroupTree, Datapath, MapsError, Scope},
    proxy::Namespaces,
};

/// How often paths are looked up without a sign.
const PERIOD: Duration = Duration::from_secs(2);
/// Most cgroups that are gone and still in scope: sockets that were made there may be in use elsewhere.
const FORMER: usize = 256;

/// What the configured paths lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolved {
    /// The cgroups that are there.
    pub(super) scope: Scope,
    /// Paths to be intercepted that lead nowhere.
    pub(super) missing: Vec<String>,
}

impl Resolved {
    /// Looks the paths up.
    ///
    /// # Errors
    /// When one cannot be looked up, or is too deep; that there is no such cgroup now is no error.
    pub(super) fn look(intercept: &Intercept, cgroups: &CgroupTree) -> Result<Self, CgroupError> {
        let (include, missing) = ids(cgroups, &intercept.cgroups)?;
        let (exclude, _) = ids(cgroups, &intercept.exclude)?;
        Ok(Self { scope: Scope { include, exclude }, missing })
    }

    fn check(&self) -> Found {
        match self.missing.is_empty() {
            true => Found { ok: true, detail: "every cgroup is there".to_owned() },
            false => Found { ok: false, detail: format!("no such cgroup now: {}", self.missing.join(", ")) },
        }
    }
}

/// The ids of the cgroups that are there, and the paths of the others.
fn ids(cgroups: &CgroupTree, paths: &[String]) -> Result<(Vec<CgroupId>, Vec<String>), CgroupError> {
    let (mut ids, mut missing) = (Vec::new(), Vec::new());
    for path in paths {
        match cgroups.id_of(path) {
            Ok(id) => ids.push(id),
            Err(CgroupError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                missing.push(path.clone());
            }
            Err(error) => return Err(error),
        }
    }
    Ok((ids, missing))
}

/// What [`Keeper`] keeps in step.
pub(super) struct Keep {
    pub(super) intercept: Intercept,
    pub(super) cgroups: Arc<CgroupTree>,
    pub(super) datapath: Datapath,
    pub(super) namespaces: Namespaces,
    pub(super) health: Health,
    pub(super) log: Log,
    /// What is in force.
    pub(super) resolved: Resolved,
}

/// Keeps the scope in step with the cgroups that there are, until dropped.
#[derive(Debug)]
pub(super) struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Keeper {
    /// Begins.
    ///
    /// # Errors
    /// When the system gives no way to watch directories.
    pub(super) fn start(keep: Keep) -> io::Result<Self> {
        let appearing = Appearing::new()?;
        Ok(Self(tokio::spawn(keep.run(appearing))))
    }
}

impl Keep {
    async fn run(mut self, appearing: Appearing) {
        let mut former = VecDeque::new();
        let mut look = interval(PERIOD);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // First: what appears after the look is a sign.
            self.watch(&appearing);
            let found = match Resolved::look(&self.intercept, &self.cgroups) {
                Ok(resolved) => {
                    let check = resolved.check();
                    self.put_in_force(resolved, &mut former).map_or_else(|error| failing(&error), |()| check)
                }
                Err(error) => failing(&error),
            };
            self.health.tell(&self.log, SCOPE, &found).await;
            tokio::select! {
                _ = look.tick() => {}
                Ok(()) = appearing.wait() => {}
            }
        }
    }

    /// Asks to be told when something appears in the directories where the paths lead, as far as they are there.
    /// As far as the paths lead: further, once there is more.
    fn watch(&self, appearing: &Appearing) {
        for path in self.intercept.cgroups.iter().chain(&self.intercept.exclude) {
            if let Err(error) = appearing.watch(&self.cgroups, path) {
                tracing::debug!(%error, path, "a new cgroup is noticed late");
            }
        }
    }

    fn put_in_force(&mut self, resolved: Resolved, former: &mut VecDeque<CgroupId>) -> Result<(), MapsError> {
        let Resolved { scope, .. } = &resolved;
        let gone = self.resolved.scope.include.iter().filter(|id| !scope.include.contains(id));
        former.extend(gone);
        former.drain(..former.len().saturating_sub(FORMER));
        let include: Vec<_> = scope.include.iter().chain(&*former).copied().collect();
        let (datapath, exclude) = (&self.datapath, &scope.exclude);
        // At each look, since another agent that began to take over may have put its own in force.
        let is_ours = self.health.while_ours(|| datapath.set_scope(&include, exclude)).transpose()?.is_some();
        if is_ours && resolved != self.resolved {
            self.namespaces.set_scope(scope.clone());
            tracing::info!(missing = ?resolved.missing, "the cgroups in scope have changed");
            self.resolved = resolved;
        }
        Ok(())
    }
}

fn failing(error: &dyn std::error::Error) -> Found {
    Found { ok: false, detail: error.to_string() }
}
