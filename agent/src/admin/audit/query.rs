//! `weir audit query`.

use std::{io::Write, path::Path};

use super::{Ended, Stop, filter::Filter, parse, print::Printer};
use crate::audit::{head::Head, reader::Reader, view::View};

/// Arguments of `weir audit query`.
#[derive(Debug, clap::Args)]
pub(super) struct QueryArgs {
    #[command(flatten)]
    filter: Filter,
    /// Stop after this many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

/// Shows the matching records, oldest first.
pub(super) fn run(args: &QueryArgs, dir: &Path, json: bool, out: &mut dyn Write) -> Result<Ended, Stop> {
    Head::read(dir).map_err(|error| Stop::head(&error))?;
    let mut reader = Reader::open(dir);
    let printer = Printer::with_dates();
    let mut left = args.limit.unwrap_or(u64::MAX);
    while left > 0
        && let Some(raw) = reader.next_line().map_err(Stop::unreadable(dir))?
    {
        let line = parse(&raw)?;
        let Ok(view) = View::read(&line) else { continue };
        if !args.filter.accepts(&view, line.event) {
            continue;
        }
        left -= 1;
        if json {
            out.write_all(raw.bytes)?;
        } else {
            printer.print(&view, out)?;
        }
    }
    Ok(Ended::Done)
}
