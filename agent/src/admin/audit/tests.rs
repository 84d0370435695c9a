mod query;
mod replay;

use std::{fs, thread};

use clap::Parser;

use super::*;
use crate::audit::{
    event::{Event, Outcome, What},
    log::{Log, LogOptions},
    samples::{every_kind, request, response, small},
    segment::Segment,
};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    audit: Args,
}

fn log_of(dir: &Path, events: Vec<Event>) {
    let options = LogOptions {
        dir: dir.to_owned(),
        durability: crate::config::Durability::Process,
        segment_bytes: 16 << 10,
        boot_id: "boot".into(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (log, _) = Log::open(&options).unwrap();
        for event in events {
            log.append(event).await.unwrap();
        }
        log.close().await.unwrap();
    });
}

fn of_log(cli: Cli) -> OfLog {
    match cli.audit.command {
        Command::Log(command) => command,
        other => panic!("{other:?} needs no log"),
    }
}

/// Runs `weir audit` with these arguments, without styles.
fn run(dir: &Path, json: bool, args: &[&str]) -> (Result<Ended, Stop>, String) {
    let cli = Cli::try_parse_from(["audit"].iter().chain(args)).unwrap();
    let mut out = anstream::StripStream::new(Vec::new());
    let ended = of_log(cli).run(dir, json, &mut out);
    (ended, String::from_utf8(out.into_inner()).unwrap())
}

fn output(dir: &Path, json: bool, args: &[&str]) -> String {
    let (ended, out) = run(dir, json, args);
    assert_eq!(ended.unwrap(), Ended::Done);
    out
}

fn whole(dir: &Path) -> String {
    Segment::list(dir).unwrap().iter().map(|segment| fs::read_to_string(&segment.path).unwrap()).collect()
}

#[test]
fn a_call_reads_as_two_lines_that_belong_together() {
    let dir = tempfile::tempdir().unwrap();
    let id = uuid::Uuid::from_u128(0xabcd);
    log_of(dir.path(), vec![request(id), response(id, Outcome::Ok)]);
    let out = output(dir.path(), false, &["tail"]);
    let lines: Vec<_> = out.lines().collect();
    let words = |line: &str| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
    assert_eq!(
        lines.iter().map(|line| words(line)).collect::<Vec<_>>(),
        [
            r#"→ #abcd pod/0a1b/agent billing tools/call refund allow {"amount":5}"#,
            r#"← #abcd pod/0a1b/agent billing tools/call refund ok 12 ms Zürich"#,
        ]
    );
}

#[test]
fn every_kind_of_record_has_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let count = every_kind().len();
    log_of(dir.path(), every_kind());
    let out = output(dir.path(), false, &["query"]);
    assert_eq!(out.lines().count(), count, "{out}");
    for part in ["GET /mcp", "flow to 192.0.2.1:443", "certificate expired", "weir stopped: SIGTERM", "two params"] {
        assert!(out.contains(part), "{part}\n{out}");
    }
}

#[test]
fn what_a_peer_sent_cannot_steer_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let mut hostile = request(uuid::Uuid::nil());
    let What::Call(call) = &mut hostile.what else { unreachable!() };
    call.mcp.name = Some("\x1b[2J\u{9b}31m\u{202e}\r\nx".into());
    log_of(dir.path(), vec![hostile]);
    let cli = Cli::try_parse_from(["audit", "tail"]).unwrap();
    let mut out = Vec::new();
    of_log(cli).run(dir.path(), false, &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert_eq!(out.lines().count(), 1);
    assert!(out.contains("\u{fffd}[2J\u{fffd}31m\u{fffd}\u{fffd}\u{fffd}x"), "{out:?}");
}

#[test]
fn json_and_export_are_the_exact_lines() {
    let dir = tempfile::tempdir().unwrap();
    log_of(dir.path(), every_kind());
    let lines = whole(dir.path());
    assert_eq!(output(dir.path(), true, &["query"]), lines);
    assert_eq!(output(dir.path(), true, &["tail", "-n", "1000000"]), lines);
    assert_eq!(output(dir.path(), false, &["export"]), lines);
    let file = dir.path().join("out.ndjson");
    let path = file.to_str().unwrap();
    output(dir.path(), false, &["export", "--output", path]);
    assert_eq!(fs::read_to_string(&file).unwrap(), lines);
    assert!(run(dir.path(), false, &["export", "--output", path]).0.is_err(), "a file is not overwritten");
    assert_eq!(output(dir.path(), false, &["export", "--until", "2020-01-01T00:00:00Z"]), "");
}

#[test]
fn tail_shows_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    log_of(dir.path(), (0..50).map(|_| small()).collect());
    let lines = whole(dir.path());
    let last: Vec<_> = lines.lines().skip(47).collect();
    assert_eq!(output(dir.path(), true, &["tail", "-n", "3"]).lines().collect::<Vec<_>>(), last);
    assert_eq!(output(dir.path(), true, &["tail", "-n", "0"]), "");
}

#[test]
fn verify_names_the_first_bad_record() {
    let dir = tempfile::tempdir().unwrap();
    log_of(dir.path(), (0..9).map(|_| small()).collect());
    assert!(output(dir.path(), false, &["verify"]).starts_with("intact: log "));
    let segment = &Segment::list(dir.path()).unwrap()[0].path;
    let text = fs::read_to_string(segment).unwrap();
    fs::write(segment, text.replacen("interception", "Interception", 1)).unwrap();
    let (ended, out) = run(dir.path(), false, &["verify"]);
    assert_eq!(ended.unwrap(), Ended::CheckFailed);
    assert!(out.starts_with("not intact: log "), "{out}");
    let (ended, out) = run(dir.path(), true, &["verify"]);
    assert_eq!(ended.unwrap(), Ended::CheckFailed);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["logs"][0]["findings"]["listed"][0]["seq"], 1);
    let nowhere = dir.path().join("nowhere");
    assert!(matches!(run(&nowhere, false, &["verify"]).0, Err(Stop::Failed(Failure::Failed(_)))));
}

/// Ends a followed tail when it has shown enough.
struct Until {
    seen: Vec<u8>,
    lines: usize,
}

impl Write for Until {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.seen.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let enough = self.seen.iter().filter(|byte| **byte == b'\n').count() >= self.lines;
        if enough { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

#[test]
fn a_followed_log_is_shown_as_it_grows_across_segments() {
    let dir = tempfile::tempdir().unwrap();
    log_of(dir.path(), vec![small()]);
    let path = dir.path().to_owned();
    let follower = thread::spawn(move || {
        let cli = Cli::try_parse_from(["audit", "tail", "-f"]).unwrap();
        let mut out = Until { seen: Vec::new(), lines: 61 };
        let ended = of_log(cli).run(&path, true, &mut out);
        assert!(matches!(ended, Err(Stop::Output(_))));
        String::from_utf8(out.seen).unwrap()
    });
    for _ in 0..6 {
        log_of(dir.path(), (0..10).map(|_| small()).collect());
    }
    assert_eq!(follower.join().unwrap(), whole(dir.path()));
}

#[test]
fn without_a_configuration_the_command_says_what_is_missing() {
    let context = Context { config: "/nonexistent/weir.toml".into(), json: false };
    let error = context.load().unwrap_err();
    assert!(matches!(&error, Failure::Usage(text) if text.contains("/nonexistent/weir.toml")), "{error}");
}
