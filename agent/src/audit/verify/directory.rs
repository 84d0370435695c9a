//! A log's own directory: nothing but its files is needed, and their order is part of what they claim.
//!
//! What this proves: no record between the first and the head was altered, removed, inserted or reordered, as long as the
//! head is genuine. Whoever can write the directory can compute every hash and the head anew, but not the signatures: what
//! a checkpoint covers was not rewritten by anybody without the key. What came after the last checkpoint, and a whole log
//! put back to an earlier state, show only against copies that left the host.

use std::path::Path;

use super::{
    Progress, VerifyError,
    chain::Checker,
    fault::Fault,
    log_check::{Expectations, LogCheck, Origin, absent, silent},
    report::{Findings, Report, Spot},
    visitor::Record,
};
use crate::audit::{head::Head, reader::Reader, segment::Segment};

/// Checks the log in `dir` up to its first record that is out of the chain. Safe beside a running writer.
///
/// # Errors
/// [`VerifyError`] when it cannot be checked at all; what is wrong is in the [`Report`].
pub fn verify_directory(
    dir: &Path,
    expect: &Expectations,
    mut progress: impl FnMut(Progress),
) -> Result<Report, VerifyError> {
    let failed = |error| VerifyError::Io { dir: dir.to_owned(), error };
    let head = Head::read(dir)?;
    let begins_later = Segment::list(dir).map_err(failed)?.first().is_some_and(|segment| segment.first > 1);
    let mut reader = Reader::open(dir);
    let mut checker = if begins_later { Checker::from_segment(&head) } else { Checker::from_start(&head) };
    let mut check = LogCheck::new(head.log.as_str(), expect, Origin::Directory);
    let mut bytes = 0;
    let mut is_whole = true;
    while let Some(raw) = reader.next_line().map_err(failed)? {
        let seq = checker.next().unwrap_or(raw.segment.first);
        let file = raw.segment.path.to_string_lossy();
        let spot = Spot { file: &file, offset: raw.offset };
        match checker.check(&raw) {
            Ok(line) => check.record(&Record::of(&line, spot)),
            Err(fault) => {
                check.fault(seq, spot, &fault);
                check.cut_short();
                is_whole = false;
                break;
            }
        }
        bytes += raw.bytes.len() as u64;
        if seq.is_multiple_of(1000) {
            progress(Progress { done: seq, of: Some(head.seq), unit: "records" });
        }
    }
    let (file, offset, incomplete_bytes) = match reader.tail() {
        Some((segment, offset, incomplete)) => (segment.path.display().to_string(), offset, incomplete),
        None => (dir.display().to_string(), 0, 0),
    };
    let next = checker.next().unwrap_or(1);
    if is_whole && next <= head.seq {
        check.fault(next, Spot { file: &file, offset }, &Fault::Cut { head: head.seq });
    }
    let mut logs = vec![check.finish()];
    if let Some(until) = expect.until {
        silent(&mut logs, until);
    }
    let mut beside = Findings::default();
    for name in absent(&logs, &expect.inventory) {
        beside.add(None, Spot { file: &file, offset }, &Fault::Absent(name.to_owned()));
    }
    Ok(Report { bytes, incomplete_bytes, ..Report::of(logs, beside) })
}
