//! `weir catalog accept`.

use std::fmt;

use super::{
    super::{
        Context, Ended, Failure,
        clean::clean,
        client,
        protocol::{CatalogAccepted, CatalogAsk},
    },
    ask, short,
};
use crate::guard::definitions::Which;

/// Arguments of `weir catalog accept`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct AcceptArgs {
    /// The endpoint
    endpoint: String,
    /// The tool, the prompt, or the URI template
    #[arg(required_unless_present = "all")]
    name: Option<String>,
    /// All that waits at this endpoint; after a loss, what is first seen is trusted again
    #[arg(long, conflicts_with_all = ["name", "fingerprint"])]
    all: bool,
    /// Only this form: eight or more digits of its fingerprint. That of a trusted form means to stay with it
    #[arg(long, value_name = "HEX")]
    fingerprint: Option<String>,
}

/// Asks the agent.
///
/// # Errors
/// No agent runs, nothing waits, or it could not be recorded.
pub(super) fn execute(args: &AcceptArgs, context: &Context) -> Result<Ended, Failure> {
    let AcceptArgs { endpoint, name, all: _, fingerprint } = args.clone();
    let asked = CatalogAsk { endpoint, which: Which { name, fingerprint } };
    let accepted = ask(context, async |socket| client::accept_definitions(socket, &asked).await)?;
    context.print(&accepted)?;
    Ok(Ended::Done)
}

impl fmt::Display for CatalogAccepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} accepted", self.accepted.len())?;
        self.accepted.iter().try_for_each(|defined| {
            let (name, server) = (clean(&defined.name), clean(&defined.server));
            write!(f, "\n{} {name} at {server}: trusted is {}", defined.item, short(&defined.fingerprint))?;
            defined.was.as_ref().map_or(Ok(()), |was| write!(f, ", in the place of {}", short(was)))
        })
    }
}
