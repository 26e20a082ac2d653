//! Clients and servers whose conversations are watched: every packet of theirs must arrive once, whole and in order,
//! whatever else goes on. They also answer for the addresses that exist, as hosts do.
//!
//! ```text
//!   client 2001:db8::1:N --port 0-- gateway --port 1-- router 192.0.2.254 -- server 198.51.100.N
//! ```

use std::collections::HashMap;

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use nat64_layout::{ETHERTYPE_ARP, ETHERTYPE_IPV6};
use nat64_xlate::checksum;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::Rng;

use super::target::PortFrame;

/// MAC addresses of the gateway's ports.
pub const GATEWAY: [[u8; 6]; 2] = crate::rig::PORT_MACS;
/// MAC address of the router in front of the servers.
pub const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 2, 254];
/// Its address.
pub const ROUTER: [u8; 4] = [192, 0, 2, 254];
/// What the payload of a watched packet begins with.
const MAGIC: [u8; 4] = *b"SOAK";
/// Magic, conversation, direction, sequence.
const HEAD: usize = 4 + 4 + 1 + 8;
/// Bytes of an IPv6 packet's headers at most: TCP.
const HEADERS: usize = 60;

/// The IPv6 address of an IPv4 address under the well-known prefix.
pub fn embedded(server: [u8; 4]) -> [u8; 16] {
    let mut address = [0; 16];
    address[..4].copy_from_slice(&[0, 0x64, 0xff, 0x9b]);
    address[12..].copy_from_slice(&server);
    address
}

/// A client's address.
pub fn client(n: u16) -> [u8; 16] {
    let mut address = [0; 16];
    address[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    address[13] = 1;
    address[14..].copy_from_slice(&n.to_be_bytes());
    address
}

/// A client's MAC address.
pub fn client_mac(n: u16) -> [u8; 6] {
    let [high, low] = n.to_be_bytes();
    [2, 0, 0, 1, high, low]
}

/// Lengths of IP packets as the simple IMIX has them, 7 to 4 to 1, as IPv6.
pub fn imix(rng: &mut StdRng) -> usize {
    match rng.random_range(0..12) {
        0..=6 => 84,
        7..=10 => 576,
        _ => 1480,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Opening,
    Open,
    Closing,
}

/// A conversation.
#[derive(Clone, Debug)]
struct Flow {
    tcp: bool,
    client: u16,
    client_port: u16,
    server: [u8; 4],
    server_port: u16,
    pool: Option<([u8; 4], u16)>,
    state: State,
    /// Packets sent and arrived, by direction: from the client, from the server.
    sent: [u64; 2],
    arrived: [u64; 2],
}

/// What the users saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Watched packets that arrived.
    pub arrived: u64,
    /// Requests for addresses that were answered.
    pub answered: u64,
    /// Conversations that were opened.
    pub opened: u64,
}

/// All of them.
pub struct Users {
    flows: Vec<Flow>,
    by_server_port: HashMap<u16, usize>,
    /// What they saw.
    pub seen: Seen,
}

impl Users {
    /// Conversations that do not exist yet, every second one TCP, with server ports from `first` on.
    pub fn new(count: u16, first: u16) -> Self {
        let flow = |n: u16| Flow {
            tcp: n.is_multiple_of(2),
            client: first + n / 3,
            client_port: 20_000 + n,
            server: [198, 51, 100, 1 + (n % 200) as u8],
            server_port: first + n,
            pool: None,
            state: State::Closed,
            sent: [0; 2],
            arrived: [0; 2],
        };
        Self {
            flows: (0..count).map(flow).collect(),
            by_server_port: (0..count).map(|n| (first + n, usize::from(n))).collect(),
            seen: Seen::default(),
        }
    }

    /// Ports and pool addresses in use, for attackers that know too much.
    pub fn mappings(&self) -> Vec<([u8; 4], u16)> {
        self.flows.iter().filter_map(|flow| flow.pool).collect()
    }

    /// Clients of conversations, with their ports and servers.
    pub fn tuples(&self) -> Vec<(u16, u16, [u8; 4], u16, bool)> {
        let tuple = |flow: &Flow| (flow.client, flow.client_port, flow.server, flow.server_port, flow.tcp);
        self.flows.iter().map(tuple).collect()
    }

    /// First packets of the next conversations, a few: a SYN, or the first datagram.
    pub fn open(&mut self, most: usize, rng: &mut StdRng) -> Vec<PortFrame> {
        let mut frames = Vec::new();
        for flow in 0..self.flows.len() {
            if self.flows[flow].state != State::Closed || frames.len() == most {
                continue;
            }
            self.flows[flow].state = State::Opening;
            frames.push(if self.flows[flow].tcp {
                self.flows[flow].frame(0, "S", &[])
            } else {
                self.data(flow, 0, 100, rng)
            });
        }
        frames
    }

    /// A FIN from both ends of TCP conversations; the others just end. They can be opened again.
    pub fn close(&mut self) -> Vec<PortFrame> {
        let mut frames = Vec::new();
        for flow in self.flows.iter_mut().filter(|flow| flow.state == State::Open) {
            flow.state = State::Closing;
            if flow.tcp {
                frames.extend([
                    flow.frame(0, "FA", &[]),
                    flow.frame(1, "FA", &[]),
                    flow.frame(0, "A", &[]),
                ]);
            }
        }
        frames
    }

    /// What was closed is to be opened again, from another port.
    pub fn forget(&mut self) {
        for flow in &mut self.flows {
            flow.state = State::Closed;
            flow.pool = None;
            flow.client_port = 20_000 + (flow.client_port - 20_000 + 7919) % 40_000;
        }
    }

    /// How many are open.
    pub fn open_count(&self) -> usize {
        self.flows.iter().filter(|flow| flow.state == State::Open).count()
    }

    /// One packet each way of a random share of the conversations.
    pub fn talk(&mut self, share: f64, rng: &mut StdRng) -> Vec<PortFrame> {
        let mut frames = Vec::new();
        for flow in 0..self.flows.len() {
            if self.flows[flow].state != State::Open || !rng.random_bool(share) {
                continue;
            }
            for direction in [0, 1] {
                let length = imix(rng);
                frames.push(self.data(flow, direction, length, rng));
            }
        }
        frames
    }

    /// The next watched packet of a conversation; `length` is that of the IPv6 packet.
    fn data(&mut self, flow: usize, direction: usize, length: usize, rng: &mut StdRng) -> PortFrame {
        let sequence = self.flows[flow].sent[direction];
        self.flows[flow].sent[direction] += 1;
        let mut payload = MAGIC.to_vec();
        payload.extend((flow as u32).to_be_bytes());
        payload.push(direction as u8);
        payload.extend(sequence.to_be_bytes());
        let mut byte: u8 = rng.random();
        // Another content each time, which can be checked from its first byte.
        payload.resize_with(length.saturating_sub(HEADERS).max(HEAD + 1), || {
            byte = byte.wrapping_mul(5).wrapping_add(17);
            byte
        });
        self.flows[flow].frame(direction, "A", &payload)
    }

    /// A frame came out of a port: it is checked, and answered where a host would.
    ///
    /// # Panics
    /// A watched packet that is damaged, out of order, or comes twice.
    pub fn receive(&mut self, port: usize, frame: &[u8]) -> Vec<PortFrame> {
        let ethertype = u16::from_be_bytes([frame[12], frame[13]]);
        if ethertype == ETHERTYPE_ARP {
            return self.arp(port, frame);
        }
        if ethertype == ETHERTYPE_IPV6 && frame.len() >= 86 && frame[20] == 58 && frame[54] == 135 {
            return self.solicited(port, frame);
        }
        let Ok(packet) = SlicedPacket::from_ethernet(frame) else {
            return Vec::new();
        };
        let (source, destination): ([u8; 4], [u8; 4]) = match &packet.net {
            Some(NetSlice::Ipv4(ip)) => (ip.header().source(), ip.header().destination()),
            Some(NetSlice::Ipv6(ip)) if ip.header().source().starts_with(&embedded([0; 4])[..12]) => {
                let source = ip.header().source();
                ([source[12], source[13], source[14], source[15]], [0; 4])
            }
            _ => return Vec::new(),
        };
        let server_side = port == 1;
        let (from, to, payload, flags) = match &packet.transport {
            Some(TransportSlice::Udp(udp)) => (udp.source_port(), udp.destination_port(), udp.payload(), None),
            Some(TransportSlice::Tcp(tcp)) => (
                tcp.source_port(),
                tcp.destination_port(),
                tcp.payload(),
                Some((tcp.syn(), tcp.ack())),
            ),
            _ => return Vec::new(),
        };
        let server_port = if server_side { to } else { from };
        let Some(&index) = self.by_server_port.get(&server_port) else {
            return Vec::new();
        };
        let flow = &mut self.flows[index];
        let here = if server_side { destination } else { source };
        if here != flow.server || flow.tcp != flags.is_some() {
            return Vec::new();
        }
        let opening = flow.state == State::Opening;
        match flags {
            Some((true, false)) if server_side && opening => {
                flow.pool = Some((source, from));
                return vec![flow.frame(1, "SA", &[])];
            }
            Some((true, true)) if !server_side && opening && to == flow.client_port => {
                flow.state = State::Open;
                self.seen.opened += 1;
                return vec![flow.frame(0, "A", &[])];
            }
            _ => {}
        }
        if !payload.starts_with(&MAGIC) || payload.len() <= HEAD {
            return Vec::new();
        }
        let number = u32::from_be_bytes([payload[4], payload[5], payload[6], payload[7]]) as usize;
        if number != index {
            // An attacker's copy of another conversation's packet.
            return Vec::new();
        }
        let direction = usize::from(payload[8]);
        let mut sequence = [0; 8];
        sequence.copy_from_slice(&payload[9..HEAD]);
        let sequence = u64::from_be_bytes(sequence);
        let whole = payload[HEAD..]
            .windows(2)
            .all(|b| b[1] == b[0].wrapping_mul(5).wrapping_add(17));
        assert!(
            whole && sums_are_right(&packet),
            "conversation {index}: damaged: {frame:02x?}"
        );
        assert_eq!(
            direction,
            usize::from(!server_side),
            "conversation {index}: out of the wrong port"
        );
        assert_eq!(
            sequence, flow.arrived[direction],
            "conversation {index}, {flow:?}: a packet is missing, or came twice"
        );
        flow.arrived[direction] += 1;
        self.seen.arrived += 1;
        if opening && server_side {
            flow.pool = Some((source, from));
            flow.state = State::Open;
            self.seen.opened += 1;
        }
        assert!(
            server_side || to == flow.client_port,
            "conversation {index}: another port"
        );
        Vec::new()
    }

    /// Watched packets that have not arrived.
    pub fn missing(&self) -> Vec<String> {
        let late = self
            .flows
            .iter()
            .enumerate()
            .filter(|(_, flow)| flow.sent != flow.arrived);
        late.map(|(index, flow)| format!("conversation {index}: {flow:?}"))
            .collect()
    }

    /// Only the router has an address that exists on the servers' link.
    fn arp(&mut self, port: usize, frame: &[u8]) -> Vec<PortFrame> {
        let request = frame.len() >= 42 && frame[20..22] == [0, 1];
        if port != 1 || !request || frame[38..42] != ROUTER {
            return Vec::new();
        }
        self.seen.answered += 1;
        let mut answer = frame[6..12].to_vec();
        answer.extend(ROUTER_MAC);
        answer.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
        answer.extend(ROUTER_MAC);
        answer.extend(ROUTER);
        answer.extend(&frame[22..32]);
        vec![(1, answer)]
    }

    /// Clients answer for their addresses; there are none but those of conversations.
    fn solicited(&mut self, port: usize, frame: &[u8]) -> Vec<PortFrame> {
        let mut target = [0; 16];
        target.copy_from_slice(&frame[62..78]);
        let owner = self.flows.iter().map(|flow| flow.client).find(|&n| client(n) == target);
        let Some(n) = owner.filter(|_| port == 0) else {
            return Vec::new();
        };
        self.seen.answered += 1;
        let mut to = [0; 16];
        to.copy_from_slice(&frame[22..38]);
        let mut message = vec![136, 0, 0, 0, 0x60, 0, 0, 0];
        message.extend(target);
        message.extend([2, 1]);
        message.extend(client_mac(n));
        let pseudo = checksum::pseudo6(target.into(), to.into(), message.len() as u32, 58);
        let sum = checksum::finish(pseudo + checksum::sum(&message));
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut answer = GATEWAY[0].to_vec();
        answer.extend(client_mac(n));
        answer.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, message.len() as u8, 58, 255]);
        answer.extend(target);
        answer.extend(to);
        answer.extend(message);
        vec![(0, answer)]
    }
}

/// Transport checksums, by a library.
fn sums_are_right(packet: &SlicedPacket<'_>) -> bool {
    match (&packet.net, &packet.transport) {
        (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) => {
            let sum = udp
                .to_header()
                .calc_checksum_ipv4(&ip.header().to_header(), udp.payload());
            sum.ok() == Some(udp.checksum())
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Udp(udp))) => {
            let sum = udp
                .to_header()
                .calc_checksum_ipv6(&ip.header().to_header(), udp.payload());
            sum.ok() == Some(udp.checksum())
        }
        (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) => {
            let (from, to) = (ip.header().source(), ip.header().destination());
            tcp.calc_checksum_ipv4(from, to).ok() == Some(tcp.checksum())
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Tcp(tcp))) => {
            let (from, to) = (ip.header().source(), ip.header().destination());
            tcp.calc_checksum_ipv6(from, to).ok() == Some(tcp.checksum())
        }
        _ => false,
    }
}

impl Flow {
    /// A frame from the client (0) or the server (1); a UDP one has no flags.
    fn frame(&self, direction: usize, flags: &str, payload: &[u8]) -> PortFrame {
        let mut out = Vec::new();
        let (source, destination) = ((self.client_port, self.server_port), (self.server_port, self.pool));
        let written = if direction == 0 {
            let builder = PacketBuilder::ethernet2(client_mac(self.client), GATEWAY[0]).ipv6(
                client(self.client),
                embedded(self.server),
                64,
            );
            if self.tcp {
                let step = with_flags(builder.tcp(source.0, source.1, 1, 1000), flags);
                step.write(&mut out, payload)
            } else {
                builder.udp(source.0, source.1).write(&mut out, payload)
            }
        } else {
            let (address, port) = destination.1.expect("the client spoke first");
            let builder = PacketBuilder::ethernet2(ROUTER_MAC, GATEWAY[1]).ipv4(self.server, address, 64);
            if self.tcp {
                let step = with_flags(builder.tcp(destination.0, port, 1, 1000), flags);
                step.write(&mut out, payload)
            } else {
                builder.udp(destination.0, port).write(&mut out, payload)
            }
        };
        written.expect("a Vec takes every byte");
        (direction, out)
    }
}

/// Flags are letters of SFA.
pub fn with_flags(
    step: etherparse::PacketBuilderStep<etherparse::TcpHeader>,
    flags: &str,
) -> etherparse::PacketBuilderStep<etherparse::TcpHeader> {
    flags.chars().fold(step, |step, flag| match flag {
        'S' => step.syn(),
        'F' => step.fin(),
        _ => step.ack(1),
    })
}

/// One of some.
pub fn pick<'a, T>(list: &'a [T], rng: &mut StdRng) -> Option<&'a T> {
    list.choose(rng)
}
