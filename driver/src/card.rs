//! One card: opened, configured, fed with sessions, read out. The only code that writes card state.
//!
//! ```text
//!             +-- plan (small tables, BAR0) --------+
//!   Gateway --+-- table (records, tags, BAR2) ------+--> Transport --> card
//!             +-- hops (next hops, BAR0) -----------+
//!             +-- rings, dump area (shared memory) -+
//! ```
//!
//! Installing and removing sessions are posted writes only: no register is read on a path that a packet takes. Reads
//! happen when the card is opened and when counters are asked for. A read of all ones is followed by one of the
//! identity; when that is all ones too the card is gone ([`DeviceError::Gone`]).

use std::time::{Duration, Instant};

use nat64_layout::dump::{DumpEntry, DumpKind, DUMP_BYTES, DUMP_WORDS};
use nat64_layout::regs::{
    AbiHash, Ctrl, Datapath, DumpAddrHigh, DumpAddrLow, DumpDoneHigh, DumpDoneLow, DumpFirst, DumpGo, ExcBaseHigh,
    ExcBaseLow, ExcCtrl, ExcHead, ExcTail, HashKey0, HashKey1, Ident, InjBaseHigh, InjBaseLow, InjCtrl, InjTail,
    InjWbHigh, InjWbLow, Policy, Scratch, TimeHigh, TimeLow, COUNTER_BASE, MAGIC, PORT_COUNTER_BASE, SET_COUNTER_BASE,
};
use nat64_layout::tables::{self, NextHop};
use nat64_layout::{
    regs, Geometry, HashKey, Reason, Record, StashEntry, Tag, ABI_HASH, BANKS, INDEX_BITS, PORTS, WAYS,
};
use nat64_xlate::{Flow, SessionId};

use crate::config::GatewayConfig;
use crate::dma::DmaBuffer;
use crate::hops::{self, NextHops};
use crate::link::Mac;
use crate::neigh::Key;
use crate::plan::{Plan, PlanError};
use crate::ring::{ring_bytes, valid_log2, BadDescriptor, ExceptionRing, InjectError, InjectRing, Taken};
use crate::table::{Installed, SessionTable, TableError, TableWriter};
use crate::transport::{Bar, DeviceError, Transport};

/// Records copied with one request at most; the area for them is 32 bytes each.
const DUMP_CHUNK: usize = 4096;
/// Records not asked for that are copied along rather than starting another request.
const DUMP_GAP: u32 = 16;
/// Words of one burst while the tables are cleared.
const CLEAR_BURST: usize = 64;
/// How long one wait for the card's progress takes at most.
const WAIT: Duration = Duration::from_millis(10);
/// A copy of activity that takes longer than this is looked into.
const SLOW: Duration = Duration::from_millis(50);
/// Waits for a slot of the inject ring before a frame is dropped.
const INJECT_WAITS: usize = 8;

/// Choices made when a card is opened.
#[derive(Clone, Copy, Debug)]
pub struct CardOptions {
    /// Secret of the session hash: random in the field, so that nobody can aim at buckets; fixed in tests.
    pub hash_key: HashKey,
    /// log2 of the exception ring's slots, 1 to 12.
    pub exception_log2: usize,
    /// log2 of the inject ring's slots, 1 to 12.
    pub inject_log2: usize,
    /// How long the card may take for a copy of activity before it counts as failed.
    pub timeout: Duration,
    /// Clear every tag after the reset. Block RAM survives the reset of real cards; a simulated card that starts empty
    /// may spare itself the 4,096 writes.
    pub clear: bool,
}

impl Default for CardOptions {
    fn default() -> Self {
        Self {
            hash_key: HashKey([0x6e61_7436, 0x342d_6e69]),
            exception_log2: 8,
            inject_log2: 8,
            timeout: Duration::from_secs(10),
            clear: true,
        }
    }
}

/// Why a card cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// What answers is no card of ours.
    #[error("not a NAT64 card: its identity is {found:#010x}, expected {MAGIC:#010x}")]
    NotACard {
        /// What `Ident` reads as.
        found: u32,
    },
    /// Card and driver were built from different contracts.
    #[error("the card's ABI hash is {card:#010x}, the driver's is {driver:#010x}: use a bitstream of this version")]
    AbiMismatch {
        /// What the card shows.
        card: u32,
        /// What the driver was built with.
        driver: u32,
    },
    /// Table sizes the driver cannot work with.
    #[error("the card's geometry {found:#010x} is not supported")]
    Geometry {
        /// What `Geometry` reads as.
        found: u32,
    },
    /// What was written did not come back.
    #[error("the scratch register reads {read:#010x} after {wrote:#010x} was written")]
    Scratch {
        /// What was written.
        wrote: u32,
        /// What came back.
        read: u32,
    },
    /// A ring size that does not exist.
    #[error("a ring cannot have 2^{log2} slots (2^1 to 2^12)")]
    RingSize {
        /// log2 asked for.
        log2: usize,
    },
    /// The configuration does not fit the card's tables.
    #[error("the configuration does not fit the card")]
    Plan(#[from] PlanError),
    /// The way to the card failed.
    #[error("device access failed")]
    Device(#[from] DeviceError),
}

/// Counters of one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames that came in.
    pub packets_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Frames that went out.
    pub packets_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
}

/// Packets and bytes one service set's packets the card translated; index is `nat64_layout::Direction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetCounters {
    /// Packets.
    pub packets: [u64; 2],
    /// Bytes.
    pub bytes: [u64; 2],
}

/// All counters of a card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardCounters {
    /// Punts and drops by reason, in the order of the reasons; those never met are left out.
    pub reasons: Vec<(Reason, u64)>,
    /// By port.
    pub ports: [PortCounters; PORTS],
    /// By service set.
    pub sets: [SetCounters; tables::SERVICE_SETS],
    /// By port, where the card has MACs of its own.
    pub macs: [Option<MacCounters>; PORTS],
}

impl CardCounters {
    /// How often a reason was met.
    pub fn reason(&self, reason: Reason) -> u64 {
        self.reasons
            .iter()
            .find(|(r, _)| *r == reason)
            .map_or(0, |(_, count)| *count)
    }

    /// Packets the card translated, by direction.
    pub fn translated(&self) -> [u64; 2] {
        std::array::from_fn(|d| self.sets.iter().map(|set| set.packets[d]).sum())
    }
}

/// The transport with the one judgement it leaves to us: all ones.
struct Bus {
    transport: Box<dyn Transport>,
    irqs: u32,
}

impl Bus {
    fn read(&mut self, offset: u32) -> Result<u32, DeviceError> {
        let value = self.transport.read32(Bar::Bar0, offset)?;
        if value == u32::MAX && self.transport.read32(Bar::Bar0, Ident::OFFSET)? == u32::MAX {
            return Err(DeviceError::Gone { bar: Bar::Bar0, offset });
        }
        Ok(value)
    }

    /// A counter: reading the low word holds the high one.
    fn read64(&mut self, offset: u32) -> Result<u64, DeviceError> {
        let low = self.read(offset)?;
        Ok(u64::from(self.read(offset + 4)?) << 32 | u64::from(low))
    }

    fn write(&mut self, offset: u32, value: u32) -> Result<(), DeviceError> {
        self.transport.write32(Bar::Bar0, offset, value)
    }

    fn write64(&mut self, low: u32, high: u32, value: u64) -> Result<(), DeviceError> {
        self.write(low, value as u32)?;
        self.write(high, (value >> 32) as u32)
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), DeviceError> {
        self.irqs |= self.transport.wait(timeout)?;
        Ok(())
    }
}

impl TableWriter for Bus {
    fn write(&mut self, offset: u32, words: &[u32]) -> Result<(), DeviceError> {
        self.transport.write_burst(Bar::Bar2, offset, words)
    }
}

/// See the module documentation.
pub struct Card {
    bus: Bus,
    geometry: Geometry,
    datapath: Datapath,
    options: CardOptions,
    exceptions: ExceptionRing,
    inject: InjectRing,
    rung: u32,
    dump: DmaBuffer,
    done: DmaBuffer,
    sequence: u8,
    table: SessionTable,
    hops: NextHops,
    plan: Plan,
    memory_version: u64,
    enabled: bool,
    mark: u32,
    watch: Watch,
}

/// What the last check saw, so that the next can tell standing still from being slow.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    /// The card had filled this slot, and the driver had not seen it.
    unseen: Option<u32>,
    /// This injected frame was the next to be sent.
    unsent: Option<u32>,
}

impl std::fmt::Debug for Card {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            geometry,
            datapath,
            table,
            ..
        } = self;
        f.debug_struct("Card")
            .field("geometry", geometry)
            .field("datapath", datapath)
            .field("sessions", &table.len())
            .finish()
    }
}

impl Card {
    /// Takes a card over: checks what it is, resets it, gives it its hash secret and its rings. It takes no frames until
    /// it is configured for the first time.
    pub fn open(transport: Box<dyn Transport>, options: CardOptions) -> Result<Self, CardError> {
        let (mut bus, geometry) = identify(transport, &options)?;
        bus.transport.reset()?;
        for wrote in [0x5aa5_c33c, 0xa55a_3cc3] {
            bus.write(Scratch::OFFSET, wrote)?;
            let read = bus.read(Scratch::OFFSET)?;
            if read != wrote {
                return Err(CardError::Scratch { wrote, read });
            }
        }
        // Reads as 0 after a reset: how a reset behind our back is found.
        bus.write(Scratch::OFFSET, mark(&options))?;
        bus.write(Ctrl::OFFSET, 0)?;
        bus.write(ExcCtrl::OFFSET, 0)?;
        bus.write(InjCtrl::OFFSET, 0)?;
        if options.clear {
            clear(&mut bus, geometry)?;
        }
        let HashKey([key0, key1]) = options.hash_key;
        bus.write(HashKey0::OFFSET, key0)?;
        bus.write(HashKey1::OFFSET, key1)?;
        let table = SessionTable::new(geometry, options.hash_key);
        Self::with_rings(bus, geometry, options, table)
    }

    /// The card with rings and copy areas of its own, which must be off.
    fn with_rings(
        mut bus: Bus,
        geometry: Geometry,
        options: CardOptions,
        table: SessionTable,
    ) -> Result<Self, CardError> {
        let datapath = Datapath(bus.read(Datapath::OFFSET)?);
        let exception = bus.transport.dma_alloc(ring_bytes(options.exception_log2))?;
        let inject = bus.transport.dma_alloc(ring_bytes(options.inject_log2))?;
        let dump = bus
            .transport
            .dma_alloc(geometry.records().min(DUMP_CHUNK) * DUMP_BYTES)?;
        // Completion words: one cache line each, one buffer.
        let done = bus.transport.dma_alloc(128)?;
        let writeback = bus.transport.dma_alloc(64)?;
        bus.write64(ExcBaseLow::OFFSET, ExcBaseHigh::OFFSET, exception.iova)?;
        bus.write64(InjBaseLow::OFFSET, InjBaseHigh::OFFSET, inject.iova)?;
        bus.write64(InjWbLow::OFFSET, InjWbHigh::OFFSET, writeback.iova)?;
        bus.write64(DumpAddrLow::OFFSET, DumpAddrHigh::OFFSET, dump.iova)?;
        bus.write64(DumpDoneLow::OFFSET, DumpDoneHigh::OFFSET, done.iova)?;
        let mut control = ExcCtrl(0);
        control.set_log2(options.exception_log2 as u32);
        control.set_enable(1);
        bus.write(ExcCtrl::OFFSET, control.0)?;
        let mut control = InjCtrl(0);
        control.set_log2(options.inject_log2 as u32);
        control.set_enable(1);
        bus.write(InjCtrl::OFFSET, control.0)?;
        Ok(Self {
            bus,
            geometry,
            datapath,
            options,
            exceptions: ExceptionRing::new(exception.memory, options.exception_log2),
            inject: InjectRing::new(inject.memory, options.inject_log2, writeback.memory),
            rung: 0,
            dump,
            done,
            sequence: 0,
            table,
            hops: NextHops::default(),
            plan: Plan::default(),
            memory_version: 0,
            enabled: false,
            mark: mark(&options),
            watch: Watch::default(),
        })
    }

    /// Looks whether the card is there and was not reset by anyone else; one register read. All that is read from it
    /// before is then known to be of the card as it was set up.
    ///
    /// # Errors
    /// [`DeviceError::Gone`], [`DeviceError::WasReset`], or that it cannot be read.
    pub fn verify(&mut self) -> Result<(), DeviceError> {
        let found = self.bus.read(Scratch::OFFSET)?;
        if found == self.mark {
            return Ok(());
        }
        let mark = self.mark;
        Err(DeviceError::WasReset { mark, found })
    }

    /// As [`Card::verify`], and that both rings get on: a slot the card has filled must have been seen by the next check,
    /// an injected frame sent. To be called about once a second.
    ///
    /// # Errors
    /// As [`Card::verify`]; [`DeviceError::Timeout`] for a ring that stands still.
    pub fn check(&mut self) -> Result<(), DeviceError> {
        self.verify()?;
        let stuck = |what| DeviceError::Timeout {
            what,
            waited: Duration::from_secs(1),
        };
        let head = self.bus.read(ExcHead::OFFSET)?;
        let next = self.exceptions.next_index();
        let unseen = (head != next && !self.exceptions.is_ready()).then_some(next);
        let unsent = (!self.inject.is_idle()).then(|| self.inject.sent_index());
        let before = std::mem::replace(&mut self.watch, Watch { unseen, unsent });
        if unseen.is_some() && unseen == before.unseen {
            return Err(stuck("a slot of the exception ring that it says it has filled"));
        }
        if unsent.is_some() && unsent == before.unsent {
            return Err(stuck("the sending of an injected frame"));
        }
        Ok(())
    }

    /// Table sizes.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Bus width, ports, latency.
    pub fn datapath(&self) -> Datapath {
        self.datapath
    }

    /// The session table.
    pub fn table(&self) -> &SessionTable {
        &self.table
    }

    /// Next-hop entries in use.
    pub fn next_hops_used(&self) -> usize {
        self.hops.used()
    }

    /// The tables as configured last.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Card time, ns.
    pub fn time(&mut self) -> Result<u64, DeviceError> {
        let low = self.bus.read(TimeLow::OFFSET)?;
        Ok(u64::from(self.bus.read(TimeHigh::OFFSET)?) << 32 | u64::from(low))
    }

    /// Writes the tables of a configuration and, the first time, enables the card.
    ///
    /// While tables change, units that are served are switched off and both ports send what they do not match to the
    /// host: a packet meets the old tables, the host, or the new ones, never half of each. Installed sessions stay;
    /// the caller removes those whose record would be another one under the new plan ([`Card::record`]) before.
    pub fn configure(&mut self, config: &GatewayConfig) -> Result<(), CardError> {
        let plan = Plan::new(config)?;
        self.apply(plan)?;
        Ok(())
    }

    /// As [`Card::configure`], with tables made before.
    pub fn apply(&mut self, plan: Plan) -> Result<(), DeviceError> {
        let old = std::mem::take(&mut self.plan);
        let tables_change = (old.pref64s, old.terms, old.pools, old.service_sets)
            != (plan.pref64s, plan.terms, plan.pools, plan.service_sets);
        let changes = tables_change || old.units != plan.units;
        if changes && self.enabled {
            self.bus.write(Policy::OFFSET, Plan::policy_punt())?;
            for (index, (&was, &will)) in old.units.iter().zip(&plan.units).enumerate() {
                if was != [0; 2] && (tables_change || was != will) {
                    self.write_entry(tables::UNIT_BASE, tables::UNIT_STRIDE, index, &[0; 2])?;
                }
            }
        }
        self.write_table(tables::PREF64_BASE, tables::PREF64_STRIDE, &old.pref64s, &plan.pref64s)?;
        self.write_table(tables::TERM_BASE, tables::TERM_STRIDE, &old.terms, &plan.terms)?;
        self.write_table(tables::POOL_BASE, tables::POOL_STRIDE, &old.pools, &plan.pools)?;
        self.write_table(
            tables::SERVICE_SET_BASE,
            tables::SERVICE_SET_STRIDE,
            &old.service_sets,
            &plan.service_sets,
        )?;
        for (index, (&was, &will)) in old.units.iter().zip(&plan.units).enumerate() {
            if was != will || (tables_change && will != [0; 2]) || !self.enabled {
                self.write_entry(tables::UNIT_BASE, tables::UNIT_STRIDE, index, &will)?;
            }
        }
        if changes || old.policy != plan.policy || !self.enabled {
            self.bus.write(Policy::OFFSET, plan.policy)?;
        }
        self.plan = plan;
        self.memory_version += 1;
        if !self.enabled {
            let mut control = Ctrl(0);
            control.set_enable(1);
            self.bus.write(Ctrl::OFFSET, control.0)?;
            // a read pushes posted writes before it: whoever is told that the card is configured finds it open
            self.bus.read(Ctrl::OFFSET)?;
            self.enabled = true;
        }
        Ok(())
    }

    fn write_table<const N: usize>(
        &mut self,
        base: u32,
        stride: u32,
        old: &[[u32; N]],
        new: &[[u32; N]],
    ) -> Result<(), DeviceError> {
        for (index, (was, will)) in old.iter().zip(new).enumerate() {
            // What a card holds before its first configuration is not known.
            if was != will || !self.enabled {
                self.write_entry(base, stride, index, will)?;
            }
        }
        Ok(())
    }

    fn write_entry(&mut self, base: u32, stride: u32, index: usize, words: &[u32]) -> Result<(), DeviceError> {
        self.bus
            .transport
            .write_burst(Bar::Bar0, base + index as u32 * stride, words)
    }

    /// The record of a session under the present tables; `None` when the card cannot carry it.
    pub fn record(&self, flow: &Flow, hop6: u8, hop4: u8) -> Option<Record> {
        self.plan.record(flow, hop6, hop4)
    }

    /// A next-hop entry for packets a neighbour takes, with one more user; `Ok(None)` when the table is full.
    pub fn acquire_hop(&mut self, neighbour: Key, hop: NextHop) -> Result<Option<u8>, DeviceError> {
        let Some((index, write)) = self.hops.acquire(neighbour, hop) else {
            return Ok(None);
        };
        if let Some(write) = write {
            self.memory_version += 1;
            self.bus
                .transport
                .write_burst(Bar::Bar0, hops::offset(write.index), &write.hop.to_words())?;
        }
        Ok(Some(index))
    }

    /// Takes one [`Card::acquire_hop`] back.
    pub fn release_hop(&mut self, neighbour: Key, index: u8) {
        self.hops.release(neighbour, index);
    }

    /// The neighbour is at another MAC address now: false when its sessions have to be installed anew.
    pub fn move_hop(&mut self, neighbour: Key, mac: Mac) -> Result<bool, DeviceError> {
        match self.hops.moved(neighbour, mac) {
            Ok(Some(write)) => {
                self.memory_version += 1;
                self.bus
                    .transport
                    .write_burst(Bar::Bar0, hops::offset(write.index), &write.hop.to_words())?;
                Ok(true)
            }
            Ok(None) => Ok(true),
            Err(hops::SharedHop) => Ok(false),
        }
    }

    /// Installs a session: posted writes only. Returns its record index.
    pub fn install(&mut self, id: SessionId, record: &Record, service_set: usize) -> Result<u32, TableError> {
        self.table.install(id, record, service_set as u8, &mut self.bus)
    }

    /// Removes a session: posted writes only. `None` when it is not installed.
    pub fn remove(&mut self, id: SessionId) -> Result<Option<Installed>, TableError> {
        self.table.remove(id, &mut self.bus)
    }

    /// The next punted frame, copied into `frame`. Its slot is the card's again after [`Card::give_back`].
    pub fn take(&mut self, frame: &mut Vec<u8>) -> Option<Result<Taken, BadDescriptor>> {
        self.exceptions.take(frame)
    }

    /// Gives the slots of everything taken back to the card.
    pub fn give_back(&mut self) -> Result<(), DeviceError> {
        self.bus.write(ExcTail::OFFSET, self.exceptions.give_back())
    }

    /// Slots of the exception ring.
    pub fn exception_slots(&self) -> u32 {
        self.exceptions.slots()
    }

    /// Sends a frame. `Ok(Err(..))`: the frame cannot be sent, or the ring stayed full although the card was given some
    /// time.
    pub fn inject(&mut self, port: usize, frame: &[u8]) -> Result<Result<(), InjectError>, DeviceError> {
        for _ in 0..INJECT_WAITS {
            match self.inject.push(port, frame) {
                Err(InjectError::Full { .. }) => {
                    self.flush()?;
                    self.bus.wait(WAIT)?;
                }
                result => return Ok(result),
            }
        }
        Ok(self.inject.push(port, frame))
    }

    /// Tells the card of the frames injected since the last time.
    pub fn flush(&mut self) -> Result<(), DeviceError> {
        let tail = self.inject.doorbell();
        if tail != self.rung {
            self.bus.write(InjTail::OFFSET, tail)?;
            self.rung = tail;
        }
        Ok(())
    }

    /// Whether the card has sent every injected frame.
    pub fn inject_idle(&mut self) -> bool {
        self.inject.is_idle()
    }

    /// Waits for an interrupt, as [`Transport::wait`]; interrupts that came during other calls count.
    pub fn wait(&mut self, timeout: Duration) -> Result<u32, DeviceError> {
        let timeout = if self.bus.irqs == 0 { timeout } else { Duration::ZERO };
        self.bus.wait(timeout)?;
        Ok(std::mem::take(&mut self.bus.irqs))
    }

    /// Stamps and counters of sessions, read in bulk; sessions that are not installed are left out.
    pub fn activity(&mut self, ids: &[SessionId]) -> Result<Vec<(SessionId, DumpEntry)>, DeviceError> {
        let mut indices: Vec<(u32, SessionId)> = ids
            .iter()
            .filter_map(|&id| Some((self.table.get(id)?.index, id)))
            .collect();
        indices.sort_unstable();
        indices.dedup();
        let chunk = self.dump.memory.bytes() / DUMP_BYTES;
        let mut entries = Vec::with_capacity(indices.len());
        let mut rest = &indices[..];
        while let Some(&(first, _)) = rest.first() {
            let mut last = first;
            let joins = |&&(index, _): &&(u32, SessionId)| {
                let joins = index - last <= DUMP_GAP && ((index - first) as usize) < chunk;
                if joins {
                    last = index;
                }
                joins
            };
            let count = rest.iter().take_while(joins).count();
            self.copy(DumpKind::Activity, first, last - first + 1)?;
            let (now, later) = rest.split_at(count);
            for &(index, id) in now {
                let at = (index - first) as usize * DUMP_WORDS;
                let words = std::array::from_fn(|i| self.dump.memory.load(at + i));
                entries.push((id, DumpEntry::from_words(words)));
            }
            rest = later;
        }
        Ok(entries)
    }

    /// Has the card copy `count` entries of a kind from `first` on, and waits until they are there.
    fn copy(&mut self, kind: DumpKind, first: u32, count: u32) -> Result<(), DeviceError> {
        // Never 0: that is what the completion word is set to before.
        self.sequence = self.sequence % u8::MAX + 1;
        self.done.memory.store_release(0, 0);
        self.bus.write(DumpFirst::OFFSET, first)?;
        let mut go = DumpGo(0);
        go.set_count(count);
        go.set_kind(kind as u32);
        go.set_sequence(self.sequence.into());
        self.bus.write(DumpGo::OFFSET, go.0)?;
        let start = Instant::now();
        let mut looked = false;
        while self.done.memory.load_acquire(0) != u64::from(self.sequence) {
            let waited = start.elapsed();
            if waited > SLOW && !looked {
                // A card that was reset has forgotten where to copy to and will never finish. While all is well nothing
                // is read here.
                looked = true;
                self.verify()?;
            }
            if waited > self.options.timeout {
                // A card that is gone does not copy either; say which it is.
                self.bus.read(Ident::OFFSET)?;
                return Err(DeviceError::Timeout {
                    what: match kind {
                        DumpKind::Activity => "copy of session activity",
                        _ => "copy of the session table",
                    },
                    waited,
                });
            }
            self.bus.wait(WAIT)?;
        }
        Ok(())
    }

    /// All registers that can be read, without those of tables and counters: offset in BAR0 and value. No read has an
    /// effect that this driver does not expect.
    pub fn registers(&mut self) -> Result<Vec<(u32, u32)>, DeviceError> {
        let readable = regs::REGISTERS.iter().filter(|r| r.access != regs::Access::Wo);
        readable.map(|r| Ok((r.offset, self.bus.read(r.offset)?))).collect()
    }

    /// Reads all counters.
    pub fn counters(&mut self) -> Result<CardCounters, DeviceError> {
        let mut counters = CardCounters::default();
        for &reason in Reason::ALL
            .iter()
            .filter(|&&r| (r as u8) < nat64_layout::FIRST_HOST_REASON)
        {
            let count = self.bus.read64(COUNTER_BASE + 8 * reason as u32)?;
            if count != 0 {
                counters.reasons.push((reason, count));
            }
        }
        for (base, port) in (PORT_COUNTER_BASE..).step_by(32).zip(&mut counters.ports) {
            port.packets_in = self.bus.read64(base)?;
            port.bytes_in = self.bus.read64(base + 8)?;
            port.packets_out = self.bus.read64(base + 16)?;
            port.bytes_out = self.bus.read64(base + 24)?;
        }
        for (base, set) in (SET_COUNTER_BASE..).step_by(32).zip(&mut counters.sets) {
            for direction in 0..2 {
                set.packets[direction] = self.bus.read64(base + 16 * direction as u32)?;
                set.bytes[direction] = self.bus.read64(base + 16 * direction as u32 + 8)?;
            }
        }
        for port in 0..PORTS {
            counters.macs[port] = mac::counters(&mut self.bus, port)?;
        }
        Ok(counters)
    }
}

/// Checks that a card of ours answers, and how large it is.
fn identify(transport: Box<dyn Transport>, options: &CardOptions) -> Result<(Bus, Geometry), CardError> {
    for log2 in [options.exception_log2, options.inject_log2] {
        if !valid_log2(log2) {
            return Err(CardError::RingSize { log2 });
        }
    }
    let mut bus = Bus { transport, irqs: 0 };
    let found = bus.read(Ident::OFFSET)?;
    if found != MAGIC {
        return Err(CardError::NotACard { found });
    }
    let card = bus.read(AbiHash::OFFSET)?;
    if card != ABI_HASH {
        return Err(CardError::AbiMismatch { card, driver: ABI_HASH });
    }
    let geometry = geometry(bus.read(regs::Geometry::OFFSET)?)?;
    Ok((bus, geometry))
}

/// What the driver leaves in `Scratch` of a card it has set up.
const fn mark(options: &CardOptions) -> u32 {
    options.hash_key.0[0] | 1
}

/// Reads the geometry register, with every size in reach of the driver's arithmetic.
fn geometry(found: u32) -> Result<Geometry, CardError> {
    let register = regs::Geometry(found);
    let geometry = Geometry {
        record_log2: register.record_log2() as usize,
        bucket_log2: register.bucket_log2() as usize,
        stash: register.stash() as usize,
    };
    let records = (1..=INDEX_BITS).contains(&geometry.record_log2);
    if !records || geometry.bucket_log2 > 16 || register.ways() as usize != WAYS {
        return Err(CardError::Geometry { found });
    }
    Ok(geometry)
}

/// Switches every tag and stash entry off.
fn clear(bus: &mut Bus, geometry: Geometry) -> Result<(), DeviceError> {
    let zeros = [Tag::EMPTY; CLEAR_BURST];
    let per_bank = WAYS << geometry.bucket_log2;
    for bank in 0..BANKS {
        for at in (0..per_bank).step_by(CLEAR_BURST) {
            let words = &zeros[..CLEAR_BURST.min(per_bank - at)];
            TableWriter::write(bus, Tag::offset(bank, (at / WAYS) as u32, 0), words)?;
        }
    }
    for entry in 0..geometry.stash {
        TableWriter::write(bus, StashEntry::offset(entry), &StashEntry::EMPTY)?;
    }
    Ok(())
}

mod adopt;
mod mac;

pub use mac::{counted, MacCounters, Phy};

pub use adopt::{AdoptCardError, Adopted, CardMemory, HopMemory};

#[cfg(test)]
#[path = "card_tests.rs"]
mod tests;
