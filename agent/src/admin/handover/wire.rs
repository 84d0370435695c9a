//! Messages and descriptors over a Unix socket: a length of four bytes, then JSON. Descriptors go with the length.

use std::{
    io::{self, IoSlice, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        recvmsg, sendmsg, sockopt::socket_peercred,
    },
};
use serde::{Serialize, de::DeserializeOwned};

use super::{HandoverError, PATIENCE};

/// Longest message, in bytes.
const MAX: usize = 16 << 20;
/// Most descriptors with one message: a namespace and its two listeners.
const DESCRIPTORS: usize = 3;

/// One end of the conversation. Blocking, with time-outs.
#[derive(Debug)]
pub(super) struct Wire {
    stream: UnixStream,
}

impl Wire {
    /// Checks that the same user is at the other end.
    ///
    /// # Errors
    /// [`HandoverError::Stranger`].
    pub(super) fn new(stream: UnixStream) -> Result<Self, HandoverError> {
        let prepare = || {
            stream.set_nonblocking(false)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(socket_peercred(&stream)?)
        };
        let peer = prepare().map_err(failed("prepare the connection"))?;
        match peer.uid {
            uid if uid == rustix::process::geteuid() => Ok(Self { stream }),
            uid => Err(HandoverError::Stranger(uid.as_raw())),
        }
    }

    /// The process at the other end, if this pid namespace shows it.
    pub(super) fn peer(&self) -> Option<rustix::process::Pid> {
        socket_peercred(&self.stream).ok().map(|peer| peer.pid).filter(|pid| pid.as_raw_nonzero().get() > 0)
    }

    /// Changes how long is waited for a message; none for as long as it takes.
    pub(super) fn set_patience(&self, patience: Option<Duration>) -> Result<(), HandoverError> {
        self.stream.set_read_timeout(patience).map_err(failed("prepare the connection"))
    }

    /// Waits until the other end is closed.
    pub(super) fn lifeline(&self) -> io::Result<Lifeline> {
        Ok(Lifeline(self.stream.try_clone()?))
    }

    pub(super) fn send(&mut self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        let length = u32::try_from(text.len()).ok().filter(|length| *length as usize <= MAX);
        let length = length.ok_or_else(|| io::Error::other("a message is too long"))?.to_be_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("too many descriptors for one message"));
        }
        let sent = sendmsg(&self.stream, &[IoSlice::new(&length)], &mut control, SendFlags::NOSIGNAL)?;
        self.stream.write_all(&length[sent..])?;
        self.stream.write_all(&text)
    }

    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<(T, Vec<OwnedFd>)> {
        let mut length = [0; 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(&self.stream, &mut [IoSliceMut::new(&mut length)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let descriptors = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let descriptors = descriptors.flatten().collect();
        self.stream.read_exact(&mut length[received.bytes..])?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX {
            return Err(io::Error::other("a message is too long"));
        }
        let mut text = vec![0; length];
        self.stream.read_exact(&mut text)?;
        Ok((serde_json::from_slice(&text)?, descriptors))
    }
}

/// Names what was attempted.
pub(super) fn failed(doing: &'static str) -> impl Fn(io::Error) -> HandoverError {
    move |source| HandoverError::Wire { doing, source }
}

/// The other end, to be watched while messages are exchanged elsewhere.
#[derive(Debug)]
pub(super) struct Lifeline(UnixStream);

impl Lifeline {
    /// Blocks until the other end is closed.
    pub(super) fn wait(self) {
        loop {
            let mut watched = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::empty())];
            let polled = poll(&mut watched, None);
            let closed = watched[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
            if closed || polled.is_err_and(|errno| errno != rustix::io::Errno::INTR) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::MetadataExt as _};

    use super::*;

    fn pair() -> (Wire, Wire) {
        let (one, other) = UnixStream::pair().expect("a pair");
        (Wire::new(one).expect("the same user"), Wire::new(other).expect("the same user"))
    }

    #[test]
    fn messages_arrive_in_order_with_their_descriptors() {
        let (mut one, mut other) = pair();
        let file = tempfile::tempfile().expect("a file");
        one.send(&"with", &[file.as_fd(), file.as_fd()]).expect("sent");
        one.send(&"without", &[]).expect("sent");
        let (text, descriptors): (String, _) = other.receive().expect("received");
        assert_eq!((text.as_str(), descriptors.len()), ("with", 2));
        for descriptor in descriptors {
            let arrived = File::from(descriptor).metadata().expect("a file");
            assert_eq!(arrived.ino(), file.metadata().expect("a file").ino());
        }
        let (text, descriptors): (String, _) = other.receive().expect("received");
        assert_eq!((text.as_str(), descriptors.len()), ("without", 0));
    }

    #[test]
    fn the_end_of_the_other_is_an_error_and_ends_the_watch() {
        let (one, mut other) = pair();
        let lifeline = other.lifeline().expect("another descriptor");
        let watch = std::thread::spawn(move || lifeline.wait());
        drop(one);
        watch.join().expect("it ended");
        assert_eq!(other.receive::<String>().expect_err("the end").kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_too_long_is_not_read() {
        let (mut one, mut other) = pair();
        one.stream.write_all(&[0xff; 4]).expect("sent");
        assert!(other.receive::<String>().expect_err("too long").to_string().contains("too long"));
    }
}
