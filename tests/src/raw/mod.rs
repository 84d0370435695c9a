//! Peers that keep to no rule unless told to: a server that plays a script on its bytes, and a client that sends whatever
//! bytes a test wants and reads what comes back. Blocking sockets and threads, so that a script reads from top to bottom.
//!
//! Sockets are made where the caller is: a server made inside a namespace stays in it.

pub mod client;
pub mod http1;
pub mod proxy;
pub mod server;

use std::{
    io::{self, Read, Write},
    time::Duration,
};

/// Bounds every wait of a raw peer: far beyond what a working peer takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A stream of bytes, under TLS or not.
pub trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// Whether an error is the end of a connection, however it came about.
#[must_use]
pub fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
}
