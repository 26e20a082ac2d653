//! Attackers: floods from both sides, each by its own rule, all from one seed.

use etherparse::PacketBuilder;
use nat64_xlate::checksum;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use super::target::PortFrame;
use super::users::{client, client_mac, embedded, imix, pick, with_flags, Users, GATEWAY, ROUTER_MAC};

/// What is done to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attack {
    /// Many short conversations of many clients, in the lengths of IMIX.
    Imix,
    /// SYNs of clients and of servers that never answer.
    SynFlood,
    /// One server tries every port of every pool address, one client every port of a server.
    PortScan,
    /// Datagrams that each want a session of their own.
    UdpFill,
    /// Fragments that overlap, repeat, never end or never begin, and some of whole packets.
    Fragments,
    /// ICMP errors about everything and nothing, and packets that must be answered with one.
    IcmpErrors,
    /// ARP, discovery, unknown next hops, damaged frames, foreign tags.
    Link,
}

/// All of them.
pub const ATTACKS: [Attack; 7] = [
    Attack::Imix,
    Attack::SynFlood,
    Attack::PortScan,
    Attack::UdpFill,
    Attack::Fragments,
    Attack::IcmpErrors,
    Attack::Link,
];

impl Attack {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Imix => "imix",
            Self::SynFlood => "syn-flood",
            Self::PortScan => "port-scan",
            Self::UdpFill => "udp-fill",
            Self::Fragments => "fragments",
            Self::IcmpErrors => "icmp-errors",
            Self::Link => "link",
        }
    }
}

/// First pool address and how many there are, as the soak's configuration has them.
pub const POOL: ([u8; 4], u8) = ([203, 0, 113, 1], 14);

/// An attacker on both sides.
pub struct Attacker {
    rng: StdRng,
    scan: (u32, u16),
    recent: Vec<PortFrame>,
}

impl Attacker {
    /// One of a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            scan: (0, 0),
            recent: Vec::new(),
        }
    }

    /// Packets of the gateway, to be quoted in errors about them.
    pub fn overhear(&mut self, frames: &[PortFrame]) {
        for frame in frames.iter().take(4) {
            if self.recent.len() >= 32 {
                self.recent.swap_remove(0);
            }
            self.recent.push(frame.clone());
        }
    }

    /// The next frames of an attack.
    pub fn frames(&mut self, attack: Attack, count: usize, users: &Users) -> Vec<PortFrame> {
        let mut frames = Vec::new();
        while frames.len() < count {
            match attack {
                Attack::Imix => self.imix(&mut frames, users),
                Attack::SynFlood => self.syn(&mut frames),
                Attack::PortScan => self.scan(&mut frames),
                Attack::UdpFill => self.fill(&mut frames),
                Attack::Fragments => self.fragments(&mut frames),
                Attack::IcmpErrors => self.errors(&mut frames, users),
                Attack::Link => self.link(&mut frames, users),
            }
        }
        frames
    }

    fn stranger(&mut self) -> u16 {
        self.rng.random_range(5000..60_000)
    }

    fn server(&mut self) -> [u8; 4] {
        [8, 8, self.rng.random(), self.rng.random_range(1..255)]
    }

    fn pool(&mut self) -> ([u8; 4], u16) {
        let mut address = POOL.0;
        address[3] += self.rng.random_range(0..POOL.1);
        (address, self.rng.random_range(1024..3000))
    }

    fn six(&mut self, from: u16, port: u16, to: [u8; 4], to_port: u16, payload: &[u8]) -> PortFrame {
        let mut out = Vec::new();
        PacketBuilder::ethernet2(client_mac(from), GATEWAY[0])
            .ipv6(client(from), embedded(to), 64)
            .udp(port, to_port)
            .write(&mut out, payload)
            .expect("a Vec takes every byte");
        (0, out)
    }

    fn four(&mut self, from: [u8; 4], port: u16, to: ([u8; 4], u16), payload: &[u8]) -> PortFrame {
        let mut out = Vec::new();
        PacketBuilder::ethernet2(ROUTER_MAC, GATEWAY[1])
            .ipv4(from, to.0, 64)
            .udp(port, to.1)
            .write(&mut out, payload)
            .expect("a Vec takes every byte");
        (1, out)
    }

    fn noise(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    fn imix(&mut self, out: &mut Vec<PortFrame>, users: &Users) {
        let (from, port) = (self.rng.random_range(100..400), self.rng.random_range(1000..1010));
        let length = imix(&mut self.rng) - 48;
        let payload = self.noise(length);
        let to = [8, 8, 8, (from % 7) as u8];
        out.push(self.six(from, port, to, 443, &payload));
        // Answers to mappings, from servers that were never asked.
        if let Some(&mapping) = pick(&users.mappings(), &mut self.rng) {
            let payload = self.noise(length.min(1400));
            let from = self.server();
            let (port, mut frame) = self.four(from, 443, mapping, &payload);
            // Without DF: long ones have to be fragmented.
            frame[20] &= !0x40;
            frame[24..26].fill(0);
            let sum = checksum::finish(checksum::sum(&frame[14..34]));
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
            out.push((port, frame));
        }
    }

    fn syn(&mut self, out: &mut Vec<PortFrame>) {
        let mut frame = Vec::new();
        if self.rng.random_bool(0.6) {
            let (from, port, to) = (self.stranger(), self.rng.random(), self.server());
            let builder = PacketBuilder::ethernet2(client_mac(from), GATEWAY[0]).ipv6(client(from), embedded(to), 64);
            let step = with_flags(builder.tcp(port, 80, 1, 1000), "S");
            step.write(&mut frame, &[]).expect("a Vec takes every byte");
            out.push((0, frame));
        } else {
            let (from, port, to) = (self.server(), self.rng.random(), self.pool());
            let builder = PacketBuilder::ethernet2(ROUTER_MAC, GATEWAY[1]).ipv4(from, to.0, 64);
            let step = with_flags(builder.tcp(port, to.1, 1, 1000), "S");
            step.write(&mut frame, &[]).expect("a Vec takes every byte");
            out.push((1, frame));
        }
    }

    fn scan(&mut self, out: &mut Vec<PortFrame>) {
        let (ports, next) = &mut self.scan;
        *ports = (*ports + 1) % (u32::from(POOL.1) * 2000);
        *next = next.wrapping_add(1);
        let (at, port) = (*ports, *next);
        let mut address = POOL.0;
        address[3] += (at / 2000) as u8;
        let target = (address, 1000 + (at % 2000) as u16);
        let from = [9, 9, 9, 9];
        match at % 3 {
            0 => {
                let frame = self.four(from, 55_555, target, b"?");
                out.push(frame);
            }
            1 => {
                let mut frame = Vec::new();
                let builder = PacketBuilder::ethernet2(ROUTER_MAC, GATEWAY[1]).ipv4(from, target.0, 64);
                let step = with_flags(builder.tcp(55_555, target.1, 1, 1000), "S");
                step.write(&mut frame, &[]).expect("a Vec takes every byte");
                out.push((1, frame));
            }
            _ => {
                let mut frame = Vec::new();
                PacketBuilder::ethernet2(ROUTER_MAC, GATEWAY[1])
                    .ipv4(from, target.0, 64)
                    .icmpv4_echo_request(target.1, 1)
                    .write(&mut frame, b"scan")
                    .expect("a Vec takes every byte");
                out.push((1, frame));
            }
        }
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2(client_mac(99), GATEWAY[0]).ipv6(client(99), embedded([9, 9, 9, 9]), 64);
        let step = with_flags(builder.tcp(40_000, port, 1, 1000), "S");
        step.write(&mut frame, &[]).expect("a Vec takes every byte");
        out.push((0, frame));
    }

    fn fill(&mut self, out: &mut Vec<PortFrame>) {
        let (from, port, to) = (self.stranger(), self.rng.random(), self.server());
        let to_port = self.rng.random();
        out.push(self.six(from, port, to, to_port, b"mine"));
    }

    /// Pieces of a packet, spoiled in one way or another.
    fn fragments(&mut self, out: &mut Vec<PortFrame>) {
        let (port, whole) = if self.rng.random() {
            let (from, to) = (self.rng.random_range(100..120), [8, 8, 8, 8]);
            let payload = vec![7; self.rng.random_range(200..2000)];
            self.six(from, 7, to, 53, &payload)
        } else {
            let to = self.pool();
            let payload = vec![7; self.rng.random_range(200..2000)];
            self.four([8, 8, 8, 8], 53, to, &payload)
        };
        let (ethernet, packet) = whole.split_at(14);
        let mut packet = packet.to_vec();
        let six = port == 0;
        // No checksum: the gateway has to put it together (IPv4), or refuses it (IPv6).
        if self.rng.random_bool(0.3) {
            let at = if six { 46 } else { 26 };
            packet[at..at + 2].fill(0);
        }
        let (head, payload) = packet.split_at(if six { 40 } else { 20 });
        let size = 8 * self.rng.random_range(8..80);
        let id: u16 = self.rng.random();
        let count = payload.len().div_ceil(size);
        let mut pieces: Vec<PortFrame> = Vec::new();
        for (n, chunk) in payload.chunks(size).enumerate() {
            let mut offset = (n * size) as u16;
            if self.rng.random_bool(0.05) {
                // It overlaps the one before.
                offset = offset.saturating_sub(8);
            }
            let more = n + 1 < count;
            let mut frame = ethernet.to_vec();
            if six {
                frame.extend_from_slice(&head[..4]);
                frame.extend((8 + chunk.len() as u16).to_be_bytes());
                frame.extend([44, head[7]]);
                frame.extend_from_slice(&head[8..]);
                frame.extend([head[6], 0]);
                frame.extend((offset | u16::from(more)).to_be_bytes());
                frame.extend(u32::from(id).to_be_bytes());
            } else {
                let mut ip = head.to_vec();
                ip[2..4].copy_from_slice(&(20 + chunk.len() as u16).to_be_bytes());
                ip[4..6].copy_from_slice(&id.to_be_bytes());
                ip[6..8].copy_from_slice(&((u16::from(more) << 13) + offset / 8).to_be_bytes());
                ip[10..12].fill(0);
                let sum = checksum::finish(checksum::sum(&ip));
                ip[10..12].copy_from_slice(&sum.to_be_bytes());
                frame.extend(ip);
            }
            frame.extend_from_slice(chunk);
            if self.rng.random_bool(0.1) {
                pieces.push((port, frame.clone()));
            }
            if !self.rng.random_bool(0.15) {
                pieces.push((port, frame));
            }
        }
        for at in (1..pieces.len()).rev() {
            pieces.swap(at, self.rng.random_range(0..=at));
        }
        out.extend(pieces);
    }

    /// An ICMP error with a quote, or a packet that will get one.
    fn errors(&mut self, out: &mut Vec<PortFrame>, users: &Users) {
        let six = self.rng.random();
        let quote = match self.rng.random_range(0..4) {
            // What the gateway sent lately, by the right port or the wrong one.
            0 | 1 => pick(&self.recent, &mut self.rng).map(|(_, frame)| frame[14..].to_vec()),
            2 => {
                let (client, port, server, server_port, _) =
                    *pick(&users.tuples(), &mut self.rng).expect("there are some");
                Some(self.six(client, port, server, server_port, b"x").1[14..].to_vec())
            }
            _ => None,
        };
        let length = self.rng.random_range(0..90);
        let mut quote = quote.unwrap_or_else(|| self.noise(length));
        quote.truncate(500);
        let mut frame = Vec::new();
        if self.rng.random_bool(0.2) {
            // Its hop limit ends here.
            let (from, to) = (self.stranger(), self.pool());
            let mac = client_mac(from);
            let written = if six {
                let builder = PacketBuilder::ethernet2(mac, GATEWAY[0]).ipv6(client(from), embedded([8, 8, 8, 8]), 1);
                builder.udp(1, 2).write(&mut frame, b"far")
            } else {
                let builder = PacketBuilder::ethernet2(ROUTER_MAC, GATEWAY[1]).ipv4([8, 8, 8, 8], to.0, 1);
                builder.udp(1, to.1).write(&mut frame, b"far")
            };
            written.expect("a Vec takes every byte");
            out.push((usize::from(!six), frame));
            return;
        }
        let kinds6 = [(1, 0), (1, 4), (2, 0), (3, 0), (4, 1), (99, 0)];
        let kinds4 = [(3, 1), (3, 3), (3, 4), (11, 0), (12, 0), (4, 0)];
        let which = self.rng.random_range(0..6);
        let rest = [0, 0, 4, 210];
        let written = if six {
            let (from, to) = (self.stranger(), self.server());
            PacketBuilder::ethernet2(client_mac(from), GATEWAY[0])
                .ipv6(client(from), embedded(to), 64)
                .icmpv6_raw(kinds6[which].0, kinds6[which].1, rest)
                .write(&mut frame, &quote)
        } else {
            let (from, to) = (self.server(), self.pool());
            PacketBuilder::ethernet2(ROUTER_MAC, GATEWAY[1])
                .ipv4(from, to.0, 64)
                .icmpv4_raw(kinds4[which].0, kinds4[which].1, rest)
                .write(&mut frame, &quote)
        };
        written.expect("a Vec takes every byte");
        out.push((usize::from(!six), frame));
    }

    fn link(&mut self, out: &mut Vec<PortFrame>, users: &Users) {
        match self.rng.random_range(0..8) {
            // Servers on the link that nobody answers for.
            0 | 1 => {
                let (from, port) = (self.stranger(), self.rng.random());
                let to = [192, 0, 2, self.rng.random_range(10..200)];
                out.push(self.six(from, port, to, 53, b"anyone?"));
            }
            // Clients nobody answers for cannot be made: who has a mapping was heard of. So ARP of strangers.
            2 | 3 => {
                let mac = [2, 0, 0, 3, self.rng.random(), self.rng.random()];
                let sender = [192, 0, 2, self.rng.random_range(10..250)];
                let target = if self.rng.random() {
                    self.pool().0
                } else {
                    [192, 0, 2, self.rng.random()]
                };
                let mut frame = vec![0xff; 6];
                frame.extend(mac);
                frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, self.rng.random_range(1..4)]);
                frame.extend(mac);
                frame.extend(sender);
                frame.extend([0; 6]);
                frame.extend(target);
                out.push((1, frame));
            }
            // Discovery, mostly wrong.
            4 => {
                let from = self.stranger();
                let mut message = vec![self.rng.random_range(133..138), 0, 0, 0, 0, 0, 0, 0];
                message.extend(client(from));
                message.extend([1, 1]);
                message.extend(client_mac(from));
                let to = client(1);
                let pseudo = checksum::pseudo6(client(from).into(), to.into(), message.len() as u32, 58);
                let sum = checksum::finish(pseudo + checksum::sum(&message));
                message[2..4].copy_from_slice(&sum.to_be_bytes());
                let mut frame = GATEWAY[0].to_vec();
                frame.extend(client_mac(from));
                let hops = if self.rng.random() { 255 } else { 64 };
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, message.len() as u8, 58, hops]);
                frame.extend(client(from));
                frame.extend(to);
                frame.extend(message);
                out.push((0, frame));
            }
            // Damage. Not to packets of conversations: those are counted.
            5 | 6 => {
                let (from, port, to) = (self.stranger(), self.rng.random(), self.server());
                let (port, mut frame) = if self.rng.random() {
                    self.six(from, port, to, 53, b"damaged")
                } else {
                    let pool = self.pool();
                    self.four(to, 53, pool, b"damaged")
                };
                for _ in 0..self.rng.random_range(1..4) {
                    let at = self.rng.random_range(0..frame.len());
                    frame[at] ^= 1 << self.rng.random_range(0..8);
                }
                frame.truncate(self.rng.random_range(14..=frame.len()));
                out.push((port, frame));
            }
            // A foreign tag.
            _ => {
                let tuples = users.tuples();
                let (client, port, server, server_port, _) = *pick(&tuples, &mut self.rng).expect("there are some");
                let (port, mut frame) = self.six(client, port, server, server_port, b"tagged");
                let tag = self.rng.random_range(1..4095u16).to_be_bytes();
                frame.splice(12..12, [0x81, 0, tag[0], tag[1]]);
                out.push((port, frame));
            }
        }
    }
}
