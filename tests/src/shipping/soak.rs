//! The long run: many records, a way that fails, shards split and merged, an outage, and a writer that is killed again and again. In the end
//! every record must be in the stream.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use weir::audit::{
    head::Head,
    verify::{Expectations, verify_directory},
};

use super::{Emulator, Faults, KEYS, Stream};
use crate::world::Running;

/// Which emulator takes the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// One that throttles by the limits of real shards.
    Ferrokinesis,
    /// One that verifies signatures.
    Moto,
}

impl Service {
    /// Starts it, with the stream, and says with which keys it is asked.
    fn start(self, dir: &Path) -> (Emulator, Stream, (String, String)) {
        let (emulator, keys) = match self {
            // Each shard takes 1,000 records and 1 MB a second.
            Self::Ferrokinesis => {
                (Emulator::ferrokinesis(dir, &["--enforce-limits", "true"]), (KEYS.0.to_owned(), KEYS.1.to_owned()))
            }
            Self::Moto => {
                let moto = Emulator::moto(dir);
                let keys = moto.user_of("kinesis");
                (moto, keys)
            }
        };
        let stream = Stream::create(&emulator.url(), "weir-audit", 4, (&keys.0, &keys.1));
        if self == Self::Moto {
            emulator.verify_signatures(true);
        }
        (emulator, stream, keys)
    }
}

/// How long and how hard.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where they go.
    pub service: Service,
    /// Records.
    pub records: u64,
    /// Records per second; 0: as fast as it goes.
    pub rate: u64,
    /// So many of a thousand requests fail.
    pub faults: u32,
    /// How often the writer is killed.
    pub kills: u64,
    /// How long the service is away.
    pub outage: Duration,
    /// The program that runs [`super::writer::run`] when called with `write`, and [`super::verifier::run`] with `verify`.
    pub program: PathBuf,
    /// An empty directory.
    pub dir: PathBuf,
}

/// The configuration of a writer, written to `dir`.
///
/// # Panics
///
/// When it cannot be written.
#[must_use]
pub fn config(dir: &Path, sinks: &str) -> PathBuf {
    let path = dir.join("weir.toml");
    let state = dir.join("state");
    fs::write(&path, format!("state_dir = {state:?}\n[audit]\nsegment_bytes = 4194304\n{sinks}\n")).expect("write");
    path
}

/// A writer's command.
#[must_use]
pub fn command(program: &Path, config: &Path, records: u64, rate: u64) -> Command {
    let mut command = Command::new(program);
    command.arg("write").arg(config).args([records.to_string(), rate.to_string()]).stdin(Stdio::null());
    command
        .env("AWS_ACCESS_KEY_ID", KEYS.0)
        .env("AWS_SECRET_ACCESS_KEY", KEYS.1)
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// What the verifier says of the stream, which must be whole.
fn verify(program: &Path, config: &Path, keys: &(String, String)) -> Value {
    let mut verify = Command::new(program);
    verify.arg("verify").arg(config).env("AWS_ACCESS_KEY_ID", &keys.0).env("AWS_SECRET_ACCESS_KEY", &keys.1);
    let output = verify.env("AWS_EC2_METADATA_DISABLED", "true").output().expect("run the verifier");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The last record that a sink has, by its cursor.
#[must_use]
pub fn cursor(dir: &Path, sink: &str) -> u64 {
    let cursor = fs::read(dir.join("state/audit").join(format!("cursor-{sink}"))).unwrap_or_default();
    serde_json::from_slice::<Value>(&cursor).ok().and_then(|cursor| cursor["seq"].as_u64()).unwrap_or(0)
}

/// Runs the plan, and says what happened.
///
/// # Panics
///
/// When a record is missing, altered or unlinked, or the writer does not end well.
#[must_use]
pub fn run(plan: &Plan) -> Value {
    let Plan { service, records, rate, faults, kills, outage, program, dir } = plan;
    let began = Instant::now();
    let (emulator, stream, keys) = service.start(dir);
    let way = Faults::to(emulator.port());
    way.fail(*faults);
    let sink = format!(
        "retain_bytes = 33554432\nkinesis = {{ stream = \"weir-audit\", region = \"us-east-1\", endpoint_url = {:?} }}",
        way.url()
    );
    let config = config(dir, &sink);
    let log = fs::File::create(dir.join("writer.log")).expect("make a log");
    let spawn = || {
        let mut writer = command(program, &config, *records, *rate);
        writer.env("AWS_ACCESS_KEY_ID", &keys.0).env("AWS_SECRET_ACCESS_KEY", &keys.1);
        writer.stdout(log.try_clone().expect("a file")).stderr(log.try_clone().expect("a file"));
        Running(writer.spawn().expect("start the writer"))
    };
    let mut writer = spawn();
    let mut done = 0;
    let (mut split, mut merged, mut away) = (false, false, None);
    // Kills are spread over what is shipped, so that they hit shipping as well as writing.
    let due = |kill: u64| records * (kill + 1) / (kills + 1);
    let status = loop {
        thread::sleep(Duration::from_millis(5));
        if let Some(status) = writer.0.try_wait().expect("look at the writer") {
            break status;
        }
        let at = cursor(dir, "kinesis");
        if !split && at > records / 3 {
            stream.split_a_shard();
            split = true;
        }
        if !merged && at > records * 2 / 3 {
            stream.merge_two_shards();
            merged = true;
        }
        if at > records / 2 && away.is_none() {
            way.outage(true);
            away = Some(Instant::now());
        }
        if away.is_some_and(|since| since.elapsed() > *outage) {
            way.outage(false);
        }
        if done < *kills && at >= due(done) {
            writer = {
                drop(writer);
                spawn()
            };
            done += 1;
        }
    };
    let said = fs::read_to_string(dir.join("writer.log")).expect("the writer's log");
    assert!(status.success(), "the writer ended with {status}:\n{said}");
    assert_eq!(done, *kills, "the writer was killed too rarely");
    let audit = dir.join("state/audit");
    let head = Head::read(&audit).expect("the log's head");
    assert!(head.seq >= *records);
    let shipped = began.elapsed();
    let (requests, failed) = way.counts();
    let arrived = stream.read();
    arrived.is_whole(head.log.as_str(), head.seq, head.hash);
    way.fail(0);
    let verified = verify(program, &config, &keys);
    let last: Value = said.lines().rev().find_map(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    let segments = fs::read_dir(&audit).expect("list").flatten();
    let segments = segments.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "ndjson"));
    json!({
        "records": head.seq,
        "epochs": head.epoch,
        "kills": done,
        "seconds": shipped.as_secs(),
        "verified_after_seconds": began.elapsed().as_secs(),
        "stream_verified": verified,
        "requests": requests,
        "requests_that_failed": failed,
        "repeated": arrived.repeated,
        "kinesis_records": arrived.kinesis_records,
        "segments_left": segments.count(),
        "last_writer": last,
        "log_still_verifies": verify_directory(&audit, &Expectations::default(), |_| {}).is_ok_and(|report| report.intact),
    })
}
