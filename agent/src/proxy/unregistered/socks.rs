//! What a client asks a SOCKS proxy for: SOCKS4, 4a and 5 (RFC 1928, RFC 1929), read from the client's side alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const V4: u8 = 4;
const V5: u8 = 5;
const CONNECT: u8 = 1;
/// The version of the username/password negotiation.
const PASSWORD: u8 = 1;

/// Longest run of bytes before the request is whole, in bytes: methods, a name and a password, and a request.
pub(super) const MAX_ASKING: usize = 2 << 10;

/// What is known of a client's words.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Socks {
    /// More bytes are needed.
    Incomplete,
    /// It is not SOCKS, or a kind of it that cannot be read.
    Other,
    /// A connection is asked for; so many bytes asked.
    Connect {
        /// To this host.
        host: String,
        /// And port.
        port: u16,
        /// How long the asking was.
        length: usize,
        /// What a proxy says that does not allow it.
        refusal: &'static [u8],
    },
}

/// Reads all that a client has said so far.
pub(super) fn read(said: &[u8]) -> Socks {
    let mut rest = Rest(said);
    let read = match rest.byte() {
        Some(V4) => v4(&mut rest),
        Some(V5) => v5(&mut rest),
        Some(_) => return Socks::Other,
        None => None,
    };
    match read {
        None => Socks::Incomplete,
        Some(None) => Socks::Other,
        Some(Some((host, port, refusal))) => Socks::Connect { host, port, length: said.len() - rest.0.len(), refusal },
    }
}

/// A destination, and how it is refused; none when it is something else.
type Asked = Option<(String, u16, &'static [u8])>;

fn v4(rest: &mut Rest<'_>) -> Option<Asked> {
    const REJECTED: &[u8] = &[0, 91, 0, 0, 0, 0, 0, 0];
    if rest.byte()? != CONNECT {
        return Some(None);
    }
    let port = rest.port()?;
    let ip: [u8; 4] = rest.array()?;
    rest.until_zero()?;
    // 4a: an impossible address says that a name follows.
    let host = match ip {
        [0, 0, 0, last] if last > 0 => String::from_utf8_lossy(rest.until_zero()?).into_owned(),
        ip => Ipv4Addr::from(ip).to_string(),
    };
    Some(Some((host, port, REJECTED)))
}

fn v5(rest: &mut Rest<'_>) -> Option<Asked> {
    const NOT_ALLOWED: &[u8] = &[V5, 2, 0, 1, 0, 0, 0, 0, 0, 0];
    rest.counted()?;
    let mut version = rest.byte()?;
    if version == PASSWORD {
        rest.counted()?;
        rest.counted()?;
        version = rest.byte()?;
    }
    let [command, _reserved, kind] = rest.array()?;
    if version != V5 || command != CONNECT {
        return Some(None);
    }
    let host = match kind {
        1 => Ipv4Addr::from(rest.array::<4>()?).to_string(),
        3 => String::from_utf8_lossy(rest.counted()?).into_owned(),
        4 => IpAddr::from(Ipv6Addr::from(rest.array::<16>()?)).to_canonical().to_string(),
        _ => return Some(None),
    };
    Some(Some((host, rest.port()?, NOT_ALLOWED)))
}

/// Takes from the front of what is left.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn port(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Bytes behind their number.
    fn counted(&mut self) -> Option<&'a [u8]> {
        let count = usize::from(self.byte()?);
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn until_zero(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(0, self.0)?;
        let taken = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V5_NAME: &[u8] = b"\x05\x01\x00\x05\x01\x00\x03\x08mcp.test\x01\xbb";
    const V5_PASSWORD: &[u8] = b"\x05\x02\x00\x02\x01\x01u\x02pw\x05\x01\x00\x01\xc0\x00\x02\x01\x01\xbb";
    const V5_V6: &[u8] = b"\x05\x01\x00\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb";
    const V4_IP: &[u8] = b"\x04\x01\x01\xbb\xc0\x00\x02\x01user\0";
    const V4A: &[u8] = b"\x04\x01\x01\xbb\0\0\0\x07user\0mcp.test\0";

    #[test]
    fn every_way_to_ask_is_understood() {
        for (said, expected) in [
            (V5_NAME, "mcp.test"),
            (V5_PASSWORD, "192.0.2.1"),
            (V5_V6, "2001:db8::1"),
            (V4_IP, "192.0.2.1"),
            (V4A, "mcp.test"),
        ] {
            for cut in 0..said.len() {
                assert_eq!(read(&said[..cut]), Socks::Incomplete, "{expected} cut at {cut}");
            }
            let more = [said, b"\x16\x03\x01"].concat();
            let Socks::Connect { host, port, length, .. } = read(&more) else { panic!("{expected}") };
            assert_eq!((host.as_str(), port, length), (expected, 443, said.len()));
        }
    }

    #[test]
    fn other_commands_and_protocols_are_left_alone() {
        for other in [&b"\x05\x01\x00\x05\x02\x00\x01"[..], b"\x04\x02", b"SSH", b"\x16\x03"] {
            assert_eq!(read(other), Socks::Other, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_no_harm(said in proptest::collection::vec(any::<u8>(), 0..600), five: bool) {
            let mut said = said;
            said.insert(0, if five { V5 } else { V4 });
            read(&said);
        }
    }
}
