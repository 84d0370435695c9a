use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use super::*;
use crate::audit::samples::{scratch_dir, write_log, write_segments};
use crate::audit::{chain::Hash, head::HeadError};

mod forge;
mod random;
mod tampering;

const EPOCHS: [u64; 6] = [1, 1, 2, 2, 2, 3];

fn verify(dir: &Path) -> Report {
    verify_directory(dir, &Expectations::default(), |_| {}).unwrap()
}

fn first_bad(dir: &Path) -> Option<u64> {
    verify(dir).first_bad().and_then(|bad| bad.seq)
}

fn check(lines: &[Vec<u8>], per_segment: usize) -> Option<u64> {
    let dir = scratch_dir();
    write_log(dir.path(), &EPOCHS, per_segment);
    for segment in crate::audit::segment::Segment::list(dir.path()).unwrap() {
        fs::remove_file(segment.path).unwrap();
    }
    write_segments(dir.path(), lines, per_segment);
    first_bad(dir.path())
}

fn sample() -> Vec<Vec<u8>> {
    write_log(scratch_dir().path(), &EPOCHS, 100)
}

#[test]
fn a_right_log_is_intact() {
    for per_segment in [1, 2, 4, 100] {
        let dir = scratch_dir();
        let lines = write_log(dir.path(), &EPOCHS, per_segment);
        let report = verify(dir.path());
        assert_eq!((report.logs[0].records, report.logs[0].epoch_count, report.incomplete_bytes), (6, 3, 0));
        assert_eq!(report.bytes, lines.concat().len() as u64);
        assert!(report.intact);
    }
}

#[test]
fn any_byte_changed_is_found_in_its_record() {
    let lines = sample();
    let dir = scratch_dir();
    write_log(dir.path(), &EPOCHS, 100);
    let segment = dir.path().join("segment-00000000000000000001.ndjson");
    let whole = lines.concat();
    let mut at = 0;
    for (index, line) in lines.iter().enumerate() {
        for _ in 0..line.len() {
            for change in [0x01, 0x20, 0x80] {
                let mut changed = whole.clone();
                changed[at] ^= change;
                fs::write(&segment, &changed).unwrap();
                assert_eq!(first_bad(dir.path()), Some(index as u64 + 1), "byte {at} ^ {change:#x}");
            }
            at += 1;
        }
    }
}

#[test]
fn a_line_removed_or_repeated_is_found() {
    let lines = sample();
    for index in 0..lines.len() {
        let mut removed = lines.clone();
        removed.remove(index);
        let mut repeated = lines.clone();
        repeated.insert(index, lines[index].clone());
        for per_segment in [2, 100] {
            assert_eq!(check(&removed, per_segment), Some(index as u64 + 1));
        }
        assert_eq!(check(&repeated, 100), Some(index as u64 + 2));
    }
}

#[test]
fn two_lines_swapped_are_found() {
    let lines = sample();
    for first in 0..lines.len() {
        for second in first + 1..lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(first, second);
            assert_eq!(check(&swapped, 100), Some(first as u64 + 1));
            assert_eq!(check(&swapped, 2), Some(first as u64 + 1));
        }
    }
}

#[test]
fn a_cut_tail_is_found_at_every_byte() {
    let whole = sample().concat();
    let dir = scratch_dir();
    let lines = write_log(dir.path(), &EPOCHS, 100);
    let segment = dir.path().join("segment-00000000000000000001.ndjson");
    for length in 0..whole.len() {
        fs::write(&segment, &whole[..length]).unwrap();
        let mut end = 0;
        let kept = lines.iter().take_while(|line| {
            end += line.len();
            end <= length
        });
        assert_eq!(first_bad(dir.path()), Some(kept.count() as u64 + 1), "cut to {length} bytes");
    }
    fs::remove_file(&segment).unwrap();
    assert_eq!(first_bad(dir.path()), Some(1));
}

#[test]
fn without_its_head_a_log_is_not_vouched_for() {
    let dir = scratch_dir();
    write_log(dir.path(), &EPOCHS, 100);
    fs::write(dir.path().join("head"), b"{}\n").unwrap();
    let verify = || verify_directory(dir.path(), &Expectations::default(), |_| {});
    assert!(matches!(verify(), Err(VerifyError::Head(HeadError::Damaged { .. }))));
    fs::remove_file(dir.path().join("head")).unwrap();
    assert!(matches!(verify(), Err(VerifyError::Head(HeadError::Missing(_)))));
}

/// What a reader says of a log.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Expected {
    pub(crate) ok: bool,
    pub(crate) records: Option<u64>,
    pub(crate) last_hash: Option<Hash>,
    pub(crate) first_bad_seq: Option<u64>,
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests")
}

/// What the reader in `tests/readers` says of each of `dirs`.
pub(crate) fn independent_reader<'a>(dirs: impl IntoIterator<Item = &'a Path>) -> Vec<Expected> {
    let output = Command::new("python3").arg(peers().join("readers/verify.py")).args(dirs).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    found.map(Result::unwrap).collect()
}

#[test]
fn both_readers_say_of_the_vectors_what_they_bind() {
    let vectors = peers().join("vectors");
    let expect = fs::read(vectors.join("expect.json")).unwrap();
    let expect: BTreeMap<String, Expected> = serde_json::from_slice(&expect).unwrap();
    let dirs = fs::read_dir(&vectors).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(expect.len(), dirs);
    let paths: Vec<_> = expect.keys().map(|name| vectors.join(name)).collect();
    let others = independent_reader(paths.iter().map(PathBuf::as_path));
    assert_eq!(others.len(), expect.len());
    for ((name, expected), other) in expect.into_iter().zip(others) {
        let report = verify(&vectors.join(&name));
        let found = Expected {
            ok: report.intact,
            records: report.intact.then_some(report.logs[0].records),
            last_hash: report.intact.then_some(report.logs[0].last_hash),
            first_bad_seq: report.first_bad().and_then(|bad| bad.seq),
        };
        assert_eq!(found, expected, "{name}");
        assert_eq!(other, expected, "{name}, independent reader");
    }
}
