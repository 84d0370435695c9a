//! Reads a log's lines in order, in constant memory, also while it is being written.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use super::{chain::MAX_LINE, segment::Segment};

/// A line as it stands in its file; not parsed, perhaps not even a line.
#[derive(Debug, Clone, Copy)]
pub struct RawLine<'a> {
    /// Its bytes, newline included when there is one.
    pub bytes: &'a [u8],
    /// The segment it is in.
    pub segment: &'a Segment,
    /// Where it starts in the segment.
    pub offset: u64,
}

/// Goes through the lines of a directory. [`Reader::next_line`] may be called again after it returned `None`: what was
/// written since is then seen.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    from: u64,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    segment: Segment,
    file: BufReader<File>,
    /// Where `line` starts.
    offset: u64,
    line: Vec<u8>,
    /// `line` was handed out and is to be dropped before the next.
    taken: bool,
}

impl Reader {
    /// Reads `dir` from its first record.
    pub fn open(dir: &Path) -> Self {
        Self::open_at(dir, 0)
    }

    /// Reads `dir` from the segment that holds the record `seq`.
    pub fn open_at(dir: &Path, seq: u64) -> Self {
        Self { dir: dir.to_owned(), from: seq, current: None }
    }

    /// The next line, or `None` at the end of what is written. A line without its newline is returned only when a later
    /// segment shows that it will not be completed, or when it is too long to be one.
    ///
    /// # Errors
    /// When the directory or a segment cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<RawLine<'_>>> {
        loop {
            if let Some(current) = &mut self.current
                && current.fill()?
            {
                break;
            }
            let Some(next) = self.next_segment()? else { return Ok(None) };
            // The writer may have finished this segment between our last look and the next segment's creation.
            if let Some(current) = &mut self.current
                && (current.fill()? || !current.line.is_empty())
            {
                break;
            }
            self.current = Some(Current::open(next)?);
        }
        Ok(self.current.as_mut().map(Current::take))
    }

    /// Puts the last line back: it is read again from its file next time. For readers that see a line before the head states
    /// it: the writer may still take it back.
    ///
    /// # Errors
    /// When the segment cannot be read.
    pub fn put_back(&mut self) -> io::Result<()> {
        self.current.as_mut().filter(|current| current.taken).map_or(Ok(()), |current| {
            current.taken = false;
            current.again()
        })
    }

    /// The end of what is written: its segment, the offset of an incomplete line, and the bytes there are of it.
    pub fn tail(&self) -> Option<(&Segment, u64, u64)> {
        let current = self.current.as_ref()?;
        let (offset, pending) = if current.taken {
            (current.offset + current.line.len() as u64, 0)
        } else {
            (current.offset, current.line.len() as u64)
        };
        Some((&current.segment, offset, pending))
    }

    fn next_segment(&self) -> io::Result<Option<Segment>> {
        let mut segments = Segment::list(&self.dir)?;
        Ok(match &self.current {
            Some(current) => segments.into_iter().find(|segment| segment.first > current.segment.first),
            None => {
                let start = segments.partition_point(|segment| segment.first <= self.from).saturating_sub(1);
                (start < segments.len()).then(|| segments.swap_remove(start))
            }
        })
    }
}

impl Current {
    fn open(segment: Segment) -> io::Result<Self> {
        let file = BufReader::with_capacity(1 << 16, File::open(&segment.path)?);
        Ok(Self { segment, file, offset: 0, line: Vec::new(), taken: false })
    }

    /// Reads on until there is a line to hand out.
    fn fill(&mut self) -> io::Result<bool> {
        if self.taken {
            self.offset += self.line.len() as u64;
            self.line.clear();
            self.taken = false;
        } else if !self.line.is_empty() {
            // A writer that failed may have cut this beginning and written another line in its place.
            self.again()?;
        }
        self.file.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut self.line)?;
        Ok(self.line.ends_with(b"\n") || self.line.len() > MAX_LINE)
    }

    fn again(&mut self) -> io::Result<()> {
        self.line.clear();
        self.file.seek(SeekFrom::Start(self.offset)).map(drop)
    }

    fn take(&mut self) -> RawLine<'_> {
        self.taken = true;
        RawLine { bytes: &self.line, segment: &self.segment, offset: self.offset }
    }
}
