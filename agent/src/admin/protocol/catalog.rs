//! What passes about servers' definitions.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    audit::event::Defined,
    config::GuardStance,
    guard::definitions::{Entry, Fingerprint, Item, Which},
};

/// What is known of the definitions of every endpoint that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// When this was so.
    pub time: Timestamp,
    /// By name.
    pub endpoints: Vec<CatalogEndpoint>,
}

/// Of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogEndpoint {
    /// Its name.
    pub endpoint: String,
    /// What becomes of what waits.
    pub stance: GuardStance,
    /// What was trusted has been lost: nothing is trusted at first sight until all of it is accepted.
    pub lost: bool,
    /// By server, kind and name.
    pub entries: Vec<CatalogEntry>,
}

/// Of one tool, prompt or resource template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogEntry {
    /// What it is.
    pub item: Item,
    /// Its name or URI template, masked.
    pub name: String,
    /// Where it is offered, masked.
    pub server: String,
    /// Whether another form than a trusted one waits to be accepted.
    pub waits: bool,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When its newest form was first seen.
    pub changed: Timestamp,
    /// The form that was trusted last; absent where none is.
    pub trusted: Option<Fingerprint>,
    /// The form that waits.
    pub offered: Option<Fingerprint>,
    /// The members in which these differ.
    pub members: Vec<String>,
}

impl CatalogEntry {
    /// An entry in short.
    pub(in crate::admin) fn of(entry: &Entry) -> Self {
        let trusted = entry.trusted.first();
        let newest = entry.offered.as_ref().or(trusted);
        Self {
            item: entry.item,
            name: entry.name.clone(),
            server: entry.server.clone(),
            waits: entry.offered.is_some(),
            first_seen: entry.first_seen,
            changed: newest.map_or(entry.first_seen, |form| form.seen),
            trusted: trusted.map(|form| form.fingerprint),
            offered: entry.offered.as_ref().map(|form| form.fingerprint),
            members: entry.changed_members().into_iter().map(str::to_owned).collect(),
        }
    }
}

/// Which definitions are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogAsk {
    /// The endpoint's name.
    pub endpoint: String,
    /// Which of its definitions.
    pub which: Which,
}

/// Definitions in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogEntries {
    /// By server, kind and name.
    pub entries: Vec<Entry>,
}

/// What was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogAccepted {
    /// As the record says it.
    pub accepted: Vec<Defined>,
}
