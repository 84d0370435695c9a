//! Who may do what: Cedar policies over calls. Knows files of policies, a schema, and one message at a time; no I/O but the
//! reading of those files.
//!
//! | module | job |
//! |---|---|
//! | `schema` | what policies can speak of; `schema.cedarschema` is its text |
//! | [`load`] | files → [`Policies`], or what is wrong, where |
//! | `checks` | what Cedar's validator does not ask: ids, annotations, names of arguments |
//! | [`question`] | one message, as policy sees it |
//! | [`principal`] | who asks, and as Cedar's entities, which are made once for a flow |
//! | `entities` | a question in Cedar's terms |
//! | `arguments` | JSON arguments as far as Cedar can hold them |
//! | `judge` | a question's verdict |
//! | `slice` | the policies that can matter to a kind of question |
//! | [`annotations`] | what servers said of their tools |
//! | [`listing`] | which entries of a list may be seen |
//! | [`live`] | the policies in force, exchanged whole |
//! | [`replay`] | a recorded call, asked again |
//!
//! # How a verdict is found
//!
//! 1. A message that policy cannot judge (no name where the method needs one, an argument that could be read in two ways and
//!    that a policy reads) is denied.
//! 2. A `forbid` that matches denies.
//! 3. A policy that fails on the message denies. Cedar itself passes over such policies: a `forbid` would be lost.
//! 4. A `permit` that matches allows; if it has `@hold`, the call is held.
//! 5. Otherwise `policy.default` decides.
//!
//! Arguments have no types that a schema could know beforehand. `schema.cedarschema` gives each the members of every form, and a
//! value has only those that it has the form for: reading another one is an error, and an error denies. What was checked for
//! one type is never skipped because the client sent another.

pub mod annotations;
mod arguments;
mod checks;
mod entities;
mod judge;
pub mod listing;
pub mod live;
pub mod load;
pub mod principal;
pub mod question;
pub mod replay;
mod schema;
mod slice;

use std::sync::Arc;

pub use annotations::{Annotations, Catalogue};
pub use live::Live;
pub use load::{LoadError, Policies};
pub use principal::Principal;
pub use question::{Question, Subject};
pub use replay::Recorded;
pub use schema::TEXT as SCHEMA;

/// What policy says of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may go on.
    Allow(Ground),
    /// It may go on once somebody of `group` has approved it.
    Hold {
        /// Who decides.
        group: Arc<str>,
        /// Why it is asked.
        ground: Ground,
    },
    /// It may not.
    Deny(Ground),
}

/// What a verdict rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground {
    /// The id of the policy that decided; `default` where none did and the default is to deny; absent where none did and the
    /// default is to allow.
    pub policy: Option<Arc<str>>,
    /// Why, for the client's user. Holds no value of the message.
    pub reason: Option<Arc<str>>,
    /// Which policies were asked: the digest of the set.
    pub version: Arc<str>,
}

impl Verdict {
    /// What it rests on.
    pub fn ground(&self) -> &Ground {
        match self {
            Self::Allow(ground) | Self::Hold { ground, .. } | Self::Deny(ground) => ground,
        }
    }

    /// As records write it.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Allow(_) => "allow",
            Self::Hold { .. } => "hold",
            Self::Deny(_) => "deny",
        }
    }
}

#[cfg(test)]
mod tests;
