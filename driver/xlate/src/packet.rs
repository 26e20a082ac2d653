//! Reading IP packets: headers, extension headers, fragments, transport, and the packet an ICMP error quotes.
//!
//! A [`Packet6`] or [`Packet4`] is a view of bytes that were checked once; everything the translator needs to decide
//! stands in its fields. Reading costs no allocation. What a hostile packet can do here is be refused with a
//! [`Reason`].

use std::net::{Ipv4Addr, Ipv6Addr};

use nat64_layout::{Protocol, Reason};

use crate::checksum;

/// IP protocol numbers the translator knows by name.
pub mod proto {
    /// IPv6 Hop-by-Hop Options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 Routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 Fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Authentication Header.
    pub const AH: u8 = 51;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6 Destination Options.
    pub const DESTINATION: u8 = 60;
    /// IPv6 Mobility header.
    pub const MOBILITY: u8 = 135;
    /// Host Identity Protocol.
    pub const HIP: u8 = 139;
    /// Shim6.
    pub const SHIM6: u8 = 140;
}

/// Bytes of an IPv6 header.
pub const IPV6_HEADER: usize = 40;
/// Bytes of an IPv4 header without options.
pub const IPV4_HEADER: usize = 20;
/// Bytes of an IPv6 Fragment header.
pub const FRAGMENT_HEADER: usize = 8;

/// Where a fragment lies in its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Offset in bytes, a multiple of 8.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
    /// Identification; 16 bits wide in IPv4.
    pub id: u32,
}

impl Fragment {
    /// Whether the packet is only a part: an IPv6 packet may carry a Fragment header and be whole (RFC 6946).
    pub const fn is_part(&self) -> bool {
        self.offset != 0 || self.more
    }
}

/// The transport header, as far as the translator looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP; the data offset was checked against the packet.
    Tcp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// Flags: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128.
        flags: u8,
    },
    /// UDP; the length was checked to be at least 8 and at most the IP payload (the latter not in fragments).
    Udp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// Length field.
        length: u16,
        /// Checksum field; 0 in IPv4 means that there is none.
        checksum: u16,
    },
    /// ICMP echo of the packet's family.
    Echo {
        /// Request, not reply.
        request: bool,
        /// Identifier.
        id: u16,
    },
    /// ICMP error; see [`Packet6::quote`] and [`Packet4::quote`] for what it is about.
    IcmpError {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// Any other ICMP message; none of them is translated.
    IcmpOther {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// A fragment that is not the first, so it has no transport header; the protocol number is in the packet.
    Fragment,
    /// Any other protocol.
    Other(u8),
}

/// FIN flag of TCP.
pub const TCP_FIN: u8 = 0x01;
/// SYN flag of TCP.
pub const TCP_SYN: u8 = 0x02;
/// RST flag of TCP.
pub const TCP_RST: u8 = 0x04;
/// ACK flag of TCP.
pub const TCP_ACK: u8 = 0x10;

/// What an ICMP error is about: the head of a packet that somebody could not deliver, read as far as it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote<A> {
    /// Source of the quoted packet.
    pub src: A,
    /// Destination of the quoted packet.
    pub dst: A,
    /// Its protocol.
    pub protocol: Protocol,
    /// Source port; the echo identifier for ICMP.
    pub src_port: u16,
    /// Destination port; the echo identifier for ICMP.
    pub dst_port: u16,
}

/// An IPv6 packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet6<'a> {
    /// The packet, cut to its payload length.
    pub bytes: &'a [u8],
    /// Source.
    pub src: Ipv6Addr,
    /// Destination.
    pub dst: Ipv6Addr,
    /// Traffic class.
    pub traffic_class: u8,
    /// Hop limit on arrival.
    pub hop_limit: u8,
    /// First header that is not skipped: Hop-by-Hop, Routing, Destination Options and Fragment are.
    pub protocol: u8,
    /// Where that header begins in `bytes`.
    pub payload_at: usize,
    /// Fragment header.
    pub fragment: Option<Fragment>,
    /// Offset of the Segments Left byte of a Routing header that is not finished: the pointer of the Parameter Problem
    /// (RFC 7915 section 5.1).
    pub segments_left_at: Option<u32>,
    /// Transport header.
    pub transport: Transport,
}

/// An IPv4 packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet4<'a> {
    /// The packet, cut to its total length.
    pub bytes: &'a [u8],
    /// Source.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// Type of service octet.
    pub tos: u8,
    /// Time to live on arrival.
    pub ttl: u8,
    /// Identification.
    pub ident: u16,
    /// Don't Fragment.
    pub df: bool,
    /// Protocol.
    pub protocol: u8,
    /// Where the payload begins in `bytes`: the header length.
    pub payload_at: usize,
    /// Present when the packet is a fragment.
    pub fragment: Option<Fragment>,
    /// A source route option with hops left is present: answer with Destination Unreachable code 5 (RFC 7915
    /// section 4.1).
    pub source_route: bool,
    /// Transport header.
    pub transport: Transport,
}

/// Big-endian 16 bits at `at`; the caller checked the length.
#[inline]
pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Big-endian 32 bits at `at`; the caller checked the length.
#[inline]
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[inline]
pub(crate) fn addr6(bytes: &[u8], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[at..at + 16]);
    Ipv6Addr::from(octets)
}

#[inline]
pub(crate) fn addr4(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3])
}

/// Whether RFC 7915 section 5.1.1 refuses a Fragment header in front of this header.
pub(crate) const fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        proto::HOP_BY_HOP
            | proto::ROUTING
            | proto::FRAGMENT
            | proto::AH
            | proto::DESTINATION
            | proto::MOBILITY
            | proto::HIP
            | proto::SHIM6
    )
}

/// The headers in front of the transport of an IPv6 packet.
struct Chain {
    protocol: u8,
    payload_at: usize,
    fragment: Option<Fragment>,
    segments_left_at: Option<u32>,
}

/// Walks the extension headers of `bytes`, whose IPv6 header was checked. `None`: a header is cut off.
///
/// Each header is at least 8 bytes, so the walk ends within the packet.
fn walk(bytes: &[u8]) -> Option<Chain> {
    let mut chain = Chain {
        protocol: bytes[6],
        payload_at: IPV6_HEADER,
        fragment: None,
        segments_left_at: None,
    };
    loop {
        match chain.protocol {
            proto::HOP_BY_HOP | proto::DESTINATION | proto::ROUTING => {
                let header = bytes.get(chain.payload_at..)?;
                let length = 8 + 8 * usize::from(*header.get(1)?);
                if header.len() < length {
                    return None;
                }
                if chain.protocol == proto::ROUTING && header[3] != 0 && chain.segments_left_at.is_none() {
                    chain.segments_left_at = Some(chain.payload_at as u32 + 3);
                }
                chain.protocol = header[0];
                chain.payload_at += length;
            }
            proto::FRAGMENT => {
                let header = bytes.get(chain.payload_at..chain.payload_at + FRAGMENT_HEADER)?;
                let word = be16(header, 2);
                chain.fragment = Some(Fragment {
                    offset: word & !7,
                    more: word & 1 != 0,
                    id: be32(header, 4),
                });
                chain.protocol = header[0];
                chain.payload_at += FRAGMENT_HEADER;
                return Some(chain);
            }
            _ => return Some(chain),
        }
    }
}

impl<'a> Packet6<'a> {
    /// Reads a packet. Bytes behind the payload length (Ethernet padding) are ignored.
    ///
    /// # Errors
    /// `BadHeader`: version, extension header or transport header cannot be right, a fragment is not a multiple of 8
    /// bytes or reaches past 65,535. `Truncated`: shorter than the header says.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        if bytes.first().is_some_and(|byte| byte >> 4 != 6) {
            return Err(Reason::BadHeader);
        }
        if bytes.len() < IPV6_HEADER {
            return Err(Reason::Truncated);
        }
        let length = IPV6_HEADER + usize::from(be16(bytes, 4));
        let bytes = bytes.get(..length).ok_or(Reason::Truncated)?;
        let chain = walk(bytes).ok_or(Reason::BadHeader)?;
        let payload = &bytes[chain.payload_at..];
        check_fragment(chain.fragment, payload.len(), usize::from(u16::MAX))?;
        Ok(Self {
            bytes,
            src: addr6(bytes, 8),
            dst: addr6(bytes, 24),
            traffic_class: (be16(bytes, 0) >> 4) as u8,
            hop_limit: bytes[7],
            protocol: chain.protocol,
            payload_at: chain.payload_at,
            fragment: chain.fragment,
            segments_left_at: chain.segments_left_at,
            transport: transport(chain.protocol, chain.fragment, payload, true)?,
        })
    }

    /// Transport header and data.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload_at..]
    }

    /// Whether the packet is only a part of one.
    pub fn is_part(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.is_part())
    }

    /// What an ICMPv6 error is about.
    ///
    /// # Errors
    /// `IcmpErrorMalformed`: not an IPv6 packet, or too short to hold ports, or itself an ICMP error.
    /// `IcmpErrorNoSession`: readable, but of no kind that has sessions (other protocol, fragment without ports).
    pub fn quote(&self) -> Result<Quote<Ipv6Addr>, Reason> {
        let inner = self.payload().get(8..).ok_or(Reason::IcmpErrorMalformed)?;
        let head = InnerHead::six(inner)?;
        let (protocol, src_port, dst_port) = head.ports(inner, true)?;
        Ok(Quote {
            src: addr6(inner, 8),
            dst: addr6(inner, 24),
            protocol,
            src_port,
            dst_port,
        })
    }
}

impl<'a> Packet4<'a> {
    /// Reads a packet. Bytes behind the total length (Ethernet padding) are ignored.
    ///
    /// # Errors
    /// `BadHeader`: version, header length, total length or transport header cannot be right, a fragment is not a
    /// multiple of 8 bytes or reaches past 65,535. `BadIpv4Checksum`. `Truncated`: shorter than the header says.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        let Some(&first) = bytes.first() else {
            return Err(Reason::Truncated);
        };
        let payload_at = usize::from(first & 15) * 4;
        if first >> 4 != 4 || payload_at < IPV4_HEADER {
            return Err(Reason::BadHeader);
        }
        if bytes.len() < payload_at {
            return Err(Reason::Truncated);
        }
        let length = usize::from(be16(bytes, 2));
        if length < payload_at {
            return Err(Reason::BadHeader);
        }
        if checksum::fold(checksum::sum(&bytes[..payload_at])) != 0xffff {
            return Err(Reason::BadIpv4Checksum);
        }
        let bytes = bytes.get(..length).ok_or(Reason::Truncated)?;
        let ident = be16(bytes, 4);
        let word = be16(bytes, 6);
        let fragment = (word & 0x3fff != 0).then(|| Fragment {
            offset: (word & 0x1fff) << 3,
            more: word & 0x2000 != 0,
            id: u32::from(ident),
        });
        let payload = &bytes[payload_at..];
        check_fragment(fragment, payload.len(), usize::from(u16::MAX) - IPV4_HEADER)?;
        let protocol = bytes[9];
        Ok(Self {
            bytes,
            src: addr4(bytes, 12),
            dst: addr4(bytes, 16),
            tos: bytes[1],
            ttl: bytes[8],
            ident,
            df: word & 0x4000 != 0,
            protocol,
            payload_at,
            fragment,
            source_route: payload_at > IPV4_HEADER && unexpired_source_route(&bytes[IPV4_HEADER..payload_at]),
            transport: transport(protocol, fragment, payload, false)?,
        })
    }

    /// Transport header and data.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload_at..]
    }

    /// Whether the packet is only a part of one.
    pub fn is_part(&self) -> bool {
        self.fragment.is_some()
    }

    /// What an ICMPv4 error is about.
    ///
    /// # Errors
    /// As [`Packet6::quote`].
    pub fn quote(&self) -> Result<Quote<Ipv4Addr>, Reason> {
        let inner = self.payload().get(8..).ok_or(Reason::IcmpErrorMalformed)?;
        let head = InnerHead::four(inner)?;
        let (protocol, src_port, dst_port) = head.ports(inner, false)?;
        Ok(Quote {
            src: addr4(inner, 12),
            dst: addr4(inner, 16),
            protocol,
            src_port,
            dst_port,
        })
    }
}

/// Refuses fragments that can belong to no packet (RFC 8200 section 4.5, RFC 791 section 3.2).
fn check_fragment(fragment: Option<Fragment>, payload: usize, limit: usize) -> Result<(), Reason> {
    let Some(fragment) = fragment else { return Ok(()) };
    if usize::from(fragment.offset) + payload > limit
        || (fragment.more && (payload == 0 || !payload.is_multiple_of(8)))
        || (fragment.offset != 0 && payload == 0)
    {
        return Err(Reason::BadHeader);
    }
    Ok(())
}

/// Reads the transport header of a packet.
#[inline]
fn transport(protocol: u8, fragment: Option<Fragment>, payload: &[u8], six: bool) -> Result<Transport, Reason> {
    if fragment.is_some_and(|fragment| fragment.offset != 0) {
        return Ok(Transport::Fragment);
    }
    match protocol {
        proto::TCP => {
            if payload.len() < 20 {
                return Err(Reason::BadHeader);
            }
            let header = usize::from(payload[12] >> 4) * 4;
            if header < 20 || header > payload.len() {
                return Err(Reason::BadHeader);
            }
            Ok(Transport::Tcp {
                src_port: be16(payload, 0),
                dst_port: be16(payload, 2),
                flags: payload[13],
            })
        }
        proto::UDP => {
            if payload.len() < 8 {
                return Err(Reason::BadHeader);
            }
            let length = be16(payload, 4);
            let part = fragment.is_some_and(|fragment| fragment.more);
            if length < 8 || (!part && usize::from(length) > payload.len()) {
                return Err(Reason::BadHeader);
            }
            let (src_port, dst_port) = (be16(payload, 0), be16(payload, 2));
            Ok(Transport::Udp {
                src_port,
                dst_port,
                length,
                checksum: be16(payload, 6),
            })
        }
        proto::ICMPV6 if six => {
            let &[kind, code, _, _, id_high, id_low, _, _, ..] = payload else {
                return Err(Reason::BadHeader);
            };
            Ok(match (kind, code) {
                (128 | 129, _) => Transport::Echo {
                    request: kind == 128,
                    id: u16::from_be_bytes([id_high, id_low]),
                },
                (0..=127, _) => Transport::IcmpError { kind, code },
                _ => Transport::IcmpOther { kind, code },
            })
        }
        proto::ICMP if !six => {
            let &[kind, code, _, _, id_high, id_low, _, _, ..] = payload else {
                return Err(Reason::BadHeader);
            };
            Ok(match (kind, code) {
                (0 | 8, _) => Transport::Echo {
                    request: kind == 8,
                    id: u16::from_be_bytes([id_high, id_low]),
                },
                (3 | 4 | 5 | 11 | 12, _) => Transport::IcmpError { kind, code },
                _ => Transport::IcmpOther { kind, code },
            })
        }
        other => Ok(Transport::Other(other)),
    }
}

/// Whether the options hold a loose or strict source route whose pointer is not past its end (RFC 791 section 3.1).
///
/// An option that cannot be right ends the walk: options are dropped in any case.
fn unexpired_source_route(mut options: &[u8]) -> bool {
    loop {
        match options {
            [] | [0, ..] => return false,
            [1, rest @ ..] => options = rest,
            &[kind, length, ref rest @ ..] => {
                let length = usize::from(length);
                if length < 2 || length > options.len() {
                    return false;
                }
                if matches!(kind, 131 | 137) && length >= 3 && usize::from(rest[0]) <= length {
                    return true;
                }
                options = &options[length..];
            }
            [_] => return false,
        }
    }
}

/// The IP header of a quoted packet, read without asking for the rest of the packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InnerHead {
    /// Protocol number.
    pub protocol: u8,
    /// Where the transport begins.
    pub payload_at: usize,
    /// Fragment fields.
    pub fragment: Option<Fragment>,
}

impl InnerHead {
    /// Reads a quoted IPv6 packet.
    pub fn six(inner: &[u8]) -> Result<Self, Reason> {
        if inner.len() < IPV6_HEADER || inner[0] >> 4 != 6 {
            return Err(Reason::IcmpErrorMalformed);
        }
        let Chain {
            protocol,
            payload_at,
            fragment,
            ..
        } = walk(inner).ok_or(Reason::IcmpErrorMalformed)?;
        Ok(Self {
            protocol,
            payload_at,
            fragment,
        })
    }

    /// Reads a quoted IPv4 packet. The header checksum is not looked at: routers quote the packet with the TTL already
    /// decremented and may leave the checksum as it was.
    pub fn four(inner: &[u8]) -> Result<Self, Reason> {
        if inner.len() < IPV4_HEADER || inner[0] >> 4 != 4 {
            return Err(Reason::IcmpErrorMalformed);
        }
        let payload_at = usize::from(inner[0] & 15) * 4;
        if payload_at < IPV4_HEADER || inner.len() < payload_at {
            return Err(Reason::IcmpErrorMalformed);
        }
        let word = be16(inner, 6);
        let fragment = (word & 0x3fff != 0).then(|| Fragment {
            offset: (word & 0x1fff) << 3,
            more: word & 0x2000 != 0,
            id: u32::from(be16(inner, 4)),
        });
        Ok(Self {
            protocol: inner[9],
            payload_at,
            fragment,
        })
    }

    /// Protocol and ports of the quoted packet.
    pub fn ports(&self, inner: &[u8], six: bool) -> Result<(Protocol, u16, u16), Reason> {
        if self.fragment.is_some_and(|fragment| fragment.offset != 0) {
            return Err(Reason::IcmpErrorNoSession);
        }
        let transport = &inner[self.payload_at..];
        let protocol = match (self.protocol, six) {
            (proto::TCP, _) => Protocol::Tcp,
            (proto::UDP, _) => Protocol::Udp,
            (proto::ICMP, false) | (proto::ICMPV6, true) => Protocol::Icmp,
            _ => return Err(Reason::IcmpErrorNoSession),
        };
        if transport.len() < 8 {
            return Err(Reason::IcmpErrorMalformed);
        }
        match protocol {
            Protocol::Tcp | Protocol::Udp => Ok((protocol, be16(transport, 0), be16(transport, 2))),
            Protocol::Icmp => {
                let echo = matches!((transport[0], six), (0 | 8, false) | (128 | 129, true));
                let error = matches!((transport[0], six), (3 | 4 | 5 | 11 | 12, false) | (0..=127, true));
                match (echo, error) {
                    (true, _) => Ok((protocol, be16(transport, 4), be16(transport, 4))),
                    (_, true) => Err(Reason::IcmpErrorMalformed),
                    _ => Err(Reason::IcmpErrorNoSession),
                }
            }
        }
    }
}

/// Lengths of the IP packets that lie one behind the other in `bytes`, as the translation functions leave them.
pub fn lengths(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = match rest.first()? >> 4 {
            6 if rest.len() >= IPV6_HEADER => IPV6_HEADER + usize::from(be16(rest, 4)),
            4 if rest.len() >= IPV4_HEADER => usize::from(be16(rest, 2)),
            _ => return None,
        };
        rest = rest.get(length..)?;
        (length > 0).then_some(length)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn six(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x6a, 0xb1, 0x23, 0x45, 0, 0, next, 64];
        bytes[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
        bytes.extend((1..=16).chain(17..=32));
        bytes.extend_from_slice(payload);
        bytes
    }

    /// An IPv4 packet with these options and a good header checksum.
    fn four(flags: u16, protocol: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let header = 20 + options.len();
        let mut bytes = vec![
            0x40 | (header / 4) as u8,
            0x5c,
            0,
            0,
            0xab,
            0xcd,
            0,
            0,
            63,
            protocol,
            0,
            0,
        ];
        bytes[2..4].copy_from_slice(&((header + payload.len()) as u16).to_be_bytes());
        bytes[6..8].copy_from_slice(&flags.to_be_bytes());
        bytes.extend([192, 0, 2, 1, 198, 51, 100, 7]);
        bytes.extend_from_slice(options);
        let sum = checksum::finish(checksum::sum(&bytes));
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    const UDP: [u8; 9] = [0x12, 0x34, 0, 53, 0, 9, 0xaa, 0xbb, 7];
    const UDP_READ: Transport = Transport::Udp {
        src_port: 0x1234,
        dst_port: 53,
        length: 9,
        checksum: 0xaabb,
    };

    fn tcp(offset: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        bytes[..4].copy_from_slice(&[1, 2, 3, 4]);
        bytes[12] = offset << 4;
        bytes[13] = flags;
        bytes
    }

    fn transport6(next: u8, payload: &[u8]) -> Result<Transport, Reason> {
        Packet6::parse(&six(next, payload)).map(|packet| packet.transport)
    }

    #[test]
    fn ipv6_fields() {
        let mut bytes = six(17, &UDP);
        bytes.extend([0; 5]);
        let packet = Packet6::parse(&bytes).unwrap();
        assert_eq!(packet.bytes.len(), 49, "padding is cut off");
        assert_eq!(
            (packet.traffic_class, packet.hop_limit, packet.protocol),
            (0xab, 64, 17)
        );
        assert_eq!(
            packet.src,
            "102:304:506:708:90a:b0c:d0e:f10".parse::<Ipv6Addr>().unwrap()
        );
        assert_eq!(
            packet.dst,
            "1112:1314:1516:1718:191a:1b1c:1d1e:1f20".parse::<Ipv6Addr>().unwrap()
        );
        assert_eq!(
            (packet.payload_at, packet.fragment, packet.segments_left_at),
            (40, None, None)
        );
        assert_eq!(packet.transport, UDP_READ);
    }

    #[test]
    fn ipv4_fields() {
        let mut bytes = four(0x4000, 17, &[], &UDP);
        bytes.extend([0; 5]);
        let packet = Packet4::parse(&bytes).unwrap();
        assert_eq!(packet.bytes.len(), 29, "padding is cut off");
        assert_eq!(
            (packet.tos, packet.ttl, packet.ident, packet.df, packet.protocol),
            (0x5c, 63, 0xabcd, true, 17)
        );
        assert_eq!(
            (packet.src, packet.dst),
            (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 7))
        );
        assert_eq!(
            (packet.payload_at, packet.fragment, packet.source_route),
            (20, None, false)
        );
        assert_eq!(packet.transport, UDP_READ);
    }

    #[test]
    fn wrong_ip_headers_are_refused() {
        let six_of = |bytes: &[u8]| Packet6::parse(bytes).map(|_| ()).unwrap_err();
        let good = six(17, &UDP);
        assert_eq!(six_of(&[]), Reason::Truncated);
        assert_eq!(six_of(&good[..39]), Reason::Truncated);
        assert_eq!(six_of(&good[..48]), Reason::Truncated);
        assert_eq!(six_of(&four(0, 17, &[], &UDP)), Reason::BadHeader);

        let four_of = |bytes: &[u8]| Packet4::parse(bytes).map(|_| ()).unwrap_err();
        let good = four(0, 17, &[], &UDP);
        assert_eq!(four_of(&[]), Reason::Truncated);
        assert_eq!(four_of(&good[..19]), Reason::Truncated);
        assert_eq!(four_of(&good[..28]), Reason::Truncated);
        assert_eq!(four_of(&six(17, &UDP)), Reason::BadHeader);
        let changed = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            bytes
        };
        assert_eq!(four_of(&changed(0, 0x44)), Reason::BadHeader, "header length 16");
        assert_eq!(four_of(&changed(3, 19)), Reason::BadHeader, "total length 19");
        assert_eq!(four_of(&changed(8, 62)), Reason::BadIpv4Checksum);
        // The checksum is looked at before the length: a damaged length is no truncated packet.
        assert_eq!(four_of(&changed(3, 200)), Reason::BadIpv4Checksum);
    }

    #[test]
    fn transport_headers() {
        assert_eq!(
            transport6(6, &tcp(5, 0x12, 20)),
            Ok(Transport::Tcp {
                src_port: 0x102,
                dst_port: 0x304,
                flags: 0x12
            })
        );
        assert!(transport6(6, &tcp(6, 0, 24)).is_ok());
        for (offset, length) in [(4, 20), (0, 40), (6, 23), (15, 59), (5, 19)] {
            assert_eq!(
                transport6(6, &tcp(offset, 0, length)),
                Err(Reason::BadHeader),
                "{offset} {length}"
            );
        }
        let udp = |length: u16, bytes: usize| {
            let mut udp = vec![0; bytes];
            udp[4..6].copy_from_slice(&length.to_be_bytes());
            transport6(17, &udp).is_ok()
        };
        assert!(udp(8, 8) && udp(8, 12) && udp(12, 12));
        assert!(!udp(0, 8) && !udp(7, 8) && !udp(9, 8));
        assert_eq!(transport6(17, &[0; 7]), Err(Reason::BadHeader));
        assert_eq!(
            transport6(58, &[128, 0, 0, 0, 7, 8, 0, 0]),
            Ok(Transport::Echo {
                request: true,
                id: 0x708
            })
        );
        assert_eq!(
            transport6(58, &[129, 0, 0, 0, 7, 8, 0, 0]),
            Ok(Transport::Echo {
                request: false,
                id: 0x708
            })
        );
        assert_eq!(
            transport6(58, &[1, 4, 0, 0, 0, 0, 0, 0]),
            Ok(Transport::IcmpError { kind: 1, code: 4 })
        );
        assert_eq!(
            transport6(58, &[135, 0, 0, 0, 0, 0, 0, 0]),
            Ok(Transport::IcmpOther { kind: 135, code: 0 })
        );
        assert_eq!(transport6(58, &[128, 0, 0, 0, 7, 8, 0]), Err(Reason::BadHeader));
        assert_eq!(
            transport6(1, &[8, 0, 0, 0, 7, 8, 0, 0]),
            Ok(Transport::Other(1)),
            "ICMPv4 over IPv6"
        );
        assert_eq!(transport6(59, &[]), Ok(Transport::Other(59)));
        let icmp = |kind: u8| {
            Packet4::parse(&four(0, 1, &[], &[kind, 0, 0, 0, 7, 8, 0, 0]))
                .unwrap()
                .transport
        };
        assert_eq!(
            icmp(8),
            Transport::Echo {
                request: true,
                id: 0x708
            }
        );
        assert_eq!(
            icmp(0),
            Transport::Echo {
                request: false,
                id: 0x708
            }
        );
        for kind in [3, 4, 5, 11, 12] {
            assert_eq!(icmp(kind), Transport::IcmpError { kind, code: 0 });
        }
        for kind in [6, 9, 10, 13, 14, 15, 16, 17, 18, 128] {
            assert_eq!(icmp(kind), Transport::IcmpOther { kind, code: 0 });
        }
    }

    #[test]
    fn extension_headers_are_walked() {
        // Hop-by-Hop of 16 bytes, Routing with 3 segments left, Destination Options, UDP.
        let mut payload = vec![43, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        payload.extend([60, 0, 4, 3, 0, 0, 0, 0]);
        payload.extend([17, 0, 1, 4, 0, 0, 0, 0]);
        payload.extend(UDP);
        let bytes = six(0, &payload);
        let packet = Packet6::parse(&bytes).unwrap();
        assert_eq!(
            (packet.payload_at, packet.protocol, packet.transport),
            (72, 17, UDP_READ)
        );
        assert_eq!(
            packet.segments_left_at,
            Some(40 + 16 + 3),
            "points at the Segments Left byte"
        );
        assert_eq!(bytes[59], 3);
        for cut in 0..payload.len() - 1 {
            assert_eq!(transport6(0, &payload[..cut]), Err(Reason::BadHeader), "{cut}");
        }
        assert_eq!(transport6(51, &[17, 4, 0, 0]), Ok(Transport::Other(51)), "AH is copied");
        assert_eq!(
            transport6(50, &[17, 4, 0, 0]),
            Ok(Transport::Other(50)),
            "ESP is copied"
        );
    }

    #[test]
    fn fragments() {
        let fragment = |word: u16, payload: &[u8]| {
            let mut bytes = vec![17, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef];
            bytes[2..4].copy_from_slice(&word.to_be_bytes());
            bytes.extend_from_slice(payload);
            let bytes = six(44, &bytes);
            Packet6::parse(&bytes).map(|packet| (packet.fragment.unwrap(), packet.transport))
        };
        let (read, transport) = fragment(0, &UDP).unwrap();
        assert_eq!(
            read,
            Fragment {
                offset: 0,
                more: false,
                id: 0xdead_beef
            }
        );
        assert!(!read.is_part(), "RFC 6946");
        assert_eq!(transport, UDP_READ);
        let mut first = UDP.to_vec();
        first.resize(16, 0);
        first[4..6].copy_from_slice(&4000u16.to_be_bytes());
        let (read, transport) = fragment(1, &first).unwrap();
        assert!(read.is_part() && read.more);
        assert!(matches!(transport, Transport::Udp { length: 4000, .. }));
        // The reserved bits are not part of the offset.
        let (read, transport) = fragment(0x0f_ff, &first).unwrap();
        assert_eq!((read.offset, read.more, transport), (0x0ff8, true, Transport::Fragment));
        assert_eq!(
            fragment(1, &UDP).unwrap_err(),
            Reason::BadHeader,
            "9 bytes and more to come"
        );
        assert_eq!(fragment(8, &[]).unwrap_err(), Reason::BadHeader, "nothing in it");
        assert_eq!(fragment(0xfff8, &[0; 8]).unwrap_err(), Reason::BadHeader, "past 65,535");
        assert!(fragment(0xfff8, &[0; 7]).is_ok());
        assert_eq!(fragment(1, &UDP[..0]).unwrap_err(), Reason::BadHeader);

        let fragment = |word: u16, payload: &[u8]| {
            let bytes = four(word, 17, &[], payload);
            Packet4::parse(&bytes).map(|packet| (packet.fragment, packet.transport))
        };
        let id = 0xabcd;
        assert_eq!(
            fragment(0x8000, &UDP).unwrap().0,
            None,
            "the reserved bit means nothing"
        );
        assert_eq!(
            fragment(0x2000, &first).unwrap().0,
            Some(Fragment {
                offset: 0,
                more: true,
                id
            })
        );
        let later = fragment(0x0003, &first).unwrap();
        assert_eq!(
            later,
            (
                Some(Fragment {
                    offset: 24,
                    more: false,
                    id
                }),
                Transport::Fragment
            )
        );
        assert_eq!(fragment(0x2000, &UDP).unwrap_err(), Reason::BadHeader);
        assert_eq!(
            fragment(0x1fff, &[0; 8]).unwrap_err(),
            Reason::BadHeader,
            "past 65,515 bytes of payload"
        );
    }

    #[test]
    fn source_routes() {
        let route = |options: &[u8]| Packet4::parse(&four(0, 17, options, &UDP)).unwrap().source_route;
        let address = [10, 0, 0, 1];
        let option = |kind, pointer| [&[1, kind, 7, pointer][..], &address].concat();
        assert!(route(&option(131, 4)), "loose");
        assert!(route(&option(137, 4)), "strict");
        assert!(route(&option(131, 7)), "the last byte is within the option");
        assert!(!route(&option(131, 8)), "finished");
        assert!(!route(&option(7, 4)), "record route is none");
        assert!(
            !route(&[0, 0, 0, 0, 131, 7, 4, 0, 0, 0, 0, 0]),
            "behind the end of the list"
        );
        assert!(route(&[68, 4, 5, 0, 131, 3, 2, 0]), "behind a timestamp");
        assert!(
            !route(&[131, 1, 4, 0]) && !route(&[131, 9, 4, 0]) && !route(&[1, 1, 1, 131]),
            "malformed"
        );
    }

    #[test]
    fn lengths_stop_at_nonsense() {
        let (a, b) = (six(17, &UDP), four(0, 17, &[], &UDP));
        let both = [&a[..], &b[..]].concat();
        assert_eq!(lengths(&both).collect::<Vec<_>>(), [49, 29]);
        assert_eq!(lengths(&both[..60]).collect::<Vec<_>>(), [49]);
        assert_eq!(lengths(&[0x45, 0, 0, 0]).count(), 0);
        assert_eq!(
            lengths(&[0x45; 20].map(|byte| if byte == 0x45 { 0x40 } else { byte })).count(),
            0
        );
        assert_eq!(lengths(&[]).count(), 0);
    }
}
