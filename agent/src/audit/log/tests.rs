use std::{collections::BTreeSet, fs, path::Path};

use tokio::task::JoinSet;

use super::*;
use crate::audit::{
    chain::{Line, Link},
    event::Outcome,
    head::{Head, HeadFile},
    reader::Reader,
    samples::{request, response, scratch_dir, small, write_log},
    segment::Segment,
    verify::{
        Expectations, Fault, LogReport,
        tests::{Expected, independent_reader},
        verify_directory,
    },
};
use config::Durability;

mod crash;

fn options(dir: &Path) -> LogOptions {
    LogOptions { dir: dir.to_owned(), durability: Durability::Sync, segment_bytes: 16 << 10, boot_id: "boot".into() }
}

fn intact(dir: &Path) -> LogReport {
    let mut report = verify_directory(dir, &Expectations::default(), |_| {}).unwrap();
    assert!(report.intact && report.incomplete_bytes == 0, "{report:?}");
    report.logs.remove(0)
}

/// Every event's text, in order.
fn events(dir: &Path) -> Vec<String> {
    let mut reader = Reader::open(dir);
    let mut events = Vec::new();
    while let Some(raw) = reader.next_line().unwrap() {
        events.push(Line::parse(raw.bytes).unwrap().event.to_owned());
    }
    events
}

fn call(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn restate_head(dir: &Path, edit: impl FnOnce(&mut Head)) {
    let mut head = Head::read(dir).unwrap();
    edit(&mut head);
    HeadFile::create(dir, &head).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_append_one_chain() {
    let dir = tempfile::tempdir().unwrap();
    let (log, recovery) = Log::open(&options(dir.path())).unwrap();
    assert!(recovery.is_clean());
    let mut tasks = JoinSet::new();
    for task in 0..64_u128 {
        let log = log.clone();
        tasks.spawn(async move {
            let mut seqs = Vec::new();
            for number in 0..20 {
                let receipt = log.append(request(call(task << 64 | number))).await.unwrap();
                assert_eq!(receipt.epoch, 1);
                seqs.push((receipt.seq, call(task << 64 | number)));
            }
            assert!(seqs.is_sorted(), "a task's records stand in the order of its appends");
            seqs
        });
    }
    let receipts: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    let seqs: BTreeSet<_> = receipts.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, (1..=1280).collect());
    assert_eq!(intact(dir.path()).records, 1280);
    let events = events(dir.path());
    for (seq, call) in receipts {
        assert!(events[seq as usize - 1].contains(&call.to_string()));
    }
    let status = log.status();
    assert_eq!((status.epoch, status.last_seq, status.appended, status.refused), (1, 1280, 1280, 0));
    let segments = Segment::list(dir.path()).unwrap();
    assert!(segments.len() > 10, "the log rolled");
    let bytes: u64 = segments.iter().map(|segment| fs::metadata(&segment.path).unwrap().len()).sum();
    assert_eq!(status.bytes, bytes);
}

#[tokio::test]
async fn a_log_goes_on_in_the_next_epoch_and_both_readers_agree() {
    let dir = tempfile::tempdir().unwrap();
    for epoch in 1..=3 {
        let (log, recovery) = Log::open(&options(dir.path())).unwrap();
        assert!(recovery.is_clean());
        for index in 1..=30 {
            let receipt = log.append(small()).await.unwrap();
            assert_eq!(receipt, Receipt { epoch, seq: (epoch - 1) * 30 + index });
        }
        log.close().await.unwrap();
        assert!(matches!(log.append(small()).await, Err(AppendError::Closed)));
        assert!(matches!(log.close().await, Err(AppendError::Closed)));
    }
    let report = intact(dir.path());
    assert_eq!((report.records, report.epoch_count), (90, 3));
    let expected = Expected { ok: true, records: Some(90), last_hash: Some(report.last_hash), first_bad_seq: None };
    assert_eq!(independent_reader([dir.path()]), [expected]);
}

#[tokio::test]
async fn a_log_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(&options(dir.path())).unwrap();
    let error = Log::open(&options(dir.path())).unwrap_err();
    assert!(error.to_string().contains(&format!("in use by process {}", std::process::id())), "{error}");
    log.close().await.unwrap();
    Log::open(&options(dir.path())).unwrap();
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_to_the_longest_right_prefix() {
    let epochs = [1, 1, 1, 2, 2];
    let template = tempfile::tempdir().unwrap();
    let lines = write_log(template.path(), &epochs, 100);
    let promised = lines[..2].concat().len();
    let whole = lines.concat();
    for length in promised..=whole.len() {
        let dir = scratch_dir();
        write_log(dir.path(), &epochs, 100);
        let segment = dir.path().join("segment-00000000000000000001.ndjson");
        fs::write(&segment, &whole[..length]).unwrap();
        let second = Line::parse(&lines[1]).unwrap().hash;
        restate_head(dir.path(), |head| (head.seq, head.epoch, head.hash, head.synced) = (2, 1, second, 2));
        let (log, recovery) = Log::open(&options(dir.path())).unwrap();
        let mut end = 0;
        let kept = lines
            .iter()
            .take_while(|line| {
                end + line.len() <= length && {
                    end += line.len();
                    true
                }
            })
            .count();
        assert_eq!(log.status().last_seq, kept as u64, "torn at {length}");
        assert_eq!(recovery.cut_bytes, (length - end) as u64);
        assert_eq!(fs::metadata(&segment).unwrap().len(), end as u64);
        assert_eq!(log.status().epoch, epochs[kept - 1] + 1);
        drop(log);
    }
}

#[test]
fn what_follows_a_torn_line_is_cut_too() {
    let dir = tempfile::tempdir().unwrap();
    let lines = write_log(dir.path(), &[1; 6], 2);
    let second = Line::parse(&lines[1]).unwrap().hash;
    restate_head(dir.path(), |head| (head.seq, head.hash, head.synced) = (2, second, 2));
    let third = Segment::at(dir.path(), 3).path;
    fs::write(&third, &lines[2][..10]).unwrap();
    let (log, recovery) = Log::open(&options(dir.path())).unwrap();
    assert_eq!(log.status().last_seq, 2);
    assert_eq!(recovery.cut_bytes, 10 + lines[4..].concat().len() as u64);
    assert_eq!(intact(dir.path()).records, 2);
}

#[test]
fn damage_to_what_was_promised_stops_the_agent() {
    type Damage = fn(&mut Vec<Vec<u8>>);
    let damages: [(&str, Damage, u64); 4] = [
        ("altered", |lines| lines[3][200] ^= 1, 4),
        ("removed", |lines| drop(lines.remove(2)), 3),
        ("cut", |lines| drop(lines.pop()), 6),
        ("torn", |lines| lines[5].truncate(20), 6),
    ];
    for (name, damage, seq) in damages {
        let dir = tempfile::tempdir().unwrap();
        let mut lines = write_log(dir.path(), &[1; 6], 100);
        damage(&mut lines);
        let segment = Segment::at(dir.path(), 1).path;
        fs::write(&segment, lines.concat()).unwrap();
        let error = Log::open(&options(dir.path())).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { seq: found, .. } if found == seq), "{name}: {error}");
        assert_eq!(fs::read(&segment).unwrap(), lines.concat(), "{name}: evidence is left as it is");
    }
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), &[1; 6], 2);
    restate_head(dir.path(), |head| head.settled = 7);
    for segment in Segment::list(dir.path()).unwrap() {
        fs::remove_file(segment.path).unwrap();
    }
    let error = Log::open(&options(dir.path())).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { fault: Fault::Cut { .. }, .. }), "{error}");
    fs::remove_file(dir.path().join("head")).unwrap();
    write_log(dir.path(), &[1], 1);
    fs::remove_file(dir.path().join("head")).unwrap();
    assert!(matches!(Log::open(&options(dir.path())).unwrap_err(), OpenError::Head(_)));
}

#[test]
fn after_a_power_loss_only_what_was_synced_must_be_there() {
    let damage = |dir: &Path| {
        let lines = write_log(dir, &[1; 6], 2);
        restate_head(dir, |head| head.synced = 2);
        fs::write(Segment::at(dir, 3).path, [&lines[2][..], &[0; 4096]].concat()).unwrap();
        fs::remove_file(Segment::at(dir, 5).path).unwrap();
    };
    let dir = tempfile::tempdir().unwrap();
    damage(dir.path());
    let error = Log::open(&options(dir.path())).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { seq: 4, .. }), "the same boot has lost nothing: {error}");

    let rebooted = LogOptions { boot_id: "next boot".into(), ..options(dir.path()) };
    let (log, recovery) = Log::open(&rebooted).unwrap();
    assert_eq!((recovery.lost_records, recovery.cut_bytes), (3, 4096));
    assert_eq!(log.status().last_seq, 3);
    assert_eq!(intact(dir.path()).records, 3);

    let dir = tempfile::tempdir().unwrap();
    damage(dir.path());
    restate_head(dir.path(), |head| head.synced = 4);
    let rebooted = LogOptions { boot_id: "next boot".into(), ..options(dir.path()) };
    assert!(matches!(Log::open(&rebooted).unwrap_err(), OpenError::Damaged { seq: 4, .. }));
}

#[tokio::test]
async fn calls_left_open_get_an_unknown_end_once() {
    let dir = tempfile::tempdir().unwrap();
    let open = LogOptions { segment_bytes: 1 << 20, ..options(dir.path()) };
    let (log, _) = Log::open(&open).unwrap();
    for number in 1..=40 {
        log.append(request(call(number))).await.unwrap();
        if number % 10 != 0 {
            log.append(response(call(number), Outcome::Ok)).await.unwrap();
        }
    }
    assert_eq!(Head::read(dir.path()).unwrap().settled, 19, "the oldest open call is where recovery will start");
    drop(log);

    // The second agent dies before it has told the end of all.
    let (log, recovery) = reopen(&open).await;
    let ids: Vec<_> = recovery.open_calls.iter().map(|open| open.call_id).collect();
    assert_eq!(ids, [10, 20, 30, 40].map(call));
    let first = recovery.open_calls[0].clone();
    log.append(crate::audit::samples::event(What::Unfinished(Box::new(first)))).await.unwrap();
    drop(log);

    let (log, recovery) = reopen(&open).await;
    assert_eq!(recovery.open_calls.len(), 3);
    log.settle(recovery).await.unwrap();
    drop(log);

    let (log, recovery) = reopen(&open).await;
    assert!(recovery.is_clean());
    let before = log.status().last_seq;
    log.settle(recovery).await.unwrap();
    assert_eq!(log.status().last_seq, before, "after a clean end there is nothing to say");
    let events = events(dir.path());
    for number in [10, 20, 30, 40] {
        let id = call(number).to_string();
        let unknown = |event: &&String| event.contains(&id) && event.contains(r#""outcome":"unknown""#);
        assert_eq!(events.iter().filter(unknown).count(), 1);
    }
    assert!(events.last().unwrap().contains(r#""kind":"recovered""#));
    intact(dir.path());
}

/// Opens once the writer that was dropped has let go.
async fn reopen(options: &LogOptions) -> (Log, Recovery) {
    loop {
        match Log::open(options) {
            Err(OpenError::InUse { .. }) => tokio::task::yield_now().await,
            opened => return opened.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_record_that_does_not_fit_a_line_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(&options(dir.path())).unwrap();
    let mut large = request(call(1));
    let What::Call(inner) = &mut large.what else { unreachable!() };
    let payload = crate::audit::samples::payload(&serde_json::json!("x".repeat(700 << 10)).to_string());
    inner.mcp.params = Some(payload.clone());
    log.append(large.clone()).await.unwrap();
    let What::Call(inner) = &mut large.what else { unreachable!() };
    inner.mcp.result = Some(payload);
    assert!(matches!(log.append(large).await, Err(AppendError::TooLarge(_))));
    assert_eq!(intact(dir.path()).records, 1);
}

/// Has the writer append one record.
fn append(writer: &mut writer::Writer) -> Result<Receipt, AppendError> {
    let (reply, mut answer) = oneshot::channel();
    let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    writer.append(vec![Entry { event: r#"{"a":1}"#.to_owned(), mark: Mark::None, reply, _room: room }]);
    answer.try_recv().unwrap()
}

#[test]
fn a_failed_sync_is_refused_and_its_bytes_are_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer::open(&options(dir.path()), Epoch::Next).unwrap().writer;
    append(&mut writer).unwrap();
    // `/dev/null` takes writes and refuses fdatasync: the bytes are gone, as after a failed write-back.
    let file = writer.swap_file(fs::OpenOptions::new().write(true).open("/dev/null").unwrap());
    for _ in 0..2 {
        let error = append(&mut writer).unwrap_err();
        assert!(matches!(&error, AppendError::Write(_)), "{error}");
    }
    assert_eq!(Head::read(dir.path()).unwrap().seq, 1);
    writer.swap_file(file);
    assert_eq!(append(&mut writer).unwrap(), Receipt { epoch: 1, seq: 2 });
    assert_eq!(intact(dir.path()).records, 2);
    assert_eq!(Link { seq: 2, hash: intact(dir.path()).last_hash }, Head::read(dir.path()).unwrap().link());
}

#[test]
fn what_could_not_be_synced_is_written_again_and_leaves_once_the_disk_is_well() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { durability: Durability::Process, ..options(dir.path()) };
    let mut writer = writer::open(&options, Epoch::Next).unwrap().writer;
    let report = Arc::clone(writer.report());
    append(&mut writer).unwrap();
    writer.finish().unwrap();
    let synced = || *report.watch_synced().borrow();
    assert_eq!((synced(), report.status().unsynced.is_some()), (1, false));

    // `/dev/null` takes writes and refuses fdatasync.
    let file = writer.swap_file(fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap());
    let before = Head::read(dir.path()).unwrap();
    assert_eq!(append(&mut writer).unwrap(), Receipt { epoch: 1, seq: 2 }, "callers were promised less");
    for _ in 0..2 {
        let error = writer.finish().unwrap_err();
        assert!(error.to_string().contains("cannot sync"), "{error}");
    }
    assert_eq!((synced(), report.status().last_seq), (1, 2));
    assert!(report.status().unsynced.as_ref().unwrap().error.contains("sync"));

    // The disk is well again, but the kernel has dropped the pages: the record is gone, and nothing says otherwise.
    writer.swap_file(file.try_clone().unwrap());
    let error = writer.finish().unwrap_err();
    assert!(error.to_string().contains("not as they were written"), "{error}");
    assert_eq!(synced(), 1);

    // It has not.
    let mut line = Vec::new();
    before.link().append(&mut line, &before.log, 1, r#"{"a":1}"#);
    std::os::unix::fs::FileExt::write_all_at(&file, &line, file.metadata().unwrap().len()).unwrap();
    writer.finish().unwrap();
    assert_eq!((synced(), report.status().unsynced.is_some()), (2, false));
    assert_eq!(append(&mut writer).unwrap(), Receipt { epoch: 1, seq: 3 });
    assert_eq!(intact(dir.path()).records, 3);
}
