//! Questions to a gateway that runs: each takes a time that does not grow with the number of sessions.

use std::net::Ipv4Addr;

use nat64_layout::dump::{self, DumpEntry};
use nat64_layout::{Direction, Reason};
use nat64_xlate::{BindingKey, DrainError, Draining, SessionId, Time};

use super::{Gateway, GatewayError};
use crate::neigh::Neighbours;

/// What the card counted of a session since it was installed there; index is `nat64_layout::Direction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CardShare {
    /// Packets.
    pub packets: [u64; 2],
    /// Bytes.
    pub bytes: [u64; 2],
    /// When the last packet came; `None`: none came. Exact to a tick of the stamps.
    pub last: [Option<Time>; 2],
}

impl CardShare {
    fn new(entry: &DumpEntry, now: Time, time_of: impl Fn(u32) -> Time) -> Self {
        let last = |d: Direction| {
            let seen = entry.packets[d as usize] > 0;
            seen.then(|| time_of(entry.stamp[d as usize]).min(now))
        };
        Self {
            packets: entry.packets.map(u64::from),
            bytes: entry.bytes,
            last: [last(Direction::SixToFour), last(Direction::FourToSix)],
        }
    }
}

impl Gateway {
    /// Neighbours of all units.
    pub fn neighbours(&self) -> &Neighbours {
        &self.neighbours
    }

    /// Units whose router solicitations are kept for [`Gateway::take_solicitations`]; those of others are none of ours.
    pub fn hear_solicitations(&mut self, units: Vec<bool>) {
        self.solicited = units;
    }

    /// Router solicitations since the last call, not checked yet: unit and packet. One of many that came is enough.
    pub fn take_solicitations(&mut self) -> Vec<(usize, Vec<u8>)> {
        std::mem::take(&mut self.solicitations)
    }

    /// Sends a whole frame out of a port.
    ///
    /// # Errors
    /// The card failed.
    pub fn send_frame(&mut self, port: usize, frame: Vec<u8>) -> Result<(), GatewayError> {
        self.transmit(port, frame)?;
        self.flush()
    }

    /// Counts a message that somebody else refused.
    pub fn count_refused(&mut self, reason: Reason) {
        self.count(reason);
    }

    /// Exceptions and events that were not kept so far because nobody took them.
    pub fn not_kept(&self) -> u64 {
        self.stats.not_kept
    }

    /// Ends these sessions; returns how many were there.
    ///
    /// # Errors
    /// The card failed.
    pub fn close_sessions(&mut self, now: Time, ids: &[SessionId]) -> Result<usize, GatewayError> {
        let mut effects = std::mem::take(&mut self.effects);
        effects.clear();
        let count = self.xlate.close_sessions(ids, now, &mut effects);
        let done = self.perform(now, &effects, None);
        self.effects = effects;
        done?;
        self.flush()?;
        Ok(count)
    }

    /// Removes these bindings with their sessions (static ones stay and lose theirs); returns how many of both.
    ///
    /// # Errors
    /// The card failed.
    pub fn close_bindings(&mut self, now: Time, keys: &[BindingKey]) -> Result<(usize, usize), GatewayError> {
        let mut effects = std::mem::take(&mut self.effects);
        effects.clear();
        let count = self.xlate.close_bindings(keys, now, &mut effects);
        let done = self.perform(now, &effects, None);
        self.effects = effects;
        done?;
        self.flush()?;
        Ok(count)
    }

    /// Gives out no new mapping on a pool address ([`nat64_xlate::Nat64::drain`]).
    ///
    /// # Errors
    /// It is not ours.
    pub fn drain(&mut self, address: Ipv4Addr) -> Result<Draining, DrainError> {
        self.xlate.drain(address)
    }

    /// Uses an address for new mappings again.
    ///
    /// # Errors
    /// It is not drained, or the configuration drains it.
    pub fn undrain(&mut self, address: Ipv4Addr) -> Result<Draining, DrainError> {
        self.xlate.undrain(address)
    }

    /// What the card counted of these sessions; those that are not there are left out. Waits for the card's copy.
    ///
    /// # Errors
    /// The card failed.
    pub fn shares(&mut self, now: Time, ids: &[SessionId]) -> Result<Vec<(SessionId, CardShare)>, GatewayError> {
        let Some(card) = &mut self.card else {
            return Ok(Vec::new());
        };
        let entries = card.activity(ids)?;
        let share = |entry: &DumpEntry| CardShare::new(entry, now, |stamp| self.stamp_time(stamp, now));
        Ok(entries.into_iter().map(|(id, entry)| (id, share(&entry))).collect())
    }

    /// The time of the card, on the gateway's clock: that of the first card, which goes on when a card was opened again.
    /// `None`: there is no card now.
    ///
    /// # Errors
    /// The card failed.
    pub fn card_time(&mut self) -> Result<Option<Time>, GatewayError> {
        let Some(card) = &mut self.card else { return Ok(None) };
        Ok(Some(card.time()?.wrapping_add(self.card_offset)))
    }

    /// When a stamp of the card was made, on the gateway's clock.
    pub(super) fn stamp_time(&self, stamp: u32, now: Time) -> Time {
        let of_card = dump::stamp_time_ns(stamp, now.wrapping_sub(self.card_offset));
        of_card.wrapping_add(self.card_offset)
    }
}
