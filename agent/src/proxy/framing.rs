//! HTTP/1.1 framing that can be read in one way only.
//!
//! hyper resolves some ambiguities by rule before a service sees the request: with both `Transfer-Encoding` and
//! `Content-Length` it drops the second (RFC 9112 §6.3 allows it, and asks to treat it as an attack). What is forwarded is
//! framed anew, so nothing can be smuggled past; but a request that two readers may read differently is refused, not
//! guessed. This reader watches the bytes on their way to hyper, keeps its own account of where each request begins and ends,
//! and notes the first thing that is not plain.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// More headers than this are refused; hyper's own limit is 100.
const MAX_HEADERS: usize = 128;

/// Longest chunk-size line: sixteen hex digits and CRLF.
const MAX_CHUNK_LINE: usize = 18;

/// What was noticed about one connection.
#[derive(Debug, Default)]
pub(crate) struct Watch(OnceLock<&'static str>);

impl Watch {
    /// The first ambiguity seen, in words.
    pub(crate) fn ambiguity(&self) -> Option<&'static str> {
        self.0.get().copied()
    }
}

/// A stream whose inbound HTTP/1.1 framing is watched.
#[derive(Debug)]
pub(crate) struct Watched<IO> {
    inner: IO,
    watch: Arc<Watch>,
    framing: Framing,
}

impl<IO> Watched<IO> {
    /// Watches `inner`, whose heads may be at most `head_bytes` long.
    pub(crate) fn new(inner: IO, head_bytes: usize) -> (Self, Arc<Watch>) {
        let watch = Arc::<Watch>::default();
        (Self { inner, watch: Arc::clone(&watch), framing: Framing::new(head_bytes) }, watch)
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let Self { watch, framing, .. } = &mut *self;
        if let Err(ambiguity) = framing.observe(&buf.filled()[before..], |_| {}) {
            let _ = watch.0.set(ambiguity);
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// Where in the stream of requests the next byte belongs.
#[derive(Debug)]
enum At {
    /// In a request's head, of which this much has been seen.
    Head(Vec<u8>),
    /// In a body with so many bytes to come.
    Body(u64),
    /// In a chunk-size line.
    ChunkLine(Vec<u8>),
    /// In a chunk's data and the CRLF behind it.
    Chunk(u64),
    /// In the trailer section, of which this line has been seen.
    Trailers(Vec<u8>),
    /// Behind an ambiguity: nothing more can be told.
    Lost,
}

/// A part of a request.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// A whole head.
    Head(&'a [u8]),
    /// Some of a body; of a chunked one, with the line end behind each chunk.
    Body(&'a [u8]),
}

/// Follows a connection's requests.
#[derive(Debug)]
pub(super) struct Framing {
    at: At,
    head_bytes: usize,
}

impl Framing {
    /// Heads may be at most `head_bytes` long.
    pub(super) fn new(head_bytes: usize) -> Self {
        Self { at: At::Head(Vec::new()), head_bytes }
    }

    /// Whether the last request has ended and nothing of another was seen.
    pub(super) fn is_between_requests(&self) -> bool {
        matches!(&self.at, At::Head(seen) if seen.is_empty())
    }

    /// Follows `bytes`, and tells each part that they complete or continue.
    ///
    /// # Errors
    /// The first ambiguity, in words; from then on nothing is followed.
    pub(super) fn observe(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Part<'_>)) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            match self.step(bytes, &mut tell) {
                Ok(used) => bytes = &bytes[used..],
                Err(ambiguity) => {
                    self.at = At::Lost;
                    return Err(ambiguity);
                }
            }
        }
        Ok(())
    }

    /// Follows some of `bytes` and says how many.
    fn step(&mut self, bytes: &[u8], tell: &mut impl FnMut(Part<'_>)) -> Result<usize, &'static str> {
        match &mut self.at {
            At::Lost => Ok(bytes.len()),
            At::Head(seen) => {
                let had = seen.len();
                seen.extend_from_slice(bytes);
                match head(seen)? {
                    Some((length, next)) => {
                        tell(Part::Head(&seen[..length]));
                        self.at = next;
                        Ok(length - had)
                    }
                    None if seen.len() >= self.head_bytes => Err("the request's head is too long"),
                    None => Ok(bytes.len()),
                }
            }
            At::Body(left) | At::Chunk(left) => {
                let used = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= used as u64;
                tell(Part::Body(&bytes[..used]));
                if *left == 0 {
                    self.at = match self.at {
                        At::Chunk(_) => At::ChunkLine(Vec::new()),
                        _ => At::Head(Vec::new()),
                    };
                }
                Ok(used)
            }
            At::ChunkLine(line) => {
                let used = take_line(line, bytes, MAX_CHUNK_LINE)?;
                if line.ends_with(b"\n") {
                    self.at = match chunk_size(line)? {
                        0 => At::Trailers(Vec::new()),
                        size => At::Chunk(size.checked_add(2).ok_or("a chunk is too large")?),
                    };
                }
                Ok(used)
            }
            At::Trailers(line) => {
                let used = take_line(line, bytes, self.head_bytes)?;
                if line.as_slice() == b"\r\n" {
                    self.at = At::Head(Vec::new());
                } else if line.ends_with(b"\n") {
                    if !line.ends_with(b"\r\n") {
                        return Err("a trailer line ends without CR");
                    }
                    line.clear();
                }
                Ok(used)
            }
        }
    }
}

/// Appends to `line` up to and including the next LF.
fn take_line(line: &mut Vec<u8>, bytes: &[u8], limit: usize) -> Result<usize, &'static str> {
    let used = bytes.iter().position(|&b| b == b'\n').map_or(bytes.len(), |at| at + 1);
    line.extend_from_slice(&bytes[..used]);
    if line.len() > limit { Err("a chunk-size or trailer line is too long") } else { Ok(used) }
}

/// RFC 9112 §7.1, without chunk extensions: no MCP client sends any, and readers disagree on where they end.
fn chunk_size(line: &[u8]) -> Result<u64, &'static str> {
    let digits = line.strip_suffix(b"\r\n").ok_or("a chunk-size line ends without CR")?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err("a chunk size is not plain hex digits");
    }
    let text = std::str::from_utf8(digits).map_err(|_| "a chunk size is not plain hex digits")?;
    u64::from_str_radix(text, 16).map_err(|_| "a chunk is too large")
}

/// A whole head's length and what follows it; `None` while it is incomplete.
fn head(seen: &[u8]) -> Result<Option<(usize, At)>, &'static str> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    // What cannot be parsed at all, hyper refuses in its own words.
    let length = match request.parse(seen) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err("the request's head is not HTTP/1.1"),
    };
    if bare_lf(&seen[..length]) {
        return Err("a line of the request's head ends without CR");
    }
    let named = |name: &'static str| {
        request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    let lengths: Vec<&[u8]> = named("content-length").collect();
    let codings: Vec<&[u8]> = named("transfer-encoding").collect();
    let next = match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => At::Head(Vec::new()),
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => At::ChunkLine(Vec::new()),
        ([], _) => return Err("transfer-encoding is not just `chunked`"),
        ([_, ..], [_, ..]) => return Err("the request has both content-length and transfer-encoding"),
        ([one], []) => match content_length(one)? {
            0 => At::Head(Vec::new()),
            length => At::Body(length),
        },
        ([_, _, ..], []) => return Err("the request has several content-length headers"),
    };
    Ok(Some((length, next)))
}

fn content_length(value: &[u8]) -> Result<u64, &'static str> {
    let plain = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| plain).ok_or("content-length is not plain digits")?;
    text.parse().map_err(|_| "content-length is too large")
}

fn bare_lf(head: &[u8]) -> bool {
    head.iter().enumerate().any(|(at, &byte)| byte == b'\n' && (at == 0 || head[at - 1] != b'\r'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verdict(bytes: &[u8]) -> Result<(), &'static str> {
        Framing::new(4096).observe(bytes, |_| {})
    }

    const PLAIN: &[u8] = b"POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}\
        POST /mcp HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx-sum: 1\r\n\r\n\
        GET /mcp HTTP/1.1\r\nhost: a\r\n\r\n";

    #[test]
    fn plain_requests_follow_each_other() {
        let mut framing = Framing::new(4096);
        assert_eq!(framing.observe(PLAIN, |_| {}), Ok(()));
        assert!(matches!(framing.at, At::Head(seen) if seen.is_empty()));
    }

    #[test]
    fn a_head_that_fills_its_room_is_noticed() {
        let head = format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(5000));
        assert_eq!(verdict(&head.as_bytes()[..4095]), Ok(()));
        assert!(verdict(&head.as_bytes()[..4096]).is_err(), "hyper's buffer ends here too");
    }

    #[test]
    fn every_classic_ambiguity_is_noticed() {
        for (attack, bytes) in [
            (
                "CL.TE",
                "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nG",
            ),
            ("TE.CL", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n"),
            ("TE.TE", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: x\r\n\r\n"),
            ("coding", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n"),
            ("CL.CL", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ncontent-length: 4\r\n\r\n"),
            ("CL list", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4, 4\r\n\r\n"),
            ("CL sign", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +4\r\n\r\n"),
            ("bare LF", "POST / HTTP/1.1\nhost: a\r\n\r\n"),
            ("chunk ext", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2;x\n\r\n{}\r\n0\r\n\r\n"),
            ("chunk LF", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n"),
            ("chunk size", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n"),
            ("huge chunk", "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
        ] {
            assert!(verdict(bytes.as_bytes()).is_err(), "{attack}");
        }
    }

    proptest! {
        #[test]
        fn a_split_anywhere_is_read_the_same(cuts in proptest::collection::vec(0..PLAIN.len(), 0..8)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut framing = Framing::new(4096);
            let mut from = 0;
            for cut in cuts.into_iter().chain([PLAIN.len()]) {
                prop_assert_eq!(framing.observe(&PLAIN[from..cut], |_| {}), Ok(()));
                from = cut;
            }
            prop_assert!(matches!(framing.at, At::Head(seen) if seen.is_empty()));
        }

        #[test]
        fn arbitrary_bytes_are_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..9000)) {
            let mut framing = Framing::new(4096);
            let _ = framing.observe(&bytes, |_| {});
            if let At::Head(seen) = framing.at {
                prop_assert!(seen.len() <= 4096 + 9000);
            }
        }
    }
}
