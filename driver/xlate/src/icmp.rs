//! ICMP errors from one family to the other (RFC 7915 sections 4.2, 4.3, 5.2, 5.3), with the packet they quote and
//! their RFC 4884 extensions.
//!
//! ```text
//!  outer IP | ICMP 8 bytes | quoted IP packet, maybe cut off, padded if extensions follow | extensions
//! ```
//!
//! The quoted packet went the other way, so it has its own translation. Its checksums are updated incrementally, its
//! hop limit is kept. The ICMP checksum is verified and made anew: a damaged error must not become a valid one.

use nat64_layout::{Protocol, Reason};

use crate::checksum;
use crate::extension::{self, Extensions, Toward};
use crate::packet::{
    addr4, addr6, be16, be32, proto, InnerHead, Packet4, Packet6, Transport, FRAGMENT_HEADER, IPV4_HEADER, IPV6_HEADER,
};
use crate::translate::{
    build4, build6, build_fragment, never_zero, Options4, Options6, To4, To6, DF4, MIN_MTU6, MORE4, TCP_CHECKSUM,
    UDP_CHECKSUM,
};

/// Bytes of an ICMP header, both families.
pub(crate) const ICMP_HEADER: usize = 8;
/// Shortest quote in front of extensions (RFC 4884 section 4).
const MIN_QUOTE_WITH_EXTENSIONS: usize = 128;
/// Plateaus of RFC 1191 section 7 that an IPv6 path can have.
const PLATEAUS: [u16; 7] = [65535, 32000, 17914, 8166, 4352, 2002, 1492];

/// Type, code and the second word of an ICMP error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    kind: u8,
    code: u8,
    word: u32,
    /// RFC 4884 gives this message a length field.
    extensible: bool,
}

/// ICMPv6 pointer to ICMPv4 pointer (RFC 7915 figure 6).
const fn pointer4(pointer: u32) -> Option<u8> {
    match pointer {
        0 => Some(0),
        1 => Some(1),
        4 | 5 => Some(2),
        6 => Some(9),
        7 => Some(8),
        8..=23 => Some(12),
        24..=39 => Some(16),
        _ => None,
    }
}

/// ICMPv4 pointer to ICMPv6 pointer (RFC 7915 figure 3).
const fn pointer6(pointer: u8) -> Option<u32> {
    match pointer {
        0 => Some(0),
        1 => Some(1),
        2 | 3 => Some(4),
        8 => Some(7),
        9 => Some(6),
        12..=15 => Some(8),
        16..=19 => Some(24),
        _ => None,
    }
}

/// MTU of a Fragmentation Needed made from a Packet Too Big (RFC 7915 section 5.2).
///
/// An IPv4 packet that becomes one with a Fragment header grows by 8 bytes more, which the RFC asks to be taken into
/// account. 68 is the smallest MTU of IPv4; a smaller value could only do harm.
fn mtu4(mtu: u32, fragment_header: bool, options: &Options4) -> u16 {
    let growth = 20 + if fragment_header { FRAGMENT_HEADER as u32 } else { 0 };
    let mtu = mtu.min(u32::from(options.mtu6)).saturating_sub(growth);
    mtu.min(u32::from(options.mtu4)).max(68) as u16
}

/// MTU of a Packet Too Big made from a Fragmentation Needed (RFC 7915 section 4.2); `total` is the total length of the
/// quoted packet, from which routers older than RFC 1191, which report 0, are understood.
fn mtu6(mtu: u16, total: u16, options: &Options6) -> u32 {
    let mtu = match mtu {
        0 => PLATEAUS.into_iter().find(|&plateau| plateau < total).unwrap_or(0),
        mtu => mtu,
    };
    (u32::from(mtu) + 20)
        .min(u32::from(options.mtu6))
        .min(u32::from(options.mtu4) + 20)
        .max(MIN_MTU6 as u32)
}

/// The ICMPv4 header for an ICMPv6 error (RFC 7915 section 5.2).
fn head4(kind: u8, code: u8, word: u32, fragment_header: bool, options: &Options4) -> Option<Head> {
    let unreachable = |code| {
        Some(Head {
            kind: 3,
            code,
            word: 0,
            extensible: true,
        })
    };
    match (kind, code) {
        (1, 0 | 2 | 3) => unreachable(1),
        (1, 1) => unreachable(10),
        (1, 4) => unreachable(3),
        (2, _) => Some(Head {
            kind: 3,
            code: 4,
            word: mtu4(word, fragment_header, options).into(),
            extensible: true,
        }),
        (3, code) => Some(Head {
            kind: 11,
            code,
            word: 0,
            extensible: true,
        }),
        (4, 0) => pointer4(word).map(|pointer| Head {
            kind: 12,
            code: 0,
            word: u32::from(pointer) << 24,
            extensible: true,
        }),
        (4, 1) => unreachable(2),
        _ => None,
    }
}

/// The ICMPv6 header for an ICMPv4 error (RFC 7915 section 4.2).
fn head6(kind: u8, code: u8, word: u32, total: u16, options: &Options6) -> Option<Head> {
    let unreachable = |code| {
        Some(Head {
            kind: 1,
            code,
            word: 0,
            extensible: true,
        })
    };
    match (kind, code) {
        (3, 0 | 1 | 5..=8 | 11 | 12) => unreachable(0),
        (3, 2) => Some(Head {
            kind: 4,
            code: 1,
            word: 6,
            extensible: false,
        }),
        (3, 3) => unreachable(4),
        (3, 4) => Some(Head {
            kind: 2,
            code: 0,
            word: mtu6(word as u16, total, options),
            extensible: false,
        }),
        (3, 9 | 10 | 13 | 15) => unreachable(1),
        (11, code) => Some(Head {
            kind: 3,
            code,
            word: 0,
            extensible: true,
        }),
        (12, 0 | 2) => pointer6((word >> 24) as u8).map(|word| Head {
            kind: 4,
            code: 0,
            word,
            extensible: false,
        }),
        _ => None,
    }
}

/// The quoted packet and the extensions of an error; `words` is the length attribute, `unit` its unit in bytes.
///
/// A length attribute that reaches past the message means nothing, so the message counts as one without extensions.
fn parts(body: &[u8], words: u8, unit: usize) -> (&[u8], &[u8]) {
    match usize::from(words) * unit {
        0 => (body, &[]),
        length if length < body.len() => body.split_at(length),
        _ => (body, &[]),
    }
}

/// Room for the quote in front of `extensions` in a message of `room` bytes behind the ICMP header: `(bytes, keep)`,
/// where `keep` says whether the extensions fit. `unit` as for the length attribute, which is 8 bits wide.
fn quote_room(room: usize, extensions: usize, unit: usize) -> (usize, bool) {
    match room.checked_sub(extensions) {
        Some(rest) if extensions > 0 && rest >= MIN_QUOTE_WITH_EXTENSIONS => ((rest / unit).min(255) * unit, true),
        _ => (room, false),
    }
}

/// Appends the extensions behind the quote that begins at `out[quote..]`; returns the length attribute.
fn append_extensions(out: &mut Vec<u8>, quote: usize, extensions: &[u8], unit: usize) -> u8 {
    let length = (out.len() - quote)
        .max(MIN_QUOTE_WITH_EXTENSIONS)
        .next_multiple_of(unit);
    out.resize(quote + length, 0);
    out.extend_from_slice(extensions);
    (length / unit) as u8
}

/// Translates an ICMPv6 error to ICMPv4 and appends it to `out` as one packet. `to` gives the addresses (its ports are
/// not used), `quote` the translation of the quoted packet; that packet went to the client, so an identifier is in
/// `quote.dst_port`.
///
/// # Errors
/// Nothing was appended.
/// * `IcmpNotTranslated`: RFC 7915 drops this type, code or pointer, or the packet is no ICMPv6 error.
/// * `IcmpErrorMalformed`, `IcmpErrorNoSession`: see [`Packet6::quote`].
/// * `BadTransportChecksum`: the ICMPv6 checksum is wrong.
/// * `Ipv6Extension`: a fragment; needs the whole.
pub fn error_six_to_four(
    packet: &Packet6<'_>,
    to: &To4,
    quote: &To4,
    options: &Options4,
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    error_six_to_four_with(packet, to, quote, options, &Extensions::default(), out)
}

/// [`error_six_to_four`] with a wish for the addresses in its extensions.
///
/// # Errors
/// As [`error_six_to_four`].
pub fn error_six_to_four_with(
    packet: &Packet6<'_>,
    to: &To4,
    quote: &To4,
    options: &Options4,
    wanted: &Extensions,
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    let Transport::IcmpError { kind, code } = packet.transport else {
        return Err(Reason::IcmpNotTranslated);
    };
    if packet.is_part() {
        return Err(Reason::Ipv6Extension);
    }
    let message = packet.payload();
    let pseudo = checksum::pseudo6(packet.src, packet.dst, message.len() as u32, proto::ICMPV6);
    if checksum::fold(pseudo + checksum::sum(message)) != 0xffff {
        return Err(Reason::BadTransportChecksum);
    }
    let words = if matches!(kind, 1 | 3) { message[4] } else { 0 };
    let (inner, extensions) = parts(&message[ICMP_HEADER..], words, 8);
    let inner_head = InnerHead::six(inner)?;
    let ports = inner_head.ports(inner, true)?;
    let head =
        head4(kind, code, be32(message, 4), inner_head.fragment.is_some(), options).ok_or(Reason::IcmpNotTranslated)?;

    let start = out.len();
    let room = usize::from(options.mtu4.max(576)) - IPV4_HEADER - ICMP_HEADER;
    let translated = extension::translate(extensions, wanted, Toward::Four);
    let extensions = if head.extensible {
        translated.as_deref().unwrap_or(extensions)
    } else {
        &[]
    };
    let (room, keep) = quote_room(room, extensions.len(), 4);
    out.resize(start + IPV4_HEADER + ICMP_HEADER, 0);
    let quote_at = out.len();
    if let Err(reason) = inner_six_to_four(inner, &inner_head, ports.0, quote, options, room, out) {
        out.truncate(start);
        return Err(reason);
    }
    let mut word = head.word;
    if keep {
        word |= u32::from(append_extensions(out, quote_at, extensions, 4)) << 16;
    }
    let total = out.len() - start;
    let flags = if total > usize::from(options.df_clear_max) {
        DF4
    } else {
        0
    };
    let tos = options.tos_override.unwrap_or(packet.traffic_class);
    let ttl = packet.hop_limit.saturating_sub(1);
    // The message was cut to the MTU of a link, which is 16 bits wide.
    let header = build4(
        tos,
        total as u16,
        options.ident,
        flags,
        ttl,
        proto::ICMP,
        to.src,
        to.dst,
    );
    out[start..start + IPV4_HEADER].copy_from_slice(&header);
    let message = &mut out[start + IPV4_HEADER..];
    message[0] = head.kind;
    message[1] = head.code;
    message[4..8].copy_from_slice(&word.to_be_bytes());
    let sum = checksum::finish(checksum::sum(message));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

/// Translates an ICMPv4 error to ICMPv6 and appends it to `out` as one packet of at most 1,280 bytes. `to` gives the
/// addresses (its ports are not used), `quote` the translation of the quoted packet; that packet came from the client,
/// so an identifier is in `quote.src_port`.
///
/// # Errors
/// Nothing was appended.
/// * `IcmpNotTranslated`: RFC 7915 drops this type, code or pointer, or the packet is no ICMPv4 error.
/// * `IcmpErrorMalformed`, `IcmpErrorNoSession`: see [`Packet4::quote`].
/// * `BadTransportChecksum`: the ICMPv4 checksum is wrong.
/// * `Ipv4Fragment`: a fragment; needs the whole.
pub fn error_four_to_six(
    packet: &Packet4<'_>,
    to: &To6,
    quote: &To6,
    options: &Options6,
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    error_four_to_six_with(packet, to, quote, options, &Extensions::default(), out)
}

/// [`error_four_to_six`] with a wish for the addresses in its extensions.
///
/// # Errors
/// As [`error_four_to_six`].
pub fn error_four_to_six_with(
    packet: &Packet4<'_>,
    to: &To6,
    quote: &To6,
    options: &Options6,
    wanted: &Extensions,
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    let Transport::IcmpError { kind, code } = packet.transport else {
        return Err(Reason::IcmpNotTranslated);
    };
    if packet.is_part() {
        return Err(Reason::Ipv4Fragment);
    }
    let message = packet.payload();
    if checksum::fold(checksum::sum(message)) != 0xffff {
        return Err(Reason::BadTransportChecksum);
    }
    let words = if matches!(kind, 3 | 11 | 12) { message[5] } else { 0 };
    let (inner, extensions) = parts(&message[ICMP_HEADER..], words, 4);
    let inner_head = InnerHead::four(inner)?;
    let ports = inner_head.ports(inner, false)?;
    let head = head6(kind, code, be32(message, 4), be16(inner, 2), options).ok_or(Reason::IcmpNotTranslated)?;

    let start = out.len();
    let room = MIN_MTU6 - IPV6_HEADER - ICMP_HEADER;
    let translated = extension::translate(extensions, wanted, Toward::Six);
    let extensions = if head.extensible {
        translated.as_deref().unwrap_or(extensions)
    } else {
        &[]
    };
    let (room, keep) = quote_room(room, extensions.len(), 8);
    out.resize(start + IPV6_HEADER + ICMP_HEADER, 0);
    let quote_at = out.len();
    if let Err(reason) = inner_four_to_six(inner, &inner_head, ports.0, quote, room, out) {
        out.truncate(start);
        return Err(reason);
    }
    let mut word = head.word;
    if keep {
        word |= u32::from(append_extensions(out, quote_at, extensions, 8)) << 24;
    }
    let length = (out.len() - start - IPV6_HEADER) as u16;
    let traffic_class = options.tos_override.unwrap_or(packet.tos);
    let header = build6(
        traffic_class,
        length,
        proto::ICMPV6,
        packet.ttl.saturating_sub(1),
        to.src,
        to.dst,
    );
    out[start..start + IPV6_HEADER].copy_from_slice(&header);
    let message = &mut out[start + IPV6_HEADER..];
    message[0] = head.kind;
    message[1] = head.code;
    message[4..8].copy_from_slice(&word.to_be_bytes());
    let pseudo = checksum::pseudo6(to.src, to.dst, u32::from(length), proto::ICMPV6);
    let sum = checksum::finish(pseudo + checksum::sum(message));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

/// Appends the translation of a quoted IPv6 packet, at most `room` bytes.
fn inner_six_to_four(
    inner: &[u8],
    head: &InnerHead,
    protocol: Protocol,
    to: &To4,
    options: &Options4,
    room: usize,
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    // Length of the transport in the packet as it was, of which the quote may hold less.
    let length = (IPV6_HEADER + usize::from(be16(inner, 4)))
        .checked_sub(head.payload_at)
        .filter(|length| IPV4_HEADER + length <= usize::from(u16::MAX))
        .ok_or(Reason::IcmpErrorMalformed)?;
    let total = (IPV4_HEADER + length) as u16;
    let (ident, flags) = match head.fragment {
        Some(fragment) => (
            fragment.id as u16,
            fragment.offset >> 3 | if fragment.more { MORE4 } else { 0 },
        ),
        None => (0, if total > options.df_clear_max { DF4 } else { 0 }),
    };
    let tos = (be16(inner, 0) >> 4) as u8;
    out.extend_from_slice(&build4(
        tos,
        total,
        ident,
        flags,
        inner[7],
        protocol.ipv4(),
        to.src,
        to.dst,
    ));
    let kept = inner_transport(inner, head, length, room - IPV4_HEADER)?;
    let at = out.len();
    out.extend_from_slice(kept);
    let (src, dst) = (addr6(inner, 8), addr6(inner, 24));
    let transport = &mut out[at..];
    match protocol {
        Protocol::Tcp | Protocol::Udp => {
            let old = checksum::sum6(src) + checksum::sum6(dst);
            let new = checksum::sum4(to.src) + checksum::sum4(to.dst);
            edit_ports(transport, protocol, old, new, to.src_port, to.dst_port);
        }
        Protocol::Icmp => {
            let kind = if transport[0] == 128 { 8 } else { 0 };
            let old = checksum::pseudo6(src, dst, length as u32, proto::ICMPV6);
            edit_echo(transport, kind, to.dst_port, old, 0);
        }
    }
    Ok(())
}

/// Appends the translation of a quoted IPv4 packet, at most `room` bytes.
fn inner_four_to_six(
    inner: &[u8],
    head: &InnerHead,
    protocol: Protocol,
    to: &To6,
    room: usize,
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    let length = usize::from(be16(inner, 2))
        .checked_sub(head.payload_at)
        .ok_or(Reason::IcmpErrorMalformed)?;
    let mut used = IPV6_HEADER;
    match head.fragment {
        Some(fragment) => {
            used += FRAGMENT_HEADER;
            let payload = u16::try_from(length + FRAGMENT_HEADER).map_err(|_| Reason::IcmpErrorMalformed)?;
            out.extend_from_slice(&build6(inner[1], payload, proto::FRAGMENT, inner[8], to.src, to.dst));
            out.extend_from_slice(&build_fragment(
                protocol.ipv6(),
                fragment.offset,
                fragment.more,
                fragment.id,
            ));
        }
        None => out.extend_from_slice(&build6(
            inner[1],
            length as u16,
            protocol.ipv6(),
            inner[8],
            to.src,
            to.dst,
        )),
    }
    let kept = inner_transport(inner, head, length, room - used)?;
    let at = out.len();
    out.extend_from_slice(kept);
    let (src, dst) = (addr4(inner, 12), addr4(inner, 16));
    let transport = &mut out[at..];
    match protocol {
        Protocol::Tcp | Protocol::Udp => {
            let old = checksum::sum4(src) + checksum::sum4(dst);
            let new = checksum::sum6(to.src) + checksum::sum6(to.dst);
            edit_ports(transport, protocol, old, new, to.src_port, to.dst_port);
        }
        Protocol::Icmp => {
            let kind = if transport[0] == 8 { 128 } else { 129 };
            let new = checksum::pseudo6(to.src, to.dst, length as u32, proto::ICMPV6);
            edit_echo(transport, kind, to.src_port, 0, new);
        }
    }
    Ok(())
}

/// The transport bytes of the quote that are kept: no padding behind the packet's end, at most `room`.
fn inner_transport<'a>(inner: &'a [u8], head: &InnerHead, length: usize, room: usize) -> Result<&'a [u8], Reason> {
    let transport = &inner[head.payload_at..];
    let kept = &transport[..transport.len().min(length).min(room)];
    // A quoted packet of less than 8 bytes of transport has no ports, whatever bytes follow it.
    if kept.len() < 8 {
        Err(Reason::IcmpErrorMalformed)
    } else {
        Ok(kept)
    }
}

/// New ports and checksum in a quoted TCP or UDP header of at least 8 bytes; the TCP checksum may be cut off.
fn edit_ports(transport: &mut [u8], protocol: Protocol, old: u64, new: u64, src_port: u16, dst_port: u16) {
    let ports = u32::from(src_port) << 16 | u32::from(dst_port);
    let old = old + u64::from(be32(transport, 0));
    let new = new + u64::from(ports);
    transport[..4].copy_from_slice(&ports.to_be_bytes());
    let udp = protocol == Protocol::Udp;
    let at = if udp { UDP_CHECKSUM } else { TCP_CHECKSUM };
    let Some(field) = transport.get_mut(at..at + 2) else {
        return;
    };
    let before = u16::from_be_bytes([field[0], field[1]]);
    if udp && before == 0 {
        return;
    }
    let sum = checksum::update(before, old, new);
    field.copy_from_slice(&if udp { never_zero(sum) } else { sum }.to_be_bytes());
}

/// New type, identifier and checksum in a quoted echo header of at least 8 bytes; `old` and `new` are the pseudo headers.
fn edit_echo(transport: &mut [u8], kind: u8, id: u16, old: u64, new: u64) {
    let old = old + (u64::from(transport[0]) << 8) + u64::from(be16(transport, 4));
    let new = new + (u64::from(kind) << 8) + u64::from(id);
    let sum = checksum::update(be16(transport, 2), old, new);
    transport[0] = kind;
    transport[2..4].copy_from_slice(&sum.to_be_bytes());
    transport[4..6].copy_from_slice(&id.to_be_bytes());
}
