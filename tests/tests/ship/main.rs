//! Records reach a stream, all of them, whatever happens on the way; against emulators of Kinesis. What needs the whole agent
//! is in `e2e`.

mod collector;
mod verify;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use weir::audit::head::Head;
use weir_tests::{
    fixture::eventually,
    shipping::{
        Emulator, Faults, KEYS, Stream, credentials, session,
        soak::{self, Plan, Service, command, config, cursor},
    },
    world::Running,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_shipping");

fn kinesis(url: &str) -> String {
    format!("kinesis = {{ stream = \"weir-audit\", region = \"us-east-1\", endpoint_url = {url:?} }}")
}

/// A writer that goes on by itself, with its output in `writer.log`.
fn start(dir: &Path, config: &Path, records: u64, adjust: impl FnOnce(&mut std::process::Command)) -> Running {
    start_at_rate(dir, config, (records, 0), adjust)
}

/// The same, with so many records a second.
fn start_at_rate(
    dir: &Path,
    config: &Path,
    (records, rate): (u64, u64),
    adjust: impl FnOnce(&mut std::process::Command),
) -> Running {
    let log = File::create(dir.join("writer.log")).expect("make a log");
    let mut writer = command(Path::new(PROGRAM), config, records, rate);
    adjust(&mut writer);
    writer.stdout(log.try_clone().expect("a file")).stderr(log);
    Running(writer.spawn().expect("start the writer"))
}

fn ends_well(dir: &Path, writer: &mut Running) {
    let status = eventually("the writer ends", || writer.0.try_wait().expect("look at the writer"));
    assert!(status.success(), "{status}: {}", fs::read_to_string(dir.join("writer.log")).unwrap_or_default());
}

fn is_whole(dir: &Path, stream: &Stream) {
    let head = Head::read(&dir.join("state/audit")).expect("the log's head");
    stream.read().is_whole(head.log.as_str(), head.seq, head.hash);
}

/// The short form of the long run; `cargo xtask bench --part ship` has the long one.
#[test]
fn every_record_arrives_though_requests_fail_shards_split_and_merge_the_service_goes_away_and_the_writer_is_killed() {
    let dir = TempDir::new().expect("a directory");
    let plan = Plan {
        service: Service::Ferrokinesis,
        records: 20_000,
        rate: 0,
        faults: 150,
        kills: 4,
        outage: Duration::from_secs(3),
        program: PathBuf::from(PROGRAM),
        dir: dir.path().to_owned(),
    };
    let said = soak::run(&plan);
    println!("{said:#}");
    assert_eq!(said["stream_verified"]["records"], said["records"], "{said}");
    assert!(said["requests_that_failed"].as_u64() > Some(10), "the way was too good: {said}");
    assert!(said["repeated"].as_u64() > Some(0), "answers were lost, and yet nothing came twice: {said}");
    assert!(said["last_writer"]["sinks"][0]["retries"].as_u64().is_some(), "{said}");
    assert!(said["stream_verified"]["checkpoints"].as_u64() > Some(4), "each writer signs: {said}");
    assert_eq!(said["log_still_verifies"], true, "{said}");
}

/// The same where every signature is verified. What was stored in part was not what was signed, so that is refused there.
#[test]
fn every_record_arrives_rightly_signed_though_requests_fail_and_the_writer_is_killed() {
    let dir = TempDir::new().expect("a directory");
    let plan = Plan {
        service: Service::Moto,
        records: 4000,
        rate: 400,
        faults: 300,
        kills: 3,
        outage: Duration::from_secs(2),
        program: PathBuf::from(PROGRAM),
        dir: dir.path().to_owned(),
    };
    let said = soak::run(&plan);
    println!("{said:#}");
    assert_eq!(said["stream_verified"]["records"], said["records"], "{said}");
    assert!(said["requests_that_failed"].as_u64() > Some(5), "the way was too good: {said}");
    assert!(said["repeated"].as_u64() > Some(0), "answers were lost, and yet nothing came twice: {said}");
}

#[test]
fn a_host_whose_clock_is_wrong_ships() {
    let dir = TempDir::new().expect("a directory");
    let emulator = Emulator::ferrokinesis(dir.path(), &[]);
    let stream = Stream::create(&emulator.url(), "weir-audit", 1, KEYS);
    let way = Faults::to(emulator.port());
    way.clock_ahead(3600);
    let config = config(dir.path(), &kinesis(&way.url()));
    let mut writer = start(dir.path(), &config, 50, |_| ());
    ends_well(dir.path(), &mut writer);
    is_whole(dir.path(), &stream);
}

#[test]
fn signatures_are_right_and_credentials_that_are_replaced_are_taken_up() {
    let dir = TempDir::new().expect("a directory");
    let emulator = Emulator::moto(dir.path());
    let (id, secret) = emulator.user_of("kinesis");
    let stream = Stream::create(&emulator.url(), "weir-audit", 2, (&id, &secret));
    emulator.verify_signatures(true);

    let file = dir.path().join("credentials");
    credentials(&file, (&id, "not-the-secret"));
    let config = config(dir.path(), &kinesis(&emulator.url()));
    let mut writer = start(dir.path(), &config, 500, |writer| {
        writer.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        writer.env("AWS_SHARED_CREDENTIALS_FILE", &file).env("AWS_CONFIG_FILE", "/dev/null");
        writer.env("RUST_LOG", "warn");
    });
    // It cannot ship, and does not end: its records wait.
    let head = || Head::read(&dir.path().join("state/audit")).ok();
    eventually("the records are written", || head().filter(|head| head.seq >= 500));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(cursor(dir.path(), "kinesis"), 0, "shipped without a valid signature");
    assert!(writer.0.try_wait().expect("look at the writer").is_none());

    credentials(&file, (&id, &secret));
    ends_well(dir.path(), &mut writer);
    is_whole(dir.path(), &stream);
    let said = fs::read_to_string(dir.path().join("writer.log")).expect("the writer's log");
    let last: Value = said.lines().rev().find_map(|line| serde_json::from_str(line).ok()).expect("its last words");
    assert!(last["sinks"][0]["retries"].as_u64() > Some(0), "{last}");
}

#[test]
fn a_session_that_ends_is_replaced_and_nothing_is_lost() {
    const TOKENS: [&str; 2] = ["FwoGZXIvYXdzEFirst4fa1", "FwoGZXIvYXdzESecond9bd2"];
    let dir = TempDir::new().expect("a directory");
    let emulator = Emulator::ferrokinesis(dir.path(), &[]);
    let stream = Stream::create(&emulator.url(), "weir-audit", 2, KEYS);
    let way = Faults::to(emulator.port());
    let file = dir.path().join("credentials");
    session(&file, KEYS, Some(TOKENS[0]));
    let config = config(dir.path(), &kinesis(&way.url()));
    let mut writer = start(dir.path(), &config, 20_000, |writer| {
        writer.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        writer.env("AWS_SHARED_CREDENTIALS_FILE", &file).env("AWS_CONFIG_FILE", "/dev/null");
    });
    eventually("something is shipped", || (cursor(dir.path(), "kinesis") > 500).then_some(()));
    way.only_session(TOKENS[1]);
    eventually("the session has ended", || (way.counts().1 > 1).then_some(()));
    let at = cursor(dir.path(), "kinesis");
    assert!(at < 20_000, "it was all shipped before the session ended");
    session(&file, KEYS, Some(TOKENS[1]));
    ends_well(dir.path(), &mut writer);
    is_whole(dir.path(), &stream);
    let said = fs::read_to_string(dir.path().join("writer.log")).expect("the writer's log");
    for token in TOKENS {
        assert!(!said.contains(token), "what the service quoted: {said}");
    }
}

#[test]
fn a_collector_gets_every_record_to_the_byte_also_what_it_refused_at_first() {
    let dir = TempDir::new().expect("a directory");
    let collector = collector::Collector::start();
    let config = config(dir.path(), &format!("otlp = {{ endpoint = {:?} }}", collector.url()));
    let mut writer = start(dir.path(), &config, 3000, |_| ());
    ends_well(dir.path(), &mut writer);
    let head = Head::read(&dir.path().join("state/audit")).expect("the log's head");
    collector.arrived().is_whole(head.log.as_str(), head.seq, head.hash);
}
