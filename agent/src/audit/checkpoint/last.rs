//! Where the log's signed statements left off: the last checkpoint, and the key that was last named.

use std::{io, path::Path};

use serde::Deserialize;

use super::{
    super::{chain::Line, reader::Reader, segment::Segment},
    key::KeyId,
    statement::{KeyChange, Place, Signed},
};

/// What a start goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Last {
    /// The last checkpoint.
    pub(super) checkpoint: Place,
    /// The key in force.
    pub(super) key: Option<KeyId>,
}

impl Last {
    /// Of a log without statements.
    pub(super) const NONE: Self = Self { checkpoint: Place::NONE, key: None };
}

/// Looks through the segments of `dir`, newest first, until one has a checkpoint.
///
/// # Errors
/// When the log cannot be read.
pub(super) fn find(dir: &Path) -> io::Result<Last> {
    let mut last = Last::NONE;
    for segment in Segment::list(dir)?.into_iter().rev() {
        let older = in_segment(dir, &segment)?;
        last.key = last.key.or(older.key);
        if older.checkpoint != Place::NONE {
            last.checkpoint = older.checkpoint;
            break;
        }
    }
    Ok(last)
}

fn in_segment(dir: &Path, segment: &Segment) -> io::Result<Last> {
    let mut last = Last::NONE;
    let mut reader = Reader::open_at(dir, segment.first);
    while let Some(raw) = reader.next_line()? {
        if raw.segment.first != segment.first {
            break;
        }
        // Cheap before thorough: nearly every line has neither.
        if memchr::memmem::find(raw.bytes, b"\"statement\":").is_none() {
            continue;
        }
        let Ok(line) = Line::parse(raw.bytes) else { break };
        see(&mut last, line.seq, line.event);
    }
    Ok(last)
}

fn see(last: &mut Last, seq: u64, event: &str) {
    #[derive(Deserialize)]
    struct Statements {
        checkpoint: Option<Signed>,
        signing_key: Option<Signed>,
    }
    let Ok(Statements { checkpoint, signing_key }) = serde_json::from_str(event) else { return };
    if let Some(checkpoint) = checkpoint {
        let hash = checkpoint.digest();
        last.checkpoint = Place { seq, hash };
        last.key = checkpoint.signature.map(|signature| signature.key_id);
    }
    if let Some(change) = signing_key.and_then(|signed| signed.read::<KeyChange>().ok()) {
        last.key = Some(change.key.id());
    }
}
