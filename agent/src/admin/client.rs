//! The commands' side of the admin socket.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header::HOST};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, time::timeout};

use super::{
    Failure,
    protocol::{
        CATALOG, CATALOG_ACCEPT, CATALOG_ENTRIES, Catalog, CatalogAccepted, CatalogAsk, CatalogEntries, DETACH,
        Detached, RELOAD, Refused, Reloaded, STATUS, Status,
    },
};

/// Longest wait for an answer. Detaching waits for the log and the kernel.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest answer: the catalogue of endpoints with thousands of tools.
const MAX_ANSWER: usize = 64 << 20;

/// Why the agent did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no agent is running: nothing listens at {}; start it (systemctl start weir), or see `admin.listen`", .0.display())]
    NotRunning(PathBuf),
    /// The socket does not let this user in.
    #[error("no access to {}: run the command as root or with the group of `admin.group`", .0.display())]
    NoAccess(PathBuf),
    /// The agent said no.
    #[error("the agent refused: {0}")]
    Refused(String),
    /// The conversation broke.
    #[error("the agent at {} did not answer as expected: {reason}; see its log", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What happened.
        reason: String,
    },
}

/// Asks how the agent is.
///
/// # Errors
/// As [`ClientError`] says.
pub async fn status(socket: &Path) -> Result<Status, ClientError> {
    ask(socket, Method::GET, STATUS).await
}

/// Asks the agent to record that it detaches, and to detach.
///
/// # Errors
/// As [`ClientError`] says.
pub async fn detach(socket: &Path) -> Result<Detached, ClientError> {
    ask(socket, Method::POST, DETACH).await
}

/// Asks the agent to read its policies again.
///
/// # Errors
/// As [`ClientError`] says; refused policies are [`ClientError::Refused`].
pub async fn reload_policies(socket: &Path) -> Result<Reloaded, ClientError> {
    ask(socket, Method::POST, RELOAD).await
}

/// Asks what is known of servers' definitions.
///
/// # Errors
/// As [`ClientError`] says.
pub async fn catalog(socket: &Path) -> Result<Catalog, ClientError> {
    ask(socket, Method::GET, CATALOG).await
}

/// Asks for definitions in full.
///
/// # Errors
/// As [`ClientError`] says; that there are none is [`ClientError::Refused`].
pub async fn catalog_entries(socket: &Path, asked: &CatalogAsk) -> Result<CatalogEntries, ClientError> {
    say(socket, Method::POST, CATALOG_ENTRIES, body_of(socket, asked)?).await
}

/// Asks the agent to accept definitions.
///
/// # Errors
/// As [`ClientError`] says.
pub async fn accept_definitions(socket: &Path, asked: &CatalogAsk) -> Result<CatalogAccepted, ClientError> {
    say(socket, Method::POST, CATALOG_ACCEPT, body_of(socket, asked)?).await
}

/// Waits for an answer, from a command.
pub(super) fn wait<T>(answer: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Failed(format!("cannot start an event loop: {error}")))?;
    Ok(runtime.block_on(answer))
}

fn body_of(socket: &Path, asked: &impl Serialize) -> Result<Bytes, ClientError> {
    let broken =
        |error: serde_json::Error| ClientError::Broken { socket: socket.to_owned(), reason: error.to_string() };
    serde_json::to_vec(asked).map(Bytes::from).map_err(broken)
}

async fn ask<T: DeserializeOwned>(socket: &Path, method: Method, path: &str) -> Result<T, ClientError> {
    say(socket, method, path, Bytes::new()).await
}

async fn say<T: DeserializeOwned>(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<T, ClientError> {
    let broken = |reason: String| ClientError::Broken { socket: socket.to_owned(), reason };
    let answer = timeout(PATIENCE, exchange(socket, method, path, body)).await;
    let (status, body) = answer.map_err(|_| broken(format!("no answer in {} s", PATIENCE.as_secs())))??;
    if status == StatusCode::OK {
        return serde_json::from_slice(&body).map_err(|error| broken(error.to_string()));
    }
    Err(match serde_json::from_slice::<Refused>(&body) {
        Ok(refused) => ClientError::Refused(refused.error),
        Err(_) => broken(format!("status {status}")),
    })
}

async fn exchange(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), ClientError> {
    let broken = |reason: String| ClientError::Broken { socket: socket.to_owned(), reason };
    let stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning(socket.to_owned()),
        io::ErrorKind::PermissionDenied => ClientError::NoAccess(socket.to_owned()),
        _ => broken(error.to_string()),
    })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(error.to_string()))?;
    let request = Request::builder().method(method).uri(path).header(HOST, "weir").body(Full::new(body));
    let request = request.map_err(|error| broken(error.to_string()))?;
    let talk = async {
        let response = sender.send_request(request).await.map_err(|error| broken(error.to_string()))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        Ok((status, body.map_err(|error| broken(error.to_string()))?.to_bytes()))
    };
    // The connection's own end says nothing that the exchange does not.
    let drive = async {
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        biased;
        answer = talk => answer,
        never = drive => never,
    }
}
