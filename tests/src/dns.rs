//! A server of names that answers whatever a test wants, right or wrong.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// A type of records that gives an IPv4 address.
pub const A: u16 = 1;
/// A type of records that gives an IPv6 address.
pub const AAAA: u16 = 28;
const CNAME: u16 = 5;
/// Answers are longer than clients of the old kind take; the test's clients take more.
const MAX_LEN: usize = 8192;

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The message's id.
    pub id: u16,
    /// The name, as it was written.
    pub name: String,
    /// The type.
    pub kind: u16,
}

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    owner: String,
    ttl: u32,
    data: Data,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Data {
    Address(IpAddr),
    Name(String),
}

impl Record {
    /// An address of a name.
    #[must_use]
    pub fn address(owner: &str, ttl: u32, ip: IpAddr) -> Self {
        Self { owner: owner.to_owned(), ttl, data: Data::Address(ip) }
    }

    /// Another name of a name.
    #[must_use]
    pub fn alias(owner: &str, ttl: u32, of: &str) -> Self {
        Self { owner: owner.to_owned(), ttl, data: Data::Name(of.to_owned()) }
    }
}

impl Question {
    /// As a message.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        self.with_header(0x0100, 0)
    }

    /// The answer, with names compressed.
    #[must_use]
    pub fn answer(&self, records: &[Record]) -> Vec<u8> {
        self.answer_with(0x8180, records, true)
    }

    /// The answer, with these flags, compressed or not.
    ///
    /// # Panics
    ///
    /// With more records than a message can count.
    #[must_use]
    pub fn answer_with(&self, flags: u16, records: &[Record], compressed: bool) -> Vec<u8> {
        let mut message = self.with_header(flags, u16::try_from(records.len()).expect("few records"));
        let mut known = vec![(self.name.clone(), 12)];
        for Record { owner, ttl, data } in records {
            name(&mut message, owner, compressed.then_some(&mut known));
            let kind = match data {
                Data::Address(IpAddr::V4(_)) => A,
                Data::Address(IpAddr::V6(_)) => AAAA,
                Data::Name(_) => CNAME,
            };
            message.extend([kind.to_be_bytes(), 1_u16.to_be_bytes()].concat());
            message.extend(ttl.to_be_bytes());
            let at = message.len();
            message.extend([0; 2]);
            match data {
                Data::Address(IpAddr::V4(ip)) => message.extend(ip.octets()),
                Data::Address(IpAddr::V6(ip)) => message.extend(ip.octets()),
                Data::Name(of) => name(&mut message, of, compressed.then_some(&mut known)),
            }
            let len = u16::try_from(message.len() - at - 2).expect("a short record");
            message[at..at + 2].copy_from_slice(&len.to_be_bytes());
        }
        message
    }

    fn with_header(&self, flags: u16, records: u16) -> Vec<u8> {
        let header = [self.id, flags, 1, records, 0, 0].map(u16::to_be_bytes);
        let mut message = header.concat();
        name(&mut message, &self.name, None);
        message.extend([self.kind.to_be_bytes(), 1_u16.to_be_bytes()].concat());
        message
    }

    fn read(message: &[u8]) -> Option<Self> {
        let id = u16::from_be_bytes(message.get(..2)?.try_into().ok()?);
        let mut at = 12;
        let mut labels = Vec::new();
        loop {
            let len = usize::from(*message.get(at)?);
            if len == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(message.get(at + 1..at + 1 + len)?).into_owned());
            at += 1 + len;
        }
        let kind = u16::from_be_bytes(message.get(at + 1..at + 3)?.try_into().ok()?);
        Some(Self { id, name: labels.join("."), kind })
    }
}

/// Writes a name; where names are compressed, as a pointer to where one was written.
fn name(message: &mut Vec<u8>, name: &str, known: Option<&mut Vec<(String, usize)>>) {
    if let Some(known) = known {
        if let Some((_, at)) = known.iter().find(|(known, _)| known == name) {
            message.extend(u16::try_from(0xc000 | at).expect("a short message").to_be_bytes());
            return;
        }
        known.push((name.to_owned(), message.len()));
    }
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).expect("a short label"));
        message.extend(label.as_bytes());
    }
    message.push(0);
}

/// Answers on port 53 until it is dropped.
#[derive(Debug)]
pub struct NameServer {
    asked: Arc<Mutex<Vec<Question>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Starts one in the calling thread's network namespace. `answers` gives what is sent back for a question.
    ///
    /// # Panics
    ///
    /// When the port is taken.
    #[must_use]
    pub fn start(ip: IpAddr, answers: impl Fn(&Question) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind(SocketAddr::new(ip, 53)).expect("listen on port 53");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("set a time-out");
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, stopped) = (Arc::clone(&asked), Arc::clone(&stop));
        let serve = move || {
            let mut bytes = [0; MAX_LEN];
            while !stopped.load(Ordering::Relaxed) {
                let (len, from) = match socket.recv_from(&mut bytes) {
                    Ok(received) => received,
                    Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                        continue;
                    }
                    // Somebody who asked has gone.
                    Err(_) => continue,
                };
                let Some(question) = Question::read(&bytes[..len]) else { continue };
                log.lock().unwrap_or_else(PoisonError::into_inner).push(question.clone());
                for answer in answers(&question) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        };
        Self { asked, stop, thread: Some(thread::spawn(serve)) }
    }

    /// Every question so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
