//! Any first bytes: more of them never turn a verdict around, and a hello's names are what TLS allows.
use weir::tls::{ClientHello, Sniff};

/// One input.
pub(crate) fn run(bytes: &[u8]) {
    let whole = ClientHello::sniff(bytes);
    for cut in [bytes.len() / 2, bytes.len().saturating_sub(1)] {
        match ClientHello::sniff(&bytes[..cut]) {
            Sniff::Incomplete | Sniff::Invalid(_) => {}
            early => assert_eq!(early, whole, "what was told early holds"),
        }
    }
    if let Sniff::Hello(hello) = whole {
        assert!(hello.sni.is_none_or(|name| !name.is_empty() && name.len() <= 255));
        assert!(hello.alpn.iter().all(|name| name.len() <= 255));
    }
}
