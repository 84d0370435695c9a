//! The commands, and what they print. Each command is one file with its clap `Args` and one `execute`; data goes to
//! stdout (with `--json`, as JSON), everything else to stderr.
//!
//! [`server`] is the running agent's side of the admin socket, [`client`] the commands' side, and [`protocol`] what
//! passes between them. [`handover`] is how one agent follows another.

use std::{
    fmt,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use serde::Serialize;

use crate::config::{Config, ConfigError, load};

pub mod audit;
pub mod ca;
pub mod canary;
pub mod catalog;
pub mod check;
mod clean;
mod cli;
pub mod client;
pub mod detach;
pub mod doctor;
mod handover;
pub mod login;
mod metrics;
pub mod policy;
pub mod protocol;
pub mod run;
pub mod schema;
pub mod server;
mod socket;
pub mod status;
pub mod upgrade;

pub use cli::Cli;

/// What every command is given.
#[derive(Debug, Clone)]
pub struct Context {
    /// `--config`; default `/etc/weir/weir.toml`.
    pub config: PathBuf,
    /// `--json`.
    pub json: bool,
}

impl Context {
    /// Reads the configuration, without a look at the files that it names.
    ///
    /// # Errors
    /// It cannot be read or is wrong.
    pub fn load(&self) -> Result<Config, Failure> {
        Ok(load(&self.config)?)
    }

    /// Prints data on stdout: as JSON if that was asked for, else as it displays itself, without colours where they
    /// are not wanted. A reader that has gone away is not a failure.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub fn print<T: Serialize + fmt::Display>(&self, data: &T) -> Result<(), Failure> {
        let mut stdout = anstream::stdout().lock();
        let written = if self.json {
            let json = serde_json::to_string_pretty(data).map_err(io::Error::from);
            json.and_then(|json| writeln!(stdout, "{json}"))
        } else {
            writeln!(stdout, "{data}")
        };
        match written.and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::Failed(format!("cannot write to stdout: {error}")))
            }
            _ => Ok(()),
        }
    }
}

/// How a command ended well: exit 0, or exit 1 when what it checked does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Exit 0.
    Done,
    /// Exit 1: the check failed and was reported on stdout.
    CheckFailed,
}

/// How a command failed: what, where and what to do, for stderr.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Exit 1.
    #[error("{0}")]
    Failed(String),
    /// Exit 2: bad usage or configuration.
    #[error("{0}")]
    Usage(String),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl Failure {
    /// The exit code: 1 failed, 2 bad usage or config.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
        }
    }
}
