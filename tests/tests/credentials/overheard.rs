//! Everything on the wires of a world's network, as a packet socket sees it.

use std::{
    io::{ErrorKind, Read as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

const ETH_P_ALL: u16 = 3;
const RECV_BUFFER: usize = 16 << 20;
const TCP: u8 = 6;

/// See the module. What is said with the emulator of AWS is left out: it grants keys in clear text.
pub(crate) struct Overheard {
    ends: Arc<AtomicBool>,
    listening: JoinHandle<Vec<u8>>,
}

impl Overheard {
    /// Listens in this thread's network, at all devices, but not to what comes from or goes to a port.
    pub(crate) fn but(port: u16) -> Self {
        let everything = Protocol::from(i32::from(ETH_P_ALL.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(everything)).expect("a packet socket");
        socket.set_recv_buffer_size(RECV_BUFFER).expect("a buffer");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a patience");
        let ends = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&ends);
        let listening = thread::spawn(move || {
            let (mut heard, mut buffer) = (Vec::new(), vec![0; 1 << 17]);
            loop {
                match (&socket).read(&mut buffer) {
                    Ok(length) if !is_of(&buffer[..length], port) => heard.extend_from_slice(&buffer[..length]),
                    Ok(_) => {}
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                        if is_over.load(Ordering::Relaxed) {
                            return heard;
                        }
                    }
                    Err(error) => panic!("listen: {error}"),
                }
            }
        });
        Self { ends, listening }
    }

    /// All of it, once nothing more comes.
    pub(crate) fn end(self) -> Vec<u8> {
        self.ends.store(true, Ordering::Relaxed);
        self.listening.join().expect("who listens")
    }
}

/// Whether a packet belongs to a connection over IPv4 from or to a port.
fn is_of(packet: &[u8], port: u16) -> bool {
    let is_tcp = packet.first().is_some_and(|first| first >> 4 == 4) && packet.get(9) == Some(&TCP);
    let header = usize::from(packet.first().copied().unwrap_or_default() & 0x0f) * 4;
    let is_port = |at: usize| packet.get(at..at + 2) == Some(&port.to_be_bytes());
    is_tcp && (is_port(header) || is_port(header + 2))
}
