//! What an application's first bytes are.

use crate::tls::{ClientHello, Sniff};

/// What the first bytes are.
#[derive(Debug)]
pub(super) enum Opening {
    /// TLS.
    Tls(ClientHello),
    /// Plain HTTP; whether it is HTTP/2 with prior knowledge (RFC 9113 §3.3).
    Http {
        /// HTTP/2.
        h2: bool,
    },
    /// Anything else, in words.
    Other(&'static str),
}

/// RFC 9113 §3.4.
pub(super) const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Methods that open a plain-HTTP flow; a longest one is seven bytes and a space.
const METHODS: [&[u8]; 9] =
    [b"GET ", b"POST ", b"DELETE ", b"HEAD ", b"OPTIONS ", b"PUT ", b"PATCH ", b"CONNECT ", b"TRACE "];

/// The first byte of a TLS handshake record (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;

impl Opening {
    /// What `received` is; `None` while more bytes are needed to tell.
    pub(super) fn read(received: &[u8]) -> Option<Self> {
        match ClientHello::sniff(received) {
            Sniff::Hello(hello) => Some(Self::Tls(hello)),
            Sniff::Invalid(_) => Some(Self::Other("the ClientHello is not valid TLS")),
            Sniff::Incomplete => None,
            Sniff::NotTls => http(received),
        }
    }

    /// Whether what cannot be told yet begins as TLS does.
    pub(super) fn begins_as_tls(received: &[u8]) -> bool {
        received.first() == Some(&TLS_HANDSHAKE)
    }
}

fn http(first: &[u8]) -> Option<Opening> {
    if first.starts_with(H2_PREFACE) {
        return Some(Opening::Http { h2: true });
    }
    if METHODS.iter().any(|method| first.starts_with(method)) {
        return Some(Opening::Http { h2: false });
    }
    let undecided = H2_PREFACE.starts_with(first) || METHODS.iter().any(|method| method.starts_with(first));
    (!undecided).then_some(Opening::Other("the application speaks neither TLS nor HTTP"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_told_early_holds(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..64),
                prop::sample::select(vec!["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "POST /mcp HTTP/1.1\r\n", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"])
                    .prop_flat_map(|start| prop::collection::vec(any::<u8>(), 0..8).prop_map(move |rest| [start.as_bytes(), &rest].concat())),
            ],
            cut in 0usize..64,
        ) {
            let name = |opening: Option<Opening>| opening.map(|opening| std::mem::discriminant(&opening));
            let early = name(Opening::read(&bytes[..cut.min(bytes.len())]));
            prop_assert!(early.is_none() || early == name(Opening::read(&bytes)));
        }
    }

    #[test]
    fn openings_are_told_as_soon_as_they_can_be() {
        for undecided in ["", "\x16", "\x16\x03\x01", "P", "PO", "PRI * HTTP/2.0\r\n", "CONNECT"] {
            assert!(Opening::read(undecided.as_bytes()).is_none(), "{undecided:?}");
        }
        assert!(matches!(Opening::read(b"POST /"), Some(Opening::Http { h2: false })));
        assert!(matches!(Opening::read(H2_PREFACE), Some(Opening::Http { h2: true })));
        for other in ["PASS x", "SSH-2.0-x", "EHLO", "\x05\x01\x00", "PRI * HTTP/1"] {
            assert!(matches!(Opening::read(other.as_bytes()), Some(Opening::Other(_))), "{other:?}");
        }
    }
}
