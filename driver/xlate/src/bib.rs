//! Binding information bases (RFC 6146 section 3.1): which IPv4 address and port stand for a client's.
//!
//! One slab for the three protocols, indexed from both sides; the protocol is part of either key, so that TCP, UDP and
//! ICMP have bindings of their own. Each binding heads the list of its sessions. A binding owns the lease of its port:
//! removing it is what gives the port back.

use std::net::{Ipv4Addr, Ipv6Addr};

use hashbrown::HashTable;
use nat64_layout::Protocol;

use crate::keyed::Keyed;
use crate::pool::Lease;
use crate::slab::Slab;

/// No session: the end of a list.
pub(crate) const NONE: u32 = u32::MAX;

/// How far a binding reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All rule terms and units of the service set.
    ServiceSet,
    /// The rule term it was made by and the unit the client is behind.
    Term,
    /// Configured: the whole service set, before any other binding.
    Static,
}

/// The IPv6 side of a binding, with where it was made; two keys are the same if everything is that counts in their scope.
#[derive(Clone, Copy, Debug)]
pub struct Key6 {
    /// Protocol.
    pub protocol: Protocol,
    /// Service set.
    pub service_set: u16,
    /// Client.
    pub client: (Ipv6Addr, u16),
    /// How far it reaches.
    pub scope: Scope,
    /// Rule term it was made by: gives prefix and filtering for sessions from the IPv4 side. Counts in [`Scope::Term`].
    pub term: u16,
    /// Unit the client is behind. Counts in [`Scope::Term`].
    pub unit: u16,
    /// The only server it serves; `None`: endpoint-independent.
    pub destination: Option<(Ipv4Addr, u16)>,
}

impl PartialEq for Key6 {
    fn eq(&self, other: &Self) -> bool {
        self.client == other.client
            && (self.protocol, self.service_set, self.scope) == (other.protocol, other.service_set, other.scope)
            && (self.scope != Scope::Term || (self.term, self.unit) == (other.term, other.unit))
            && self.destination == other.destination
    }
}

impl Eq for Key6 {}

impl Key6 {
    fn bytes(&self) -> [u8; 34] {
        let mut bytes = [0; 34];
        bytes[0] = self.protocol as u8;
        bytes[1..3].copy_from_slice(&self.service_set.to_le_bytes());
        bytes[3..19].copy_from_slice(&self.client.0.octets());
        bytes[19..21].copy_from_slice(&self.client.1.to_le_bytes());
        let (kind, term, unit) = match self.scope {
            Scope::ServiceSet => (0, 0, 0),
            Scope::Term => (1, self.term, self.unit),
            Scope::Static => (2, 0, 0),
        };
        bytes[21] = kind;
        bytes[22..24].copy_from_slice(&term.to_le_bytes());
        bytes[24..26].copy_from_slice(&unit.to_le_bytes());
        if let Some((address, port)) = self.destination {
            bytes[26] = 1;
            bytes[27..31].copy_from_slice(&address.octets());
            bytes[31..33].copy_from_slice(&port.to_le_bytes());
        }
        bytes
    }
}

/// The IPv4 side of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key4 {
    /// Protocol.
    pub protocol: Protocol,
    /// Service set.
    pub service_set: u16,
    /// Pool address and port.
    pub pool: (Ipv4Addr, u16),
}

impl Key4 {
    fn bytes(&self) -> [u8; 9] {
        let mut bytes = [0; 9];
        bytes[0] = self.protocol as u8;
        bytes[1..3].copy_from_slice(&self.service_set.to_le_bytes());
        bytes[3..7].copy_from_slice(&self.pool.0.octets());
        bytes[7..9].copy_from_slice(&self.pool.1.to_le_bytes());
        bytes
    }
}

/// A binding.
#[derive(Debug)]
pub struct Bib {
    /// Its IPv6 side.
    pub six: Key6,
    /// Pool address and port.
    pub pool: (Ipv4Addr, u16),
    /// Sessions.
    pub sessions: u32,
    /// Sessions that an IPv4 packet opened.
    pub inbound: u32,
    /// First of its sessions.
    pub(crate) first: u32,
    /// Owner of the port; `None` for a static binding to an address outside the pools.
    pub(crate) lease: Option<Lease>,
}

impl Bib {
    /// Whether it comes from the configuration and stays without sessions.
    pub fn is_static(&self) -> bool {
        self.six.scope == Scope::Static
    }

    /// Its IPv4 side.
    pub fn four(&self) -> Key4 {
        Key4 {
            protocol: self.six.protocol,
            service_set: self.six.service_set,
            pool: self.pool,
        }
    }
}

/// All bindings.
#[derive(Debug)]
pub struct Bibs {
    slab: Slab<Bib>,
    six: HashTable<u32>,
    four: HashTable<u32>,
    keys: Keyed,
    counts: [usize; 3],
}

impl Bibs {
    /// No binding.
    pub fn new(keys: Keyed) -> Self {
        Self {
            slab: Slab::default(),
            six: HashTable::new(),
            four: HashTable::new(),
            keys,
            counts: [0; 3],
        }
    }

    /// Bindings of one protocol.
    pub fn count(&self, protocol: Protocol) -> usize {
        self.counts[protocol as usize - 1]
    }

    /// Bindings of all protocols.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Finds a binding by its IPv6 side.
    pub fn find6(&self, key: &Key6) -> Option<u32> {
        self.six
            .find(self.keys.hash(&key.bytes()), |&slot| {
                self.slab.get(slot).is_some_and(|b| b.six == *key)
            })
            .copied()
    }

    /// Finds a binding by its IPv4 side.
    pub fn find4(&self, key: &Key4) -> Option<u32> {
        self.four
            .find(self.keys.hash(&key.bytes()), |&slot| {
                self.slab.get(slot).is_some_and(|b| b.four() == *key)
            })
            .copied()
    }

    /// Adds a binding neither of whose sides exists yet (the caller looked).
    pub fn insert(&mut self, bib: Bib) -> u32 {
        let (six, four) = (self.keys.hash(&bib.six.bytes()), self.keys.hash(&bib.four().bytes()));
        self.counts[bib.six.protocol as usize - 1] += 1;
        let slot = self.slab.insert(bib);
        let (slab, keys) = (&self.slab, &self.keys);
        // Every indexed slot is in use, so the zero is never taken.
        self.six
            .insert_unique(six, slot, |&s| slab.get(s).map_or(0, |b| keys.hash(&b.six.bytes())));
        self.four
            .insert_unique(four, slot, |&s| slab.get(s).map_or(0, |b| keys.hash(&b.four().bytes())));
        slot
    }

    /// Takes a binding out; its port goes back when the entry is dropped.
    pub fn remove(&mut self, slot: u32) -> Option<Bib> {
        let bib = self.slab.remove(slot)?;
        self.counts[bib.six.protocol as usize - 1] -= 1;
        for (table, hash) in [
            (&mut self.six, self.keys.hash(&bib.six.bytes())),
            (&mut self.four, self.keys.hash(&bib.four().bytes())),
        ] {
            if let Ok(entry) = table.find_entry(hash, |&s| s == slot) {
                entry.remove();
            }
        }
        Some(bib)
    }

    /// The binding with this number.
    #[inline]
    pub fn get(&self, slot: u32) -> Option<&Bib> {
        self.slab.get(slot)
    }

    /// The binding with this number. Its keys must stay as they are.
    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Bib> {
        self.slab.get_mut(slot)
    }

    /// Changes bindings, keys included, and indexes them anew.
    pub(crate) fn change_all(&mut self, mut change: impl FnMut(&mut Bib)) {
        for bib in self.slab.iter_mut() {
            change(bib);
        }
        self.six.clear();
        self.four.clear();
        let (slab, keys) = (&self.slab, &self.keys);
        for (slot, bib) in slab.iter() {
            let rehash = |s: u32| slab.get(s).map_or(0, |b| keys.hash(&b.six.bytes()));
            self.six
                .insert_unique(keys.hash(&bib.six.bytes()), slot, |&s| rehash(s));
            let rehash = |s: u32| slab.get(s).map_or(0, |b| keys.hash(&b.four().bytes()));
            self.four
                .insert_unique(keys.hash(&bib.four().bytes()), slot, |&s| rehash(s));
        }
    }

    /// Every number of a binding is below.
    pub fn places(&self) -> u32 {
        self.slab.places()
    }

    /// All bindings.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Bib)> {
        self.slab.iter()
    }
}
