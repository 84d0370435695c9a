//! Keeps the policies in force those that the files hold.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;

use super::record_life;
use crate::{
    audit::{
        event::Life,
        log::{AppendError, Log},
    },
    config,
    policy::{Live, live::Reloaded},
};

/// How often the files are read: a change is in force within this.
const PERIOD: Duration = Duration::from_secs(2);

/// While this lives, the files are watched.
#[derive(Debug)]
pub(super) struct Watching(Option<JoinHandle<()>>);

impl Watching {
    /// Records which policies are in force, and begins; without a `[policy]` there is nothing to record or to watch.
    ///
    /// # Errors
    /// As the log's.
    pub(super) async fn start(config: &config::Policy, live: Arc<Live>, log: Log) -> Result<Self, AppendError> {
        if *config == config::Policy::default() {
            return Ok(Self(None));
        }
        let current = live.current();
        let (policy_version, policies) = (current.version().to_string(), current.len() as u64);
        record_life(&log, Life::PoliciesChanged { policy_version, policies }).await?;
        Ok(Self(Some(tokio::spawn(async move {
            loop {
                tokio::time::sleep(PERIOD).await;
                reload(&live, &log, false).await;
            }
        }))))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Reads the files again, and records what came of it. What was refused before is reported again only if `again`.
pub(super) async fn reload(live: &Arc<Live>, log: &Log, again: bool) -> Reloaded {
    let reading = Arc::clone(live);
    let Ok(reloaded) = tokio::task::spawn_blocking(move || reading.reload(again)).await else {
        return Reloaded::Unchanged;
    };
    let life = match &reloaded {
        Reloaded::Unchanged => return reloaded,
        Reloaded::Changed { from, to, policies } => {
            tracing::info!(%from, %to, policies, "other policies are in force");
            Life::PoliciesChanged { policy_version: to.to_string(), policies: *policies as u64 }
        }
        Reloaded::Refused { version, why } => {
            tracing::error!(%version, "changed policies are not taken, those before stay in force: {why}");
            Life::PoliciesRefused { policy_version: version.to_string(), reason: why.clone() }
        }
    };
    if let Err(error) = record_life(log, life).await {
        tracing::error!(%error, "a change of policies could not be recorded");
    }
    reloaded
}
