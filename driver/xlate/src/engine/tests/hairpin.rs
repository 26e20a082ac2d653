//! RFC 6146 section 3.8: both ends are clients of ours.

use super::*;

/// B has a mapping of a protocol, and A knows its address.
fn with_mapping(lab: &mut Lab) -> (Ipv4Addr, u16) {
    lab.udp((B, 6000), (SERVER, 53))
}

fn to(pool: (Ipv4Addr, u16)) -> (Ipv6Addr, u16) {
    (embed(&pool.0.to_string()), pool.1)
}

#[test]
fn udp_between_two_clients() {
    let mut lab = Lab::new(base());
    let b = with_mapping(&mut lab);
    let got = lab.step(INSIDE, &udp6((A, 5000), to(b))).one();
    assert_eq!((got.unit, got.dst6()), (INSIDE, (v6(B), 6000)));
    let IpAddr::V6(source) = got.src.0 else {
        panic!("IPv4 inside")
    };
    assert!(
        Policy::new(base()).unwrap().in_prefix(0, source),
        "A appears as a server"
    );
    assert_eq!(got.bytes[7], 62, "two hops");
    assert_eq!(lab.installs(), [], "no card can carry it");
    let back = lab.step(INSIDE, &udp6((B, 6000), (source, got.src.1))).one();
    assert_eq!((back.dst6(), back.src), ((v6(A), 5000), (to(b).0.into(), b.1)));
    assert_eq!(lab.nat.session_count(), 3);
    assert!(lab.nat.sessions().filter(|session| session.hairpin).count() == 2);
    lab.pass(400 * SECOND).assert_empty();
}

#[test]
fn udp_to_oneself() {
    let mut lab = Lab::new(base());
    let pool = lab.udp((A, 5000), (SERVER, 53));
    let got = lab.step(INSIDE, &udp6((A, 5000), to(pool))).one();
    assert_eq!((got.dst6(), got.src), ((v6(A), 5000), (to(pool).0.into(), pool.1)));
}

#[test]
fn tcp_between_two_clients() {
    let mut config = base();
    config.service_sets[0].static_bindings = vec![StaticBinding {
        protocol: Protocol::Tcp,
        inside: (v6(B), 80),
        outside: (v4("203.0.113.1"), 80),
        term: 0,
    }];
    let mut lab = Lab::new(config);
    let b = (v4("203.0.113.1"), 80);
    let got = lab.step(INSIDE, &tcp6((A, 5000), to(b), "S")).one();
    assert_eq!(got.dst6(), (v6(B), 80));
    let IpAddr::V6(a) = got.src.0 else {
        panic!("IPv4 inside")
    };
    assert_eq!(
        lab.step(INSIDE, &tcp6((B, 80), (a, got.src.1), "SA")).one().dst6(),
        (v6(A), 5000)
    );
    lab.step(INSIDE, &tcp6((A, 5000), to(b), "A")).one();
    assert!(lab
        .nat
        .sessions()
        .all(|session| session.state == State::Established && !session.installed));
    lab.pass(10_000 * SECOND);
    lab.pass(1000 * SECOND).assert_empty();
}

#[test]
fn a_hairpinned_syn_without_mapping_waits_and_its_error_comes_back() {
    let mut lab = Lab::new(base());
    let nobody = (v4("203.0.113.77"), 80);
    lab.step(INSIDE, &tcp6((A, 5000), to(nobody), "S")).held();
    assert_eq!(lab.nat.stored_syns(), 1);
    lab.pass(6 * SECOND);
    assert_eq!(lab.drops(), [Reason::SynTimeout]);
    let sent = lab.sent();
    assert_eq!((sent.len(), sent[0].icmp(), sent[0].dst.0), (1, (1, 4), v6(A).into()));
    let quoted = read(0, None, &sent[0].bytes[48..]);
    assert_eq!(
        (quoted.src, quoted.dst),
        ((v6(A).into(), 5000), (to(nobody).0.into(), 80))
    );
}

#[test]
fn a_hairpin_without_mapping_is_answered() {
    let mut lab = Lab::new(base());
    let answer = lab
        .step(INSIDE, &udp6((A, 5000), to((v4("203.0.113.77"), 80))))
        .answered(Reason::NoMapping);
    assert_eq!((answer.icmp(), answer.dst.0), ((1, 0), v6(A).into()));
}

#[test]
fn errors_are_hairpinned() {
    let mut lab = Lab::new(base());
    let b = with_mapping(&mut lab);
    let got = lab.step(INSIDE, &udp6((A, 5000), to(b))).one();
    let IpAddr::V6(a) = got.src.0 else {
        panic!("IPv4 inside")
    };
    let error = lab.step(INSIDE, &error6(B, a, 1, 4, &got.bytes)).one();
    assert_eq!(
        (error.icmp(), error.dst.0, error.src.0),
        ((1, 4), v6(A).into(), to(b).0.into())
    );
    let quoted = read(0, None, &error.bytes[48..]);
    assert_eq!((quoted.src, quoted.dst), ((v6(A).into(), 5000), (to(b).0.into(), b.1)));
    let mut dying = error6(B, a, 1, 4, &got.bytes);
    dying[7] = 2;
    lab.step(INSIDE, &dying).dropped(Reason::NotAnswered);
}

#[test]
fn echo_is_hairpinned_when_the_identifiers_meet() {
    // An echo has one identifier only: the other client's binding must have the number the first one got.
    let mut config = base();
    config.service_sets[0].static_bindings = vec![StaticBinding {
        protocol: Protocol::Icmp,
        inside: (v6(B), 9),
        outside: (v4("203.0.113.99"), 1024),
        term: 0,
    }];
    let mut lab = Lab::new(config);
    let got = lab.step(INSIDE, &echo6(A, embed("203.0.113.99"), 77)).one();
    assert_eq!((got.dst6(), got.src.0), ((v6(B), 9), embed("203.0.113.1").into()));
}

#[test]
fn a_hairpin_needs_two_hops() {
    let mut lab = Lab::new(base());
    let b = with_mapping(&mut lab);
    let mut packet = udp6((A, 5000), to(b));
    packet[7] = 2;
    assert_eq!(lab.step(INSIDE, &packet).answered(Reason::TimeExceeded).icmp(), (3, 0));
    assert_eq!(lab.nat.session_count(), 1);
}

#[test]
fn filters_hold_for_hairpins() {
    let mut config = base();
    translate(&mut config).filtering = Filtering::AddressDependent;
    let mut lab = Lab::new(config);
    let b = with_mapping(&mut lab);
    lab.step(INSIDE, &udp6((A, 5000), to(b))).dropped(Reason::Filtered);
    // B sends to A's mapping first: A may come in then.
    let a = lab.nat.bibs().find(|bib| bib.client.0 == v6(A)).unwrap().pool;
    lab.step(INSIDE, &udp6((B, 6000), to(a))).one();
    assert_eq!(lab.step(INSIDE, &udp6((A, 5000), to(b))).one().dst6(), (v6(B), 6000));
}

#[test]
fn hairpins_between_service_sets() {
    let mut config = base();
    let mut second = config.service_sets[0].clone();
    second.name = "s2".into();
    second.outside_unit = 3;
    second.terms = vec![term("u", "2001:db8:65::", 1)];
    config.service_sets.push(second);
    config.units.push(unit("in2", 1, true));
    config.units.push(unit("out2", 1, false));
    config.pools.push(pool("p2", "198.51.100.1", "198.51.100.9"));
    let mut lab = Lab::new(config);
    let b = lab
        .step(2, &udp6((B, 6000), (embed_in("2001:db8:65::", SERVER), 53)))
        .one()
        .src4();
    let got = lab.step(INSIDE, &udp6((A, 5000), to(b))).one();
    assert_eq!((got.unit, got.dst6()), (2, (v6(B), 6000)));
    assert_eq!(
        got.src.0,
        embed_in("2001:db8:65::", "203.0.113.1")
            .to_string()
            .parse::<IpAddr>()
            .unwrap()
    );
}

/// The client of another shard has the pool address; between the two shards a packet is an IPv4 packet like any other.
#[test]
fn the_middle_of_a_hairpin_takes_a_hop_and_may_die_of_it() {
    let mut lab = Lab::new(base());
    let b = with_mapping(&mut lab);
    let mut middle = |ttl| {
        let packet = with_ttl(ttl, udp4(("203.0.113.77", 4000), b));
        lab.effects.clear();
        lab.nat.step_middle(lab.now, 0, &packet, &mut lab.effects);
        let sent = lab.sent().remove(0);
        (lab.drops(), sent)
    };
    let (drops, through) = middle(2);
    assert_eq!((drops, through.unit, through.dst6()), (vec![], INSIDE, (v6(B), 6000)));
    assert_eq!(through.bytes[7], 1, "its hop limit");
    let (drops, answer) = middle(1);
    assert_eq!(drops, [Reason::TimeExceeded]);
    assert_eq!((answer.unit, answer.icmp()), (crate::shard::hairpin_unit(0), (11, 0)));
    assert_eq!(answer.dst.0, v4("203.0.113.77"), "to the shard it came from");
}
