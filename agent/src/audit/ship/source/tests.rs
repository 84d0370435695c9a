use std::fs;

use super::*;
use crate::audit::{head::Head, samples::write_log, segment::Segment};

const ALL: Bounds = Bounds { lines: 1000, bytes: 1 << 20 };

fn source(dir: &Path, last: Link) -> Source {
    Source::after(dir, &Head::read(dir).unwrap().log, last)
}

fn link(line: &[u8]) -> Link {
    let line = Line::parse(line).unwrap();
    Link { seq: line.seq, hash: line.hash }
}

#[test]
fn lines_come_in_order_within_the_bounds_and_only_when_synced() {
    let dir = tempfile::tempdir().unwrap();
    let lines = write_log(dir.path(), &[1; 10], 3);
    let mut source = source(dir.path(), Link::START);
    let bounds = Bounds { lines: 4, bytes: lines[4].len() * 2 + 1 };
    let mut got = Vec::new();
    for (synced, records) in
        [(1, Some(1)), (1, None), (2, Some(1)), (10, Some(2)), (10, Some(2)), (6, None), (7, Some(1))]
    {
        let batch = source.next(synced, bounds).unwrap();
        assert_eq!(batch.as_ref().map(|batch| batch.records), records);
        got.extend(batch.into_iter().flat_map(|batch| batch.text));
    }
    while let Some(batch) = source.next(10, bounds).unwrap() {
        got.extend(batch.text);
    }
    assert_eq!(got, lines.concat());
    assert_eq!(source.missing(), 0);
}

#[test]
fn a_line_longer_than_the_bound_goes_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let lines = write_log(dir.path(), &[1; 3], 10);
    let mut source = source(dir.path(), Link::START);
    for line in lines {
        let batch = source.next(3, Bounds { lines: 9, bytes: 10 }).unwrap().unwrap();
        assert_eq!(batch.text, line);
    }
}

#[test]
fn a_line_that_was_taken_back_is_not_sent() {
    let dir = tempfile::tempdir().unwrap();
    let lines = write_log(dir.path(), &[1; 3], 10);
    let other = {
        let mut line = Vec::new();
        link(&lines[1]).append(&mut line, &Head::read(dir.path()).unwrap().log, 1, "{\"n\":2,\"instead\":true}");
        line
    };
    let mut source = source(dir.path(), Link::START);
    assert_eq!(source.next(2, ALL).unwrap().unwrap().text, lines[..2].concat());
    fs::write(Segment::at(dir.path(), 1).path, [&lines[0][..], &lines[1], &other].concat()).unwrap();
    assert_eq!(source.next(3, ALL).unwrap().unwrap().text, other);
}

#[test]
fn it_goes_on_after_the_cursor_also_when_that_record_was_retired() {
    let dir = tempfile::tempdir().unwrap();
    let lines = write_log(dir.path(), &[1; 9], 3);
    for retired in [false, true] {
        if retired {
            fs::remove_file(Segment::at(dir.path(), 1).path).unwrap();
        }
        let mut source = source(dir.path(), link(&lines[2]));
        let batch = source.next(9, ALL).unwrap().unwrap();
        assert_eq!((batch.text, source.missing()), (lines[3..].concat(), 0));
    }
    fs::remove_file(Segment::at(dir.path(), 4).path).unwrap();
    let mut source = source(dir.path(), link(&lines[2]));
    assert_eq!(source.next(9, ALL).unwrap().unwrap().first, 7);
    assert_eq!(source.missing(), 3, "what somebody deleted is counted");
}

#[test]
fn a_restored_log_is_sent_whole() {
    let dir = tempfile::tempdir().unwrap();
    let lines = write_log(dir.path(), &[1; 5], 10);
    let replaced = Link { seq: 4, ..link(&lines[0]) };
    let mut source = source(dir.path(), replaced);
    assert_eq!(source.next(5, ALL).unwrap().unwrap().records, 5);
}

#[test]
fn a_fault_is_named_what_is_before_it_is_sent_and_what_is_put_right_is_sent_too() {
    let dir = tempfile::tempdir().unwrap();
    let lines = write_log(dir.path(), &[1; 5], 10);
    let path = Segment::at(dir.path(), 1).path;
    let mut bad = lines.clone();
    bad[3][0] = b'x';
    fs::write(&path, bad.concat()).unwrap();
    let mut source = source(dir.path(), Link::START);
    assert_eq!(source.next(5, ALL).unwrap().unwrap().records, 3);
    for _ in 0..2 {
        assert!(matches!(source.next(5, ALL), Err(SourceError::Damaged { seq: 4, .. })));
    }
    bad[3] = lines[4].clone();
    bad.remove(2);
    fs::write(&path, bad.concat()).unwrap();
    let gap = source.next(5, ALL);
    assert!(gap.is_ok(), "{gap:?}");

    fs::write(&path, lines.concat()).unwrap();
    let mut again = self::source(dir.path(), link(&lines[2]));
    assert_eq!(again.next(5, ALL).unwrap().unwrap().records, 2);
}
