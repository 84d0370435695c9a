//! An Amazon Kinesis data stream.
//!
//! Requests stay within what every stream accepts: 500 records, 1 MiB a record and 5 MiB a request, partition keys counted
//! (`PutRecords`). Keys are random, so that every shard gets its share and a retried record may find another one; order is in
//! the lines (log, seq, prev). While few lines wait, each is a record of its own; while many do, lines share records of
//! up to one PUT payload unit: readers split at newlines.

mod pace;

use std::time::Instant;

use aws_lc_rs::rand;
use aws_sdk_kinesis::{
    Client,
    operation::put_records::PutRecordsOutput,
    primitives::Blob,
    types::{PutRecordsRequestEntry, PutRecordsResultEntry},
};

use self::pace::Pace;
use super::{
    super::chain::{MAX_LINE, hex},
    aws::{self, Connector, is_throttle},
    batch::{Batch, Bounds, Part},
    sink::{Sink, Trouble},
};
use crate::config;

/// Most records of a request.
const MAX_RECORDS: usize = 500;
/// Most bytes of a request, partition keys included.
const MAX_REQUEST: usize = 5 << 20;
/// Bytes of a partition key: 8 random ones in hex.
const KEY: usize = 16;
/// Lines share a record up to here: a PUT payload unit is 25 KB.
const UNIT: usize = 24 << 10;
/// So many lines are not worth joining.
const FEW: usize = 32;

/// A batch always fits: joined neighbours fill their records more than half.
const BATCH_BYTES: usize = MAX_REQUEST - MAX_RECORDS * KEY;
const _: () = assert!(2 * BATCH_BYTES / UNIT < MAX_RECORDS);
// A line leaves room for its key: `MAX_EVENT` is less than a line by more than what the envelope takes.
const _: () = assert!(MAX_LINE <= 1 << 20);

/// The sink.
#[derive(Debug)]
pub(crate) struct Kinesis {
    config: config::Kinesis,
    connector: Connector,
    /// Made at the first request, and anew when the service no longer knows who asks.
    client: Option<Client>,
    pace: Pace,
}

impl Kinesis {
    pub(crate) fn new(config: config::Kinesis) -> Self {
        let connector = Connector::new("audit.kinesis", config.region.as_deref(), config.endpoint_url.as_deref());
        Self { config, connector, client: None, pace: Pace::default() }
    }

    /// Asks the service for the stream, as `weir doctor` does.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) async fn probe(&self) -> Result<String, String> {
        let client = Client::new(&self.connector.prepare().await?);
        let asked = client.describe_stream_summary().stream_name(&self.config.stream).send().await;
        let answer = asked.map_err(|error| aws::describe(&error))?;
        let Some(summary) = answer.stream_description_summary() else { return Err("an empty answer".into()) };
        Ok(format!("{}, {}, {} shards", summary.stream_arn(), summary.stream_status(), summary.open_shard_count()))
    }

    /// Sends what one request may hold from the front of `unsent`, and takes out what arrived.
    async fn request(&mut self, batch: &mut Batch) -> Result<(), Trouble> {
        let client = match &self.client {
            Some(client) => client,
            None => self.client.insert(Client::new(&self.connector.prepare().await.map_err(Trouble::Failed)?)),
        };
        let count = fitting(&batch.unsent, self.pace.request_bytes(MAX_REQUEST));
        let sent = batch.unsent[..count].iter().map(|part| part.bytes.len() + KEY).sum();
        tokio::time::sleep(self.pace.turn(sent, Instant::now())).await;
        let entries = entries(batch, count).map_err(Trouble::Failed)?;
        let request = client.put_records().stream_name(&self.config.stream).set_records(Some(entries));
        match request.send().await {
            Ok(answer) => {
                let refused = settle(&mut batch.unsent, count, &answer).map_err(Trouble::Failed)?;
                let Some(refused) = refused else {
                    self.pace.accepted(sent, Instant::now());
                    return Ok(());
                };
                if is_throttle(refused.error_code()) {
                    let left = batch.unsent[..refused.count].iter().map(|part| part.bytes.len() + KEY).sum();
                    self.pace.throttled(sent.saturating_sub(left), Instant::now());
                }
                Err(refused.trouble())
            }
            Err(error) => {
                let text = aws::describe(&error);
                if is_throttle(aws::code(&error)) {
                    self.pace.throttled(0, Instant::now());
                    return Err(Trouble::Throttled(text));
                }
                if self.connector.corrects_clock(&error) || aws::is_refusal(&error) {
                    // Credentials may have been replaced: ask for them again.
                    self.client = None;
                }
                Err(Trouble::Failed(text))
            }
        }
    }
}

impl Sink for Kinesis {
    fn bounds(&self) -> Bounds {
        Bounds { lines: if self.config.pack { usize::MAX } else { MAX_RECORDS }, bytes: BATCH_BYTES }
    }

    async fn deliver(&mut self, batch: &mut Batch) -> Result<(), Trouble> {
        if self.config.pack && batch.unsent.len() > FEW {
            batch.join(UNIT);
        }
        while !batch.unsent.is_empty() {
            self.request(batch).await?;
        }
        Ok(())
    }
}

/// How many parts from the front a request of `most` bytes holds; at least one.
fn fitting(parts: &[Part], most: usize) -> usize {
    let mut bytes = 0;
    let fits = parts.iter().take(MAX_RECORDS).take_while(|part| {
        bytes += part.bytes.len() + KEY;
        bytes <= most
    });
    fits.count().max(1)
}

fn entries(batch: &Batch, count: usize) -> Result<Vec<PutRecordsRequestEntry>, String> {
    let mut keys = vec![0; count * KEY / 2];
    rand::fill(&mut keys).map_err(|_| "no random bytes for partition keys".to_owned())?;
    let parts = batch.unsent[..count].iter().zip(keys.chunks_exact(KEY / 2));
    let entry = parts.map(|(part, key)| {
        PutRecordsRequestEntry::builder().data(Blob::new(batch.bytes(part))).partition_key(hex(key)).build()
    });
    entry.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

/// What a request that was answered did not accept.
struct Refused {
    /// How many records; they are the first of what is unsent.
    count: usize,
    first: PutRecordsResultEntry,
}

impl Refused {
    fn error_code(&self) -> Option<&str> {
        self.first.error_code()
    }

    fn trouble(&self) -> Trouble {
        let code = self.error_code().unwrap_or("no reason");
        let text = format!("{} records not accepted: {code}: {}", self.count, self.first.error_message().unwrap_or(""));
        if is_throttle(self.error_code()) { Trouble::Throttled(text) } else { Trouble::Failed(text) }
    }
}

/// Takes what was accepted of the first `count` out of `unsent`; what was not stays, in order.
///
/// # Errors
/// When the answer does not fit the request: all of it is then taken for not accepted.
fn settle(unsent: &mut Vec<Part>, count: usize, answer: &PutRecordsOutput) -> Result<Option<Refused>, String> {
    let results = answer.records();
    if results.len() != count {
        return Err(format!("{} answers to {count} records", results.len()));
    }
    // Only a sequence number says that a record is stored.
    let refused = |result: &PutRecordsResultEntry| result.error_code().is_some() || result.sequence_number().is_none();
    let mut position = 0;
    unsent.retain(|_| {
        let keep = results.get(position).is_none_or(refused);
        position += 1;
        keep
    });
    let count = results.iter().filter(|result| refused(result)).count();
    Ok(results.iter().find(|result| refused(result)).map(|first| Refused { count, first: first.clone() }))
}

#[cfg(test)]
mod tests;
