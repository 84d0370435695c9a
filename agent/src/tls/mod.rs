//! TLS on both sides of a flow, without knowing what a flow is: what a client asks for ([`ClientHello`]), whether the real
//! server may be believed ([`Upstreams`]), and the certificate that stands in for it ([`Minter`]).
//!
//! TLS 1.2 and 1.3 only, no resumption and no early data on either side: a ticket would carry one workload's session into
//! another's, and early data can be replayed. Every configuration names its cryptography (aws-lc-rs) itself; nothing
//! depends on a process-wide default.
//!
//! Limit: revocation is not checked, neither by CRL nor by OCSP.

pub mod alert;
mod client_cert;
pub mod hello;
pub mod mint;
pub mod upstream;

use std::sync::{Arc, LazyLock};

use rustls::{
    SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    version::{TLS12, TLS13},
};

pub use alert::fatal_alert;
pub use client_cert::ClientCertError;
pub use hello::{ClientHello, InvalidHello, Sniff};
pub use mint::{MintError, Minter};
pub use upstream::{RootsError, Upstream, UpstreamTlsError, Upstreams, certificate_covers};

/// The versions spoken on both sides.
const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// The cryptography used on both sides.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}
