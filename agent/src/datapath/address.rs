//! Socket addresses as the programs hold them, and back.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use weir_ebpf::Address;

/// IPv4 becomes v4-mapped; a v4-mapped address stays as it is. Flow label and scope id are dropped.
pub(super) fn to_kernel(addr: SocketAddr) -> Address {
    let ip = match addr.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    Address { ip: words(ip), port: u32::from(addr.port()) }
}

/// Unmaps: IPv4 comes back as IPv4.
pub(super) fn from_kernel(addr: Address) -> SocketAddr {
    let Address { ip, port } = addr;
    let mut octets = [0; 16];
    for (bytes, word) in octets.chunks_exact_mut(4).zip(ip) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    let port = u16::try_from(port).unwrap_or_default();
    SocketAddr::new(Ipv6Addr::from(octets).to_canonical(), port)
}

fn words(ip: Ipv6Addr) -> [u32; 4] {
    let octets = ip.octets();
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(octets.chunks_exact(4)) {
        let mut network = [0; 4];
        network.copy_from_slice(bytes);
        *word = u32::from_ne_bytes(network);
    }
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ipv4_and_its_mapped_form_are_one_destination() {
        let plain = to_kernel("192.0.2.7:443".parse().unwrap());
        let mapped = to_kernel("[::ffff:192.0.2.7]:443".parse().unwrap());
        assert_eq!(plain, mapped);
        assert_eq!(plain, Address::v4(u32::from_ne_bytes([192, 0, 2, 7]), 443));
        assert!(plain.is_v4());
    }

    #[test]
    fn the_unspecified_address_means_this_host() {
        let connected = |addr: &str| from_kernel(to_kernel(addr.parse().unwrap()).connected()).to_string();
        assert_eq!(connected("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(connected("[::]:80"), "[::1]:80");
        assert_eq!(connected("10.0.0.0:80"), "10.0.0.0:80");
        assert_eq!(connected("[2001:db8::]:80"), "[2001:db8::]:80");
    }

    #[test]
    fn a_listener_takes_what_comes_to_its_address_or_to_any() {
        let takes =
            |bound: &str, to: &str| to_kernel(bound.parse().unwrap()).accepts_at(&to_kernel(to.parse().unwrap()));
        for bound in ["127.0.0.1:80", "0.0.0.0:80", "[::]:80", "[::ffff:127.0.0.1]:80", "[::ffff:0.0.0.0]:80"] {
            assert!(takes(bound, "127.0.0.1:80"), "{bound}");
        }
        assert!(takes("[::1]:80", "[::1]:80") && takes("[::]:80", "[::1]:80"));
        for bound in ["127.0.0.2:80", "127.0.0.1:81", "0.0.0.0:81", "[::1]:80"] {
            assert!(!takes(bound, "127.0.0.1:80"), "{bound}");
        }
        assert!(!takes("0.0.0.0:80", "[::1]:80"));
    }

    proptest! {
        #[test]
        fn survives_the_way_there_and_back(ip: IpAddr, port: u16) {
            let addr = SocketAddr::new(ip.to_canonical(), port);
            prop_assert_eq!(from_kernel(to_kernel(addr)), addr);
        }
    }
}
