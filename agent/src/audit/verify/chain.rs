//! The rules of a log in its own order: form, hash, link, epoch, segment and head.

use super::{
    super::{
        chain::{Line, Link},
        head::Head,
        reader::RawLine,
    },
    fault::Fault,
};

/// Follows the chain from record to record.
#[derive(Debug)]
pub(crate) struct Checker<'a> {
    head: &'a Head,
    last: Option<(Link, u64)>,
}

impl<'a> Checker<'a> {
    /// Expects the log's first record.
    pub(crate) fn from_start(head: &'a Head) -> Self {
        Self { head, last: Some((Link::START, 0)) }
    }

    /// Accepts the first record of any segment.
    pub(crate) fn from_segment(head: &'a Head) -> Self {
        Self { head, last: None }
    }

    /// The seq that comes next; `None` before the first record that [`Checker::from_segment`] sees.
    pub(crate) fn next(&self) -> Option<u64> {
        self.last.as_ref().map(|(link, _)| link.seq + 1)
    }

    /// The chain's end and its epoch, as far as it was checked.
    pub(crate) fn last(&self) -> Option<&(Link, u64)> {
        self.last.as_ref()
    }

    /// Checks the next line.
    pub(crate) fn check<'l>(&mut self, raw: &RawLine<'l>) -> Result<Line<'l>, Fault> {
        let line = Line::parse(raw.bytes)?;
        if line.computed_hash() != line.hash {
            return Err(Fault::Altered);
        }
        if line.log != self.head.log.as_str() {
            return Err(Fault::Foreign(line.log.to_owned()));
        }
        let started = match &self.last {
            None if raw.segment.first == 1 => Some((Link::START, 0)),
            other => other.clone(),
        };
        if let Some((Link { seq, hash }, epoch)) = started {
            if line.seq != seq + 1 {
                return Err(Fault::Displaced { found: line.seq });
            }
            if line.epoch != epoch + 1 && (line.epoch != epoch || seq == 0) {
                return Err(Fault::Epoch { before: epoch, found: line.epoch });
            }
            if line.prev != hash {
                return Err(Fault::Unlinked);
            }
        }
        if raw.offset == 0 && raw.segment.first != line.seq {
            return Err(Fault::Misnamed { named: raw.segment.first });
        }
        if line.seq == self.head.seq && line.hash != self.head.hash {
            return Err(Fault::HeadDiffers);
        }
        self.last = Some((Link { seq: line.seq, hash: line.hash }, line.epoch));
        Ok(line)
    }
}
