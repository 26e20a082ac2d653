//! The engine from outside: packets in, effects out. Packets are made with etherparse, not by our own builder; every
//! packet that comes out is read back and all its checksums are verified.

mod batch;
mod books;
mod explain;
mod filtering;
mod hairpin;
mod icmp;
mod limits;
mod mapping;
mod operate;
mod reconfigure;
mod sizes;
mod tcp;
mod timers;
mod udp;
mod walk;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use etherparse::PacketBuilder;
use nat64_layout::{Direction, Protocol, Reason};

use super::*;
use crate::checksum;
use crate::config::{self, *};
use crate::packet::{proto, Packet4, Packet6, Transport};

pub(super) const SECOND: Time = 1_000_000_000;
/// First client.
pub(super) const A: &str = "2001:db8::a";
/// Second client.
pub(super) const B: &str = "2001:db8::b";
/// Prefix of the first term.
pub(super) const PREFIX: &str = "2001:db8:64::";
/// A server.
pub(super) const SERVER: &str = "192.0.2.1";
/// Unit of the clients.
pub(super) const INSIDE: usize = 0;
/// Unit of the servers.
pub(super) const OUTSIDE: usize = 1;

pub(super) fn pool(name: &str, first: &str, last: &str) -> config::Pool {
    config::Pool {
        name: name.into(),
        ranges: vec![(first.parse().unwrap(), last.parse().unwrap())],
        ports: (1024, 65535),
        random: false,
        round_robin: false,
        preserve_parity: false,
        preserve_range: false,
        limit_ports_per_address: None,
        blocks: None,
        deterministic_block: None,
        mapping_timeout: None,
        quarantine: Duration::ZERO,
        draining: vec![],
    }
}

pub(super) fn term(name: &str, prefix: &str, pool: usize) -> Term {
    Term {
        rule: "r".into(),
        name: name.into(),
        from: Match::default(),
        then: Action::Translate(Translate {
            pref64: prefix.parse().unwrap(),
            pref64_length: 96,
            pool,
            overload_pool: None,
            endpoint_independent_mapping: true,
            filtering: Filtering::EndpointIndependent,
            filter_prefixes: vec![],
            eif_flow_limit: None,
            mapping_refresh: Refresh::Both,
            paired: false,
            deterministic: false,
        }),
    }
}

pub(super) fn unit(name: &str, set: usize, inside: bool) -> Unit {
    Unit {
        name: name.into(),
        service_set: Some(set),
        inside,
        outside: !inside,
        mtu: 1500,
        address6: None,
        address4: None,
    }
}

/// One service set, one term, one pool; unit 0 inside, unit 1 outside.
pub(super) fn base() -> Config {
    Config {
        units: vec![unit("in", 0, true), unit("out", 0, false)],
        service_sets: vec![ServiceSet {
            name: "s".into(),
            terms: vec![term("t", PREFIX, 0)],
            outside_unit: OUTSIDE,
            ..ServiceSet::default()
        }],
        pools: vec![pool("p", "203.0.113.1", "203.0.113.254")],
        timers: Timers::RFC,
        limits: Limits::default(),
        activity_tick: Duration::ZERO,
    }
}

/// The translation of the first term, to change.
pub(super) fn translate(config: &mut Config) -> &mut Translate {
    match &mut config.service_sets[0].terms[0].then {
        Action::Translate(translate) => translate,
        Action::NoTranslation => panic!("the first term translates"),
    }
}

pub(super) fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

pub(super) fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// The IPv6 address of a server under the first prefix.
pub(super) fn embed(server: &str) -> Ipv6Addr {
    embed_in(PREFIX, server)
}

pub(super) fn embed_in(prefix: &str, server: &str) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(v6(prefix)) | u128::from(u32::from(v4(server))))
}

// ---- packets -----------------------------------------------------------------------------------------------------

pub(super) fn udp6(src: (&str, u16), dst: (Ipv6Addr, u16)) -> Vec<u8> {
    let mut out = Vec::new();
    let builder = PacketBuilder::ipv6(v6(src.0).octets(), dst.0.octets(), 64).udp(src.1, dst.1);
    builder.write(&mut out, b"question").unwrap();
    out
}

pub(super) fn udp4(src: (&str, u16), dst: (Ipv4Addr, u16)) -> Vec<u8> {
    let mut out = Vec::new();
    let builder = PacketBuilder::ipv4(v4(src.0).octets(), dst.0.octets(), 64).udp(src.1, dst.1);
    builder.write(&mut out, b"answer").unwrap();
    out
}

/// An IPv4 packet with another TTL.
pub(super) fn with_ttl(ttl: u8, mut packet: Vec<u8>) -> Vec<u8> {
    packet[8] = ttl;
    packet[10..12].fill(0);
    let sum = checksum::finish(checksum::sum(&packet[..20]));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn with_flags(
    step: etherparse::PacketBuilderStep<etherparse::TcpHeader>,
    flags: &str,
) -> etherparse::PacketBuilderStep<etherparse::TcpHeader> {
    flags.chars().fold(step, |step, flag| match flag {
        'S' => step.syn(),
        'F' => step.fin(),
        'R' => step.rst(),
        'A' => step.ack(1),
        _ => panic!("flag {flag}"),
    })
}

/// Flags are letters of SFRA.
pub(super) fn tcp6(src: (&str, u16), dst: (Ipv6Addr, u16), flags: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let builder = PacketBuilder::ipv6(v6(src.0).octets(), dst.0.octets(), 64).tcp(src.1, dst.1, 100, 1000);
    with_flags(builder, flags).write(&mut out, &[]).unwrap();
    out
}

pub(super) fn tcp4(src: (&str, u16), dst: (Ipv4Addr, u16), flags: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let builder = PacketBuilder::ipv4(v4(src.0).octets(), dst.0.octets(), 64).tcp(src.1, dst.1, 100, 1000);
    with_flags(builder, flags).write(&mut out, &[]).unwrap();
    out
}

pub(super) fn echo6(src: &str, dst: Ipv6Addr, id: u16) -> Vec<u8> {
    let mut out = Vec::new();
    let builder = PacketBuilder::ipv6(v6(src).octets(), dst.octets(), 64).icmpv6_echo_request(id, 1);
    builder.write(&mut out, b"ping").unwrap();
    out
}

pub(super) fn echo4(src: &str, dst: Ipv4Addr, id: u16, reply: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let builder = PacketBuilder::ipv4(v4(src).octets(), dst.octets(), 64);
    let builder = if reply {
        builder.icmpv4_echo_reply(id, 1)
    } else {
        builder.icmpv4_echo_request(id, 1)
    };
    builder.write(&mut out, b"ping").unwrap();
    out
}

/// An ICMPv4 error about `quoted`.
pub(super) fn error4(src: &str, dst: Ipv4Addr, kind: u8, code: u8, quoted: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let builder = PacketBuilder::ipv4(v4(src).octets(), dst.octets(), 64).icmpv4_raw(kind, code, [0; 4]);
    builder.write(&mut out, quoted).unwrap();
    out
}

/// An ICMPv6 error about `quoted`.
pub(super) fn error6(src: &str, dst: Ipv6Addr, kind: u8, code: u8, quoted: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let builder = PacketBuilder::ipv6(v6(src).octets(), dst.octets(), 64).icmpv6_raw(kind, code, [0; 4]);
    builder.write(&mut out, quoted).unwrap();
    out
}

// ---- what comes out ----------------------------------------------------------------------------------------------

/// A packet that was sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sent {
    pub unit: usize,
    pub translated: Option<Direction>,
    pub src: (IpAddr, u16),
    pub dst: (IpAddr, u16),
    pub transport: Transport,
    pub bytes: Vec<u8>,
}

impl Sent {
    pub fn src4(&self) -> (Ipv4Addr, u16) {
        match self.src.0 {
            IpAddr::V4(address) => (address, self.src.1),
            IpAddr::V6(address) => panic!("IPv6 source {address}"),
        }
    }

    pub fn dst6(&self) -> (Ipv6Addr, u16) {
        match self.dst.0 {
            IpAddr::V6(address) => (address, self.dst.1),
            IpAddr::V4(address) => panic!("IPv4 destination {address}"),
        }
    }

    /// Type and code of an ICMP error.
    pub fn icmp(&self) -> (u8, u8) {
        match self.transport {
            Transport::IcmpError { kind, code } => (kind, code),
            other => panic!("{other:?} is no ICMP error"),
        }
    }
}

fn ports(transport: Transport) -> (u16, u16) {
    match transport {
        Transport::Tcp { src_port, dst_port, .. } | Transport::Udp { src_port, dst_port, .. } => (src_port, dst_port),
        Transport::Echo { id, .. } => (id, id),
        _ => (0, 0),
    }
}

/// Reads a packet and checks everything that can be checked without knowing what it should be.
pub(super) fn read(unit: usize, translated: Option<Direction>, bytes: &[u8]) -> Sent {
    let whole;
    let (src, dst, transport, payload, protocol, pseudo): (IpAddr, IpAddr, _, _, _, _) = if bytes[0] >> 4 == 6 {
        let packet = Packet6::parse(bytes).expect("we send what can be read");
        assert_eq!(packet.bytes.len(), bytes.len());
        whole = !packet.is_part();
        let length = packet.payload().len() as u32;
        let pseudo = checksum::pseudo6(packet.src, packet.dst, length, packet.protocol);
        (
            packet.src.into(),
            packet.dst.into(),
            packet.transport,
            packet.payload(),
            packet.protocol,
            pseudo,
        )
    } else {
        let packet = Packet4::parse(bytes).expect("we send what can be read");
        assert_eq!(packet.bytes.len(), bytes.len());
        whole = !packet.is_part();
        let length = packet.payload().len() as u16;
        let pseudo = match packet.protocol {
            proto::ICMP => 0,
            protocol => checksum::pseudo4(packet.src, packet.dst, length, protocol),
        };
        (
            packet.src.into(),
            packet.dst.into(),
            packet.transport,
            packet.payload(),
            packet.protocol,
            pseudo,
        )
    };
    if whole {
        assert_eq!(
            checksum::fold(pseudo + checksum::sum(payload)),
            0xffff,
            "checksum of protocol {protocol}"
        );
    }
    let (src_port, dst_port) = ports(transport);
    Sent {
        unit,
        translated,
        src: (src, src_port),
        dst: (dst, dst_port),
        transport,
        bytes: bytes.to_vec(),
    }
}

/// A translator under test and what its last call caused.
pub(super) struct Lab {
    pub nat: Nat64,
    pub now: Time,
    pub effects: Effects,
}

impl Lab {
    pub fn new(config: Config) -> Self {
        Self {
            nat: Nat64::new(config, 1).unwrap(),
            now: 1000 * SECOND,
            effects: Effects::new(),
        }
    }

    /// Gives a packet to the translator.
    pub fn step(&mut self, unit: usize, packet: &[u8]) -> &mut Self {
        self.effects.clear();
        self.nat.step(self.now, unit, packet, &mut self.effects);
        self
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Time) -> &mut Self {
        self.now += time;
        self.effects.clear();
        self.nat.advance(self.now, &mut self.effects);
        self
    }

    pub fn sent(&self) -> Vec<Sent> {
        let sends = self.effects.iter().filter_map(|effect| match effect {
            Effect::Send {
                unit,
                bytes,
                translated,
                ..
            } => Some(read(*unit, *translated, self.effects.bytes(bytes))),
            _ => None,
        });
        sends.collect()
    }

    pub fn drops(&self) -> Vec<Reason> {
        self.effects
            .iter()
            .filter_map(|effect| {
                if let Effect::Drop(reason) = effect {
                    Some(*reason)
                } else {
                    None
                }
            })
            .collect()
    }

    pub fn installs(&self) -> Vec<Flow> {
        self.effects
            .iter()
            .filter_map(|effect| {
                if let Effect::Install(flow) = effect {
                    Some(*flow)
                } else {
                    None
                }
            })
            .collect()
    }

    pub fn removes(&self) -> Vec<SessionId> {
        self.effects
            .iter()
            .filter_map(|effect| {
                if let Effect::Remove(id) = effect {
                    Some(*id)
                } else {
                    None
                }
            })
            .collect()
    }

    /// The packet was translated into exactly one.
    #[track_caller]
    pub fn one(&self) -> Sent {
        let (mut sent, drops) = (self.sent(), self.drops());
        assert!(sent.len() == 1 && drops.is_empty(), "{sent:?} {drops:?}");
        assert!(sent[0].translated.is_some());
        sent.remove(0)
    }

    /// The packet was dropped without an answer.
    #[track_caller]
    pub fn dropped(&self, reason: Reason) {
        assert_eq!((self.drops(), self.sent()), (vec![reason], vec![]));
    }

    /// The packet was dropped and answered.
    #[track_caller]
    pub fn answered(&self, reason: Reason) -> Sent {
        let mut sent = self.sent();
        assert_eq!(self.drops(), [reason]);
        assert!(sent.len() == 1 && sent[0].translated.is_none(), "{sent:?}");
        sent.remove(0)
    }

    /// Nothing went out yet, nothing was dropped.
    #[track_caller]
    pub fn held(&self) {
        assert_eq!((self.drops(), self.sent()), (vec![], vec![]));
    }

    /// A client's UDP packet: the pool address and port it leaves with.
    #[track_caller]
    pub fn udp(&mut self, client: (&str, u16), server: (&str, u16)) -> (Ipv4Addr, u16) {
        self.step(INSIDE, &udp6(client, (embed(server.0), server.1)))
            .one()
            .src4()
    }

    /// A connection up to ESTABLISHED: the pool address and port.
    #[track_caller]
    pub fn connect(&mut self, client: (&str, u16), server: (&str, u16)) -> (Ipv4Addr, u16) {
        let pool = self
            .step(INSIDE, &tcp6(client, (embed(server.0), server.1), "S"))
            .one()
            .src4();
        self.step(OUTSIDE, &tcp4(server, pool, "SA")).one();
        self.step(INSIDE, &tcp6(client, (embed(server.0), server.1), "A")).one();
        pool
    }

    #[track_caller]
    pub fn only_session(&self) -> SessionInfo {
        let all: Vec<SessionInfo> = self.nat.sessions().collect();
        assert_eq!(all.len(), 1, "{all:?}");
        all[0]
    }

    #[track_caller]
    pub fn state(&self) -> State {
        self.only_session().state
    }

    /// Nothing is left: no session, no dynamic binding, no port.
    #[track_caller]
    pub fn assert_empty(&self) {
        assert_eq!(
            (
                self.nat.session_count(),
                self.nat.bibs().filter(|bib| !bib.is_static).count()
            ),
            (0, 0)
        );
        let statics = self.nat.bibs().count() as u64;
        let stats = self.nat.stats();
        let in_use: u64 = stats.pools.iter().flat_map(|pool| pool.in_use).sum();
        assert!(in_use <= statics, "{in_use} ports leaked");
        assert!(stats
            .pools
            .iter()
            .all(|pool| pool.subscribers == 0 && pool.blocks == 0 && pool.inbound == 0));
        let used: u64 = stats.pools.iter().map(|pool| pool.addresses_in_use).sum();
        assert!(used <= statics, "{used} addresses in use");
        assert!(stats
            .terms
            .iter()
            .flatten()
            .all(|term| term.sessions == 0 && term.opened >= term.closed));
        assert_eq!(stats.embryonic, 0);
        assert!(self.nat.permits.is_empty() && self.nat.subscribers.is_empty());
        assert_eq!(self.nat.syns.len(), 0);
        assert!(stats
            .service_sets
            .iter()
            .all(|set| set.sessions == 0 && set.opened == set.closed));
        assert!(self.nat.session_timers.is_empty());
    }
}
