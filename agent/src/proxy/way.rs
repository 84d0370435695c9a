//! How one flow's server is reached: straight, or through a proxy that the application asked for it.

use std::{net::SocketAddr, sync::Arc};

use tokio::net::TcpStream;

use super::{names::Names, tunnel::Tunnel};
use crate::datapath::{NetnsCookie, OriginalDst};

/// The way to a server.
#[derive(Debug)]
pub(crate) struct Way {
    /// Where to connect: the server, or the proxy in front of it.
    pub(crate) addr: SocketAddr,
    /// The server's port, as requests must name it.
    pub(crate) port: u16,
    /// How the proxy is asked for the server.
    pub(crate) tunnel: Option<Arc<Tunnel>>,
    /// A connection that is there already, through the proxy where there is one; nothing was said on it yet.
    pub(crate) open: Option<TcpStream>,
}

impl Way {
    /// Where the application went.
    pub(crate) fn straight(dst: OriginalDst) -> Self {
        Self { addr: dst.0, port: dst.0.port(), tunnel: None, open: None }
    }

    /// Where to dial for `host`: a proxy finds it by itself.
    pub(crate) fn candidates(&self, names: &Names, netns: NetnsCookie, host: &str) -> Vec<SocketAddr> {
        match self.tunnel {
            Some(_) => vec![self.addr],
            None => names.candidates(netns, Some(host), self.addr),
        }
    }
}
