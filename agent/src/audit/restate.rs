//! Restates calls that stay open, so that neither a restart nor retention has to hold on to where they began
//! (see [`open_calls`](super::open_calls)).

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    chain::{Line, MAX_LINE},
    ocsf,
    open_calls::{Ledger, OpenCall, Spot},
    segment::Segment,
};

/// A call is restated when so many segments have been written since. `audit.max_bytes` holds at least four.
const SEGMENTS: u64 = 2;

/// Most calls that are restated with one commit.
const AT_ONCE: usize = 32;

/// The calls that have fallen behind, and the texts that stand in for their requests' records from here on.
pub(super) fn due(dir: &Path, ledger: &mut Ledger, segment_bytes: u64) -> Vec<(Uuid, String)> {
    let behind = ledger.fallen_behind(segment_bytes.saturating_mul(SEGMENTS), AT_ONCE);
    let restated = behind.into_iter().filter_map(|(call, spot)| match restated(dir, call, spot) {
        Ok(text) => Some((call, text)),
        Err(error) => {
            tracing::warn!(%error, %call, seq = spot.seq, "an open call cannot be restated, and holds on to its segment");
            ledger.postpone(spot.seq);
            None
        }
    });
    restated.collect()
}

fn restated(dir: &Path, call: Uuid, Spot { seq, segment, offset, .. }: Spot) -> io::Result<String> {
    let mut file = BufReader::new(File::open(Segment::at(dir, segment).path)?);
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(MAX_LINE as u64).read_until(b'\n', &mut bytes)?;
    let other = || io::Error::other(format!("record {seq} is not as it was written"));
    let line = Line::parse(&bytes).map_err(|_| other())?;
    if line.seq != seq || line.computed_hash() != line.hash {
        return Err(other());
    }
    let open = OpenCall::read(call, seq, line.event).ok_or_else(other)?;
    Ok(ocsf::restate(&open, Timestamp::now(), Uuid::now_v7())?)
}
