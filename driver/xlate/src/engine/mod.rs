//! The stateful translator: one packet in, effects out.
//!
//! ```text
//!  step --- six  --- fragments? --- session6 --- translate --- hairpin? --- four
//!       \-- four --- fragments? --- session4 --- translate
//!  advance --- sessions, stored SYNs, fragments, idle bindings, in the order of their deadlines
//! ```
//!
//! Each packet ends in exactly one of: it was sent on (`Send` with a direction, more than one if it had to be
//! fragmented), it was dropped (one `Drop`, after a `Send` of ours if it was answered), or it is held (a fragment
//! that waits for the first one, a SYN that waits for the client's; [`Stats::held`]). What was held ends the same way
//! later, during another call.
//!
//! Timers run only in [`Nat64::advance`]: a caller with a card first asks [`Nat64::due`] which sessions it must look up
//! the activity of, tells [`Nat64::touch`], then advances. A caller without one advances before each step.

mod adopt;
mod answers;
mod batch;
mod chosen;
mod drain;
mod ends;
mod explain;
mod four;
mod plain;
mod reconfigure;
mod six;
mod state;
mod syns;
mod timers;
mod undelivered;

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use nat64_layout::{Direction, Protocol, Reason};

use crate::bib::{Bib, Bibs};
use crate::config::{Config, Timers};
use crate::effect::{Effect, Effects, Event, Flow, SessionId, Time};
use crate::fragment::{Outcome, Store};
use crate::icmp_error::RateLimit;
use crate::keyed::{Keyed, Random};
use crate::policy::{nanoseconds, ConfigError, Policy};
use crate::pool::{Pool, Usage};
use crate::session::{Session, Sessions, Tuple6};
use crate::shard::Shard;
use crate::stats::Stats;
use crate::tcp::State;
use crate::wheel::Wheel;
use ends::Ended;
use syns::Syns;

pub use adopt::{AdoptError, CardSession};
pub use chosen::{BindingKey, DeterministicBlock};
pub use drain::{DrainError, Draining};
pub use explain::{Explanation, Stage, StageName, Verdict};
pub use reconfigure::ReconfigureReport;

/// Lifetimes in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Lifetimes {
    udp: Time,
    established: Time,
    transitory: Time,
    incoming_syn: Time,
    icmp: Time,
    probes: u8,
    tick: Time,
}

impl Lifetimes {
    fn new(config: &Config) -> Self {
        let Timers {
            udp,
            tcp_established,
            tcp_transitory,
            tcp_incoming_syn,
            icmp,
            tcp_probes,
            ..
        } = config.timers;
        Self {
            udp: nanoseconds(udp),
            established: nanoseconds(tcp_established),
            transitory: nanoseconds(tcp_transitory),
            incoming_syn: nanoseconds(tcp_incoming_syn),
            icmp: nanoseconds(icmp),
            probes: tcp_probes,
            tick: nanoseconds(config.activity_tick),
        }
    }

    /// An activity time as lifetimes count it: the end of its tick, as of a stamp (`nat64_layout::dump::stamp_time_ns`).
    fn round(&self, at: Time) -> Time {
        if self.tick <= 1 {
            return at;
        }
        (at / self.tick + 1).saturating_mul(self.tick)
    }
}

/// Sessions that IPv4 packets opened through the mappings of a pool.
#[derive(Clone, Copy, Debug, Default)]
struct Inbound {
    now: u64,
    opened: u64,
    limited: u64,
}

/// A stateful NAT64 (RFC 6146).
#[derive(Debug)]
pub struct Nat64 {
    policy: Policy,
    lifetimes: Lifetimes,
    keys: Keyed,
    pools: Vec<Pool>,
    /// By pool.
    inbound: Vec<Inbound>,
    /// Addresses that [`Nat64::drain`] named, in order; those of the configuration are not among them.
    drained: Vec<Ipv4Addr>,
    bibs: Bibs,
    sessions: Sessions,
    session_timers: Wheel,
    bib_timers: Wheel,
    syns: Syns,
    fragments: Store,
    /// Sessions by binding and server address, for address-dependent filters: how many let the address in.
    permits: HashMap<(u32, Ipv4Addr), u32, Keyed>,
    /// Sessions by service set and subscriber.
    subscribers: HashMap<(u16, u128), u32, Keyed>,
    setup_rates: Vec<Option<RateLimit>>,
    errors: RateLimit,
    /// IPv4 Identification of the last packet that got one from us.
    ident: u16,
    stats: Stats,
    ended: Ended,
    /// Tuple of the packet in hand and its hash, when there is no session for it.
    absent: Option<(Tuple6, u64)>,
    /// Packets between the two translations of a hairpin, and errors of ours.
    scratch: Vec<u8>,
    events: Vec<Event>,
    shard: Option<Shard>,
    /// The packet in hand comes from another shard, where nobody waits to answer it.
    from_shard: bool,
}

/// A session, for listings and for the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// Addresses, ports, units.
    pub flow: Flow,
    /// State.
    pub state: State,
    /// Opened by an IPv4 packet.
    pub inbound: bool,
    /// A card may carry it.
    pub installed: bool,
    /// Server and client are both behind us.
    pub hairpin: bool,
    /// Last packet that refreshed it.
    pub last: Time,
    /// When it ends (TCP in ESTABLISHED: goes to TRANS) if no packet comes.
    pub deadline: Time,
    /// Packets the translator saw, by direction.
    pub packets: [u64; 2],
    /// Bytes the translator saw, by direction.
    pub bytes: [u64; 2],
}

/// A binding, for listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BibInfo {
    /// Protocol.
    pub protocol: Protocol,
    /// Service set.
    pub service_set: usize,
    /// Rule term.
    pub term: usize,
    /// Unit the client is behind.
    pub unit: usize,
    /// Client.
    pub client: (Ipv6Addr, u16),
    /// Pool address and port.
    pub pool: (Ipv4Addr, u16),
    /// The only server it serves, if it is not endpoint-independent.
    pub destination: Option<(Ipv4Addr, u16)>,
    /// Sessions.
    pub sessions: u32,
    /// Sessions that an IPv4 packet opened.
    pub inbound: u32,
    /// From the configuration.
    pub is_static: bool,
    /// When a binding without sessions ends.
    pub deadline: Option<Time>,
}

impl Nat64 {
    /// A translator without state. Keys and random choices come from the seed: the same seed, configuration and
    /// packets give the same effects.
    ///
    /// # Errors
    /// [`ConfigError`] names the first mistake.
    pub fn new(config: Config, seed: u64) -> Result<Self, ConfigError> {
        Self::make(config, seed, None, &[])
    }

    /// One translator of several ([`crate::shard`]). The first one makes the pools, the others are given its
    /// [`Nat64::pool_handles`].
    ///
    /// # Errors
    /// As [`Nat64::new`].
    pub fn new_shard(config: Config, seed: u64, shard: Shard, pools: &[Pool]) -> Result<Self, ConfigError> {
        Self::make(config, seed, Some(shard), pools)
    }

    /// The pools, for another shard.
    pub fn pool_handles(&self) -> Vec<Pool> {
        self.pools.clone()
    }

    fn make(config: Config, seed: u64, shard: Option<Shard>, pools: &[Pool]) -> Result<Self, ConfigError> {
        let policy = Policy::new(config)?;
        let keys = Keyed::new(seed);
        let config = &policy.config;
        let mut nat = Self {
            lifetimes: Lifetimes::new(config),
            pools: if pools.is_empty() {
                config.pools.iter().map(|pool| Pool::new(pool, &keys)).collect()
            } else {
                pools.to_vec()
            },
            inbound: vec![Inbound::default(); config.pools.len()],
            drained: Vec::new(),
            bibs: Bibs::new(keys.clone(), config.limits.bibs as usize),
            sessions: Sessions::new(keys.clone(), config.limits.sessions as usize),
            session_timers: Wheel::new(),
            bib_timers: Wheel::new(),
            syns: Syns::new(&keys),
            fragments: Store::new(&config.limits, config.timers.fragment, &keys),
            permits: HashMap::with_hasher(keys.clone()),
            subscribers: HashMap::with_hasher(keys.clone()),
            setup_rates: config
                .service_sets
                .iter()
                .map(|set| set.max_setup_rate.map(RateLimit::new))
                .collect(),
            errors: RateLimit::new(config.limits.icmp_errors_per_second),
            ident: Random::new(seed ^ 0x6e61_7436_3436_3436).draw() as u16,
            stats: Stats::new(config),
            ended: Ended::default(),
            absent: None,
            scratch: Vec::new(),
            events: Vec::new(),
            shard,
            from_shard: false,
            keys,
            policy,
        };
        nat.add_static_bindings(0, &mut Effects::new());
        Ok(nat)
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.policy.config
    }

    /// Takes one IP packet that arrived on a unit.
    ///
    /// Where several packets are at hand, [`Nat64::step_batch`] does the same in less time.
    pub fn step(&mut self, now: Time, unit: usize, packet: &[u8], effects: &mut Effects) {
        if !self.step_plain(now, unit, packet, effects) {
            self.step_in_full(now, unit, packet, effects);
        }
    }

    /// [`Nat64::step`] for every kind of packet.
    fn step_in_full(&mut self, now: Time, unit: usize, packet: &[u8], effects: &mut Effects) {
        let result = match packet.first().map(|byte| byte >> 4) {
            Some(6) => self.six(now, unit, packet, effects),
            Some(4) => self.four(now, unit, packet, effects),
            Some(_) => Err(Reason::BadHeader),
            None => Err(Reason::Truncated),
        };
        self.absent = None;
        if result.is_err() {
            self.finish(self.policy.set_of_unit(unit), result, effects);
        }
    }

    /// Takes the middle of a hairpin, or an error about one, that another shard sent on [`crate::shard::hairpin_unit`].
    pub fn step_middle(&mut self, now: Time, service_set: u16, packet: &[u8], effects: &mut Effects) {
        self.from_shard = true;
        let result = self.middle(now, service_set, packet, effects);
        self.from_shard = false;
        let set = (usize::from(service_set) < self.policy.sets.len()).then_some(service_set);
        self.finish(set, result, effects);
    }

    /// Books how a packet of a service set ended; `None`: of none, or nobody knows.
    fn finish(&mut self, set: Option<u16>, result: Result<(), Reason>, effects: &mut Effects) {
        if let Err(reason) = result {
            self.stats.reasons[reason as usize] += 1;
            if let Some(stats) = set.and_then(|set| self.stats.service_sets.get_mut(usize::from(set))) {
                stats.reasons.add(reason);
            }
            effects.push(Effect::Drop(reason));
        }
    }

    /// Books the fragments that were held until another one of their packet came.
    fn assembled(
        &mut self,
        set: u16,
        outcome: Result<Outcome, Reason>,
        effects: &mut Effects,
    ) -> Result<Outcome, Reason> {
        let gone = self.fragments.gone();
        match &outcome {
            Ok(Outcome::Whole(_)) => self.stats.joined += gone as u64,
            Ok(_) => {}
            Err(reason) => (0..gone).for_each(|_| self.finish(Some(set), Err(*reason), effects)),
        }
        outcome
    }

    /// Installed sessions whose timer is due by `now`, so that their activity can be read from the card and told to
    /// [`Nat64::touch`] before [`Nat64::advance`].
    pub fn due(&self, now: Time, into: &mut Vec<SessionId>) {
        self.session_timers.for_each_due(now, |slot, _| {
            if let Some(session) = self.sessions.get(slot) {
                if session.installed() && self.deadline(session) <= now {
                    into.push(self.sessions.id(slot));
                }
            }
        });
    }

    /// A card saw a packet of an installed session at `at`: refreshes the session as that packet would have. With an
    /// activity tick, `at` is the end of the tick the packet fell into (`nat64_layout::dump::stamp_time_ns`). Other
    /// sessions are not changed; what they do with a packet cannot be told from a time.
    pub fn touch(&mut self, id: SessionId, direction: Direction, at: Time) {
        let Some(slot) = self.sessions.slot(id) else {
            return;
        };
        // The end of a tick belongs to the next one.
        let at = if self.lifetimes.tick > 1 {
            at.saturating_sub(1)
        } else {
            at
        };
        if self.refreshes(slot, direction) {
            if let Some(session) = self.sessions.get_mut(slot).filter(|session| session.installed()) {
                session.last = session.last.max(at);
            }
        }
    }

    /// A session that still lives.
    pub fn session(&self, id: SessionId) -> Option<SessionInfo> {
        let slot = self.sessions.slot(id)?;
        self.info(slot, self.sessions.get(slot)?)
    }

    /// All sessions.
    pub fn sessions(&self) -> impl Iterator<Item = SessionInfo> + '_ {
        self.sessions
            .iter()
            .filter_map(|(slot, session)| self.info(slot, session))
    }

    /// All bindings.
    pub fn bibs(&self) -> impl Iterator<Item = BibInfo> + '_ {
        self.bibs.iter().map(|(slot, bib)| self.bib_info(slot, bib))
    }

    /// A page of the list of sessions: appends those of the next `places` places of the table, beginning with place
    /// `from` (0 the first time), and returns where the next page begins; `None` at the end. A call takes no longer than
    /// `places` asks for, whatever the table holds. A session that lives from the first page to the last one is listed
    /// once; one that comes or goes meanwhile, at most once.
    pub fn session_page(&self, from: u32, places: u32, into: &mut Vec<SessionInfo>) -> Option<u32> {
        let end = from.saturating_add(places.max(1)).min(self.sessions.places());
        into.extend((from..end).filter_map(|slot| self.info(slot, self.sessions.get(slot)?)));
        (end < self.sessions.places()).then_some(end)
    }

    /// A page of the list of bindings; see [`Nat64::session_page`].
    pub fn bib_page(&self, from: u32, places: u32, into: &mut Vec<BibInfo>) -> Option<u32> {
        let end = from.saturating_add(places.max(1)).min(self.bibs.places());
        into.extend((from..end).filter_map(|slot| Some(self.bib_info(slot, self.bibs.get(slot)?))));
        (end < self.bibs.places()).then_some(end)
    }

    fn bib_info(&self, slot: u32, bib: &Bib) -> BibInfo {
        BibInfo {
            protocol: bib.six.protocol,
            service_set: usize::from(bib.six.service_set),
            term: usize::from(bib.six.term),
            unit: usize::from(bib.six.unit),
            client: bib.six.client,
            pool: bib.pool,
            destination: bib.six.destination,
            sessions: bib.sessions,
            inbound: bib.inbound,
            is_static: bib.is_static(),
            deadline: self.bib_timers.deadline(slot),
        }
    }

    /// Sessions.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Bindings.
    pub fn bib_count(&self) -> usize {
        self.bibs.len()
    }

    /// Bindings of one protocol.
    pub fn bib_count_of(&self, protocol: Protocol) -> usize {
        self.bibs.count(protocol)
    }

    /// Removes the sessions a filter names; returns how many.
    pub fn clear_sessions(&mut self, filter: impl Fn(&SessionInfo) -> bool, now: Time, effects: &mut Effects) -> usize {
        let chosen: Vec<SessionId> = self.sessions().filter(filter).map(|info| info.flow.id).collect();
        for id in &chosen {
            self.close(id.slot, now, effects);
        }
        chosen.len()
    }

    /// Removes the bindings a filter names, with their sessions; static ones stay. Returns bindings and sessions.
    pub fn clear_bibs(
        &mut self,
        filter: impl Fn(&BibInfo) -> bool,
        now: Time,
        effects: &mut Effects,
    ) -> (usize, usize) {
        let chosen: Vec<u32> = self
            .bibs()
            .zip(self.bibs.iter())
            .filter(|(info, _)| filter(info))
            .map(|(_, (slot, _))| slot)
            .collect();
        let mut removed = (0, 0);
        for slot in chosen {
            removed.1 += self.clear_bib(slot, now, effects);
            removed.0 += 1;
        }
        removed
    }

    /// The subscriber that a pool address and port belong to in deterministic NAT: its prefix.
    pub fn deterministic_subscriber(&self, pool: (Ipv4Addr, u16)) -> Option<Ipv6Addr> {
        let terms = self.policy.sets.iter().flat_map(|set| &set.terms);
        terms
            .filter_map(|term| term.deterministic.as_ref())
            .find_map(|map| map.reverse(pool.0, pool.1))
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        let usage = |(pool, inbound): (&Pool, &Inbound)| Usage {
            inbound: inbound.now,
            inbound_opened: inbound.opened,
            inbound_limited: inbound.limited,
            ..pool.usage()
        };
        Stats {
            pools: self.pools.iter().zip(&self.inbound).map(usage).collect(),
            holding: (self.fragments.holding() + self.syns.len()) as u64,
            ..self.stats.clone()
        }
    }

    /// Ports in use on a pool address, over all pools: what remains of one that is drained.
    pub fn ports_in_use(&self, address: Ipv4Addr) -> u32 {
        self.pools.iter().map(|pool| pool.in_use_on(address)).sum()
    }

    /// SYNs that wait for the client's.
    pub fn stored_syns(&self) -> usize {
        self.syns.len()
    }

    /// Packets in pieces that wait for the rest.
    pub fn fragmented_packets(&self) -> usize {
        self.fragments.len()
    }

    fn info(&self, slot: u32, session: &Session) -> Option<SessionInfo> {
        Some(SessionInfo {
            flow: self.flow(slot)?,
            state: session.state,
            inbound: session.inbound(),
            installed: session.installed(),
            hairpin: session.hairpin(),
            last: session.last,
            deadline: self.deadline(session),
            packets: session.packets,
            bytes: session.bytes,
        })
    }

    fn flow(&self, slot: u32) -> Option<Flow> {
        let session = self.sessions.get(slot)?;
        let bib: &Bib = self.bibs.get(session.bib)?;
        let prefix = self.policy.prefixes.get(usize::from(session.prefix))?;
        Some(Flow {
            id: self.sessions.id(slot),
            protocol: bib.six.protocol,
            unit: usize::from(session.unit),
            service_set: usize::from(bib.six.service_set),
            term: usize::from(session.term),
            pref64: prefix.address(),
            pref64_length: prefix.length(),
            client: bib.six.client,
            pool: bib.pool,
            remote: session.remote,
        })
    }
}

#[cfg(test)]
mod tests;
