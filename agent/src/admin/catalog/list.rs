//! `weir catalog list`.

use std::fmt;

use super::{
    super::{
        Context, Ended, Failure,
        clean::{clean, column},
        client,
        protocol::{Catalog, CatalogEndpoint, CatalogEntry},
    },
    ask, short,
};
use crate::config::GuardStance;

/// Arguments of `weir catalog list`.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only this endpoint
    endpoint: Option<String>,
    /// Only what waits to be accepted
    #[arg(long)]
    waiting: bool,
}

/// Asks the agent.
///
/// # Errors
/// No agent runs, or it does not watch the endpoint.
pub(super) fn execute(args: &ListArgs, context: &Context) -> Result<Ended, Failure> {
    let mut catalog = ask(context, client::catalog)?;
    if let Some(endpoint) = &args.endpoint {
        catalog.endpoints.retain(|known| known.endpoint == *endpoint);
        if catalog.endpoints.is_empty() {
            return Err(Failure::Failed(format!("no endpoint {endpoint:?} is watched; weir catalog list names all")));
        }
    }
    for endpoint in &mut catalog.endpoints {
        endpoint.entries.retain(|entry| entry.waits || !args.waiting);
    }
    context.print(&catalog)?;
    Ok(Ended::Done)
}

impl fmt::Display for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.endpoints.is_empty() {
            return f.write_str("no endpoint is watched");
        }
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            write!(f, "{}{endpoint}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl fmt::Display for CatalogEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, stance, lost, entries } = self;
        let waiting = entries.iter().filter(|entry| entry.waits).count();
        let stance = match stance {
            GuardStance::Off => "not watched",
            GuardStance::Alert => "changes are reported",
            GuardStance::Deny => "changes are denied",
        };
        write!(f, "{endpoint}: {} known, {waiting} waiting; {stance}", entries.len())?;
        if *lost {
            write!(f, "\n  WHAT WAS TRUSTED IS LOST: nothing is trusted until `weir catalog accept {endpoint} --all`")?;
        }
        if !entries.is_empty() {
            write!(
                f,
                "\n  STATE    KIND      {} FIRST SEEN           CHANGED              FINGERPRINT   SERVER",
                column("NAME", 28)
            )?;
        }
        entries.iter().try_for_each(|entry| write!(f, "\n  {entry}"))
    }
}

impl fmt::Display for CatalogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { item, name, server, waits, first_seen, changed, trusted, offered, members } = self;
        let state = if *waits { "changed" } else { "trusted" };
        let fingerprint = offered.or(*trusted).as_ref().map(short).unwrap_or_default();
        let (item, name) = (item.as_str(), column(name, 28));
        write!(f, "{state:<8} {item:<9} {name} {first_seen:.0} {changed:.0} {fingerprint:<12}  {}", clean(server))?;
        if members.is_empty() { Ok(()) } else { write!(f, "  ({})", clean(&members.join(", "))) }
    }
}
