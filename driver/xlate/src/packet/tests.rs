//! Tests of reading packets.

use super::*;

fn six(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x6a, 0xb1, 0x23, 0x45, 0, 0, next, 64];
    bytes[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    bytes.extend((1..=16).chain(17..=32));
    bytes.extend_from_slice(payload);
    bytes
}

/// An IPv4 packet with these options and a good header checksum.
fn four(flags: u16, protocol: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let mut bytes = vec![
        0x40 | (header / 4) as u8,
        0x5c,
        0,
        0,
        0xab,
        0xcd,
        0,
        0,
        63,
        protocol,
        0,
        0,
    ];
    bytes[2..4].copy_from_slice(&((header + payload.len()) as u16).to_be_bytes());
    bytes[6..8].copy_from_slice(&flags.to_be_bytes());
    bytes.extend([192, 0, 2, 1, 198, 51, 100, 7]);
    bytes.extend_from_slice(options);
    let sum = checksum::finish(checksum::sum(&bytes));
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

const UDP: [u8; 9] = [0x12, 0x34, 0, 53, 0, 9, 0xaa, 0xbb, 7];
const UDP_READ: Transport = Transport::Udp {
    src_port: 0x1234,
    dst_port: 53,
    length: 9,
    checksum: 0xaabb,
};

fn tcp(offset: u8, flags: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    bytes[..4].copy_from_slice(&[1, 2, 3, 4]);
    bytes[12] = offset << 4;
    bytes[13] = flags;
    bytes
}

fn transport6(next: u8, payload: &[u8]) -> Result<Transport, Reason> {
    Packet6::parse(&six(next, payload)).map(|packet| packet.transport)
}

#[test]
fn ipv6_fields() {
    let mut bytes = six(17, &UDP);
    bytes.extend([0; 5]);
    let packet = Packet6::parse(&bytes).unwrap();
    assert_eq!(packet.bytes.len(), 49, "padding is cut off");
    assert_eq!(
        (packet.traffic_class, packet.hop_limit, packet.protocol),
        (0xab, 64, 17)
    );
    assert_eq!(
        packet.src,
        "102:304:506:708:90a:b0c:d0e:f10".parse::<Ipv6Addr>().unwrap()
    );
    assert_eq!(
        packet.dst,
        "1112:1314:1516:1718:191a:1b1c:1d1e:1f20".parse::<Ipv6Addr>().unwrap()
    );
    assert_eq!(
        (packet.payload_at, packet.fragment, packet.segments_left_at),
        (40, None, None)
    );
    assert_eq!(packet.transport, UDP_READ);
}

#[test]
fn ipv4_fields() {
    let mut bytes = four(0x4000, 17, &[], &UDP);
    bytes.extend([0; 5]);
    let packet = Packet4::parse(&bytes).unwrap();
    assert_eq!(packet.bytes.len(), 29, "padding is cut off");
    assert_eq!(
        (packet.tos, packet.ttl, packet.ident, packet.df, packet.protocol),
        (0x5c, 63, 0xabcd, true, 17)
    );
    assert_eq!(
        (packet.src, packet.dst),
        (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 7))
    );
    assert_eq!(
        (packet.payload_at, packet.fragment, packet.source_route),
        (20, None, false)
    );
    assert_eq!(packet.transport, UDP_READ);
}

#[test]
fn wrong_ip_headers_are_refused() {
    let six_of = |bytes: &[u8]| Packet6::parse(bytes).map(|_| ()).unwrap_err();
    let good = six(17, &UDP);
    assert_eq!(six_of(&[]), Reason::Truncated);
    assert_eq!(six_of(&good[..39]), Reason::Truncated);
    assert_eq!(six_of(&good[..48]), Reason::Truncated);
    assert_eq!(six_of(&four(0, 17, &[], &UDP)), Reason::BadHeader);

    let four_of = |bytes: &[u8]| Packet4::parse(bytes).map(|_| ()).unwrap_err();
    let good = four(0, 17, &[], &UDP);
    assert_eq!(four_of(&[]), Reason::Truncated);
    assert_eq!(four_of(&good[..19]), Reason::Truncated);
    assert_eq!(four_of(&good[..28]), Reason::Truncated);
    assert_eq!(four_of(&six(17, &UDP)), Reason::BadHeader);
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    assert_eq!(four_of(&changed(0, 0x44)), Reason::BadHeader, "header length 16");
    assert_eq!(four_of(&changed(3, 19)), Reason::BadHeader, "total length 19");
    assert_eq!(four_of(&changed(8, 62)), Reason::BadIpv4Checksum);
    // The checksum is looked at before the length: a damaged length is no truncated packet.
    assert_eq!(four_of(&changed(3, 200)), Reason::BadIpv4Checksum);
}

#[test]
fn transport_headers() {
    assert_eq!(
        transport6(6, &tcp(5, 0x12, 20)),
        Ok(Transport::Tcp {
            src_port: 0x102,
            dst_port: 0x304,
            flags: 0x12
        })
    );
    assert!(transport6(6, &tcp(6, 0, 24)).is_ok());
    for (offset, length) in [(4, 20), (0, 40), (6, 23), (15, 59), (5, 19)] {
        assert_eq!(
            transport6(6, &tcp(offset, 0, length)),
            Err(Reason::BadHeader),
            "{offset} {length}"
        );
    }
    let udp = |length: u16, bytes: usize| {
        let mut udp = vec![0; bytes];
        udp[4..6].copy_from_slice(&length.to_be_bytes());
        transport6(17, &udp).is_ok()
    };
    assert!(udp(8, 8) && udp(8, 12) && udp(12, 12));
    assert!(!udp(0, 8) && !udp(7, 8) && !udp(9, 8));
    assert_eq!(transport6(17, &[0; 7]), Err(Reason::BadHeader));
    assert_eq!(
        transport6(58, &[128, 0, 0, 0, 7, 8, 0, 0]),
        Ok(Transport::Echo {
            request: true,
            id: 0x708
        })
    );
    assert_eq!(
        transport6(58, &[129, 0, 0, 0, 7, 8, 0, 0]),
        Ok(Transport::Echo {
            request: false,
            id: 0x708
        })
    );
    assert_eq!(
        transport6(58, &[1, 4, 0, 0, 0, 0, 0, 0]),
        Ok(Transport::IcmpError { kind: 1, code: 4 })
    );
    assert_eq!(
        transport6(58, &[135, 0, 0, 0, 0, 0, 0, 0]),
        Ok(Transport::IcmpOther { kind: 135, code: 0 })
    );
    assert_eq!(transport6(58, &[128, 0, 0, 0, 7, 8, 0]), Err(Reason::BadHeader));
    assert_eq!(
        transport6(1, &[8, 0, 0, 0, 7, 8, 0, 0]),
        Ok(Transport::Other(1)),
        "ICMPv4 over IPv6"
    );
    assert_eq!(transport6(59, &[]), Ok(Transport::Other(59)));
    let icmp = |kind: u8| {
        Packet4::parse(&four(0, 1, &[], &[kind, 0, 0, 0, 7, 8, 0, 0]))
            .unwrap()
            .transport
    };
    assert_eq!(
        icmp(8),
        Transport::Echo {
            request: true,
            id: 0x708
        }
    );
    assert_eq!(
        icmp(0),
        Transport::Echo {
            request: false,
            id: 0x708
        }
    );
    for kind in [3, 4, 5, 11, 12] {
        assert_eq!(icmp(kind), Transport::IcmpError { kind, code: 0 });
    }
    for kind in [6, 9, 10, 13, 14, 15, 16, 17, 18, 128] {
        assert_eq!(icmp(kind), Transport::IcmpOther { kind, code: 0 });
    }
}

#[test]
fn extension_headers_are_walked() {
    // Hop-by-Hop of 16 bytes, Routing with 3 segments left, Destination Options, UDP.
    let mut payload = vec![43, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    payload.extend([60, 0, 4, 3, 0, 0, 0, 0]);
    payload.extend([17, 0, 1, 4, 0, 0, 0, 0]);
    payload.extend(UDP);
    let bytes = six(0, &payload);
    let packet = Packet6::parse(&bytes).unwrap();
    assert_eq!(
        (packet.payload_at, packet.protocol, packet.transport),
        (72, 17, UDP_READ)
    );
    assert_eq!(
        packet.segments_left_at,
        Some(40 + 16 + 3),
        "points at the Segments Left byte"
    );
    assert_eq!(bytes[59], 3);
    for cut in 0..payload.len() - 1 {
        assert_eq!(transport6(0, &payload[..cut]), Err(Reason::BadHeader), "{cut}");
    }
    assert_eq!(transport6(51, &[17, 4, 0, 0]), Ok(Transport::Other(51)), "AH is copied");
    assert_eq!(
        transport6(50, &[17, 4, 0, 0]),
        Ok(Transport::Other(50)),
        "ESP is copied"
    );
}

#[test]
fn fragments() {
    let fragment = |word: u16, payload: &[u8]| {
        let mut bytes = vec![17, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef];
        bytes[2..4].copy_from_slice(&word.to_be_bytes());
        bytes.extend_from_slice(payload);
        let bytes = six(44, &bytes);
        Packet6::parse(&bytes).map(|packet| (packet.fragment.unwrap(), packet.transport))
    };
    let (read, transport) = fragment(0, &UDP).unwrap();
    assert_eq!(
        read,
        Fragment {
            offset: 0,
            more: false,
            id: 0xdead_beef
        }
    );
    assert!(!read.is_part(), "RFC 6946");
    assert_eq!(transport, UDP_READ);
    let mut first = UDP.to_vec();
    first.resize(16, 0);
    first[4..6].copy_from_slice(&4000u16.to_be_bytes());
    let (read, transport) = fragment(1, &first).unwrap();
    assert!(read.is_part() && read.more);
    assert!(matches!(transport, Transport::Udp { length: 4000, .. }));
    // The reserved bits are not part of the offset.
    let (read, transport) = fragment(0x0f_ff, &first).unwrap();
    assert_eq!((read.offset, read.more, transport), (0x0ff8, true, Transport::Fragment));
    assert_eq!(
        fragment(1, &UDP).unwrap_err(),
        Reason::BadHeader,
        "9 bytes and more to come"
    );
    assert_eq!(fragment(8, &[]).unwrap_err(), Reason::BadHeader, "nothing in it");
    assert_eq!(fragment(0xfff8, &[0; 8]).unwrap_err(), Reason::BadHeader, "past 65,535");
    assert!(fragment(0xfff8, &[0; 7]).is_ok());
    assert_eq!(fragment(1, &UDP[..0]).unwrap_err(), Reason::BadHeader);

    let fragment = |word: u16, payload: &[u8]| {
        let bytes = four(word, 17, &[], payload);
        Packet4::parse(&bytes).map(|packet| (packet.fragment, packet.transport))
    };
    let id = 0xabcd;
    assert_eq!(
        fragment(0x8000, &UDP).unwrap().0,
        None,
        "the reserved bit means nothing"
    );
    assert_eq!(
        fragment(0x2000, &first).unwrap().0,
        Some(Fragment {
            offset: 0,
            more: true,
            id
        })
    );
    let later = fragment(0x0003, &first).unwrap();
    assert_eq!(
        later,
        (
            Some(Fragment {
                offset: 24,
                more: false,
                id
            }),
            Transport::Fragment
        )
    );
    assert_eq!(fragment(0x2000, &UDP).unwrap_err(), Reason::BadHeader);
    assert_eq!(
        fragment(0x1fff, &[0; 8]).unwrap_err(),
        Reason::BadHeader,
        "past 65,515 bytes of payload"
    );
}

#[test]
fn source_routes() {
    let route = |options: &[u8]| Packet4::parse(&four(0, 17, options, &UDP)).unwrap().source_route;
    let address = [10, 0, 0, 1];
    let option = |kind, pointer| [&[1, kind, 7, pointer][..], &address].concat();
    assert!(route(&option(131, 4)), "loose");
    assert!(route(&option(137, 4)), "strict");
    assert!(route(&option(131, 7)), "the last byte is within the option");
    assert!(!route(&option(131, 8)), "finished");
    assert!(!route(&option(7, 4)), "record route is none");
    assert!(
        !route(&[0, 0, 0, 0, 131, 7, 4, 0, 0, 0, 0, 0]),
        "behind the end of the list"
    );
    assert!(route(&[68, 4, 5, 0, 131, 3, 2, 0]), "behind a timestamp");
    assert!(
        !route(&[131, 1, 4, 0]) && !route(&[131, 9, 4, 0]) && !route(&[1, 1, 1, 131]),
        "malformed"
    );
}

#[test]
fn lengths_stop_at_nonsense() {
    let (a, b) = (six(17, &UDP), four(0, 17, &[], &UDP));
    let both = [&a[..], &b[..]].concat();
    assert_eq!(lengths(&both).collect::<Vec<_>>(), [49, 29]);
    assert_eq!(lengths(&both[..60]).collect::<Vec<_>>(), [49]);
    assert_eq!(lengths(&[0x45, 0, 0, 0]).count(), 0);
    assert_eq!(
        lengths(&[0x45; 20].map(|byte| if byte == 0x45 { 0x40 } else { byte })).count(),
        0
    );
    assert_eq!(lengths(&[]).count(), 0);
}
