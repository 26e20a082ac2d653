//! The gateway: translator, links, neighbours and, where there is one, a card.
//!
//! ```text
//!   frame(port, bytes) ----------------+                            +--> take_output()       (no card)
//!                                      v                            |
//!   card: exception ring --poll()--> unit --> ARP, discovery --> neighbours --> inject ring  (card)
//!                                      |                            ^
//!                                      +--> Nat64::step --> effects-+--> install, remove sessions
//! ```
//!
//! Time is an argument everywhere, in nanoseconds of one clock: the card's ([`Gateway::card_time`]) where there is one.
//! Effects are performed in the order the translator gives them. A session goes into the card when both of its next
//! hops are known; until then its packets come here. When the card has no room it stays here too, and is tried again
//! when another session leaves.
//!
//! Order of judging a frame, as the card's: ethertype, unit, discovery, translator.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;

use nat64_layout::tables::PortPolicy;
use nat64_layout::{Reason, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, PORTS};
use nat64_xlate::policy::Policy;
use nat64_xlate::{ConfigError, Effect, Effects, Event, Flow, Nat64, SessionId, SessionInfo, Time};

use crate::card::{Card, CardCounters, CardError};
use crate::config::{GatewayConfig, LinkType};
use crate::link::{self, Frame};
use crate::neigh::{self, Key, NeighbourStats, Neighbours};
use crate::plan::{self, Plan, PlanError};
use crate::ring::InjectError;
use crate::transport::DeviceError;

/// Frames kept for [`Gateway::take_exceptions`].
const EXCEPTIONS: usize = 8192;
/// Events kept for [`Gateway::take_events`].
const EVENTS: usize = 65_536;
/// Sessions that wait for room in the card.
const OVERFLOW: usize = 4096;
/// Router solicitations kept for [`Gateway::take_solicitations`].
const SOLICITATIONS: usize = 64;
/// Frames taken from the exception ring before their slots are given back.
const GIVE_BACK: usize = 16;

/// What can go wrong. After a [`GatewayError::Device`] the card must be opened anew; the other errors change nothing.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A port, unit or address that cannot be.
    #[error("unit {unit}: {what}")]
    Unit {
        /// Unit number.
        unit: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A port's MAC address is not a unicast address.
    #[error("the MAC address of port {port} is no unicast address")]
    PortMac {
        /// Port number.
        port: usize,
    },
    /// The translator refuses the configuration.
    #[error("the translator refuses the configuration")]
    Translator(#[from] ConfigError),
    /// The configuration does not fit the card.
    #[error("the configuration does not fit the card")]
    Plan(#[from] PlanError),
    /// The card failed.
    #[error("the card failed")]
    Device(#[from] DeviceError),
}

impl From<CardError> for GatewayError {
    fn from(error: CardError) -> Self {
        match error {
            CardError::Plan(error) => Self::Plan(error),
            CardError::Device(error) => Self::Device(error),
            other => Self::Device(DeviceError::Backend {
                operation: "use of the card",
                reason: other.to_string(),
            }),
        }
    }
}

/// A frame that was punted or ended here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Port it arrived on.
    pub port: usize,
    /// The frame as it arrived (a bare IP packet where the link carries those).
    pub frame: Vec<u8>,
    /// Why it ended here; when it did not, why the card punted it.
    pub reason: Reason,
    /// Why the card punted it; `None` when it came by [`Gateway::frame`].
    pub punted: Option<Reason>,
}

/// Counters of the host; the card's are [`Gateway::card_counters`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayStats {
    /// Packets (for `CardTableFull` and `NextHopTableFull`: sessions) by the code of the reason they met on the host.
    pub reasons: [u64; 256],
    /// Packets the host translated, by direction.
    pub translated: [u64; 2],
    /// Frames that came in, by port: by [`Gateway::frame`] or from the exception ring.
    pub frames_in: [u64; PORTS],
    /// Frames the host sent, by port.
    pub frames_out: [u64; PORTS],
    /// Exceptions and events that were not kept because nobody took them.
    pub not_kept: u64,
    /// Neighbours.
    pub neighbours: usize,
    /// Packets that wait for a neighbour.
    pub waiting: usize,
    /// ARP and discovery messages taken and sent.
    pub discovery: NeighbourStats,
    /// Sessions in the card.
    pub installed: usize,
    /// Sessions that wait for their next hops or for room in the card.
    pub deferred: usize,
    /// Tag slots of the card in use.
    pub tags: usize,
    /// Stash entries of the card in use.
    pub stash: usize,
    /// Next-hop entries of the card in use.
    pub next_hops: usize,
}

impl GatewayStats {
    /// How often a reason was met.
    pub fn reason(&self, reason: Reason) -> u64 {
        self.reasons[reason as usize]
    }
}

impl Default for GatewayStats {
    fn default() -> Self {
        Self {
            reasons: [0; 256],
            translated: [0; 2],
            frames_in: [0; PORTS],
            frames_out: [0; PORTS],
            not_kept: 0,
            neighbours: 0,
            waiting: 0,
            discovery: NeighbourStats::default(),
            installed: 0,
            deferred: 0,
            tags: 0,
            stash: 0,
            next_hops: 0,
        }
    }
}

/// A session in the card.
#[derive(Clone, Copy, Debug)]
struct Carried {
    flow: Flow,
    hops: [(Key, u8); 2],
}

/// What a session outside the card waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deferred {
    Neighbour(Key),
    Room,
}

/// The frame in hand, for reports about it.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    port: usize,
    frame: &'a [u8],
}

/// See the module documentation.
#[derive(Debug)]
pub struct Gateway {
    config: GatewayConfig,
    xlate: Nat64,
    neighbours: Neighbours,
    card: Option<Card>,
    carried: HashMap<SessionId, Carried>,
    deferred: HashMap<SessionId, (Flow, Deferred)>,
    // Sessions by the neighbour they wait for.
    waiting: BTreeSet<(Key, SessionId)>,
    overflow: VecDeque<SessionId>,
    output: Vec<(usize, Vec<u8>)>,
    exceptions: Vec<Exception>,
    record_exceptions: bool,
    filter_mac: bool,
    events: Vec<Event>,
    stats: GatewayStats,
    // Frames of ports that do not exist.
    misplaced: u64,
    effects: Effects,
    due: Vec<SessionId>,
    // Units whose router solicitations somebody wants, and those that came.
    solicited: Vec<bool>,
    solicitations: Vec<(usize, Vec<u8>)>,
    // A card was lost and is expected back.
    holding: bool,
    // Our time less the card's, wrapping: a card that was opened again may have begun to count anew.
    card_offset: Time,
}

impl Gateway {
    /// A gateway without sessions; configures the card. The seed decides the translator's random choices.
    pub fn new(config: GatewayConfig, card: Option<Card>, seed: u64) -> Result<Self, GatewayError> {
        check(&config)?;
        let xlate = Nat64::new(config.xlate.clone(), seed)?;
        let mut card = card;
        if let Some(card) = &mut card {
            card.configure(&config)?;
        }
        Ok(Self::with(config, xlate, card))
    }

    fn with(config: GatewayConfig, xlate: Nat64, card: Option<Card>) -> Self {
        Self {
            neighbours: Neighbours::new(nets(&config)),
            config,
            xlate,
            card,
            carried: HashMap::new(),
            deferred: HashMap::new(),
            waiting: BTreeSet::new(),
            overflow: VecDeque::new(),
            output: Vec::new(),
            exceptions: Vec::new(),
            record_exceptions: false,
            filter_mac: false,
            events: Vec::new(),
            stats: GatewayStats::default(),
            misplaced: 0,
            effects: Effects::new(),
            due: Vec::new(),
            solicited: Vec::new(),
            solicitations: Vec::new(),
            holding: false,
            card_offset: 0,
        }
    }

    /// Checks all of a configuration that can be checked without putting it in force; `card`: against a card's tables,
    /// too.
    ///
    /// # Errors
    /// As [`Gateway::reconfigure`], but for those of a device.
    pub fn check(config: &GatewayConfig, card: bool) -> Result<(), GatewayError> {
        check(config)?;
        if card {
            Plan::new(config)?;
        }
        Policy::new(config.xlate.clone())?;
        Ok(())
    }

    /// Whether frames that are dropped or punted are kept for [`Gateway::take_exceptions`]; off at first.
    pub fn record_exceptions(&mut self, on: bool) {
        self.record_exceptions = on;
    }

    /// Whether unicast frames to other MAC addresses than ours are dropped (`NotForUs`). Off at first: the card does
    /// not look at destination addresses either.
    pub fn filter_mac(&mut self, on: bool) {
        self.filter_mac = on;
    }

    /// A neighbour that never ages and is never asked for.
    pub fn add_neighbour(
        &mut self,
        now: Time,
        unit: usize,
        address: IpAddr,
        mac: link::Mac,
    ) -> Result<(), GatewayError> {
        let mut out = neigh::Output::default();
        self.neighbours.add_fixed(now, unit, address, mac, &mut out);
        self.apply(now, out)?;
        self.flush()
    }

    /// The configuration in force.
    pub fn config(&self) -> &GatewayConfig {
        &self.config
    }

    /// The translator, for listings and its own counters.
    pub fn translator(&self) -> &Nat64 {
        &self.xlate
    }

    /// The card.
    pub fn card(&self) -> Option<&Card> {
        self.card.as_ref()
    }

    /// The card, to wait for it.
    pub fn card_mut(&mut self) -> Option<&mut Card> {
        self.card.as_mut()
    }

    /// Whether a session is in the card.
    pub fn is_installed(&self, id: SessionId) -> bool {
        self.carried.contains_key(&id)
    }

    /// Takes a frame (or, where the link carries those, a bare IP packet) that arrived on a port, without a card. What
    /// it causes is in [`Gateway::take_output`].
    pub fn frame(&mut self, now: Time, port: usize, bytes: &[u8]) -> Result<(), GatewayError> {
        if self.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.advance(now)?;
        }
        self.arrive(now, port, bytes, None)?;
        self.flush()
    }

    /// Takes what the card punted and does what it asks for; returns how many frames there were. At most two rings
    /// full at a time.
    pub fn poll(&mut self, now: Time) -> Result<usize, GatewayError> {
        if self.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.advance(now)?;
        }
        let Some(card) = &self.card else { return Ok(0) };
        let limit = 2 * card.exception_slots() as usize;
        let mut frame = Vec::new();
        let mut count = 0;
        while count < limit {
            let Some(card) = &mut self.card else { break };
            let Some(taken) = card.take(&mut frame) else { break };
            count += 1;
            if count % GIVE_BACK == 0 {
                card.give_back()?;
            }
            match taken {
                Err(_) => self.count(Reason::BadDescriptor),
                Ok(taken) if taken.cut => {
                    let arrival = Arrival {
                        port: taken.port,
                        frame: &frame,
                    };
                    self.end(arrival, Some(taken.reason), Some(Reason::Oversize));
                    self.count(Reason::Oversize);
                }
                Ok(taken) => self.arrive(now, taken.port, &frame, Some(taken.reason))?,
            }
        }
        if count > 0 {
            if let Some(card) = &mut self.card {
                card.give_back()?;
            }
        }
        self.flush()?;
        Ok(count)
    }

    /// Lets time come to `now`: reads the activity of sessions that would end, then timers run.
    pub fn advance(&mut self, now: Time) -> Result<(), GatewayError> {
        self.read_activity(now)?;
        let mut effects = std::mem::take(&mut self.effects);
        effects.clear();
        self.xlate.advance(now, &mut effects);
        self.perform(now, &effects, None)?;
        self.effects = effects;
        let mut out = neigh::Output::default();
        self.neighbours.advance(now, &mut out);
        self.apply(now, out)?;
        self.flush()
    }

    /// When [`Gateway::advance`] has something to do next.
    pub fn next_deadline(&self) -> Option<Time> {
        let deadlines = [self.xlate.next_deadline(), self.neighbours.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Removes the sessions a filter names; returns how many.
    pub fn clear_sessions(&mut self, now: Time, filter: impl Fn(&SessionInfo) -> bool) -> Result<usize, GatewayError> {
        let mut effects = std::mem::take(&mut self.effects);
        effects.clear();
        let count = self.xlate.clear_sessions(filter, now, &mut effects);
        self.perform(now, &effects, None)?;
        self.effects = effects;
        self.flush()?;
        Ok(count)
    }

    /// Frames sent since the last call, without a card: port and bytes, in order. Bounded only by how often it is
    /// called: after each frame is best.
    pub fn take_output(&mut self) -> Vec<(usize, Vec<u8>)> {
        std::mem::take(&mut self.output)
    }

    /// Frames that were punted or ended here since the last call; see [`Gateway::record_exceptions`].
    pub fn take_exceptions(&mut self) -> Vec<Exception> {
        std::mem::take(&mut self.exceptions)
    }

    /// Log events since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Counters and fill of the host's side.
    pub fn stats(&self) -> GatewayStats {
        let mut stats = self.stats.clone();
        stats.neighbours = self.neighbours.len();
        stats.waiting = self.neighbours.waiting();
        stats.discovery = self.neighbours.stats();
        stats.deferred = self.deferred.len();
        if let Some(card) = &self.card {
            stats.installed = card.table().len();
            stats.tags = card.table().tags_used();
            stats.stash = card.table().stash_used();
            stats.next_hops = card.next_hops_used();
        }
        stats
    }

    /// The card's own counters; `None` without one.
    pub fn card_counters(&mut self) -> Result<Option<CardCounters>, GatewayError> {
        self.card.as_mut().map(Card::counters).transpose().map_err(Into::into)
    }

    fn count(&mut self, reason: Reason) {
        self.stats.reasons[reason as usize] += 1;
    }

    fn flush(&mut self) -> Result<(), GatewayError> {
        if let Some(card) = &mut self.card {
            card.flush()?;
        }
        Ok(())
    }

    /// Keeps a report of a frame that was punted or ended.
    fn end(&mut self, arrival: Arrival<'_>, punted: Option<Reason>, ended: Option<Reason>) {
        let (true, Some(reason)) = (self.record_exceptions, ended.or(punted)) else {
            return;
        };
        if self.exceptions.len() >= EXCEPTIONS {
            self.stats.not_kept += 1;
            return;
        }
        let frame = match (self.config.link_type, punted) {
            (LinkType::Raw, Some(_)) => link::raw_unwrap(arrival.frame).unwrap_or(arrival.frame),
            _ => arrival.frame,
        };
        self.exceptions.push(Exception {
            port: arrival.port,
            frame: frame.to_vec(),
            reason,
            punted,
        });
    }

    /// A frame arrives, from outside or from the card.
    fn arrive(&mut self, now: Time, port: usize, bytes: &[u8], punted: Option<Reason>) -> Result<(), GatewayError> {
        if port >= PORTS {
            self.misplaced += 1;
            self.count(Reason::NoUnit);
            return Ok(());
        }
        self.stats.frames_in[port] += 1;
        let arrival = Arrival { port, frame: bytes };
        let ended = self.judge(now, arrival, punted.is_some())?;
        self.end(arrival, punted, ended);
        Ok(())
    }

    /// Says why the frame ended here, when it did; counted already.
    fn judge(&mut self, now: Time, arrival: Arrival<'_>, wrapped: bool) -> Result<Option<Reason>, GatewayError> {
        let Arrival { port, frame: bytes } = arrival;
        let bare = self.config.link_type == LinkType::Raw && !wrapped;
        let parsed = if bare {
            let ethertype = link::ethertype_of(bytes).ok_or(Reason::UnknownEthertype);
            ethertype.map(|ethertype| Frame {
                destination: self.config.ports[port].mac,
                source: link::raw_peer(port),
                vlans: [None; 2],
                ethertype,
                payload: bytes,
            })
        } else {
            link::parse(bytes)
        };
        let frame = match parsed {
            Ok(frame) => frame,
            Err(reason) => return Ok(self.refuse(reason)),
        };
        let ethernet = self.config.link_type == LinkType::Ethernet;
        let unicast = frame.destination[0] & 1 == 0;
        if ethernet && self.filter_mac && unicast && frame.destination != self.config.ports[port].mac {
            return Ok(self.refuse(Reason::NotForUs));
        }
        let unit = link::unit_of(&self.config.units, port, frame.vlans);
        let mut out = neigh::Output::default();
        match (frame.ethertype, unit) {
            (ETHERTYPE_ARP, Some(unit)) if ethernet => self.neighbours.arp(now, unit, frame.payload, &mut out),
            (ETHERTYPE_ARP, None) if ethernet => return Ok(self.refuse(Reason::NoUnit)),
            (ETHERTYPE_IPV4 | ETHERTYPE_IPV6, None) => return self.no_match(arrival, Reason::NoUnit),
            (ETHERTYPE_IPV4 | ETHERTYPE_IPV6, Some(unit)) => {
                let packet = link::ip_packet(frame.ethertype, frame.payload);
                // The translator goes by the version in the packet; a frame that says otherwise is no good.
                if !packet.is_empty() && link::ethertype_of(packet) != Some(frame.ethertype) {
                    return Ok(self.refuse(Reason::BadHeader));
                }
                if neigh::is_discovery(packet) {
                    let router = packet.get(40) == Some(&neigh::ROUTER_SOLICITATION);
                    if ethernet && router && self.solicited.get(unit) == Some(&true) {
                        if self.solicitations.len() < SOLICITATIONS {
                            self.solicitations.push((unit, packet.to_vec()));
                        }
                        // One advertisement answers all of them, so that none is lost.
                    } else if ethernet {
                        self.neighbours.discovery(now, unit, packet, &mut out);
                    } else {
                        out.drops.push(Reason::NotForUs);
                    }
                } else {
                    return self.translate(now, arrival, unit, packet, frame.source);
                }
            }
            _ => return Ok(self.refuse(Reason::UnknownEthertype)),
        }
        let first = out.drops.first().copied();
        self.apply(now, out)?;
        Ok(first)
    }

    fn refuse(&mut self, reason: Reason) -> Option<Reason> {
        self.count(reason);
        Some(reason)
    }

    /// Nothing matches the frame: the port's policy.
    fn no_match(&mut self, arrival: Arrival<'_>, reason: Reason) -> Result<Option<Reason>, GatewayError> {
        if self.config.ports[arrival.port].policy != PortPolicy::Forward {
            return Ok(self.refuse(reason));
        }
        self.transmit(1 - arrival.port, arrival.frame.to_vec())
    }

    fn translate(
        &mut self,
        now: Time,
        arrival: Arrival<'_>,
        unit: usize,
        packet: &[u8],
        source: link::Mac,
    ) -> Result<Option<Reason>, GatewayError> {
        if self.config.ports[arrival.port].policy == PortPolicy::Forward && !self.is_ours(unit, packet) {
            return self.no_match(arrival, Reason::NoRule);
        }
        let mut effects = std::mem::take(&mut self.effects);
        effects.clear();
        self.xlate.step(now, unit, packet, &mut effects);
        let learned = self.learn(now, unit, packet, source, &effects);
        let ended = learned.and_then(|()| self.perform(now, &effects, Some(arrival)));
        self.effects = effects;
        ended
    }

    /// Auto last hop: where a packet came from is where answers go, if it came to anything. Damaged packets and those
    /// of no rule teach nothing, with a card (which drops them itself) and without.
    fn learn(
        &mut self,
        now: Time,
        unit: usize,
        packet: &[u8],
        source: link::Mac,
        effects: &Effects,
    ) -> Result<(), GatewayError> {
        let useful = effects.iter().any(|effect| matches!(effect, Effect::Send { .. }));
        let address = neigh::source_of(packet).filter(|_| useful && self.config.link_type == LinkType::Ethernet);
        if let Some(address) = address {
            let mut out = neigh::Output::default();
            self.neighbours.learn(now, unit, address, source, &mut out);
            self.apply(now, out)?;
        }
        Ok(())
    }

    /// Whether a packet is to a prefix or a pool address of its unit's service set, as the card's classifier sees it.
    fn is_ours(&self, unit: usize, packet: &[u8]) -> bool {
        let xlate = &self.config.xlate;
        let Some(served) = xlate.units.get(unit) else {
            return false;
        };
        let Some(set) = served.service_set.and_then(|set| xlate.service_sets.get(set)) else {
            return false;
        };
        match neigh::destination_of(packet) {
            Some(IpAddr::V6(to)) => served.inside && plan::in_pref64(set, to),
            Some(IpAddr::V4(to)) => {
                let to = u32::from(to);
                let ranges = plan::pool_ranges(&self.config, set);
                served.outside && ranges.into_iter().any(|(low, high)| low <= to && to <= high)
            }
            // The translator says what is wrong with it.
            None => true,
        }
    }

    /// Performs effects in order; returns the first reason a packet ended.
    fn perform(
        &mut self,
        now: Time,
        effects: &Effects,
        arrival: Option<Arrival<'_>>,
    ) -> Result<Option<Reason>, GatewayError> {
        let mut ended = None;
        let mut failed = None;
        for effect in effects.iter() {
            if failed.is_some() && !matches!(effect, Effect::Drop(_) | Effect::Log(_)) {
                // The card is lost; counters and log must tell all the same what the translator did.
                continue;
            }
            match self.perform_one(now, effects, effect, arrival) {
                Ok(reason) => ended = ended.or(reason),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(ended), Err)
    }

    fn perform_one(
        &mut self,
        now: Time,
        effects: &Effects,
        effect: &Effect,
        arrival: Option<Arrival<'_>>,
    ) -> Result<Option<Reason>, GatewayError> {
        Ok(match effect {
            Effect::Send {
                unit,
                bytes,
                translated,
                ..
            } => {
                if let Some(direction) = translated {
                    self.stats.translated[*direction as usize] += 1;
                }
                self.send(now, *unit, effects.bytes(bytes), translated.is_some())?
            }
            Effect::Install(flow) => {
                self.install(now, *flow)?;
                None
            }
            Effect::Remove(id) => {
                self.uninstall(*id)?;
                self.fill_room(now)?;
                None
            }
            Effect::Drop(reason) => match arrival {
                // The card hands such packets to its other port by itself; some it has to ask about first.
                Some(arrival) if *reason == Reason::NoRule => self.no_match(arrival, *reason)?,
                _ => self.refuse(*reason),
            },
            Effect::Log(event) => {
                if self.events.len() < EVENTS {
                    self.events.push(event.clone());
                } else {
                    self.stats.not_kept += 1;
                }
                None
            }
        })
    }

    /// Sends an IP packet out of a unit; `translated`: it is none of ours.
    fn send(
        &mut self,
        now: Time,
        unit: usize,
        packet: &[u8],
        translated: bool,
    ) -> Result<Option<Reason>, GatewayError> {
        if self.config.link_type == LinkType::Ethernet {
            let mut out = neigh::Output::default();
            self.neighbours.send(now, unit, packet, translated, &mut out);
            let first = out.drops.first().copied();
            self.apply(now, out)?;
            return Ok(first);
        }
        let (Some(link), Some(ethertype)) = (self.config.units.get(unit), link::ethertype_of(packet)) else {
            return Ok(self.refuse(Reason::NoUnit));
        };
        let port = usize::from(link.port);
        let mac = self.config.ports[port].mac;
        let frame = match &self.card {
            Some(_) => link::build(link::raw_peer(port), mac, [None; 2], ethertype, packet),
            None => packet.to_vec(),
        };
        self.transmit(port, frame)
    }

    /// Hands a frame to the card or to the output.
    fn transmit(&mut self, port: usize, frame: Vec<u8>) -> Result<Option<Reason>, GatewayError> {
        match &mut self.card {
            None => self.output.push((port, frame)),
            Some(card) => match card.inject(port, &frame)? {
                Ok(()) => {}
                Err(InjectError::Full { .. }) => return Ok(self.refuse(Reason::InjectRingFull)),
                Err(InjectError::Length { .. }) => return Ok(self.refuse(Reason::Oversize)),
            },
        }
        self.stats.frames_out[port] += 1;
        Ok(None)
    }
}

mod accounts;
mod adopt;
mod change;
mod queries;
mod recover;
mod sessions;
mod units;

pub use accounts::ended_on_host;
pub use adopt::AdoptReport;
pub use queries::CardShare;
pub use recover::{Moved, Reopened, Reopener};
pub use units::{check, nets};

#[cfg(test)]
#[path = "gateway_tests.rs"]
mod tests;
