//! The short way of sessions that end: what nearly all of them need, one after another in the order of their deadlines.
//!
//! ```text
//!   for the next 32 timers:   the lines of their sessions and bindings are asked for
//!   for each of them:         session and binding go; their entries in the indexes become stale, ports are collected
//!   at the end:               ports go back to their pools
//! ```
//!
//! As with packets ([`super::plain`]), the short way decides nothing that [`Nat64::session_due`] does not decide. A session
//! for which more than this matters (several sessions of one binding, filters, limits per subscriber, port blocks, a log) is
//! left to it.

use super::Nat64;
use crate::bib::Scope;
use crate::effect::{Effect, Effects, Time};
use crate::pool::Lease;
use crate::session::Flags;
use crate::tcp::State;

/// Timers whose lines are asked for together.
const TURN: usize = 32;
/// Ports that go back together.
const LEASES: usize = 64;

/// What is left to do for sessions that ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Ports, with the times they became free.
    leases: Vec<(Lease, Time)>,
    /// Timers that come out before lines are asked for again.
    asked: usize,
}

impl Nat64 {
    /// Before a session's timer comes out: asks for what the next ones need, once those of the last time are through.
    #[inline]
    pub(super) fn look_ahead(&mut self, until: Time) {
        if self.ended.asked > 0 {
            self.ended.asked -= 1;
            return;
        }
        let mut last = u32::MAX - 1;
        for slot in self.session_timers.upcoming(until, TURN, TURN) {
            // Those that lie side by side come without being asked for.
            let beside = slot.abs_diff(std::mem::replace(&mut last, slot)) == 1;
            if beside {
                continue;
            }
            self.sessions.prefetch(slot);
            // Most bindings have the number of their session.
            self.bibs.prefetch(slot);
            self.sessions.prefetch_links(slot);
        }
        self.ended.asked = TURN - 1;
    }

    /// Ends a session whose timer came out, if there is nothing special about it. `false`: nothing was changed.
    #[inline]
    pub(super) fn end_plain(&mut self, slot: u32, at: Time, effects: &mut Effects) -> bool {
        let Some(session) = self.sessions.get(slot) else {
            return false;
        };
        let Some(bib) = self.bibs.get(session.bib) else {
            return false;
        };
        let ends = match session.state {
            State::Open | State::V4Init | State::V6Init | State::V4FinV6FinRcv => true,
            State::Trans => session.probes == 0,
            State::Established | State::V4FinRcv | State::V6FinRcv | State::V4InitStored => false,
        };
        let (set, term, bib_slot) = (bib.six.service_set, session.term, session.bib);
        if !ends
            || session.flags.has(Flags::SPECIAL)
            || bib.sessions != 1
            || bib.six.scope == Scope::Static
            || bib.lease.is_none()
            || !self.policy.ends_plainly(set, bib.six.term)
            || !self.subscribers.is_empty()
            || self.deadline_of(session, bib.six.protocol) > at
        {
            return false;
        }
        let (installed, embryonic) = (session.installed(), session.state.is_embryonic());
        if let Some(stats) = self.stats.service_sets.get_mut(usize::from(set)) {
            stats.closed += 1;
            stats.sessions -= 1;
        }
        if let Some(stats) = self.stats.term(set, term) {
            stats.close(session);
        }
        self.stats.embryonic -= u32::from(embryonic);
        if installed {
            effects.push(Effect::Remove(self.sessions.id(slot)));
        }
        self.sessions.remove_only(slot);
        if let Some(lease) = self.bibs.remove_lease(bib_slot) {
            self.ended.leases.push((lease, at));
            if self.ended.leases.len() == LEASES {
                self.finish_ended();
            }
        }
        true
    }

    /// Does what is left to do for sessions that ended.
    pub(super) fn finish_ended(&mut self) {
        if !self.ended.leases.is_empty() {
            Lease::release_all(&mut self.ended.leases);
        }
    }
}
