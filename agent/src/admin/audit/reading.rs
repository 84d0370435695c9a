//! The log as other commands read it: every event's text, oldest first.

use std::path::{Path, PathBuf};

use super::{Failure, Stop, period::Period, source::Source};
use crate::audit::chain::Line;

/// Calls `each` with every event of `files`, or of the log in `dir` if there are none.
///
/// # Errors
/// The log cannot be read, a line is none of a log's, or as `each`.
pub(in crate::admin) fn each_event(
    files: &[PathBuf],
    dir: &Path,
    mut each: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut read = || -> Result<(), Stop> {
        let mut source = Source::of(files, dir, &Period::default())?;
        while let Some(raw) = source.next_line()? {
            let line = Line::parse(raw.bytes).map_err(|error| Stop::malformed(&raw.place(), error))?;
            each(line.event).map_err(Stop::Failed)?;
        }
        Ok(())
    };
    read().map_err(|stop| match stop {
        Stop::Failed(failure) => failure,
        Stop::Output(error) => Failure::Failed(error.to_string()),
    })
}
