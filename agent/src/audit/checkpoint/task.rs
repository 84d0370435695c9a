//! When a checkpoint is due, and the steps of making one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use serde::Serialize;
use tokio::{
    sync::OwnedMutexGuard,
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    REACH,
    key::KeyId,
    last::{self, Last},
    signer::{KeyFiles, KeySource, Signer, SignerError},
    statement::{Attestation, Checkpoint, Host, Interval, KeyChange, Place, Signed},
};
use crate::{
    audit::{
        chain::{Link, hex},
        event::{Event, What},
        log::{AppendError, Log},
    },
    config::Config,
    datapath::since_boot,
};

/// How often the log is looked at for new records.
const LOOK: Duration = Duration::from_millis(200);

/// The waits between attempts, doubled from the first to the last.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What a checkpointer needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// The log's directory.
    pub dir: PathBuf,
    /// The kernel's boot id.
    pub boot_id: String,
    /// The key.
    pub source: KeySource,
    /// Keys in the state directory: they sign for what replaces them.
    pub files: KeyFiles,
    /// When one is due.
    pub interval: Interval,
}

impl Options {
    /// What the configuration says.
    pub fn from_config(config: &Config, boot_id: &str) -> Self {
        Self {
            dir: config.audit_dir(),
            boot_id: boot_id.to_owned(),
            source: KeySource::from_config(config),
            files: KeyFiles::new(&config.state_dir),
            interval: Interval { records: config.audit.checkpoint.records, seconds: config.audit.checkpoint.seconds },
        }
    }
}

/// How checkpoints are doing.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CheckpointerStatus {
    /// The last record that a checkpoint of this agent covers.
    pub covered: Option<u64>,
    /// When it was signed.
    pub at: Option<Timestamp>,
    /// The key that signs.
    pub key: Option<KeyId>,
    /// Why the last attempt failed; absent when it did not.
    pub failure: Option<String>,
    /// Since when attempts fail, or do not fail any more.
    pub since: Option<Timestamp>,
}

/// Tells how checkpoints are doing.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<CheckpointerStatus>>);

impl Progress {
    /// As of now.
    pub fn status(&self) -> CheckpointerStatus {
        self.with(|status| status.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut CheckpointerStatus) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Why there is no checkpoint this time.
#[derive(Debug, thiserror::Error)]
enum CheckpointError {
    #[error(transparent)]
    Signer(#[from] SignerError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error("the statement cannot be written as JSON: {0}")]
    Render(#[from] serde_json::Error),
    #[error("where the log's checkpoints left off cannot be read: {0}")]
    Unreadable(io::Error),
    #[error("more than {REACH} records were written while it was signed")]
    Overtaken,
}

/// Keeps checkpoints from being made while the log is another agent's.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<tokio::sync::Mutex<Known>>);

/// Whether this agent knows where the log's statements left off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Known {
    #[default]
    All,
    /// Another agent may have written some.
    Perhaps,
}

/// While this is held, no checkpoint is made; one that was under way has ended.
#[derive(Debug)]
pub struct Paused(#[expect(unused, reason = "held, not read")] OwnedMutexGuard<Known>);

impl Gate {
    /// Waits for a checkpoint that is under way, and lets no other begin. After it the log is looked at anew.
    pub async fn pause(&self) -> Paused {
        let mut known = Arc::clone(&self.0).lock_owned().await;
        *known = Known::Perhaps;
        Paused(known)
    }
}

/// Signs the log's head as often as was stated, in the background.
#[derive(Debug)]
pub struct Checkpointer {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
    gate: Gate,
    progress: Progress,
}

impl Checkpointer {
    /// Finds where the log's statements left off and begins; the first checkpoint is written soon.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn start(log: Log, options: Options) -> io::Result<Self> {
        let last = find(&options.dir).await?;
        let stop = CancellationToken::new();
        let gate = Gate::default();
        let progress = Progress::default();
        let task = Task {
            log,
            dir: options.dir,
            gate: gate.clone(),
            interval: options.interval,
            boot_id: options.boot_id,
            source: options.source,
            files: options.files,
            host: Host::this(),
            last,
            signer: None,
            progress: progress.clone(),
        };
        let task = AbortOnDropHandle::new(tokio::spawn(task.run(stop.clone())));
        Ok(Self { stop, task, gate, progress })
    }

    /// How it is doing.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// What lets checkpoints be made.
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Writes one more checkpoint, which covers all that was appended before the call, and ends. Tried once.
    pub async fn finish(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

struct Task {
    log: Log,
    dir: PathBuf,
    gate: Gate,
    interval: Interval,
    boot_id: String,
    source: KeySource,
    files: KeyFiles,
    host: Host,
    last: Last,
    signer: Option<Signer>,
    progress: Progress,
}

impl Task {
    async fn run(mut self, stop: CancellationToken) {
        let mut retry = RETRY.0;
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.due(next, retry == RETRY.0) => {}
            }
            next = Instant::now();
            if self.attempt().await {
                retry = RETRY.0;
                next += Duration::from_secs(self.interval.seconds);
            } else {
                next += retry;
                retry = (retry * 2).min(RETRY.1);
            }
        }
        self.attempt().await;
    }

    /// Waits until `next`, or until enough records were written.
    async fn due(&self, next: Instant, by_count: bool) {
        while Instant::now() < next {
            let written = self.log.head().seq.saturating_sub(self.last.checkpoint.seq);
            if by_count && self.last.checkpoint.seq > 0 && written >= self.interval.records {
                return;
            }
            sleep(LOOK.min(next.saturating_duration_since(Instant::now()))).await;
        }
    }

    async fn attempt(&mut self) -> bool {
        let done = self.checkpoint().await;
        self.progress.with(|status| {
            let failed = status.failure.is_some();
            if status.since.is_none() || failed != done.is_err() {
                status.since = Some(Timestamp::now());
            }
            match done {
                Ok(covered) => {
                    if failed {
                        tracing::info!(covered, "checkpoints are signed again");
                    }
                    let (at, key) = (Some(Timestamp::now()), self.last.key);
                    *status =
                        CheckpointerStatus { covered: Some(covered), at, key, failure: None, since: status.since };
                    true
                }
                Err(error) => {
                    tracing::error!(%error, "no checkpoint could be written; records go on, and it is tried again");
                    status.failure = Some(error.to_string());
                    false
                }
            }
        })
    }

    async fn checkpoint(&mut self) -> Result<u64, CheckpointError> {
        let gate = self.gate.clone();
        let mut known = gate.0.lock().await;
        if *known == Known::Perhaps {
            self.last = find(&self.dir).await.map_err(CheckpointError::Unreadable)?;
            *known = Known::All;
        }
        let signer = match self.signer.take() {
            Some(signer) => signer,
            None => self.source.open().await?,
        };
        let signer = self.signer.insert(signer);
        if let KeySource::Files(files) = &self.source
            && let Some(next) = files.open_next()?
        {
            // The log may name it already: the agent ended between the record and the renaming.
            if self.last.key != Some(next.public().id()) {
                change_key(&self.log, &mut self.last, &next, Some(&*signer)).await?;
            }
            files.take_next()?;
            *signer = next;
        }
        if self.last.key != Some(signer.public().id()) {
            let before = self.files.open()?.filter(|old| self.last.key == Some(old.public().id()));
            change_key(&self.log, &mut self.last, signer, before.as_ref()).await?;
        }
        let head = self.log.head();
        let mut signed = Signed::unsigned(&Checkpoint {
            log: self.log.status().log,
            epoch: self.log.status().epoch,
            head: Place { seq: head.seq, hash: head.hash },
            previous: self.last.checkpoint,
            interval: self.interval,
            time: Timestamp::now().as_millisecond(),
            since_boot_ns: u64::try_from(since_boot().as_nanos()).unwrap_or(u64::MAX),
            boot_id: self.boot_id.clone(),
            host: self.host.clone(),
            key: signer.public().clone(),
        })?;
        if let Err(error) = signer.sign::<Checkpoint>(&mut signed).await {
            // Its credentials may have been replaced: ask for them again.
            self.signer = None;
            return Err(error.into());
        }
        let Link { seq, .. } = self.log.head();
        if seq - head.seq > REACH / 2 {
            return Err(CheckpointError::Overtaken);
        }
        let hash = signed.digest();
        let receipt = append(&self.log, Attestation::Checkpoint(signed)).await?;
        self.last.checkpoint = Place { seq: receipt, hash };
        Ok(head.seq)
    }
}

async fn find(dir: &Path) -> io::Result<Last> {
    let dir = dir.to_owned();
    tokio::task::spawn_blocking(move || last::find(&dir)).await.map_err(io::Error::other)?
}

/// Records that `signer` signs from here on; `before` vouches for it if it is the key in force.
async fn change_key(
    log: &Log,
    last: &mut Last,
    signer: &Signer,
    before: Option<&Signer>,
) -> Result<(), CheckpointError> {
    let key = signer.public().clone();
    let id = key.id();
    let status = log.status();
    let time = Timestamp::now().as_millisecond();
    let mut signed =
        Signed::unsigned(&KeyChange { log: status.log, epoch: status.epoch, key, replaces: last.key, time })?;
    if let Some(before) = before.filter(|before| last.key == Some(before.public().id())) {
        before.sign::<KeyChange>(&mut signed).await?;
    }
    append(log, Attestation::KeyChange(signed)).await?;
    last.key = Some(id);
    Ok(())
}

async fn append(log: &Log, attestation: Attestation) -> Result<u64, AppendError> {
    let event = Event { time: Timestamp::now(), what: What::Attestation(attestation) };
    Ok(log.append(event).await?.seq)
}

impl Host {
    /// This machine. The id is made of the machine id, which other programs keep to themselves (machine-id(5)).
    pub(crate) fn this() -> Self {
        let system = rustix::system::uname();
        let name: String = system.nodename().to_string_lossy().chars().filter(|c| !c.is_control()).take(255).collect();
        let machine = ["/etc/machine-id", "/sys/class/dmi/id/product_uuid"].into_iter().find_map(|path| {
            let id = fs::read_to_string(path).ok()?.trim().to_owned();
            (!id.is_empty()).then_some(id)
        });
        let of = format!("weir-host-v1\n{}", machine.unwrap_or_else(|| name.clone()));
        Self { id: hex(&digest(&SHA256, of.as_bytes()).as_ref()[..16]), name }
    }
}

#[cfg(test)]
mod tests;
