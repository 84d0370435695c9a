//! `weir detach`: the break-glass command. The running agent records it and removes the kernel side; when none runs,
//! the command does both itself.

use std::{fmt, path::Path};

use jiff::Timestamp;

use super::{
    Context, Ended, Failure,
    client::{self, ClientError},
    protocol::Detached,
};
use crate::{
    audit::{
        checkpoint::{self, Checkpointer},
        event::{Agent, Event, Requester, What},
        log::{Log, LogOptions},
    },
    config::Config,
    datapath,
};

/// Arguments of `weir detach`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// The configuration is wrong, or the agent refused, or the record could not be written: then nothing is detached.
pub fn execute(_args: &Args, context: &Context) -> Result<Ended, Failure> {
    detach(context, |config| client::wait(alone(config))?)
}

/// Without an agent the log is free, so that this process can record who asks.
async fn alone(config: &Config) -> Result<Detached, Failure> {
    let failed = |error: &dyn fmt::Display| Failure::Failed(format!("not detached: {error}"));
    let options = LogOptions::from_config(config).map_err(|e| failed(&e))?;
    let (log, recovery) = Log::open(&options).map_err(|e| failed(&e))?;
    log.settle(recovery).await.map_err(|e| failed(&e))?;
    let uid = rustix::process::geteuid().as_raw();
    let pid = std::process::id();
    let by = Requester { uid, pid: Some(pid), login_uid: login_uid(pid) };
    let checkpoints = checkpoint::Options::from_config(config, &options.boot_id);
    let detached = record_and_detach(&log, &config.intercept.bpffs, by).await.map_err(Failure::Failed)?;
    // No agent may come for long: what was recorded is signed now. That it cannot be must not look as if nothing was done.
    match Checkpointer::start(log.clone(), checkpoints).await {
        Ok(checkpointer) => checkpointer.finish().await,
        Err(error) => eprintln!("weir: no checkpoint was written: {error}"),
    }
    log.close().await.map_err(|e| failed(&e))?;
    Ok(detached)
}

/// The user who logged in to what became this process, by the kernel's audit; none for what nobody logged in to.
pub(super) fn login_uid(pid: u32) -> Option<u32> {
    let read = std::fs::read_to_string(format!("/proc/{pid}/loginuid")).ok()?;
    read.trim().parse().ok().filter(|uid| *uid != u32::MAX)
}

/// Records who has the kernel side removed, then removes it. No record, no detach.
///
/// # Errors
/// What failed, for the operator.
pub(super) async fn record_and_detach(log: &Log, bpffs: &Path, by: Requester) -> Result<Detached, String> {
    let event = Event { time: Timestamp::now(), what: What::Agent(Agent::Detached { by }) };
    let receipt =
        log.append(event).await.map_err(|e| format!("not detached, because it could not be recorded: {e}"))?;
    datapath::detach(bpffs).map_err(|e| format!("recorded, but not detached: {e}"))?;
    Ok(Detached { seq: receipt.seq })
}

/// Asks the agent; `alone` is called when none runs, and must record before it removes.
///
/// # Errors
/// The configuration is wrong, the agent refused, or `alone` failed.
fn detach(context: &Context, alone: impl FnOnce(&Config) -> Result<Detached, Failure>) -> Result<Ended, Failure> {
    let config = context.load()?;
    let socket = config.admin.socket().unwrap_or_else(|| config.admin.listen.as_ref());
    let detached = match client::wait(client::detach(socket))? {
        Ok(detached) => detached,
        Err(ClientError::NotRunning(_)) => alone(&config)?,
        Err(error) => return Err(Failure::Failed(error.to_string())),
    };
    context.print(&detached)?;
    Ok(Ended::Done)
}

impl fmt::Display for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "detached: nothing is intercepted until the agent starts again; record {} says so", self.seq)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, path::Path, sync::Arc};

    use rustix::process::{getegid, geteuid};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::admin::{
        protocol::{Catalog, CatalogAccepted, CatalogAsk, CatalogEntries, Reloaded, Status},
        server::{AdminSocket, Operations, Peer},
    };

    /// An agent that detaches only for this test's user.
    struct Agent;

    impl Operations for Agent {
        async fn status(&self) -> Status {
            unreachable!("nobody asks")
        }

        async fn reload_policies(&self) -> Result<Reloaded, String> {
            Err("not asked for".into())
        }

        async fn catalog(&self) -> Catalog {
            unreachable!("nobody asks")
        }

        async fn catalog_entries(&self, _: CatalogAsk) -> Result<CatalogEntries, String> {
            Err("not asked for".into())
        }

        async fn accept_definitions(&self, _: CatalogAsk, _: Peer) -> Result<CatalogAccepted, String> {
            Err("not asked for".into())
        }

        async fn detach(&self, by: Peer) -> Result<Detached, String> {
            if by.uid == geteuid().as_raw() { Ok(Detached { seq: 7 }) } else { Err("who?".into()) }
        }
    }

    fn context(dir: &Path) -> Context {
        let config = dir.join("weir.toml");
        let text = format!("[admin]\nlisten = \"unix:{}\"", dir.join("admin.sock").display());
        std::fs::write(&config, text).expect("written");
        Context { config, json: true }
    }

    #[test]
    fn the_running_agent_does_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let context = context(dir.path());
        let runtime = tokio::runtime::Runtime::new().expect("an event loop");
        let group = Some(getegid().as_raw());
        let socket = runtime.block_on(AdminSocket::bind(&dir.path().join("admin.sock"), group)).expect("bound");
        runtime.spawn(socket.serve(Arc::new(Agent), CancellationToken::new()));

        let ended = detach(&context, |_| Err(Failure::Failed("an agent runs".into())));
        assert_eq!(ended.expect("detached"), Ended::Done);
    }

    #[test]
    fn without_an_agent_the_command_does_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let called = Cell::new(false);
        let ended = detach(&context(dir.path()), |config| {
            called.set(config.admin.socket() == Some(&dir.path().join("admin.sock")));
            Ok(Detached { seq: 1 })
        });
        assert_eq!(ended.expect("detached"), Ended::Done);
        assert!(called.get());
    }
}
