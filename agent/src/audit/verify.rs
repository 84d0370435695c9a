//! Checks a log: every line's form and hash, their order and links, and the signed checkpoints among them.
//!
//! ```text
//! directory ──► chain (strict order, head) ──┐
//! files ──┐                                  ├──► log_check ──► checkpoints, … (visitors) ──► report
//! stream ─┴──► sort ──► follow (any order) ──┘
//! ```
//!
//! | file | job |
//! |---|---|
//! | [`directory`] | a log's own directory, where order is part of the claim |
//! | [`chain`] | its rules, line by line |
//! | [`files`] | files of lines, as they were delivered to S3 |
//! | [`stream`] | a Kinesis stream, while it is being written |
//! | [`collect`], [`sort`], [`entry`], [`follow`] | lines in any order, in bounded memory, along their chains |
//! | [`visitor`], [`log_check`] | one log's records in order, and what is asked of them together |
//! | [`checkpoints`], [`keys`] | the signed statements, and whose keys may sign them |
//! | [`reconcile`] | the kernel's counters against the flow records |
//! | [`report`], [`fault`] | what was found |

pub(crate) mod chain;
mod checkpoints;
mod collect;
mod directory;
mod entry;
mod fault;
mod files;
mod follow;
mod keys;
mod log_check;
pub mod reconcile;
mod report;
mod sort;
mod stream;
pub(crate) mod visitor;

use std::{io, path::PathBuf};

pub(crate) use self::chain::Checker;
pub use self::{
    directory::verify_directory,
    fault::Fault,
    files::verify_files,
    keys::{GivenKey, KeyHolder},
    log_check::{Expectations, From},
    report::{EpochReport, Finding, Findings, KeyReport, LogReport, Report, Spot},
    stream::verify_stream,
};
use super::head::HeadError;

/// Why a log could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Without a head there is no telling where the log ended.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// It cannot be read.
    #[error("cannot read the log in {dir}: {error}")]
    Io {
        /// Its directory.
        dir: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// It cannot be read from Kinesis.
    #[error("cannot read the stream {stream}: {reason}")]
    Stream {
        /// Its name.
        stream: String,
        /// The service's word.
        reason: String,
    },
}

/// How far a check has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// What has been read.
    pub done: u64,
    /// What there is to read, where that is known.
    pub of: Option<u64>,
    /// What is counted: `records` or `bytes`.
    pub unit: &'static str,
}

#[cfg(test)]
pub(crate) mod tests;
