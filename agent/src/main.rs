//! The `weir` command.

use std::process::ExitCode;

use clap::Parser as _;
use weir::admin::{Cli, Ended};

fn main() -> ExitCode {
    match Cli::parse().execute() {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::CheckFailed) => ExitCode::from(1),
        Err(failure) => {
            eprintln!("weir: {failure}");
            failure.exit_code()
        }
    }
}
