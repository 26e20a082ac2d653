//! What must hold after every action, seen from outside.

use std::collections::{BTreeMap, BTreeSet};

use nat64_layout::{Direction, Reason, ReasonKind};
use nat64_xlate::packet::{Packet4, Packet6};
use nat64_xlate::{Effect, Effects, Explanation, Flow, Nat64, SessionId, SessionInfo, Stats, Time, Verdict};

use super::packets::transport_is_right;

/// What a card would carry.
#[derive(Default)]
pub struct Card {
    /// Its sessions.
    pub installed: BTreeMap<SessionId, Flow>,
}

impl Card {
    /// Does what the effects ask of a card.
    pub fn perform(&mut self, effects: &Effects) {
        for effect in effects.iter() {
            match effect {
                Effect::Install(flow) => assert!(self.installed.insert(flow.id, *flow).is_none(), "installed twice"),
                Effect::Remove(id) => assert!(self.installed.remove(id).is_some(), "removed what is not there"),
                _ => {}
            }
        }
    }
}

/// Every packet sent has right lengths and header checksums, and a right transport checksum if it is ours or what came in
/// had one (`sound`).
pub fn sent(effects: &Effects, sound: bool) {
    for effect in effects.iter() {
        let Effect::Send { bytes, translated, .. } = effect else {
            continue;
        };
        let bytes = effects.bytes(bytes);
        match bytes[0] >> 4 {
            6 => {
                let packet = Packet6::parse(bytes).expect("we send what can be read");
                assert_eq!(packet.bytes.len(), bytes.len(), "payload length");
            }
            _ => {
                let packet = Packet4::parse(bytes).expect("we send what can be read");
                assert_eq!(packet.bytes.len(), bytes.len(), "total length");
                assert!(bytes[0] == 0x45, "no options");
            }
        }
        if sound || translated.is_none() {
            assert_ne!(transport_is_right(bytes), Some(false), "checksum of {bytes:02x?}");
        }
    }
}

/// How many sessions and stored SYNs there were.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    sessions: usize,
    stored_syns: usize,
}

/// How many there are.
pub fn counts(nat: &Nat64) -> Counts {
    Counts {
        sessions: nat.session_count(),
        stored_syns: nat.stored_syns(),
    }
}

/// Tables, pools, counters and limits agree. A limit that was lowered ends nothing: what there was `before` the last action may
/// stay, but nothing is added to it.
pub fn tables(nat: &Nat64, card: &Card, now: Time, before: Counts) {
    let limits = nat.config().limits;
    assert!(nat.session_count() <= before.sessions.max(limits.sessions as usize));
    assert!(nat.stored_syns() <= before.stored_syns.max(limits.stored_syns as usize));
    assert!(nat.fragmented_packets() <= 3 * usize::from(limits.fragmented_packets_per_source) * 8);
    let sessions: Vec<SessionInfo> = nat.sessions().collect();
    let (mut forward, mut reverse, mut by_pool) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    for session in &sessions {
        let flow = &session.flow;
        assert!(forward.insert((flow.protocol, flow.unit, flow.pref64, flow.client, flow.remote)));
        assert!(
            reverse.insert((flow.protocol, flow.service_set, flow.pool, flow.remote)),
            "two sessions have one reverse tuple"
        );
        *by_pool
            .entry((flow.protocol, flow.service_set, flow.pool))
            .or_insert(0u32) += 1;
        assert_eq!(session.installed, session.state.is_steady() && !session.hairpin);
        assert_eq!(card.installed.get(&flow.id), session.installed.then_some(flow));
        assert!(session.deadline >= now, "overdue");
    }
    assert_eq!(
        card.installed.len(),
        sessions.iter().filter(|session| session.installed).count()
    );
    let stats = nat.stats();
    let embryonic = sessions.iter().filter(|session| session.state.is_embryonic()).count();
    assert_eq!(stats.embryonic as usize, embryonic);
    let of_sets: u32 = stats.service_sets.iter().map(|set| set.sessions).sum();
    assert_eq!(of_sets as usize, sessions.len());
    let of_terms: u32 = stats.terms.iter().flatten().map(|term| term.sessions).sum();
    assert_eq!(of_terms as usize, sessions.len());
    let (mut dynamic, mut fixed) = (0u64, 0u64);
    for bib in nat.bibs() {
        let here = by_pool
            .remove(&(bib.protocol, bib.service_set, bib.pool))
            .unwrap_or_default();
        assert_eq!(bib.sessions, here);
        let kept = bib.is_static || bib.deadline.is_some_and(|deadline| deadline >= now);
        assert!(bib.sessions > 0 || kept, "a binding without session");
        if bib.is_static {
            fixed += 1;
        } else {
            dynamic += 1;
        }
    }
    assert!(by_pool.is_empty(), "sessions without binding");
    let in_use: u64 = stats.pools.iter().flat_map(|pool| pool.in_use).sum();
    assert!((dynamic..=dynamic + fixed).contains(&in_use), "ports leaked");
    assert!(dynamic <= u64::from(limits.bibs) || fixed > 0);
    let inbound: u64 = stats.pools.iter().map(|pool| pool.inbound).sum();
    assert!(inbound <= sessions.iter().filter(|session| session.inbound).count() as u64);
    for pool in &stats.pools {
        assert!(pool.addresses_in_use <= pool.addresses && pool.subscribers <= pool.in_use.iter().sum());
    }
}

/// A packet that is no fragment ended in exactly one way, and in the one that was told.
pub fn outcome(nat: &Nat64, effects: &Effects, before: &Stats, told: &Explanation) {
    let after = nat.stats();
    let (mut translated, mut ours, mut drops) = (Vec::new(), 0, Vec::new());
    for effect in effects.iter() {
        match effect {
            Effect::Send {
                unit,
                translated: Some(direction),
                ..
            } => translated.push((*unit, *direction)),
            Effect::Send { .. } => ours += 1,
            Effect::Drop(reason) => drops.push(*reason),
            _ => {}
        }
    }
    let held = after.held - before.held;
    match (translated.len(), &drops[..], held) {
        (1.., [], 0) | (0, [], 1) => assert_eq!(ours, 0),
        (0, [reason], 0) => {
            assert!(ours <= 1);
            assert!(
                reason.kind() != ReasonKind::Answer || ours == 1,
                "{reason:?} without an answer"
            );
            assert_eq!(after.count(*reason), before.count(*reason) + 1);
        }
        other => panic!("{other:?}"),
    }
    if !told.exact {
        return;
    }
    let opened = |stats: &Stats| stats.service_sets.iter().map(|set| set.opened).sum::<u64>();
    match told.verdict {
        Verdict::Sent { unit, direction, opens } => {
            assert!(
                translated.iter().all(|&sent| sent == (unit, direction)) && !translated.is_empty(),
                "{told:#?}, but {translated:?} {drops:?}"
            );
            assert_eq!(opened(&after) > opened(before), opens, "{told:#?}");
        }
        Verdict::Held => assert_eq!((held, &drops[..]), (1, &[] as &[Reason]), "{told:#?}"),
        Verdict::Dropped { reason, answered } => {
            assert_eq!((&drops[..], ours), (&[reason][..], usize::from(answered)), "{told:#?}");
        }
    }
}

/// Nothing is left after a long time without packets.
pub fn empty(nat: &Nat64, card: &Card) {
    assert!(card.installed.is_empty());
    let statics = nat.bibs().filter(|bib| bib.is_static).count();
    assert_eq!((nat.session_count(), nat.bib_count() - statics), (0, 0));
    assert_eq!((nat.stored_syns(), nat.fragmented_packets()), (0, 0));
    let stats = nat.stats();
    let in_use: u64 = stats.pools.iter().flat_map(|pool| pool.in_use).sum();
    assert!(in_use <= statics as u64, "ports leaked");
    for pool in &stats.pools {
        assert_eq!((pool.subscribers, pool.blocks, pool.inbound), (0, 0, 0));
    }
    assert_eq!(stats.embryonic, 0);
}

/// The direction of a unit's packets.
pub const fn direction(six: bool) -> Direction {
    if six {
        Direction::SixToFour
    } else {
        Direction::FourToSix
    }
}
