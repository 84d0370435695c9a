//! `weir policy`: what policies can speak of, what others would change, why a call was let through or not.

mod explain;
mod reload;
mod test;

use std::path::{Path, PathBuf};

use super::{Context, Ended, Failure, audit::reading};
use crate::{
    config::Config,
    mask::may_be_masked,
    policy::{self, Policies, Recorded},
};

/// Arguments of `weir policy`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Ask policies about calls that were recorded, and show what they would change
    Test(test::TestArgs),
    /// Show what each policy says of one recorded call
    Explain(explain::ExplainArgs),
    /// Have the agent read its policies now, and say whether it takes them
    Reload,
    /// Print the schema that policies are checked against
    Schema,
}

/// Which policies are asked about which log.
#[derive(Debug, clap::Args)]
struct Asking {
    /// The log's directory, instead of the configured one
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Read these files instead, as delivered (NDJSON, gzip or not), in this order
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Policies to ask, instead of those in `policy.files`; `default` and `time_zone` are the configured ones
    #[arg(long = "policy", value_name = "FILE")]
    policies: Vec<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// As [`Failure`] says.
pub fn execute(args: &Args, context: &Context) -> Result<Ended, Failure> {
    match &args.command {
        Command::Test(args) => test::execute(args, context),
        Command::Explain(args) => explain::execute(args, context),
        Command::Reload => reload::execute(context),
        Command::Schema => {
            print!("{}", policy::SCHEMA);
            Ok(Ended::Done)
        }
    }
}

impl Asking {
    /// The policies to ask.
    fn policies(&self, config: &Config) -> Result<Policies, Failure> {
        let mut wanted = config.policy.clone();
        if !self.policies.is_empty() {
            wanted.files.clone_from(&self.policies);
        }
        Policies::load(&wanted).map_err(|error| Failure::Usage(error.to_string()))
    }

    /// Calls `each` with every judged request of the log, oldest first, and what servers had said of their tools by then.
    fn each(
        &self,
        config: &Config,
        each: impl FnMut(&Recorded, &policy::Catalogue) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let dir: &Path = &self.dir.clone().unwrap_or_else(|| config.audit_dir());
        let catalogue = policy::Catalogue::default();
        let mut each = each;
        reading::each_event(&self.files, dir, |event| {
            policy::replay::learn(&catalogue, event);
            Recorded::read(event, may_be_masked).map_or(Ok(()), |recorded| each(&recorded, &catalogue))
        })
    }
}
