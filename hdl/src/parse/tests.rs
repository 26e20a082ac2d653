//! Parse against a model in plain Rust, over seeded random headers of every kind and kind of damage.

use super::*;
use crate::testkit::Bench;
use nat64_layout::HEADER_BYTES;
use rand::{rngs::StdRng, Rng, SeedableRng};
use std::collections::{BTreeMap, VecDeque};

/// What the model says of a header.
#[derive(Debug, Default, PartialEq)]
struct Parsed {
    tags: usize,
    vids: [u16; 2],
    six: bool,
    reason: Option<Reason>,
    need: usize,
    /// ToS, hop, source, destination; when the IP header is good.
    ip: Option<(u8, bool, u8, u128, u128)>,
    /// Protocol, reply, transport bytes and header; when nothing before the transport header keeps the packet out.
    transport: Option<(Protocol, bool, usize, Vec<u8>)>,
}

fn be16(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}

fn number(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |acc, &b| acc << 8 | u128::from(b))
}

/// Sum of 16-bit words with end-around carry.
fn ones_sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn model(h: &[u8]) -> Parsed {
    let mut p = Parsed::default();
    let mut at = 12;
    if matches!(be16(h, at), 0x8100 | 0x88a8) {
        p.vids[0] = be16(h, at + 2) as u16 & 0xfff;
        p.tags = 1;
        at += 4;
        if be16(h, at) == 0x8100 {
            p.vids[1] = be16(h, at + 2) as u16 & 0xfff;
            p.tags = 2;
            at += 4;
        }
    }
    let l3 = &h[at + 2..];
    match be16(h, at) {
        0x0800 => model_four(&mut p, l3, at + 2),
        0x86dd => model_six(&mut p, l3, at + 2),
        _ => p.reason = Some(Reason::NotIp),
    }
    p
}

fn model_four(p: &mut Parsed, l3: &[u8], before: usize) {
    let header = usize::from(l3[0] & 15) * 4;
    let total = be16(l3, 2);
    if l3[0] >> 4 != 4 || header < 20 || total < header {
        p.reason = Some(Reason::BadHeader);
        return;
    }
    if header == 20 && ones_sum(&l3[..20]) != 0xffff {
        p.reason = Some(Reason::BadIpv4Checksum);
        return;
    }
    p.need = (before + total).min(0xffff);
    p.ip = Some((
        l3[1],
        l3[6] & 0x40 != 0,
        l3[8],
        number(&l3[12..16]),
        number(&l3[16..20]),
    ));
    let protocol = Protocol::ALL.into_iter().find(|q| q.ipv4() == l3[9]);
    p.reason = if header > 20 {
        Some(Reason::Ipv4Options)
    } else if l3[6] & 0x3f != 0 || l3[7] != 0 {
        Some(Reason::Ipv4Fragment)
    } else {
        model_transport(p, protocol, &l3[20..40], total - 20, l3[8], [8, 0])
    };
}

fn model_six(p: &mut Parsed, l3: &[u8], before: usize) {
    p.six = true;
    if l3[0] >> 4 != 6 {
        p.reason = Some(Reason::BadHeader);
        return;
    }
    let payload = be16(l3, 4);
    p.need = (before + 40 + payload).min(0xffff);
    let class = l3[0] << 4 | l3[1] >> 4;
    p.ip = Some((class, false, l3[7], number(&l3[8..24]), number(&l3[24..40])));
    let protocol = match l3[6] {
        6 => Some(Protocol::Tcp),
        17 => Some(Protocol::Udp),
        58 => Some(Protocol::Icmp),
        _ => None,
    };
    p.reason = if [0, 43, 44, 50, 51, 60, 135, 139, 140].contains(&l3[6]) {
        Some(Reason::Ipv6Extension)
    } else if l3[6] == 58 && (133..=137).contains(&l3[40]) {
        Some(Reason::Neighbour)
    } else {
        model_transport(p, protocol, &l3[40..60], payload, l3[7], [128, 129])
    };
}

fn model_transport(
    p: &mut Parsed,
    protocol: Option<Protocol>,
    l4: &[u8],
    bytes: usize,
    hop: u8,
    echo: [u8; 2],
) -> Option<Reason> {
    let Some(protocol) = protocol else {
        return Some(Reason::UnsupportedProtocol);
    };
    let reply = protocol == Protocol::Icmp && l4[0] == echo[1];
    p.transport = Some((protocol, reply, bytes, l4.to_vec()));
    let offset = usize::from(l4[12] >> 4);
    let short = match protocol {
        Protocol::Tcp => bytes < 20 || offset < 5 || 4 * offset > bytes,
        Protocol::Udp => bytes < 8 || be16(l4, 4) < 8,
        Protocol::Icmp => bytes < 8,
    };
    if short {
        return Some(Reason::BadHeader);
    }
    if hop <= 1 {
        return Some(Reason::HopLimit);
    }
    match protocol {
        Protocol::Icmp if !echo.contains(&l4[0]) || l4[1] != 0 => Some(Reason::IcmpNotEcho),
        Protocol::Udp if be16(l4, 4) != bytes => Some(Reason::UdpLength),
        Protocol::Udp if be16(l4, 6) == 0 => Some(Reason::UdpZeroChecksum),
        Protocol::Tcp if l4[13] & 7 != 0 => Some(Reason::TcpState),
        _ => None,
    }
}

/// `good` most of the time, else something near or random.
fn mostly(rng: &mut StdRng, good: u16) -> u16 {
    match rng.random_range(0..24) {
        0 => good.wrapping_add(rng.random_range(0..5)).wrapping_sub(2),
        1 => rng.random_range(0..64),
        2 => rng.random(),
        3 => 0,
        _ => good,
    }
}

fn random_header(rng: &mut StdRng) -> Vec<u8> {
    let mut h: Vec<u8> = (0..12).map(|_| rng.random()).collect();
    for i in 0..[0, 0, 0, 1, 1, 2, 2, 3][rng.random_range(0..8)] {
        let tpid: u16 = match rng.random_range(0..6) {
            0 => 0x88a8,
            1 if rng.random_bool(0.2) => 0x9100,
            _ if i == 0 && rng.random_bool(0.3) => 0x88a8,
            _ => 0x8100,
        };
        h.extend(tpid.to_be_bytes());
        h.extend(rng.random::<[u8; 2]>());
    }
    let six = rng.random::<bool>();
    let mut ethertype: u16 = if six { 0x86dd } else { 0x0800 };
    if rng.random_ratio(1, 30) {
        ethertype = [0x0806, 0x0801, 0x86dc, 0x05dc, rng.random()][rng.random_range(0..5)];
    }
    h.extend(ethertype.to_be_bytes());
    let l4_bytes: u16 = match rng.random_range(0..8) {
        0 => rng.random_range(0..24),
        1 => 20,
        2 => rng.random(),
        _ => rng.random_range(8..1480),
    };
    let common: &[u8] = if six {
        &[6, 6, 17, 17, 58, 58]
    } else {
        &[6, 6, 17, 17, 1, 1]
    };
    let next = match rng.random_range(0..12) {
        0 => [0, 43, 44, 50, 51, 60, 135, 139, 140, 59, 1, 58, 4, 41, 47, 132][rng.random_range(0..16)],
        1 => rng.random(),
        _ => common[rng.random_range(0..6)],
    };
    let hop: u8 = if rng.random_ratio(1, 10) {
        rng.random_range(0..3)
    } else {
        rng.random()
    };
    if six {
        h.push([6, 6, 6, 6, 6, 6, 6, 6, 4, 7][rng.random_range(0..10)] << 4 | rng.random::<u8>() >> 4);
        h.extend(rng.random::<[u8; 3]>());
        h.extend(l4_bytes.to_be_bytes());
        h.extend([next, hop]);
        h.extend(rng.random::<[u8; 32]>());
    } else {
        let words = if rng.random_ratio(1, 8) {
            rng.random_range(0..16)
        } else {
            5
        };
        let version = if rng.random_ratio(1, 16) {
            rng.random_range(0..16)
        } else {
            4u8
        };
        let good = l4_bytes.saturating_add(20);
        let total = mostly(rng, good);
        let mut ip = vec![version << 4 | words, rng.random()];
        ip.extend(total.to_be_bytes());
        ip.extend(rng.random::<[u8; 2]>());
        let fragment: u16 = match rng.random_range(0..12) {
            0 => 1 << rng.random_range(0..16),
            1 => rng.random(),
            _ => [0, 0x4000, 0x8000][rng.random_range(0..3)],
        };
        ip.extend(fragment.to_be_bytes());
        ip.extend([hop, next, 0, 0]);
        // words of 0xffff and 0 exercise the carries
        for _ in 0..4 {
            ip.extend([[0xff, 0xff], [0, 0], rng.random(), rng.random()][rng.random_range(0..4)]);
        }
        let mut checksum = !ones_sum(&ip);
        if rng.random_ratio(1, 10) {
            checksum = [checksum ^ 1 << rng.random_range(0..16), !checksum, 0xffff, 0][rng.random_range(0..4)];
        }
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        h.extend(ip);
    }
    let mut l4: Vec<u8> = rng.random::<[u8; 20]>().to_vec();
    match next {
        6 => {
            l4[12] = [5, 5, 5, 5, 6, 8, 15, 4, 0][rng.random_range(0..9)] << 4 | l4[12] & 15;
            l4[13] = [0x10, 0x18, 0xf8, 0x10, 0x11, 0x12, 0x14, l4[13]][rng.random_range(0..8)];
        }
        17 => {
            let length = mostly(rng, l4_bytes);
            l4[4..6].copy_from_slice(&length.to_be_bytes());
            if rng.random_ratio(1, 6) {
                l4[6..8].copy_from_slice(&[[0, 0], [0, 1], [1, 0]][rng.random_range(0..3)]);
            }
        }
        _ => {
            l4[0] = [
                8, 0, 128, 129, 128, 129, 8, 0, 3, 11, 1, 2, 132, 133, 135, 137, 138, l4[0],
            ][rng.random_range(0..18)];
            l4[1] = if rng.random_ratio(1, 8) {
                rng.random_range(0..3)
            } else {
                0
            };
        }
    }
    h.extend(l4);
    h.resize_with(HEADER_BYTES, || rng.random());
    if rng.random_ratio(1, 20) {
        // a frame that ends early
        let end = rng.random_range(12..HEADER_BYTES);
        h[end..].fill(0);
    }
    h
}

fn seen(phv: &Phv, want: &Parsed) -> Parsed {
    assert!(!phv.unit_valid && phv.unit.index() + phv.set.index() + phv.pref64.index() + phv.remote.index() == 0);
    let reason = Reason::from_code(phv.reason.index() as u8);
    assert_eq!(phv.fate.index() as u64, if reason.is_some() { FATE_REASON } else { 0 });
    let wide = |w: Wide<128>| u128::from(w.0[1]) << 64 | u128::from(w.0[0]);
    Parsed {
        tags: phv.tags.index(),
        vids: [phv.vid0.index() as u16, phv.vid1.index() as u16],
        six: phv.six,
        reason,
        need: phv.need.index(),
        ip: want.ip.map(|_| {
            let (tos, hop) = (phv.tos.index() as u8, phv.hop.index() as u8);
            (tos, phv.df, hop, wide(phv.source), wide(phv.destination))
        }),
        transport: want.transport.as_ref().map(|_| {
            let protocol = Protocol::ALL.into_iter().find(|&q| q as usize == phv.protocol.index());
            let protocol = protocol.expect("a protocol");
            (protocol, phv.reply, phv.l4_bytes.index(), phv.l4.to_frame(20))
        }),
    }
}

/// Feeds headers, with idle clocks between some, and compares each result `LATENCY` clocks later.
fn check(seed: u64, packets: usize, record: bool) -> (Bench<Parse>, BTreeMap<Option<Reason>, usize>) {
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut bench = Bench::new(Parse::default());
    if !record {
        bench = bench.without_record();
    }
    let mut waiting = VecDeque::new();
    let mut reasons = BTreeMap::new();
    let mut left = packets;
    while left > 0 || !waiting.is_empty() {
        let header = random_header(&mut rng);
        let valid = left > 0 && rng.random_ratio(7, 8);
        let port: bool = rng.random();
        bench.uut.valid.next = valid;
        bench.uut.port.next = port;
        bench.uut.header.next = Wide::from_frame(&header);
        if valid {
            waiting.push_back((bench.clocks + LATENCY as u64, port, header));
            left -= 1;
        }
        bench.settle();
        let due = waiting.front().is_some_and(|w| w.0 == bench.clocks);
        assert_eq!(bench.uut.out_valid.val(), due);
        if due {
            let (_, port, header) = waiting.pop_front().expect("due");
            let (want, phv) = (model(&header), bench.uut.out_phv.val());
            assert_eq!(seen(&phv, &want), want, "{header:02x?}");
            assert_eq!(phv.port, port);
            *reasons.entry(want.reason).or_insert(0) += 1;
        }
        bench.edge();
    }
    (bench, reasons)
}

#[test]
fn agrees_with_the_model() {
    let (_, reasons) = check(1, 40_000, false);
    let all = [
        Reason::NotIp,
        Reason::BadHeader,
        Reason::BadIpv4Checksum,
        Reason::Ipv4Options,
        Reason::Ipv4Fragment,
        Reason::Ipv6Extension,
        Reason::Neighbour,
        Reason::UnsupportedProtocol,
        Reason::HopLimit,
        Reason::IcmpNotEcho,
        Reason::UdpLength,
        Reason::UdpZeroChecksum,
        Reason::TcpState,
    ];
    println!("{reasons:?}");
    assert_eq!(reasons.len(), all.len() + 1, "{reasons:?}");
    for reason in all.into_iter().map(Some).chain([None]) {
        assert!(reasons[&reason] >= 200, "{reason:?} is too rare");
    }
}

#[test]
fn verilog_agrees() {
    check(2, 1500, true).0.agrees_with_verilog("parse");
}

#[test]
fn every_protocol_number_is_told_apart() {
    let mut bench = Bench::new(Parse::default()).without_record();
    for six in [false, true] {
        for next in 0..=255u8 {
            for kind in [0, 8, 128, 129, 132, 133, 134, 135, 136, 137, 138] {
                let mut h = vec![0u8; 12];
                let mut ip = vec![0u8; if six { 40 } else { 20 }];
                if six {
                    h.extend([0x86, 0xdd]);
                    ip[0] = 0x60;
                    ip[5] = 20;
                    ip[6] = next;
                    ip[7] = 64;
                } else {
                    h.extend([8, 0]);
                    ip[0] = 0x45;
                    ip[3] = 40;
                    ip[8] = 64;
                    ip[9] = next;
                    let checksum = !ones_sum(&ip);
                    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
                }
                h.extend(ip);
                h.extend([kind, 0, 0, 0, 0, 20, 1, 1, 0, 0, 0, 0, 0x50, 0x10]);
                h.resize(HEADER_BYTES, 0);
                bench.uut.valid.next = true;
                bench.uut.header.next = Wide::from_frame(&h);
                for _ in 0..LATENCY {
                    bench.tick();
                }
                let want = model(&h);
                assert_eq!(
                    seen(&bench.uut.out_phv.val(), &want),
                    want,
                    "six {six} next {next} kind {kind}"
                );
            }
        }
    }
}
