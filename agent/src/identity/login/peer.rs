//! Who is at the other end of a login socket, as the kernel says.

use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::OwnedFd,
    time::Timespec,
};
use tokio::net::UnixStream;

use super::{super::Workloads, Asked, Session};
use crate::{
    datapath::{peer_pidfd, since_boot},
    identity::Workload,
};

/// A process that asks to sign in.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Its user.
    pub(crate) uid: u32,
    /// The user who logged in, whoever the process has become since.
    pub(crate) login_uid: Option<u32>,
    /// Where it is, and its process.
    pub(crate) workload: Workload,
    /// Its login.
    pub(crate) session: Session,
}

/// Why nobody can sign in here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// It ended, or cannot be told from another.
    #[error("the process that asks cannot be told for certain; ask again")]
    Uncertain,
    /// Its audit session id is unset.
    #[error(
        "this process belongs to no login session (its audit session id is unset): sign in from a session that a login \
         made, such as ssh's or the console's, and not from a service or a container"
    )]
    NoSession,
}

impl Peer {
    /// Who asked, for the record of what becomes of it.
    pub(crate) fn asked(&self) -> Asked {
        Asked { uid: self.uid, login_uid: self.login_uid, workload: Some(self.workload.clone()) }
    }

    /// Who has just connected.
    ///
    /// # Errors
    /// As [`PeerError`] says.
    pub(crate) fn of(stream: &UnixStream, workloads: &Workloads) -> Result<Self, PeerError> {
        let now = since_boot();
        let credentials = stream.peer_cred().map_err(|_| PeerError::Uncertain)?;
        let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok()).ok_or(PeerError::Uncertain)?;
        // Since Linux 6.5 a handle on the very process; before that, its start before now is what can be checked.
        let process = peer_pidfd(stream).ok();
        let (workload, login_uid) = workloads.resolve_peer(pid, credentials.uid(), now).ok_or(PeerError::Uncertain)?;
        if process.as_ref().is_some_and(has_ended) {
            // What was read may be another's, of the same pid.
            return Err(PeerError::Uncertain);
        }
        let session = Session::of(&workload).ok_or(PeerError::NoSession)?;
        Ok(Self { uid: credentials.uid(), login_uid, workload, session })
    }
}

/// Whether a process has ended: its pidfd is readable then (`pidfd_open(2)`).
fn has_ended(process: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) != Ok(0)
}
