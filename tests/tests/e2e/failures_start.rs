//! An agent that cannot start says what is wrong, where, and what to do; it leaves nothing attached, and an agent that runs
//! beside it undisturbed.
//!
//! A taken port is not among these: listeners take whatever port is free in each namespace, and no other port is opened.

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use weir_tests::fixture::{APP, eventually, weir};

use crate::scene::{GOOD, Scene};

/// How a command ended that should end by itself.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    complaint: String,
}

fn run(command: &mut Command) -> Ended {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("run weir");
    let mut stderr = child.stderr.take().expect("a pipe");
    let reader = std::thread::spawn(move || {
        let mut complaint = String::new();
        let _ = std::io::Read::read_to_string(&mut stderr, &mut complaint);
        complaint
    });
    let mut running = weir_tests::world::Running(child);
    let status = eventually("weir ends", || running.0.try_wait().expect("look at weir"));
    Ended { code: status.code(), complaint: reader.join().expect("stderr") }
}

/// Writes the configuration and gives its path.
fn configured(scene: &Scene, file: &str, change: impl Fn(String) -> String) -> PathBuf {
    let path = scene.stage.world().dir().join(file);
    fs::write(&path, change(scene.config(&[GOOD], "", "").text(&scene.stage))).expect("write a configuration");
    path
}

fn weir_run(scene: &Scene, config: &Path) -> Ended {
    run(scene.stage.world().command("/weir", weir()).arg("--config").arg(config).arg("run"))
}

/// It failed, named all of these, and let go of everything.
fn failed(scene: &Scene, ended: &Ended, words: &[&str]) {
    assert!(ended.code.is_some_and(|code| code == 1 || code == 2), "{ended:?}");
    for word in words {
        assert!(
            ended.complaint.to_lowercase().contains(&word.to_lowercase()),
            "{word:?} is missing: {}",
            ended.complaint
        );
    }
    assert!(!ended.complaint.contains("panicked"), "{}", ended.complaint);
    let python = scene.python(APP, GOOD);
    assert_eq!(python.kind, "http", "nothing stays in the way: {python:?}");
}

#[test]
fn without_a_ca_it_says_how_to_make_one() {
    let scene = Scene::new("noca");
    let _server = scene.serve_good();
    let config = configured(&scene, "weir.toml", |text| text);
    failed(&scene, &weir_run(&scene, &config), &["weir ca init"]);
}

#[test]
fn a_state_directory_that_cannot_be_used_is_named() {
    let scene = Scene::new("state");
    let _server = scene.serve_good();
    let state = scene.stage.world().dir().join("state");
    let config = configured(&scene, "weir.toml", |text| text);
    fs::write(&state, "not a directory").expect("write a file");
    failed(&scene, &weir_run(&scene, &config), &[state.to_str().expect("a path"), "directory"]);
}

#[test]
fn without_root_it_says_what_it_needs() {
    let scene = Scene::new("noroot");
    let server = scene.serve_good();
    // Nobody can read the program, its configuration and a state directory of its own: only privilege is missing.
    let dir = scene.stage.world().dir();
    fs::set_permissions(dir, Permissions::from_mode(0o755)).expect("open a directory");
    let program = dir.join("weir-copy");
    fs::copy(weir(), &program).expect("copy weir");
    let config = configured(&scene, "weir.toml", |text| text);
    assert_eq!(run(Command::new(weir()).arg("--config").arg(&config).args(["ca", "init"])).code, Some(0));
    let chown = Command::new("chown").args(["-R", "65534:65534"]).arg(dir.join("state")).status().expect("run chown");
    assert!(chown.success());

    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"];
    let mut command = scene.stage.world().command("/weir", "setpriv");
    let ended = run(command.args(nobody).arg(&program).arg("--config").arg(&config).arg("run"));
    assert!(ended.complaint.contains("root") || ended.complaint.contains("CAP_"), "{}", ended.complaint);
    failed(&scene, &ended, &[]);
    assert!(server.spoken_to() > 0);
}

#[test]
fn without_a_bpffs_it_says_how_to_mount_one() {
    let scene = Scene::new("nobpffs");
    let _server = scene.serve_good();
    let plain = scene.stage.world().dir().join("plain");
    fs::create_dir(&plain).expect("make a directory");
    let bpffs = scene.stage.world().bpffs().display().to_string();
    let config = configured(&scene, "weir.toml", |text| text.replace(&bpffs, plain.to_str().expect("a path")));
    assert_eq!(run(Command::new(weir()).arg("--config").arg(&config).args(["ca", "init"])).code, Some(0));
    failed(&scene, &weir_run(&scene, &config), &["bpf", plain.to_str().expect("a path")]);
}

#[test]
fn a_place_for_the_admin_socket_that_is_taken_is_named() {
    let scene = Scene::new("socket");
    let _server = scene.serve_good();
    let socket = scene.stage.world().dir().join("admin.sock");
    let config = configured(&scene, "weir.toml", |text| text);
    assert_eq!(run(Command::new(weir()).arg("--config").arg(&config).args(["ca", "init"])).code, Some(0));

    fs::write(&socket, "precious").expect("write a file");
    failed(&scene, &weir_run(&scene, &config), &[socket.to_str().expect("a path")]);
    assert_eq!(fs::read_to_string(&socket).expect("read a file"), "precious", "what was there is not removed");
    fs::remove_file(&socket).expect("remove a file");

    let _somebody = UnixListener::bind(&socket).expect("listen");
    failed(&scene, &weir_run(&scene, &config), &[socket.to_str().expect("a path")]);
}

#[test]
fn a_second_agent_on_the_same_log_gives_way() {
    let scene = Scene::new("second");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", "");
    let bpffs = scene.stage.world().bpffs();
    let elsewhere = |text: String| {
        let pins = bpffs.join("second").display().to_string();
        text.replace(&bpffs.join("weir").display().to_string(), &pins).replace("admin.sock", "second.sock")
    };
    let config = configured(&scene, "second.toml", elsewhere);

    let ended = weir_run(&scene, &config);
    assert!(ended.code.is_some_and(|code| code == 1 || code == 2), "{ended:?}");
    let log = agent.audit_dir().display().to_string();
    assert!(ended.complaint.contains(&log), "the log is named: {}", ended.complaint);
    scene.enter_scope();
    scene.still_works(&agent, &server);
}
