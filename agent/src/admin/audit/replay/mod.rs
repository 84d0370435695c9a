//! `weir audit replay`: a session or a call as it happened.
//!
//! | file | job |
//! |---|---|
//! | [`subject`] | what the given id names, and which records belong to it |
//! | [`entry`] | a record as what is told of it, cleaned |
//! | [`summary`] | what can be said at the end |
//! | [`terminal`], [`page`] | how it is told; [`pace`] when |
//!
//! The log is read twice, first to find what the id names, and is never held in memory.

mod entry;
mod pace;
mod page;
mod subject;
mod summary;
mod terminal;

use std::{
    fs::File,
    io::{BufWriter, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use self::{entry::Entry, pace::Pace, page::Page, subject::Subject, summary::Summary, terminal::Terminal};
use super::{Ended, Failure, Stop, filter::Filter, scan::scan, source::Source};

/// Arguments of `weir audit replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReplayArgs {
    /// An MCP session's id, a call's id or its end (as `weir audit tail` shows it), a connection's id, or a workload's id; with
    /// the conditions below alone: all that meets them
    #[arg(value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Wait between records as long as it took
    #[arg(long, conflicts_with_all = ["speed", "html"])]
    realtime: bool,
    /// Wait, that many times faster than it took
    #[arg(long, value_name = "TIMES", value_parser = pace::speed, conflicts_with = "html")]
    speed: Option<f64>,
    /// Show payloads whole
    #[arg(long)]
    full: bool,
    /// Write a page for a browser to this file, which must not exist yet: self-contained, times in UTC
    #[arg(long, value_name = "FILE", conflicts_with = "full")]
    html: Option<PathBuf>,
    /// Read these files instead, as delivered (NDJSON, gzip or not), in this order
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Run by the tests.
pub(super) const EXAMPLES: &str = "\
Examples:
  A session, as fast as it can be read, and ten times as fast as it was:
    weir audit replay 8f14e45f-ceea-467f-a0e6-000000005e55
    weir audit replay 8f14e45f-ceea-467f-a0e6-000000005e55 --speed 10
  The call that `weir audit tail` shows as #abcd, with its payloads whole:
    weir audit replay abcd --full
  What a workload did this morning, as a page to hand on:
    weir audit replay pod/0a1b/agent --since 3h --html morning.html

A session is what carries its `Mcp-Session-Id`, the call that began it, and the connections that served it.
Revisions without sessions (2026-07-28): name the workload and the period, or a connection.
A call comes with what the server asked in the same session or connection while it was open.";

/// Shows what belongs to the id, oldest first.
pub(super) fn run(args: &ReplayArgs, dir: &Path, json: bool, out: &mut dyn Write) -> Result<Ended, Stop> {
    let period = &args.filter.period;
    let source = || Source::of(&args.files, dir, period);
    let subject = match &args.id {
        Some(id) => Subject::find(id, source()?, period)?,
        None if args.filter == Filter::default() => {
            let text = "what to replay? give an id, or conditions such as --workload and --since";
            return Err(Stop::Failed(Failure::Usage(text.to_owned())));
        }
        None => Subject::Everything,
    };
    match &args.html {
        Some(file) => write_page(args, &subject, source()?, file),
        None => show(args, subject, source()?, json, out),
    }
}

fn show(args: &ReplayArgs, subject: Subject, source: Source, json: bool, out: &mut dyn Write) -> Result<Ended, Stop> {
    let mut pace = Pace::of(args.realtime, args.speed);
    let mut terminal = Terminal::new(args.full);
    let mut summary = Summary::default();
    let title = subject.title();
    if !json {
        terminal.begin(&title, out)?;
    }
    let mut cast = subject.cast();
    scan(source, &args.filter, |found| {
        if cast.takes(&found.view) {
            if pace.wait_for(found.view.time()) {
                out.flush()?;
            }
            pace.sleep();
            if json {
                out.write_all(found.bytes)?;
            } else {
                let entry = Entry::new(&found.view);
                summary.add(&entry);
                terminal.show(&entry, out)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if !json {
        terminal.end(&summary, out)?;
    }
    Ok(Ended::Done)
}

fn write_page(args: &ReplayArgs, subject: &Subject, source: Source, path: &Path) -> Result<Ended, Stop> {
    let failed = |error| Stop::Failed(Failure::Failed(format!("cannot write {}: {error}", path.display())));
    let file = File::create_new(path).map_err(failed)?;
    let mut out = BufWriter::new(file);
    let mut page = Page::begin(&subject.title(), &mut out).map_err(failed)?;
    let mut cast = subject.clone().cast();
    scan(source, &args.filter, |found| {
        if cast.takes(&found.view) {
            page.add(&Entry::new(&found.view)).map_err(failed)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    page.end().and_then(|()| out.flush()).map_err(failed)?;
    Ok(Ended::Done)
}
