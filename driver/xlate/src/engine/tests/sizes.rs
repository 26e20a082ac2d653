//! Packets that do not fit, and packets in pieces.

use super::*;

fn long_udp6(client: (&str, u16), server: (Ipv6Addr, u16), payload: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let builder = PacketBuilder::ipv6(v6(client.0).octets(), server.0.octets(), 64).udp(client.1, server.1);
    builder.write(&mut out, &vec![7; payload]).unwrap();
    out
}

fn long_udp4(server: (&str, u16), pool: (Ipv4Addr, u16), payload: usize, df: bool) -> Vec<u8> {
    let mut out = udp4(server, pool);
    out.truncate(28);
    out.resize(28 + payload, 7);
    let total = out.len() as u16;
    out[2..4].copy_from_slice(&total.to_be_bytes());
    out[6..8].copy_from_slice(&if df { 0x4000u16 } else { 0 }.to_be_bytes());
    out[10..12].fill(0);
    let sum = checksum::finish(checksum::sum(&out[..20]));
    out[10..12].copy_from_slice(&sum.to_be_bytes());
    out[24..26].copy_from_slice(&(8 + payload as u16).to_be_bytes());
    out[26..28].fill(0);
    let (src, dst) = (v4(server.0), pool.0);
    let sum = checksum::finish(checksum::pseudo4(src, dst, 8 + payload as u16, 17) + checksum::sum(&out[20..]));
    out[26..28].copy_from_slice(&sum.to_be_bytes());
    out
}

#[test]
fn too_big_for_the_ipv4_link() {
    let mut config = base();
    config.units[INSIDE].mtu = 9000;
    config.units[OUTSIDE].mtu = 1400;
    let mut lab = Lab::new(config);
    let answer = lab
        .step(INSIDE, &long_udp6((A, 1), (embed(SERVER), 53), 1400))
        .answered(Reason::PacketTooBig);
    assert_eq!(
        (answer.icmp(), &answer.bytes[44..48]),
        ((2, 0), &1420u32.to_be_bytes()[..])
    );
    lab.step(INSIDE, &long_udp6((A, 1), (embed(SERVER), 53), 1372)).one();
}

#[test]
fn too_big_for_the_ipv6_link() {
    let mut lab = Lab::new(base());
    let pool = lab.udp((A, 1), (SERVER, 53));
    let answer = lab
        .step(OUTSIDE, &long_udp4((SERVER, 53), pool, 1460, true))
        .answered(Reason::PacketTooBig);
    assert_eq!(
        (answer.icmp(), &answer.bytes[26..28]),
        ((3, 4), &1480u16.to_be_bytes()[..])
    );
    assert_eq!(
        lab.step(OUTSIDE, &long_udp4((SERVER, 53), pool, 1452, true))
            .one()
            .bytes
            .len(),
        1500
    );
    // Without DF it is cut to the IPv6 MTU of the service set.
    lab.step(OUTSIDE, &long_udp4((SERVER, 53), pool, 1460, false));
    let lengths: Vec<usize> = lab.sent().iter().map(|sent| sent.bytes.len()).collect();
    assert_eq!((lengths.len(), lab.drops().len()), (2, 0));
    assert!(lengths.iter().all(|&length| length <= 1280), "{lengths:?}");
    assert_eq!(lab.nat.stats().service_sets[0].translated[1].packets, 2);
}

#[test]
fn without_fragment_headers_packets_stay_whole_or_are_answered() {
    let mut config = base();
    config.service_sets[0].no_v6_frag_header = true;
    let mut lab = Lab::new(config);
    let pool = lab.udp((A, 1), (SERVER, 53));
    for df in [false, true] {
        // Larger than `ipv6-mtu`, as large as the link.
        let sent = lab.step(OUTSIDE, &long_udp4((SERVER, 53), pool, 1452, df)).one();
        assert_eq!((sent.bytes.len(), sent.bytes[6]), (1500, proto::UDP));
        let answer = lab
            .step(OUTSIDE, &long_udp4((SERVER, 53), pool, 1453, df))
            .answered(Reason::PacketTooBig);
        assert_eq!(
            (answer.icmp(), &answer.bytes[26..28]),
            ((3, 4), &1480u16.to_be_bytes()[..])
        );
    }
    // A fragment without its header would be garbage: it keeps it.
    let mut piece = long_udp4((SERVER, 53), pool, 800, false);
    piece[6..8].copy_from_slice(&0x2000u16.to_be_bytes());
    piece[10..12].fill(0);
    let sum = checksum::finish(checksum::sum(&piece[..20]));
    piece[10..12].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(lab.step(OUTSIDE, &piece).one().bytes[6], proto::FRAGMENT);
}

#[test]
fn a_hairpin_too_big_for_its_end() {
    let mut config = base();
    config.units[INSIDE].mtu = 9000;
    config.units.push(Unit {
        mtu: 1400,
        ..unit("narrow", 0, true)
    });
    let mut lab = Lab::new(config);
    let b = lab.step(2, &udp6((B, 6000), (embed(SERVER), 53))).one().src4();
    let to = (embed(&b.0.to_string()), b.1);
    let answer = lab
        .step(INSIDE, &long_udp6((A, 1), to, 1500))
        .answered(Reason::PacketTooBig);
    assert_eq!(
        (answer.icmp(), &answer.bytes[44..48]),
        ((2, 0), &1400u32.to_be_bytes()[..])
    );
    assert_eq!(lab.step(INSIDE, &long_udp6((A, 1), to, 1352)).one().bytes.len(), 1400);
}

/// Cuts an IPv6 packet into fragments of `size` bytes of payload.
fn cut6(packet: &[u8], size: usize) -> Vec<Vec<u8>> {
    let payload = &packet[40..];
    let mut pieces = Vec::new();
    for (index, chunk) in payload.chunks(size).enumerate() {
        let mut piece = packet[..40].to_vec();
        piece[4..6].copy_from_slice(&(8 + chunk.len() as u16).to_be_bytes());
        piece[6] = 44;
        let more = u16::from((index + 1) * size < payload.len());
        piece.extend_from_slice(&[packet[6], 0]);
        piece.extend_from_slice(&((index * size) as u16 | more).to_be_bytes());
        piece.extend_from_slice(&0xabcd_1234u32.to_be_bytes());
        piece.extend_from_slice(chunk);
        pieces.push(piece);
    }
    pieces
}

#[test]
fn fragments_in_any_order_leave_by_the_port_of_the_first() {
    let packet = long_udp6((A, 1), (embed(SERVER), 53), 3000);
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
        let mut lab = Lab::new(base());
        let pieces = cut6(&packet, 1208);
        let mut sent = Vec::new();
        for index in order {
            lab.step(INSIDE, &pieces[index]);
            assert_eq!(lab.drops(), []);
            sent.extend(lab.sent());
        }
        assert_eq!(
            (sent.len(), lab.nat.session_count(), lab.nat.fragmented_packets()),
            (3, 1, 0),
            "{order:?}"
        );
        assert!(sent.iter().all(|piece| piece.src4().0 == v4("203.0.113.1")));
        assert_eq!(sent.iter().filter(|piece| piece.src.1 == 1024).count(), 1);
        assert!(lab.nat.stats().service_sets[0].translated[0].packets == 3);
    }
}

#[test]
fn fragments_that_come_alone_time_out() {
    let mut lab = Lab::new(base());
    let pieces = cut6(&long_udp6((A, 1), (embed(SERVER), 53), 3000), 1208);
    lab.step(INSIDE, &pieces[1]).held();
    lab.step(INSIDE, &pieces[2]).held();
    assert_eq!(lab.nat.next_deadline(), Some(lab.now + 2 * SECOND));
    lab.pass(2 * SECOND - 1).held();
    lab.pass(1);
    assert_eq!(lab.drops(), [Reason::FragmentTimeout; 2]);
    assert_eq!(lab.nat.stats().held, 2);
    lab.assert_empty();
}

#[test]
fn a_fragmented_syn_opens_one_connection() {
    let mut out = Vec::new();
    let builder = PacketBuilder::ipv6(v6(A).octets(), embed(SERVER).octets(), 64)
        .tcp(1, 80, 1, 1)
        .syn();
    builder.write(&mut out, &[7; 100]).unwrap();
    let mut lab = Lab::new(base());
    for piece in cut6(&out, 48) {
        lab.step(INSIDE, &piece).one();
    }
    assert_eq!(lab.state(), State::V6Init);
}

#[test]
fn a_fragmented_echo_is_translated_whole() {
    let mut out = Vec::new();
    let builder = PacketBuilder::ipv6(v6(A).octets(), embed(SERVER).octets(), 64).icmpv6_echo_request(5, 1);
    builder.write(&mut out, &[7; 100]).unwrap();
    let mut lab = Lab::new(base());
    let pieces = cut6(&out, 48);
    lab.step(INSIDE, &pieces[0]).held();
    lab.step(INSIDE, &pieces[2]).held();
    let sent = lab.step(INSIDE, &pieces[1]).one();
    assert_eq!((sent.src4().1, sent.bytes.len()), (1024, 128));
}
