//! The records that a filter accepts, oldest first, with as little reading and parsing as that takes.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    ops::{ControlFlow, Range},
    path::Path,
};

use jiff::{SignedDuration, Timestamp};
use memchr::memmem::Finder;

use super::{
    Stop,
    filter::Filter,
    period::Period,
    source::{RawLine, Source},
};
use crate::audit::{
    chain::{Line, MAX_LINE},
    segment::Segment,
    view::View,
};

/// A record that was accepted.
#[derive(Debug)]
pub(super) struct Found<'a> {
    /// Its line, newline included.
    pub(super) bytes: &'a [u8],
    pub(super) view: View<'a>,
}

/// Calls `each` with every record of `source` that `filter` accepts, until it breaks. Records whose event is none that
/// this version can read are passed over, and named on stderr.
pub(super) fn scan(
    mut source: Source,
    filter: &Filter,
    mut each: impl FnMut(Found<'_>) -> Result<ControlFlow<()>, Stop>,
) -> Result<(), Stop> {
    let literals = filter.literals();
    let mut strange = 0_u64;
    while let Some(raw) = source.next_line()? {
        if let Some(found) = judge(&raw, filter, &literals, &mut strange)?
            && each(found)?.is_break()
        {
            break;
        }
    }
    if strange > 0 {
        eprintln!("{strange} records passed over: their events are not of a kind that this version reads");
    }
    Ok(())
}

fn judge<'a>(
    raw: &RawLine<'a>,
    filter: &Filter,
    literals: &[Finder<'_>],
    strange: &mut u64,
) -> Result<Option<Found<'a>>, Stop> {
    if !literals.iter().all(|literal| literal.find(raw.bytes).is_some()) {
        return Ok(None);
    }
    let line = Line::parse(raw.bytes).map_err(|error| Stop::malformed(&raw.place(), error))?;
    let Ok(view) = View::read(&line) else {
        *strange += 1;
        return Ok(None);
    };
    Ok(filter.accepts(&view, line.event).then_some(Found { bytes: raw.bytes, view }))
}

/// How far the clock may have been set back while a segment was written, without a record being missed.
const SLACK: SignedDuration = SignedDuration::from_hours(1);

/// The seqs at which segments start that may hold records of `period`: a segment begins with its oldest record, give or
/// take a clock that was set back.
pub(super) fn segments_of(dir: &Path, period: &Period) -> io::Result<Range<u64>> {
    let mut range = 0..u64::MAX;
    if *period == Period::default() {
        return Ok(range);
    }
    let since = period.since.and_then(|since| since.checked_sub(SLACK).ok());
    let until = period.until.and_then(|until| until.checked_add(SLACK).ok());
    for segment in Segment::list(dir)? {
        let Some(begins) = first_time(&segment)? else { continue };
        if since.is_some_and(|since| begins < since) {
            range.start = segment.first;
        }
        if until.is_some_and(|until| begins >= until) {
            range.end = segment.first;
            break;
        }
    }
    Ok(range)
}

fn first_time(segment: &Segment) -> io::Result<Option<Timestamp>> {
    let mut line = Vec::new();
    BufReader::new(File::open(&segment.path)?).take(MAX_LINE as u64).read_until(b'\n', &mut line)?;
    Ok(Line::parse(&line).ok().and_then(|line| View::read(&line).ok()).map(|view| view.time()))
}
