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

    /// Whether [`RateLimit::take`] would take one.
    pub fn would_take(&self, now: Time) -> bool {
        self.clone().take(now)
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

#[cfg(test)]
mod tests {
    use super::*;

    const US6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe);
    const US4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);

    fn six(src: &str, dst: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let length = payload.len() as u16;
        [
            &build6(0, length, protocol, 64, src.parse().unwrap(), dst.parse().unwrap())[..],
            payload,
        ]
        .concat()
    }

    fn four(src: &str, dst: &str, flags: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
        [
            &build4(0, 20 + payload.len() as u16, 1, flags, 64, protocol, src, dst)[..],
            payload,
        ]
        .concat()
    }

    fn udp(length: usize) -> Vec<u8> {
        let mut bytes = vec![9; length];
        bytes[4..6].copy_from_slice(&(length as u16).to_be_bytes());
        bytes
    }

    fn answer6(packet: &[u8], error: Error6) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        error6(&Packet6::parse(packet).unwrap(), error, US6, &mut out).then_some(out)
    }

    fn answer4(packet: &[u8], error: Error4) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        error4(&Packet4::parse(packet).unwrap(), error, US4, 5, &mut out).then_some(out)
    }

    #[test]
    fn icmpv6_errors_are_well_formed() {
        let packet = six("2001:db8::1", "64:ff9b::1.2.3.4", 17, &udp(30));
        for (error, head) in [
            (Error6::Unreachable { code: 3 }, [1, 3, 0, 0, 0, 0]),
            (Error6::PacketTooBig { mtu: 0x0102_0304 }, [2, 0, 1, 2, 3, 4]),
            (Error6::HopLimit, [3, 0, 0, 0, 0, 0]),
            (Error6::Reassembly, [3, 1, 0, 0, 0, 0]),
            (Error6::Parameter { code: 0, pointer: 59 }, [4, 0, 0, 0, 0, 59]),
        ] {
            let out = answer6(&packet, error).unwrap();
            let read = Packet6::parse(&out).unwrap();
            assert_eq!(
                (read.src, read.dst, read.protocol),
                (US6, "2001:db8::1".parse().unwrap(), 58)
            );
            let message = read.payload();
            assert_eq!(
                [message[0], message[1], message[4], message[5], message[6], message[7]],
                head
            );
            assert_eq!(message[8..], packet);
            let pseudo = checksum::pseudo6(read.src, read.dst, message.len() as u32, 58);
            assert_eq!(checksum::fold(pseudo + checksum::sum(message)), 0xffff);
        }
    }

    #[test]
    fn icmpv4_errors_are_well_formed() {
        let packet = four("198.51.100.7", "192.0.2.1", 0, 17, &udp(30));
        for (error, head) in [
            (Error4::Unreachable { code: 5 }, [3, 5, 0, 0, 0, 0]),
            (Error4::TooBig { mtu: 1480 }, [3, 4, 0, 0, 5, 200]),
            (Error4::Ttl, [11, 0, 0, 0, 0, 0]),
            (Error4::Reassembly, [11, 1, 0, 0, 0, 0]),
            (Error4::Parameter { pointer: 20 }, [12, 0, 20, 0, 0, 0]),
        ] {
            let out = answer4(&packet, error).unwrap();
            let read = Packet4::parse(&out).unwrap();
            assert_eq!(
                (read.src, read.dst, read.protocol),
                (US4, Ipv4Addr::new(198, 51, 100, 7), 1)
            );
            assert_eq!(read.tos >> 5, 6, "precedence Internetwork Control");
            let message = read.payload();
            assert_eq!(
                [message[0], message[1], message[4], message[5], message[6], message[7]],
                head
            );
            assert_eq!(message[8..], packet);
            assert_eq!(checksum::fold(checksum::sum(message)), 0xffff);
        }
    }

    #[test]
    fn quotes_are_cut_to_the_size_of_an_error() {
        let packet = six("2001:db8::1", "64:ff9b::1", 17, &udp(1400));
        assert_eq!(answer6(&packet, Error6::HopLimit).unwrap().len(), 1280);
        let packet = four("198.51.100.7", "192.0.2.1", 0, 17, &udp(1400));
        assert_eq!(answer4(&packet, Error4::Ttl).unwrap().len(), 576);
    }

    #[test]
    fn no_error_about_what_must_not_be_answered() {
        let ok = "64:ff9b::1";
        for (src, dst, protocol, payload) in [
            ("2001:db8::1", ok, 58, vec![1, 0, 0, 0, 0, 0, 0, 0]),
            ("2001:db8::1", ok, 58, vec![127, 0, 0, 0, 0, 0, 0, 0]),
            ("2001:db8::1", ok, 58, vec![137, 0, 0, 0, 0, 0, 0, 0]),
            ("2001:db8::1", ok, 44, vec![17, 0, 0, 8, 0, 0, 0, 1, 1, 2, 3]),
            ("::", ok, 17, udp(8)),
            ("::1", ok, 17, udp(8)),
            ("ff02::1", ok, 17, udp(8)),
            ("2001:db8::1", "ff02::1", 17, udp(8)),
        ] {
            assert_eq!(
                answer6(&six(src, dst, protocol, &payload), Error6::HopLimit),
                None,
                "{src} {dst} {payload:?}"
            );
        }
        assert!(answer6(
            &six("2001:db8::1", ok, 58, &[128, 0, 0, 0, 0, 0, 0, 0]),
            Error6::HopLimit
        )
        .is_some());

        let (host, ok) = ("198.51.100.7", "192.0.2.1");
        for (src, dst, flags, protocol, payload) in [
            (host, ok, 0, 1, vec![3, 0, 0, 0, 0, 0, 0, 0]),
            (host, ok, 0, 1, vec![5, 0, 0, 0, 0, 0, 0, 0]),
            (host, ok, 1, 17, vec![0; 8]),
            ("0.0.0.0", ok, 0, 17, udp(8)),
            ("0.1.2.3", ok, 0, 17, udp(8)),
            ("127.0.0.1", ok, 0, 17, udp(8)),
            ("224.0.0.1", ok, 0, 17, udp(8)),
            ("255.255.255.255", ok, 0, 17, udp(8)),
            (host, "239.1.2.3", 0, 17, udp(8)),
            (host, "255.255.255.255", 0, 17, udp(8)),
        ] {
            assert_eq!(
                answer4(&four(src, dst, flags, protocol, &payload), Error4::Ttl),
                None,
                "{src} {dst} {payload:?}"
            );
        }
        assert!(
            answer4(&four(host, ok, 0x2000, 17, &udp(8)), Error4::Ttl).is_some(),
            "the first fragment"
        );
    }

    #[test]
    fn unfinished_routing_header_points_at_segments_left() {
        let packet = six(
            "2001:db8::1",
            "64:ff9b::1",
            43,
            &[&[17, 0, 4, 2, 0, 0, 0, 0][..], &udp(8)].concat(),
        );
        let error = Error6::segments_left(&Packet6::parse(&packet).unwrap());
        assert_eq!(error, Some(Error6::Parameter { code: 0, pointer: 43 }));
    }

    #[test]
    fn rate_limit_is_a_bucket() {
        let mut bucket = RateLimit::new(10);
        let mut taken = |now| (0..100).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(5_000_000_000), 10, "the burst");
        assert_eq!(taken(5_099_999_999), 0);
        assert_eq!(taken(5_100_000_000), 1);
        assert_eq!(taken(5_000_000_000), 0, "time that goes backwards fills nothing");
        assert_eq!(taken(5_600_000_000), 5);
        assert_eq!(taken(u64::MAX), 10, "never more than the burst");
        assert!(!RateLimit::new(0).take(u64::MAX));
        let mut most = RateLimit::new(u32::MAX);
        assert!(most.take(0) && most.take(u64::MAX));
    }
}
