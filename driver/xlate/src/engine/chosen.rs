//! Ending sessions and bindings that a caller chose from a page of the list, and the blocks of deterministic NAT.
//!
//! A caller that must not be held up lists page by page ([`Nat64::session_page`]) and ends what it chose of each page;
//! [`Nat64::clear_sessions`] looks at all sessions at once.

use std::net::{Ipv4Addr, Ipv6Addr};

use nat64_layout::Protocol;

use super::Nat64;
use crate::bib::Key4;
use crate::config::Action;
use crate::effect::{Effects, SessionId, Time};
use crate::pool::deterministic::Deterministic;

/// Names a binding: service set, protocol, pool address and port.
pub type BindingKey = (usize, Protocol, (Ipv4Addr, u16));

/// One subscriber's ports in deterministic NAT (RFC 7422).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeterministicBlock {
    /// Service set.
    pub service_set: usize,
    /// Pool.
    pub pool: usize,
    /// Subscriber: network and length.
    pub subscriber: (Ipv6Addr, u8),
    /// Pool address.
    pub address: Ipv4Addr,
    /// First and last port.
    pub ports: (u16, u16),
}

impl Nat64 {
    /// Ends these sessions; those that have ended already are left out. Returns how many there were.
    pub fn close_sessions(&mut self, ids: &[SessionId], now: Time, effects: &mut Effects) -> usize {
        let mut closed = 0;
        for &id in ids {
            if let Some(slot) = self.sessions.slot(id) {
                self.close(slot, now, effects);
                closed += 1;
            }
        }
        closed
    }

    /// Removes these bindings with their sessions; static ones stay and lose theirs. Returns bindings and sessions.
    pub fn close_bindings(&mut self, keys: &[BindingKey], now: Time, effects: &mut Effects) -> (usize, usize) {
        let mut removed = (0, 0);
        for &(service_set, protocol, pool) in keys {
            let key = Key4 {
                protocol,
                service_set: service_set as u16,
                pool,
            };
            let Some(slot) = self.bibs.find4(&key) else { continue };
            let is_static = self.bibs.get(slot).is_some_and(|bib| bib.is_static());
            removed.1 += self.clear_bib(slot, now, effects);
            removed.0 += usize::from(!is_static);
        }
        removed
    }

    /// Removes a binding (a static one stays) with its sessions; returns how many there were.
    pub(super) fn clear_bib(&mut self, slot: u32, now: Time, effects: &mut Effects) -> usize {
        let mut sessions = 0;
        let first = |nat: &Self| nat.bibs.get(slot).map(|bib| bib.first);
        while let Some(first) = first(self).filter(|&s| self.sessions.get(s).is_some()) {
            self.close(first, now, effects);
            sessions += 1;
        }
        // A mapping timeout would have kept it.
        if self.bibs.get(slot).is_some_and(|bib| !bib.is_static()) {
            self.drop_bib(slot, now, effects);
        }
        sessions
    }

    /// The ports of a client by all deterministic terms that number it.
    pub fn deterministic_of(&self, client: Ipv6Addr) -> Vec<DeterministicBlock> {
        self.deterministic(|map| Some((client, map.forward(client)?)))
    }

    /// The block a pool address and port are in, by all deterministic terms.
    pub fn deterministic_at(&self, pool: (Ipv4Addr, u16)) -> Vec<DeterministicBlock> {
        self.deterministic(|map| {
            let subscriber = map.reverse(pool.0, pool.1)?;
            Some((subscriber, map.forward(subscriber)?))
        })
    }

    fn deterministic(
        &self,
        of: impl Fn(&Deterministic) -> Option<(Ipv6Addr, (u32, u16, u16))>,
    ) -> Vec<DeterministicBlock> {
        let mut blocks = Vec::new();
        for (number, set) in self.policy.sets.iter().enumerate() {
            let config = &self.policy.config.service_sets[number];
            for (term, rules) in set.terms.iter().zip(&config.terms) {
                let (Some(map), Action::Translate(translate)) = (&term.deterministic, &rules.then) else {
                    continue;
                };
                let Some((client, (index, low, high))) = of(map) else {
                    continue;
                };
                let Some(address) = nth_address(&self.policy.config.pools[translate.pool].ranges, index) else {
                    continue;
                };
                let length = config.subscriber_length;
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                let block = DeterministicBlock {
                    service_set: number,
                    pool: translate.pool,
                    subscriber: ((u128::from(client) & mask).into(), length),
                    address,
                    ports: (low, high),
                };
                if !blocks.contains(&block) {
                    blocks.push(block);
                }
            }
        }
        blocks
    }
}

/// The address with a number in a pool.
fn nth_address(ranges: &[(Ipv4Addr, Ipv4Addr)], index: u32) -> Option<Ipv4Addr> {
    let mut rest = index;
    for &(low, high) in ranges {
        let count = u32::from(high) - u32::from(low);
        if rest <= count {
            return Some((u32::from(low) + rest).into());
        }
        rest -= count + 1;
    }
    None
}
