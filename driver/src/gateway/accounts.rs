//! The gateway's books, and what it tells the senders of packets that could not be delivered.

use nat64_layout::{Reason, ReasonKind};
use nat64_xlate::{Effects, Time};

use super::{Gateway, GatewayError};
use crate::books::Books;
use crate::card::CardCounters;

/// Packets that ended, of the host's count by reason. Two of them are sessions, which are no packets.
pub fn ended_on_host(reasons: &[u64; 256]) -> u64 {
    let packets = |reason: &&Reason| !matches!(reason, Reason::CardTableFull | Reason::NextHopTableFull);
    (Reason::ALL.iter().filter(packets))
        .map(|&reason| reasons[reason as usize])
        .sum()
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;

/// Packets that ended in the card; the others it counts under a reason came to the host.
fn ended_in_card(counters: &CardCounters) -> u64 {
    let drops = counters.reasons.iter().filter(|(r, _)| r.kind() == ReasonKind::Drop);
    drops.map(|(_, count)| count).sum()
}

impl Gateway {
    /// Where every packet is, card included: to be asked for when card and driver have nothing to do, else those on
    /// their way show as a difference.
    ///
    /// # Errors
    /// The card failed.
    pub fn books(&mut self) -> Result<Books, GatewayError> {
        let card = self.card_counters()?;
        let translator = self.xlate.stats();
        let neighbours = self.neighbours.stats();
        let [received, sent] = match &card {
            Some(card) => [
                card.ports.iter().map(|port| port.packets_in).sum(),
                card.ports.iter().map(|port| port.packets_out).sum(),
            ],
            None => [
                self.stats.frames_in.iter().sum::<u64>() + self.misplaced,
                self.stats.frames_out.iter().sum(),
            ],
        };
        Ok(Books {
            received,
            originated: translator.originated() + neighbours.requests + neighbours.answers,
            split: translator.split,
            sent,
            dropped: ended_on_host(&self.stats.reasons) + card.as_ref().map_or(0, ended_in_card),
            consumed: neighbours.taken,
            merged: translator.merged(),
            held: translator.holding,
            waiting: self.neighbours.waiting() as u64,
        })
    }

    /// Tells the sender of a packet that its next hop did not answer.
    pub(super) fn undeliverable(&mut self, now: Time, unit: usize, packet: &[u8]) -> Result<(), GatewayError> {
        // Another list of effects may be in hand.
        let mut effects = Effects::new();
        self.xlate.undeliverable(now, unit, packet, &mut effects);
        self.perform(now, &effects, None).map(|_| ())
    }
}
