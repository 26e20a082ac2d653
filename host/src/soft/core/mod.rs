//! What one worker does with frames: judged, translated, and made ready to send. No interface, no clock.
//!
//! ```text
//!   frame --> unit --> ARP, discovery --> neighbours (shared) --+
//!               |                                               +--> Tx: heads | arena | where the frame was received
//!               +----> super-segment? checksum? --> Nat64::step +
//! ```
//!
//! The order of judging is that of [`nat64_driver::Gateway`]: ethertype, unit, discovery, translator. Frames to other
//! hosts are dropped (`NotForUs`): the interface hands over everything it sees.
//!
//! What is sent stands in up to three places ([`Tx`]): headers made here, the translator's arena, and the payload of a
//! super-segment where it was received; the system call gathers them.

mod batch;
mod handing;
mod join;
mod send;

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use nat64_driver::books::Books;
use nat64_driver::gateway::ended_on_host;
use nat64_driver::link::{self, Mac};
use nat64_driver::neigh::{self, Output};
use nat64_driver::{plan, GatewayConfig, GatewayStats, LinkType};
use nat64_layout::tables::PortPolicy;
use nat64_layout::{Reason, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, PORTS};
use nat64_xlate::shard::hairpin_set;
use nat64_xlate::{Effect, Effects, Event, Nat64, Time};

use super::hops::{Memory, SharedNeighbours};
use super::log::Log;
use super::offload::{self, Shape};
use super::ra;
use super::steer::Directory;
use super::sys::Received;
use super::vnet::{Gso, Vnet};

use batch::Batch;
pub use handing::{Handed, Sharing, Stage};
use send::{since, single_of, As};

/// Events kept until somebody takes them.
const EVENTS: usize = 65_536;
/// Longest packet that leaves whole whatever happens: every link takes 1,280 bytes, and translation adds 28 at most.
const NEVER_CUT: usize = 1280 - 28;

/// A frame to send, in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Out {
    /// Port.
    pub port: usize,
    /// Packets it stands for.
    pub packets: u64,
    /// First part, in [`Tx::heads`]: vnet header and whatever headers were made here.
    pub head: Range<usize>,
    /// Second part, in the translator's arena.
    pub body: Range<usize>,
    /// Third part: of which received frame, and which of its bytes.
    pub tail: Option<(usize, Range<usize>)>,
}

/// Frames to send after a batch.
#[derive(Debug, Default)]
pub struct Tx {
    /// First parts.
    pub heads: Vec<u8>,
    /// The frames, in order.
    pub list: Vec<Out>,
    /// Frames for other workers, with the number of each.
    pub handed: Vec<(u16, Handed)>,
    /// What the next datagram may be joined to.
    open: Option<join::Open>,
}

impl Tx {
    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.heads.clear();
        self.list.clear();
        self.handed.clear();
        self.open = None;
    }
}

/// Counters of the software card that the driver's gateway has no place for. Packets of super-segments count each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoftStats {
    /// Packets that came in, by port.
    pub packets_in: [u64; PORTS],
    /// Packets given to the interface, by port, refused ones included.
    pub packets_out: [u64; PORTS],
    /// Bytes of the frames that came in.
    pub bytes_in: [u64; PORTS],
    /// Bytes of the frames given to the interface, by port.
    pub bytes_out: [u64; PORTS],
    /// Super-segments that were translated as one.
    pub supers: u64,
    /// Super-segments that had to be cut.
    pub supers_cut: u64,
    /// Datagrams that left joined to the one before.
    pub joined: u64,
    /// ARP and discovery messages that were taken.
    pub absorbed: u64,
    /// Packets of our own: answers, errors, probes, requests, advertisements.
    pub originated: u64,
    /// Router advertisements among them.
    pub advertised: u64,
    /// Frames passed to the other port untouched.
    pub forwarded: u64,
    /// Frames that came to the wrong worker and were handed over.
    pub handed_over: u64,
}

impl SoftStats {
    /// Adds another worker's.
    pub fn add(&mut self, other: &Self) {
        for port in 0..PORTS {
            self.packets_in[port] += other.packets_in[port];
            self.packets_out[port] += other.packets_out[port];
            self.bytes_in[port] += other.bytes_in[port];
            self.bytes_out[port] += other.bytes_out[port];
        }
        self.supers += other.supers;
        self.supers_cut += other.supers_cut;
        self.joined += other.joined;
        self.absorbed += other.absorbed;
        self.originated += other.originated;
        self.advertised += other.advertised;
        self.forwarded += other.forwarded;
        self.handed_over += other.handed_over;
    }
}

/// The frame in hand.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    port: usize,
    /// Its number in the batch.
    index: usize,
    received: Received<'a>,
    stage: Stage,
    vnet: Vnet,
    /// Packets it stands for.
    packets: u64,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Core {
    config: Arc<GatewayConfig>,
    shared: Arc<SharedNeighbours>,
    hops: Memory,
    heard: Memory,
    /// By unit: whether packets of other hosts pass through ([`PortPolicy::Forward`]), and the pool ranges then.
    ours: Vec<Vec<(u32, u32)>>,
    xlate: Nat64,
    sharing: Option<Sharing>,
    effects: Effects,
    scratch: Vec<u8>,
    /// Whether datagrams are joined: the kernel must take such super-segments.
    joins: bool,
    events: Vec<Event>,
    told_not_kept: u64,
    stats: GatewayStats,
    soft: SoftStats,
}

impl Core {
    /// A worker's part: the translator, the neighbours it shares with the others.
    pub fn new(
        config: Arc<GatewayConfig>,
        xlate: Nat64,
        shared: Arc<SharedNeighbours>,
        sharing: Option<Sharing>,
        seed: u64,
    ) -> Self {
        Self {
            sharing,
            ours: ours(&config),
            config,
            shared,
            hops: Memory::new(seed),
            heard: Memory::new(seed.rotate_left(32)),
            xlate,
            effects: Effects::new(),
            scratch: Vec::new(),
            joins: false,
            events: Vec::new(),
            told_not_kept: 0,
            stats: GatewayStats::default(),
            soft: SoftStats::default(),
        }
    }

    /// Has datagrams of a flow leave as super-segments; not every kernel takes those.
    pub fn join_datagrams(&mut self, on: bool) {
        self.joins = on;
    }

    /// The configuration in force.
    pub fn config(&self) -> &Arc<GatewayConfig> {
        &self.config
    }

    /// The translator.
    pub fn translator(&self) -> &Nat64 {
        &self.xlate
    }

    /// Second parts of frames to send.
    pub fn arena(&self) -> &Effects {
        &self.effects
    }

    /// Counters as a gateway has them.
    pub fn stats(&self) -> &GatewayStats {
        &self.stats
    }

    /// Counters of the software card alone.
    pub fn soft_stats(&self) -> &SoftStats {
        &self.soft
    }

    /// Log events since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Gives events to the log of all workers.
    pub fn hand_events(&mut self, log: &Log) {
        let lost = self.stats.not_kept - self.told_not_kept;
        if !self.events.is_empty() || lost > 0 {
            self.told_not_kept = self.stats.not_kept;
            log.add(&mut self.events, lost);
        }
    }

    /// Counts what ended outside: in the ring, at the interface, between workers.
    pub fn count(&mut self, reason: Reason, packets: u64) {
        self.stats.reasons[reason as usize] += packets;
    }

    /// Fragments that wait here for the first one of their packet.
    pub fn waiting_fragments(&self) -> usize {
        self.sharing.as_ref().map_or(0, |sharing| sharing.accounts.waiting())
    }

    /// Where every packet is that this worker took; with what the workers share, for one of them. Packets on their way to
    /// another worker show as a difference.
    pub fn books(&self, shared: bool) -> Books {
        let translator = self.xlate.stats();
        let mut books = Books {
            received: self.soft.packets_in.iter().sum::<u64>() + self.stats.reason(Reason::ReceiveRingFull),
            originated: translator.originated() + self.soft.advertised,
            split: translator.split,
            sent: self.soft.packets_out.iter().sum::<u64>() - self.stats.reason(Reason::SendRefused),
            dropped: ended_on_host(&self.stats.reasons),
            consumed: self.soft.absorbed,
            merged: translator.merged(),
            held: translator.holding + self.waiting_fragments() as u64,
            waiting: 0,
        };
        if shared {
            let neighbours = self.shared.lock();
            books.originated += neighbours.stats().requests + neighbours.stats().answers;
            books.waiting += neighbours.waiting() as u64;
        }
        books
    }

    /// When [`Core::advance`] has something to do next. The neighbours' timers are one worker's task.
    pub fn next_deadline(&self) -> Option<Time> {
        self.xlate.next_deadline()
    }

    /// Forgets the batch before: to be called when what [`Tx`] points to was sent.
    pub fn begin(&mut self) {
        self.effects.clear();
    }

    /// Lets time come to `now` for the translator.
    pub fn advance(&mut self, now: Time, tx: &mut Tx) {
        let mut effects = std::mem::take(&mut self.effects);
        let from = effects.iter().len();
        self.xlate.advance(now, &mut effects);
        self.perform(now, &effects, since(&effects, from), None, tx);
        self.effects = effects;
    }

    /// Lets time come to `now` for the neighbours.
    pub fn advance_neighbours(&mut self, now: Time, tx: &mut Tx) -> Option<Time> {
        let mut out = Output::default();
        let next = {
            let mut neighbours = self.shared.lock();
            neighbours.advance(now, &mut out);
            neighbours.next_deadline()
        };
        let unreachable = std::mem::take(&mut out.unreachable);
        self.apply(out, tx);
        for (unit, packet) in unreachable {
            self.undelivered(now, unit, packet, tx);
        }
        let units = self.shared.lock().units().to_vec();
        let frames = self.shared.advertiser().advance(now, &units, |unit| self.mtu(unit));
        self.advertise(frames, tx);
        next
    }

    /// MTU of a unit.
    pub fn mtu(&self, unit: usize) -> u16 {
        self.config.xlate.units.get(unit).map_or(1500, |unit| unit.mtu)
    }

    /// Sends router advertisements.
    pub fn advertise(&mut self, frames: Vec<ra::Frame>, tx: &mut Tx) {
        self.soft.originated += frames.len() as u64;
        self.soft.advertised += frames.len() as u64;
        for (port, frame) in frames {
            self.raw(port, &Vnet::default(), &frame, tx);
        }
    }

    /// Does something to the translator, and what comes of it.
    pub fn with_translator<T>(&mut self, now: Time, tx: &mut Tx, act: impl FnOnce(&mut Nat64, &mut Effects) -> T) -> T {
        let mut effects = std::mem::take(&mut self.effects);
        let from = effects.iter().len();
        let result = act(&mut self.xlate, &mut effects);
        self.perform(now, &effects, since(&effects, from), None, tx);
        self.effects = effects;
        result
    }

    /// Goes on under another configuration, which the translator has taken already; all its bindings are told to the
    /// directory.
    pub fn set_config(&mut self, config: Arc<GatewayConfig>, directory: Arc<Directory>) {
        self.ours = ours(&config);
        self.config = config;
        if let Some(sharing) = &mut self.sharing {
            for bib in self.xlate.bibs() {
                directory.set(bib.protocol, bib.pool, sharing.shard.number());
            }
            sharing.directory = directory;
        }
    }

    /// Lets time come to `now` for fragments that wait for their first one.
    pub fn advance_fragments(&mut self, now: Time) {
        if let Some(sharing) = &mut self.sharing {
            let ended = sharing.accounts.advance(now);
            self.count(Reason::FragmentTimeout, ended);
        }
    }

    /// Takes a frame that came in on a port, the `index`-th of a batch.
    pub fn frame(&mut self, now: Time, port: usize, index: usize, received: &Received<'_>, tx: &mut Tx) {
        self.stats.frames_in[port] += 1;
        self.soft.bytes_in[port] += received.length as u64;
        self.take(now, port, index, received, Stage::New, None, tx);
    }

    /// Takes a frame that another worker handed over, the `index`-th of a batch.
    pub fn handed(&mut self, now: Time, index: usize, handed: &Handed, tx: &mut Tx) {
        match handed.stage {
            Stage::Middle(set) => {
                self.with_translator(now, tx, |xlate, effects| {
                    xlate.step_middle(now, set, &handed.bytes, effects)
                });
            }
            Stage::Undelivered(unit) => {
                self.with_translator(now, tx, |xlate, effects| {
                    xlate.undeliverable(now, unit, &handed.bytes, effects)
                });
            }
            stage => self.take(now, handed.port, index, &handed.received(), stage, None, tx),
        }
    }

    #[allow(clippy::too_many_arguments)] // the frame, where it came from and who else did
    fn take<'a>(
        &mut self,
        now: Time,
        port: usize,
        index: usize,
        received: &Received<'a>,
        stage: Stage,
        batch: Option<&mut Batch<'a>>,
        tx: &mut Tx,
    ) {
        let mut arrival = Arrival {
            port,
            index,
            received: *received,
            stage,
            vnet: Vnet::default(),
            packets: 1,
        };
        let whole = received.length <= received.bytes.len();
        let vnet = Vnet::read(&received.vnet).ok_or(Reason::BadOffload);
        let ended = match vnet {
            Ok(vnet) => {
                arrival.vnet = vnet;
                self.judge(now, &mut arrival, whole, batch, tx)
            }
            Err(reason) => {
                self.soft.packets_in[port] += 1;
                Err(reason)
            }
        };
        if let Err(reason) = ended {
            self.count(reason, arrival.packets);
        }
    }

    fn judge<'a>(
        &mut self,
        now: Time,
        arrival: &mut Arrival<'a>,
        whole: bool,
        batch: Option<&mut Batch<'a>>,
        tx: &mut Tx,
    ) -> Result<(), Reason> {
        let Arrival { port, received, .. } = *arrival;
        let bytes = received.bytes;
        let ethernet = self.config.link_type == LinkType::Ethernet;
        let frame = if ethernet {
            link::parse(bytes)
        } else {
            let ethertype = link::ethertype_of(bytes).ok_or(Reason::UnknownEthertype);
            ethertype.map(|ethertype| link::Frame {
                destination: self.config.ports[port].mac,
                source: link::raw_peer(port),
                vlans: [None; 2],
                ethertype,
                payload: bytes,
            })
        };
        if let Ok(frame) = &frame {
            let at = bytes.len() - frame.payload.len();
            arrival.packets = offload::packets(&arrival.vnet, at, frame.payload);
        }
        if arrival.stage == Stage::New {
            self.soft.packets_in[port] += arrival.packets;
        }
        let mut frame = frame?;
        if !whole {
            return Err(Reason::Oversize);
        }
        if let Some((_, id)) = received.vlan {
            frame.vlans = [Some(id), frame.vlans[0]];
        }
        let unicast = frame.destination[0] & 1 == 0;
        if ethernet && unicast && frame.destination != self.config.ports[port].mac {
            return Err(Reason::NotForUs);
        }
        let unit = link::unit_of(&self.config.units, port, frame.vlans);
        match (frame.ethertype, unit) {
            (ETHERTYPE_ARP, Some(unit)) if ethernet => {
                let mut out = Output::default();
                self.shared.lock().arp(now, unit, frame.payload, &mut out);
                self.absorb(out, tx);
                Ok(())
            }
            (ETHERTYPE_ARP, None) if ethernet => Err(Reason::NoUnit),
            (ETHERTYPE_IPV4 | ETHERTYPE_IPV6, None) => self.no_match(arrival, Reason::NoUnit, tx),
            (ETHERTYPE_IPV4 | ETHERTYPE_IPV6, Some(unit)) => {
                let packet = link::ip_packet(frame.ethertype, frame.payload);
                if !packet.is_empty() && link::ethertype_of(packet) != Some(frame.ethertype) {
                    return Err(Reason::BadHeader);
                }
                if neigh::is_discovery(packet) {
                    if !ethernet {
                        return Err(Reason::NotForUs);
                    }
                    if packet[40] == ra::SOLICITATION && self.shared.advertiser().advertises(unit) {
                        if !self.shared.advertiser().solicit(now, unit, packet) {
                            return Err(Reason::BadNeighbourMessage);
                        }
                        self.soft.absorbed += 1;
                        return Ok(());
                    }
                    let mut out = Output::default();
                    self.shared.lock().discovery(now, unit, packet, &mut out);
                    self.absorb(out, tx);
                    return Ok(());
                }
                let at = bytes.len() - frame.payload.len();
                self.translate(now, arrival, unit, packet, at, frame.source, batch, tx)
            }
            _ => Err(Reason::UnknownEthertype),
        }
    }

    /// What came of an ARP or discovery message.
    fn absorb(&mut self, out: Output, tx: &mut Tx) {
        if out.drops.is_empty() {
            self.soft.absorbed += 1;
        }
        self.apply(out, tx);
    }

    /// What came of a call of the neighbours.
    fn apply(&mut self, out: Output, tx: &mut Tx) {
        self.shared.changed(&out);
        for reason in out.drops {
            self.count(reason, 1);
        }
        for (port, frame) in out.frames {
            // What waited for an answer was counted as ours or translated when it came; only requests are new.
            self.raw(port, &Vnet::default(), &frame, tx);
        }
    }

    /// Nothing matches the frame: the port's policy.
    fn no_match(&mut self, arrival: &Arrival<'_>, reason: Reason, tx: &mut Tx) -> Result<(), Reason> {
        if self.config.ports[arrival.port].policy != PortPolicy::Forward {
            return Err(reason);
        }
        let start = tx.heads.len();
        let (mut vnet, mut from) = (arrival.vnet, 0);
        let bytes = arrival.received.bytes;
        let tag = arrival.received.vlan;
        if tag.is_some() {
            vnet.checksum = vnet.checksum.map(|(at, offset)| (at.saturating_add(4), offset));
            vnet.header = vnet.header.saturating_add(4);
        }
        tx.heads.extend_from_slice(&vnet.write());
        if let (Some((ethertype, id)), true) = (tag, bytes.len() >= 12) {
            tx.heads.extend_from_slice(&bytes[..12]);
            tx.heads.extend_from_slice(&ethertype.to_be_bytes());
            tx.heads.extend_from_slice(&id.to_be_bytes());
            from = 12;
        }
        self.soft.forwarded += 1;
        let tail = Some((arrival.index, from..bytes.len()));
        self.send_out(1 - arrival.port, arrival.packets, start, 0..0, tail, tx);
        Ok(())
    }

    /// Whether a packet is to a prefix or a pool address of its unit's service set.
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
                let ranges = &self.ours[unit];
                served.outside && ranges.iter().any(|&(low, high)| low <= to && to <= high)
            }
            None => true,
        }
    }

    #[allow(clippy::too_many_arguments)] // the frame, and what was found in it
    fn translate<'a>(
        &mut self,
        now: Time,
        arrival: &Arrival<'a>,
        unit: usize,
        packet: &'a [u8],
        at: usize,
        source: Mac,
        batch: Option<&mut Batch<'a>>,
        tx: &mut Tx,
    ) -> Result<(), Reason> {
        if self.config.ports[arrival.port].policy == PortPolicy::Forward && !self.is_ours(unit, packet) {
            return self.no_match(arrival, Reason::NoRule, tx);
        }
        if arrival.stage != Stage::Mine && self.sharing.is_some() && !self.steer(now, arrival, packet, tx)? {
            return Ok(());
        }
        if let Some(batch) = batch {
            if batch.take(arrival, unit, packet, at, source) {
                if batch.is_full() {
                    self.translate_batch(now, batch, tx);
                }
                return Ok(());
            }
            self.translate_batch(now, batch, tx);
        }
        let mut effects = std::mem::take(&mut self.effects);
        let from = effects.iter().len();
        let result = self.step(now, arrival, unit, packet, at, &mut effects, tx);
        // Auto last hop: where a packet came from is where answers go, if it came to anything.
        let useful = effects
            .iter()
            .skip(from)
            .any(|effect| matches!(effect, Effect::Send { .. }));
        if useful {
            self.learn(now, unit, packet, source, tx);
        }
        self.effects = effects;
        result
    }

    fn learn(&mut self, now: Time, unit: usize, packet: &[u8], source: Mac, tx: &mut Tx) {
        if self.config.link_type != LinkType::Ethernet {
            return;
        }
        let Some(address) = neigh::source_of(packet) else {
            return;
        };
        if self.heard.get(&self.shared, now, unit, address) == Some(source) {
            return;
        }
        let mut out = Output::default();
        self.shared.lock().learn(now, unit, address, source, &mut out);
        self.apply(out, tx);
        let generation = Memory::begin(&self.shared);
        self.heard.put(generation, now, unit, address, source);
    }

    #[allow(clippy::too_many_arguments)] // the frame, and what was found in it
    fn step(
        &mut self,
        now: Time,
        arrival: &Arrival<'_>,
        unit: usize,
        packet: &[u8],
        at: usize,
        effects: &mut Effects,
        tx: &mut Tx,
    ) -> Result<(), Reason> {
        let vnet = &arrival.vnet;
        if vnet.gso != Gso::None && arrival.packets > 1 {
            return self.step_super(now, arrival, unit, packet, at, effects, tx);
        }
        let from = effects.iter().len();
        let Some((start, offset)) = vnet.checksum else {
            self.xlate.step(now, unit, packet, effects);
            self.perform(now, effects, since(effects, from), None, tx);
            return Ok(());
        };
        let start = usize::from(start).checked_sub(at).ok_or(Reason::BadOffload)?;
        let offset = usize::from(offset);
        let shape = Shape::of(packet).filter(|shape| shape.ip == start && shape.checksum_at() == offset);
        if shape.is_some() && packet.len() <= NEVER_CUT {
            self.xlate.step(now, unit, packet, effects);
        } else {
            let mut whole = std::mem::take(&mut self.scratch);
            whole.clear();
            whole.extend_from_slice(packet);
            let finished = offload::finish(&mut whole, start, offset);
            if finished {
                self.xlate.step(now, unit, &whole, effects);
            }
            self.scratch = whole;
            if !finished {
                return Err(Reason::BadOffload);
            }
        }
        let payload = shape.map(|shape| packet.len() - shape.headers);
        let as_partial = payload.and_then(|payload| {
            let (_, bytes) = single_of(since(effects, from))?;
            let shape = Shape::of(effects.bytes(&bytes))?;
            (bytes.len() - shape.headers == payload).then_some(As::Partial(shape))
        });
        self.perform(now, effects, since(effects, from), as_partial, tx);
        Ok(())
    }

    #[allow(clippy::too_many_arguments)] // the frame, and what was found in it
    fn step_super(
        &mut self,
        now: Time,
        arrival: &Arrival<'_>,
        unit: usize,
        packet: &[u8],
        at: usize,
        effects: &mut Effects,
        tx: &mut Tx,
    ) -> Result<(), Reason> {
        let vnet = &arrival.vnet;
        let shape = Shape::of(packet).ok_or(Reason::BadOffload)?;
        let kind = match vnet.gso {
            Gso::Tcp4 => !shape.six && !shape.udp,
            Gso::Tcp6 => shape.six && !shape.udp,
            Gso::Udp => shape.udp,
            Gso::None => false,
        };
        if !kind {
            return Err(Reason::BadOffload);
        }
        let size = usize::from(vnet.size);
        let mut skip = 0;
        if shape.is_plain(packet) {
            let mut first = std::mem::take(&mut self.scratch);
            first.clear();
            offload::first(packet, &shape, size, &mut first);
            let from = effects.iter().len();
            self.xlate.step(now, unit, &first, effects);
            self.scratch = first;
            let here = single_of(since(effects, from)).filter(|(unit, _)| hairpin_set(*unit).is_none());
            let as_super = here.and_then(|(_, bytes)| {
                let other = Shape::of(effects.bytes(&bytes))?;
                let payload = packet.len() - shape.headers;
                let told = payload + other.headers - if other.six { other.ip } else { 0 };
                (bytes.len() - other.headers == size && told <= usize::from(u16::MAX)).then(|| As::Super {
                    shape: other,
                    tail: at + shape.headers..at + packet.len(),
                    packets: arrival.packets,
                    size: vnet.size,
                    ecn: vnet.ecn,
                    flags: if shape.udp { 0 } else { packet[shape.ip + 13] },
                })
            });
            if let Some(as_super) = as_super {
                self.soft.supers += 1;
                self.perform_super(
                    now,
                    effects,
                    since(effects, from),
                    as_super,
                    arrival.index,
                    packet,
                    &shape,
                    tx,
                );
                return Ok(());
            }
            self.perform(now, effects, since(effects, from), None, tx);
            let refused = effects.iter().skip(from).find_map(|effect| match effect {
                Effect::Drop(reason) => Some(*reason),
                _ => None,
            });
            self.soft.supers_cut += 1;
            // What is true of the first packet is true of the others; one answer is enough.
            if let Some(reason) = refused {
                self.count(reason, arrival.packets - 1);
                return Ok(());
            }
            skip = 1;
        } else {
            self.soft.supers_cut += 1;
        }
        for piece in offload::cut(packet, &shape, size, skip) {
            let from = effects.iter().len();
            self.xlate.step(now, unit, &piece, effects);
            self.perform(now, effects, since(effects, from), None, tx);
        }
        Ok(())
    }
}

fn ours(config: &GatewayConfig) -> Vec<Vec<(u32, u32)>> {
    let ranges = |unit: &nat64_xlate::config::Unit| {
        let set = unit.service_set.and_then(|set| config.xlate.service_sets.get(set));
        set.map_or(Vec::new(), |set| plan::pool_ranges(config, set))
    };
    config.xlate.units.iter().map(ranges).collect()
}

#[cfg(test)]
mod tests;
