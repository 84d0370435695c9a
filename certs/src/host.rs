//! A registered host, as certificates see it.

use std::{fmt, net::IpAddr, str::FromStr};

use rustls_pki_types::{DnsName, ServerName};

use crate::Error;

/// What an endpoint's `hosts` can hold: a name, every name below a suffix, or an address. Names are lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// One DNS name.
    Name(String),
    /// `*.suffix`, kept without the `*.`.
    Suffix(String),
    /// An address literal.
    Ip(IpAddr),
}

impl Host {
    /// Whether a certificate constrained to this host may carry `name`.
    ///
    /// A DNS constraint also permits what is below the name (RFC 5280 §4.2.1.10): X.509 has no narrower form.
    pub fn permits(&self, name: &ServerName<'_>) -> bool {
        match (self, name) {
            (Self::Name(base) | Self::Suffix(base), ServerName::DnsName(name)) => {
                is_at_or_below(base, &name.as_ref().to_ascii_lowercase())
            }
            (Self::Ip(permitted), ServerName::IpAddress(address)) => *permitted == IpAddr::from(*address),
            _ => false,
        }
    }

    /// Whether a certificate constrained to this host may carry everything that `other` stands for.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(base) | Self::Suffix(base), Self::Name(name) | Self::Suffix(name)) => {
                is_at_or_below(base, name)
            }
            (Self::Ip(one), Self::Ip(other)) => one == other,
            _ => false,
        }
    }
}

fn is_at_or_below(base: &str, name: &str) -> bool {
    name.strip_suffix(base).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

impl FromStr for Host {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::BadHost(text.to_owned());
        let bracketed = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        if let Ok(address) = bracketed.unwrap_or(text).parse::<IpAddr>() {
            return Ok(Self::Ip(address.to_canonical()));
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        let dns = |name| DnsName::try_from(name).map(|name| name.as_ref().to_ascii_lowercase()).map_err(|_| bad());
        match text.strip_prefix("*.") {
            Some(suffix) => dns(suffix).map(Self::Suffix),
            None => dns(text).map(Self::Name),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*.{suffix}"),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(host: &str, name: &str) -> bool {
        host.parse::<Host>().unwrap().permits(&ServerName::try_from(name).unwrap())
    }

    #[test]
    fn hosts_are_parsed_and_written_back() {
        for text in ["mcp.example.com", "*.tools.example.com", "192.0.2.7", "2001:db8::7", "localhost"] {
            assert_eq!(text.parse::<Host>().unwrap().to_string(), text);
        }
        for (text, one_spelling) in [
            ("MCP.Example.com.", "mcp.example.com"),
            ("[2001:DB8::7]", "2001:db8::7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(text.parse::<Host>().unwrap().to_string(), one_spelling);
        }
    }

    #[test]
    fn what_is_not_a_host_is_refused() {
        for text in ["", "*", "*.", "a b", "http://x", "a.*.b", "x:443", "[::1", ".", "a..b"] {
            assert!(text.parse::<Host>().is_err(), "{text:?} was taken for a host");
        }
    }

    #[test]
    fn a_name_permits_itself_and_what_is_below_it() {
        assert!(permits("example.com", "example.com"));
        assert!(permits("example.com", "A.EXAMPLE.com"));
        assert!(permits("*.example.com", "a.example.com"));
        assert!(!permits("example.com", "notexample.com"));
        assert!(!permits("example.com", "com"));
        assert!(!permits("example.com", "192.0.2.7"));
    }

    #[test]
    fn an_address_permits_only_itself() {
        assert!(permits("192.0.2.7", "192.0.2.7"));
        assert!(!permits("192.0.2.7", "192.0.2.8"));
        assert!(!permits("192.0.2.7", "::ffff:192.0.2.7"));
        assert!(!permits("192.0.2.7", "example.com"));
    }
}
