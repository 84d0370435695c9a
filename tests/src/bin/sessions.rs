//! Asks for the credentials of many workloads at once, as the proxy does, with nothing around: `sessions <config> <endpoint>
//! <workloads> <each>`. Says what it took, in JSON.

use std::{
    collections::{HashMap, HashSet},
    env, fs,
    ops::Range,
    path::Path,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use hyper::Request;
use serde_json::json;
use tokio::{sync::Semaphore, task::JoinSet};
use weir::{
    config,
    credentials::{Asking, Credential, Credentials, Upstream, Wanted},
    datapath::CgroupId,
    identity::{Process, Workload, WorkloadKind},
};

/// So many requests are under way together.
const AT_ONCE: usize = 512;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [config, endpoint, workloads, each] = &arguments[..] else { anyhow::bail!("four arguments") };
    let credentials = Credentials::new(&config::load(Path::new(config))?)?;
    let credential = Arc::clone(credentials.of(endpoint).context("the endpoint has credentials of its own")?);
    let (workloads, each) = (workloads.parse()?, each.parse()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let began = Instant::now();
        // The first tenth brings what all share.
        ask(&credential, 0..workloads / 10, each).await?;
        let before = resident_kib()?;
        let first = ask(&credential, 0..workloads, each).await?;
        let (after, took) = (resident_kib()?, began.elapsed());
        let second = ask(&credential, 0..workloads, 1).await?;
        ensure!(first == second, "sessions are kept");
        println!(
            "{}",
            json!({
                "keys": first.values().collect::<HashSet<_>>().len(),
                "bytes_each": (after.saturating_sub(before) << 10) / (workloads - workloads / 10),
                "milliseconds": u64::try_from(took.as_millis())?,
            })
        );
        Ok(())
    })
}

/// Every workload asks `each` times, all of them at about the same time; which key each got.
async fn ask(credential: &Arc<Credential>, workloads: Range<u64>, each: u64) -> Result<HashMap<u64, String>> {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut asking = JoinSet::new();
    for number in workloads.flat_map(|number| (0..each).map(move |_| number)) {
        let (credential, place) = (Arc::clone(credential), Arc::clone(&room).acquire_owned().await?);
        asking.spawn(async move {
            let key = key(&credential, number).await;
            drop(place);
            (number, key)
        });
    }
    let mut keys = HashMap::new();
    while let Some(asked) = asking.join_next().await {
        let (number, key) = asked?;
        let key = key?;
        let first = keys.entry(number).or_insert_with(|| key.clone());
        ensure!(*first == key, "one workload has two keys");
    }
    Ok(keys)
}

/// The key that a workload's request would be signed with.
async fn key(credential: &Credential, number: u64) -> Result<String> {
    let (workload, no_file) = (workload(number), |_: &str| Err("it has no files".to_owned()));
    let head = Request::post("https://mcp.test/mcp").body(())?.into_parts().0;
    let upstream = Upstream { verified: Some("mcp.test"), port: 443 };
    let asking = Asking { workload: &workload, caller: None, file: &no_file };
    let grant = credential.obtain(Wanted::of(&head), upstream, &asking).await?;
    grant.used().access_key_id.clone().context("a key")
}

fn workload(number: u64) -> Workload {
    let name = format!("app-{number}.service");
    Workload {
        kind: WorkloadKind::Unit,
        id: format!("systemd/{name}"),
        name: format!("systemd/{name}"),
        cgroup: Some(format!("/system.slice/{name}")),
        spiffe_id: None,
        cgroup_id: CgroupId(number),
        unit: Some(name),
        container: None,
        pod: None,
        process: Process { pid: 1, uid: 0, comm: "app".into(), exe: None, started_ns: None, audit_session: None },
    }
}

/// Resident memory (proc(5): `VmRSS`).
fn resident_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(resident.trim().trim_end_matches(" kB").parse()?)
}
