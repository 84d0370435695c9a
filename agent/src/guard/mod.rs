//! Guards for what only MCP has: text that hides instructions from people, definitions that change, servers that ask their
//! clients, and budgets. Each looks at one message and says what it finds; `proxy::guards` asks them in order and does what they
//! say. Nothing here remembers a payload, and only `definitions` does I/O, for what it knows must outlive the agent.
//!
//! A finding is told by the verdict of the record that it is about: `guard/<name>` as its policy, and whether the message went on.
//!
//! | file | watches |
//! |---|---|
//! | `instructions` | invisible characters, direction marks, hidden markup, phrases that address a model |
//! | `requests` | what a server asks of a client: sampling, elicitation, roots |
//! | [`definitions`] | tools, prompts and templates that are not what they were when they were first seen |
//! | `budget`, `rate` | calls per session, rate, concurrency, size of results |

mod budget;
pub mod definitions;
mod instructions;
mod rate;
mod requests;

pub use self::{
    budget::{Budgets, Ledger, Place, Use},
    instructions::{Sign, sign_in, sign_in_json},
    requests::{Asks, input_required, required_by_error},
};
use crate::{
    config::Permission,
    mcp::{Class, Refusal},
};

/// Something that a guard objects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `guard/<name>`, as records name it.
    pub policy: &'static str,
    /// What was found, without values from the message.
    pub reason: String,
    /// Whether the message may go on all the same.
    pub permission: Permission,
}

impl Finding {
    /// What the client is told, where the message does not go on.
    pub fn refusal(&self) -> Refusal {
        Refusal::new(self.policy, Class::Denied, self.reason.clone())
    }
}
