//! Which neighbour has to go when the table is full: the one that nothing was heard of for the longest time.
//!
//! ```text
//!   quiet:  (heard, key) (heard, key) ...      neighbours that may go, the longest silent first
//! ```
//!
//! A frame moves nothing in that order, only [`Entry::heard`](super::Entry) is written: its sender takes its true place when it
//! comes to the front. So a packet costs no search, and an eviction as many as there were neighbours heard of meanwhile,
//! each of them once.
//!
//! Not in the order, and never evicted: neighbours that a card uses, fixed ones, gateways (which answer for everybody and are heard of
//! by nothing but our requests), and those that are being looked for, which end by themselves.

use super::{Key, Neighbours, State, ENTRIES};

impl Neighbours {
    /// Gives a neighbour its place among those that may go, or takes it away, after anything that decides about it changed.
    pub(super) fn rank(&mut self, key: Key) {
        let gateway = self.is_gateway(key);
        let Some(entry) = self.table.get_mut(&key) else { return };
        let may_go = matches!(entry.state, State::Known { .. }) && entry.pins == 0 && !entry.fixed && !gateway;
        let place = may_go.then_some(entry.heard);
        let old = std::mem::replace(&mut entry.quiet, place);
        if old != place {
            if let Some(old) = old {
                self.quiet.remove(&(old, key));
            }
            if let Some(place) = place {
                self.quiet.insert((place, key));
            }
        }
    }

    /// Room for one more entry; false when everything there has to stay.
    pub(super) fn make_room(&mut self) -> bool {
        while self.table.len() >= ENTRIES {
            let Some(&(place, key)) = self.quiet.first() else {
                return false;
            };
            if self.table.get(&key).is_some_and(|entry| entry.heard > place) {
                self.rank(key);
            } else {
                self.remove(key);
            }
        }
        true
    }

    /// Takes an entry out of the table and of every order.
    pub(super) fn remove(&mut self, key: Key) -> Option<super::Entry> {
        let entry = self.table.remove(&key)?;
        self.timers.remove(&(entry.timer, key));
        if let Some(place) = entry.quiet {
            self.quiet.remove(&(place, key));
        }
        Some(entry)
    }

    /// Whether a unit's packets to far away go there.
    fn is_gateway(&self, key: Key) -> bool {
        self.units.get(key.0).is_some_and(|net| match key.1 {
            std::net::IpAddr::V4(address) => net.gateway4 == Some(address),
            std::net::IpAddr::V6(address) => net.gateway6 == Some(address),
        })
    }
}
