//! Mapping behaviour, and two rules that map one client to the same server.

use super::*;

/// Prefix of the second term.
const OTHER: &str = "2001:db8:65::";

/// Two terms whose prefixes embed the same servers.
fn two_rules(scope: EimScope, conflict: OnConflict, independent: bool) -> Config {
    let mut config = base();
    let set = &mut config.service_sets[0];
    set.eim_scope = scope;
    set.on_conflict = conflict;
    set.terms.push(term("u", OTHER, 0));
    for term in &mut set.terms {
        if let Action::Translate(translate) = &mut term.then {
            translate.endpoint_independent_mapping = independent;
        }
    }
    config
}

fn through(prefix: &str) -> Vec<u8> {
    udp6((A, 5000), (embed_in(prefix, SERVER), 53))
}

/// Both flows work at the same time, and answers find their way.
fn assert_both_work(lab: &mut Lab) {
    let first = lab.step(INSIDE, &through(PREFIX)).one().src4();
    let second = lab.step(INSIDE, &through(OTHER)).one().src4();
    assert_ne!(first, second);
    for (pool, prefix) in [(first, PREFIX), (second, OTHER)] {
        let back = lab.step(OUTSIDE, &udp4((SERVER, 53), pool)).one();
        assert_eq!(
            (back.src.0, back.dst6()),
            (embed_in(prefix, SERVER).into(), (v6(A), 5000))
        );
    }
    assert_eq!(lab.step(INSIDE, &through(PREFIX)).one().src4(), first);
    assert_eq!(lab.step(INSIDE, &through(OTHER)).one().src4(), second);
    assert_eq!(lab.nat.session_count(), 2);
    lab.pass(1000 * SECOND).assert_empty();
}

#[test]
fn one_mapping_serves_all_destinations() {
    for scope in [EimScope::ServiceSet, EimScope::RuleTerm] {
        let mut lab = Lab::new(two_rules(scope, OnConflict::Drop, true));
        let pool = lab.udp((A, 5000), (SERVER, 53));
        assert_eq!(lab.udp((A, 5000), (SERVER, 54)), pool);
        assert_eq!(lab.udp((A, 5000), ("192.0.2.9", 53)), pool);
        assert_ne!(lab.udp((A, 5001), (SERVER, 53)), pool);
        assert_ne!(lab.udp((B, 5000), (SERVER, 53)), pool);
        assert_eq!((lab.nat.bib_count(), lab.nat.session_count()), (3, 5));
    }
}

#[test]
fn each_protocol_has_bindings_of_its_own() {
    let mut lab = Lab::new(base());
    let udp = lab.udp((A, 5000), (SERVER, 53));
    let tcp = lab.connect((A, 5000), (SERVER, 53));
    let icmp = lab.step(INSIDE, &echo6(A, embed(SERVER), 5000)).one().src4();
    assert_eq!((udp, tcp, icmp), (udp, udp, udp), "the same port number thrice");
    assert_eq!(Protocol::ALL.map(|protocol| lab.nat.bib_count_of(protocol)), [1, 1, 1]);
}

#[test]
fn without_eim_each_destination_has_a_mapping() {
    let mut config = base();
    translate(&mut config).endpoint_independent_mapping = false;
    let mut lab = Lab::new(config);
    let pool = lab.udp((A, 5000), (SERVER, 53));
    assert_ne!(lab.udp((A, 5000), (SERVER, 54)), pool);
    assert_ne!(lab.udp((A, 5000), ("192.0.2.9", 53)), pool);
    assert_eq!(lab.udp((A, 5000), (SERVER, 53)), pool);
    assert_eq!(lab.nat.bib_count(), 3);
}

#[test]
fn junos_drops_the_second_of_two_rules() {
    let mut lab = Lab::new(two_rules(EimScope::ServiceSet, OnConflict::Drop, true));
    let pool = lab.step(INSIDE, &through(PREFIX)).one().src4();
    lab.step(INSIDE, &through(OTHER)).dropped(Reason::EimConflict);
    assert_eq!(lab.nat.stats().count(Reason::EimConflict), 1);
    assert_eq!((lab.nat.session_count(), lab.nat.bib_count()), (1, 1));
    // Another server through the other rule is no conflict, and uses the same mapping.
    let other = udp6((A, 5000), (embed_in(OTHER, "192.0.2.9"), 53));
    assert_eq!(lab.step(INSIDE, &other).one().src4(), pool);
}

#[test]
fn reallocation_gives_the_second_session_another_port() {
    let mut lab = Lab::new(two_rules(EimScope::ServiceSet, OnConflict::Reallocate, true));
    assert_both_work(&mut lab);
}

#[test]
fn mappings_by_rule_term_do_not_conflict() {
    let mut lab = Lab::new(two_rules(EimScope::RuleTerm, OnConflict::Drop, true));
    assert_both_work(&mut lab);
}

#[test]
fn workaround_without_eim() {
    let mut lab = Lab::new(two_rules(EimScope::ServiceSet, OnConflict::Drop, false));
    assert_both_work(&mut lab);
}

#[test]
fn workaround_with_two_service_sets_on_two_units() {
    let mut config = base();
    config.service_sets[0].eim_scope = EimScope::ServiceSet;
    config.service_sets[0].on_conflict = OnConflict::Drop;
    let mut second = config.service_sets[0].clone();
    second.name = "s2".into();
    second.outside_unit = 3;
    second.terms = vec![term("u", OTHER, 1)];
    config.service_sets.push(second);
    config.units.push(unit("in2", 1, true));
    config.units.push(unit("out2", 1, false));
    config.pools.push(pool("p2", "198.51.100.1", "198.51.100.9"));
    let mut lab = Lab::new(config);
    let first = lab.step(INSIDE, &through(PREFIX)).one().src4();
    let out = lab.step(2, &through(OTHER)).one();
    assert_eq!(
        (out.unit, out.src4().0, first.0),
        (3, v4("198.51.100.1"), v4("203.0.113.1"))
    );
    assert_eq!(lab.step(3, &udp4((SERVER, 53), out.src4())).one().unit, 2);
    assert_eq!(lab.step(OUTSIDE, &udp4((SERVER, 53), first)).one().unit, INSIDE);
    // The pool of one set is nothing to the other's units.
    lab.step(3, &udp4((SERVER, 53), first)).dropped(Reason::NoRule);
}

/// Two units (VLANs) with the same client address in one service set.
fn two_units(scope: EimScope) -> Config {
    let mut config = two_rules(scope, OnConflict::Drop, true);
    config.units.push(unit("vlan2", 0, true));
    config
}

#[test]
fn the_same_client_on_two_units() {
    let mut lab = Lab::new(two_units(EimScope::ServiceSet));
    lab.step(INSIDE, &through(PREFIX)).one();
    lab.step(2, &through(PREFIX)).dropped(Reason::EimConflict);
    let mut lab = Lab::new(two_units(EimScope::RuleTerm));
    let first = lab.step(INSIDE, &through(PREFIX)).one().src4();
    let second = lab.step(2, &through(PREFIX)).one().src4();
    assert_ne!(first, second);
    assert_eq!(lab.step(OUTSIDE, &udp4((SERVER, 53), first)).one().unit, INSIDE);
    assert_eq!(lab.step(OUTSIDE, &udp4((SERVER, 53), second)).one().unit, 2);
}

#[test]
fn the_first_matching_term_decides() {
    let mut config = base();
    let mut refused = term("refused", PREFIX, 0);
    refused.then = Action::NoTranslation;
    refused.from.source = vec![PrefixMatch {
        address: v6(B),
        length: 128,
        except: false,
    }];
    let mut dns = term("dns", PREFIX, 1);
    dns.from.destination_ports = Some((53, 53));
    dns.from.source = vec![
        PrefixMatch {
            address: v6("2001:db8::"),
            length: 32,
            except: false,
        },
        PrefixMatch {
            address: v6("2001:db8:ff::"),
            length: 48,
            except: true,
        },
    ];
    let mut rest = term("rest", PREFIX, 0);
    rest.from.source_ranges = vec![(v6("2001:db8::"), v6("2001:db8::ffff"), false)];
    config.service_sets[0].terms = vec![refused, dns, rest];
    config.pools.push(pool("p2", "198.51.100.1", "198.51.100.9"));
    let mut lab = Lab::new(config);
    lab.step(INSIDE, &udp6((B, 1), (embed(SERVER), 53)))
        .dropped(Reason::NoTranslation);
    assert_eq!(lab.udp((A, 1), (SERVER, 53)).0, v4("198.51.100.1"));
    assert_eq!(lab.udp((A, 1), (SERVER, 54)).0, v4("203.0.113.1"));
    lab.step(INSIDE, &udp6(("2001:db8:ff::1", 1), (embed(SERVER), 53)))
        .dropped(Reason::NoRule);
    lab.step(INSIDE, &echo6("2001:db8:1::1", embed(SERVER), 1))
        .dropped(Reason::NoRule);
    lab.step(INSIDE, &echo6(A, embed(SERVER), 1)).one();
}

#[test]
fn static_bindings_stay_and_let_servers_be_reached() {
    let mut config = base();
    config.service_sets[0].static_bindings = vec![
        StaticBinding {
            protocol: Protocol::Tcp,
            inside: (v6(A), 80),
            outside: (v4("203.0.113.1"), 8080),
            term: 0,
        },
        StaticBinding {
            protocol: Protocol::Udp,
            inside: (v6(A), 53),
            outside: (v4("198.51.100.7"), 53),
            term: 0,
        },
    ];
    let mut lab = Lab::new(config);
    assert_eq!(lab.nat.bib_count(), 2);
    assert_eq!(
        lab.step(OUTSIDE, &tcp4(("192.0.2.9", 9), (v4("203.0.113.1"), 8080), "S"))
            .one()
            .dst6(),
        (v6(A), 80)
    );
    assert_eq!(
        lab.step(OUTSIDE, &udp4(("192.0.2.9", 9), (v4("198.51.100.7"), 53)))
            .one()
            .dst6(),
        (v6(A), 53)
    );
    assert_eq!(
        lab.udp((A, 53), (SERVER, 99)),
        (v4("198.51.100.7"), 53),
        "outbound uses it, too"
    );
    lab.pass(1000 * SECOND);
    assert_eq!((lab.nat.session_count(), lab.nat.bib_count()), (0, 2));
    lab.assert_empty();
}

#[test]
fn deterministic_ports_can_be_computed_back() {
    let mut config = base();
    config.pools[0].deterministic_block = Some(DeterministicBlocks {
        block_size: 0,
        include_boundary_addresses: true,
    });
    config.service_sets[0].terms[0].from.source = vec![PrefixMatch {
        address: v6("2001:db8::"),
        length: 120,
        except: false,
    }];
    translate(&mut config).deterministic = true;
    let mut lab = Lab::new(config);
    for client in [A, B, "2001:db8::ff", "2001:db8::"] {
        let pool = lab.udp((client, 1), (SERVER, 53));
        assert_eq!(lab.nat.deterministic_subscriber(pool), Some(v6(client)));
    }
    lab.pass(1000 * SECOND).assert_empty();
}

/// The first sessions of a binding are found by walking its list, the others by an index: whatever comes and goes, each
/// packet from outside meets the session it belongs to.
#[test]
fn sessions_of_one_binding_are_found_whatever_comes_and_goes() {
    let mut lab = Lab::new(base());
    let pool = lab.udp((A, 500), (SERVER, 1));
    let mut open = vec![1u16];
    for round in 0..200u16 {
        let port = round * 37 % 23 + 1;
        if round % 3 == 2 {
            lab.effects.clear();
            lab.nat
                .clear_sessions(|info| info.flow.remote.1 == port, lab.now, &mut lab.effects);
            open.retain(|&other| other != port);
            if lab.nat.session_count() == 0 {
                assert_eq!(lab.udp((A, 500), (SERVER, 1)), pool);
                open = vec![1];
            }
        } else {
            assert_eq!(lab.udp((A, 500), (SERVER, port)), pool);
            if !open.contains(&port) {
                open.push(port);
            }
        }
        for &port in &open {
            lab.step(OUTSIDE, &udp4((SERVER, port), pool)).one();
        }
        assert_eq!(
            lab.nat.session_count(),
            open.len(),
            "round {round}: a packet met no session and opened one"
        );
    }
    assert!(open.len() > 8);
}
