//! Records of an agent that has handed the log over: it sends them to the agent that keeps the log now, which appends them
//! to the chain and answers with the receipt. So evidence still comes before its effect, and the log has one writer.
//!
//! The first agent's end is [`Courier`], the second's [`Guest`]. What the first leaves open when it ends is settled by the
//! second.

use std::{io, thread};

use serde::{Deserialize, Serialize};

use super::{
    chain::MAX_EVENT,
    flows::FlowRecord,
    log::{AppendError, Entry, Job, Log, Receipt},
    open_calls::{Finder, Mark, OpenCall},
    queue::Jobs,
    recovery::Recovery,
};

/// Most records sent at once.
const BATCH: usize = 256;
/// Most bytes of records sent at once; a single record may be longer.
const BATCH_BYTES: usize = 1 << 20;

/// What became of a record that was sent: where it stands, or why it is not kept.
pub type Answer = Result<Receipt, Declined>;

/// Why the log's keeper has not kept a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Declined(pub String);

/// Carries records to the agent that keeps the log.
pub trait Courier: Send + 'static {
    /// Sends the texts of some events, and waits for an answer to each, in their order. Blocks.
    ///
    /// # Errors
    /// The other agent is gone, or does not answer: nothing can be recorded any more.
    fn carry(&mut self, events: &[&str]) -> io::Result<Vec<Answer>>;
}

/// Starts the thread that empties the queue by `courier`. It ends when the log is closed, or the courier fails.
pub(super) fn spawn(jobs: Jobs, courier: impl Courier) -> io::Result<()> {
    thread::Builder::new().name("weir-relay".to_owned()).spawn(move || run(jobs, courier)).map(drop)
}

fn run(mut jobs: Jobs, mut courier: impl Courier) {
    while let Some(batch) = jobs.take(BATCH) {
        let mut entries = Vec::with_capacity(batch.len());
        let mut closing = None;
        for job in batch {
            match job {
                Job::Append(entry) if closing.is_none() => entries.push(entry),
                Job::Close(reply) if closing.is_none() => closing = Some(reply),
                // What comes after the end, and who wants a log that is not here any more, learns it from its dropped reply.
                Job::Append(_) | Job::Sync(_) | Job::Close(_) | Job::Release(_) => {}
            }
        }
        if let Err(error) = carry(&mut courier, entries) {
            tracing::error!(%error, "the agent that keeps the audit log is gone: nothing can be recorded");
            return;
        }
        if let Some(reply) = closing {
            // The connection ends before the answer: whoever waits for it may end the process.
            drop(courier);
            let _ = reply.send(Ok(()));
            return;
        }
    }
}

fn carry(courier: &mut impl Courier, mut entries: Vec<Entry>) -> io::Result<()> {
    while !entries.is_empty() {
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            bytes += entry.event.len();
            bytes <= BATCH_BYTES
        };
        let count = entries.iter().take_while(fits).count().max(1);
        let rest = entries.split_off(count);
        let texts: Vec<&str> = entries.iter().map(|entry| entry.event.as_str()).collect();
        let answers = courier.carry(&texts)?;
        if answers.len() != entries.len() {
            return Err(io::Error::other("not as many answers as records"));
        }
        for (entry, answer) in entries.into_iter().zip(answers) {
            let answer = answer.map_err(|Declined(why)| AppendError::Declined(why));
            // Whoever no longer waits has dropped its end.
            let _ = entry.reply.send(answer);
        }
        entries = rest;
    }
    Ok(())
}

/// The agent that handed the log over, to the one that keeps it now: its records are entered, and what it leaves open is
/// known.
#[derive(Debug)]
pub struct Guest {
    log: Log,
    carried: Finder,
}

impl Guest {
    /// `open_calls` are those that the log held when it was taken over: its former keeper still carries them.
    #[must_use]
    pub fn new(log: Log, open_calls: Vec<OpenCall>) -> Self {
        Self { log, carried: Finder::with(open_calls) }
    }

    /// Enters some of its records.
    pub async fn enter(&mut self, events: Vec<String>) -> Vec<Answer> {
        let mut waiting = Vec::with_capacity(events.len());
        for event in events {
            let sent = self.send(&event).await;
            waiting.push((event, sent));
        }
        let mut answers = Vec::with_capacity(waiting.len());
        for (event, sent) in waiting {
            let answer = match sent {
                Ok(sent) => sent.await.map_err(|_| AppendError::Closed).flatten(),
                Err(error) => Err(error),
            };
            if let Ok(receipt) = &answer {
                self.carried.see(receipt.seq, &event);
                if let Some(FlowRecord { tally: Some(endpoint), .. }) = FlowRecord::of_text(&event) {
                    self.log.count_flow(*receipt, &endpoint);
                }
            }
            answers.push(answer.map_err(|error| Declined(error.to_string())));
        }
        answers
    }

    async fn send(
        &self,
        event: &str,
    ) -> Result<tokio::sync::oneshot::Receiver<Result<Receipt, AppendError>>, AppendError> {
        // Another agent wrote it; a line must stay a line.
        if event.len() > MAX_EVENT || event.contains('\n') {
            return Err(AppendError::TooLarge(event.len()));
        }
        self.log.send(event.to_owned(), Mark::of_text(event)).await
    }

    /// It has ended: `outcome = "unknown"` for each call that it left open. Says how many.
    ///
    /// # Errors
    /// [`AppendError`]; what was not written is found at the next opening.
    pub async fn settle(self) -> Result<u64, AppendError> {
        let open_calls = self.carried.finish();
        let left = open_calls.len() as u64;
        self.log.settle(Recovery { open_calls, ..Recovery::default() }).await?;
        Ok(left)
    }
}
