//! One shard, read by `GetRecords` from where it begins until somebody has seen enough.

use std::{sync::Arc, time::Duration};

use aws_sdk_kinesis::{
    Client,
    error::SdkError,
    operation::get_records::{GetRecordsError, GetRecordsOutput},
    types::ShardIteratorType,
};
use aws_smithy_types::DateTime;
use tokio::sync::{Semaphore, mpsc};

use crate::audit::ship::{
    aws::{Connector, code, describe, is_refusal, is_throttle},
    backoff::Backoff,
};

/// Most records of an answer (`GetRecords`), and most bytes: the service keeps to both, others that speak its language may not.
const RECORDS: usize = 10_000;
const BYTES: usize = 10 << 20;
/// Records of the first answer, before it is known how long they are.
const FIRST: usize = 100;
/// A shard answers five requests a second, to all its readers together; at its tip one of them is left to each.
const POLL: Duration = Duration::from_secs(1);
/// So many failures in a row are no accident; about a minute.
const ATTEMPTS: u32 = 12;

/// What a shard's reader needs.
pub(super) struct Shard {
    pub(super) stream: String,
    pub(super) shard: String,
    /// Which of the sources it is.
    pub(super) source: usize,
    /// Where to begin; otherwise with the oldest record.
    pub(super) since: Option<DateTime>,
    pub(super) connector: Arc<Connector>,
    pub(super) client: Client,
    /// How many may ask at once.
    pub(super) requests: Arc<Semaphore>,
    pub(super) answers: mpsc::Sender<Found>,
}

/// An answer.
pub(super) struct Found {
    /// Which of the sources it came from.
    pub(super) source: usize,
    /// The data of its records, in order.
    pub(super) records: Vec<Vec<u8>>,
    /// How far the shard has been read with it.
    pub(super) state: State,
}

/// How far a shard has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// There is more.
    Behind,
    /// To its newest record.
    Tip,
    /// To its end: it was split or merged, and there will be no more.
    Closed,
}

impl Shard {
    /// Reads until the shard ends or nobody listens.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    pub(super) async fn read(self) -> Result<(), String> {
        let (mut backoff, mut failures) = (Backoff::default(), 0);
        let mut last = None;
        let mut iterator = None;
        let mut limit = FIRST;
        loop {
            let asked = {
                let Ok(_one) = self.requests.acquire().await else { return Ok(()) };
                self.ask(&mut iterator, last.as_deref(), limit).await
            };
            match asked {
                Ok(answer) => {
                    (backoff, failures) = (Backoff::default(), 0);
                    last = answer.records().last().map(|record| record.sequence_number().to_owned()).or(last);
                    let (behind, next) = (answer.millis_behind_latest, answer.next_shard_iterator);
                    let records: Vec<_> = answer.records.into_iter().map(|record| record.data.into_inner()).collect();
                    let state = match (&next, behind) {
                        (None, _) => State::Closed,
                        // Whoever is told not to be behind, and yet gets all that an answer may hold, is.
                        (Some(_), Some(0)) if !is_full(&records, limit) => State::Tip,
                        (Some(_), _) => State::Behind,
                    };
                    iterator = next;
                    limit = next_limit(&records).unwrap_or(limit);
                    let told = self.answers.send(Found { source: self.source, records, state }).await;
                    match state {
                        _ if told.is_err() => return Ok(()),
                        State::Closed => return Ok(()),
                        State::Tip => tokio::time::sleep(POLL).await,
                        State::Behind => {}
                    }
                }
                Err(Trouble::Throttled) => tokio::time::sleep(backoff.next()).await,
                Err(Trouble::Failed(reason)) => {
                    failures += 1;
                    if failures == ATTEMPTS {
                        return Err(format!("{}: {reason}", self.shard));
                    }
                    tokio::time::sleep(backoff.next()).await;
                }
                Err(Trouble::Refused(reason)) => return Err(format!("{}: {reason}", self.shard)),
            }
        }
    }

    /// Asks for what follows `iterator`, or without one for what follows the record `last`.
    async fn ask(
        &self,
        iterator: &mut Option<String>,
        last: Option<&str>,
        limit: usize,
    ) -> Result<GetRecordsOutput, Trouble> {
        let from = match iterator {
            Some(iterator) => iterator.clone(),
            None => self.iterator(last).await?,
        };
        let asked = self
            .client
            .get_records()
            .shard_iterator(&from)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await;
        // After five minutes it is no longer known: whatever happened, the next attempt takes a new one unless this is kept.
        *iterator = Some(from);
        asked.map_err(|error| {
            if error.as_service_error().is_some_and(GetRecordsError::is_expired_iterator_exception) {
                *iterator = None;
            }
            self.trouble(&error)
        })
    }

    async fn iterator(&self, last: Option<&str>) -> Result<String, Trouble> {
        let request = self.client.get_shard_iterator().stream_name(&self.stream).shard_id(&self.shard);
        let request = match (last, self.since) {
            (Some(last), _) => {
                request.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).starting_sequence_number(last)
            }
            (None, Some(since)) => request.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(since),
            (None, None) => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
        };
        let answer = request.send().await.map_err(|error| self.trouble(&error))?;
        answer.shard_iterator.ok_or_else(|| Trouble::Failed("an answer without an iterator".into()))
    }

    fn trouble<E>(&self, error: &SdkError<E>) -> Trouble
    where
        E: aws_sdk_kinesis::error::ProvideErrorMetadata + std::error::Error + 'static,
    {
        let code = code(error);
        if is_throttle(code) {
            return Trouble::Throttled;
        }
        let text = describe(error);
        let mends = self.connector.corrects_clock(error) || code == Some("ExpiredIteratorException");
        let answered = error.raw_response().is_some();
        if answered && is_refusal(error) && !mends { Trouble::Refused(text) } else { Trouble::Failed(text) }
    }
}

/// How many records of the length that these have are an answer; none where there were none.
fn next_limit(records: &[Vec<u8>]) -> Option<usize> {
    let bytes: usize = records.iter().map(Vec::len).sum();
    let length = bytes.checked_div(records.len())?.max(1);
    Some((BYTES / length).clamp(1, RECORDS))
}

/// Whether an answer holds about as much as it may, so that there may be more.
fn is_full(records: &[Vec<u8>], limit: usize) -> bool {
    records.len() >= limit || records.iter().map(Vec::len).sum::<usize>() >= BYTES / 2
}

/// Why there is no answer.
enum Trouble {
    /// Too much was asked.
    Throttled,
    /// It may work the next time.
    Failed(String),
    /// It will not.
    Refused(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_records_are_asked_for_as_an_answer_may_hold() {
        assert_eq!(next_limit(&[]), None);
        assert_eq!(next_limit(&[vec![0; 1 << 20], vec![0; 1 << 20]]), Some(10));
        assert_eq!(next_limit(&[vec![0; 20 << 20]]), Some(1));
        assert_eq!(next_limit(&[vec![0; 1 << 10], Vec::new()]), Some(RECORDS));
        assert_eq!(next_limit(&[Vec::new()]), Some(RECORDS));
    }

    #[test]
    fn an_answer_that_was_cut_off_is_full() {
        assert!(!is_full(&[], 100) && !is_full(&vec![vec![0; 9]; 99], 100));
        assert!(is_full(&vec![vec![0; 9]; 100], 100) && is_full(&vec![vec![0; 1 << 20]; 9], 100));
    }
}
