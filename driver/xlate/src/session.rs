//! Session tables (RFC 6146 section 3.2): who talks to whom through which binding.
//!
//! A session holds what its binding does not: the server, the prefix, the state, the time of its last packet. It is
//! found by what an IPv6 packet carries, or by its binding and the server, which is what keeps reverse tuples unique. The
//! sessions of a binding form a list; the first few are found by walking it, those beyond by a second index.

use std::net::Ipv4Addr;

use nat64_layout::{Direction, Protocol};

use crate::bib::{Bib, Bibs, NONE};
use crate::effect::{SessionId, Time};
use crate::index::Index;
use crate::keyed::Keyed;
use crate::slab::{Chunks, Slab};
use crate::tcp::State;

/// What an IPv6 packet of a session carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple6 {
    /// Protocol.
    pub protocol: Protocol,
    /// Unit the client is behind.
    pub unit: u16,
    /// Prefix of the destination, as an index into the policy's.
    pub prefix: u16,
    /// Client.
    pub client: (std::net::Ipv6Addr, u16),
    /// Server; port 0 for ICMP.
    pub remote: (Ipv4Addr, u16),
}

impl Tuple6 {
    #[inline(always)]
    pub(crate) fn hash(&self, keys: &Keyed) -> u64 {
        let ports = (self.client.1, self.remote.1);
        let place = (self.unit, self.prefix, self.protocol);
        // As it lies in memory: any order of bytes serves.
        let client = u128::from_ne_bytes(self.client.0.octets());
        hash_words(keys, client, u32::from_ne_bytes(self.remote.0.octets()), ports, place)
    }
}

/// [`Tuple6::hash`] of client and server as words that lie in memory as the addresses do, their ports, unit, prefix and
/// protocol.
#[inline(always)]
pub(crate) fn hash_words(
    keys: &Keyed,
    client: u128,
    remote: u32,
    ports: (u16, u16),
    (unit, prefix, protocol): (u16, u16, Protocol),
) -> u64 {
    let remote = u64::from(remote) << 32 | u64::from(ports.0) << 16 | u64::from(ports.1);
    let place = protocol as u64 | u64::from(unit) << 8 | u64::from(prefix) << 24;
    keys.words([client, u128::from(place) << 64 | u128::from(remote)])
}

fn hash_remote(keys: &Keyed, bib: u32, remote: (Ipv4Addr, u16)) -> u64 {
    let remote = u128::from(u32::from(remote.0)) << 16 | u128::from(remote.1);
    keys.words([u128::from(bib) << 64 | remote])
}

/// What is true of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(u8);

impl Flags {
    /// A card may carry it: `Install` was pushed and no `Remove` since.
    pub const INSTALLED: Self = Self(1);
    /// An IPv4 packet opened it.
    pub const INBOUND: Self = Self(2);
    /// Server and client are both behind us; no card can carry it.
    pub const HAIRPIN: Self = Self(4);
    /// It lets its server's address in (address-dependent filtering).
    pub const PERMITS: Self = Self(8);
    /// It is found by the index of servers, not by walking the sessions of its binding.
    const INDEXED: Self = Self(16);
    /// Those with which its end is more than that of itself and its binding.
    pub const SPECIAL: Self = Self(Self::INBOUND.0 | Self::PERMITS.0 | Self::INDEXED.0);

    /// Sets or clears one.
    pub fn set(&mut self, flag: Self, value: bool) {
        self.0 = if value { self.0 | flag.0 } else { self.0 & !flag.0 };
    }

    /// Whether it is set; of several, whether any is.
    pub const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }
}

/// Sessions of a binding that are found by walking its list; those beyond are indexed by their server. Most bindings have
/// one or two.
const WALKED: u32 = 4;

/// A session: all that its packets read and write, in one cache line. What only its beginning and end touch is in
/// `Links`.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct Session {
    /// Its binding.
    pub bib: u32,
    /// Server; port 0 for ICMP.
    pub remote: (Ipv4Addr, u16),
    /// Prefix that embeds the server's address, as an index into the policy's.
    pub prefix: u16,
    /// Unit the client is behind.
    pub unit: u16,
    /// Rule term.
    pub term: u16,
    /// State.
    pub state: State,
    pub(crate) flags: Flags,
    /// Probes still to be sent in TRANS.
    pub probes: u8,
    /// `inactivity-timeout` of the application it matched, in seconds; 0: none.
    pub inactivity: u32,
    /// Last packet that refreshed it.
    pub last: Time,
    /// Packets seen here, by direction (those a card carried are counted by the card).
    pub packets: [u64; 2],
    /// Bytes seen here, by direction.
    pub bytes: [u64; 2],
}

const _: () = assert!(size_of::<Session>() == 64);

/// Of each place of the slab: the neighbours of its session in the list of the binding, and the times it was emptied.
#[derive(Clone, Debug)]
struct Links {
    next: u32,
    previous: u32,
    generation: u32,
}

impl Session {
    /// A card may carry it.
    pub fn installed(&self) -> bool {
        self.flags.has(Flags::INSTALLED)
    }

    /// An IPv4 packet opened it.
    pub fn inbound(&self) -> bool {
        self.flags.has(Flags::INBOUND)
    }

    /// Server and client are both behind us; no card can carry it.
    pub fn hairpin(&self) -> bool {
        self.flags.has(Flags::HAIRPIN)
    }

    /// Counts a packet.
    #[inline]
    pub(crate) fn count(&mut self, direction: Direction, bytes: usize) {
        self.packets[direction as usize] += 1;
        self.bytes[direction as usize] += bytes as u64;
    }
}

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    slab: Slab<Session>,
    links: Chunks<Links>,
    six: Index,
    /// By binding and server: the sessions that are [`Flags::INDEXED`].
    remote: Index,
    keys: Keyed,
}

#[inline]
fn tuple6(bibs: &Bibs, session: &Session) -> Option<Tuple6> {
    let bib = bibs.get(session.bib)?;
    Some(Tuple6 {
        protocol: bib.six.protocol,
        unit: session.unit,
        prefix: session.prefix,
        client: bib.six.client,
        remote: session.remote,
    })
}

impl Sessions {
    /// No session; the tables are at their best with up to `most`.
    pub fn new(keys: Keyed, most: usize) -> Self {
        Self {
            slab: Slab::default(),
            links: Chunks::default(),
            six: Index::new(most),
            remote: Index::new(most / 4),
            keys,
        }
    }

    /// Sessions.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// The session of an IPv6 packet.
    #[inline]
    pub fn find6(&self, bibs: &Bibs, tuple: &Tuple6) -> Option<u32> {
        self.find6_hashed(bibs, tuple, tuple.hash(&self.keys))
    }

    /// As [`Sessions::find6`], with the hash of the tuple.
    #[inline]
    pub(crate) fn find6_hashed(&self, bibs: &Bibs, tuple: &Tuple6, hash: u64) -> Option<u32> {
        self.six.find(hash, |slot| self.is6(bibs, slot, tuple))
    }

    /// Whether the session with this number has this tuple.
    #[inline]
    pub(crate) fn is6(&self, bibs: &Bibs, slot: u32, tuple: &Tuple6) -> bool {
        self.slab.get(slot).is_some_and(|session| {
            session.remote == tuple.remote && tuple6(bibs, session).is_some_and(|other| other == *tuple)
        })
    }

    /// The index of the IPv6 tuples.
    #[inline]
    pub(crate) const fn index6(&self) -> &Index {
        &self.six
    }

    /// Asks for a session, without waiting for it.
    #[inline]
    pub(crate) fn prefetch(&self, slot: u32) {
        self.slab.prefetch(slot);
    }

    /// Asks for what the end of a session needs beside itself, without waiting for it.
    #[inline]
    pub(crate) fn prefetch_links(&self, slot: u32) {
        self.links.prefetch(slot);
    }

    /// The session of a binding with a server.
    #[inline]
    pub fn find_remote(&self, bibs: &Bibs, bib: u32, remote: (Ipv4Addr, u16)) -> Option<u32> {
        let mut slot = bibs.get(bib)?.first;
        while let Some(session) = self.slab.get(slot) {
            if session.flags.has(Flags::INDEXED) {
                // So are all behind it.
                return self.find_indexed(bib, remote);
            }
            if session.remote == remote {
                return Some(slot);
            }
            slot = self.next(slot);
        }
        None
    }

    fn find_indexed(&self, bib: u32, remote: (Ipv4Addr, u16)) -> Option<u32> {
        self.remote.find(hash_remote(&self.keys, bib, remote), |slot| {
            self.slab
                .get(slot)
                .is_some_and(|session| session.bib == bib && session.remote == remote)
        })
    }

    /// The session behind one in the list of its binding.
    fn next(&self, slot: u32) -> u32 {
        self.links.get(slot).map_or(NONE, |links| links.next)
    }

    /// Adds a session whose tuples do not exist yet (the caller looked), to its binding's list: the first few at the
    /// head, the indexed ones behind them.
    pub fn insert(&mut self, bibs: &mut Bibs, session: Session) -> Option<u32> {
        let hash = tuple6(bibs, &session)?.hash(&self.keys);
        self.insert_hashed(bibs, session, hash)
    }

    /// As [`Sessions::insert`], with the hash of the IPv6 tuple.
    pub(crate) fn insert_hashed(&mut self, bibs: &mut Bibs, mut session: Session, hash: u64) -> Option<u32> {
        let (bib, remote) = (session.bib, session.remote);
        let entry = bibs.get_mut(bib)?;
        let indexed = entry.sessions >= WALKED;
        session.flags.set(Flags::INDEXED, indexed);
        let (mut before, mut after) = (NONE, entry.first);
        // At most WALKED steps: more were never added without an index.
        while self
            .slab
            .get(after)
            .is_some_and(|other| indexed && !other.flags.has(Flags::INDEXED))
        {
            before = after;
            after = self.next(after);
        }
        entry.sessions += 1;
        entry.inbound += u32::from(session.inbound());
        let slot = self.slab.insert(session);
        match self.links.get_mut(slot) {
            Some(links) => (links.next, links.previous) = (after, before),
            None => self.links.push(Links {
                next: after,
                previous: before,
                generation: 0,
            }),
        }
        match self.links.get_mut(before) {
            Some(before) => before.next = slot,
            None => entry.first = slot,
        }
        if let Some(after) = self.links.get_mut(after) {
            after.previous = slot;
        }
        self.six.insert(hash, slot);
        if indexed {
            self.remote.insert(hash_remote(&self.keys, bib, remote), slot);
        }
        Some(slot)
    }

    /// Takes a session out; its binding, which is still there, loses it from its list.
    pub fn remove(&mut self, bibs: &mut Bibs, slot: u32) -> Option<Session> {
        let session = self.slab.remove(slot)?;
        let found = self.six.remove(slot);
        debug_assert!(found, "session {slot} is indexed by its tuple");
        if session.flags.has(Flags::INDEXED) {
            self.remote.remove(slot);
        }
        let links = self.links.get_mut(slot)?;
        links.generation = links.generation.wrapping_add(1);
        let (before, after) = (links.previous, links.next);
        if let Some(after) = self.links.get_mut(after) {
            after.previous = before;
        }
        if let Some(before) = self.links.get_mut(before) {
            before.next = after;
        }
        if let Some(bib) = bibs.get_mut(session.bib) {
            bib.sessions -= 1;
            bib.inbound -= u32::from(session.inbound());
            if bib.first == slot {
                bib.first = after;
            }
        }
        Some(session)
    }

    /// Takes a session out that is the only one of its binding, which goes with it.
    #[inline(always)]
    pub(crate) fn remove_only(&mut self, slot: u32) {
        self.slab.free(slot, |_| ());
        self.six.remove(slot);
        if let Some(links) = self.links.get_mut(slot) {
            links.generation = links.generation.wrapping_add(1);
        }
    }

    /// The session with this number.
    #[inline]
    pub fn get(&self, slot: u32) -> Option<&Session> {
        self.slab.get(slot)
    }

    /// The session with this number. Binding, server, prefix and unit must stay as they are.
    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Session> {
        self.slab.get_mut(slot)
    }

    /// The name of the session with this number.
    pub fn id(&self, slot: u32) -> SessionId {
        SessionId {
            slot,
            generation: self.generation(slot),
        }
    }

    /// The number of a session that still lives.
    pub fn slot(&self, id: SessionId) -> Option<u32> {
        (self.slab.get(id.slot).is_some() && self.generation(id.slot) == id.generation).then_some(id.slot)
    }

    fn generation(&self, slot: u32) -> u32 {
        self.links.get(slot).map_or(0, |links| links.generation)
    }

    /// Changes sessions, keys included; [`Sessions::index`] must follow.
    pub(crate) fn change_all(&mut self, bibs: &Bibs, mut change: impl FnMut(&mut Session, &Bib)) {
        for session in self.slab.iter_mut() {
            if let Some(bib) = bibs.get(session.bib) {
                change(session, bib);
            }
        }
    }

    /// Indexes all sessions anew by their IPv6 tuples. Bindings and servers are what they were.
    pub(crate) fn index(&mut self, bibs: &Bibs) {
        self.six.clear();
        for (slot, session) in self.slab.iter() {
            if let Some(tuple) = tuple6(bibs, session) {
                self.six.insert(tuple.hash(&self.keys), slot);
            }
        }
    }

    /// Every number of a session is below.
    pub fn places(&self) -> u32 {
        self.slab.places()
    }

    /// All sessions.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Session)> {
        self.slab.iter()
    }
}
