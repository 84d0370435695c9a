//! `weir schema`: the JSON Schema of `weir.toml`, for editors; `deploy/weir.schema.json` is its output.

use std::fmt;

use serde::Serialize;

use super::{Context, Ended, Failure};
use crate::config::Config;

/// Arguments of `weir schema`.
#[derive(Debug, clap::Args)]
pub struct Args {}

#[derive(Serialize)]
#[serde(transparent)]
struct Schema(schemars::Schema);

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_value().fmt(f)
    }
}

/// Runs the command.
///
/// # Errors
/// Stdout cannot be written.
pub fn execute(_args: &Args, context: &Context) -> Result<Ended, Failure> {
    context.print(&Schema(Config::schema()))?;
    Ok(Ended::Done)
}
