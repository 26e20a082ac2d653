//! ICMP errors that we originate, and the limit on how many.
//!
//! RFC 4443 section 2.4 and RFC 1812 section 4.3.2.7 say about what no error may be sent: ICMP errors, fragments that
//! are not the first, packets that do not come from one host or were not sent to one.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::checksum;
use crate::effect::Time;
use crate::icmp::ICMP_HEADER;
use crate::packet::{proto, Packet4, Packet6, Transport, IPV4_HEADER, IPV6_HEADER};
use crate::translate::{build4, build6, MIN_MTU6};

/// Longest ICMPv4 error (RFC 1812 section 4.3.2.3).
const MAX_ERROR4: usize = 576;
/// Hop limit and TTL of errors of ours.
const HOP_LIMIT: u8 = 64;
/// Precedence of ICMPv4 errors: Internetwork Control (RFC 1812 section 4.3.2.5).
const TOS_ERROR: u8 = 0xc0;

/// An ICMPv6 error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error6 {
    /// Destination Unreachable.
    Unreachable {
        /// 0 no route, 1 prohibited, 3 address, 4 port.
        code: u8,
    },
    /// Packet Too Big.
    PacketTooBig {
        /// MTU of the link.
        mtu: u32,
    },
    /// Hop limit exceeded in transit.
    HopLimit,
    /// Fragment reassembly time exceeded.
    Reassembly,
    /// Parameter Problem.
    Parameter {
        /// 0 erroneous field, 1 unknown next header, 2 unknown option.
        code: u8,
        /// Offset of what is wrong.
        pointer: u32,
    },
}

impl Error6 {
    /// The routing header of a packet is not finished (RFC 7915 section 5.1).
    pub fn segments_left(packet: &Packet6<'_>) -> Option<Self> {
        packet
            .segments_left_at
            .map(|pointer| Self::Parameter { code: 0, pointer })
    }

    const fn head(self) -> (u8, u8, u32) {
        match self {
            Self::Unreachable { code } => (1, code, 0),
            Self::PacketTooBig { mtu } => (2, 0, mtu),
            Self::HopLimit => (3, 0, 0),
            Self::Reassembly => (3, 1, 0),
            Self::Parameter { code, pointer } => (4, code, pointer),
        }
    }
}

/// An ICMPv4 error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error4 {
    /// Destination Unreachable.
    Unreachable {
        /// 0 net, 1 host, 2 protocol, 3 port, 5 source route failed, 13 prohibited; 4 is [`Error4::TooBig`].
        code: u8,
    },
    /// Fragmentation Needed and DF set.
    TooBig {
        /// MTU of the next hop (RFC 1191).
        mtu: u16,
    },
    /// TTL exceeded in transit.
    Ttl,
    /// Fragment reassembly time exceeded.
    Reassembly,
    /// Parameter Problem, code 0.
    Parameter {
        /// Offset of what is wrong.
        pointer: u8,
    },
}

impl Error4 {
    const fn head(self) -> (u8, u8, u32) {
        match self {
            Self::Unreachable { code } => (3, code, 0),
            Self::TooBig { mtu } => (3, 4, mtu as u32),
            Self::Ttl => (11, 0, 0),
            Self::Reassembly => (11, 1, 0),
            Self::Parameter { pointer } => (12, 0, (pointer as u32) << 24),
        }
    }
}

/// Whether an error may be sent about an IPv6 packet.
pub fn may_answer6(packet: &Packet6<'_>) -> bool {
    let about = match packet.transport {
        Transport::IcmpError { .. } | Transport::Fragment => false,
        // Redirect (RFC 4443 section 2.4 e.2).
        Transport::IcmpOther { kind, .. } => kind != 137,
        _ => true,
    };
    about
        && !packet.src.is_multicast()
        && !packet.src.is_unspecified()
        && !packet.src.is_loopback()
        && !packet.dst.is_multicast()
}

/// Whether an error may be sent about an IPv4 packet.
pub fn may_answer4(packet: &Packet4<'_>) -> bool {
    let about = !matches!(packet.transport, Transport::IcmpError { .. } | Transport::Fragment);
    // 0/8, 127/8, multicast and class E with the broadcast address are no hosts.
    let host = !matches!(packet.src.octets()[0], 0 | 127 | 224..=255);
    about && host && packet.dst.octets()[0] < 224
}

/// Appends an ICMPv6 error about `packet` from `src`, with as much of the packet as fits 1,280 bytes. Returns whether
/// one may be sent; if not nothing is appended.
#[must_use]
pub fn error6(packet: &Packet6<'_>, error: Error6, src: Ipv6Addr, out: &mut Vec<u8>) -> bool {
    if !may_answer6(packet) {
        return false;
    }
    let quote = &packet.bytes[..packet.bytes.len().min(MIN_MTU6 - IPV6_HEADER - ICMP_HEADER)];
    let length = (ICMP_HEADER + quote.len()) as u16;
    let start = out.len();
    out.extend_from_slice(&build6(0, length, proto::ICMPV6, HOP_LIMIT, src, packet.src));
    append_message(out, error.head(), quote);
    let message = &mut out[start + IPV6_HEADER..];
    let pseudo = checksum::pseudo6(src, packet.src, u32::from(length), proto::ICMPV6);
    let sum = checksum::finish(pseudo + checksum::sum(message));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    true
}

/// Appends an ICMPv4 error about `packet` from `src`, with as much of the packet as fits 576 bytes. Returns whether one
/// may be sent; if not nothing is appended.
#[must_use]
pub fn error4(packet: &Packet4<'_>, error: Error4, src: Ipv4Addr, ident: u16, out: &mut Vec<u8>) -> bool {
    if !may_answer4(packet) {
        return false;
    }
    let quote = &packet.bytes[..packet.bytes.len().min(MAX_ERROR4 - IPV4_HEADER - ICMP_HEADER)];
    let total = (IPV4_HEADER + ICMP_HEADER + quote.len()) as u16;
    let start = out.len();
    out.extend_from_slice(&build4(
        TOS_ERROR,
        total,
        ident,
        0,
        HOP_LIMIT,
        proto::ICMP,
        src,
        packet.src,
    ));
    append_message(out, error.head(), quote);
    let message = &mut out[start + IPV4_HEADER..];
    let sum = checksum::finish(checksum::sum(message));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    true
}

/// The ICMP message with a checksum of zero.
fn append_message(out: &mut Vec<u8>, (kind, code, word): (u8, u8, u32), quote: &[u8]) {
    out.extend_from_slice(&[kind, code, 0, 0]);
    out.extend_from_slice(&word.to_be_bytes());
    out.extend_from_slice(quote);
}

/// Token bucket: so many events per second, with a burst of one second's worth.
#[derive(Clone, Debug)]
pub struct RateLimit {
    per_second: u32,
    /// Credit in events times a second's nanoseconds.
    credit: u64,
    last: Time,
}

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

impl RateLimit {
    /// A full bucket; zero per second lets nothing through.
    pub const fn new(per_second: u32) -> Self {
        Self {
            per_second,
            credit: SECOND * per_second as u64,
            last: 0,
        }
    }

    /// Takes one event at `now`, if there is one. Time that goes backwards fills nothing.
    #[must_use]
    pub fn take(&mut self, now: Time) -> bool {
        let rate = u64::from(self.per_second);
        // At most one second counts, so that the product stays below 2^63.
        let elapsed = now.saturating_sub(self.last).min(SECOND);
        self.last = self.last.max(now);
        self.credit = (self.credit + elapsed * rate).min(SECOND * rate);
        let taken = self.credit >= SECOND;
        if taken {
            self.credit -= SECOND;
        }
        taken
    }
}
