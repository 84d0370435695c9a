//! What is given out, sealed: `weir.<purpose>.<end>.<workload>.<seal>`, the seal being an HMAC over all before it.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;

/// What a token is for; one does not do for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The session token of a placeholder.
    Key,
    /// A token of `IMDSv2`.
    Imds,
}

/// What a token says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    /// When it ends, in whole seconds.
    pub(super) ends: Timestamp,
    /// Whose it is.
    pub(super) workload: String,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Imds => "imds",
        }
    }
}

pub(super) fn seal(key: &hmac::Key, purpose: Purpose, ends: Timestamp, workload: &str) -> String {
    let (purpose, ends, workload) = (purpose.name(), ends.as_second(), URL_SAFE_NO_PAD.encode(workload));
    let said = format!("weir.{purpose}.{ends}.{workload}");
    let seal = URL_SAFE_NO_PAD.encode(hmac::sign(key, said.as_bytes()));
    format!("{said}.{seal}")
}

/// What a token says; none if this key did not seal it for this purpose.
pub(super) fn open(key: &hmac::Key, purpose: Purpose, token: &str) -> Option<Sealed> {
    let (said, seal) = token.rsplit_once('.')?;
    hmac::verify(key, said.as_bytes(), &URL_SAFE_NO_PAD.decode(seal).ok()?).ok()?;
    let rest = said.strip_prefix("weir.")?.strip_prefix(purpose.name())?.strip_prefix('.')?;
    let (ends, workload) = rest.split_once('.')?;
    Some(Sealed {
        ends: Timestamp::from_second(ends.parse().ok()?).ok()?,
        workload: String::from_utf8(URL_SAFE_NO_PAD.decode(workload).ok()?).ok()?,
    })
}
