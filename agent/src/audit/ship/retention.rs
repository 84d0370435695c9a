//! Deletes segments that every sink has: the oldest first, by size, by age, and when the log's quota runs out.
//!
//! A record says so before it is done (`lifecycle.kind = "retired"`): without it a log that begins later than its first
//! record is a cut one. On a full disk that record cannot be written, and deleting is what makes room: the intent is then
//! kept in `retired`, a file that is rewritten in place, and the record follows.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::PoisonError,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        chain::{Hash, Line},
        event::{Agent, Event, Life, What},
        head::Head,
        log::{AppendError, Log},
        quota::Held,
        reader::Reader,
        segment::{Segment, sync_dir},
    },
    drive::SharedCursor,
    intent::{Intent, Retirement},
};

/// How often it is looked for something to delete.
const INTERVAL: Duration = Duration::from_secs(5);

/// What is kept.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Bytes of shipped segments.
    pub(crate) bytes: u64,
    /// Age of shipped segments.
    pub(crate) age: Duration,
    /// Bytes of all segments, from which on shipped ones go whatever the other two say.
    pub(crate) pressure: Option<u64>,
}

/// Keeps the directory within its limits.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) dir: PathBuf,
    pub(crate) log: Log,
    pub(crate) cursors: Vec<SharedCursor>,
    pub(crate) limits: Limits,
    pub(crate) intent: Intent,
}

impl Keeper {
    /// Works until it is told to finish.
    pub(crate) async fn run(mut self, finish: CancellationToken) {
        loop {
            if let Err(error) = self.round().await {
                tracing::warn!(error = %error, "shipped segments could not be deleted; it is tried again");
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = finish.cancelled() => return,
            }
        }
    }

    /// Deletes what may go now.
    ///
    /// # Errors
    /// What the system refused; the next round goes on from there.
    pub(crate) async fn round(&mut self) -> io::Result<()> {
        self.record().await;
        let (dir, cursors, limits) = (self.dir.clone(), self.cursors.clone(), self.limits.clone());
        let (plan, held) =
            spawn_blocking(move || Plan::make(&dir, &cursors, &limits)).await.map_err(io::Error::other)??;
        self.log.holds(held);
        let Some(Plan { segments, retirement }) = plan else { return Ok(()) };
        self.intent.set(retirement)?;
        self.record().await;
        let dir = self.dir.clone();
        let freed = spawn_blocking(move || delete(&dir, &segments)).await.map_err(io::Error::other)??;
        self.log.forget(freed);
        Ok(())
    }

    /// Writes the record of the last retirement, unless it is there.
    async fn record(&mut self) {
        let Some(Retirement { through_seq, through_hash, segments, bytes }) = self.intent.open() else { return };
        let what = What::Agent(Agent::Life(Life::Retired { through_seq, through_hash, segments, bytes }));
        match self.log.append(Event { time: Timestamp::now(), what }).await {
            Ok(_) => {
                if let Err(error) = self.intent.recorded() {
                    tracing::debug!(%error, "a retirement may be recorded twice");
                }
            }
            Err(AppendError::Closed) => {}
            Err(error) => tracing::warn!(%error, through_seq, "a retirement is recorded later"),
        }
    }
}

/// What goes.
#[derive(Debug)]
struct Plan {
    segments: Vec<Segment>,
    retirement: Retirement,
}

impl Plan {
    /// What goes, if anything, and what keeps the rest.
    fn make(dir: &Path, cursors: &[SharedCursor], limits: &Limits) -> io::Result<(Option<Self>, Held)> {
        let head = Head::read(dir).map_err(io::Error::other)?;
        let shipped = cursors.iter().map(|cursor| cursor.lock().unwrap_or_else(PoisonError::into_inner).link().seq);
        let floors = [
            (shipped.min().unwrap_or(0), Held::Unshipped),
            // Recovery begins at the oldest open call, or at what was not synced.
            (head.synced.min(head.seq).saturating_sub(1), Held::Unsynced),
            (head.settled.saturating_sub(1), Held::OpenCall),
        ];
        let (floor, held) = floors.into_iter().min_by_key(|(floor, _)| *floor).unwrap_or_default();
        let files = Segment::list(dir)?.into_iter().map(File::of).collect::<io::Result<Vec<_>>>()?;
        let count = retire(&files, floor, limits, SystemTime::now());
        let is_last = files.get(count + 1).is_none_or(|next| next.segment.first - 1 <= floor);
        let held = if is_last { Held::Current } else { held };
        let Some(next) = files.get(count).filter(|_| count > 0) else { return Ok((None, held)) };
        let Some(through_hash) = prev_of_first(dir, &next.segment)? else { return Ok((None, held)) };
        for cursor in cursors {
            // A power loss must not take back what this deletion rests on.
            cursor.lock().unwrap_or_else(PoisonError::into_inner).sync()?;
        }
        let through_seq = next.segment.first - 1;
        let bytes = files[..count].iter().map(|file| file.bytes).sum();
        let segments: Vec<_> = files.into_iter().take(count).map(|file| file.segment).collect();
        let retirement = Retirement { through_seq, through_hash, segments: segments.len() as u64, bytes };
        Ok((Some(Self { segments, retirement }), held))
    }
}

/// The hash that the first record of `segment` is linked to.
fn prev_of_first(dir: &Path, segment: &Segment) -> io::Result<Option<Hash>> {
    let mut reader = Reader::open_at(dir, segment.first);
    let raw = reader.next_line()?.filter(|raw| raw.segment == segment);
    Ok(raw.and_then(|raw| Some(Line::parse(raw.bytes).ok()?.prev)))
}

fn delete(dir: &Path, segments: &[Segment]) -> io::Result<u64> {
    let mut freed = 0;
    for segment in segments {
        freed += fs::metadata(&segment.path)?.len();
        fs::remove_file(&segment.path)?;
        // In this order on the disk too: what is left has no hole.
        sync_dir(dir)?;
    }
    tracing::info!(segments = segments.len(), bytes = freed, "deleted shipped segments");
    Ok(freed)
}

#[derive(Debug, Clone)]
struct File {
    segment: Segment,
    bytes: u64,
    written: SystemTime,
}

impl File {
    fn of(segment: Segment) -> io::Result<Self> {
        let metadata = fs::metadata(&segment.path)?;
        Ok(Self { bytes: metadata.len(), written: metadata.modified()?, segment })
    }
}

/// How many files go, from the oldest: only such as end at `floor` or before, and never the last.
fn retire(files: &[File], floor: u64, limits: &Limits, now: SystemTime) -> usize {
    let shipped = files.windows(2).take_while(|pair| pair[1].segment.first - 1 <= floor).count();
    let mut kept: u64 = files[..shipped].iter().map(|file| file.bytes).sum();
    let mut all: u64 = files.iter().map(|file| file.bytes).sum();
    files[..shipped]
        .iter()
        .take_while(|file| {
            let old = now.duration_since(file.written).is_ok_and(|age| age > limits.age);
            let goes = old || kept > limits.bytes || limits.pressure.is_some_and(|most| all > most);
            kept -= file.bytes;
            all -= file.bytes;
            goes
        })
        .count()
}

#[cfg(test)]
mod tests;
