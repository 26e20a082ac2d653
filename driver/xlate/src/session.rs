//! Session tables (RFC 6146 section 3.2): who talks to whom through which binding.
//!
//! A session holds what its binding does not: the server, the prefix, the state, the time of its last packet. It is
//! found by what an IPv6 packet carries, or by its binding and the server, which is what keeps reverse tuples unique. The
//! sessions of a binding form a list; the first few are found by walking it, those beyond by a second index.

use std::net::Ipv4Addr;

use hashbrown::HashTable;
use nat64_layout::{Direction, Protocol};

use crate::bib::{Bib, Bibs, NONE};
use crate::effect::{SessionId, Time};
use crate::keyed::Keyed;
use crate::slab::Slab;
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
    fn bytes(&self) -> [u8; 29] {
        let mut bytes = [0; 29];
        bytes[0] = self.protocol as u8;
        bytes[1..3].copy_from_slice(&self.unit.to_le_bytes());
        bytes[3..5].copy_from_slice(&self.prefix.to_le_bytes());
        bytes[5..21].copy_from_slice(&self.client.0.octets());
        bytes[21..23].copy_from_slice(&self.client.1.to_le_bytes());
        bytes[23..27].copy_from_slice(&self.remote.0.octets());
        bytes[27..29].copy_from_slice(&self.remote.1.to_le_bytes());
        bytes
    }
}

fn remote_bytes(bib: u32, remote: (Ipv4Addr, u16)) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[..4].copy_from_slice(&bib.to_le_bytes());
    bytes[4..8].copy_from_slice(&remote.0.octets());
    bytes[8..].copy_from_slice(&remote.1.to_le_bytes());
    bytes
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

    /// Sets or clears one.
    pub fn set(&mut self, flag: Self, value: bool) {
        self.0 = if value { self.0 | flag.0 } else { self.0 & !flag.0 };
    }

    /// Whether one is set.
    pub const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }
}

/// Sessions of a binding that are found by walking its list; those beyond are indexed by their server. Most bindings have
/// one or two.
const WALKED: u32 = 4;

/// A session.
#[derive(Clone, Debug)]
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
    pub(crate) next: u32,
    pub(crate) previous: u32,
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
    /// Times each place of the slab was emptied.
    generations: Vec<u32>,
    six: HashTable<u32>,
    /// By binding and server: the sessions that are [`Flags::INDEXED`].
    remote: HashTable<u32>,
    keys: Keyed,
}

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
    /// No session.
    pub fn new(keys: Keyed) -> Self {
        Self {
            slab: Slab::default(),
            generations: Vec::new(),
            six: HashTable::new(),
            remote: HashTable::new(),
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
    pub fn find6(&self, bibs: &Bibs, tuple: &Tuple6) -> Option<u32> {
        self.six
            .find(self.keys.hash(&tuple.bytes()), |&slot| {
                self.slab.get(slot).is_some_and(|session| {
                    session.remote == tuple.remote && tuple6(bibs, session).is_some_and(|other| other == *tuple)
                })
            })
            .copied()
    }

    /// The session of a binding with a server.
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
            slot = session.next;
        }
        None
    }

    fn find_indexed(&self, bib: u32, remote: (Ipv4Addr, u16)) -> Option<u32> {
        self.remote
            .find(self.keys.hash(&remote_bytes(bib, remote)), |&slot| {
                self.slab
                    .get(slot)
                    .is_some_and(|session| session.bib == bib && session.remote == remote)
            })
            .copied()
    }

    /// Adds a session whose tuples do not exist yet (the caller looked), to its binding's list: the first few at the
    /// head, the indexed ones behind them.
    pub fn insert(&mut self, bibs: &mut Bibs, mut session: Session) -> Option<u32> {
        let tuple = tuple6(bibs, &session)?;
        let (bib, remote) = (session.bib, session.remote);
        let entry = bibs.get_mut(bib)?;
        let indexed = entry.sessions >= WALKED;
        session.flags.set(Flags::INDEXED, indexed);
        session.previous = NONE;
        session.next = entry.first;
        // At most WALKED steps: more were never added without an index.
        while let Some(other) = self
            .slab
            .get(session.next)
            .filter(|other| indexed && !other.flags.has(Flags::INDEXED))
        {
            session.previous = session.next;
            session.next = other.next;
        }
        entry.sessions += 1;
        entry.inbound += u32::from(session.inbound());
        let (before, after) = (session.previous, session.next);
        let slot = self.slab.insert(session);
        if self.generations.len() <= slot as usize {
            self.generations.push(0);
        }
        match self.slab.get_mut(before) {
            Some(before) => before.next = slot,
            None => entry.first = slot,
        }
        if let Some(after) = self.slab.get_mut(after) {
            after.previous = slot;
        }
        let (slab, keys, bibs) = (&self.slab, &self.keys, &*bibs);
        // Every indexed slot is in use, so the zeros are never taken.
        self.six.insert_unique(keys.hash(&tuple.bytes()), slot, |&s| {
            slab.get(s)
                .and_then(|other| tuple6(bibs, other))
                .map_or(0, |t| keys.hash(&t.bytes()))
        });
        if indexed {
            self.remote
                .insert_unique(keys.hash(&remote_bytes(bib, remote)), slot, |&s| {
                    slab.get(s)
                        .map_or(0, |other| keys.hash(&remote_bytes(other.bib, other.remote)))
                });
        }
        Some(slot)
    }

    /// Takes a session out; its binding, which is still there, loses it from its list.
    pub fn remove(&mut self, bibs: &mut Bibs, slot: u32) -> Option<Session> {
        let tuple = tuple6(bibs, self.slab.get(slot)?)?;
        let session = self.slab.remove(slot)?;
        if let Some(generation) = self.generations.get_mut(slot as usize) {
            *generation = generation.wrapping_add(1);
        }
        if let Ok(entry) = self.six.find_entry(self.keys.hash(&tuple.bytes()), |&s| s == slot) {
            entry.remove();
        }
        if session.flags.has(Flags::INDEXED) {
            let hash = self.keys.hash(&remote_bytes(session.bib, session.remote));
            if let Ok(entry) = self.remote.find_entry(hash, |&s| s == slot) {
                entry.remove();
            }
        }
        if let Some(after) = self.slab.get_mut(session.next) {
            after.previous = session.previous;
        }
        if let Some(before) = self.slab.get_mut(session.previous) {
            before.next = session.next;
        }
        if let Some(bib) = bibs.get_mut(session.bib) {
            bib.sessions -= 1;
            bib.inbound -= u32::from(session.inbound());
            if bib.first == slot {
                bib.first = session.next;
            }
        }
        Some(session)
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
        self.generations.get(slot as usize).copied().unwrap_or(0)
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
        let (slab, keys) = (&self.slab, &self.keys);
        let six = |slot: u32| {
            slab.get(slot)
                .and_then(|other| tuple6(bibs, other))
                .map_or(0, |t| keys.hash(&t.bytes()))
        };
        for (slot, _) in slab.iter() {
            self.six.insert_unique(six(slot), slot, |&s| six(s));
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
