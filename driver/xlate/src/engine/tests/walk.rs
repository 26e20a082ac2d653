//! Random walks: thousands of mixed packets, time jumps and new configurations; what must always hold is checked after
//! each of them.

use super::*;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};

/// A configuration with random behaviour. Its pools are small, so that they run out.
pub(super) fn random_config(rng: &mut StdRng) -> Config {
    let mut config = base();
    config.units.push(unit("vlan2", 0, true));
    config.pools = vec![
        pool("p", "203.0.113.1", "203.0.113.2"),
        pool("q", "198.51.100.1", "198.51.100.1"),
    ];
    for pool in &mut config.pools {
        pool.ports = (1020, 1020 + rng.random_range(3..30));
        pool.random = rng.random();
        pool.round_robin = rng.random();
        pool.preserve_parity = rng.random();
        pool.preserve_range = rng.random();
        pool.limit_ports_per_address = rng.random_bool(0.2).then_some(6);
        pool.mapping_timeout = rng.random_bool(0.3).then_some(Duration::from_secs(120));
        pool.quarantine = Duration::from_secs(if rng.random_bool(0.2) { 30 } else { 0 });
        if rng.random_bool(0.3) {
            pool.blocks = Some(PortBlocks {
                block_size: rng.random_range(1..4),
                max_blocks_per_address: rng.random_range(1..4),
                active_block_timeout: Duration::from_secs(rng.random_range(0..100)),
            });
        }
    }
    config.activity_tick = Duration::from_nanos(if rng.random() { 1 << 26 } else { 1 });
    config.timers.tcp_probes = rng.random_range(0..4);
    config.limits.sessions = if rng.random_bool(0.3) { 6 } else { 1000 };
    config.limits.stored_syns = rng.random_range(1..10);
    config.limits.embryonic = rng.random_bool(0.2).then_some(2);
    let set = &mut config.service_sets[0];
    set.terms.push(term("u", "2001:db8:65::", rng.random_range(0..2)));
    set.eim_scope = if rng.random() {
        EimScope::RuleTerm
    } else {
        EimScope::ServiceSet
    };
    set.on_conflict = if rng.random() {
        OnConflict::Drop
    } else {
        OnConflict::Reallocate
    };
    set.tcp_non_syn = if rng.random() {
        TcpNonSyn::Drop
    } else {
        TcpNonSyn::DropSendRst
    };
    set.land_attack_check = rng.random_bool(0.2).then_some(LandAttackCheck::IpPort);
    set.max_sessions_per_subscriber = rng.random_bool(0.2).then_some(8);
    set.log_sessions = rng.random();
    if rng.random_bool(0.3) {
        set.static_bindings = vec![StaticBinding {
            protocol: Protocol::Udp,
            inside: (v6(A), 7),
            outside: (v4("203.0.113.1"), 1021),
            term: 0,
        }];
    }
    for term in &mut set.terms {
        if let Action::Translate(translate) = &mut term.then {
            translate.endpoint_independent_mapping = rng.random_bool(0.7);
            translate.filtering = *[
                Filtering::EndpointIndependent,
                Filtering::AddressDependent,
                Filtering::AddressAndPortDependent,
            ]
            .choose(rng)
            .unwrap();
            translate.paired = rng.random();
            translate.overload_pool = (translate.pool == 0 && rng.random_bool(0.3)).then_some(1);
            translate.eif_flow_limit = rng.random_bool(0.2).then_some(3);
            translate.mapping_refresh = *[Refresh::Both, Refresh::Inbound, Refresh::Outbound]
                .choose(rng)
                .unwrap();
        }
    }
    config
}

const FLAGS: [&str; 8] = ["S", "S", "SA", "A", "A", "FA", "R", "SF"];

/// A packet of a connection or conversation that exists.
pub(super) fn packet_of_session(rng: &mut StdRng, flow: &Flow, inside: bool) -> Vec<u8> {
    let client = (flow.client.0.to_string(), flow.client.1);
    let server = (flow.remote.0.to_string(), flow.remote.1);
    let client = (client.0.as_str(), client.1);
    let server = (server.0.as_str(), server.1);
    let embedded = (embed_in(&flow.pref64.to_string(), server.0), server.1);
    match (flow.protocol, inside) {
        (Protocol::Udp, true) => udp6(client, embedded),
        (Protocol::Udp, false) => udp4(server, flow.pool),
        (Protocol::Tcp, true) => tcp6(client, embedded, FLAGS.choose(rng).unwrap()),
        (Protocol::Tcp, false) => tcp4(server, flow.pool, FLAGS.choose(rng).unwrap()),
        (Protocol::Icmp, true) => echo6(client.0, embedded.0, client.1),
        (Protocol::Icmp, false) => echo4(server.0, flow.pool.0, flow.pool.1, true),
    }
}

pub(super) fn packet_from_inside(rng: &mut StdRng, recent: &[Vec<u8>]) -> Vec<u8> {
    let client = (*[A, B, "2001:db8::c"].choose(rng).unwrap(), rng.random_range(5..9));
    let prefix = *[PREFIX, "2001:db8:65::", "2001:db8:99::"].choose(rng).unwrap();
    let servers = [
        "192.0.2.1",
        "192.0.2.2",
        "203.0.113.1",
        "203.0.113.2",
        "198.51.100.1",
        "203.0.113.9",
    ];
    let server = embed_in(prefix, servers.choose(rng).unwrap());
    let port = *[53, 80, 1020, 1021, 1022].choose(rng).unwrap();
    match rng.random_range(0..10) {
        0..=3 => udp6(client, (server, port)),
        4..=7 => tcp6(client, (server, port), FLAGS.choose(rng).unwrap()),
        8 => echo6(client.0, server, client.1),
        _ => match recent
            .iter()
            .filter(|bytes| bytes[0] >> 4 == 6)
            .collect::<Vec<_>>()
            .choose(rng)
        {
            Some(quoted) => error6(client.0, Packet6::parse(quoted).unwrap().src, 1, 4, quoted),
            None => udp6(client, (server, port)),
        },
    }
}

pub(super) fn packet_from_outside(rng: &mut StdRng, lab: &Lab, recent: &[Vec<u8>]) -> Vec<u8> {
    let server = (
        *["192.0.2.1", "192.0.2.2", "192.0.2.3", "203.0.113.2"]
            .choose(rng)
            .unwrap(),
        *[53, 80, 99].choose(rng).unwrap(),
    );
    let bibs: Vec<BibInfo> = lab.nat.bibs().collect();
    let pool = match bibs.choose(rng) {
        Some(bib) if rng.random_bool(0.8) => bib.pool,
        _ => (v4("203.0.113.1"), rng.random_range(1020..1030)),
    };
    match rng.random_range(0..10) {
        0..=3 => udp4(server, pool),
        4..=7 => tcp4(server, pool, FLAGS.choose(rng).unwrap()),
        8 => echo4(server.0, pool.0, pool.1, rng.random()),
        _ => match recent
            .iter()
            .filter(|bytes| bytes[0] >> 4 == 4)
            .collect::<Vec<_>>()
            .choose(rng)
        {
            Some(quoted) => error4(server.0, Packet4::parse(quoted).unwrap().src, 3, 3, quoted),
            None => udp4(server, pool),
        },
    }
}

/// Spoils a packet now and then.
pub(super) fn damage(rng: &mut StdRng, packet: &mut Vec<u8>) {
    match rng.random_range(0..40) {
        0 => packet.truncate(rng.random_range(0..packet.len())),
        1 => {
            let at = rng.random_range(0..packet.len());
            packet[at] ^= 1 << rng.random_range(0..8);
        }
        2 if packet[0] >> 4 == 6 => packet[7] = rng.random_range(0..3),
        _ => {}
    }
}

/// What a card would carry after the effects so far.
#[derive(Default)]
struct Card {
    installed: BTreeMap<SessionId, Flow>,
}

impl Card {
    fn perform(&mut self, effects: &Effects, seed: u64) {
        for effect in effects.iter() {
            match effect {
                Effect::Install(flow) => assert!(self.installed.insert(flow.id, *flow).is_none(), "seed {seed}: twice"),
                Effect::Remove(id) => assert!(self.installed.remove(id).is_some(), "seed {seed}: not there"),
                _ => {}
            }
        }
    }
}

fn check(lab: &Lab, card: &Card, seed: u64) {
    let nat = &lab.nat;
    let sessions: Vec<SessionInfo> = nat.sessions().collect();
    let mut forward = BTreeSet::new();
    let mut reverse = BTreeSet::new();
    let mut by_pool: BTreeMap<_, u32> = BTreeMap::new();
    for SessionInfo {
        flow,
        state,
        installed,
        hairpin,
        deadline,
        ..
    } in &sessions
    {
        assert!(
            forward.insert((flow.protocol, flow.unit, flow.pref64, flow.client, flow.remote)),
            "seed {seed}"
        );
        assert!(
            reverse.insert((flow.protocol, flow.service_set, flow.pool, flow.remote)),
            "seed {seed}"
        );
        *by_pool.entry((flow.protocol, flow.service_set, flow.pool)).or_default() += 1;
        assert_eq!(*installed, state.is_steady() && !hairpin, "seed {seed}");
        assert_eq!(card.installed.get(&flow.id), installed.then_some(flow), "seed {seed}");
        assert!(*deadline >= lab.now, "seed {seed}: overdue");
        let armed = nat.session_timers.deadline(flow.id.slot).unwrap();
        assert!(armed <= *deadline, "seed {seed}: would be late");
    }
    assert_eq!(
        card.installed.len(),
        sessions.iter().filter(|session| session.installed).count(),
        "seed {seed}"
    );
    let embryonic = sessions.iter().filter(|session| session.state.is_embryonic()).count();
    assert_eq!(nat.stats.embryonic as usize, embryonic, "seed {seed}");
    let mut leases = 0;
    let mut pools = BTreeSet::new();
    for bib in nat.bibs() {
        assert!(
            pools.insert((bib.protocol, bib.service_set, bib.pool)),
            "seed {seed}: two bindings for a port"
        );
        let here = by_pool.remove(&(bib.protocol, bib.service_set, bib.pool)).unwrap_or(0);
        assert_eq!(bib.sessions, here, "seed {seed}");
        let kept = bib.is_static || bib.deadline.is_some_and(|deadline| deadline >= lab.now);
        assert!(bib.sessions > 0 || kept, "seed {seed}: a binding without session");
        leases += u64::from(!bib.is_static);
    }
    assert!(by_pool.is_empty(), "seed {seed}: sessions without binding");
    let statics = nat
        .bibs
        .iter()
        .filter(|(_, bib)| bib.is_static() && bib.lease.is_some())
        .count() as u64;
    let stats = nat.stats();
    let in_use: u64 = stats.pools.iter().flat_map(|pool| pool.in_use).sum();
    assert_eq!(in_use, leases + statics, "seed {seed}: ports leaked");
    let stored = sessions
        .iter()
        .filter(|session| session.state == State::V4InitStored)
        .count();
    assert!(nat.stored_syns() >= stored, "seed {seed}");
    let permitted: u32 = nat.permits.values().sum();
    assert!(permitted as usize <= sessions.len(), "seed {seed}");
    assert_eq!(stats.service_sets[0].sessions as usize, sessions.len(), "seed {seed}");
}

fn walk(seed: u64, steps: usize) -> Stats {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut lab = Lab::new(random_config(&mut rng));
    let mut card = Card::default();
    let mut recent: Vec<Vec<u8>> = Vec::new();
    for _ in 0..steps {
        match rng.random_range(0..100) {
            0..=9 => {
                let jump = *[
                    SECOND,
                    7 * SECOND,
                    70 * SECOND,
                    250 * SECOND,
                    400 * SECOND,
                    8000 * SECOND,
                ]
                .choose(&mut rng)
                .unwrap();
                lab.pass(rng.random_range(0..jump));
            }
            10 => {
                let config = random_config(&mut rng);
                lab.effects.clear();
                let before = lab.nat.session_count();
                let report = lab.nat.reconfigure(lab.now, config, &mut lab.effects).unwrap();
                assert_eq!(report.sessions_kept + report.sessions_removed, before, "seed {seed}");
            }
            11 => {
                lab.effects.clear();
                let now = lab.now;
                lab.nat
                    .clear_sessions(|session| session.flow.client.0 == v6(B), now, &mut lab.effects);
            }
            12..=15 => {
                // The card carried packets.
                let mut due = Vec::new();
                lab.nat.due(lab.now + 100 * SECOND, &mut due);
                lab.effects.clear();
                for id in due {
                    assert!(card.installed.contains_key(&id), "seed {seed}");
                    lab.nat.touch(id, Direction::SixToFour, lab.now);
                }
            }
            kind => {
                let held = lab.nat.stats.held;
                let (unit, mut packet) = if kind % 2 == 0 {
                    (
                        *[INSIDE, INSIDE, 2].choose(&mut rng).unwrap(),
                        packet_from_inside(&mut rng, &recent),
                    )
                } else {
                    (OUTSIDE, packet_from_outside(&mut rng, &lab, &recent))
                };
                let mut unit = unit;
                let sessions: Vec<SessionInfo> = lab.nat.sessions().collect();
                if let (Some(session), true) = (sessions.choose(&mut rng), rng.random_bool(0.4)) {
                    let inside = rng.random();
                    unit = if inside { session.flow.unit } else { OUTSIDE };
                    packet = packet_of_session(&mut rng, &session.flow, inside);
                }
                damage(&mut rng, &mut packet);
                // Time first, as the caller does.
                lab.pass(rng.random_range(0..SECOND / 2));
                card.perform(&lab.effects, seed);
                lab.effects.clear();
                let before = still(&lab.nat);
                let told = lab.nat.explain(lab.now, unit, &packet);
                assert_eq!(still(&lab.nat), before, "seed {seed}: a dry run counted");
                lab.nat.step(lab.now, unit, &packet, &mut lab.effects);
                check_told(&lab, &told, &before, seed);
                let damaged = Packet6::parse(&packet).is_ok_and(|p| p.is_part())
                    || Packet4::parse(&packet).is_ok_and(|p| p.is_part());
                if !damaged {
                    check_outcome(&lab, held, seed);
                }
                for effect in lab.effects.iter() {
                    if let Effect::Send { bytes, .. } = effect {
                        recent.push(lab.effects.bytes(bytes).to_vec());
                    }
                }
                if recent.len() > 20 {
                    recent.drain(..10);
                }
            }
        }
        card.perform(&lab.effects, seed);
        check(&lab, &card, seed);
    }
    lab.pass(100_000 * SECOND);
    card.perform(&lab.effects, seed);
    assert!(card.installed.is_empty(), "seed {seed}");
    lab.assert_empty();
    lab.nat.stats()
}

/// A packet ends in exactly one way. Damaged ones are not read back: a wrong checksum stays wrong.
fn check_outcome(lab: &Lab, held_before: u64, seed: u64) {
    let mut translated = 0;
    let mut ours = 0;
    for effect in lab.effects.iter() {
        match effect {
            Effect::Send {
                translated: Some(_), ..
            } => translated += 1,
            Effect::Send { .. } => ours += 1,
            _ => {}
        }
    }
    let held = (lab.nat.stats.held - held_before) as usize;
    match (translated, lab.drops().len(), held) {
        (1, 0, 0) | (0, 0, 1) => assert_eq!(ours, 0, "seed {seed}"),
        (0, 1, 0) => assert!(ours <= 1, "seed {seed}"),
        other => panic!("seed {seed}: {other:?} {:?}", lab.effects),
    }
}

/// Counters that only packets change: time alone ends the rest of a port.
fn still(nat: &Nat64) -> Stats {
    let mut stats = nat.stats();
    for pool in &mut stats.pools {
        pool.quarantined = 0;
    }
    stats
}

/// What was told before the packet came is what became of it.
fn check_told(lab: &Lab, told: &Explanation, before: &Stats, seed: u64) {
    if !told.exact {
        return;
    }
    let sends: Vec<(usize, Option<Direction>, &[u8])> = lab
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send {
                unit,
                bytes,
                translated,
                ..
            } => Some((*unit, *translated, lab.effects.bytes(bytes))),
            _ => None,
        })
        .collect();
    let opened = lab.nat.stats().service_sets[0].opened > before.service_sets[0].opened;
    let held = lab.nat.stats().held > before.held;
    let drops = lab.drops();
    let facts = || format!("seed {seed}: {told:#?} but {drops:?}, held {held}, opened {opened}, sent {sends:?}");
    match told.verdict {
        Verdict::Sent { unit, direction, opens } => {
            assert!(drops.is_empty() && !held && opens == opened, "{}", facts());
            assert!(
                sends.iter().all(|sent| (sent.0, sent.1) == (unit, Some(direction))),
                "{}",
                facts()
            );
            if !told.packets.is_empty() {
                let sent: Vec<Vec<u8>> = sends.iter().map(|sent| without_ident(sent.2)).collect();
                let told: Vec<Vec<u8>> = told.packets.iter().map(|packet| without_ident(packet)).collect();
                assert_eq!(sent, told, "seed {seed}");
            }
        }
        Verdict::Held => assert!(held && drops.is_empty() && sends.is_empty(), "{}", facts()),
        Verdict::Dropped { reason, answered } => {
            assert!(drops == [reason] && sends.len() == usize::from(answered), "{}", facts());
        }
    }
    assert!(!told.stages.is_empty() && told.stages.iter().all(|stage| !stage.says.is_empty()));
}

/// A packet without what an Identification changes: that of IPv4, also in the quote of an error.
fn without_ident(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
        if packet[9] == proto::ICMP && packet.len() >= 48 && packet[28] >> 4 == 4 {
            packet[22..24].fill(0);
            packet[32..34].fill(0);
            packet[38..40].fill(0);
        }
    }
    packet
}

#[test]
fn random_walks_keep_everything_in_step() {
    let mut reasons = [0; 256];
    for seed in 0..80 {
        for (sum, count) in reasons.iter_mut().zip(walk(seed, 600).reasons) {
            *sum += count;
        }
    }
    // The walks must go everywhere they can.
    for reason in [
        Reason::PoolExhausted,
        Reason::SessionLimit,
        Reason::NoMapping,
        Reason::Filtered,
        Reason::TcpNotSyn,
        Reason::SynStoreFull,
        Reason::SynTimeout,
        Reason::EimConflict,
        Reason::SubscriberLimit,
        Reason::EmbryonicLimit,
        Reason::EifFlowLimit,
        Reason::IcmpErrorNoSession,
        Reason::TimeExceeded,
        Reason::LandAttack,
        Reason::NoRule,
        Reason::Truncated,
        Reason::BadHeader,
    ] {
        assert!(reasons[reason as usize] > 0, "no walk met {reason:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_effects() {
    let run = || {
        let mut rng = StdRng::seed_from_u64(5);
        let mut config = random_config(&mut rng);
        config.pools[0].random = true;
        let mut lab = Lab::new(config);
        let mut all = Vec::new();
        for _ in 0..500 {
            let packet = packet_from_inside(&mut rng, &[]);
            lab.pass(rng.random_range(0..SECOND));
            all.push(format!("{:?}", lab.effects));
            lab.step(INSIDE, &packet);
            all.push(format!("{:?}", lab.effects));
        }
        all
    };
    assert_eq!(run(), run());
}
