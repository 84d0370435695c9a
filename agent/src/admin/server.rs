//! The running agent's side of the admin socket.
//!
//! The socket's mode lets in root and, where one is configured, a group; the peer's credentials are checked again for
//! each connection. The kernel tells a peer's *primary* group only: a member by supplementary group runs the command
//! under `sg <group>`.

use std::{convert::Infallible, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, sync::Semaphore, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use super::socket::BindError;
use super::{
    protocol::{
        CATALOG, CATALOG_ACCEPT, CATALOG_ENTRIES, Catalog, CatalogAccepted, CatalogAsk, CatalogEntries, DETACH,
        Detached, RELOAD, Refused, Reloaded, STATUS, Status,
    },
    socket::{self, Mode, SocketFile},
};

/// Connections served at once; more wait.
const CONNECTIONS: usize = 16;
/// Longest wait for a request's header.
const HEADER_PATIENCE: Duration = Duration::from_secs(5);
/// Largest request body, in bytes.
const REQUEST: usize = 64 << 10;
/// Longest life of a connection, which carries one request.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the agent does for those whom the socket lets in.
pub trait Operations: Send + Sync + 'static {
    /// How the agent is.
    fn status(&self) -> impl Future<Output = Status> + Send;

    /// Records that the agent detaches, then detaches; the error says why not, for the operator.
    fn detach(&self, by: Peer) -> impl Future<Output = Result<Detached, String>> + Send;

    /// Reads the policies again; the error says why they are not taken.
    fn reload_policies(&self) -> impl Future<Output = Result<Reloaded, String>> + Send;

    /// What is known of servers' definitions.
    fn catalog(&self) -> impl Future<Output = Catalog> + Send;

    /// Definitions in full; the error says that there are none.
    fn catalog_entries(&self, asked: CatalogAsk) -> impl Future<Output = Result<CatalogEntries, String>> + Send;

    /// Records that definitions are accepted, then accepts them; the error says why not.
    fn accept_definitions(
        &self,
        asked: CatalogAsk,
        by: Peer,
    ) -> impl Future<Output = Result<CatalogAccepted, String>> + Send;
}

/// Who asks, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Effective user.
    pub uid: u32,
    /// Effective primary group.
    pub gid: u32,
    /// The process, if this one's pid namespace shows it.
    pub pid: Option<u32>,
}

/// The admin socket. Its file is removed when this is dropped, if it is still this one's.
#[derive(Debug)]
pub struct AdminSocket {
    file: SocketFile,
    group: Option<u32>,
}

impl AdminSocket {
    /// Opens the socket, mode 0600, or 0660 with `group`. Its directory is made when missing; a socket that nobody
    /// answers is replaced.
    ///
    /// # Errors
    /// As [`BindError`] says.
    pub async fn bind(path: &Path, group: Option<u32>) -> Result<Self, BindError> {
        socket::is_free(path).await?;
        let mut socket = Self::bind_aside(path, group)?;
        socket.put_in_place()?;
        Ok(socket)
    }

    /// The same beside its place, where another agent answers until [`Self::put_in_place`].
    ///
    /// # Errors
    /// As [`BindError`] says.
    pub(super) fn bind_aside(path: &Path, group: Option<u32>) -> Result<Self, BindError> {
        Ok(Self { file: SocketFile::bind_aside(path, Mode::of(group))?, group })
    }

    /// From now on this one answers.
    ///
    /// # Errors
    /// As [`BindError`] says.
    pub(super) fn put_in_place(&mut self) -> Result<(), BindError> {
        self.file.put_in_place()
    }

    /// Serves until told to stop; requests that have begun are finished.
    pub async fn serve<O: Operations>(self, operations: Arc<O>, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let tasks = TaskTracker::new();
        while let Some((stream, place)) = tokio::select! {
            () = stop.cancelled() => None,
            next = self.next(&places) => Some(next),
        } {
            let operations = Arc::clone(&operations);
            let group = self.group;
            tasks.spawn(async move {
                let _place = place;
                if timeout(PATIENCE, serve_one(stream, group, &*operations)).await.is_err() {
                    tracing::warn!("an admin connection took too long and was closed");
                }
            });
        }
        tasks.close();
        tasks.wait().await;
    }

    async fn next(&self, places: &Arc<Semaphore>) -> (UnixStream, Option<tokio::sync::OwnedSemaphorePermit>) {
        // The semaphore is never closed.
        let place = Arc::clone(places).acquire_owned().await.ok();
        loop {
            match self.file.listener().accept().await {
                Ok((stream, _)) => return (stream, place),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an admin connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn serve_one<O: Operations>(stream: UnixStream, group: Option<u32>, operations: &O) {
    let peer = match stream.peer_cred() {
        Ok(cred) => Peer { uid: cred.uid(), gid: cred.gid(), pid: cred.pid().and_then(|pid| u32::try_from(pid).ok()) },
        Err(error) => {
            tracing::warn!(%error, "cannot tell who opened an admin connection; closed it");
            return;
        }
    };
    let answer = async |request: Request<Incoming>| -> Result<_, Infallible> {
        Ok(if may(peer, group) { route(request, peer, operations).await } else { forbidden(peer) })
    };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_PATIENCE).keep_alive(false).max_buf_size(16 << 10);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service_fn(answer)).await {
        tracing::debug!(%error, "an admin connection ended early");
    }
}

fn may(peer: Peer, group: Option<u32>) -> bool {
    peer.uid == 0 || group == Some(peer.gid)
}

fn forbidden(peer: Peer) -> Response<Full<Bytes>> {
    tracing::warn!(peer.uid, peer.gid, "refused an admin request");
    let error = format!("user {} with group {} may not use the admin socket", peer.uid, peer.gid);
    json(StatusCode::FORBIDDEN, &Refused { error })
}

async fn route<O: Operations>(request: Request<Incoming>, peer: Peer, operations: &O) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    match (head.uri.path(), &head.method) {
        (STATUS, &Method::GET) => json(StatusCode::OK, &operations.status().await),
        (CATALOG, &Method::GET) => json(StatusCode::OK, &operations.catalog().await),
        (DETACH, &Method::POST) => done(operations.detach(peer).await, StatusCode::INTERNAL_SERVER_ERROR),
        (RELOAD, &Method::POST) => done(operations.reload_policies().await, StatusCode::CONFLICT),
        (path @ (CATALOG_ENTRIES | CATALOG_ACCEPT), &Method::POST) => match read(body).await {
            Err(error) => json(StatusCode::BAD_REQUEST, &Refused { error }),
            Ok(asked) if path == CATALOG_ENTRIES => {
                done(operations.catalog_entries(asked).await, StatusCode::NOT_FOUND)
            }
            Ok(asked) => done(operations.accept_definitions(asked, peer).await, StatusCode::CONFLICT),
        },
        (STATUS | DETACH | RELOAD | CATALOG | CATALOG_ENTRIES | CATALOG_ACCEPT, method) => {
            json(StatusCode::METHOD_NOT_ALLOWED, &Refused { error: format!("{method} is not allowed here") })
        }
        (path, _) => json(StatusCode::NOT_FOUND, &Refused { error: format!("there is no {path}") }),
    }
}

/// What was done, or why not.
fn done<T: Serialize>(done: Result<T, String>, otherwise: StatusCode) -> Response<Full<Bytes>> {
    match done {
        Ok(done) => json(StatusCode::OK, &done),
        Err(error) => json(otherwise, &Refused { error }),
    }
}

async fn read<T: DeserializeOwned>(body: Incoming) -> Result<T, String> {
    let body = Limited::new(body, REQUEST).collect().await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| error.to_string())
}

fn json<T: Serialize>(status: StatusCode, body: &T) -> Response<Full<Bytes>> {
    let (status, text) = match serde_json::to_vec(body) {
        Ok(text) => (status, text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests;
