//! What the running agent knows of servers' definitions, and what people decide about them.

use jiff::Timestamp;

use super::{failed, record_life};
use crate::{
    admin::{
        Failure,
        protocol::{Catalog, CatalogAccepted, CatalogAsk, CatalogEndpoint, CatalogEntries, CatalogEntry},
    },
    audit::{
        event::{Catalogue, CatalogueKind, DEFINITIONS, Defined, Life, Requester},
        log::Log,
    },
    config::GuardStance,
    guard::definitions::{Definitions, Entry, Lost, Which},
    proxy::defined,
};

/// Fewest digits of a fingerprint that name a form.
const DIGITS: usize = 8;

/// Records what was lost, and reads what another agent has written since the start: this one serves from now on.
///
/// # Errors
/// As the log's.
pub(super) async fn begin(definitions: &Definitions, log: &Log, lost: Vec<Lost>) -> Result<(), Failure> {
    for Lost { endpoint, reason } in lost {
        tracing::error!(
            endpoint,
            reason,
            "what was known of an endpoint's definitions is lost: accept them anew (weir catalog)"
        );
        let (kind, reason) = (CatalogueKind::Lost, Some(reason));
        let catalogue = Catalogue { kind, endpoint, by: None, definitions: Vec::new(), reason };
        record_life(log, Life::Catalogue(catalogue)).await.map_err(failed)?;
    }
    definitions.refresh();
    Ok(())
}

/// All of it, in short.
pub(super) fn list(definitions: &Definitions) -> Catalog {
    let endpoint = |(name, stance, lost, entries): (&str, GuardStance, bool, Vec<Entry>)| CatalogEndpoint {
        endpoint: name.to_owned(),
        stance,
        lost,
        entries: entries.iter().map(CatalogEntry::of).collect(),
    };
    Catalog { time: Timestamp::now(), endpoints: definitions.entries().map(endpoint).collect() }
}

/// Those that are asked for, in full.
///
/// # Errors
/// There is none.
pub(super) fn entries(definitions: &Definitions, asked: &CatalogAsk) -> Result<CatalogEntries, String> {
    let CatalogAsk { endpoint, which: Which { name, fingerprint: _ } } = asked;
    let (_, _, _, mut entries) =
        definitions.entries().find(|(known, ..)| known == endpoint).ok_or_else(|| unwatched(endpoint))?;
    entries.retain(|entry| name.as_ref().is_none_or(|name| *name == entry.name));
    match (entries.is_empty(), name) {
        (true, Some(name)) => Err(format!("{name:?} was never listed by {endpoint}; weir catalog list shows what was")),
        _ => Ok(CatalogEntries { entries }),
    }
}

/// Records who accepts what, then accepts it. No record, no trust.
///
/// # Errors
/// Why not, for the operator.
pub(super) async fn accept(
    definitions: &Definitions,
    log: &Log,
    asked: &CatalogAsk,
    by: Requester,
) -> Result<CatalogAccepted, String> {
    let CatalogAsk { endpoint, which } = asked;
    if let Some(digits) = &which.fingerprint
        && (digits.len() < DIGITS || !digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')))
    {
        return Err(format!("{digits:?} does not name a form: give {DIGITS} or more of its fingerprint's hex digits"));
    }
    let edit = definitions.edit(endpoint).await.map_err(|error| error.to_string())?;
    let mut edit = edit.ok_or_else(|| unwatched(endpoint))?;
    let accepted = edit.would_accept(which);
    if accepted.is_empty() && !(edit.is_lost() && *which == Which::default()) {
        return Err(format!(
            "nothing of {endpoint} waits to be accepted as asked; weir catalog list {endpoint} shows what does"
        ));
    }
    let decided: Vec<Defined> = accepted.iter().map(|accepted| defined(&accepted.entry, accepted.trusted)).collect();
    for definitions in decided.chunks(DEFINITIONS) {
        let (kind, definitions) = (CatalogueKind::Accepted, definitions.to_vec());
        let catalogue = Catalogue { kind, endpoint: endpoint.clone(), by: Some(by), definitions, reason: None };
        let recorded = record_life(log, Life::Catalogue(catalogue)).await;
        recorded.map_err(|error| format!("not accepted, because it could not be recorded: {error}"))?;
    }
    edit.accept(which);
    edit.keep().await.map_err(|error| format!("recorded, but not accepted: {error}"))?;
    Ok(CatalogAccepted { accepted: decided })
}

fn unwatched(endpoint: &str) -> String {
    format!("no endpoint {endpoint:?} is watched; see `[[endpoint]]` and `guard.catalogue` in the configuration")
}
