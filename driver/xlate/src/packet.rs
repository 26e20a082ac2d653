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
#[inline]
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
    #[inline]
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
    /// `IcmpErrorMalformed`: not a packet of the family, a wrong header checksum, too short to hold ports, or itself an
    /// ICMP error.
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
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        let Some(&first) = bytes.first() else {
            return Err(Reason::Truncated);
        };
        let payload_at = usize::from(first & 15) * 4;
        if first >> 4 != 4 || payload_at < IPV4_HEADER {
            return Err(Reason::BadHeader);
        }
        if bytes.len() < IPV4_HEADER {
            return Err(Reason::Truncated);
        }
        let length = usize::from(be16(bytes, 2));
        if length < payload_at {
            return Err(Reason::BadHeader);
        }
        if bytes.len() < payload_at {
            return Err(Reason::Truncated);
        }
        if checksum::fold(header_sum(&bytes[..payload_at])) != 0xffff {
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

/// Sum of an IPv4 header; most have no options, and their length is known to the compiler.
#[inline]
fn header_sum(header: &[u8]) -> u64 {
    match header.first_chunk::<IPV4_HEADER>() {
        Some(plain) if header.len() == IPV4_HEADER => checksum::sum(plain),
        _ => checksum::sum(header),
    }
}

/// Refuses fragments that can belong to no packet (RFC 8200 section 4.5, RFC 791 section 3.2).
#[inline]
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

    /// Reads a quoted IPv4 packet. Its header checksum must be right (RFC 5508 REQ-3a).
    pub fn four(inner: &[u8]) -> Result<Self, Reason> {
        if inner.len() < IPV4_HEADER || inner[0] >> 4 != 4 {
            return Err(Reason::IcmpErrorMalformed);
        }
        let payload_at = usize::from(inner[0] & 15) * 4;
        if payload_at < IPV4_HEADER
            || inner.len() < payload_at
            || checksum::fold(header_sum(&inner[..payload_at])) != 0xffff
        {
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
mod tests;
