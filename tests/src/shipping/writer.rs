//! A process that writes a log, signs it and ships it, with the agent's own `Log`, `Checkpointer` and `Shipper` and nothing around
//! them, so that there can be many records.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};
use weir::{
    audit::{
        checkpoint::{self, Checkpointer},
        event::{Event, Flow, FlowEnd, Route, What},
        log::{Log, LogOptions},
        ship::Shipper,
    },
    config::{self, Config},
    datapath::CgroupId,
    identity::{Process, Workload, WorkloadKind},
};

/// What to write.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// The log is to have so many records.
    pub records: u64,
    /// Records per second; 0: as fast as it goes.
    pub rate: u64,
}

/// Tasks that append at once, as calls do.
const APPENDING: u64 = 64;

/// Opens the log of a configuration, writes until it has enough records, ships them all, and prints how it went.
///
/// # Errors
/// When the log cannot be opened, or not everything was shipped within ten minutes.
pub fn run(config: &Path, work: Work) -> Result<()> {
    let config = config::load(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(write_and_ship(&config, work))
}

async fn write_and_ship(config: &Config, work: Work) -> Result<()> {
    let options = LogOptions::from_config(config)?;
    let (log, recovery) = Log::open(&options)?;
    log.settle(recovery).await?;
    let checkpoints = checkpoint::Options::from_config(config, &options.boot_id);
    let checkpointer = Checkpointer::start(log.clone(), checkpoints).await?;
    let shipper = Shipper::new(config, &log);
    shipper.start()?;
    let began = Instant::now();
    let cpu = cpu_ms()?;
    write(&log, work).await?;
    let written = began.elapsed();
    checkpointer.finish().await;
    shipper.stop(Duration::from_secs(600)).await;
    let status = shipper.status();
    let said = json!({
        "records": log.status().last_seq,
        "written_ms": u64::try_from(written.as_millis())?,
        "shipped_ms": u64::try_from(began.elapsed().as_millis())?,
        "cpu_ms": cpu_ms()? - cpu,
        "sinks": status,
    });
    log.close().await?;
    println!("{said}");
    ensure!(status.iter().all(|sink| sink.lag_records == 0), "not everything was shipped");
    Ok(())
}

async fn write(log: &Log, Work { records, rate }: Work) -> Result<()> {
    let missing = records.saturating_sub(log.status().last_seq);
    let began = Instant::now();
    let log = Arc::new(log.clone());
    let mut tasks = JoinSet::new();
    for task in 0..APPENDING.min(missing) {
        let log = Arc::clone(&log);
        tasks.spawn(async move {
            for number in (task..missing).step_by(APPENDING as usize) {
                if let Some(micros) = (number * 1_000_000).checked_div(rate) {
                    tokio::time::sleep_until(began + Duration::from_micros(micros)).await;
                }
                log.append(event(number)).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// A flow's record: about 1.2 KB.
fn event(number: u64) -> Event {
    let workload = Workload {
        kind: WorkloadKind::Unit,
        id: "systemd/agent.service".into(),
        name: "systemd/agent.service".into(),
        cgroup: Some("/system.slice/agent.service".into()),
        cgroup_id: CgroupId(number),
        unit: Some("agent.service".into()),
        container: None,
        spiffe_id: None,
        pod: None,
        process: Process {
            pid: 42,
            uid: 1000,
            comm: "python3".into(),
            exe: None,
            started_ns: Some(number),
            audit_session: None,
        },
    };
    let flow = Flow {
        workload,
        route: Route {
            src: ([10, 0, 0, 7], 40_000).into(),
            dst: ([192, 0, 2, 1], 443).into(),
            hostname: Some("mcp.billing.example.com".into()),
            flow_id: uuid::Uuid::from_u128(number.into()),
        },
        endpoint: Some("billing".into()),
        tally: None,
        end: FlowEnd::Closed,
        reason: None,
        duration: Duration::from_millis(number % 1000),
        bytes_out: number,
        bytes_in: number * 3,
        protocol: "tls",
        shadow: None,
    };
    Event { time: jiff::Timestamp::now(), what: What::Flow(Box::new(flow)) }
}

/// This process's CPU time in milliseconds (proc(5): `utime` and `stime`, in hundredths of a second).
fn cpu_ms() -> Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().context("no stat")?.split_ascii_whitespace().collect();
    let ticks = |index: usize| -> Result<u64> { Ok(fields.get(index).context("a short stat")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) * 10)
}
