use proptest::prelude::*;

use super::*;
use crate::audit::chain::{Hash, Link, LogId, MAX_EVENT};

fn batch(lengths: &[usize]) -> Batch {
    let mut batch = Batch::new("l", 1, 0);
    for (seq, length) in (1..).zip(lengths) {
        batch.push(&vec![b'x'; *length], &Link { seq, hash: Hash::ZERO });
    }
    batch
}

#[test]
fn the_longest_line_fits_a_record_with_its_key() {
    let longest = LogId::parse(&"l".repeat(64)).unwrap();
    let mut link = Link { seq: u64::MAX - 1, hash: Hash::ZERO };
    let mut line = Vec::new();
    let event = format!("{{\"x\":\"{}\"}}", "x".repeat(MAX_EVENT - 8));
    link.append(&mut line, &longest, u64::MAX, &event);
    assert_eq!(event.len(), MAX_EVENT);
    assert!(line.len() + KEY <= 1 << 20, "{}", line.len());
}

fn answer(accepted: &[bool]) -> PutRecordsOutput {
    let results = accepted.iter().map(|accepted| match accepted {
        true => PutRecordsResultEntry::builder().sequence_number("1").shard_id("s").build(),
        false => PutRecordsResultEntry::builder().error_code("InternalFailure").error_message("no").build(),
    });
    PutRecordsOutput::builder().set_records(Some(results.collect())).build().unwrap()
}

#[test]
fn an_answer_that_does_not_fit_accepts_nothing() {
    let mut batch = batch(&[1; 5]);
    assert!(settle(&mut batch.unsent, 5, &answer(&[true; 4])).is_err());
    assert_eq!(batch.unsent_records(), 5);
}

proptest! {
    #[test]
    fn requests_stay_within_the_limits(lengths in prop::collection::vec(1..60_000_usize, 1..300), most in 1..(5_usize << 20)) {
        let mut batch = batch(&lengths);
        batch.join(UNIT);
        let count = fitting(&batch.unsent, most);
        let entries = entries(&batch, count).unwrap();
        let bytes: usize = entries.iter().map(|e| e.data().as_ref().len() + KEY).sum();
        prop_assert!(count <= MAX_RECORDS && (bytes <= most || count == 1));
        prop_assert!(entries.iter().all(|e| e.data().as_ref().len() + KEY <= 1 << 20 && e.partition_key().is_some_and(|key| key.len() == KEY)));
        // As much as fits.
        prop_assert!(count == batch.unsent.len().min(MAX_RECORDS) || bytes + batch.unsent[count].bytes.len() + KEY > most);
    }

    #[test]
    fn only_what_was_refused_stays(accepted in prop::collection::vec(any::<bool>(), 1..60), more in 0..5_usize) {
        let count = accepted.len();
        let mut batch = batch(&(1..=count + more).collect::<Vec<_>>());
        let before = batch.unsent.clone();
        let refused = settle(&mut batch.unsent, count, &answer(&accepted)).unwrap();
        let expected: Vec<_> =
            before.iter().enumerate().filter(|(i, _)| !accepted.get(*i).copied().unwrap_or(false)).map(|(_, p)| p.clone()).collect();
        prop_assert_eq!(&batch.unsent, &expected);
        prop_assert_eq!(refused.map_or(0, |refused| refused.count), accepted.iter().filter(|ok| !**ok).count());
    }
}
