//! Whose the counters are. They outlive agents and configurations, so they carry their own name, and the endpoints' names by
//! which they were counted: the next agent closes the books of the last one under the names that it used.

use weir_ebpf::{MAX_ENDPOINTS, MAX_NAME};

use super::{Datapath, maps::MapsError};

/// What one set of counters counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Books {
    /// Names the set, which began at zero; `None` until the first agent has named it.
    pub id: Option<u64>,
    /// The endpoints' names, in the order of their indexes from 1.
    pub names: Vec<String>,
}

impl Datapath {
    /// The counters' own word on what they count.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn books(&self) -> Result<Books, MapsError> {
        let (id, names) = (&self.maps.counters_id, &self.maps.names);
        let id = id.lock().get(&0, 0).map_err(id.failed())?;
        let map = names.lock();
        let mut read = Vec::new();
        for index in 1..MAX_ENDPOINTS {
            let bytes = map.get(&index, 0).map_err(names.failed())?;
            let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            if name.is_empty() {
                break;
            }
            read.push(String::from_utf8_lossy(name).into_owned());
        }
        Ok(Books { id: (id != 0).then_some(id), names: read })
    }

    /// Has the counters count for these endpoints from now on. Names longer than 64 bytes, which the configuration does not
    /// allow, are cut.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn set_books(&self, books: &Books) -> Result<(), MapsError> {
        let (id, names) = (&self.maps.counters_id, &self.maps.names);
        let mut map = names.lock();
        let mut written = books.names.iter();
        for index in 1..MAX_ENDPOINTS {
            let mut name = [0; MAX_NAME];
            let given = written.next().map_or(&[][..], |name| name.as_bytes());
            for (to, from) in name.iter_mut().zip(given) {
                *to = *from;
            }
            let is_last = given.is_empty() && map.get(&index, 0).map_err(names.failed())?[0] == 0;
            if is_last {
                break;
            }
            map.set(index, name, 0).map_err(names.failed())?;
        }
        id.lock().set(0, books.id.unwrap_or_default(), 0).map_err(id.failed())
    }
}
