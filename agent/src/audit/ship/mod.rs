//! Sends the log's records on, to every sink that is configured, and lets go of what all of them have.
//!
//! The log is the buffer. A sink reads it by itself ([`source`]), from its own [`cursor`], and goes on only when a batch has
//! arrived ([`drive`]); so a crash, an outage or a slow sink costs time and duplicates, never records, and one sink never
//! waits for another. Only records on stable storage are read: what has left the host is never taken back.
//!
//! | sink | module | counts as arrived |
//! |---|---|---|
//! | a Kinesis data stream | [`kinesis`] | acknowledged, record by record |
//! | a file with rotation | [`file`] | written and synced |
//! | standard output | [`stdout`] | written |
//! | an OpenTelemetry collector | [`otlp`] | accepted |
//!
//! A sink is one module and one line in `Start::all`. [`retention`] deletes what is shipped. [`objects`] stores what records name
//! instead of holding it.

pub(in crate::audit) mod aws;
pub(in crate::audit) mod backoff;
mod batch;
mod cursor;
mod drive;
mod file;
mod http;
mod intent;
mod kinesis;
mod objects;
mod otlp;
mod probe;
mod retention;
mod sink;
mod source;
mod status;
mod stdout;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

pub use probe::{Probe, probe};
pub use status::SinkStatus;

use self::{
    cursor::Cursor,
    drive::{Driver, SharedCursor},
    intent::Intent,
    kinesis::Kinesis,
    objects::{Bucket, Uploader},
    retention::{Keeper, Limits},
    sink::Sink,
    source::Source,
    status::Meter,
};
use super::log::Log;
use crate::config::{self, Durability};

/// How often a log in `durability = "process"` is synced so that its records can leave.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Why shipping cannot begin.
#[derive(Debug, thiserror::Error)]
#[error("cannot prepare the sink `{sink}` in {dir}: {error}")]
pub struct StartError {
    /// The sink's name.
    pub sink: &'static str,
    /// The log's directory.
    pub dir: PathBuf,
    /// The system's word.
    pub error: io::Error,
}

/// Ships a log. Only the log's writer may: it is stopped before the log passes to another agent.
#[derive(Debug)]
pub struct Shipper {
    audit: config::Audit,
    dir: PathBuf,
    log: Log,
    tasks: Mutex<Tasks>,
}

/// What runs.
#[derive(Debug, Default)]
struct Tasks {
    meters: Vec<Meter>,
    set: JoinSet<()>,
    finish: CancellationToken,
}

impl Shipper {
    /// A shipper for `log`, which `config` says where to send. It does nothing until it is started.
    pub fn new(config: &config::Config, log: &Log) -> Self {
        Self { audit: config.audit.clone(), dir: config.audit_dir(), log: log.clone(), tasks: Mutex::default() }
    }

    /// Starts a task for each sink, from where its cursor stands, and one for retention; nothing if they run already. To be
    /// called within the runtime, once the log is this agent's. A sink that cannot be reached does not keep the agent from
    /// starting: its records wait.
    ///
    /// # Errors
    /// [`StartError`] when a cursor cannot be opened or written.
    pub fn start(&self) -> Result<(), StartError> {
        let mut tasks = self.tasks();
        if !tasks.set.is_empty() {
            return Ok(());
        }
        let mut start = Start { dir: &self.dir, log: &self.log, cursors: Vec::new(), tasks: Tasks::default() };
        start.all(&self.audit)?;
        *tasks = start.tasks;
        Ok(())
    }

    /// How each sink is doing.
    pub fn status(&self) -> Vec<SinkStatus> {
        let log = self.log.status();
        let unsynced = log.unsynced.map(|failing| failing.since);
        self.tasks().meters.iter().map(|meter| meter.read(log.last_seq, unsynced)).collect()
    }

    /// Ships what is in the log, for at most `within`, and stops. What is left is shipped by the next start. To be called
    /// before the log is closed or handed on.
    pub async fn stop(&self, within: Duration) {
        if self.audit.durability == Durability::Process
            && self.audit.has_sink()
            && let Err(error) = self.log.sync().await
        {
            tracing::warn!(%error, "the last records could not be synced, and are shipped by the next start");
        }
        let mut set = {
            let mut tasks = self.tasks();
            tasks.finish.cancel();
            std::mem::take(&mut tasks.set)
        };
        if timeout(within, async { while set.join_next().await.is_some() {} }).await.is_err() {
            for SinkStatus { name, lag_records, .. } in self.status() {
                tracing::warn!(sink = name, lag_records, "not everything is shipped yet; the next start goes on");
            }
            set.shutdown().await;
        }
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a start has put together so far.
struct Start<'a> {
    dir: &'a Path,
    log: &'a Log,
    cursors: Vec<SharedCursor>,
    tasks: Tasks,
}

impl Start<'_> {
    fn all(&mut self, audit: &config::Audit) -> Result<(), StartError> {
        if let Some(kinesis) = &audit.kinesis {
            self.sink("kinesis", format!("stream {}", kinesis.stream), Kinesis::new(kinesis.clone()))?;
        }
        if let Some(file) = &audit.file {
            self.sink("file", file.path.display().to_string(), file::Target::new(file.clone()))?;
        }
        if audit.stdout {
            let stdout = stdout::Stdout::start().map_err(self.failed("stdout"))?;
            self.sink("stdout", "standard output".into(), stdout)?;
        }
        if let Some(otlp) = &audit.otlp {
            self.sink("otlp", otlp.endpoint.clone(), otlp::Otlp::new(otlp.clone()))?;
        }
        if let Some(objects) = &audit.objects {
            self.objects(objects);
        }
        if self.cursors.is_empty() {
            // Nothing is shipped, and so nothing deleted.
            return Ok(());
        }
        if audit.durability == Durability::Process {
            self.tasks.set.spawn(sync_now_and_then(self.log.clone(), self.tasks.finish.clone()));
        }
        self.retention(audit)
    }

    fn sink<S: Sink>(&mut self, name: &'static str, target: String, sink: S) -> Result<(), StartError> {
        let log = self.log.status().log;
        let cursor = Cursor::open(self.dir, name, &log).map_err(self.failed(name))?;
        let last = cursor.link();
        let meter = Meter::new(name, target, &last);
        let source = Source::after(self.dir, &log, last);
        let cursor = Arc::new(Mutex::new(cursor));
        self.tasks.meters.push(meter.clone());
        self.cursors.push(Arc::clone(&cursor));
        let finish = self.tasks.finish.clone();
        let driver = Driver { sink, source, cursor, meter, synced: self.log.synced(), finish };
        self.tasks.set.spawn(driver.run());
        Ok(())
    }

    fn objects(&mut self, objects: &config::Objects) {
        let meter = Meter::of_objects("objects", objects.url());
        self.tasks.meters.push(meter.clone());
        let (log, spool) = (self.log.status().log, self.log.objects().clone());
        let finish = self.tasks.finish.clone();
        self.tasks.set.spawn(Uploader { bucket: Bucket::new(objects.clone()), log, spool, meter, finish }.run());
    }

    fn retention(&mut self, audit: &config::Audit) -> Result<(), StartError> {
        let intent = Intent::open_in(self.dir, &self.log.status().log).map_err(self.failed("retention"))?;
        let limits = Limits {
            bytes: audit.retain_bytes,
            age: Duration::from_secs(audit.retain_days.saturating_mul(86_400)),
            pressure: audit.max_bytes.map(|most| most / 4 * 3),
        };
        let keeper =
            Keeper { dir: self.dir.to_owned(), log: self.log.clone(), cursors: self.cursors.clone(), limits, intent };
        self.tasks.set.spawn(keeper.run(self.tasks.finish.clone()));
        Ok(())
    }

    fn failed(&self, sink: &'static str) -> impl FnOnce(io::Error) -> StartError + use<> {
        let dir = self.dir.to_owned();
        move |error| StartError { sink, dir, error }
    }
}

async fn sync_now_and_then(log: Log, finish: CancellationToken) {
    while finish.run_until_cancelled(tokio::time::sleep(SYNC_INTERVAL)).await.is_some() {
        if log.status().last_seq > *log.synced().borrow() {
            // The log itself says when that fails.
            let _ = log.sync().await;
        }
    }
}

#[cfg(test)]
mod tests;
