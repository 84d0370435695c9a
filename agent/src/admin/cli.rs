//! The command line.

use std::path::PathBuf;

use super::{
    Context, Ended, Failure, audit, ca, canary, catalog, check, detach, doctor, login, policy, run, schema, status,
    upgrade,
};

/// Makes every call to an MCP server visible, attributable, governed and signed, without touching the application.
#[derive(Debug, clap::Parser)]
#[command(name = "weir", version, max_term_width = 120)]
pub struct Cli {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/weir/weir.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
#[expect(clippy::large_enum_variant, reason = "one value per process")]
enum Command {
    /// Run the agent until SIGTERM or SIGINT. One that is running hands over to it, without a connection refused.
    Run(run::Args),
    /// Validate the configuration and say what it intercepts.
    Check(Printing<check::Args>),
    /// Name each prerequisite on this host: whether it is met, and the fix.
    Doctor(Printing<doctor::Args>),
    /// Ask the running agent how it is.
    Status(Printing<status::Args>),
    /// Start this version of the agent beside the one that runs, and wait until that has handed over.
    Upgrade(upgrade::Args),
    /// Sign in: what this login session starts calls in your name from then on.
    Login(Printing<login::Args>),
    /// Sign out of this login session.
    Logout(Printing<login::LogoutArgs>),
    /// Stop intercepting at once, and record who asked: break-glass.
    Detach(Printing<detach::Args>),
    /// Read and verify the audit log.
    Audit(Printing<audit::Args>),
    /// Test and explain policies.
    Policy(Printing<policy::Args>),
    /// Show and accept what servers' tools, prompts and templates have become.
    Catalog(Printing<catalog::Args>),
    /// Manage the certificate authority that workloads trust.
    Ca(Printing<ca::Args>),
    /// Connect where only the redirect answers: the agent's watchdog runs it.
    #[command(hide = true)]
    Canary(canary::Args),
    /// Print the JSON Schema of the configuration.
    #[command(hide = true)]
    Schema(schema::Args),
}

/// The arguments of a command that prints data.
#[derive(Debug, clap::Args)]
struct Printing<A: clap::Args> {
    #[command(flatten)]
    args: A,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub fn execute(self) -> Result<Ended, Failure> {
        let Self { config, command } = self;
        let context = |json| Context { config, json };
        match command {
            Command::Run(args) => run::execute(&args, &context(false)),
            Command::Check(Printing { args, json }) => check::execute(&args, &context(json)),
            Command::Doctor(Printing { args, json }) => doctor::execute(&args, &context(json)),
            Command::Status(Printing { args, json }) => status::execute(&args, &context(json)),
            Command::Upgrade(args) => upgrade::execute(&args, &context(false)),
            Command::Login(Printing { args, json }) => login::execute(&args, &context(json)),
            Command::Logout(Printing { args, json }) => login::execute_logout(&args, &context(json)),
            Command::Detach(Printing { args, json }) => detach::execute(&args, &context(json)),
            Command::Audit(Printing { args, json }) => audit::execute(&args, &context(json)),
            Command::Policy(Printing { args, json }) => policy::execute(&args, &context(json)),
            Command::Catalog(Printing { args, json }) => catalog::execute(&args, &context(json)),
            Command::Ca(Printing { args, json }) => ca::execute(&args, &context(json)),
            Command::Canary(args) => canary::execute(&args),
            Command::Schema(args) => schema::execute(&args, &context(true)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
