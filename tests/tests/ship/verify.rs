//! `weir audit verify --stream`: what an auditor learns from the stream alone, while it is being written.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use weir::audit::head::Head;
use weir_tests::{
    fixture::{eventually, weir},
    shipping::{
        Emulator, KEYS, Stream,
        soak::{config, cursor},
    },
};

use super::{ends_well, kinesis, start, start_at_rate};

fn verify(url: &str, stream: &str, args: &[&str]) -> Command {
    let mut verify = Command::new(weir());
    verify.args(["audit", "--json", "verify", "--stream", stream, "--region", "us-east-1", "--endpoint-url", url]);
    verify.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    verify.env("AWS_ACCESS_KEY_ID", KEYS.0).env("AWS_SECRET_ACCESS_KEY", KEYS.1);
    verify.env("AWS_EC2_METADATA_DISABLED", "true");
    verify
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The lines of a log of `records` records.
fn lines(dir: &Path, records: u64) -> Vec<Vec<u8>> {
    ends_well(dir, &mut start(dir, &config(dir, ""), records, |_| ()));
    let mut lines = Vec::new();
    let mut segments: Vec<_> =
        fs::read_dir(dir.join("state/audit")).expect("list").flatten().map(|e| e.path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "ndjson"));
    segments.sort();
    for segment in segments {
        let text = fs::read(segment).expect("read a segment");
        lines.extend(text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec));
    }
    lines
}

#[test]
fn a_stream_verifies_while_it_is_written_and_shards_split_and_merge() {
    let dir = TempDir::new().expect("a directory");
    let emulator = Emulator::ferrokinesis(dir.path(), &[]);
    let stream = Stream::create(&emulator.url(), "weir-audit", 3, KEYS);
    let config = config(dir.path(), &kinesis(&emulator.url()));
    let mut writer = start(dir.path(), &config, 30_000, |_| ());
    eventually("something is shipped", || (cursor(dir.path(), "kinesis") > 500).then_some(()));
    let live = verify(&emulator.url(), "weir-audit", &[]).output().expect("verify");
    let found = report(&live);
    assert_eq!(found["intact"], true, "{found:#}");
    assert!(found["logs"][0]["records"].as_u64() > Some(500), "{found:#}");

    stream.split_a_shard();
    stream.merge_two_shards();
    ends_well(dir.path(), &mut writer);
    let whole = verify(&emulator.url(), "weir-audit", &[]).output().expect("verify");
    assert!(whole.status.success(), "{whole:?}");
    let head = Head::read(&dir.path().join("state/audit")).expect("the log's head");
    assert_eq!(report(&whole)["logs"][0]["last_seq"], head.seq);
    assert_eq!(report(&whole)["logs"][0]["records"], head.seq);
}

#[test]
fn a_stream_that_is_written_steadily_for_longer_than_the_reader_waits_is_intact() {
    let dir = TempDir::new().expect("a directory");
    let emulator = Emulator::ferrokinesis(dir.path(), &[]);
    let _stream = Stream::create(&emulator.url(), "weir-audit", 3, KEYS);
    let config = config(dir.path(), &kinesis(&emulator.url()));
    let mut writer = start_at_rate(dir.path(), &config, (1_000_000, 1000), |_| ());
    eventually("something is shipped", || (cursor(dir.path(), "kinesis") > 500).then_some(()));
    let live = verify(&emulator.url(), "weir-audit", &["--wait", "15"]).output().expect("verify");
    assert!(writer.0.try_wait().expect("look at the writer").is_none(), "it outlasts the reader");
    let found = report(&live);
    assert_eq!(found["intact"], true, "{found:#}");
    assert!(found["logs"][0]["records"].as_u64() > Some(500), "{found:#}");
}

#[test]
fn a_record_that_never_comes_is_named_and_one_that_is_late_is_waited_for() {
    let dir = TempDir::new().expect("a directory");
    let lines = lines(dir.path(), 200);
    let emulator = Emulator::ferrokinesis(dir.path(), &[]);
    let stream = Stream::create(&emulator.url(), "weir-audit", 2, KEYS);
    let (late, others): (Vec<_>, Vec<_>) = lines.iter().enumerate().partition(|(at, _)| *at == 99);
    for (_, line) in others {
        stream.put(line);
    }
    let without = verify(&emulator.url(), "weir-audit", &["--wait", "1"]).output().expect("verify");
    assert_eq!(without.status.code(), Some(1), "{without:?}");
    let findings = &report(&without)["logs"][0]["findings"];
    assert!(findings.to_string().contains("\"seq\":100"), "{findings:#}");

    let patient = verify(&emulator.url(), "weir-audit", &["--wait", "120"]).spawn().expect("verify");
    thread::sleep(Duration::from_secs(3));
    stream.put(late[0].1);
    let patient = patient.wait_with_output().expect("verify ends");
    assert!(patient.status.success(), "{patient:?}");
    assert_eq!(report(&patient)["logs"][0]["records"], lines.len(), "what came last is in the stream");
}

#[test]
fn a_stream_that_is_not_there_is_an_error_and_not_an_empty_log() {
    let dir = TempDir::new().expect("a directory");
    let emulator = Emulator::ferrokinesis(dir.path(), &[]);
    let output = verify(&emulator.url(), "another", &[]).output().expect("verify");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("cannot read the stream another") && said.contains("ResourceNotFound"), "{said}");
}
