//! Looks now and then whether interception still works: the links and maps are where they should be, and a canary, a
//! connection of the agent's own that nothing exempts, is redirected. What changes is recorded; a link that was detached or
//! moved is attached again.

use std::{
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use sd_notify::NotifyState;
use tokio::{
    process::Command,
    task::{JoinHandle, spawn_blocking},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{notify, record_life};
use crate::{
    admin::protocol::CheckStatus,
    audit::{event::Life, log::Log},
    datapath::Datapath,
    proxy::Proxy,
};

/// How often links and maps are looked at.
const PERIOD: Duration = Duration::from_secs(2);
/// Of this many looks, one sends a canary.
const CANARY_EVERY: u32 = 5;
/// Longest wait for a canary.
const PATIENCE: Duration = Duration::from_secs(10);

/// The checks of which one that fails for long ends the agent, by systemd's watchdog: a new one attaches again.
const VITAL: [&str; 3] = ["links", "maps", "canary"];

/// The check of the cgroups in scope, which a restart does not mend.
pub(super) const SCOPE: &str = "scope";

/// What the watchdog knows. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::admin) struct Health {
    checks: Arc<Mutex<Vec<CheckStatus>>>,
    hands_off: Arc<Mutex<bool>>,
}

impl Health {
    /// All is well until something else is seen.
    pub(super) fn new() -> Self {
        let check = |name: &str| CheckStatus {
            name: name.to_owned(),
            ok: true,
            since: Timestamp::now(),
            detail: "not looked at yet".to_owned(),
        };
        let checks = VITAL.into_iter().chain([SCOPE]).map(check).collect();
        Self { checks: Arc::new(Mutex::new(checks)), hands_off: Arc::default() }
    }

    /// How everything is.
    pub(super) fn checks(&self) -> Vec<CheckStatus> {
        self.lock().clone()
    }

    /// Whether the watchdog is to leave the kernel's side alone: it is another agent's, or detached by order. Waits for a
    /// look that has begun.
    pub(in crate::admin) fn hands_off(&self, off: bool) {
        *self.hands_off.lock().unwrap_or_else(PoisonError::into_inner) = off;
    }

    /// Does something to the kernel's side, unless that is not to be touched. Nobody else takes it meanwhile.
    pub(super) fn while_ours<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        let hands_off = self.hands_off.lock().unwrap_or_else(PoisonError::into_inner);
        (!*hands_off).then(act)
    }

    /// Notes what a check found, and records it when it is news.
    pub(super) async fn tell(&self, log: &Log, check: &'static str, found: &Found) {
        if !self.note(check, found) {
            return;
        }
        let Found { ok, detail } = found;
        if *ok {
            tracing::info!(check, detail, "as it should be again");
        } else {
            tracing::error!(check, detail, "interception is not as it should be");
        }
        let life = Life::Watched { check, healthy: *ok, detail: detail.clone() };
        if let Err(error) = record_life(log, life).await {
            tracing::error!(%error, check, "what the watchdog found could not be recorded");
        }
    }

    /// Notes that everything was detached by order, which nobody is to undo.
    pub(super) fn detached(&self) {
        let found = Found { ok: false, detail: "detached by order".to_owned() };
        for check in VITAL {
            self.note(check, &found);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<CheckStatus>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a check found. Says whether that is news.
    fn note(&self, name: &str, found: &Found) -> bool {
        let mut checks = self.lock();
        let Some(check) = checks.iter_mut().find(|check| check.name == name) else { return false };
        let is_news = check.ok != found.ok;
        if is_news {
            check.since = Timestamp::now();
        }
        check.ok = found.ok;
        check.detail.clone_from(&found.detail);
        is_news
    }
}

/// What a check found.
pub(super) struct Found {
    pub(super) ok: bool,
    pub(super) detail: String,
}

impl Found {
    fn of(result: Result<String, String>) -> Self {
        match result {
            Ok(detail) => Self { ok: true, detail },
            Err(detail) => Self { ok: false, detail },
        }
    }
}

/// Watches until dropped.
#[derive(Debug)]
pub(super) struct Watchdog(JoinHandle<()>);

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watchdog {
    pub(super) fn start(health: Health, datapath: Datapath, proxy: Proxy, log: Log) -> Self {
        let watch = Watch { health, datapath, proxy, log };
        Self(tokio::spawn(watch.run()))
    }
}

struct Watch {
    health: Health,
    datapath: Datapath,
    proxy: Proxy,
    log: Log,
}

impl Watch {
    async fn run(self) {
        let mut look = interval(PERIOD);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for round in 0_u32.. {
            look.tick().await;
            let (health, datapath) = (self.health.clone(), self.datapath.clone());
            let Ok(looked) = spawn_blocking(move || look_at_kernel(&health, &datapath)).await else { continue };
            let Some((links, repaired, maps)) = looked else {
                // Nothing is wrong with this agent, and a restart would attach again what was detached by order.
                notify(&[NotifyState::Watchdog]);
                continue;
            };
            self.tell("links", &links).await;
            if repaired {
                self.tell("links", &Found { ok: true, detail: "attached again".into() }).await;
            }
            self.tell("maps", &maps).await;
            if round % CANARY_EVERY == 0 {
                let canary = Found::of(self.send_canary().await);
                self.tell("canary", &canary).await;
            }
            if self.health.lock().iter().all(|check| check.ok || !VITAL.contains(&check.name.as_str())) {
                notify(&[NotifyState::Watchdog]);
            }
        }
    }

    async fn tell(&self, check: &'static str, found: &Found) {
        self.health.tell(&self.log, check, found).await;
    }

    /// A child process is not exempt as the agent is: its connection must arrive at the proxy.
    async fn send_canary(&self) -> Result<String, String> {
        let before = self.proxy.canaries();
        let mut command = Command::new("/proc/self/exe");
        command.arg("canary").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let ended = timeout(PATIENCE, command.output()).await.map_err(|_| "no answer in time".to_owned())?;
        let ended = ended.map_err(|error| format!("it cannot be sent: {error}"))?;
        if !ended.status.success() {
            return Err(String::from_utf8_lossy(&ended.stderr).trim().to_owned());
        }
        // It has connected, and waited to be hung up on.
        if self.proxy.canaries() == before {
            return Err("it was connected, and not to this agent".to_owned());
        }
        Ok("redirected".to_owned())
    }
}

/// Links, whether they were repaired, and maps; none while they are not this agent's to look at.
fn look_at_kernel(health: &Health, datapath: &Datapath) -> Option<(Found, bool, Found)> {
    health.while_ours(|| look_at_links_and_maps(datapath))
}

fn look_at_links_and_maps(datapath: &Datapath) -> (Found, bool, Found) {
    let misplaced = |names: Vec<&str>, well: &str| match names.is_empty() {
        true => Ok(well.to_owned()),
        false => Err(format!("not in place: {}", names.join(", "))),
    };
    let links = datapath.misplaced_links().map_err(|error| error.to_string());
    let links = Found::of(links.and_then(|names| misplaced(names, "attached")));
    let repaired = !links.ok
        && match datapath.reclaim() {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "the programs could not be attached again");
                false
            }
        };
    let maps = datapath.misplaced_maps().map_err(|error| error.to_string());
    (links, repaired, Found::of(maps.and_then(|names| misplaced(names, "pinned"))))
}
