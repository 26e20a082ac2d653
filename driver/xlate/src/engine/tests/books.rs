//! The books: every packet that came in, or was made here, went out, ended for a reason, went on within another, or is held.

use super::walk::{damage, packet_from_inside, packet_from_outside, packet_of_session, random_config};
use super::*;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// An IP packet in pieces of `size` bytes (a multiple of 8), in whichever order.
fn pieces(rng: &mut StdRng, packet: &[u8], size: usize) -> Vec<Vec<u8>> {
    let six = packet[0] >> 4 == 6;
    let header = if six { 40 } else { 20 };
    let (head, payload) = packet.split_at(header);
    let id: u16 = rng.random();
    let count = payload.chunks(size).len();
    let mut all: Vec<Vec<u8>> = (payload.chunks(size).enumerate())
        .map(|(at, chunk)| {
            let (offset, more) = ((at * size) as u16, at + 1 < count);
            let mut piece = head.to_vec();
            if six {
                piece[4..6].copy_from_slice(&(8 + chunk.len() as u16).to_be_bytes());
                piece[6] = proto::FRAGMENT;
                piece.extend([head[6], 0]);
                piece.extend((offset | u16::from(more)).to_be_bytes());
                piece.extend(u32::from(id).to_be_bytes());
            } else {
                piece[2..4].copy_from_slice(&(20 + chunk.len() as u16).to_be_bytes());
                piece[4..6].copy_from_slice(&id.to_be_bytes());
                piece[6..8].copy_from_slice(&((u16::from(more) << 13) + offset / 8).to_be_bytes());
                piece[10..12].fill(0);
                let sum = checksum::finish(checksum::sum(&piece));
                piece[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            piece.extend_from_slice(chunk);
            piece
        })
        .collect();
    // Now and then one twice, one missing, any order.
    if rng.random_bool(0.2) {
        all.push(all[rng.random_range(0..all.len())].clone());
    }
    if rng.random_bool(0.2) {
        all.remove(rng.random_range(0..all.len()));
    }
    for at in (1..all.len()).rev() {
        all.swap(at, rng.random_range(0..=at));
    }
    // Or one that overlaps another.
    if rng.random_bool(0.15) {
        if let Some(piece) = all.last().cloned() {
            all.push(piece[..piece.len() - 1].to_vec());
            let last = all.len() - 1;
            let length = all[last].len() - header;
            if six {
                all[last][4..6].copy_from_slice(&(length as u16).to_be_bytes());
            }
        }
    }
    all
}

/// A longer packet of the same addresses and ports: an echo or a datagram, with or without a checksum.
fn long(rng: &mut StdRng, packet: &[u8]) -> Vec<u8> {
    let payload = vec![7; rng.random_range(100..3000)];
    let mut out = Vec::new();
    let port = rng.random_range(5..9);
    match packet[0] >> 4 {
        6 => {
            let packet = Packet6::parse(packet).expect("whole");
            let builder = PacketBuilder::ipv6(packet.src.octets(), packet.dst.octets(), 64);
            if rng.random() {
                builder.udp(port, 53).write(&mut out, &payload)
            } else {
                builder.icmpv6_echo_request(port, 1).write(&mut out, &payload)
            }
        }
        _ => {
            let packet = Packet4::parse(packet).expect("whole");
            let builder = PacketBuilder::ipv4(packet.src.octets(), packet.dst.octets(), 64);
            if rng.random() {
                builder.udp(53, 1021).write(&mut out, &payload)
            } else {
                builder.icmpv4_echo_reply(1021, 1).write(&mut out, &payload)
            }
        }
    }
    .expect("a Vec takes every byte");
    if rng.random_bool(0.3) && packet[0] >> 4 == 4 && out[9] == proto::UDP {
        out[26..28].fill(0);
    }
    out
}

/// What left and what ended, over all calls.
#[derive(Default)]
struct Totals {
    received: u64,
    sent: u64,
    dropped: u64,
}

impl Totals {
    fn add(&mut self, effects: &Effects) {
        for effect in effects.iter() {
            match effect {
                Effect::Send { .. } => self.sent += 1,
                Effect::Drop(_) => self.dropped += 1,
                _ => {}
            }
        }
    }

    fn check(&self, lab: &Lab, seed: u64, step: usize) {
        let stats = lab.nat.stats();
        assert_eq!(
            self.received + stats.originated() + stats.split,
            self.sent + self.dropped + stats.merged() + stats.holding,
            "seed {seed}, step {step}: {} received, {} sent, {} dropped, {stats:?}",
            self.received,
            self.sent,
            self.dropped
        );
        assert_eq!(
            self.dropped,
            stats.reasons.iter().sum::<u64>(),
            "seed {seed}, step {step}: what is told is what is counted"
        );
    }
}

fn walk(seed: u64) -> Stats {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut lab = Lab::new(random_config(&mut rng));
    let mut totals = Totals::default();
    let mut recent: Vec<Vec<u8>> = Vec::new();
    for step in 0..400 {
        let flows: Vec<Flow> = lab.nat.sessions().map(|session| session.flow).collect();
        let inside = rng.random_bool(0.6);
        let mut packet = match flows.choose(&mut rng) {
            Some(flow) if rng.random() => packet_of_session(&mut rng, flow, inside),
            _ if inside => packet_from_inside(&mut rng, &recent),
            _ => packet_from_outside(&mut rng, &lab, &recent),
        };
        let unit = if packet[0] >> 4 == 6 { INSIDE } else { OUTSIDE };
        let mut list = Vec::new();
        if rng.random_bool(0.3) {
            let whole = long(&mut rng, &packet);
            let size = 8 * rng.random_range(8..100);
            list.extend(pieces(&mut rng, &whole, size));
        } else if rng.random_bool(0.1) {
            list.push(long(&mut rng, &packet));
        } else {
            damage(&mut rng, &mut packet);
            list.push(packet);
        }
        for packet in list {
            lab.step(unit, &packet);
            totals.received += 1;
            totals.add(&lab.effects);
            let sent = lab.effects.iter().filter_map(|effect| match effect {
                Effect::Send { unit, bytes, .. } => Some((*unit, lab.effects.bytes(bytes).to_vec())),
                _ => None,
            });
            let sent: Vec<(usize, Vec<u8>)> = sent.collect();
            totals.check(&lab, seed, step);
            // The next hop of some does not answer.
            if let Some((unit, packet)) = sent.first().filter(|_| rng.random_bool(0.1)) {
                lab.effects.clear();
                lab.nat.undeliverable(lab.now, *unit, packet, &mut lab.effects);
                totals.add(&lab.effects);
                totals.check(&lab, seed, step);
            }
            recent.extend(sent.into_iter().map(|(_, packet)| packet).filter(|p| p.len() < 200));
            recent.drain(..recent.len().saturating_sub(20));
        }
        match rng.random_range(0..40) {
            0 => {
                lab.pass(rng.random_range(0..20) * SECOND);
                totals.add(&lab.effects);
            }
            1 if step % 10 == 0 => {
                lab.effects.clear();
                let config = random_config(&mut rng);
                lab.nat
                    .reconfigure(lab.now, config, &mut lab.effects)
                    .expect("it is allowed");
                totals.add(&lab.effects);
            }
            _ => {}
        }
        totals.check(&lab, seed, step);
    }
    lab.pass(100_000 * SECOND);
    totals.add(&lab.effects);
    totals.check(&lab, seed, usize::MAX);
    let stats = lab.nat.stats();
    assert_eq!(stats.holding, 0, "seed {seed}");
    assert_eq!((lab.nat.fragmented_packets(), lab.nat.stored_syns()), (0, 0));
    stats
}

#[test]
fn nothing_is_lost_and_nothing_is_made_up() {
    let mut seen = [0; 7];
    for seed in 0..60 {
        let stats = walk(seed);
        let kinds = [
            stats.answers,
            stats.probes,
            stats.split,
            stats.joined,
            stats.stored_syns_met,
            stats.count(Reason::FragmentOverlap),
            stats.count(Reason::FragmentTimeout),
        ];
        seen.iter_mut().zip(kinds).for_each(|(sum, count)| *sum += count);
    }
    assert!(seen.iter().all(|&sum| sum > 2), "the walk meets everything: {seen:?}");
}

#[test]
fn held_fragments_of_a_packet_that_is_refused_are_counted() {
    let mut lab = Lab::new(base());
    lab.udp((A, 5), (SERVER, 53));
    let mut rng = StdRng::seed_from_u64(1);
    let mut whole = Vec::new();
    let builder = PacketBuilder::ipv6(v6(A).octets(), embed(SERVER).octets(), 64).icmpv6_echo_request(5, 1);
    builder.write(&mut whole, &[1; 400]).unwrap();
    let mut list = loop {
        let list = pieces(&mut rng, &whole, 104);
        if list.len() == 4 {
            break list;
        }
    };
    list.sort_by_key(|piece| u16::from_be_bytes([piece[42], piece[43]]) & !1);
    for piece in &list[..3] {
        lab.step(INSIDE, piece).held();
    }
    // The third again, a byte shorter.
    let mut overlap = list[2][..list[2].len() - 8].to_vec();
    overlap[4..6].copy_from_slice(&(96u16 + 8).to_be_bytes());
    lab.step(INSIDE, &overlap);
    assert_eq!(
        lab.drops(),
        [Reason::FragmentOverlap; 4],
        "it, and the three that waited"
    );
    assert_eq!(lab.nat.stats().holding, 0);
}
