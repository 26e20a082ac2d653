//! Random packets against a model that builds the translated packet from nothing, checksums over all of it.

use super::*;
use crate::testkit::Bench;
use nat64_layout::tables::{NextHop, Pref64, ServiceSet, PREFIX_LENGTHS};
use nat64_layout::Record;
use rand::{rngs::StdRng, Rng, SeedableRng};
use std::collections::VecDeque;

fn fold(mut sum: u64) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn sum_of(bytes: &[u8]) -> u64 {
    bytes
        .chunks(2)
        .map(|w| u64::from(w[0]) << 8 | u64::from(*w.get(1).unwrap_or(&0)))
        .sum()
}

/// An IP packet; addresses of IPv4 in the low 32 bits.
#[derive(Clone)]
struct Packet {
    six: bool,
    protocol: Protocol,
    reply: bool,
    tos: u8,
    hop: u8,
    ident: u16,
    df: bool,
    source: u128,
    destination: u128,
    ports: [u16; 2],
    /// Transport header without its first 4 bytes (ICMP: identifier, sequence) and checksum, and the payload.
    middle: [u8; 20],
    payload: Vec<u8>,
}

impl Packet {
    fn l4_header(&self) -> usize {
        if self.protocol == Protocol::Tcp {
            20
        } else {
            8
        }
    }

    fn l4(&self) -> Vec<u8> {
        let bytes = self.l4_header() + self.payload.len();
        let mut l4 = self.middle[..self.l4_header()].to_vec();
        let at = match self.protocol {
            Protocol::Icmp => {
                l4[0] = match (self.six, self.reply) {
                    (true, false) => 128,
                    (true, true) => 129,
                    (false, false) => 8,
                    (false, true) => 0,
                };
                l4[4..6].copy_from_slice(&self.ports[0].to_be_bytes());
                2
            }
            Protocol::Tcp => 16,
            Protocol::Udp => {
                l4[4..6].copy_from_slice(&(bytes as u16).to_be_bytes());
                6
            }
        };
        if self.protocol != Protocol::Icmp {
            l4[..2].copy_from_slice(&self.ports[0].to_be_bytes());
            l4[2..4].copy_from_slice(&self.ports[1].to_be_bytes());
        }
        l4[at..at + 2].fill(0);
        l4.extend(&self.payload);
        let mut sum = sum_of(&l4);
        if self.six || self.protocol != Protocol::Icmp {
            let number = if self.six {
                self.protocol.ipv6()
            } else {
                self.protocol.ipv4()
            };
            sum += u64::from(number) + bytes as u64;
            sum += sum_of(&self.source.to_be_bytes()) + sum_of(&self.destination.to_be_bytes());
        }
        let mut check = !fold(sum);
        if self.protocol == Protocol::Udp && check == 0 {
            check = 0xffff;
        }
        l4[at..at + 2].copy_from_slice(&check.to_be_bytes());
        l4
    }

    fn bytes(&self) -> Vec<u8> {
        let l4 = self.l4();
        let mut ip = Vec::new();
        if self.six {
            ip.extend((6 << 28 | u32::from(self.tos) << 20).to_be_bytes());
            ip.extend((l4.len() as u16).to_be_bytes());
            ip.extend([self.protocol.ipv6(), self.hop]);
            ip.extend(self.source.to_be_bytes());
            ip.extend(self.destination.to_be_bytes());
        } else {
            ip.extend([0x45, self.tos]);
            ip.extend((20 + l4.len() as u16).to_be_bytes());
            ip.extend(self.ident.to_be_bytes());
            ip.extend([if self.df { 0x40 } else { 0 }, 0, self.hop, self.protocol.ipv4(), 0, 0]);
            ip.extend((self.source as u32).to_be_bytes());
            ip.extend((self.destination as u32).to_be_bytes());
            let check = !fold(sum_of(&ip));
            ip[10..12].copy_from_slice(&check.to_be_bytes());
        }
        ip.extend(l4);
        ip
    }
}

/// RFC 6052 section 2.2, octet by octet.
fn embed(prefix: &Pref64, address: u32) -> u128 {
    let mut octets = (prefix.prefix << 32).to_be_bytes();
    let mut at = usize::from(PREFIX_LENGTHS[usize::from(prefix.length_code)]) / 8;
    for octet in address.to_be_bytes() {
        if at == 8 {
            at = 9;
        }
        octets[at] = octet;
        at += 1;
    }
    u128::from_be_bytes(octets)
}

struct Tables {
    hops: Vec<NextHop>,
    hop_valid: Vec<bool>,
    prefixes: Vec<Pref64>,
    sets: Vec<ServiceSet>,
}

fn write(bench: &mut Bench<Rewrite>, address: u32, words: &[u32]) {
    for (i, &word) in words.iter().enumerate() {
        bench.uut.write.next = RegisterWrite {
            valid: true,
            address: u64::from(address + 4 * i as u32).into(),
            data: u64::from(word).into(),
        };
        bench.tick();
    }
    bench.uut.write.next = RegisterWrite::default();
}

fn tables(rng: &mut StdRng, bench: &mut Bench<Rewrite>) -> Tables {
    let mut t = Tables {
        hops: vec![],
        hop_valid: vec![],
        prefixes: vec![],
        sets: vec![],
    };
    for i in 0..tables::NEXT_HOPS as u32 {
        let vlan = |rng: &mut StdRng| Some(rng.random_range(0..4096));
        let vlans = match rng.random_range(0..3) {
            0 => [None, None],
            1 => [vlan(rng), None],
            _ => [vlan(rng), vlan(rng)],
        };
        let hop = NextHop {
            destination: rng.random(),
            source: rng.random(),
            port: rng.random_range(0..2),
            vlans,
            qinq: rng.random(),
        };
        let mut words = hop.to_words();
        let valid = rng.random_range(0..10) != 0;
        if !valid {
            words[3] &= !(1 << 31);
        }
        write(bench, tables::NEXT_HOP_BASE + i * tables::NEXT_HOP_STRIDE, &words);
        t.hops.push(hop);
        t.hop_valid.push(valid);
    }
    for i in 0..tables::PREF64S {
        let length_code = (i % PREFIX_LENGTHS.len()) as u8;
        let length = u32::from(PREFIX_LENGTHS[usize::from(length_code)]);
        let prefix = Pref64 {
            prefix: (rng.random::<u128>() >> (128 - length)) << (96 - length.min(96)) & !(0xff << 24),
            length_code,
            service_set: 0,
        };
        write(
            bench,
            tables::PREF64_BASE + i as u32 * tables::PREF64_STRIDE,
            &prefix.to_words(),
        );
        t.prefixes.push(prefix);
    }
    for i in 0..tables::SERVICE_SETS as u32 {
        let set = ServiceSet {
            mtu4: rng.random_range(60..200),
            mtu6: rng.random_range(80..220),
            fragment6: rng.random_range(80..220),
            df_clear_max: [0, 60, 100, 1260][rng.random_range(0..4)],
        };
        write(
            bench,
            tables::SERVICE_SET_BASE + i * tables::SERVICE_SET_STRIDE,
            &set.to_words(),
        );
        t.sets.push(set);
    }
    t
}

struct Expect {
    kind: u64,
    reason: u64,
    frame_in: Vec<u8>,
    frame_out: Vec<u8>,
    phv: Phv,
    index: u64,
    port: bool,
}

struct Model {
    tables: Tables,
    counter: u16,
}

impl Model {
    /// A random packet of a random session, what the block is told of it, and what it must say.
    fn packet(&mut self, rng: &mut StdRng) -> (Phv, Found, Expect) {
        let six = rng.random();
        let protocol = Protocol::ALL[rng.random_range(0..3)];
        let set_index = rng.random_range(0..8usize);
        let zero = rng.random_range(0..6) == 0;
        let record = Record {
            protocol,
            pref64: rng.random_range(0..8),
            unit: rng.random_range(0..16),
            hop6: rng.random_range(0..64),
            hop4: rng.random_range(0..64),
            client_port: rng.random(),
            remote_port: rng.random(),
            pool_port: if zero { 0 } else { rng.random() },
            remote: rng.random(),
            pool: rng.random(),
            client: rng.random(),
        };
        let reply = rng.random();
        let embedded = embed(&self.tables.prefixes[usize::from(record.pref64)], record.remote);
        let mut middle: [u8; 20] = rng.random();
        if rng.random_range(0..4) != 0 {
            middle[1] = 0;
        }
        let mut payload: Vec<u8> = (0..rng.random_range(0..120)).map(|_| rng.random()).collect();
        if zero {
            middle.fill(0);
            payload.fill(0);
        }
        let ports = |near, far| {
            if protocol == Protocol::Icmp || six {
                [near, far]
            } else {
                [far, near]
            }
        };
        let arrived = Packet {
            six,
            protocol,
            reply,
            tos: rng.random(),
            hop: rng.random_range(2..=255),
            ident: rng.random(),
            df: rng.random(),
            source: if six { record.client } else { record.remote.into() },
            destination: if six { embedded } else { record.pool.into() },
            ports: ports(
                if six { record.client_port } else { record.pool_port },
                record.remote_port,
            ),
            middle,
            payload,
        };
        let mut out = Packet {
            six: !six,
            hop: arrived.hop - 1,
            source: if six { record.pool.into() } else { embedded },
            destination: if six { record.remote.into() } else { record.client },
            ports: {
                let near = if six { record.pool_port } else { record.client_port };
                ports(near, record.remote_port)
            },
            ..arrived.clone()
        };
        let mut arrived = arrived;
        // one in four: a payload word is chosen so that the checksum that arrives, or the new one, is 0
        if !zero && arrived.payload.len() >= 2 && rng.random_range(0..4) == 0 {
            arrived.payload[..2].fill(0);
            out.payload[..2].fill(0);
            let of = if rng.random() { &arrived } else { &out };
            let l4 = of.l4();
            let at = [16, 6, 2][protocol as usize - 1];
            let word = [l4[at], l4[at + 1]];
            arrived.payload[..2].copy_from_slice(&word);
            out.payload[..2].copy_from_slice(&word);
        }
        let set = self.tables.sets[set_index];
        let total = out.l4().len() + if six { 20 } else { 40 };
        let tags_in = rng.random_range(0..3usize);
        let mut frame_in: Vec<u8> = (0..14 + 4 * tags_in).map(|_| rng.random()).collect();
        frame_in.extend(arrived.bytes());
        let need = frame_in.len() as u64;
        frame_in.extend((0..rng.random_range(0..10)).map(|_| rng.random::<u8>()));

        let fate = [FATE_LOOKUP, FATE_LOOKUP, FATE_LOOKUP, FATE_LOOKUP, FATE_FORWARD, 2][rng.random_range(0..6)];
        let hit = rng.random_range(0..8) != 0;
        let reason = if fate == 2 { rng.random_range(1..43u64) } else { 0 };
        let hop_index = usize::from(if six { record.hop4 } else { record.hop6 });
        let mtu = match (six, arrived.df) {
            (true, _) => set.mtu4,
            (false, true) => set.mtu6,
            (false, false) => set.fragment6,
        };
        let (kind, expected) = match fate {
            FATE_FORWARD => (KIND_FORWARD, 0),
            2 if reason < 32 => (KIND_PUNT, reason),
            2 => (KIND_DROP, reason),
            _ if !hit => (KIND_PUNT, Reason::NoSession as u64),
            _ if total > usize::from(mtu) => (KIND_PUNT, Reason::TooBig as u64),
            _ if !self.tables.hop_valid[hop_index] => (KIND_PUNT, Reason::NoNextHop as u64),
            _ => (KIND_TRANSLATE, 0),
        };
        let offset: u16 = rng.random();
        out.df = total > usize::from(set.df_clear_max);
        out.ident = 0;
        if !out.df {
            out.ident = self.counter.wrapping_add(offset);
            if kind == KIND_TRANSLATE && six {
                self.counter = self.counter.wrapping_add(1);
            }
        }
        let hop = self.tables.hops[hop_index];
        let mut frame_out = [hop.destination, hop.source].concat();
        for (i, vid) in hop.vlans.iter().flatten().enumerate() {
            frame_out.extend(if i == 0 && hop.qinq { [0x88, 0xa8] } else { [0x81, 0] });
            frame_out.extend(vid.to_be_bytes());
        }
        frame_out.extend(if six { [8, 0] } else { [0x86, 0xdd] });
        frame_out.extend(out.bytes());

        let l4 = arrived.l4();
        let port = rng.random();
        let phv = Phv {
            port,
            tags: (tags_in as u64).into(),
            vid0: rng.random_range(0..4096u64).into(),
            vid1: rng.random_range(0..4096u64).into(),
            six,
            protocol: (protocol as u64).into(),
            reply: reply && protocol == Protocol::Icmp,
            tos: u64::from(arrived.tos).into(),
            df: !six && arrived.df,
            hop: u64::from(arrived.hop).into(),
            l4_bytes: (l4.len() as u64).into(),
            need: need.into(),
            source: wide(arrived.source),
            destination: wide(arrived.destination),
            l4: Wide::from_frame(&l4),
            fate: fate.into(),
            reason: reason.into(),
            unit: rng.random_range(0..16u64).into(),
            unit_valid: rng.random(),
            set: (set_index as u64).into(),
            pref64: u64::from(record.pref64).into(),
            remote: u64::from(record.remote).into(),
        };
        let index = rng.random_range(0..1u64 << 17);
        let words = record.to_words();
        let found = Found {
            hit,
            index: index.into(),
            record: Wide::from_big(&num_bigint::BigUint::from_slice(&words)),
            ident: u64::from(offset).into(),
        };
        let expect = Expect {
            kind,
            reason: expected,
            frame_in,
            frame_out,
            phv,
            index,
            port: if kind == KIND_FORWARD { !port } else { hop.port == 1 },
        };
        (phv, found, expect)
    }
}

fn wide(x: u128) -> Wide<128> {
    let mut limbs = [0; LIMBS];
    limbs[0] = x as u64;
    limbs[1] = (x >> 64) as u64;
    Wide(limbs)
}

fn number<const N: usize>(x: Bits<N>) -> u64 {
    x.index() as u64
}

/// Whether the message is one whose checksum may be given both ways: an ICMPv4 header of zeros.
fn zero_header(frame: &[u8], six: bool, ip_at: usize) -> bool {
    let l4 = &frame[ip_at + 20..];
    six && frame[ip_at + 9] == 1 && l4[..2] == [0, 0] && l4[4..8] == [0; 4]
}

/// Compares; counts kinds (0 to 3), all-zero ICMP headers, and new checksums of 0 and 0xffff.
fn check(seed: u64, decision: &Decision, expect: &Expect, seen: &mut [u32; 7]) {
    let e = expect;
    assert_eq!(number(decision.kind), e.kind, "seed {seed}");
    assert_eq!(number(decision.need), number(e.phv.need), "seed {seed}");
    assert_eq!(decision.port_in, e.phv.port, "seed {seed}");
    assert_eq!(
        (decision.unit, decision.unit_valid),
        (e.phv.unit, e.phv.unit_valid),
        "seed {seed}"
    );
    seen[e.kind as usize] += 1;
    if e.kind == KIND_DROP || e.kind == KIND_PUNT {
        assert_eq!(number(decision.reason), e.reason, "seed {seed}");
        return;
    }
    assert_eq!(decision.port, e.port, "seed {seed}");
    if e.kind == KIND_FORWARD {
        return;
    }
    let header_bytes = number(decision.header_bytes) as usize;
    let mut frame = decision.header.to_frame(header_bytes);
    frame.extend(&e.frame_in[number(decision.skip) as usize..]);
    frame.truncate(number(decision.length) as usize);
    let tags_out = (0..2)
        .take_while(|i| frame[12 + 4 * i] == 0x81 || frame[12 + 4 * i] == 0x88)
        .count();
    let at = 14 + 4 * tags_out;
    if zero_header(&frame, e.phv.six, at) {
        seen[4] += 1;
        // checksums 0 and 0xffff are both right unless all is zero
        if e.frame_out[at + 28..].iter().any(|&b| b != 0) && frame[at + 22..at + 24] == [0xff, 0xff] {
            frame[at + 22..at + 24].copy_from_slice(&e.frame_out[at + 22..at + 24]);
        }
    }
    let check_at = at + if e.phv.six { 20 } else { 40 } + [16, 6, 2][number(e.phv.protocol) as usize - 1];
    match frame[check_at..check_at + 2] {
        [0, 0] => seen[5] += 1,
        [0xff, 0xff] => seen[6] += 1,
        _ => {}
    }
    assert_eq!(frame, e.frame_out, "seed {seed}");
    assert!(
        decision.header.to_frame(88)[header_bytes..].iter().all(|&b| b == 0),
        "seed {seed}"
    );
    assert_eq!(number(decision.index), e.index, "seed {seed}");
    assert_eq!(decision.direction, !e.phv.six, "seed {seed}");
    assert_eq!(decision.set, e.phv.set, "seed {seed}");
    let ip_in = number(e.phv.l4_bytes) + if e.phv.six { 40 } else { 20 };
    assert_eq!(number(decision.ip_bytes), ip_in, "seed {seed}");
}

fn run(seed: u64, packets: usize, replay: bool) -> [u32; 7] {
    let mut rng = StdRng::seed_from_u64(seed);
    let bench = Bench::new(Rewrite::default());
    let mut bench = if replay { bench } else { bench.without_record() };
    let tables = tables(&mut rng, &mut bench);
    let mut model = Model { tables, counter: 0 };
    let mut waiting: VecDeque<(u64, Expect)> = VecDeque::new();
    let mut seen = [0; 7];
    let mut sent = 0;
    while sent < packets || !waiting.is_empty() {
        let send = sent < packets && rng.random_range(0..4) != 0;
        bench.uut.valid.next = send;
        if send {
            let (phv, found, expect) = model.packet(&mut rng);
            bench.uut.phv.next = phv;
            bench.uut.found.next = found;
            waiting.push_back((bench.clocks + LATENCY as u64, expect));
            sent += 1;
        }
        bench.settle();
        let due = waiting.front().is_some_and(|w| w.0 == bench.clocks);
        assert_eq!(bench.uut.out_valid.val(), due, "seed {seed}");
        if due {
            let (_, expect) = waiting.pop_front().unwrap();
            check(seed, &bench.uut.decision.val(), &expect, &mut seen);
        }
        bench.edge();
    }
    if replay {
        bench.agrees_with_verilog("rewrite");
    }
    seen
}

#[test]
fn random_packets_are_translated_as_the_model_does() {
    let mut all = [0; 7];
    for seed in 0..8 {
        for (sum, n) in all.iter_mut().zip(run(seed, 1000, false)) {
            *sum += n;
        }
    }
    assert!(all.iter().all(|&n| n > 20), "a case was not met: {all:?}");
}

#[test]
fn verilog_agrees() {
    run(77, 200, true);
}

#[test]
fn punts_and_drops_are_told_apart_by_their_code() {
    for &reason in Reason::ALL {
        let code = reason as u64;
        if code < u64::from(nat64_layout::FIRST_HOST_REASON) {
            assert_eq!(
                code < FIRST_DROP,
                reason.kind() == nat64_layout::ReasonKind::Punt,
                "{}",
                reason.name()
            );
        }
    }
}

/// A packet at each clock while its next hop is written over and over, now with an entry, now with none: each is given the entry
/// that was there when it came, whole, and never what stood in one that is none.
#[test]
fn a_next_hop_that_is_written_is_seen_whole() {
    let mut rng = StdRng::seed_from_u64(78);
    let mut bench = Bench::new(Rewrite::default());
    let tables = tables(&mut rng, &mut bench);
    let mut model = Model { tables, counter: 0 };
    let (phv, found) = loop {
        let (phv, found, expect) = model.packet(&mut rng);
        if expect.kind == KIND_TRANSLATE {
            break (phv, found);
        }
    };
    let at = found.record.get_bits::<6>(if phv.six { 15 } else { 9 }).low() as u32;
    let address = tables::NEXT_HOP_BASE + at * tables::NEXT_HOP_STRIDE;
    // entries by the first clock whose packet sees them
    let mut entries: VecDeque<(u64, [u32; 4])> = VecDeque::new();
    let (mut words, mut pause) = (Vec::new(), 0);
    let (mut translated, mut none) = (0, 0);
    bench.uut.phv.next = phv;
    bench.uut.found.next = found;
    for clock in 0..2000u64 {
        bench.uut.valid.next = true;
        bench.uut.write.next = RegisterWrite::default();
        if words.is_empty() && pause == 0 {
            let hop = NextHop {
                destination: rng.random(),
                source: rng.random(),
                port: rng.random_range(0..2),
                vlans: [None, None],
                qinq: false,
            };
            let mut entry = hop.to_words();
            entry[3] &= !(u32::from(rng.random::<bool>()) << 31);
            words = entry.to_vec();
            // the last word reaches the table a clock late
            entries.push_back((clock + 4, entry));
            pause = rng.random_range(0..4);
        }
        if words.is_empty() {
            pause -= 1;
        } else {
            bench.uut.write.next = RegisterWrite {
                valid: true,
                address: u64::from(address + 16 - 4 * words.len() as u32).into(),
                data: u64::from(words.remove(0)).into(),
            };
        }
        bench.settle();
        if clock >= 20 {
            let came = clock - LATENCY as u64;
            while entries.get(1).is_some_and(|next| next.0 <= came) {
                entries.pop_front();
            }
            let (_, entry) = entries[0];
            let decision = bench.uut.decision.val();
            if entry[3] >> 31 != 0 {
                let macs: Vec<u8> = entry[..3].iter().flat_map(|word| word.to_be_bytes()).collect();
                assert_eq!(number(decision.kind), KIND_TRANSLATE, "clock {clock}");
                assert_eq!(decision.header.to_frame(12), macs, "clock {clock}");
                assert_eq!(decision.port, entry[3] & 1 != 0, "clock {clock}");
                translated += 1;
            } else {
                assert_eq!(number(decision.kind), KIND_PUNT, "clock {clock}");
                assert_eq!(number(decision.reason), Reason::NoNextHop as u64, "clock {clock}");
                none += 1;
            }
        }
        bench.edge();
    }
    assert!(translated > 500 && none > 500, "{translated} {none}");
}
