//! A machine in QEMU, and what it says.

use std::{
    collections::HashMap,
    env,
    fs::{self, File},
    io,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use weir_tests::world::Running;

/// Emulated, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(1500);
const STEP: Duration = Duration::from_millis(200);
/// What `xtask/src/kernels/suites.sh` runs last.
const LAST_SUITE: &str = "bypass";
/// So many lines at the end of what was said tell why it ended; what continuous integration keeps of a failure is short.
const LAST_WORDS: usize = 60;
/// Resets and panics end it; what it says itself goes to the first serial line, what its kernel says to the second.
const MACHINE: &str = "-accel tcg,thread=multi -cpu max,la57=off -smp 2 -m 2048 -display none -nodefaults -no-user-config \
                       -no-reboot -nic none";
/// BPF's security hooks are there as on distributions that have them on; what they are for is tested nowhere else.
const KERNEL_ARGUMENTS: &str =
    "console=ttyS1 panic=-1 mitigations=off random.trust_cpu=on lsm=landlock,yama,apparmor,bpf";

/// A machine that is running. It ends with this value.
pub(crate) struct Guest {
    dir: TempDir,
    qemu: Running,
    began: Instant,
}

/// What a guest said until it powered off.
pub(crate) struct Report {
    suites: HashMap<String, Said>,
    /// Whether the last suite came to its end: the machine did not die before.
    pub(crate) whole: bool,
    /// What comes with it, for the one who has to find out why it failed.
    pub(crate) last_words: String,
    pub(crate) took: Duration,
}

/// What one suite said.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) succeeded: bool,
}

/// What `cargo xtask test` prepared.
pub(crate) fn kernels() -> PathBuf {
    env::var_os("WEIR_KERNELS").map(PathBuf::from).expect("WEIR_KERNELS is not set: run `cargo xtask test`")
}

impl Guest {
    /// Starts a kernel of a line.
    pub(crate) fn boot(line: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let prepared = kernels();
        let kernel = prepared.join(line);
        // The kernel unpacks one archive after the other.
        let initrd = dir.path().join("initrd");
        let mut whole = File::create(&initrd).unwrap();
        for archive in [prepared.join("guest.cpio"), kernel.join("modules.cpio")] {
            let mut archive = File::open(&archive).unwrap_or_else(|error| panic!("{}: {error}", archive.display()));
            io::copy(&mut archive, &mut whole).unwrap();
        }
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(MACHINE.split(' ')).args(["-append", KERNEL_ARGUMENTS]);
        qemu.arg("-kernel").arg(kernel.join("vmlinuz")).arg("-initrd").arg(initrd);
        for serial in ["said", "console"] {
            qemu.arg("-serial").arg(format!("file:{}", dir.path().join(serial).display()));
        }
        let errors = File::create(dir.path().join("errors")).unwrap();
        qemu.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let qemu = Running(qemu.spawn().expect("run qemu-system-x86_64 (package qemu-system-x86)"));
        Self { dir, qemu, began: Instant::now() }
    }

    /// Waits until it has powered off.
    pub(crate) fn report(mut self) -> Report {
        let status = loop {
            if let Some(status) = self.qemu.0.try_wait().unwrap() {
                break status;
            }
            assert!(self.began.elapsed() < PATIENCE, "it goes on for too long\n{}", self.last_words(None));
            thread::sleep(STEP);
        };
        let suites = parse(&self.read("said"));
        Report {
            whole: suites.contains_key(LAST_SUITE),
            suites,
            last_words: self.last_words(Some(status)),
            took: self.began.elapsed(),
        }
    }

    /// How QEMU ended, and the last of what it, the suites and the kernel said.
    fn last_words(&self, status: Option<ExitStatus>) -> String {
        let ended = status.map_or_else(|| "goes on".to_owned(), |status| status.to_string());
        let said = ["errors", "said", "console"].map(|name| {
            let text = self.read(name);
            let lines: Vec<&str> = text.lines().collect();
            format!("--- {name}\n{}\n", lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n"))
        });
        format!("{}QEMU: {ended} after {:?}", said.concat(), self.began.elapsed())
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.dir.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\r', "")
    }
}

impl Report {
    /// What a suite said, which must have come to its end.
    pub(crate) fn said(&self, suite: &str) -> &Said {
        self.suites.get(suite).unwrap_or_else(|| panic!("{suite} did not come to its end\n{}", self.last_words))
    }

    /// All that is known of a suite that failed.
    pub(crate) fn failure(&self, suite: &str) -> String {
        format!("{}\n{}", self.said(suite).text, self.last_words)
    }
}

/// What is between `=== begin <suite>` and `=== end <suite> <exit status>`.
fn parse(text: &str) -> HashMap<String, Said> {
    let mut suites = HashMap::new();
    let mut said = Said::default();
    for line in text.lines() {
        if line.starts_with("=== begin ") {
            said = Said::default();
        } else if let Some((name, status)) = line.strip_prefix("=== end ").and_then(|end| end.split_once(' ')) {
            said.succeeded = status == "0";
            suites.insert(name.to_owned(), std::mem::take(&mut said));
        } else {
            said.text.push_str(line);
            said.text.push('\n');
        }
    }
    suites
}
