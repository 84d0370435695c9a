//! `weir audit tail`.

use std::{io::Write, path::Path, thread, time::Duration};

use super::{Ended, Stop, parse, print::Printer};
use crate::audit::{head::Head, reader::Reader, view::View};

/// Arguments of `weir audit tail`.
#[derive(Debug, clap::Args)]
pub(super) struct TailArgs {
    /// Go on as records are written, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// How many of the newest records to start with
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    lines: u64,
}

/// How often a followed log is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// Shows the newest records, oldest first.
pub(super) fn run(args: &TailArgs, dir: &Path, json: bool, out: &mut dyn Write) -> Result<Ended, Stop> {
    let mut last = committed(dir)?;
    let first = (last + 1).saturating_sub(args.lines).max(1);
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
            if json {
                out.write_all(raw.bytes)?;
            } else if let Ok(view) = View::read(&line) {
                printer.print(&view, out)?;
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
