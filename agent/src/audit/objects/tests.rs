use std::fs;

use serde_json::Value;

use super::*;
use crate::{
    audit::{
        log::{AppendError, Log, LogOptions},
        payload::Longer,
        samples::{call, event, payloads},
    },
    config::{Audit, Durability, OnFull},
};

fn log_id() -> LogId {
    LogId::parse("l").unwrap()
}

fn shelf() -> Shelf {
    let objects: config::Objects =
        serde_json::from_value(serde_json::json!({ "bucket": "weir", "prefix": "a/" })).unwrap();
    Shelf::of(&objects, &log_id())
}

/// The event of a request with a payload of about `bytes`.
fn long(bytes: usize) -> Event {
    let text = serde_json::to_string(&"\"é".repeat(bytes / 4)).unwrap();
    let mut call = call(crate::audit::event::Phase::Request, Uuid::from_u128(5));
    call.mcp.params = Some(payloads(1024).keeping(Longer::Object(shelf())).fit(text.as_bytes()).unwrap());
    event(What::Call(Box::new(call)))
}

fn open(dir: &Path) -> Log {
    let options =
        LogOptions { dir: dir.to_owned(), durability: Durability::Sync, segment_bytes: 1 << 20, boot_id: "b".into() };
    Log::open(&options).unwrap().0
}

fn segments(dir: &Path) -> String {
    let segments = crate::audit::segment::Segment::list(dir).unwrap();
    segments.iter().map(|segment| fs::read_to_string(&segment.path).unwrap()).collect()
}

#[tokio::test]
async fn the_record_names_an_object_that_waits_and_counts_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append(long(100_000)).await.unwrap();
    let [waiting] = &log.objects().list().unwrap()[..] else { panic!("one object") };
    assert!((0..60_000).contains(&(jiff::Timestamp::now().as_millisecond() - waiting.time)), "{waiting:?}");
    let bytes = log.objects().read(waiting).unwrap();
    let segments = segments(dir.path());
    let record: Value = serde_json::from_str(&segments).unwrap();
    let mark = &record["event"]["mcp"]["params"]["weir_truncated"];
    assert_eq!(mark["object"], format!("s3://weir/a/l/{}", waiting.name));
    assert_eq!(mark["sha256"], hex(digest::digest(&digest::SHA256, &bytes).as_ref()));
    assert_eq!(mark["bytes"], bytes.len());
    assert!(bytes.starts_with(mark["prefix"].as_str().unwrap().as_bytes()));
    assert!(serde_json::from_slice::<String>(&bytes).is_ok(), "the whole payload");
    assert_eq!(record["event"]["metadata"]["is_truncated"], true);

    let all = (segments.len() + bytes.len()) as u64;
    assert_eq!(log.status().bytes, all);
    log.close().await.unwrap();
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.status().bytes, all);
    log.objects().remove(waiting, bytes.len() as u64).unwrap();
    assert_eq!(log.status().bytes, segments.len() as u64);
    assert!(log.objects().list().unwrap().is_empty());
}

#[tokio::test]
async fn without_its_object_there_is_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    // A file in the directory's place: nothing can be put there.
    fs::write(dir.path().join("objects"), "").unwrap();
    let refused = log.append(long(5000)).await;
    assert!(matches!(refused, Err(AppendError::Write(_))), "{refused:?}");
    assert!(log.status().failing.is_some_and(|failing| failing.error.contains("objects")));
    assert_eq!(log.status().last_seq, 0);

    fs::remove_file(dir.path().join("objects")).unwrap();
    log.append(long(5000)).await.unwrap();
    assert!(log.status().failing.is_none());
}

#[tokio::test]
async fn what_waits_counts_towards_the_quota() {
    let within = |on_full| Audit { max_bytes: Some(320 << 10), on_full, ..Audit::default() };
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).within(&within(OnFull::Refuse));
    log.append(long(160_000)).await.unwrap();
    assert!(log.full().is_none());
    // It would not fit, though the quota is not reached without it.
    let refused = log.append(long(160_000)).await;
    assert!(matches!(refused, Err(AppendError::Full { .. })), "{refused:?}");
    assert_eq!(log.objects().list().unwrap().len(), 1, "nothing is put aside for a record that is refused");
    let [stored] = &log.objects().list().unwrap()[..] else { panic!("one object") };
    log.objects().remove(stored, log.objects().bytes()).unwrap();
    log.append(long(160_000)).await.unwrap();

    let metadata = log.clone().within(&within(OnFull::Metadata));
    let whole = payloads(1024).keeping(Longer::Object(shelf())).fit(format!("\"{}\"", "x".repeat(200_000)).as_bytes());
    assert!(!metadata.has_room_for(&whole.unwrap()));
    assert!(metadata.has_room_for(&payloads(1024).fit(b"{}").unwrap()));
}

#[test]
fn what_is_not_an_object_is_left_alone_and_what_was_abandoned_goes() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::of(dir.path()).unwrap();
    let objects = dir.path().join("objects");
    assert!(!objects.exists(), "made when it is needed");
    fs::create_dir(&objects).unwrap();
    let (young, old) = (format!("{}.new", Uuid::now_v7()), format!("{}.new", Uuid::now_v7()));
    for name in ["notes.txt", "x.json", &young, &old, &format!("{}.json", Uuid::from_u128(7))] {
        fs::write(objects.join(name), "12345").unwrap();
    }
    let file = fs::File::options().write(true).open(objects.join(&old)).unwrap();
    file.set_modified(SystemTime::now() - 2 * ABANDONED).unwrap();
    assert!(spool.list().unwrap().is_empty());
    assert!(!objects.join(&old).exists() && objects.join(&young).exists() && objects.join("notes.txt").exists());
    spool.list().unwrap();
    assert_eq!(spool.bytes(), 20);
}

#[test]
fn the_oldest_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::of(dir.path()).unwrap();
    let objects: Vec<_> = (0..20).map(|number| shelf().object(&number.to_string())).collect();
    objects.iter().rev().for_each(|object| spool.write(object).unwrap());
    let names: Vec<_> = spool.list().unwrap().into_iter().map(|waiting| waiting.name).collect();
    assert_eq!(names, objects.iter().map(|object| object.name.clone()).collect::<Vec<_>>());
}
