mod catalogue;

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::*;
use crate::audit::{
    event::Outcome,
    open_calls::{Finder, Mark, OpenCall},
    parts::Part,
    samples::{call, event, every_kind, payload, request, response, small},
};

fn text_of(event: Event) -> String {
    render(event, Uuid::from_u128(9)).unwrap()
}

fn rendered(event: Event) -> Value {
    serde_json::from_str(&text_of(event)).unwrap()
}

/// The text of a record of every kind.
fn every_record() -> Vec<String> {
    let unfinished = event(What::Unfinished(Box::new(left_open(Uuid::from_u128(3)))));
    let still_open = restate(&left_open(Uuid::from_u128(3)), small().time, Uuid::from_u128(8)).unwrap();
    every_kind().into_iter().chain([unfinished]).map(text_of).chain([still_open, a_part()]).collect()
}

fn a_part() -> String {
    let part = Part {
        of: Uuid::from_u128(9),
        call_id: Uuid::from_u128(1),
        field: "params",
        part: 1,
        parts: 2,
        hmac_sha256: "5f78c33274e43fa9de5659265c1d917e25c03722dcb0b8d27db8d5feaa813953",
        text: "\"amount\":5",
    };
    render_part(small().time, &part, Uuid::from_u128(9)).unwrap()
}

fn left_open(call_id: Uuid) -> OpenCall {
    let mut finder = Finder::default();
    finder.see(5, &render(request(call_id), Uuid::nil()).unwrap());
    finder.finish().remove(0)
}

/// What `tests/readers/ocsf_schema.py` finds wrong, by the position of the event.
fn schema_errors(events: &[Value]) -> Vec<(usize, String)> {
    let python = std::env::var("WEIR_PY").expect(
        "WEIR_PY is not set: it names the Python interpreter that has ocsf-json-schema; run `cargo xtask test`",
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut child = Command::new(python)
        .arg(root.join("tests/readers/ocsf_schema.py"))
        .arg(root.join("deploy/ocsf"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for event in events {
        writeln!(stdin, "{event}").unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the schema reader failed");
    let found = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    let found = found.map(Result::unwrap);
    found.map(|found| (found["line"].as_u64().unwrap() as usize - 1, found["errors"].to_string())).collect()
}

#[test]
fn every_kind_of_record_is_valid_ocsf() {
    let events: Vec<_> = every_record().iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    assert_eq!(schema_errors(&events), []);
}

#[test]
fn the_schema_refuses_what_is_not_valid() {
    let good = rendered(request(Uuid::from_u128(1)));
    let broken = |edit: fn(&mut Value)| {
        let mut event = good.clone();
        edit(&mut event);
        event
    };
    let events = [
        broken(|event| event["api"] = Value::Null),
        broken(|event| drop(event.as_object_mut().unwrap().remove("src_endpoint"))),
        broken(|event| event["activity_id"] = json!(77)),
        broken(|event| event["surprise"] = json!(1)),
        broken(|event| event["mcp"]["phase"] = json!("begin")),
        broken(|event| event["workload"]["process"]["pid"] = json!("42")),
        broken(|event| event["verdict"] = json!("allow")),
        broken(|event| event["metadata"]["profiles"] = json!(["ai_operation", "security_control"])),
    ];
    let refused: Vec<_> = schema_errors(&events).into_iter().map(|(index, _)| index).collect();
    assert_eq!(refused, (0..events.len()).collect::<Vec<_>>());
}

#[test]
fn the_fields_that_others_rely_on_are_where_they_look() {
    let call_id = Uuid::from_u128(1);
    let request = rendered(request(call_id));
    for (pointer, value) in [
        ("/class_uid", json!(6003)),
        ("/type_uid", json!(600_399)),
        ("/time", json!(1_785_000_000_123_i64)),
        ("/metadata/uid", json!(Uuid::from_u128(9))),
        ("/metadata/version", json!("1.9.0")),
        ("/mcp/phase", json!("request")),
        ("/mcp/call_id", json!(call_id)),
        ("/mcp/method", json!("tools/call")),
        ("/mcp/name", json!("refund")),
        ("/mcp/endpoint", json!("billing")),
        ("/mcp/era", json!("modern")),
        ("/mcp/protocol_version", json!("2026-07-28")),
        ("/mcp/params/arguments/amount", json!(5)),
        ("/workload/kind", json!("pod")),
        ("/workload/id", json!("pod/0a1b/agent")),
        ("/workload/cgroup", json!("/kubepods/x")),
        ("/workload/cgroup_id", json!(4711)),
        ("/workload/unit", json!("billing.service")),
        ("/workload/pod/uid", json!("0a1b")),
        ("/workload/process/pid", json!(42)),
        ("/workload/process/exe", json!("/usr/bin/python3")),
        ("/workload/process/uid", json!(1000)),
        ("/workload/process/comm", json!("python3")),
        ("/verdict/action", json!("allow")),
        ("/dst_endpoint/hostname", json!("mcp.billing.example.com")),
        ("/dst_endpoint/ip", json!("2001:db8::1")),
        ("/dst_endpoint/port", json!(443)),
        ("/masked", json!({})),
    ] {
        assert_eq!(request.pointer(pointer), Some(&value), "{pointer}");
    }
    let response = rendered(response(call_id, Outcome::Error));
    for (pointer, value) in [
        ("/mcp/phase", json!("response")),
        ("/mcp/outcome", json!("error")),
        ("/mcp/duration_ms", json!(12)),
        ("/status_id", json!(2)),
        ("/mcp/result/content/0/text", json!("Zürich")),
    ] {
        assert_eq!(response.pointer(pointer), Some(&value), "{pointer}");
    }
}

#[test]
fn payloads_stand_as_they_were_written_and_queries_lose_their_values() {
    let text = render(request(Uuid::nil()), Uuid::nil()).unwrap();
    assert!(text.contains(r#""id":10000000000000000000000000000001"#));
    assert!(text.contains(r#""params":{"name":"refund","arguments":{"amount":5}}"#));
    assert!(!text.contains("s3cret") && text.contains("key=*"));
    assert!(!text.contains('\n'));
}

#[test]
fn denied_records_say_so_in_the_words_of_ocsf() {
    let denied = every_kind().into_iter().map(rendered).find(|event| event["verdict"]["action"] == "deny").unwrap();
    assert_eq!(denied["action_id"], 2);
    assert_eq!(denied["disposition_id"], 2);
    assert_eq!(denied["policy"]["name"], "json-rpc-duplicate-key");
    assert_eq!(denied["status_detail"], "two params");
}

#[test]
fn an_unfinished_call_keeps_who_and_where_and_loses_its_params() {
    let call_id = Uuid::from_u128(3);
    let before = rendered(request(call_id));
    let text = render(event(What::Unfinished(Box::new(left_open(call_id)))), Uuid::from_u128(9)).unwrap();
    assert!(text.contains(r#""id":10000000000000000000000000000001"#));
    let after: Value = serde_json::from_str(&text).unwrap();
    for kept in ["workload", "dst_endpoint", "src_endpoint", "api", "flow", "verdict", "type_uid"] {
        assert_eq!(after[kept], before[kept], "{kept}");
    }
    assert_eq!(after["mcp"]["phase"], "response");
    assert_eq!(after["mcp"]["outcome"], "unknown");
    assert_eq!(after["mcp"]["call_id"], json!(call_id));
    assert_eq!(after["mcp"]["name"], "refund");
    assert_eq!(after["mcp"].get("params"), None);
}

#[test]
fn what_stands_in_for_a_request_says_the_same_without_its_params_each_time() {
    let call_id = Uuid::from_u128(3);
    let before = rendered(request(call_id));
    let later = |hours: u64| small().time + Duration::from_secs(hours * 3600);
    let once = restate(&left_open(call_id), later(1), Uuid::from_u128(8)).unwrap();
    let mut finder = Finder::default();
    assert_eq!(finder.see(9, &once), Mark::Opens(call_id));
    let twice = restate(&finder.finish().remove(0), later(2), Uuid::from_u128(9)).unwrap();
    for (text, hours) in [(once, 1), (twice, 2)] {
        let after: Value = serde_json::from_str(&text).unwrap();
        for kept in ["workload", "dst_endpoint", "src_endpoint", "api", "flow", "verdict", "type_uid"] {
            assert_eq!(after[kept], before[kept], "{kept}");
        }
        assert_eq!(after["mcp"]["phase"], "still_open");
        assert_eq!(after["mcp"]["since"], before["time"]);
        assert_eq!(after["time"], later(hours).as_millisecond());
        assert_eq!(after["mcp"].get("params"), None);
    }
}

#[test]
fn what_a_peer_makes_too_long_is_cut_and_marked() {
    let mut long = call(Phase::Request, Uuid::nil());
    let text = "\u{1}ü".repeat(1 << 20);
    for field in [&mut long.mcp.method, &mut long.mcp.name, &mut long.mcp.session_id, &mut long.verdict.reason] {
        *field = Some(text.clone());
    }
    long.http.path = format!("/{text}");
    long.mcp.id = Some(payload(&json!("i".repeat(1 << 19)).to_string()));
    let kept = vec![payload(&json!("k".repeat(60 << 10)).to_string()); 20];
    long.mcp.events = Some(crate::audit::event::StreamEvents { count: 20, kept });
    let text = render(event(What::Call(Box::new(long))), Uuid::nil()).unwrap();
    assert!(text.len() < 256 << 10, "{}", text.len());
    let read: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(read["metadata"]["is_truncated"], true);
    assert_eq!(read["mcp"]["events"]["count"], 20);
    assert_eq!(read["mcp"]["events"]["kept"].as_array().unwrap().len(), 1);
    assert!(read["mcp"]["name"].as_str().unwrap().ends_with('…'));
}
