//! One translator of several that share their pools, each with the sessions of its own clients.
//!
//! ```text
//!   client --keyed hash of its subscriber prefix--> shard --> sessions, bindings, filters, limits of the subscriber
//!   pool address, port, protocol --who has it (kept by the caller)--> the same shard
//! ```
//!
//! Everything a client or subscriber has lies in one shard, so mapping, filtering, pairing, port blocks, deterministic
//! ports and limits per subscriber mean what they mean with one translator. The pools themselves are shared
//! ([`crate::pool::Pool`] is a handle), so that no port is given twice and none lies idle in the wrong shard; they are
//! asked only when a session is made or ends. What counts over all clients (sessions of a service set, set-up rate,
//! errors per second, memory for fragments) is divided by the caller, who gives each shard its share as its limit.
//!
//! A packet to one of our own addresses (hairpin) whose binding another shard has leaves as a `Send` on the unit
//! [`hairpin_unit`]; the caller gives it to the shard that has the binding ([`crate::Nat64::step_middle`]). So does an
//! ICMP error about such a packet, on its way back.

use std::hash::BuildHasher;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use nat64_layout::Protocol;

use crate::keyed::Keyed;

/// Where [`hairpin_unit`]s begin, above every unit.
const HAIRPIN: usize = 1 << 24;

/// The unit of packets between two shards, of a service set.
pub const fn hairpin_unit(service_set: u16) -> usize {
    HAIRPIN + service_set as usize
}

/// The service set of packets between two shards; `None` for other units.
pub const fn hairpin_set(unit: usize) -> Option<u16> {
    match unit.checked_sub(HAIRPIN) {
        Some(set) => Some(set as u16),
        None => None,
    }
}

/// Is told of each binding before a packet leaves through it: protocol, pool address and port.
pub type Announce = Arc<dyn Fn(Protocol, (Ipv4Addr, u16)) + Send + Sync>;

/// Which of several translators one is.
#[derive(Clone)]
pub struct Shard {
    number: u16,
    count: u16,
    length: u8,
    keys: Keyed,
    announce: Option<Announce>,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard")
            .field("number", &self.number)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Shard {
    /// Shard `number` of `count`. All shards have the same seed, and the same prefix length: the shortest subscriber
    /// prefix of all service sets.
    pub fn new(number: u16, count: u16, subscriber_length: u8, seed: u64) -> Self {
        Self {
            number,
            count: count.max(1),
            length: subscriber_length.min(128),
            keys: Keyed::new(seed),
            announce: None,
        }
    }

    /// The same with somebody who is told of bindings.
    pub fn announcing(mut self, announce: Announce) -> Self {
        self.announce = Some(announce);
        self
    }

    pub(crate) fn announce(&self, protocol: Protocol, pool: (Ipv4Addr, u16)) {
        if let Some(announce) = &self.announce {
            announce(protocol, pool);
        }
    }

    /// Its number.
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// How many there are.
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// The shard of a client.
    #[inline]
    pub fn of_client(&self, client: Ipv6Addr) -> u16 {
        let subscriber = u128::from(client)
            .checked_shr(128 - u32::from(self.length))
            .unwrap_or(0);
        self.spread(&subscriber.to_ne_bytes())
    }

    /// A shard for anything else.
    #[inline]
    pub fn spread(&self, bytes: &[u8]) -> u16 {
        if self.count == 1 {
            return 0;
        }
        // The upper half times the count: every shard the same share, without a division.
        (((self.keys.hash_one(bytes) >> 32) * u64::from(self.count)) >> 32) as u16
    }

    /// Whether a client is this shard's.
    pub fn has(&self, client: Ipv6Addr) -> bool {
        self.of_client(client) == self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_is_in_one_shard_and_shards_share_the_load() {
        let shard = Shard::new(0, 7, 64, 1);
        let mut load = [0; 7];
        for i in 0..70_000u128 {
            let client = Ipv6Addr::from(0x2001_0db8 << 96 | i << 64 | 5);
            let other = Ipv6Addr::from(u128::from(client) ^ 0xffff_0000_1234_ffff);
            assert_eq!(shard.of_client(client), shard.of_client(other));
            load[usize::from(shard.of_client(client))] += 1;
        }
        assert!(load.iter().all(|&n| (9_000..11_000).contains(&n)), "{load:?}");
        let other = Shard::new(3, 7, 64, 1);
        let client = Ipv6Addr::from(77 << 64);
        assert_eq!(other.of_client(client), shard.of_client(client), "whoever asks");
        assert_eq!(Shard::new(0, 1, 64, 1).of_client(client), 0);
        for length in [0, 128] {
            assert!(Shard::new(0, 3, length, 1).of_client(client) < 3);
        }
    }

    #[test]
    fn hairpin_units_are_above_all_others() {
        for set in [0, 1, u16::MAX] {
            assert_eq!(hairpin_set(hairpin_unit(set)), Some(set));
        }
        assert_eq!(hairpin_set(65_535), None);
    }
}
