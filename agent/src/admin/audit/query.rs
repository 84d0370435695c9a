//! `weir audit query`.

use std::{
    io::Write,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use super::{Ended, Stop, filter::Filter, print::Printer, scan::scan, source::Source};

/// Arguments of `weir audit query`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct QueryArgs {
    #[command(flatten)]
    filter: Filter,
    /// Stop after this many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Read these files instead, as delivered (NDJSON, gzip or not), in this order
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Run by the tests.
pub(super) const EXAMPLES: &str = "\
Examples:
  What was refused in the last two hours, and why:
    weir audit query --since 2h --verdict deny
  The calls of one workload that deleted something:
    weir audit query --workload billing.service --method tools/call --tool delete_invoice
  Calls that did not end well, as JSON lines:
    weir audit query --outcome error --json
  Who mentioned an invoice:
    weir audit query --text INV-2026-0042 --limit 10

All conditions must hold. Segments are skipped by the time of their first record: a clock that was set back
by more than an hour while one was written can hide records from --since and --until.";

/// Shows the matching records, oldest first.
pub(super) fn run(args: &QueryArgs, dir: &Path, json: bool, out: &mut dyn Write) -> Result<Ended, Stop> {
    let source = Source::of(&args.files, dir, &args.filter.period)?;
    let printer = Printer::with_dates();
    let mut left = args.limit.unwrap_or(u64::MAX);
    if left == 0 {
        return Ok(Ended::Done);
    }
    scan(source, &args.filter, |found| {
        if json {
            out.write_all(found.bytes)?;
        } else {
            printer.print(&found.view, out)?;
        }
        left -= 1;
        Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(Ended::Done)
}
