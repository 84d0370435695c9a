use std::{collections::BTreeMap, fs};

use super::*;
use crate::{
    audit::{
        chain::Line,
        log::{Log, LogOptions},
        samples::small,
    },
    config::Config,
};

const LONG: Duration = Duration::from_secs(60);

fn config(dir: &Path, audit: &str) -> Config {
    let text = format!("state_dir = {dir:?}\n[audit]\nsegment_bytes = 65536\n{audit}");
    Config::parse(&text, Path::new("weir.toml")).unwrap()
}

async fn open(config: &Config) -> (Log, Shipper) {
    let (log, recovery) = Log::open(&LogOptions::from_config(config).unwrap()).unwrap();
    log.settle(recovery).await.unwrap();
    let shipper = Shipper::new(config, &log);
    shipper.start().unwrap();
    (log, shipper)
}

/// Every record of the lines, which may repeat but must not differ.
fn records(text: &[u8]) -> BTreeMap<u64, Vec<u8>> {
    let mut records = BTreeMap::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let seq = Line::parse(line).unwrap().seq;
        let before = records.insert(seq, line.to_vec());
        assert!(before.is_none_or(|before| before == line), "two records {seq}");
    }
    records
}

fn log_text(dir: &Path) -> Vec<u8> {
    let segments = crate::audit::segment::Segment::list(&dir.join("audit")).unwrap();
    segments.iter().flat_map(|segment| fs::read(&segment.path).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_gets_every_record_over_stops_and_crashes() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.ndjson");
    let config = config(dir.path(), &format!("file = {{ path = {out:?} }}"));
    for crash in [false, true, false, true, false] {
        let (log, shipper) = open(&config).await;
        for _ in 0..200 {
            log.append(small()).await.unwrap();
        }
        if crash {
            drop(shipper);
        } else {
            shipper.stop(LONG).await;
            let [status] = &shipper.status()[..] else { panic!("one sink") };
            assert_eq!((status.lag_records, status.dropped, status.seq), (0, 0, log.status().last_seq));
            assert_eq!(status.error, None);
        }
        log.close().await.unwrap();
    }
    assert_eq!(records(&fs::read(&out).unwrap()), records(&log_text(dir.path())));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_synced_is_synced_to_be_shipped() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.ndjson");
    let config = config(dir.path(), &format!("durability = \"process\"\nfile = {{ path = {out:?} }}"));
    let (log, shipper) = open(&config).await;
    for _ in 0..10 {
        log.append(small()).await.unwrap();
    }
    let shipped = async {
        while shipper.status()[0].lag_records > 0 || shipper.status()[0].seq == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, shipped).await.expect("without a stop");
    log.append(small()).await.unwrap();
    shipper.stop(LONG).await;
    assert_eq!(records(&fs::read(&out).unwrap()).len(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sink_does_not_wait_for_another_and_nothing_unshipped_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("missing/out.ndjson");
    let audit = format!("retain_bytes = 0\nfile = {{ path = {out:?} }}\nstdout = true");
    let config = config(dir.path(), &audit);
    let (log, shipper) = open(&config).await;
    for _ in 0..300 {
        log.append(small()).await.unwrap();
    }
    shipper.stop(Duration::from_secs(2)).await;
    let [file, stdout] = &shipper.status()[..] else { panic!("two sinks") };
    assert!(file.error.as_deref().is_some_and(|error| error.contains("No such file")), "{file:?}");
    assert!(file.failing_since.is_some() && file.oldest_unshipped.is_some() && file.lag_seconds > 0);
    assert_eq!((file.lag_records, file.shipped, stdout.lag_records, stdout.shipped), (300, 0, 0, 300));
    assert_eq!(records(&log_text(dir.path())).len(), 300);

    // The cause is gone: the next start ships all of it, and what both have is deleted.
    fs::create_dir(out.parent().unwrap()).unwrap();
    log.close().await.unwrap();
    let (log, shipper) = open(&config).await;
    log.append(small()).await.unwrap();
    let retired = async {
        while records(&log_text(dir.path())).keys().next().is_none_or(|first| *first == 1) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, retired).await.expect("the front is retired");
    shipper.stop(LONG).await;
    let delivered = records(&fs::read(&out).unwrap());
    assert!(delivered.keys().copied().eq(1..=log.status().last_seq), "no gap");
}
