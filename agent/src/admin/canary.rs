//! `weir canary`: connects where only a redirect answers, and waits to be hung up on. The agent's watchdog runs it.

use std::{
    io::Read as _,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use super::{Ended, Failure};
use crate::datapath::CANARY_ADDRESS;

/// Longest wait for each step.
const PATIENCE: Duration = Duration::from_secs(5);

/// Arguments of `weir canary`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// The connection was not redirected to an agent that is alive.
pub fn execute(_args: &Args) -> Result<Ended, Failure> {
    let (ip, port): (Ipv4Addr, u16) = CANARY_ADDRESS;
    let failed = |error: std::io::Error| Failure::Failed(format!("the canary was not redirected: {error}"));
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((ip, port)), PATIENCE).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let _ = stream.read(&mut [0]).map_err(failed)?;
    Ok(Ended::Done)
}
