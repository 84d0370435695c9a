//! The root that stores trust, the intermediates that it signs, and the stores.
//!
//! On disk, below the state directory:
//!
//! | file | mode | |
//! |---|---|---|
//! | `ca/` | 0700 | |
//! | `ca/root.pem` | 0644 | the root's certificate; workloads read the copy that [`Store::install`] makes, not this one |
//! | `ca/root.key` | 0600 | read to sign an intermediate, overwritten in memory at once |
//! | `ca/intermediate.pem` | 0644 | the certificate in use |
//! | `ca/intermediate.key` | 0600 | its key, which the running agent holds |
//!
//! The agent calls [`Authority::issue_intermediate`] once before it serves. While it serves it never reads the root's key:
//! [`Authority::renew`] has a short-lived child process do that.

mod authority;
mod files;
mod renew;
mod store;

use std::{io, path::PathBuf, time::Duration};

pub use weir_certs::{Facts, Host, profile::Intermediate};

pub use self::{
    authority::Authority,
    store::{Change, Layout, Store},
};

/// Why the CA or a trust store could not be used. Says what, where and what to do; never what a key holds.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// There is no root yet.
    #[error("no CA in {0}; run `weir ca init`")]
    NoCa(PathBuf),
    /// There is a root already.
    #[error("there is a CA in {0} already; every workload that trusts it would be cut off, so remove it by hand first")]
    CaExists(PathBuf),
    /// No intermediate has been issued.
    #[error("no intermediate in {0}; it is issued when the agent starts")]
    NoIntermediate(PathBuf),
    /// A file or directory is open to others than its owner.
    #[error("{path} has mode {mode:04o}: others can {danger}; run `chmod {fix:04o} {path}`", path = path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// What others can do.
        danger: &'static str,
        /// The mode that it should have.
        fix: u32,
    },
    /// A file or directory belongs to somebody else.
    #[error("{path} belongs to uid {owner}; run `chown {expected} {path}` if its content is yours", path = path.display())]
    Owner {
        /// Which.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who it should belong to.
        expected: u32,
    },
    /// A certificate or key could not be made, read or used.
    #[error("{path}: {source}", path = path.display())]
    Certificate {
        /// Which file, or the directory of a pair.
        path: PathBuf,
        /// Why.
        source: weir_certs::Error,
    },
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}{hint}", path = path.display(), hint = hint(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The intermediate on disk is not of the present root, has expired, or lacks a host.
    #[error("the intermediate in {path} cannot serve: {reason}; restart the agent to issue one", path = path.display())]
    Unfit {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The child process that issues intermediates failed.
    #[error("`{command}` failed: {reason}")]
    Child {
        /// What was run.
        command: String,
        /// What it said.
        reason: String,
    },
    /// The child process that issues intermediates did not end.
    #[error("`{command}` did not end within {limit:?}")]
    ChildTimeout {
        /// What was run.
        command: String,
        /// How long it was given.
        limit: Duration,
    },
    /// The host keeps its trusted roots in a way that is not known.
    #[error("no known trust store below {0}; install the distribution's `ca-certificates` package")]
    NoStore(PathBuf),
    /// The distribution's tool ran and the bundle does not show it.
    #[error("`{tool}` ran, but {bundle} {problem}; run it by hand to see why", bundle = bundle.display())]
    StoreUnchanged {
        /// The tool.
        tool: &'static str,
        /// The bundle that it should have rewritten.
        bundle: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; run as root",
        io::ErrorKind::StorageFull => "; make room",
        _ => "",
    }
}
