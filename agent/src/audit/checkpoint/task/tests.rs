use std::path::Path;

use super::*;
use crate::{
    audit::{
        log::LogOptions,
        samples::small,
        verify::{Expectations, LogReport, verify_directory},
    },
    config::Durability,
};

struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn audit(&self) -> PathBuf {
        self.dir.path().join("audit")
    }

    fn files(&self) -> KeyFiles {
        KeyFiles::new(self.dir.path())
    }

    fn log(&self) -> Log {
        let options = LogOptions {
            dir: self.audit(),
            durability: Durability::Sync,
            segment_bytes: 64 << 10,
            boot_id: "boot".into(),
        };
        Log::open(&options).unwrap().0
    }

    async fn start(&self, log: &Log, records: u64, seconds: u64) -> Checkpointer {
        let options = Options {
            dir: self.audit(),
            boot_id: "boot".into(),
            source: KeySource::Files(self.files()),
            files: self.files(),
            interval: Interval { records, seconds },
        };
        Checkpointer::start(log.clone(), options).await.unwrap()
    }

    fn verify(&self, keys: Vec<super::super::PublicKey>) -> LogReport {
        let keys = keys.into_iter().map(Into::into).collect();
        let expect = Expectations { keys, ..Expectations::default() };
        verify_directory(&self.audit(), &expect, |_| {}).unwrap().logs.remove(0)
    }
}

fn kinds(report: &LogReport) -> Vec<&'static str> {
    report.findings.listed.iter().map(|finding| finding.kind).collect()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} did not come to be");
}

#[tokio::test]
async fn checkpoints_follow_one_another_across_agents_and_cover_the_end() {
    let scene = Scene::new();
    for _ in 0..3 {
        let log = scene.log();
        for _ in 0..5 {
            log.append(small()).await.unwrap();
        }
        let checkpointer = scene.start(&log, 1000, 3600).await;
        eventually("the first checkpoint", || checkpointer.progress().status().covered.is_some()).await;
        log.append(small()).await.unwrap();
        let end = log.head().seq;
        checkpointer.finish().await;
        log.close().await.unwrap();
        let report = scene.verify(scene.files().public().unwrap());
        assert_eq!(kinds(&report), [""; 0]);
        assert_eq!(report.covered, end);
    }
    let report = scene.verify(scene.files().public().unwrap());
    assert_eq!((report.checkpoints, report.keys.len(), report.keys[0].given), (6, 1, true));
    assert!(!scene.verify(Vec::new()).keys[0].given, "nobody vouches for what the log says of itself");
}

#[tokio::test]
async fn they_are_due_by_count_and_by_time_also_when_idle() {
    let scene = Scene::new();
    let log = scene.log();
    let checkpointer = scene.start(&log, 10, 3600).await;
    eventually("the first", || checkpointer.progress().status().covered.is_some()).await;
    for _ in 0..10 {
        log.append(small()).await.unwrap();
    }
    let end = log.head().seq;
    eventually("one by count", || checkpointer.progress().status().covered >= Some(end)).await;
    checkpointer.finish().await;

    let checkpointer = scene.start(&log, 1000, 1).await;
    let before = log.head().seq;
    eventually("three while idle", || log.head().seq >= before + 3).await;
    checkpointer.finish().await;
    log.close().await.unwrap();
    assert_eq!(kinds(&scene.verify(scene.files().public().unwrap())), [""; 0]);
}

#[tokio::test]
async fn a_new_key_is_vouched_for_by_the_old_one() {
    let scene = Scene::new();
    let log = scene.log();
    scene.start(&log, 1000, 3600).await.finish().await;
    let old = scene.files().public().unwrap();
    let new = scene.files().prepare_next().unwrap();
    assert!(matches!(scene.files().prepare_next(), Err(SignerError::Pending(_))));
    scene.start(&log, 1000, 3600).await.finish().await;
    assert_eq!(scene.files().public().unwrap(), std::slice::from_ref(&new));
    scene.start(&log, 1000, 3600).await.finish().await;
    log.close().await.unwrap();
    let report = scene.verify(old);
    assert_eq!(kinds(&report), [""; 0], "the old key is enough");
    assert!(report.keys.len() == 2 && report.keys.iter().all(|key| key.given));
    assert_eq!(
        kinds(&scene.verify(vec![new]))[..2],
        ["key_not_vouched", "unknown_key"],
        "the new key says nothing of what came before it"
    );
}

#[tokio::test]
async fn a_key_that_was_lost_is_not_replaced_silently() {
    let scene = Scene::new();
    let log = scene.log();
    scene.start(&log, 1000, 3600).await.finish().await;
    let old = scene.files().public().unwrap();
    fs::remove_file(scene.dir.path().join("checkpoint.key")).unwrap();
    scene.start(&log, 1000, 3600).await.finish().await;
    log.close().await.unwrap();
    assert_eq!(kinds(&scene.verify(old.clone()))[0], "key_not_vouched");
    assert_eq!(kinds(&scene.verify(Vec::new()))[0], "key_not_vouched");
    let both = [old, scene.files().public().unwrap()].concat();
    assert_eq!(kinds(&scene.verify(both)), [""; 0], "an auditor who knows of both accepts them");
}

#[tokio::test]
async fn a_key_that_cannot_be_used_does_not_stop_records_and_is_reported() {
    let scene = Scene::new();
    let log = scene.log();
    let key = scene.dir.path().join("checkpoint.key");
    fs::write(&key, [0; 31]).unwrap();
    set_mode(&key, 0o600);
    let checkpointer = scene.start(&log, 1000, 1).await;
    eventually("a failure", || checkpointer.progress().status().failure.is_some()).await;
    log.append(small()).await.unwrap();
    fs::write(&key, [7; 32]).unwrap();
    set_mode(&key, 0o644);
    eventually("another failure", || {
        checkpointer.progress().status().failure.is_some_and(|failure| failure.contains("chmod 600"))
    })
    .await;
    set_mode(&key, 0o600);
    eventually("a checkpoint", || checkpointer.progress().status().failure.is_none()).await;
    checkpointer.finish().await;
    log.close().await.unwrap();
    assert_eq!(kinds(&scene.verify(scene.files().public().unwrap())), [""; 0]);
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
