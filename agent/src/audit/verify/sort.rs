//! Sorts entries in bounded memory: sorted runs in temporary files, merged sixteen at a time.

use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufReader, BufWriter, Seek as _, Write as _},
    mem,
};

use super::entry::Entry;

/// Runs that are merged into one. Each takes a file descriptor and a buffer while it is merged.
const FAN_IN: usize = 16;

/// Each run's buffer, in bytes.
const BUFFER: usize = 64 << 10;

/// Takes entries in any order.
#[derive(Debug)]
pub(super) struct Sorter {
    limit: usize,
    held: Vec<Entry>,
    size: usize,
    /// Sorted files; those of the level n hold 16ⁿ times what fits in memory.
    levels: Vec<Vec<File>>,
}

impl Sorter {
    /// Holds at most about `limit` bytes in memory.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, held: Vec::new(), size: 0, levels: Vec::new() }
    }

    pub(super) fn push(&mut self, entry: Entry) -> io::Result<()> {
        self.size += entry.size();
        self.held.push(entry);
        if self.size >= self.limit { self.spill() } else { Ok(()) }
    }

    /// All entries, in their order.
    pub(super) fn finish(mut self) -> io::Result<Merge> {
        if self.levels.is_empty() {
            self.held.sort_unstable_by(|a, b| a.key().cmp(&b.key()));
            return Ok(Merge { runs: Vec::new(), heap: BinaryHeap::new(), memory: self.held.into_iter() });
        }
        self.spill()?;
        let mut files: Vec<_> = self.levels.into_iter().flatten().collect();
        while files.len() > FAN_IN {
            let merged = merge(files.drain(..FAN_IN))?;
            files.push(merged);
        }
        Merge::of(files)
    }

    fn spill(&mut self) -> io::Result<()> {
        self.held.sort_unstable_by(|a, b| a.key().cmp(&b.key()));
        let mut run = write_run(mem::take(&mut self.held).into_iter().map(Ok))?;
        self.size = 0;
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(run);
            if self.levels[level].len() < FAN_IN {
                break;
            }
            run = merge(self.levels[level].drain(..))?;
        }
        Ok(())
    }
}

fn write_run(entries: impl Iterator<Item = io::Result<Entry>>) -> io::Result<File> {
    let mut out = BufWriter::with_capacity(BUFFER, tempfile::tempfile()?);
    for entry in entries {
        entry?.write(&mut out)?;
    }
    out.flush()?;
    out.into_inner().map_err(io::IntoInnerError::into_error)
}

fn merge(files: impl Iterator<Item = File>) -> io::Result<File> {
    write_run(Merge::of(files.collect())?)
}

/// Gives sorted entries.
pub(super) struct Merge {
    runs: Vec<BufReader<File>>,
    heap: BinaryHeap<Next>,
    memory: std::vec::IntoIter<Entry>,
}

/// The next entry of a run; the smallest is the greatest, for the heap.
struct Next {
    entry: Entry,
    run: usize,
}

impl Merge {
    fn of(files: Vec<File>) -> io::Result<Self> {
        let mut merge = Self { runs: Vec::new(), heap: BinaryHeap::new(), memory: Vec::new().into_iter() };
        for (run, mut file) in files.into_iter().enumerate() {
            file.rewind()?;
            merge.runs.push(BufReader::with_capacity(BUFFER, file));
            merge.advance(run)?;
        }
        Ok(merge)
    }

    fn advance(&mut self, run: usize) -> io::Result<()> {
        if let Some(entry) = Entry::read(&mut self.runs[run])? {
            self.heap.push(Next { entry, run });
        }
        Ok(())
    }
}

impl Iterator for Merge {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(Next { entry, run }) = self.heap.pop() else { return self.memory.next().map(Ok) };
        Some(self.advance(run).map(|()| entry))
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> Ordering {
        other.entry.key().cmp(&self.entry.key())
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Next {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::{chain::Hash, verify::visitor::Facts};

    fn entry((log, seq, source, event): (u32, u64, u32, Option<String>)) -> Entry {
        Entry {
            log,
            seq,
            hash: Hash([seq as u8; 32]),
            altered: source % 3 == 0,
            source,
            offset: 7,
            epoch: 1,
            prev: Hash::ZERO,
            facts: Facts { class_uid: 6002, time: -1 },
            event: event.map(String::into_boxed_str),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However little memory there is, what comes out is what went in, sorted.
        #[test]
        fn runs_merge_to_the_same_order(
            entries in prop::collection::vec((0..4_u32, 0..50_u64, any::<u32>(), any::<Option<String>>()), 0..600),
            limit in 1..20_000_usize,
        ) {
            let mut entries: Vec<_> = entries.into_iter().map(entry).collect();
            let mut sorter = Sorter::new(limit);
            for entry in &entries {
                sorter.push(entry.clone()).unwrap();
            }
            let sorted: Vec<_> = sorter.finish().unwrap().map(Result::unwrap).collect();
            entries.sort_by(|a, b| a.key().cmp(&b.key()));
            let keys = |entries: &[Entry]| entries.iter().map(|e| (e.log, e.seq, e.source)).collect::<Vec<_>>();
            prop_assert_eq!(keys(&sorted), keys(&entries));
        }
    }
}
