//! `tcp = "all"`: what is no endpoint's passes untouched, in whatever order the two sides speak and end.

use std::{
    fs,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::Socket;
use weir_tests::{
    fixture::{APP, Agent, Record},
    raw::client::dial,
};

use crate::scene::Scene;

const PORT: u16 = 2525;
const LARGE: usize = 8 << 20;

/// An agent that takes everything and knows one endpoint that nobody asks for.
fn agent(scene: &Scene) -> Agent<'_> {
    Agent::start(&scene.stage, &scene.config(&[443], "", "").intercept("tcp = \"all\""))
}

/// Accepts one connection at the neighbour's and plays `role` on it.
fn play<T: Send + 'static>(scene: &Scene, role: impl FnOnce(TcpStream) -> T + Send + 'static) -> JoinHandle<T> {
    let listener = scene.there.run(|| TcpListener::bind(scene.addr(PORT)).expect("listen"));
    thread::spawn(move || role(listener.accept().expect("a connection").0))
}

/// The record of the only flow to a port.
fn flow_to(agent: &Agent<'_>, port: u16) -> Record {
    let is_it = |record: &Record| {
        let event = record.event();
        event["flow"]["end"].is_string() && event["dst_endpoint"]["port"] == u64::from(port)
    };
    let records = agent.records_once("the flow", |records| records.filter(is_it).count() > 0);
    records.filter(is_it).next().expect("a flow").clone()
}

fn bytes_of(seed: u8) -> Vec<u8> {
    (0..LARGE).map(|n| (n / 251) as u8 ^ (n % 251) as u8 ^ seed).collect()
}

#[test]
fn a_server_may_speak_first() {
    let scene = Scene::new("speaksfirst");
    let agent = agent(&scene);
    scene.enter_scope();
    let server = play(&scene, |mut wire| {
        wire.write_all(b"220 mail.test ESMTP\r\n").expect("greet");
        let mut said = [0; 6];
        wire.read_exact(&mut said).expect("hear");
        wire.write_all(b"221 bye\r\n").expect("answer");
        (said, wire.peer_addr().expect("a peer"))
    });
    let mut client = dial(scene.addr(PORT)).expect("connect");
    assert_eq!(client.peer_addr().expect("a peer"), scene.addr(PORT));
    let mut greeting = [0; 21];
    client.read_exact(&mut greeting).expect("a greeting, before a word of ours");
    client.write_all(b"QUIT\r\n").expect("send");
    let mut rest = String::new();
    client.read_to_string(&mut rest).expect("the end");
    assert_eq!((&greeting, rest.as_str()), (b"220 mail.test ESMTP\r\n", "221 bye\r\n"));
    drop(client);
    let (said, peer) = server.join().expect("the server");
    assert_eq!((&said, peer.ip()), (b"QUIT\r\n", scene.there.here()[0]));

    let flow = flow_to(&agent, PORT);
    assert_eq!(flow.event()["flow"]["end"], "spliced", "{}", flow.line);
    assert_eq!(flow.event()["flow"]["protocol"], "opaque");
    assert_eq!(flow.event()["traffic"]["bytes_in"], 30);
    assert_eq!(flow.event()["traffic"]["bytes_out"], 6);
    assert_eq!(flow.workload("cgroup"), APP);
    assert_eq!(agent.status()["unregistered"]["redirected"], 1);
    agent.verify();
}

#[test]
fn either_side_may_end_first_and_nothing_is_lost() {
    let scene = Scene::new("halfclose");
    let agent = agent(&scene);
    scene.enter_scope();
    for server_ends_first in [false, true] {
        let port = if server_ends_first { PORT } else { PORT + 1 };
        let listener = scene.there.run(|| TcpListener::bind(scene.addr(port)).expect("listen"));
        let server = thread::spawn(move || {
            let mut wire = listener.accept().expect("a connection").0;
            let mut heard = Vec::new();
            if !server_ends_first {
                wire.read_to_end(&mut heard).expect("hear");
            }
            wire.write_all(&bytes_of(2)).expect("say");
            wire.shutdown(Shutdown::Write).expect("end");
            if server_ends_first {
                wire.read_to_end(&mut heard).expect("hear");
            }
            heard
        });
        let mut client = dial(scene.addr(port)).expect("connect");
        let mut heard = Vec::new();
        if server_ends_first {
            client.read_to_end(&mut heard).expect("hear");
        }
        client.write_all(&bytes_of(1)).expect("say");
        client.shutdown(Shutdown::Write).expect("end");
        if !server_ends_first {
            client.read_to_end(&mut heard).expect("hear");
        }
        assert!(heard == bytes_of(2), "what the server said arrived whole");
        assert!(server.join().expect("the server") == bytes_of(1), "what the client said arrived whole");
        let flow = flow_to(&agent, port);
        assert_eq!(flow.event()["traffic"]["bytes_in"], LARGE);
        assert_eq!(flow.event()["traffic"]["bytes_out"], LARGE);
    }
}

#[test]
fn what_could_become_http_is_not_held_for_ever() {
    let scene = Scene::new("undecided");
    let _agent = agent(&scene);
    scene.enter_scope();
    let server = play(&scene, |mut wire| {
        let mut said = [0; 1];
        wire.read_exact(&mut said).expect("hear");
        wire.write_all(b"!").expect("answer");
    });
    let mut client = dial(scene.addr(PORT)).expect("connect");
    client.write_all(b"P").expect("send");
    client.read_exact(&mut [0]).expect("an answer");
    server.join().expect("the server");
}

#[test]
fn refusals_and_resets_look_like_it() {
    let scene = Scene::new("resets");
    let agent = agent(&scene);
    scene.enter_scope();

    // At once, or before the first byte.
    let error = dial(scene.addr(PORT)).and_then(|mut refused| refused.read(&mut [0])).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let flow = flow_to(&agent, PORT);
    assert_eq!(flow.event()["flow"]["end"], "upstream_unreachable", "{}", flow.line);

    let server = play(&scene, |wire| {
        let _ = (&wire).read(&mut [0; 8]);
        let _ = socket2::SockRef::from(&wire).set_linger(Some(Duration::ZERO));
    });
    let mut client = dial(scene.addr(PORT)).expect("connect");
    client.write_all(b"hello").expect("send");
    server.join().expect("the server");
    assert_eq!(client.read(&mut [0]).expect_err("a reset").kind(), ErrorKind::ConnectionReset);

    let server = play(&scene, |mut wire| io::copy(&mut wire, &mut io::sink()).map_err(|error| error.kind()));
    let mut client = dial(scene.addr(PORT)).expect("connect");
    client.write_all(b"hello").expect("send");
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("linger");
    drop(client);
    assert_eq!(server.join().expect("the server"), Err(ErrorKind::ConnectionReset));
}

#[test]
fn who_writes_and_goes_at_once_is_proxied_and_attributed() {
    let scene = Scene::new("atonce");
    let agent = agent(&scene);
    let server = play(&scene, |mut wire| {
        let mut heard = String::new();
        wire.read_to_string(&mut heard).map(|_| heard)
    });
    let script = format!("printf hello > /dev/tcp/{}/{PORT}", scene.there.addresses()[0]);
    let status = scene.stage.world().command(APP, "bash").args(["-c", &script]).status().expect("run bash");
    assert!(status.success());
    assert_eq!(server.join().expect("the server").expect("hear"), "hello");
    let flow = flow_to(&agent, PORT);
    assert_eq!(flow.event()["traffic"]["bytes_out"], 5);
    assert_eq!(flow.workload("cgroup"), APP);
    assert_eq!(flow.workload("process")["comm"], "bash");
}

/// Nagle's algorithm would hold a small answer back until the one before is acknowledged.
#[test]
fn neither_of_the_agents_sockets_waits_for_more() {
    let scene = Scene::new("nodelay");
    let agent = agent(&scene);
    scene.enter_scope();
    let server = play(&scene, |mut wire| {
        wire.write_all(b"hi").expect("say");
        let peer = wire.peer_addr().expect("a peer");
        wire.read_to_end(&mut Vec::new()).map(|_| peer)
    });
    let mut client = dial(scene.addr(PORT)).expect("connect");
    client.read_exact(&mut [0; 2]).expect("hear");
    let own = client.local_addr().expect("an address");
    let ends = sockets_of(agent.pid());
    let delays = |is_it: &dyn Fn(&Socket) -> bool| {
        let socket = ends.iter().find(|socket| is_it(socket)).expect("the agent's end");
        !socket.tcp_nodelay().expect("ask")
    };
    let peer = |socket: &Socket| socket.peer_addr().ok().and_then(|addr| addr.as_socket());
    assert!(!delays(&|socket| peer(socket) == Some(own)), "to the client");
    assert!(!delays(&|socket| peer(socket) == Some(scene.addr(PORT))), "to the server");
    drop(client);
    server.join().expect("the server").expect("the end");
}

/// A process's sockets, as descriptors of this one.
fn sockets_of(pid: u32) -> Vec<Socket> {
    let process = Pid::from_raw(pid.cast_signed()).expect("a process");
    let handle = pidfd_open(process, PidfdFlags::empty()).expect("a handle");
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("list descriptors").flatten();
    let is_socket = |path: &Path| fs::read_link(path).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
    let sockets = descriptors.map(|entry| entry.path()).filter(|path| is_socket(path));
    let number = |path: PathBuf| path.file_name()?.to_str()?.parse().ok();
    let taken = sockets.filter_map(number).map(|number| pidfd_getfd(&handle, number, PidfdGetfdFlags::empty()));
    taken.flatten().map(Socket::from).collect()
}

#[test]
fn loopback_is_taken_too() {
    let scene = Scene::new("loopback");
    let agent = agent(&scene);
    scene.enter_scope();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).expect("listen");
    let at: SocketAddr = listener.local_addr().expect("an address");
    let server = thread::spawn(move || listener.accept().expect("a connection").0.write_all(b"hi"));
    let mut said = String::new();
    dial(at).expect("connect").read_to_string(&mut said).expect("hear");
    server.join().expect("the server").expect("say");
    assert_eq!(said, "hi");
    assert_eq!(flow_to(&agent, PORT).event()["flow"]["end"], "spliced");
}
