use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;

use super::*;

#[test]
fn query_shows_what_matches() {
    let dir = tempfile::tempdir().unwrap();
    log_of(dir.path(), every_kind());
    let all = every_kind().len();
    let count = |args: &[&str]| output(dir.path(), true, &[&["query"], args].concat()).lines().count();
    for (args, expected) in [
        (&["--outcome", "ok"][..], 1),
        (&["--method", "initialize"], 1),
        (&["--method", "tools/call", "--outcome", "broken"], 1),
        (&["--tool", "nothing"], 0),
        (&["--verdict", "deny"], 8),
        (&["--workload", "0a1b"], all - 21),
        (&["--endpoint", "billing"], all - 29),
        (&["--call", "0001"], 16),
        (&["--text", "SIGTERM"], 1),
        (&["--limit", "4"], 4),
        (&["--since", "2026-07-25T17:20:00.123Z"], all),
        (&["--since", "2026-07-25T17:20:00.124Z"], 0),
        (&["--until", "2026-07-25T17:20:00.123Z"], 0),
        (&["--since", "20000 days ago", "--limit", "1"], 1),
    ] {
        assert_eq!(count(args), expected, "{args:?}");
    }
    assert!(Cli::try_parse_from(["audit", "query", "--since", "yesteryear"]).is_err());
}

/// Runs each command of a help text's examples, and returns how much each printed.
pub(super) fn examples(dir: &Path, text: &str) -> Vec<(String, usize)> {
    let commands = text.lines().filter_map(|line| line.trim().strip_prefix("weir audit "));
    let run = |command: &str| {
        let json = command.ends_with(" --json");
        let (ended, out) = run(dir, json, &command.trim_end_matches(" --json").split(' ').collect::<Vec<_>>());
        assert_eq!(ended.unwrap(), Ended::Done, "{command}");
        (command.to_owned(), out.lines().count())
    };
    commands.map(run).collect()
}

#[test]
fn the_examples_of_the_help_run() {
    let dir = tempfile::tempdir().unwrap();
    log_of(dir.path(), every_kind());
    let examples = examples(dir.path(), super::super::query::EXAMPLES);
    assert_eq!(examples.len(), 4);
    assert!(examples.iter().any(|(command, lines)| command.contains("--outcome error") && *lines == 1));
}

/// Records one minute apart, in segments of a few.
fn an_hour_of_records(dir: &Path) -> Timestamp {
    let first = Timestamp::from_millisecond(1_785_000_000_000).unwrap();
    let at = |minute: i64| {
        let What::Agent(what) = small().what else { unreachable!() };
        Event { time: first + jiff::SignedDuration::from_mins(minute), what: What::Agent(what) }
    };
    log_of(dir, (0..600).map(at).collect());
    first
}

#[test]
fn segments_outside_the_period_are_not_read_and_nothing_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let first = an_hour_of_records(dir.path());
    let time = |minute: i64| (first + jiff::SignedDuration::from_mins(minute)).to_string();
    let count = |args: &[&str]| output(dir.path(), true, &[&["query"], args].concat()).lines().count();
    assert_eq!(count(&["--since", &time(590)]), 10);
    assert_eq!(count(&["--until", &time(10)]), 10);
    assert_eq!(count(&["--since", &time(299), "--until", &time(301)]), 2);
    assert_eq!(output(dir.path(), false, &["export", "--since", &time(300)]).lines().count(), 300);

    // What is not read is not found damaged.
    let segments = Segment::list(dir.path()).unwrap();
    assert!(segments.len() > 20);
    fs::write(&segments[1].path, "damage\n").unwrap();
    fs::write(&segments[segments.len() - 2].path, "damage\n").unwrap();
    assert_eq!(count(&["--since", &time(299), "--until", &time(301)]), 2);
    assert!(run(dir.path(), true, &["query"]).0.is_err());
}

#[test]
fn a_clock_that_was_set_back_hides_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let at = |minute: i64| {
        let time = Timestamp::from_second(1_785_000_000 + minute * 60).unwrap();
        Event { time, ..small() }
    };
    // Half an hour back, in the middle of the log.
    log_of(dir.path(), (0..100).chain(70..170).map(at).collect());
    let since = at(80).time.to_string();
    let until = at(90).time.to_string();
    let out = output(dir.path(), true, &["query", "--since", &since, "--until", &until]);
    assert_eq!(out.lines().count(), 20);
}

#[test]
fn a_literal_is_looked_for_as_records_write_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut quoted = request(uuid::Uuid::from_u128(1));
    let What::Call(call) = &mut quoted.what else { unreachable!() };
    call.mcp.name = Some("a \"b\\ ü\n".into());
    log_of(dir.path(), vec![quoted, request(uuid::Uuid::from_u128(2))]);
    assert_eq!(output(dir.path(), true, &["query", "--tool", "a \"b\\ ü\n"]).lines().count(), 1);
}

#[test]
fn delivered_files_are_read_packed_or_not() {
    let dir = tempfile::tempdir().unwrap();
    log_of(dir.path(), every_kind());
    let lines = whole(dir.path());
    let (one, two) = lines.split_at(lines.find('\n').unwrap() + 1);
    let pack = |text: &str| {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap()
    };
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    // Several gzip members in a file, and empty lines between records.
    fs::write(path("a.gz"), [pack(one), pack("\n")].concat()).unwrap();
    fs::write(path("b"), two).unwrap();
    let nowhere = Path::new("/nonexistent");
    let out = output(nowhere, true, &["query", "--file", &path("a.gz"), "--file", &path("b")]);
    assert_eq!(out, lines);
    fs::write(path("c"), "{}\n").unwrap();
    let (ended, _) = run(nowhere, true, &["query", "--file", &path("c")]);
    let Err(Stop::Failed(Failure::Failed(error))) = ended else { panic!() };
    assert!(error.contains("/c, byte 0: "), "{error}");
}

#[test]
fn tail_shows_the_newest_that_match() {
    let dir = tempfile::tempdir().unwrap();
    let agent = |count: usize| (0..count).map(|_| small());
    let calls = |ids: std::ops::Range<u128>| ids.map(|id| request(uuid::Uuid::from_u128(id)));
    log_of(dir.path(), agent(20).chain(calls(0..9)).chain(agent(40)).chain(calls(9..12)).chain(agent(40)).collect());
    let tail = |args: &[&str]| output(dir.path(), true, &[&["tail"], args].concat());
    let query = output(dir.path(), true, &["query", "--tool", "refund"]);
    let newest = |count: usize| {
        let lines: Vec<_> = query.lines().collect();
        lines[lines.len() - count..].iter().map(|line| format!("{line}\n")).collect::<String>()
    };
    for count in [1, 3, 4, 12] {
        assert_eq!(tail(&["--tool", "refund", "-n", &count.to_string()]), newest(count), "{count}");
    }
    assert_eq!(tail(&["--tool", "refund", "-n", "500"]), query);
    assert_eq!(tail(&["--tool", "nothing"]), "");
}
