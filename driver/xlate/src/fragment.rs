//! The fragment store: finds the ports for fragments that have none (RFC 6146 section 3.4).
//!
//! ```text
//!  fragment -> overlap? -> TCP or UDP with a checksum: forwarded one by one, as soon as the first one is known
//!                       -> ICMP, or UDP without one:   held until whole, then handed back as one packet
//! ```
//!
//! Fragments that come before the first one are held, for [`crate::config::Timers::fragment`] since the first that
//! came. Memory is bounded overall, per source and per packet; when a bound is reached new fragments are refused, the
//! packets under way are not harmed. Fragments that overlap are refused together with the rest of their packet
//! (RFC 5722, RFC 3128); exact duplicates are refused alone, for they do occur in networks.

use std::collections::hash_map::Entry as MapEntry;
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use nat64_layout::Reason;

use crate::config::Limits;
use crate::effect::Time;
use crate::keyed::Keyed;
use crate::packet::{proto, Fragment, Packet4, Packet6, Transport, FRAGMENT_HEADER, IPV4_HEADER, IPV6_HEADER};
use crate::translate::{build4, build6, build_fragment};

/// Bytes a packet in pieces costs besides the fragments held, as counted against [`Limits::fragment_bytes`].
const ENTRY_COST: usize = 256;
/// Bytes a fragment costs besides its own, held or not.
const PIECE_COST: usize = 32;

/// What to do with a fragment.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing yet: it is held.
    Held,
    /// Translate the fragment, and after it those that were held, with the ports of the first one.
    Release {
        /// Transport header of the first fragment: [`Transport::Tcp`], [`Transport::Udp`] or [`Transport::Other`].
        transport: Transport,
        /// IP packets held until now, in the order they came.
        held: Vec<Vec<u8>>,
    },
    /// The whole packet: treat it as if it had arrived like this. An IPv6 packet has a Fragment header with its
    /// identification and offset 0, an IPv4 packet has DF clear, so both are fragmented again on their way out.
    Whole(Vec<u8>),
}

/// Names a packet in pieces. Units keep apart what arrives on different networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// RFC 8200 section 4.5.
    Six {
        unit: usize,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        id: u32,
    },
    /// RFC 791 section 3.2.
    Four {
        unit: usize,
        src: Ipv4Addr,
        dst: Ipv4Addr,
        id: u16,
        protocol: u8,
    },
}

/// Whose packets are counted together: an IPv4 address or an IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    Six(u64),
    Four(Ipv4Addr),
}

impl Key {
    fn source(&self) -> Source {
        match self {
            Self::Six { src, .. } => Source::Six((u128::from(*src) >> 64) as u64),
            Self::Four { src, .. } => Source::Four(*src),
        }
    }
}

/// A fragment, whichever the family.
struct Piece<'a> {
    bytes: &'a [u8],
    payload_at: usize,
    offset: u16,
    end: u32,
    more: bool,
    transport: Transport,
}

/// A fragment in the store.
struct Held {
    bytes: Vec<u8>,
    payload_at: usize,
    offset: u16,
}

/// A packet in pieces.
struct Assembly {
    key: Key,
    arrived: Time,
    /// `[offset, end)` of every fragment seen, by rising offset.
    seen: Vec<(u16, u32)>,
    /// Sum of the lengths in `seen`.
    covered: u32,
    /// Length of the packet, known from the fragment without More Fragments.
    length: Option<u32>,
    /// Transport header of the first fragment.
    first: Option<Transport>,
    held: Vec<Held>,
    cost: usize,
    /// Fragments overlapped: nothing of this packet is forwarded any more.
    poisoned: bool,
    /// Neighbours in the list by age.
    older: u32,
    newer: u32,
}

/// No neighbour in a list.
const NONE: u32 = u32::MAX;

/// See the module documentation.
pub struct Store {
    limits: Limits,
    timeout: u64,
    map: HashMap<Key, u32, Keyed>,
    per_source: HashMap<Source, u16, Keyed>,
    slots: Vec<Option<Assembly>>,
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
    bytes: usize,
    /// Fragments in all of `held`.
    holding: usize,
    /// See [`Store::gone`].
    gone: usize,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("packets", &self.map.len())
            .field("bytes", &self.bytes)
            .finish()
    }
}

impl Store {
    /// An empty store; `keyed` keeps clients from aiming at its buckets.
    pub fn new(limits: &Limits, timeout: Duration, keyed: &Keyed) -> Self {
        Self {
            limits: *limits,
            timeout: nanoseconds(timeout),
            map: HashMap::with_hasher(keyed.clone()),
            per_source: HashMap::with_hasher(keyed.clone()),
            slots: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            newest: NONE,
            bytes: 0,
            holding: 0,
            gone: 0,
        }
    }

    /// New limits and time; they hold from the next fragment on, for packets under way, too.
    pub fn configure(&mut self, limits: &Limits, timeout: Duration) {
        self.limits = *limits;
        self.timeout = nanoseconds(timeout);
    }

    /// Packets in pieces.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Fragments that are held.
    pub fn holding(&self) -> usize {
        self.holding
    }

    /// Fragments held until the last insert that are not any more, and were not released: those within the whole packet,
    /// or, when the insert was refused, those that ended for the same reason.
    pub fn gone(&self) -> usize {
        self.gone
    }

    /// Bytes counted against [`Limits::fragment_bytes`].
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// When [`Store::advance`] has something to do next.
    pub fn deadline(&self) -> Option<Time> {
        self.slot(self.oldest)
            .map(|oldest| oldest.arrived.saturating_add(self.timeout))
    }

    /// Forgets the packets whose time is over; returns the number of fragments that were held and go with them
    /// (`FragmentTimeout` each).
    pub fn advance(&mut self, now: Time) -> u64 {
        let mut lost = 0;
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            if let Some(assembly) = self.remove(self.oldest) {
                lost += assembly.held.len() as u64;
            }
        }
        lost
    }

    /// Takes an IPv6 fragment that arrived on `unit`; [`Packet6::is_part`] is true for it.
    ///
    /// # Errors
    /// `FragmentOverlap`: it overlaps others or repeats one. `FragmentLimit`: a bound is reached. `BadHeader`: no
    /// fragment, or the whole packet would be too long.
    pub fn insert6(&mut self, now: Time, unit: usize, packet: &Packet6<'_>) -> Result<Outcome, Reason> {
        let fragment = packet.fragment.filter(Fragment::is_part).ok_or(Reason::BadHeader)?;
        let piece = Piece::new(packet.bytes, packet.payload_at, fragment, packet.transport);
        let key = Key::Six {
            unit,
            src: packet.src,
            dst: packet.dst,
            id: fragment.id,
        };
        self.insert(now, key, &piece)
    }

    /// Takes an IPv4 fragment that arrived on `unit`; [`Packet4::is_part`] is true for it.
    ///
    /// # Errors
    /// As [`Store::insert6`].
    pub fn insert4(&mut self, now: Time, unit: usize, packet: &Packet4<'_>) -> Result<Outcome, Reason> {
        let fragment = packet.fragment.ok_or(Reason::BadHeader)?;
        let piece = Piece::new(packet.bytes, packet.payload_at, fragment, packet.transport);
        let (id, protocol) = (packet.ident, packet.protocol);
        let key = Key::Four {
            unit,
            src: packet.src,
            dst: packet.dst,
            id,
            protocol,
        };
        self.insert(now, key, &piece)
    }

    fn insert(&mut self, now: Time, key: Key, piece: &Piece<'_>) -> Result<Outcome, Reason> {
        self.gone = 0;
        let index = match self.map.get(&key) {
            Some(&index) => index,
            None => self.create(now, key)?,
        };
        let result = self.place(index, piece);
        // A refused fragment leaves no packet behind that has nothing.
        if result.is_err() && self.slot(index).is_some_and(|assembly| assembly.seen.is_empty()) {
            self.remove(index);
        }
        result
    }

    fn place(&mut self, index: u32, piece: &Piece<'_>) -> Result<Outcome, Reason> {
        let (limits, bytes) = (self.limits, self.bytes);
        let Some(assembly) = self.slots.get_mut(index as usize).and_then(Option::as_mut) else {
            return Err(Reason::FragmentLimit);
        };
        if assembly.poisoned {
            return Err(Reason::FragmentOverlap);
        }
        let at = match assembly.fits(piece) {
            Fit::At(at) => at,
            Fit::Duplicate => return Err(Reason::FragmentOverlap),
            Fit::Overlap => {
                assembly.poisoned = true;
                self.gone = std::mem::take(&mut assembly.held).len();
                self.holding -= self.gone;
                let kept = ENTRY_COST + PIECE_COST * assembly.seen.len();
                self.bytes -= assembly.cost - kept;
                assembly.cost = kept;
                return Err(Reason::FragmentOverlap);
            }
        };
        if assembly.seen.len() >= usize::from(limits.fragments_per_packet) {
            return Err(Reason::FragmentLimit);
        }
        // The first fragment alone says what the packet is: the next header of the others is not looked at
        // (RFC 8200 section 4.5).
        let first = if piece.offset == 0 {
            Some(piece.transport)
        } else {
            assembly.first
        };
        let whole = first.is_some_and(needs_whole);
        let complete = assembly.covered + (piece.end - u32::from(piece.offset));
        let length = if piece.more { assembly.length } else { Some(piece.end) };
        let complete = length == Some(complete);
        // Held unless it, or the packet it completes, goes on at once.
        let hold = if whole { !complete } else { first.is_none() };
        let cost = PIECE_COST + if hold { piece.bytes.len() } else { 0 };
        if bytes + cost > limits.fragment_bytes {
            return Err(Reason::FragmentLimit);
        }
        self.bytes += cost;
        assembly.cost += cost;
        assembly.seen.insert(at, (piece.offset, piece.end));
        assembly.covered += piece.end - u32::from(piece.offset);
        assembly.length = length;
        assembly.first = first;
        if hold {
            let (bytes, payload_at) = (piece.bytes.to_vec(), piece.payload_at);
            assembly.held.push(Held {
                bytes,
                payload_at,
                offset: piece.offset,
            });
            self.holding += 1;
            return Ok(Outcome::Held);
        }
        if whole {
            let Some(assembly) = self.remove(index) else {
                return Err(Reason::FragmentLimit);
            };
            self.gone = assembly.held.len();
            return assembly.whole(piece).map(Outcome::Whole).ok_or(Reason::BadHeader);
        }
        let Some(transport) = first else {
            return Ok(Outcome::Held);
        };
        let held = std::mem::take(&mut assembly.held);
        self.holding -= held.len();
        let given_back = held.iter().map(|held| held.bytes.len()).sum::<usize>();
        assembly.cost -= given_back;
        self.bytes -= given_back;
        if complete {
            self.remove(index);
        }
        Ok(Outcome::Release {
            transport,
            held: held.into_iter().map(|held| held.bytes).collect(),
        })
    }

    /// Makes an entry for a packet, as the newest.
    fn create(&mut self, now: Time, key: Key) -> Result<u32, Reason> {
        if self.bytes + ENTRY_COST > self.limits.fragment_bytes {
            return Err(Reason::FragmentLimit);
        }
        let count = self.per_source.get(&key.source()).copied().unwrap_or(0);
        if count >= self.limits.fragmented_packets_per_source {
            return Err(Reason::FragmentLimit);
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                // The byte limit keeps this far below 2^32.
                let index = u32::try_from(self.slots.len()).map_err(|_| Reason::FragmentLimit)?;
                self.slots.push(None);
                index
            }
        };
        self.per_source.insert(key.source(), count + 1);
        self.map.insert(key, index);
        self.slots[index as usize] = Some(Assembly {
            key,
            arrived: now,
            seen: Vec::new(),
            covered: 0,
            length: None,
            first: None,
            held: Vec::new(),
            cost: ENTRY_COST,
            poisoned: false,
            older: self.newest,
            newer: NONE,
        });
        self.bytes += ENTRY_COST;
        match self.slot_mut(self.newest) {
            Some(newest) => newest.newer = index,
            None => self.oldest = index,
        }
        self.newest = index;
        Ok(index)
    }

    /// Takes an entry out of all lists.
    fn remove(&mut self, index: u32) -> Option<Assembly> {
        let assembly = self.slots.get_mut(index as usize)?.take()?;
        self.free.push(index);
        self.map.remove(&assembly.key);
        if let MapEntry::Occupied(mut count) = self.per_source.entry(assembly.key.source()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        self.bytes -= assembly.cost;
        self.holding -= assembly.held.len();
        match self.slot_mut(assembly.older) {
            Some(older) => older.newer = assembly.newer,
            None => self.oldest = assembly.newer,
        }
        match self.slot_mut(assembly.newer) {
            Some(newer) => newer.older = assembly.older,
            None => self.newest = assembly.older,
        }
        Some(assembly)
    }

    fn slot(&self, index: u32) -> Option<&Assembly> {
        self.slots.get(index as usize)?.as_ref()
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Assembly> {
        self.slots.get_mut(index as usize)?.as_mut()
    }
}

impl<'a> Piece<'a> {
    fn new(bytes: &'a [u8], payload_at: usize, fragment: Fragment, transport: Transport) -> Self {
        let end = u32::from(fragment.offset) + (bytes.len() - payload_at) as u32;
        Self {
            bytes,
            payload_at,
            offset: fragment.offset,
            end,
            more: fragment.more,
            transport,
        }
    }
}

/// How a fragment goes with those seen.
enum Fit {
    /// Its place in [`Assembly::seen`].
    At(usize),
    /// Seen before.
    Duplicate,
    /// Overlaps, or ends elsewhere than the packet does.
    Overlap,
}

impl Assembly {
    fn fits(&self, piece: &Piece<'_>) -> Fit {
        let at = self.seen.partition_point(|&(offset, _)| offset < piece.offset);
        let (before, after) = (at.checked_sub(1).map(|before| self.seen[before]), self.seen.get(at));
        let duplicate = after == Some(&(piece.offset, piece.end));
        let known_last = self.length == Some(piece.end);
        if duplicate && known_last != piece.more {
            return Fit::Duplicate;
        }
        let overlaps = before.is_some_and(|(_, end)| end > u32::from(piece.offset))
            || after.is_some_and(|&(offset, _)| u32::from(offset) < piece.end);
        let past_end = self
            .length
            .is_some_and(|length| piece.end > length || (!piece.more && piece.end != length));
        let more_behind = !piece.more && self.seen.last().is_some_and(|&(_, end)| end > piece.end);
        if overlaps || past_end || more_behind {
            Fit::Overlap
        } else {
            Fit::At(at)
        }
    }

    /// The whole packet, with `last` as the fragment that completed it; `None` if it is longer than a packet can be.
    fn whole(&self, last: &Piece<'_>) -> Option<Vec<u8>> {
        let length = self.covered as usize;
        let first = self.held.iter().find(|held| held.offset == 0);
        let (head, payload_at) = first.map_or((last.bytes, last.payload_at), |held| (&held.bytes[..], held.payload_at));
        let mut packet;
        let header = match self.key {
            Key::Six { src, dst, id, .. } => {
                let payload = u16::try_from(FRAGMENT_HEADER + length).ok()?;
                packet = Vec::with_capacity(IPV6_HEADER + usize::from(payload));
                let traffic_class = head[0] << 4 | head[1] >> 4;
                packet.extend_from_slice(&build6(traffic_class, payload, proto::FRAGMENT, head[7], src, dst));
                packet.extend_from_slice(&build_fragment(head[payload_at - FRAGMENT_HEADER], 0, false, id));
                IPV6_HEADER + FRAGMENT_HEADER
            }
            Key::Four {
                src, dst, id, protocol, ..
            } => {
                let total = u16::try_from(IPV4_HEADER + length).ok()?;
                packet = Vec::with_capacity(usize::from(total));
                packet.extend_from_slice(&build4(head[1], total, id, 0, head[8], protocol, src, dst));
                IPV4_HEADER
            }
        };
        packet.resize(header + length, 0);
        let mut copy = |offset: u16, payload: &[u8]| {
            let at = header + usize::from(offset);
            packet[at..at + payload.len()].copy_from_slice(payload);
        };
        for held in &self.held {
            copy(held.offset, &held.bytes[held.payload_at..]);
        }
        copy(last.offset, &last.bytes[last.payload_at..]);
        Some(packet)
    }
}

/// Whether a packet that begins like this can only be translated as a whole: the checksum of ICMPv6 covers the length,
/// and the one of UDP must be made from all data where there is none (RFC 6146 section 3.4).
const fn needs_whole(first: Transport) -> bool {
    matches!(
        first,
        Transport::Echo { .. }
            | Transport::IcmpError { .. }
            | Transport::IcmpOther { .. }
            | Transport::Udp { checksum: 0, .. }
    )
}

/// A duration in the unit of [`Time`].
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
