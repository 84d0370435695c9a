//! A stage with raw servers behind one cable, all of them `mcp.test` on ports of their own, and an agent told of them.

use std::{fs, net::SocketAddr, path::PathBuf};

use serde_json::{Value, json};
use weir_certs::pki::{self, TestPki, Validity};
use weir_tests::{
    fixture::{APP, Agent, ConfigToml, Curl, Record, Records, Reply, Stage},
    raw::{
        client::{self, RawClient, Trust},
        http1::Http1,
        server::{self, RawServer, Speaks},
    },
    world::Neighbour,
};

/// The servers' name.
pub(crate) const HOST: &str = "mcp.test";

/// The port of the server that does everything right.
pub(crate) const GOOD: u16 = 443;

/// See the module.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) there: Neighbour,
}

/// How a Python client fared.
#[derive(Debug, Clone)]
pub(crate) struct Fared {
    /// `connect`, `tls`, `connection`, or `http`.
    pub(crate) kind: String,
    /// The error, or the body.
    pub(crate) what: String,
}

impl Scene {
    pub(crate) fn new(name: &str) -> Self {
        let mut stage = Stage::new(name);
        let there = stage.world_mut().neighbour();
        stage.world().add_hosts(&format!("{} {HOST}", there.addresses()[0]));
        Self { stage, there }
    }

    /// Starts a server on a port of the neighbour's IPv4 address.
    pub(crate) fn serve(&self, port: u16, speaks: Speaks) -> RawServer {
        self.there.run(|| RawServer::start(self.there.addresses()[0], port, speaks))
    }

    /// The server that does everything right, unless it is told otherwise.
    pub(crate) fn serve_good(&self) -> RawServer {
        self.serve(GOOD, server::tls(&self.certificate(&[HOST]), &["http/1.1"]))
    }

    /// A good certificate for `names`.
    pub(crate) fn certificate(&self, names: &[&str]) -> pki::Server {
        self.pki().server(names, Validity::Valid).expect("issue a certificate")
    }

    pub(crate) fn pki(&self) -> &TestPki {
        self.stage.pki()
    }

    /// Starts the agent with one endpoint: `mcp.test` at these ports, with these keys, and then these tables.
    pub(crate) fn agent(&self, ports: &[u16], keys: &str, tables: &str) -> Agent<'_> {
        Agent::start(&self.stage, &self.config(ports, keys, tables))
    }

    /// The configuration of [`agent`](Self::agent).
    pub(crate) fn config(&self, ports: &[u16], keys: &str, tables: &str) -> ConfigToml {
        let ca = self.stage.server_ca();
        let endpoint = format!("[[endpoint]]\nname = \"mcp\"\nhosts = [\"{HOST}\"]\nports = {ports:?}");
        ConfigToml::of(&[]).and(&format!("{endpoint}\nupstream_ca = {ca:?}\n{keys}\n\n{tables}"))
    }

    /// Where a server of [`serve`](Self::serve) is.
    pub(crate) fn addr(&self, port: u16) -> SocketAddr {
        (self.there.addresses()[0], port).into()
    }

    /// Moves this process to where connections are taken: for clients that a test plays itself.
    pub(crate) fn enter_scope(&self) {
        self.stage.world().enter(APP);
    }

    /// Trust in the agent's CA and in the servers' own.
    pub(crate) fn trust(&self) -> Trust {
        Trust::file(Some(&self.stage.trust()), &["http/1.1"])
    }

    /// A client that this process plays, with TLS to the good server.
    pub(crate) fn client(&self) -> RawClient {
        RawClient::tls(self.addr(GOOD), HOST, &self.trust()).expect("open a connection")
    }

    /// Python's own TLS and HTTP, in a cgroup.
    pub(crate) fn python(&self, cgroup: &str, port: u16) -> Fared {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers/hostile/ask.py");
        let mut command = self.stage.command(cgroup, &["python3".into(), script]);
        let output = command.args([HOST, &port.to_string()]).arg(self.stage.trust()).output().expect("run python3");
        let said: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
        Fared { kind: text("kind"), what: text("what") }
    }

    /// curl, in a cgroup.
    pub(crate) fn curl(&self, cgroup: &str, port: u16) -> Reply {
        Curl::post(&format!("https://{HOST}:{port}/mcp"), &ping(1)).run(&self.stage, cgroup)
    }

    /// A good call on a new connection goes through, and the log verifies: nothing before it has broken anything.
    pub(crate) fn still_works(&self, agent: &Agent<'_>, server: &RawServer) {
        let before = server.seen().len();
        let reply = self.client().ask(&post(&ping(77))).expect("a response").expect("a response");
        assert_eq!((reply.status(), &reply.json()["id"]), (200, &json!(77)), "{reply:?}");
        assert_eq!(server.seen().len(), before + 1, "the server saw the call, once");
        agent.verify();
    }
}

/// A call that every server answers.
pub(crate) fn ping(id: u32) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "ping" })
}

/// A message as an HTTP request to the good server.
pub(crate) fn post(message: &Value) -> Vec<u8> {
    post_bytes(message.to_string().as_bytes(), "")
}

/// A body as an HTTP request to the good server, with more headers.
pub(crate) fn post_bytes(body: &[u8], more: &str) -> Vec<u8> {
    client::post(HOST, "/mcp", more, body)
}

/// The rule that an error names in its data.
pub(crate) fn rule_of(reply: &Http1) -> String {
    let body = reply.json();
    let error = if body.is_array() { &body[0]["error"] } else { &body["error"] };
    error["data"]["rule"].as_str().unwrap_or_default().to_owned()
}

/// `event.verdict.policy` of what was denied.
pub(crate) fn denied_by(record: &Record) -> Option<&str> {
    let verdict = &record.event()["verdict"];
    (verdict["action"] == "deny").then(|| verdict["policy"].as_str().unwrap_or_default())
}

/// The ends of the flows to a port, each with its reason.
pub(crate) fn flows_to(records: &Records, port: u16) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let flows = records.filter(move |record| {
        record.event()["class_uid"] == 4001 && record.event()["dst_endpoint"]["port"] == u64::from(port)
    });
    flows.map(|record| (text(&record.event()["flow"]["end"]), text(&record.event()["status_detail"]))).collect()
}

/// Resident memory of a process at its highest, in bytes.
pub(crate) fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("read a process's status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}
