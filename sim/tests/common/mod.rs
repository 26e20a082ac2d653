//! What the tests of the program share: a configuration, packets, captures, the program itself.
#![allow(dead_code, reason = "each test program uses a part")]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::{Command, Output};

use etherparse::PacketBuilder;

/// The worked example: clients in 2001:db8::/96, servers behind 64:ff9b::/96, pool 203.0.113.0/24.
pub const SEED: &str = include_str!("../../../examples/seed.conf");

pub const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
/// A global address: RFC 6052 section 3.1 forbids others behind the well-known prefix.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);

/// The server as clients see it.
pub fn embedded(server: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = server.octets();
    Ipv6Addr::new(
        0x64,
        0xff9b,
        0,
        0,
        0,
        0,
        u16::from_be_bytes([a, b]),
        u16::from_be_bytes([c, d]),
    )
}

/// A UDP packet of a client, hop limit 64.
pub fn udp6(client: Ipv6Addr, port: u16, server: Ipv4Addr, to: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ipv6(client.octets(), embedded(server).octets(), 64).udp(port, to);
    builder.write(&mut bytes, payload).expect("a packet");
    bytes
}

/// A UDP packet of a server, TTL 60.
pub fn udp4(server: Ipv4Addr, port: u16, pool: Ipv4Addr, to: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ipv4(server.octets(), pool.octets(), 60).udp(port, to);
    builder.write(&mut bytes, payload).expect("a packet");
    bytes
}

/// One's complement sum of 16-bit words.
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes
        .chunks(2)
        .map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0)));
    let total: u32 = words.sum();
    let once = (total & 0xffff) + (total >> 16);
    (once & 0xffff) + (once >> 16)
}

/// Panics unless header and UDP checksum of this IPv4 packet are right.
pub fn check4(p: &[u8]) {
    assert_eq!(p[0], 0x45);
    assert_eq!(usize::from(p[2]) << 8 | usize::from(p[3]), p.len(), "total length");
    assert_eq!(sum(&p[..20]), 0xffff, "header checksum");
    let mut pseudo = p[12..20].to_vec();
    pseudo.extend([0, 17, ((p.len() - 20) >> 8) as u8, (p.len() - 20) as u8]);
    pseudo.extend(&p[20..]);
    assert_eq!(sum(&pseudo), 0xffff, "UDP checksum");
}

/// Panics unless the UDP checksum of this IPv6 packet is right.
pub fn check6(p: &[u8]) {
    assert_eq!(p[0] >> 4, 6);
    assert_eq!(
        usize::from(p[4]) << 8 | usize::from(p[5]),
        p.len() - 40,
        "payload length"
    );
    let mut pseudo = p[8..40].to_vec();
    pseudo.extend([0, 17, ((p.len() - 40) >> 8) as u8, (p.len() - 40) as u8]);
    pseudo.extend(&p[40..]);
    assert_eq!(sum(&pseudo), 0xffff, "UDP checksum");
}

/// A pcap of raw IP packets with nanosecond stamps.
pub fn pcap(packets: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for v in [0xa1b2_3c4du32, 0x0004_0002, 0, 0, 65535, 101] {
        out.extend(v.to_le_bytes());
    }
    for (t, bytes) in packets {
        let n = bytes.len() as u32;
        for v in [(t / 1_000_000_000) as u32, (t % 1_000_000_000) as u32, n, n] {
            out.extend(v.to_le_bytes());
        }
        out.extend(bytes);
    }
    out
}

/// The packets of a pcapng file of ours: stamp, bytes.
pub fn packets(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let mut capture = nat64_sim::pcap::Capture::open(path).expect("a capture");
    let mut packets = Vec::new();
    while let Some(packet) = capture.next_packet().expect("whole") {
        packets.push((packet.time_ns, packet.bytes));
    }
    packets
}

/// The program.
pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_nat64-sim"))
}

/// Runs the program in a directory.
pub fn run(dir: &Path, args: &[&str]) -> Output {
    program()
        .current_dir(dir)
        .args(args)
        .output()
        .expect("the program starts")
}

/// What a program wrote to standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Names of the files in a directory.
pub fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries
        .map(|e| e.expect("readable").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
