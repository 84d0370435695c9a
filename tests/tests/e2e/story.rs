//! What many stories share.

use serde_json::{Value, json};
use weir_tests::fixture::{APP, Agent, Call, Client, ConfigToml, OUTSIDE, Server, ServerKind, Stage, Transcript};

/// Runs a client directly and then through an agent; hands back what it said each time, the agent still running.
pub(crate) fn direct_and_through<'s>(
    stage: &'s Stage,
    server: &Server,
    client: &Client,
) -> (Transcript, Transcript, Agent<'s>) {
    let direct = client.run(stage, OUTSIDE);
    let agent = Agent::start(stage, &ConfigToml::of(&[server]));
    let through = client.run(stage, APP);
    (direct, through, agent)
}

/// A stage with one server behind TLS.
pub(crate) fn stage_with(kind: ServerKind, name: &str) -> (Stage, Server) {
    let mut stage = Stage::new(name);
    let server = stage.serve(kind, "mcp.test");
    (stage, server)
}

/// Both records of an answered call, checked against what was asked of which tool and by which program.
pub(crate) fn assert_recorded(call: &Call, server: &Server, tool: &str, arguments: &Value, text: &str) {
    let (request, answer) = (&call.request, call.answer());
    for record in [request, answer] {
        assert_eq!(record.event()["class_uid"], 6003, "{}", record.line);
        assert_eq!(record.mcp("endpoint"), server.name(), "{}", record.line);
        assert_eq!(record.mcp("method"), "tools/call", "{}", record.line);
        assert_eq!(record.mcp("name"), tool, "{}", record.line);
        assert_eq!(record.event()["dst_endpoint"]["port"], server.port(), "{}", record.line);
        assert_eq!(record.event()["verdict"]["action"], "allow", "{}", record.line);
        assert_process(record.event(), APP);
    }
    assert_eq!(request.mcp("params")["arguments"], *arguments, "{}", request.line);
    assert_eq!(answer.outcome(), "ok", "{}", answer.line);
    assert_eq!(answer.mcp("result")["content"][0]["text"], text, "{}", answer.line);
    assert_eq!(request.mcp("call_id"), answer.mcp("call_id"));
    assert_eq!(request.mcp("id"), answer.mcp("id"));
}

/// A bare process of root in a cgroup, whose executable is a file that exists.
pub(crate) fn assert_process(event: &Value, cgroup: &str) {
    let workload = &event["workload"];
    assert_eq!(workload["kind"], "process", "{workload}");
    assert_eq!(workload["cgroup"], cgroup, "{workload}");
    assert_eq!(workload["process"]["uid"], 0, "{workload}");
    let exe = workload["process"]["exe"].as_str().unwrap_or_default();
    assert!(std::path::Path::new(exe).is_file(), "{workload}");
}

/// An `initialize` by hand.
pub(crate) fn initialize(version: &str) -> Value {
    let client = json!({ "name": "by hand", "version": "1" });
    let params = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client });
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params })
}

/// A `tools/call` by hand, in the session era.
pub(crate) fn tool_call(id: u64, tool: &str, arguments: &Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
}
