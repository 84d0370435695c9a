//! Gathers lines that come in no order, from many hosts, perhaps more than once, and checks the logs that they make up.
//!
//! Memory is bounded: 64 MiB for sorting, the names of files and logs, and one log's hashes within a checkpoint's reach.
//! Temporary files take about 150 bytes a record, and the events of connections and of the agent itself.

use std::{collections::HashMap, io};

use jiff::Timestamp;

use super::{
    Progress,
    entry::Entry,
    fault::Fault,
    follow::{Names, follow},
    keys::name_shared,
    log_check::{Expectations, absent, silent},
    report::{Findings, Report, Spot},
    sort::Sorter,
    visitor::Facts,
};
use crate::audit::chain::Line;

/// Memory for sorting, in bytes.
const MEMORY: usize = 64 << 20;

/// Lines on their way into a [`Report`].
#[derive(Debug)]
pub(super) struct Collector {
    names: Names,
    logs: HashMap<String, u32>,
    sorter: Sorter,
    beside: Findings,
    /// The last record of each log that is checked, when not all are.
    ends: Option<HashMap<u32, u64>>,
    pub(super) bytes: u64,
}

impl Collector {
    pub(super) fn new() -> Self {
        Self::with_memory(MEMORY)
    }

    pub(super) fn with_memory(bytes: usize) -> Self {
        Self {
            names: Names::default(),
            logs: HashMap::new(),
            sorter: Sorter::new(bytes),
            beside: Findings::default(),
            ends: None,
            bytes: 0,
        }
    }

    /// A file or shard, whose lines come next.
    pub(super) fn source(&mut self, name: String) -> io::Result<u32> {
        let source = u32::try_from(self.names.sources.len()).map_err(io::Error::other)?;
        self.names.sources.push(name);
        Ok(source)
    }

    /// Something is wrong with a source itself.
    pub(super) fn fault(&mut self, source: u32, offset: u64, fault: &Fault) {
        let file = self.names.sources.get(source as usize).map_or("", String::as_str);
        self.beside.add(None, Spot { file, offset }, fault);
    }

    /// One line, newline included. Says which log's it is, by a number, and its seq, if it is a record's.
    pub(super) fn line(&mut self, source: u32, offset: u64, bytes: &[u8]) -> io::Result<Option<(u32, u64)>> {
        self.bytes += bytes.len() as u64;
        let line = match Line::parse(bytes) {
            Ok(line) => line,
            Err(malformed) => {
                self.fault(source, offset, &Fault::Malformed(malformed));
                return Ok(None);
            }
        };
        let altered = line.computed_hash() != line.hash;
        let facts = if altered { Facts::default() } else { Facts::of(line.event) };
        let event = (!altered && facts.kept()).then(|| Box::from(line.event));
        let Line { epoch, seq, prev, hash, .. } = line;
        let log = self.log(line.log)?;
        self.sorter.push(Entry { log, seq, hash, altered, source, offset, epoch, prev, facts, event })?;
        Ok(Some((log, seq)))
    }

    fn log(&mut self, id: &str) -> io::Result<u32> {
        if let Some(log) = self.logs.get(id) {
            return Ok(*log);
        }
        let log = u32::try_from(self.names.logs.len()).map_err(io::Error::other)?;
        self.names.logs.push(id.to_owned());
        self.logs.insert(id.to_owned(), log);
        Ok(log)
    }

    /// Leaves out what comes after these records of each log, and other logs.
    pub(super) fn ends_at(&mut self, last: HashMap<u32, u64>) {
        self.ends = Some(last);
    }

    /// Checks what was gathered.
    pub(super) fn finish(self, expect: &Expectations, mut progress: impl FnMut(Progress)) -> io::Result<Report> {
        let Self { names, logs: _, sorter, mut beside, ends, bytes } = self;
        let is_checked = |entry: &io::Result<Entry>| match (entry, &ends) {
            (Ok(entry), Some(ends)) => ends.get(&entry.log).is_some_and(|last| entry.seq <= *last),
            _ => true,
        };
        let shown = |done| progress(Progress { done, of: None, unit: "records checked" });
        let (mut logs, duplicates) = follow(sorter.finish()?.filter(is_checked), &names, expect, shown)?;
        let newest = logs.iter().filter_map(|log| log.checkpoint_time).max();
        if let Some(until) = expect.until.or(newest.and_then(|time| Timestamp::from_millisecond(time).ok())) {
            silent(&mut logs, until);
        }
        name_shared(&mut logs);
        for name in absent(&logs, &expect.inventory) {
            beside.add(None, Spot { file: "", offset: 0 }, &Fault::Absent(name.to_owned()));
        }
        logs.sort_by(|a, b| a.log.cmp(&b.log));
        Ok(Report { duplicates, bytes, ..Report::of(logs, beside) })
    }
}
