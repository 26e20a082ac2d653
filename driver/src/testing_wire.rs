//! For tests only: frames of the worked example, as the client, the server and the router send them.

use std::net::{Ipv4Addr, Ipv6Addr};

use nat64_layout::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use nat64_xlate::checksum;

use crate::link::{self, Mac};
use crate::testing::MACS;

pub const ROUTER_MAC: Mac = [2, 0, 0, 0, 0, 0xe1];
pub const CLIENT_MAC: Mac = [2, 0, 0, 0, 0, 0xc1];
pub fn v4(text: &str) -> Ipv4Addr {
    text.parse().expect("IPv4")
}

pub fn v6(text: &str) -> Ipv6Addr {
    text.parse().expect("IPv6")
}

/// A UDP packet with a good checksum.
pub fn udp6(from: (&str, u16), to: (&str, u16)) -> Vec<u8> {
    let mut p = vec![0; 56];
    p[0] = 0x60;
    (p[5], p[6], p[7]) = (16, 17, 64);
    p[8..24].copy_from_slice(&v6(from.0).octets());
    p[24..40].copy_from_slice(&v6(to.0).octets());
    p[40..42].copy_from_slice(&from.1.to_be_bytes());
    p[42..44].copy_from_slice(&to.1.to_be_bytes());
    p[45] = 16;
    p[48..].copy_from_slice(b"payload!");
    let sum = checksum::finish(checksum::pseudo6(v6(from.0), v6(to.0), 16, 17) + checksum::sum(&p[40..]));
    p[46..48].copy_from_slice(&sum.to_be_bytes());
    p
}

pub fn udp4(from: (&str, u16), to: (&str, u16)) -> Vec<u8> {
    let mut p = vec![0; 36];
    p[0] = 0x45;
    (p[3], p[8], p[9]) = (36, 64, 17);
    p[12..16].copy_from_slice(&v4(from.0).octets());
    p[16..20].copy_from_slice(&v4(to.0).octets());
    let sum = checksum::finish(checksum::sum(&p[..20]));
    p[10..12].copy_from_slice(&sum.to_be_bytes());
    p[20..22].copy_from_slice(&from.1.to_be_bytes());
    p[22..24].copy_from_slice(&to.1.to_be_bytes());
    p[25] = 16;
    p[28..].copy_from_slice(b"answer!!");
    let sum = checksum::finish(checksum::pseudo4(v4(from.0), v4(to.0), 16, 17) + checksum::sum(&p[20..]));
    p[26..28].copy_from_slice(&sum.to_be_bytes());
    p
}

/// A TCP segment without data, with a good checksum, inside IPv6 (client to server) or IPv4 (server to pool).
pub fn tcp(six: bool, pool_port: u16, flags: u8, sequence: u32, acknowledged: u32) -> Vec<u8> {
    let mut t = vec![0; 20];
    let ports = if six { [4000, 80] } else { [80, pool_port] };
    t[..2].copy_from_slice(&ports[0].to_be_bytes());
    t[2..4].copy_from_slice(&ports[1].to_be_bytes());
    t[4..8].copy_from_slice(&sequence.to_be_bytes());
    t[8..12].copy_from_slice(&acknowledged.to_be_bytes());
    (t[12], t[13], t[14]) = (0x50, flags, 0xff);
    let (client, server) = (v6("2001:db8::c"), v6("64:ff9b::198.51.100.7"));
    let (from, to) = (v4("198.51.100.7"), v4("203.0.113.1"));
    let pseudo = if six {
        checksum::pseudo6(client, server, 20, 6)
    } else {
        checksum::pseudo4(from, to, 20, 6)
    };
    let sum = checksum::finish(pseudo + checksum::sum(&t));
    t[16..18].copy_from_slice(&sum.to_be_bytes());
    if six {
        let mut p = udp6(("2001:db8::c", 0), ("64:ff9b::198.51.100.7", 0))[..40].to_vec();
        (p[5], p[6]) = (20, 6);
        p.extend_from_slice(&t);
        link::build(MACS[0], CLIENT_MAC, [None; 2], ETHERTYPE_IPV6, &p)
    } else {
        let mut p = udp4(("198.51.100.7", 0), ("203.0.113.1", 0))[..20].to_vec();
        (p[3], p[9], p[10], p[11]) = (40, 6, 0, 0);
        let sum = checksum::finish(checksum::sum(&p));
        p[10..12].copy_from_slice(&sum.to_be_bytes());
        p.extend_from_slice(&t);
        link::build(MACS[1], ROUTER_MAC, [None; 2], ETHERTYPE_IPV4, &p)
    }
}

/// From the client, `n` picks its source port.
pub fn request(n: u16) -> Vec<u8> {
    let packet = udp6(("2001:db8::c", 4000 + n), ("64:ff9b::198.51.100.7", 53));
    link::build(MACS[0], CLIENT_MAC, [None; 2], ETHERTYPE_IPV6, &packet)
}

/// From the server to pool port 1024 + `n`.
pub fn reply(n: u16) -> Vec<u8> {
    let packet = udp4(("198.51.100.7", 53), ("203.0.113.1", 1024 + n));
    link::build(MACS[1], ROUTER_MAC, [None; 2], ETHERTYPE_IPV4, &packet)
}

pub fn arp(operation: u8, sender: (Mac, &str), target: (Mac, &str), to: Mac) -> Vec<u8> {
    let mut m = vec![0, 1, 8, 0, 6, 4, 0, operation];
    m.extend_from_slice(&sender.0);
    m.extend_from_slice(&v4(sender.1).octets());
    m.extend_from_slice(&target.0);
    m.extend_from_slice(&v4(target.1).octets());
    link::build(to, sender.0, [None; 2], ETHERTYPE_ARP, &m)
}

pub fn router_answers() -> Vec<u8> {
    arp(2, (ROUTER_MAC, "192.0.2.254"), (MACS[1], "192.0.2.1"), MACS[1])
}
