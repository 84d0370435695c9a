//! What a client asks for, read from its first bytes without answering them.

mod extensions;
#[cfg(test)]
mod tests;

use std::io::Cursor;

use rustls::{
    AlertDescription,
    server::{Accepted, AcceptedAlert, Acceptor},
};

/// Longest run of bytes looked at for one `ClientHello`, in bytes.
pub const MAX_HELLO: usize = 64 << 10;

/// The extension `encrypted_client_hello` (RFC 9849 §5).
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// The parts of a `ClientHello` that decide what becomes of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// The server name, in lower case.
    pub sni: Option<String>,
    /// The protocols offered, in the client's order.
    pub alpn: Vec<Vec<u8>>,
    /// Whether the extension for Encrypted Client Hello is there. That can be GREASE (RFC 9849 §6.2), which looks the same
    /// and is harmless: a server that ignores it gets an ordinary handshake from a greasing client, and is refused by a
    /// client that truly hid its name.
    pub ech: bool,
}

/// What the first bytes of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sniff {
    /// More bytes are needed.
    Incomplete,
    /// It does not begin as TLS does.
    NotTls,
    /// A whole `ClientHello`.
    Hello(ClientHello),
    /// It begins as TLS does and cannot go on so.
    Invalid(InvalidHello),
}

/// Why what looked like a `ClientHello` is none that a server could answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid ClientHello: {reason}")]
pub struct InvalidHello {
    /// What is wrong.
    pub reason: String,
    /// The alert that answers it.
    pub alert: AlertDescription,
}

impl ClientHello {
    /// Looks at all bytes received so far. Bytes beyond the hello do not matter; beyond [`MAX_HELLO`] without a whole hello
    /// they are invalid.
    pub fn sniff(received: &[u8]) -> Sniff {
        if !begins_like_tls(received) {
            return Sniff::NotTls;
        }
        let window = &received[..received.len().min(MAX_HELLO)];
        match accept(window) {
            Ok(Some(accepted)) => Sniff::Hello(Self::from_accepted(&accepted, window)),
            Ok(None) if received.len() < MAX_HELLO => Sniff::Incomplete,
            Ok(None) => Sniff::Invalid(InvalidHello {
                reason: format!("no end within {MAX_HELLO} bytes"),
                alert: AlertDescription::DecodeError,
            }),
            Err(invalid) => Sniff::Invalid(invalid),
        }
    }

    fn from_accepted(accepted: &Accepted, received: &[u8]) -> Self {
        let hello = accepted.client_hello();
        Self {
            sni: hello.server_name().map(str::to_ascii_lowercase),
            alpn: hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect(),
            ech: extensions::contains(received, ENCRYPTED_CLIENT_HELLO),
        }
    }
}

/// A handshake record of any 3.x version (RFC 8446 §5.1).
fn begins_like_tls(received: &[u8]) -> bool {
    const HANDSHAKE: u8 = 22;
    const MAJOR_VERSION: u8 = 3;
    match received {
        [] => true,
        [first] => *first == HANDSHAKE,
        [first, second, ..] => *first == HANDSHAKE && *second == MAJOR_VERSION,
    }
}

fn accept(received: &[u8]) -> Result<Option<Accepted>, InvalidHello> {
    let mut acceptor = Acceptor::default();
    let mut unread = Cursor::new(received);
    loop {
        let read = acceptor
            .read_tls(&mut unread)
            .map_err(|error| InvalidHello { reason: error.to_string(), alert: AlertDescription::DecodeError })?;
        match acceptor.accept() {
            Ok(None) if read > 0 => {}
            Ok(accepted) => return Ok(accepted),
            Err((error, alert)) => {
                return Err(InvalidHello { reason: error.to_string(), alert: description(&error, alert) });
            }
        }
    }
}

/// The alert that rustls would send: the last byte of its record. It makes none for a message other than a hello.
fn description(error: &rustls::Error, mut alert: AcceptedAlert) -> AlertDescription {
    let mut record = Vec::new();
    match (alert.write_all(&mut record), record.last()) {
        (Ok(()), Some(description)) => AlertDescription::from(*description),
        _ if matches!(error, rustls::Error::InappropriateHandshakeMessage { .. }) => {
            AlertDescription::UnexpectedMessage
        }
        _ => AlertDescription::DecodeError,
    }
}
