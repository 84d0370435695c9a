//! `weir upgrade`: starts this version beside the running agent, which hands over to it, and waits until it serves.
//!
//! What it starts outlives the command: under systemd, as `ExecReload=`, it stays in the unit and becomes its main process.

use std::{
    env,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{Context, Ended, Failure, client};

/// Longest wait for the new agent to serve.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at.
const PAUSE: Duration = Duration::from_millis(100);

/// Arguments of `weir upgrade`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// No agent runs, or the new one does not come to serve; then the running one serves as before.
pub fn execute(_args: &Args, context: &Context) -> Result<Ended, Failure> {
    let config = context.load()?;
    let socket = config.admin.socket().unwrap_or_else(|| config.admin.listen.as_ref());
    client::wait(client::status(socket))?.map_err(|error| Failure::Failed(error.to_string()))?;
    let failed = |error: std::io::Error| Failure::Failed(format!("cannot start another agent: {error}"));
    let program = env::current_exe().map_err(failed)?;
    let mut command = Command::new(program);
    command.arg("--config").arg(&context.config).arg("run").stdin(Stdio::null()).process_group(0);
    let mut next = command.spawn().map_err(failed)?;
    wait_until_it_serves(&mut next, socket)?;
    Ok(Ended::Done)
}

fn wait_until_it_serves(next: &mut Child, socket: &Path) -> Result<(), Failure> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Ok(Some(status)) = next.try_wait() {
            return Err(Failure::Failed(format!(
                "the new agent has ended ({status}); the running one serves as before"
            )));
        }
        if client::wait(client::status(socket))?.is_ok_and(|status| status.pid == next.id()) {
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
    // It must not take over later, when nobody expects it.
    let _ = next.kill();
    Err(Failure::Failed(format!("the new agent does not serve after {} s; it was killed", PATIENCE.as_secs())))
}
