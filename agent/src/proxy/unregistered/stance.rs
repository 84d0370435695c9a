//! What `intercept.unregistered` means for one destination.

use std::net::{IpAddr, SocketAddr};

use crate::config::Unregistered;

/// TCP and UDP port of DNS (RFC 7766).
const DNS: u16 = 53;

/// How a destination that nobody registered is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stance {
    /// Passed through.
    Pass,
    /// Passed through, until it proves to be MCP.
    PassUnlessMcp,
    /// Refused.
    Refuse,
}

impl Stance {
    /// Towards `dst`. What `deny` spares leaves no host, or is what every application needs.
    pub(super) fn towards(dst: SocketAddr, configured: Unregistered) -> Self {
        match configured {
            Unregistered::Allow => Self::Pass,
            Unregistered::DenyMcp => Self::PassUnlessMcp,
            Unregistered::Deny if dst.ip().is_loopback() || is_name_server(dst) => Self::PassUnlessMcp,
            Unregistered::Deny => Self::Refuse,
        }
    }
}

/// Whether the host itself asks there for names.
fn is_name_server(dst: SocketAddr) -> bool {
    dst.port() == DNS
        && std::fs::read_to_string("/etc/resolv.conf").is_ok_and(|text| name_servers(&text).any(|ip| ip == dst.ip()))
}

/// The name servers of a resolv.conf(5).
fn name_servers(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_deny_refuses_and_not_what_stays_on_the_host() {
        let towards = |dst: &str, configured| Stance::towards(dst.parse().unwrap(), configured);
        for dst in ["192.0.2.1:443", "127.0.0.1:5432", "[::1]:80"] {
            assert_eq!(towards(dst, Unregistered::Allow), Stance::Pass);
            assert_eq!(towards(dst, Unregistered::DenyMcp), Stance::PassUnlessMcp);
        }
        assert_eq!(towards("192.0.2.1:443", Unregistered::Deny), Stance::Refuse);
        assert_eq!(towards("127.0.0.1:5432", Unregistered::Deny), Stance::PassUnlessMcp);
    }

    #[test]
    fn name_servers_are_read() {
        let text = "# nameserver 192.0.2.9\nsearch a\nnameserver 192.0.2.1\nnameserver  2001:db8::1 \nnameserver x\n";
        assert_eq!(name_servers(text).map(|ip| ip.to_string()).collect::<Vec<_>>(), ["192.0.2.1", "2001:db8::1"]);
    }
}
