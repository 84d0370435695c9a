//! What fuzz targets see of this room; no other build has it.

use super::{
    framing::{Framing, Part},
    opening,
};

/// What an application's first bytes are, without what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// TLS.
    Tls,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// Anything else.
    Other,
}

impl Opening {
    /// As the proxy tells; `None` while it needs more bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        opening::Opening::read(bytes).map(|opening| match opening {
            opening::Opening::Tls(_) => Self::Tls,
            opening::Opening::Http { h2: false } => Self::Http1,
            opening::Opening::Http { h2: true } => Self::Http2,
            opening::Opening::Other(_) => Self::Other,
        })
    }
}

/// A connection's requests, as the proxy frames them.
#[derive(Debug)]
pub struct Requests {
    framing: Framing,
    /// Their heads.
    pub heads: Vec<Vec<u8>>,
    /// The bytes of all their bodies.
    pub bodies: Vec<u8>,
}

impl Requests {
    /// Heads may be at most so many bytes long.
    #[must_use]
    pub fn new(head_bytes: usize) -> Self {
        Self { framing: Framing::new(head_bytes), heads: Vec::new(), bodies: Vec::new() }
    }

    /// Follows more bytes.
    ///
    /// # Errors
    /// The first ambiguity, in words.
    pub fn observe(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let Self { framing, heads, bodies } = self;
        framing.observe(bytes, |part| match part {
            Part::Head(head) => heads.push(head.to_vec()),
            Part::Body(body) => bodies.extend_from_slice(body),
        })
    }
}
