//! The core from outside: frames in, frames out, and the books after each.

mod books;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use nat64_driver::gateway::nets;
use nat64_layout::{Protocol, ETHERTYPE_VLAN};
use nat64_xlate::Shard;

use super::*;
use crate::config::{self, BuildOptions, CardLimits};

const CONFIG: &str = "
set services nat pool p address 203.0.113.0/30
set services nat pool p port automatic
set services nat rule r match-direction input
set services nat rule r term t from source-address 2001:db8::/32
set services nat rule r term t from destination-address 64:ff9b::/96
set services nat rule r term t then translated source-pool p
set services nat rule r term t then translated destination-prefix 64:ff9b::/96
set services nat rule r term t then translated translation-type stateful-nat64
set services nat rule r term t then translated mapping-type endpoint-independent
set services nat rule r term t then translated filtering-type endpoint-independent
set services service-set s nat-rules r
set services service-set s interface-service service-interface ms-0/1/0
";
const SECOND: Time = 1_000_000_000;
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
const SERVER_MAC: Mac = [2, 0, 0, 0, 0, 80];

fn client(n: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, n)
}

fn client_mac(n: u16) -> Mac {
    [2, 0, 0, 1, (n >> 8) as u8, n as u8]
}

fn embedded(address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from(0x64_ff9b << 96 | u128::from(u32::from(address)))
}

/// A frame that was sent, its parts joined.
#[derive(Clone, Debug)]
struct Sent {
    port: usize,
    vnet: Vnet,
    frame: Vec<u8>,
}

impl Sent {
    fn packet(&self) -> &[u8] {
        link::parse(&self.frame).expect("a frame").payload
    }

    /// The packets it stands for, as they appear on the wire.
    fn packets(&self) -> Vec<Vec<u8>> {
        let packet = self.packet();
        let mut whole = packet.to_vec();
        if let Some((start, offset)) = self.vnet.checksum {
            let at = self.frame.len() - packet.len();
            if self.vnet.gso != Gso::None {
                let shape = Shape::of(packet).expect("TCP or UDP");
                assert_eq!(
                    (usize::from(start), usize::from(offset)),
                    (at + shape.ip, shape.checksum_at())
                );
                return offload::cut(packet, &shape, usize::from(self.vnet.size), 0).collect();
            }
            assert!(offload::finish(&mut whole, usize::from(start) - at, offset.into()));
        }
        vec![whole]
    }
}

/// Source, destination, ports and payload of a packet whose checksums an independent parser finds right.
fn read(packet: &[u8]) -> (IpAddr, IpAddr, u16, u16, Vec<u8>) {
    let sliced = SlicedPacket::from_ip(packet).expect("parses");
    let (from, to): (IpAddr, IpAddr) = match &sliced.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum(), "{packet:x?}");
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        Some(NetSlice::Ipv6(ip)) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        other => panic!("{other:?}"),
    };
    match sliced.transport {
        Some(TransportSlice::Udp(udp)) => {
            let sum = match (from, to) {
                (IpAddr::V4(a), IpAddr::V4(b)) => {
                    udp.to_header()
                        .calc_checksum_ipv4_raw(a.octets(), b.octets(), udp.payload())
                }
                (IpAddr::V6(a), IpAddr::V6(b)) => {
                    udp.to_header()
                        .calc_checksum_ipv6_raw(a.octets(), b.octets(), udp.payload())
                }
                _ => panic!("two families"),
            };
            assert_eq!(sum.ok(), Some(udp.checksum()), "{packet:x?}");
            (
                from,
                to,
                udp.source_port(),
                udp.destination_port(),
                udp.payload().to_vec(),
            )
        }
        Some(TransportSlice::Tcp(tcp)) => {
            let sum = match (from, to) {
                (IpAddr::V4(a), IpAddr::V4(b)) => tcp.calc_checksum_ipv4(a.octets(), b.octets()).ok(),
                (IpAddr::V6(a), IpAddr::V6(b)) => tcp.calc_checksum_ipv6(a.octets(), b.octets()).ok(),
                _ => panic!("two families"),
            };
            assert_eq!(sum, Some(tcp.checksum()), "{packet:x?}");
            (
                from,
                to,
                tcp.source_port(),
                tcp.destination_port(),
                tcp.payload().to_vec(),
            )
        }
        other => panic!("{other:?}"),
    }
}

struct Rig {
    cores: Vec<Core>,
    now: Time,
}

impl Rig {
    fn new(workers: usize, more: &str) -> Self {
        let tree = config::parse(&format!("{CONFIG}{more}"), "test").expect("parses");
        let options = BuildOptions {
            link_type: LinkType::Ethernet,
            limits: CardLimits::SOFT,
            ..BuildOptions::default()
        };
        let (config, _) = config::build(&tree, options).expect("commits");
        let config = Arc::new(config);
        let shared = Arc::new(SharedNeighbours::new(nets(&config)));
        let outside = config.xlate.service_sets[0].outside_unit;
        shared
            .lock()
            .add_fixed(0, outside, SERVER.into(), SERVER_MAC, &mut Output::default());
        let directory = Arc::new(Directory::new(&config));
        let mut pools = Vec::new();
        let mut cores = Vec::new();
        for number in 0..workers {
            let (xlate, sharing) = if workers == 1 {
                (Nat64::new(config.xlate.clone(), 1), None)
            } else {
                let told = directory.clone();
                let shard = Shard::new(number as u16, workers as u16, 128, 9)
                    .announcing(Arc::new(move |protocol, pool| told.set(protocol, pool, number as u16)));
                let xlate = Nat64::new_shard(config.xlate.clone(), number as u64, shard.clone(), &pools);
                (xlate, Some(Sharing::new(shard, directory.clone())))
            };
            let xlate = xlate.expect("a configuration that was checked");
            if number == 0 {
                pools = xlate.pool_handles();
            }
            cores.push(Core::new(config.clone(), xlate, shared.clone(), sharing, number as u64));
        }
        Self { cores, now: SECOND }
    }

    /// A frame comes to a worker; what all of them send because of it.
    fn frame(&mut self, worker: usize, port: usize, vlan: Option<(u16, u16)>, vnet: Vnet, bytes: &[u8]) -> Vec<Sent> {
        let received = Received {
            vnet: vnet.write(),
            vlan,
            bytes,
            length: bytes.len(),
        };
        let mut tx = Tx::default();
        let now = self.now;
        let core = &mut self.cores[worker];
        core.begin();
        core.frame(now, port, 0, &received, &mut tx);
        let mut sent = gather(&tx, core, bytes);
        let mut handed: Vec<_> = tx.handed.drain(..).collect();
        let mut turns = 0;
        while !handed.is_empty() {
            turns += 1;
            assert!(turns < 20, "frames go in circles");
            for (to, frame) in std::mem::take(&mut handed) {
                let core = &mut self.cores[usize::from(to)];
                let mut tx = Tx::default();
                core.begin();
                core.handed(now, 0, &frame, &mut tx);
                sent.extend(gather(&tx, core, &frame.bytes));
                handed.append(&mut tx.handed);
            }
        }
        let books = self.books();
        assert_eq!(books.difference(), 0, "{books}");
        sent
    }

    /// A packet in a plain frame to us.
    fn packet(&mut self, worker: usize, port: usize, source: Mac, packet: &[u8]) -> Vec<Sent> {
        self.super_segment(worker, port, source, Vnet::default(), packet)
    }

    fn super_segment(&mut self, worker: usize, port: usize, source: Mac, vnet: Vnet, packet: &[u8]) -> Vec<Sent> {
        let ethertype = link::ethertype_of(packet).expect("IP");
        let mac = self.cores[0].config().ports[port].mac;
        let frame = link::build(mac, source, [None; 2], ethertype, packet);
        self.frame(worker, port, None, vnet, &frame)
    }

    fn count(&self, reason: Reason) -> u64 {
        self.cores.iter().map(|core| core.stats().reason(reason)).sum()
    }

    fn no_drops(&self) {
        for reason in Reason::ALL {
            assert_eq!(self.count(*reason), 0, "{}", reason.name());
        }
    }
}

fn gather(tx: &Tx, core: &Core, bytes: &[u8]) -> Vec<Sent> {
    tx.list
        .iter()
        .map(|out| {
            let mut frame = tx.heads[out.head.clone()].to_vec();
            frame.extend_from_slice(core.arena().bytes(&out.body));
            if let Some((_, range)) = &out.tail {
                frame.extend_from_slice(&bytes[range.clone()]);
            }
            let (vnet, frame) = frame.split_first_chunk().expect("a vnet header");
            Sent {
                port: out.port,
                vnet: Vnet::read(vnet).expect("one of ours"),
                frame: frame.to_vec(),
            }
        })
        .collect()
}

fn data(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 % 251) as u8).collect()
}

fn udp6(from: (Ipv6Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ipv6(from.0.octets(), embedded(to.0).octets(), 64)
        .udp(from.1, to.1)
        .write(&mut out, payload)
        .expect("a packet");
    out
}

fn udp4(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ipv4(from.0.octets(), to.0.octets(), 64)
        .udp(from.1, to.1)
        .write(&mut out, payload)
        .expect("a packet");
    out
}

fn four(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => panic!("{address}"),
    }
}

/// A TCP connection from client 1, port 5000 to the server, port 80; gives the pool address and port.
fn connect(rig: &mut Rig) -> (Ipv4Addr, u16) {
    let mut syn = Vec::new();
    PacketBuilder::ipv6(client(1).octets(), embedded(SERVER).octets(), 64)
        .tcp(5000, 80, 100, 500)
        .syn()
        .write(&mut syn, &[])
        .expect("a packet");
    let sent = rig.packet(0, 0, client_mac(1), &syn);
    let (from, _, port, ..) = read(&sent[0].packets()[0]);
    let pool = (four(from), port);
    let mut answer = Vec::new();
    PacketBuilder::ipv4(SERVER.octets(), pool.0.octets(), 64)
        .tcp(80, pool.1, 900, 500)
        .syn()
        .ack(101)
        .write(&mut answer, &[])
        .expect("a packet");
    assert_eq!(rig.packet(0, 1, SERVER_MAC, &answer).len(), 1);
    pool
}

fn tcp6(payload: usize, fin: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let builder = PacketBuilder::ipv6(client(1).octets(), embedded(SERVER).octets(), 64)
        .tcp(5000, 80, 101, 500)
        .ack(901)
        .psh();
    let builder = if fin { builder.fin() } else { builder };
    builder.write(&mut out, &data(payload)).expect("a packet");
    let shape = Shape::of(&out).expect("TCP");
    let length = out.len() - shape.ip;
    shape.set_partial(&mut out, length);
    out
}

fn gso(packet: &[u8], size: u16) -> Vnet {
    Shape::of(packet).expect("TCP or UDP").vnet(14, Some((size, false)))
}

#[test]
fn a_super_segment_of_tcp_goes_through_as_one() {
    let mut rig = Rig::new(1, "");
    let pool = connect(&mut rig);
    let packet = tcp6(50_001, false);
    let sent = rig.super_segment(0, 0, client_mac(1), gso(&packet, 1400), &packet);
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (sent[0].port, sent[0].vnet.gso, sent[0].vnet.size),
        (1, Gso::Tcp4, 1400)
    );
    let packets = sent[0].packets();
    assert_eq!(packets.len(), 36);
    let mut joined = Vec::new();
    for packet in &packets {
        let (from, to, from_port, to_port, payload) = read(packet);
        assert_eq!(
            ((from, from_port), (to, to_port)),
            ((pool.0.into(), pool.1), (SERVER.into(), 80))
        );
        assert!(packet.len() <= 1440 && packet[8] == 63);
        joined.extend(payload);
    }
    assert_eq!(joined, data(50_001));
    // And back: what the server sends is as long as it may be.
    let mut reply = Vec::new();
    PacketBuilder::ipv4(SERVER.octets(), pool.0.octets(), 64)
        .tcp(80, pool.1, 901, 500)
        .ack(50_102)
        .write(&mut reply, &data(60_000))
        .expect("a packet");
    let sent = rig.super_segment(0, 1, SERVER_MAC, gso(&reply, 1440), &reply);
    assert_eq!((sent.len(), sent[0].vnet.gso, sent[0].vnet.size), (1, Gso::Tcp6, 1440));
    let joined: Vec<u8> = sent[0].packets().iter().flat_map(|packet| read(packet).4).collect();
    assert_eq!(joined, data(60_000));
    rig.no_drops();
    let soft = rig.cores[0].soft_stats();
    assert_eq!(
        (soft.supers, soft.packets_in, soft.packets_out),
        (2, [37, 43], [43, 37])
    );
}

#[test]
fn the_last_of_a_connection_goes_packet_by_packet() {
    let mut rig = Rig::new(1, "");
    connect(&mut rig);
    let packet = tcp6(5000, true);
    let sent = rig.super_segment(0, 0, client_mac(1), gso(&packet, 1000), &packet);
    assert_eq!(sent.len(), 5);
    let flags: Vec<u8> = sent.iter().map(|sent| sent.packets()[0][33] & 1).collect();
    assert_eq!(flags, [0, 0, 0, 0, 1], "FIN is the last one's");
    let joined: Vec<u8> = sent.iter().flat_map(|sent| read(&sent.packets()[0]).4).collect();
    assert_eq!(joined, data(5000));
    rig.no_drops();
}

#[test]
fn packets_too_big_for_the_other_side_are_answered_once_and_all_counted() {
    let mut rig = Rig::new(1, "");
    let pool = connect(&mut rig);
    let mut reply = Vec::new();
    PacketBuilder::ipv4(SERVER.octets(), pool.0.octets(), 64)
        .tcp(80, pool.1, 901, 500)
        .ack(101)
        .write(&mut reply, &data(14_600))
        .expect("a packet");
    reply[6] = 0x40;
    let shape = Shape::of(&reply).expect("TCP");
    let length = reply.len() - shape.ip;
    shape.set_lengths(&mut reply, length);
    let sent = rig.super_segment(0, 1, SERVER_MAC, gso(&reply, 1460), &reply);
    assert_eq!(sent.len(), 1);
    let answer = sent[0].packet();
    assert_eq!(
        (sent[0].port, answer[9], answer[20], answer[21]),
        (1, 1, 3, 4),
        "Fragmentation Needed"
    );
    assert_eq!(u16::from_be_bytes([answer[26], answer[27]]), 1480);
    assert_eq!(rig.count(Reason::PacketTooBig), 10);
}

#[test]
fn checksums_left_to_us_are_left_to_the_kernel_again() {
    for payload in [3usize, 1000, 1300, 1400] {
        let mut rig = Rig::new(1, "");
        let whole = udp6((client(1), 7000), (SERVER, 53), &data(payload));
        let shape = Shape::of(&whole).expect("UDP");
        let mut partial = whole.clone();
        shape.set_partial(&mut partial, whole.len() - shape.ip);
        let sent = rig.super_segment(0, 0, client_mac(1), shape.vnet(14, None), &partial);
        assert_eq!(sent.len(), 1, "{payload}");
        assert!(sent[0].vnet.checksum.is_some() && sent[0].vnet.gso == Gso::None);
        assert_eq!(read(&sent[0].packets()[0]).4, data(payload));
        rig.no_drops();
    }
}

#[test]
fn accounts_that_make_no_sense_end_counted() {
    let mut rig = Rig::new(1, "");
    let packet = udp6((client(1), 7000), (SERVER, 53), &data(100));
    let wrong = Vnet {
        checksum: Some((60_000, 6)),
        ..Vnet::default()
    };
    let outside = Vnet {
        checksum: Some((14 + 40, 3000)),
        ..Vnet::default()
    };
    let tcp = Vnet {
        gso: Gso::Tcp4,
        size: 10,
        ..Vnet::default()
    };
    for vnet in [wrong, outside, tcp] {
        assert!(
            rig.super_segment(0, 0, client_mac(1), vnet, &packet).is_empty(),
            "{vnet:?}"
        );
    }
    // Of these the last one stood for ten packets.
    assert_eq!(rig.count(Reason::BadOffload), 12);
    let in_all: u64 = rig.cores[0].soft_stats().packets_in.iter().sum();
    assert_eq!(in_all, 12);
}

#[test]
fn one_port_with_two_vlans_is_enough() {
    let units = "
set nat64-nic port 0 unit 10 vlan-id 10
set nat64-nic port 0 unit 10 side inside
set nat64-nic port 0 unit 20 vlan-id 20
set nat64-nic port 0 unit 20 side outside
";
    let mut rig = Rig::new(1, units);
    let packet = udp6((client(1), 7000), (SERVER, 53), b"one arm");
    let mac = rig.cores[0].config().ports[0].mac;
    // The kernel has taken the tag off.
    let frame = link::build(mac, client_mac(1), [None; 2], ETHERTYPE_IPV6, &packet);
    let sent = rig.frame(0, 0, Some((ETHERTYPE_VLAN, 10)), Vnet::default(), &frame);
    assert_eq!(sent.len(), 1);
    let out = link::parse(&sent[0].frame).expect("a frame");
    assert_eq!(
        (sent[0].port, out.vlans, out.destination),
        (0, [Some(20), None], SERVER_MAC)
    );
    let (from, _, port, _, payload) = read(out.payload);
    assert_eq!(payload, b"one arm");
    // It is in the frame.
    let reply = udp4((SERVER, 53), (four(from), port), b"back");
    let frame = link::build(mac, SERVER_MAC, [Some(20), None], ETHERTYPE_IPV4, &reply);
    let sent = rig.frame(0, 0, None, Vnet::default(), &frame);
    let out = link::parse(&sent[0].frame).expect("a frame");
    assert_eq!(
        (out.vlans, out.destination),
        ([Some(10), None], client_mac(1)),
        "auto last hop"
    );
    let other = rig.frame(0, 0, Some((ETHERTYPE_VLAN, 30)), Vnet::default(), &frame[..]);
    assert!(other.is_empty());
    assert_eq!(rig.count(Reason::NoUnit), 1);
}

#[test]
fn a_packet_waits_for_its_next_hop() {
    let mut rig = Rig::new(1, "");
    let host = Ipv4Addr::new(192, 0, 2, 99);
    let sent = rig.packet(0, 0, client_mac(1), &udp6((client(1), 7000), (host, 53), b"wait"));
    assert_eq!(sent.len(), 1);
    let request = link::parse(&sent[0].frame).expect("a frame");
    assert_eq!((request.ethertype, request.destination), (ETHERTYPE_ARP, [0xff; 6]));
    let (ours, asked) = (&request.payload[14..18], &request.payload[24..28]);
    assert_eq!(asked, host.octets());
    let mut reply = vec![0, 1, 8, 0, 6, 4, 0, 2, 2, 9, 9, 9, 9, 9];
    reply.extend_from_slice(&host.octets());
    reply.extend_from_slice(&request.source);
    reply.extend_from_slice(ours);
    let frame = link::build(request.source, [2, 9, 9, 9, 9, 9], [None; 2], ETHERTYPE_ARP, &reply);
    let sent = rig.frame(0, 1, None, Vnet::default(), &frame);
    assert_eq!(sent.len(), 1);
    assert_eq!(read(sent[0].packet()).4, b"wait");
    assert_eq!(
        link::parse(&sent[0].frame).expect("a frame").destination,
        [2, 9, 9, 9, 9, 9]
    );
    rig.no_drops();
}

#[test]
fn frames_to_others_are_not_ours_and_pass_where_the_port_says_so() {
    let mut rig = Rig::new(1, "");
    let packet = udp6((client(1), 7000), (SERVER, 53), b"x");
    let frame = link::build([2, 7, 7, 7, 7, 7], client_mac(1), [None; 2], ETHERTYPE_IPV6, &packet);
    assert!(rig.frame(0, 0, None, Vnet::default(), &frame).is_empty());
    assert_eq!(rig.count(Reason::NotForUs), 1);
    let mut rig = Rig::new(1, "set nat64-nic port 0 unmatched forward\n");
    let mut other = tcp6(9000, false);
    other[24..40].copy_from_slice(&client(9).octets());
    let vnet = gso(&other, 1000);
    let sent = rig.super_segment(0, 0, client_mac(1), vnet, &other);
    assert_eq!((sent.len(), sent[0].port, sent[0].vnet), (1, 1, vnet), "as it came");
    assert_eq!(sent[0].packet(), other);
}

#[test]
fn with_several_workers_answers_find_the_client_whoever_gets_them() {
    let mut rig = Rig::new(4, "");
    for n in 0..60u16 {
        let packet = udp6((client(n), 7000 + n), (SERVER, 53), &n.to_be_bytes());
        let sent = rig.packet(usize::from(n) % 4, 0, client_mac(n), &packet);
        assert_eq!(sent.len(), 1);
        let (from, to, port, _, payload) = read(sent[0].packet());
        assert_eq!((to, payload), (SERVER.into(), n.to_be_bytes().to_vec()));
        for worker in 0..4 {
            let reply = udp4((SERVER, 53), (four(from), port), &[n as u8, worker as u8]);
            let sent = rig.packet(worker, 1, SERVER_MAC, &reply);
            assert_eq!(sent.len(), 1);
            let (from, to, _, port, payload) = read(sent[0].packet());
            assert_eq!((from, to, port), (embedded(SERVER).into(), client(n).into(), 7000 + n));
            assert_eq!(payload, [n as u8, worker as u8]);
        }
    }
    rig.no_drops();
    let sessions: Vec<usize> = rig.cores.iter().map(|core| core.translator().session_count()).collect();
    assert_eq!(sessions.iter().sum::<usize>(), 60);
    assert!(sessions.iter().all(|&n| n > 3), "all workers have some: {sessions:?}");
    let handed: u64 = rig.cores.iter().map(|core| core.soft_stats().handed_over).sum();
    assert!(handed > 100, "{handed}");
    // Nobody has this port.
    rig.packet(
        2,
        1,
        SERVER_MAC,
        &udp4((SERVER, 53), (Ipv4Addr::new(203, 0, 113, 1), 9), b""),
    );
    assert_eq!(rig.count(Reason::NoMapping) + rig.count(Reason::Unreachable), 1);
}

#[test]
fn clients_of_different_workers_reach_each_other() {
    let mut rig = Rig::new(4, "");
    // Each client opens a port, by which the others call it.
    let ports: Vec<(Ipv4Addr, u16)> = (0..12u16)
        .map(|n| {
            let sent = rig.packet(0, 0, client_mac(n), &udp6((client(n), 5000), (SERVER, 53), b""));
            let (from, _, port, ..) = read(sent[0].packet());
            (four(from), port)
        })
        .collect();
    for a in 0..12u16 {
        for b in (0..12u16).filter(|&b| b != a) {
            let packet = udp6((client(a), 5000), ports[usize::from(b)], &[a as u8, b as u8]);
            let sent = rig.packet(usize::from(a + b) % 4, 0, client_mac(a), &packet);
            assert_eq!(sent.len(), 1, "{a} to {b}");
            let (from, to, from_port, to_port, payload) = read(sent[0].packet());
            assert_eq!((to, to_port, payload), (client(b).into(), 5000, vec![a as u8, b as u8]));
            let pool = ports[usize::from(a)];
            assert_eq!((from, from_port), (embedded(pool.0).into(), pool.1), "by its own port");
        }
    }
    rig.no_drops();
    // Too big for the other client: the sender is told, over both workers.
    let shard = |n: u16| rig.cores[0].sharing.as_ref().map(|s| s.shard.of_client(client(n)));
    let (a, b) = (0..12u16)
        .flat_map(|a| (0..12u16).map(move |b| (a, b)))
        .find(|&(a, b)| shard(a) != shard(b))
        .expect("clients of two workers");
    let unheard = udp6((client(a), 5000), (ports[usize::from(b)].0, 9), b"nobody");
    let sent = rig.packet(0, 0, client_mac(a), &unheard);
    assert_eq!(sent.len(), 1);
    let answer = sent[0].packet();
    assert_eq!((answer[6], answer[40]), (58, 1), "Destination Unreachable: {answer:x?}");
    assert_eq!(&answer[24..40], &client(a).octets());
}

#[test]
fn fragments_of_a_reply_meet_at_one_worker() {
    let mut rig = Rig::new(4, "");
    for n in 0..16u16 {
        let sent = rig.packet(0, 0, client_mac(n), &udp6((client(n), 5000), (SERVER, 53), b""));
        let (from, _, port, ..) = read(sent[0].packet());
        let whole = udp4((SERVER, 53), (four(from), port), &data(3000));
        let mut fragments: Vec<Vec<u8>> = whole[20..]
            .chunks(1000)
            .enumerate()
            .map(|(i, chunk)| {
                let mut fragment = whole[..20].to_vec();
                fragment.extend_from_slice(chunk);
                let length = fragment.len() as u16;
                fragment[2..4].copy_from_slice(&length.to_be_bytes());
                fragment[4..6].copy_from_slice(&n.to_be_bytes());
                let more = if i == 3 { 0 } else { 0x2000 };
                fragment[6..8].copy_from_slice(&(more | (i as u16 * 125)).to_be_bytes());
                fragment[10..12].fill(0);
                let sum = nat64_xlate::checksum::finish(nat64_xlate::checksum::sum(&fragment[..20]));
                fragment[10..12].copy_from_slice(&sum.to_be_bytes());
                fragment
            })
            .collect();
        fragments.rotate_left(usize::from(n) % 4);
        let mut offsets = Vec::new();
        for (i, fragment) in fragments.iter().enumerate() {
            for sent in rig.packet((i + usize::from(n)) % 4, 1, SERVER_MAC, fragment) {
                let packet = sent.packet();
                assert_eq!((packet[6], &packet[24..40]), (44, &client(n).octets()[..]));
                offsets.push((u16::from_be_bytes([packet[42], packet[43]]) & 0xfff8, packet.len() - 48));
            }
        }
        offsets.sort_unstable();
        assert_eq!(
            offsets,
            [(0, 1000), (1000, 1000), (2000, 1000), (3000, 8)],
            "client {n}"
        );
    }
    rig.no_drops();
    assert_eq!(rig.cores.iter().map(Core::waiting_fragments).sum::<usize>(), 0);
    assert!(rig.cores[0].translator().bib_count_of(Protocol::Udp) > 0);
}

/// Datagrams whose checksum was left out, in one batch: what is sent on. `together`: given at once, port by port as they
/// come; else one after the other.
fn batch(rig: &mut Rig, frames: &[(usize, Vec<u8>)], together: bool) -> Vec<Sent> {
    let core = &mut rig.cores[0];
    let mut tx = Tx::default();
    core.begin();
    let mut made = Vec::new();
    for (port, packet) in frames {
        let shape = Shape::of(packet).expect("UDP");
        let mut packet = packet.clone();
        let length = packet.len() - shape.ip;
        shape.set_partial(&mut packet, length);
        let (mac, source) = match port {
            0 => (core.config().ports[0].mac, client_mac(1)),
            _ => (core.config().ports[1].mac, SERVER_MAC),
        };
        let ethertype = link::ethertype_of(&packet).expect("IP");
        made.push((
            *port,
            shape.vnet(14, None).write(),
            link::build(mac, source, [None; 2], ethertype, &packet),
        ));
    }
    let received = |index: usize| {
        let (_, vnet, frame) = &made[index];
        Received {
            vnet: *vnet,
            vlan: None,
            bytes: frame,
            length: frame.len(),
        }
    };
    if !together {
        for (index, (port, ..)) in made.iter().enumerate() {
            core.frame(rig.now, *port, index, &received(index), &mut tx);
        }
        return gather(&tx, core, &[]);
    }
    let mut from = 0;
    for run in made.chunk_by(|one, other| one.0 == other.0) {
        let frames = (from..from + run.len()).map(|index| Some(received(index)));
        core.frames(rig.now, run[0].0, frames, &mut tx);
        from += run.len();
    }
    gather(&tx, core, &[])
}

#[test]
fn datagrams_that_leave_joined_are_those_that_would_leave_alone() {
    use rand::{rngs::StdRng, Rng as _, SeedableRng};
    let mut random = StdRng::seed_from_u64(7);
    let (mut alone, mut together) = (Rig::new(1, ""), Rig::new(1, ""));
    together.cores[0].join_datagrams(true);
    let mut frames_joined = 0;
    for round in 0..200 {
        // Runs of one flow, with now and then a shorter or longer datagram, another mark or another hop limit.
        let mut frames = Vec::new();
        while frames.len() < 64 {
            let (inbound, flow) = (round > 0 && random.random_bool(0.5), random.random_range(0..3u16));
            let usual = [0, 1, 64, 200, 1024, 1025][random.random_range(0..6)];
            for _ in 0..random.random_range(1..30) {
                let length = match random.random_range(0..12) {
                    0 => usual / 2,
                    1 => usual + 1,
                    _ => usual,
                };
                let payload: Vec<u8> = (0..length).map(|_| random.random()).collect();
                let mut packet = if inbound {
                    // Pool ports are given in order: the first flow of round 0 has the first one.
                    udp4((SERVER, 53), (Ipv4Addr::new(203, 0, 113, 1), 1024 + flow), &payload)
                } else {
                    udp6((client(1), 6000 + flow), (SERVER, 53), &payload)
                };
                if random.random_bool(0.1) {
                    match inbound {
                        true => packet[1] = 0x20,
                        false => packet[7] = 33,
                    }
                    if inbound {
                        let shape = Shape::of(&packet).expect("UDP");
                        let length = packet.len() - shape.ip;
                        shape.set_lengths(&mut packet, length);
                    }
                }
                frames.push((usize::from(inbound), packet));
            }
        }
        let (one, other) = (batch(&mut alone, &frames, false), batch(&mut together, &frames, true));
        let list = |sent: &[Sent]| -> Vec<(usize, Vec<u8>)> {
            let of = |sent: &Sent| {
                sent.packets()
                    .into_iter()
                    .map(|packet| (sent.port, packet))
                    .collect::<Vec<_>>()
            };
            sent.iter().flat_map(of).collect()
        };
        let (mut one_list, mut other_list) = (list(&one), list(&other));
        other_list.iter().for_each(|(_, packet)| drop(read(packet)));
        // The kernel counts identifications on from the first one's, which is the generator's.
        for (_, packet) in one_list.iter_mut().chain(&mut other_list) {
            if packet[0] >> 4 == 4 {
                packet[4..6].fill(0);
                packet[10..12].fill(0);
            }
        }
        assert!(one_list == other_list, "round {round}");
        frames_joined += one.len() - other.len();
    }
    let (stats, joined) = (together.cores[0].soft_stats(), together.cores[0].soft_stats().joined);
    assert_eq!(joined, frames_joined as u64);
    assert!(joined > 4000, "{joined}");
    let before = alone.cores[0].soft_stats();
    assert_eq!(
        (stats.packets_out, stats.bytes_out),
        (before.packets_out, before.bytes_out)
    );
    alone.no_drops();
    together.no_drops();
}
