//! Binding information bases (RFC 6146 section 3.1): which IPv4 address and port stand for a client's.
//!
//! One slab for the three protocols, indexed from both sides; the protocol is part of either key, so that TCP, UDP and
//! ICMP have bindings of their own. Each binding heads the list of its sessions. A binding owns the lease of its port:
//! removing it is what gives the port back.

use std::net::{Ipv4Addr, Ipv6Addr};

use nat64_layout::Protocol;

pub(crate) use crate::index::NONE;
use crate::index::{Index, Segment};
use crate::keyed::Keyed;
use crate::pool::Lease;
use crate::slab::Slab;

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
    #[inline]
    pub(crate) fn hash(&self, keys: &Keyed) -> u64 {
        let client = u128::from_ne_bytes(self.client.0.octets());
        let (kind, term, unit) = match self.scope {
            Scope::ServiceSet => (0, 0, 0),
            Scope::Term => (1, self.term, self.unit),
            Scope::Static => (2, 0, 0),
        };
        let (any, address, port) = match self.destination {
            Some((address, port)) => (1, u32::from(address), port),
            None => (0, 0, 0),
        };
        let place = u64::from(self.service_set) | u64::from(term) << 16 | u64::from(unit) << 32;
        let kinds = self.protocol as u64 | kind << 4 | any << 8;
        let ends = u64::from(address) << 32 | u64::from(port) << 16 | u64::from(self.client.1);
        keys.words([client, u128::from(place | kinds << 48) << 64 | u128::from(ends)])
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
    #[inline]
    pub(crate) fn hash(&self, keys: &Keyed) -> u64 {
        let pool = u64::from(u32::from(self.pool.0)) << 16 | u64::from(self.pool.1);
        let kinds = u64::from(self.service_set) | (self.protocol as u64) << 16;
        keys.words([u128::from(kinds) << 64 | u128::from(pool)])
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
    six: Index,
    four: Index,
    keys: Keyed,
    counts: [usize; 3],
}

impl Bibs {
    /// No binding; the tables are at their best with up to `most`.
    pub fn new(keys: Keyed, most: usize) -> Self {
        Self {
            slab: Slab::default(),
            six: Index::new(most),
            four: Index::new(most),
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
        self.find6_hashed(key, key.hash(&self.keys))
    }

    /// As [`Bibs::find6`], with the hash of the key.
    #[inline]
    pub(crate) fn find6_hashed(&self, key: &Key6, hash: u64) -> Option<u32> {
        self.six
            .find(hash, |slot| self.slab.get(slot).is_some_and(|bib| bib.six == *key))
    }

    /// Finds a binding by its IPv4 side.
    #[inline]
    pub fn find4(&self, key: &Key4) -> Option<u32> {
        self.find4_hashed(key, key.hash(&self.keys))
    }

    /// As [`Bibs::find4`], with the hash of the key.
    #[inline]
    pub(crate) fn find4_hashed(&self, key: &Key4, hash: u64) -> Option<u32> {
        self.four.find(hash, |slot| self.is4(slot, key))
    }

    /// Whether the binding with this number has this IPv4 side.
    #[inline]
    pub(crate) fn is4(&self, slot: u32, key: &Key4) -> bool {
        self.slab.get(slot).is_some_and(|bib| bib.four() == *key)
    }

    /// The index of the IPv4 sides.
    #[inline]
    pub(crate) const fn index4(&self) -> &Index {
        &self.four
    }

    /// Asks for a binding, without waiting for it.
    #[inline]
    pub(crate) fn prefetch(&self, slot: u32) {
        self.slab.prefetch(slot);
    }

    /// Asks for the bucket of a key, without waiting for it.
    #[inline]
    pub(crate) fn prefetch6(&self, key: &Key6) {
        self.six.prefetch(key.hash(&self.keys), Segment::first);
    }

    /// Adds a binding neither of whose sides exists yet (the caller looked).
    pub fn insert(&mut self, bib: Bib) -> u32 {
        let six = bib.six.hash(&self.keys);
        self.insert_hashed(bib, six)
    }

    /// As [`Bibs::insert`], with the hash of the IPv6 side.
    pub(crate) fn insert_hashed(&mut self, bib: Bib, six: u64) -> u32 {
        let four = bib.four().hash(&self.keys);
        // Ports are given one after another most of the time: this is where the next binding will be.
        let next = Key4 {
            pool: (bib.pool.0, bib.pool.1.wrapping_add(1)),
            ..bib.four()
        };
        self.four.prefetch(next.hash(&self.keys), Segment::first);
        self.counts[bib.six.protocol as usize - 1] += 1;
        let slot = self.slab.insert(bib);
        self.six.insert(six, slot);
        self.four.insert(four, slot);
        slot
    }

    /// Takes a binding out; its port goes back when the entry is dropped.
    pub fn remove(&mut self, slot: u32) -> Option<Bib> {
        let bib = self.slab.remove(slot)?;
        self.counts[bib.six.protocol as usize - 1] -= 1;
        let found = (self.six.remove(slot), self.four.remove(slot));
        debug_assert_eq!(found, (true, true), "binding {slot} is indexed by its sides");
        Some(bib)
    }

    /// Takes a binding out of which only the lease matters.
    #[inline(always)]
    pub(crate) fn remove_lease(&mut self, slot: u32) -> Option<Lease> {
        let (lease, protocol) = self.slab.free(slot, |bib| (bib.lease.take(), bib.six.protocol))?;
        self.counts[protocol as usize - 1] -= 1;
        self.six.remove(slot);
        self.four.remove(slot);
        lease
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
        for (slot, bib) in self.slab.iter() {
            self.six.insert(bib.six.hash(&self.keys), slot);
            self.four.insert(bib.four().hash(&self.keys), slot);
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
