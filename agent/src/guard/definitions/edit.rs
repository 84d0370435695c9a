//! One change of a book. Who may change it is settled first: within the agent by a lock, between agents by the file's.

use std::{io, sync::Arc};

use jiff::Timestamp;
use tokio::{sync::OwnedMutexGuard, task::spawn_blocking};

use super::{
    Definition, DefinitionsError, Entry, Fingerprint, Item, Noted, Place, Shelf, Which,
    book::{Book, Offer},
    failed,
    file::Held,
};

/// A book that is being changed. What is noted counts once [`keep`](Self::keep) has returned.
#[derive(Debug)]
pub struct Edit {
    endpoint: String,
    shelf: Arc<Shelf>,
    book: Arc<Book>,
    room: Option<usize>,
    is_changed: bool,
    held: Held,
    writing: OwnedMutexGuard<()>,
}

/// An entry of a list, as a server offers it.
#[derive(Debug, Clone, Copy)]
pub struct Offered<'o> {
    /// Its name or URI template.
    pub name: &'o str,
    /// The same, masked.
    pub shown: &'o str,
    /// All of it that is watched.
    pub definition: &'o Definition,
    /// The same, masked; none where a mask leaves nothing of it.
    pub masked: Option<&'o Definition>,
}

/// What becomes of an entry that somebody decides about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The entry as it was before.
    pub entry: Entry,
    /// The form that is trusted from now on.
    pub trusted: Fingerprint,
}

impl Edit {
    pub(super) async fn begin(endpoint: &str, shelf: Arc<Shelf>) -> Result<Self, DefinitionsError> {
        let writing = Arc::clone(&shelf.writing).lock_owned().await;
        let theirs = Arc::clone(&shelf);
        let hold = move || {
            let held = theirs.file.hold()?;
            theirs.refresh().map(|()| held)
        };
        let held = spawn_blocking(hold).await.map_err(io::Error::other).flatten();
        let held = held.map_err(|source| failed("hold", endpoint, &shelf.file, source))?;
        let book = Arc::clone(&shelf.known().book);
        let endpoint = endpoint.to_owned();
        Ok(Self { endpoint, shelf, book, room: None, is_changed: false, held, writing })
    }

    /// Notes what a server offers, `server` being its place as it may be shown. Returns what it is, and the entry as it is known
    /// from now on, where there was room for it.
    pub fn note(
        &mut self,
        place: Place<'_>,
        server: &str,
        item: Item,
        offered: Offered<'_>,
        now: Timestamp,
    ) -> (Noted, Option<&Entry>) {
        let Offered { name, shown, definition, masked } = offered;
        let id = place.id(item, name);
        let fingerprint = definition.fingerprint();
        let offer = Offer { id, item, server, name: shown, fingerprint, definition, masked };
        let noted = match self.book.look_up(&offer, now) {
            Some(noted) => noted,
            None => {
                self.is_changed = true;
                let book = Arc::make_mut(&mut self.book);
                let room = self.room.get_or_insert_with(|| book.room());
                book.note(&offer, now, room)
            }
        };
        (noted, self.book.entries.get(&id))
    }

    /// What accepting `which` would change.
    pub fn would_accept(&self, which: &Which) -> Vec<Accepted> {
        let meant = self.book.meant(which).filter_map(|(_, entry)| {
            let trusted = match (&entry.offered, which.trusts_offered(entry)) {
                (Some(offered), true) => offered.fingerprint,
                _ => entry.trusted.first()?.fingerprint,
            };
            Some(Accepted { entry: entry.clone(), trusted })
        });
        let mut meant: Vec<Accepted> = meant.collect();
        meant.sort_by(|one, other| (&one.entry.server, &one.entry.name).cmp(&(&other.entry.server, &other.entry.name)));
        meant
    }

    /// Whether what was trusted has been lost, and nothing is trusted at first sight.
    pub fn is_lost(&self) -> bool {
        self.book.lost
    }

    /// Accepts it.
    pub fn accept(&mut self, which: &Which) {
        self.is_changed = true;
        Arc::make_mut(&mut self.book).accept(which);
    }

    /// Writes the book, if it was changed, and lets it count.
    ///
    /// # Errors
    /// When it cannot be written: nothing of the change counts.
    pub async fn keep(self) -> Result<(), DefinitionsError> {
        if !self.is_changed {
            return Ok(());
        }
        let Self { endpoint, shelf, book, held, writing, .. } = self;
        let (file, written) = (shelf.file.clone(), Arc::clone(&book));
        let stamp = spawn_blocking(move || file.write(&written, &held)).await.map_err(io::Error::other).flatten();
        let stamp = stamp.map_err(|source| failed("write", &endpoint, &shelf.file, source))?;
        shelf.know(book, Some(stamp));
        drop(writing);
        Ok(())
    }
}
