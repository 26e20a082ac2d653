//! Sessions on their way into the card and out of it.
//!
//! ```text
//!   Install --> next hops known? --no--> waits for the neighbour --+
//!                  | yes                                           |
//!                  v                     <---answered--------------+
//!               room in both tables? --no--> waits for room, tried when another session leaves
//!                  | yes
//!                  v
//!               in the card --Remove, neighbour gone--> out
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nat64_layout::tables::NextHop;
use nat64_layout::{Direction, Reason};
use nat64_xlate::{Flow, SessionId, Time};

use super::{Carried, Deferred, Gateway, GatewayError, OVERFLOW};
use crate::config::LinkType;
use crate::link;
use crate::neigh::{self, Key};
use crate::table::TableError;

impl Gateway {
    /// Does what the neighbour logic asks for.
    pub(super) fn apply(&mut self, now: Time, out: neigh::Output) -> Result<(), GatewayError> {
        for (port, frame) in out.frames {
            self.transmit(port, frame)?;
        }
        for reason in out.drops {
            self.count(reason);
        }
        for key in out.changed {
            self.neighbour_changed(now, key)?;
        }
        for key in out.lost {
            self.install_again(now, &self.sessions_of(key))?;
        }
        for (unit, packet) in out.unreachable {
            self.undeliverable(now, unit, &packet)?;
        }
        Ok(())
    }

    /// Sessions in the card that use a neighbour.
    fn sessions_of(&self, key: Key) -> Vec<Flow> {
        let uses = |carried: &&Carried| carried.hops.iter().any(|hop| hop.0 == key);
        let mut flows: Vec<Flow> = self.carried.values().filter(uses).map(|carried| carried.flow).collect();
        flows.sort_by_key(|flow| flow.id);
        flows
    }

    /// A neighbour's MAC address is known, or another one: sessions in the card follow, sessions that waited for it are
    /// installed.
    fn neighbour_changed(&mut self, now: Time, key: Key) -> Result<(), GatewayError> {
        if let (Some(card), Some(mac)) = (&mut self.card, self.neighbours.mac(key)) {
            if !card.move_hop(key, mac)? {
                self.install_again(now, &self.sessions_of(key))?;
            }
        }
        let least = SessionId { slot: 0, generation: 0 };
        let most = SessionId {
            slot: u32::MAX,
            generation: u32::MAX,
        };
        let ids: Vec<SessionId> = self
            .waiting
            .range((key, least)..=(key, most))
            .map(|entry| entry.1)
            .collect();
        for id in ids {
            if let Some((flow, _)) = self.undefer(id) {
                self.install(now, flow)?;
            }
        }
        Ok(())
    }

    fn defer(&mut self, flow: Flow, why: Deferred) {
        match why {
            Deferred::Neighbour(key) => {
                self.waiting.insert((key, flow.id));
            }
            Deferred::Room => {
                if self.overflow.len() >= OVERFLOW {
                    return;
                }
                self.overflow.push_back(flow.id);
            }
        }
        self.deferred.insert(flow.id, (flow, why));
    }

    fn undefer(&mut self, id: SessionId) -> Option<(Flow, Deferred)> {
        let (flow, why) = self.deferred.remove(&id)?;
        match why {
            Deferred::Neighbour(key) => {
                self.waiting.remove(&(key, id));
            }
            Deferred::Room => self.overflow.retain(|&other| other != id),
        }
        Some((flow, why))
    }

    /// The next hops of a session toward the client and toward the server.
    pub(super) fn hops(&self, flow: &Flow) -> Option<[(Key, Option<link::Mac>); 2]> {
        let outside = self.config.xlate.service_sets.get(flow.service_set)?.outside_unit;
        let ends = [
            (flow.unit, IpAddr::V6(flow.client.0)),
            (outside, IpAddr::V4(flow.remote.0)),
        ];
        let mut hops = [(ends[0], None); 2];
        for (hop, (unit, address)) in hops.iter_mut().zip(ends) {
            *hop = match self.config.link_type {
                LinkType::Ethernet => {
                    let key = self.neighbours.next_hop(unit, address)?;
                    (key, self.neighbours.mac(key))
                }
                LinkType::Raw => {
                    let port = usize::from(self.config.units.get(unit)?.port);
                    let any = if address.is_ipv6() {
                        Ipv6Addr::UNSPECIFIED.into()
                    } else {
                        Ipv4Addr::UNSPECIFIED.into()
                    };
                    ((unit, any), Some(link::raw_peer(port)))
                }
            };
        }
        Some(hops)
    }

    /// Installs a session in the card, or keeps it until that is possible.
    pub(super) fn install(&mut self, now: Time, flow: Flow) -> Result<(), GatewayError> {
        let Some(card) = &self.card else { return Ok(()) };
        if self.carried.get(&flow.id).is_some_and(|carried| carried.flow == flow) {
            return Ok(());
        }
        let offloaded = card.record(&flow, 0, 0).is_some();
        self.uninstall(flow.id)?;
        let Some(hops) = self.hops(&flow).filter(|_| offloaded) else {
            return Ok(());
        };
        if let Some((key, _)) = hops.iter().find(|hop| hop.1.is_none()) {
            self.defer(flow, Deferred::Neighbour(*key));
            let mut out = neigh::Output::default();
            for (key, _) in hops.iter().filter(|hop| hop.1.is_none()) {
                self.neighbours.resolve(now, key.0, key.1, &mut out);
            }
            // Only requests come of it: nothing is known that was not before.
            return self.apply(now, out);
        }
        let Some(card) = &mut self.card else { return Ok(()) };
        let mut taken = Vec::with_capacity(2);
        for (key, mac) in hops {
            // Checked above.
            let Some(destination) = mac else { continue };
            let Some(link) = self.config.units.get(key.0) else {
                continue;
            };
            let source = self.config.ports[usize::from(link.port)].mac;
            let hop = NextHop {
                destination,
                source,
                port: link.port,
                vlans: link.vlans,
                qinq: false,
            };
            if let Some(index) = card.acquire_hop(key, hop)? {
                taken.push((key, index));
            }
        }
        let full = match taken[..] {
            [hop6, hop4] => match card.record(&flow, hop6.1, hop4.1) {
                Some(record) => match card.install(flow.id, &record, flow.service_set) {
                    Ok(_) => {
                        let hops = [hop6, hop4];
                        hops.iter().for_each(|hop| self.neighbours.pin(hop.0));
                        self.carried.insert(flow.id, Carried { flow, hops });
                        return Ok(());
                    }
                    Err(TableError::Device(error)) => return Err(error.into()),
                    Err(_) => Reason::CardTableFull,
                },
                None => Reason::CardTableFull,
            },
            _ => Reason::NextHopTableFull,
        };
        for (key, index) in taken {
            card.release_hop(key, index);
        }
        self.count(full);
        self.defer(flow, Deferred::Room);
        Ok(())
    }

    /// Takes a session out of the card, or off the lists of those that wait.
    ///
    /// What the card counted and stamped since the last look is not read first: a session that the translator takes
    /// back has ended, or has just seen a packet on the host that is newer than any stamp and restarts its timer
    /// (a FIN, an RST). So nothing but the card's packet and byte counts of one session is lost, and the end of a
    /// session does not wait for a copy by DMA. Sessions that live on are read first: [`Gateway::take_out`].
    pub(super) fn uninstall(&mut self, id: SessionId) -> Result<(), GatewayError> {
        self.undefer(id);
        let (Some(carried), Some(card)) = (self.carried.remove(&id), &mut self.card) else {
            return Ok(());
        };
        let removed = card.remove(id);
        for (key, index) in carried.hops {
            card.release_hop(key, index);
            self.neighbours.unpin(key);
        }
        match removed {
            Err(TableError::Device(error)) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// A session left the card: one that waits for room is tried.
    pub(super) fn fill_room(&mut self, now: Time) -> Result<(), GatewayError> {
        let room = self
            .card
            .as_ref()
            .is_some_and(|card| card.table().len() < card.geometry().records());
        if let Some(&id) = self.overflow.front().filter(|_| room) {
            if let Some((flow, _)) = self.undefer(id) {
                self.install(now, flow)?;
            }
        }
        Ok(())
    }

    /// Tells the translator what the card saw of the sessions that would end by `now`.
    pub(super) fn read_activity(&mut self, now: Time) -> Result<(), GatewayError> {
        if self.card.is_none() {
            if self.holding {
                self.hold_due(now);
            }
            return Ok(());
        }
        let mut due = std::mem::take(&mut self.due);
        due.clear();
        self.xlate.due(now, &mut due);
        let result = self.report_activity(now, &due);
        self.due = due;
        result
    }

    /// Tells the translator what the card saw of some sessions; those that are not in the card are left out.
    fn report_activity(&mut self, now: Time, ids: &[SessionId]) -> Result<(), GatewayError> {
        let Some(card) = &mut self.card else { return Ok(()) };
        for (id, entry) in card.activity(ids)? {
            for direction in [Direction::SixToFour, Direction::FourToSix] {
                // The stamp of a session without packets is the time it was installed.
                if entry.packets[direction as usize] > 0 {
                    let at = self.stamp_time(entry.stamp[direction as usize], now);
                    self.xlate.touch(id, direction, at);
                }
            }
        }
        Ok(())
    }

    /// Takes living sessions out of the card. What the card saw of them is told first: with the record go its stamps.
    pub(super) fn take_out(&mut self, now: Time, ids: &[SessionId]) -> Result<(), GatewayError> {
        self.report_activity(now, ids)?;
        ids.iter().try_for_each(|&id| self.uninstall(id))
    }

    /// Takes sessions out of the card and installs them as things are now.
    fn install_again(&mut self, now: Time, flows: &[Flow]) -> Result<(), GatewayError> {
        let ids: Vec<SessionId> = flows.iter().map(|flow| flow.id).collect();
        self.take_out(now, &ids)?;
        flows.iter().try_for_each(|&flow| self.install(now, flow))
    }
}
