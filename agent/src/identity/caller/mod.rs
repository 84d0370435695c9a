//! Who a person or a service proved to be, by what an identity provider signed.

use serde::Serialize;

/// Who is calling, as a verified token says. Serialises as `event.caller`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Caller {
    /// The subject, unique within its issuer (RFC 7519 §4.1.2).
    pub sub: String,
    /// The provider that vouches for it (RFC 7519 §4.1.1).
    pub issuer: String,
    /// The groups that it says the caller is in, in its order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}
