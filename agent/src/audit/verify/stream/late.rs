//! Which records of each log have come, as far as it takes to see that one between them has not.

use std::collections::{BTreeMap, HashMap};

/// Most runs that are remembered, of all logs. A stream that has more has lost more than a moment can bring.
const RUNS: usize = 1 << 16;

/// Runs of records without one missing between.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// By log: the first of each run, and its last.
    logs: HashMap<u32, BTreeMap<u64, u64>>,
    runs: usize,
    too_many: bool,
}

impl Late {
    /// A record came, perhaps again.
    pub(super) fn arrived(&mut self, log: u32, seq: u64) {
        if self.too_many {
            return;
        }
        let runs = self.logs.entry(log).or_default();
        let before = runs.range(..=seq).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| last >= seq) {
            return;
        }
        let after = seq.checked_add(1).and_then(|next| runs.remove(&next));
        self.runs -= usize::from(after.is_some());
        let last = after.unwrap_or(seq);
        match before {
            Some((first, end)) if end + 1 == seq => {
                runs.insert(first, last);
            }
            _ => {
                runs.insert(seq, last);
                self.runs += 1;
            }
        }
        if self.runs > RUNS {
            (self.logs, self.too_many) = (HashMap::new(), true);
        }
    }

    /// Whether something is missing between two records of a log.
    pub(super) fn misses(&self) -> bool {
        self.too_many || self.runs > self.logs.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_missing_is_what_lies_between(seqs in proptest::collection::vec((0..3_u32, 1..40_u64), 0..120)) {
            let mut late = Late::default();
            for (log, seq) in &seqs {
                late.arrived(*log, *seq);
            }
            let misses = (0..3).any(|log| {
                let mut of_log: Vec<_> = seqs.iter().filter(|(of, _)| *of == log).map(|(_, seq)| *seq).collect();
                of_log.sort_unstable();
                of_log.windows(2).any(|pair| pair[1] > pair[0] + 1)
            });
            prop_assert_eq!(late.misses(), misses);
        }
    }

    #[test]
    fn memory_is_bounded_and_too_much_missing_is_missing() {
        let mut late = Late::default();
        for seq in 0..RUNS as u64 + 10 {
            late.arrived(0, seq * 2);
        }
        assert!(late.misses());
        assert!(late.logs.is_empty());
        late.arrived(0, u64::MAX);
        assert!(late.misses());
    }
}
