//! `weir ca`: makes the host's root, shows what there is, and puts the root into the host's trust store or takes it out.

mod report;
#[cfg(test)]
mod tests;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use self::report::{Installed, Report};
use super::{Context, Ended, Failure};
use crate::trust::{Authority, Change, Host, Store, TrustError};

/// Arguments of `weir ca`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Use this state directory instead of the configuration's.
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make the root of this host. Never replaces one.
    Init {
        /// Where there is one already, show it and succeed.
        #[arg(long)]
        if_missing: bool,
    },
    /// Show the root, the intermediate in use, whether the host trusts the root, and what runtimes with roots of their own
    /// need in their environment.
    Show,
    /// Put the root into the host's trust store.
    Install,
    /// Take the root out of the host's trust store.
    Uninstall,
    /// Sign an intermediate. The running agent calls this, so that it never reads the root's key itself.
    #[command(hide = true)]
    Issue {
        /// A host that the intermediate permits; repeat for more.
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<Host>,
    },
}

/// Runs the command.
///
/// # Errors
/// [`Failure::Usage`] when the configuration cannot be read, [`Failure::Failed`] with what the CA or the store says.
pub fn execute(args: &Args, context: &Context) -> Result<Ended, Failure> {
    let state_dir = match &args.state_dir {
        Some(dir) => dir.clone(),
        None => context.load()?.state_dir,
    };
    run(&args.action, &state_dir, Path::new("/"), context.json, &mut io::stdout().lock())
}

/// `tree` is whose trust store is meant: `/`, except in tests.
fn run(action: &Action, state_dir: &Path, tree: &Path, json: bool, out: &mut dyn Write) -> Result<Ended, Failure> {
    match action {
        Action::Init { if_missing } => {
            let authority = match Authority::init(state_dir) {
                Err(TrustError::CaExists(_)) if *if_missing => Authority::open(state_dir)?,
                made => made?,
            };
            print(out, json, &Report::of(&authority, Store::detect(tree).ok())?)
        }
        Action::Show => {
            let authority = Authority::open(state_dir)?;
            print(out, json, &Report::of(&authority, Store::detect(tree).ok())?)
        }
        Action::Install => change(state_dir, tree, json, out, Store::install),
        Action::Uninstall => change(state_dir, tree, json, out, Store::uninstall),
        Action::Issue { hosts } => {
            Authority::open(state_dir)?.issue_intermediate(hosts)?;
            Ok(Ended::Done)
        }
    }
}

fn change(
    state_dir: &Path,
    tree: &Path,
    json: bool,
    out: &mut dyn Write,
    change: fn(&Store, &rustls::pki_types::CertificateDer<'_>) -> Result<Change, TrustError>,
) -> Result<Ended, Failure> {
    let authority = Authority::open(state_dir)?;
    let store = Store::detect(tree)?;
    let changed = change(&store, authority.root())? == Change::Made;
    print(out, json, &Installed::of(&store, authority.root(), changed)?)
}

/// What a command prints: one JSON object, or text.
fn print<T: Serialize + std::fmt::Display>(out: &mut dyn Write, json: bool, data: &T) -> Result<Ended, Failure> {
    let text = if json {
        serde_json::to_string_pretty(data).map_err(|error| Failure::Failed(error.to_string()))?
    } else {
        data.to_string()
    };
    match writeln!(out, "{}", text.trim_end()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(Ended::Done),
    }
}

impl From<TrustError> for Failure {
    fn from(error: TrustError) -> Self {
        Self::Failed(error.to_string())
    }
}
