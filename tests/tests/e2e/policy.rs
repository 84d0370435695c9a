//! Policies over real calls: elements of a batch are judged one by one, and changed policies are in force or refused as a whole.
//! What SDKs show of a denied call is in `sdks`.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use weir_tests::fixture::{
    APP, Agent, Client, ConfigToml, Curl, Server, ServerKind, Stage, Transcript, eventually, script,
};

use crate::story::{initialize, tool_call};

const POLICIES: &str = r#"
@id("no-echo")
@reason("nothing is echoed here; use add")
forbid (principal, action == Action::"tools/call", resource)
when { resource.name == "echo" };

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

struct Scene {
    stage: Stage,
    server: Server,
    file: PathBuf,
}

impl Scene {
    fn new(name: &str, kind: ServerKind) -> Self {
        let mut stage = Stage::new(name);
        let server = stage.serve(kind, "mcp.test");
        let file = stage.world().dir().join("p.cedar");
        fs::write(&file, POLICIES).expect("write the policies");
        Self { stage, server, file }
    }

    fn agent(&self) -> Agent<'_> {
        self.agent_with("")
    }

    fn agent_with(&self, keys: &str) -> Agent<'_> {
        let policy = format!("[policy]\nfiles = [{:?}]\n{keys}", self.file);
        Agent::start(&self.stage, &ConfigToml::of(&[&self.server]).and(&policy))
    }
}

/// What the client's user read of a step: a result's text, or an error's message.
fn read(told: &Transcript, step: u64) -> String {
    let at =
        |event: &&Value| event["step"] == step && ["result", "error"].contains(&event["event"].as_str().unwrap_or(""));
    let event = told.events.iter().find(at).unwrap_or_else(|| panic!("nothing of step {step} in {told:#?}"));
    let text = if event["event"] == "result" { &event["content"][0]["text"] } else { &event["message"] };
    text.as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_denied_element_of_a_batch_denies_only_itself() {
    let scene = Scene::new("polbatch", ServerKind::Node);
    let agent = scene.agent();
    let url = scene.server.url();
    let hello = Curl::post(&url, &initialize("2025-03-26")).run(&scene.stage, APP);
    let session = hello.header("mcp-session-id").unwrap_or_default().to_owned();
    let batch = json!([
        tool_call(1, "echo", &json!({ "text": "x" })),
        tool_call(2, "add", &json!({ "a": 1, "b": 2 })),
        tool_call(3, "add", &json!({ "a": 500, "b": 2 })),
    ]);
    let reply = Curl::post(&url, &batch).header("mcp-session-id", &session).run(&scene.stage, APP);
    let mut messages = Vec::new();
    for message in reply.messages() {
        match message {
            Value::Array(elements) => messages.extend(elements),
            other => messages.push(other),
        }
    }
    let text = |id: u64| {
        let found =
            messages.iter().find(|message| message["id"] == id).unwrap_or_else(|| panic!("no {id} in {reply:#?}"));
        found["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(text(2), "3");
    assert!(text(1).contains("no-echo") && text(3).contains("small-sums"), "{reply:#?}");
    let sent: Vec<String> = scene.server.seen().iter().map(|seen| seen.body().to_owned()).collect();
    assert!(!sent.iter().any(|body| body.contains("echo") || body.contains("500")), "{sent:?}");
    let records = agent.records();
    let calls = records.tool_calls("add");
    let admitted = calls.iter().find(|call| call.request.event()["verdict"]["action"] == "allow").expect("a call");
    assert_eq!(admitted.request.mcp("edits"), &json!(["batch"]));
    assert_eq!(admitted.outcome(), "ok");
    agent.verify();
}

#[test]
fn changed_policies_are_in_force_or_refused_as_a_whole() {
    let scene = Scene::new("polreload", ServerKind::Python);
    let agent = scene.agent();
    let url = scene.server.url();
    let echo = || Client::python(&url).call("echo", &json!({ "text": "x" })).run(&scene.stage, APP);
    assert!(read(&echo(), 0).contains("no-echo"));

    // By the agent itself, within seconds.
    fs::write(&scene.file, "forbid (principal, action, resource) when { context.nonsense };").expect("write");
    let refused = eventually("the status says that they are refused", || {
        agent.status()["policies"]["refused"].as_str().map(str::to_owned)
    });
    assert!(refused.contains("p.cedar:1:") && refused.contains("nonsense"), "{refused}");
    assert!(read(&echo(), 0).contains("no-echo"));
    let said = agent.command(&["policy", "reload"]);
    assert!(!said.succeeded && said.stderr.contains("nonsense"), "{said:?}");

    fs::write(&scene.file, "permit (principal, action, resource);").expect("write");
    assert!(agent.command(&["policy", "reload"]).ok().contains("1 policies"));
    assert_eq!(read(&echo(), 0), "x");
    let records = agent.records();
    let life: Vec<_> = records.life().into_iter().filter(|kind| kind.starts_with("policies")).collect();
    assert_eq!(life.first(), Some(&"policies_changed"), "{life:?}");
    assert_eq!(life.last(), Some(&"policies_changed"), "{life:?}");
    assert!(life.contains(&"policies_refused"), "{life:?}");

    // And asked about what is in the log.
    let stricter = scene.stage.world().dir().join("stricter.cedar");
    fs::write(&stricter, r#"@id("none") forbid (principal, action == Action::"tools/call", resource);"#)
        .expect("write");
    let stricter = stricter.to_string_lossy();
    let report: Value =
        serde_json::from_str(&agent.command(&["policy", "test", "--policy", &stricter, "--json"]).ok()).expect("JSON");
    assert_eq!(report["changes"]["allow → deny"], 1, "{report:#}");
    let allowed = records.tool_calls("echo").into_iter().last().expect("a call").request.mcp("call_id").clone();
    let call = allowed.as_str().unwrap_or_default();
    let said = agent.command(&["policy", "explain", call, "--policy", &stricter]).ok();
    assert!(said.contains("recorded   allow") && said.contains("deny by none"), "{said}");
    agent.verify();
}

#[test]
fn what_nothing_permits_is_denied_from_the_first_message_on() {
    let scene = Scene::new("poldeny", ServerKind::Python);
    fs::write(&scene.file, "").expect("write");
    let agent = scene.agent_with("default = \"deny\"");
    let told = Client::python(&scene.server.url()).call("add", &json!({ "a": 1, "b": 2 })).run(&scene.stage, APP);
    assert!(!told.succeeded, "{told:#?}");
    let said = told.of("error").last().expect("an error")["message"].as_str().unwrap_or_default().to_owned();
    assert!(said.contains("no policy permits this"), "{said}");
    assert!(scene.server.seen().is_empty(), "the server saw {:?}", scene.server.seen());

    fs::write(
        &scene.file,
        r#"permit (principal, action in [Action::"session", Action::"list"], resource);
           permit (principal, action == Action::"tools/call", resource == Tool::"mcp.test/add");"#,
    )
    .expect("write");
    assert!(agent.command(&["policy", "reload"]).succeeded);
    let client = Client::python(&scene.server.url()).then(script::list()).call("add", &json!({ "a": 1, "b": 2 }));
    let told = client.run(&scene.stage, APP);
    assert_eq!(told.of("tools").next().map(|tools| &tools["names"]), Some(&json!(["add"])), "{told:#?}");
    assert_eq!(told.text(), "3");
    agent.verify();
}
