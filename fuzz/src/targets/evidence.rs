//! Any bytes as lines that were delivered, plain or compressed: a line that is taken has one way to be written, and a check
//! of any file ends with a report that counts no more than the file holds.
use std::{fs, sync::LazyLock};

use weir::audit::{
    chain::Line,
    verify::{Expectations, verify_files},
};

static DIR: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a directory"));

/// One input.
pub(crate) fn run(data: &[u8]) {
    for bytes in data.split_inclusive(|byte| *byte == b'\n') {
        if let Ok(Line { log, epoch, seq, prev, hash, event }) = Line::parse(bytes) {
            let again = format!(
                "{{\"log\":\"{log}\",\"epoch\":{epoch},\"seq\":{seq},\"prev\":\"{prev}\",\"hash\":\"{hash}\",\"event\":{event}}}\n"
            );
            assert_eq!(again.as_bytes(), bytes);
        }
    }
    let file = DIR.path().join("delivered");
    fs::write(&file, data).expect("written");
    let report = verify_files(&[file], &Expectations::default(), |_| {}).expect("checked");
    let records: u64 = report.logs.iter().map(|log| log.records).sum();
    assert!(records + report.duplicates <= report.bytes, "{report:?}");
}
