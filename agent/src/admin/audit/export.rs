//! `weir audit export`.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use super::{Ended, Failure, Stop, filter::Filter, period::Period, scan::scan, source::Source};

/// Arguments of `weir audit export`.
#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    period: Period,
    /// Write to this file, which must not exist yet, instead of stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the exact lines, oldest first.
pub(super) fn run(args: &ExportArgs, dir: &Path, out: &mut dyn Write) -> Result<Ended, Stop> {
    let Some(path) = &args.output else {
        copy(args, dir, out)?;
        return Ok(Ended::Done);
    };
    let failed = |error: io::Error| Stop::Failed(Failure::Failed(format!("cannot write {}: {error}", path.display())));
    let file = File::create_new(path).map_err(failed)?;
    let mut buffered = BufWriter::new(&file);
    let count = copy(args, dir, &mut buffered).map_err(|stop| match stop {
        Stop::Output(error) => failed(error),
        other => other,
    })?;
    buffered.flush().map_err(failed)?;
    drop(buffered);
    file.sync_all().map_err(failed)?;
    let _ = writeln!(anstream::stderr(), "{count} records written to {}", path.display());
    Ok(Ended::Done)
}

fn copy(args: &ExportArgs, dir: &Path, out: &mut dyn Write) -> Result<u64, Stop> {
    let filter = Filter { period: args.period.clone(), ..Filter::default() };
    let mut count = 0;
    scan(Source::directory(dir, &args.period)?, &filter, |found| {
        out.write_all(found.bytes)?;
        count += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(count)
}
