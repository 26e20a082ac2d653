//! IP packets from one family to the other (RFC 7915 sections 4.1, 4.5, 5.1, 5.5), ICMP echo included.
//!
//! The functions append to `out` and allocate nothing of their own. ICMP errors are in [`crate::icmp`].

use std::net::{Ipv4Addr, Ipv6Addr};

use nat64_layout::Reason;

use crate::checksum;
use crate::packet::{
    be16, be32, is_extension, proto, Fragment, Packet4, Packet6, Transport, FRAGMENT_HEADER, IPV4_HEADER, IPV6_HEADER,
    TCP_SYN,
};

/// What an IPv4 packet made from an IPv6 packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct To4 {
    /// Source.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// Source port. For ICMP the identifier is in the port of the client's side: here for packets from the client,
    /// in `dst_port` for the quote of an error (that packet went to the client).
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
}

/// What an IPv6 packet made from an IPv4 packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct To6 {
    /// Source.
    pub src: Ipv6Addr,
    /// Destination.
    pub dst: Ipv6Addr,
    /// Source port.
    pub src_port: u16,
    /// Destination port. For ICMP the identifier is in the port of the client's side: here for packets to the client,
    /// in `src_port` for the quote of an error (that packet came from the client).
    pub dst_port: u16,
}

/// How to make IPv4 packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options4 {
    /// Largest total length that leaves with DF clear ([`crate::config::DfPolicy::clear_max`]).
    pub df_clear_max: u16,
    /// Replaces the copy of the traffic class.
    pub tos_override: Option<u8>,
    /// Identification of packets whose IPv6 packet had no Fragment header; a fresh one for each packet.
    pub ident: u16,
    /// Largest packet of the link the packet leaves on.
    pub mtu4: u16,
    /// Largest packet of the link the packet came from.
    pub mtu6: u16,
    /// Upper limit for the MSS option of SYN segments.
    pub mss: Option<u16>,
}

/// How to make IPv6 packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options6 {
    /// Replaces the copy of the type of service.
    pub tos_override: Option<u8>,
    /// Packets without DF are fragmented to this size (lowest-ipv6-mtu of RFC 7915 section 4.1, at least 1,280).
    pub lowest_mtu: u16,
    /// Largest packet of the link the packet leaves on.
    pub mtu6: u16,
    /// Largest packet of the link the packet came from.
    pub mtu4: u16,
    /// Upper limit for the MSS option of SYN segments.
    pub mss: Option<u16>,
    /// Packets without DF that are no fragments are treated as if DF was set, so that they get no Fragment header
    /// (Junos `no-v6-frag-header`).
    pub keep_whole: bool,
}

impl Options4 {
    /// MTU of the Packet Too Big that answers `PacketTooBig` of [`six_to_four`].
    pub fn too_big_mtu(&self) -> u32 {
        (u32::from(self.mtu4) + 20).max(MIN_MTU6 as u32)
    }
}

impl Options6 {
    /// MTU of the Fragmentation Needed that answers `PacketTooBig` of [`four_to_six`].
    pub fn too_big_mtu(&self, packet: &Packet4<'_>) -> u16 {
        let fragment_header = if packet.is_part() { FRAGMENT_HEADER as u16 } else { 0 };
        self.mtu6.max(MIN_MTU6 as u16) - 20 - fragment_header
    }

    /// Size to which packets without DF are cut.
    fn limit(&self) -> usize {
        usize::from(self.lowest_mtu.min(self.mtu6)).max(MIN_MTU6)
    }
}

/// Translates a packet from IPv6 to IPv4 and appends it to `out`; the caller has seen that the hop limit is above 1 and
/// that no Routing header is unfinished. Returns the number of packets appended: more than one if the IPv4 link needs
/// fragments; [`crate::packet::lengths`] tells them apart.
///
/// Checksums are updated incrementally: a wrong one stays wrong.
///
/// # Errors
/// Nothing was appended.
/// * `PacketTooBig`: larger than the IPv4 link takes and more than 1,280 bytes; see [`Options4::too_big_mtu`].
/// * `BadTransportChecksum`: UDP without checksum (RFC 8200 section 8.1).
/// * `IcmpNotTranslated`: ICMP other than echo.
/// * `Ipv6Extension`: a fragment of an ICMPv6 message, whose checksum needs the whole ([`crate::fragment`]).
/// * `UnsupportedProtocol`: Fragment header in front of an extension header (RFC 7915 section 5.1.1).
/// * `BadHeader`: reaches past the end of the largest IPv4 packet.
#[inline]
pub fn six_to_four(packet: &Packet6<'_>, to: &To4, options: &Options4, out: &mut Vec<u8>) -> Result<usize, Reason> {
    let payload = packet.payload();
    let total = IPV4_HEADER + payload.len();
    let header = header4(packet, to, options)?;
    let fits = total <= usize::from(options.mtu4);
    let df = header[6] & 0x40 != 0;
    if !fits && df && packet.bytes.len() > MIN_MTU6 {
        return Err(Reason::PacketTooBig);
    }
    let edit = Edit::six_to_four(packet, to)?;
    let start = out.len();
    out.extend_from_slice(&header);
    out.extend_from_slice(payload);
    edit.apply(&mut out[start + IPV4_HEADER..], options.mss);
    if fits {
        return Ok(1);
    }
    Ok(split4(out, start, options.mtu4, packet.fragment))
}

/// Translates a packet from IPv4 to IPv6 and appends it to `out`; the caller has seen that the TTL is above 1 and that
/// no source route is unfinished. Returns the number of packets appended: more than one if the packet had no DF and
/// does not fit the IPv6 network; [`crate::packet::lengths`] tells them apart.
///
/// Checksums are updated incrementally: a wrong one stays wrong. UDP without checksum gets one.
///
/// # Errors
/// Nothing was appended.
/// * `PacketTooBig`: DF is set, or `keep_whole` asks for it, and the IPv6 link does not take it; see
///   [`Options6::too_big_mtu`].
/// * `FragmentZeroChecksum`: fragment of UDP without checksum; needs the whole ([`crate::fragment`]).
/// * `IcmpNotTranslated`: ICMP other than echo.
/// * `Ipv4Fragment`: a fragment of an ICMPv4 message, whose checksum needs the whole ([`crate::fragment`]).
#[inline]
pub fn four_to_six(packet: &Packet4<'_>, to: &To6, options: &Options6, out: &mut Vec<u8>) -> Result<usize, Reason> {
    let payload = packet.payload();
    let fragment_header = if packet.is_part() { FRAGMENT_HEADER } else { 0 };
    let size = IPV6_HEADER + fragment_header + payload.len();
    let df = packet.df || (options.keep_whole && !packet.is_part());
    let limit = if df {
        usize::from(options.mtu6).max(MIN_MTU6)
    } else {
        options.limit()
    };
    if df && size > limit {
        return Err(Reason::PacketTooBig);
    }
    let edit = Edit::four_to_six(packet, to)?;
    let start = out.len();
    out.extend_from_slice(&header6(packet, to, options));
    out.extend_from_slice(payload);
    edit.apply(&mut out[start + IPV6_HEADER..], options.mss);
    if size <= limit && !packet.is_part() {
        return Ok(1);
    }
    Ok(split6(out, start, limit, packet.fragment, packet.ident))
}

/// Smallest MTU of an IPv6 link.
pub(crate) const MIN_MTU6: usize = 1280;
/// Smallest MTU of an IPv4 link.
const MIN_MTU4: u16 = 68;

/// The IPv4 header for `packet` (RFC 7915 sections 5.1 and 5.1.1).
#[inline]
fn header4(packet: &Packet6<'_>, to: &To4, options: &Options4) -> Result<[u8; IPV4_HEADER], Reason> {
    let payload = packet.bytes.len() - packet.payload_at;
    let (ident, flags) = match packet.fragment {
        Some(_) if is_extension(packet.protocol) => return Err(Reason::UnsupportedProtocol),
        Some(fragment) => {
            if usize::from(fragment.offset) + payload > usize::from(u16::MAX) - IPV4_HEADER {
                return Err(Reason::BadHeader);
            }
            (
                fragment.id as u16,
                fragment.offset >> 3 | if fragment.more { MORE4 } else { 0 },
            )
        }
        None => (
            options.ident,
            if IPV4_HEADER + payload > usize::from(options.df_clear_max) {
                DF4
            } else {
                0
            },
        ),
    };
    let Ok(total) = u16::try_from(IPV4_HEADER + payload) else {
        return Err(Reason::PacketTooBig);
    };
    let tos = options.tos_override.unwrap_or(packet.traffic_class);
    let ttl = packet.hop_limit.saturating_sub(1);
    let protocol = if packet.protocol == proto::ICMPV6 {
        proto::ICMP
    } else {
        packet.protocol
    };
    Ok(build4(tos, total, ident, flags, ttl, protocol, to.src, to.dst))
}

/// Don't Fragment in the flags word of an IPv4 header.
pub(crate) const DF4: u16 = 0x4000;
/// More Fragments.
pub(crate) const MORE4: u16 = 0x2000;

/// An IPv4 header with its checksum.
#[allow(clippy::too_many_arguments)] // the fields of the header, in their order
#[inline(always)]
pub(crate) fn build4(
    tos: u8,
    total: u16,
    ident: u16,
    flags: u16,
    ttl: u8,
    protocol: u8,
    src: Ipv4Addr,
    dst: Ipv4Addr,
) -> [u8; IPV4_HEADER] {
    // Made as words of memory, and summed as such: reading back bytes just written would wait for them.
    let front = 0x45 << 56 | u64::from(tos) << 48 | u64::from(total) << 32 | u64::from(ident) << 16 | u64::from(flags);
    let front = front.swap_bytes();
    let middle = u64::from(ttl) | u64::from(protocol) << 8 | checksum::sum4_raw(src.octets()) << 32;
    let last = u32::from_le_bytes(dst.octets());
    let half = |word: u64| (word >> 32) + (word & 0xffff_ffff);
    let sum = checksum::finish(half(front) + half(middle) + u64::from(last));
    let mut header = [0; IPV4_HEADER];
    header[..8].copy_from_slice(&front.to_le_bytes());
    header[8..16].copy_from_slice(&(middle | u64::from(sum) << 16).to_le_bytes());
    header[16..].copy_from_slice(&last.to_le_bytes());
    header
}

/// The IPv6 header for `packet`, Fragment header not counted (RFC 7915 section 4.1).
#[inline]
fn header6(packet: &Packet4<'_>, to: &To6, options: &Options6) -> [u8; IPV6_HEADER] {
    let traffic_class = options.tos_override.unwrap_or(packet.tos);
    let protocol = if packet.protocol == proto::ICMP {
        proto::ICMPV6
    } else {
        packet.protocol
    };
    let length = (packet.bytes.len() - packet.payload_at) as u16;
    build6(
        traffic_class,
        length,
        protocol,
        packet.ttl.saturating_sub(1),
        to.src,
        to.dst,
    )
}

/// An IPv6 header without flow label.
#[inline(always)]
pub(crate) fn build6(
    traffic_class: u8,
    length: u16,
    protocol: u8,
    hop_limit: u8,
    src: Ipv6Addr,
    dst: Ipv6Addr,
) -> [u8; IPV6_HEADER] {
    let front = 6 << 60
        | u64::from(traffic_class) << 52
        | u64::from(length) << 16
        | u64::from(protocol) << 8
        | u64::from(hop_limit);
    let mut header = [0; IPV6_HEADER];
    header[..8].copy_from_slice(&front.to_be_bytes());
    header[8..24].copy_from_slice(&src.octets());
    header[24..40].copy_from_slice(&dst.octets());
    header
}

/// A Fragment header.
pub(crate) fn build_fragment(protocol: u8, offset: u16, more: bool, id: u32) -> [u8; FRAGMENT_HEADER] {
    let mut header = [0; FRAGMENT_HEADER];
    header[0] = protocol;
    header[2..4].copy_from_slice(&(offset | u16::from(more)).to_be_bytes());
    header[4..8].copy_from_slice(&id.to_be_bytes());
    header
}

/// What changes in the transport header.
#[derive(Clone, Copy)]
pub(crate) enum Edit {
    /// Nothing.
    Nothing,
    /// Ports, and the checksum at `at`.
    Ports {
        at: usize,
        ports: u32,
        checksum: u16,
        syn: bool,
    },
    /// Type, checksum and identifier of an echo.
    Echo { kind: u8, checksum: u16, id: u16 },
}

impl Edit {
    #[inline]
    fn six_to_four(packet: &Packet6<'_>, to: &To4) -> Result<Self, Reason> {
        let payload = packet.payload();
        let addresses = || {
            (
                checksum::sum6(packet.src) + checksum::sum6(packet.dst),
                checksum::sum4(to.src) + checksum::sum4(to.dst),
            )
        };
        match packet.transport {
            Transport::Tcp { flags, .. } => Ok(Self::ports(
                payload,
                TCP_CHECKSUM,
                addresses(),
                to.src_port,
                to.dst_port,
                flags & TCP_SYN != 0,
            )),
            Transport::Udp { checksum: 0, .. } => Err(Reason::BadTransportChecksum),
            Transport::Udp { .. } => Ok(Self::ports(
                payload,
                UDP_CHECKSUM,
                addresses(),
                to.src_port,
                to.dst_port,
                false,
            )),
            Transport::Echo { request, id } => {
                if packet.is_part() {
                    return Err(Reason::Ipv6Extension);
                }
                let kind = if request { 8 } else { 0 };
                let pseudo = checksum::pseudo6(packet.src, packet.dst, payload.len() as u32, proto::ICMPV6);
                let old = pseudo + (u64::from(payload[0]) << 8) + u64::from(id);
                let new = (u64::from(kind) << 8) + u64::from(to.src_port);
                Ok(Self::Echo {
                    kind,
                    checksum: checksum::update(be16(payload, 2), old, new),
                    id: to.src_port,
                })
            }
            Transport::IcmpError { .. } | Transport::IcmpOther { .. } => Err(Reason::IcmpNotTranslated),
            Transport::Fragment if packet.protocol == proto::ICMPV6 => Err(Reason::Ipv6Extension),
            Transport::Fragment | Transport::Other(_) => Ok(Self::Nothing),
        }
    }

    #[inline]
    fn four_to_six(packet: &Packet4<'_>, to: &To6) -> Result<Self, Reason> {
        let payload = packet.payload();
        let addresses = || {
            (
                checksum::sum4(packet.src) + checksum::sum4(packet.dst),
                checksum::sum6(to.src) + checksum::sum6(to.dst),
            )
        };
        match packet.transport {
            Transport::Tcp { flags, .. } => Ok(Self::ports(
                payload,
                TCP_CHECKSUM,
                addresses(),
                to.src_port,
                to.dst_port,
                flags & TCP_SYN != 0,
            )),
            Transport::Udp { checksum: 0, .. } if packet.is_part() => Err(Reason::FragmentZeroChecksum),
            Transport::Udp {
                checksum: 0, length, ..
            } => {
                let ports = u32::from(to.src_port) << 16 | u32::from(to.dst_port);
                let sum = checksum::pseudo6(to.src, to.dst, u32::from(length), proto::UDP)
                    + u64::from(ports)
                    + checksum::sum(&payload[4..usize::from(length)]);
                let checksum = never_zero(checksum::finish(sum));
                Ok(Self::Ports {
                    at: UDP_CHECKSUM,
                    ports,
                    checksum,
                    syn: false,
                })
            }
            Transport::Udp { .. } => Ok(Self::ports(
                payload,
                UDP_CHECKSUM,
                addresses(),
                to.src_port,
                to.dst_port,
                false,
            )),
            Transport::Echo { request, id } => {
                if packet.is_part() {
                    return Err(Reason::Ipv4Fragment);
                }
                let kind = if request { 128 } else { 129 };
                let pseudo = checksum::pseudo6(to.src, to.dst, payload.len() as u32, proto::ICMPV6);
                let old = (u64::from(payload[0]) << 8) + u64::from(id);
                let new = pseudo + (u64::from(kind) << 8) + u64::from(to.dst_port);
                Ok(Self::Echo {
                    kind,
                    checksum: checksum::update(be16(payload, 2), old, new),
                    id: to.dst_port,
                })
            }
            Transport::IcmpError { .. } | Transport::IcmpOther { .. } => Err(Reason::IcmpNotTranslated),
            Transport::Fragment if packet.protocol == proto::ICMP => Err(Reason::Ipv4Fragment),
            Transport::Fragment | Transport::Other(_) => Ok(Self::Nothing),
        }
    }

    /// Ports of TCP or UDP, for a change of the addresses' sums from `addresses.0` to `addresses.1`.
    #[inline]
    fn ports(payload: &[u8], at: usize, addresses: (u64, u64), src_port: u16, dst_port: u16, syn: bool) -> Self {
        let ports = u32::from(src_port) << 16 | u32::from(dst_port);
        let old = addresses.0 + u64::from(be32(payload, 0));
        let checksum = checksum::update(be16(payload, at), old, addresses.1 + u64::from(ports));
        Self::Ports {
            at,
            ports,
            checksum: if at == UDP_CHECKSUM {
                never_zero(checksum)
            } else {
                checksum
            },
            syn,
        }
    }

    /// Writes the change into the transport header; a SYN's MSS option is lowered to `mss`.
    #[inline]
    fn apply(self, payload: &mut [u8], mss: Option<u16>) {
        match self {
            Self::Nothing => {}
            Self::Ports {
                at,
                ports,
                checksum,
                syn,
            } => {
                payload[..4].copy_from_slice(&ports.to_be_bytes());
                payload[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
                if let (true, Some(mss)) = (syn, mss) {
                    clamp_mss(payload, mss);
                }
            }
            Self::Echo { kind, checksum, id } => {
                payload[0] = kind;
                payload[2..4].copy_from_slice(&checksum.to_be_bytes());
                payload[4..6].copy_from_slice(&id.to_be_bytes());
            }
        }
    }
}

/// Offset of the checksum in a TCP header.
pub(crate) const TCP_CHECKSUM: usize = 16;
/// Offset of the checksum in a UDP header.
pub(crate) const UDP_CHECKSUM: usize = 6;

/// A UDP checksum of zero means none, so it is sent as the other zero (RFC 768).
pub(crate) const fn never_zero(checksum: u16) -> u16 {
    if checksum == 0 {
        0xffff
    } else {
        checksum
    }
}

/// Lowers the MSS option of a SYN segment whose data offset was checked.
fn clamp_mss(segment: &mut [u8], mss: u16) {
    let end = usize::from(segment[12] >> 4) * 4;
    let mut at = 20;
    while at < end {
        match segment[at] {
            0 => return,
            1 => at += 1,
            kind => {
                if at + 2 > end {
                    return;
                }
                let length = usize::from(segment[at + 1]);
                if length < 2 || at + length > end {
                    return;
                }
                if kind == 2 && length == 4 {
                    let old = be16(segment, at + 2);
                    if old > mss {
                        // An option at an odd offset lies across two words of the sum: its bytes are swapped in it.
                        let word = |value: u16| u64::from(if at % 2 == 0 { value } else { value.swap_bytes() });
                        let sum = checksum::update(be16(segment, TCP_CHECKSUM), word(old), word(mss));
                        segment[TCP_CHECKSUM..TCP_CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
                        segment[at + 2..at + 4].copy_from_slice(&mss.to_be_bytes());
                    }
                    return;
                }
                at += length;
            }
        }
    }
}

/// Cuts the IPv4 packet at `out[start..]` into fragments of at most `mtu` bytes.
pub(crate) fn split4(out: &mut Vec<u8>, start: usize, mtu: u16, fragment: Option<Fragment>) -> usize {
    let end = out.len();
    let room = usize::from(mtu.max(MIN_MTU4)) - IPV4_HEADER;
    let (offset, more) = fragment.map_or((0, false), |fragment| (usize::from(fragment.offset), fragment.more));
    let mut header = [0; IPV4_HEADER];
    header.copy_from_slice(&out[start..start + IPV4_HEADER]);
    let first = start + IPV4_HEADER;
    let mut at = first;
    let mut count = 0;
    while at < end {
        let length = if end - at <= room { end - at } else { room & !7 };
        let last = at + length == end && !more;
        let word = ((offset + at - first) >> 3) as u16 | if last { 0 } else { MORE4 };
        header[2..4].copy_from_slice(&((IPV4_HEADER + length) as u16).to_be_bytes());
        header[6..8].copy_from_slice(&word.to_be_bytes());
        header[10..12].fill(0);
        let sum = checksum::finish(checksum::sum(&header));
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        out.extend_from_slice(&header);
        out.extend_from_within(at..at + length);
        at += length;
        count += 1;
    }
    out.drain(start..end);
    count
}

/// Cuts the IPv6 packet at `out[start..]`, which has no Fragment header, into packets with one of at most `limit` bytes.
pub(crate) fn split6(out: &mut Vec<u8>, start: usize, limit: usize, fragment: Option<Fragment>, ident: u16) -> usize {
    let end = out.len();
    let room = limit - IPV6_HEADER - FRAGMENT_HEADER;
    let (offset, more) = fragment.map_or((0, false), |fragment| (usize::from(fragment.offset), fragment.more));
    let mut header = [0; IPV6_HEADER];
    header.copy_from_slice(&out[start..start + IPV6_HEADER]);
    let protocol = header[6];
    header[6] = proto::FRAGMENT;
    let first = start + IPV6_HEADER;
    let mut at = first;
    let mut count = 0;
    while at < end {
        let length = if end - at <= room { end - at } else { room & !7 };
        let last = at + length == end && !more;
        header[4..6].copy_from_slice(&((FRAGMENT_HEADER + length) as u16).to_be_bytes());
        out.extend_from_slice(&header);
        let position = (offset + at - first) as u16;
        out.extend_from_slice(&build_fragment(protocol, position, !last, u32::from(ident)));
        out.extend_from_within(at..at + length);
        at += length;
        count += 1;
    }
    out.drain(start..end);
    count
}
