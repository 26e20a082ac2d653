//! Control and status: turns the csr pins into broadcast writes, and answers reads.
//!
//! ```text
//!  csr_write csr_bar2 csr_addr csr_wdata --> | csr | --> write  (RegisterWrite, BAR0)   1 clock later
//!                                            |     | --> window (WindowWrite, BAR2)     1 clock later
//!  csr_read csr_raddr ---------------------> |     | --> csr_done csr_rdata             see below
//!  time_ns exc_head inj_head --------------> |     |
//!                  counters <-- counter_read |     | <-- counter_done counter_data
//! ```
//!
//! Writes are posted, one per clock, never refused. One read may be outstanding; it is answered 4 clocks later, reads
//! of counters when the counter block answers. Registers that only keep what was written are kept once more here, in a block RAM, so
//! that the blocks that own them need no read port; write-only registers are not kept and read as 0.

use crate::prelude::*;
use nat64_layout::{regs, Geometry, ABI_HASH};

use crate::prim::{BlockRam, Quiet, Reg};
use crate::types::{RegisterWrite, WindowWrite};
use crate::wide::{bits_narrow, Wide};
use crate::FastBlock;

/// See the module documentation.
#[derive(FastBlock)]
pub struct Csr {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// A write is on the pins.
    pub csr_write: Signal<In, Bit>,
    /// It goes to BAR2 (else BAR0).
    pub csr_bar2: Signal<In, Bit>,
    /// Byte address in the BAR.
    pub csr_addr: Signal<In, Bits<24>>,
    /// Word to write.
    pub csr_wdata: Signal<In, Bits<32>>,
    /// A read of BAR0 is on the pins.
    pub csr_read: Signal<In, Bit>,
    /// Its byte address.
    pub csr_raddr: Signal<In, Bits<16>>,
    /// The word that was read, for one clock.
    pub csr_done: Signal<Out, Bit>,
    /// Data of the read.
    pub csr_rdata: Signal<Out, Bits<32>>,
    /// Card time.
    pub time_ns: Signal<In, Wide<64>>,
    /// Head of the exception ring.
    pub exc_head: Signal<In, Bits<32>>,
    /// Head of the inject ring.
    pub inj_head: Signal<In, Bits<32>>,
    /// BAR0 writes for every block.
    pub write: Signal<Out, RegisterWrite>,
    /// BAR2 writes for the session table.
    pub window: Signal<Out, WindowWrite>,
    /// A counter is read.
    pub counter_read: Signal<Out, Bit>,
    /// Its BAR0 address.
    pub counter_address: Signal<Out, Bits<16>>,
    /// The counter block answers.
    pub counter_done: Signal<In, Bit>,
    /// Its word.
    pub counter_data: Signal<In, Bits<32>>,
    kept: BlockRam<Bits<32>, 9>,
    out_write: Reg<RegisterWrite>,
    out_window: Reg<WindowWrite>,
    address: Reg<Bits<16>>,
    stage: Reg<Bits<4>>,
    fixed: Reg<Bits<32>>,
    is_fixed: Reg<Bit>,
    is_counter: Reg<Bit>,
    time_high: Reg<Bits<32>>,
    done: Reg<Bit>,
    data: Reg<Bits<32>>,
    time_low_half: Signal<Local, Wide<32>>,
    time_high_half: Signal<Local, Wide<32>>,
    keep: Signal<Local, Bit>,
    at_ident: Constant<Bits<16>>,
    at_abi: Constant<Bits<16>>,
    at_geometry: Constant<Bits<16>>,
    at_datapath: Constant<Bits<16>>,
    at_time_low: Constant<Bits<16>>,
    at_time_high: Constant<Bits<16>>,
    at_exc_head: Constant<Bits<16>>,
    at_inj_head: Constant<Bits<16>>,
    at_key0: Constant<Bits<24>>,
    at_key1: Constant<Bits<24>>,
    at_go: Constant<Bits<24>>,
    kept_end: Constant<Bits<24>>,
    counters: Constant<Bits<16>>,
    ident: Constant<Bits<32>>,
    abi: Constant<Bits<32>>,
    geometry: Constant<Bits<32>>,
    datapath: Constant<Bits<32>>,
    _quiet: Quiet,
}

impl Csr {
    /// A block that reports these sizes.
    pub fn new(geometry: Geometry, bus_bytes: usize, latency: usize) -> Self {
        let mut sizes = regs::Geometry(0);
        sizes.set_record_log2(geometry.record_log2 as u32);
        sizes.set_bucket_log2(geometry.bucket_log2 as u32);
        sizes.set_stash(geometry.stash as u32);
        sizes.set_ways(nat64_layout::WAYS as u32);
        let mut datapath = regs::Datapath(0);
        datapath.set_bus_bytes(bus_bytes as u32);
        datapath.set_ports(nat64_layout::PORTS as u32);
        datapath.set_latency(latency as u32);
        let at16 = |offset: u32| Constant::new(u64::from(offset).into());
        let at24 = |offset: u32| Constant::new(u64::from(offset).into());
        let word = |value: u32| Constant::new(u64::from(value).into());
        Self {
            clock: Default::default(),
            csr_write: Default::default(),
            csr_bar2: Default::default(),
            csr_addr: Default::default(),
            csr_wdata: Default::default(),
            csr_read: Default::default(),
            csr_raddr: Default::default(),
            csr_done: Default::default(),
            csr_rdata: Default::default(),
            time_ns: Default::default(),
            exc_head: Default::default(),
            inj_head: Default::default(),
            write: Default::default(),
            window: Default::default(),
            counter_read: Default::default(),
            counter_address: Default::default(),
            counter_done: Default::default(),
            counter_data: Default::default(),
            kept: Default::default(),
            out_write: Default::default(),
            out_window: Default::default(),
            address: Default::default(),
            stage: Default::default(),
            fixed: Default::default(),
            is_fixed: Default::default(),
            is_counter: Default::default(),
            time_high: Default::default(),
            done: Default::default(),
            data: Default::default(),
            time_low_half: Default::default(),
            time_high_half: Default::default(),
            keep: Default::default(),
            at_ident: at16(regs::Ident::OFFSET),
            at_abi: at16(regs::AbiHash::OFFSET),
            at_geometry: at16(regs::Geometry::OFFSET),
            at_datapath: at16(regs::Datapath::OFFSET),
            at_time_low: at16(regs::TimeLow::OFFSET),
            at_time_high: at16(regs::TimeHigh::OFFSET),
            at_exc_head: at16(regs::ExcHead::OFFSET),
            at_inj_head: at16(regs::InjHead::OFFSET),
            at_key0: at24(regs::HashKey0::OFFSET),
            at_key1: at24(regs::HashKey1::OFFSET),
            at_go: at24(regs::DumpGo::OFFSET),
            kept_end: at24(1 << 11),
            counters: at16(regs::COUNTER_BASE),
            ident: word(regs::MAGIC),
            abi: word(ABI_HASH),
            geometry: word(sizes.0),
            datapath: word(datapath.0),
            _quiet: Default::default(),
        }
    }
}

impl Logic for Csr {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self, clock, out_write, out_window, address, stage, fixed, is_fixed, is_counter, time_high, done, data
        );
        clock!(self, clock, kept);
        // writes
        self.out_write.d.next.valid = self.csr_write.val() & !self.csr_bar2.val();
        self.out_write.d.next.address = bit_cast::<16, 24>(self.csr_addr.val());
        self.out_write.d.next.data = self.csr_wdata.val();
        self.out_window.d.next.valid = self.csr_write.val() & self.csr_bar2.val();
        self.out_window.d.next.address = bit_cast::<23, 24>(self.csr_addr.val());
        self.out_window.d.next.data = self.csr_wdata.val();
        self.write.next = self.out_write.q.val();
        self.window.next = self.out_window.q.val();
        // what is kept for reading back: everything below the tables that may be read
        self.keep.next = self.csr_write.val()
            & !self.csr_bar2.val()
            & (self.csr_addr.val() < self.kept_end.val())
            & (self.csr_addr.val() != self.at_key0.val())
            & (self.csr_addr.val() != self.at_key1.val())
            & (self.csr_addr.val() != self.at_go.val());
        self.kept.write.next = self.keep.val();
        self.kept.write_address.next = bit_cast::<9, 24>(self.csr_addr.val() >> 2);
        self.kept.write_data.next = self.csr_wdata.val();
        self.kept.read_address.next = bit_cast::<9, 16>(self.address.q.val() >> 2);
        // reads: address register, two clocks of RAM, output register
        self.stage.d.next = self.stage.q.val() << 1;
        if self.csr_read.val() {
            self.address.d.next = self.csr_raddr.val();
            self.stage.d.next = 1.into();
        }
        self.time_low_half.next = self.time_ns.val().get_bits::<32>(0);
        self.time_high_half.next = self.time_ns.val().get_bits::<32>(32);
        self.counter_read.next = false;
        self.counter_address.next = self.address.q.val();
        if self.stage.q.val().get_bit(0) {
            self.is_fixed.d.next = true;
            self.is_counter.d.next = self.address.q.val() >= self.counters.val();
            self.counter_read.next = self.address.q.val() >= self.counters.val();
            self.fixed.d.next = 0.into();
            if self.address.q.val() == self.at_ident.val() {
                self.fixed.d.next = self.ident.val();
            } else if self.address.q.val() == self.at_abi.val() {
                self.fixed.d.next = self.abi.val();
            } else if self.address.q.val() == self.at_geometry.val() {
                self.fixed.d.next = self.geometry.val();
            } else if self.address.q.val() == self.at_datapath.val() {
                self.fixed.d.next = self.datapath.val();
            } else if self.address.q.val() == self.at_time_low.val() {
                self.fixed.d.next = bits_narrow::<32>(self.time_low_half.val());
                self.time_high.d.next = bits_narrow::<32>(self.time_high_half.val());
            } else if self.address.q.val() == self.at_time_high.val() {
                self.fixed.d.next = self.time_high.q.val();
            } else if self.address.q.val() == self.at_exc_head.val() {
                self.fixed.d.next = self.exc_head.val();
            } else if self.address.q.val() == self.at_inj_head.val() {
                self.fixed.d.next = self.inj_head.val();
            } else if self.address.q.val() < 0x800 {
                self.is_fixed.d.next = false;
            }
        }
        self.done.d.next = false;
        if self.stage.q.val().get_bit(2) & !self.is_counter.q.val() {
            self.done.d.next = true;
            self.data.d.next = self.kept.read_data.val();
            if self.is_fixed.q.val() {
                self.data.d.next = self.fixed.q.val();
            }
        }
        if self.counter_done.val() {
            self.done.d.next = true;
            self.data.d.next = self.counter_data.val();
        }
        self.csr_done.next = self.done.q.val();
        self.csr_rdata.next = self.data.q.val();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::Bench;
    use nat64_layout::{Access, REGISTERS};
    use rand::{rngs::StdRng, Rng, SeedableRng};

    fn read(bench: &mut Bench<Csr>, address: u32) -> u32 {
        bench.uut.csr_read.next = true;
        bench.uut.csr_raddr.next = u64::from(address).into();
        bench.tick();
        bench.uut.csr_read.next = false;
        for _ in 0..8 {
            bench.settle();
            // the counter block, one clock slow
            let counter = bench.uut.counter_read.val();
            bench.edge();
            bench.uut.counter_done.next = counter;
            bench.uut.counter_data.next = 0x1234_5678u64.into();
            if bench.uut.csr_done.val() {
                let word: u64 = bench.uut.csr_rdata.val().into();
                bench.uut.counter_done.next = false;
                bench.tick();
                return word as u32;
            }
        }
        panic!("no answer from {address:#x}");
    }

    #[test]
    fn registers_read_as_the_layout_says() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut bench = Bench::new(Csr::new(Geometry::STANDARD, 8, 45));
        bench.uut.time_ns.next = Wide::from(0x1122_3344_5566_7788u64);
        bench.uut.exc_head.next = 77u64.into();
        bench.uut.inj_head.next = 78u64.into();
        let mut written = Vec::new();
        for reg in REGISTERS {
            let value: u32 = rng.random();
            bench.uut.csr_write.next = true;
            bench.uut.csr_addr.next = u64::from(reg.offset).into();
            bench.uut.csr_wdata.next = u64::from(value).into();
            bench.tick();
            let seen = bench.uut.write.val();
            assert!(seen.valid && seen.address.index() as u32 == reg.offset && seen.data.index() as u32 == value);
            written.push(value);
        }
        bench.uut.csr_write.next = false;
        bench.tick();
        for (reg, value) in REGISTERS.iter().zip(written) {
            if (nat64_layout::pcie::STATE_BASE..nat64_layout::pcie::STATE_END).contains(&reg.offset) {
                // the transaction layer's own; its reads never come here
                continue;
            }
            let want = match (reg.access, reg.name) {
                (Access::Rw, _) => value,
                (Access::Wo, _) => 0,
                (_, "Ident") => regs::MAGIC,
                (_, "AbiHash") => ABI_HASH,
                (_, "Geometry") => 11 | 9 << 8 | 16 << 16 | 4 << 24,
                (_, "Datapath") => 8 | 2 << 8 | 45 << 16,
                (_, "TimeLow") => 0x5566_7788,
                (_, "TimeHigh") => 0x1122_3344,
                (_, "ExcHead") => 77,
                (_, "InjHead") => 78,
                (_, name) => panic!("{name} has no expectation"),
            };
            assert_eq!(read(&mut bench, reg.offset), want, "{}", reg.name);
        }
        assert_eq!(read(&mut bench, regs::COUNTER_BASE + 8), 0x1234_5678);
        assert_eq!(read(&mut bench, nat64_layout::tables::UNIT_BASE), 0, "tables read as 0");
        bench.agrees_with_verilog("csr");
        bench.agrees_with_netlist("csr");
    }

    #[test]
    fn window_writes_go_to_the_window_only() {
        let mut bench = Bench::new(Csr::new(Geometry::STANDARD, 8, 45));
        bench.uut.csr_write.next = true;
        bench.uut.csr_bar2.next = true;
        bench.uut.csr_addr.next = u64::from(regs::Ctrl::OFFSET).into();
        bench.uut.csr_wdata.next = 1u64.into();
        bench.tick();
        assert!(!bench.uut.write.val().valid && bench.uut.window.val().valid);
        bench.uut.csr_write.next = false;
        bench.uut.csr_bar2.next = false;
        bench.tick();
        assert_eq!(read(&mut bench, regs::Ctrl::OFFSET), 0);
    }
}
