//! Where lines come from: a log's directory, or files that were delivered from it.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    ops::Range,
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;

use super::{Failure, Stop, period::Period, scan};
use crate::audit::{
    chain::MAX_LINE,
    head::Head,
    reader::{self, Reader},
};

/// A line, and where it stands.
#[derive(Debug)]
pub(super) struct RawLine<'a> {
    /// Its bytes, newline included.
    pub(super) bytes: &'a [u8],
    path: &'a Path,
    /// Where it starts in the file, once that is unpacked.
    offset: u64,
}

impl RawLine<'_> {
    /// For people.
    pub(super) fn place(&self) -> String {
        format!("{}, byte {}", self.path.display(), self.offset)
    }
}

impl<'a> From<reader::RawLine<'a>> for RawLine<'a> {
    fn from(raw: reader::RawLine<'a>) -> Self {
        Self { bytes: raw.bytes, path: &raw.segment.path, offset: raw.offset }
    }
}

/// Goes through lines in constant memory.
#[derive(Debug)]
pub(super) enum Source {
    /// A log's directory.
    Directory { dir: PathBuf, reader: Reader, segments: Range<u64> },
    /// Files of lines, packed with gzip or not, one after the other as they were named.
    Files { next: VecDeque<PathBuf>, current: Option<Delivered> },
}

impl Source {
    /// The directory `dir`, from the segments on that hold `period` to their end.
    pub(super) fn directory(dir: &Path, period: &Period) -> Result<Self, Stop> {
        Head::read(dir).map_err(|error| Stop::head(&error))?;
        let segments = scan::segments_of(dir, period).map_err(Stop::unreadable(dir))?;
        Ok(Self::Directory { dir: dir.to_owned(), reader: Reader::open_at(dir, segments.start), segments })
    }

    /// `files` if there are any, else the directory.
    pub(super) fn of(files: &[PathBuf], dir: &Path, period: &Period) -> Result<Self, Stop> {
        if files.is_empty() {
            return Self::directory(dir, period);
        }
        Ok(Self::Files { next: files.iter().cloned().collect(), current: None })
    }

    /// The next line, or `None` at the end.
    pub(super) fn next_line(&mut self) -> Result<Option<RawLine<'_>>, Stop> {
        match self {
            Self::Directory { dir, reader, segments } => {
                let raw = reader.next_line().map_err(Stop::unreadable(dir))?;
                Ok(raw.filter(|raw| raw.segment.first < segments.end).map(RawLine::from))
            }
            Self::Files { next, current } => {
                loop {
                    if let Some(file) = current
                        && file.fill()?
                    {
                        break;
                    }
                    let Some(path) = next.pop_front() else { return Ok(None) };
                    *current = Some(Delivered::open(path)?);
                }
                Ok(current.as_ref().map(Delivered::line))
            }
        }
    }
}

/// A delivered file.
pub(super) struct Delivered {
    path: PathBuf,
    lines: Box<dyn BufRead>,
    line: Vec<u8>,
    offset: u64,
}

impl std::fmt::Debug for Delivered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivered").field("path", &self.path).field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl Delivered {
    fn open(path: PathBuf) -> Result<Self, Stop> {
        const GZIP: [u8; 2] = [0x1f, 0x8b];
        let open = || {
            let mut file = BufReader::with_capacity(1 << 16, File::open(&path)?);
            let lines: Box<dyn BufRead> = if file.fill_buf()?.starts_with(&GZIP) {
                Box::new(BufReader::new(MultiGzDecoder::new(file)))
            } else {
                Box::new(file)
            };
            Ok(lines)
        };
        let lines = open().map_err(|error| unreadable(&path, &error))?;
        Ok(Self { path, lines, line: Vec::new(), offset: 0 })
    }

    /// Reads the next line that is not empty: Firehose may be told to end each record with a newline of its own.
    fn fill(&mut self) -> Result<bool, Stop> {
        loop {
            self.offset += self.line.len() as u64;
            self.line.clear();
            let mut limited = self.lines.by_ref().take(MAX_LINE as u64 + 1);
            let read = limited.read_until(b'\n', &mut self.line).map_err(|error| unreadable(&self.path, &error))?;
            if self.line != b"\n" {
                return Ok(read > 0);
            }
        }
    }

    fn line(&self) -> RawLine<'_> {
        RawLine { bytes: &self.line, path: &self.path, offset: self.offset }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Stop {
    Stop::Failed(Failure::Failed(format!("cannot read {}: {error}", path.display())))
}
