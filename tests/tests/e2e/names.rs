//! Addresses that the agent itself never resolved: of wildcards, of answers that only the application got, of a container's hosts
//! file.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use serde_json::json;
use weir_tests::{
    dns::{A, NameServer, Question, Record},
    fixture::{APP, Agent, ConfigToml, Curl, Seen, ServerKind, Stage, eventually},
    raw::server::{self, RawServer},
    world::ip,
};

use crate::scene::{GOOD, HOST, Scene, ping};

const WILD: &str = "tools.test";
const NAMELESS: &str = "nameless.tools.test";
const CALLS: usize = 20;
/// The neighbour has as many addresses more than its own, and gives each name another one each time.
const ADDRESSES: u8 = 120;

/// An exact host and one of the wildcard's, by turns.
fn hosts() -> impl Iterator<Item = String> {
    (0..CALLS).map(|n| if n % 2 == 0 { "mcp.test".to_owned() } else { format!("n{n}.{WILD}") })
}

/// A server at all the neighbour's addresses, under every name that there is here, and a server of names beside it.
fn at_many_addresses(scene: &mut Scene) -> (RawServer, NameServer) {
    let [own, _] = scene.there.addresses();
    let address = move |n: u8| match own {
        IpAddr::V4(own) => Ipv4Addr::new(own.octets()[0], own.octets()[1], own.octets()[2], 100 + n),
        IpAddr::V6(_) => unreachable!("the first is IPv4"),
    };
    scene.there.run(|| (0..ADDRESSES).for_each(|n| ip(&format!("addr add {}/24 dev weir0", address(n)))));
    scene.stage.world().set_file("/etc/hosts", "127.0.0.1 localhost\n");
    scene.stage.world().set_file("/etc/resolv.conf", &format!("nameserver {own}\n"));
    let hosts: BTreeSet<String> = hosts().chain([NAMELESS.to_owned()]).collect();
    let certificate = scene.certificate(&hosts.iter().map(String::as_str).collect::<Vec<_>>());
    let next = AtomicU8::new(0);
    let answers = move |question: &Question| {
        if question.kind != A {
            return vec![question.answer(&[])];
        }
        let fresh = address(next.fetch_add(1, Ordering::Relaxed) % ADDRESSES).into();
        let alias = format!("edge.{}", question.name);
        let records = [Record::alias(&question.name, 1, &alias), Record::address(&alias, 1, fresh)];
        vec![question.answer(&records)]
    };
    scene.there.run(|| {
        let everywhere = RawServer::start(Ipv4Addr::UNSPECIFIED.into(), GOOD, server::tls(&certificate, &["http/1.1"]));
        (everywhere, NameServer::start(own, answers))
    })
}

#[test]
fn what_only_the_application_resolved_is_intercepted() {
    let mut scene = Scene::new("only-asked");
    let (server, names) = at_many_addresses(&mut scene);
    let ca = scene.stage.server_ca();
    let endpoint =
        format!("[[endpoint]]\nname = \"mcp\"\nhosts = [\"mcp.test\", \"*.{WILD}\"]\nupstream_ca = {ca:?}\n");
    let agent = Agent::start(&scene.stage, &ConfigToml::of(&[]).and(&endpoint));

    let mut peers = Vec::new();
    for host in hosts() {
        let reply = Curl::post(&format!("https://{host}/mcp"), &ping(1)).run(&scene.stage, APP);
        assert_eq!((reply.exit, reply.status), (0, 200), "{host}: {reply:#?}\n{}", agent.log());
        peers.push(reply.peer);
    }
    peers.sort();
    peers.dedup();
    assert_eq!(peers.len(), CALLS, "an address each: {peers:?}");
    assert_eq!(agent.records().calls("ping").len(), CALLS, "{}", agent.records().summary());
    assert_eq!(server.seen().len(), CALLS);

    // Without a server name in TLS, the name is the one that the answer was about.
    const ASK: &str = "import socket, ssl, sys\n\
        context = ssl.create_default_context(cafile=sys.argv[2])\n\
        context.check_hostname = False\n\
        tls = context.wrap_socket(socket.create_connection((sys.argv[1], 443), 20))\n\
        names = [name for _, name in tls.getpeercert()['subjectAltName']]\n\
        body = b'{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}'\n\
        head = 'POST /mcp HTTP/1.1\\r\\nhost: %s\\r\\ncontent-type: application/json\\r\\naccept: application/json, text/event-stream\\r\\ncontent-length: %d\\r\\nconnection: close\\r\\n\\r\\n'\n\
        tls.sendall((head % (sys.argv[1], len(body))).encode() + body)\n\
        print(names, tls.recv(12))\n";
    let mut command = scene.stage.command(APP, &["python3".into(), "-c".into(), ASK.into()]);
    let output = command.arg(NAMELESS).arg(scene.stage.trust()).output().expect("run python3");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.trim(), format!("['{NAMELESS}'] b'HTTP/1.1 200'"), "{output:?}\n{}", agent.log());
    assert!(names.asked().iter().any(|question| question.name == NAMELESS));

    let status = eventually("the status tells", || {
        let status = agent.status()["endpoints"][0].clone();
        (status["answered"].as_u64() >= Some(CALLS as u64)).then_some(status)
    });
    assert!(status["known"].as_u64() >= Some(1), "{status}");
    assert!(agent.status()["dns"]["believed"].as_u64() >= Some(CALLS as u64));
    agent.verify();
}

#[test]
fn a_containers_own_hosts_file_counts_for_it() {
    let mut stage = Stage::new("own-hosts");
    let server = stage.serve(ServerKind::Node, "mcp.test");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]).scope(&["/docker"]));
    // No other file lists this address.
    let container = stage.container('1').cable(&server, "10.88.0.2", "10.88.0.1");
    let url = server.url();
    let post = format!(
        "curl --silent --max-time 60 --header 'content-type: application/json' --data-binary '{}' {url}",
        ping(5)
    );
    let script = format!("until test -e /etc/go; do sleep 0.1; done; {post}");
    let mut running = container.command(&["/bin/sh", "-c", &script]);
    let client = std::thread::spawn(move || running.output().expect("run a container"));
    eventually("the address is learnt", || {
        let endpoint = agent.status()["endpoints"][0].clone();
        (endpoint["listed"] == 1 && endpoint["addresses"].as_array()?.contains(&json!("10.88.0.1"))).then_some(())
    });
    container.put("etc/go", "");
    let output = client.join().expect("a client");
    assert!(output.status.success(), "{output:?}");
    let recorded = agent.records().calls("ping");
    assert_eq!(recorded.len(), 1, "{output:?}");
    assert_eq!(recorded[0].request.workload("container")["id"], container.id());
    let seen: Vec<Seen> = server.seen();
    assert_eq!(seen.len(), 1, "{seen:#?}");
    agent.verify();
}

#[test]
fn what_was_known_before_a_crash_is_known_though_no_server_of_names_answers() {
    let scene = Scene::new("names-down");
    let [own, _] = scene.there.addresses();
    scene.stage.world().set_file("/etc/hosts", "127.0.0.1 localhost\n");
    scene.stage.world().set_file("/etc/resolv.conf", &format!("nameserver {own}\n"));
    let is_up = Arc::new(AtomicBool::new(true));
    let answers = {
        let is_up = Arc::clone(&is_up);
        move |question: &Question| match (is_up.load(Ordering::Relaxed), question.kind) {
            (false, _) => Vec::new(),
            (true, A) => vec![question.answer(&[Record::address(&question.name, 1, own)])],
            (true, _) => vec![question.answer(&[])],
        }
    };
    let _names = scene.there.run(|| NameServer::start(own, answers));
    let literal = own.to_string();
    let certificate = scene.certificate(&[HOST, &literal]);
    let servers = [GOOD, 8443].map(|port| scene.serve(port, server::tls(&certificate, &["http/1.1"])));
    let ca = scene.stage.server_ca();
    let endpoint = |name: &str, host: &str, port: u16| {
        format!("[[endpoint]]\nname = \"{name}\"\nhosts = [\"{host}\"]\nports = [{port}]\nupstream_ca = {ca:?}\n\n")
    };
    let endpoints = endpoint("mcp", HOST, GOOD) + &endpoint("literal", &literal, 8443);
    let mut agent = Agent::start(&scene.stage, &ConfigToml::of(&[]).and(&endpoints));

    // The application has the address already, and asks nobody.
    let resolve = format!("{HOST}:{GOOD}:{own}");
    let calls = |what: &str| {
        let named = Curl::post(&format!("https://{HOST}/mcp"), &ping(1)).with(&["--resolve", &resolve]);
        let at_address = Curl::post(&format!("https://{literal}:8443/mcp"), &ping(1));
        let replies = [named, at_address].map(|curl| curl.run(&scene.stage, APP));
        let through = replies.iter().filter(|reply| reply.exit == 0).count();
        assert!(replies.iter().all(|reply| reply.exit == 0 || reply.exit == 7), "{what}: {replies:#?}");
        through == 2
    };
    assert!(calls("with an agent"));
    is_up.store(false, Ordering::Relaxed);
    agent.kill9();
    agent.restart_without_waiting();
    eventually("calls go through again", || calls("while it starts").then_some(()));
    let seen: usize = servers.iter().map(|server| server.seen().len()).sum();
    let log = agent.records_once("every call", |log| log.calls("ping").len() >= seen);
    assert_eq!(log.calls("ping").len(), seen, "{}", log.summary());
    agent.wait_until_ready();
    agent.verify();
}
