use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Mutex};

use rustix::process::{getegid, geteuid};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::admin::{
    client::{self, ClientError},
    protocol::{DnsStatus, FlowsStatus, LiveStatus, LogStatus, NamespacesStatus, Reloaded},
};

/// An agent that remembers who detached it.
#[derive(Default)]
struct Remembering {
    detached_by: Mutex<Option<Peer>>,
}

fn a_status() -> Status {
    Status {
        version: "1.2.3".into(),
        pid: 7,
        uptime_ms: 3_600_000,
        log: LogStatus { id: "08643dae".into(), epoch: 2, seq: Some(41), failure: None },
        sinks: Vec::new(),
        flows: FlowsStatus { open: 1, limit: 10, over_limit: 0 },
        endpoints: Vec::new(),
        dns: DnsStatus::default(),
        namespaces: NamespacesStatus::default(),
        listeners: Vec::new(),
        reconciliation: None,
        unregistered: None,
        ca: None,
        policies: LiveStatus::default(),
        checks: Vec::new(),
    }
}

impl Operations for Remembering {
    async fn status(&self) -> Status {
        a_status()
    }

    async fn detach(&self, by: Peer) -> Result<Detached, String> {
        let earlier = self.detached_by.lock().map_err(|_| "poisoned")?.replace(by);
        if earlier.is_some() { Err("already detached".into()) } else { Ok(Detached { seq: 42 }) }
    }

    async fn reload_policies(&self) -> Result<Reloaded, String> {
        Err("p.cedar:1:1: no".into())
    }

    async fn catalog(&self) -> Catalog {
        Catalog { time: jiff::Timestamp::UNIX_EPOCH, endpoints: Vec::new() }
    }

    async fn catalog_entries(&self, asked: CatalogAsk) -> Result<CatalogEntries, String> {
        Err(format!("there is no {}", asked.endpoint))
    }

    async fn accept_definitions(&self, asked: CatalogAsk, _: Peer) -> Result<CatalogAccepted, String> {
        Err(format!("nothing waits at {}", asked.endpoint))
    }
}

/// A server in a directory of its own, which lets this user in.
struct Running {
    _dir: TempDir,
    path: PathBuf,
    agent: Arc<Remembering>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn start() -> Running {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("run/admin.sock");
    let socket = AdminSocket::bind(&path, Some(getegid().as_raw())).await.expect("bound");
    let (agent, stop) = (Arc::new(Remembering::default()), CancellationToken::new());
    let task = tokio::spawn(socket.serve(Arc::clone(&agent), stop.clone()));
    Running { _dir: dir, path, agent, stop, task }
}

#[tokio::test]
async fn status_and_detach() {
    let running = start().await;
    assert_eq!(client::status(&running.path).await.expect("answered"), a_status());
    assert_eq!(client::detach(&running.path).await.expect("answered"), Detached { seq: 42 });
    let by = *running.agent.detached_by.lock().expect("not poisoned");
    assert_eq!(by, Some(Peer { uid: geteuid().as_raw(), gid: getegid().as_raw(), pid: Some(std::process::id()) }));
    let again = client::detach(&running.path).await.expect_err("refused");
    assert!(matches!(&again, ClientError::Refused(why) if why == "already detached"), "{again}");
}

#[tokio::test]
async fn the_socket_is_private_and_goes_with_the_server() {
    let running = start().await;
    let mode = fs::symlink_metadata(&running.path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    running.stop.cancel();
    running.task.await.expect("stops in order");
    assert!(!running.path.exists());
    let gone = client::status(&running.path).await.expect_err("nobody there");
    assert!(matches!(gone, ClientError::NotRunning(_)));
}

#[tokio::test]
async fn one_agent_has_the_socket() {
    let running = start().await;
    let second = AdminSocket::bind(&running.path, None).await;
    assert!(matches!(second, Err(BindError::InUse(_))));
    assert!(client::status(&running.path).await.is_ok(), "the first is untouched");
}

#[tokio::test]
async fn a_socket_left_behind_is_replaced_and_a_file_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("admin.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    assert!(path.exists());
    let socket = AdminSocket::bind(&path, None).await.expect("replaced");
    assert_eq!(fs::symlink_metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);

    // Another agent's socket in the same place outlives this one.
    fs::remove_file(&path).expect("removed");
    let _other = std::os::unix::net::UnixListener::bind(&path).expect("bound");
    drop(socket);
    assert!(path.exists());

    let file = dir.path().join("file");
    fs::write(&file, "keep").expect("written");
    assert!(matches!(AdminSocket::bind(&file, None).await, Err(BindError::NotASocket(_))));
    assert_eq!(fs::read_to_string(&file).expect("still there"), "keep");
}

#[test]
fn root_and_the_group_only() {
    assert!(may(Peer { uid: 0, gid: 5, pid: None }, None));
    assert!(may(Peer { uid: 1000, gid: 5, pid: None }, Some(5)));
    assert!(!may(Peer { uid: 1000, gid: 5, pid: None }, Some(6)));
    assert!(!may(Peer { uid: 1000, gid: 0, pid: None }, None));
}

/// Sends bytes and reads the answer to its end.
async fn raw(path: &Path, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).await.expect("connected");
    let mut answer = String::new();
    // The server may close with bytes unread, which writes and reads as a broken connection.
    let _ = stream.write_all(request).await;
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test]
async fn only_what_exists_is_answered() {
    let running = start().await;
    for (request, answer) in [
        ("GET /v1/nothing HTTP/1.1\r\nHost: weir\r\n\r\n", "HTTP/1.1 404"),
        ("GET /v1/detach HTTP/1.1\r\nHost: weir\r\n\r\n", "HTTP/1.1 405"),
        ("POST /v1/status HTTP/1.1\r\nHost: weir\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 405"),
        ("nonsense\r\n\r\n", "HTTP/1.1 400"),
    ] {
        let said = raw(&running.path, request.as_bytes()).await;
        assert!(said.starts_with(answer), "{request:?}: {said}");
    }
    let long = format!("GET /v1/status HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    assert!(!raw(&running.path, long.as_bytes()).await.starts_with("HTTP/1.1 200"), "larger than the buffer");
    assert!(running.agent.detached_by.lock().expect("not poisoned").is_none());
}

#[tokio::test]
async fn silent_peers_do_not_keep_others_out() {
    let running = start().await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS + 4 {
        silent.push(UnixStream::connect(&running.path).await.expect("connected"));
    }
    // Served once the silent ones have been given up.
    assert!(client::status(&running.path).await.is_ok());
}
