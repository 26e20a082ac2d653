//! Address-and-port pools. What is allocated is a [`Lease`] that gives itself back when it is dropped.
//!
//! ```text
//!  Pool --- addresses: which have a free port (a BitTree per protocol)
//!   |          \--- per address, on first use: a PortMap per protocol, the blocks that are taken
//!   |--- homes: per subscriber the address it was given, its ports, its blocks
//!   \--- quarantine: ports that rest after use, oldest first
//! ```
//!
//! Every choice is made by rank in a bitmap, none by trying: the cost is the same in an empty and in a nearly full
//! pool. Each protocol has its own port space; echo identifiers use the same range as ports.

pub mod bits;
mod blocks;
mod claim;
pub mod deterministic;
mod lease;
pub mod ports;

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nat64_layout::{Protocol, Reason};

use crate::config;
use crate::effect::{Event, Time};
use crate::keyed::{Keyed, Random};
use bits::BitTree;
pub use claim::ClaimError;
pub use lease::Lease;
use lease::NO_HOME;
use ports::{Parity, PortMap};

/// Most addresses a pool may have. A bitmap of all of them is kept, everything else is made on first use.
pub const MAX_ADDRESSES: u64 = 1 << 20;

/// Why no port was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// No address that may be used has a free port.
    #[error("every port of the pool is in use")]
    Exhausted,
    /// The subscriber has all ports or blocks it may have.
    #[error("the subscriber has all ports it may have")]
    SubscriberLimit,
}

impl PoolError {
    /// The reason a packet is dropped for.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Exhausted => Reason::PoolExhausted,
            Self::SubscriberLimit => Reason::SubscriberLimit,
        }
    }
}

/// Who wants a port.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Subscriber prefix, bits past its length zero.
    pub subscriber: u128,
    /// Protocol.
    pub protocol: Protocol,
    /// The client's port.
    pub source_port: u16,
    /// Never leave the address the subscriber was first given (RFC 7857 section 4).
    pub paired: bool,
    /// Deterministic NAT: the address (its number in the pool) and ports computed for the subscriber.
    pub fixed: Option<(u32, u16, u16)>,
}

/// What a pool reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Ports in use now, by protocol (index: protocol number - 1).
    pub in_use: [u64; 3],
    /// Most ports that were in use at once, all protocols together.
    pub peak: u64,
    /// Ports that rest.
    pub quarantined: u64,
    /// Requests refused because nothing was free.
    pub out_of_ports: u64,
    /// Requests refused because the subscriber had its share.
    pub subscriber_limited: u64,
    /// Port blocks in use.
    pub blocks: u64,
    /// Most port blocks that were in use at once.
    pub blocks_peak: u64,
    /// Requests for a new block refused because no address had one free.
    pub out_of_blocks: u64,
    /// Requests refused because all blocks the subscriber may have are full.
    pub blocks_limited: u64,
    /// Requests refused because the computed ports of a deterministic subscriber were all in use.
    pub deterministic_limited: u64,
    /// Requests refused because the address the subscriber is paired with was used up.
    pub paired_exhausted: u64,
    /// Ports given although their parity is not the client's (`preserve-parity`): none of it was free.
    pub parity_changed: u64,
    /// Ports given although they are on the other side of 1,024 than the client's (`preserve-range`).
    pub range_changed: u64,
    /// Subscribers with at least one port.
    pub subscribers: u64,
    /// Addresses of the pool.
    pub addresses: u64,
    /// Addresses with a port in use.
    pub addresses_in_use: u64,
    /// Addresses that get no new mappings.
    pub addresses_draining: u64,
    /// Sessions now that an IPv4 packet opened through mappings of the pool.
    pub inbound: u64,
    /// Such sessions ever.
    pub inbound_opened: u64,
    /// Such sessions refused by `eif-flow-limit`.
    pub inbound_limited: u64,
}

/// A pool. Clones are handles of the same pool.
#[derive(Clone, Debug)]
pub struct Pool {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct Address {
    ports: [Option<Box<PortMap>>; 3],
    in_use: u32,
    /// Block mode: which blocks are free.
    blocks: Option<Box<BitTree>>,
}

/// A block of ports a subscriber holds.
#[derive(Clone, Copy, Debug)]
struct Block {
    address: u32,
    index: u32,
    used: u32,
    since: Time,
}

/// What a subscriber holds.
#[derive(Debug, Default)]
struct Home {
    subscriber: u128,
    address: u32,
    ports: u32,
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct State {
    config: config::Pool,
    /// Number of the first address of each range, and of the end.
    starts: Vec<u32>,
    addresses: Vec<Option<Box<Address>>>,
    /// Addresses with a free port, by protocol; in block mode with a free block (the first tree).
    available: [BitTree; 3],
    draining: Vec<u32>,
    cursor: [u32; 3],
    /// Address and port the last sequential choice ended at.
    port_cursor: [(u32, u16); 3],
    /// Address and block behind the last one given.
    block_cursor: (u32, u32),
    homes: Vec<Home>,
    free_homes: Vec<u32>,
    home_index: HashMap<u128, u32, Keyed>,
    quarantine: VecDeque<(Time, u32, Protocol, u16)>,
    /// How long a port is in there, in nanoseconds.
    rest: Time,
    events: Vec<Event>,
    random: Random,
    now: Time,
    usage: Usage,
}

const fn slot(protocol: Protocol) -> usize {
    protocol as usize - 1
}

impl Pool {
    /// A pool with nothing in use. The configuration was checked: ranges in order and without overlap, at most
    /// [`MAX_ADDRESSES`] addresses, ports in order, blocks that fit.
    pub fn new(config: &config::Pool, keys: &Keyed) -> Self {
        let mut starts = vec![0];
        let mut count = 0u32;
        for &(low, high) in &config.ranges {
            count += u32::from(high) - u32::from(low) + 1;
            starts.push(count);
        }
        let mut state = State {
            starts,
            addresses: (0..count).map(|_| None).collect(),
            available: std::array::from_fn(|_| BitTree::new(count, true)),
            draining: Vec::new(),
            cursor: [0; 3],
            port_cursor: [(0, 0); 3],
            block_cursor: (0, 0),
            homes: Vec::new(),
            free_homes: Vec::new(),
            home_index: HashMap::with_hasher(keys.clone()),
            quarantine: VecDeque::new(),
            rest: config.quarantine.as_nanos() as Time,
            events: Vec::new(),
            random: Random::new(keys.seed_of(&config.name)),
            now: 0,
            usage: Usage {
                addresses: u64::from(count),
                ..Usage::default()
            },
            config: config.clone(),
        };
        state.drain(&config.draining);
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere while the lock was held leaves at worst one port marked as used.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a port.
    ///
    /// # Errors
    /// [`PoolError`]; nothing has changed then but a counter.
    pub fn allocate(&self, now: Time, request: &Request) -> Result<Lease, PoolError> {
        self.allocate_endpoint(now, request).map(|(lease, _)| lease)
    }

    /// As [`Pool::allocate`], and the address and port.
    ///
    /// # Errors
    /// [`PoolError`]; nothing has changed then but a counter.
    pub fn allocate_endpoint(&self, now: Time, request: &Request) -> Result<(Lease, (Ipv4Addr, u16)), PoolError> {
        let mut state = self.lock();
        state.advance(now);
        let full = state.homes.len() >= NO_HOME as usize
            && state.free_homes.is_empty()
            && !state.home_index.contains_key(&request.subscriber);
        let taken = if full {
            Err(PoolError::Exhausted)
        } else {
            state.allocate(request)
        };
        match taken {
            Ok((number, port, home)) => {
                let lease = Lease::new(self, number, request.protocol, port, home);
                Ok((lease, (state.address(number), port)))
            }
            Err(error) => {
                match error {
                    PoolError::Exhausted => state.usage.out_of_ports += 1,
                    PoolError::SubscriberLimit => state.usage.subscriber_limited += 1,
                }
                Err(error)
            }
        }
    }

    /// Takes one special port out of the pool, for a static binding; it counts for no subscriber. `None`: not an
    /// address and port of the pool, or in use.
    pub fn reserve(&self, now: Time, address: Ipv4Addr, port: u16, protocol: Protocol) -> Option<Lease> {
        let mut state = self.lock();
        state.advance(now);
        let number = state.number(address)?;
        // A port that rests is nobody's. Left to rest it would be given to a client later, who could not have it.
        let resting = |&(_, n, p, at): &(Time, u32, Protocol, u16)| (n, p, at) == (number, protocol, port);
        if let Some(at) = state.quarantine.iter().position(resting) {
            state.quarantine.remove(at);
            state.give(number, protocol, port);
        }
        state.take(number, protocol, port).then(|| {
            state.count_up(protocol);
            Lease::new(self, number, protocol, port, NO_HOME)
        })
    }

    /// Whether the address is one of the pool's.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.lock().number(address).is_some()
    }

    /// Counters and levels.
    pub fn usage(&self) -> Usage {
        let state = self.lock();
        Usage {
            quarantined: state.quarantine.len() as u64,
            addresses_draining: state.draining.len() as u64,
            subscribers: state.home_index.len() as u64,
            ..state.usage
        }
    }

    /// Ports in use on one address, all protocols together: what is left of an address that is drained.
    pub fn in_use_on(&self, address: Ipv4Addr) -> u32 {
        let state = self.lock();
        let number = state.number(address);
        number
            .and_then(|n| state.addresses[n as usize].as_ref())
            .map_or(0, |a| a.in_use)
    }

    /// Replaces the list of addresses that get no new mappings.
    pub fn set_draining(&self, addresses: &[Ipv4Addr]) {
        self.lock().drain(addresses);
    }

    /// Moves the log events since the last call to `into`.
    pub fn take_events(&self, into: &mut Vec<Event>) {
        into.append(&mut self.lock().events);
    }
}

impl State {
    fn address(&self, number: u32) -> Ipv4Addr {
        let range = self.starts.partition_point(|&start| start <= number) - 1;
        Ipv4Addr::from(u32::from(self.config.ranges[range].0) + (number - self.starts[range]))
    }

    fn number(&self, address: Ipv4Addr) -> Option<u32> {
        let range = self
            .config
            .ranges
            .iter()
            .position(|&(low, high)| (low..=high).contains(&address))?;
        Some(self.starts[range] + (u32::from(address) - u32::from(self.config.ranges[range].0)))
    }

    fn drain(&mut self, addresses: &[Ipv4Addr]) {
        let mut numbers: Vec<u32> = addresses.iter().filter_map(|&address| self.number(address)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let before = std::mem::replace(&mut self.draining, numbers);
        for number in before {
            self.restore(number);
        }
        for &number in &self.draining {
            for tree in &mut self.available {
                tree.remove(number);
            }
        }
    }

    /// Marks an address as usable for whatever it has free.
    fn restore(&mut self, number: u32) {
        if self.draining.contains(&number) {
            return;
        }
        let address = self.addresses[number as usize].as_deref();
        if self.config.blocks.is_some() {
            if address
                .and_then(|a| a.blocks.as_ref())
                .is_none_or(|blocks| !blocks.is_empty())
            {
                self.available[0].insert(number);
            }
            return;
        }
        for (slot, tree) in self.available.iter_mut().enumerate() {
            if address
                .and_then(|a| a.ports[slot].as_ref())
                .is_none_or(|map| map.free() > 0)
            {
                tree.insert(number);
            }
        }
    }

    /// Time has come this far: ports that have rested long enough are free again.
    fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
        while let Some(&(until, number, protocol, port)) = self.quarantine.front() {
            if until > self.now {
                break;
            }
            self.quarantine.pop_front();
            self.give(number, protocol, port);
        }
    }

    fn map(&mut self, number: u32, protocol: Protocol) -> &mut PortMap {
        let (low, high) = self.config.ports;
        let address = self.addresses[number as usize].get_or_insert_default();
        address.ports[slot(protocol)].get_or_insert_with(|| Box::new(PortMap::new(low, high)))
    }

    fn take(&mut self, number: u32, protocol: Protocol, port: u16) -> bool {
        let map = self.map(number, protocol);
        if !map.take(port) {
            return false;
        }
        if map.free() == 0 && self.config.blocks.is_none() {
            self.available[slot(protocol)].remove(number);
        }
        if let Some(address) = &mut self.addresses[number as usize] {
            self.usage.addresses_in_use += u64::from(address.in_use == 0);
            address.in_use += 1;
        }
        true
    }

    fn give(&mut self, number: u32, protocol: Protocol, port: u16) {
        self.map(number, protocol).give(port);
        self.restore_one(slot(protocol), number);
    }

    /// An address has a free port of a protocol.
    fn restore_one(&mut self, slot: usize, number: u32) {
        if self.config.blocks.is_none() && !self.draining.contains(&number) {
            self.available[slot].insert(number);
        }
    }

    fn count_up(&mut self, protocol: Protocol) {
        self.usage.in_use[slot(protocol)] += 1;
        self.usage.peak = self.usage.peak.max(self.usage.in_use.iter().sum());
    }

    fn allocate(&mut self, request: &Request) -> Result<(u32, u16, u32), PoolError> {
        let known = self.home_index.get(&request.subscriber).copied();
        if let (Some(home), Some(limit)) = (known, self.config.limit_ports_per_address) {
            if self.homes[home as usize].ports >= limit {
                return Err(PoolError::SubscriberLimit);
            }
        }
        let (number, port, block) = if let Some((number, low, high)) = request.fixed {
            // The subscriber has no other address to go to.
            if self.draining.contains(&number) {
                return Err(PoolError::Exhausted);
            }
            let Some(port) = self.port_in(number, low, high, request) else {
                self.usage.deterministic_limited += 1;
                return Err(PoolError::SubscriberLimit);
            };
            (number, port, None)
        } else if self.config.blocks.is_some() {
            return self.allocate_in_block(request, known);
        } else {
            let number = self.choose_address(request, known)?;
            let (low, high) = self.config.ports;
            (
                number,
                self.port_in(number, low, high, request).ok_or(PoolError::Exhausted)?,
                None,
            )
        };
        Ok(self.settle(request, known, number, port, block))
    }

    /// Books a chosen port on the subscriber.
    fn settle(
        &mut self,
        request: &Request,
        known: Option<u32>,
        number: u32,
        port: u16,
        block: Option<usize>,
    ) -> (u32, u16, u32) {
        self.take(number, request.protocol, port);
        self.count_up(request.protocol);
        let home = known.unwrap_or_else(|| self.add_home(request.subscriber, number));
        let entry = &mut self.homes[home as usize];
        entry.ports += 1;
        entry.address = number;
        if let Some(block) = block {
            entry.blocks[block].used += 1;
        }
        (number, port, home)
    }

    fn add_home(&mut self, subscriber: u128, address: u32) -> u32 {
        let home = Home {
            subscriber,
            address,
            ports: 0,
            blocks: Vec::new(),
        };
        let index = match self.free_homes.pop() {
            Some(index) => {
                self.homes[index as usize] = home;
                index
            }
            None => {
                self.homes.push(home);
                self.homes.len() as u32 - 1
            }
        };
        self.home_index.insert(subscriber, index);
        index
    }

    /// RFC 6146 section 3.5.1.1: a client keeps its address; otherwise round robin, or the current address until it
    /// is used up (Junos `sequential`).
    fn choose_address(&mut self, request: &Request, known: Option<u32>) -> Result<u32, PoolError> {
        let slot = slot(request.protocol);
        let home = known.map(|home| self.homes[home as usize].address);
        if let Some(address) = home.filter(|_| request.paired || !self.config.round_robin) {
            if self.available[slot].contains(address) {
                return Ok(address);
            }
            // A client is tied to its address only as long as the address takes new mappings at all.
            if request.paired && !self.draining.contains(&address) {
                self.usage.paired_exhausted += 1;
                return Err(PoolError::Exhausted);
            }
        }
        let from = self.cursor[slot];
        let number = self.available[slot].next_wrapping(from).ok_or(PoolError::Exhausted)?;
        self.cursor[slot] = if self.config.round_robin { number + 1 } else { number };
        Ok(number)
    }

    /// A free port of one address within `low..=high`: the range class and parity of the client's port are kept if
    /// configured and possible.
    fn port_in(&mut self, number: u32, low: u16, high: u16, request: &Request) -> Option<u16> {
        let named = request.protocol != Protocol::Icmp;
        let class = if request.source_port < 1024 {
            (low, high.min(1023))
        } else {
            (low.max(1024), high)
        };
        let keep_range = named && self.config.preserve_range && class.0 <= class.1;
        let keep_parity = named && self.config.preserve_parity;
        let parity = Parity::of(request.source_port);
        if keep_range {
            if keep_parity {
                if let Some(port) = self.pick(number, class, parity, request.protocol) {
                    return Some(port);
                }
            }
            if let Some(port) = self.pick(number, class, Parity::Any, request.protocol) {
                self.usage.parity_changed += u64::from(keep_parity);
                return Some(port);
            }
        }
        let port = keep_parity
            .then(|| self.pick(number, (low, high), parity, request.protocol))
            .flatten()
            .or_else(|| self.pick(number, (low, high), Parity::Any, request.protocol))?;
        self.usage.parity_changed += u64::from(keep_parity && Parity::of(port) != parity);
        self.usage.range_changed += u64::from(named && self.config.preserve_range);
        Some(port)
    }

    /// A free port: one of all with equal chance, or the next one behind the last.
    fn pick(&mut self, number: u32, range: (u16, u16), parity: Parity, protocol: Protocol) -> Option<u16> {
        let (low, high) = range;
        if self.config.random {
            let map = self.map(number, protocol);
            let first = map.rank(u32::from(low), parity);
            let free = map.rank(u32::from(high) + 1, parity).saturating_sub(first);
            if free == 0 {
                return None;
            }
            let n = self.random.below(free);
            return self.map(number, protocol).select(first + n, parity);
        }
        // With round robin the ports of one turn are the same on each address, so each begins at its lowest.
        let (last, next) = self.port_cursor[slot(protocol)];
        let goes_on = last == number && (low..=high).contains(&next) && !self.config.round_robin;
        let cursor = if goes_on { next } else { low };
        let map = self.map(number, protocol);
        let port = map.next(cursor, high, parity).or_else(|| map.next(low, high, parity))?;
        self.port_cursor[slot(protocol)] = (number, port.wrapping_add(1));
        Some(port)
    }

    #[inline]
    fn release(&mut self, number: u32, protocol: Protocol, port: u16, home: u32) {
        let slot = slot(protocol);
        self.usage.in_use[slot] -= 1;
        if let Some(address) = &mut self.addresses[number as usize] {
            address.in_use -= 1;
            self.usage.addresses_in_use -= u64::from(address.in_use == 0);
            match &mut address.ports[slot] {
                Some(map) if self.rest == 0 => {
                    map.give(port);
                    // It is among them already, unless this was its only free port.
                    if !self.available[slot].contains(number) {
                        self.restore_one(slot, number);
                    }
                }
                _ => {
                    let until = self.now.saturating_add(self.rest);
                    self.quarantine.push_back((until, number, protocol, port));
                }
            }
        }
        if home == NO_HOME {
            return;
        }
        if self.config.blocks.is_some() {
            self.release_block(home, number, port);
        }
        let entry = &mut self.homes[home as usize];
        entry.ports -= 1;
        if entry.ports == 0 {
            self.home_index.remove(&entry.subscriber);
            self.free_homes.push(home);
        }
    }
}

#[cfg(test)]
mod tests;
