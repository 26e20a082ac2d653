//! Limits and attacks: every refusal under its own reason, and traffic of living sessions unharmed.

use super::*;

#[test]
fn an_exhausted_pool_is_answered_and_harms_nobody() {
    let mut config = base();
    config.pools[0].ranges = vec![(v4("203.0.113.1"), v4("203.0.113.1"))];
    config.pools[0].ports = (2000, 2001);
    let mut lab = Lab::new(config);
    let pool = lab.udp((A, 1), (SERVER, 53));
    lab.udp((A, 2), (SERVER, 53));
    let answer = lab
        .step(INSIDE, &udp6((B, 1), (embed(SERVER), 53)))
        .answered(Reason::PoolExhausted);
    assert_eq!(answer.icmp(), (1, 3));
    assert_eq!(lab.udp((A, 1), (SERVER, 53)), pool);
    lab.step(OUTSIDE, &udp4((SERVER, 53), pool)).one();
    assert_eq!(lab.nat.stats().pools[0].out_of_ports, 1);
    // UDP is full, TCP is not.
    lab.connect((B, 1), (SERVER, 80));
    lab.pass(300 * SECOND).udp((B, 1), (SERVER, 53));
}

#[test]
fn an_overload_pool_takes_over() {
    let mut config = base();
    config.pools[0].ranges = vec![(v4("203.0.113.1"), v4("203.0.113.1"))];
    config.pools[0].ports = (2000, 2000);
    config.pools.push(pool("spare", "198.51.100.1", "198.51.100.1"));
    translate(&mut config).overload_pool = Some(1);
    let mut lab = Lab::new(config);
    assert_eq!(lab.udp((A, 1), (SERVER, 53)), (v4("203.0.113.1"), 2000));
    let spare = lab.udp((A, 2), (SERVER, 53));
    assert_eq!(spare, (v4("198.51.100.1"), 1024));
    assert_eq!(lab.step(OUTSIDE, &udp4((SERVER, 53), spare)).one().dst6(), (v6(A), 2));
    lab.pass(300 * SECOND).assert_empty();
}

#[test]
fn sessions_and_bindings_are_limited() {
    let mut config = base();
    config.limits.sessions = 2;
    let mut lab = Lab::new(config);
    let pool = lab.udp((A, 1), (SERVER, 1));
    lab.udp((A, 1), (SERVER, 2));
    lab.step(INSIDE, &udp6((A, 1), (embed(SERVER), 3)))
        .answered(Reason::SessionLimit);
    lab.step(OUTSIDE, &udp4((SERVER, 3), pool))
        .dropped(Reason::SessionLimit);
    lab.step(OUTSIDE, &udp4((SERVER, 2), pool)).one();

    let mut config = base();
    config.limits.bibs = 1;
    let mut lab = Lab::new(config);
    lab.udp((A, 1), (SERVER, 1));
    lab.udp((A, 1), (SERVER, 2));
    lab.step(INSIDE, &udp6((A, 2), (embed(SERVER), 1)))
        .answered(Reason::BibLimit);
}

#[test]
fn a_client_is_told_that_its_quota_is_used_up() {
    let mut config = base();
    config.service_sets[0].max_sessions_per_subscriber = Some(1);
    config.limits.embryonic = Some(0);
    let mut lab = Lab::new(config);
    let pool = lab.udp((A, 1), (SERVER, 1));
    let answer = lab
        .step(INSIDE, &udp6((A, 2), (embed(SERVER), 1)))
        .answered(Reason::SubscriberLimit);
    assert_eq!((answer.icmp(), answer.dst.0), ((1, 3), v6(A).into()));
    // A host outside that asks for one too many hears nothing, and neither does a flood.
    lab.step(OUTSIDE, &udp4(("192.0.2.9", 1), pool))
        .dropped(Reason::SubscriberLimit);
    lab.step(INSIDE, &tcp6((B, 1), (embed(SERVER), 80), "S"))
        .dropped(Reason::EmbryonicLimit);
}

#[test]
fn sessions_of_a_service_set_are_limited() {
    let mut config = base();
    config.service_sets[0].max_sessions = Some(1);
    let mut lab = Lab::new(config);
    lab.udp((A, 1), (SERVER, 1));
    lab.step(INSIDE, &udp6((A, 1), (embed(SERVER), 2)))
        .answered(Reason::SessionLimit);
    lab.pass(300 * SECOND).udp((A, 1), (SERVER, 2));
}

#[test]
fn sessions_of_a_subscriber_are_limited() {
    for (length, same, other) in [
        (128, A, B),
        (64, "2001:db8::1:2:3:4", "2001:db8:0:1::a"),
        (48, B, "2001:db8:1::a"),
    ] {
        let mut config = base();
        config.service_sets[0].max_sessions_per_subscriber = Some(1);
        config.service_sets[0].subscriber_length = length;
        let mut lab = Lab::new(config);
        lab.udp((A, 1), (SERVER, 1));
        lab.step(INSIDE, &udp6((same, 1), (embed(SERVER), 2)))
            .answered(Reason::SubscriberLimit);
        lab.udp((other, 1), (SERVER, 1));
        lab.pass(300 * SECOND).udp((same, 1), (SERVER, 2));
        lab.pass(300 * SECOND).assert_empty();
    }
}

#[test]
fn half_open_connections_are_limited() {
    let mut config = base();
    config.limits.embryonic = Some(2);
    let mut lab = Lab::new(config);
    let syn = |port| tcp6((A, port), (embed(SERVER), 80), "S");
    let pool = lab.step(INSIDE, &syn(1)).one().src4();
    lab.step(INSIDE, &syn(2)).one();
    lab.step(INSIDE, &syn(3)).dropped(Reason::EmbryonicLimit);
    lab.udp((A, 1), (SERVER, 53));
    lab.step(OUTSIDE, &tcp4((SERVER, 80), pool, "SA")).one();
    lab.step(INSIDE, &syn(3)).one();
    lab.step(INSIDE, &syn(4)).dropped(Reason::EmbryonicLimit);
    lab.pass(8000 * SECOND).assert_empty();
}

#[test]
fn the_rate_of_new_sessions_is_limited() {
    let mut config = base();
    config.service_sets[0].max_setup_rate = Some(3);
    let mut lab = Lab::new(config);
    for port in 0..3 {
        lab.udp((A, port), (SERVER, 53));
    }
    lab.step(INSIDE, &udp6((A, 3), (embed(SERVER), 53)))
        .dropped(Reason::SetupRate);
    lab.udp((A, 0), (SERVER, 53));
    lab.now += SECOND / 3 + 1;
    lab.udp((A, 3), (SERVER, 53));
    lab.step(INSIDE, &udp6((A, 4), (embed(SERVER), 53)))
        .dropped(Reason::SetupRate);
}

#[test]
fn land_attacks_are_dropped() {
    for check in [LandAttackCheck::IpOnly, LandAttackCheck::IpPort] {
        let mut config = base();
        config.service_sets[0].land_attack_check = Some(check);
        let mut lab = Lab::new(config);
        let pool = lab.udp((A, 1), (SERVER, 53));
        let own = embed(&pool.0.to_string());
        lab.step(INSIDE, &udp6((A, 1), (own, pool.1)))
            .dropped(Reason::LandAttack);
        lab.step(OUTSIDE, &udp4(("203.0.113.1", pool.1), pool))
            .dropped(Reason::LandAttack);
        let other_port = udp4(("203.0.113.1", 9), pool);
        match check {
            LandAttackCheck::IpOnly => lab.step(OUTSIDE, &other_port).dropped(Reason::LandAttack),
            LandAttackCheck::IpPort => drop(lab.step(OUTSIDE, &other_port).one()),
        }
        // A refused first packet leaves no mapping behind: the new client would get the pool's first address, too.
        let bibs = lab.nat.bib_count();
        if check == LandAttackCheck::IpOnly {
            lab.step(INSIDE, &udp6((B, 1), (own, 99))).dropped(Reason::LandAttack);
        }
        assert_eq!(lab.nat.bib_count(), bibs);
    }
}

#[test]
fn ports_of_a_client_are_limited_and_blocks_logged() {
    let mut config = base();
    config.pools[0].blocks = Some(PortBlocks {
        block_size: 2,
        max_blocks_per_address: 1,
        active_block_timeout: Duration::ZERO,
    });
    config.service_sets[0].log_sessions = true;
    let mut lab = Lab::new(config);
    let logs = |lab: &Lab| -> Vec<Event> {
        let events = lab.effects.iter().filter_map(|e| {
            if let Effect::Log(event) = e {
                Some(event.clone())
            } else {
                None
            }
        });
        events.collect()
    };
    lab.udp((A, 1), (SERVER, 53));
    let first = logs(&lab);
    let block = (v6(A), v4("203.0.113.1"), (1024, 1025));
    assert_eq!(
        first[0],
        Event::PortBlockAllocated {
            subscriber: block.0,
            address: block.1,
            ports: block.2
        }
    );
    assert!(matches!(first[1], Event::SessionOpen(flow) if flow.client == (v6(A), 1)));
    lab.udp((A, 2), (SERVER, 53));
    assert_eq!(logs(&lab).len(), 1);
    lab.step(INSIDE, &udp6((A, 3), (embed(SERVER), 53)))
        .answered(Reason::SubscriberLimit);
    assert_eq!(lab.udp((B, 1), (SERVER, 53)).1, 1026);
    lab.pass(300 * SECOND);
    let last = logs(&lab);
    assert!(last.contains(&Event::PortBlockReleased {
        subscriber: block.0,
        address: block.1,
        ports: block.2
    }));
    assert_eq!(
        last.iter()
            .filter(|event| matches!(event, Event::SessionClose { .. }))
            .count(),
        3
    );
    lab.assert_empty();
}

#[test]
fn clearing_sessions_counts_and_frees() {
    let mut lab = Lab::new(base());
    for port in 1..=3 {
        lab.udp((A, port), (SERVER, 53));
        lab.udp((B, port), (SERVER, 53));
    }
    lab.effects.clear();
    let now = lab.now;
    let cleared = lab
        .nat
        .clear_sessions(|session| session.flow.client.0 == v6(A), now, &mut lab.effects);
    assert_eq!(
        (
            cleared,
            lab.removes().len(),
            lab.nat.session_count(),
            lab.nat.bib_count()
        ),
        (3, 3, 3, 3)
    );
    let cleared = lab
        .nat
        .clear_bibs(|bib| bib.client == (v6(B), 1), now, &mut lab.effects);
    assert_eq!((cleared, lab.nat.session_count(), lab.nat.bib_count()), ((1, 1), 2, 2));
    lab.nat.clear_sessions(|_| true, now, &mut lab.effects);
    lab.assert_empty();
}

#[test]
fn a_session_with_its_share_of_all_tables_is_small() {
    use crate::session::Session;
    // Slab places and four index entries at their worst load (7/16 after doubling), plus two wheels' nodes.
    let place = 12;
    let index = 4 * 5 * 16 / 7;
    let bytes = std::mem::size_of::<Session>() + std::mem::size_of::<Bib>() + 2 * place + index + 2 * 16;
    assert!(bytes <= 400, "{bytes}");
}
