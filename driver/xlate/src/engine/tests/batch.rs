//! The short way and the batch against the long way: three translators with the same seed get the same packets, and must
//! not differ in anything anybody can see.

use super::walk::{damage, packet_from_inside, packet_from_outside, packet_of_session, random_config};
use super::*;
use crate::engine::plain::Plain;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// A random configuration with what plain packets ask for varied, too.
fn config_of(rng: &mut StdRng) -> Config {
    let mut config = random_config(rng);
    for unit in &mut config.units {
        unit.mtu = *[1500, 1500, 1300, 60].choose(rng).unwrap();
    }
    let set = &mut config.service_sets[0];
    set.df = *[DfPolicy::Rfc7915, DfPolicy::JunosClear, DfPolicy::AlwaysSet]
        .choose(rng)
        .unwrap();
    set.no_v6_frag_header = rng.random();
    set.tos_override = rng.random_bool(0.3).then_some(0xb8);
    set.udp_zero_checksum = *[UdpZeroChecksum::Calculate, UdpZeroChecksum::Drop].choose(rng).unwrap();
    set.well_known_prefix = *[
        WellKnownPrefix::Documentation,
        WellKnownPrefix::Strict,
        WellKnownPrefix::Any,
    ]
    .choose(rng)
    .unwrap();
    if rng.random() {
        // One prefix, the usual case, and now and then the well-known one.
        let pref64 = v6([PREFIX, "64:ff9b::"].choose(rng).unwrap());
        for term in &mut set.terms {
            if let Action::Translate(translate) = &mut term.then {
                translate.pref64 = pref64;
            }
        }
    }
    config
}

/// A packet to or from a server anywhere, of any size.
fn packet_of_anybody(rng: &mut StdRng) -> Vec<u8> {
    let first: u8 = *[1, 8, 10, 127, 192, 198, 203, 224].choose(rng).unwrap();
    let server = Ipv4Addr::new(first, *[0, 51, 168].choose(rng).unwrap(), 2, rng.random_range(0..4));
    let prefix = *[PREFIX, "64:ff9b::"].choose(rng).unwrap();
    let client = *[
        A,
        B,
        "::1",
        "fe80::1",
        "ff02::1",
        "fc00::1",
        "::ffff:1.2.3.4",
        "2001:db8:64::9",
    ]
    .choose(rng)
    .unwrap();
    let mut packet = udp6(
        (client, rng.random_range(5..9)),
        (embed_in(prefix, &server.to_string()), 53),
    );
    resize(rng, &mut packet);
    packet
}

/// Changes the length of a UDP packet, its class and its checksum; most packets stay as they are.
fn resize(rng: &mut StdRng, packet: &mut Vec<u8>) {
    let (header, protocol) = match packet.first().map(|byte| byte >> 4) {
        Some(6) if packet.len() >= 48 => (40, packet[6]),
        Some(4) if packet.len() >= 28 => (20, packet[9]),
        _ => return,
    };
    if protocol != proto::UDP || rng.random_bool(0.6) {
        return;
    }
    let payload: u16 = *[8, 9, 20, 41, 1232, 1240, 1241, 1252, 1272, 1480].choose(rng).unwrap();
    packet.resize(header + usize::from(payload), 0x5a);
    packet[header + 4..header + 6].copy_from_slice(&payload.to_be_bytes());
    if rng.random_bool(0.1) {
        packet[header + 6..header + 8].fill(0);
    }
    if header == 40 {
        packet[4..6].copy_from_slice(&payload.to_be_bytes());
        packet[1] ^= 0x50;
    } else {
        packet[2..4].copy_from_slice(&(payload + 20).to_be_bytes());
        packet[1] = 0x2a;
        packet[6] = *[0, 0x40].choose(rng).unwrap();
        packet[10..12].fill(0);
        let sum = checksum::finish(checksum::sum(&packet[..20]));
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    if rng.random_bool(0.1) {
        // Padding of a short frame.
        packet.extend_from_slice(&[0; 6]);
    }
}

fn listing(nat: &Nat64) -> (Vec<SessionInfo>, Vec<BibInfo>, Stats, Option<Time>) {
    (
        nat.sessions().collect(),
        nat.bibs().collect(),
        nat.stats(),
        nat.next_deadline(),
    )
}

/// The effects of a packet with the bytes they are about.
fn told<'a>(effects: &Effects, list: impl IntoIterator<Item = &'a Effect>, packet: &[u8]) -> Vec<(Effect, Vec<u8>)> {
    list.into_iter()
        .map(|effect| match effect {
            Effect::Send {
                unit,
                bytes,
                rest,
                translated,
            } => (
                Effect::Send {
                    unit: *unit,
                    bytes: 0..0,
                    rest: 0..0,
                    translated: *translated,
                },
                [effects.bytes(bytes), &packet[rest.clone()]].concat(),
            ),
            other => (other.clone(), Vec::new()),
        })
        .collect()
}

/// Packets carried the short way, by direction, and packets in all.
fn compare(seed: u64, turns: usize) -> ([usize; 2], usize) {
    let mut rng = StdRng::seed_from_u64(seed);
    let config = config_of(&mut rng);
    let mut long = Lab::new(config.clone());
    let mut short = Lab::new(config.clone());
    let mut batch = Lab::new(config);
    if seed % 2 == 1 {
        (short.effects, batch.effects) = (Effects::scattered(), Effects::scattered());
    }
    let mut recent = Vec::new();
    let (mut carried, mut all) = ([0; 2], 0);
    for turn in 0..turns {
        let jump = *[SECOND / 100, SECOND, 70 * SECOND, 400 * SECOND]
            .choose(&mut rng)
            .unwrap();
        let time = rng.random_range(0..jump);
        for lab in [&mut long, &mut short, &mut batch] {
            lab.pass(time);
        }
        if turn % 20 == 19 {
            let config = config_of(&mut rng);
            for lab in [&mut long, &mut short, &mut batch] {
                lab.effects.clear();
                lab.nat.reconfigure(lab.now, config.clone(), &mut lab.effects).unwrap();
            }
        }
        let sessions: Vec<SessionInfo> = long.nat.sessions().collect();
        let packets: Vec<(usize, Vec<u8>)> = (0..rng.random_range(0..80))
            .map(|_| {
                let (unit, mut packet) = match (rng.random_range(0..10), sessions.choose(&mut rng)) {
                    (0..=5, Some(session)) => {
                        let inside = rng.random();
                        let unit = if inside { session.flow.unit } else { OUTSIDE };
                        (unit, packet_of_session(&mut rng, &session.flow, inside))
                    }
                    (6, _) => (INSIDE, packet_of_anybody(&mut rng)),
                    (7, _) => (OUTSIDE, packet_from_outside(&mut rng, &long, &recent)),
                    _ => (
                        *[INSIDE, 2].choose(&mut rng).unwrap(),
                        packet_from_inside(&mut rng, &recent),
                    ),
                };
                resize(&mut rng, &mut packet);
                damage(&mut rng, &mut packet);
                (unit, packet)
            })
            .collect();
        let now = long.now;
        let mut by_packet = Vec::new();
        for (unit, packet) in &packets {
            long.effects.clear();
            long.nat.step_in_full(now, *unit, packet, &mut long.effects);
            let want = told(&long.effects, long.effects.iter(), &[]);
            recent.extend(
                want.iter()
                    .filter(|(_, bytes)| !bytes.is_empty())
                    .map(|(_, bytes)| bytes.clone()),
            );

            let mut plain = Plain::Other;
            short.nat.read(*unit, packet, &mut plain);
            short.effects.clear();
            // Any hint must do, a wrong one as well.
            let hint = if rng.random() {
                short.nat.hint(&plain)
            } else {
                rng.random_range(0..9)
            };
            if short.nat.carry(now, &plain, hint, packet, &mut short.effects) {
                carried[usize::from(packet[0] >> 4 == 4)] += 1;
            } else {
                assert!(short.effects.is_empty(), "seed {seed}");
                short.nat.step_in_full(now, *unit, packet, &mut short.effects);
            }
            let got = told(&short.effects, short.effects.iter(), packet);
            assert_eq!(got, want, "seed {seed}: {packet:02x?}");
            by_packet.push(want);
        }
        batch.effects.clear();
        let given = packets.iter().map(|(unit, packet)| (*unit, &packet[..]));
        batch.nat.step_batch(now, given, &mut batch.effects);
        let given = packets.iter().zip(batch.effects.packets());
        let got: Vec<_> = given
            .map(|((_, packet), list)| told(&batch.effects, list, packet))
            .collect();
        assert_eq!(got, by_packet, "seed {seed}");
        assert_eq!(
            batch.effects.iter().len(),
            by_packet.concat().len(),
            "seed {seed}: every effect belongs to a packet"
        );
        let want = listing(&long.nat);
        assert_eq!(listing(&short.nat), want, "seed {seed}");
        assert_eq!(listing(&batch.nat), want, "seed {seed}");
        all += packets.len();
        let old = recent.len().saturating_sub(20);
        recent.drain(..old);
    }
    (carried, all)
}

#[test]
fn the_short_way_and_the_batch_are_the_long_way() {
    let (mut carried, mut all) = ([0; 2], 0);
    for seed in 0..150 {
        let (short, packets) = compare(seed, 50);
        carried[0] += short[0];
        carried[1] += short[1];
        all += packets;
    }
    println!("{carried:?} of {all} packets went the short way");
    assert!(carried[0] > 10_000 && carried[1] > 10_000, "{carried:?} of {all}");
}
