//! A new configuration over living state.

use super::*;

fn reconfigure(lab: &mut Lab, config: &Config) -> ReconfigureReport {
    lab.effects.clear();
    let now = lab.now;
    lab.nat.reconfigure(now, config.clone(), &mut lab.effects).unwrap()
}

/// Two terms on two pools.
fn two() -> Config {
    let mut config = base();
    config.service_sets[0].terms.push(term("u", "2001:db8:65::", 1));
    config.pools.push(pool("q", "198.51.100.1", "198.51.100.9"));
    config
}

fn second(port: u16) -> Vec<u8> {
    udp6((A, port), (embed_in("2001:db8:65::", SERVER), 53))
}

#[test]
fn the_same_configuration_changes_nothing() {
    let mut lab = Lab::new(two());
    let pool = lab.udp((A, 1), (SERVER, 53));
    lab.step(INSIDE, &second(1)).one();
    let before: Vec<SessionInfo> = lab.nat.sessions().collect();
    let report = reconfigure(&mut lab, &two());
    assert_eq!(
        report,
        ReconfigureReport {
            sessions_kept: 2,
            ..ReconfigureReport::default()
        }
    );
    assert!(lab.effects.is_empty());
    assert_eq!(lab.nat.sessions().collect::<Vec<_>>(), before);
    assert_eq!(lab.udp((A, 1), (SERVER, 53)), pool);
    lab.pass(1000 * SECOND).assert_empty();
}

#[test]
fn sessions_of_a_removed_term_end_the_others_live() {
    let mut lab = Lab::new(two());
    let first = lab.udp((A, 1), (SERVER, 53));
    let other = lab.step(INSIDE, &second(1)).one().src4();
    let kept = lab
        .nat
        .sessions()
        .find(|session| session.flow.pool == other)
        .unwrap()
        .flow
        .id;
    let mut config = two();
    config.service_sets[0].terms.remove(0);
    config.pools.remove(0);
    if let Action::Translate(translate) = &mut config.service_sets[0].terms[0].then {
        translate.pool = 0;
    }
    let report = reconfigure(&mut lab, &config);
    assert_eq!(
        (report.sessions_kept, report.sessions_removed, report.bibs_removed),
        (1, 1, 1)
    );
    // The survivor has other indices now: its record is written anew, under the same name.
    assert_eq!(lab.removes().len(), 2);
    assert_eq!(
        lab.installs()
            .iter()
            .map(|flow| (flow.id, flow.term))
            .collect::<Vec<_>>(),
        [(kept, 0)]
    );
    assert_eq!(lab.step(INSIDE, &second(1)).one().src4(), other);
    lab.step(OUTSIDE, &udp4((SERVER, 53), other)).one();
    lab.step(OUTSIDE, &udp4((SERVER, 53), first)).dropped(Reason::NoRule);
    lab.pass(1000 * SECOND).assert_empty();
}

#[test]
fn a_new_term_in_front_moves_the_indices_only() {
    let mut lab = Lab::new(base());
    let pool = lab.connect((A, 1), (SERVER, 80));
    let mut config = base();
    config.service_sets[0].terms.insert(0, term("new", "2001:db8:66::", 0));
    assert_eq!(reconfigure(&mut lab, &config).sessions_kept, 1);
    assert_eq!(lab.only_session().flow.term, 1);
    lab.step(OUTSIDE, &tcp4((SERVER, 80), pool, "A")).one();
    lab.step(INSIDE, &tcp6((A, 1), (embed(SERVER), 80), "A")).one();
}

#[test]
fn another_pool_ends_its_sessions() {
    let mut lab = Lab::new(base());
    lab.udp((A, 1), (SERVER, 53));
    let mut config = base();
    config.pools[0].ports = (5000, 6000);
    let report = reconfigure(&mut lab, &config);
    assert_eq!((report.sessions_removed, lab.removes().len()), (1, 1));
    lab.assert_empty();
    assert_eq!(lab.udp((A, 1), (SERVER, 53)).1, 5000);
}

#[test]
fn draining_keeps_sessions_and_moves_new_mappings() {
    let mut lab = Lab::new(base());
    let pool = lab.udp((A, 1), (SERVER, 53));
    let mut config = base();
    config.pools[0].draining = vec![pool.0];
    assert_eq!(reconfigure(&mut lab, &config).sessions_kept, 1);
    assert_eq!(lab.udp((A, 1), (SERVER, 54)), pool, "the mapping lives on");
    assert_eq!(lab.udp((A, 2), (SERVER, 53)).0, v4("203.0.113.2"));
    assert_eq!(lab.nat.ports_in_use(pool.0), 1);
    lab.pass(300 * SECOND);
    assert_eq!(lab.nat.ports_in_use(pool.0), 0);
}

#[test]
fn a_static_binding_takes_a_port_that_rests() {
    let mut config = base();
    config.pools[0].ports = (1024, 1026);
    config.pools[0].ranges = vec![(v4("203.0.113.1"), v4("203.0.113.1"))];
    config.pools[0].quarantine = Duration::from_secs(60);
    let mut lab = Lab::new(config.clone());
    let pool = lab.udp((A, 1), (SERVER, 53));
    // The dynamic binding in the way goes, and its port would rest.
    config.service_sets[0].static_bindings = vec![StaticBinding {
        protocol: Protocol::Udp,
        inside: (v6(B), 7),
        outside: pool,
        term: 0,
    }];
    reconfigure(&mut lab, &config);
    assert_eq!(lab.nat.stats().pools[0].quarantined, 0);
    lab.pass(61 * SECOND);
    assert_eq!(lab.udp((A, 1), (SERVER, 53)).1, 1025);
    assert_eq!(lab.udp((A, 2), (SERVER, 53)).1, 1026);
    lab.step(INSIDE, &udp6((A, 3), (embed(SERVER), 53)))
        .answered(Reason::PoolExhausted);
    assert_eq!(lab.udp((B, 7), (SERVER, 53)), pool);
}

#[test]
fn new_timers_hold_for_old_sessions() {
    let mut lab = Lab::new(base());
    lab.udp((A, 1), (SERVER, 53));
    lab.now += 20 * SECOND;
    let mut config = base();
    config.timers.udp = Duration::from_secs(30);
    reconfigure(&mut lab, &config);
    lab.pass(10 * SECOND - 1);
    assert_eq!(lab.nat.session_count(), 1);
    lab.pass(1).assert_empty();

    lab.udp((A, 1), (SERVER, 53));
    reconfigure(&mut lab, &base());
    lab.pass(300 * SECOND - 1);
    assert_eq!(lab.nat.session_count(), 1);
}

#[test]
fn static_bindings_come_and_go() {
    let mut lab = Lab::new(base());
    let pool = lab.udp((A, 1), (SERVER, 53));
    let mut config = base();
    config.service_sets[0].static_bindings = vec![StaticBinding {
        protocol: Protocol::Udp,
        inside: (v6(B), 9),
        outside: pool,
        term: 0,
    }];
    let report = reconfigure(&mut lab, &config);
    assert_eq!(
        (report.sessions_kept, lab.nat.session_count()),
        (1, 0),
        "the port is the server's now"
    );
    assert_eq!(lab.step(OUTSIDE, &udp4((SERVER, 1), pool)).one().dst6(), (v6(B), 9));
    assert_ne!(lab.udp((A, 1), (SERVER, 53)), pool);
    let report = reconfigure(&mut lab, &base());
    assert_eq!((report.sessions_removed, report.bibs_removed), (1, 1));
    lab.pass(1000 * SECOND).assert_empty();
}

#[test]
fn subscriber_limits_count_what_lives() {
    let mut lab = Lab::new(base());
    lab.udp((A, 1), (SERVER, 53));
    lab.udp((A, 2), (SERVER, 53));
    let mut config = base();
    config.service_sets[0].max_sessions_per_subscriber = Some(2);
    reconfigure(&mut lab, &config);
    lab.step(INSIDE, &udp6((A, 3), (embed(SERVER), 53)))
        .answered(Reason::SubscriberLimit);
    lab.pass(300 * SECOND).assert_empty();
}

#[test]
fn a_bad_configuration_changes_nothing() {
    let mut lab = Lab::new(base());
    lab.udp((A, 1), (SERVER, 53));
    let mut broken: Vec<(Config, &str)> = Vec::new();
    let mut add = |change: &dyn Fn(&mut Config), what: &'static str| {
        let mut config = base();
        change(&mut config);
        broken.push((config, what));
    };
    add(&|c| c.units[0].service_set = Some(9), "no service set 9");
    add(&|c| c.service_sets[0].outside_unit = 9, "no unit 9");
    add(&|c| translate(c).pool = 9, "no pool 9");
    add(&|c| translate(c).overload_pool = Some(9), "no pool 9");
    add(&|c| translate(c).pref64_length = 95, "not 32, 40, 48, 56, 64 or 96");
    add(&|c| translate(c).pref64 = v6("2001:db8::1"), "");
    add(
        &|c| translate(c).deterministic = true,
        "no deterministic-port-block-allocation",
    );
    add(&|c| c.pools[0].ranges.clear(), "no address");
    add(&|c| c.pools[0].ports = (5, 4), "5..4");
    add(&|c| c.pools[0].ports = (0, 4), "0..4");
    add(
        &|c| c.pools[0].ranges = vec![(v4("10.0.0.2"), v4("10.0.0.1"))],
        "10.0.0.2..10.0.0.1",
    );
    add(
        &|c| c.pools[0].ranges = vec![(v4("10.0.0.0"), v4("10.255.255.255"))],
        "more than 1048576",
    );
    add(
        &|c| c.pools[0].ranges = vec![(v4("126.0.0.0"), v4("127.0.0.1"))],
        "127.0.0.0/8 is reserved",
    );
    add(
        &|c| c.pools[0].ranges.push((v4("203.0.113.9"), v4("203.0.113.9"))),
        "overlap at 203.0.113.9",
    );
    add(&|c| c.service_sets[0].ipv6_mtu = 1279, "1279");
    add(&|c| c.service_sets[0].subscriber_length = 60, "60");
    let blocks = |size, max| PortBlocks {
        block_size: size,
        max_blocks_per_address: max,
        active_block_timeout: Duration::ZERO,
    };
    add(&|c| c.pools[0].blocks = Some(blocks(0, 1)), "no block of 0 ports fits");
    add(
        &|c| c.pools[0].blocks = Some(blocks(65000, 1)),
        "no block of 65000 ports fits",
    );
    add(
        &|c| c.service_sets[0].terms[0].from.destination_ports = Some((2, 1)),
        "range cannot be right",
    );
    let binding = StaticBinding {
        protocol: Protocol::Tcp,
        inside: (v6(A), 1),
        outside: (v4("203.0.113.1"), 1),
        term: 0,
    };
    add(
        &|c| c.service_sets[0].static_bindings = vec![binding.clone(), binding.clone()],
        "static binding 1",
    );
    add(
        &|c| {
            c.service_sets[0].static_bindings = vec![StaticBinding {
                term: 7,
                ..binding.clone()
            }]
        },
        "static binding 0",
    );
    add(
        &|c| {
            c.pools.push(pool("q", "203.0.113.50", "203.0.113.60"));
            translate(c).overload_pool = Some(1);
        },
        "pools p and q overlap at 203.0.113.50",
    );
    add(
        &|c| {
            c.service_sets.push(ServiceSet {
                name: "s2".into(),
                outside_unit: 1,
                ..ServiceSet::default()
            });
        },
        "served by another service set",
    );
    for (config, what) in broken {
        let mut effects = Effects::new();
        let error = lab
            .nat
            .reconfigure(lab.now, config, &mut effects)
            .unwrap_err()
            .to_string();
        assert!(error.contains(what), "{error:?} does not say {what:?}");
        assert!(effects.is_empty());
        assert_eq!((lab.nat.session_count(), lab.nat.config()), (1, &base()));
    }
}

#[test]
fn a_waiting_syn_survives() {
    let mut lab = Lab::new(base());
    lab.step(OUTSIDE, &tcp4((SERVER, 80), (v4("203.0.113.1"), 1024), "S"))
        .held();
    reconfigure(&mut lab, &base());
    assert_eq!(lab.nat.stored_syns(), 1);
    let mut config = base();
    config.pools[0].ranges = vec![(v4("198.51.100.1"), v4("198.51.100.1"))];
    let report = reconfigure(&mut lab, &config);
    assert_eq!((report.stored_syns_removed, lab.drops()), (1, vec![Reason::SynTimeout]));
    lab.assert_empty();
}
