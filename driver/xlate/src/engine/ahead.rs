//! A look at the sessions whose time is over next, so that their ends wait for memory together.
//!
//! ```text
//!   for the next 32 timers:
//!     records    numbers -> sessions, bindings      asks for three cache lines each
//!     buckets    records -> hashes                  asks for three cache lines each, and keeps the hashes
//!   then, one timer after another: what is due, which finds all of it in the cache
//! ```
//!
//! As in [`super::batch`] this is a hint: what a timer does is decided when it comes out of the wheel, in the order of
//! deadlines. Only the hashes are used again; the keys of a session and its binding stay what they are while it lives, and
//! no session begins while time passes.

use super::Nat64;
use crate::effect::Time;
use crate::index::Segment;

/// Timers looked at together.
const TURN: usize = 32;

/// What a session and its binding are found with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hashes {
    /// The session's number.
    pub slot: u32,
    /// Of its IPv6 tuple.
    pub session: u64,
    /// Of its binding's sides: IPv6, IPv4.
    pub bib: (u64, u64),
}

/// The sessions that were looked at.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    known: Vec<Hashes>,
    /// Timers that came out since.
    passed: usize,
    looked: usize,
}

impl Ahead {
    /// Takes the hashes of a session, if they are known.
    #[inline]
    pub fn take(&mut self, slot: u32) -> Option<Hashes> {
        // The next one lies at the end; where a slot of the wheel was not in order it is one of those before.
        let at = self.known.iter().rposition(|hashes| hashes.slot == slot)?;
        Some(self.known.remove(at))
    }

    /// A timer is to come out. Whether those that were looked at are through.
    fn is_over(&mut self) -> bool {
        self.passed += 1;
        self.passed > self.looked
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.known.clear();
        (self.passed, self.looked) = (0, 0);
    }
}

impl Nat64 {
    /// Before a session's timer comes out: looks at the next ones, once those of the last look are through.
    pub(super) fn look_ahead(&mut self, until: Time) {
        if !self.ahead.is_over() {
            return;
        }
        self.ahead.clear();
        let mut slots = [0; TURN];
        let mut places = slots.iter_mut();
        let looked = self.session_timers.upcoming(until, TURN, |slot| {
            if let Some(place) = places.next() {
                *place = slot;
            }
        });
        (self.ahead.passed, self.ahead.looked) = (1, looked);
        if looked < 2 {
            // One alone waits for nobody.
            return;
        }
        let slots = &slots[..looked];
        for &slot in slots {
            self.sessions.prefetch(slot);
            self.sessions.prefetch_links(slot);
            // Most bindings have the number of their session.
            self.bibs.prefetch(slot);
        }
        for &slot in slots {
            if let Some(session) = self.sessions.get(slot).filter(|session| session.bib != slot) {
                self.bibs.prefetch(session.bib);
            }
        }
        for &slot in slots {
            // One that was used since it was armed does not end yet.
            if self
                .sessions
                .get(slot)
                .is_some_and(|session| self.deadline(session) > until)
            {
                continue;
            }
            if let Some(hashes) = self.hashes_of(slot) {
                self.sessions.index6().prefetch(hashes.session, Segment::first);
                self.bibs.prefetch_buckets(hashes.bib);
                self.ahead.known.push(hashes);
            }
        }
        // They are taken from the end.
        self.ahead.known.reverse();
    }
}
