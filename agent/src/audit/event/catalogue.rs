//! What servers' tools, prompts and templates are, and who trusts what of them.

use serde::{Deserialize, Serialize};

use super::Requester;

/// Most definitions in one event; what is more goes into another.
pub const DEFINITIONS: usize = 64;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    /// What happened.
    pub kind: CatalogueKind,
    /// The endpoint's name.
    pub endpoint: String,
    /// Who asked for it, where somebody did.
    pub by: Option<Requester>,
    /// What it is about; at most [`DEFINITIONS`].
    pub definitions: Vec<Defined>,
    /// Why, in words; of a loss only.
    pub reason: Option<String>,
}

/// What happened to definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogueKind {
    /// They were seen for the first time, and are trusted.
    Seen,
    /// They are not what they were, or what was known of them is lost: they wait for a person.
    Changed,
    /// A person accepted them, or chose to stay with what was trusted before.
    Accepted,
    /// What was known of an endpoint's definitions was damaged: from now on nothing of it is trusted at first sight.
    Lost,
}

/// One definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defined {
    /// `tool`, `prompt` or `template`.
    pub item: String,
    /// Its name or URI template, masked.
    pub name: String,
    /// Where it is offered, masked.
    pub server: String,
    /// The form that is offered or, where that was decided, trusted: SHA-256 in hex.
    pub fingerprint: String,
    /// The form that was trusted before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// The members that differ between these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
}
