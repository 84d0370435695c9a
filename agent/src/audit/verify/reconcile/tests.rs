use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::audit::{
    ocsf::render,
    samples::{event, request, tally},
};
use uuid::Uuid;

/// What a kernel and an agent go through, written down as they would.
#[derive(Default)]
struct World {
    reconciler: Reconciler,
    epoch: u64,
    seq: u64,
    redirected: u64,
    refused: u64,
    open: u64,
    closed: u64,
    counters: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self { epoch: 1, counters: 1, ..Self::default() };
        world.tally(true, true);
        world
    }

    fn write(&mut self, event: &str) {
        self.seq += 1;
        self.reconciler.see(self.epoch, self.seq, event);
    }

    fn connect(&mut self) {
        self.redirected += 1;
        self.open += 1;
    }

    fn refuse(&mut self) {
        self.redirected += 1;
        self.refused += 1;
    }

    fn record(&mut self) {
        if self.open > 0 {
            self.open -= 1;
            self.closed += 1;
            self.write(&flow_record());
        }
    }

    fn tally(&mut self, settled: bool, opens: bool) {
        let tally = self.numbers(settled, opens);
        self.write_tally(&tally);
    }

    fn numbers(&self, settled: bool, opens: bool) -> Reconciliation {
        let Self { redirected, refused, open, closed, counters, .. } = *self;
        let mut numbers = tally(settled, redirected, 0);
        let endpoint = &mut numbers.endpoints[0];
        (endpoint.flows_open, endpoint.flows_closed) = (open, closed);
        endpoint.counts.refused_before_accept = refused;
        Reconciliation { opens, counters: counters.to_string(), epoch: self.epoch, ..numbers }
    }

    fn write_tally(&mut self, tally: &Reconciliation) {
        self.write(&json!({ "lifecycle": { "kind": "tally" }, "reconciliation": tally }).to_string());
    }

    /// The agent dies; the next one finds the flows that were open.
    fn crash(&mut self) {
        (self.epoch, self.closed) = (self.epoch + 1, 0);
        while self.open > 0 {
            self.record();
        }
        self.tally(true, false);
    }

    fn differences(self) -> Vec<(u64, Difference)> {
        self.reconciler.found().gaps.into_iter().map(|gap| (gap.epoch, gap.what)).collect()
    }
}

fn flow_record() -> String {
    json!({ "flow": { "id": Uuid::nil(), "end": "closed", "tally": "billing" } }).to_string()
}

#[test]
fn a_connection_without_a_record_is_named_by_its_epoch() {
    let mut world = World::new();
    world.connect();
    world.record();
    world.crash();
    world.connect();
    world.refuse();
    world.open -= 1;
    world.tally(true, false);
    world.tally(true, false);
    assert_eq!(world.differences(), [(2, Difference::Unrecorded(1))]);
}

#[test]
fn a_disturbed_tally_is_made_good_by_the_next_and_hides_nothing() {
    let mut world = World::new();
    world.redirected += 1;
    world.tally(false, false);
    world.open += 1;
    world.tally(true, false);
    world.redirected += 3;
    world.tally(false, false);
    world.tally(true, false);
    assert_eq!(world.differences(), [(1, Difference::Unrecorded(3))]);
}

#[test]
fn records_between_the_numbers_and_the_tally_count_for_the_next() {
    let mut world = World::new();
    world.connect();
    let before = world.numbers(true, false);
    world.record();
    world.write_tally(&before);
    world.tally(true, false);
    assert_eq!(world.differences(), []);
}

#[test]
fn records_that_were_written_and_are_gone_are_missed() {
    let mut world = World::new();
    world.connect();
    (world.open, world.closed) = (0, 1);
    world.tally(true, false);
    let differences = world.differences();
    assert!(differences.contains(&(1, Difference::Missing(1))), "{differences:?}");
}

#[test]
fn counters_that_do_not_add_up_are_a_gap() {
    let mut world = World::new();
    let mut tally = world.numbers(true, false);
    tally.endpoints[0].counts.seen += 2;
    world.write_tally(&tally);
    assert_eq!(world.differences(), [(1, Difference::Uncounted(2))]);
}

#[test]
fn new_counters_cut_off_what_was_open_and_prove_nothing() {
    let mut world = World::new();
    world.connect();
    world.connect();
    world.tally(true, false);
    world.record();
    (world.epoch, world.counters, world.redirected, world.open, world.closed) = (2, 2, 0, 0, 0);
    world.tally(true, true);
    world.connect();
    world.record();
    world.tally(true, false);
    let found = world.reconciler.found();
    assert_eq!((found.gaps, found.connections), (Vec::new(), 3));
    assert_eq!(found.cut_off, [CutOff { endpoint: "billing".into(), epoch: 1, since: 2, open: 1 }]);
}

#[test]
fn old_connections_and_calls_count_for_nothing() {
    let mut world = World::new();
    world.write(&json!({ "flow": { "id": Uuid::nil(), "end": "predates" } }).to_string());
    world.write(&render(request(Uuid::nil()), Uuid::nil()).unwrap());
    world.tally(true, false);
    assert_eq!(world.differences(), []);
}

#[test]
fn a_written_tally_is_read_back() {
    let written = tally(true, 9, 4);
    let what = crate::audit::event::What::Agent(crate::audit::event::Agent::Tally(Box::new(written.clone())));
    assert_eq!(tally_of(&render(event(what), Uuid::nil()).unwrap()), Some(written));
}

proptest! {
    /// Whatever happens in whatever order, only what is lost is found.
    #[test]
    fn only_what_is_lost_is_found(steps in prop::collection::vec((0_u8..8, any::<bool>()), 0..200)) {
        let mut world = World::new();
        let mut lost = 0;
        for (step, settled) in steps {
            match step {
                0..=2 => world.connect(),
                3 => world.refuse(),
                4 | 5 => world.record(),
                6 => world.tally(settled, false),
                _ if settled => world.crash(),
                _ => {
                    world.redirected += 1;
                    lost += 1;
                }
            }
        }
        world.crash();
        let found: u64 = world.differences().iter().map(|(_, what)| match what {
            Difference::Unrecorded(n) => *n,
            other => panic!("{other:?}"),
        }).sum();
        prop_assert_eq!(found, lost);
    }

    #[test]
    fn any_text_is_taken(texts in prop::collection::vec(".{0,80}", 0..20)) {
        let mut reconciler = Reconciler::default();
        for (seq, text) in (1..).zip(&texts) {
            reconciler.see(1, seq, text);
            reconciler.see(1, seq, &format!("{{\"reconciliation\":{text},\"tally\":{text}}}"));
        }
        prop_assert_eq!(reconciler.found().gaps, vec![]);
    }
}
