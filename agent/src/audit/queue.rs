//! What is appended while the log passes from one agent to the next: a [`Log`](super::log::Log) is a queue, and who empties
//! it can change. A writer is one that may ([`Queue::open`]), an agent that has taken the log over is another
//! ([`Queue::relay`]). In between, appends wait; a queue that is dropped refuses them all.

use std::{fmt, io, mem, sync::Arc};

use tokio::sync::mpsc;

use super::{
    log::{Job, LogOptions},
    recovery::{OpenError, Recovery},
    relay::{self, Courier},
    report::Report,
    writer::{self, Epoch},
};

/// The records that wait for whoever keeps them.
pub struct Queue {
    jobs: Jobs,
    report: Arc<Report>,
}

/// The log could not be opened; what waits still waits.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct NotOpened {
    /// Nothing of it is lost.
    pub queue: Box<Queue>,
    /// Why.
    #[source]
    pub error: OpenError,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("report", &self.report).finish_non_exhaustive()
    }
}

impl Queue {
    pub(super) fn new(jobs: Jobs, report: Arc<Report>) -> Self {
        Self { jobs, report }
    }

    /// Opens the log in `options` for what waits and what follows, as a new epoch. Blocks while the tail is checked.
    ///
    /// # Errors
    /// [`NotOpened`].
    pub fn open(self, options: &LogOptions) -> Result<Recovery, NotOpened> {
        self.write(options, Epoch::Next)
    }

    /// Opens the log again after its hand-over has failed, in the epoch that it was left in if nobody has begun another.
    /// Calls that are open are still this agent's own, so none is reported. Blocks likewise.
    ///
    /// # Errors
    /// [`NotOpened`].
    pub fn resume(self, options: &LogOptions) -> Result<Recovery, NotOpened> {
        let epoch = self.report.status().epoch;
        let recovery = self.write(options, Epoch::StillOr(epoch))?;
        Ok(Recovery { open_calls: Vec::new(), ..recovery })
    }

    fn write(self, options: &LogOptions, epoch: Epoch) -> Result<Recovery, NotOpened> {
        let opened = match writer::open(options, epoch) {
            Ok(opened) => opened,
            Err(error) => return Err(NotOpened { queue: Box::new(self), error }),
        };
        let Self { jobs, report } = self;
        let writer = opened.writer.reporting_to(&report);
        match writer::spawn(writer, jobs) {
            Ok(()) => Ok(opened.recovery),
            Err((error, jobs)) => {
                let error = OpenError::io("start the writer thread of", &options.dir)(error);
                Err(NotOpened { queue: Box::new(Self { jobs, report }), error })
            }
        }
    }

    /// From now on another agent keeps what is appended here.
    ///
    /// # Errors
    /// The thread could not be started; everything that waits is refused.
    pub fn relay(self, courier: impl Courier) -> io::Result<()> {
        relay::spawn(self.jobs, courier)
    }
}

/// The queue's receiving end, with what was taken from it and not done.
pub(super) struct Jobs {
    queue: mpsc::Receiver<Job>,
    put_back: Vec<Job>,
}

impl Jobs {
    pub(super) fn new(queue: mpsc::Receiver<Job>) -> Self {
        Self { queue, put_back: Vec::new() }
    }

    /// Waits for the next; none when every [`Log`](super::log::Log) is gone.
    pub(super) fn take(&mut self, most: usize) -> Option<Vec<Job>> {
        if !self.put_back.is_empty() {
            return Some(mem::take(&mut self.put_back));
        }
        let mut batch = Vec::new();
        (self.queue.blocking_recv_many(&mut batch, most) > 0).then_some(batch)
    }

    /// What comes first when it is taken again.
    pub(super) fn put_back(&mut self, jobs: Vec<Job>) {
        self.put_back = jobs;
    }
}
