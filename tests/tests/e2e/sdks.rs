//! Every SDK shows its user why a call was refused, by a policy, by a guard or for want of a credential, and the session goes on.
//! A table says how.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use weir_tests::fixture::{APP, Agent, Client, ConfigToml, Server, ServerKind, Stage, Transcript, script};

const POLICIES: &str = r#"
@id("no-climbing")
@reason("nobody climbs here")
forbid (principal, action == Action::"tools/call", resource)
when { resource.name == "climb" };

@id("small-sums")
@reason("only small numbers are added")
forbid (principal, action == Action::"tools/call", resource)
when { resource.name == "add" && context.arguments.hasTag("a") && context.arguments.getTag("a").long > 100 };

@id("ask-first")
@hold("finance")
@reason("this needs a person")
permit (principal, action == Action::"tools/call", resource)
when { resource.name == "fail" };
"#;

/// What every endpoint here has besides.
const TOKEN: &str = "a-token-of-the-agent";

/// A client as its registry ships it, and the server that it talks to.
struct Sdk {
    name: &'static str,
    /// The package, and below `tests/peers` the file that pins it.
    package: &'static str,
    pinned: &'static str,
    server: ServerKind,
    client: fn(&str) -> Client,
    /// Whether it asks the server for a tool that was not listed. The Inspector says itself that there is none.
    asks_for_unlisted: bool,
    /// How often it begins a session, if it does: `mcp-remote` tries the server before it serves.
    sessions: usize,
}

const fn sdk(
    name: &'static str,
    package: &'static str,
    pinned: &'static str,
    server: ServerKind,
    client: fn(&str) -> Client,
) -> Sdk {
    Sdk { name, package, pinned, server, client, asks_for_unlisted: true, sessions: 1 }
}

const NPM: &str = "node/package.json";

/// The Inspector's `--cli`: one session for each command, and one more where it asks for the list first.
const A_COMMAND_EACH: usize = 16;

const SDKS: [Sdk; 12] = [
    sdk("Python, modern", "mcp", "py/requirements.in", ServerKind::Python, Client::python),
    sdk("Python, session", "mcp", "py/requirements.in", ServerKind::Python, Client::python_session),
    sdk("Python 1.x", "mcp", "py1/requirements.in", ServerKind::Python, Client::python1),
    sdk("Python 1.x, HTTP+SSE", "mcp", "py1/requirements.in", ServerKind::Sse, Client::sse),
    sdk("fastmcp", "fastmcp", "fastmcp/requirements.in", ServerKind::Python, Client::fastmcp),
    sdk("npm sdk", "@modelcontextprotocol/sdk", NPM, ServerKind::Node, Client::node),
    sdk("npm client", "@modelcontextprotocol/client", NPM, ServerKind::Python, Client::node_modern),
    Sdk { sessions: 2, ..sdk("mcp-remote", "mcp-remote", NPM, ServerKind::Node, Client::remote) },
    Sdk {
        asks_for_unlisted: false,
        sessions: A_COMMAND_EACH,
        ..sdk("inspector --cli", "@modelcontextprotocol/inspector", NPM, ServerKind::Node, Client::inspector)
    },
    Sdk {
        asks_for_unlisted: false,
        ..sdk("inspector mcpdo", "@modelcontextprotocol/inspector", NPM, ServerKind::Node, Client::inspector_session)
    },
    sdk("rmcp, session", "rmcp", "rust/Cargo.toml", ServerKind::Node, Client::rust),
    sdk("rmcp, modern", "rmcp", "rust/Cargo.toml", ServerKind::Python, Client::rust_modern),
];

impl Sdk {
    /// The pinned version.
    fn version(&self) -> String {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(self.pinned));
        let text = text.expect("read what is pinned");
        let is_pin = |line: &&str| line.trim_start_matches([' ', '"']).starts_with(self.package);
        let pin = text.lines().filter(is_pin).find_map(|line| line.split(self.package).nth(1)).expect("a pin");
        let digits = |c: char| c.is_ascii_digit() || c == '.';
        pin.chars().skip_while(|c| !c.is_ascii_digit()).take_while(|c| digits(*c)).collect()
    }
}

/// A server of each kind behind one agent, which judges, counts and brings its own credentials.
struct Scene {
    stage: Stage,
    servers: Vec<(ServerKind, Server)>,
    token: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let mut stage = Stage::new("sdks");
        let kinds = [(ServerKind::Python, "py.test"), (ServerKind::Node, "node.test"), (ServerKind::Sse, "sse.test")];
        let servers = kinds.map(|(kind, name)| (kind, stage.serve(kind, name))).into();
        let token = stage.world().dir().join("token");
        fs::write(&token, TOKEN).expect("write a token");
        Self { stage, servers, token }
    }

    fn agent(&self) -> Agent<'_> {
        let policies = self.stage.world().dir().join("p.cedar");
        fs::write(&policies, POLICIES).expect("write the policies");
        let keys =
            format!("budget = {{ result_bytes = 1024 }}\ncredentials = {{ bearer = {{ file = {:?} }} }}", self.token);
        let config = ConfigToml::of(&[]).and(&format!("[policy]\nfiles = [{policies:?}]"));
        Agent::start(
            &self.stage,
            &self.servers.iter().fold(config, |config, (_, server)| config.endpoint(server, &keys)),
        )
    }

    fn server(&self, kind: ServerKind) -> &Server {
        self.servers.iter().find_map(|(of, server)| (*of == kind).then_some(server)).expect("a server of each kind")
    }

    /// Good calls with refused ones between. While the third kind is refused, the agent has no token to send.
    fn play(&self, sdk: &Sdk) -> Transcript {
        let gates = self.stage.gates(&sdk.name.replace(|c: char| !c.is_alphanumeric(), "-"));
        let unlisted = if sdk.asks_for_unlisted { "climb" } else { "fail" };
        let playing = (sdk.client)(&self.server(sdk.server).url())
            .then(script::list())
            .call("add", &json!({ "a": 1, "b": 2 }))
            .call(unlisted, &json!({}))
            .call("add", &json!({ "a": 101, "b": 2 }))
            .call("fail", &json!({}))
            .call("echo", &json!({ "text": "x".repeat(2000) }))
            .then(script::wait(&gates.gate("no-token")))
            .call("add", &json!({ "a": 4, "b": 5 }))
            .then(script::wait(&gates.gate("token")))
            .call("add", &json!({ "a": 3, "b": 4 }));
        let mut playing = playing.start(&self.stage, APP);
        let mut so_far = Vec::new();
        let mut until = |step: u64| {
            while let Some(event) = playing.next_event() {
                so_far.push(event.clone());
                if event["step"] == step || event["step"].is_null() && event["event"] == "error" {
                    return;
                }
            }
        };
        until(5);
        fs::write(&self.token, "").expect("take the token away");
        gates.open("no-token");
        until(7);
        fs::write(&self.token, TOKEN).expect("bring the token back");
        gates.open("token");
        playing.finish()
    }
}

/// What the client's user read of a step, and what it came as.
fn read(told: &Transcript, step: u64) -> (String, String) {
    let is_about =
        |event: &&Value| event["step"] == step && ["result", "error"].contains(&event["event"].as_str().unwrap_or(""));
    let event = told.events.iter().find(is_about).unwrap_or_else(|| panic!("nothing of step {step} in {told:#?}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match event["event"].as_str() {
        Some("result") if event["failed"] == true => (text(&event["content"][0]["text"]), "failed result".to_owned()),
        Some("result") => (text(&event["content"][0]["text"]), "result".to_owned()),
        _ => (text(&event["message"]), text(&event["kind"])),
    }
}

/// The columns of one SDK.
fn row(scene: &Scene, agent: &Agent<'_>, sdk: &Sdk) -> String {
    let (recorded, seen) = (agent.records().0.len(), scene.server(sdk.server).seen().len());
    let told = scene.play(sdk);
    let name = sdk.name;
    assert!(told.succeeded && told.of("closed").count() == 1, "{name}: {told:#?}");
    for (step, sum) in [(1, "3"), (9, "7")] {
        assert_eq!(read(&told, step), (sum.to_owned(), "result".to_owned()), "{name}: {told:#?}");
    }
    let refused = [
        (2, ["nobody climbs here", "no-climbing"]),
        (3, ["only small numbers are added", "small-sums"]),
        (4, ["approval of finance", "ask-first"]),
        (5, ["result_bytes", "guard/result-bytes"]),
        (7, ["token", "credential"]),
    ];
    let mut columns = Vec::new();
    for (step, words) in refused {
        if step == 2 && !sdk.asks_for_unlisted {
            continue;
        }
        let (said, how) = read(&told, step);
        assert!(said.contains("refused by Weir") && words.iter().all(|word| said.contains(word)), "{name}: {said}");
        assert_ne!(how, "result", "{name} takes a refusal for a result: {told:#?}");
        columns.push(how);
    }
    // What may not be used is not listed; what only some arguments forbid, or a person decides, is.
    let listed = told.of("tools").next().unwrap_or_else(|| panic!("{name}: no list"))["names"].to_string();
    assert!(listed.contains("add") && listed.contains("fail") && !listed.contains("climb"), "{name}: {listed}");

    let seen = scene.server(sdk.server).seen().split_off(seen);
    let sent = |tool: &str| seen.iter().filter(|seen| seen.is_call_of(tool)).count();
    assert_eq!((sent("add"), sent("echo"), sent("climb"), sent("fail")), (2, 1, 0, 0), "{name}");
    let begun = seen.iter().filter(|seen| seen.message()["method"] == "initialize").count();
    assert!(begun <= sdk.sessions, "{name} began {begun} sessions");
    let records = agent.records().0.split_off(recorded);
    let denied = records
        .iter()
        .filter(|record| ["deny", "hold"].map(Value::from).contains(&record.event()["verdict"]["action"]));
    // What was refused for want of a credential may have been what comes before a call.
    assert!(denied.count() >= 5, "{name}: {}", agent.records().summary());

    let policy = &columns[columns.len() - 3];
    let (guard, credential) = (&columns[columns.len() - 2], &columns[columns.len() - 1]);
    let session = if sdk.sessions < A_COMMAND_EACH { "yes" } else { "a session a command" };
    format!("| {name} | {} {} | {policy} | {guard} | {credential} | {session} |", sdk.package, sdk.version())
}

#[test]
fn every_sdk_shows_why_a_call_was_refused_and_its_session_goes_on() {
    let scene = Scene::new();
    let agent = scene.agent();
    println!(
        "| client | package | policy, with reason and id | guard | credential | session goes on |\n|---|---|---|---|---|---|"
    );
    for sdk in &SDKS {
        println!("{}", row(&scene, &agent, sdk));
    }
    agent.verify();
}
