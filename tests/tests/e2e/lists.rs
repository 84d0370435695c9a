//! Lists lose what may not be used, over all their pages and in every era, and what a client remembers of one gives it nothing.

use std::{fs, sync::Arc};

use serde_json::{Value, json};
use weir_tests::raw::{
    Wire,
    http1::Http1,
    server::{RawServer, Then, write_json},
};

use crate::scene::{GOOD, Scene, post, post_bytes};

const POLICIES: &str = r#"
@id("no-secrets")
forbid (principal, action == Action::"tools/call", resource) when { resource.name like "secret*" };
@id("no-secret-prompts")
forbid (principal, action == Action::"prompts/get", resource) when { resource.name like "secret*" };
@id("no-secret-files")
forbid (principal, action == Action::"resources/read", resource) when { resource.uri like "secret*" };
"#;

/// Lists of three pages, the first of which has nothing but secrets; a stranger's answer to anything else.
fn pages(server: &RawServer) {
    server.answers(Arc::new(|request: &Http1, wire: &mut dyn Wire| {
        let message = request.json();
        let (member, name) = match message["method"].as_str().unwrap_or_default() {
            "tools/list" => ("tools", "name"),
            "prompts/list" => ("prompts", "name"),
            "resources/list" => ("resources", "uri"),
            "resources/templates/list" => ("resourceTemplates", "uriTemplate"),
            _ => ("content", ""),
        };
        let (listed, next) = match message["params"]["cursor"].as_str() {
            None => (&["secret:1", "secret:2"][..], Some("two")),
            Some("two") => (&["open:1", "secret:3", "open:2"][..], Some("three")),
            Some(_) => (&["open:3"][..], None),
        };
        let entry = |value: &&str| json!({ name: value, "name": value, "inputSchema": { "type": "object" } });
        let mut result = json!({ "resultType": "complete", "ttlMs": 600_000, "cacheScope": "public" });
        result[member] = listed.iter().map(entry).collect();
        if let Some(next) = next {
            result["nextCursor"] = next.into();
        }
        let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
        write_json(wire, &body.to_string()).map(|()| Then::KeepAlive)
    }));
}

/// How a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum As {
    Session,
    Modern,
}

fn ask(scene: &Scene, sent: As, method: &str, mut params: Value) -> Value {
    let bytes = if sent == As::Modern {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "by hand", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let name = params["name"].as_str().or(params["uri"].as_str());
        let name = name.map(|name| format!("mcp-name: {name}\r\n")).unwrap_or_default();
        let headers = format!("mcp-protocol-version: 2026-07-28\r\nmcp-method: {method}\r\n{name}");
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        post_bytes(message.to_string().as_bytes(), &headers)
    } else {
        post(&json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }))
    };
    scene.client().ask(&bytes).expect("a response").expect("a response").json()
}

/// All that a client finds which follows every cursor, and how the pages may be cached.
fn walk(scene: &Scene, sent: As, method: &str, member: &str, name: &str) -> (Vec<String>, Vec<Value>, usize) {
    let (mut found, mut scopes, mut pages, mut params) = (Vec::new(), Vec::new(), 0, json!({}));
    loop {
        let result = ask(scene, sent, method, params)["result"].clone();
        let entries = result[member].as_array().unwrap_or_else(|| panic!("no {member} in {result}")).clone();
        found.extend(entries.iter().filter_map(|entry| entry[name].as_str().map(str::to_owned)));
        scopes.push(result["cacheScope"].clone());
        assert_eq!(result["ttlMs"], 600_000, "{result}");
        pages += 1;
        match result["nextCursor"].as_str() {
            Some(next) => params = json!({ "cursor": next }),
            None => return (found, scopes, pages),
        }
    }
}

fn every_page(name: &str, sent: As) {
    let scene = Scene::new(name);
    let file = scene.stage.world().dir().join("p.cedar");
    fs::write(&file, POLICIES).expect("write the policies");
    let server = scene.serve_good();
    pages(&server);
    let agent = scene.agent(&[GOOD], "", &format!("[policy]\nfiles = [{file:?}]"));
    scene.enter_scope();
    for (method, member, name) in [
        ("tools/list", "tools", "name"),
        ("prompts/list", "prompts", "name"),
        ("resources/list", "resources", "uri"),
        ("resources/templates/list", "resourceTemplates", "uriTemplate"),
    ] {
        let (found, scopes, pages) = walk(&scene, sent, method, member, name);
        assert_eq!(found, ["open:1", "open:2", "open:3"], "{method}");
        // An empty page leads on; what was filtered is for nobody else, what was not is as the server said.
        assert_eq!((pages, scopes), (3, vec![json!("private"), json!("private"), json!("public")]), "{method}");
    }
    let before = server.seen().len();
    for (method, params) in [
        ("tools/call", json!({ "name": "secret:3", "arguments": {} })),
        ("prompts/get", json!({ "name": "secret:3" })),
        ("resources/read", json!({ "uri": "secret:3" })),
    ] {
        let said = ask(&scene, sent, method, params).to_string();
        assert!(said.contains("refused by Weir") && said.contains("no-secret"), "{method}: {said}");
    }
    assert_eq!(server.seen().len(), before, "nothing of it was sent");

    // What is forbidden later is denied to who has kept a list for as long as the server said.
    fs::write(&file, r#"@id("none") forbid (principal, action == Action::"tools/call", resource);"#).expect("write");
    assert!(agent.command(&["policy", "reload"]).succeeded);
    let said = ask(&scene, sent, "tools/call", json!({ "name": "open:1", "arguments": {} })).to_string();
    assert!(said.contains("refused by Weir") && said.contains("none"), "{said}");
    assert_eq!(server.seen().len(), before);
    let lists = agent.records().calls("tools/list");
    let edits = lists.iter().map(|list| list.answer().mcp("edits").to_string().contains("catalogue"));
    assert_eq!(edits.collect::<Vec<_>>(), [true, true, false]);
    // Pages and callers that see a part are no change of what is known.
    let doubts = agent.records().filter(|record| record.event()["verdict"]["policy"] == "guard/rug-pull").count();
    assert_eq!(doubts, 0);
    agent.verify();
}

#[test]
fn every_page_of_every_list_loses_what_may_not_be_used_in_a_session() {
    every_page("pages-session", As::Session);
}

#[test]
fn every_page_of_every_list_loses_what_may_not_be_used_in_the_modern_era() {
    every_page("pages-modern", As::Modern);
}
