//! The card's next-hop table: one entry per unit and MAC address, shared by the sessions that go there.
//!
//! Clients with many addresses have one MAC address, so entries are by MAC address. Who uses an entry is kept by
//! neighbour: when a neighbour moves to another MAC address and is the only user, its entry is rewritten in place and
//! every session follows in one write; otherwise its sessions must be installed anew.

use std::collections::HashMap;

use nat64_layout::tables::{NextHop, NEXT_HOPS, NEXT_HOP_BASE, NEXT_HOP_STRIDE};

use crate::link::Mac;
use crate::neigh::Key;

/// BAR0 offset of next hop `index`.
pub const fn offset(index: u8) -> u32 {
    NEXT_HOP_BASE + index as u32 * NEXT_HOP_STRIDE
}

#[derive(Clone, Debug, Default)]
struct Hop {
    entry: Option<(usize, NextHop)>,
    users: HashMap<Key, u32>,
    freed: u64,
}

/// An entry to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopWrite {
    /// Index in the table.
    pub index: u8,
    /// What to write there.
    pub hop: NextHop,
}

/// The host's picture of the table.
#[derive(Debug)]
pub struct NextHops {
    hops: Vec<Hop>,
    clock: u64,
}

impl Default for NextHops {
    fn default() -> Self {
        Self {
            hops: vec![Hop::default(); NEXT_HOPS],
            clock: 0,
        }
    }
}

impl NextHops {
    /// The entry for packets that `neighbour` takes at `hop`, with one more user; `None` when every entry is in use.
    /// The write is there when the card does not have the entry yet.
    pub fn acquire(&mut self, neighbour: Key, hop: NextHop) -> Option<(u8, Option<HopWrite>)> {
        let wanted = Some((neighbour.0, hop));
        // A freed entry is reused as late as possible: packets in the card's pipeline may still hold its index.
        let found = self.hops.iter().position(|h| h.entry == wanted);
        let free = || {
            (0..NEXT_HOPS)
                .filter(|&i| self.hops[i].users.is_empty())
                .min_by_key(|&i| self.hops[i].freed)
        };
        let index = found.or_else(free)?;
        let slot = &mut self.hops[index];
        let write = (slot.entry != wanted).then_some(HopWrite {
            index: index as u8,
            hop,
        });
        slot.entry = wanted;
        *slot.users.entry(neighbour).or_default() += 1;
        Some((index as u8, write))
    }

    /// Takes one [`NextHops::acquire`] back.
    pub fn release(&mut self, neighbour: Key, index: u8) {
        let Some(slot) = self.hops.get_mut(usize::from(index)) else {
            return;
        };
        if let Some(count) = slot.users.get_mut(&neighbour) {
            *count -= 1;
            if *count == 0 {
                slot.users.remove(&neighbour);
                self.clock += 1;
                slot.freed = self.clock;
            }
        }
    }

    /// The neighbour is at another MAC address now. `Ok`: one write does it for all its sessions (none when it uses no
    /// entry, or is where it was). `Err`: others share its entry, or it uses several; its sessions have to be installed anew.
    pub fn moved(&mut self, neighbour: Key, mac: Mac) -> Result<Option<HopWrite>, SharedHop> {
        let used = |i: &usize| self.hops[*i].users.contains_key(&neighbour);
        let entries: Vec<usize> = (0..NEXT_HOPS).filter(used).collect();
        // It has not moved, or uses no entry: who shares its entries does not matter, and its sessions keep their stamps.
        let there = |&i: &usize| self.hops[i].entry.is_some_and(|(_, hop)| hop.destination == mac);
        if entries.iter().all(there) {
            return Ok(None);
        }
        let [index] = entries[..] else { return Err(SharedHop) };
        if self.hops[index].users.len() > 1 {
            return Err(SharedHop);
        }
        let Some((unit, hop)) = self.hops[index].entry else {
            return Err(SharedHop);
        };
        let hop = NextHop {
            destination: mac,
            ..hop
        };
        if self
            .hops
            .iter()
            .enumerate()
            .any(|(i, h)| i != index && h.entry == Some((unit, hop)))
        {
            return Err(SharedHop);
        }
        self.hops[index].entry = Some((unit, hop));
        Ok(Some(HopWrite {
            index: index as u8,
            hop,
        }))
    }

    /// Entries the card has, used or not: index, unit, entry. They change with writes only: an entry that nobody uses is used
    /// again without one.
    pub fn entries(&self) -> impl Iterator<Item = (u8, usize, NextHop)> + '_ {
        let all = self.hops.iter().zip(0..);
        all.filter_map(|(hop, index)| hop.entry.map(|(unit, entry)| (index, unit, entry)))
    }

    /// What the card has at `index`, of a time before this table: found again by [`NextHops::acquire`].
    pub fn restore(&mut self, index: u8, unit: usize, hop: NextHop) {
        if let Some(slot) = self.hops.get_mut(usize::from(index)) {
            slot.entry = Some((unit, hop));
        }
    }

    /// The entry at `index`, used or not.
    pub fn get(&self, index: u8) -> Option<(usize, NextHop)> {
        self.hops.get(usize::from(index))?.entry
    }

    /// Entries in use.
    pub fn used(&self) -> usize {
        self.hops.iter().filter(|h| !h.users.is_empty()).count()
    }
}

/// The entry cannot be rewritten for one neighbour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedHop;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn hop(last: u8) -> NextHop {
        NextHop {
            destination: [2, 0, 0, 0, 0, last],
            source: [2; 6],
            port: 1,
            vlans: [None; 2],
            qinq: false,
        }
    }

    fn neighbour(last: u8) -> Key {
        (0, IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)))
    }

    #[test]
    fn entries_are_shared_counted_and_reused_last() {
        let mut hops = NextHops::default();
        assert_eq!(
            hops.acquire(neighbour(1), hop(1)),
            Some((0, Some(HopWrite { index: 0, hop: hop(1) })))
        );
        assert_eq!(
            hops.acquire(neighbour(2), hop(1)),
            Some((0, None)),
            "same MAC address, same entry"
        );
        for i in 1..NEXT_HOPS as u8 {
            assert_eq!(hops.acquire(neighbour(i), hop(i + 1)).map(|h| h.0), Some(i));
        }
        assert_eq!((hops.used(), hops.acquire(neighbour(99), hop(99))), (NEXT_HOPS, None));
        hops.release(neighbour(1), 0);
        assert_eq!(hops.acquire(neighbour(99), hop(99)), None, "still has a user");
        hops.release(neighbour(5), 5);
        hops.release(neighbour(2), 0);
        assert_eq!(
            hops.acquire(neighbour(99), hop(99)).map(|h| h.0),
            Some(5),
            "freed first"
        );
        assert_eq!(hops.acquire(neighbour(2), hop(1)), Some((0, None)), "still in the card");
        hops.release(neighbour(77), 3);
        hops.release(neighbour(1), 200);
    }

    #[test]
    fn a_lone_user_moves_in_place_and_others_are_told() {
        let mut hops = NextHops::default();
        assert_eq!(hops.moved(neighbour(1), [9; 6]), Ok(None));
        hops.acquire(neighbour(1), hop(1));
        hops.acquire(neighbour(1), hop(1));
        assert_eq!(
            hops.moved(neighbour(1), hop(7).destination),
            Ok(Some(HopWrite { index: 0, hop: hop(7) }))
        );
        assert_eq!(hops.moved(neighbour(1), hop(7).destination), Ok(None));
        hops.acquire(neighbour(2), hop(8));
        assert_eq!(
            hops.moved(neighbour(1), hop(8).destination),
            Err(SharedHop),
            "another entry has that address"
        );
        hops.acquire(neighbour(3), hop(7));
        assert_eq!(
            hops.moved(neighbour(1), hop(7).destination),
            Ok(None),
            "it is where it was, whoever else is"
        );
        assert_eq!(
            hops.moved(neighbour(1), hop(9).destination),
            Err(SharedHop),
            "another neighbour stays"
        );
    }
}
