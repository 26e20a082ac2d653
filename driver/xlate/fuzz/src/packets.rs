//! Packets with right lengths and checksums, made from a few decisions; not with the translator's own builder.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::source::Source;

/// Ones' complement sum of a message behind a pseudo header.
fn sum(parts: &[&[u8]]) -> u16 {
    let mut total = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            total += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        }
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// Writes the header checksum of an IPv4 packet, if its header is all there.
pub fn sum_header4(packet: &mut [u8]) {
    let length = packet.first().map_or(0, |byte| usize::from(byte & 15) * 4);
    if packet.len() < length || length < 20 {
        return;
    }
    packet[10..12].fill(0);
    let sum = !sum(&[&packet[..length]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// The pseudo header of either family.
fn pseudo(packet: &[u8], protocol: u8, length: usize) -> Vec<u8> {
    let (four, six) = (packet[0] >> 4 == 4, packet[0] >> 4 == 6);
    let mut bytes = Vec::new();
    if six {
        bytes.extend_from_slice(&packet[8..40]);
    }
    // ICMPv4 has none.
    if four && protocol != 1 {
        bytes.extend_from_slice(&packet[12..20]);
    }
    if six || protocol != 1 {
        bytes.extend_from_slice(&(length as u32).to_be_bytes());
        bytes.extend_from_slice(&[0, 0, 0, protocol]);
    }
    bytes
}

/// Offset of the checksum in the transport header.
fn checksum_at(protocol: u8) -> Option<usize> {
    match protocol {
        6 => Some(16),
        17 => Some(6),
        1 | 58 => Some(2),
        _ => None,
    }
}

/// Whether the transport checksum of a whole packet is right; `None`: there is none, or the packet is a part of one.
pub fn transport_is_right(packet: &[u8]) -> Option<bool> {
    let six = packet[0] >> 4 == 6;
    let (protocol, at) = if six {
        // We send at most one extension header, that of a fragment.
        (packet[6], 40)
    } else {
        if packet[6] & 0x3f != 0 || packet[7] != 0 {
            return None;
        }
        (packet[9], usize::from(packet[0] & 15) * 4)
    };
    let message = packet.get(at..)?;
    let field = checksum_at(protocol)?;
    let value = message.get(field..field + 2)?;
    if protocol == 17 && value == [0, 0] {
        return if six { Some(false) } else { None };
    }
    Some(sum(&[&pseudo(packet, protocol, message.len()), message]) == 0xffff)
}

/// Writes the transport checksum of `packet`, whose message begins at `at`.
fn sum_transport(packet: &mut [u8], protocol: u8, at: usize) {
    let Some(field) = checksum_at(protocol).map(|field| at + field) else {
        return;
    };
    if packet.len() < field + 2 {
        return;
    }
    packet[field..field + 2].fill(0);
    let value = match !sum(&[&pseudo(packet, protocol, packet.len() - at), &packet[at..]]) {
        0 if protocol == 17 => 0xffff,
        value => value,
    };
    packet[field..field + 2].copy_from_slice(&value.to_be_bytes());
}

/// The ends of a packet.
#[derive(Clone, Copy)]
pub struct Ends<A> {
    /// Source and its port, or the identifier.
    pub src: (A, u16),
    /// Destination and its port.
    pub dst: (A, u16),
}

/// A TCP, UDP or ICMP message without checksum: protocol number of its family and bytes. `quoted`: a packet for an ICMP
/// error.
fn message(source: &mut Source<'_>, ports: (u16, u16), six: bool, quoted: Option<&[u8]>) -> (u8, Vec<u8>) {
    let mut out = Vec::new();
    let [high, low] = ports.0.to_be_bytes();
    let [high2, low2] = ports.1.to_be_bytes();
    let data = usize::from(source.byte()) % 24 * if source.byte() & 31 == 0 { 100 } else { 1 };
    match source.byte() % 16 {
        0..=5 => {
            out.extend_from_slice(&[high, low, high2, low2]);
            out.extend_from_slice(&((8 + data) as u16).to_be_bytes());
            out.extend_from_slice(&[0, 0]);
            out.resize(8 + data, 0x5a);
            (17, out)
        }
        6..=11 => {
            let flags = source.pick(&[0x02, 0x02, 0x12, 0x10, 0x10, 0x11, 0x04, 0x14, 0x03, 0x00, 0x18]);
            out.extend_from_slice(&[
                high, low, high2, low2, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 1, 0, 0, 0, 0, 0,
            ]);
            if source.byte() & 3 == 0 {
                out[12] = 0x60;
                out.extend_from_slice(&[2, 4, 5, 0xb4]);
            }
            out.resize(out.len() + data, 0xa5);
            (6, out)
        }
        12 | 13 => {
            let reply = source.byte() & 1 != 0;
            let kind = match (six, reply) {
                (true, false) => 128,
                (true, true) => 129,
                (false, false) => 8,
                (false, true) => 0,
            };
            let port = if six { [high, low] } else { [high2, low2] };
            out.extend_from_slice(&[kind, 0, 0, 0, port[0], port[1], 0, 1]);
            out.resize(8 + data, 0x33);
            (if six { 58 } else { 1 }, out)
        }
        14 => {
            let kind = source.pick(if six {
                &[1, 2, 3, 4, 100, 137, 135]
            } else {
                &[3, 11, 12, 4, 5, 13]
            });
            out.extend_from_slice(&[
                kind,
                source.byte() % 17,
                0,
                0,
                source.byte(),
                source.byte(),
                0,
                source.byte(),
            ]);
            let quoted = quoted.unwrap_or(&[]);
            let cut = usize::from(source.byte()) * 6;
            out.extend_from_slice(&quoted[..quoted.len().min(cut)]);
            if source.byte() & 3 == 0 {
                // Extensions behind a padded quote, RFC 4884.
                let unit = if six { 8 } else { 4 };
                out.resize(8 + 128, 0);
                out[if six { 4 } else { 5 }] = (128 / unit) as u8;
                out.extend_from_slice(source.bytes(40));
            }
            (if six { 58 } else { 1 }, out)
        }
        _ => {
            out.extend_from_slice(source.bytes(30));
            (source.byte(), out)
        }
    }
}

/// An IPv6 packet, or pieces of one.
pub fn six(source: &mut Source<'_>, ends: Ends<Ipv6Addr>, quoted: Option<&[u8]>) -> Vec<Vec<u8>> {
    let (protocol, body) = message(source, (ends.src.1, ends.dst.1), true, quoted);
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, protocol, source.pick(&[64, 64, 64, 2, 1, 0, 255])];
    packet.extend_from_slice(&ends.src.0.octets());
    packet.extend_from_slice(&ends.dst.0.octets());
    packet.extend_from_slice(&body);
    if source.byte() & 15 != 0 {
        sum_transport(&mut packet, protocol, 40);
    }
    let mut shape = source.byte();
    if shape & 7 == 0 {
        // Extension headers, some of them wrong.
        let kind = source.pick(&[0, 60, 43, 0, 60, 43, 51, 135]);
        let left = source.pick(&[0, 0, 0, 1]);
        let header = [packet[6], 0, 0, left, 0, 0, 0, 0];
        packet.splice(40..40, header);
        packet[6] = kind;
    }
    let length = (packet.len() - 40) as u16;
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    shape >>= 3;
    if shape & 3 != 0 {
        return vec![packet];
    }
    let (ident, size) = (source.byte() & 3, (usize::from(source.byte() % 8) + 1) * 8);
    let body = packet.split_off(40);
    let last = packet[6];
    pieces(source, &body, size, |offset, more, piece| {
        let mut head = packet.clone();
        head[6] = 44;
        head[4..6].copy_from_slice(&((piece.len() + 8) as u16).to_be_bytes());
        let word = (offset as u16 | u16::from(more)).to_be_bytes();
        head.extend_from_slice(&[last, 0, word[0], word[1], 0, 1, 2, ident]);
        head.extend_from_slice(piece);
        head
    })
}

/// An IPv4 packet, or pieces of one.
pub fn four(source: &mut Source<'_>, ends: Ends<Ipv4Addr>, quoted: Option<&[u8]>) -> Vec<Vec<u8>> {
    let (protocol, body) = message(source, (ends.src.1, ends.dst.1), false, quoted);
    let ident = source.byte() & 3;
    let df = source.byte() & 0x40;
    let ttl = source.pick(&[64, 64, 64, 2, 1, 0]);
    let mut packet = vec![0x45, source.byte(), 0, 0, 7, ident, df, 0, ttl, protocol, 0, 0];
    packet.extend_from_slice(&ends.src.0.octets());
    packet.extend_from_slice(&ends.dst.0.octets());
    packet.extend_from_slice(&body);
    let spoil = source.byte();
    if spoil & 15 != 0 {
        sum_transport(&mut packet, protocol, 20);
    }
    if spoil & 0x70 == 0 {
        // UDP may come without.
        if protocol == 17 {
            packet[26..28].fill(0);
        }
    }
    if source.byte() & 15 == 0 {
        let option = source.pick(&[[7u8, 4, 4, 0], [131, 3, 4, 0], [131, 7, 4, 1], [1, 1, 1, 0]]);
        packet.splice(20..20, option);
        packet[0] = 0x46;
    }
    let finish = |packet: &mut Vec<u8>| {
        let length = (packet.len() as u16).to_be_bytes();
        packet[2..4].copy_from_slice(&length);
        sum_header4(packet);
    };
    if source.byte() & 3 != 0 {
        finish(&mut packet);
        return vec![packet];
    }
    let size = (usize::from(source.byte() % 8) + 1) * 8;
    let header = usize::from(packet[0] & 15) * 4;
    let body = packet.split_off(header);
    pieces(source, &body, size, |offset, more, piece| {
        let mut head = packet.clone();
        let word = ((offset / 8) as u16 | if more { 0x2000 } else { 0 }).to_be_bytes();
        head[6..8].copy_from_slice(&word);
        head.extend_from_slice(piece);
        finish(&mut head);
        head
    })
}

/// Cuts a message, and now and then turns, repeats or drops pieces.
fn pieces(
    source: &mut Source<'_>,
    body: &[u8],
    size: usize,
    build: impl Fn(usize, bool, &[u8]) -> Vec<u8>,
) -> Vec<Vec<u8>> {
    let count = body.len().div_ceil(size).max(1);
    let mut out: Vec<Vec<u8>> = body
        .chunks(size)
        .enumerate()
        .map(|(index, piece)| build(index * size, index + 1 < count, piece))
        .collect();
    if out.is_empty() {
        return out;
    }
    let turn = source.byte();
    if turn & 1 != 0 {
        out.reverse();
    }
    if turn & 6 == 2 {
        let at = usize::from(turn >> 4) % out.len();
        out.push(out[at].clone());
    }
    if turn & 6 == 4 {
        let at = usize::from(turn >> 4) % out.len();
        out.remove(at);
    }
    if turn & 8 != 0 && !body.is_empty() {
        // Something that may overlap.
        let offset = usize::from(source.byte() % 16) * 8;
        out.push(build(offset, source.byte() & 1 != 0, &body[..body.len().min(size)]));
    }
    out.truncate(40);
    out
}
