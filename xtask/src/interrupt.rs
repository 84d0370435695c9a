//! Ctrl-C: what was made is cleaned up first.

use std::{
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// How often a wait looks up.
const POLL: Duration = Duration::from_millis(50);

/// SIGINT, SIGTERM or SIGHUP, as something to wait for.
pub(crate) struct Interrupt(Receiver<()>);

impl Interrupt {
    /// From here on such a signal no longer ends the process.
    pub(crate) fn listen() -> Result<Self> {
        let (raise, raised) = mpsc::channel();
        // A second signal while the first is being answered changes nothing.
        let handler = move || raise.send(()).unwrap_or(());
        ctrlc::set_handler(handler).context("cannot handle Ctrl-C")?;
        Ok(Self(raised))
    }

    /// Pauses a moment.
    ///
    /// # Errors
    /// The signal has come.
    pub(crate) fn check(&self) -> Result<()> {
        match self.0.recv_timeout(POLL) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => bail!("interrupted"),
        }
    }

    /// Waits for the signal.
    pub(crate) fn wait(&self) {
        let _ = self.0.recv();
    }
}
