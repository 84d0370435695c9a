//! Checks connections against flow records: between one tally and the next, every connection that the kernel redirected must
//! have a flow record, be open, or have been refused before it was accepted. What is left over is a gap.
//!
//! Fed record by record, in the log's order, from whatever the log is read; it keeps a few numbers for each endpoint. Only
//! tallies that nothing disturbed ([`Reconciliation::settled`]) must come out even. The first and the last of an epoch are
//! taken while nothing is redirected, and one that was disturbed is made good by the next: a connection that was lost stays
//! lost, so it shows there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::audit::{
    event::{Counts, EndpointTally, Reconciliation},
    flows::FlowRecord,
};

/// Most endpoints followed; a configuration has at most 1,023.
const MAX_ENDPOINTS: usize = 4096;
/// Most findings kept, of each kind.
const MAX_FINDINGS: usize = 1000;

/// What a check of the connections found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reconciled {
    /// Tallies in the log.
    pub tallies: u64,
    /// Redirected connections that were accounted for, over all endpoints.
    pub connections: u64,
    /// The last record that a settled tally vouches for.
    pub through: Option<u64>,
    /// Differences, at most 1,000.
    pub gaps: Vec<Gap>,
    /// Where the kernel's counters ended before their books were closed, at most 1,000.
    pub cut_off: Vec<CutOff>,
}

/// Numbers that do not add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The endpoint.
    pub endpoint: String,
    /// The epoch in which it began.
    pub epoch: u64,
    /// The seq of the tally before it.
    pub from: u64,
    /// The seq of the tally that shows it.
    pub to: u64,
    /// What does not add up.
    pub what: Difference,
}

/// What does not add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// Connections were redirected, and the log has no end of them.
    Unrecorded(u64),
    /// The log has more ends than connections were redirected.
    Excess(u64),
    /// The log holds fewer flow records than the agent had written.
    Missing(u64),
    /// More attempts were seen than counted as redirected, denied, guarded or failed open, or the reverse.
    Uncounted(i64),
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unrecorded(n) => write!(f, "{n} redirected connections have no flow record"),
            Self::Excess(n) => write!(f, "{n} flow records have no redirected connection"),
            Self::Missing(n) => write!(f, "{n} flow records that were written are not there"),
            Self::Uncounted(n) => write!(f, "of the attempts that the kernel saw, {n} ended in no way that it counted"),
        }
    }
}

/// The counters began anew while flows were open: the host restarted, or the kernel side was detached without an agent. Not a
/// gap, because nothing can be proven either way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CutOff {
    /// The endpoint.
    pub endpoint: String,
    /// The epoch of the last settled tally of the old counters.
    pub epoch: u64,
    /// Its seq.
    pub since: u64,
    /// Flows that were open then, less the flow records since: at least so many have no record, if it is above zero.
    pub open: i64,
}

/// Follows the tallies. See the module.
#[derive(Debug, Default)]
pub struct Reconciler {
    counters: Option<String>,
    epoch: u64,
    /// Records of this epoch were not seen.
    is_partial: bool,
    /// Those before the next record were not.
    is_after_gap: bool,
    accounts: BTreeMap<String, Account>,
    found: Reconciled,
}

/// One endpoint's.
#[derive(Debug, Default)]
struct Account {
    /// The last settled tally.
    base: Option<Base>,
    /// Flow records since then.
    recorded: i64,
    /// Flow records in this epoch.
    in_epoch: i64,
}

#[derive(Debug, Clone, Copy)]
struct Base {
    epoch: u64,
    seq: u64,
    counts: Counts,
    open: u64,
}

impl Reconciler {
    /// Looks at the next record's `event`; gives the gaps that it shows.
    pub fn see(&mut self, epoch: u64, seq: u64, event: &str) -> &[Gap] {
        let known = self.found.gaps.len();
        let is_after_gap = std::mem::take(&mut self.is_after_gap);
        if epoch != self.epoch {
            self.is_partial = is_after_gap;
            self.epoch = epoch;
            self.accounts.values_mut().for_each(|account| account.in_epoch = 0);
        }
        // Most records are neither; a search is cheaper than reading them.
        if event.contains("\"reconciliation\"")
            && let Some(tally) = tally_of(event)
        {
            self.tally(epoch, seq, tally);
        } else if event.contains("\"tally\"")
            && let Some(FlowRecord { tally: Some(endpoint), .. }) = FlowRecord::of_text(event)
            && let Some(account) = self.account(endpoint)
        {
            account.recorded += 1;
            account.in_epoch += 1;
        }
        &self.found.gaps[known..]
    }

    /// Records before the next are missing: what is left of their epoch cannot be checked, and connections are counted anew
    /// from the next epoch on.
    pub fn gap(&mut self) {
        self.is_partial = true;
        self.is_after_gap = true;
        self.accounts.values_mut().for_each(|account| account.base = None);
    }

    /// What was found so far.
    #[must_use]
    pub fn found(self) -> Reconciled {
        self.found
    }

    fn account(&mut self, endpoint: String) -> Option<&mut Account> {
        let is_full = self.accounts.len() >= MAX_ENDPOINTS && !self.accounts.contains_key(&endpoint);
        (!is_full).then(|| self.accounts.entry(endpoint).or_default())
    }

    fn tally(&mut self, epoch: u64, seq: u64, tally: Reconciliation) {
        let Reconciliation { counters, epoch: taken_in, opens, settled, stopped: _, endpoints } = tally;
        let settled = settled && taken_in == epoch && !self.is_partial;
        self.found.tallies += 1;
        if self.counters.as_ref() != Some(&counters) {
            if self.counters.replace(counters).is_some() {
                self.cut_off();
            }
            self.accounts.values_mut().for_each(|account| account.base = None);
        } else if opens {
            self.accounts.values_mut().for_each(|account| account.base = None);
        }
        for endpoint in endpoints {
            let EndpointTally { endpoint, counts, flows_open, flows_closed, .. } = endpoint;
            let now = Base { epoch, seq, counts, open: flows_open };
            if settled {
                self.settle(&endpoint, now, flows_closed);
            }
        }
        if settled {
            self.found.through = Some(seq);
        }
    }

    fn settle(&mut self, endpoint: &str, now: Base, closed: u64) {
        let Some(account) = self.account(endpoint.to_owned()) else { return };
        // Recorded after the numbers were taken, and before they were written down.
        let late = account.in_epoch - signed(closed);
        let (base, recorded) = (account.base.replace(now), account.recorded - late.max(0));
        account.recorded = late.max(0);
        let mut differences = Vec::new();
        if late < 0 {
            differences.push(Difference::Missing(late.unsigned_abs()));
        }
        let Counts { seen, redirected, denied, guarded, failed_open, refused_before_accept } = now.counts;
        let counted = redirected.saturating_add(denied).saturating_add(guarded).saturating_add(failed_open);
        if seen != counted {
            differences.push(Difference::Uncounted(signed(seen) - signed(counted)));
        }
        if let Some(Base { counts, open, .. }) = base {
            let redirected = signed(redirected) - signed(counts.redirected);
            let refused = signed(refused_before_accept) - signed(counts.refused_before_accept);
            let left_over = redirected - refused - (signed(now.open) - signed(open)) - recorded;
            match left_over {
                0 => {}
                1.. => differences.push(Difference::Unrecorded(left_over.unsigned_abs())),
                _ => differences.push(Difference::Excess(left_over.unsigned_abs())),
            }
            self.found.connections += u64::try_from(redirected).unwrap_or_default();
        }
        let Base { epoch, seq: from, .. } = base.unwrap_or(now);
        let gaps =
            differences.into_iter().map(|what| Gap { endpoint: endpoint.to_owned(), epoch, from, to: now.seq, what });
        self.found.gaps.extend(gaps);
        self.found.gaps.truncate(MAX_FINDINGS);
    }

    /// The counters that the accounts were kept with are gone.
    fn cut_off(&mut self) {
        for (endpoint, Account { base, recorded, .. }) in &self.accounts {
            let Some(Base { epoch, seq: since, open, .. }) = *base else { continue };
            let open = signed(open) - recorded;
            if open != 0 && self.found.cut_off.len() < MAX_FINDINGS {
                self.found.cut_off.push(CutOff { endpoint: endpoint.clone(), epoch, since, open });
            }
        }
    }
}

/// Counters stay far below; a forged one saturates.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

fn tally_of(event: &str) -> Option<Reconciliation> {
    #[derive(Deserialize)]
    struct Record {
        reconciliation: Option<Reconciliation>,
    }
    serde_json::from_str::<Record>(event).ok()?.reconciliation
}

#[cfg(test)]
mod tests;
