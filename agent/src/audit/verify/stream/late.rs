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

    /// The newest record of each log that has come; none when too much is missing to tell.
    pub(super) fn newest(&self) -> Option<HashMap<u32, u64>> {
        let newest = |(log, runs): (&u32, &BTreeMap<u64, u64>)| Some((*log, *runs.last_key_value()?.1));
        (!self.too_many).then(|| self.logs.iter().filter_map(newest).collect())
    }

    /// Whether something is missing between two records of a log, of those up to `ends`.
    pub(super) fn misses_up_to(&self, ends: &HashMap<u32, u64>) -> bool {
        let first_run = |log| self.logs.get(log).and_then(BTreeMap::first_key_value);
        self.too_many || ends.iter().any(|(log, end)| first_run(log).is_some_and(|(_, last)| last < end))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_missing_is_what_lies_between(
            seqs in proptest::collection::vec((0..3_u32, 1..40_u64), 0..120),
            later in proptest::collection::vec((0..3_u32, 1..80_u64), 0..40),
        ) {
            let mut late = Late::default();
            seqs.iter().for_each(|(log, seq)| late.arrived(*log, *seq));
            let ends = late.newest().unwrap();
            for log in 0..3 {
                let newest = seqs.iter().filter(|(of, _)| *of == log).map(|(_, seq)| *seq).max();
                prop_assert_eq!(ends.get(&log).copied(), newest);
            }
            // What comes later may fill what was missing, and what is missing after the ends is not asked for.
            later.iter().for_each(|(log, seq)| late.arrived(*log, *seq));
            let misses = ends.iter().any(|(log, end)| {
                let of_log = seqs.iter().chain(&later).filter(|(of, seq)| of == log && seq <= end).map(|(_, seq)| *seq);
                let of_log: std::collections::BTreeSet<_> = of_log.collect();
                of_log.last().zip(of_log.first()).is_some_and(|(last, first)| last - first + 1 > of_log.len() as u64)
            });
            prop_assert_eq!(late.misses_up_to(&ends), misses);
        }
    }

    #[test]
    fn memory_is_bounded_and_too_much_missing_is_missing() {
        let mut late = Late::default();
        for seq in 0..RUNS as u64 + 10 {
            late.arrived(0, seq * 2);
        }
        assert!(late.newest().is_none() && late.misses_up_to(&HashMap::new()));
        assert!(late.logs.is_empty());
        late.arrived(0, u64::MAX);
        assert!(late.misses_up_to(&HashMap::new()));
    }
}
