//! A thousand connections a second while the agent is killed and started again: none goes around it, and none goes without a
//! record or a count.

use std::{
    env,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use weir_tests::fixture::{Agent, ConfigToml, weir};

use crate::scene::Scene;

/// Connections begun each second, by all threads together.
const RATE: u32 = 1000;
const THREADS: u32 = 8;
/// Every so often the agent is killed.
const LIFE: Duration = Duration::from_secs(5);
/// What the agent takes to nobody: neither TLS nor HTTP.
const RAW: &[u8] = b"raw\r\n";
const HTTP: &[u8] = b"GET /mcp HTTP/1.1\r\nhost: mcp.test\r\nconnection: close\r\n\r\n";
const PORT: u16 = 80;

/// What the clients saw.
#[derive(Debug, Default)]
struct Clients {
    connected: AtomicU64,
    denied: AtomicU64,
    failed: AtomicU64,
    /// Connections that go anywhere but to this host.
    direct: AtomicU64,
}

/// What the server saw.
#[derive(Debug, Default)]
struct Seen {
    connections: AtomicU64,
    requests: AtomicU64,
    raw: AtomicU64,
}

/// 15 s, or what `WEIR_STORM_SECONDS` says.
fn length() -> Duration {
    let seconds = env::var("WEIR_STORM_SECONDS").ok().map(|text| text.parse().expect("a number of seconds"));
    Duration::from_secs(seconds.unwrap_or(15))
}

#[test]
fn a_storm_of_connections_survives_kill_9_and_reconciles() {
    let scene = Scene::new("storm");
    let seen = serve(&scene);
    let config = scene.config(&[PORT], "", "[limits]\nflows = 4000");
    let mut agent = Some(start(&scene, &config));
    scene.enter_scope();

    let (clients, over) = (Arc::new(Clients::default()), Arc::new(AtomicBool::new(false)));
    let target = scene.addr(PORT);
    let load: Vec<_> = (0..THREADS)
        .map(|n| {
            let (clients, over) = (Arc::clone(&clients), Arc::clone(&over));
            thread::spawn(move || connect_on_time(n, target, &clients, &over))
        })
        .collect();
    let (began, mut kills) = (Instant::now(), 0);
    while began.elapsed() + LIFE <= length() {
        thread::sleep(LIFE);
        // Dropping it kills it.
        drop(agent.take());
        agent = Some(start(&scene, &config));
        kills += 1;
    }
    thread::sleep(length().saturating_sub(began.elapsed()));
    over.store(true, Ordering::Relaxed);
    load.into_iter().for_each(|thread| thread.join().expect("a client"));
    let took = began.elapsed();
    let mut agent = agent.expect("the last agent");
    assert!(agent.terminate().success());

    let said = agent.command(&["audit", "verify", "--json"]);
    let report: Value = serde_json::from_str(&said.stdout).expect("a report");
    let reconciled = &report["logs"][0]["reconciled"];
    let records = agent.records();
    let tallies: Vec<&Value> =
        records.0.iter().map(|record| &record.event()["reconciliation"]).filter(|tally| tally.is_object()).collect();
    let last = tallies.last().expect("a tally");
    assert_eq!(last["settled"], true, "{last}");
    let of = |key: &str| endpoint(last)[key].as_u64().expect("a number");
    let (redirected, attempts) = (of("redirected"), of("seen"));
    let ends = |end: &str| records.filter(|record| record.event()["flow"]["end"] == end).count();
    let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{kills} kills in {took:.1?}: {attempts} attempts seen by the kernel ({:.0}/s), {redirected} redirected, {} denied, \
         {} refused before accept; flow records: {} refused, {} closed, {} unknown, {} upstream unreachable; \
         {} tallies; the clients: {clients:?}; the server: {seen:?}",
        attempts as f64 / took.as_secs_f64(),
        of("denied"),
        of("refused_before_accept"),
        ends("refused"),
        ends("closed"),
        ends("unknown"),
        ends("upstream_unreachable"),
        tallies.len(),
    );
    assert!(said.succeeded, "{reconciled:#}");
    assert_eq!(reconciled["gaps"], serde_json::json!([]));
    assert_eq!(reconciled["connections"], redirected, "every connection since the first start is accounted for");
    assert_eq!(of("flows_open"), 0);
    assert_eq!((number(&clients.direct), number(&seen.raw)), (0, 0), "nothing went around the agent");
    assert!(number(&seen.requests) > 0, "the agent served in between");
    assert_eq!(attempts, number(&clients.connected) + number(&clients.denied) + number(&clients.failed));
    assert!(of("denied") > 0 || kills == 0, "without an agent connections are denied");
}

/// An agent that does not spend the test's time on its own log.
fn start<'s>(scene: &'s Scene, config: &ConfigToml) -> Agent<'s> {
    Agent::start_by(&scene.stage, config, |path| {
        let mut command = scene.stage.world().command("/weir", weir());
        command.arg("--config").arg(path).arg("run").env("WEIR_LOG", "error");
        command
    })
}

fn endpoint(tally: &Value) -> &Value {
    let endpoints = tally["endpoints"].as_array().expect("endpoints");
    endpoints.iter().find(|endpoint| endpoint["endpoint"] == "mcp").expect("the endpoint")
}

/// Connects when it is time to, whether the connections before fared well or not.
fn connect_on_time(n: u32, target: SocketAddr, clients: &Clients, over: &AtomicBool) {
    let pause = Duration::from_secs(1) * THREADS / RATE;
    let mut due = Instant::now() + pause * n / THREADS;
    let mut count: u32 = n;
    while !over.load(Ordering::Relaxed) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due += pause;
        count += 1;
        let mut stream = match TcpStream::connect(target) {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                clients.denied.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            Err(_) => {
                clients.failed.fetch_add(1, Ordering::Relaxed);
                continue;
            }
        };
        clients.connected.fetch_add(1, Ordering::Relaxed);
        if !stream.local_addr().is_ok_and(|local| local.ip().is_loopback()) {
            clients.direct.fetch_add(1, Ordering::Relaxed);
        }
        match count % 10 {
            0 => {
                let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
                let _ = stream.write_all(HTTP).and_then(|()| stream.read(&mut [0; 256]));
            }
            1..5 => drop(stream.write_all(RAW)),
            _ => {}
        }
    }
}

/// A server that answers HTTP, and notes what else it gets.
fn serve(scene: &Scene) -> Arc<Seen> {
    let listener = scene.there.run(|| TcpListener::bind((scene.there.addresses()[0], PORT)).expect("listen"));
    let seen = Arc::new(Seen::default());
    let noted = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = Arc::clone(&noted);
            seen.connections.fetch_add(1, Ordering::Relaxed);
            thread::spawn(move || answer(stream, &seen));
        }
    });
    seen
}

fn answer(mut stream: TcpStream, seen: &Seen) {
    let mut bytes = [0; 1024];
    while let Ok(read @ 1..) = stream.read(&mut bytes) {
        let counter = if bytes[..read].starts_with(b"GET ") { &seen.requests } else { &seen.raw };
        counter.fetch_add(1, Ordering::Relaxed);
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}
