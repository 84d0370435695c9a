//! HTTP `CONNECT` (RFC 9110 §9.3.6): an application asks a proxy for a server. The proxy is asked in the application's own
//! words, credentials included, and its answer is passed on as it came.

use std::{
    fmt,
    hash::{Hash, Hasher},
    io,
    sync::Arc,
};

use http::uri::Authority;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use zeroize::Zeroizing;

/// Longest head of a proxy's answer, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// How a proxy is asked for a server. The request can carry credentials.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Tunnel {
    request: Zeroizing<Vec<u8>>,
}

impl Hash for Tunnel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.request.as_slice().hash(state);
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnel")
    }
}

/// What a proxy answered.
pub(super) struct Answer {
    /// The head, and whatever came with it.
    pub(super) bytes: Vec<u8>,
    /// How long the head is.
    pub(super) head: usize,
    /// Whether the tunnel is open.
    pub(super) is_open: bool,
}

impl Tunnel {
    /// Asks with a request's whole head.
    pub(super) fn new(request: &[u8]) -> Arc<Self> {
        Arc::new(Self { request: Zeroizing::new(request.to_vec()) })
    }

    /// Asks the proxy on a connection to it.
    ///
    /// # Errors
    /// The connection broke, the answer did not come in time, or it is not HTTP/1.
    pub(super) async fn ask(&self, proxy: &mut TcpStream, deadline: Instant) -> io::Result<Answer> {
        let asked = async {
            proxy.write_all(&self.request).await?;
            let mut bytes = Vec::new();
            loop {
                if let Some((head, is_open)) = read_answer(&bytes)? {
                    return Ok(Answer { bytes, head, is_open });
                }
                if bytes.len() >= MAX_ANSWER {
                    return Err(io::Error::other("the proxy's answer is too long"));
                }
                if proxy.read_buf(&mut bytes).await? == 0 {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the proxy closed without an answer"));
                }
            }
        };
        timeout_at(deadline, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Opens the tunnel on a connection to the proxy.
    ///
    /// # Errors
    /// As [`ask`](Self::ask), or the proxy refused, or it spoke before it was spoken to: behind the answer nothing may come.
    pub(super) async fn open(&self, proxy: &mut TcpStream, deadline: Instant) -> io::Result<()> {
        let answer = self.ask(proxy, deadline).await?;
        match answer.is_open && answer.bytes.len() == answer.head {
            true => Ok(()),
            false => Err(io::Error::other("the proxy refused the tunnel")),
        }
    }
}

/// How long the head of a proxy's answer is, and whether it opens the tunnel; `None` while it is incomplete.
fn read_answer(answer: &[u8]) -> io::Result<Option<(usize, bool)>> {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(answer) {
        Ok(httparse::Status::Complete(head)) => Ok(response.code.map(|code| (head, (200..300).contains(&code)))),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(io::Error::other("the proxy's answer is not HTTP/1")),
    }
}

/// The host and port of a `CONNECT` request's target.
pub(super) fn target(target: &str) -> Option<(String, u16)> {
    let authority: Authority = target.parse().ok()?;
    Some((super::headers::canonical_host(authority.host()), authority.port_u16()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_a_host_and_a_port() {
        assert_eq!(target("MCP.test:443"), Some(("mcp.test".into(), 443)));
        assert_eq!(target("[2001:db8::0:1]:443"), Some(("2001:db8::1".into(), 443)));
        for none in ["mcp.test", "", "mcp.test:99999", "http://mcp.test:443/"] {
            assert_eq!(target(none), None, "{none}");
        }
    }

    #[test]
    fn any_2xx_opens() {
        let is_open = |answer: &[u8]| Ok::<_, io::Error>(read_answer(answer)?.map(|(_, is_open)| is_open));
        assert_eq!(is_open(b"HTTP/1.1 200 Connection established\r\n\r").unwrap(), None);
        assert_eq!(is_open(b"HTTP/1.1 204 x\r\n\r\n").unwrap(), Some(true));
        assert_eq!(is_open(b"HTTP/1.1 407 x\r\nproxy-authenticate: Basic\r\n\r\n").unwrap(), Some(false));
        assert!(is_open(b"SSH-2.0\r\n").is_err());
    }
}
