//! What time alone does.

use nat64_layout::Reason;

use super::four::Way4;
use super::syns::{Syn, SynKey};
use super::Nat64;
use crate::effect::{Effects, Time};
use crate::icmp_error::{error4, may_answer4, Error4};
use crate::packet::Packet4;
use crate::tcp::{self, State};

impl Nat64 {
    /// The time by which [`Nat64::advance`] must be called next; it may find then that nothing is due yet.
    pub fn next_deadline(&self) -> Option<Time> {
        let session = self.session_timers.next_deadline();
        session.into_iter().chain(self.other_deadline()).min()
    }

    /// As [`Nat64::next_deadline`], of all but sessions.
    fn other_deadline(&self) -> Option<Time> {
        let all = [
            self.syns.next_deadline(),
            self.fragments.deadline(),
            self.bib_timers.next_deadline(),
        ];
        all.into_iter().flatten().min()
    }

    /// Does everything that is due by `now`, in the order of deadlines and as of each deadline.
    pub fn advance(&mut self, now: Time, effects: &mut Effects) {
        loop {
            // Sessions go first among equals. A deadline may be a lower bound; then nothing comes out, and the bound has
            // become better.
            let other = self.other_deadline();
            let until = other.map_or(now, |other| other.min(now));
            let mut special = false;
            self.look_ahead(until);
            while let Some((slot, at)) = self.session_timers.pop(until) {
                if !self.end_plain(slot, at, effects) {
                    // What it leads to may be due before the next session is, and takes its ports from what ended before.
                    self.finish_ended();
                    self.session_due(slot, at, effects);
                    special = true;
                    break;
                }
                self.look_ahead(until);
            }
            self.finish_ended();
            match other {
                _ if special => {}
                Some(other) if other <= now => self.other_due(other, effects),
                _ => return,
            }
        }
    }

    /// Does what is due at `first`, the earliest deadline of all but sessions.
    fn other_due(&mut self, first: Time, effects: &mut Effects) {
        if self.syns.next_deadline() == Some(first) {
            if let Some((syn, at)) = self.syns.pop(first) {
                self.syn_due(syn, at, effects);
            }
        } else if self.fragments.deadline() == Some(first) {
            for _ in 0..self.fragments.advance(first) {
                self.finish(None, Err(Reason::FragmentTimeout), effects);
            }
        } else if let Some((slot, at)) = self.bib_timers.pop(first) {
            if self
                .bibs
                .get(slot)
                .is_some_and(|bib| bib.sessions == 0 && !bib.is_static())
            {
                self.drop_bib(slot, at, effects);
            }
        }
    }

    fn session_due(&mut self, slot: u32, at: Time, effects: &mut Effects) {
        let Some(session) = self.sessions.get(slot) else {
            return;
        };
        if self.deadline(session) > at {
            // Packets came since it was armed.
            self.arm(slot);
            return;
        }
        let probes = self.lifetimes.probes;
        match session.state {
            // RFC 6146 section 3.5.2.2: whoever is still there answers the probe, and that brings the session back.
            State::Established => {
                if let Some(session) = self.sessions.get_mut(slot) {
                    session.state = State::Trans;
                    session.last = at;
                    session.probes = probes;
                }
                self.sync_card(slot, effects);
                self.probe(slot, effects);
            }
            State::Trans if session.probes > 0 => self.probe(slot, effects),
            // A stored SYN has a timer of its own, due at the same time.
            State::V4InitStored => {
                let key = self.bibs.get(session.bib).map(|bib| SynKey {
                    service_set: bib.six.service_set,
                    pool: bib.pool,
                    remote: session.remote,
                });
                let syn = key.and_then(|key| self.syns.remove(&key));
                self.close(slot, at, effects);
                if let Some(syn) = syn {
                    self.syn_due(syn, at, effects);
                }
            }
            _ => self.close(slot, at, effects),
        }
    }

    /// Sends a probe to the client, if one is left, and arms the timer for the next or for the end.
    fn probe(&mut self, slot: u32, effects: &mut Effects) {
        let Some(flow) = self.flow(slot) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(slot) else {
            return;
        };
        if session.probes > 0 {
            session.probes -= 1;
            let server = self.policy.prefixes[usize::from(session.prefix)].embed(flow.remote.0);
            effects.send_with(flow.unit, None, |arena| {
                tcp::probe((server, flow.remote.1), flow.client, arena)
            });
            self.stats.probes += 1;
        }
        self.arm(slot);
    }

    /// Nobody met a stored SYN: its sender gets Port Unreachable.
    fn syn_due(&mut self, syn: Syn, at: Time, effects: &mut Effects) {
        let Syn { key, packet } = syn;
        self.finish(Some(key.service_set), Err(Reason::SynTimeout), effects);
        // It was read before; a packet that cannot be read is not answered.
        let Ok(packet) = Packet4::parse(&packet) else {
            return;
        };
        if !may_answer4(&packet) || !self.errors.take(at) {
            return;
        }
        let outside = self.policy.set(key.service_set).outside_unit;
        let source = self.policy.config.units[outside].address4.unwrap_or(key.pool.0);
        let ident = self.next_ident();
        let mut answer = Vec::new();
        if !error4(&packet, Error4::Unreachable { code: 3 }, source, ident, &mut answer) {
            return;
        }
        match self.policy.pool_owner(key.service_set, key.remote.0) {
            // The SYN came from another client of ours: so the error is a hairpin.
            Some(set) => {
                let middle = Packet4::parse(&answer);
                let way = Way4 { unit: None, set };
                let sent = middle.and_then(|packet| self.translate4(at, &way, &packet, packet.transport, effects));
                self.finish(Some(set), sent, effects);
            }
            None => effects.send(outside, None, &answer),
        }
        self.stats.answers += 1;
    }
}
