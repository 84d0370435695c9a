//! Namespaces that are entered without a new program, and listeners that are shut down from inside.

use std::{process::Stdio, thread, time::Duration};

use weir_tests::{
    fixture::{APP, Agent, ConfigToml, ServerKind, Stage, eventually},
    world::Running,
};

use crate::world::{curl, idle, namespaces, number, until};

#[test]
fn a_threads_own_namespace_is_found_at_its_first_socket() {
    let mut stage = Stage::new("thread");
    let server = stage.serve(ServerKind::Node, "mcp.test");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let program = env!("CARGO_BIN_EXE_netns_thread").into();
    let mut process = Running(stage.command(APP, &[program]).stdin(Stdio::piped()).spawn().expect("run a program"));
    until(&agent, "serving", 2);
    assert!(agent.log().contains("at_exec=false"), "nothing was executed in there");
    // Longer than it takes to let go of a namespace that nobody is in.
    thread::sleep(Duration::from_secs(5));
    assert_eq!(number(&agent, "serving"), 2, "{}", namespaces(&agent));
    drop(process.0.stdin.take());
    assert!(process.0.wait().expect("wait for the program").success());
    until(&agent, "serving", 1);
}

#[test]
fn a_listener_that_is_shut_down_is_opened_again() {
    /// curl's exit code when it cannot connect.
    const DENIED: i32 = 7;
    let mut stage = Stage::new("shut");
    let server = stage.serve(ServerKind::Node, "mcp.test");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let process = idle(&stage, APP);
    until(&agent, "serving", 2);
    let inside = |arguments: &[String]| {
        let mut command = stage.command(APP, &["nsenter".into()]);
        command.arg(format!("--net=/proc/{}/ns/net", process.0.id())).args(arguments);
        command.output().unwrap_or_else(|error| panic!("run {command:?}: {error}")).status.code()
    };
    inside(&["ip", "link", "set", "lo", "up"].map(str::to_owned));
    let call = curl(&server.url(), "inside");
    // Nothing leads out of there: what is redirected fails later than what is denied.
    assert_ne!(inside(&call), Some(DENIED));
    inside(&["ss", "--kill", "--tcp", "--listening"].map(str::to_owned));
    assert_eq!(inside(&call), Some(DENIED));
    eventually("it is served again", || (inside(&call) != Some(DENIED)).then_some(()));
    assert_eq!((number(&agent, "opened"), number(&agent, "closed")), (3, 1));
}
