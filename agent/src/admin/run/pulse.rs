//! The agent's sign of life to the programs, and the record of what went past without one.

use std::time::Duration;

use jiff::Timestamp;
use tokio::{task::JoinHandle, time::MissedTickBehavior};

use super::record_life;
use crate::{
    audit::{event::Life, log::Log},
    datapath::{Datapath, MAX_SILENCE, MapsError, Unwatched},
};

/// Several times in the longest silence: a host is busy at times.
const PERIOD: Duration = Duration::from_secs(1);
const _: () = assert!(PERIOD.as_secs() * 4 < MAX_SILENCE.as_secs());

/// While this lives, the programs know that the agent does. It runs where connections are served: when that is stuck, the
/// agent is as good as dead.
#[derive(Debug)]
pub(super) struct Pulse(JoinHandle<()>);

impl Pulse {
    /// Begins. The first sign of life is given when this returns: an agent that is ready is not denied for the silence of the
    /// one before.
    ///
    /// # Errors
    ///
    /// [`MapsError`], when that one cannot be given.
    pub(super) fn start(datapath: Datapath, log: Log) -> Result<Self, MapsError> {
        datapath.beat()?;
        Ok(Self(tokio::spawn(async move {
            let mut beat = tokio::time::interval(PERIOD);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                beat.tick().await;
                if let Err(error) = datapath.beat() {
                    tracing::error!(%error, "the programs cannot be told that the agent is alive");
                    continue;
                }
                // Now that nothing goes past any more.
                match datapath.take_unwatched() {
                    Ok(None) => {}
                    Ok(Some(unwatched)) => report(&log, unwatched).await,
                    Err(error) => tracing::error!(%error, "what went past unwatched cannot be read"),
                }
            }
        })))
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn report(log: &Log, Unwatched { connections, first, last }: Unwatched) {
    let now = Timestamp::now();
    let ago = |time| now.checked_sub(time).unwrap_or(now);
    let (since, until) = (ago(first), ago(last));
    tracing::warn!(connections, %since, %until, "connections went past while no agent was alive");
    if let Err(error) = record_life(log, Life::FailedOpen { connections, since, until }).await {
        tracing::error!(%error, connections, "that connections went past could not be recorded");
    }
}
