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
use nat64_xlate::{checksum, Time};

use crate::link::{self, Mac};

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
/// Entries looked at to find one that may be evicted.
const EVICT_SCAN: usize = 64;

const BROADCAST: Mac = [0xff; 6];
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const OPTION_SOURCE: u8 = 1;
const OPTION_TARGET: u8 = 2;
const ICMPV6: u8 = 58;

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
}

#[derive(Debug)]
enum State {
    Resolving { tries: u8, waiting: Vec<Vec<u8>> },
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
    waiting: usize,
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
            self.forget(key, Reason::NeighbourUnreachable, out);
        }
    }

    /// Forgets who was behind a port: its link is another one. Neighbours that are fixed, or that a card uses, stay.
    pub fn forget_port(&mut self, port: usize, out: &mut Output) {
        let behind = |unit: usize| self.units.get(unit).is_some_and(|unit| unit.port == port);
        let entries = self.table.iter().filter(|(_, entry)| !entry.fixed && entry.pins == 0);
        let gone: Vec<Key> = entries.map(|(key, _)| *key).filter(|key| behind(key.0)).collect();
        for key in gone {
            self.forget(key, Reason::NeighbourUnreachable, out);
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

    /// A neighbour that never ages and is never asked for.
    pub fn add_fixed(&mut self, now: Time, unit: usize, address: IpAddr, mac: Mac, out: &mut Output) {
        self.set(now, (unit, address), mac, false, out);
        if let Some(entry) = self.table.get_mut(&(unit, address)) {
            entry.fixed = true;
        }
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
    }

    /// Takes one [`Neighbours::pin`] back.
    pub fn unpin(&mut self, key: Key) {
        if let Some(entry) = self.table.get_mut(&key) {
            entry.pins = entry.pins.saturating_sub(1);
        }
    }

    /// Sends an IP packet out of a unit, now or when its neighbour has answered.
    pub fn send(&mut self, now: Time, unit: usize, packet: &[u8], out: &mut Output) {
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
        if !self.start(now, key, out) {
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
                waiting.push(packet.to_vec());
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
            },
        );
        self.timers.insert((timer, key));
        self.ask(key, out);
        true
    }

    /// Room for one more entry, by evicting the known one that is nearest to its end.
    fn make_room(&mut self) -> bool {
        if self.table.len() < ENTRIES {
            return true;
        }
        let evictable = |key: &Key| {
            let entry = self.table.get(key);
            entry.is_some_and(|e| matches!(e.state, State::Known { .. }) && e.pins == 0 && !e.fixed)
        };
        let Some(&(timer, key)) = self.timers.iter().take(EVICT_SCAN).find(|(_, key)| evictable(key)) else {
            return false;
        };
        self.timers.remove(&(timer, key));
        self.table.remove(&key);
        true
    }

    /// Sends a request for a neighbour.
    fn ask(&self, key: Key, out: &mut Output) {
        let Some(net) = self.units.get(key.0) else { return };
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
                out.frames
                    .extend(waiting.iter().map(|packet| net.frame(mac, ethertype(key.1), packet)));
            }
        }
        self.move_timer(key, now.saturating_add(LIFETIME));
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
            Some(frame) => out.frames.push(frame),
            None if operation == ARP_REQUEST => out.drops.push(Reason::NotForUs),
            None => {}
        }
    }

    /// A discovery message ([`is_discovery`]) that came in on a unit (RFC 4861 section 7).
    pub fn discovery(&mut self, now: Time, unit: usize, packet: &[u8], out: &mut Output) {
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
                None => self.forget(key, Reason::NeighbourUnreachable, out),
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

    fn forget(&mut self, key: Key, reason: Reason, out: &mut Output) {
        let Some(entry) = self.table.remove(&key) else { return };
        self.timers.remove(&(entry.timer, key));
        if let State::Resolving { waiting, .. } = entry.state {
            self.waiting -= waiting.len();
            out.drops.extend(waiting.iter().map(|_| reason));
        }
    }
}

fn own(net: &UnitNet, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => net.owns4(address),
        IpAddr::V6(address) => net.owns6(address),
    }
}

fn arp(operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> [u8; 28] {
    let mut message = [0; 28];
    message[..6].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
    message[6..8].copy_from_slice(&operation.to_be_bytes());
    message[8..14].copy_from_slice(&sender.0);
    message[14..18].copy_from_slice(&sender.1.octets());
    message[18..24].copy_from_slice(&target.0);
    message[24..28].copy_from_slice(&target.1.octets());
    message
}

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const FLAG_ROUTER: u8 = 0x80;
const FLAG_SOLICITED: u8 = 0x40;
const FLAG_OVERRIDE: u8 = 0x20;

fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from(0xff02_0000_0000_0000_0000_0001_ff00_0000 | u128::from(address) & 0xff_ffff)
}

fn multicast_mac(group: Ipv6Addr) -> Mac {
    let o = group.octets();
    [0x33, 0x33, o[12], o[13], o[14], o[15]]
}

/// An IPv6 packet with a solicitation or advertisement and one link-layer address option.
fn discovery(kind: u8, flags: u8, from: Ipv6Addr, to: Ipv6Addr, target: Ipv6Addr, option: (u8, Mac)) -> [u8; 72] {
    let mut packet = [0; 72];
    packet[0] = 0x60;
    packet[5] = 32;
    packet[6] = ICMPV6;
    packet[7] = 255;
    packet[8..24].copy_from_slice(&from.octets());
    packet[24..40].copy_from_slice(&to.octets());
    packet[40] = kind;
    packet[44] = flags;
    packet[48..64].copy_from_slice(&target.octets());
    packet[64] = option.0;
    packet[65] = 1;
    packet[66..72].copy_from_slice(&option.1);
    let sum = checksum::finish(checksum::pseudo6(from, to, 32, ICMPV6) + checksum::sum(&packet[40..]));
    packet[42..44].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// A discovery message that passed the checks of RFC 4861 sections 7.1.1 and 7.1.2.
struct Message {
    kind: u8,
    source: Ipv6Addr,
    target: Ipv6Addr,
    flags: u8,
    lladdr: Option<Mac>,
}

impl Message {
    fn parse(packet: &[u8]) -> Option<Self> {
        let address = |at: usize| {
            packet
                .get(at..at + 16)
                .and_then(|b| <[u8; 16]>::try_from(b).ok())
                .map(Ipv6Addr::from)
        };
        let (source, to) = (address(8)?, address(24)?);
        let length = usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
        let body = packet.get(40..40 + length)?;
        let sum = checksum::pseudo6(source, to, length as u32, ICMPV6) + checksum::sum(body);
        let kind = *body.first()?;
        // A hop limit of 255 proves that the message comes from this link.
        if packet[7] != 255 || checksum::finish(sum) != 0 || *body.get(1)? != 0 || source.is_multicast() {
            return None;
        }
        if !matches!(kind, SOLICITATION | ADVERTISEMENT) {
            return Some(Self {
                kind,
                source,
                target: Ipv6Addr::UNSPECIFIED,
                flags: 0,
                lladdr: None,
            });
        }
        let target = address(48).filter(|target| !target.is_multicast() && !target.is_unspecified())?;
        let flags = *body.get(4)?;
        let mut options = body.get(24..)?;
        let mut lladdr = None;
        while !options.is_empty() {
            let size = usize::from(*options.get(1)?) * 8;
            let option = options.get(..size).filter(|_| size > 0)?;
            let wanted = if kind == SOLICITATION {
                OPTION_SOURCE
            } else {
                OPTION_TARGET
            };
            if option[0] == wanted && size == 8 && lladdr.is_none() {
                lladdr = Mac::try_from(&option[2..8]).ok();
            }
            options = &options[size..];
        }
        let multicast = to.is_multicast();
        let valid = match kind {
            SOLICITATION if source.is_unspecified() => lladdr.is_none() && to == solicited_node(target),
            SOLICITATION => true,
            _ => !source.is_unspecified() && (!multicast || flags & FLAG_SOLICITED == 0),
        };
        (valid && lladdr.is_none_or(is_unicast)).then_some(Self {
            kind,
            source,
            target,
            flags,
            lladdr,
        })
    }
}

#[cfg(test)]
#[path = "neigh_tests.rs"]
mod tests;
