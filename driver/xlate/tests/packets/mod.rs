//! Seeded random packets of random sessions, and what etherparse says of any packet.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use nat64_xlate::translate::{Options4, Options6, To4, To6};
use rand::rngs::StdRng;
use rand::Rng;

pub const SEED: u64 = 0x6146_7915;

pub const OPTIONS4: Options4 = Options4 {
    df_clear_max: 1260,
    tos_override: None,
    ident: 0x4321,
    mtu4: 1500,
    mtu6: 1500,
    mss: None,
};
pub const OPTIONS6: Options6 = Options6 {
    tos_override: None,
    lowest_mtu: 1280,
    mtu6: 1500,
    mtu4: 1500,
    mss: None,
    keep_whole: false,
};

/// One session: how its packets look on either side.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    pub client: Ipv6Addr,
    pub server6: Ipv6Addr,
    pub pool: Ipv4Addr,
    pub server4: Ipv4Addr,
    pub client_port: u16,
    pub pool_port: u16,
    pub server_port: u16,
}

impl Session {
    pub fn random(rng: &mut StdRng) -> Self {
        Self {
            client: Ipv6Addr::from(rng.random::<u128>()),
            server6: Ipv6Addr::from(rng.random::<u128>()),
            pool: Ipv4Addr::from(rng.random::<u32>()),
            server4: Ipv4Addr::from(rng.random::<u32>()),
            client_port: rng.random(),
            pool_port: rng.random(),
            server_port: rng.random(),
        }
    }

    /// Client to server.
    pub fn up(&self) -> To4 {
        To4 {
            src: self.pool,
            dst: self.server4,
            src_port: self.pool_port,
            dst_port: self.server_port,
        }
    }

    /// The reverse of [`Session::up`], which is no direction packets take.
    pub fn up_back(&self, echo: bool) -> To6 {
        let dst_port = if echo { self.client_port } else { self.server_port };
        To6 {
            src: self.client,
            dst: self.server6,
            src_port: self.client_port,
            dst_port,
        }
    }

    /// Server to client.
    pub fn down(&self) -> To6 {
        To6 {
            src: self.server6,
            dst: self.client,
            src_port: self.server_port,
            dst_port: self.client_port,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Tcp,
    Udp,
    Echo,
}

pub const KINDS: [Kind; 3] = [Kind::Tcp, Kind::Udp, Kind::Echo];

/// Data that brings out the corners of one's complement now and then.
pub fn data(rng: &mut StdRng, longest: usize) -> Vec<u8> {
    let length = rng.random_range(0..=longest);
    match rng.random_range(0..4) {
        0 => vec![0; length],
        1 => vec![0xff; length],
        _ => (0..length).map(|_| rng.random()).collect(),
    }
}

pub fn packet6(rng: &mut StdRng, session: &Session, kind: Kind, longest: usize) -> Vec<u8> {
    let data = data(rng, longest);
    let ip = PacketBuilder::ipv6(
        session.client.octets(),
        session.server6.octets(),
        rng.random_range(4..=255),
    );
    let mut bytes = Vec::new();
    match kind {
        Kind::Tcp => ip
            .tcp(session.client_port, session.server_port, rng.random(), rng.random())
            .write(&mut bytes, &data),
        Kind::Udp => ip
            .udp(session.client_port, session.server_port)
            .write(&mut bytes, &data),
        Kind::Echo => ip
            .icmpv6_echo_request(session.client_port, rng.random())
            .write(&mut bytes, &data),
    }
    .unwrap();
    bytes
}

pub fn packet4(rng: &mut StdRng, session: &Session, kind: Kind, longest: usize) -> Vec<u8> {
    let data = data(rng, longest);
    let ip = PacketBuilder::ipv4(
        session.server4.octets(),
        session.pool.octets(),
        rng.random_range(4..=255),
    );
    let mut bytes = Vec::new();
    match kind {
        Kind::Tcp => ip
            .tcp(session.server_port, session.pool_port, rng.random(), rng.random())
            .write(&mut bytes, &data),
        Kind::Udp => ip.udp(session.server_port, session.pool_port).write(&mut bytes, &data),
        Kind::Echo => ip
            .icmpv4_echo_reply(session.pool_port, rng.random())
            .write(&mut bytes, &data),
    }
    .unwrap();
    bytes
}

/// Panics unless lengths and checksums are right.
pub fn check(bytes: &[u8]) {
    let sliced = SlicedPacket::from_ip(bytes).unwrap_or_else(|error| panic!("{error}: {bytes:02x?}"));
    match (sliced.net.unwrap(), sliced.transport) {
        (NetSlice::Ipv4(ip), transport) => {
            let header = ip.header().to_header();
            assert_eq!(usize::from(header.total_len), bytes.len());
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            match transport {
                Some(TransportSlice::Tcp(tcp)) => {
                    let want = tcp.calc_checksum_ipv4(header.source, header.destination).unwrap();
                    assert_eq!(tcp.checksum(), want);
                }
                Some(TransportSlice::Udp(udp)) => {
                    let want = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap();
                    assert_eq!(udp.checksum(), want);
                }
                Some(TransportSlice::Icmpv4(_)) => {
                    assert_eq!(plain_sum(&bytes[header.header_len()..]), 0xffff);
                }
                other => panic!("{other:?}"),
            }
        }
        (NetSlice::Ipv6(ip), transport) => {
            let header = ip.header().to_header();
            assert_eq!(usize::from(header.payload_length) + 40, bytes.len());
            match transport {
                Some(TransportSlice::Tcp(tcp)) => {
                    let want = tcp.calc_checksum_ipv6(header.source, header.destination).unwrap();
                    assert_eq!(tcp.checksum(), want);
                }
                Some(TransportSlice::Udp(udp)) => {
                    let want = udp.to_header().calc_checksum_ipv6(&header, udp.payload()).unwrap();
                    assert_eq!(udp.checksum(), want);
                }
                Some(TransportSlice::Icmpv6(icmp)) => {
                    assert!(icmp.is_checksum_valid(header.source, header.destination));
                }
                other => panic!("{other:?}"),
            }
        }
        (net, _) => panic!("{net:?}"),
    }
}

/// One's complement sum, word by word.
pub fn plain_sum(bytes: &[u8]) -> u16 {
    let mut total = 0u32;
    for pair in bytes.chunks(2) {
        total += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}
