//! Seeded traffic: IPv6 clients and IPv4 servers in every mixture of protocols, lengths, tags and damage.
//!
//! Valid packets are built by etherparse, which we did not write; damage is done to their bytes afterwards. Nothing here
//! knows how the translator works, except that sequential pools start at the first address and port 1024, which is what makes
//! replies find their mappings.

use etherparse::{
    IpFragOffset, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6FlowLabel, Ipv6Header, PacketBuilder, VlanId,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Which port a frame goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Port 0, the IPv6 clients.
    Inside,
    /// Port 1, the IPv4 servers.
    Outside,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Time of arrival, ns.
    pub time: u64,
    /// Where.
    pub side: Side,
    /// Ethernet frame.
    pub bytes: Vec<u8>,
}

/// How traffic is mixed.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Client addresses.
    pub clients: u8,
    /// Server addresses.
    pub servers: u8,
    /// Ports per client and server.
    pub ports: u16,
    /// VLAN ids frames are tagged with, in percent of frames: (inside, outside, percent).
    pub vlans: Option<(u16, u16, u32)>,
    /// Percent of frames that are damaged or odd.
    pub odd: u32,
    /// Largest payload.
    pub payload: usize,
    /// Mean time between frames, ns.
    pub spacing: u64,
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            clients: 12,
            servers: 6,
            ports: 4,
            vlans: None,
            odd: 20,
            payload: 1440,
            spacing: 2_000_000,
        }
    }
}

/// Server addresses that are global, as the well-known prefix wants them (RFC 6052 section 3.1).
const SERVERS: [[u8; 4]; 8] = [
    [9, 9, 9, 9],
    [8, 8, 8, 8],
    [1, 1, 1, 1],
    [93, 184, 216, 34],
    [151, 101, 1, 69],
    [140, 82, 121, 3],
    [172, 217, 16, 14],
    [104, 16, 132, 229],
];
/// First address of the pool `203.0.113.0/24`.
const POOL: [u8; 4] = [203, 0, 113, 1];
const ROUTER_MACS: [[u8; 6]; 2] = [[2, 0x4e, 0x36, 0x34, 0, 0], [2, 0x4e, 0x36, 0x34, 0, 1]];

/// An endless stream of frames; the same seed gives the same frames.
pub struct Traffic {
    rng: StdRng,
    mix: Mix,
    time: u64,
}

impl Traffic {
    /// Traffic of this seed.
    pub fn new(seed: u64, mix: Mix) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            mix,
            time: 1_000_000_000,
        }
    }

    fn payload(&mut self) -> Vec<u8> {
        let size = match self.rng.random_range(0..4) {
            0 => self.rng.random_range(0..=32),
            1 => self.rng.random_range(0..=self.mix.payload.min(200)),
            _ => self.rng.random_range(0..=self.mix.payload),
        };
        (0..size).map(|_| self.rng.random()).collect()
    }

    fn inside(&mut self) -> Vec<u8> {
        let client = self.rng.random_range(1..=self.mix.clients);
        let server = *SERVERS[..usize::from(self.mix.servers).min(SERVERS.len())]
            .choose(&mut self.rng)
            .unwrap_or(&SERVERS[0]);
        let mut source = [0u8; 16];
        source[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        source[15] = client;
        let mut destination = [0u8; 16];
        destination[..4].copy_from_slice(&[0, 0x64, 0xff, 0x9b]);
        destination[12..].copy_from_slice(&server);
        let client_port = 40_000 + self.rng.random_range(0..self.mix.ports);
        let mut ip = Ipv6Header {
            traffic_class: self.rng.random(),
            flow_label: Ipv6FlowLabel::try_new(self.rng.random_range(0..1 << 20)).unwrap_or_default(),
            hop_limit: self.rng.random_range(0..=255),
            source,
            destination,
            ..Ipv6Header::default()
        };
        if ip.hop_limit < 3 && self.rng.random_range(0..4) != 0 {
            ip.hop_limit = 64;
        }
        let mac = [2, 0, 0, 0, 1, client];
        let payload = self.payload();
        self.finish(
            mac,
            ROUTER_MACS[0],
            Ip::Six(ip),
            client_port,
            server_port(&mut self.rng.clone()),
            &payload,
        )
    }

    fn outside(&mut self) -> Vec<u8> {
        let server = *SERVERS[..usize::from(self.mix.servers).min(SERVERS.len())]
            .choose(&mut self.rng)
            .unwrap_or(&SERVERS[0]);
        let mappings = u16::from(self.mix.clients) * self.mix.ports;
        let port = 1024 + self.rng.random_range(0..mappings + 2);
        let mut ip = Ipv4Header {
            dont_fragment: self.rng.random(),
            identification: self.rng.random(),
            time_to_live: self.rng.random_range(0..=255),
            protocol: IpNumber::UDP,
            source: server,
            destination: POOL,
            ..Ipv4Header::default()
        };
        let tos: u8 = self.rng.random();
        ip.dscp = etherparse::IpDscp::try_new(tos >> 2).unwrap_or_default();
        ip.ecn = etherparse::IpEcn::try_new(tos & 3).unwrap_or_default();
        if ip.time_to_live < 3 && self.rng.random_range(0..4) != 0 {
            ip.time_to_live = 64;
        }
        if self.rng.random_range(0..40) == 0 {
            ip.destination = [203, 0, 113, self.rng.random()];
        }
        let mac = [2, 0, 0, 0, 2, server[0]];
        let payload = self.payload();
        let source_port = server_port(&mut self.rng.clone());
        self.finish(mac, ROUTER_MACS[1], Ip::Four(ip), source_port, port, &payload)
    }

    fn finish(&mut self, from: [u8; 6], to: [u8; 6], ip: Ip, source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2(from, to);
        let tag = match (self.mix.vlans, &ip) {
            (Some((inside, outside, percent)), ip) if self.rng.random_range(0..100) < percent => {
                Some(if matches!(ip, Ip::Six(_)) { inside } else { outside })
            }
            _ => None,
        };
        let six = matches!(ip, Ip::Six(_));
        let header = match ip {
            Ip::Six(ip) => etherparse::IpHeaders::Ipv6(ip, Default::default()),
            Ip::Four(ip) => etherparse::IpHeaders::Ipv4(ip, Ipv4Extensions::default()),
        };
        let builder = match tag.and_then(|v| VlanId::try_new(v).ok()) {
            Some(vid) => builder.single_vlan(vid).ip(header),
            None => builder.ip(header),
        };
        let mut out = Vec::new();
        let kind = self.rng.random_range(0..10);
        let written = match kind {
            0..=3 => builder.udp(source, destination).write(&mut out, payload),
            4..=7 => {
                let mut tcp = etherparse::TcpHeader::new(source, destination, self.rng.random(), self.rng.random());
                tcp.acknowledgment_number = self.rng.random();
                tcp.ack = true;
                tcp.psh = self.rng.random();
                match self.rng.random_range(0..8) {
                    0 | 1 => {
                        tcp.syn = true;
                        tcp.ack = !six;
                    }
                    2 => tcp.fin = true,
                    3 if self.rng.random_range(0..3) == 0 => tcp.rst = true,
                    _ => {}
                }
                let cut = &payload[..payload.len().min(self.mix.payload.saturating_sub(12))];
                builder.tcp_header(tcp).write(&mut out, cut)
            }
            _ => {
                let request = self.rng.random_range(0..3) != 0;
                let id = if six { source } else { destination };
                let seq = self.rng.random();
                match (six, request) {
                    (true, true) => builder.icmpv6_echo_request(id, seq).write(&mut out, payload),
                    (true, false) => builder.icmpv6_echo_reply(id, seq).write(&mut out, payload),
                    (false, true) => builder.icmpv4_echo_request(id, seq).write(&mut out, payload),
                    (false, false) => builder.icmpv4_echo_reply(id, seq).write(&mut out, payload),
                }
            }
        };
        written.expect("a Vec takes every byte");
        if self.rng.random_range(0..100) < self.mix.odd {
            self.damage(&mut out, six, tag.is_some());
        }
        out
    }

    /// Makes a frame odd: most of these must not be translated by the card.
    fn damage(&mut self, frame: &mut Vec<u8>, six: bool, tagged: bool) {
        let l3 = if tagged { 18 } else { 14 };
        let l4 = l3 + if six { 40 } else { 20 };
        match self.rng.random_range(0..14) {
            // a random bit anywhere behind the Ethernet header
            0..=2 => {
                let at = self.rng.random_range(l3..frame.len());
                frame[at] ^= 1 << self.rng.random_range(0..8);
            }
            // the end is missing
            3 => {
                let keep = self.rng.random_range(l3..frame.len());
                frame.truncate(keep.max(15));
            }
            // bytes behind the packet, as Ethernet padding is
            4 | 5 => {
                let pad = self.rng.random_range(1..40);
                frame.extend((0..pad).map(|i| i as u8));
                frame.truncate(1514);
            }
            // hop limit 0 or 1, header checksum kept right
            6 => set_hop(frame, l3, six, self.rng.random_range(0..2)),
            // another protocol
            7 => {
                let protocol = *[0u8, 1, 2, 41, 43, 44, 47, 50, 51, 58, 59, 60, 132, 255]
                    .choose(&mut self.rng)
                    .unwrap_or(&0);
                frame[if six { l3 + 6 } else { l3 + 9 }] = protocol;
                fix_ipv4(frame, l3, six);
            }
            // UDP without checksum, or TCP checksum zero
            8 => {
                let at = l4
                    + if frame[if six { l3 + 6 } else { l3 + 9 }] == 6 {
                        16
                    } else {
                        6
                    };
                if at + 2 <= frame.len() {
                    frame[at..at + 2].fill(0);
                }
            }
            // an ICMP type of another kind
            9 => {
                if l4 < frame.len() {
                    frame[l4] = self.rng.random();
                }
            }
            // a fragment
            10 if !six => {
                let offset = IpFragOffset::try_new(self.rng.random_range(0..300))
                    .unwrap_or_default()
                    .value();
                let bits = offset | u16::from(self.rng.random::<bool>()) << 13;
                frame[l3 + 6..l3 + 8].copy_from_slice(&bits.to_be_bytes());
                fix_ipv4(frame, l3, six);
            }
            // a transport length that is wrong
            11 => {
                let at = l4 + 4 + self.rng.random_range(0..10);
                if at < frame.len() {
                    frame[at] = self.rng.random();
                }
            }
            // another ethertype
            12 => frame[l3 - 1] = self.rng.random(),
            // addresses of nobody
            _ => {
                let at = l3
                    + if six {
                        8 + self.rng.random_range(0..32)
                    } else {
                        12 + self.rng.random_range(0..8)
                    };
                frame[at] = self.rng.random();
                fix_ipv4(frame, l3, six);
            }
        }
    }
}

impl Iterator for Traffic {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        self.time += self.rng.random_range(0..2 * self.mix.spacing.max(1));
        let inside = self.rng.random_range(0..100) < 55;
        let (side, bytes) = if inside {
            (Side::Inside, self.inside())
        } else {
            (Side::Outside, self.outside())
        };
        Some(Frame {
            time: self.time,
            side,
            bytes,
        })
    }
}

enum Ip {
    Six(Ipv6Header),
    Four(Ipv4Header),
}

fn server_port(rng: &mut StdRng) -> u16 {
    *[53u16, 80, 443, 5000].choose(rng).unwrap_or(&80)
}

fn set_hop(frame: &mut [u8], l3: usize, six: bool, hop: u8) {
    frame[if six { l3 + 7 } else { l3 + 8 }] = hop;
    fix_ipv4(frame, l3, six);
}

/// Makes the IPv4 header checksum right again.
fn fix_ipv4(frame: &mut [u8], l3: usize, six: bool) {
    if six || frame.len() < l3 + 20 {
        return;
    }
    if let Ok((mut header, _)) = Ipv4Header::from_slice(&frame[l3..]) {
        header.header_checksum = header.calc_header_checksum();
        frame[l3 + 10..l3 + 12].copy_from_slice(&header.header_checksum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_frames() {
        let take = |seed| Traffic::new(seed, Mix::default()).take(500).collect::<Vec<_>>();
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
    }

    #[test]
    fn most_frames_are_whole_and_sizes_differ() {
        let frames: Vec<_> = Traffic::new(3, Mix::default()).take(2000).collect();
        let whole = frames
            .iter()
            .filter(|f| etherparse::SlicedPacket::from_ethernet(&f.bytes).is_ok())
            .count();
        assert!(whole > 1600, "{whole} of 2000 can be parsed");
        assert!(frames.iter().all(|f| f.bytes.len() <= 1518 && f.bytes.len() >= 15));
        let sizes: std::collections::BTreeSet<_> = frames.iter().map(|f| f.bytes.len()).collect();
        assert!(sizes.len() > 500);
    }
}
