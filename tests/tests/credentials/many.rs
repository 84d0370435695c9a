//! Many workloads, one endpoint: a session for each, asked for once, and no stampede at STS.

use std::{collections::BTreeSet, fs, process::Command, thread};

use serde_json::Value;
use weir_tests::fixture::{Aws, ConfigToml, Curl};

use crate::trial::{Trial, ping};

/// Requests to STS under way for one endpoint; docs/credentials.md says so.
const AT_ONCE: u64 = 32;

fn sessions(trial: &Trial) -> BTreeSet<String> {
    let name = |asked: Value| asked["RoleSessionName"].as_str().unwrap_or_default().to_owned();
    trial.aws.asked().into_iter().map(name).collect()
}

/// With the agent's own code for credentials, and nothing around it: ten thousand processes would say no more of it.
#[test]
fn ten_thousand_workloads_cost_ten_thousand_requests_however_many_ask_at_once() {
    const WORKLOADS: usize = 10_000;
    let trial = Trial::new("many-sessions", &[], &[]);
    let own = format!("credentials = {}", trial.role(""));
    let config = ConfigToml::of(&[]).endpoint(&trial.server, &own).text(&trial.stage);
    let path = trial.file("many.toml", &config);
    let mut program = Command::new(env!("CARGO_BIN_EXE_sessions"));
    program.args([&path, "mcp.test", &WORKLOADS.to_string(), "3"]).envs(Aws::ENVIRONMENT);
    let output = program.output().expect("run the program");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_str(&said).expect("what it took");
    println!("{said}; at most {} requests under way", trial.aws.most_at_once());
    assert_eq!(said["keys"], WORKLOADS);
    assert_eq!(trial.aws.asked().len(), WORKLOADS, "each workload's session is asked for once");
    assert_eq!(sessions(&trial).len(), WORKLOADS);
    assert!(trial.aws.most_at_once() <= AT_ONCE, "{}", trial.aws.most_at_once());
    // Resident memory, with what the allocator loses between long lives and short ones.
    assert!(said["bytes_each"].as_u64() < Some(12 << 10), "{said}");
}

#[test]
fn hundreds_of_cgroups_have_a_session_each_and_share_none() {
    const CGROUPS: usize = 200;
    const AT_A_TIME: usize = 8;
    let trial = Trial::new("many-cgroups", &[], &[]);
    let agent = trial.agent(&trial.role(""));
    let call = |cgroup: usize| {
        let reply =
            Curl::post("https://mcp.test/rpc", &ping(cgroup as u64)).run(&trial.stage, &format!("/app/w{cgroup}"));
        assert_eq!(reply.status, 200, "{reply:#?}");
    };
    thread::scope(|scope| {
        for first in 0..AT_A_TIME {
            let call = &call;
            scope.spawn(move || {
                for cgroup in (first..CGROUPS).step_by(AT_A_TIME) {
                    // Two at once: both need the session, and one asks for it.
                    thread::scope(|pair| {
                        pair.spawn(|| call(cgroup));
                        pair.spawn(|| call(cgroup));
                    });
                }
            });
        }
    });
    assert_eq!(trial.aws.asked().len(), CGROUPS);
    let expected: BTreeSet<_> = (0..CGROUPS).map(|cgroup| format!("process=app=w{cgroup}")).collect();
    assert_eq!(sessions(&trial), expected);
    let seen = trial.seen();
    assert_eq!(seen.len(), 2 * CGROUPS);
    assert!(seen.iter().all(|seen| seen.0["verified"].is_object()));
    let keys: BTreeSet<_> = seen.iter().map(|seen| seen.0["verified"]["key"].to_string()).collect();
    assert_eq!(keys.len(), CGROUPS);
    let resident = fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("the agent's status");
    println!("{}", resident.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default());
    agent.verify();
}
