//! Stored IPv4-side SYNs (RFC 6146 section 3.5.2.2): they wait a few seconds for the SYN of the client.
//!
//! A SYN is stored under its IPv4 tuple, whether its pool port has a binding or not. Their number is bounded, and so is
//! the size of each.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use crate::effect::Time;
use crate::keyed::Keyed;
use crate::slab::Slab;
use crate::wheel::Wheel;

/// A longer SYN is not worth storing: its sender gets at most 548 bytes of it back.
pub(super) const MAX_SYN: usize = 1500;

/// IPv4 tuple of a connection that is asked for from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SynKey {
    pub service_set: u16,
    pub pool: (Ipv4Addr, u16),
    pub remote: (Ipv4Addr, u16),
}

/// A stored SYN.
#[derive(Debug)]
pub(super) struct Syn {
    pub key: SynKey,
    /// The IPv4 packet.
    pub packet: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Syns {
    slab: Slab<Syn>,
    index: HashMap<SynKey, u32, Keyed>,
    wheel: Wheel,
}

impl Syns {
    pub fn new(keys: &Keyed) -> Self {
        Self {
            slab: Slab::default(),
            index: HashMap::with_hasher(keys.clone()),
            wheel: Wheel::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.slab.len()
    }

    pub fn contains(&self, key: &SynKey) -> bool {
        self.index.contains_key(key)
    }

    /// Stores a SYN until `deadline`. `false`: it is too long.
    pub fn insert(&mut self, key: SynKey, packet: &[u8], deadline: Time) -> bool {
        if packet.len() > MAX_SYN {
            return false;
        }
        let slot = self.slab.insert(Syn {
            key,
            packet: packet.to_vec(),
        });
        self.index.insert(key, slot);
        self.wheel.arm(slot, deadline);
        true
    }

    /// Takes a SYN out.
    pub fn remove(&mut self, key: &SynKey) -> Option<Syn> {
        let slot = self.index.remove(key)?;
        self.wheel.disarm(slot);
        self.slab.remove(slot)
    }

    pub fn next_deadline(&self) -> Option<Time> {
        self.wheel.next_deadline()
    }

    /// Takes the SYN out that waited longest, if its time is over.
    pub fn pop(&mut self, until: Time) -> Option<(Syn, Time)> {
        let (slot, deadline) = self.wheel.pop(until)?;
        let syn = self.slab.remove(slot)?;
        self.index.remove(&syn.key);
        Some((syn, deadline))
    }

    pub fn keys(&self) -> Vec<SynKey> {
        self.slab.iter().map(|(_, syn)| syn.key).collect()
    }
}
