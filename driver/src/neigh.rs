//! Neighbours: which MAC address is behind an IP address of a unit (ARP, RFC 826; neighbour discovery, RFC 4861).
//!
//! ```text
//!             packet to send
//!   (none) ------------------> resolving --answer--> known --lifetime--> (none), or asked again when a card uses it
//!      ^                        | 3 requests, 1 s apart        ^
//!      +-- waiting packets dropped                             +-- learned from a frame (auto last hop)
//! ```
//!
//! Answers for: the addresses of the unit, the link-local address made from its MAC address, and (ARP) the pool
//! addresses of the service sets whose packets leave by the unit.
//!
//! Bounded everywhere: entries, packets waiting per neighbour and in all. What a stranger's frames can do is limited:
//! a learned entry never replaces an asked one, and entries in use by a card are not evicted.
//!
//! Pure logic: time is an argument, frames to send come back in [`Output`]. Not here: router discovery, duplicate
//! address detection of our own addresses, multicast listener reports.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nat64_layout::{Reason, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use nat64_xlate::Time;

use crate::link::{self, Mac};
use message::{
    arp, discovery, multicast_mac, solicited_node, Message, ADVERTISEMENT, ALL_NODES, ARP_REPLY, ARP_REQUEST,
    FLAG_OVERRIDE, FLAG_ROUTER, FLAG_SOLICITED, ICMPV6, OPTION_SOURCE, OPTION_TARGET, SOLICITATION,
};

/// Nanoseconds between two requests (RETRANS_TIMER, RFC 4861 section 10).
pub const RETRANSMIT: Time = 1_000_000_000;
/// Requests before giving up (MAX_MULTICAST_SOLICIT).
pub const TRIES: u8 = 3;
/// Nanoseconds an entry lives without being heard of: 20 minutes.
pub const LIFETIME: Time = 1_200_000_000_000;
/// Packets waiting for one neighbour.
pub const QUEUE: usize = 16;
/// Packets waiting for all neighbours together.
pub const QUEUE_ALL: usize = 1024;
/// Entries in all.
pub const ENTRIES: usize = 8192;

const BROADCAST: Mac = [0xff; 6];
/// ICMPv6 type of a router solicitation.
pub const ROUTER_SOLICITATION: u8 = 133;

/// What the neighbour logic needs to know of a unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnitNet {
    /// Port of the card.
    pub port: usize,
    /// VLAN ids, outer first.
    pub vlans: [Option<u16>; 2],
    /// Our MAC address.
    pub mac: Mac,
    /// Our IPv6 addresses and prefix lengths.
    pub addresses6: Vec<(Ipv6Addr, u8)>,
    /// Our IPv4 addresses and prefix lengths.
    pub addresses4: Vec<(Ipv4Addr, u8)>,
    /// Next hop of IPv6 destinations that are not on link; `None`: all are.
    pub gateway6: Option<Ipv6Addr>,
    /// Next hop of IPv4 destinations that are not on link; `None`: all are.
    pub gateway4: Option<Ipv4Addr>,
    /// Sources are learned from the frames they send.
    pub auto_last_hop: bool,
    /// Ranges of IPv4 addresses we answer ARP for besides our own, first and last: the pools behind this unit.
    pub proxy4: Vec<(Ipv4Addr, Ipv4Addr)>,
}

fn same_prefix(a: u128, b: u128, length: u8, width: u32) -> bool {
    let length = u32::from(length).min(width);
    length == 0 || (a ^ b) >> (width - length) == 0
}

impl UnitNet {
    fn on_link4(&self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        let bits = |a: Ipv4Addr| u128::from(u32::from(a));
        self.addresses4
            .iter()
            .find(|(own, n)| same_prefix(bits(*own), bits(address), *n, 32))
            .map(|&(own, _)| own)
    }

    fn on_link6(&self, address: Ipv6Addr) -> Option<Ipv6Addr> {
        if address.is_unicast_link_local() {
            return Some(self.link_local());
        }
        let same = |&&(own, n): &&(Ipv6Addr, u8)| same_prefix(own.into(), address.into(), n, 128);
        self.addresses6.iter().find(same).map(|&(own, _)| own)
    }

    /// fe80::/64 and the interface identifier of our MAC address (RFC 4291 appendix A).
    pub fn link_local(&self) -> Ipv6Addr {
        let m = self.mac;
        let id = u64::from_be_bytes([m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]]);
        Ipv6Addr::from(0xfe80 << 112 | u128::from(id))
    }

    fn owns4(&self, address: Ipv4Addr) -> bool {
        self.addresses4.iter().any(|&(own, _)| own == address)
            || self.proxy4.iter().any(|&(low, high)| low <= address && address <= high)
    }

    fn owns6(&self, address: Ipv6Addr) -> bool {
        self.addresses6.iter().any(|&(own, _)| own == address) || address == self.link_local()
    }

    /// The neighbour that packets to `destination` are handed to.
    pub fn next_hop(&self, destination: IpAddr) -> IpAddr {
        match destination {
            IpAddr::V4(to) if self.on_link4(to).is_none() => self.gateway4.map_or(destination, IpAddr::V4),
            IpAddr::V6(to) if self.on_link6(to).is_none() => self.gateway6.map_or(destination, IpAddr::V6),
            _ => destination,
        }
    }

    fn frame(&self, to: Mac, ethertype: u16, payload: &[u8]) -> (usize, Vec<u8>) {
        (self.port, link::build(to, self.mac, self.vlans, ethertype, payload))
    }
}

/// Names a neighbour: unit and address.
pub type Key = (usize, IpAddr);

/// What came of a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// Frames to send: port and bytes, in order.
    pub frames: Vec<(usize, Vec<u8>)>,
    /// One reason for each packet (or neighbour message) that ended here.
    pub drops: Vec<Reason>,
    /// Neighbours whose MAC address became known or changed.
    pub changed: Vec<Key>,
    /// Neighbours a card uses that do not answer any more.
    pub lost: Vec<Key>,
    /// Translated packets among those that ended because their next hop did not answer, with their units: the senders are
    /// to be told ([`nat64_xlate::Nat64::undeliverable`]).
    pub unreachable: Vec<(usize, Vec<u8>)>,
}

/// Counters of the neighbour logic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NeighbourStats {
    /// ARP and discovery messages that came in and were taken; those that were not are counted by their reason.
    pub taken: u64,
    /// Requests and solicitations sent.
    pub requests: u64,
    /// Replies and advertisements sent.
    pub answers: u64,
}

/// A packet that waits for its next hop.
#[derive(Debug)]
struct Waiting {
    packet: Vec<u8>,
    /// It is a translated one, not an error, probe or answer of ours.
    translated: bool,
}

#[derive(Debug)]
enum State {
    Resolving { tries: u8, waiting: Vec<Waiting> },
    Known { mac: Mac, learned: bool, probes: u8 },
}

#[derive(Debug)]
struct Entry {
    state: State,
    timer: Time,
    // When the entry was last heard of; its timer is moved only when it fires, not with every packet.
    heard: Time,
    pins: u32,
    fixed: bool,
    /// Its place in [`Neighbours::quiet`].
    quiet: Option<Time>,
}

/// A neighbour, for listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourInfo {
    /// Unit and address.
    pub key: Key,
    /// MAC address; `None` while it is looked for.
    pub mac: Option<Mac>,
    /// From frames it sent, not from an answer (auto last hop).
    pub learned: bool,
    /// Never ages.
    pub fixed: bool,
    /// Sessions of the card that use it.
    pub pins: u32,
    /// Packets that wait for it.
    pub waiting: usize,
    /// When it is asked again or forgotten; `None`: never.
    pub expires: Option<Time>,
}

impl Entry {
    fn info(&self, key: Key) -> NeighbourInfo {
        let (mac, learned, waiting) = match &self.state {
            State::Resolving { waiting, .. } => (None, false, waiting.len()),
            State::Known { mac, learned, .. } => (Some(*mac), *learned, 0),
        };
        NeighbourInfo {
            key,
            mac,
            learned,
            fixed: self.fixed,
            pins: self.pins,
            waiting,
            expires: Some(self.timer).filter(|&timer| timer != Time::MAX),
        }
    }
}

/// The neighbours of all units.
#[derive(Debug, Default)]
pub struct Neighbours {
    units: Vec<UnitNet>,
    table: HashMap<Key, Entry>,
    timers: BTreeSet<(Time, Key)>,
    quiet: BTreeSet<(Time, Key)>,
    waiting: usize,
    stats: NeighbourStats,
}

/// The destination address of an IP packet.
pub fn destination_of(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(16..20)?).ok()?)),
        6 => Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(24..40)?).ok()?)),
        _ => None,
    }
}

/// The source address of an IP packet.
pub fn source_of(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(12..16)?).ok()?)),
        6 => Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(8..24)?).ok()?)),
        _ => None,
    }
}

/// Whether an IPv6 packet is router or neighbour discovery (ICMPv6 types 133 to 137), which never reaches the
/// translator. As on the card, a message behind an extension header does not count.
pub fn is_discovery(packet: &[u8]) -> bool {
    packet.len() > 40 && packet[0] >> 4 == 6 && packet[6] == ICMPV6 && (133..=137).contains(&packet[40])
}

fn is_unicast(mac: Mac) -> bool {
    mac[0] & 1 == 0 && mac != [0; 6]
}

fn ethertype(address: IpAddr) -> u16 {
    if address.is_ipv4() {
        ETHERTYPE_IPV4
    } else {
        ETHERTYPE_IPV6
    }
}

impl Neighbours {
    /// No neighbours yet.
    pub fn new(units: Vec<UnitNet>) -> Self {
        Self {
            units,
            ..Self::default()
        }
    }

    /// Changes the units. Neighbours of units that changed in anything but their pools are forgotten; their waiting
    /// packets are dropped.
    pub fn reconfigure(&mut self, units: Vec<UnitNet>, out: &mut Output) {
        let old = std::mem::replace(&mut self.units, units);
        let same = |unit: usize| match (old.get(unit), self.units.get(unit)) {
            (Some(old), Some(new)) => {
                UnitNet {
                    proxy4: Vec::new(),
                    ..old.clone()
                } == UnitNet {
                    proxy4: Vec::new(),
                    ..new.clone()
                }
            }
            _ => false,
        };
        let gone: BTreeSet<Key> = self.table.keys().filter(|key| !same(key.0)).copied().collect();
        for key in gone {
            // Nobody is told: the units may have other numbers now.
            self.forget(key, out);
        }
    }

    /// Forgets who was behind a port: its link is another one. Neighbours that are fixed, or that a card uses, stay.
    pub fn forget_port(&mut self, port: usize, out: &mut Output) {
        let behind = |unit: usize| self.units.get(unit).is_some_and(|unit| unit.port == port);
        let entries = self.table.iter().filter(|(_, entry)| !entry.fixed && entry.pins == 0);
        let gone: Vec<Key> = entries.map(|(key, _)| *key).filter(|key| behind(key.0)).collect();
        for key in gone {
            self.forget(key, out);
        }
    }

    /// The units.
    pub fn units(&self) -> &[UnitNet] {
        &self.units
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Packets that wait for an answer.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Counters.
    pub fn stats(&self) -> NeighbourStats {
        self.stats
    }

    /// A neighbour that never ages and is never asked for.
    pub fn add_fixed(&mut self, now: Time, unit: usize, address: IpAddr, mac: Mac, out: &mut Output) {
        self.set(now, (unit, address), mac, false, out);
        if let Some(entry) = self.table.get_mut(&(unit, address)) {
            entry.fixed = true;
        }
        self.rank((unit, address));
    }

    /// The neighbour that packets to `destination` are handed to: the destination itself where it was learned or is on
    /// link, else the unit's gateway. `None` when there is no such unit.
    pub fn next_hop(&self, unit: usize, destination: IpAddr) -> Option<Key> {
        let net = self.units.get(unit)?;
        let direct = (unit, destination);
        if matches!(
            self.table.get(&direct),
            Some(Entry {
                state: State::Known { .. },
                ..
            })
        ) {
            return Some(direct);
        }
        Some((unit, net.next_hop(destination)))
    }

    /// The MAC address of a neighbour, when it is known.
    pub fn mac(&self, key: Key) -> Option<Mac> {
        match self.table.get(&key)?.state {
            State::Known { mac, .. } => Some(mac),
            State::Resolving { .. } => None,
        }
    }

    /// A card uses this neighbour from now on: it is kept, and asked again when its lifetime ends.
    pub fn pin(&mut self, key: Key) {
        if let Some(entry) = self.table.get_mut(&key) {
            entry.pins += 1;
        }
        self.rank(key);
    }

    /// Takes one [`Neighbours::pin`] back.
    pub fn unpin(&mut self, key: Key) {
        if let Some(entry) = self.table.get_mut(&key) {
            entry.pins = entry.pins.saturating_sub(1);
        }
        self.rank(key);
    }

    /// Sends an IP packet out of a unit, now or when its neighbour has answered; `translated`: not one of ours, so its
    /// sender is told when the neighbour does not.
    pub fn send(&mut self, now: Time, unit: usize, packet: &[u8], translated: bool, out: &mut Output) {
        let (Some(net), Some(to)) = (self.units.get(unit), destination_of(packet)) else {
            out.drops.push(Reason::NoUnit);
            return;
        };
        let multicast = match to {
            IpAddr::V4(a) if a.is_multicast() => {
                let o = a.octets();
                Some([1, 0, 0x5e, o[1] & 0x7f, o[2], o[3]])
            }
            IpAddr::V4(Ipv4Addr::BROADCAST) => Some(BROADCAST),
            IpAddr::V6(a) if a.is_multicast() => Some(multicast_mac(a)),
            _ => None,
        };
        if let Some(mac) = multicast {
            out.frames.push(net.frame(mac, ethertype(to), packet));
            return;
        }
        // The unit exists, so there is a next hop.
        let Some(key) = self.next_hop(unit, to) else { return };
        if let Some(mac) = self.mac(key) {
            out.frames.push(self.units[unit].frame(mac, ethertype(to), packet));
            return;
        }
        // A sweep over addresses that nobody has must not fill the table with searches that no packet waits for.
        let looked_for = self.table.contains_key(&key);
        if !looked_for && self.waiting >= QUEUE_ALL || !self.start(now, key, out) {
            out.drops.push(Reason::NeighbourQueueFull);
            return;
        }
        if let Some(Entry {
            state: State::Resolving { waiting, .. },
            ..
        }) = self.table.get_mut(&key)
        {
            if waiting.len() >= QUEUE || self.waiting >= QUEUE_ALL {
                out.drops.push(Reason::NeighbourQueueFull);
            } else {
                waiting.push(Waiting {
                    packet: packet.to_vec(),
                    translated,
                });
                self.waiting += 1;
            }
        }
    }

    /// Asks for the neighbour of `destination` when it is not known, without a packet.
    pub fn resolve(&mut self, now: Time, unit: usize, destination: IpAddr, out: &mut Output) {
        if let Some(key) = self.next_hop(unit, destination) {
            if self.mac(key).is_none() {
                self.start(now, key, out);
            }
        }
    }

    /// Makes an entry that is being resolved, unless there is one; false when the table is full.
    fn start(&mut self, now: Time, key: Key, out: &mut Output) -> bool {
        if self.table.contains_key(&key) {
            return true;
        }
        if !self.make_room() {
            return false;
        }
        let timer = now.saturating_add(RETRANSMIT);
        let state = State::Resolving {
            tries: 1,
            waiting: Vec::new(),
        };
        self.table.insert(
            key,
            Entry {
                state,
                timer,
                heard: now,
                pins: 0,
                fixed: false,
                quiet: None,
            },
        );
        self.timers.insert((timer, key));
        self.ask(key, out);
        true
    }

    /// Sends a request for a neighbour.
    fn ask(&mut self, key: Key, out: &mut Output) {
        let Some(net) = self.units.get(key.0) else { return };
        self.stats.requests += 1;
        match key.1 {
            IpAddr::V4(target) => {
                let own = net
                    .on_link4(target)
                    .or_else(|| net.proxy4.first().map(|range| range.0))
                    .or_else(|| net.addresses4.first().map(|own| own.0))
                    .unwrap_or(Ipv4Addr::UNSPECIFIED);
                let arp = arp(ARP_REQUEST, (net.mac, own), ([0; 6], target));
                out.frames.push(net.frame(BROADCAST, ETHERTYPE_ARP, &arp));
            }
            IpAddr::V6(target) => {
                let own = net.on_link6(target).unwrap_or_else(|| net.link_local());
                let group = solicited_node(target);
                let packet = discovery(SOLICITATION, 0, own, group, target, (OPTION_SOURCE, net.mac));
                out.frames
                    .push(net.frame(multicast_mac(group), ETHERTYPE_IPV6, &packet));
            }
        }
    }

    fn move_timer(&mut self, key: Key, timer: Time) {
        if let Some(entry) = self.table.get_mut(&key) {
            self.timers.remove(&(entry.timer, key));
            entry.timer = timer;
            self.timers.insert((timer, key));
        }
    }

    /// A neighbour's MAC address was told; sends what waited for it.
    fn set(&mut self, now: Time, key: Key, mac: Mac, learned: bool, out: &mut Output) {
        if !self.table.contains_key(&key) {
            if !self.make_room() {
                return;
            }
            let state = State::Resolving {
                tries: 0,
                waiting: Vec::new(),
            };
            self.table.insert(
                key,
                Entry {
                    state,
                    timer: now,
                    heard: now,
                    pins: 0,
                    fixed: false,
                    quiet: None,
                },
            );
            self.timers.insert((now, key));
        }
        let Some(entry) = self.table.get_mut(&key) else { return };
        if entry.fixed {
            return;
        }
        entry.heard = now;
        let old = std::mem::replace(
            &mut entry.state,
            State::Known {
                mac,
                learned,
                probes: 0,
            },
        );
        let changed = match &old {
            State::Known { mac: old, .. } => *old != mac,
            State::Resolving { .. } => true,
        };
        if let State::Resolving { waiting, .. } = old {
            self.waiting -= waiting.len();
            if let Some(net) = self.units.get(key.0) {
                out.frames.extend(
                    waiting
                        .iter()
                        .map(|waiting| net.frame(mac, ethertype(key.1), &waiting.packet)),
                );
            }
        }
        self.move_timer(key, now.saturating_add(LIFETIME));
        self.rank(key);
        if changed {
            out.changed.push(key);
        }
    }

    /// A frame with this source came in on a unit: learned when the unit has auto last hop, and in any case a sign that
    /// the neighbour is alive. What is known is not changed: else one packet with a foreign source address would turn
    /// away its owner's traffic. A neighbour that really moves says so by ARP or neighbour discovery.
    pub fn learn(&mut self, now: Time, unit: usize, source: IpAddr, mac: Mac, out: &mut Output) {
        let usable = match source {
            IpAddr::V4(a) => !(a.is_unspecified() || a.is_multicast() || a.is_broadcast() || a.is_loopback()),
            IpAddr::V6(a) => !(a.is_unspecified() || a.is_multicast() || a.is_loopback()),
        };
        let Some(net) = self.units.get(unit) else { return };
        let auto = net.auto_last_hop && usable && is_unicast(mac) && !own(net, source);
        let key = (unit, source);
        match self.table.get_mut(&key) {
            Some(entry) => match entry.state {
                State::Known { mac: old, .. } if old == mac => entry.heard = now,
                State::Known { .. } => {}
                _ if auto => self.set(now, key, mac, true, out),
                _ => {}
            },
            None if auto => self.set(now, key, mac, true, out),
            None => {}
        }
    }

    /// What was known before a restart: a neighbour that is believed until its lifetime ends, and then asked.
    pub fn restore(&mut self, now: Time, key: Key, mac: Mac, out: &mut Output) {
        let Some(net) = self.units.get(key.0) else { return };
        if is_unicast(mac) && !own(net, key.1) && !self.table.contains_key(&key) {
            self.set(now, key, mac, true, out);
        }
    }

    /// An ARP message that came in on a unit (RFC 826).
    pub fn arp(&mut self, now: Time, unit: usize, message: &[u8], out: &mut Output) {
        let drops = out.drops.len();
        self.judge_arp(now, unit, message, out);
        self.stats.taken += u64::from(out.drops.len() == drops);
    }

    fn judge_arp(&mut self, now: Time, unit: usize, message: &[u8], out: &mut Output) {
        let Some(net) = self.units.get(unit) else { return };
        // Ethernet and IPv4 addresses, of 6 and 4 bytes.
        let (Some(message), true) = (message.get(..28), message.starts_with(&[0, 1, 8, 0, 6, 4])) else {
            out.drops.push(Reason::BadNeighbourMessage);
            return;
        };
        let operation = u16::from_be_bytes([message[6], message[7]]);
        let mut mac = [0; 6];
        mac.copy_from_slice(&message[8..14]);
        let sender = Ipv4Addr::new(message[14], message[15], message[16], message[17]);
        let target = Ipv4Addr::new(message[24], message[25], message[26], message[27]);
        // A sender with our own address is a conflict or a forgery: never believed, never answered.
        let bad = !is_unicast(mac) || sender.is_multicast() || sender.is_broadcast() || net.owns4(sender);
        if bad || !matches!(operation, ARP_REQUEST | ARP_REPLY) {
            out.drops.push(Reason::BadNeighbourMessage);
            return;
        }
        let ours = net.owns4(target);
        let reply = (ours && operation == ARP_REQUEST)
            .then(|| net.frame(mac, ETHERTYPE_ARP, &arp(ARP_REPLY, (net.mac, target), (mac, sender))));
        // Known senders are brought up to date; new ones are kept only when they talk to us.
        let key = (unit, IpAddr::V4(sender));
        if !sender.is_unspecified() && (self.table.contains_key(&key) || ours) {
            self.set(now, key, mac, false, out);
        }
        match reply {
            Some(frame) => {
                self.stats.answers += 1;
                out.frames.push(frame);
            }
            None if operation == ARP_REQUEST => out.drops.push(Reason::NotForUs),
            None => {}
        }
    }

    /// A discovery message ([`is_discovery`]) that came in on a unit (RFC 4861 section 7).
    pub fn discovery(&mut self, now: Time, unit: usize, packet: &[u8], out: &mut Output) {
        let drops = out.drops.len();
        self.judge_discovery(now, unit, packet, out);
        self.stats.taken += u64::from(out.drops.len() == drops);
    }

    fn judge_discovery(&mut self, now: Time, unit: usize, packet: &[u8], out: &mut Output) {
        let Some(net) = self.units.get(unit) else { return };
        let Some(message) = Message::parse(packet) else {
            out.drops.push(Reason::BadNeighbourMessage);
            return;
        };
        let Message {
            kind,
            source,
            target,
            flags,
            lladdr,
            ..
        } = message;
        let key = |address: Ipv6Addr| (unit, IpAddr::V6(address));
        match kind {
            SOLICITATION => {
                if !net.owns6(target) || net.owns6(source) {
                    out.drops.push(Reason::NotForUs);
                    return;
                }
                let link = (OPTION_TARGET, net.mac);
                let (to, mac, flags) = if source.is_unspecified() {
                    // Duplicate address detection: everyone is told that the address is taken (section 7.2.4).
                    (ALL_NODES, multicast_mac(ALL_NODES), FLAG_ROUTER | FLAG_OVERRIDE)
                } else {
                    let known = lladdr.or_else(|| self.mac(key(source)));
                    let Some(mac) = known else {
                        // Without the option it is a probe of someone who must know us already; ask back.
                        self.start(now, key(source), out);
                        return;
                    };
                    (source, mac, FLAG_ROUTER | FLAG_SOLICITED | FLAG_OVERRIDE)
                };
                let answer = discovery(ADVERTISEMENT, flags, target, to, target, link);
                out.frames.push(net.frame(mac, ETHERTYPE_IPV6, &answer));
                self.stats.answers += 1;
                if let (Some(mac), false) = (lladdr, source.is_unspecified()) {
                    self.set(now, key(source), mac, false, out);
                }
            }
            ADVERTISEMENT => {
                if net.owns6(target) {
                    out.drops.push(Reason::BadNeighbourMessage);
                    return;
                }
                // Section 7.2.5: without an entry nothing is kept, and another address needs the override flag.
                match (self.table.get(&key(target)).map(|entry| &entry.state), lladdr) {
                    (Some(State::Resolving { .. }), Some(mac)) => self.set(now, key(target), mac, false, out),
                    (Some(&State::Known { mac: old, learned, .. }), told) => {
                        let mac = told.unwrap_or(old);
                        if mac == old || learned || flags & FLAG_OVERRIDE != 0 {
                            self.set(now, key(target), mac, false, out);
                        }
                    }
                    _ => out.drops.push(Reason::NotForUs),
                }
            }
            _ => out.drops.push(Reason::NotForUs),
        }
    }

    /// Lets time come to `now`: requests are repeated, entries end.
    pub fn advance(&mut self, now: Time, out: &mut Output) {
        while let Some(&(timer, key)) = self.timers.first() {
            if timer > now {
                return;
            }
            let next = match self.table.get_mut(&key) {
                Some(entry) => match &mut entry.state {
                    State::Resolving { tries, .. } if *tries < TRIES => {
                        *tries += 1;
                        Some((timer.saturating_add(RETRANSMIT), true))
                    }
                    State::Resolving { .. } => None,
                    State::Known { .. } if entry.fixed => Some((Time::MAX, false)),
                    State::Known { learned, probes, .. } => {
                        let end = entry.heard.saturating_add(LIFETIME);
                        if end > timer {
                            // Heard of since the timer was set.
                            *probes = 0;
                            Some((end, false))
                        } else if entry.pins == 0 {
                            None
                        } else if *learned {
                            // It may be far away, where nobody answers for it; it changes when another frame comes.
                            Some((timer.saturating_add(LIFETIME), false))
                        } else if *probes < TRIES {
                            *probes += 1;
                            Some((timer.saturating_add(RETRANSMIT), true))
                        } else {
                            out.lost.push(key);
                            None
                        }
                    }
                },
                None => None,
            };
            match next {
                Some((timer, ask)) => {
                    self.move_timer(key, timer);
                    if ask {
                        self.ask(key, out);
                    }
                }
                None => {
                    let waited = self.forget(key, out);
                    let translated = waited.into_iter().filter(|waiting| waiting.translated);
                    out.unreachable
                        .extend(translated.map(|waiting| (key.0, waiting.packet)));
                }
            }
        }
    }

    /// One neighbour, or one that is looked for; `None`: not known.
    pub fn get(&self, key: Key) -> Option<NeighbourInfo> {
        self.table.get(&key).map(|entry| entry.info(key))
    }

    /// Part of the list of neighbours, which is in the order of unit and address: `count` of them after the first
    /// `skip`. Takes time for all of them, which are [`ENTRIES`] at most.
    pub fn page(&self, skip: usize, count: usize) -> Vec<NeighbourInfo> {
        let mut keys: Vec<Key> = self.table.keys().copied().collect();
        keys.sort_unstable();
        let wanted = keys.into_iter().skip(skip).take(count);
        wanted.filter_map(|key| self.get(key)).collect()
    }

    /// When [`Neighbours::advance`] has something to do next.
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers
            .first()
            .map(|&(timer, _)| timer)
            .filter(|&timer| timer != Time::MAX)
    }

    /// Forgets a neighbour. What waited for it ends, and is returned.
    fn forget(&mut self, key: Key, out: &mut Output) -> Vec<Waiting> {
        let Some(entry) = self.remove(key) else {
            return Vec::new();
        };
        let State::Resolving { waiting, .. } = entry.state else {
            return Vec::new();
        };
        self.waiting -= waiting.len();
        out.drops.extend(waiting.iter().map(|_| Reason::NeighbourUnreachable));
        waiting
    }
}

fn own(net: &UnitNet, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => net.owns4(address),
        IpAddr::V6(address) => net.owns6(address),
    }
}

mod evict;
mod message;

#[cfg(test)]
#[path = "neigh_tests.rs"]
mod tests;
