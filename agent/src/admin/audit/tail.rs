//! `weir audit tail`.

use std::{collections::VecDeque, io::Write, path::Path, thread, time::Duration};

use super::{Ended, Stop, filter::Filter, parse, print::Printer};
use crate::audit::{head::Head, reader::Reader, segment::Segment, view::View};

/// Arguments of `weir audit tail`.
#[derive(Debug, clap::Args)]
pub(super) struct TailArgs {
    /// Go on as records are written, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// How many of the newest records to start with
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    lines: usize,
    #[command(flatten)]
    filter: Filter,
}

/// How often a followed log is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// Shows the newest records that match, oldest first.
pub(super) fn run(args: &TailArgs, dir: &Path, json: bool, out: &mut dyn Write) -> Result<Ended, Stop> {
    let mut last = committed(dir)?;
    let first = first_of_newest(args, dir, last)?;
    let mut reader = Reader::open_at(dir, first);
    let printer = Printer::default();
    loop {
        while let Some(raw) = reader.next_line().map_err(Stop::unreadable(dir))? {
            let line = parse(&raw)?;
            if line.seq > last {
                reader.put_back().map_err(Stop::unreadable(dir))?;
                break;
            }
            if line.seq < first {
                continue;
            }
            let view = View::read(&line).ok();
            let everything = args.filter == Filter::default();
            if !everything && !view.as_ref().is_some_and(|view| args.filter.accepts(view, line.event)) {
                continue;
            }
            match view {
                _ if json => out.write_all(raw.bytes)?,
                Some(view) => printer.print(&view, out)?,
                None => {}
            }
        }
        out.flush()?;
        if !args.follow {
            return Ok(Ended::Done);
        }
        thread::sleep(INTERVAL);
        last = committed(dir)?;
    }
}

/// The last record that the head states: what is after it may still be taken back.
fn committed(dir: &Path) -> Result<u64, Stop> {
    Head::read(dir).map(|head| head.seq).map_err(|error| Stop::head(&error))
}

/// The seq of the oldest record to show.
fn first_of_newest(args: &TailArgs, dir: &Path, last: u64) -> Result<u64, Stop> {
    if args.filter == Filter::default() || args.lines == 0 {
        return Ok((last + 1).saturating_sub(args.lines as u64).max(1));
    }
    // Newest segments first: the records that are asked for are seldom far back.
    let mut wanted = args.lines;
    let mut oldest = last + 1;
    for segment in Segment::list(dir).map_err(Stop::unreadable(dir))?.iter().rev() {
        let matching = matches_in(args, dir, segment, oldest, wanted)?;
        wanted -= matching.len();
        oldest = matching.front().copied().unwrap_or(oldest.min(segment.first));
        if wanted == 0 {
            return Ok(oldest);
        }
    }
    Ok(1)
}

/// The seqs of the last `wanted` records of `segment`, before `end`, that match.
fn matches_in(args: &TailArgs, dir: &Path, segment: &Segment, end: u64, wanted: usize) -> Result<VecDeque<u64>, Stop> {
    let literals = args.filter.literals();
    let mut matching = VecDeque::new();
    let mut reader = Reader::open_at(dir, segment.first);
    while let Some(raw) = reader.next_line().map_err(Stop::unreadable(dir))? {
        if raw.segment.first != segment.first {
            break;
        }
        if !literals.iter().all(|literal| literal.find(raw.bytes).is_some()) {
            continue;
        }
        let line = parse(&raw)?;
        if line.seq >= end {
            break;
        }
        if View::read(&line).is_ok_and(|view| args.filter.accepts(&view, line.event)) {
            matching.push_back(line.seq);
            if matching.len() > wanted {
                matching.pop_front();
            }
        }
    }
    Ok(matching)
}
