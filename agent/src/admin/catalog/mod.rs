//! `weir catalog`: what servers' tools, prompts and resource templates were when they were trusted, what they have become, and
//! who accepts that. What is shown was written by servers: nothing of it steers a terminal or hides.

mod accept;
mod diff;
mod list;
mod show;

use super::{
    Context, Ended, Failure,
    client::{self, ClientError},
};

/// Arguments of `weir catalog`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List what is known of each endpoint, and what waits to be accepted
    List(list::ListArgs),
    /// Show what was trusted of a tool, prompt or template beside what is offered now
    Show(show::ShowArgs),
    /// Trust what is offered now, and record who does
    Accept(accept::AcceptArgs),
}

/// Runs the command.
///
/// # Errors
/// As [`Failure`] says.
pub fn execute(args: &Args, context: &Context) -> Result<Ended, Failure> {
    match &args.command {
        Command::List(args) => list::execute(args, context),
        Command::Show(args) => show::execute(args, context),
        Command::Accept(args) => accept::execute(args, context),
    }
}

/// Asks the running agent.
fn ask<T>(context: &Context, ask: impl AsyncFnOnce(&std::path::Path) -> Result<T, ClientError>) -> Result<T, Failure> {
    let config = context.load()?;
    let socket = config.admin.socket().unwrap_or_else(|| config.admin.listen.as_ref());
    client::wait(ask(socket))?.map_err(|error| Failure::Failed(error.to_string()))
}

/// The beginning of a fingerprint, enough to tell forms apart.
fn short(fingerprint: &impl ToString) -> String {
    fingerprint.to_string().chars().take(12).collect()
}
