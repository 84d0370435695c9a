//! `weir policy reload`.

use std::fmt;

use crate::admin::{Context, Ended, Failure, client, protocol::Reloaded};

/// Asks the agent.
///
/// # Errors
/// No agent runs, or it does not take the policies.
pub(super) fn execute(context: &Context) -> Result<Ended, Failure> {
    let config = context.load()?;
    let socket = config.admin.socket().unwrap_or_else(|| config.admin.listen.as_ref());
    let reloaded =
        client::wait(client::reload_policies(socket))?.map_err(|error| Failure::Failed(error.to_string()))?;
    context.print(&reloaded)?;
    Ok(Ended::Done)
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = if self.changed { "in force now" } else { "unchanged" };
        write!(f, "{said}: {} policies, version {}", self.policies.policies, self.policies.version)
    }
}
