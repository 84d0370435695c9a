//! Tools, prompts and templates that are not what they were when they were first seen: the *rug pull*.
//!
//! The first form of an entry that a server lists is trusted (trust on first use) and remembered under the state directory, in one file
//! for each endpoint. Another form waits until somebody accepts it; until then it is reported with each list, or taken out
//! of lists and not to be used, as `catalogue` says. That an entry is missing from a list says nothing: lists come in pages,
//! and not every caller sees all of one.
//!
//! | file | does |
//! |---|---|
//! | `form` | what is watched of an entry, in one form, and its digest |
//! | `book` | what is known of one endpoint; no I/O |
//! | `file` | the book on disk, shared by agents that hand over to each other |
//! | `edit` | one change of a book: held, read again, changed, written |
//!
//! [`Definitions::holds`] is asked for each call: it takes no lock, and where nothing waits it looks at nothing. What leaves this
//! room to be shown or recorded was masked by who brought it; digests are of what the server said.

mod book;
mod edit;
mod file;
mod form;

use std::{
    collections::{BTreeMap, HashSet},
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;

use self::{
    book::{Book, EntryId},
    file::{BookFile, Read, Stamp},
};
pub use self::{
    book::{Entry, Form, Noted, Said, Which},
    edit::{Accepted, Edit, Offered},
    form::{Definition, Fingerprint, Item},
};
use crate::config::GuardStance;

/// What is known of every endpoint that is watched.
#[derive(Debug, Default)]
pub struct Definitions(BTreeMap<String, Arc<Shelf>>);

/// Why a book cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} what is known of the definitions of endpoint \"{endpoint}\" ({}): {source}", path.display())]
pub struct DefinitionsError {
    action: &'static str,
    endpoint: String,
    path: std::path::PathBuf,
    source: io::Error,
}

/// A book that was damaged: what it said is not trusted any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The endpoint's name.
    pub endpoint: String,
    /// What is wrong with it, and where it is now.
    pub reason: String,
}

/// A server, as the application sees it: an endpoint may have several, and each has its own definitions.
#[derive(Debug, Clone, Copy)]
pub struct Place<'p> {
    /// The host that was asked for, or its address.
    pub host: &'p str,
    /// Its port.
    pub port: u16,
    /// The path that messages are sent to, without its query; none where the server chooses it anew for each session.
    pub path: Option<&'p str>,
}

/// One endpoint's.
#[derive(Debug)]
struct Shelf {
    file: BookFile,
    stance: GuardStance,
    /// The book as it was last read or written.
    known: Mutex<Known>,
    /// What may not be used. Asked for each call.
    held: ArcSwap<Held>,
    /// Held by who changes it.
    writing: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Known {
    book: Arc<Book>,
    stamp: Option<Stamp>,
}

#[derive(Debug, Default)]
struct Held {
    waiting: HashSet<EntryId>,
    /// After a loss: what is trusted again. Nothing else may be used.
    only: Option<HashSet<EntryId>>,
}

impl Held {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.only.is_none()
    }

    fn contains(&self, id: EntryId) -> bool {
        self.waiting.contains(&id) || self.only.as_ref().is_some_and(|only| !only.contains(&id))
    }
}

impl Place<'_> {
    fn id(&self, item: Item, name: &str) -> EntryId {
        let Self { host, port, path } = self;
        let path = path.unwrap_or_default();
        let parts = [host.as_bytes(), &port.to_be_bytes(), path.as_bytes(), item.as_str().as_bytes(), name.as_bytes()];
        EntryId::of_parts(parts)
    }
}

impl Definitions {
    /// Reads what is known of `endpoints`, under `dir`. What is damaged is set aside and returned.
    ///
    /// # Errors
    /// When a book is there and cannot be read, or a damaged one cannot be set aside.
    pub fn open<'e>(
        dir: &Path,
        endpoints: impl IntoIterator<Item = (&'e str, GuardStance)>,
    ) -> Result<(Self, Vec<Lost>), DefinitionsError> {
        let mut lost = Vec::new();
        let mut shelves = BTreeMap::new();
        for (endpoint, stance) in endpoints {
            if stance != GuardStance::Off {
                let (shelf, damage) = Shelf::open(BookFile::of(dir, endpoint), stance)
                    .map_err(|source| failed("read", endpoint, &BookFile::of(dir, endpoint), source))?;
                lost.extend(damage.map(|reason| Lost { endpoint: endpoint.to_owned(), reason }));
                shelves.insert(endpoint.to_owned(), Arc::new(shelf));
            }
        }
        Ok((Self(shelves), lost))
    }

    /// What becomes of an endpoint's changed definitions.
    pub fn stance(&self, endpoint: &str) -> GuardStance {
        self.0.get(endpoint).map_or(GuardStance::Off, |shelf| shelf.stance)
    }

    /// Whether there is anything of an endpoint that may not be used.
    pub fn holds_anything(&self, endpoint: &str) -> bool {
        self.0.get(endpoint).is_some_and(|shelf| !shelf.held.load().is_empty())
    }

    /// Whether an entry may not be used, because it waits for a person.
    pub fn holds(&self, endpoint: &str, place: Place<'_>, item: Item, name: &str) -> bool {
        let Some(shelf) = self.0.get(endpoint) else { return false };
        let held = shelf.held.load();
        !held.is_empty() && held.contains(place.id(item, name))
    }

    /// Whether an entry is trusted in this form, and no other form of it waits.
    pub fn is_settled(
        &self,
        endpoint: &str,
        place: Place<'_>,
        item: Item,
        name: &str,
        fingerprint: Fingerprint,
    ) -> bool {
        let id = place.id(item, name);
        self.0.get(endpoint).is_none_or(|shelf| shelf.known().book.is_settled(id, fingerprint))
    }

    /// What is known of each endpoint: whether that was once lost, and its entries in order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, GuardStance, bool, Vec<Entry>)> {
        self.0.iter().map(|(endpoint, shelf)| {
            let book = Arc::clone(&shelf.known().book);
            let mut entries: Vec<Entry> = book.entries.values().cloned().collect();
            let key = |entry: &Entry| (entry.server.clone(), entry.item, entry.name.clone());
            entries.sort_by_cached_key(key);
            (endpoint.as_str(), shelf.stance, book.lost, entries)
        })
    }

    /// Reads what another agent has written since. While two agents hand over to each other, each hears of the other's findings
    /// this way.
    pub fn refresh(&self) {
        for (endpoint, shelf) in &self.0 {
            // Whoever is writing reads it, too.
            let Ok(_writing) = shelf.writing.try_lock() else { continue };
            if let Err(error) = shelf.refresh() {
                tracing::warn!(%error, endpoint, "what is known of definitions cannot be read again");
            }
        }
    }

    /// Begins a change of what is known of an endpoint; `None` where it is not watched.
    ///
    /// # Errors
    /// When the book cannot be held or read.
    pub async fn edit(&self, endpoint: &str) -> Result<Option<Edit>, DefinitionsError> {
        let Some(shelf) = self.0.get(endpoint) else { return Ok(None) };
        Edit::begin(endpoint, Arc::clone(shelf)).await.map(Some)
    }
}

impl Shelf {
    fn open(file: BookFile, stance: GuardStance) -> io::Result<(Self, Option<String>)> {
        let (book, stamp, damage) = match file.read()? {
            Read::None => (Book::default(), None, None),
            Read::Book(book, stamp) => (*book, Some(stamp), None),
            Read::Damaged(_) => {
                let held = file.hold()?;
                // Unless another agent has been here since.
                match file.read()? {
                    Read::Damaged(why) => {
                        file.set_aside(&held)?;
                        let book = Book { lost: true, ..Book::default() };
                        let stamp = file.write(&book, &held)?;
                        let reason = format!("{why}; it was kept as {}", file.damaged_path().display());
                        (book, Some(stamp), Some(reason))
                    }
                    Read::Book(book, stamp) => (*book, Some(stamp), None),
                    Read::None => (Book { lost: true, ..Book::default() }, None, None),
                }
            }
        };
        let shelf = Self { file, stance, known: Mutex::default(), held: ArcSwap::default(), writing: Arc::default() };
        shelf.know(Arc::new(book), stamp);
        Ok((shelf, damage))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this is what is known.
    fn know(&self, book: Arc<Book>, stamp: Option<Stamp>) {
        let held = match self.stance {
            GuardStance::Deny => {
                Held { waiting: book.waiting(), only: book.lost.then(|| book.entries.keys().copied().collect()) }
            }
            GuardStance::Off | GuardStance::Alert => Held::default(),
        };
        self.held.store(Arc::new(held));
        *self.known() = Known { book, stamp };
    }

    /// Reads the book again, if it is another one than is known. One that was damaged or removed since says nothing: what is
    /// known holds, and is written with the next change.
    fn refresh(&self) -> io::Result<()> {
        let stamp = self.file.stamp()?;
        if stamp == self.known().stamp {
            return Ok(());
        }
        match self.file.read()? {
            Read::Book(book, stamp) => self.know(Arc::new(*book), Some(stamp)),
            Read::None | Read::Damaged(_) => {
                tracing::error!(path = %self.file.path().display(), "what is known of definitions was damaged or removed on disk");
            }
        }
        Ok(())
    }
}

fn failed(action: &'static str, endpoint: &str, file: &BookFile, source: io::Error) -> DefinitionsError {
    DefinitionsError { action, endpoint: endpoint.to_owned(), path: file.path(), source }
}

#[cfg(test)]
mod tests;
