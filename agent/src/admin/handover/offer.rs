//! The running agent's part: it offers what it has to the next agent, and goes on as before if that one fails.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::value::RawValue;
use tokio::{net::UnixStream, runtime::Handle, task::spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::{
    HandoverError, New, OPENING, Running, Terms,
    wire::{Wire, failed},
};
use crate::{
    admin::{
        run::{Health, record_life},
        socket::SocketFile,
    },
    audit::{
        event::Life,
        log::{Log, LogOptions},
        queue::{NotOpened, Queue},
        relay::{Answer, Courier},
    },
    datapath::Datapath,
    proxy::{Namespaces, Proxy},
};

/// How long the log is tried to be opened again after a new agent has failed.
const REOPENING: Duration = Duration::from_secs(30);

/// What a running agent has to hand over.
pub(in crate::admin) struct Estate {
    pub(in crate::admin) terms: Terms,
    pub(in crate::admin) proxy: Proxy,
    pub(in crate::admin) namespaces: Namespaces,
    pub(in crate::admin) datapath: Datapath,
    pub(in crate::admin) health: Health,
    pub(in crate::admin) log: Log,
    pub(in crate::admin) log_options: LogOptions,
}

/// Everything is the next agent's; what this one still has open is recorded there.
#[derive(Debug)]
pub(in crate::admin) struct HandedOver {
    /// The next agent has ended, and with it the way to the log.
    pub(in crate::admin) lost: CancellationToken,
}

/// Why this agent cannot go on: another has failed to take over, and the log is gone.
#[derive(Debug, thiserror::Error)]
#[error("a new agent failed to take over, and the audit log cannot be opened again: {0}")]
pub(in crate::admin) struct Orphaned(String);

/// Waits for a new agent and hands over to it. None when told to stop; a hand-over that has begun then ends first.
///
/// # Errors
/// [`Orphaned`]: nothing can be recorded any more.
pub(in crate::admin) async fn serve(
    socket: &SocketFile,
    estate: Arc<Estate>,
    stop: CancellationToken,
) -> Result<Option<HandedOver>, Orphaned> {
    loop {
        let accepted = tokio::select! {
            accepted = socket.listener().accept() => accepted,
            () = stop.cancelled() => return Ok(None),
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a new agent");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (estate, runtime) = (Arc::clone(&estate), Handle::current());
        match spawn_blocking(move || estate.hand_over(stream, &runtime)).await {
            Ok(Ok(handed_over)) => return Ok(Some(handed_over)),
            Ok(Err(Failed::Harmless(reason))) => tracing::warn!(%reason, "a new agent has not taken over"),
            Ok(Err(Failed::Orphaned(orphaned))) => return Err(orphaned),
            Err(error) => tracing::error!(%error, "handing over has ended early"),
        }
    }
}

/// How handing over failed.
enum Failed {
    /// This agent serves as before.
    Harmless(HandoverError),
    Orphaned(Orphaned),
}

impl Estate {
    fn hand_over(&self, stream: UnixStream, runtime: &Handle) -> Result<HandedOver, Failed> {
        let greet = || {
            let stream = stream.into_std().map_err(failed("take the connection"))?;
            let mut wire = Wire::new(stream)?;
            self.greet(&mut wire)?;
            Ok(wire)
        };
        let mut wire = greet().map_err(Failed::Harmless)?;
        let successor = Successor::of(&wire);
        tracing::info!("a new agent takes over");
        self.health.hands_off(true);
        let queue = match self.lend(&mut wire).and_then(|()| self.release(runtime)) {
            Ok(queue) => queue,
            Err(error) => {
                drop(wire);
                self.keep_on(&error, runtime);
                return Err(Failed::Harmless(error));
            }
        };
        match wait_until_it_serves(&mut wire) {
            Ok(()) => self.leave(wire, queue, runtime),
            Err(error) => {
                drop(wire);
                self.reopen(queue, &successor).map_err(Failed::Orphaned)?;
                self.keep_on(&error, runtime);
                Err(Failed::Harmless(error))
            }
        }
    }

    fn greet(&self, wire: &mut Wire) -> Result<(), HandoverError> {
        let doing = "greet the new agent";
        let (New::Hello { version, terms }, _) = wire.receive().map_err(failed(doing))? else {
            return Err(HandoverError::Unexpected { doing });
        };
        if let Some(why) = terms.differ_from(&self.terms) {
            wire.send(&Running::Refused { why: why.clone() }, &[]).map_err(failed(doing))?;
            return Err(HandoverError::Refused(format!("to weir {version}: {why}")));
        }
        let version = env!("CARGO_PKG_VERSION").to_owned();
        wire.send(&Running::Welcome { version }, &[]).map_err(failed(doing))
    }

    /// Until the new agent asks for the log.
    fn lend(&self, wire: &mut Wire) -> Result<(), HandoverError> {
        let doing = "hand over the listeners";
        // It loads its programs first.
        wire.set_patience(Some(OPENING))?;
        loop {
            match wire.receive().map_err(failed(doing))?.0 {
                New::Take => {
                    for lent in self.namespaces.lend() {
                        let namespace = Running::Namespace { witness: lent.witness() };
                        wire.send(&namespace, &lent.descriptors()).map_err(failed(doing))?;
                    }
                    let known = Running::Known { addresses: self.proxy.known_addresses() };
                    wire.send(&known, &[]).map_err(failed(doing))?;
                }
                New::Release => return Ok(()),
                _ => return Err(HandoverError::Unexpected { doing }),
            }
        }
    }

    /// Lets go of the log. Tasks that belong to its writer must have ended before, and are the next agent's from here on.
    fn release(&self, runtime: &Handle) -> Result<Queue, HandoverError> {
        runtime.block_on(self.log.release()).map_err(|error| HandoverError::Log(error.to_string()))
    }

    /// The point of no return: the new agent has everything.
    fn leave(&self, mut wire: Wire, queue: Queue, runtime: &Handle) -> Result<HandedOver, Failed> {
        {
            let _accepting_ends_there = runtime.enter();
            self.namespaces.leave();
        }
        let lost = CancellationToken::new();
        let orphaned = |error: io::Error| Failed::Orphaned(Orphaned(error.to_string()));
        let lifeline = wire.lifeline().map_err(orphaned)?;
        let gone = lost.clone();
        let watch = move || {
            lifeline.wait();
            gone.cancel();
        };
        thread::Builder::new().name("weir-lifeline".into()).spawn(watch).map_err(orphaned)?;
        // If it has ended by now, the relay finds out.
        if let Err(error) = wire.send(&Running::Left, &[]) {
            tracing::warn!(%error, "the new agent has gone");
        }
        queue.relay(Relay { wire }).map_err(orphaned)?;
        Ok(HandedOver { lost })
    }

    /// Opens the log again. Nobody else may have it: a new agent that hangs is killed.
    fn reopen(&self, mut queue: Queue, successor: &Successor) -> Result<(), Orphaned> {
        let began = Instant::now();
        loop {
            let NotOpened { queue: waiting, error } = match queue.resume(&self.log_options) {
                Ok(_) => return Ok(()),
                Err(not_opened) => not_opened,
            };
            if began.elapsed() > REOPENING {
                return Err(Orphaned(error.to_string()));
            }
            tracing::warn!(%error, "the audit log is not free: the new agent is killed");
            successor.kill();
            thread::sleep(Duration::from_millis(100));
            queue = waiting;
        }
    }

    /// Undoes what the new agent did.
    fn keep_on(&self, reason: &HandoverError, runtime: &Handle) {
        if let Err(error) = self.datapath.reclaim() {
            tracing::error!(%error, "the programs of the agent that failed stay attached");
        }
        self.health.hands_off(false);
        let life = Life::KeptOn { reason: reason.to_string() };
        if let Err(error) = runtime.block_on(record_life(&self.log, life)) {
            tracing::error!(%error, "that another agent failed could not be recorded");
        }
    }
}

fn wait_until_it_serves(wire: &mut Wire) -> Result<(), HandoverError> {
    let doing = "wait for the new agent to serve";
    wire.send(&Running::Released, &[]).map_err(failed(doing))?;
    match wire.receive().map_err(failed(doing))?.0 {
        New::Serves => Ok(()),
        _ => Err(HandoverError::Unexpected { doing }),
    }
}

/// The new agent's process.
struct Successor(Option<std::os::fd::OwnedFd>);

impl Successor {
    fn of(wire: &Wire) -> Self {
        Self(wire.peer().and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()))
    }

    fn kill(&self) {
        if let Some(process) = &self.0 {
            // It may have ended.
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
    }
}

/// To the agent that has the log.
struct Relay {
    wire: Wire,
}

impl Courier for Relay {
    fn carry(&mut self, events: &[&str]) -> io::Result<Vec<Answer>> {
        let events = events.iter().map(|event| RawValue::from_string((*event).to_owned()));
        let events = events.collect::<Result<Vec<_>, _>>()?;
        self.wire.send(&Running::Records(events), &[])?;
        match self.wire.receive()?.0 {
            New::Kept(answers) => Ok(answers),
            _ => Err(io::Error::other("the agent that keeps the log said something unexpected")),
        }
    }
}
