//! `weir audit`: shows, searches, checks and exports the log, with nothing but its directory.

mod export;
mod filter;
mod key;
mod mood;
mod period;
mod print;
mod query;
pub(in crate::admin) mod reading;
mod replay;
mod scan;
mod source;
mod tail;
mod verify;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

pub use self::print::Printer;
use self::{
    export::ExportArgs, key::KeyArgs, query::QueryArgs, replay::ReplayArgs, tail::TailArgs, verify::VerifyArgs,
};
use super::{Context, Ended, Failure, clean};
use crate::audit::{
    chain::{Line, Malformed},
    head::HeadError,
    reader::RawLine,
};

/// Arguments of `weir audit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The log's directory, instead of the configured one
    #[arg(long, global = true, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
#[expect(clippy::large_enum_variant, reason = "one value per process")]
enum Command {
    #[command(flatten)]
    Log(OfLog),
    /// Print the public key of checkpoints, for auditors
    Key(KeyArgs),
    /// Make a new signing key, for the agent to take with its next checkpoint
    RotateKey(KeyArgs),
}

/// What is done with a log's directory.
#[derive(Debug, clap::Subcommand)]
enum OfLog {
    /// Show the newest records, and with -f those that follow
    Tail(TailArgs),
    /// Show the records that match
    Query(QueryArgs),
    /// Show a session or a call as it happened, in the terminal or as a page
    Replay(ReplayArgs),
    /// Check that no record was altered, removed, moved or cut off, and that no redirected connection went without one
    Verify(VerifyArgs),
    /// Write records out, byte for byte
    Export(ExportArgs),
}

impl OfLog {
    fn run(&self, dir: &Path, json: bool, out: &mut dyn Write) -> Result<Ended, Stop> {
        match self {
            Self::Tail(args) => tail::run(args, dir, json, out),
            Self::Query(args) => query::run(args, dir, json, out),
            Self::Replay(args) => replay::run(args, dir, json, out),
            Self::Verify(args) => verify::run(args, &verify::Checked::Directory(dir.to_owned()), json, out),
            Self::Export(args) => export::run(args, dir, out),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// As [`Failure`] says.
pub fn execute(args: &Args, context: &Context) -> Result<Ended, Failure> {
    let mut out = anstream::stdout().lock();
    let ended = match &args.command {
        Command::Log(OfLog::Verify(verify)) => {
            let checked = verify.checked(args.dir.as_deref(), || context.load())?;
            verify::run(verify, &checked, context.json, &mut out)
        }
        Command::Key(_) => key::show(&context.load()?, context.json, &mut out),
        Command::RotateKey(_) => key::rotate(&context.load()?, context.json, &mut out),
        Command::Log(command) => {
            let dir = args.dir.clone().map_or_else(|| context.load().map(|config| config.audit_dir()), Ok)?;
            command.run(&dir, context.json, &mut out)
        }
    };
    match ended.and_then(|ended| Ok(out.flush().map(|()| ended)?)) {
        // The reader of a pipe has seen enough.
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Ended::Done),
        Err(Stop::Output(error)) => Err(Failure::Failed(format!("cannot write the output: {error}"))),
        Err(Stop::Failed(failure)) => Err(failure),
        Ok(ended) => Ok(ended),
    }
}

/// Why a command stopped.
#[derive(Debug)]
enum Stop {
    /// Its own output could not be written.
    Output(io::Error),
    /// What it was to do failed.
    Failed(Failure),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Stop {
    fn unreadable(dir: &Path) -> impl FnOnce(io::Error) -> Self {
        let dir = dir.to_owned();
        move |error| Self::Failed(Failure::Failed(format!("cannot read the audit log in {}: {error}", dir.display())))
    }

    fn malformed(place: &str, error: Malformed) -> Self {
        Self::Failed(Failure::Failed(format!("{place}: {error}; `weir audit verify` says which record it is")))
    }

    fn head(error: &HeadError) -> Self {
        Self::Failed(Failure::Failed(error.to_string()))
    }
}

fn parse<'a>(raw: &RawLine<'a>) -> Result<Line<'a>, Stop> {
    let place = || format!("{}, byte {}", raw.segment.path.display(), raw.offset);
    Line::parse(raw.bytes).map_err(|error| Stop::malformed(&place(), error))
}

#[cfg(test)]
mod tests;
