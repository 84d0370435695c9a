//! A new agent that fails on its way leaves the running one as it was. The new one is played by the test, step by step, as
//! the conversation between agents goes; or it is a real one that cannot start.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{net::UnixStream, process::ExitStatusExt as _},
    path::Path,
};

use serde_json::{Value, json};
use weir::datapath::ABI;
use weir_tests::{
    fixture::{APP, Records, eventually},
    world::Running,
};

use crate::scene::{GOOD, Scene, ping, post};

/// How far a new agent goes before it dies.
type Go = fn(&mut Newcomer);

/// A new agent, as far as it has come.
struct Newcomer(UnixStream);

impl Newcomer {
    /// Connects and says hello, on these terms.
    fn hello(scene: &Scene, change: impl Fn(&mut Value)) -> (Self, Value) {
        let mut terms = terms(scene);
        change(&mut terms);
        let stream = UnixStream::connect(scene.stage.world().dir().join("state/handover.sock"))
            .expect("the running agent listens");
        let mut newcomer = Self(stream);
        newcomer.say(&json!({ "Hello": { "version": "9.9.9", "terms": terms } }));
        let answer = newcomer.hear().expect("an answer");
        (newcomer, answer)
    }

    fn say(&mut self, message: &Value) {
        let text = message.to_string();
        let length = u32::try_from(text.len()).expect("short").to_be_bytes();
        self.0.write_all(&length).and_then(|()| self.0.write_all(text.as_bytes())).expect("say something");
    }

    fn hear(&mut self) -> Option<Value> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).ok()?;
        let mut text = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn take(&mut self) {
        self.say(&json!("Take"));
        loop {
            let heard = self.hear().expect("more of it");
            if heard.get("Known").is_some() {
                assert!(heard["Known"]["addresses"].as_array().is_some_and(|known| !known.is_empty()), "{heard}");
                return;
            }
            assert!(heard.get("Namespace").is_some(), "{heard}");
        }
    }

    fn release(&mut self) {
        self.say(&json!("Release"));
        assert_eq!(self.hear(), Some(json!("Released")));
    }
}

/// What the running agent agrees to.
fn terms(scene: &Scene) -> Value {
    json!({
        "protocol": 1,
        "abi": ABI,
        "bpffs": scene.stage.world().bpffs().join("weir"),
        "base": scene.stage.world().cgroup_base(),
        "audit": scene.stage.world().dir().join("state/audit"),
    })
}

fn kept_on(records: &Records) -> usize {
    records.life().iter().filter(|kind| **kind == "kept_on").count()
}

#[test]
fn a_new_agent_that_dies_at_any_step_leaves_the_running_one_serving() {
    let scene = Scene::new("halfway");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", "");
    scene.enter_scope();
    let mut kept = scene.client();
    let mut ask = |id| {
        let reply = kept.ask(&post(&ping(id))).expect("a response").expect("a response");
        assert_eq!(reply.status(), 200, "{reply:?}");
    };
    ask(1);
    let steps: [(&str, Go); 3] = [
        ("hello", |_| {}),
        ("listeners", Newcomer::take),
        ("log", |newcomer| {
            newcomer.take();
            newcomer.release();
        }),
    ];
    for (round, (step, go)) in steps.into_iter().enumerate() {
        let (mut newcomer, welcome) = Newcomer::hello(&scene, |_| {});
        assert!(welcome.get("Welcome").is_some(), "{welcome}");
        go(&mut newcomer);
        drop(newcomer);
        // The connection that was open, and a new one, at once: what cannot be recorded yet waits.
        ask(u32::try_from(round).expect("small") + 2);
        scene.still_works(&agent, &server);
        agent.records_once(step, |records| kept_on(records) == round + 1);
    }
    let epochs: Vec<_> = agent.records().0.iter().map(|record| record.value["epoch"].clone()).collect();
    assert!(epochs.iter().all(|epoch| *epoch == 1), "nobody else began an epoch: {epochs:?}");
    agent.verify();
}

/// Takes everything, locks the log as a writer does, hangs up, and lives on.
const SQUATTER: &str = r#"
import fcntl, json, socket, struct, sys, time
at, terms, log = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
running = socket.socket(socket.AF_UNIX)
running.connect(at)
def say(message):
    text = json.dumps(message).encode()
    running.sendall(struct.pack(">I", len(text)) + text)
def hear():
    length, = struct.unpack(">I", running.recv(4, socket.MSG_WAITALL))
    return json.loads(running.recv(length, socket.MSG_WAITALL))
say({"Hello": {"version": "9.9.9", "terms": terms}})
assert "Welcome" in hear()
say("Release")
assert hear() == "Released"
lock = open(log + "/lock", "r+")
fcntl.flock(lock, fcntl.LOCK_EX)
print("locked", flush=True)
running.close()
time.sleep(600)
"#;

#[test]
fn a_new_agent_that_hangs_with_the_log_is_killed() {
    let scene = Scene::new("squatter");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", "");
    scene.enter_scope();
    let socket = scene.stage.world().dir().join("state/handover.sock");
    let mut command = scene.stage.world().command("/weir", "python3");
    command.args(["-c", SQUATTER]).arg(socket).arg(terms(&scene).to_string()).arg(agent.audit_dir());
    let mut squatter = Running(command.spawn().expect("start python3"));
    scene.still_works(&agent, &server);
    let end = eventually("the squatter is killed", || squatter.0.try_wait().expect("look at it"));
    assert_eq!(end.signal(), Some(9));
    agent.records_once("it goes on", |records| kept_on(records) == 1);
    scene.still_works(&agent, &server);
}

#[test]
fn agents_that_cannot_share_do_not_hand_over() {
    let scene = Scene::new("terms");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", "");
    scene.enter_scope();
    for (key, value) in [("protocol", json!(2)), ("abi", json!(ABI + 1)), ("base", json!("/else"))] {
        let (mut newcomer, answer) = Newcomer::hello(&scene, |terms| terms[key] = value.clone());
        assert!(answer["Refused"]["why"].as_str().is_some_and(|why| why.contains("stop it first")), "{answer}");
        assert_eq!(newcomer.hear(), None, "it has hung up");
    }
    scene.still_works(&agent, &server);
    assert_eq!(kept_on(&agent.records()), 0, "nothing had changed");
}

#[test]
fn a_new_agent_with_a_bad_configuration_leaves_the_running_one_alone() {
    let scene = Scene::new("badconfig");
    let server = scene.serve_good();
    let mut agent = scene.agent(&[GOOD], "", "");
    scene.enter_scope();
    let config = scene.stage.world().dir().join("weir.toml");
    let good = fs::read_to_string(&config).expect("read the configuration");
    for bad in [format!("nonsense = 1\n{good}"), good.replace("upstream_ca = \"", "upstream_ca = \"/nowhere")] {
        assert_ne!(bad, good);
        write(&config, &bad);
        agent.upgrade_without_waiting();
        let status = eventually("the new agent gives up", || agent.exited());
        assert!(!status.success());
        write(&config, &good);
        agent.stay_with_former();
        scene.still_works(&agent, &server);
    }
    agent.upgrade();
    scene.still_works(&agent, &server);
    assert!(agent.former_ended().iter().all(std::process::ExitStatus::success));
    agent.verify();
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("write the configuration");
}

#[test]
fn a_new_agent_that_is_killed_anywhere_leaves_one_that_serves_or_none_that_leaks() {
    let scene = Scene::new("anywhere");
    let server = scene.serve_good();
    let mut agent = scene.agent(&[GOOD], "", "");
    for round in 0..6_u64 {
        agent.upgrade_without_waiting();
        std::thread::sleep(std::time::Duration::from_millis(120 * round));
        agent.kill9();
        // Either it had not taken over, and the former serves; or it had, and nobody does until the next start.
        let serves = eventually("the end is clear", || {
            let reply = scene.curl(APP, GOOD);
            match reply.exit {
                0 => Some(true),
                7 => Some(false),
                _ => None,
            }
        });
        if serves {
            agent.stay_with_former();
        } else {
            agent.former_ended();
            agent.restart();
        }
        assert_eq!(scene.curl(APP, GOOD).status, 200);
        agent.verify();
    }
    let records = agent.records();
    let pings = records.calls("ping");
    assert_eq!(server.seen().len(), pings.len(), "each that the server saw is recorded: {}", records.summary());
}
