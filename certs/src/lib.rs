//! The certificates that Weir issues, and a PKI for tests.
//!
//! - [`profile`]: the chain that workloads see. A [`Root`](profile::Root) signs short-lived, name-constrained
//!   [`Intermediate`](profile::Intermediate)s and nothing else; an intermediate signs leaves of a day and nothing else.
//! - [`pki`]: servers as tests need them, good and broken.
//! - [`Host`], [`Facts`], [`Key`]: what both are made of.
//!
//! Every key is P-256 and made here at run time; the repository holds none.

mod error;
mod facts;
mod host;
mod key;
mod pem;
pub mod pki;
pub mod profile;

pub use error::Error;
pub use facts::Facts;
pub use host::Host;
pub use key::Key;
pub use pem::{certificate_pem, first_certificate};
