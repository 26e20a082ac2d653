//! A port that was given, and how it goes back.

use std::net::Ipv4Addr;
use std::sync::Arc;

use nat64_layout::Protocol;

use super::{slot, Pool, MAX_ADDRESSES};
use crate::effect::Time;

/// A port of a pool, given back when dropped.
#[derive(Debug)]
pub struct Lease {
    pool: Pool,
    /// In one word, since there is one for every binding: home, protocol, port, number of the address.
    packed: u64,
}

const _: () = assert!(MAX_ADDRESSES <= 1 << NUMBER_BITS && size_of::<Lease>() == 16);

/// A lease that was given back. No lease looks like this: there is no fourth protocol.
const RELEASED: u64 = u64::MAX;
/// Bits of an address number in a lease.
const NUMBER_BITS: u32 = 20;
/// Bits of a port in a lease.
const PORT_BITS: u32 = 16;
/// Bits of a protocol in a lease.
const PROTOCOL_BITS: u32 = 2;

/// No home: also the number of subscribers a pool can serve at once, all a lease has bits for.
pub(super) const NO_HOME: u32 = (1 << (64 - NUMBER_BITS - PORT_BITS - PROTOCOL_BITS)) - 1;

impl Lease {
    pub(super) fn new(pool: &Pool, number: u32, protocol: Protocol, port: u16, home: u32) -> Self {
        let packed = (u64::from(home) << PROTOCOL_BITS | slot(protocol) as u64) << PORT_BITS | u64::from(port);
        Self {
            pool: pool.clone(),
            packed: packed << NUMBER_BITS | u64::from(number),
        }
    }

    const fn number(&self) -> u32 {
        (self.packed & ((1 << NUMBER_BITS) - 1)) as u32
    }

    const fn port(&self) -> u16 {
        (self.packed >> NUMBER_BITS) as u16
    }

    pub(super) const fn protocol(&self) -> Protocol {
        match self.packed >> (NUMBER_BITS + PORT_BITS) & 3 {
            0 => Protocol::ALL[0],
            1 => Protocol::ALL[1],
            _ => Protocol::ALL[2],
        }
    }

    const fn home(&self) -> u32 {
        (self.packed >> (NUMBER_BITS + PORT_BITS + PROTOCOL_BITS)) as u32
    }

    /// Address and port.
    pub fn endpoint(&self) -> (Ipv4Addr, u16) {
        (self.pool.lock().address(self.number()), self.port())
    }

    /// Gives the port back at a known time (the quarantine starts there). Dropping the lease does the same at the
    /// latest time the pool has heard of.
    pub fn release(mut self, now: Time) {
        self.give_back(Some(now));
    }

    /// Gives ports back, each at its time, in order. The pool is locked once for those that follow each other.
    pub(crate) fn release_all(leases: &mut Vec<(Self, Time)>) {
        let mut from = 0;
        while let Some(pool) = leases.get(from).map(|(lease, _)| lease.pool.clone()) {
            let mut state = pool.lock();
            for (lease, at) in &mut leases[from..] {
                if !Arc::ptr_eq(&lease.pool.state, &pool.state) {
                    break;
                }
                state.now = state.now.max(*at);
                state.release(lease.number(), lease.protocol(), lease.port(), lease.home());
                lease.packed = RELEASED;
                from += 1;
            }
        }
        leases.clear();
    }

    #[inline]
    fn give_back(&mut self, now: Option<Time>) {
        if self.packed != RELEASED {
            self.give_back_now(now);
        }
    }

    fn give_back_now(&mut self, now: Option<Time>) {
        let mut state = self.pool.lock();
        state.now = state.now.max(now.unwrap_or(0));
        state.release(self.number(), self.protocol(), self.port(), self.home());
        self.packed = RELEASED;
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        self.give_back(None);
    }
}
