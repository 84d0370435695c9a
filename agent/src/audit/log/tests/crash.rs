//! Tests that end a writer the hard way: in a child process, which is this test binary started anew.

use std::{
    collections::HashMap,
    env,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use super::*;

const DIR: &str = "WEIR_TEST_LOG_DIR";
const DURABILITY: &str = "WEIR_TEST_LOG_DURABILITY";

fn this_binary(test: &str) -> Vec<String> {
    let exe = env::current_exe().unwrap().display().to_string();
    vec![exe, format!("audit::log::tests::crash::{test}"), "--exact".into(), "--ignored".into(), "--nocapture".into()]
}

fn child_options() -> LogOptions {
    let dir = env::var(DIR).expect("started by the test that needs it");
    let durability =
        if env::var(DURABILITY).as_deref() == Ok("process") { Durability::Process } else { Durability::Sync };
    LogOptions { durability, ..options(Path::new(&dir)) }
}

#[test]
#[ignore = "the writer that `every_acknowledged_record_survives_a_kill` kills"]
fn writer_to_be_killed() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (log, recovery) = Log::open(&child_options()).unwrap();
        log.settle(recovery).await.unwrap();
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let log = log.clone();
            tasks.spawn(async move {
                loop {
                    let id = Uuid::now_v7();
                    let receipt = log.append(request(id)).await.unwrap();
                    println!("ack {} {id}", receipt.seq);
                    log.append(response(id, Outcome::Ok)).await.unwrap();
                }
            });
        }
        tasks.join_all().await;
    });
}

/// Kills the child some time after its first acknowledgement, and returns all that it had acknowledged.
fn killed_after(mut child: Child, time: Duration) -> HashMap<u64, String> {
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (started, first) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let acks = stdout.lines().map_while(Result::ok);
        let acks = acks.filter_map(|line| {
            // The last line may be torn by the kill: a whole UUID has 36 characters.
            let (seq, id) = line.strip_prefix("ack ")?.split_once(' ')?;
            let _ = started.send(());
            (id.len() == 36).then(|| (seq.parse().unwrap(), id.to_owned()))
        });
        acks.collect()
    });
    first.recv().expect("the child acknowledges something before it ends");
    std::thread::sleep(time);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
fn every_acknowledged_record_survives_a_kill() {
    for durability in ["sync", "process"] {
        let dir = tempfile::tempdir().unwrap();
        let mut acknowledged = HashMap::new();
        for round in 0..12_u64 {
            let command = this_binary("writer_to_be_killed");
            let child = Command::new(&command[0])
                .args(&command[1..])
                .env(DIR, dir.path())
                .env(DURABILITY, durability)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let acks = killed_after(child, Duration::from_micros(round * 7_919 % 100_000));
            acknowledged.extend(acks);
        }
        assert!(!acknowledged.is_empty());
        let (log, _) = Log::open(&options(dir.path())).unwrap();
        assert_eq!(intact(dir.path()).records, log.status().last_seq);
        let events = events(dir.path());
        for (seq, id) in &acknowledged {
            assert!(events[*seq as usize - 1].contains(id), "{durability}: record {seq} was acknowledged");
        }
        let epochs = intact(dir.path()).epoch_count;
        assert!(epochs > 2, "{durability}: several agents wrote, {epochs} epochs");
        drop(log);
        let ends = events.iter().filter(|event| event.contains(r#""outcome":"unknown""#)).count();
        assert!(ends > 0, "{durability}: a kill leaves calls open, and the next agent says so");
    }
}

#[test]
#[ignore = "runs on the small file system that `a_full_disk_refuses_and_recovers` mounts"]
fn writer_on_a_full_disk() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = child_options();
        let filler = options.dir.join("filler");
        let (log, _) = Log::open(&options).unwrap();
        log.append(small()).await.unwrap();
        fs::write(&filler, vec![0; 300 << 10]).unwrap();
        let mut kept = 1;
        let refused = loop {
            match log.append(request(Uuid::now_v7())).await {
                Ok(receipt) => kept = receipt.seq,
                Err(error) => break error,
            }
        };
        assert!(refused.to_string().contains("No space left on device"), "{refused}");
        for _ in 0..3 {
            log.append(request(Uuid::now_v7())).await.unwrap_err();
        }
        let status = log.status();
        assert_eq!((status.last_seq, status.refused), (kept, 4));
        assert!(status.failing.unwrap().error.contains("No space left on device"));
        let report = intact(&options.dir);
        assert_eq!(report.records, kept, "no part of a refused record stays");

        fs::remove_file(&filler).unwrap();
        assert_eq!(log.append(small()).await.unwrap().seq, kept + 1);
        assert!(log.status().failing.is_none());

        // An agent that starts on a full disk opens its log, and refuses calls until there is space.
        log.close().await.unwrap();
        let free = rustix::fs::statvfs(&options.dir).unwrap();
        fs::write(&filler, vec![0; (free.f_bavail * free.f_frsize) as usize]).unwrap();
        let (log, _) = Log::open(&options).unwrap();
        while log.append(small()).await.is_ok() {}
        fs::remove_file(&filler).unwrap();
        log.append(small()).await.unwrap();
        assert_eq!(intact(&options.dir).records, log.status().last_seq);
    });
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let command = this_binary("writer_on_a_full_disk");
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", r#"mount -t tmpfs -o size=512k weir-test "$0" && exec "$@""#])
        .arg(dir.path())
        .args(&command)
        .env(DIR, dir.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}
