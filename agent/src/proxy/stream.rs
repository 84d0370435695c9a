//! The application's byte stream: what was read while sniffing is read again, and every byte is counted.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::unregistered::Watch;

/// Bytes of one flow, as they crossed the application's socket.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    out: AtomicU64,
    r#in: AtomicU64,
}

impl Traffic {
    /// Bytes from the application.
    pub(crate) fn bytes_out(&self) -> u64 {
        self.out.load(Ordering::Relaxed)
    }

    /// Counts bytes that were taken from the application past an [`AppStream`].
    pub(crate) fn count_out(&self, bytes: usize) {
        self.out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes that were given to the application past an [`AppStream`].
    pub(crate) fn count_in(&self, bytes: usize) {
        self.r#in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes to the application.
    pub(crate) fn bytes_in(&self) -> u64 {
        self.r#in.load(Ordering::Relaxed)
    }
}

/// A TCP stream whose first bytes were already read.
#[derive(Debug)]
pub(crate) struct AppStream {
    sniffed: Bytes,
    inner: TcpStream,
    traffic: Arc<Traffic>,
    watch: Option<Box<Watch>>,
}

impl AppStream {
    /// Puts `sniffed` back in front of `inner`.
    pub(crate) fn new(sniffed: Bytes, inner: TcpStream, traffic: Arc<Traffic>) -> Self {
        traffic.out.fetch_add(sniffed.len() as u64, Ordering::Relaxed);
        Self { sniffed, inner, traffic, watch: None }
    }

    /// Has what the application says looked at before it is read.
    pub(crate) fn watched(self, watch: Watch) -> Self {
        Self { watch: Some(Box::new(watch)), ..self }
    }

    /// The socket, and what was seen on it.
    pub(crate) fn into_parts(self) -> (TcpStream, Option<Box<Watch>>) {
        (self.inner, self.watch)
    }

    /// Shows the watch what was read after `before`; what it objects to was not read.
    fn show(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let Some(watch) = &mut self.watch else { return Ok(()) };
        let shown = watch.observe(&buf.filled()[before..]);
        if shown.is_err() {
            buf.set_filled(before);
        }
        shown
    }
}

impl AsyncRead for AppStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.sniffed.is_empty() {
            let n = self.sniffed.len().min(buf.remaining());
            buf.put_slice(&self.sniffed[..n]);
            self.sniffed.advance(n);
            let before = buf.filled().len() - n;
            return Poll::Ready(self.show(buf, before));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.traffic.out.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        match polled {
            Poll::Ready(Ok(())) => Poll::Ready(self.show(buf, before)),
            other => other,
        }
    }
}

impl AppStream {
    fn count_in(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(n)) = written {
            self.traffic.r#in.fetch_add(*n as u64, Ordering::Relaxed);
        }
    }
}

impl AsyncWrite for AppStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.count_in(&written);
        written
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
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.count_in(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
