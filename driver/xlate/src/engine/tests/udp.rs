//! RFC 6146 section 3.5.1, and what is refused before any protocol is looked at.

use super::*;

#[test]
fn udp_goes_out_and_comes_back() {
    let mut lab = Lab::new(base());
    let out = lab.step(INSIDE, &udp6((A, 5000), (embed(SERVER), 53))).one();
    assert_eq!((out.unit, out.translated), (OUTSIDE, Some(Direction::SixToFour)));
    assert_eq!(out.src4(), (v4("203.0.113.1"), 1024), "first address, first port");
    assert_eq!(out.dst, (v4(SERVER).into(), 53));
    let back = lab.step(OUTSIDE, &udp4((SERVER, 53), out.src4())).one();
    assert_eq!((back.unit, back.translated), (INSIDE, Some(Direction::FourToSix)));
    assert_eq!(back.src, (embed(SERVER).into(), 53));
    assert_eq!(back.dst6(), (v6(A), 5000));
    let stats = lab.nat.stats();
    let translated = stats.service_sets[0].translated;
    assert_eq!(translated[0], crate::stats::Traffic { packets: 1, bytes: 56 });
    assert_eq!(translated[1], crate::stats::Traffic { packets: 1, bytes: 34 });
}

#[test]
fn a_udp_session_is_installed_before_its_packet_is_sent() {
    let mut lab = Lab::new(base());
    lab.step(INSIDE, &udp6((A, 5000), (embed(SERVER), 53)));
    let kinds: Vec<bool> = lab
        .effects
        .iter()
        .map(|effect| matches!(effect, Effect::Install(_)))
        .collect();
    assert_eq!(kinds, [true, false]);
    let flow = lab.installs()[0];
    let want = Flow {
        id: flow.id,
        protocol: Protocol::Udp,
        unit: INSIDE,
        service_set: 0,
        term: 0,
        pref64: v6(PREFIX),
        pref64_length: 96,
        client: (v6(A), 5000),
        pool: (v4("203.0.113.1"), 1024),
        remote: (v4(SERVER), 53),
    };
    assert_eq!(flow, want);
    assert_eq!(lab.nat.session(flow.id).unwrap().flow, want);
}

#[test]
fn udp_sessions_end_after_their_lifetime_and_their_binding_with_the_last() {
    let mut lab = Lab::new(base());
    lab.udp((A, 5000), (SERVER, 53));
    lab.pass(100 * SECOND).udp((A, 5000), ("192.0.2.2", 53));
    assert_eq!((lab.nat.session_count(), lab.nat.bib_count()), (2, 1));
    lab.pass(200 * SECOND - 1);
    assert_eq!(lab.nat.session_count(), 2);
    lab.pass(1);
    assert_eq!(
        (lab.nat.session_count(), lab.nat.bib_count(), lab.removes().len()),
        (1, 1, 1)
    );
    lab.pass(100 * SECOND);
    lab.assert_empty();
}

#[test]
fn each_packet_begins_the_lifetime_anew() {
    let mut lab = Lab::new(base());
    let pool = lab.udp((A, 5000), (SERVER, 53));
    for _ in 0..5 {
        lab.pass(299 * SECOND).step(OUTSIDE, &udp4((SERVER, 53), pool)).one();
    }
    lab.pass(300 * SECOND - 1);
    assert_eq!(lab.nat.session_count(), 1);
    lab.pass(1).assert_empty();
}

#[test]
fn a_pool_address_without_mapping_is_host_unreachable() {
    let mut lab = Lab::new(base());
    let packet = udp4((SERVER, 53), (v4("203.0.113.9"), 4000));
    let answer = lab.step(OUTSIDE, &packet).answered(Reason::NoMapping);
    assert_eq!(
        (answer.icmp(), answer.dst.0, answer.unit),
        ((3, 1), v4(SERVER).into(), OUTSIDE)
    );
    assert_eq!(lab.nat.stats().count(Reason::NoMapping), 1);
}

#[test]
fn errors_are_rate_limited_and_the_drop_keeps_its_reason() {
    let mut config = base();
    config.limits.icmp_errors_per_second = 2;
    let mut lab = Lab::new(config);
    let packet = udp4((SERVER, 53), (v4("203.0.113.9"), 4000));
    lab.step(OUTSIDE, &packet).answered(Reason::NoMapping);
    lab.step(OUTSIDE, &packet).answered(Reason::NoMapping);
    lab.step(OUTSIDE, &packet).dropped(Reason::NoMapping);
    let dying = with_ttl(1, packet);
    lab.step(OUTSIDE, &dying).dropped(Reason::ErrorRateLimited);
    lab.now += SECOND;
    assert_eq!(lab.step(OUTSIDE, &dying).answered(Reason::TimeExceeded).icmp(), (11, 0));
}

#[test]
fn what_is_not_for_us_is_not_translated() {
    let mut lab = Lab::new(base());
    lab.step(OUTSIDE, &udp4((SERVER, 53), (v4("198.51.100.1"), 53)))
        .dropped(Reason::NoRule);
    lab.step(INSIDE, &udp6((A, 1), (v6("2001:db8:1::1"), 53)))
        .dropped(Reason::NoRule);
    lab.step(OUTSIDE, &udp6((A, 1), (embed(SERVER), 53)))
        .dropped(Reason::NoRule);
    lab.step(INSIDE, &udp4((SERVER, 53), (v4("203.0.113.1"), 53)))
        .dropped(Reason::NoRule);
    lab.step(7, &udp6((A, 1), (embed(SERVER), 53))).dropped(Reason::NoUnit);
    lab.step(INSIDE, &[]).dropped(Reason::Truncated);
    lab.step(INSIDE, &[0x55; 40]).dropped(Reason::BadHeader);
    lab.assert_empty();
}

#[test]
fn a_source_inside_the_prefix_is_dropped() {
    let mut lab = Lab::new(base());
    let inside_prefix = embed("203.0.113.1").to_string();
    lab.step(INSIDE, &udp6((&inside_prefix, 500), (embed(SERVER), 53)))
        .dropped(Reason::SourceInPref64);
    lab.assert_empty();
}

#[test]
fn addresses_of_no_host_are_dropped() {
    let mut lab = Lab::new(base());
    for source in ["ff02::1", "::", "::1", "fe80::1"] {
        lab.step(INSIDE, &udp6((source, 500), (embed(SERVER), 53)))
            .dropped(Reason::BadAddress);
    }
    for server in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1"] {
        lab.step(INSIDE, &udp6((A, 500), (embed(server), 53)))
            .dropped(Reason::BadAddress);
        lab.step(OUTSIDE, &udp4((server, 53), (v4("203.0.113.1"), 1024)))
            .dropped(Reason::BadAddress);
    }
    lab.assert_empty();
}

#[test]
fn the_well_known_prefix_is_for_global_addresses() {
    let mut config = base();
    config.service_sets[0].terms = vec![term("t", "64:ff9b::", 0)];
    let mut lab = Lab::new(config.clone());
    let private = embed_in("64:ff9b::", "10.1.2.3");
    lab.step(INSIDE, &udp6((A, 500), (private, 53)))
        .dropped(Reason::NotGlobal);
    let pool = lab
        .step(INSIDE, &udp6((A, 500), (embed_in("64:ff9b::", "8.8.8.8"), 53)))
        .one()
        .src4();
    lab.step(OUTSIDE, &udp4(("10.1.2.3", 53), pool))
        .dropped(Reason::NotGlobal);
    config.service_sets[0].well_known_prefix = WellKnownPrefix::Any;
    let mut lab = Lab::new(config);
    lab.step(INSIDE, &udp6((A, 500), (private, 53))).one();
}

/// RFC 6146 section 1.2.2 walks H1 to 192.0.2.1 through 64:ff9b::/96: who tries that must get through, unless the
/// letter of RFC 6052 is asked for.
#[test]
fn documentation_addresses_pass_the_well_known_prefix_unless_it_is_strict() {
    let mut config = base();
    config.service_sets[0].terms = vec![term("t", "64:ff9b::", 0)];
    for (rule, private, documentation) in [
        (WellKnownPrefix::Documentation, false, true),
        (WellKnownPrefix::Strict, false, false),
        (WellKnownPrefix::Any, true, true),
    ] {
        config.service_sets[0].well_known_prefix = rule;
        for (server, passes) in [
            ("192.0.2.1", documentation),
            ("198.51.100.7", documentation),
            ("203.0.113.0", documentation),
            ("10.1.2.3", private),
            ("172.16.0.1", private),
            ("192.168.1.1", private),
            ("100.64.0.1", private),
            ("169.254.0.1", private),
            ("198.18.0.1", private),
            ("192.0.0.1", private),
            ("8.8.8.8", true),
        ] {
            // From inside, and from outside to a binding that a global server made.
            let mut lab = Lab::new(config.clone());
            let pool = lab
                .step(INSIDE, &udp6((B, 1), (embed_in("64:ff9b::", "9.9.9.9"), 53)))
                .one()
                .src4();
            lab.step(INSIDE, &udp6((A, 500), (embed_in("64:ff9b::", server), 53)));
            if passes {
                lab.one();
                lab.step(OUTSIDE, &udp4((server, 53), pool)).one();
            } else {
                lab.dropped(Reason::NotGlobal);
                lab.step(OUTSIDE, &udp4((server, 53), pool)).dropped(Reason::NotGlobal);
            }
        }
    }
    assert_eq!(WellKnownPrefix::default(), base().service_sets[0].well_known_prefix);
}

#[test]
fn an_extension_header_behind_a_fragment_header_is_dropped_in_silence() {
    let mut lab = Lab::new(base());
    let plain = udp6((A, 1), (embed(SERVER), 53));
    // An atomic fragment and the first of two, with a Destination Options header in front of the UDP.
    for more in [0, 1] {
        let mut packet = plain[..40].to_vec();
        packet[6] = 44;
        packet.extend_from_slice(&[60, 0, 0, more, 0, 0, 0, 9, 17, 0, 1, 4, 0, 0, 0, 0]);
        packet.extend_from_slice(&plain[40..]);
        let length = (packet.len() - 40) as u16;
        packet[4..6].copy_from_slice(&length.to_be_bytes());
        lab.step(INSIDE, &packet).dropped(Reason::UnsupportedProtocol);
    }
    lab.assert_empty();
}

#[test]
fn udp_without_checksum_from_outside_can_be_dropped() {
    let mut config = base();
    config.service_sets[0].udp_zero_checksum = UdpZeroChecksum::Drop;
    let mut lab = Lab::new(config);
    let pool = lab.udp((A, 1), (SERVER, 53));
    let whole = udp4((SERVER, 53), pool);
    let mut packet = whole.clone();
    packet[26..28].fill(0);
    lab.step(OUTSIDE, &packet).dropped(Reason::BadTransportChecksum);
    lab.step(OUTSIDE, &whole).one();
    lab.nat.reconfigure(lab.now, base(), &mut lab.effects).unwrap();
    lab.step(OUTSIDE, &packet).one();
}

#[test]
fn udp_without_checksum_makes_no_state() {
    let mut lab = Lab::new(base());
    let mut packet = udp6((A, 500), (embed(SERVER), 53));
    packet[46..48].fill(0);
    lab.step(INSIDE, &packet).dropped(Reason::BadTransportChecksum);
    lab.assert_empty();
}

#[test]
fn other_protocols_are_answered() {
    let mut lab = Lab::new(base());
    let mut packet = udp6((A, 500), (embed(SERVER), 53));
    packet[6] = 132;
    let answer = lab.step(INSIDE, &packet).answered(Reason::UnsupportedProtocol);
    assert_eq!((answer.icmp(), answer.dst.0), ((1, 4), v6(A).into()));
    let mut packet = udp4((SERVER, 53), (v4("203.0.113.1"), 1024));
    packet[9] = 132;
    packet[10..12].fill(0);
    let sum = checksum::finish(checksum::sum(&packet[..20]));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(
        lab.step(OUTSIDE, &packet).answered(Reason::UnsupportedProtocol).icmp(),
        (3, 2)
    );
}

#[test]
fn a_dying_packet_makes_no_state() {
    let mut lab = Lab::new(base());
    let mut packet = udp6((A, 500), (embed(SERVER), 53));
    packet[7] = 1;
    let answer = lab.step(INSIDE, &packet).answered(Reason::TimeExceeded);
    assert_eq!((answer.icmp(), answer.src.0), ((3, 0), embed("203.0.113.1").into()));
    lab.assert_empty();
}
