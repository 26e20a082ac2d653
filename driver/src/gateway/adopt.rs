//! A gateway that begins with the sessions of a card that was running before it.
//!
//! Each session of the card's table is offered to the translator, which makes binding and session of it or refuses; what it
//! refuses, and what the card cannot carry on under this configuration, is taken out of the card, counted by why. Neighbours
//! come back from the next hops the old host remembered.

use std::net::IpAddr;

use nat64_layout::dump::stamp_time_ns;
use nat64_xlate::{CardSession, Flow, Nat64, Time};

use super::{check, Carried, Gateway, GatewayError};
use crate::card::Adopted;
use crate::config::GatewayConfig;
use crate::neigh;
use crate::table::{Orphan, TableError, TableRepairs};

/// What became of the sessions of a card that was taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdoptReport {
    /// Sessions that go on in the card.
    pub adopted: u32,
    /// Sessions that go on, but had to be installed again (their next hop is another one now).
    pub moved: u32,
    /// Sessions that were taken out: why, and how many of that.
    pub refused: Vec<(String, u32)>,
    /// What was put in order in the table.
    pub repairs: TableRepairs,
}

impl AdoptReport {
    fn refuse(&mut self, why: String) {
        match self.refused.iter_mut().find(|(known, _)| *known == why) {
            Some((_, count)) => *count += 1,
            None => self.refused.push((why, 1)),
        }
    }
}

impl Gateway {
    /// A gateway on a card that was taken over ([`crate::Card::adopt`]) with this configuration. `now` is the card's time.
    ///
    /// # Errors
    /// As [`Gateway::new`]; the card must be opened anew then.
    pub fn adopt(
        config: GatewayConfig,
        adopted: Adopted,
        seed: u64,
        now: Time,
    ) -> Result<(Self, AdoptReport), GatewayError> {
        check(&config)?;
        let xlate = Nat64::new(config.xlate.clone(), seed)?;
        let Adopted {
            mut card,
            orphans,
            repairs,
        } = adopted;
        let activity = card.read_activity()?;
        let mut report = AdoptReport {
            repairs,
            ..AdoptReport::default()
        };
        let mut gateway = Self::with(config, xlate, Some(card));
        // The table takes nothing new before every orphan has its owner or is gone.
        let mut again = Vec::new();
        for orphan in orphans {
            let last = activity.get(orphan.index as usize).map(|entry| {
                let [six, four] = entry.stamp.map(|stamp| stamp_time_ns(stamp, now).min(now));
                six.max(four)
            });
            gateway.take_orphan(now, &orphan, last, &mut report, &mut again)?;
        }
        for flow in again {
            gateway.install(now, flow)?;
        }
        gateway.flush()?;
        Ok((gateway, report))
    }

    fn take_orphan(
        &mut self,
        now: Time,
        orphan: &Orphan,
        last: Option<Time>,
        report: &mut AdoptReport,
        again: &mut Vec<Flow>,
    ) -> Result<(), GatewayError> {
        let Some(card) = &mut self.card else { return Ok(()) };
        let record = &orphan.record;
        let Some((pref64, pref64_length)) = card.plan().prefix(orphan.service_set.into(), record.pref64) else {
            report.refuse(format!(
                "no prefix {} in service set {}",
                record.pref64, orphan.service_set
            ));
            return Ok(card.discard(orphan)?);
        };
        let session = CardSession {
            protocol: record.protocol,
            unit: record.unit.into(),
            pref64,
            pref64_length,
            client: (record.client.into(), record.client_port),
            pool: (record.pool.into(), record.pool_port),
            remote: (record.remote.into(), record.remote_port),
            last,
        };
        let mut effects = std::mem::take(&mut self.effects);
        effects.clear();
        let adopted = self.xlate.adopt(now, &session, &mut effects);
        // What there is to log; nothing is sent or installed.
        let performed = self.perform(now, &effects, None);
        self.effects = effects;
        performed?;
        let Some(card) = &mut self.card else { return Ok(()) };
        let flow = match adopted {
            Ok(flow) => flow,
            Err(why) => {
                report.refuse(why.to_string());
                return Ok(card.discard(orphan)?);
            }
        };
        // The neighbours behind the record's next hops, as the old host knew them.
        let hops = [card.hop(record.hop6), card.hop(record.hop4)];
        let ends: [IpAddr; 2] = [flow.client.0.into(), flow.remote.0.into()];
        let mut out = neigh::Output::default();
        for (hop, end) in hops.iter().zip(ends) {
            if let Some((unit, hop)) = hop {
                self.neighbours.learn(now, *unit, end, hop.destination, &mut out);
                if let Some(key) = self.neighbours.next_hop(*unit, end) {
                    self.neighbours.restore(now, key, hop.destination, &mut out);
                }
            }
        }
        let known = self.hops(&flow);
        let Some(card) = &mut self.card else { return Ok(()) };
        card.settle(flow.id, orphan);
        let mut taken = Vec::with_capacity(2);
        for ((hop, known), index) in hops
            .into_iter()
            .zip(known.into_iter().flatten())
            .zip([record.hop6, record.hop4])
        {
            let (Some((unit, hop)), (key, Some(mac))) = (hop, known) else {
                continue;
            };
            if unit == key.0 && mac == hop.destination && card.acquire_hop(key, hop)? == Some(index) {
                taken.push((key, index));
            }
        }
        if let [hop6, hop4] = taken[..] {
            let hops = [hop6, hop4];
            hops.iter().for_each(|hop| self.neighbours.pin(hop.0));
            self.carried.insert(flow.id, Carried { flow, hops });
            report.adopted += 1;
            return self.apply(now, out);
        }
        for (key, index) in taken {
            card.release_hop(key, index);
        }
        // The record names a next hop nobody remembers, or another one: out, and in again when the neighbour is known.
        if let Err(TableError::Device(error)) = card.remove(flow.id) {
            return Err(error.into());
        }
        report.moved += 1;
        again.push(flow);
        self.apply(now, out)
    }
}

#[cfg(test)]
#[path = "adopt_tests.rs"]
mod tests;
