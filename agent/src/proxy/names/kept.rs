//! Known addresses on disk. The kernel's map is made from what the agent knows: one that starts again must know at least what the one
//! before did, or it would stop intercepting what it has yet to look up, while a server of names may be slow or down.

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::whole_file;

/// An address and the host that it is known by.
pub(super) type Known = BTreeSet<(IpAddr, String)>;

/// The file in the state directory, JSON: put in place whole before the kernel is told what is new.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    /// What the file holds; `None` where that is not known.
    holds: Mutex<Option<Known>>,
}

impl Kept {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join("addresses.json"), holds: Mutex::default() }
    }

    /// What was known last; nothing where there is no file.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub(super) fn read(&self) -> io::Result<Known> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Known::new()),
            Err(error) => return Err(self.naming(&error)),
        };
        let known: Known = serde_json::from_slice(&text).map_err(|error| self.naming(&error.into()))?;
        *self.holds() = Some(known.clone());
        Ok(known)
    }

    /// Keeps what is known now, if that is anything else than before.
    ///
    /// # Errors
    /// When the file cannot be written; it is as it was.
    pub(super) fn keep(&self, known: Known) -> io::Result<()> {
        let mut holds = self.holds();
        if holds.as_ref() == Some(&known) {
            return Ok(());
        }
        whole_file::replace(&self.path, &serde_json::to_vec(&known)?, 0o600).map_err(|error| self.naming(&error))?;
        *holds = Some(known);
        Ok(())
    }

    fn holds(&self) -> MutexGuard<'_, Option<Known>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn naming(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path());
        assert_eq!(kept.read().unwrap(), Known::new());
        let known = Known::from([("192.0.2.1".parse().unwrap(), "mcp.test".into())]);
        kept.keep(known.clone()).unwrap();
        assert_eq!(Kept::new(dir.path()).read().unwrap(), known);
        fs::remove_file(dir.path().join("addresses.json")).unwrap();
        kept.keep(known).unwrap();
        assert!(!dir.path().join("addresses.json").exists(), "what has not changed is not written again");
        fs::write(dir.path().join("addresses.json"), "[[").unwrap();
        assert!(kept.read().unwrap_err().to_string().contains("addresses.json"));
    }
}
