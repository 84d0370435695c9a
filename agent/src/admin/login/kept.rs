//! Logins on disk, so that an agent that starts again, or takes over, knows who is signed in: one file in the state directory, put
//! in place whole at each change, with who, until when, and for which of the kernel's sessions, but no token. It is of one boot:
//! the next numbers its logins anew.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    identity::{
        Caller,
        login::{Asked, Binding, Logins, Session},
    },
    whole_file,
};

/// The file.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    boot_id: String,
    /// Whoever writes sees what those before it have bound.
    writing: Mutex<()>,
}

/// Its content.
#[derive(Serialize, Deserialize)]
struct Content {
    boot_id: String,
    logins: Vec<Login>,
}

#[derive(Serialize, Deserialize)]
struct Login {
    session: Session,
    caller: Caller,
    until: Timestamp,
    uid: u32,
    login_uid: Option<u32>,
}

/// Why logins could not be kept or restored.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeptError {
    /// The file.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Its content.
    #[error("{path} does not hold logins: {source}", path = path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Kept {
    /// The file of a state directory, for logins since a boot.
    pub(super) fn new(state_dir: &Path, boot_id: &str) -> Self {
        Self { path: state_dir.join("logins.json"), boot_id: boot_id.to_owned(), writing: Mutex::default() }
    }

    /// Binds what is kept. What another provider vouched for than `issuer` ends now, and what cannot be read binds nobody.
    ///
    /// # Errors
    /// When there is a file that cannot be read or understood.
    pub(super) fn restore(&self, logins: &Logins, issuer: &str) -> Result<usize, KeptError> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(self.failed("read", error)),
        };
        let content: Content = serde_json::from_slice(&text).map_err(|error| self.damaged(error))?;
        if content.boot_id != self.boot_id {
            return Ok(0);
        }
        let now = Timestamp::now();
        let bound = content.logins.into_iter().filter(|login| {
            let Login { session, caller, until, uid, login_uid } = login;
            let until = if caller.issuer == issuer { *until } else { now.min(*until) };
            let asked = Asked { uid: *uid, login_uid: *login_uid, workload: None };
            let binding = Binding { caller: Arc::new(caller.clone()), until, asked: Arc::new(asked) };
            logins.bind(session.clone(), binding)
        });
        Ok(bound.count())
    }

    /// Keeps what is bound now.
    ///
    /// # Errors
    /// When the file cannot be written; what was kept before is.
    pub(super) fn keep(&self, logins: &Logins) -> Result<(), KeptError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let login = |(session, binding): (Session, Binding)| {
            let Binding { caller, until, asked } = binding;
            let (uid, login_uid) = (asked.uid, asked.login_uid);
            Login { session, caller: Caller::clone(&caller), until, uid, login_uid }
        };
        let logins = logins.bound().into_iter().map(login).collect();
        let content = Content { boot_id: self.boot_id.clone(), logins };
        let text = serde_json::to_vec(&content).map_err(|error| self.damaged(error))?;
        whole_file::replace(&self.path, &text, 0o600).map_err(|error| self.failed("write", error))
    }

    pub(super) fn failed(&self, action: &'static str, source: io::Error) -> KeptError {
        KeptError::Io { action, path: self.path.clone(), source }
    }

    fn damaged(&self, source: serde_json::Error) -> KeptError {
        KeptError::Damaged { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use jiff::SignedDuration;

    use super::*;

    fn signed_in(issuer: &str) -> Logins {
        let logins = Logins::default();
        let session = serde_json::from_str(r#"{"audit_session":3,"workload":"user/1000","unit":"session-3.scope"}"#);
        let caller = Caller { sub: "jane".into(), issuer: issuer.into(), groups: vec!["ops".into()] };
        let asked = Asked { uid: 1000, login_uid: Some(1000), workload: None };
        let until = Timestamp::now() + SignedDuration::from_hours(1);
        assert!(logins.bind(session.unwrap(), Binding { caller: Arc::new(caller), until, asked: Arc::new(asked) }));
        logins
    }

    fn restored(kept: &Kept, issuer: &str) -> Vec<(Session, Binding)> {
        let logins = Logins::default();
        kept.restore(&logins, issuer).unwrap();
        logins.bound()
    }

    #[test]
    fn what_was_bound_is_bound_again_in_the_same_boot_only() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path(), "boot");
        assert_eq!(restored(&kept, "https://idp").len(), 0, "no file yet");
        let logins = signed_in("https://idp");
        kept.keep(&logins).unwrap();
        let (again, before) = (restored(&kept, "https://idp"), logins.bound());
        assert_eq!(
            (&again[0].0, &again[0].1.caller, again[0].1.until),
            (&before[0].0, &before[0].1.caller, before[0].1.until)
        );
        assert_eq!(restored(&Kept::new(dir.path(), "next boot"), "https://idp").len(), 0);
        kept.keep(&Logins::default()).unwrap();
        assert_eq!(restored(&kept, "https://idp").len(), 0, "signed out");
    }

    #[test]
    fn what_another_provider_vouched_for_ends() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path(), "boot");
        kept.keep(&signed_in("https://idp")).unwrap();
        let logins = Logins::default();
        kept.restore(&logins, "https://other").unwrap();
        assert_eq!(logins.expire().len(), 1, "and its end is recorded");
    }

    #[test]
    fn a_damaged_file_binds_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path(), "boot");
        kept.keep(&signed_in("https://idp")).unwrap();
        let logins = Logins::default();
        fs::write(&kept.path, "{").unwrap();
        kept.restore(&logins, "https://idp").unwrap_err();
        assert!(logins.bound().is_empty());
    }
}
