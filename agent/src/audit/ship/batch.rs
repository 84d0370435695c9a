//! Lines on their way to a sink.

use std::ops::Range;

use super::super::chain::Link;

/// The most that a sink takes at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Lines.
    pub(crate) lines: usize,
    /// Bytes. A single line may be longer: it then is a batch of its own.
    pub(crate) bytes: usize,
}

/// Consecutive records of one log.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The log's id.
    pub(crate) log: String,
    /// The lines, one after the other, each with its newline.
    pub(crate) text: Vec<u8>,
    /// What the sink does not have yet. At first each line by itself, in order; sinks may join neighbours.
    pub(crate) unsent: Vec<Part>,
    /// The records, oldest first: how many, and the seq of the first.
    pub(crate) records: u64,
    /// The first record's seq.
    pub(crate) first: u64,
    /// The last record.
    pub(crate) last: Link,
    /// When the first record says that it happened, in milliseconds since 1970.
    pub(crate) oldest: i64,
}

/// A stretch of whole lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Where in [`Batch::text`].
    pub(crate) bytes: Range<usize>,
    /// How many lines.
    pub(crate) lines: u64,
}

impl Batch {
    /// A batch that begins with the record `first`, of the time `oldest`.
    pub(crate) fn new(log: &str, first: u64, oldest: i64) -> Self {
        Self { log: log.to_owned(), text: Vec::new(), unsent: Vec::new(), records: 0, first, last: Link::START, oldest }
    }

    /// Adds the line of the record `link`.
    pub(crate) fn push(&mut self, line: &[u8], link: &Link) {
        let start = self.text.len();
        self.text.extend_from_slice(line);
        self.unsent.push(Part { bytes: start..self.text.len(), lines: 1 });
        self.records += 1;
        self.last = link.clone();
    }

    /// The bytes of a part.
    pub(crate) fn bytes(&self, part: &Part) -> &[u8] {
        &self.text[part.bytes.clone()]
    }

    /// Joins neighbours, as long as the result has at most `bytes`.
    pub(crate) fn join(&mut self, bytes: usize) {
        self.unsent.dedup_by(|next, part| {
            let joins = part.bytes.end == next.bytes.start && next.bytes.end - part.bytes.start <= bytes;
            if joins {
                part.bytes.end = next.bytes.end;
                part.lines += next.lines;
            }
            joins
        });
    }

    /// How many records the sink does not have yet.
    pub(crate) fn unsent_records(&self) -> u64 {
        self.unsent.iter().map(|part| part.lines).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::chain::Hash;

    fn batch(lengths: &[usize]) -> Batch {
        let mut batch = Batch::new("l", 1, 0);
        for (seq, length) in (1..).zip(lengths) {
            batch.push(&vec![b'x'; *length], &Link { seq, hash: Hash::ZERO });
        }
        batch
    }

    proptest! {
        #[test]
        fn joining_keeps_every_line_and_the_limit(lengths in prop::collection::vec(1..100_usize, 1..60), limit in 1..300_usize) {
            let mut batch = batch(&lengths);
            batch.join(limit);
            prop_assert_eq!(batch.unsent_records(), lengths.len() as u64);
            prop_assert!(batch.unsent.iter().all(|part| part.bytes.len() <= limit || part.lines == 1));
            prop_assert!(batch.unsent.windows(2).all(|pair| pair[0].bytes.end == pair[1].bytes.start));
            // None could have been joined further: what a request holds stays small in number.
            prop_assert!(batch.unsent.windows(2).all(|pair| pair[0].bytes.len() + pair[1].bytes.len() > limit));
        }

        #[test]
        fn what_arrived_in_between_is_no_neighbour(lengths in prop::collection::vec(1..100_usize, 3..40)) {
            let mut batch = batch(&lengths);
            batch.unsent = batch.unsent.into_iter().step_by(2).collect();
            let before = batch.unsent.clone();
            batch.join(1 << 20);
            prop_assert_eq!(&batch.unsent, &before);
        }
    }
}
