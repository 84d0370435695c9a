//! The running agent's side of the admin socket.
//!
//! The socket's mode lets in root and, where one is configured, a group; the peer's credentials are checked again for
//! each connection. The kernel tells a peer's *primary* group only: a member by supplementary group runs the command
//! under `sg <group>`.

use std::{
    convert::Infallible,
    fs::{self, Permissions},
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::protocol::{DETACH, Detached, Refused, STATUS, Status};

/// Connections served at once; more wait.
const CONNECTIONS: usize = 16;
/// Longest wait for a request's header.
const HEADER_PATIENCE: Duration = Duration::from_secs(5);
/// Longest life of a connection, which carries one request.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest wait to see whether another agent has the socket.
const PROBE: Duration = Duration::from_secs(1);

/// What the agent does for those whom the socket lets in.
pub trait Operations: Send + Sync + 'static {
    /// How the agent is.
    fn status(&self) -> impl Future<Output = Status> + Send;

    /// Records that the agent detaches, then detaches; the error says why not, for the operator.
    fn detach(&self, by: Peer) -> impl Future<Output = Result<Detached, String>> + Send;
}

/// Who asks, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Effective user.
    pub uid: u32,
    /// Effective primary group.
    pub gid: u32,
}

/// Why the socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody answers there.
    #[error("another agent listens at {}: stop it first", .0.display())]
    InUse(PathBuf),
    /// Something else is there.
    #[error("{} exists and is not a socket: move it away, or change `admin.listen`", .0.display())]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot listen at {}: {source}", path.display())]
    System {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The admin socket. Its file is removed when this is dropped, if it is still this one's.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
    group: Option<u32>,
}

impl AdminSocket {
    /// Opens the socket, mode 0600, or 0660 with `group`. Its directory is made when missing; a socket that nobody
    /// answers is replaced.
    ///
    /// # Errors
    /// As [`BindError`] says.
    pub async fn bind(path: &Path, group: Option<u32>) -> Result<Self, BindError> {
        make_room(path).await?;
        let system = |source| BindError::System { path: path.to_owned(), source };
        let listener = UnixListener::bind(path).map_err(system)?;
        let inode = fs::symlink_metadata(path).map_err(system)?.ino();
        let socket = Self { listener, path: path.to_owned(), inode, group };
        if group.is_some() {
            chown(path, None, group).map_err(system)?;
        }
        let mode = if group.is_some() { 0o660 } else { 0o600 };
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(system)?;
        Ok(socket)
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
            match self.listener.accept().await {
                Ok((stream, _)) => return (stream, place),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an admin connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the directory, and removes a socket that an agent left behind.
async fn make_room(path: &Path) -> Result<(), BindError> {
    let system = |source| BindError::System { path: path.to_owned(), source };
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(system)?;
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(system(source)),
        Ok(file) if !file.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match timeout(PROBE, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(system),
        Ok(Err(source)) => Err(system(source)),
        Ok(Ok(_)) | Err(_) => Err(BindError::InUse(path.to_owned())),
    }
}

async fn serve_one<O: Operations>(stream: UnixStream, group: Option<u32>, operations: &O) {
    let peer = match stream.peer_cred() {
        Ok(cred) => Peer { uid: cred.uid(), gid: cred.gid() },
        Err(error) => {
            tracing::warn!(%error, "cannot tell who opened an admin connection; closed it");
            return;
        }
    };
    let answer = async |request: Request<Incoming>| -> Result<_, Infallible> {
        Ok(if may(peer, group) { route(&request, peer, operations).await } else { forbidden(peer) })
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

async fn route<O: Operations>(request: &Request<Incoming>, peer: Peer, operations: &O) -> Response<Full<Bytes>> {
    match (request.uri().path(), request.method()) {
        (STATUS, &Method::GET) => json(StatusCode::OK, &operations.status().await),
        (DETACH, &Method::POST) => match operations.detach(peer).await {
            Ok(detached) => json(StatusCode::OK, &detached),
            Err(error) => json(StatusCode::INTERNAL_SERVER_ERROR, &Refused { error }),
        },
        (STATUS | DETACH, method) => {
            json(StatusCode::METHOD_NOT_ALLOWED, &Refused { error: format!("{method} is not allowed here") })
        }
        (path, _) => json(StatusCode::NOT_FOUND, &Refused { error: format!("there is no {path}") }),
    }
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
