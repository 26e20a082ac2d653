//! Taking over a card that runs: its sessions go on while the host is away, and the next host finds them.
//!
//! ```text
//!   CardMemory (kept by the old host) --+
//!   the card: identity, Ctrl.enable ----+--> rings anew --> table read back, checked --> Adopted { card, orphans }
//!   the configuration ------------------+
//! ```
//!
//! The card's table is the truth about sessions; what cannot be read from it must be remembered: the secret of the hash,
//! which is write only, and the next hops. A card that was not left by a host with this memory and this configuration, that
//! does not run, or whose table cannot be believed, is not taken over half: the caller opens it anew ([`Card::open`]).
//!
//! Nothing in this file stops the traffic of sessions. While the rings are changed, punted frames are dropped and counted
//! `ExceptionRingFull`, as in all the time no host was there.

use nat64_layout::dump::{DumpEntry, DumpKind, DUMP_BYTES, DUMP_WORDS};
use nat64_layout::record::RECORD_WORDS;
use nat64_layout::regs::{Ctrl, ExcCtrl, InjCtrl, Scratch};
use nat64_layout::tables::{self, NextHop, NEXT_HOPS};
use nat64_layout::{HashKey, ABI_HASH, BANKS, WAYS};

use super::{identify, mark, Card, CardError, CardOptions};
use crate::config::GatewayConfig;
use crate::plan::Plan;
use crate::table::{Orphan, RebuildError, Scrambled, SessionTable, TableError, TableImage, TableRepairs};
use crate::transport::{DeviceError, Transport};

/// One next hop of the card.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HopMemory {
    /// Index in the card's table.
    pub index: u8,
    /// Unit the neighbour is on.
    pub unit: usize,
    /// Destination MAC address.
    pub destination: [u8; 6],
    /// Source MAC address.
    pub source: [u8; 6],
    /// Port to send on.
    pub port: u8,
    /// VLAN ids to push, outer first.
    pub vlans: [Option<u16>; 2],
    /// The outer tag has TPID 0x88a8.
    pub qinq: bool,
}

/// What a host must remember of a card to find its sessions again. It holds the secret of the session hash: keep it where
/// nobody else reads it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CardMemory {
    /// The contract the card was driven by.
    pub abi_hash: u32,
    /// Secret of the session hash.
    pub secret: [u32; 2],
    /// Digest of the card's small tables ([`Plan::digest`]).
    pub plan: u64,
    /// Next hops in its table, whether sessions use them or not.
    pub hops: Vec<HopMemory>,
}

/// Why a card is not taken over; it can be opened anew then.
#[derive(Debug, thiserror::Error)]
pub enum AdoptCardError {
    /// The memory is of another version of the contract.
    #[error("the card was left by a host with ABI hash {memory:#010x}, the driver's is {driver:#010x}")]
    OtherAbi {
        /// Of the memory.
        memory: u32,
        /// Ours.
        driver: u32,
    },
    /// Sessions refer to units and prefixes by number, and these are others now.
    #[error("the card was left with another configuration")]
    OtherConfiguration,
    /// It was switched on or reset since, and has no sessions.
    #[error("the card does not run: it was reset since")]
    NotRunning,
    /// Its table cannot be believed.
    #[error(transparent)]
    Scrambled(#[from] Scrambled),
    /// It cannot be used at all.
    #[error(transparent)]
    Card(#[from] CardError),
}

impl From<DeviceError> for AdoptCardError {
    fn from(error: DeviceError) -> Self {
        Self::Card(CardError::Device(error))
    }
}

impl From<TableError> for AdoptCardError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Device(error) => error.into(),
            // Rebuilding places nothing, so nothing can be full.
            other => DeviceError::Backend {
                operation: "put the session table in order",
                reason: other.to_string(),
            }
            .into(),
        }
    }
}

/// A card that was taken over. Its orphans are to be adopted or discarded before anything else is done with it;
/// [`crate::Gateway::adopt`] does.
#[derive(Debug)]
pub struct Adopted {
    /// The card.
    pub card: Card,
    /// Its sessions.
    pub orphans: Vec<Orphan>,
    /// What was put in order in its table.
    pub repairs: TableRepairs,
}

impl Card {
    /// What the next host must know to take the card over. It changes with configurations and next hops, seldom with
    /// sessions; [`Card::memory_version`] tells when.
    pub fn memory(&self) -> CardMemory {
        let hop = |(index, unit, hop): (u8, usize, NextHop)| HopMemory {
            index,
            unit,
            destination: hop.destination,
            source: hop.source,
            port: hop.port,
            vlans: hop.vlans,
            qinq: hop.qinq,
        };
        CardMemory {
            abi_hash: ABI_HASH,
            secret: self.options.hash_key.0,
            plan: self.plan.digest(),
            hops: self.hops.entries().map(hop).collect(),
        }
    }

    /// Moves whenever [`Card::memory`] may have changed.
    pub fn memory_version(&self) -> u64 {
        self.memory_version
    }

    /// Takes a running card over, without a reset: sessions go on. `options.hash_key` is not used, the memory's is.
    ///
    /// # Errors
    /// [`AdoptCardError`]; the card has to be opened anew then. Its sessions have not been touched, but its rings may be off.
    pub fn adopt(
        transport: Box<dyn Transport>,
        options: CardOptions,
        memory: &CardMemory,
        config: &GatewayConfig,
    ) -> Result<Adopted, AdoptCardError> {
        if memory.abi_hash != ABI_HASH {
            return Err(AdoptCardError::OtherAbi {
                memory: memory.abi_hash,
                driver: ABI_HASH,
            });
        }
        let plan = Plan::new(config).map_err(CardError::Plan)?;
        if plan.digest() != memory.plan {
            return Err(AdoptCardError::OtherConfiguration);
        }
        let options = CardOptions {
            hash_key: HashKey(memory.secret),
            ..options
        };
        let (mut bus, geometry) = identify(transport, &options)?;
        // Before anything is believed: a reset from here on is found.
        bus.write(Scratch::OFFSET, mark(&options))?;
        if Ctrl(bus.read(Ctrl::OFFSET)?).enable() == 0 {
            return Err(AdoptCardError::NotRunning);
        }
        bus.write(ExcCtrl::OFFSET, 0)?;
        bus.write(InjCtrl::OFFSET, 0)?;
        let table = SessionTable::new(geometry, options.hash_key);
        let mut card = Self::with_rings(bus, geometry, options, table)?;
        let image = card.read_table()?;
        let set_of = |unit: u8| -> Option<u8> {
            let set = config.xlate.units.get(usize::from(unit))?.service_set?;
            u8::try_from(set).ok()
        };
        let rebuilt = SessionTable::rebuild(geometry, card.options.hash_key, &image, set_of, &mut card.bus);
        let (table, orphans, repairs) = rebuilt.map_err(|error| match error {
            RebuildError::Scrambled(scrambled) => AdoptCardError::Scrambled(scrambled),
            RebuildError::Table(error) => error.into(),
        })?;
        card.table = table;
        for hop in &memory.hops {
            let entry = NextHop {
                destination: hop.destination,
                source: hop.source,
                port: hop.port,
                vlans: hop.vlans,
                qinq: hop.qinq,
            };
            if usize::from(hop.index) < NEXT_HOPS {
                card.hops.restore(hop.index, hop.unit, entry);
            }
        }
        card.enabled = true;
        card.rewrite(plan)?;
        Ok(Adopted { card, orphans, repairs })
    }

    /// Writes every small table once more: a host that died while it changed them may have left units off. Entries that are
    /// right stay right at every moment, because an entry changes in one clock.
    fn rewrite(&mut self, plan: Plan) -> Result<(), DeviceError> {
        let entries = |base: u32, stride: u32, words: Vec<Vec<u32>>| (base, stride, words);
        let rows = |rows: &[[u32; 2]]| rows.iter().map(|r| r.to_vec()).collect::<Vec<_>>();
        for (base, stride, words) in [
            entries(
                tables::PREF64_BASE,
                tables::PREF64_STRIDE,
                plan.pref64s.iter().map(|r| r.to_vec()).collect(),
            ),
            entries(
                tables::TERM_BASE,
                tables::TERM_STRIDE,
                plan.terms.iter().map(|r| r.to_vec()).collect(),
            ),
            entries(
                tables::POOL_BASE,
                tables::POOL_STRIDE,
                plan.pools.iter().map(|r| r.to_vec()).collect(),
            ),
            entries(
                tables::SERVICE_SET_BASE,
                tables::SERVICE_SET_STRIDE,
                rows(&plan.service_sets),
            ),
            entries(tables::UNIT_BASE, tables::UNIT_STRIDE, rows(&plan.units)),
        ] {
            for (index, words) in words.iter().enumerate() {
                self.write_entry(base, stride, index, words)?;
            }
        }
        self.bus.write(nat64_layout::regs::Policy::OFFSET, plan.policy)?;
        self.plan = plan;
        Ok(())
    }

    /// The session table as the card has it, while traffic goes on.
    ///
    /// # Errors
    /// When the card does not copy it in time.
    pub fn read_table(&mut self) -> Result<TableImage, DeviceError> {
        let mut words = DumpKind::ALL.map(|_| Vec::new());
        for kind in [DumpKind::Records, DumpKind::Tags, DumpKind::Stash] {
            let entries = kind.entries(self.geometry);
            let chunk = self.dump.memory.bytes() / 8 / kind.words();
            for first in (0..entries).step_by(chunk) {
                let count = chunk.min(entries - first);
                self.copy(kind, first as u32, count as u32)?;
                words[kind as usize].extend((0..count * kind.words()).map(|at| self.dump.memory.load(at)));
            }
        }
        let [_, records, tags, stash] = words;
        let half = |word: u64, at: usize| (word >> (32 * at)) as u32;
        // A bucket's words hold bank 0 and then bank 1; the image has all of bank 0 first.
        let row = DumpKind::Tags.words() / BANKS;
        let bank = |bank: usize| {
            let of_bucket = move |bucket: &[u64]| bucket[bank * row..(bank + 1) * row].to_vec();
            tags.chunks_exact(DumpKind::Tags.words()).flat_map(of_bucket)
        };
        let tags: Vec<u32> = (0..BANKS)
            .flat_map(bank)
            .flat_map(|w| [half(w, 0), half(w, 1)])
            .collect();
        debug_assert_eq!(tags.len(), BANKS * (WAYS << self.geometry.bucket_log2));
        Ok(TableImage {
            records: records
                .chunks_exact(DumpKind::Records.words())
                .map(|words| std::array::from_fn::<u32, RECORD_WORDS, _>(|i| half(words[i / 2], i % 2)))
                .collect(),
            tags,
            stash: stash.into_iter().map(|w| [half(w, 0), half(w, 1)]).collect(),
        })
    }

    /// Stamps and counters of every record.
    pub(crate) fn read_activity(&mut self) -> Result<Vec<DumpEntry>, DeviceError> {
        let (records, chunk) = (self.geometry.records(), self.dump.memory.bytes() / DUMP_BYTES);
        let mut entries = Vec::with_capacity(records);
        for first in (0..records).step_by(chunk) {
            let count = chunk.min(records - first);
            self.copy(DumpKind::Activity, first as u32, count as u32)?;
            let memory = &self.dump.memory;
            let entry = |at: usize| DumpEntry::from_words(std::array::from_fn(|i| memory.load(at * DUMP_WORDS + i)));
            entries.extend((0..count).map(entry));
        }
        Ok(entries)
    }

    /// Takes an orphan out of the card.
    pub(crate) fn discard(&mut self, orphan: &Orphan) -> Result<(), DeviceError> {
        match self.table.discard(orphan, &mut self.bus) {
            Err(TableError::Device(error)) => Err(error),
            // Taking out can fail in no other way.
            _ => Ok(()),
        }
    }

    /// Gives an orphan its session.
    pub(crate) fn settle(&mut self, id: nat64_xlate::SessionId, orphan: &Orphan) {
        self.table.adopt(id, orphan);
    }

    /// The next hop at an index, as it was remembered.
    pub(crate) fn hop(&self, index: u8) -> Option<(usize, NextHop)> {
        self.hops.get(index)
    }
}
