//! The new agent's part: it takes what the running agent has, step by step, and keeps its records from then on.

use std::{convert::Infallible, io, os::unix::net::UnixStream, path::Path, thread};

use tokio::{runtime::Handle, sync::oneshot};

use super::{
    HandoverError, New, OPENING, PATIENCE, Running, Terms, socket_path,
    wire::{Wire, failed},
};
use crate::{
    admin::run::record_life,
    audit::{
        event::Life,
        log::{AppendError, Log},
        open_calls::OpenCall,
        relay::Guest,
    },
    proxy::{Inherited, KnownAddress},
};

/// A running agent that has agreed to hand over. It serves until [`Predecessor::replace`].
#[derive(Debug)]
pub(in crate::admin) struct Predecessor {
    wire: Wire,
    version: String,
    pid: u32,
}

/// What it had.
#[derive(Debug)]
pub(in crate::admin) struct Inheritance {
    /// Its namespaces.
    pub(in crate::admin) namespaces: Vec<Inherited>,
    /// The addresses that it knew.
    pub(in crate::admin) addresses: Vec<KnownAddress>,
}

impl Predecessor {
    /// Finds the agent that runs with this state directory, and asks it whether it would hand over. None when none runs.
    ///
    /// # Errors
    /// One runs and will not, or does not answer.
    pub(in crate::admin) fn find(state_dir: &Path, terms: Terms) -> Result<Option<Self>, HandoverError> {
        let doing = "ask the running agent to hand over";
        let stream = match UnixStream::connect(socket_path(state_dir)) {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(failed(doing)(error)),
        };
        let mut wire = Wire::new(stream)?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        wire.send(&New::Hello { version, terms }, &[]).map_err(failed(doing))?;
        match wire.receive().map_err(failed(doing))?.0 {
            Running::Welcome { version } => {
                let pid = wire.peer().map_or(0, |pid| pid.as_raw_nonzero().get().cast_unsigned());
                Ok(Some(Self { wire, version, pid }))
            }
            Running::Refused { why } => Err(HandoverError::Refused(why)),
            _ => Err(HandoverError::Unexpected { doing }),
        }
    }

    /// What the log is to say of it.
    pub(in crate::admin) fn took_over(&self) -> Life {
        Life::TookOver { pid: self.pid, version: self.version.clone() }
    }

    /// Takes what it has besides the log. It goes on serving with the same.
    ///
    /// # Errors
    /// [`HandoverError`].
    pub(in crate::admin) fn take(&mut self) -> Result<Inheritance, HandoverError> {
        let doing = "take over the running agent's listeners";
        self.wire.send(&New::Take, &[]).map_err(failed(doing))?;
        let mut namespaces = Vec::new();
        loop {
            match self.wire.receive().map_err(failed(doing))? {
                (Running::Namespace { witness }, descriptors) => {
                    namespaces.push(Inherited::new(descriptors, witness).map_err(failed(doing))?);
                }
                (Running::Known { addresses }, _) => return Ok(Inheritance { namespaces, addresses }),
                _ => return Err(HandoverError::Unexpected { doing }),
            }
        }
    }

    /// Has it let go of the log. Its calls wait from now on, until [`Self::replace`].
    ///
    /// # Errors
    /// [`HandoverError`]; it has its log still, or again.
    pub(in crate::admin) fn release_log(&mut self) -> Result<(), HandoverError> {
        let doing = "take over the running agent's audit log";
        self.wire.send(&New::Release, &[]).map_err(failed(doing))?;
        self.wire.set_patience(Some(OPENING))?;
        match self.wire.receive().map_err(failed(doing))?.0 {
            Running::Released => Ok(()),
            Running::Refused { why } => Err(HandoverError::Refused(why)),
            _ => Err(HandoverError::Unexpected { doing }),
        }
    }

    /// From here on this agent is the one that serves. The other accepts no more, and what it would append to the log is
    /// appended here; `open_calls` are its own. Gives what tells when it has ended.
    ///
    /// # Errors
    /// [`HandoverError`], when it cannot be told any more.
    pub(in crate::admin) fn replace(
        mut self,
        log: Log,
        open_calls: Vec<OpenCall>,
    ) -> Result<oneshot::Receiver<()>, HandoverError> {
        let doing = "replace the running agent";
        self.wire.send(&New::Serves, &[]).map_err(failed(doing))?;
        self.wire.set_patience(Some(PATIENCE))?;
        // Whatever it answers, or if it is gone by now: nobody else has the log and the listeners.
        match self.wire.receive() {
            Ok((Running::Left, _)) => {}
            Ok(_) => tracing::warn!("the former agent does not say that it accepts no more"),
            Err(error) => tracing::warn!(%error, "the former agent has gone"),
        }
        let guest = Guest::new(log.clone(), open_calls);
        let (end, ended) = oneshot::channel();
        let (runtime, pid) = (Handle::current(), self.pid);
        let keep = move || {
            if let Err(error) = keep_records(self.wire, guest, &log, pid, &runtime) {
                tracing::error!(%error, "the end of the former agent could not be recorded");
            }
            // Whoever no longer waits has ended.
            let _ = end.send(());
        };
        thread::Builder::new().name("weir-guest".into()).spawn(keep).map_err(failed(doing))?;
        Ok(ended)
    }
}

/// Keeps the former agent's records until it has ended, then says what it left open.
fn keep_records(mut wire: Wire, mut guest: Guest, log: &Log, pid: u32, runtime: &Handle) -> Result<(), AppendError> {
    let Err(end) = exchange(&mut wire, &mut guest, runtime);
    drop(wire);
    tracing::info!(pid, %end, "the former agent has ended");
    runtime.block_on(async {
        let open_calls = guest.settle().await?;
        record_life(log, Life::Drained { pid, open_calls }).await
    })
}

fn exchange(wire: &mut Wire, guest: &mut Guest, runtime: &Handle) -> Result<Infallible, HandoverError> {
    let doing = "keep the former agent's records";
    wire.set_patience(None)?;
    loop {
        let Running::Records(events) = wire.receive().map_err(failed(doing))?.0 else {
            return Err(HandoverError::Unexpected { doing });
        };
        let events = events.into_iter().map(|event| event.get().to_owned()).collect();
        let answers = runtime.block_on(guest.enter(events));
        wire.send(&New::Kept(answers), &[]).map_err(failed(doing))?;
    }
}
