//! Opening, changing and closing sessions and bindings. Everything that must stay in step stays in step here: tables,
//! lists, timers, permits, counts, leases, and what the card carries.

use std::net::{Ipv4Addr, Ipv6Addr};

use nat64_layout::{Direction, Protocol, Reason};

use super::syns::SynKey;
use super::Nat64;
use crate::bib::{Bib, Key6, Scope, NONE};
use crate::config::{EimScope, Filtering, OnConflict};
use crate::effect::{Effect, Effects, Event, Time};
use crate::policy::{nanoseconds, Matched, Unmatched};
use crate::pool::{Lease, Request};
use crate::session::{Flags, Session};
use crate::tcp::{self, Life, State};

/// A client's packet that has no session yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outbound {
    pub unit: u16,
    pub service_set: u16,
    pub prefix: u16,
    pub protocol: Protocol,
    pub client: (Ipv6Addr, u16),
    /// As in the packet.
    pub destination: (Ipv6Addr, u16),
    /// Port 0 for ICMP.
    pub remote: (Ipv4Addr, u16),
}

impl Nat64 {
    // ---- lifetimes -----------------------------------------------------------------------------------------------

    /// When the timer of a session is due.
    pub(super) fn deadline(&self, session: &Session) -> Time {
        let bib = self.bibs.get(session.bib);
        self.deadline_of(session, bib.map_or(Protocol::Udp, |bib| bib.six.protocol))
    }

    /// As [`Nat64::deadline`], of a session of this protocol.
    pub(super) fn deadline_of(&self, session: &Session, protocol: Protocol) -> Time {
        let times = &self.lifetimes;
        let begin = times.round(session.last);
        let own = match session.inactivity {
            0 => None,
            seconds => Some(Time::from(seconds) * 1_000_000_000),
        };
        let lifetime = match session.state {
            State::Open if protocol == Protocol::Icmp => own.unwrap_or(times.icmp),
            State::Open => own.unwrap_or(times.udp),
            State::Established | State::V4FinRcv | State::V6FinRcv => own.unwrap_or(times.established),
            State::V4InitStored => times.incoming_syn,
            State::V4Init | State::V6Init | State::V4FinV6FinRcv => times.transitory,
            State::Trans if session.probes > 0 => {
                // The probes still to come divide the time evenly; the first was sent at its beginning.
                let all = Time::from(times.probes.max(1));
                times.transitory / all * all.saturating_sub(Time::from(session.probes))
            }
            State::Trans => times.transitory,
        };
        begin.saturating_add(lifetime)
    }

    /// Whether packets of a direction refresh a session.
    pub(super) fn refreshes(&self, slot: u32, direction: Direction) -> bool {
        let Some(session) = self.sessions.get(slot) else {
            return false;
        };
        let set = self.bibs.get(session.bib).map_or(0, |bib| bib.six.service_set);
        self.policy.refreshes(set, session.term, direction)
    }

    /// Re-arms the timer when it would come too late. One that comes too early is re-armed when it comes.
    pub(super) fn arm(&mut self, slot: u32) {
        let Some(deadline) = self.sessions.get(slot).map(|session| self.deadline(session)) else {
            return;
        };
        if self.session_timers.deadline(slot).is_none_or(|armed| armed > deadline) {
            self.session_timers.arm(slot, deadline);
        }
    }

    // ---- packets of sessions -------------------------------------------------------------------------------------

    /// A packet of a session: state, lifetime, counters. `flags` are those of a TCP segment.
    pub(super) fn seen(
        &mut self,
        now: Time,
        slot: u32,
        direction: Direction,
        flags: u8,
        size: usize,
        effects: &mut Effects,
    ) {
        let Some(session) = self.sessions.get_mut(slot) else {
            return;
        };
        session.count(direction, size);
        let (before, bib) = (session.state, session.bib);
        let (after, life) = tcp::segment(before, direction, flags);
        let restart = match life {
            Life::Keep => false,
            Life::Restart => true,
            Life::Refresh => self.refreshes(slot, direction),
        };
        let Some(session) = self.sessions.get_mut(slot) else {
            return;
        };
        if restart {
            session.last = session.last.max(now);
        }
        if before == after {
            return;
        }
        session.state = after;
        session.probes = 0;
        let remote = session.remote;
        if before == State::V4InitStored {
            // Simultaneous open. RFC 5382 REQ-4: the SYN that waited is dropped without a word, the client's goes on.
            if let Some(bib) = self.bibs.get(bib) {
                let key = SynKey {
                    service_set: bib.six.service_set,
                    pool: bib.pool,
                    remote,
                };
                if self.syns.remove(&key).is_some() {
                    self.stats.stored_syns_met += 1;
                }
            }
            self.permit(slot);
        }
        self.stats.embryonic += u32::from(after.is_embryonic());
        self.stats.embryonic -= u32::from(before.is_embryonic());
        self.arm(slot);
        self.sync_card(slot, effects);
    }

    /// Tells the card whether it may carry a session.
    pub(super) fn sync_card(&mut self, slot: u32, effects: &mut Effects) {
        let Some(session) = self.sessions.get_mut(slot) else {
            return;
        };
        let may = session.state.is_steady() && !session.hairpin();
        if may == session.installed() {
            return;
        }
        session.flags.set(Flags::INSTALLED, may);
        if !may {
            effects.push(Effect::Remove(self.sessions.id(slot)));
        } else if let Some(flow) = self.flow(slot) {
            effects.push(Effect::Install(flow));
        }
    }

    // ---- opening -------------------------------------------------------------------------------------------------

    /// Whether a new session of a client is within the limits but the setup rate.
    pub(super) fn check_limits(&self, set: u16, client: Ipv6Addr, protocol: Protocol) -> Result<(), Reason> {
        let limits = self.policy.config.limits;
        let rules = self.policy.set(set);
        if self.sessions.len() >= limits.sessions as usize {
            return Err(Reason::SessionLimit);
        }
        let of_set = self
            .stats
            .service_sets
            .get(usize::from(set))
            .map_or(0, |stats| stats.sessions);
        if rules.max_sessions.is_some_and(|most| of_set >= most) {
            return Err(Reason::SessionLimit);
        }
        if protocol == Protocol::Tcp && limits.embryonic.is_some_and(|most| self.stats.embryonic >= most) {
            return Err(Reason::EmbryonicLimit);
        }
        if let Some(most) = rules.max_sessions_per_subscriber {
            let key = (set, self.policy.subscriber(set, client));
            if self.subscribers.get(&key).copied().unwrap_or(0) >= most {
                return Err(Reason::SubscriberLimit);
            }
        }
        Ok(())
    }

    /// Whether a new session of a client is within the limits. Takes from the setup rate.
    fn within_limits(&mut self, now: Time, set: u16, client: Ipv6Addr, protocol: Protocol) -> Result<(), Reason> {
        self.check_limits(set, client, protocol)?;
        if let Some(Some(rate)) = self.setup_rates.get_mut(usize::from(set)) {
            if !rate.take(now) {
                return Err(Reason::SetupRate);
            }
        }
        Ok(())
    }

    /// Opens a session for a client's packet (RFC 6146 sections 3.5.1, 3.5.2.2 CLOSED, 3.5.3). The caller looked for its
    /// tuple, whose hash is `hash`, in vain.
    pub(super) fn open_outbound(
        &mut self,
        now: Time,
        packet: &Outbound,
        hash: u64,
        size: usize,
        effects: &mut Effects,
    ) -> Result<u32, Reason> {
        let Outbound {
            unit,
            service_set,
            prefix,
            protocol,
            client,
            destination,
            remote,
        } = *packet;
        let matched = self
            .policy
            .find_term(service_set, Some(prefix), protocol, client, destination);
        let matched = self.hit(service_set, matched)?;
        self.within_limits(now, service_set, client.0, protocol)?;
        let mut key = self.bib_key(packet, matched.term);
        let mut hash6 = key.hash(&self.keys);
        let mut slot = self.find_bib_hashed(&key, hash6);
        if let Some(found) = slot.filter(|&found| self.sessions.find_remote(&self.bibs, found, remote).is_some()) {
            // The reverse tuple exists: another prefix or unit maps this client to the same server.
            let is_static = self.bibs.get(found).is_some_and(Bib::is_static);
            if is_static || self.policy.set(service_set).on_conflict == OnConflict::Drop {
                return Err(Reason::EimConflict);
            }
            key.scope = Scope::Term;
            hash6 = key.hash(&self.keys);
            slot = self.bibs.find6_hashed(&key, hash6);
        }
        let bib = match slot {
            Some(slot) => slot,
            None => self.create_bib(now, key, hash6, effects)?,
        };
        if let Err(reason) = self.check_land_attack(service_set, bib, remote) {
            self.forget_if_unused(bib, now, effects);
            return Err(reason);
        }
        let tcp = protocol == Protocol::Tcp;
        let state = match tcp {
            false => State::Open,
            // Simultaneous open: the other SYN waited for this one (V4 INIT without a binding).
            true if self.syn_met(service_set, bib, remote) => State::Established,
            true => State::V6Init,
        };
        let hairpin = self.policy.pool_owner(service_set, remote.0).is_some();
        let mut session = self.new_session(now, bib, remote, unit, prefix, matched);
        session.state = state;
        session.flags.set(Flags::HAIRPIN, hairpin);
        session.count(Direction::SixToFour, size);
        self.add_new_session(session, hash, effects).ok_or(Reason::SessionLimit)
    }

    /// Counts that a term matched.
    fn hit(&mut self, service_set: u16, matched: Result<Matched, Unmatched>) -> Result<Matched, Reason> {
        let term = match matched {
            Ok(matched) => Some(matched.term),
            Err(Unmatched::Excepted(term)) => Some(term),
            Err(Unmatched::NoTerm) => None,
        };
        if let Some(stats) = term.and_then(|term| self.stats.term(service_set, term)) {
            stats.hits += 1;
        }
        matched.map_err(Unmatched::reason)
    }

    /// Takes the SYN that waits for a connection's other side, if there is one.
    fn syn_met(&mut self, service_set: u16, bib: u32, remote: (Ipv4Addr, u16)) -> bool {
        let Some(pool) = self.bibs.get(bib).map(|bib| bib.pool) else {
            return false;
        };
        let met = self
            .syns
            .remove(&SynKey {
                service_set,
                pool,
                remote,
            })
            .is_some();
        self.stats.stored_syns_met += u64::from(met);
        met
    }

    /// Opens a session for a packet from the IPv4 side to a binding; the filter let it in, or its SYN is stored.
    pub(super) fn open_inbound(
        &mut self,
        now: Time,
        bib: u32,
        remote: (Ipv4Addr, u16),
        state: State,
        size: usize,
        effects: &mut Effects,
    ) -> Result<u32, Reason> {
        let entry = self.bibs.get(bib).ok_or(Reason::NoMapping)?;
        let (set, term, unit, client) = (entry.six.service_set, entry.six.term, entry.six.unit, entry.six.client);
        let (protocol, inbound) = (entry.six.protocol, entry.inbound);
        let translate = self.policy.translate(set, term).ok_or(Reason::NoRule)?;
        if translate.eif_flow_limit.is_some_and(|most| inbound >= u32::from(most)) {
            if let Some(pool) = self.pool_of(bib) {
                self.inbound[pool].limited += 1;
            }
            return Err(Reason::EifFlowLimit);
        }
        let prefix = self.policy.sets[usize::from(set)].terms[usize::from(term)]
            .prefix
            .ok_or(Reason::NoRule)?;
        if !self.policy.may_embed(set, prefix, remote.0) {
            return Err(Reason::NotGlobal);
        }
        self.check_land_attack(set, bib, remote)?;
        self.within_limits(now, set, client.0, protocol)?;
        let mut session = self.new_session(now, bib, remote, unit, prefix, Matched { term, inactivity: 0 });
        session.state = state;
        session.flags.set(Flags::INBOUND, true);
        let hairpin = self.policy.pool_owner(set, remote.0).is_some();
        session.flags.set(Flags::HAIRPIN, hairpin);
        session.count(Direction::FourToSix, size);
        self.add_session(session, effects).ok_or(Reason::EimConflict)
    }

    pub(super) fn new_session(
        &self,
        now: Time,
        bib: u32,
        remote: (Ipv4Addr, u16),
        unit: u16,
        prefix: u16,
        matched: Matched,
    ) -> Session {
        Session {
            bib,
            remote,
            prefix,
            unit,
            term: matched.term,
            state: State::Open,
            flags: Flags::default(),
            probes: 0,
            inactivity: matched.inactivity,
            last: now,
            packets: [0; 2],
            bytes: [0; 2],
        }
    }

    /// Adds a session and everything that goes with it. `None`: its IPv6 tuple exists already.
    pub(super) fn add_session(&mut self, session: Session, effects: &mut Effects) -> Option<u32> {
        let entry = self.bibs.get(session.bib)?;
        let tuple = crate::session::Tuple6 {
            protocol: entry.six.protocol,
            unit: session.unit,
            prefix: session.prefix,
            client: entry.six.client,
            remote: session.remote,
        };
        let hash = tuple.hash(&self.keys);
        if self.sessions.find6_hashed(&self.bibs, &tuple, hash).is_some() {
            return None;
        }
        self.add_new_session(session, hash, effects)
    }

    /// As [`Nat64::add_session`], for a tuple that is known not to exist, and its hash. `None`: there is no such binding.
    fn add_new_session(&mut self, session: Session, hash: u64, effects: &mut Effects) -> Option<u32> {
        let (bib, state) = (session.bib, session.state);
        let (term, inbound) = (session.term, session.inbound());
        let entry = self.bibs.get(bib)?;
        let (set, client) = (entry.six.service_set, entry.six.client.0);
        let slot = self.sessions.insert_hashed(&mut self.bibs, session, hash)?;
        self.bib_timers.disarm(bib);
        if state != State::V4InitStored {
            self.permit(slot);
        }
        self.stats.embryonic += u32::from(state.is_embryonic());
        let rules = self.policy.set(set);
        if rules.max_sessions_per_subscriber.is_some() {
            *self
                .subscribers
                .entry((set, self.policy.subscriber(set, client)))
                .or_default() += 1;
        }
        if let Some(stats) = self.stats.service_sets.get_mut(usize::from(set)) {
            stats.opened += 1;
            stats.sessions += 1;
        }
        let log = rules.log_sessions;
        if let Some(stats) = self.stats.term(set, term) {
            stats.opened += 1;
            stats.sessions += 1;
        }
        if let Some(pool) = inbound.then(|| self.pool_of(bib)).flatten() {
            self.inbound[pool].opened += 1;
            self.inbound[pool].now += 1;
        }
        self.arm(slot);
        if let (true, Some(flow)) = (log, self.flow(slot)) {
            effects.push(Effect::Log(Event::SessionOpen(flow)));
        }
        self.sync_card(slot, effects);
        Some(slot)
    }

    pub(super) fn check_land_attack(&self, set: u16, bib: u32, remote: (Ipv4Addr, u16)) -> Result<(), Reason> {
        use crate::config::LandAttackCheck::{IpOnly, IpPort};
        let Some(bib) = self.bibs.get(bib) else {
            return Ok(());
        };
        // An echo identifier is no port: an attack by ICMP is told by its addresses.
        let same_port = bib.six.protocol == Protocol::Icmp || bib.pool.1 == remote.1;
        match self.policy.set(set).land_attack_check {
            Some(IpOnly) if bib.pool.0 == remote.0 => Err(Reason::LandAttack),
            Some(IpPort) if bib.pool.0 == remote.0 && same_port => Err(Reason::LandAttack),
            _ => Ok(()),
        }
    }

    // ---- bindings ------------------------------------------------------------------------------------------------

    /// The binding a client's packet asks for.
    pub(super) fn bib_key(&self, packet: &Outbound, term: u16) -> Key6 {
        let Outbound {
            unit,
            service_set,
            protocol,
            client,
            remote,
            ..
        } = *packet;
        let independent = self
            .policy
            .translate(service_set, term)
            .is_some_and(|translate| translate.endpoint_independent_mapping);
        let whole_set = self.policy.set(service_set).eim_scope == EimScope::ServiceSet;
        Key6 {
            protocol,
            service_set,
            client,
            scope: if independent && whole_set {
                Scope::ServiceSet
            } else {
                Scope::Term
            },
            term,
            unit,
            destination: (!independent).then_some(remote),
        }
    }

    /// Finds the binding of a client; a static one goes first.
    pub(super) fn find_bib(&self, key: &Key6) -> Option<u32> {
        self.find_bib_hashed(key, key.hash(&self.keys))
    }

    /// As [`Nat64::find_bib`], with the hash of the key.
    fn find_bib_hashed(&self, key: &Key6, hash: u64) -> Option<u32> {
        if !self.policy.set(key.service_set).static_bindings.is_empty() {
            let fixed = self.bibs.find6(&Key6 {
                scope: Scope::Static,
                destination: None,
                ..*key
            });
            if fixed.is_some() {
                return fixed;
            }
        }
        self.bibs.find6_hashed(key, hash)
    }

    /// The binding that a client's packet without a session would use, if there is one.
    pub(super) fn existing_bib(&mut self, packet: &Outbound) -> Result<u32, Reason> {
        let Outbound {
            service_set,
            prefix,
            protocol,
            client,
            destination,
            ..
        } = *packet;
        let matched = self
            .policy
            .find_term(service_set, Some(prefix), protocol, client, destination);
        let matched = self.hit(service_set, matched)?;
        self.find_bib(&self.bib_key(packet, matched.term))
            .ok_or(Reason::TcpNotSyn)
    }

    fn create_bib(&mut self, now: Time, key: Key6, hash: u64, effects: &mut Effects) -> Result<u32, Reason> {
        if self.bibs.len() >= self.policy.config.limits.bibs as usize {
            return Err(Reason::BibLimit);
        }
        let (lease, pool) = self.lease(now, &key, effects)?;
        let bib = Bib {
            six: key,
            pool,
            sessions: 0,
            inbound: 0,
            first: NONE,
            lease: Some(lease),
        };
        let fixed = !self.policy.set(key.service_set).static_bindings.is_empty();
        if fixed && self.bibs.find4(&bib.four()).is_some() {
            // A static binding to an address of no pool, with a port that a pool has now: the lease goes back.
            return Err(Reason::PoolExhausted);
        }
        if let Some(shard) = &self.shard {
            shard.announce(bib.six.protocol, bib.pool);
        }
        Ok(self.bibs.insert_hashed(bib, hash))
    }

    /// A port of the term's pool, or of its overload pool.
    fn lease(&mut self, now: Time, key: &Key6, effects: &mut Effects) -> Result<(Lease, (Ipv4Addr, u16)), Reason> {
        let (set, term) = (key.service_set, key.term);
        let translate = self.policy.translate(set, term).ok_or(Reason::NoRule)?;
        let fixed = match &self.policy.sets[usize::from(set)].terms[usize::from(term)].deterministic {
            Some(map) => Some(map.forward(key.client.0).ok_or(Reason::NoRule)?),
            None => None,
        };
        let request = Request {
            subscriber: self.policy.subscriber(set, key.client.0),
            protocol: key.protocol,
            source_port: key.client.1,
            paired: translate.paired,
            fixed,
        };
        let (pool, overload) = (translate.pool, translate.overload_pool);
        let first = self.pools[pool].allocate_endpoint(now, &request);
        let lease = match (first, overload) {
            (Err(_), Some(overload)) => {
                self.pools[overload].allocate_endpoint(now, &Request { fixed: None, ..request })
            }
            (first, _) => first,
        };
        self.log_blocks(effects);
        lease.map_err(|error| error.reason())
    }

    /// Passes on what the pools have to log.
    pub(super) fn log_blocks(&mut self, effects: &mut Effects) {
        if !self.policy.has_blocks() {
            return;
        }
        for (pool, config) in self.pools.iter().zip(&self.policy.config.pools) {
            if config.blocks.is_some() {
                pool.take_events(&mut self.events);
            }
        }
        for event in self.events.drain(..) {
            effects.push(Effect::Log(event));
        }
    }

    /// The pool a binding's address is of; `None` for a static binding outside its term's pools.
    pub(super) fn pool_of(&self, slot: u32) -> Option<usize> {
        let bib = self.bibs.get(slot)?;
        let translate = self.policy.translate(bib.six.service_set, bib.six.term)?;
        let of_term = std::iter::once(translate.pool).chain(translate.overload_pool);
        let holds = |&pool: &usize| {
            let ranges = &self.policy.config.pools[pool].ranges;
            ranges.iter().any(|&(low, high)| (low..=high).contains(&bib.pool.0))
        };
        of_term.into_iter().find(holds)
    }

    /// Takes a dynamic binding away that has no session.
    pub(super) fn forget_if_unused(&mut self, slot: u32, now: Time, effects: &mut Effects) {
        let idle = self
            .bibs
            .get(slot)
            .is_some_and(|bib| bib.sessions == 0 && !bib.is_static());
        if idle && self.bib_timers.deadline(slot).is_none() {
            self.drop_bib(slot, now, effects);
        }
    }

    /// Removes a binding that has no session; its port goes back.
    pub(super) fn drop_bib(&mut self, slot: u32, now: Time, effects: &mut Effects) {
        self.bib_timers.disarm(slot);
        if let Some(lease) = self.bibs.remove(slot).and_then(|bib| bib.lease) {
            lease.release(now);
        }
        self.log_blocks(effects);
    }

    // ---- filters -------------------------------------------------------------------------------------------------

    /// Whether the filter of a binding lets a new session of an IPv4 host in.
    pub(super) fn lets_in(&self, slot: u32, remote: Ipv4Addr) -> bool {
        let Some(bib) = self.bibs.get(slot) else {
            return false;
        };
        let Some(translate) = self.policy.translate(bib.six.service_set, bib.six.term) else {
            return false;
        };
        match translate.filtering {
            Filtering::EndpointIndependent => translate.lets_in(remote),
            Filtering::AddressDependent => self.permits.contains_key(&(slot, remote)),
            Filtering::AddressAndPortDependent => false,
        }
    }

    // ---- closing -------------------------------------------------------------------------------------------------

    /// Ends a session; its binding goes with the last one, at once or after the pool's mapping timeout.
    pub(super) fn close(&mut self, slot: u32, now: Time, effects: &mut Effects) {
        let id = self.sessions.id(slot);
        // The whole of it is told only where it is logged.
        let log = self.sessions.get(slot).and_then(|session| self.bibs.get(session.bib));
        let log = log.is_some_and(|bib| self.policy.set(bib.six.service_set).log_sessions);
        let flow = if log { self.flow(slot) } else { None };
        self.session_timers.disarm(slot);
        let Some(session) = self.sessions.remove(&mut self.bibs, slot) else {
            return;
        };
        if session.installed() {
            effects.push(Effect::Remove(id));
        }
        self.stats.embryonic -= u32::from(session.state.is_embryonic());
        let Some(bib) = self.bibs.get(session.bib) else {
            return;
        };
        let (set, client) = (bib.six.service_set, bib.six.client.0);
        let idle = bib.sessions == 0 && !bib.is_static();
        if session.state == State::V4InitStored {
            let key = SynKey {
                service_set: set,
                pool: bib.pool,
                remote: session.remote,
            };
            // Whoever ended the session before the time of its SYN ended that too.
            if self.syns.remove(&key).is_some() {
                self.finish(Some(set), Err(Reason::SynTimeout), effects);
            }
        } else if session.flags.has(Flags::PERMITS) {
            self.withdraw_permit(session.bib, session.remote.0);
        }
        let subscriber = (set, self.policy.subscriber(set, client));
        if let Some(count) = self.subscribers.get_mut(&subscriber) {
            *count -= 1;
            if *count == 0 {
                self.subscribers.remove(&subscriber);
            }
        }
        if let Some(stats) = self.stats.service_sets.get_mut(usize::from(set)) {
            stats.closed += 1;
            stats.sessions -= 1;
        }
        if let Some(stats) = self.stats.term(set, session.term) {
            stats.close(&session);
        }
        if let Some(pool) = session.inbound().then(|| self.pool_of(session.bib)).flatten() {
            self.inbound[pool].now -= 1;
        }
        if let Some(flow) = flow {
            let (packets, bytes) = (session.packets, session.bytes);
            effects.push(Effect::Log(Event::SessionClose { flow, packets, bytes }));
        }
        if idle {
            match self.mapping_timeout(session.bib) {
                Some(timeout) => self.bib_timers.arm(session.bib, now.saturating_add(timeout)),
                None => self.drop_bib(session.bib, now, effects),
            }
        }
    }

    fn mapping_timeout(&self, slot: u32) -> Option<Time> {
        let bib = self.bibs.get(slot)?;
        let pool = self.policy.translate(bib.six.service_set, bib.six.term)?.pool;
        self.policy.config.pools[pool]
            .mapping_timeout
            .map(nanoseconds)
            .filter(|&timeout| timeout > 0)
    }

    /// Lets the address of a session's server in, if the binding's filter goes by addresses.
    fn permit(&mut self, slot: u32) {
        let Some(session) = self.sessions.get_mut(slot) else {
            return;
        };
        let Some(bib) = self.bibs.get(session.bib) else {
            return;
        };
        let translate = self.policy.translate(bib.six.service_set, bib.six.term);
        if translate.is_some_and(|translate| translate.filtering == Filtering::AddressDependent) {
            session.flags.set(Flags::PERMITS, true);
            *self.permits.entry((session.bib, session.remote.0)).or_default() += 1;
        }
    }

    fn withdraw_permit(&mut self, bib: u32, remote: Ipv4Addr) {
        if let Some(count) = self.permits.get_mut(&(bib, remote)) {
            *count -= 1;
            if *count == 0 {
                self.permits.remove(&(bib, remote));
            }
        }
    }
}
