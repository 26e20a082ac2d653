//! RFC 6146 section 3.5.3, and ICMP errors.

use super::*;

#[test]
fn echo_goes_out_and_comes_back_with_its_identifier() {
    let mut lab = Lab::new(base());
    let out = lab.step(INSIDE, &echo6(A, embed(SERVER), 77)).one();
    assert_eq!(out.src4(), (v4("203.0.113.1"), 1024));
    assert_eq!(lab.installs()[0].remote, (v4(SERVER), 0));
    let back = lab
        .step(OUTSIDE, &echo4(SERVER, out.src4().0, out.src4().1, true))
        .one();
    assert_eq!((back.dst6(), back.src.0), ((v6(A), 77), embed(SERVER).into()));
    lab.pass(60 * SECOND).assert_empty();
}

#[test]
fn a_query_from_outside_needs_a_binding() {
    let mut lab = Lab::new(base());
    let answer = lab
        .step(OUTSIDE, &echo4(SERVER, v4("203.0.113.1"), 1024, false))
        .answered(Reason::NoMapping);
    assert_eq!(answer.icmp(), (3, 1));
    lab.step(INSIDE, &echo6(A, embed(SERVER), 77)).one();
    // Endpoint-independent filtering: another host may ask the client.
    let got = lab
        .step(OUTSIDE, &echo4("192.0.2.9", v4("203.0.113.1"), 1024, false))
        .one();
    assert_eq!(got.dst6(), (v6(A), 77));
    assert_eq!(lab.nat.session_count(), 2);
}

#[test]
fn an_error_from_outside_reaches_the_client() {
    let mut lab = Lab::new(base());
    let sent = lab.step(INSIDE, &udp6((A, 5000), (embed(SERVER), 53))).one();
    let before = lab.only_session();
    lab.now += 10 * SECOND;
    let error = lab
        .step(OUTSIDE, &error4("192.0.2.254", sent.src4().0, 3, 3, &sent.bytes))
        .one();
    assert_eq!((error.icmp(), error.unit), ((1, 4), INSIDE));
    assert_eq!((error.src.0, error.dst.0), (embed("192.0.2.254").into(), v6(A).into()));
    let quoted = read(0, None, &error.bytes[48..]);
    assert_eq!(
        (quoted.src, quoted.dst),
        ((v6(A).into(), 5000), (embed(SERVER).into(), 53))
    );
    assert_eq!(lab.only_session().last, before.last, "an error refreshes nothing");
}

#[test]
fn an_error_from_inside_reaches_the_server() {
    let mut lab = Lab::new(base());
    let pool = lab.udp((A, 5000), (SERVER, 53));
    let got = lab.step(OUTSIDE, &udp4((SERVER, 53), pool)).one();
    // A router in front of the client sends it.
    let error = lab
        .step(INSIDE, &error6("2001:db8::1:1", embed(SERVER), 1, 0, &got.bytes))
        .one();
    assert_eq!((error.icmp(), error.unit), ((3, 1), OUTSIDE));
    assert_eq!((error.src.0, error.dst.0), (pool.0.into(), v4(SERVER).into()));
    let quoted = read(0, None, &error.bytes[28..]);
    assert_eq!(
        (quoted.src, quoted.dst),
        ((v4(SERVER).into(), 53), (pool.0.into(), pool.1))
    );
}

#[test]
fn the_error_of_a_router_tells_its_address_if_that_is_wanted() {
    let mut config = base();
    config.service_sets[0].icmp_source_extension = true;
    let mut lab = Lab::new(config);
    let pool = lab.udp((A, 5000), (SERVER, 53));
    let got = lab.step(OUTSIDE, &udp4((SERVER, 53), pool)).one();
    let router = "2001:db8::1:1";
    let error = lab.step(INSIDE, &error6(router, embed(SERVER), 1, 0, &got.bytes)).one();
    assert_eq!((error.icmp(), error.src.0), ((3, 1), pool.0.into()));
    // 128 bytes of quote, the structure, and an Interface Information Object: role 0, an IPv6 address.
    assert_eq!(error.bytes[25], 32, "length attribute in words of 4 bytes");
    let structure = &error.bytes[28 + 128..];
    assert_eq!(structure[4..12], [0, 24, 2, 4, 0, 2, 0, 0]);
    assert_eq!(structure[12..], v6(router).octets());
    assert_eq!(checksum::fold(checksum::sum(structure)), 0xffff);
    // The client's own address is not told; Packet Too Big has no length attribute in the middle of its MTU.
    let error = lab.step(INSIDE, &error6(A, embed(SERVER), 1, 4, &got.bytes)).one();
    assert_eq!((error.bytes[25], error.bytes.len()), (0, 28 + got.bytes.len() - 20));
    let mut config = base();
    config.service_sets[0].icmp_source_extension = false;
    lab.nat.reconfigure(lab.now, config, &mut lab.effects).unwrap();
    let error = lab.step(INSIDE, &error6(router, embed(SERVER), 1, 0, &got.bytes)).one();
    assert_eq!(error.bytes.len(), 28 + got.bytes.len() - 20);
}

#[test]
fn errors_about_echo_are_translated_by_the_identifier() {
    let mut lab = Lab::new(base());
    let sent = lab.step(INSIDE, &echo6(A, embed(SERVER), 77)).one();
    let error = lab
        .step(OUTSIDE, &error4(SERVER, sent.src4().0, 11, 0, &sent.bytes))
        .one();
    assert_eq!(error.icmp(), (3, 0));
    assert_eq!(read(0, None, &error.bytes[48..]).src, (v6(A).into(), 77));
}

#[test]
fn errors_about_nothing_we_sent_are_dropped() {
    let mut lab = Lab::new(base());
    let sent = lab.step(INSIDE, &udp6((A, 5000), (embed(SERVER), 53))).one();
    let (pool, port) = sent.src4();
    // Another server, another port, another address than quoted.
    let other = udp4(("203.0.113.1", port), (v4("192.0.2.7"), 53));
    lab.step(OUTSIDE, &error4(SERVER, pool, 3, 3, &other))
        .dropped(Reason::IcmpErrorNoSession);
    let other = udp4(("203.0.113.1", port + 1), (v4(SERVER), 53));
    lab.step(OUTSIDE, &error4(SERVER, pool, 3, 3, &other))
        .dropped(Reason::IcmpErrorNoSession);
    lab.step(OUTSIDE, &error4(SERVER, v4("203.0.113.2"), 3, 3, &sent.bytes))
        .dropped(Reason::IcmpErrorNoSession);
    let inner = error4(SERVER, pool, 3, 3, &sent.bytes);
    lab.step(OUTSIDE, &error4(SERVER, pool, 3, 3, &inner))
        .dropped(Reason::IcmpErrorMalformed);
    let other = udp6(("2001:db8:64::c000:201", 53), (v6(A), 5001));
    lab.step(INSIDE, &error6(A, embed(SERVER), 1, 4, &other))
        .dropped(Reason::IcmpErrorNoSession);
    // To another server than the one whose packet it quotes.
    let quoted = udp6(("2001:db8:64::c000:201", 53), (v6(A), 5000));
    lab.step(INSIDE, &error6(A, embed("192.0.2.99"), 1, 4, &quoted))
        .dropped(Reason::IcmpErrorNoSession);
    assert_eq!(
        (lab.nat.session_count(), lab.nat.bib_count()),
        (1, 1),
        "errors make no state"
    );
}

#[test]
fn neighbour_discovery_and_timestamps_are_not_translated() {
    let mut lab = Lab::new(base());
    lab.step(INSIDE, &error6(A, embed(SERVER), 135, 0, &[0; 20]))
        .dropped(Reason::IcmpNotTranslated);
    lab.step(OUTSIDE, &error4(SERVER, v4("203.0.113.1"), 13, 0, &[0; 12]))
        .dropped(Reason::IcmpNotTranslated);
}

#[test]
fn an_error_of_a_private_router_comes_from_us_under_the_well_known_prefix() {
    let mut config = base();
    config.service_sets[0].terms = vec![term("t", "64:ff9b::", 0)];
    let mut lab = Lab::new(config);
    let sent = lab
        .step(INSIDE, &udp6((A, 5000), (embed_in("64:ff9b::", "8.8.8.8"), 53)))
        .one();
    let error = lab
        .step(OUTSIDE, &error4("10.0.0.1", sent.src4().0, 3, 3, &sent.bytes))
        .one();
    assert_eq!(
        error.src.0,
        embed_in("64:ff9b::", "203.0.113.1")
            .to_string()
            .parse::<IpAddr>()
            .unwrap()
    );
}

/// RFC 7915 section 4.1: for trouble shooting.
#[test]
fn errors_from_illegal_sources_are_translated() {
    for source in ["0.0.0.0", "127.0.0.1", "224.0.0.5", "255.255.255.255"] {
        for (prefix, seen) in [(PREFIX, source), ("64:ff9b::", "203.0.113.1")] {
            let mut config = base();
            config.service_sets[0].terms = vec![term("t", prefix, 0)];
            let mut lab = Lab::new(config);
            let server = embed_in(prefix, "8.8.8.8");
            let sent = lab.step(INSIDE, &udp6((A, 5000), (server, 53))).one();
            let pool = sent.src4();
            let error = error4(source, pool.0, 3, 3, &sent.bytes);
            let got = lab.step(OUTSIDE, &error).one();
            assert_eq!((got.icmp(), got.src.0), ((1, 4), embed_in(prefix, seen).into()));
            // What is no error stays dropped, and so does an error about nothing of ours.
            lab.step(OUTSIDE, &udp4((source, 53), pool)).dropped(Reason::BadAddress);
            let other = udp4(("203.0.113.1", pool.1 + 1), (v4("8.8.8.8"), 53));
            lab.step(OUTSIDE, &error4(source, pool.0, 3, 3, &other))
                .dropped(Reason::IcmpErrorNoSession);
        }
    }
}

/// An ICMP error's payload: 128 bytes of quote, and an Interface Information Object with this address.
fn with_interface(quote: &[u8], address: IpAddr) -> Vec<u8> {
    let mut payload = quote.to_vec();
    payload.resize(128, 0);
    let (afi, octets) = match address {
        IpAddr::V4(address) => (1, address.octets().to_vec()),
        IpAddr::V6(address) => (2, address.octets().to_vec()),
    };
    let mut extension = vec![0x20, 0, 0, 0, 0, 8 + octets.len() as u8, 2, 4, 0, afi, 0, 0];
    extension.extend(octets);
    let sum = checksum::finish(checksum::sum(&extension));
    extension[2..4].copy_from_slice(&sum.to_be_bytes());
    payload.extend(extension);
    payload
}

/// Sets the RFC 4884 length of an ICMP error and mends its checksum.
fn with_length(mut packet: Vec<u8>, words: u8) -> Vec<u8> {
    let (at, length_at) = if packet[0] >> 4 == 6 { (40, 44) } else { (20, 25) };
    packet[length_at] = words;
    packet[at + 2..at + 4].fill(0);
    let pseudo = match Packet6::parse(&packet) {
        Ok(six) => checksum::pseudo6(six.src, six.dst, (packet.len() - 40) as u32, proto::ICMPV6),
        Err(_) => 0,
    };
    let sum = checksum::finish(pseudo + checksum::sum(&packet[at..]));
    packet[at + 2..at + 4].copy_from_slice(&sum.to_be_bytes());
    packet
}

#[test]
fn addresses_in_extensions_follow_the_packet() {
    for (prefix, interface, follows) in [
        (PREFIX, "192.0.2.77", true),
        (PREFIX, "10.0.0.77", true),
        ("64:ff9b::", "192.0.2.77", true),
        ("64:ff9b::", "10.0.0.77", false),
    ] {
        let mut config = base();
        config.service_sets[0].terms = vec![term("t", prefix, 0)];
        let mut lab = Lab::new(config);
        let sent = lab
            .step(INSIDE, &udp6((A, 5000), (embed_in(prefix, "8.8.8.8"), 53)))
            .one();
        let payload = with_interface(&sent.bytes, v4(interface).into());
        let error = with_length(error4("192.0.2.254", sent.src4().0, 11, 0, &payload), 32);
        let got = lab.step(OUTSIDE, &error).one();
        let tail = if follows {
            embed_in(prefix, interface).octets().to_vec()
        } else {
            v4(interface).octets().to_vec()
        };
        assert!(got.bytes.ends_with(&tail), "{prefix} {interface}: {:x?}", got.bytes);
        // And the other way.
        let answer = lab.step(OUTSIDE, &udp4(("8.8.8.8", 53), sent.src4())).one();
        let payload = with_interface(&answer.bytes, embed_in(prefix, interface).into());
        let error = with_length(error6("2001:db8::1", embed_in(prefix, "8.8.8.8"), 3, 0, &payload), 16);
        let got = lab.step(INSIDE, &error).one();
        assert!(got.bytes.ends_with(&v4(interface).octets()), "{prefix} {interface}");
    }
}

#[test]
fn what_must_not_be_answered_is_not_said_to_be() {
    let mut lab = Lab::new(base());
    let sent = lab.step(INSIDE, &udp6((A, 5000), (embed(SERVER), 53))).one();
    let mut error = error4(SERVER, sent.src4().0, 3, 3, &sent.bytes);
    error[8] = 1;
    error[10..12].fill(0);
    let sum = checksum::finish(checksum::sum(&error[..20]));
    error[10..12].copy_from_slice(&sum.to_be_bytes());
    lab.step(OUTSIDE, &error).dropped(Reason::NotAnswered);
    let mut error = error6(A, embed(SERVER), 1, 4, &[0; 48]);
    error[7] = 1;
    lab.step(INSIDE, &error).dropped(Reason::NotAnswered);
    // A later fragment that dies here.
    let mut piece = udp6((A, 5000), (embed(SERVER), 53));
    piece[6] = proto::FRAGMENT;
    piece[7] = 1;
    piece.splice(40..48, [17, 0, 0, 8, 0, 0, 0, 1]);
    lab.step(INSIDE, &piece).dropped(Reason::NotAnswered);
}

#[test]
fn a_server_whose_link_does_not_have_it_is_told_as_an_unreachable_address() {
    let mut lab = Lab::new(base());
    let sent = lab.step(INSIDE, &udp6((A, 5000), (embed(SERVER), 53))).one();
    lab.effects.clear();
    lab.nat.undeliverable(lab.now, OUTSIDE, &sent.bytes, &mut lab.effects);
    let told = lab.one();
    assert_eq!((told.icmp(), told.unit, told.dst.0), ((1, 3), INSIDE, v6(A).into()));
    let quoted = read(0, None, &told.bytes[48..]);
    assert_eq!(
        (quoted.src, quoted.dst),
        ((v6(A).into(), 5000), (embed(SERVER).into(), 53))
    );
    assert_eq!(lab.nat.stats().answers, 1);
    // About an error nothing is said, nor about a packet of no session.
    let error = error4("192.0.2.254", sent.src4().0, 3, 3, &sent.bytes);
    for packet in [&error[..], &udp4(("203.0.113.77", 9), (v4(SERVER), 53)), &[0x45], &[]] {
        lab.effects.clear();
        lab.nat.undeliverable(lab.now, OUTSIDE, packet, &mut lab.effects);
        lab.held();
    }
}

#[test]
fn a_client_whose_link_does_not_have_it_is_told_to_the_server() {
    let mut lab = Lab::new(base());
    let pool = lab.udp((A, 5000), (SERVER, 53));
    let got = lab.step(OUTSIDE, &udp4((SERVER, 53), pool)).one();
    lab.effects.clear();
    lab.nat.undeliverable(lab.now, INSIDE, &got.bytes, &mut lab.effects);
    let told = lab.one();
    assert_eq!(
        (told.icmp(), told.unit, told.dst.0),
        ((3, 1), OUTSIDE, v4(SERVER).into())
    );
    let quoted = read(0, None, &told.bytes[28..]);
    assert_eq!(
        (quoted.src, quoted.dst),
        ((v4(SERVER).into(), 53), (pool.0.into(), pool.1))
    );
}

#[test]
fn unreachable_next_hops_are_told_within_the_limit_on_errors() {
    let mut config = base();
    config.limits.icmp_errors_per_second = 2;
    let mut lab = Lab::new(config);
    let sent = lab.step(INSIDE, &udp6((A, 5000), (embed(SERVER), 53))).one();
    let mut told = 0;
    for _ in 0..20 {
        lab.effects.clear();
        lab.nat.undeliverable(lab.now, OUTSIDE, &sent.bytes, &mut lab.effects);
        told += lab.sent().len();
    }
    assert!((1..=4).contains(&told), "{told}");
}
