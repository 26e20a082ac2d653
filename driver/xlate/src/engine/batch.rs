//! Several packets at a time, so that they wait for memory together.
//!
//! ```text
//!   for up to 32 packets:
//!     read       bytes and configuration -> keys, hashes        asks for the bucket: one cache line
//!     buckets    hashes -> numbers of sessions and bindings     asks for the records: two cache lines
//!     records    bindings of sessions that have another number  (few)
//!   then, one packet after another: step, which finds all of it in the cache
//! ```
//!
//! With a million sessions each of these lines comes from main memory. `step` waits for one before it knows which one is
//! next, some hundred nanoseconds each; here the lines of all packets of a turn are asked for before the first is waited
//! for. The first three passes only look and what they find is a hint, never an answer: a session that an earlier packet
//! of the batch ends or begins makes them look at the wrong line, and `step` finds out. So the effects are those of `step`
//! to the letter.

use super::plain::Plain;
use super::Nat64;
use crate::bib::NONE;
use crate::effect::{Effects, Time};
use crate::index::Segment;

/// Packets of a turn: more than a core can wait for at once (a dozen or two cache lines), few enough that what the first
/// pass read is still in the first-level cache when the last one uses it.
const TURN: usize = 32;

/// Sessions that a core has in its second-level cache: with so few nothing is waited for, and looking costs more than it
/// saves. Tests set it to nothing, to see what a large table would.
const CACHED: usize = if cfg!(test) { 1 } else { 2048 };

impl Nat64 {
    /// Takes IP packets, each with the unit it arrived on, in the order they arrived: the effects are those of
    /// [`Nat64::step`] for one after the other, at a fraction of the cost where there are many sessions.
    /// [`Effects::packets`] tells which effects are whose.
    ///
    /// Any number of packets may be given, and they may be of any kind, size and direction. Best are some 32 or more at a
    /// time; with one it is `step`. All packets have arrived at `now`: who needs times of their own gives fewer at a time.
    /// Timers do not run in between, so [`Nat64::advance`] comes first, as before `step`.
    ///
    /// ```
    /// # use nat64_xlate::{Config, Effects, Nat64};
    /// # fn send(_: usize, _: &[u8]) {}
    /// # fn poll(_: &mut Vec<(usize, Vec<u8>)>) -> u64 { 0 }
    /// let mut nat = Nat64::new(Config::default(), 1).unwrap();
    /// let mut effects = Effects::new();
    /// let mut arrived: Vec<(usize, Vec<u8>)> = Vec::new();
    /// let now = poll(&mut arrived);
    /// effects.clear();
    /// nat.advance(now, &mut effects);
    /// // ... perform what time alone did, then:
    /// effects.clear();
    /// nat.step_batch(now, arrived.iter().map(|(unit, packet)| (*unit, &packet[..])), &mut effects);
    /// for ((unit, packet), done) in arrived.iter().zip(effects.packets()) {
    ///     for effect in done {
    ///         if let nat64_xlate::Effect::Send { unit, bytes, .. } = effect {
    ///             send(*unit, effects.bytes(bytes));
    ///         }
    ///     }
    /// }
    /// ```
    pub fn step_batch<'a>(
        &mut self,
        now: Time,
        packets: impl IntoIterator<Item = (usize, &'a [u8])>,
        effects: &mut Effects,
    ) {
        let mut packets = packets.into_iter();
        let mut turn = [(0, &[][..], Plain::Other); TURN];
        let cached = self.sessions.len() < CACHED;
        let mut hints = [NONE; TURN];
        loop {
            let mut count = 0;
            if cached {
                for ((place, hint), (unit, packet)) in turn.iter_mut().zip(&mut hints).zip(&mut packets) {
                    (place.0, place.1) = (unit, packet);
                    self.read(unit, packet, &mut place.2);
                    *hint = self.hint(&place.2);
                    count += 1;
                }
            } else {
                for (place, (unit, packet)) in turn.iter_mut().zip(&mut packets) {
                    (place.0, place.1) = (unit, packet);
                    self.read(unit, packet, &mut place.2);
                    if let Some((index, hash)) = self.index(&place.2) {
                        index.prefetch(hash, Segment::first);
                    }
                    count += 1;
                }
                hints = self.look(&turn[..count]);
            }
            let turn = &turn[..count];
            for ((unit, packet, plain), hint) in turn.iter().zip(hints) {
                if !self.carry(now, plain, hint, packet, effects) {
                    self.step_in_full(now, *unit, packet, effects);
                }
                effects.end_packet();
            }
            if count < TURN {
                return;
            }
        }
    }

    /// Brings the lines that the packets of a turn will need into the cache; returns the numbers under which their sessions
    /// or bindings are likely to be found.
    fn look(&self, turn: &[(usize, &[u8], Plain)]) -> [u32; TURN] {
        let mut slots = [NONE; TURN];
        for (slot, (_, _, plain)) in slots.iter_mut().zip(turn) {
            if let Some((index, hash)) = self.index(plain) {
                *slot = index.candidate_in(hash, Segment::first);
                if *slot == NONE {
                    index.prefetch(hash, Segment::second);
                }
                self.prefetch(*slot);
            }
        }
        for (slot, (_, _, plain)) in slots.iter_mut().zip(turn) {
            if let (NONE, Some((index, hash))) = (*slot, self.index(plain)) {
                *slot = index.candidate_in(hash, Segment::second);
                self.prefetch(*slot);
            }
        }
        for (&slot, (_, packet, plain)) in slots.iter().zip(turn) {
            match plain {
                Plain::Six(plain) if slot == NONE => self.prefetch_binding(plain, packet),
                Plain::Six(_) => {
                    if let Some(session) = self.sessions.get(slot).filter(|session| session.bib != slot) {
                        self.bibs.prefetch(session.bib);
                    }
                }
                Plain::Four(_) => {
                    if let Some(bib) = self.bibs.get(slot).filter(|bib| bib.first != slot) {
                        self.sessions.prefetch(bib.first);
                    }
                }
                Plain::Other => {}
            }
        }
        slots
    }
}
