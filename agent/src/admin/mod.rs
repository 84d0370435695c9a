//! The commands, and what they print. Each command is one file with its clap `Args` and one `execute`; data goes to
//! stdout (with `--json`, as JSON), everything else to stderr.

use std::{path::PathBuf, process::ExitCode};

pub mod audit;
pub mod ca;

/// What every command is given.
#[derive(Debug, Clone)]
pub struct Context {
    /// `--config`; default `/etc/weir/weir.toml`.
    pub config: PathBuf,
    /// `--json`.
    pub json: bool,
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

impl Failure {
    /// The exit code: 1 failed, 2 bad usage or config.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
        }
    }
}
