//! The ways that the load takes.

use std::path::PathBuf;

use anyhow::Result;

use super::{
    cpu,
    stage::{DURABILITIES, Parts, Stage},
};
use crate::pki;

/// The server of the load; `tests/bench/upstream.conf`.
pub(super) const LOAD_PORT: u16 = 8443;
/// nginx before it; `tests/bench/proxy.conf`.
pub(super) const NGINX_PORT: u16 = 8444;
/// The server of streams; `sse_peer`.
pub(super) const STREAM_PORT: u16 = 8445;

/// One way to the server.
pub(super) struct Leg {
    /// For tables.
    pub(super) name: String,
    /// Where the load is sent.
    port: u16,
    /// Where clients run, when it matters.
    pub(super) cgroup: Option<PathBuf>,
    /// What clients trust.
    pub(super) trusted: PathBuf,
    /// The proxy's processes.
    pub(super) proxies: Vec<u32>,
    /// The agent's `audit.durability`, where the agent is on the way.
    pub(super) durability: Option<&'static str>,
}

impl Leg {
    /// Direct, through nginx, and through Weir with each durability.
    pub(super) fn all(stage: &Stage, parts: &Parts) -> Result<Vec<Self>> {
        let without_weir = |name: &str, port, proxies| Self {
            name: name.to_owned(),
            port,
            cgroup: None,
            trusted: pki::root(&stage.dir),
            proxies,
            durability: None,
        };
        let mut legs = vec![
            without_weir("direct", LOAD_PORT, Vec::new()),
            without_weir("nginx", NGINX_PORT, cpu::family(parts.nginx.pid())?),
        ];
        for (durability, agent) in DURABILITIES.into_iter().zip(&parts.agents) {
            legs.push(Self {
                name: format!("weir, {durability}"),
                port: LOAD_PORT,
                cgroup: Some(stage.app(durability)),
                trusted: stage.agent_root(durability),
                proxies: vec![agent.pid()],
                durability: Some(durability),
            });
        }
        Ok(legs)
    }

    /// Where the load is sent.
    pub(super) fn url(&self) -> String {
        format!("https://localhost:{}/mcp", self.port)
    }

    /// Whether streams take this way: nginx is not configured for them.
    pub(super) fn carries_streams(&self) -> bool {
        self.port == LOAD_PORT
    }
}
