//! Super-segments and unfinished checksums: one translation for up to 64 KiB of TCP or UDP.
//!
//! ```text
//!   super-segment:  | IP | TCP | payload ................................................. |
//!   translated:     | IP | TCP | first `gso_size` bytes |          = an ordinary packet, its checksum finished
//!   sent:           | IP'| TCP'| payload, where it was received ........................... |
//! ```
//!
//! The translator is given the first packet a super-segment stands for, whole and right. If it comes back as one packet
//! of the other family with the same payload, its headers go in front of the whole payload, with lengths made anew, the
//! checksum left to the kernel again and the same `gso_size`: the packets get no larger than the first one, which the
//! translator has held against the link's MTU. If anything else happens (no room for the larger header, fragments, an
//! answer), or the segment carries SYN, FIN or RST, the super-segment is cut into its packets here ([`cut`]), and each
//! one goes its own way.

use nat64_xlate::checksum;

use super::vnet::{Gso, Vnet};

const TCP: u8 = 6;
const UDP: u8 = 17;
const TCP_FIN: u8 = 0x01;
const TCP_PSH: u8 = 0x08;
const TCP_CWR: u8 = 0x80;
/// FIN, SYN, RST, URG.
const NOT_PLAIN: u8 = 0x27;

/// Where the parts of a TCP or UDP packet lie that is no fragment; IPv6 without extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// IPv6.
    pub six: bool,
    /// UDP, else TCP.
    pub udp: bool,
    /// Bytes of the IP header.
    pub ip: usize,
    /// Bytes of the IP and transport headers together.
    pub headers: usize,
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

impl Shape {
    /// The shape of a packet; `None` when it is something else, or damaged.
    pub fn of(packet: &[u8]) -> Option<Self> {
        let (six, ip, protocol) = match packet.first()? >> 4 {
            4 => {
                let fragment = half(packet, 6)? & 0x3fff;
                let ip = usize::from(packet[0] & 15) * 4;
                if fragment != 0 || ip < 20 {
                    return None;
                }
                (false, ip, *packet.get(9)?)
            }
            6 => (true, 40, *packet.get(6)?),
            _ => return None,
        };
        let (udp, transport) = match protocol {
            TCP => (false, usize::from(packet.get(ip + 12)? >> 4) * 4),
            UDP => (true, 8),
            _ => return None,
        };
        let headers = ip + transport;
        ((udp || transport >= 20) && packet.len() >= headers).then_some(Self { six, udp, ip, headers })
    }

    /// Offset of the checksum in the transport header.
    pub const fn checksum_at(&self) -> usize {
        if self.udp {
            6
        } else {
            16
        }
    }

    fn pseudo(&self, packet: &[u8], length: usize) -> u64 {
        let addresses = if self.six { &packet[8..40] } else { &packet[12..20] };
        let protocol = if self.udp { UDP } else { TCP };
        checksum::sum(addresses) + length as u64 + u64::from(protocol)
    }

    /// Whether the packet is one whose super-segment can be translated by its first packet alone.
    pub fn is_plain(&self, packet: &[u8]) -> bool {
        let options = !self.six && self.ip != 20;
        !options && (self.udp || packet[self.ip + 13] & NOT_PLAIN == 0)
    }

    /// Writes the lengths of a packet whose transport part (header and payload) has `length` bytes, and the IPv4 header
    /// checksum. `false`: too long for its header.
    pub fn set_lengths(&self, packet: &mut [u8], length: usize) -> bool {
        let told = if self.six { length } else { length + self.ip };
        let Ok(told) = u16::try_from(told) else { return false };
        if self.six {
            put(packet, 4, told);
        } else {
            put(packet, 2, told);
            put(packet, 10, 0);
            let sum = checksum::finish(checksum::sum(&packet[..self.ip]));
            put(packet, 10, sum);
        }
        if self.udp {
            put(packet, self.ip + 4, length as u16);
        }
        true
    }

    /// Leaves the transport checksum of a packet of `length` bytes behind its IP header to whoever sends it: only the
    /// pseudo header is summed.
    pub fn set_partial(&self, packet: &mut [u8], length: usize) {
        let sum = checksum::fold(self.pseudo(packet, length));
        put(packet, self.ip + self.checksum_at(), sum);
    }

    /// Makes the transport checksum of a whole packet.
    pub fn set_checksum(&self, packet: &mut [u8]) {
        let at = self.ip + self.checksum_at();
        put(packet, at, 0);
        let sum = self.pseudo(packet, packet.len() - self.ip) + checksum::sum(&packet[self.ip..]);
        let sum = match checksum::finish(sum) {
            0 if self.udp => 0xffff,
            sum => sum,
        };
        put(packet, at, sum);
    }

    /// The header for a frame whose packet begins at `at`, of this shape, with its checksum left out.
    pub fn vnet(&self, at: usize, gso: Option<(u16, bool)>) -> Vnet {
        let kind = match (self.udp, self.six) {
            (true, _) => Gso::Udp,
            (false, true) => Gso::Tcp6,
            (false, false) => Gso::Tcp4,
        };
        let (size, ecn) = gso.unwrap_or_default();
        Vnet {
            checksum: Some(((at + self.ip) as u16, self.checksum_at() as u16)),
            gso: if gso.is_some() { kind } else { Gso::None },
            ecn,
            header: if gso.is_some() { (at + self.headers) as u16 } else { 0 },
            size,
        }
    }
}

/// Packets a super-segment stands for; 1 for what is none.
pub fn packets(vnet: &Vnet, frame_at: usize, packet: &[u8]) -> u64 {
    if vnet.gso == Gso::None || vnet.size == 0 {
        return 1;
    }
    let payload = match Shape::of(packet) {
        Some(shape) => packet.len() - shape.headers,
        // Extension headers: the kernel's own account of the headers has to do.
        None => (packet.len() + frame_at).saturating_sub(usize::from(vnet.header)),
    };
    (payload.div_ceil(usize::from(vnet.size)) as u64).max(1)
}

/// Appends packet `index` of a super-segment to `out`, whole and with right checksums. There must be one.
fn append(packet: &[u8], shape: &Shape, size: usize, index: usize, out: &mut Vec<u8>) {
    let payload = &packet[shape.headers..];
    let from = index * size;
    let to = (from + size).min(payload.len());
    let start = out.len();
    out.extend_from_slice(&packet[..shape.headers]);
    out.extend_from_slice(&payload[from..to]);
    let own = &mut out[start..];
    if !shape.udp {
        let sequence = &mut own[shape.ip + 4..shape.ip + 8];
        let number = u32::from_be_bytes([sequence[0], sequence[1], sequence[2], sequence[3]]);
        sequence.copy_from_slice(&number.wrapping_add(from as u32).to_be_bytes());
        let mut flags = own[shape.ip + 13];
        if to < payload.len() {
            flags &= !(TCP_FIN | TCP_PSH);
        }
        if index > 0 {
            flags &= !TCP_CWR;
        }
        own[shape.ip + 13] = flags;
    }
    if !shape.six {
        let id = u16::from_be_bytes([own[4], own[5]]).wrapping_add(index as u16);
        put(own, 4, id);
    }
    let length = own.len() - shape.ip;
    // No longer than the whole, whose length was in its header.
    shape.set_lengths(own, length);
    shape.set_checksum(own);
}

/// The first packet of a super-segment.
pub fn first(packet: &[u8], shape: &Shape, size: usize, out: &mut Vec<u8>) {
    append(packet, shape, size, 0, out);
}

/// All packets from number `skip` on that a super-segment stands for, in order.
pub fn cut<'a>(packet: &'a [u8], shape: &'a Shape, size: usize, skip: usize) -> impl Iterator<Item = Vec<u8>> + 'a {
    let count = (packet.len() - shape.headers).div_ceil(size.max(1)).max(1);
    (skip..count).map(move |index| {
        let mut out = Vec::with_capacity(shape.headers + size);
        append(packet, shape, size.max(1), index, &mut out);
        out
    })
}

/// Finishes a checksum as the header of the frame asks: sums from `start` on, and puts the result `offset` further.
/// `false`: they point outside the packet.
pub fn finish(packet: &mut [u8], start: usize, offset: usize) -> bool {
    if start + offset + 2 > packet.len() {
        return false;
    }
    let sum = match checksum::finish(checksum::sum(&packet[start..])) {
        // For UDP zero means that there is none; for TCP both zeros are right.
        0 => 0xffff,
        sum => sum,
    };
    put(packet, start + offset, sum);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};

    fn tcp4(payload: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let data: Vec<u8> = (0..payload).map(|i| (i * 7) as u8).collect();
        PacketBuilder::ipv4([192, 0, 2, 1], [203, 0, 113, 1], 64)
            .tcp(80, 1024, 0xffff_fff0, 512)
            .psh()
            .ack(1)
            .write(&mut out, &data)
            .expect("a packet");
        out
    }

    fn udp6(payload: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let data: Vec<u8> = (0..payload).map(|i| (i * 5) as u8).collect();
        PacketBuilder::ipv6([0x20; 16], [0x64; 16], 64)
            .udp(5000, 53)
            .write(&mut out, &data)
            .expect("a packet");
        out
    }

    /// Whether an independent parser finds every checksum right.
    fn right(packet: &[u8]) -> bool {
        let sliced = SlicedPacket::from_ip(packet).expect("parses");
        let transport = match (&sliced.net, sliced.transport) {
            (Some(etherparse::NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) => {
                ip.header().header_checksum() == ip.header().to_header().calc_header_checksum()
                    && tcp
                        .calc_checksum_ipv4(ip.header().source(), ip.header().destination())
                        .ok()
                        == Some(tcp.checksum())
            }
            (Some(etherparse::NetSlice::Ipv6(ip)), Some(TransportSlice::Udp(udp))) => {
                udp.to_header()
                    .calc_checksum_ipv6_raw(ip.header().source(), ip.header().destination(), udp.payload())
                    .ok()
                    == Some(udp.checksum())
            }
            other => panic!("{other:?}"),
        };
        transport
    }

    #[test]
    fn a_super_segment_is_cut_into_right_packets_that_join_to_the_whole() {
        for payload in [1usize, 999, 1000, 1001, 5000, 60_000] {
            for packet in [tcp4(payload), udp6(payload)] {
                let shape = Shape::of(&packet).expect("TCP or UDP");
                let pieces: Vec<Vec<u8>> = cut(&packet, &shape, 1000, 0).collect();
                assert_eq!(pieces.len(), payload.div_ceil(1000));
                let mut joined = Vec::new();
                for (i, piece) in pieces.iter().enumerate() {
                    assert!(right(piece), "piece {i} of {payload}");
                    joined.extend_from_slice(&piece[shape.headers..]);
                    if !shape.udp {
                        let sequence = u32::from_be_bytes(piece[24..28].try_into().expect("four"));
                        assert_eq!(sequence, 0xffff_fff0u32.wrapping_add(i as u32 * 1000));
                        assert_eq!(piece[33] & TCP_PSH != 0, i + 1 == pieces.len());
                    }
                }
                assert_eq!(joined, packet[shape.headers..]);
            }
        }
    }

    #[test]
    fn a_partial_checksum_finishes_to_the_right_one() {
        for packet in [tcp4(777), udp6(778)] {
            let shape = Shape::of(&packet).expect("TCP or UDP");
            let mut partial = packet.clone();
            shape.set_partial(&mut partial, packet.len() - shape.ip);
            assert_ne!(partial, packet);
            assert!(finish(&mut partial, shape.ip, shape.checksum_at()));
            assert_eq!(partial, packet);
            let end = partial.len();
            assert!(!finish(&mut partial, end - 1, 16));
        }
    }

    #[test]
    fn other_packets_have_no_shape() {
        let packet = tcp4(10);
        for cut in 0..40 {
            assert_eq!(Shape::of(&packet[..cut]), None, "{cut}");
        }
        let mut fragment = packet.clone();
        fragment[6] = 0x20;
        assert_eq!(Shape::of(&fragment), None);
        let mut icmp = packet.clone();
        icmp[9] = 1;
        assert_eq!(Shape::of(&icmp), None);
        let mut short = packet;
        short[32] = 0x40;
        assert_eq!(Shape::of(&short), None, "a TCP header of 16 bytes");
    }

    #[test]
    fn flags_decide_whether_the_first_packet_speaks_for_all() {
        let packet = tcp4(5000);
        let shape = Shape::of(&packet).expect("TCP");
        assert!(shape.is_plain(&packet));
        for flag in [1, 2, 4, 0x20] {
            let mut other = packet.clone();
            other[33] |= flag;
            assert!(!shape.is_plain(&other), "{flag:#x}");
        }
    }
}
