//! `weir audit`.

use super::{Context, Ended, Failure};

/// Arguments of `weir audit`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// As [`Failure`] says.
pub fn execute(_args: &Args, _context: &Context) -> Result<Ended, Failure> {
    Ok(Ended::Done)
}
