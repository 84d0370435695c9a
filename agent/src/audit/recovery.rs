//! What happens when a log is opened: its tail is checked, what a crash tore is cut, and calls left open are found.
//!
//! Checked are the segments since the oldest open call; `weir audit verify` checks all. A bad record that was promised to
//! be there stops the agent; one that never was promised (torn, or lost by a power loss in `durability = "process"`) is cut.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use super::{
    chain::Link,
    head::{Head, HeadError},
    open_calls::{Finder, Ledger, OpenCall, Spot},
    reader::Reader,
    segment::{Segment, sync_dir},
    verify::{Checker, Fault},
};

/// What opening a log found.
#[derive(Debug, Clone, Default)]
pub struct Recovery {
    /// Bytes cut from the tail.
    pub cut_bytes: u64,
    /// Records that the head stated and a power loss took; only with `durability = "process"`.
    pub lost_records: u64,
    /// Calls without a response record.
    pub open_calls: Vec<OpenCall>,
}

impl Recovery {
    /// Whether the last agent ended in order.
    pub fn is_clean(&self) -> bool {
        self.cut_bytes == 0 && self.lost_records == 0 && self.open_calls.is_empty()
    }
}

/// Why a log cannot be opened. The agent does not start: a log that is not right is no evidence.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes it.
    #[error(
        "the audit log in {dir} is in use by process {pid}; stop that agent, or set audit.dir to another directory"
    )]
    InUse {
        /// Its directory.
        dir: PathBuf,
        /// The writer's pid, as it left it.
        pid: String,
    },
    /// A file cannot be used.
    #[error("cannot {doing} {path}: {error}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// The head is missing or damaged.
    #[error("{0}; restore it, or move the directory aside to start a new log")]
    Head(HeadError),
    /// A record that must be there is not right.
    #[error(
        "record {seq} of the audit log is {fault} ({segment}, byte {offset}); keep a copy of the directory as evidence, \
         then restore it or move it aside to start a new log"
    )]
    Damaged {
        /// Its seq.
        seq: u64,
        /// Its segment.
        segment: PathBuf,
        /// Where in the segment.
        offset: u64,
        /// What is wrong.
        fault: Fault,
    },
}

impl OpenError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { doing, path, error }
    }
}

/// A log whose tail is whole again.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) link: Link,
    pub(crate) epoch: u64,
    pub(crate) last_segment: Option<Segment>,
    pub(crate) ledger: Ledger,
    pub(crate) recovery: Recovery,
}

/// Makes the tail of `dir` whole.
pub(crate) fn recover(dir: &Path, head: &Head, boot_id: &str) -> Result<Recovered, OpenError> {
    let promised = if head.boot == boot_id { head.seq } else { head.synced };
    let tail = check_tail(dir, head, promised)?;
    let cut_bytes = cut(dir, &tail).map_err(OpenError::io("repair the audit log in", dir))?;
    let (link, epoch) = tail.last;
    let mut segments = Segment::list(dir).map_err(OpenError::io("list", dir))?;
    sync_from(&segments, head.synced).map_err(OpenError::io("sync the audit log in", dir))?;
    let open_calls = tail.finder.finish();
    let recovery = Recovery { cut_bytes, lost_records: head.seq.saturating_sub(link.seq), open_calls };
    Ok(Recovered { link, epoch, last_segment: segments.pop(), ledger: tail.ledger, recovery })
}

struct Tail {
    last: (Link, u64),
    finder: Finder,
    ledger: Ledger,
    /// Where the first line that is not right starts, or the end.
    end: Option<(Segment, u64)>,
}

fn check_tail(dir: &Path, head: &Head, promised: u64) -> Result<Tail, OpenError> {
    let from = head.settled.min(head.synced).min(head.seq);
    let segments = Segment::list(dir).map_err(OpenError::io("list", dir))?;
    if let Some(oldest) = segments.first().filter(|oldest| oldest.first > from.max(1)) {
        let segment = oldest.path.clone();
        return Err(OpenError::Damaged {
            seq: from.max(1),
            segment,
            offset: 0,
            fault: Fault::Displaced { found: oldest.first },
        });
    }
    let mut reader = Reader::open_at(dir, from);
    let mut checker = if from <= 1 { Checker::from_start(head) } else { Checker::from_segment(head) };
    let (mut finder, mut ledger) = (Finder::default(), Ledger::default());
    let mut end = None;
    let mut first_fault = None;
    while let Some(raw) = reader.next_line().map_err(OpenError::io("read the audit log in", dir))? {
        match checker.check(&raw) {
            Ok(line) => {
                let (segment, offset, bytes) = (raw.segment.first, raw.offset, raw.bytes.len() as u64);
                ledger.enter(finder.see(line.seq, line.event), Spot { seq: line.seq, segment, offset, bytes });
            }
            Err(fault) => {
                end = Some((raw.segment.clone(), raw.offset));
                first_fault = Some(fault);
                break;
            }
        }
    }
    let end = end.or_else(|| reader.tail().map(|(segment, offset, _)| (segment.clone(), offset)));
    let seq = checker.next().unwrap_or_else(|| end.as_ref().map_or(1, |(segment, _)| segment.first));
    let fault = match first_fault {
        Some(fault) if seq <= promised || fault == Fault::HeadDiffers => Some(fault),
        None if seq <= promised => Some(Fault::Cut { head: promised }),
        _ => None,
    };
    if let Some(fault) = fault {
        let (segment, offset) = end.map_or((dir.to_owned(), 0), |(segment, offset)| (segment.path, offset));
        return Err(OpenError::Damaged { seq, segment, offset, fault });
    }
    let last = checker.last().cloned().unwrap_or((head.link(), head.epoch));
    Ok(Tail { last, finder, ledger, end })
}

/// Cuts everything from the tail's end on, and says how many bytes that were.
fn cut(dir: &Path, tail: &Tail) -> io::Result<u64> {
    let Some((segment, offset)) = &tail.end else { return Ok(0) };
    let length = fs::metadata(&segment.path)?.len();
    let mut cut = length.saturating_sub(*offset);
    if cut > 0 {
        let file = OpenOptions::new().write(true).open(&segment.path)?;
        file.set_len(*offset)?;
        file.sync_all()?;
    }
    for later in Segment::list(dir)?.iter().filter(|later| later.first > segment.first) {
        cut += fs::metadata(&later.path)?.len();
        fs::remove_file(&later.path)?;
    }
    sync_dir(dir)?;
    Ok(cut)
}

/// Syncs the segments that may hold records after `synced`.
fn sync_from(segments: &[Segment], synced: u64) -> io::Result<()> {
    let start = segments.partition_point(|segment| segment.first <= synced).saturating_sub(1);
    segments[start..].iter().try_for_each(|segment| OpenOptions::new().write(true).open(&segment.path)?.sync_all())
}

/// The kernel's boot id.
///
/// # Errors
/// When `/proc` does not say.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}
