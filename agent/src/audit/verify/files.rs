//! Files of lines, as Firehose delivers them to S3 and as they were copied from there: plain or gzip, several members or
//! files in one, in no order, of many hosts, some of it twice. A log's own directory may be among them: what it says
//! otherwise than the copies then shows as a fork.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;

use super::{Progress, VerifyError, collect::Collector, fault::Fault, log_check::Expectations, report::Report};
use crate::audit::{chain::MAX_LINE, head::Head, segment::Segment};

/// How files begin that are compressed (RFC 1952 §2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A file to read.
#[derive(Debug)]
struct Input {
    path: PathBuf,
    bytes: u64,
    /// A log is being written here: a last line without its end is not complete yet.
    is_tail: bool,
}

/// Checks the logs in `paths`, which are files and directories of files.
///
/// # Errors
/// [`VerifyError::Io`] when something cannot be read at all; what is wrong is in the [`Report`].
pub fn verify_files(
    paths: &[PathBuf],
    expect: &Expectations,
    mut progress: impl FnMut(Progress),
) -> Result<Report, VerifyError> {
    let failed = |path: &Path| {
        let dir = path.to_owned();
        move |error| VerifyError::Io { dir, error }
    };
    let mut inputs = Vec::new();
    for path in paths {
        find(path, &mut inputs).map_err(failed(path))?;
    }
    let of = Some(inputs.iter().map(|input| input.bytes).sum());
    let mut collector = Collector::new();
    let mut done = 0;
    for input in &inputs {
        let source = collector.source(input.path.display().to_string()).map_err(failed(&input.path))?;
        let file = File::open(&input.path).map_err(failed(&input.path))?;
        read(&mut collector, source, file, input.is_tail, |read| {
            progress(Progress { done: done + read, of, unit: "bytes" });
        })
        .map_err(failed(&input.path))?;
        done += input.bytes;
    }
    let dir = std::env::temp_dir();
    collector.finish(expect, progress).map_err(|error| VerifyError::Io { dir, error })
}

/// The files at `path`, in the order of their names.
fn find(path: &Path, inputs: &mut Vec<Input>) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_dir() {
        inputs.push(Input { path: path.to_owned(), bytes: metadata.len(), is_tail: false });
        return Ok(());
    }
    let segments = Segment::list(path)?;
    if !segments.is_empty() && Head::read(path).is_ok() {
        let last = segments.len() - 1;
        for (at, Segment { path, .. }) in segments.into_iter().enumerate() {
            let bytes = fs::metadata(&path)?.len();
            inputs.push(Input { path, bytes, is_tail: at == last });
        }
        return Ok(());
    }
    let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        // Links inside a tree could lead round in a circle.
        if !entry.file_type()?.is_symlink() {
            find(&entry.path(), inputs)?;
        }
    }
    Ok(())
}

/// Hands a file's lines to `collector`. What cannot be decompressed is a finding, not an error.
fn read(
    collector: &mut Collector,
    source: u32,
    file: File,
    is_tail: bool,
    progress: impl FnMut(u64),
) -> io::Result<()> {
    let mut file = BufReader::with_capacity(256 << 10, file);
    if file.fill_buf()?.starts_with(&GZIP) {
        let mut lines = Lines::new(BufReader::new(MultiGzDecoder::new(file)));
        match lines.give(collector, source, is_tail, progress) {
            Err(Stop::Read(error)) => {
                collector.fault(source, lines.offset, &Fault::Unreadable(error.to_string()));
                Ok(())
            }
            Err(Stop::Collect(error)) => Err(error),
            Ok(()) => Ok(()),
        }
    } else {
        let given = Lines::new(file).give(collector, source, is_tail, progress);
        given.map_err(|(Stop::Read(error) | Stop::Collect(error))| error)
    }
}

/// What failed: the file, or keeping what was read of it.
enum Stop {
    Read(io::Error),
    Collect(io::Error),
}

/// Bytes as lines, each of bounded length.
struct Lines<R> {
    from: R,
    line: Vec<u8>,
    offset: u64,
}

impl<R: BufRead> Lines<R> {
    fn new(from: R) -> Self {
        Self { from, line: Vec::new(), offset: 0 }
    }

    fn give(
        &mut self,
        collector: &mut Collector,
        source: u32,
        is_tail: bool,
        mut progress: impl FnMut(u64),
    ) -> Result<(), Stop> {
        while self.next().map_err(Stop::Read)? {
            progress(self.offset);
            let is_unfinished = is_tail && !self.line.ends_with(b"\n");
            // Firehose may be told to add a newline to each record, which has one already.
            if self.line != b"\n" && !is_unfinished {
                collector.line(source, self.offset, &self.line).map_err(Stop::Collect)?;
            }
            self.offset += self.line.len() as u64;
            if self.line.len() > MAX_LINE && !self.line.ends_with(b"\n") {
                self.skip().map_err(Stop::Read)?;
            }
        }
        Ok(())
    }

    fn next(&mut self) -> io::Result<bool> {
        self.line.clear();
        self.from.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut self.line)?;
        Ok(!self.line.is_empty())
    }

    /// Goes to the end of a line that is too long.
    fn skip(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.from.fill_buf()?;
            let end = memchr::memchr(b'\n', buffer).map(|at| at + 1);
            let length = end.unwrap_or(buffer.len());
            self.from.consume(length);
            self.offset += length as u64;
            if end.is_some() || length == 0 {
                return Ok(());
            }
        }
    }
}
