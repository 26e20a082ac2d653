//! What the translator allocates: nothing for a packet of a session it knows, and little for a session.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::PacketBuilder;
use nat64_xlate::effect::Effect;
use nat64_xlate::{Effects, Nat64, Time};
use setup::config;

#[path = "../benches/setup/mod.rs"]
mod setup;

const SECOND: Time = 1_000_000_000;

/// A UDP packet of session `n`; a hundred sessions to a client.
fn six(n: usize, payload: usize) -> Vec<u8> {
    let mut src = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0).octets();
    src[12..].copy_from_slice(&(n as u32 / 100).to_be_bytes());
    let mut dst = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0).octets();
    dst[12..].copy_from_slice(&(u32::from(Ipv4Addr::new(9, 0, 0, 0)) + n as u32 % 50_000).to_be_bytes());
    let mut out = Vec::new();
    let builder = PacketBuilder::ipv6(src, dst, 64).udp(5000 + n as u16 % 100, 443);
    builder.write(&mut out, &vec![7; payload]).unwrap();
    out
}

fn answer(sent: &[u8], payload: usize) -> Vec<u8> {
    let address = |at: usize| <[u8; 4]>::try_from(&sent[at..at + 4]).unwrap();
    let port = |at: usize| u16::from_be_bytes([sent[at], sent[at + 1]]);
    let mut out = Vec::new();
    let builder = PacketBuilder::ipv4(address(16), address(12), 64).udp(port(22), port(20));
    builder.write(&mut out, &vec![7; payload]).unwrap();
    out
}

#[test]
fn a_packet_of_a_session_allocates_nothing() {
    let mut nat = Nat64::new(config(), 1).unwrap();
    let mut effects = Effects::new();
    let mut packets = Vec::new();
    for n in 0..64 {
        effects.clear();
        nat.step(1000 * SECOND, 0, &six(n, 1200), &mut effects);
        let Some(Effect::Send { bytes, .. }) = effects.iter().find(|effect| matches!(effect, Effect::Send { .. }))
        else {
            panic!("it was not sent: {effects:?}");
        };
        let sent = effects.bytes(bytes).to_vec();
        for payload in [16, 1200] {
            packets.push((0, six(n, payload)));
            packets.push((1, answer(&sent, payload)));
        }
    }
    let mut run = |rounds: usize| {
        for _ in 0..rounds {
            for (unit, packet) in &packets {
                effects.clear();
                nat.step(1001 * SECOND, *unit, packet, &mut effects);
                assert!(effects.iter().all(|effect| matches!(
                    effect,
                    Effect::Send {
                        translated: Some(_),
                        ..
                    }
                )));
            }
        }
    };
    // The arena has grown to its size.
    run(1);
    let info = allocation_counter::measure(|| run(10));
    assert_eq!(info.count_total, 0, "{info:?}");
    // The counter counts.
    assert!(allocation_counter::measure(|| drop(std::hint::black_box(vec![1; 10]))).count_total > 0);
}

/// 2^16 sessions, each with a binding of its own, fill vectors and tables as 2^20 do.
#[test]
fn a_session_takes_few_bytes() {
    const SESSIONS: usize = 1 << 16;
    let packets: Vec<Vec<u8>> = (0..SESSIONS).map(|n| six(n, 16)).collect();
    let mut kept = None;
    let info = allocation_counter::measure(|| {
        let mut nat = Nat64::new(config(), 1).unwrap();
        let mut effects = Effects::new();
        for packet in &packets {
            effects.clear();
            nat.step(1000 * SECOND, 0, packet, &mut effects);
        }
        kept = Some(nat);
    });
    let nat = kept.unwrap();
    assert_eq!((nat.session_count(), nat.bib_count()), (SESSIONS, SESSIONS));
    let each = info.bytes_current as f64 / SESSIONS as f64;
    println!("{each:.1} bytes for a session and its binding");
    assert!(each <= 200.0, "{each:.1} bytes for a session and its binding");
}
