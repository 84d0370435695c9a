//! Host names and addresses, as the configuration, SNI and `Host` write them.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// A host in one spelling: names in lower case without a final dot, addresses parsed and never v4-mapped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A DNS name (RFC 1123, with `_` allowed as it occurs).
    Name(String),
    /// An address.
    Ip(IpAddr),
}

/// What `endpoint.hosts` may hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// One host.
    Exact(Host),
    /// `*.suffix`: every name below the suffix, at any depth, but not the suffix itself.
    Below(String),
}

/// Why a text is not a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing there.
    #[error("a host is empty")]
    Empty,
    /// More than 253 bytes.
    #[error("a host name has at most 253 characters")]
    TooLong,
    /// Not ASCII.
    #[error("`{0}` is not ASCII")]
    NotAscii(String),
    /// A scheme, a port or a path is attached.
    #[error("`{0}` is not a bare host")]
    NotBare(String),
    /// A label breaks RFC 1123.
    #[error(
        "`{0}` has a label that is empty, longer than 63, starts or ends with `-`, or has a character outside a-z, 0-9, `-`, `_`"
    )]
    BadLabel(String),
    /// Its last label is a number, so that some programs read an address.
    #[error("`{0}` looks like an address but is none")]
    LooksLikeAddress(String),
    /// An address that nobody can connect to.
    #[error("`{0}` is not the address of a host")]
    NotAHost(IpAddr),
    /// Which host it is depends on the link.
    #[error("`{0}` is another host on every link")]
    LinkLocal(IpAddr),
    /// `*` elsewhere than in a leading `*.`.
    #[error("`{0}`: `*` can only stand for the whole first part")]
    MisplacedWildcard(String),
    /// `*.com`.
    #[error("`{0}` takes a whole top-level domain")]
    WildcardTooWide(String),
}

impl HostError {
    /// What to do about it in the configuration.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::NotAscii(_) => "write international names in punycode (`xn--…`)",
            Self::NotBare(_) => "leave out the scheme, the port (see `ports`) and the path (see `paths`)",
            Self::LooksLikeAddress(_) => "write IPv4 addresses as four decimal numbers",
            Self::MisplacedWildcard(_) => "write it as in `*.tools.example.com`",
            Self::WildcardTooWide(_) => "name at least two labels after `*.`",
            Self::LinkLocal(_) => "register a name, or an address of another scope",
            Self::Empty | Self::TooLong | Self::BadLabel(_) | Self::NotAHost(_) => {
                "name a host, an address or `*.suffix`"
            }
        }
    }
}

impl FromStr for Host {
    type Err = HostError;

    /// Reads `name`, `name.`, `192.0.2.1`, `2001:db8::1` or `[2001:db8::1]`.
    fn from_str(text: &str) -> Result<Self, HostError> {
        if let Some(ip) = address(text) {
            let unreachable = ip.is_unspecified() || ip.is_multicast();
            return if unreachable { Err(HostError::NotAHost(ip)) } else { Ok(Self::Ip(ip)) };
        }
        name(text).map(Self::Name)
    }
}

impl FromStr for HostPattern {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if !text.contains('*') {
            let host = text.parse()?;
            return match host {
                Host::Ip(ip @ IpAddr::V6(v6)) if v6.is_unicast_link_local() => Err(HostError::LinkLocal(ip)),
                host => Ok(Self::Exact(host)),
            };
        }
        let suffix = text.strip_prefix("*.").filter(|suffix| !suffix.contains('*'));
        let suffix = name(suffix.ok_or_else(|| HostError::MisplacedWildcard(text.to_owned()))?)?;
        if suffix.contains('.') { Ok(Self::Below(suffix)) } else { Err(HostError::WildcardTooWide(text.to_owned())) }
    }
}

impl HostPattern {
    /// Whether it stands for a host, as TLS or a request names it.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        match (self, host.parse::<Host>()) {
            (Self::Exact(own), Ok(host)) => *own == host,
            (Self::Below(suffix), Ok(Host::Name(name))) => {
                name.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            (Self::Below(_), Ok(Host::Ip(_))) | (_, Err(_)) => false,
        }
    }
}

fn address(text: &str) -> Option<IpAddr> {
    let bracketed = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let ip = match bracketed {
        Some(inner) => IpAddr::V6(inner.parse::<Ipv6Addr>().ok()?),
        None => text.parse().ok()?,
    };
    Some(ip.to_canonical())
}

fn name(text: &str) -> Result<String, HostError> {
    let owned = || text.to_owned();
    if text.is_empty() {
        return Err(HostError::Empty);
    }
    if !text.is_ascii() {
        return Err(HostError::NotAscii(owned()));
    }
    if text.contains([':', '/']) {
        return Err(HostError::NotBare(owned()));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if name.len() > 253 {
        return Err(HostError::TooLong);
    }
    if !name.split('.').all(is_label) {
        return Err(HostError::BadLabel(owned()));
    }
    if name.rsplit('.').next().is_some_and(is_number) {
        return Err(HostError::LooksLikeAddress(owned()));
    }
    Ok(name)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

/// What the WHATWG URL standard takes for the last part of an IPv4 address.
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    hex || label.bytes().all(|b| b.is_ascii_digit())
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => host.fmt(f),
            Self::Below(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_spelling() {
        for (text, canonical) in [
            ("MCP.Example.COM.", "mcp.example.com"),
            ("localhost", "localhost"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("mcp_server", "mcp_server"),
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[2001:DB8::0:1]", "2001:db8::1"),
            ("*.Tools.example.com", "*.tools.example.com"),
        ] {
            assert_eq!(text.parse::<HostPattern>().map(|host| host.to_string()), Ok(canonical.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_host() {
        use HostError as E;
        type Refusal = fn(String) -> HostError;
        let cases: [(&str, Refusal); 16] = [
            ("bücher.example", E::NotAscii),
            ("https://x.example", E::NotBare),
            ("x.example:443", E::NotBare),
            ("x.example/mcp", E::NotBare),
            ("a..b", E::BadLabel),
            (".", E::BadLabel),
            ("-a.example", E::BadLabel),
            ("a b", E::BadLabel),
            ("[192.0.2.1]", E::BadLabel),
            ("1.2.3", E::LooksLikeAddress),
            ("256.1.1.1", E::LooksLikeAddress),
            ("a.0x7f", E::LooksLikeAddress),
            ("a.*.example.com", E::MisplacedWildcard),
            ("*x.example.com", E::MisplacedWildcard),
            ("*", E::MisplacedWildcard),
            ("*.com", E::WildcardTooWide),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<HostPattern>(), Err(error(text.to_owned())), "{text}");
        }
        assert_eq!("".parse::<Host>(), Err(E::Empty));
        assert_eq!(format!("{}.example", "a.".repeat(130)).parse::<Host>(), Err(E::TooLong));
        assert!(matches!("0.0.0.0".parse::<Host>(), Err(E::NotAHost(_))));
        assert!(matches!("ff02::1".parse::<Host>(), Err(E::NotAHost(_))));
    }

    proptest! {
        #[test]
        fn reading_what_was_written_changes_nothing(text in r"[\x00-\x7f]{0,40}|[a-zA-Z0-9._*-]{1,40}") {
            if let Ok(host) = text.parse::<HostPattern>() {
                prop_assert_eq!(host.to_string().parse::<HostPattern>(), Ok(host));
            }
        }
    }
}
