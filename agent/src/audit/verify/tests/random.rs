//! Random logs, delivered in every disorder that delivery makes, are never accused; what is taken from them is named.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

use super::{
    super::{Expectations, Report, collect::Collector, verify_directory, verify_files},
    forge::{Writer, write_directory},
};
use crate::audit::{checkpoint::signer::Signer, samples::scratch_dir};

/// What an agent does next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Call,
    Checkpoint,
    Restart,
    Rotate,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => Just(Step::Call),
        3 => Just(Step::Checkpoint),
        1 => Just(Step::Restart),
        1 => Just(Step::Rotate),
    ];
    prop::collection::vec(step, 1..80)
}

fn written(log: &str, key: u8, steps: &[Step]) -> Vec<Vec<u8>> {
    let mut writer = Writer::new(log, key);
    let mut keys = key + 1..;
    for (number, step) in (0..).zip(steps) {
        match step {
            Step::Call => writer.call(number),
            Step::Checkpoint => writer.checkpoint(),
            Step::Restart => writer.start(),
            Step::Rotate => writer.rotate(keys.next().unwrap(), None),
        }
    }
    writer.checkpoint();
    writer.lines
}

fn expect() -> Expectations {
    let keys = [1, 100].map(|key| Signer::of_test(key).public().clone().into());
    Expectations { keys: keys.to_vec(), ..Expectations::default() }
}

/// What delivery may do: another order, copies, and files that are split and compressed anyhow.
#[derive(Debug, Clone)]
struct Delivery {
    order: Vec<prop::sample::Index>,
    copies: Vec<prop::sample::Index>,
    /// Lines in a compressed member, members in a file, and whether files are compressed at all.
    member: usize,
    members: usize,
    compressed: bool,
    /// A newline after each line, as Firehose may be told to add.
    delimited: bool,
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let indices = |count| prop::collection::vec(any::<prop::sample::Index>(), count);
    (indices(0..300), indices(0..20), 1..40_usize, 1..4_usize, any::<bool>(), any::<bool>()).prop_map(
        |(order, copies, member, members, compressed, delimited)| Delivery {
            order,
            copies,
            member,
            members,
            compressed,
            delimited,
        },
    )
}

fn deliver(dir: &std::path::Path, mut lines: Vec<Vec<u8>>, delivery: &Delivery) -> Report {
    let copies: Vec<_> = delivery.copies.iter().map(|index| index.get(&lines).clone()).collect();
    lines.extend(copies);
    for (at, index) in delivery.order.iter().enumerate() {
        let other = index.index(lines.len());
        let at = at % lines.len();
        lines.swap(at, other);
    }
    if delivery.delimited {
        lines.iter_mut().for_each(|line| line.push(b'\n'));
    }
    for (number, file) in lines.chunks(delivery.member * delivery.members).enumerate() {
        let mut bytes = Vec::new();
        for member in file.chunks(delivery.member) {
            if delivery.compressed {
                let mut encoder = GzEncoder::new(bytes, Compression::fast());
                encoder.write_all(&member.concat()).unwrap();
                bytes = encoder.finish().unwrap();
            } else {
                bytes.extend(member.concat());
            }
        }
        std::fs::write(dir.join(format!("{number:05}")), bytes).unwrap();
    }
    verify_files(&[dir.to_owned()], &expect(), |_| {}).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn logs_as_they_were_written_are_never_accused(
        a in steps(),
        b in steps(),
        per_segment in 1..40_usize,
        delivery in delivery(),
    ) {
        let (a, b) = (written("log-a", 1, &a), written("log-b", 100, &b));
        let dir = scratch_dir();
        let (own, delivered) = (dir.path().join("own"), dir.path().join("delivered"));
        write_directory(&own, "log-a", &a, per_segment);
        std::fs::create_dir(&delivered).unwrap();
        let report = verify_directory(&own, &expect(), |_| {}).unwrap();
        prop_assert!(report.intact, "{report:#?}");
        // Log b may end much earlier than log a, which is silence: its own end is what it is measured by.
        for lines in [&a, &b] {
            let dir = scratch_dir();
            let report = deliver(dir.path(), lines.clone(), &delivery);
            prop_assert!(report.intact, "{report:#?}");
            prop_assert_eq!(report.logs[0].records, lines.len() as u64);
            prop_assert_eq!(report.duplicates, delivery.copies.len() as u64);
        }
        let report = deliver(&delivered, [a.clone(), b].concat(), &delivery);
        let silent_only = report.logs.iter().flat_map(|log| &log.findings.listed).all(|found| found.kind == "silent");
        prop_assert!(silent_only && report.beside.is_empty(), "{report:#?}");
        prop_assert_eq!(report.logs.len(), 2);
    }

    #[test]
    fn what_is_taken_or_changed_is_named(
        steps in steps(),
        at in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        taken in any::<bool>(),
        delivery in delivery(),
    ) {
        let lines = written("log-a", 1, &steps);
        // The last record is nobody's predecessor: its loss shows as silence only.
        let at = at.index(lines.len() - 1);
        let mut changed = lines.clone();
        if taken {
            changed.remove(at);
        } else {
            let byte = byte.index(changed[at].len() - 1);
            changed[at][byte] ^= 1;
        }
        let dir = scratch_dir();
        write_directory(dir.path(), "log-a", &changed, 20);
        let report = verify_directory(dir.path(), &expect(), |_| {}).unwrap();
        prop_assert_eq!(report.first_bad().and_then(|bad| bad.seq), Some(at as u64 + 1), "{:#?}", report);
        let dir = scratch_dir();
        let unshuffled = Delivery { copies: Vec::new(), ..delivery };
        let report = deliver(dir.path(), changed, &unshuffled);
        prop_assert!(!report.intact);
        if taken {
            let seqs: Vec<_> = report.logs[0].findings.listed.iter().map(|found| found.seq).collect();
            prop_assert!(seqs.contains(&Some(at as u64 + 1)), "{:#?}", report);
        }
    }
}

#[test]
fn little_memory_changes_nothing() {
    let steps: Vec<_> = (0..500).map(|n| if n % 9 == 0 { Step::Checkpoint } else { Step::Call }).collect();
    let mut lines = written("log-a", 1, &steps);
    lines.reverse();
    let report = |memory| {
        let mut collector = Collector::with_memory(memory);
        let source = collector.source("memory".into()).unwrap();
        for line in &lines {
            collector.line(source, 0, line).unwrap();
        }
        collector.finish(&expect(), |_| {}).unwrap()
    };
    let (little, much) = (report(2000), report(64 << 20));
    assert!(little.intact, "{little:#?}");
    assert_eq!(serde_json::to_value(little).unwrap(), serde_json::to_value(much).unwrap());
}

#[test]
fn a_compressed_file_that_was_cut_is_named() {
    let lines = written("log-a", 1, &[Step::Call; 50]);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&lines.concat()).unwrap();
    let bytes = encoder.finish().unwrap();
    let dir = scratch_dir();
    std::fs::write(dir.path().join("cut.gz"), &bytes[..bytes.len() / 2]).unwrap();
    let report = verify_files(&[dir.path().to_owned()], &expect(), |_| {}).unwrap();
    assert!(report.beside.listed.iter().any(|found| found.kind == "unreadable"), "{report:#?}");
}
