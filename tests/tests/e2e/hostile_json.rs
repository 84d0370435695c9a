//! Bodies that two parsers could read differently, or that are no JSON-RPC: refused with the rule, recorded, not sent on.

use serde_json::{Value, json};
use weir_tests::{
    fixture::Agent,
    raw::{client::post as http_post, server::RawServer},
};

use crate::scene::{GOOD, HOST, Scene, denied_by, post_bytes, rule_of};

/// A body, the rule that it breaks, and what it is.
type Case = (&'static str, &'static str, Vec<u8>);

/// A call of a tool, with this text in the place of its arguments.
fn call(arguments: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"add","arguments":{arguments}}}}}"#)
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

/// A text as UTF-16, little end first, with its mark or without.
fn utf16(text: &str, mark: &str) -> Vec<u8> {
    format!("{mark}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A text as UTF-16 without a mark, which Python's `json.loads` tells from the zeros.
fn utf16_be(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

fn cases() -> Vec<Case> {
    let good = call("{}");
    let with = |from: &str, to: &str| good.replacen(from, to, 1).into_bytes();
    vec![
        ("two ids", "json-duplicate-key", with(r#""id":1"#, r#""id":1,"id":2"#)),
        ("two methods", "json-duplicate-key", with(r#""method""#, r#""method":"ping","method""#)),
        ("two methods, one escaped", "json-duplicate-key", with(r#""method""#, r#""m\u0065thod":"ping","method""#)),
        ("two params", "json-duplicate-key", with(r#""params""#, r#""params":{},"params""#)),
        ("two names", "json-duplicate-key", with(r#""name""#, r#""name":"echo","name""#)),
        ("two equal arguments", "json-duplicate-key", call(r#"{"a":1,"a":1}"#).into_bytes()),
        ("two arguments, deep", "json-duplicate-key", call(r#"{"a":[{"b":{"c":1,"c":2}}]}"#).into_bytes()),
        ("a Method", "json-ambiguous-key", with(r#""method""#, r#""Method":"ping","method""#)),
        ("only a Method", "json-ambiguous-key", with(r#""method""#, r#""Method""#)),
        ("long s", "json-ambiguous-key", with(r#""params""#, r#""param\u017f""#)),
        ("a Name", "json-ambiguous-key", with(r#""name":"add""#, r#""Name":"echo","name":"add""#)),
        ("ARGUMENTS", "json-ambiguous-key", with(r#""arguments""#, r#""ARGUMENTS":{},"arguments""#)),
        ("an unknown member", "jsonrpc-unknown-member", with(r#""id""#, r#""extra":1,"id""#)),
        ("no version", "jsonrpc-version", with(r#""jsonrpc":"2.0","#, "")),
        ("version 1", "jsonrpc-version", with("2.0", "1.0")),
        ("a null id", "jsonrpc-id", with(r#""id":1"#, r#""id":null"#)),
        ("a fractional id", "jsonrpc-id", with(r#""id":1"#, r#""id":1.5"#)),
        ("params as array", "jsonrpc-params", with(r#"{"name":"add","arguments":{}}"#, "[]")),
        ("a method as number", "jsonrpc-method", with(r#""tools/call""#, "1")),
        ("call and answer", "jsonrpc-kind", with(r#""id""#, r#""result":{},"id""#)),
        ("an empty batch", "jsonrpc-empty-batch", b"[]".to_vec()),
        ("a batch with one id twice", "jsonrpc-duplicate-id", format!("[{good},{good}]").into_bytes()),
        ("a batch of numbers", "jsonrpc-not-an-object", b"[1,2]".to_vec()),
        ("a number", "jsonrpc-not-an-object", b"1".to_vec()),
        ("nothing", "json-syntax", Vec::new()),
        ("half", "json-syntax", good.as_bytes()[..good.len() - 2].to_vec()),
        ("two values", "json-syntax", format!("{good}{good}").into_bytes()),
        ("a comment", "json-syntax", with("{", "{/* */")),
        ("a comma too much", "json-syntax", with(r#""id":1,"#, r#""id":1,,"#)),
        ("single quotes", "json-syntax", good.replace('"', "'").into_bytes()),
        ("NaN", "json-syntax", call(r#"{"a":NaN}"#).into_bytes()),
        ("beyond a double", "json-syntax", call(r#"{"a":1e999}"#).into_bytes()),
        ("a raw NUL", "json-syntax", call("{\"a\":\"\0\"}").into_bytes()),
        ("a raw line end", "json-syntax", call("{\"a\":\"\n\"}").into_bytes()),
        ("a NUL behind", "json-syntax", format!("{good}\0").into_bytes()),
        ("a lone surrogate", "json-syntax", call(r#"{"a":"\ud800"}"#).into_bytes()),
        ("surrogates the wrong way round", "json-syntax", call(r#"{"a":"\udc00\ud800"}"#).into_bytes()),
        ("a byte order mark", "json-byte-order-mark", format!("\u{feff}{good}").into_bytes()),
        ("no UTF-8", "json-not-utf8", [call(r#"{"a":""#).as_bytes(), b"\xff"].concat()),
        ("an overlong slash", "json-not-utf8", good.clone().into_bytes().into_iter().flat_map(overlong).collect()),
        ("a surrogate as UTF-8", "json-not-utf8", [call(r#"{"a":""#).as_bytes(), b"\xed\xa0\x80"].concat()),
        ("UTF-16", "json-not-utf8", utf16(&call(r#"{"a":"é"}"#), "\u{feff}")),
        ("UTF-16, the big end first", "json-syntax", utf16_be(&good)),
        ("UTF-16 behind a space", "json-syntax", utf16(&format!(" {good}"), "")),
        ("UTF-32, the big end first", "json-syntax", good.bytes().flat_map(|byte| [0, 0, 0, byte]).collect()),
        ("nested", "json-too-deep", call(&nested(200)).into_bytes()),
        ("nested to the bottom", "json-too-deep", call(&nested(30_000)).into_bytes()),
    ]
}

/// `/` in two bytes.
fn overlong(byte: u8) -> Vec<u8> {
    if byte == b'/' { vec![0xc0, 0xaf] } else { vec![byte] }
}

fn is_refused(scene: &Scene, agent: &Agent<'_>, server: &RawServer, (what, rule, body): &Case, more: &str) {
    let denied = agent.records().0.iter().filter_map(denied_by).count();
    let reply = scene.client().ask(&post_bytes(body, more)).expect("a response").expect("a response");
    assert_eq!(rule_of(&reply), *rule, "{what}: {reply:?}");
    let message = reply.json();
    let error = if message.is_array() { &message[0]["error"] } else { &message["error"] };
    assert!(error["message"].as_str().is_some_and(|text| text.contains("refused by Weir")), "{what}: {reply:?}");
    assert_eq!(server.seen(), [], "{what}");
    let records = agent.records();
    let denied: Vec<&str> = records.0.iter().filter_map(denied_by).skip(denied).collect();
    assert!(!denied.is_empty() && denied.iter().all(|policy| policy == rule), "{what}: {denied:?}");
}

#[test]
fn what_is_not_one_strict_message_is_refused() {
    let scene = Scene::new("json");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "paths = [\"/mcp\"]", "");
    scene.enter_scope();
    for case in &cases() {
        is_refused(&scene, &agent, &server, case, "");
    }
    scene.still_works(&agent, &server);
}

#[test]
fn where_every_path_is_the_endpoint_nothing_that_a_server_might_take_for_a_message_passes() {
    let scene = Scene::new("everypath");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", "");
    scene.enter_scope();

    for (what, _, body) in cases() {
        // JSON parsers of common servers take these; what none of them takes may go on as something else.
        if ["nothing", "half", "a number", "a batch of numbers", "an empty batch"].contains(&what) {
            continue;
        }
        let _ = scene.client().ask(&post_bytes(&body, "")).expect("an end");
        assert_eq!(server.seen(), [], "{what}");
    }
    // OAuth's own requests share the host and pass.
    let form = b"grant_type=authorization_code&code=x";
    let token = String::from_utf8(http_post(HOST, "/token", "", form)).expect("text");
    let token = token.replace("application/json", "application/x-www-form-urlencoded");
    assert_eq!(scene.client().ask(token.as_bytes()).expect("a response").map(|reply| reply.status()), Some(202));
    assert_eq!(server.seen().last().map(|seen| seen.body.clone()), Some(form.to_vec()));
    scene.still_works(&agent, &server);
}

#[test]
fn what_is_another_message_in_the_charset_that_it_names_does_not_pass() {
    let scene = Scene::new("charset");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", "");
    scene.enter_scope();
    let good = call("{}");
    let ask = |body: &str, content_type: &str| {
        let request = String::from_utf8(post_bytes(body.as_bytes(), "")).expect("text");
        let request = request.replace("application/json", content_type);
        scene.client().ask(request.as_bytes()).expect("a response").expect("a response")
    };
    // The first is an object in UTF-7, the second calls another tool there.
    for body in [good.replace('{', "+AHs-"), good.replace("add", "+AGE-dd"), good.clone()] {
        for charset in ["utf-7", "\"UTF-7\"", "utf-16", "IBM037"] {
            let reply = ask(&body, &format!("application/json; charset={charset}"));
            assert_eq!(rule_of(&reply), "http-charset", "{charset}: {reply:?}");
        }
    }
    assert_eq!(server.seen(), []);
    assert_eq!(ask(&good, "application/json; charset=UTF-8").status(), 200);
    assert_eq!(ask("a=b", "application/x-www-form-urlencoded; charset=ISO-8859-1").status(), 202);
    scene.still_works(&agent, &server);
}

#[test]
fn what_is_unusual_and_clear_passes_byte_for_byte() {
    let scene = Scene::new("unusual");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "paths = [\"/mcp\"]", "");
    scene.enter_scope();

    let bodies = [
        call(r#"{"a":123456789012345678901234567890,"b":-0.0,"c":1E+2}"#),
        call(r#"{"a":9007199254740993,"b":0.1000000000000000055511151231257827}"#),
        call(r#"{"a":"\u0000\u00e9\ud83d\ude00\/"}"#),
        call(r#"{"A":1,"a":2,"Method":"x","jsonrpc":"1.0"}"#),
        call(&nested(90)),
        format!(" \r\n\t{} \n", call("{ \"a\" : [ ] }")),
        call("{}").replace(r#""id":1"#, r#""id":"1""#),
        call("{}").replace(r#""id":1"#, r#""id":-9223372036854775809"#),
    ];
    for body in bodies {
        let before = server.seen().len();
        let reply = scene.client().ask(&post_bytes(body.as_bytes(), "")).expect("a response").expect("a response");
        assert_eq!(reply.status(), 200, "{body}: {reply:?}");
        let seen = server.seen();
        assert_eq!(seen.len(), before + 1);
        assert_eq!(String::from_utf8_lossy(&seen[before].body), body);
    }
    scene.still_works(&agent, &server);
}

/// A modern request and its headers, each of which a case may change.
fn modern(version: &str, method: &str, name: &str) -> String {
    format!("mcp-protocol-version: {version}\r\nmcp-method: {method}\r\nmcp-name: {name}\r\n")
}

fn modern_call() -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "app", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "add", "arguments": {}, "_meta": meta },
    })
}

#[test]
fn headers_that_contradict_the_body_are_refused_in_the_modern_era() {
    const VERSION: &str = "2026-07-28";
    let good = modern(VERSION, "tools/call", "add");
    let without = |name: &str| {
        let kept = good.split_inclusive("\r\n").filter(|line| !line.starts_with(name));
        kept.collect::<String>()
    };
    let cases: Vec<(&str, String, &str)> = vec![
        ("another method", modern(VERSION, "tools/list", "add"), "header-method"),
        ("a method in capitals", modern(VERSION, "TOOLS/CALL", "add"), "header-method"),
        ("another name", modern(VERSION, "tools/call", "echo"), "header-name"),
        ("another name, encoded", modern(VERSION, "tools/call", "=?base64?ZWNobw==?="), "header-name"),
        ("a name badly encoded", modern(VERSION, "tools/call", "=?base64?ZWNobw?="), "header-name-encoding"),
        ("another version", modern("2027-01-01", "tools/call", "add"), "header-version"),
        ("an older version", modern("2025-06-18", "tools/call", "add"), "header-version"),
        ("no method", without("mcp-method"), "header-method-missing"),
        ("no name", without("mcp-name"), "header-name-missing"),
        ("no version", without("mcp-protocol-version"), "header-version-missing"),
        ("two methods", format!("{good}mcp-method: tools/list\r\n"), "header-duplicate"),
        ("the method twice", format!("{good}mcp-method: tools/call\r\n"), "header-duplicate"),
        ("two names", format!("{good}mcp-name: echo\r\n"), "header-duplicate"),
        ("two versions", format!("{good}mcp-protocol-version: 2025-06-18\r\n"), "header-duplicate"),
        ("a name beyond ASCII", modern(VERSION, "tools/call", "ad\u{e9}"), "header-characters"),
    ];
    let scene = Scene::new("headers");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "paths = [\"/mcp\"]", "");
    scene.enter_scope();

    let body = modern_call().to_string().into_bytes();
    for (what, headers, rule) in cases {
        is_refused(&scene, &agent, &server, &(what, rule, body.clone()), &headers);
    }
    let batch = format!("[{}]", modern_call()).into_bytes();
    is_refused(
        &scene,
        &agent,
        &server,
        &("a batch", "era-batch", batch),
        &format!("mcp-protocol-version: {VERSION}\r\n"),
    );
    let answer = json!({ "jsonrpc": "2.0", "id": 1, "result": {} }).to_string().into_bytes();
    let version = format!("mcp-protocol-version: {VERSION}\r\n");
    is_refused(&scene, &agent, &server, &("a client's response", "era-client-response", answer), &version);

    let reply = scene.client().ask(&post_bytes(&body, &good)).expect("a response").expect("a response");
    assert_eq!((reply.status(), server.seen().len()), (200, 1), "{reply:?}");
    scene.still_works(&agent, &server);
}
