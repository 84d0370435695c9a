//! A file of lines, for any log agent: appended to, synced, and rotated by size.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use tokio::task::spawn_blocking;

use super::{
    batch::{Batch, Bounds},
    sink::{Sink, Trouble},
};
use crate::{
    audit::{chain::LogId, segment::sync_dir},
    config::FileSink,
};

/// The sink.
#[derive(Debug)]
pub(crate) struct Target {
    config: FileSink,
    /// Opened at the first batch, and again after a failure.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    length: u64,
}

impl Target {
    pub(crate) fn new(config: FileSink) -> Self {
        Self { config, open: None }
    }
}

impl Sink for Target {
    fn bounds(&self) -> Bounds {
        Bounds { lines: 10_000, bytes: 1 << 20 }
    }

    async fn deliver(&mut self, batch: &mut Batch) -> Result<(), Trouble> {
        let (config, open) = (self.config.clone(), self.open.take());
        let (text, next) = (std::mem::take(&mut batch.text), Next { log: batch.log.clone(), seq: batch.first });
        let written = spawn_blocking(move || {
            let open = write(&config, open, &text, &next);
            (open.map_err(|error| format!("{}: {error}", config.path.display())), text)
        });
        let (open, text) = written.await.map_err(|error| Trouble::Failed(error.to_string()))?;
        batch.text = text;
        self.open = Some(open.map_err(Trouble::Failed)?);
        batch.unsent.clear();
        Ok(())
    }
}

/// The record that is written next.
#[derive(Debug)]
struct Next {
    log: String,
    seq: u64,
}

fn write(config: &FileSink, open: Option<Open>, text: &[u8], next: &Next) -> io::Result<Open> {
    let mut open = match open {
        Some(open) if open.is_as_left(&config.path) => open,
        // Somebody moved it away, or emptied it, as other log rotations do: go on under the name, at its end.
        _ => open_whole(&config.path)?,
    };
    if open.length >= config.rotate_bytes {
        rotate(config, next)?;
        open = open_whole(&config.path)?;
    }
    open.file.write_all(text)?;
    open.file.sync_data()?;
    open.length += text.len() as u64;
    Ok(open)
}

impl Open {
    /// Whether it is the file at `path`, and as long as it was left.
    fn is_as_left(&self, path: &Path) -> bool {
        match (self.file.metadata(), fs::metadata(path)) {
            (Ok(own), Ok(there)) => (own.dev(), own.ino(), self.length) == (there.dev(), there.ino(), there.len()),
            _ => false,
        }
    }
}

/// Opens the file for appending. A line that a crash left without its end is cut: it comes again, whole.
fn open_whole(path: &Path) -> io::Result<Open> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o640).open(path)?;
    let length = file.metadata()?.len();
    let whole = end_of_last_line(&mut file, length)?;
    if whole < length {
        file.set_len(whole)?;
    }
    if length == 0
        && let Some(dir) = path.parent()
    {
        sync_dir(dir)?;
    }
    Ok(Open { file, length: whole })
}

fn end_of_last_line(file: &mut File, length: u64) -> io::Result<u64> {
    const STEP: u64 = 64 << 10;
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(STEP);
        let mut bytes = vec![0; (end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut bytes)?;
        if let Some(at) = bytes.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Moves the file to `<path>.<log id>.<seq>`, where `seq` is that of the record after its last, and deletes the oldest such files:
/// by when they were written, since another log at the same path begins its seqs anew.
fn rotate(config: &FileSink, Next { log, seq }: &Next) -> io::Result<()> {
    let FileSink { path, keep, .. } = config;
    let mut name = path.clone().into_os_string();
    name.push(format!(".{log}.{seq:020}"));
    fs::rename(path, name)?;
    let mut rotated = rotated(path)?;
    rotated.sort();
    let surplus = rotated.len().saturating_sub(*keep as usize);
    for (_, old) in &rotated[..surplus] {
        fs::remove_file(old)?;
    }
    path.parent().map_or(Ok(()), sync_dir)
}

/// The files that were rotated, and when they were last written.
fn rotated(path: &Path) -> io::Result<Vec<(SystemTime, PathBuf)>> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let of_ours = entry.file_name().to_str().is_some_and(|other| {
            let rest = other.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
            rest.and_then(|rest| rest.split_once('.')).is_some_and(|(log, seq)| {
                LogId::parse(log).is_some() && seq.len() == 20 && seq.bytes().all(|byte| byte.is_ascii_digit())
            })
        });
        if of_ours {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::{Hash, Link};

    fn config(dir: &Path) -> FileSink {
        FileSink { path: dir.join("audit.ndjson"), rotate_bytes: 100, keep: 2 }
    }

    fn batch(first: u64, line: &str) -> Batch {
        batch_of("l", first, line)
    }

    fn batch_of(log: &str, first: u64, line: &str) -> Batch {
        let mut batch = Batch::new(log, first, 0);
        batch.push(line.as_bytes(), &Link { seq: first, hash: Hash::ZERO });
        batch
    }

    fn all(config: &FileSink) -> String {
        let mut files = rotated(&config.path).unwrap();
        files.sort();
        let files: Vec<_> = files.into_iter().map(|(_, path)| path).chain([config.path.clone()]).collect();
        files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
    }

    #[tokio::test]
    async fn lines_are_appended_rotated_and_the_oldest_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let line = format!("{}\n", "x".repeat(59));
        for first in 1..=8 {
            // A new sink each time, as after a restart.
            let mut target = Target::new(config.clone());
            let mut batch = batch(first, &line);
            target.deliver(&mut batch).await.unwrap();
            assert!(batch.unsent.is_empty() && batch.text == line.as_bytes());
        }
        let names: Vec<_> = rotated(&config.path).unwrap();
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(all(&config), line.repeat(6));
    }

    #[tokio::test]
    async fn a_new_log_at_the_path_does_not_have_its_own_lines_deleted_first() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let line = |log: &str| format!("{}\n", log.repeat(110));
        for (log, first) in [("a", 1000), ("a", 1001), ("a", 1002), ("b", 1), ("b", 2), ("b", 3)] {
            Target::new(config.clone()).deliver(&mut batch_of(log, first, &line(log))).await.unwrap();
            // So that their times differ.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(all(&config), line("b").repeat(3));
    }

    #[tokio::test]
    async fn a_file_that_was_emptied_goes_on_at_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let mut target = Target::new(config.clone());
        target.deliver(&mut batch(1, "one\n")).await.unwrap();
        // What `copytruncate` of logrotate(8) does.
        OpenOptions::new().write(true).open(&config.path).unwrap().set_len(0).unwrap();
        target.deliver(&mut batch(2, "two\n")).await.unwrap();
        assert_eq!(all(&config), "two\n");
        OpenOptions::new().append(true).open(&config.path).unwrap().write_all(b"somebody else's\n").unwrap();
        target.deliver(&mut batch(3, "three\n")).await.unwrap();
        assert_eq!(all(&config), "two\nsomebody else's\nthree\n");
    }

    #[tokio::test]
    async fn a_torn_line_is_cut_and_a_file_that_was_moved_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        fs::write(&config.path, "one\ntw").unwrap();
        let mut target = Target::new(config.clone());
        target.deliver(&mut batch(2, "two\n")).await.unwrap();
        assert_eq!(all(&config), "one\ntwo\n");
        fs::rename(&config.path, dir.path().join("taken")).unwrap();
        target.deliver(&mut batch(3, "three\n")).await.unwrap();
        assert_eq!(all(&config), "three\n");
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_still_to_send() {
        let dir = tempfile::tempdir().unwrap();
        let config = FileSink { path: dir.path().join("missing/audit.ndjson"), ..config(dir.path()) };
        let mut target = Target::new(config.clone());
        let mut batch = batch(1, "one\n");
        let trouble = target.deliver(&mut batch).await.unwrap_err();
        assert!(trouble.to_string().contains("missing/audit.ndjson: No such file"), "{trouble}");
        assert_eq!(batch.unsent_records(), 1);
        fs::create_dir(dir.path().join("missing")).unwrap();
        target.deliver(&mut batch).await.unwrap();
        assert_eq!(all(&config), "one\n");
    }
}
