//! A container for vectors: runc, once, with a shell that runs one after the other.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    os::{fd::AsRawFd as _, unix::fs::symlink},
    path::Path,
    process::{self, Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};
use weir_tests::world::{Neighbour, ONLY_CGROUP2, World};

use crate::{place::Side, vectors::User};

/// What Docker gives to root in a container: `DefaultCapabilities` in moby's `oci/caps/defaults.go`.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Reads a command from each line, runs it, and says how it ended.
const SHELL: &str = "while read -r line; do eval \"$line\" 2>&1 </dev/null; code=$?; echo; echo \"ended $code\"; done";

pub(crate) struct Cell {
    /// None once it is to end.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    runc: Child,
    _network: File,
}

impl Cell {
    /// Where a cell finds the vectors.
    pub(crate) const PROGRAMS: &str = "/programs";

    pub(crate) fn new(world: &World, network: &Neighbour, side: Side, programs: &Path) -> Self {
        let id = format!("cell{}", side.cgroup().replace('/', "-"));
        let bundle = world.dir().join(&id);
        let root = bundle.join("rootfs");
        for dir in ["bin", "proc"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("copy busybox (package busybox-static)");
        symlink("busybox", root.join("bin/sh")).unwrap();
        let network = network.run(|| File::open("/proc/thread-self/ns/net").unwrap());
        let path = format!("/proc/{}/fd/{}", process::id(), network.as_raw_fd());
        let spec = spec(world, side, &id, programs, &path);
        fs::write(bundle.join("config.json"), spec.to_string()).unwrap();

        let mut command = Command::new("unshare");
        let run = format!("{ONLY_CGROUP2} && exec runc --root \"$0\" run --bundle \"$1\" \"$2\"");
        command.args(["--mount", "sh", "-c", &run]).arg(world.dir().join("runc")).arg(&bundle).arg(&id);
        let mut runc = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("run unshare");
        let (commands, answers) = (runc.stdin.take(), BufReader::new(runc.stdout.take().unwrap()));
        Self { commands, answers, runc, _network: network }
    }

    /// Runs a program to its end, and gives its exit code and what it said. Nothing is quoted: no vector needs it.
    pub(crate) fn run(
        &mut self,
        program: &Path,
        arguments: &[String],
        user: User,
        joins: Side,
    ) -> (Option<i32>, String) {
        let commands = self.commands.as_mut().unwrap();
        let variables = format!("VECTOR_UID={} VECTOR_JOIN={}/cgroup.procs", user.uid(), joins.joined());
        // The shell stays where it is.
        let line = format!("( exec env {variables} {} {} )\n", program.display(), arguments.join(" "));
        commands.write_all(line.as_bytes()).unwrap();
        let mut said = String::new();
        loop {
            let mut answer = String::new();
            assert_ne!(self.answers.read_line(&mut answer).unwrap(), 0, "the container has ended: {said}");
            if let Some(code) = answer.trim().strip_prefix("ended ") {
                return (code.parse().ok(), said.trim().to_owned());
            }
            said.push_str(&answer);
        }
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // The shell has read everything, and ends.
        self.commands = None;
        let _ = self.runc.wait();
    }
}

fn spec(world: &World, side: Side, id: &str, programs: &Path, network: &str) -> Value {
    let join = |side: Side| {
        let source = format!("/sys/fs/cgroup{}{}", world.cgroup_base(), side.joined());
        json!({ "destination": side.joined(), "type": "bind", "source": source, "options": ["bind", "rw"] })
    };
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": ["/bin/sh", "-c", SHELL],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": { "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES },
        },
        "root": { "path": "rootfs" },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
            { "destination": Cell::PROGRAMS, "type": "bind", "source": programs, "options": ["bind", "ro"] },
            join(Side::InScope), join(Side::OutOfScope),
        ],
        "linux": {
            "cgroupsPath": format!("{}{}/{id}", world.cgroup_base(), side.cgroup()),
            "namespaces": [
                { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
                { "type": "network", "path": network },
            ],
        },
    })
}
