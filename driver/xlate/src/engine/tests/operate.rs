//! What operators and a restarted daemon ask for: draining, pages, counters, sessions of a card.

use super::*;
use crate::pool::ClaimError;

#[test]
fn a_drained_address_gets_no_new_mapping_until_it_is_undrained() {
    let mut lab = Lab::new(base());
    let pool = lab.udp((A, 1), (SERVER, 53));
    let first = lab.nat.drain(pool.0).unwrap();
    let told = Draining {
        address: pool.0,
        configured: false,
        ports_in_use: 1,
    };
    assert_eq!((first, lab.nat.draining()), (told, vec![told]));
    assert_eq!(lab.nat.drain(pool.0), Ok(told), "again changes nothing");
    assert_eq!(lab.udp((A, 1), (SERVER, 54)), pool, "the mapping lives on");
    assert_eq!(lab.udp((A, 2), (SERVER, 53)).0, v4("203.0.113.2"));
    assert_eq!(lab.nat.stats().pools[0].addresses_draining, 1);
    // A new configuration does not end it.
    let config = base();
    lab.nat.reconfigure(lab.now, config, &mut lab.effects).unwrap();
    assert_eq!(lab.udp((B, 2), (SERVER, 53)).0, v4("203.0.113.2"));
    lab.pass(300 * SECOND);
    assert_eq!(lab.nat.draining()[0].ports_in_use, 0);
    assert_eq!(lab.nat.undrain(pool.0).unwrap().ports_in_use, 0);
    assert_eq!(lab.nat.undrain(pool.0), Err(DrainError::NotDraining(pool.0)));
    assert_eq!(lab.nat.draining(), []);
}

#[test]
fn drains_are_refused_with_a_reason() {
    let mut config = base();
    let (drained, other) = (v4("203.0.113.7"), v4("192.0.2.200"));
    config.pools[0].draining = vec![drained];
    let mut lab = Lab::new(config);
    assert_eq!(lab.nat.drain(other), Err(DrainError::NotOurs(other)));
    assert_eq!(lab.nat.undrain(other), Err(DrainError::NotOurs(other)));
    let configured = DrainError::Configured {
        address: drained,
        pool: "p".into(),
    };
    assert_eq!(lab.nat.undrain(drained), Err(configured.clone()));
    // Both ask for it: one of them ends, the address is drained still.
    assert!(lab.nat.drain(drained).unwrap().configured);
    assert_eq!(lab.nat.undrain(drained), Err(configured));
    assert!(lab.nat.draining()[0].configured);
    // An address that leaves the pool leaves the list.
    lab.nat.drain(v4("203.0.113.250")).unwrap();
    let mut config = base();
    config.pools[0].ranges = vec![(v4("203.0.113.1"), v4("203.0.113.100"))];
    lab.nat.reconfigure(lab.now, config, &mut lab.effects).unwrap();
    assert_eq!(lab.nat.draining(), []);
}

#[test]
fn a_drained_address_of_deterministic_nat_refuses_its_subscribers() {
    let mut config = base();
    config.pools[0].ranges = vec![(v4("203.0.113.1"), v4("203.0.113.1"))];
    config.pools[0].deterministic_block = Some(DeterministicBlocks {
        block_size: 0,
        include_boundary_addresses: true,
    });
    translate(&mut config).deterministic = true;
    config.service_sets[0].terms[0].from.source = vec![PrefixMatch {
        address: v6("2001:db8::"),
        length: 124,
        except: false,
    }];
    let mut lab = Lab::new(config);
    let pool = lab.udp((A, 1), (SERVER, 53));
    lab.nat.drain(pool.0).unwrap();
    lab.step(INSIDE, &udp6((A, 2), (embed(SERVER), 53)))
        .answered(Reason::PoolExhausted);
    assert_eq!(lab.udp((A, 1), (SERVER, 54)), pool);
}

#[test]
fn pages_list_every_session_and_binding_once() {
    let mut lab = Lab::new(base());
    for port in 1..=100 {
        lab.udp((A, port), (SERVER, 53));
    }
    let middle = lab.nat.sessions().nth(40).unwrap().flow.client;
    lab.nat
        .clear_sessions(|info| info.flow.client == middle, lab.now, &mut lab.effects);
    for places in [1, 7, 64, 1000, u32::MAX] {
        let (mut sessions, mut bibs) = (Vec::new(), Vec::new());
        let mut from = Some(0);
        while let Some(place) = from {
            let before = sessions.len();
            from = lab.nat.session_page(place, places, &mut sessions);
            assert!(sessions.len() - before <= places as usize);
        }
        let mut from = Some(0);
        while let Some(place) = from {
            from = lab.nat.bib_page(place, places, &mut bibs);
        }
        assert_eq!(sessions, lab.nat.sessions().collect::<Vec<_>>());
        assert_eq!(bibs, lab.nat.bibs().collect::<Vec<_>>());
        assert_eq!((sessions.len(), bibs.len()), (99, 99));
    }
    let mut none = Vec::new();
    assert_eq!((lab.nat.session_page(u32::MAX, 5, &mut none), none.len()), (None, 0));
}

#[test]
fn pools_service_sets_and_terms_are_counted() {
    let mut config = base();
    config.pools[0].ranges = vec![(v4("203.0.113.1"), v4("203.0.113.2"))];
    config.pools[0].preserve_parity = true;
    config.pools[0].preserve_range = true;
    config.pools[0].ports = (1024, 1027);
    translate(&mut config).eif_flow_limit = Some(1);
    translate(&mut config).paired = true;
    config.service_sets[0].terms.insert(
        0,
        Term {
            from: Match {
                destination_ports: Some((25, 25)),
                ..Match::default()
            },
            then: Action::NoTranslation,
            ..term("no-mail", PREFIX, 0)
        },
    );
    let mut lab = Lab::new(config.clone());
    let translated = |lab: &mut Lab, port| lab.udp((A, port), (SERVER, 53));
    let pool = translated(&mut lab, 2000);
    translated(&mut lab, 2002);
    // No even port is left; the second is a well-known one, for which the pool has none.
    translated(&mut lab, 2004);
    translated(&mut lab, 7);
    lab.step(INSIDE, &udp6((A, 9), (embed(SERVER), 53)))
        .answered(Reason::PoolExhausted);
    lab.step(INSIDE, &udp6((B, 9), (embed(SERVER), 25)))
        .dropped(Reason::NoTranslation);
    lab.step(OUTSIDE, &udp4(("192.0.2.8", 53), pool)).one();
    lab.step(OUTSIDE, &udp4(("192.0.2.9", 53), pool))
        .dropped(Reason::EifFlowLimit);
    let stats = lab.nat.stats();
    let usage = stats.pools[0];
    assert_eq!((usage.in_use, usage.peak), ([0, 4, 0], 4));
    assert_eq!((usage.addresses, usage.addresses_in_use, usage.subscribers), (2, 1, 1));
    assert_eq!((usage.parity_changed, usage.range_changed), (1, 1));
    assert_eq!((usage.out_of_ports, usage.paired_exhausted), (1, 1));
    assert_eq!((usage.inbound, usage.inbound_opened, usage.inbound_limited), (1, 1, 1));
    let reasons = &stats.service_sets[0].reasons;
    let all: Vec<(Reason, u64)> = reasons.iter().collect();
    assert_eq!(
        all,
        [
            (Reason::PoolExhausted, 1),
            (Reason::NoTranslation, 1),
            (Reason::EifFlowLimit, 1)
        ]
    );
    let [mail, rest] = &stats.terms[0][..] else {
        panic!("two terms")
    };
    assert_eq!((mail.hits, mail.opened), (1, 0));
    assert_eq!((rest.hits, rest.opened, rest.sessions, rest.closed), (5, 5, 5, 0));

    // Counters go with their names.
    config.service_sets[0].terms.remove(0);
    lab.nat.reconfigure(lab.now, config, &mut lab.effects).unwrap();
    lab.pass(300 * SECOND).assert_empty();
    let stats = lab.nat.stats();
    let term = stats.terms[0][0];
    assert_eq!((stats.terms[0].len(), term.opened, term.closed), (1, 5, 5));
    let size = (40 + 8 + 8, 20 + 8 + 6);
    assert_eq!((term.ended[0].packets, term.ended[0].bytes), (4, 4 * size.0));
    assert_eq!((term.ended[1].packets, term.ended[1].bytes), (1, size.1));
    assert_eq!((stats.pools[0].inbound, stats.pools[0].inbound_opened), (0, 1));
}

#[test]
fn port_blocks_are_counted() {
    let mut config = base();
    config.pools[0].ranges = vec![(v4("203.0.113.1"), v4("203.0.113.1"))];
    config.pools[0].ports = (1024, 1027);
    config.pools[0].blocks = Some(PortBlocks {
        block_size: 2,
        max_blocks_per_address: 1,
        active_block_timeout: Duration::ZERO,
    });
    let mut lab = Lab::new(config);
    for port in [1, 2] {
        lab.udp((A, port), (SERVER, 53));
    }
    lab.step(INSIDE, &udp6((A, 3), (embed(SERVER), 53)))
        .answered(Reason::SubscriberLimit);
    lab.udp((B, 1), (SERVER, 53));
    lab.step(INSIDE, &udp6(("2001:db8::c", 1), (embed(SERVER), 53)))
        .answered(Reason::PoolExhausted);
    let usage = lab.nat.stats().pools[0];
    assert_eq!(
        (
            usage.blocks,
            usage.blocks_peak,
            usage.blocks_limited,
            usage.out_of_blocks
        ),
        (2, 2, 1, 1)
    );
    lab.pass(300 * SECOND).assert_empty();
    let usage = lab.nat.stats().pools[0];
    assert_eq!((usage.blocks, usage.blocks_peak), (0, 2));
}

// ---- sessions of a card ------------------------------------------------------------------------------------------

fn card_session(flow: &Flow) -> CardSession {
    CardSession {
        protocol: flow.protocol,
        unit: flow.unit,
        pref64: flow.pref64,
        pref64_length: flow.pref64_length,
        client: flow.client,
        pool: flow.pool,
        remote: flow.remote,
        last: None,
    }
}

/// Installed sessions of all protocols, in a translator that is then gone.
fn carried(config: &Config) -> Vec<Flow> {
    let mut lab = Lab::new(config.clone());
    let mut flows = Vec::new();
    lab.udp((A, 1), (SERVER, 53));
    flows.extend(lab.installs());
    lab.udp((A, 1), (SERVER, 54));
    flows.extend(lab.installs());
    let pool = lab.udp((B, 1), (SERVER, 53));
    flows.extend(lab.installs());
    lab.step(OUTSIDE, &udp4(("192.0.2.77", 99), pool)).one();
    flows.extend(lab.installs());
    let tcp = lab.step(INSIDE, &tcp6((A, 1), (embed(SERVER), 80), "S")).one().src4();
    lab.step(OUTSIDE, &tcp4((SERVER, 80), tcp, "SA"));
    flows.extend(lab.installs());
    lab.step(INSIDE, &echo6(A, embed(SERVER), 9)).one();
    flows.extend(lab.installs());
    assert_eq!(flows.len(), 6);
    flows
}

#[test]
fn sessions_of_a_card_are_adopted_as_they_were() {
    let mut blocks = base();
    blocks.pools[0].blocks = Some(PortBlocks {
        block_size: 16,
        max_blocks_per_address: 2,
        active_block_timeout: Duration::ZERO,
    });
    let mut limited = base();
    limited.service_sets[0].eim_scope = EimScope::ServiceSet;
    limited.service_sets[0].max_sessions_per_subscriber = Some(50);
    limited.pools[0].limit_ports_per_address = Some(20);
    limited.pools[0].random = true;
    translate(&mut limited).filtering = Filtering::AddressDependent;
    let mut each = base();
    translate(&mut each).endpoint_independent_mapping = false;
    for (name, mut config) in [
        ("plain", base()),
        ("blocks", blocks),
        ("limited", limited),
        ("each", each),
    ] {
        let mut wanted = config.clone();
        if name != "plain" && name != "blocks" {
            // The session from outside needs a filter that lets it in.
            translate(&mut wanted).filtering = Filtering::EndpointIndependent;
        }
        let flows = carried(&wanted);
        config.timers.udp = Duration::from_secs(300);
        let mut lab = Lab::new(config);
        for flow in flows.iter().rev() {
            let adopted = lab.nat.adopt(lab.now, &card_session(flow), &mut lab.effects).unwrap();
            assert_eq!(
                Flow {
                    id: adopted.id,
                    ..*flow
                },
                adopted,
                "{name}"
            );
            let info = lab.nat.session(adopted.id).unwrap();
            let tcp = flow.protocol == Protocol::Tcp;
            assert_eq!(info.state, if tcp { State::Established } else { State::Open });
            assert!(info.installed && !info.hairpin, "{name}");
            assert_eq!(
                lab.nat.adopt(lab.now, &card_session(flow), &mut lab.effects),
                Err(AdoptError::Exists),
                "{name}"
            );
        }
        assert_eq!(lab.installs(), [], "the card has them");
        assert_eq!(lab.nat.session_count(), flows.len());
        // Both ways they go on as before.
        let first = &flows[0];
        assert_eq!(lab.udp((A, 1), (SERVER, 53)), first.pool, "{name}");
        lab.step(OUTSIDE, &udp4((SERVER, 53), first.pool)).one();
        let tcp = flows.iter().find(|flow| flow.protocol == Protocol::Tcp).unwrap();
        lab.step(OUTSIDE, &tcp4((SERVER, 80), tcp.pool, "A")).one();
        // New ones do not clash with them.
        assert!(flows
            .iter()
            .all(|flow| flow.pool != lab.udp(("2001:db8::c", 1), (SERVER, 53))));
        lab.pass(8000 * SECOND).pass(8000 * SECOND).assert_empty();
        assert_eq!(lab.nat.stats().pools[0].in_use, [0; 3], "{name}");
    }
}

#[test]
fn an_adopted_session_ends_when_its_last_packet_says() {
    let flow = carried(&base())[0];
    let mut lab = Lab::new(base());
    let session = CardSession {
        last: Some(lab.now - 200 * SECOND),
        ..card_session(&flow)
    };
    let adopted = lab.nat.adopt(lab.now, &session, &mut lab.effects).unwrap();
    lab.pass(99 * SECOND);
    assert!(lab.nat.session(adopted.id).is_some());
    lab.pass(SECOND);
    assert_eq!(lab.removes(), [adopted.id]);
    lab.assert_empty();
}

#[test]
fn sessions_that_do_not_fit_are_refused_with_a_reason() {
    let flow = carried(&base())[0];
    let good = card_session(&flow);
    let refused = |config: Config, session: &CardSession| {
        let mut lab = Lab::new(config);
        let error = lab.nat.adopt(lab.now, session, &mut lab.effects).unwrap_err();
        lab.assert_empty();
        error
    };
    let (address, port) = good.pool;
    assert_eq!(refused(base(), &CardSession { unit: 1, ..good }), AdoptError::Unit(1));
    assert_eq!(refused(base(), &CardSession { unit: 9, ..good }), AdoptError::Unit(9));
    let prefix = v6("2001:db8:77::");
    assert_eq!(
        refused(base(), &CardSession { pref64: prefix, ..good }),
        AdoptError::Prefix(prefix, 96)
    );
    let mut other = base();
    other.service_sets[0].terms[0].from.source = vec![PrefixMatch {
        address: v6("2001:db9::"),
        length: 32,
        except: false,
    }];
    assert_eq!(refused(other, &good), AdoptError::Rule(Reason::NoRule));
    let ours = (v4("203.0.113.9"), 53);
    assert_eq!(
        refused(base(), &CardSession { remote: ours, ..good }),
        AdoptError::Hairpin(ours.0)
    );
    let elsewhere = (v4("192.0.2.99"), port);
    assert_eq!(
        refused(
            base(),
            &CardSession {
                pool: elsewhere,
                ..good
            }
        ),
        AdoptError::Pool(elsewhere.0, port, ClaimError::NotOurs)
    );
    let mut ports = base();
    ports.pools[0].ports = (5000, 6000);
    assert_eq!(
        refused(ports, &good),
        AdoptError::Pool(address, port, ClaimError::NotOurs)
    );
    let mut full = base();
    full.limits.bibs = 0;
    assert_eq!(refused(full, &good), AdoptError::Limit(Reason::BibLimit));
    let mut full = base();
    full.limits.sessions = 0;
    assert_eq!(refused(full, &good), AdoptError::Limit(Reason::SessionLimit));

    // What came up since then wins.
    let mut lab = Lab::new(base());
    assert_eq!(lab.udp((B, 7), (SERVER, 53)), good.pool);
    let error = lab.nat.adopt(lab.now, &good, &mut lab.effects).unwrap_err();
    assert_eq!(error, AdoptError::Taken(address, port));
    let bound = lab.udp((A, 1), (SERVER, 99));
    let now = lab.now;
    lab.nat
        .clear_sessions(|info| info.flow.client.0 == v6(B), now, &mut lab.effects);
    let error = lab.nat.adopt(lab.now, &good, &mut lab.effects).unwrap_err();
    assert_eq!(error, AdoptError::Bound(bound.0, bound.1));
    assert_eq!(lab.nat.session_count(), 1);
    lab.pass(300 * SECOND).assert_empty();
}

#[test]
fn blocks_of_others_are_not_adopted_into() {
    let mut config = base();
    config.pools[0].blocks = Some(PortBlocks {
        block_size: 8,
        max_blocks_per_address: 1,
        active_block_timeout: Duration::ZERO,
    });
    let mut lab = Lab::new(config.clone());
    let pool = lab.udp((B, 1), (SERVER, 53));
    let flow = CardSession {
        pool: (pool.0, pool.1 + 3),
        ..card_session(&carried(&base())[0])
    };
    let error = lab.nat.adopt(lab.now, &flow, &mut lab.effects).unwrap_err();
    assert_eq!(error, AdoptError::Pool(pool.0, pool.1 + 3, ClaimError::Block));
    let mine = CardSession {
        pool: (pool.0, pool.1 + 8),
        ..flow
    };
    lab.effects.clear();
    lab.nat.adopt(lab.now, &mine, &mut lab.effects).unwrap();
    let allocated = Effect::Log(Event::PortBlockAllocated {
        subscriber: v6(A),
        address: pool.0,
        ports: (pool.1 + 8, pool.1 + 15),
    });
    assert!(lab.effects.iter().any(|effect| *effect == allocated));
    let second = CardSession {
        client: (v6(A), 2),
        pool: (pool.0, pool.1 + 16),
        ..flow
    };
    let error = lab.nat.adopt(lab.now, &second, &mut lab.effects).unwrap_err();
    assert_eq!(error, AdoptError::Pool(pool.0, pool.1 + 16, ClaimError::Block));
    lab.pass(300 * SECOND).assert_empty();
}
