//! Each strategy against what its statement promises, and all of them for leaks.

use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SECOND: Time = 1_000_000_000;

fn config(addresses: u32, ports: (u16, u16)) -> config::Pool {
    let first = Ipv4Addr::new(203, 0, 113, 1);
    config::Pool {
        name: "test".into(),
        ranges: vec![(first, Ipv4Addr::from(u32::from(first) + addresses - 1))],
        ports,
        random: false,
        round_robin: false,
        preserve_parity: false,
        preserve_range: false,
        limit_ports_per_address: None,
        blocks: None,
        deterministic_block: None,
        mapping_timeout: None,
        quarantine: Duration::ZERO,
        draining: vec![],
    }
}

fn pool(config: &config::Pool) -> Pool {
    Pool::new(config, &Keyed::new(7))
}

fn request(subscriber: u128) -> Request {
    Request {
        subscriber,
        protocol: Protocol::Udp,
        source_port: 40000,
        paired: false,
        fixed: None,
    }
}

fn endpoint(lease: &Lease) -> (u8, u16) {
    let (address, port) = lease.endpoint();
    (address.octets()[3], port)
}

fn assert_unused(pool: &Pool) {
    let usage = pool.usage();
    assert_eq!(
        (usage.in_use, usage.blocks, usage.subscribers),
        ([0; 3], 0, 0),
        "{usage:?}"
    );
    let state = pool.lock();
    assert!(state.addresses.iter().flatten().all(|address| {
        address.in_use == 0
            && address
                .ports
                .iter()
                .flatten()
                .all(|map| map.free() == PortMap::new(state.config.ports.0, state.config.ports.1).free())
    }));
}

#[test]
fn sequential_takes_the_next_address_only_when_one_is_used_up() {
    let pool = pool(&config(3, (1024, 1033)));
    let leases: Vec<Lease> = (0..30).map(|i| pool.allocate(0, &request(i)).unwrap()).collect();
    for (i, lease) in leases.iter().enumerate() {
        assert_eq!(endpoint(lease), (1 + i as u8 / 10, 1024 + i as u16 % 10));
    }
    assert_eq!(pool.allocate(0, &request(99)).unwrap_err(), PoolError::Exhausted);
    assert_eq!(pool.usage().out_of_ports, 1);
    // The other protocols have ports of their own.
    let tcp = pool
        .allocate(
            0,
            &Request {
                protocol: Protocol::Tcp,
                ..request(99)
            },
        )
        .unwrap();
    assert_eq!(endpoint(&tcp), (1, 1024));
    drop((leases, tcp));
    assert_unused(&pool);
}

#[test]
fn sequential_does_not_reuse_a_port_before_the_others() {
    let pool = pool(&config(1, (1024, 1027)));
    for want in [1024, 1025, 1026, 1027, 1024] {
        assert_eq!(endpoint(&pool.allocate(0, &request(1)).unwrap()).1, want);
    }
}

#[test]
fn a_client_keeps_its_address_across_protocols() {
    let pool = pool(&config(2, (1024, 1025)));
    let a = pool.allocate(0, &request(1)).unwrap();
    let _b = [
        pool.allocate(0, &request(2)).unwrap(),
        pool.allocate(0, &request(3)).unwrap(),
    ];
    assert_eq!(endpoint(&_b[1]).0, 2);
    let icmp = pool
        .allocate(
            0,
            &Request {
                protocol: Protocol::Icmp,
                ..request(3)
            },
        )
        .unwrap();
    assert_eq!(endpoint(&icmp).0, 2, "subscriber 3 has address 2 for UDP");
    let more = pool.allocate(0, &request(1)).unwrap();
    assert_eq!(endpoint(&more).0, 2, "not paired: rather another address than none");
    assert_eq!(endpoint(&a).0, 1);
}

#[test]
fn paired_never_changes_the_address() {
    let pool = pool(&config(2, (1024, 1025)));
    let paired = Request {
        paired: true,
        ..request(1)
    };
    let _leases = [pool.allocate(0, &paired).unwrap(), pool.allocate(0, &paired).unwrap()];
    assert_eq!(pool.allocate(0, &paired).unwrap_err(), PoolError::Exhausted);
    assert!(pool.allocate(0, &request(2)).is_ok(), "others get the next address");
}

#[test]
fn round_robin_goes_over_all_addresses_first() {
    let mut config = config(3, (1024, 1033));
    config.round_robin = true;
    let pool = pool(&config);
    let leases: Vec<Lease> = (0..7).map(|_| pool.allocate(0, &request(1)).unwrap()).collect();
    let got: Vec<_> = leases.iter().map(endpoint).collect();
    assert_eq!(
        got,
        [
            (1, 1024),
            (2, 1024),
            (3, 1024),
            (1, 1025),
            (2, 1025),
            (3, 1025),
            (1, 1026)
        ]
    );
}

#[test]
fn round_robin_with_pairing_keeps_a_client_on_one_address() {
    let mut config = config(3, (1024, 1033));
    config.round_robin = true;
    let pool = pool(&config);
    let leases: Vec<Lease> = (0..9)
        .map(|i| {
            pool.allocate(
                0,
                &Request {
                    paired: true,
                    ..request(i % 3)
                },
            )
            .unwrap()
        })
        .collect();
    for (i, lease) in leases.iter().enumerate() {
        assert_eq!(endpoint(lease).0, 1 + (i % 3) as u8);
    }
}

#[test]
fn random_gives_every_free_port_with_equal_chance() {
    let mut config = config(1, (1024, 1087));
    config.random = true;
    let pool = pool(&config);
    let taken: Vec<Lease> = (0..48).map(|i| pool.allocate(0, &request(i)).unwrap()).collect();
    let used: BTreeSet<u16> = taken.iter().map(|lease| endpoint(lease).1).collect();
    assert_eq!(used.len(), 48);
    assert_ne!(
        taken.iter().map(|l| endpoint(l).1).collect::<Vec<_>>(),
        used.iter().copied().collect::<Vec<_>>()
    );
    let mut counts: BTreeMap<u16, u32> = BTreeMap::new();
    for _ in 0..16_000 {
        *counts
            .entry(endpoint(&pool.allocate(0, &request(1000)).unwrap()).1)
            .or_default() += 1;
    }
    assert_eq!(counts.len(), 16);
    // 1,000 each expected; the standard deviation is 31.
    assert!(counts.values().all(|&count| (800..1200).contains(&count)), "{counts:?}");
    assert!(counts.keys().all(|port| !used.contains(port)));
}

#[test]
fn random_fills_a_pool_to_the_last_port() {
    let mut config = config(2, (1, 65535));
    config.random = true;
    let pool = pool(&config);
    let leases: Vec<Lease> = (0..2 * 65535).map(|i| pool.allocate(0, &request(i)).unwrap()).collect();
    let all: BTreeSet<_> = leases.iter().map(endpoint).collect();
    assert_eq!(all.len(), leases.len());
    assert_eq!(pool.allocate(0, &request(1)).unwrap_err(), PoolError::Exhausted);
    drop(leases);
    assert_unused(&pool);
}

#[test]
fn parity_is_kept_while_possible() {
    for random in [false, true] {
        let mut config = config(1, (1024, 1033));
        config.preserve_parity = true;
        config.random = random;
        let pool = pool(&config);
        let odd = Request {
            source_port: 5001,
            ..request(1)
        };
        let leases: Vec<Lease> = (0..6).map(|_| pool.allocate(0, &odd).unwrap()).collect();
        let ports: Vec<u16> = leases.iter().map(|lease| endpoint(lease).1).collect();
        assert!(ports[..5].iter().all(|port| port % 2 == 1), "{ports:?}");
        assert_eq!(ports[5] % 2, 0, "rather the wrong parity than none");
    }
}

#[test]
fn the_range_class_is_kept_while_possible() {
    for random in [false, true] {
        let mut config = config(1, (1020, 1027));
        config.preserve_range = true;
        config.random = random;
        let pool = pool(&config);
        let low = Request {
            source_port: 123,
            ..request(1)
        };
        let leases: Vec<Lease> = (0..5).map(|_| pool.allocate(0, &low).unwrap()).collect();
        let ports: Vec<u16> = leases.iter().map(|lease| endpoint(lease).1).collect();
        assert!(
            ports[..4].iter().all(|&port| port < 1024) && ports[4] >= 1024,
            "{ports:?}"
        );
        assert!(endpoint(&pool.allocate(0, &request(2)).unwrap()).1 >= 1024);
    }
}

#[test]
fn ports_per_subscriber_are_limited() {
    let mut config = config(1, (1024, 65535));
    config.limit_ports_per_address = Some(3);
    let pool = pool(&config);
    let mut leases: Vec<Lease> = (0..3).map(|_| pool.allocate(0, &request(1)).unwrap()).collect();
    assert_eq!(pool.allocate(0, &request(1)).unwrap_err(), PoolError::SubscriberLimit);
    leases.pop();
    assert!(pool.allocate(0, &request(1)).is_ok() && pool.allocate(0, &request(2)).is_ok());
    assert_eq!(pool.usage().subscriber_limited, 1);
}

#[test]
fn a_freed_port_rests_in_quarantine() {
    let mut config = config(1, (1024, 1025));
    config.quarantine = Duration::from_secs(120);
    let pool = pool(&config);
    let a = pool.allocate(0, &request(1)).unwrap();
    let b = pool.allocate(0, &request(1)).unwrap();
    a.release(10 * SECOND);
    b.release(20 * SECOND);
    assert_eq!(pool.usage().quarantined, 2);
    assert_eq!(
        pool.allocate(130 * SECOND - 1, &request(2)).unwrap_err(),
        PoolError::Exhausted
    );
    let lease = pool.allocate(130 * SECOND, &request(2)).unwrap();
    assert_eq!(endpoint(&lease).1, 1024);
    assert_eq!(
        pool.allocate(139 * SECOND, &request(2)).unwrap_err(),
        PoolError::Exhausted
    );
    assert_eq!(endpoint(&pool.allocate(140 * SECOND, &request(2)).unwrap()).1, 1025);
}

#[test]
fn a_draining_address_gets_no_new_mappings_and_keeps_the_old() {
    let pool = pool(&config(2, (1024, 1033)));
    let old = pool
        .allocate(
            0,
            &Request {
                paired: true,
                ..request(1)
            },
        )
        .unwrap();
    pool.set_draining(&[Ipv4Addr::new(203, 0, 113, 1)]);
    let new = pool
        .allocate(
            0,
            &Request {
                paired: true,
                ..request(1)
            },
        )
        .unwrap();
    assert_eq!((endpoint(&old).0, endpoint(&new).0), (1, 2));
    assert_eq!(pool.in_use_on(Ipv4Addr::new(203, 0, 113, 1)), 1);
    drop(old);
    assert_eq!(pool.in_use_on(Ipv4Addr::new(203, 0, 113, 1)), 0);
    assert_eq!(endpoint(&pool.allocate(0, &request(5)).unwrap()).0, 2);
    pool.set_draining(&[]);
    pool.set_draining(&[Ipv4Addr::new(203, 0, 113, 2)]);
    assert_eq!(endpoint(&pool.allocate(0, &request(6)).unwrap()).0, 1);
}

#[test]
fn reserved_ports_are_not_given_twice() {
    let pool = pool(&config(1, (1024, 1026)));
    let address = Ipv4Addr::new(203, 0, 113, 1);
    let lease = pool.reserve(0, address, 1025, Protocol::Udp).unwrap();
    assert!(pool.reserve(0, address, 1025, Protocol::Udp).is_none());
    assert!(
        pool.reserve(0, address, 80, Protocol::Udp).is_none(),
        "not in the range"
    );
    assert!(pool
        .reserve(0, Ipv4Addr::new(192, 0, 2, 1), 1025, Protocol::Udp)
        .is_none());
    let others: Vec<_> = (0..2)
        .map(|i| endpoint(&pool.allocate(0, &request(i)).unwrap()).1)
        .collect();
    assert_eq!(others, [1024, 1026]);
    drop(lease);
    assert_unused(&pool);
}

fn block_config(size: u16, max: u16, timeout: u64) -> config::Pool {
    let mut config = config(2, (1024, 1024 + 4 * size - 1 + 3));
    config.blocks = Some(config::PortBlocks {
        block_size: size,
        max_blocks_per_address: max,
        active_block_timeout: Duration::from_secs(timeout),
    });
    config
}

#[test]
fn blocks_belong_to_one_subscriber_and_are_logged() {
    let pool = pool(&block_config(8, 2, 0));
    let a: Vec<Lease> = (0..16).map(|_| pool.allocate(0, &request(1)).unwrap()).collect();
    let b = pool.allocate(0, &request(2)).unwrap();
    assert!(a
        .iter()
        .all(|lease| endpoint(lease).0 == 1 && (1024..1040).contains(&endpoint(lease).1)));
    assert_eq!(endpoint(&b), (1, 1040));
    assert_eq!(pool.allocate(0, &request(1)).unwrap_err(), PoolError::SubscriberLimit);
    assert_eq!(pool.usage().blocks, 3);
    let mut events = Vec::new();
    pool.take_events(&mut events);
    let address = Ipv4Addr::new(203, 0, 113, 1);
    let given = |subscriber: u128, ports| Event::PortBlockAllocated {
        subscriber: subscriber.into(),
        address,
        ports,
    };
    assert_eq!(
        events,
        [given(1, (1024, 1031)), given(1, (1032, 1039)), given(2, (1040, 1047))]
    );
    drop(a);
    events.clear();
    pool.take_events(&mut events);
    let back = |ports| Event::PortBlockReleased {
        subscriber: 1u128.into(),
        address,
        ports,
    };
    assert_eq!(events, [back((1024, 1031)), back((1032, 1039))]);
    drop(b);
    assert_unused(&pool);
}

#[test]
fn the_range_is_cut_to_whole_blocks() {
    let pool = pool(&block_config(8, 1, 0));
    let leases: Vec<Lease> = (0..8).map(|i| pool.allocate(0, &request(i)).unwrap()).collect();
    assert_eq!(pool.allocate(0, &request(9)).unwrap_err(), PoolError::Exhausted);
    let firsts: Vec<_> = leases.iter().map(endpoint).collect();
    assert_eq!(firsts[3], (1, 1048));
    assert_eq!(firsts[4], (2, 1024));
}

#[test]
fn a_block_whose_ports_rest_is_passed_over() {
    for random in [false, true] {
        let mut config = config(2, (1024, 1027));
        config.random = random;
        config.quarantine = Duration::from_secs(120);
        config.blocks = Some(config::PortBlocks {
            block_size: 1,
            max_blocks_per_address: 1,
            active_block_timeout: Duration::ZERO,
        });
        let pool = pool(&config);
        // A static binding has all of one block, seven subscribers come and go.
        let fixed = pool.reserve(0, Ipv4Addr::new(203, 0, 113, 1), 1025, Protocol::Udp);
        assert!(fixed.is_some());
        for subscriber in 0..7 {
            assert_eq!(pool.check(0, &request(subscriber)), Ok(()));
            pool.allocate(0, &request(subscriber)).unwrap().release(0);
        }
        let refused = request(9);
        assert_eq!(pool.check(0, &refused), Err(PoolError::Exhausted));
        assert!(pool.allocate(0, &refused).is_err(), "all rest");
        assert_eq!(pool.usage().blocks, 0);
        // Another protocol has ports of its own; time frees the others.
        let tcp = Request {
            protocol: Protocol::Tcp,
            ..refused
        };
        assert!(pool.allocate(0, &tcp).is_ok());
        assert!(pool.allocate(120 * SECOND, &refused).is_ok());
    }
}

#[test]
fn an_active_block_is_left_after_its_timeout() {
    let pool = pool(&block_config(8, 2, 60));
    let a = pool.allocate(0, &request(1)).unwrap();
    let b = pool.allocate(59 * SECOND, &request(1)).unwrap();
    let c = pool.allocate(60 * SECOND, &request(1)).unwrap();
    let d = pool.allocate(200 * SECOND, &request(1)).unwrap();
    let ports: Vec<_> = [&a, &b, &c, &d].map(|lease| endpoint(lease).1).to_vec();
    assert_eq!(ports[..3], [1024, 1025, 1032]);
    assert!(
        (1024..1040).contains(&ports[3]),
        "both blocks timed out, no third allowed: an old one serves"
    );
}

#[test]
fn deterministic_ports_stay_in_their_range() {
    let pool = pool(&config(2, (1024, 65535)));
    let fixed = Request {
        fixed: Some((1, 2000, 2003)),
        ..request(1)
    };
    let leases: Vec<Lease> = (0..4).map(|_| pool.allocate(0, &fixed).unwrap()).collect();
    let got: Vec<_> = leases.iter().map(endpoint).collect();
    assert_eq!(got, [(2, 2000), (2, 2001), (2, 2002), (2, 2003)]);
    assert_eq!(pool.allocate(0, &fixed).unwrap_err(), PoolError::SubscriberLimit);
}

#[test]
fn a_large_pool_costs_memory_only_for_used_addresses() {
    let mut config = config(1, (1024, 65535));
    config.ranges = vec![(Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 18, 255, 254))];
    let pool = pool(&config);
    let _leases: Vec<Lease> = (0..1000).map(|i| pool.allocate(0, &request(i)).unwrap()).collect();
    assert_eq!(pool.lock().addresses.iter().flatten().count(), 1);
}

/// Any mixture of strategies: no endpoint twice, nothing left over.
#[test]
fn random_use_never_leaks_or_doubles() {
    for seed in 0..60u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut config = config(rng.random_range(1..5), (1000, 1000 + rng.random_range(8..200)));
        config.random = rng.random();
        config.round_robin = rng.random();
        config.preserve_parity = rng.random();
        config.preserve_range = rng.random();
        config.limit_ports_per_address = rng.random_bool(0.3).then_some(20);
        config.quarantine = Duration::from_secs(if rng.random_bool(0.3) { 5 } else { 0 });
        if rng.random_bool(0.5) {
            config.blocks = Some(config::PortBlocks {
                block_size: rng.random_range(1..9),
                max_blocks_per_address: rng.random_range(1..4),
                active_block_timeout: Duration::from_secs(rng.random_range(0..4)),
            });
        }
        let pool = pool(&config);
        let mut held: Vec<Lease> = Vec::new();
        let mut used = BTreeSet::new();
        let mut now = 0;
        for _ in 0..2000 {
            now += rng.random_range(0..SECOND / 4);
            if rng.random_bool(0.55) {
                let request = Request {
                    subscriber: rng.random_range(0..12),
                    protocol: Protocol::ALL[rng.random_range(0..3)],
                    source_port: rng.random(),
                    paired: rng.random(),
                    fixed: None,
                };
                if let Ok(lease) = pool.allocate(now, &request) {
                    let (address, port) = lease.endpoint();
                    assert!((config.ports.0..=config.ports.1).contains(&port) && pool.contains(address));
                    assert!(
                        used.insert((request.protocol, address, port)),
                        "seed {seed}: given twice"
                    );
                    held.push(lease);
                }
            } else if !held.is_empty() {
                let lease = held.swap_remove(rng.random_range(0..held.len()));
                let (address, port) = lease.endpoint();
                used.remove(&(lease.protocol(), address, port));
                lease.release(now);
            }
            if rng.random_bool(0.01) {
                let drained = rng.random_bool(0.5).then_some(Ipv4Addr::new(203, 0, 113, 1));
                pool.set_draining(drained.as_slice());
            }
            assert_eq!(pool.usage().in_use.iter().sum::<u64>(), held.len() as u64);
        }
        held.clear();
        pool.lock().advance(now + 10 * SECOND);
        assert_unused(&pool);
        // Everything can be had again.
        pool.set_draining(&[]);
        if config.blocks.is_none() && config.limit_ports_per_address.is_none() {
            let total = config
                .ranges
                .iter()
                .map(|r| u32::from(r.1) - u32::from(r.0) + 1)
                .sum::<u32>()
                * u32::from(config.ports.1 - config.ports.0 + 1);
            let all: Vec<_> = (0..total)
                .map(|i| pool.allocate(now, &request(i.into())).unwrap())
                .collect();
            assert_eq!(all.len() as u32, total, "seed {seed}");
        }
    }
}
