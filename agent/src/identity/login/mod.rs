//! Who signed in: a person's verified identity, bound to the login that the kernel knows.
//!
//! The kernel gives each login a number, the *audit session*, which every process of it inherits and none can change
//! (`audit_set_loginuid` in kernel/auditsc.c: changing it takes `CAP_AUDIT_CONTROL`). A binding is for that number together with the
//! workload and unit that the process's cgroup names, so that what a session starts elsewhere, such as a container or a
//! service, is nobody's. It ends with a logout or after a time.
//!
//! | file | job |
//! |---|---|
//! | `sign_in` | the conversation with the identity provider |
//! | `peer` | who is at the other end of a login socket, as the kernel says |

mod peer;
mod sign_in;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    peer::{Peer, PeerError},
    sign_in::{SignIn, SignInError},
};
use super::{Caller, Workload};

/// Most logins at once.
const MOST: usize = 10_000;

/// A login that the kernel knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Session {
    audit_session: u32,
    workload: String,
    unit: Option<String>,
}

impl Session {
    /// The session of a workload's process; none where it has none or it is not known.
    pub(crate) fn of(workload: &Workload) -> Option<Self> {
        let audit_session = workload.process.audit_session?;
        Some(Self { audit_session, workload: workload.id.clone(), unit: workload.unit.clone() })
    }
}

/// Who signed in, by session.
#[derive(Debug, Default)]
pub(crate) struct Logins(RwLock<HashMap<Session, Binding>>);

/// One person's hold on a session.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    /// Who signed in.
    pub(crate) caller: Arc<Caller>,
    /// Until when it holds.
    pub(crate) until: Timestamp,
    /// Who asked for it, for the record of its end.
    pub(crate) asked: Arc<Asked>,
}

/// Who asked for a login.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The user.
    pub(crate) uid: u32,
    /// The user who logged in, whoever the process has become since.
    pub(crate) login_uid: Option<u32>,
    /// Where, and the process; known only to the agent that was asked.
    pub(crate) workload: Option<Workload>,
}

impl Logins {
    /// For whom a workload's process calls.
    pub(crate) fn caller_of(&self, workload: &Workload) -> Option<Arc<Caller>> {
        let bound = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if bound.is_empty() {
            return None;
        }
        let binding = bound.get(&Session::of(workload)?)?;
        (binding.until > Timestamp::now()).then(|| Arc::clone(&binding.caller))
    }

    /// Binds a session, in place of whoever held it. False when there are too many.
    pub(crate) fn bind(&self, session: Session, binding: Binding) -> bool {
        let mut bound = self.write();
        if bound.len() >= MOST && !bound.contains_key(&session) {
            return false;
        }
        bound.insert(session, binding);
        true
    }

    /// Frees a session.
    pub(crate) fn unbind(&self, session: &Session) -> Option<Binding> {
        self.write().remove(session)
    }

    /// What is bound, to be kept for another agent.
    pub(crate) fn bound(&self) -> Vec<(Session, Binding)> {
        let bound = self.0.read().unwrap_or_else(PoisonError::into_inner);
        bound.iter().map(|(session, binding)| (session.clone(), binding.clone())).collect()
    }

    /// Frees the sessions whose time is over.
    pub(crate) fn expire(&self) -> Vec<Binding> {
        let now = Timestamp::now();
        self.write().extract_if(|_, binding| binding.until <= now).map(|(_, binding)| binding).collect()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<Session, Binding>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
