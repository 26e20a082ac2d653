//! The books hold, whatever comes.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::link;
use crate::neigh;
use crate::testing::{gateway_config, MACS};
use crate::testing_wire::*;
use nat64_layout::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};

const SECOND: Time = 1_000_000_000;

fn frame(rng: &mut StdRng, n: u16) -> (usize, Vec<u8>) {
    let server = *["198.51.100.7", "192.0.2.77", "192.0.2.78"].choose(rng).expect("three");
    let client = *["2001:db8::c", "2001:db8::d", "2001:db9::c"]
        .choose(rng)
        .expect("three");
    match rng.random_range(0..12) {
        0..=3 => {
            let to = format!("64:ff9b::{server}");
            let packet = udp6((client, 4000 + n), (&to, 53));
            (0, link::build(MACS[0], CLIENT_MAC, [None; 2], ETHERTYPE_IPV6, &packet))
        }
        4..=6 => {
            let packet = udp4((server, 53), ("203.0.113.1", 1024 + n));
            (1, link::build(MACS[1], ROUTER_MAC, [None; 2], ETHERTYPE_IPV4, &packet))
        }
        7 => (1, router_answers()),
        8 => (
            1,
            arp(1, (ROUTER_MAC, "192.0.2.254"), ([0; 6], "203.0.113.9"), [0xff; 6]),
        ),
        9 => (
            1,
            arp(1, (ROUTER_MAC, "192.0.2.254"), ([0; 6], "192.0.2.99"), [0xff; 6]),
        ),
        10 => {
            let (port, mut frame) = (0, request(n));
            let at = rng.random_range(0..frame.len());
            frame[at] ^= 1 << rng.random_range(0..8);
            (port, frame)
        }
        _ => (rng.random_range(0..4), vec![0; rng.random_range(0..80)]),
    }
}

#[test]
fn every_frame_is_accounted_for_at_every_moment() {
    let mut seen = Books::default();
    for seed in 0..40 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut gateway = Gateway::new(gateway_config(), None, seed).expect("valid");
        let (mut now, mut sent, mut received) = (SECOND, 0, 0);
        for step in 0..400 {
            if rng.random_bool(0.05) {
                now += rng.random_range(0..2 * SECOND);
                gateway.advance(now).expect("works");
            }
            let n = rng.random_range(0..6);
            let (port, frame) = frame(&mut rng, n);
            gateway.frame(now, port, &frame).expect("works");
            received += 1;
            sent += gateway.take_output().len() as u64;
            let books = gateway.books().expect("no card");
            assert_eq!(books.difference(), 0, "seed {seed}, step {step}: {books}");
            assert_eq!(
                (books.received, books.sent),
                (received, sent),
                "seed {seed}, step {step}"
            );
        }
        seen.add(&gateway.books().expect("no card"));
        // A new configuration forgets neighbours, and what waits for them.
        let mut config = gateway_config();
        config.units[1].gateway4 = None;
        gateway.reconfigure(now, config).expect("valid");
        sent += gateway.take_output().len() as u64;
        let end = now + 100 * neigh::LIFETIME;
        while let Some(deadline) = gateway.next_deadline().filter(|&deadline| deadline < end) {
            gateway.advance(deadline).expect("works");
            sent += gateway.take_output().len() as u64;
        }
        let books = gateway.books().expect("no card");
        assert_eq!(books.difference(), 0, "seed {seed}: {books}");
        assert_eq!(books.sent, sent, "seed {seed}");
        assert_eq!(
            (books.held, books.waiting, gateway.translator().session_count()),
            (0, 0, 0)
        );
        assert_eq!(gateway.stats().neighbours, 0, "seed {seed}");
    }
    assert!(
        seen.waiting > 0 && seen.consumed > 0 && seen.originated > 0 && seen.dropped > 0,
        "{seen}"
    );
}
