//! Neighbours and links, for every kind of card: the software card with one worker and with three, and the card (compiled
//! Verilog) with its driver. The same frames go into each, and the same must come out.
//!
//! The other sides of the links are played here, byte by byte; nothing of the gateway's own code makes or reads a frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use nat64_layout::Reason;
use nat64_tests::rig::configuration_for;
use nat64_tests::soak::target::{CardTarget, PortFrame, SoftTarget, Target};
use nat64_xlate::Time;

const SECOND: Time = 1_000_000_000;
/// MAC addresses of our ports.
const OURS: [[u8; 6]; 2] = nat64_tests::rig::PORT_MACS;
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 2, 254];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 2, 80];
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
/// Behind the router.
const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// On the link.
const NEAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);

const NAT: &str = "
set services nat pool p address-range low 203.0.113.1 high 203.0.113.14
set services nat pool p port automatic
set services nat rule r match-direction input
set services nat rule r term t from source-address 2001:db8::/32
set services nat rule r term t from destination-address 64:ff9b::/96
set services nat rule r term t then translated source-pool p
set services nat rule r term t then translated destination-prefix 64:ff9b::/96
set services nat rule r term t then translated translation-type stateful-nat64
set services service-set s nat-rules r
set services service-set s interface-service service-interface ms-0/1/0
";
/// Two ports, untagged, with addresses and routers on both.
const PLAIN: &str = "
set nat64-nic port 0 unit 0 family inet6 address 2001:db8::1/64
set nat64-nic port 0 unit 0 no-auto-last-hop
set nat64-nic port 1 unit 0 family inet address 192.0.2.1/24
set nat64-nic port 1 unit 0 family inet gateway 192.0.2.254
set nat64-nic port 1 unit 0 no-auto-last-hop
";
/// A VLAN on port 0, two tags on port 1.
const TAGGED: &str = "
set nat64-nic port 0 unit 10 vlan-id 10
set nat64-nic port 0 unit 10 family inet6 address 2001:db8::1/64
set nat64-nic port 1 unit 20 vlan-tags outer 20 inner 21
set nat64-nic port 1 unit 20 family inet address 192.0.2.1/24
set nat64-nic port 1 unit 20 family inet gateway 192.0.2.254
";
/// Everything on port 0: clients on one VLAN, servers on another.
const ONE_ARM: &str = "
set nat64-nic port 0 unit 10 vlan-id 10
set nat64-nic port 0 unit 10 side inside
set nat64-nic port 0 unit 10 family inet6 address 2001:db8::1/64
set nat64-nic port 0 unit 20 vlan-id 20
set nat64-nic port 0 unit 20 side outside
set nat64-nic port 0 unit 20 family inet address 192.0.2.1/24
set nat64-nic port 0 unit 20 family inet gateway 192.0.2.254
";

fn targets(links: &str) -> Vec<Box<dyn Target>> {
    let text = format!("{NAT}{links}");
    vec![
        Box::new(SoftTarget::new(configuration_for(&text, true), 1, 1)),
        Box::new(SoftTarget::new(configuration_for(&text, true), 3, 1)),
        Box::new(CardTarget::new(configuration_for(&text, false), 1)),
    ]
}

/// Where a side is: its port, the tags of its frames, our MAC address there.
#[derive(Clone, Copy, Debug)]
struct Side {
    port: usize,
    tags: &'static [u16],
}

const INSIDE: Side = Side { port: 0, tags: &[] };
const OUTSIDE: Side = Side { port: 1, tags: &[] };

/// A gateway and the time.
struct Bench {
    target: Box<dyn Target>,
    now: Time,
    /// What else left when a server was asked for.
    others: Vec<PortFrame>,
}

impl Bench {
    fn new(target: Box<dyn Target>) -> Self {
        Self {
            target,
            now: SECOND,
            others: Vec::new(),
        }
    }

    fn name(&self) -> &'static str {
        self.target.name()
    }

    fn give(&mut self, side: Side, frame: Vec<u8>) -> Vec<PortFrame> {
        let sent = self.target.frames(self.now, &[(side.port, tagged(frame, side.tags))]);
        let books = self.target.books();
        assert_eq!(books.difference(), 0, "{}: {books}", self.name());
        sent
    }

    fn pass(&mut self, time: Time) -> Vec<PortFrame> {
        self.now += time;
        self.target.advance(self.now)
    }

    fn reason(&mut self, reason: Reason) -> u64 {
        self.target.reason(reason)
    }
}

fn tagged(mut frame: Vec<u8>, tags: &[u16]) -> Vec<u8> {
    for tag in tags.iter().rev() {
        let [high, low] = tag.to_be_bytes();
        frame.splice(12..12, [0x81, 0, high, low]);
    }
    frame
}

/// Takes the tags off a frame that left by a side, and checks them.
fn plain(side: Side, frame: &PortFrame) -> Vec<u8> {
    assert_eq!(frame.0, side.port, "{:02x?}", frame.1);
    let mut bytes = frame.1.clone();
    for tag in side.tags {
        let [high, low] = tag.to_be_bytes();
        assert_eq!(
            bytes[12..16],
            [0x81, 0, high & 15, low],
            "tags {:?}: {:02x?}",
            side.tags,
            frame.1
        );
        bytes.drain(12..16);
    }
    assert_ne!(bytes[12..14], [0x81, 0], "no other tag: {:02x?}", frame.1);
    bytes
}

/// Ethertype behind all tags.
fn plain_ethertype(frame: &[u8]) -> [u8; 2] {
    let mut at = 12;
    while frame[at..at + 2] == [0x81, 0] {
        at += 4;
    }
    [frame[at], frame[at + 1]]
}

/// The only frame.
#[track_caller]
fn one(sent: &[PortFrame]) -> &PortFrame {
    assert_eq!(sent.len(), 1, "{sent:02x?}");
    &sent[0]
}

fn embedded(server: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from(0x64_ff9b << 96 | u128::from(u32::from(server)))
}

fn client(n: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, n)
}

fn request(port: u16, server: Ipv4Addr) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ethernet2(CLIENT_MAC, OURS[0])
        .ipv6(client(1).octets(), embedded(server).octets(), 64)
        .udp(port, 53)
        .write(&mut out, b"question")
        .expect("a Vec takes every byte");
    out
}

fn reply(our_mac: [u8; 6], from: [u8; 6], server: Ipv4Addr, pool: (Ipv4Addr, u16)) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ethernet2(from, our_mac)
        .ipv4(server.octets(), pool.0.octets(), 64)
        .udp(53, pool.1)
        .write(&mut out, b"answer")
        .expect("a Vec takes every byte");
    out
}

fn arp(operation: u8, to: [u8; 6], sender: ([u8; 6], Ipv4Addr), target: ([u8; 6], Ipv4Addr)) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend(sender.0);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, operation]);
    frame.extend(sender.0);
    frame.extend(sender.1.octets());
    frame.extend(target.0);
    frame.extend(target.1.octets());
    frame
}

/// What an ARP message says: operation, sender, target.
fn read_arp(frame: &[u8]) -> (u8, [u8; 6], Ipv4Addr, Ipv4Addr) {
    assert_eq!(frame[12..14], [8, 6], "{frame:02x?}");
    let address = |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
    let mac = <[u8; 6]>::try_from(&frame[22..28]).expect("six");
    (frame[21], mac, address(28), address(38))
}

/// A discovery message: solicitation (135) or advertisement (136) with a link-layer address.
fn discovery(kind: u8, from: ([u8; 6], Ipv6Addr), to: ([u8; 6], Ipv6Addr), target: Ipv6Addr) -> Vec<u8> {
    let mut body = if kind == 136 { vec![0x60, 0, 0, 0] } else { vec![0; 4] };
    body.extend(target.octets());
    body.extend([if kind == 136 { 2 } else { 1 }, 1]);
    body.extend(from.0);
    let mut out = Vec::new();
    let rest = <[u8; 4]>::try_from(&body[..4]).expect("four");
    PacketBuilder::ethernet2(from.0, to.0)
        .ipv6(from.1.octets(), to.1.octets(), 255)
        .icmpv6_raw(kind, 0, rest)
        .write(&mut out, &body[4..])
        .expect("a Vec takes every byte");
    out
}

/// Destination MAC, source MAC, addresses and ports of a UDP packet whose checksums are right.
type Read = ([u8; 6], [u8; 6], IpAddr, IpAddr, u16, u16);

fn read(frame: &[u8]) -> Read {
    let mac = |at: usize| <[u8; 6]>::try_from(&frame[at..at + 6]).expect("six");
    let packet = SlicedPacket::from_ethernet(frame).expect("a packet");
    let Some(TransportSlice::Udp(udp)) = &packet.transport else {
        panic!("{packet:?}");
    };
    let (from, to, sum): (IpAddr, IpAddr, _) = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            let sum = udp.to_header().calc_checksum_ipv4(&header, udp.payload());
            (
                ip.header().source_addr().into(),
                ip.header().destination_addr().into(),
                sum,
            )
        }
        Some(NetSlice::Ipv6(ip)) => {
            let sum = udp
                .to_header()
                .calc_checksum_ipv6(&ip.header().to_header(), udp.payload());
            (
                ip.header().source_addr().into(),
                ip.header().destination_addr().into(),
                sum,
            )
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(sum.ok(), Some(udp.checksum()));
    (mac(0), mac(6), from, to, udp.source_port(), udp.destination_port())
}

/// A client's packet to `server` by way of `hop`, which answers ARP; gives pool address and port, and the frame's reading.
fn resolve(bench: &mut Bench, sides: (Side, Side), server: Ipv4Addr, hop: ([u8; 6], Ipv4Addr)) -> (Ipv4Addr, u16) {
    let our_mac = OURS[sides.1.port];
    let sent = bench.give(sides.0, request(4000, server));
    // A card asks for the client at once, where it does not learn from frames.
    let (arps, others): (Vec<PortFrame>, Vec<PortFrame>) =
        sent.into_iter().partition(|frame| plain_ethertype(&frame.1) == [8, 6]);
    bench.others = others;
    let asked = plain(sides.1, one(&arps));
    assert_eq!(asked[..6], [0xff; 6]);
    assert_eq!(
        read_arp(&asked),
        (1, our_mac, Ipv4Addr::new(192, 0, 2, 1), hop.1),
        "{}",
        bench.name()
    );
    let answer = arp(2, our_mac, hop, (our_mac, Ipv4Addr::new(192, 0, 2, 1)));
    let sent = bench.give(sides.1, answer);
    let (to_mac, from_mac, from, to, port, to_port) = read(&plain(sides.1, one(&sent)));
    assert_eq!(
        (to_mac, from_mac, to, to_port),
        (hop.0, our_mac, server.into(), 53),
        "{}",
        bench.name()
    );
    let IpAddr::V4(pool) = from else { panic!("{from}") };
    (pool, port)
}

#[test]
fn arp_finds_the_gateway_and_hosts_on_the_link() {
    for (server, hop) in [(FAR, (ROUTER_MAC, ROUTER)), (NEAR, (SERVER_MAC, NEAR))] {
        for target in targets(PLAIN) {
            let mut bench = Bench::new(target);
            resolve(&mut bench, (INSIDE, OUTSIDE), server, hop);
            // The next packet goes at once.
            let sent = bench.give(INSIDE, request(4001, server));
            assert_eq!(read(&plain(OUTSIDE, one(&sent))).0, hop.0, "{}", bench.name());
        }
    }
}

#[test]
fn discovery_finds_clients_on_the_link() {
    for target in targets(PLAIN) {
        let mut bench = Bench::new(target);
        let pool = resolve(&mut bench, (INSIDE, OUTSIDE), NEAR, (SERVER_MAC, NEAR));
        // Nothing is learned from frames here, so the client must be asked for.
        let frame = reply(OURS[1], SERVER_MAC, NEAR, pool);
        let sent = bench.give(OUTSIDE, frame.clone());
        // With a card the client was asked for when the session was made, and is asked for once.
        let asked = plain(INSIDE, one(&[sent, std::mem::take(&mut bench.others)].concat()));
        assert_eq!((asked[20], asked[54]), (58, 135), "a solicitation: {asked:02x?}");
        assert_eq!(asked[62..78], client(1).octets(), "{}", bench.name());
        assert_eq!(asked[..6], [0x33, 0x33, 0xff, 1, 0, 1], "to the group of the address");
        let own = Ipv6Addr::from(<[u8; 16]>::try_from(&asked[22..38]).expect("sixteen"));
        let answer = discovery(136, (CLIENT_MAC, client(1)), (OURS[0], own), client(1));
        let sent = bench.give(INSIDE, answer);
        let (to_mac, from_mac, from, to, ..) = read(&plain(INSIDE, one(&sent)));
        assert_eq!((to_mac, from_mac), (CLIENT_MAC, OURS[0]), "{}", bench.name());
        assert_eq!((from, to), (embedded(NEAR).into(), client(1).into()));
        let sent = bench.give(OUTSIDE, frame);
        assert_eq!(read(&plain(INSIDE, one(&sent))).0, CLIENT_MAC);
    }
}

#[test]
fn pool_addresses_and_our_own_are_answered_for_and_no_others() {
    for target in targets(PLAIN) {
        let mut bench = Bench::new(target);
        let nobody = [0; 6];
        for address in ["192.0.2.1", "203.0.113.1", "203.0.113.14"] {
            let address: Ipv4Addr = address.parse().expect("an address");
            let sent = bench.give(OUTSIDE, arp(1, [0xff; 6], (ROUTER_MAC, ROUTER), (nobody, address)));
            let answer = plain(OUTSIDE, one(&sent));
            assert_eq!(answer[..6], ROUTER_MAC);
            assert_eq!(read_arp(&answer), (2, OURS[1], address, ROUTER), "{}", bench.name());
        }
        for address in ["192.0.2.77", "203.0.113.15", "203.0.112.255"] {
            let address = address.parse().expect("an address");
            let sent = bench.give(OUTSIDE, arp(1, [0xff; 6], (ROUTER_MAC, ROUTER), (nobody, address)));
            assert!(sent.is_empty(), "{}: {address}", bench.name());
        }
        // Nor for pool addresses on the clients' side.
        let sent = bench.give(
            INSIDE,
            arp(
                1,
                [0xff; 6],
                (CLIENT_MAC, ROUTER),
                (nobody, Ipv4Addr::new(203, 0, 113, 1)),
            ),
        );
        assert!(sent.is_empty(), "{}", bench.name());
        assert_eq!(bench.reason(Reason::NotForUs), 4, "{}", bench.name());
        // The address of the unit, and the link-local one.
        let own: Ipv6Addr = "2001:db8::1".parse().expect("an address");
        let local: Ipv6Addr = "fe80::4e:36ff:fe34:0".parse().expect("an address");
        for address in [own, local] {
            let group = Ipv6Addr::from(0xff02_0000_0000_0000_0000_0001_ff00_0000 | u128::from(address) & 0xff_ffff);
            let o = group.octets();
            let mac = [0x33, 0x33, o[12], o[13], o[14], o[15]];
            let sent = bench.give(INSIDE, discovery(135, (CLIENT_MAC, client(1)), (mac, group), address));
            let answer = plain(INSIDE, one(&sent));
            assert_eq!(
                (answer[54], &answer[62..78]),
                (136, &address.octets()[..]),
                "{}",
                bench.name()
            );
            assert_eq!((&answer[..6], &answer[80..86]), (&CLIENT_MAC[..], &OURS[0][..]));
        }
    }
}

#[test]
fn next_hops_are_kept_in_the_card_and_follow_a_neighbour_that_moves() {
    for target in targets(PLAIN) {
        let mut bench = Bench::new(target);
        let pool = resolve(&mut bench, (INSIDE, OUTSIDE), FAR, (ROUTER_MAC, ROUTER));
        bench.give(
            INSIDE,
            discovery(
                136,
                (CLIENT_MAC, client(1)),
                (OURS[0], "2001:db8::1".parse().expect("one")),
                client(1),
            ),
        );
        bench.give(OUTSIDE, reply(OURS[1], ROUTER_MAC, FAR, pool));
        let left = bench.target.left();
        let carried = bench.target.offloaded();
        if carried.is_some() {
            assert_eq!((left.installed, left.hops), (1, 2), "client and router");
        }
        bench.give(INSIDE, request(4000, FAR));
        if let (Some(before), Some(after)) = (carried, bench.target.offloaded()) {
            assert_eq!(after, before + 1, "the card sends it alone");
        }
        // The router has another MAC address, and says so.
        let moved = [2, 0, 0, 0, 2, 99];
        bench.give(
            OUTSIDE,
            arp(2, OURS[1], (moved, ROUTER), (OURS[1], Ipv4Addr::new(192, 0, 2, 1))),
        );
        let before = bench.target.offloaded();
        let sent = bench.give(INSIDE, request(4000, FAR));
        assert_eq!(read(&plain(OUTSIDE, one(&sent))).0, moved, "{}", bench.name());
        if let (Some(before), Some(after)) = (before, bench.target.offloaded()) {
            assert_eq!(after, before + 1, "and still alone");
        }
    }
}

#[test]
fn senders_are_told_of_hops_that_do_not_answer_and_few_packets_wait() {
    for target in targets(PLAIN) {
        let mut bench = Bench::new(target);
        // The client is known: it answers for itself later.
        let own: Ipv6Addr = "2001:db8::1".parse().expect("one");
        bench.give(
            INSIDE,
            discovery(
                135,
                (CLIENT_MAC, client(1)),
                ([0x33, 0x33, 0xff, 0, 0, 1], "ff02::1:ff00:1".parse().expect("one")),
                own,
            ),
        );
        let mut asked = 0;
        for n in 0..40 {
            let sent = bench.give(INSIDE, request(4000 + n, NEAR));
            asked += sent.len();
        }
        assert_eq!(asked, 1, "{}: one request for all", bench.name());
        assert_eq!(bench.target.left().waiting, 16, "{}", bench.name());
        assert_eq!(bench.reason(Reason::NeighbourQueueFull), 24, "{}", bench.name());
        let mut told = Vec::new();
        for _ in 0..4 {
            told.extend(bench.pass(SECOND).into_iter().filter(|frame| frame.0 == 0));
        }
        assert_eq!(told.len(), 16, "{}", bench.name());
        for frame in &told {
            let frame = plain(INSIDE, frame);
            // ICMPv6 Destination Unreachable, address; about the client's own packet.
            assert_eq!((frame[20], frame[54], frame[55]), (58, 1, 3), "{}", bench.name());
            assert_eq!(
                (&frame[..6], &frame[38..54]),
                (&CLIENT_MAC[..], &client(1).octets()[..])
            );
            assert_eq!(
                (&frame[70..86], &frame[86..102]),
                (&client(1).octets()[..], &embedded(NEAR).octets()[..])
            );
        }
        assert_eq!(bench.reason(Reason::NeighbourUnreachable), 16, "{}", bench.name());
        let books = bench.target.books();
        assert_eq!((books.waiting, books.difference()), (0, 0), "{}: {books}", bench.name());
    }
}

#[test]
fn units_are_told_apart_by_their_tags() {
    let inside = Side { port: 0, tags: &[10] };
    let outside = Side {
        port: 1,
        tags: &[20, 21],
    };
    conversation(TAGGED, inside, outside);
    for target in targets(TAGGED) {
        let mut bench = Bench::new(target);
        for tags in [&[][..], &[11], &[10, 20], &[20]] {
            let sent = bench.give(Side { port: 0, tags }, request(4000, FAR));
            assert!(sent.is_empty(), "{}: tags {tags:?}", bench.name());
        }
        assert_eq!(
            bench.reason(Reason::NoUnit) + bench.reason(Reason::PolicyDrop),
            4,
            "{}",
            bench.name()
        );
        assert_eq!(bench.target.left().sessions, 0);
    }
}

#[test]
fn one_port_is_enough() {
    conversation(ONE_ARM, Side { port: 0, tags: &[10] }, Side { port: 0, tags: &[20] });
}

/// A question and its answer, twice: the second time the card has the session.
fn conversation(links: &str, inside: Side, outside: Side) {
    for target in targets(links) {
        let mut bench = Bench::new(target);
        let pool = resolve(&mut bench, (inside, outside), FAR, (ROUTER_MAC, ROUTER));
        for _ in 0..2 {
            let sent = bench.give(outside, reply(OURS[outside.port], ROUTER_MAC, FAR, pool));
            let (to_mac, from_mac, from, to, ..) = read(&plain(inside, one(&sent)));
            assert_eq!((to_mac, from_mac), (CLIENT_MAC, OURS[inside.port]), "{}", bench.name());
            assert_eq!((from, to), (embedded(FAR).into(), client(1).into()));
            let sent = bench.give(inside, request(4000, FAR));
            let (to_mac, _, from, ..) = read(&plain(outside, one(&sent)));
            assert_eq!((to_mac, from), (ROUTER_MAC, pool.0.into()), "{}", bench.name());
        }
        if let Some(carried) = bench.target.offloaded() {
            assert!(carried >= 3, "the card carries it: {carried}");
        }
    }
}
