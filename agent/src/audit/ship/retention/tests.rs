use std::sync::{Arc, Mutex};

use super::*;
use crate::{
    audit::{
        chain::Link,
        log::LogOptions,
        samples::{request, response, small},
        ship::cursor::Cursor,
        verify::{Expectations, verify_directory},
    },
    config::Durability,
};

fn file(first: u64, bytes: u64, age_days: u64) -> File {
    let written = SystemTime::UNIX_EPOCH + days(1000 - age_days);
    File { segment: Segment::at(Path::new("/d"), first), bytes, written }
}

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

const KEEP_ALL: Limits = Limits { bytes: u64::MAX, age: days(36_500), pressure: None };

#[test]
fn only_what_is_shipped_and_settled_goes_and_never_the_last() {
    let now = SystemTime::UNIX_EPOCH + days(1000);
    let files = [file(1, 10, 9), file(11, 10, 5), file(21, 10, 2), file(31, 10, 1)];
    let nothing = Limits { bytes: 0, ..KEEP_ALL };
    for (floor, goes) in [(0, 0), (9, 0), (10, 1), (29, 2), (30, 3), (1000, 3)] {
        assert_eq!(retire(&files, floor, &nothing, now), goes, "floor {floor}");
    }
    let by = |limits: Limits| retire(&files, 1000, &limits, now);
    assert_eq!(by(KEEP_ALL), 0);
    assert_eq!(by(Limits { bytes: 10, ..KEEP_ALL }), 2);
    assert_eq!(by(Limits { bytes: 15, ..KEEP_ALL }), 2);
    assert_eq!(by(Limits { age: days(4), ..KEEP_ALL }), 2);
    assert_eq!(by(Limits { pressure: Some(35), ..KEEP_ALL }), 1);
    assert_eq!(by(Limits { pressure: Some(0), ..KEEP_ALL }), 3);
    assert_eq!(retire(&[], 10, &nothing, now), 0);
}

fn options(dir: &Path) -> LogOptions {
    LogOptions { dir: dir.to_owned(), durability: Durability::Sync, segment_bytes: 4 << 10, boot_id: "boot".into() }
}

fn keeper(log: &Log, dir: &Path, shipped: u64) -> Keeper {
    let id = log.status().log;
    let mut cursor = Cursor::open(dir, "test", &id).unwrap();
    cursor.advance(&Link { seq: shipped, hash: Hash::ZERO }).unwrap();
    Keeper {
        dir: dir.to_owned(),
        log: log.clone(),
        cursors: vec![Arc::new(Mutex::new(cursor))],
        limits: Limits { bytes: 0, ..KEEP_ALL },
        intent: Intent::open_in(dir, &id).unwrap(),
    }
}

fn first_line(dir: &Path) -> (u64, Hash) {
    let mut reader = Reader::open(dir);
    let raw = reader.next_line().unwrap().unwrap();
    let line = Line::parse(raw.bytes).unwrap();
    (line.seq, line.prev)
}

fn retirements(dir: &Path) -> Vec<serde_json::Value> {
    let mut reader = Reader::open(dir);
    let mut found = Vec::new();
    while let Some(raw) = reader.next_line().unwrap() {
        let event: serde_json::Value = serde_json::from_str(Line::parse(raw.bytes).unwrap().event).unwrap();
        found.extend((event["lifecycle"]["kind"] == "retired").then(|| event["lifecycle"].clone()));
    }
    found
}

#[tokio::test]
async fn a_retired_front_is_recorded_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(&options(dir.path())).unwrap();
    for _ in 0..60 {
        log.append(small()).await.unwrap();
    }
    let before = log.status().bytes;
    keeper(&log, dir.path(), 30).round().await.unwrap();
    let (first, prev) = first_line(dir.path());
    assert!((20..=31).contains(&first), "{first}");
    let [retired] = &retirements(dir.path())[..] else { panic!("one record says so") };
    assert_eq!(retired["through_seq"], first - 1);
    assert_eq!(retired["through_hash"], prev.to_string());
    assert!(log.status().bytes < before);
    let mut again = keeper(&log, dir.path(), 30);
    again.round().await.unwrap();
    assert_eq!(retirements(dir.path()).len(), 1, "nothing more to delete");

    let seq = log.append(small()).await.unwrap().seq;
    log.close().await.unwrap();
    let (log, recovery) = Log::open(&options(dir.path())).unwrap();
    assert!(recovery.is_clean());
    assert_eq!(log.append(small()).await.unwrap().seq, seq + 1);
}

#[tokio::test]
async fn what_recovery_needs_for_an_open_call_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(&options(dir.path())).unwrap();
    let call = uuid::Uuid::from_u128(7);
    log.append(request(call)).await.unwrap();
    for _ in 0..10 {
        log.append(small()).await.unwrap();
    }
    keeper(&log, dir.path(), 11).round().await.unwrap();
    assert_eq!(first_line(dir.path()).0, 1);
    log.append(response(call, crate::audit::event::Outcome::Ok)).await.unwrap();
    for _ in 0..10 {
        log.append(small()).await.unwrap();
    }
    keeper(&log, dir.path(), 22).round().await.unwrap();
    assert!(first_line(dir.path()).0 > 5);
}

#[tokio::test]
async fn a_call_that_stays_open_holds_back_two_segments_and_not_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(&options(dir.path())).unwrap();
    let [open, closed] = [7, 8].map(uuid::Uuid::from_u128);
    log.append(request(open)).await.unwrap();
    log.append(request(closed)).await.unwrap();
    for _ in 0..100 {
        log.append(small()).await.unwrap();
    }
    log.append(response(closed, crate::audit::event::Outcome::Ok)).await.unwrap();
    for _ in 0..100 {
        log.append(small()).await.unwrap();
    }
    let last = log.status().last_seq;
    keeper(&log, dir.path(), last).round().await.unwrap();
    assert!(log.status().bytes < 6 * (4 << 10), "{}", log.status().bytes);
    let settled = Head::read(dir.path()).unwrap().settled;
    assert!(settled > last - 60, "a restart reads from {settled} of {last} on");

    log.close().await.unwrap();
    let (log, recovery) = Log::open(&options(dir.path())).unwrap();
    let left: Vec<_> = recovery.open_calls.iter().map(|call| call.call_id).collect();
    assert_eq!(left, [open], "what stands in for the request tells of the call");
    log.settle(recovery).await.unwrap();
    log.close().await.unwrap();
    assert!(Log::open(&options(dir.path())).unwrap().1.is_clean());
    let report = verify_directory(dir.path(), &Expectations::default(), |_| {}).unwrap();
    assert!(report.intact, "{report:#?}");
}

#[tokio::test]
async fn who_is_refused_for_the_quota_learns_what_holds_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(&options(dir.path())).unwrap();
    let log = log.within(&crate::config::Audit { max_bytes: Some(16 << 10), ..crate::config::Audit::default() });
    let refused = async || loop {
        if let Err(error) = log.append(request(uuid::Uuid::now_v7())).await {
            return error.to_string();
        }
    };
    for _ in 0..3 {
        log.append(small()).await.unwrap();
    }
    assert!(refused().await.contains("no sink is configured"));
    keeper(&log, dir.path(), 1).round().await.unwrap();
    assert!(refused().await.contains("not shipped"));
    keeper(&log, dir.path(), 9999).round().await.unwrap();
    assert!(refused().await.contains("still open"));
}

#[tokio::test]
async fn a_retirement_whose_record_could_not_be_written_is_recorded_later() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(&options(dir.path())).unwrap();
    log.append(small()).await.unwrap();
    let retirement = Retirement { through_seq: 9, through_hash: Hash([7; 32]), segments: 1, bytes: 2 };
    keeper(&log, dir.path(), 0).intent.set(retirement).unwrap();
    for _ in 0..2 {
        keeper(&log, dir.path(), 0).round().await.unwrap();
        let [retired] = &retirements(dir.path())[..] else { panic!("once") };
        assert_eq!((&retired["through_seq"], &retired["bytes"]), (&9.into(), &2.into()));
    }
}
