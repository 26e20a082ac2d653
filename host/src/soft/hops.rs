//! Next hops of the software card: the neighbours, shared by all workers, and a small memory of each worker's own.
//!
//! The neighbours ([`nat64_driver::neigh`]) stand behind a lock; what a worker has asked for it remembers for a few
//! seconds, or until any neighbour changes (a generation that all workers read), so that packets of flows take no
//! lock. The memory is direct-mapped and of fixed size: a stranger can make it miss, not grow.

use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nat64_driver::link::Mac;
use nat64_driver::neigh::{Neighbours, Output, UnitNet};
use nat64_xlate::keyed::Keyed;
use nat64_xlate::Time;

use super::ra::Advertiser;

/// Entries of a worker's memory, a power of two.
const ENTRIES: usize = 4096;
/// Nanoseconds an entry is believed: far below the lifetime of a neighbour, which is kept alive by asking.
const BELIEVED: Time = 5_000_000_000;

/// The neighbours of all workers.
#[derive(Debug)]
pub struct SharedNeighbours {
    neighbours: Mutex<Neighbours>,
    advertiser: Mutex<Advertiser>,
    generation: AtomicU64,
}

impl SharedNeighbours {
    /// No neighbours yet.
    pub fn new(units: Vec<UnitNet>) -> Self {
        Self {
            neighbours: Mutex::new(Neighbours::new(units)),
            advertiser: Mutex::new(Advertiser::new(0)),
            generation: AtomicU64::new(1),
        }
    }

    /// The neighbours, for one call; see [`SharedNeighbours::changed`].
    pub fn lock(&self) -> MutexGuard<'_, Neighbours> {
        // What a panic elsewhere left half done is at worst a neighbour that is asked for again.
        self.neighbours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The router advertisements, for one call.
    pub fn advertiser(&self) -> MutexGuard<'_, Advertiser> {
        self.advertiser.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be told what came of a call: when it changed a neighbour, no worker believes what it remembers.
    pub fn changed(&self, out: &Output) {
        if !(out.changed.is_empty() && out.lost.is_empty()) {
            self.forget();
        }
    }

    /// No worker believes what it remembers.
    pub fn forget(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    generation: u64,
    until: Time,
    unit: usize,
    address: IpAddr,
    mac: Mac,
}

/// What one worker remembers: MAC addresses by unit and IP address.
#[derive(Debug)]
pub struct Memory {
    entries: Vec<Entry>,
    keys: Keyed,
}

impl Memory {
    /// Empty; the seed keeps strangers from aiming at entries.
    pub fn new(seed: u64) -> Self {
        let nothing = Entry {
            generation: 0,
            until: 0,
            unit: 0,
            address: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            mac: [0; 6],
        };
        Self {
            entries: vec![nothing; ENTRIES],
            keys: Keyed::new(seed),
        }
    }

    fn index(&self, unit: usize, address: IpAddr) -> usize {
        let mut hasher = self.keys.build_hasher();
        match address {
            IpAddr::V4(a) => hasher.write_u64(u64::from(u32::from(a)) | (unit as u64) << 32),
            IpAddr::V6(a) => {
                let bits = u128::from(a);
                hasher.write_u64(bits as u64);
                hasher.write_u64((bits >> 64) as u64 ^ unit as u64);
            }
        }
        hasher.finish() as usize % ENTRIES
    }

    /// The MAC address last told for this address, if it can still be believed.
    pub fn get(&self, shared: &SharedNeighbours, now: Time, unit: usize, address: IpAddr) -> Option<Mac> {
        let entry = &self.entries[self.index(unit, address)];
        let valid = entry.address == address
            && entry.unit == unit
            && now < entry.until
            && entry.generation == shared.generation();
        valid.then_some(entry.mac)
    }

    /// Remembers a MAC address. The generation is read before the neighbours were asked ([`Memory::begin`]).
    pub fn put(&mut self, generation: u64, now: Time, unit: usize, address: IpAddr, mac: Mac) {
        let index = self.index(unit, address);
        self.entries[index] = Entry {
            generation,
            until: now.saturating_add(BELIEVED),
            unit,
            address,
            mac,
        };
    }

    /// The generation to remember an answer under that is asked for next.
    pub fn begin(shared: &SharedNeighbours) -> u64 {
        shared.generation()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn what_is_remembered_ends_with_time_and_with_any_change() {
        let shared = SharedNeighbours::new(vec![UnitNet::default()]);
        let mut memory = Memory::new(1);
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(memory.get(&shared, 0, 0, address), None);
        memory.put(Memory::begin(&shared), 100, 0, address, [2; 6]);
        assert_eq!(memory.get(&shared, 100, 0, address), Some([2; 6]));
        assert_eq!(memory.get(&shared, 100, 1, address), None, "another unit");
        assert_eq!(memory.get(&shared, 100 + BELIEVED, 0, address), None, "too old");
        shared.changed(&Output::default());
        assert_eq!(memory.get(&shared, 100, 0, address), Some([2; 6]), "nothing changed");
        let changed = Output {
            changed: vec![(0, address)],
            ..Output::default()
        };
        shared.changed(&changed);
        assert_eq!(memory.get(&shared, 100, 0, address), None);
        // An answer from before a change is not believed after it.
        let before = Memory::begin(&shared);
        shared.forget();
        memory.put(before, 100, 0, address, [3; 6]);
        assert_eq!(memory.get(&shared, 100, 0, address), None);
    }
}
