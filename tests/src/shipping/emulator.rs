//! Kinesis emulators, as their registries ship them.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{fixture::eventually, world::Running};

/// A running emulator. It ends with this value.
#[derive(Debug)]
pub struct Emulator {
    port: u16,
    _running: Running,
}

impl Emulator {
    /// `ferrokinesis`, which throttles and accepts requests in part when it is given `--enforce-limits true`.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn ferrokinesis(dir: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(installed("tools/bin/ferrokinesis"));
        let port = free_port();
        command.args(["--port", &port.to_string(), "--region", "us-east-1", "--log-level", "error"]);
        command.args(["--create-stream-ms", "0", "--update-stream-ms", "50"]).args(arguments);
        Self::start(dir, port, command)
    }

    /// `moto`, which verifies signatures once [`Stream::create`] has told it to.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn moto(dir: &Path) -> Self {
        let mut command = Command::new(installed("peers/reader/bin/moto_server"));
        let port = free_port();
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).env("INITIAL_NO_AUTH_ACTION_COUNT", "1000000");
        Self::start(dir, port, command)
    }

    fn start(dir: &Path, port: u16, mut command: Command) -> Self {
        let log = File::create(dir.join("emulator.log")).expect("make a log");
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        let emulator = Self { port, _running: Running(command.spawn().expect("start the emulator")) };
        eventually("the emulator listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        emulator
    }

    /// Where it listens, on loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

fn installed(below: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(below);
    assert!(path.exists(), "{} is missing: run `cargo xtask setup`", path.display());
    path
}
