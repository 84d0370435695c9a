//! Where a packet goes, as far as its headers tell.

use aya_ebpf::programs::SkBuffContext;
use weir_ebpf::Address;

const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const ICMP_V6: u8 = 58;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

// IPv6 extension headers (RFC 8200 §4).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// How many IPv6 extension headers are walked; a packet with more is taken for one without a port.
const MAX_EXTENSIONS: u32 = 8;
const IPV6_HEADER_LEN: u32 = 40;
const UDP_HEADER_LEN: u32 = 8;

const FIN_SYN_RST: u8 = 0x07;
const RST: u8 = 0x04;

/// A packet as it leaves, or arrives.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    /// The address it comes from, IPv4 in its v4-mapped form.
    pub(crate) from: [u32; 4],
    /// The address it goes to, IPv4 in its v4-mapped form.
    pub(crate) to: [u32; 4],
    /// The protocol above IP.
    pub(crate) protocol: u8,
    /// Where that protocol's header begins; 0 if it is in an earlier fragment.
    transport: u32,
}

#[repr(C)]
struct Ipv4Header {
    version_and_len: u8,
    tos: u8,
    total_len: u16,
    id: u16,
    fragment: u16,
    ttl: u8,
    protocol: u8,
    checksum: u16,
    source: u32,
    destination: u32,
}

#[repr(C)]
struct Ipv6Header {
    version_and_flow: u32,
    payload_len: u16,
    next: u8,
    hops: u8,
    source: [u32; 4],
    destination: [u32; 4],
}

impl Packet {
    /// None if it is not IP, or cut short within its header.
    #[inline(always)]
    pub(crate) fn read(ctx: &SkBuffContext) -> Option<Self> {
        // The kernel's word for it: a raw socket may write any version into its header.
        match u16::from_be(unsafe { (*ctx.skb.skb).protocol } as u16) {
            ETH_P_IP => Self::read_v4(ctx),
            ETH_P_IPV6 => Self::read_v6(ctx),
            _ => None,
        }
    }

    #[inline(always)]
    fn read_v4(ctx: &SkBuffContext) -> Option<Self> {
        let header: Ipv4Header = ctx.load(0).ok()?;
        let is_later_fragment = u16::from_be(header.fragment) & 0x1fff != 0;
        let header_len = u32::from(header.version_and_len & 0x0f) * 4;
        Some(Self {
            from: Address::v4(header.source, 0).ip,
            to: Address::v4(header.destination, 0).ip,
            protocol: header.protocol,
            transport: if is_later_fragment { 0 } else { header_len },
        })
    }

    #[inline(always)]
    fn read_v6(ctx: &SkBuffContext) -> Option<Self> {
        let header: Ipv6Header = ctx.load(0).ok()?;
        let (mut protocol, mut at) = (header.next, IPV6_HEADER_LEN);
        for _ in 0..MAX_EXTENSIONS {
            if !matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS) {
                break;
            }
            let Ok([next, len, high, low]) = ctx.load::<[u8; 4]>(at as usize) else {
                return Some(Self { from: header.source, to: header.destination, protocol, transport: 0 });
            };
            if protocol == FRAGMENT && u16::from_be_bytes([high, low]) >> 3 != 0 {
                return Some(Self { from: header.source, to: header.destination, protocol: next, transport: 0 });
            }
            at += match protocol {
                FRAGMENT => 8,
                AUTHENTICATION => (u32::from(len) + 2) * 4,
                _ => (u32::from(len) + 1) * 8,
            };
            protocol = next;
        }
        Some(Self { from: header.source, to: header.destination, protocol, transport: at })
    }

    /// The address and port it goes to; none where there is no port, or none to be read.
    #[inline(always)]
    pub(crate) fn destination(&self, ctx: &SkBuffContext) -> Option<Address> {
        if self.transport == 0 || !matches!(self.protocol, TCP | UDP | DCCP | SCTP | UDP_LITE) {
            return None;
        }
        let port: u16 = ctx.load(self.transport as usize + 2).ok()?;
        Some(Address { ip: self.to, port: u32::from(u16::from_be(port)) })
    }

    /// Where a datagram's payload begins, and the ports that it comes from and goes to; none of anything but UDP.
    #[inline(always)]
    pub(crate) fn datagram(&self, ctx: &SkBuffContext) -> Option<(u32, u32, u32)> {
        if self.protocol != UDP || self.transport == 0 {
            return None;
        }
        let [from, to]: [u16; 2] = ctx.load(self.transport as usize).ok()?;
        Some((self.transport + UDP_HEADER_LEN, u16::from_be(from).into(), u16::from_be(to).into()))
    }

    #[inline(always)]
    pub(crate) fn is_icmp(&self) -> bool {
        matches!(self.protocol, ICMP | ICMP_V6)
    }

    /// Whether this is a TCP reset without data.
    #[inline(always)]
    pub(crate) fn is_bare_reset(&self, ctx: &SkBuffContext) -> bool {
        if self.protocol != TCP || self.transport == 0 {
            return false;
        }
        let Ok([offset, flags]) = ctx.load::<[u8; 2]>(self.transport as usize + 12) else { return false };
        let end = self.transport + u32::from(offset >> 4) * 4;
        flags & FIN_SYN_RST == RST && unsafe { (*ctx.skb.skb).len } == end
    }
}
