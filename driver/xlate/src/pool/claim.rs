//! One special port for one subscriber, and what an allocation would come to.

use super::{Block, Home, Lease, Pool, PoolError, Request, State, Time, NO_HOME};
use crate::pool::bits::BitTree;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::effect::Event;
use crate::pool::ports::Parity;

/// Blocks that are looked at for one with a free port, so that a new subscriber costs no more than this whatever rests.
const BLOCK_TRIES: u32 = 64;

/// Why a port cannot be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Not an address and port of the pool.
    #[error("it is no port of the pool")]
    NotOurs,
    /// Somebody has it, or it rests.
    #[error("the port is in use")]
    InUse,
    /// Its block is another subscriber's, or the subscriber may have no more blocks.
    #[error("the port's block is not the subscriber's and cannot become it")]
    Block,
    /// Deterministic NAT computes other ports for the subscriber.
    #[error("deterministic NAT computes other ports for the subscriber")]
    Deterministic,
    /// The subscriber has all ports it may have.
    #[error("the subscriber has all ports it may have")]
    SubscriberLimit,
}

impl Pool {
    /// Takes one special port for a subscriber, as if [`Pool::allocate`] had chosen it: it counts against the
    /// subscriber's limits, and in block mode its block becomes the subscriber's. Draining does not matter: whoever
    /// claims a port had it before.
    ///
    /// # Errors
    /// [`ClaimError`]; nothing has changed then.
    pub fn claim(&self, now: Time, request: &Request, address: Ipv4Addr, port: u16) -> Result<Lease, ClaimError> {
        let mut state = self.lock();
        state.advance(now);
        let (number, home) = state.claim(request, address, port)?;
        Ok(Lease::new(self, number, request.protocol, port, home))
    }

    /// What [`Pool::allocate`] would answer; nothing changes. When blocks are chosen at random and most of the free ones
    /// have no free port, the answer may be another.
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn check(&self, now: Time, request: &Request) -> Result<(), PoolError> {
        let mut state = self.lock();
        // Time alone frees what has rested; the next allocation would do the same.
        state.advance(now);
        state.check(request)
    }
}

impl State {
    fn claim(&mut self, request: &Request, address: Ipv4Addr, port: u16) -> Result<(u32, u32), ClaimError> {
        let number = self.number(address).ok_or(ClaimError::NotOurs)?;
        let (low, high) = self.config.ports;
        if !(low..=high).contains(&port) {
            return Err(ClaimError::NotOurs);
        }
        let fits = |fixed: (u32, u16, u16)| fixed.0 == number && (fixed.1..=fixed.2).contains(&port);
        if request.fixed.is_some_and(|fixed| !fits(fixed)) {
            return Err(ClaimError::Deterministic);
        }
        let known = self.home_index.get(&request.subscriber).copied();
        let full = self.homes.len() >= NO_HOME as usize && self.free_homes.is_empty() && known.is_none();
        let limit = self.config.limit_ports_per_address.unwrap_or(u32::MAX);
        if full || known.map_or(0, |home| self.homes[home as usize].ports) >= limit {
            return Err(ClaimError::SubscriberLimit);
        }
        if !self.map(number, request.protocol).is_free(port) {
            return Err(ClaimError::InUse);
        }
        let block = match self.config.blocks {
            Some(_) if request.fixed.is_none() => Some(self.claim_block(known, number, port)?),
            _ => None,
        };
        let (held, new) = match block {
            Some((index, true)) => (
                known.map_or(0, |home| self.homes[home as usize].blocks.len()),
                Some(index),
            ),
            Some((at, false)) => (at as usize, None),
            None => (0, None),
        };
        let home = known.unwrap_or_else(|| self.add_home(request.subscriber, number));
        if let Some(index) = new {
            self.open_block(home, number, index);
        }
        self.settle(request, Some(home), number, port, block.map(|_| held));
        Ok((number, home))
    }

    /// The block of a port: its place among the subscriber's (`false`), or its number on the address if it is free
    /// (`true`).
    fn claim_block(&mut self, known: Option<u32>, number: u32, port: u16) -> Result<(u32, bool), ClaimError> {
        let rules = self.config.blocks.ok_or(ClaimError::Block)?;
        let index = (u32::from(port) - u32::from(self.config.ports.0)) / u32::from(rules.block_size).max(1);
        let count = self.blocks_per_address();
        if index >= count {
            return Err(ClaimError::NotOurs);
        }
        let blocks: &[Block] = known.map_or(&[], |home| &self.homes[home as usize].blocks);
        if let Some(at) = blocks.iter().position(|b| b.address == number && b.index == index) {
            return Ok((at as u32, false));
        }
        let address = self.addresses[number as usize].as_deref();
        let free = address
            .and_then(|a| a.blocks.as_ref())
            .is_none_or(|free| free.contains(index));
        if !free || blocks.len() >= usize::from(rules.max_blocks_per_address) {
            return Err(ClaimError::Block);
        }
        Ok((index, true))
    }

    /// Gives a free block to a subscriber.
    fn open_block(&mut self, home: u32, number: u32, index: u32) {
        let count = self.blocks_per_address();
        let address = self.addresses[number as usize].get_or_insert_default();
        let free = address
            .blocks
            .get_or_insert_with(|| Box::new(BitTree::new(count, true)));
        free.remove(index);
        if free.is_empty() {
            self.available[0].remove(number);
        }
        self.usage.blocks += 1;
        self.usage.blocks_peak = self.usage.blocks_peak.max(self.usage.blocks);
        let event = Event::PortBlockAllocated {
            subscriber: Ipv6Addr::from(self.homes[home as usize].subscriber),
            address: self.address(number),
            ports: self.block_ports(index),
        };
        self.events.push(event);
        let since = self.now;
        self.homes[home as usize].blocks.push(Block {
            address: number,
            index,
            used: 0,
            since,
        });
    }

    /// [`State::allocate`] without its effects; the two must ask the same questions in the same order.
    fn check(&self, request: &Request) -> Result<(), PoolError> {
        let home = self
            .home_index
            .get(&request.subscriber)
            .map(|&home| &self.homes[home as usize]);
        if self.homes.len() >= NO_HOME as usize && self.free_homes.is_empty() && home.is_none() {
            return Err(PoolError::Exhausted);
        }
        if let (Some(home), Some(limit)) = (home, self.config.limit_ports_per_address) {
            if home.ports >= limit {
                return Err(PoolError::SubscriberLimit);
            }
        }
        if let Some((number, low, high)) = request.fixed {
            if self.draining.contains(&number) {
                return Err(PoolError::Exhausted);
            }
            return if self.has_free(number, low, high, request) {
                Ok(())
            } else {
                Err(PoolError::SubscriberLimit)
            };
        }
        if self.config.blocks.is_some() {
            return self.check_blocks(request, home);
        }
        self.check_address(super::slot(request.protocol), request, home)
            .map(|_| ())
    }

    fn has_free(&self, number: u32, low: u16, high: u16, request: &Request) -> bool {
        let address = self.addresses[number as usize].as_deref();
        address
            .and_then(|a| a.ports[super::slot(request.protocol)].as_deref())
            .is_none_or(|map| map.free_between(low, high, Parity::Any) > 0)
    }

    fn check_address(&self, slot: usize, request: &Request, home: Option<&Home>) -> Result<u32, PoolError> {
        if let Some(home) = home.filter(|_| request.paired || !self.config.round_robin) {
            if self.available[slot].contains(home.address) {
                return Ok(home.address);
            }
            if request.paired && !self.draining.contains(&home.address) {
                return Err(PoolError::Exhausted);
            }
        }
        self.available[slot]
            .next_wrapping(self.cursor[slot])
            .ok_or(PoolError::Exhausted)
    }

    fn check_blocks(&self, request: &Request, home: Option<&Home>) -> Result<(), PoolError> {
        let Some(rules) = self.config.blocks else {
            return Err(PoolError::Exhausted);
        };
        let blocks: &[Block] = home.map_or(&[], |home| &home.blocks);
        let usable = |block: &&Block| {
            let (low, high) = self.block_ports(block.index);
            !self.draining.contains(&block.address) && self.has_free(block.address, low, high, request)
        };
        if blocks.iter().any(|block| usable(&block)) {
            return Ok(());
        }
        if blocks.len() >= usize::from(rules.max_blocks_per_address) {
            return Err(PoolError::SubscriberLimit);
        }
        let first = self.check_address(0, request, home)?;
        let known = self.home_index.get(&request.subscriber).copied();
        let from = if self.block_cursor.0 == first {
            self.block_cursor.1
        } else {
            0
        };
        let picked = self.pick_block(first, from, request, known);
        picked.map(|_| ()).ok_or(PoolError::Exhausted)
    }

    /// A free block with a free port: of address `first`, at or behind block `from`, or of the addresses behind. A block
    /// may be free and have no port that is: those of its last subscriber rest, or static bindings have them.
    pub(super) fn pick_block(
        &self,
        first: u32,
        from: u32,
        request: &Request,
        known: Option<u32>,
    ) -> Option<(u32, u32)> {
        let tied = request.paired && known.is_some_and(|home| self.homes[home as usize].address == first);
        let count = self.blocks_per_address();
        let (mut number, mut from) = (first, from);
        let mut tries = BLOCK_TRIES;
        loop {
            let free = self.addresses[number as usize]
                .as_deref()
                .and_then(|a| a.blocks.as_ref());
            let mut seen = None;
            while let Some(index) = free.map_or(Some(from % count.max(1)), |free| free.next_wrapping(from)) {
                if seen == Some(index) || tries == 0 {
                    break;
                }
                seen.get_or_insert(index);
                tries -= 1;
                let (low, high) = self.block_ports(index);
                if self.has_free(number, low, high, request) {
                    return Some((number, index));
                }
                from = index + 1;
            }
            number = self.available[0].next_wrapping(number + 1)?;
            if tied || tries == 0 || number == first {
                return None;
            }
            from = 0;
        }
    }
}
