//! How this agent comes to its log and its listeners: from nobody, or from an agent that is serving.

use tokio::sync::oneshot;

use super::{failed, record, record_life};
use crate::{
    admin::{
        Failure,
        handover::{
            Terms,
            take::{Inheritance, Predecessor},
        },
        server::AdminSocket,
        socket::SocketFile,
    },
    audit::{
        event::Agent,
        log::{Log, LogOptions},
        queue::Queue,
        recovery::Recovery,
    },
    config::Config,
    proxy::{Inherited, Proxy},
};

/// See the module.
#[derive(Debug)]
pub(super) enum Origin {
    /// Nobody serves. The log is open.
    Alone(Recovery),
    /// Another agent serves, and has the log.
    After(Predecessor, Queue),
}

/// What there is besides the log.
#[derive(Debug)]
pub(super) struct Begun {
    /// The namespaces that the other agent served.
    pub(super) namespaces: Vec<Inherited>,
    /// Tells when the other agent has ended; none where there was none.
    pub(super) predecessor: Option<oneshot::Receiver<()>>,
}

impl Origin {
    /// Finds out whether an agent serves, and makes the log: open, or waiting for that agent's.
    ///
    /// # Errors
    /// The log cannot be opened, or the other agent does not hand over.
    pub(super) fn find(config: &Config, options: &LogOptions) -> Result<(Self, Log), Failure> {
        match Predecessor::find(&config.state_dir, Terms::of(config)).map_err(failed)? {
            None => {
                let (log, recovery) = Log::open(options).map_err(failed)?;
                Ok((Self::Alone(recovery), log))
            }
            Some(predecessor) => {
                let (log, queue) = Log::beside(options).map_err(failed)?;
                Ok((Self::After(predecessor, queue), log))
            }
        }
    }

    /// The admin socket: in its place, or beside another agent's.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) async fn bind_admin(&self, config: &Config) -> Result<AdminSocket, Failure> {
        let path = config.admin.socket().ok_or_else(|| Failure::Usage("admin.listen is not `unix:<path>`".into()))?;
        let bound = match self {
            Self::Alone(_) => AdminSocket::bind(path, config.admin.group).await,
            Self::After(..) => AdminSocket::bind_aside(path, config.admin.group),
        };
        bound.map_err(|error| match rustix::process::geteuid().is_root() {
            true => failed(error),
            false => Failure::Failed(format!("{error}; weir run needs root")),
        })
    }

    /// Takes what the other agent has, and writes the first records. When this returns, this agent is the one that serves.
    /// Tasks that belong to the log's writer begin after it.
    ///
    /// # Errors
    /// A step failed. Another agent that was serving still does.
    pub(super) async fn begin(
        self,
        log: &Log,
        options: &LogOptions,
        proxy: &Proxy,
        first: [Agent; 2],
    ) -> Result<Begun, Failure> {
        match self {
            Self::Alone(recovery) => {
                log.settle(recovery).await.map_err(failed)?;
                for what in first {
                    record(log, what).await?;
                }
                Ok(Begun { namespaces: Vec::new(), predecessor: None })
            }
            Self::After(mut predecessor, queue) => {
                let Inheritance { namespaces, addresses } = predecessor.take().map_err(failed)?;
                proxy.adopt_addresses(addresses);
                predecessor.release_log().map_err(failed)?;
                // What is open there is not settled: the other agent carries it on.
                let Recovery { open_calls, .. } = queue.open(options).map_err(failed)?;
                for what in first {
                    record(log, what).await?;
                }
                record_life(log, predecessor.took_over()).await.map_err(failed)?;
                let predecessor = predecessor.replace(log.clone(), open_calls).map_err(failed)?;
                Ok(Begun { namespaces, predecessor: Some(predecessor) })
            }
        }
    }
}

/// The sockets that an agent answers on, in the place of another's.
///
/// # Errors
/// They cannot be moved there.
pub(super) fn put_in_place(admin: &mut AdminSocket, next: &mut SocketFile) -> Result<(), Failure> {
    next.put_in_place().map_err(failed)?;
    admin.put_in_place().map_err(failed)
}
