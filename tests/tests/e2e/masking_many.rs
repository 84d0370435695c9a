//! Dozens of calls with values of every kind in them, in many forms and languages: none is in what the agent writes or says, and
//! with `inline` none reaches the server or the client.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use weir::config::Detector;
use weir_tests::{
    corpus::{self, Sample},
    raw::{
        Wire,
        server::{Then, write_event_stream, write_json},
    },
};

use crate::scene::{GOOD, Scene, post};

const CALLS: usize = 36;

/// Every detector, in one of the styles, and a path.
fn rules() -> String {
    let named = |detectors: &[Detector], style: &str| {
        let names: Vec<String> = detectors.iter().map(ToString::to_string).collect();
        format!("[[mask]]\ndetectors = {names:?}\nstyle = \"{style}\"\ninline = true\n")
    };
    let (first, rest) = Detector::ALL.split_at(5);
    let (second, third) = rest.split_at(5);
    let path = "[[mask]]\npaths = [\"$..secret\"]\ninline = true\n";
    [named(first, "redact"), named(second, "token"), named(third, "partial"), path.to_owned()].concat()
}

/// What one call carries: texts by their members' names, a secret that a path selects, and the values that must not get through.
fn planted(round: usize, corpus: &[Vec<Sample>]) -> (Value, Vec<String>) {
    let secret = format!("only-a-path-knows-{round}");
    let mut texts = vec![json!({ "secret": secret })];
    let mut values = vec![secret];
    for samples in corpus {
        let sample = samples.iter().filter(|sample| !sample.values.is_empty()).nth(round).expect("hundreds of each");
        texts.push(json!({ sample.name: sample.text }));
        // Of a text with several lines, one that can be looked for in JSON too.
        let lines = sample.values.iter().filter_map(|value| value.lines().max_by_key(|line| line.len()));
        values.extend(lines.filter(|line| line.len() >= 10).map(str::to_owned));
    }
    (texts.into(), values)
}

/// Every text that a value says, also behind JSON in a string.
fn said(value: &Value, all: &mut String) {
    match value {
        Value::String(text) => {
            *all += &format!("{text}\n");
            if let Ok(inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
                said(&inner, all);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| said(value, all)),
        Value::Object(members) => members.values().for_each(|value| said(value, all)),
        other => *all += &format!("{other}\n"),
    }
}

fn assert_none(values: &[String], value: &Value, who: &str) {
    let mut all = String::new();
    said(value, &mut all);
    for value in values {
        assert!(!all.contains(value.as_str()), "the {who} got {value}:\n{all}");
    }
}

#[test]
fn no_planted_value_is_written_or_delivered() {
    let scene = Scene::new("inline-many");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", &rules());
    scene.enter_scope();
    let next = Arc::new(Mutex::new((String::new(), String::new())));
    let answer = Arc::clone(&next);
    server.answers(Arc::new(move |_, wire: &mut dyn Wire| {
        let (news, result) = answer.lock().expect("no panic").clone();
        if news.is_empty() {
            return write_json(wire, &result).map(|()| Then::KeepAlive);
        }
        write_event_stream(wire)?;
        wire.write_all(format!("data: {news}\n\ndata: {result}\n\n").as_bytes())?;
        Ok(Then::Close)
    }));
    let corpus = Detector::ALL.map(corpus::of);
    for round in 0..CALLS {
        let (texts, values) = planted(round, &corpus);
        values.iter().for_each(|value| scene.stage.secret(value));
        let result = json!({
            "content": [{ "type": "text", "text": texts.to_string() }, { "type": "text", "text": format!("plain-{round}") }],
            "structuredContent": { "texts": texts }
        });
        let result = match round % 3 {
            0 => json!({ "jsonrpc": "2.0", "id": round, "error": { "code": -32000, "message": "no", "data": result } }),
            _ => json!({ "jsonrpc": "2.0", "id": round, "result": result }),
        };
        let news = json!({ "jsonrpc": "2.0", "method": "notifications/custom", "params": { "data": texts } });
        let news = if round % 2 == 0 { news.to_string() } else { String::new() };
        *next.lock().expect("no panic") = (news, result.to_string());

        let call = json!({
            "jsonrpc": "2.0", "id": round, "method": "tools/call",
            "params": { "name": "t", "arguments": { "kept": format!("plain-{round}"), "texts": texts } }
        });
        let reply = scene.client().ask(&post(&call)).expect("a response").expect("a response");
        let body = String::from_utf8_lossy(&reply.body);
        let messages: Vec<Value> = match body.contains("data: ") {
            true => body.lines().filter_map(|line| line.strip_prefix("data: ")).map(parsed).collect(),
            false => vec![parsed(&body)],
        };
        assert_eq!(messages.len(), 1 + (round + 1) % 2, "{body}");
        assert!(body.contains(&format!("plain-{round}")), "{body}");
        messages.iter().for_each(|message| assert_none(&values, message, "client"));
        let seen = server.seen();
        let told = parsed(&String::from_utf8_lossy(&seen[round].body));
        assert_eq!(told["params"]["arguments"]["kept"], format!("plain-{round}"));
        assert_none(&values, &told, "server");
    }
    let records = agent.records_once("the end of each call", |records| {
        records.calls("tools/call").iter().filter(|call| call.response.is_some()).count() == CALLS
    });
    // They are there, but for what was planted: that is looked for in all that the agent wrote when it ends.
    for call in records.calls("tools/call") {
        let masked = &call.request.event()["masked"];
        assert!(masked["mask-4"] == 1 && masked["mask-1"].as_u64() >= Some(4), "{masked}");
    }

    // A notification, too, that has the method of a request.
    let keys = corpus.iter().flatten().filter(|sample| sample.detector == Detector::AwsKey);
    let key = keys.flat_map(|sample| &sample.values).rfind(|value| value.starts_with("AKIA")).expect("one of hundreds");
    scene.stage.secret(key);
    let call = json!({ "jsonrpc": "2.0", "method": "tools/call", "params": { "name": key } });
    scene.client().ask(&post(&call)).expect("a response").expect("a response");
    agent.records_once("the notification", |records| records.calls("tools/call").len() > CALLS);
    assert_eq!(agent.leaks(), [""; 0]);
    agent.verify();
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
