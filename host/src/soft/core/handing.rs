//! Frames that come to the wrong worker, and what workers know of each other.

use std::sync::Arc;

use nat64_layout::Reason;
use nat64_xlate::{Shard, Time};

use super::super::steer::{Accounts, Directory, Fragment, Place, Steering};
use super::super::sys::Received;
use super::super::vnet::VNET_HEADER;
use super::{Arrival, Core, Tx};

/// How far a frame has come that is handed from worker to worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has just come in.
    New,
    /// It is a fragment, and this worker keeps account of its packet.
    Account,
    /// It belongs to this worker.
    Mine,
    /// It is the middle of a hairpin, a bare IPv4 packet, to this service set.
    Middle(u16),
    /// It is a bare IP packet that this worker translated, sent on this unit, and that could not be delivered.
    Undelivered(usize),
}

/// A frame that another worker is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// Port it came in on.
    pub port: usize,
    /// The header in front of it.
    pub vnet: [u8; VNET_HEADER],
    /// VLAN tag the kernel took off.
    pub vlan: Option<(u16, u16)>,
    /// The frame.
    pub bytes: Vec<u8>,
    /// How far it has come.
    pub stage: Stage,
    /// Packets it stands for.
    pub packets: u64,
}

impl Handed {
    /// The frame as it was received.
    pub fn received(&self) -> Received<'_> {
        Received {
            vnet: self.vnet,
            vlan: self.vlan,
            bytes: &self.bytes,
            length: self.bytes.len(),
        }
    }
}

/// What a worker needs to know of the others.
#[derive(Debug)]
pub struct Sharing {
    /// Which one it is.
    pub shard: Shard,
    /// Who has which port.
    pub directory: Arc<Directory>,
    pub(super) accounts: Accounts<Handed>,
}

impl Sharing {
    /// One worker of several.
    pub fn new(shard: Shard, directory: Arc<Directory>) -> Self {
        Self {
            shard,
            directory,
            accounts: Accounts::default(),
        }
    }

    fn steering(&self) -> Steering<'_> {
        Steering {
            shard: &self.shard,
            directory: &self.directory,
        }
    }

    fn place(&self, packet: &[u8]) -> Place {
        self.steering().place(packet)
    }
}

impl Core {
    /// The worker that an IP packet belongs to, of those that share.
    pub fn worker_of(&self, packet: &[u8]) -> u16 {
        match self.sharing.as_ref().map(|sharing| sharing.place(packet)) {
            Some(
                Place::Worker(worker)
                | Place::Fragment {
                    first: Some(worker), ..
                },
            ) => worker,
            Some(Place::Fragment { account, .. }) => account,
            None => 0,
        }
    }

    /// Whether a packet belongs to this worker; it is handed over, or waits, when it does not. Fragments that waited for
    /// this one go before it.
    pub(super) fn steer(
        &mut self,
        now: Time,
        arrival: &Arrival<'_>,
        packet: &[u8],
        tx: &mut Tx,
    ) -> Result<bool, Reason> {
        let lifetime = self.config.xlate.timers.fragment.as_nanos() as Time;
        let Some(sharing) = &mut self.sharing else {
            return Ok(true);
        };
        let me = sharing.shard.number();
        let hand = |stage| Handed {
            port: arrival.port,
            vnet: arrival.received.vnet,
            vlan: arrival.received.vlan,
            bytes: arrival.received.bytes.to_vec(),
            stage,
            packets: arrival.packets,
        };
        let (worker, waiting) = match sharing.place(packet) {
            Place::Worker(worker) => (worker, Vec::new()),
            Place::Fragment { account, .. } if account != me && arrival.stage == Stage::New => {
                tx.handed.push((account, hand(Stage::Account)));
                self.soft.handed_over += 1;
                return Ok(false);
            }
            Place::Fragment { key, first, .. } => {
                match sharing
                    .accounts
                    .fragment(now, lifetime, key, first, || hand(Stage::Mine))
                {
                    Fragment::Go(worker, waiting) => (worker, waiting),
                    Fragment::Waits => return Ok(false),
                    Fragment::Full => return Err(Reason::FragmentLimit),
                }
            }
        };
        if worker == me {
            for handed in waiting {
                self.take(now, handed.port, usize::MAX, &handed.received(), Stage::Mine, None, tx);
            }
            return Ok(true);
        }
        self.soft.handed_over += 1 + waiting.len() as u64;
        tx.handed.extend(waiting.into_iter().map(|handed| (worker, handed)));
        tx.handed.push((worker, hand(Stage::Mine)));
        Ok(false)
    }

    /// Sends the middle of a hairpin to the worker that has the binding.
    pub(super) fn send_middle(&mut self, now: Time, set: u16, packet: Vec<u8>, tx: &mut Tx) {
        let lifetime = self.config.xlate.timers.fragment.as_nanos() as Time;
        let Some(sharing) = &mut self.sharing else {
            self.count(Reason::NoUnit, 1);
            return;
        };
        let place = sharing.place(&packet);
        let handed = Handed {
            port: 0,
            vnet: [0; VNET_HEADER],
            vlan: None,
            bytes: packet,
            stage: Stage::Middle(set),
            packets: 1,
        };
        let worker = match place {
            Place::Worker(worker) => worker,
            // The translator gives the first one first; later ones follow it.
            Place::Fragment { key, first, account } => {
                match sharing.accounts.fragment(now, lifetime, key, first, || handed.clone()) {
                    Fragment::Go(worker, waiting) => {
                        tx.handed.extend(waiting.into_iter().map(|handed| (worker, handed)));
                        worker
                    }
                    Fragment::Waits => return,
                    Fragment::Full => account,
                }
            }
        };
        self.soft.handed_over += 1;
        tx.handed.push((worker, handed));
    }
    /// Tells the sender of a packet that its next hop did not answer; the worker that has the session does.
    pub(super) fn undelivered(&mut self, now: Time, unit: usize, packet: Vec<u8>, tx: &mut Tx) {
        if let Some(sharing) = &self.sharing {
            let Some(worker) = sharing.steering().sender(&packet) else {
                return;
            };
            if worker != sharing.shard.number() {
                let handed = Handed {
                    port: 0,
                    vnet: [0; VNET_HEADER],
                    vlan: None,
                    bytes: packet,
                    stage: Stage::Undelivered(unit),
                    // It was counted when it ended.
                    packets: 0,
                };
                tx.handed.push((worker, handed));
                return;
            }
        }
        self.with_translator(now, tx, |xlate, effects| {
            xlate.undeliverable(now, unit, &packet, effects)
        });
    }
}
