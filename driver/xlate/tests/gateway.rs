//! RFC 7915 through the whole translator: what is translated, what is answered and by whom, what is silently dropped.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::PacketBuilder;
use nat64_layout::Reason;
use nat64_xlate::config::{
    Action, Config, EimScope, Filtering, Match, Pool, Refresh, ServiceSet, Term, Timers, Translate, Unit,
};
use nat64_xlate::packet::{Packet4, Packet6, Transport};
use nat64_xlate::{Effect, Effects, Nat64};

const INSIDE: usize = 0;
const OUTSIDE: usize = 1;
const SECOND: u64 = 1_000_000_000;
const CLIENT: &str = "2001:db8:1::10";
const OTHER: &str = "2001:db8:1::20";
const SERVER: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 9);
const POOL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Our own addresses on the units.
const OURS6: &str = "2001:db8:1::1";
const OURS4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);

fn embed(address: Ipv4Addr) -> Ipv6Addr {
    nat64_xlate::rfc6052::WELL_KNOWN.embed(address)
}

fn config() -> Config {
    let unit = |name: &str, inside, mtu| Unit {
        name: name.into(),
        service_set: Some(0),
        inside,
        outside: !inside,
        mtu,
        address6: inside.then(|| OURS6.parse().unwrap()),
        address4: (!inside).then_some(OURS4),
    };
    let term = Term {
        rule: "nat64".into(),
        name: "t1".into(),
        from: Match::default(),
        then: Action::Translate(Translate {
            pref64: "64:ff9b::".parse().unwrap(),
            pref64_length: 96,
            pool: 0,
            overload_pool: None,
            endpoint_independent_mapping: true,
            filtering: Filtering::EndpointIndependent,
            filter_prefixes: vec![],
            eif_flow_limit: None,
            mapping_refresh: Refresh::Both,
            paired: false,
            deterministic: false,
        }),
    };
    let pool = Pool {
        name: "p".into(),
        ranges: vec![(POOL, POOL)],
        ports: (1024, 65535),
        random: false,
        round_robin: false,
        preserve_parity: false,
        preserve_range: false,
        limit_ports_per_address: None,
        blocks: None,
        deterministic_block: None,
        mapping_timeout: None,
        quarantine: std::time::Duration::ZERO,
        draining: vec![],
    };
    let set = ServiceSet {
        name: "s".into(),
        terms: vec![term],
        outside_unit: OUTSIDE,
        eim_scope: EimScope::RuleTerm,
        ..ServiceSet::default()
    };
    Config {
        units: vec![unit("inside", true, 1500), unit("outside", false, 1500)],
        service_sets: vec![set],
        pools: vec![pool],
        timers: Timers::RFC,
        ..Config::default()
    }
}

/// What a step did: the packets sent, with their unit, and the reasons of drops.
#[derive(Debug, Default, PartialEq)]
struct Done {
    sent: Vec<(usize, Vec<u8>)>,
    drops: Vec<Reason>,
}

struct Gateway {
    nat: Nat64,
    now: u64,
}

impl Gateway {
    fn new(config: Config) -> Self {
        Self {
            nat: Nat64::new(config, 1).unwrap(),
            now: SECOND,
        }
    }

    fn step(&mut self, unit: usize, packet: &[u8]) -> Done {
        let mut effects = Effects::new();
        self.now += 1_000_000;
        self.nat.step(self.now, unit, packet, &mut effects);
        let mut done = Done::default();
        for effect in effects.iter() {
            match effect {
                Effect::Send { unit, bytes, .. } => done.sent.push((*unit, effects.bytes(bytes).to_vec())),
                Effect::Drop(reason) => done.drops.push(*reason),
                _ => {}
            }
        }
        done
    }

    /// One packet out for one packet in.
    fn one(&mut self, unit: usize, packet: &[u8]) -> (usize, Vec<u8>) {
        let mut done = self.step(unit, packet);
        assert!(done.drops.is_empty() && done.sent.len() == 1, "{done:?}");
        done.sent.remove(0)
    }

    /// Answered with one packet on the unit it came from, and dropped for `reason`.
    fn answered(&mut self, unit: usize, packet: &[u8], reason: Reason) -> Vec<u8> {
        let mut done = self.step(unit, packet);
        assert_eq!((done.sent.len(), &done.drops[..]), (1, &[reason][..]));
        assert_eq!(done.sent[0].0, unit);
        done.sent.remove(0).1
    }

    fn silent(&mut self, unit: usize, packet: &[u8], reason: Reason) {
        let before = (self.nat.session_count(), self.nat.bib_count());
        assert_eq!(
            self.step(unit, packet),
            Done {
                sent: vec![],
                drops: vec![reason]
            }
        );
        assert_eq!(
            (self.nat.session_count(), self.nat.bib_count()),
            before,
            "{reason:?} made state"
        );
    }

    /// Opens a UDP session of the client; its port in the pool.
    fn open(&mut self, client: &str) -> u16 {
        let (unit, packet) = self.one(INSIDE, &udp6(client, SERVER, 64, b"hello"));
        assert_eq!(unit, OUTSIDE);
        let Transport::Udp { src_port, .. } = Packet4::parse(&packet).unwrap().transport else {
            panic!()
        };
        src_port
    }
}

fn udp6(client: &str, server: Ipv4Addr, hop_limit: u8, data: &[u8]) -> Vec<u8> {
    let client: Ipv6Addr = client.parse().unwrap();
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ipv6(client.octets(), embed(server).octets(), hop_limit).udp(4000, 53);
    builder.write(&mut bytes, data).unwrap();
    bytes
}

fn udp4(port: u16, ttl: u8, df: bool, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ipv4(SERVER.octets(), POOL.octets(), ttl).udp(53, port);
    builder.write(&mut bytes, data).unwrap();
    bytes[6] = if df { 0x40 } else { 0 };
    mend(&mut bytes);
    bytes
}

/// Makes an IPv4 header checksum right again.
fn mend(bytes: &mut [u8]) {
    let header = usize::from(bytes[0] & 15) * 4;
    bytes[10..12].fill(0);
    let sum = nat64_xlate::checksum::finish(nat64_xlate::checksum::sum(&bytes[..header]));
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// An ICMPv6 message: type, code, second word, and what it quotes.
fn icmp6(packet: &[u8]) -> (u8, u8, u32, Vec<u8>) {
    let packet = Packet6::parse(packet).unwrap();
    let message = packet.payload();
    (
        message[0],
        message[1],
        u32::from_be_bytes(message[4..8].try_into().unwrap()),
        message[8..].to_vec(),
    )
}

fn icmp4(packet: &[u8]) -> (u8, u8, u32, Vec<u8>) {
    let packet = Packet4::parse(packet).unwrap();
    let message = packet.payload();
    (
        message[0],
        message[1],
        u32::from_be_bytes(message[4..8].try_into().unwrap()),
        message[8..].to_vec(),
    )
}

#[test]
fn hop_limit_is_checked_before_anything_is_made() {
    let mut gateway = Gateway::new(config());
    for hop_limit in [0, 1] {
        let packet = udp6(CLIENT, SERVER, hop_limit, b"x");
        let answer = gateway.answered(INSIDE, &packet, Reason::TimeExceeded);
        assert_eq!(icmp6(&answer), (3, 0, 0, packet));
        let read = Packet6::parse(&answer).unwrap();
        assert_eq!((read.src, read.dst), (OURS6.parse().unwrap(), CLIENT.parse().unwrap()));
    }
    assert_eq!(gateway.nat.session_count(), 0);
    let (_, packet) = gateway.one(INSIDE, &udp6(CLIENT, SERVER, 2, b"x"));
    assert_eq!(Packet4::parse(&packet).unwrap().ttl, 1);
    let port = gateway.open(CLIENT);
    for ttl in [0, 1] {
        let packet = udp4(port, ttl, false, b"y");
        let answer = gateway.answered(OUTSIDE, &packet, Reason::TimeExceeded);
        assert_eq!(icmp4(&answer), (11, 0, 0, packet));
        let read = Packet4::parse(&answer).unwrap();
        assert_eq!((read.src, read.dst), (OURS4, SERVER));
    }
    let (_, packet) = gateway.one(OUTSIDE, &udp4(port, 2, false, b"y"));
    assert_eq!(Packet6::parse(&packet).unwrap().hop_limit, 1);
}

#[test]
fn unfinished_source_routes_are_answered() {
    let mut gateway = Gateway::new(config());
    let port = gateway.open(CLIENT);
    // LSRR with one address to go.
    let plain = udp4(port, 64, false, b"y");
    let mut packet = plain[..20].to_vec();
    packet[0] = 0x47;
    packet[3] += 8;
    packet.extend([131, 7, 4, 10, 0, 0, 1, 0]);
    mend(&mut packet);
    packet.extend_from_slice(&plain[20..]);
    let answer = gateway.answered(OUTSIDE, &packet, Reason::SourceRoute);
    assert_eq!(icmp4(&answer), (3, 5, 0, packet.clone()));
    packet[22] = 8;
    mend(&mut packet);
    let (_, translated) = gateway.one(OUTSIDE, &packet);
    assert_eq!(
        Packet6::parse(&translated).unwrap().payload_at,
        40,
        "finished: translated without options"
    );

    let plain = udp6(CLIENT, SERVER, 64, b"x");
    let mut packet = plain[..40].to_vec();
    packet[5] += 8;
    packet[6] = 43;
    packet.extend([17, 0, 4, 1, 0, 0, 0, 0]);
    packet.extend_from_slice(&plain[40..]);
    let answer = gateway.answered(INSIDE, &packet, Reason::SourceRoute);
    assert_eq!(icmp6(&answer), (4, 0, 43, packet.clone()));
    packet[43] = 0;
    gateway.one(INSIDE, &packet);
}

#[test]
fn too_big_packets_are_answered_with_the_other_mtu() {
    let mut gateway = Gateway::new(config());
    gateway.nat = Nat64::new(
        {
            let mut config = config();
            config.units[OUTSIDE].mtu = 1400;
            config.units[INSIDE].mtu = 1410;
            config
        },
        1,
    )
    .unwrap();
    let port = gateway.open(CLIENT);
    let packet = udp6(CLIENT, SERVER, 64, &[0; 1500 - 48]);
    let answer = gateway.answered(INSIDE, &packet, Reason::PacketTooBig);
    assert_eq!(answer.len(), 1280);
    let (kind, code, mtu, _) = icmp6(&answer);
    assert_eq!(
        (kind, code, mtu),
        (2, 0, 1420),
        "the largest IPv6 packet that becomes one of 1,400 bytes"
    );
    let packet = udp4(port, 64, true, &[0; 1400 - 28]);
    let answer = gateway.answered(OUTSIDE, &packet, Reason::PacketTooBig);
    assert_eq!(answer.len(), 576);
    let (kind, code, word, _) = icmp4(&answer);
    assert_eq!((kind, code, word), (3, 4, 1390));
    assert_eq!(
        gateway.one(OUTSIDE, &udp4(port, 64, true, &[0; 1390 - 28])).1.len(),
        1410,
        "that size fits"
    );
    // Without DF it is cut.
    let done = gateway.step(OUTSIDE, &udp4(port, 64, false, &[0; 1400 - 28]));
    assert_eq!(done.sent.len(), 2);
    assert!(done
        .sent
        .iter()
        .all(|(unit, packet)| *unit == INSIDE && packet.len() <= 1280));
}

#[test]
fn addresses_that_are_no_hosts_are_dropped_in_silence() {
    let mut gateway = Gateway::new(config());
    let port = gateway.open(CLIENT);
    for source in ["::1", "::", "ff02::1"] {
        gateway.silent(INSIDE, &udp6(source, SERVER, 64, b"x"), Reason::BadAddress);
    }
    gateway.silent(
        INSIDE,
        &udp6("64:ff9b::808:808", SERVER, 64, b"x"),
        Reason::SourceInPref64,
    );
    for destination in [[127, 0, 0, 1], [224, 0, 0, 1], [0, 0, 0, 0], [255, 255, 255, 255]] {
        gateway.silent(INSIDE, &udp6(CLIENT, destination.into(), 64, b"x"), Reason::BadAddress);
    }
    gateway.silent(
        INSIDE,
        &udp6(CLIENT, Ipv4Addr::new(10, 0, 0, 1), 64, b"x"),
        Reason::NotGlobal,
    );
    for source in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255, 255, 255, 255]] {
        let mut packet = udp4(port, 64, false, b"y");
        packet[12..16].copy_from_slice(&source);
        mend(&mut packet);
        gateway.silent(OUTSIDE, &packet, Reason::BadAddress);
    }
}

#[test]
fn icmp_messages_of_one_hop_are_dropped_in_silence() {
    let mut gateway = Gateway::new(config());
    let client: Ipv6Addr = CLIENT.parse().unwrap();
    for kind in [130, 131, 132, 133, 134, 135, 136, 137, 138, 200] {
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv6(client.octets(), embed(SERVER).octets(), 64);
        builder.icmpv6_raw(kind, 0, [0; 4]).write(&mut packet, &[0; 8]).unwrap();
        gateway.silent(INSIDE, &packet, Reason::IcmpNotTranslated);
    }
    for kind in [9, 10, 13, 14, 15, 16, 17, 18, 40] {
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv4(SERVER.octets(), POOL.octets(), 64);
        builder
            .icmpv4_raw(kind, 0, [0; 4])
            .write(&mut packet, &[0; 12])
            .unwrap();
        gateway.silent(OUTSIDE, &packet, Reason::IcmpNotTranslated);
    }
}

/// RFC 6146 section 3.4: other transport protocols get an answer, not a translation.
#[test]
fn other_protocols_are_answered() {
    let mut gateway = Gateway::new(config());
    let mut packet = udp6(CLIENT, SERVER, 64, b"x");
    packet[6] = 132;
    let answer = gateway.answered(INSIDE, &packet, Reason::UnsupportedProtocol);
    assert_eq!(icmp6(&answer), (1, 4, 0, packet));
    let mut packet = udp4(1024, 64, false, b"x");
    packet[9] = 132;
    mend(&mut packet);
    let answer = gateway.answered(OUTSIDE, &packet, Reason::UnsupportedProtocol);
    assert_eq!(icmp4(&answer), (3, 2, 0, packet));
}

/// An IPv4 packet cut into fragments of at most `size` bytes of payload.
fn cut4(packet: &[u8], size: usize) -> Vec<Vec<u8>> {
    let pieces = packet[20..].chunks(size).enumerate();
    let last = (packet.len() - 20).div_ceil(size) - 1;
    pieces
        .map(|(index, piece)| {
            let mut bytes = packet[..20].to_vec();
            bytes[2..4].copy_from_slice(&(20 + piece.len() as u16).to_be_bytes());
            bytes[4..6].copy_from_slice(&0x5555u16.to_be_bytes());
            let word = (index * size / 8) as u16 | if index == last { 0 } else { 0x2000 };
            bytes[6..8].copy_from_slice(&word.to_be_bytes());
            mend(&mut bytes);
            bytes.extend_from_slice(piece);
            bytes
        })
        .collect()
}

#[test]
fn fragments_of_udp_without_checksum_are_reassembled() {
    let mut gateway = Gateway::new(config());
    let port = gateway.open(CLIENT);
    let mut whole = udp4(port, 64, false, &[7; 2000]);
    whole[26..28].fill(0);
    let pieces = cut4(&whole, 1000);
    assert_eq!(gateway.step(OUTSIDE, &pieces[2]), Done::default());
    assert_eq!(gateway.step(OUTSIDE, &pieces[0]), Done::default());
    assert_eq!(gateway.nat.fragmented_packets(), 1);
    let done = gateway.step(OUTSIDE, &pieces[1]);
    assert_eq!((done.sent.len(), gateway.nat.fragmented_packets()), (2, 0));
    let mut data = Vec::new();
    for (_, packet) in &done.sent {
        let packet = Packet6::parse(packet).unwrap();
        assert_eq!(packet.fragment.unwrap().id, 0x5555);
        data.extend_from_slice(packet.payload());
    }
    let pseudo = nat64_xlate::checksum::pseudo6(embed(SERVER), CLIENT.parse().unwrap(), 2008, 17);
    assert_eq!(
        nat64_xlate::checksum::fold(pseudo + nat64_xlate::checksum::sum(&data)),
        0xffff
    );
}

#[test]
fn fragments_of_udp_follow_the_first() {
    let mut gateway = Gateway::new(config());
    let port = gateway.open(CLIENT);
    let pieces = cut4(&udp4(port, 64, false, &[7; 2000]), 1000);
    assert_eq!(gateway.step(OUTSIDE, &pieces[2]), Done::default(), "held");
    let done = gateway.step(OUTSIDE, &pieces[0]);
    assert_eq!(done.sent.len(), 2, "the first and the one that waited");
    assert_eq!(gateway.step(OUTSIDE, &pieces[1]).sent.len(), 1);
    // Fragments that nobody completes are forgotten.
    assert_eq!(gateway.step(OUTSIDE, &pieces[1]), Done::default());
    let mut effects = Effects::new();
    gateway.nat.advance(gateway.now + 2 * SECOND, &mut effects);
    assert_eq!(gateway.nat.fragmented_packets(), 0);
}

#[test]
fn large_pings_pass_both_ways() {
    let mut gateway = Gateway::new(config());
    let client: Ipv6Addr = CLIENT.parse().unwrap();
    let mut ping = Vec::new();
    let builder = PacketBuilder::ipv6(client.octets(), embed(SERVER).octets(), 64).icmpv6_echo_request(9, 1);
    builder.write(&mut ping, &[5; 3000]).unwrap();
    let mut sent = Vec::new();
    let chunks: Vec<_> = ping[40..].chunks(1232).collect();
    for (index, chunk) in chunks.iter().enumerate() {
        let mut bytes = ping[..40].to_vec();
        bytes[4..6].copy_from_slice(&(8 + chunk.len() as u16).to_be_bytes());
        bytes[6] = 44;
        let word = (index * 1232) as u16 | u16::from(index + 1 < chunks.len());
        bytes.extend([58, 0, (word >> 8) as u8, word as u8, 0, 0, 0x77, 0x88]);
        bytes.extend_from_slice(chunk);
        sent.extend(gateway.step(INSIDE, &bytes).sent);
    }
    assert_eq!(sent.len(), 3);
    let mut message = Vec::new();
    for (unit, packet) in &sent {
        let packet = Packet4::parse(packet).unwrap();
        assert_eq!((*unit, packet.ident, packet.df), (OUTSIDE, 0x7788, false));
        message.extend_from_slice(packet.payload());
    }
    assert_eq!((message[0], message.len()), (8, 3008));
    assert_eq!(
        nat64_xlate::checksum::fold(nat64_xlate::checksum::sum(&message)),
        0xffff
    );

    // The answer of the server.
    let mut pong = Vec::new();
    let id = u16::from_be_bytes([message[4], message[5]]);
    let builder = PacketBuilder::ipv4(SERVER.octets(), POOL.octets(), 64).icmpv4_echo_reply(id, 1);
    builder.write(&mut pong, &[5; 3000]).unwrap();
    let sent: Vec<_> = cut4(&pong, 1480)
        .iter()
        .flat_map(|piece| gateway.step(OUTSIDE, piece).sent)
        .collect();
    let mut message = Vec::new();
    for (unit, packet) in &sent {
        let packet = Packet6::parse(packet).unwrap();
        assert_eq!((*unit, packet.fragment.unwrap().id), (INSIDE, 0x5555));
        assert!(packet.bytes.len() <= 1280);
        message.extend_from_slice(packet.payload());
    }
    assert_eq!((message[0], &message[4..6], message.len()), (129, &[0, 9][..], 3008));
    let pseudo = nat64_xlate::checksum::pseudo6(embed(SERVER), client, 3008, 58);
    assert_eq!(
        nat64_xlate::checksum::fold(pseudo + nat64_xlate::checksum::sum(&message)),
        0xffff
    );
}

#[test]
fn traceroute_sees_the_routers_of_both_sides() {
    let mut gateway = Gateway::new(config());
    let (_, outside) = gateway.one(INSIDE, &udp6(CLIENT, SERVER, 5, b"probe"));
    let router = Ipv4Addr::new(5, 6, 7, 8);
    let mut error = Vec::new();
    let exceeded = etherparse::Icmpv4Type::TimeExceeded(etherparse::icmpv4::TimeExceededCode::TtlExceededInTransit);
    PacketBuilder::ipv4(router.octets(), POOL.octets(), 60)
        .icmpv4(exceeded)
        .write(&mut error, &outside)
        .unwrap();
    let before = (gateway.nat.session_count(), gateway.nat.bib_count());
    let (unit, packet) = gateway.one(OUTSIDE, &error);
    let read = Packet6::parse(&packet).unwrap();
    assert_eq!(
        (unit, read.src, read.dst),
        (INSIDE, embed(router), CLIENT.parse().unwrap())
    );
    let (kind, code, _, quoted) = icmp6(&packet);
    let mut sent = udp6(CLIENT, SERVER, 5, b"probe");
    sent[7] = 4;
    assert_eq!((kind, code, quoted), (3, 0, sent), "the client finds its own probe");

    // A router on the client's side about a packet of the server: it has no IPv4 address, so it gets one of the pool.
    let Transport::Udp { src_port, .. } = Packet4::parse(&outside).unwrap().transport else {
        panic!()
    };
    let probe = udp4(src_port, 9, false, b"reply");
    let (_, inside) = gateway.one(OUTSIDE, &probe);
    let mut error = Vec::new();
    let exceeded = etherparse::Icmpv6Type::TimeExceeded(etherparse::icmpv6::TimeExceededCode::HopLimitExceeded);
    let router: Ipv6Addr = "2001:db8:1::99".parse().unwrap();
    PacketBuilder::ipv6(router.octets(), embed(SERVER).octets(), 60)
        .icmpv6(exceeded)
        .write(&mut error, &inside)
        .unwrap();
    let (unit, packet) = gateway.one(INSIDE, &error);
    let read = Packet4::parse(&packet).unwrap();
    assert_eq!((unit, read.src, read.dst), (OUTSIDE, POOL, SERVER));
    let (kind, code, _, quoted) = icmp4(&packet);
    assert_eq!((kind, code, &quoted[20..]), (11, 0, &probe[20..]));
    assert_eq!(
        (gateway.nat.session_count(), gateway.nat.bib_count()),
        before,
        "errors make no state"
    );
}

#[test]
fn errors_of_packets_without_a_session_are_dropped_in_silence() {
    let mut gateway = Gateway::new(config());
    gateway.open(CLIENT);
    // Somebody else's packet in the quote.
    let quoted = udp6(OTHER, SERVER, 5, b"probe");
    let mut four = udp4(1, 9, false, b"reply");
    four.swap(12, 16);
    let mut error = Vec::new();
    let unreachable = etherparse::Icmpv6Type::DestinationUnreachable(etherparse::icmpv6::DestUnreachableCode::Port);
    let client: Ipv6Addr = CLIENT.parse().unwrap();
    PacketBuilder::ipv6(client.octets(), embed(SERVER).octets(), 60)
        .icmpv6(unreachable)
        .write(&mut error, &quoted)
        .unwrap();
    gateway.silent(INSIDE, &error, Reason::IcmpErrorNoSession);
    let mut error = Vec::new();
    let exceeded = etherparse::Icmpv4Type::TimeExceeded(etherparse::icmpv4::TimeExceededCode::TtlExceededInTransit);
    PacketBuilder::ipv4(SERVER.octets(), POOL.octets(), 60)
        .icmpv4(exceeded)
        .write(&mut error, &four)
        .unwrap();
    gateway.silent(OUTSIDE, &error, Reason::IcmpErrorNoSession);
}

/// Two clients behind the gateway talk through their pool addresses, with packets of every size and in pieces.
#[test]
fn hairpin_carries_large_and_fragmented_packets() {
    let mut gateway = Gateway::new(config());
    let port = gateway.open(OTHER);
    let other: Ipv6Addr = OTHER.parse().unwrap();
    let client: Ipv6Addr = CLIENT.parse().unwrap();
    for length in [1, 1232, 1233, 1452] {
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv6(client.octets(), embed(POOL).octets(), 64).udp(5000, port);
        builder.write(&mut packet, &vec![3; length]).unwrap();
        let (unit, out) = gateway.one(INSIDE, &packet);
        let read = Packet6::parse(&out).unwrap();
        assert_eq!(
            (unit, read.src, read.dst, read.hop_limit),
            (INSIDE, embed(POOL), other, 62)
        );
        assert!(matches!(read.transport, Transport::Udp { dst_port: 4000, .. }));
        assert_eq!((out.len(), read.fragment), (packet.len(), None), "{length}");
        let pseudo = nat64_xlate::checksum::pseudo6(read.src, read.dst, read.payload().len() as u32, 17);
        assert_eq!(
            nat64_xlate::checksum::fold(pseudo + nat64_xlate::checksum::sum(read.payload())),
            0xffff
        );
    }
}
