//! Which connections the log has the end of.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    path::Path,
};

use serde::Deserialize;
use uuid::Uuid;

use super::{chain::Line, reader::Reader};

/// What a record says of a connection that ended, as far as counting goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FlowRecord {
    /// The connection.
    pub(crate) id: Uuid,
    /// The endpoint under which the kernel counted it; none if it was not redirected.
    pub(crate) tally: Option<String>,
}

impl FlowRecord {
    /// Reads `event`, if it is the record of a connection's end.
    pub(crate) fn of_text(event: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Record {
            flow: Option<Flow>,
        }
        #[derive(Deserialize)]
        struct Flow {
            id: Uuid,
            end: Option<String>,
            tally: Option<String>,
        }
        let Flow { id, end, tally } = serde_json::from_str::<Record>(event).ok()?.flow?;
        end.map(|_| Self { id, tally })
    }
}

/// How many flow records an epoch has, by the endpoint of their tally.
#[derive(Debug, Default)]
pub(super) struct FlowCounts {
    epoch: u64,
    counts: BTreeMap<String, u64>,
}

impl FlowCounts {
    /// Counts one that was written in `epoch`.
    pub(super) fn count(&mut self, epoch: u64, endpoint: &str) {
        if epoch > self.epoch {
            *self = Self { epoch, counts: BTreeMap::new() };
        }
        if epoch == self.epoch {
            *self.counts.entry(endpoint.to_owned()).or_default() += 1;
        }
    }

    /// Those of `epoch`.
    pub(super) fn of(&self, epoch: u64) -> BTreeMap<String, u64> {
        if epoch == self.epoch { self.counts.clone() } else { BTreeMap::new() }
    }
}

/// Those of `flows` whose end the log in `dir` records, from the record `from` on.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn recorded(dir: &Path, from: u64, flows: &HashSet<Uuid>) -> io::Result<HashSet<Uuid>> {
    let mut found = HashSet::new();
    if flows.is_empty() {
        return Ok(found);
    }
    let mut reader = Reader::open_at(dir, from);
    while let Some(raw) = reader.next_line()? {
        let record = Line::parse(raw.bytes).ok().and_then(|line| FlowRecord::of_text(line.event));
        found.extend(record.map(|record| record.id).filter(|id| flows.contains(id)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::audit::{
        chain::{Link, LogId},
        event::{Flow, FlowEnd, Route, What},
        ocsf::render,
        samples::{event, request, route, scratch_dir, workload, write_segments},
    };

    fn ended(id: Uuid) -> crate::audit::event::Event {
        event(What::Flow(Box::new(Flow {
            workload: workload(),
            route: Route { flow_id: id, ..route() },
            endpoint: None,
            tally: Some("billing".into()),
            end: FlowEnd::Closed,
            reason: None,
            duration: Duration::ZERO,
            bytes_out: 0,
            bytes_in: 0,
            protocol: "tls",
            shadow: None,
        })))
    }

    #[test]
    fn the_end_of_a_flow_is_told_from_what_happened_in_it() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let text = |event| render(event, Uuid::nil()).unwrap();
        let record = FlowRecord::of_text(&text(ended(one)));
        assert_eq!(record, Some(FlowRecord { id: one, tally: Some("billing".into()) }));
        assert_eq!(FlowRecord::of_text(&text(request(one))), None, "a call names its flow, which goes on");
        assert_eq!(FlowRecord::of_text("{"), None);

        let dir = scratch_dir();
        let (mut link, log) = (Link::START, LogId::parse("sample").unwrap());
        let lines: Vec<_> = [request(other), ended(one)]
            .map(|event| {
                let mut line = Vec::new();
                link.append(&mut line, &log, 1, &text(event));
                line
            })
            .into();
        write_segments(dir.path(), &lines, 1);
        let both = HashSet::from([one, other]);
        assert_eq!(recorded(dir.path(), 1, &both).unwrap(), HashSet::from([one]));
        assert_eq!(recorded(dir.path(), 3, &HashSet::from([other])).unwrap(), HashSet::new());
    }
}
