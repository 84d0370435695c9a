//! The log's only writer: one thread that takes what is queued, writes it at once, and syncs once.
//!
//! A commit is: the lines, `fdatasync`, the head. When a step fails, the segment is cut back to its last commit and
//! every record of the batch is refused. After a failed `fdatasync` the kernel may have dropped the pages and forgotten the
//! error, so those bytes are never trusted: they are cut, and later records are written and synced anew. If the host dies
//! before that, a refused record may be found on the disk after all: evidence of a call that was refused, never the reverse.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use super::{
    chain::{Link, LogId, hex},
    head::{Head, HeadError, HeadFile},
    log::{AppendError, Entry, Job, LogOptions, Receipt, Status, WriteError},
    open_calls::{Ledger, Mark, Spot},
    open_segment::OpenSegment,
    queue::{Jobs, Queue},
    recovery::{OpenError, Recovered, Recovery, recover},
    report::Report,
    restate,
    segment::{Segment, create_dir, sync_dir},
};
use crate::config::Durability;
use aws_lc_rs::rand;

/// Most records in one commit.
const BATCH: usize = 1024;

/// A log ready to be written.
pub(super) struct Opened {
    pub(super) writer: Writer,
    pub(super) recovery: Recovery,
}

/// After a sync that failed, a full segment is left no sooner.
const SYNC_AGAIN: Duration = Duration::from_secs(1);

/// Which epoch a log is opened in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Epoch {
    /// The one after the last.
    Next,
    /// This one still, if no other has begun since.
    StillOr(u64),
}

/// Locks, recovers and opens the log.
pub(super) fn open(options: &LogOptions, wanted: Epoch) -> Result<Opened, OpenError> {
    let LogOptions { dir, durability, segment_bytes, boot_id } = options;
    create_dir(dir).map_err(OpenError::io("create", dir))?;
    let lock = lock(dir)?;
    let head = read_or_create_head(dir, boot_id)?;
    let Recovered { link, epoch: last, last_segment, ledger, recovery } = recover(dir, &head, boot_id)?;
    let epoch = match wanted {
        Epoch::StillOr(epoch) if epoch == last => last,
        _ => last + 1,
    };
    let head = Head {
        log: head.log,
        epoch: last,
        seq: link.seq,
        hash: link.hash,
        synced: link.seq,
        settled: ledger.oldest().unwrap_or(link.seq + 1),
        boot: boot_id.clone(),
    };
    let io = |doing| OpenError::io(doing, dir);
    let head_file = HeadFile::open(dir).map_err(io("open the head in"))?;
    head_file.write(&head).and_then(|()| head_file.sync()).map_err(io("write the head in"))?;
    let segment = last_segment.map(OpenSegment::open).transpose().map_err(io("open the last segment in"))?;
    let bytes = total_bytes(dir).map_err(io("list"))?;
    let status = Status {
        log: head.log.clone(),
        epoch,
        last_seq: link.seq,
        last_hash: link.hash,
        appended: 0,
        refused: 0,
        bytes,
        failing: None,
        unsynced: None,
    };
    let report = Report::new(status, head.synced);
    let writer = Writer {
        dir: dir.clone(),
        _lock: lock,
        durability: *durability,
        segment_bytes: *segment_bytes,
        epoch,
        link,
        segment,
        head,
        head_file,
        ledger,
        report,
        buffer: Vec::new(),
        dirty: false,
        sync_failed: None,
    };
    Ok(Opened { writer, recovery })
}

/// Takes the directory for this process, until the file is dropped.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(OpenError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let pid = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
            return Err(OpenError::InUse { dir: dir.to_owned(), pid });
        }
        Err(fs::TryLockError::Error(error)) => return Err(OpenError::Io { doing: "lock", path, error }),
    }
    let pid = format!("{}\n", std::process::id());
    // The pid only helps a person; a full disk must not keep the agent from starting.
    let _ = file.set_len(0).and_then(|()| file.write_all(pid.as_bytes()));
    Ok(file)
}

fn read_or_create_head(dir: &Path, boot_id: &str) -> Result<Head, OpenError> {
    match Head::read(dir) {
        Ok(head) => return Ok(head),
        Err(HeadError::Missing(_)) if Segment::list(dir).map_err(OpenError::io("list", dir))?.is_empty() => {}
        Err(error) => return Err(OpenError::Head(error)),
    }
    let mut random = [0; 16];
    rand::fill(&mut random)
        .map_err(|_| io::Error::other("no random bytes"))
        .map_err(OpenError::io("name the log in", dir))?;
    let id = LogId::parse(&hex(&random)).ok_or_else(|| io::Error::other("no id"));
    let head = Head::new(id.map_err(OpenError::io("name the log in", dir))?, boot_id.to_owned());
    HeadFile::create(dir, &head).map_err(OpenError::io("create the head in", dir))?;
    Ok(head)
}

fn total_bytes(dir: &Path) -> io::Result<u64> {
    Segment::list(dir)?.iter().map(|segment| Ok(fs::metadata(&segment.path)?.len())).sum()
}

/// Starts the writer's thread. It ends when it is closed, released, or every [`Log`](super::log::Log) is gone.
///
/// # Errors
/// What the system said; the jobs are given back.
pub(super) fn spawn(writer: Writer, jobs: Jobs) -> Result<(), (io::Error, Jobs)> {
    // Given to the thread once it is there: what a thread was to own that could not be started would be lost.
    let (give, given) = mpsc::channel();
    let run_given = move || {
        if let Ok((writer, jobs)) = given.recv() {
            run(writer, jobs);
        }
    };
    match thread::Builder::new().name("weir-audit".to_owned()).spawn(run_given) {
        Ok(_) => give.send((writer, jobs)).map_err(|error| (io::Error::other("the thread has ended"), error.0.1)),
        Err(error) => Err((error, jobs)),
    }
}

fn run(mut writer: Writer, mut jobs: Jobs) {
    while let Some(mut batch) = jobs.take(BATCH) {
        let order = batch.iter().position(|job| !matches!(job, Job::Append(_))).unwrap_or(batch.len());
        let mut after = batch.split_off(order);
        let entry = |job| match job {
            Job::Append(entry) => Some(entry),
            Job::Sync(_) | Job::Close(_) | Job::Release(_) => None,
        };
        writer.append(batch.into_iter().filter_map(entry).collect());
        if after.is_empty() {
            continue;
        }
        match after.remove(0) {
            Job::Append(_) => {}
            Job::Sync(reply) => {
                jobs.put_back(after);
                let _ = reply.send(writer.finish().map_err(|error| AppendError::Write(Arc::new(error))));
            }
            Job::Close(reply) => {
                let result = writer.finish().map_err(|error| AppendError::Write(Arc::new(error)));
                // Unlocked before the answer: whoever waits for it may open the log at once. Dropping the other replies
                // tells their callers that the log is closed.
                drop((writer, jobs, after));
                let _ = reply.send(result);
                return;
            }
            Job::Release(reply) => {
                jobs.put_back(after);
                match writer.finish() {
                    Ok(()) => {
                        let report = Arc::clone(&writer.report);
                        drop(writer);
                        let _ = reply.send(Ok(Queue::new(jobs, report)));
                        return;
                    }
                    Err(error) => {
                        let _ = reply.send(Err(AppendError::Write(Arc::new(error))));
                    }
                }
            }
        }
    }
    if let Err(error) = writer.finish() {
        tracing::error!(%error, "the audit log could not be synced at its end");
    }
}

pub(super) struct Writer {
    dir: PathBuf,
    _lock: File,
    durability: Durability,
    segment_bytes: u64,
    epoch: u64,
    link: Link,
    segment: Option<OpenSegment>,
    /// The head as it was last written.
    head: Head,
    head_file: HeadFile,
    ledger: Ledger,
    report: Arc<Report>,
    buffer: Vec<u8>,
    /// The files may hold more than was committed.
    dirty: bool,
    /// When what was written could not be synced, and is not yet.
    sync_failed: Option<Instant>,
}

impl Writer {
    /// What it tells.
    pub(super) fn report(&self) -> &Arc<Report> {
        &self.report
    }

    /// Has the writer say elsewhere how it is doing.
    pub(super) fn reporting_to(mut self, report: &Arc<Report>) -> Self {
        report.copy(&self.report);
        self.report = Arc::clone(report);
        self
    }

    /// Commits the records together and answers each. Calls that have fallen behind are restated before them.
    pub(super) fn append(&mut self, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        let restated = restate::due(&self.dir, &mut self.ledger, self.segment_bytes);
        let texts = restated.iter().map(|(call, text)| (text.as_str(), Mark::Opens(*call)));
        let records: Vec<_> = texts.chain(entries.iter().map(|entry| (entry.event.as_str(), entry.mark))).collect();
        let first = self.link.seq + 1 + restated.len() as u64;
        let result = self.commit(&records).map_err(Arc::new);
        match &result {
            Ok(()) => self.report.appended(records.len() as u64, self.buffer.len() as u64, &self.link),
            Err(error) => self.report.refused(entries.len() as u64, error),
        }
        for (seq, entry) in (first..).zip(entries) {
            let answer = match &result {
                Ok(()) => Ok(Receipt { epoch: self.epoch, seq }),
                Err(error) => Err(AppendError::Write(Arc::clone(error))),
            };
            // Whoever no longer waits has dropped its end.
            let _ = entry.reply.send(answer);
        }
    }

    fn commit(&mut self, records: &[(&str, Mark)]) -> Result<(), WriteError> {
        self.repair()?;
        self.roll()?;
        let mut link = self.link.clone();
        self.buffer.clear();
        self.buffer.shrink_to(1 << 20);
        let mut marks = Vec::with_capacity(records.len());
        for (event, mark) in records {
            let start = self.buffer.len();
            link.append(&mut self.buffer, &self.head.log, self.epoch, event);
            marks.push((*mark, start as u64, (self.buffer.len() - start) as u64));
        }
        self.dirty = true;
        if let Err(error) = self.write(&link, &marks) {
            // Space may be short: the cut is attempted now, so that what is left is whole, and again before the next write.
            let _ = self.repair();
            return Err(error);
        }
        self.dirty = false;
        self.link = link;
        Ok(())
    }

    /// Writes the buffer, whose lines have these marks, offsets and lengths.
    fn write(&mut self, link: &Link, lines: &[(Mark, u64, u64)]) -> Result<(), WriteError> {
        let Some(segment) = &mut self.segment else {
            let error = io::Error::other("no segment is open");
            return Err(WriteError { doing: "write", path: self.dir.clone(), error });
        };
        let failed = |doing| {
            let path = segment.path.clone();
            move |error| WriteError { doing, path, error }
        };
        segment.file.write_all_at(&self.buffer, segment.length).map_err(failed("write"))?;
        if self.durability == Durability::Sync {
            segment.file.sync_data().map_err(failed("sync"))?;
        }
        let first = self.link.seq + 1;
        let head = Head {
            epoch: self.epoch,
            seq: link.seq,
            hash: link.hash,
            synced: if self.durability == Durability::Sync { link.seq } else { self.head.synced },
            settled: self.ledger.oldest().unwrap_or(first),
            ..self.head.clone()
        };
        self.head_file.write(&head).map_err(failed("write the head beside"))?;
        self.head = head;
        for (seq, &(mark, offset, bytes)) in (first..).zip(lines) {
            let (segment, offset) = (segment.first, segment.length + offset);
            self.ledger.enter(mark, Spot { seq, segment, offset, bytes });
        }
        segment.length += self.buffer.len() as u64;
        self.report.synced(self.head.synced);
        Ok(())
    }

    /// Takes back what a failed commit may have left.
    fn repair(&mut self) -> Result<(), WriteError> {
        if !self.dirty {
            return Ok(());
        }
        if let Some(segment) = &self.segment {
            let failed = |doing| {
                let path = segment.path.clone();
                move |error| WriteError { doing, path, error }
            };
            self.head_file.write(&self.head).map_err(failed("restore the head beside"))?;
            segment.file.set_len(segment.length).map_err(failed("cut back"))?;
        }
        self.dirty = false;
        Ok(())
    }

    /// Goes on in a new segment when there is none or it is full. What is not synced stays in the last one, where it is found
    /// when the disk is well again.
    fn roll(&mut self) -> Result<(), WriteError> {
        if let Some(segment) = &self.segment {
            let waits = self.sync_failed.is_some_and(|failed| failed.elapsed() < SYNC_AGAIN);
            if segment.length < self.segment_bytes || waits || self.sync_all_written().is_err() {
                return Ok(());
            }
        }
        let segment = Segment::at(&self.dir, self.link.seq + 1);
        let path = segment.path.clone();
        let opened = OpenSegment::open(segment).and_then(|segment| {
            // Left by a roll that failed half-way.
            segment.file.set_len(0)?;
            sync_dir(&self.dir)?;
            Ok(OpenSegment { length: 0, synced: 0, ..segment })
        });
        self.segment = Some(opened.map_err(|error| WriteError { doing: "create", path, error })?);
        Ok(())
    }

    /// With `durability = "process"`, syncs what was written so far. A failure is not the callers', who were promised less.
    fn sync_all_written(&mut self) -> Result<(), WriteError> {
        if self.durability == Durability::Sync {
            return Ok(());
        }
        if let Some(segment) = &mut self.segment {
            let synced = match self.sync_failed {
                None => segment.sync(),
                // What failed once may be counted as written: only what is written anew is synced.
                Some(_) => segment.write_again(self.head.synced, &self.link).and_then(|()| segment.sync()),
            };
            if let Err(error) = synced {
                let error = WriteError { doing: "sync", path: segment.path.clone(), error };
                self.sync_failed = Some(Instant::now());
                self.report.not_synced(&error);
                return Err(error);
            }
        }
        self.sync_failed = None;
        self.report.all_synced();
        self.head.synced = self.link.seq;
        Ok(())
    }

    /// Leaves everything synced.
    pub(super) fn finish(&mut self) -> Result<(), WriteError> {
        self.repair()?;
        let synced = self.sync_all_written();
        let failed = |error| WriteError { doing: "write the head in", path: self.dir.clone(), error };
        self.head_file.write(&self.head).and_then(|()| self.head_file.sync()).map_err(failed)?;
        self.report.synced(self.head.synced);
        synced
    }

    /// Puts another file in the open segment's place.
    #[cfg(test)]
    pub(super) fn swap_file(&mut self, file: File) -> File {
        let segment = self.segment.as_mut().expect("something was appended");
        std::mem::replace(&mut segment.file, file)
    }
}
