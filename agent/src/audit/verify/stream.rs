//! A live Kinesis stream: every shard from its oldest record, or a time, to its newest, while it is being written.
//!
//! A stream has no order and no end, so a record that is missing may be on its way: shards are read at different moments, and
//! a host sends again what was not accepted. While it is being written there is nearly always something on its way, so the
//! end is drawn when every shard has been read to its newest record once: what each log has by then is checked, and what
//! comes after is left out. The reader goes on until nothing is missing before that end, for as long as it was told to be
//! patient; what is then still missing is a finding.

mod late;
mod shard;

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_sdk_kinesis::Client;
use aws_smithy_types::DateTime;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

use self::{
    late::Late,
    shard::{Found, Shard, State},
};
use super::{Expectations, From, Progress, Report, VerifyError, collect::Collector};
use crate::{
    audit::ship::aws::{Connector, describe},
    config,
};

/// Answers on their way from the shards: each holds at most 10 MiB.
const ANSWERS: usize = 4;
/// Requests under way at once.
const REQUESTS: usize = 8;
/// How often it is looked whether all has come.
const LOOK: Duration = Duration::from_millis(250);

/// Checks the logs in a stream.
///
/// `patience` is how long records that are missing between others are waited for, once the stream has been read.
///
/// # Errors
/// [`VerifyError::Stream`] when it cannot be read; what is wrong with the logs is in the [`Report`].
pub async fn verify_stream(
    stream: &config::Kinesis,
    expect: &Expectations,
    patience: Duration,
    mut progress: impl FnMut(Progress),
) -> Result<Report, VerifyError> {
    let failed = |reason: String| VerifyError::Stream { stream: stream.stream.clone(), reason };
    let kept = |error: io::Error| VerifyError::Io { dir: std::env::temp_dir(), error };
    let connector = Arc::new(Connector::new("audit.kinesis", stream.region.as_deref(), stream.endpoint_url.as_deref()));
    let client = Client::new(&connector.prepare().await.map_err(failed)?);
    let (answers, mut found) = mpsc::channel(ANSWERS);
    let mut reading = Reading {
        stream: stream.stream.clone(),
        since: match expect.from {
            Some(From::Time(time)) => Some(DateTime::from_millis(time.as_millisecond())),
            Some(From::Seq(_)) | None => None,
        },
        connector,
        client,
        requests: Arc::new(Semaphore::new(REQUESTS)),
        answers,
        tasks: JoinSet::new(),
        sources: Vec::new(),
        known: HashSet::new(),
        collector: Collector::new(),
        late: Late::default(),
    };
    reading.find_shards().await.map_err(failed)?;
    let mut end: Option<End> = None;
    loop {
        tokio::select! {
            Some(answer) = found.recv() => {
                let ended = answer.state == State::Closed;
                reading.take(answer).map_err(kept)?;
                if ended {
                    reading.find_shards().await.map_err(failed)?;
                }
                progress(Progress { done: reading.collector.bytes, of: None, unit: "bytes" });
            }
            Some(ended) = reading.tasks.join_next() => {
                ended.map_err(|error| failed(error.to_string()))?.map_err(failed)?;
            }
            () = tokio::time::sleep(LOOK) => {}
        }
        if end.is_none() && reading.has_seen_every_tip() {
            end = Some(End { drawn: Instant::now(), newest: reading.late.newest() });
        }
        if end.as_ref().is_some_and(|end| !end.waits(&reading.late) || end.drawn.elapsed() >= patience) {
            break;
        }
    }
    reading.tasks.shutdown().await;
    if let Some(newest) = end.and_then(|end| end.newest) {
        reading.collector.ends_at(newest);
    }
    reading.collector.finish(expect, progress).map_err(kept)
}

/// Up to where a stream is checked.
struct End {
    drawn: Instant,
    /// The newest record of each log; none when too much was missing to tell, and everything is checked.
    newest: Option<HashMap<u32, u64>>,
}

impl End {
    /// Something before it has not come yet.
    fn waits(&self, late: &Late) -> bool {
        self.newest.as_ref().is_none_or(|newest| late.misses_up_to(newest))
    }
}

/// A stream that is being read.
struct Reading {
    stream: String,
    since: Option<DateTime>,
    connector: Arc<Connector>,
    client: Client,
    requests: Arc<Semaphore>,
    answers: mpsc::Sender<Found>,
    tasks: JoinSet<Result<(), String>>,
    sources: Vec<Source>,
    known: HashSet<String>,
    collector: Collector,
    late: Late,
}

/// A shard, as far as it has been read.
struct Source {
    number: u32,
    offset: u64,
    /// Its newest record was read, once.
    seen_to_tip: bool,
}

impl Reading {
    /// Begins to read the shards that are not read yet: all at first, later what others were split or merged into.
    async fn find_shards(&mut self) -> Result<(), String> {
        let mut next = None;
        loop {
            let request = self.client.list_shards();
            let request = match next {
                Some(token) => request.next_token(token),
                None => request.stream_name(&self.stream),
            };
            let answer = request.send().await.map_err(|error| describe(&error))?;
            for shard in answer.shards() {
                self.read(shard.shard_id()).map_err(|error| error.to_string())?;
            }
            next = answer.next_token;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    fn read(&mut self, shard: &str) -> io::Result<()> {
        if !self.known.insert(shard.to_owned()) {
            return Ok(());
        }
        let number = self.collector.source(format!("{}/{shard}", self.stream))?;
        let reader = Shard {
            stream: self.stream.clone(),
            shard: shard.to_owned(),
            source: self.sources.len(),
            since: self.since,
            connector: Arc::clone(&self.connector),
            client: self.client.clone(),
            requests: Arc::clone(&self.requests),
            answers: self.answers.clone(),
        };
        self.sources.push(Source { number, offset: 0, seen_to_tip: false });
        self.tasks.spawn(reader.read());
        Ok(())
    }

    fn take(&mut self, found: Found) -> io::Result<()> {
        let Some(source) = self.sources.get_mut(found.source) else { return Ok(()) };
        source.seen_to_tip |= found.state != State::Behind;
        for record in found.records {
            for line in record.split_inclusive(|byte| *byte == b'\n') {
                if let Some((log, seq)) = self.collector.line(source.number, source.offset, line)? {
                    self.late.arrived(log, seq);
                }
                source.offset += line.len() as u64;
            }
        }
        Ok(())
    }

    /// Whether every shard has been read to what was its newest record then.
    fn has_seen_every_tip(&self) -> bool {
        self.sources.iter().all(|source| source.seen_to_tip)
    }
}
