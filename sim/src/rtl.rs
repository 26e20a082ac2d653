//! The reference engine: the RustHDL core itself, stepped without RustHDL's testbench threads.
//!
//! A clock is two settlings of the core: one after the inputs changed, one after the edge. Both go on until no signal moves,
//! and blocks that have settled are not visited.

use std::sync::Arc;

use nat64_driver::HostMemory;
use nat64_hdl::core::Core64;
use nat64_hdl::prim::Clocked;
use nat64_hdl::testkit::settle;
use rust_hdl::prelude::*;

use crate::engine::Engine;
use crate::pins::{Beat, Bench, PinEngine, PinsIn, PinsOut};
use crate::waves::Waves;

/// The core at W = 64 in RustHDL's simulator.
pub struct Rtl {
    core: Box<Core64>,
    waves: Option<Arc<Waves>>,
}

impl Rtl {
    /// A core in its state after power-on.
    ///
    /// The core is one struct that is larger than an ordinary stack: to be called on a thread with
    /// [`nat64_hdl::export::STACK_BYTES`], as that of [`crate::card::SimCard`].
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let mut core = Box::<Core64>::default();
        core.connect_all();
        settle(core.as_mut());
        Self { core, waves: None }
    }
}

/// The bench around [`Rtl`]; DMA goes to `memory`. As [`Rtl::new`], to be called on a thread with a large stack.
pub fn engine(memory: HostMemory) -> Box<dyn Engine> {
    Box::new(Bench::new(Rtl::new(), memory))
}

/// The same, whose clocks are shown to `waves`.
pub fn engine_with_waves(memory: HostMemory, waves: Arc<Waves>) -> Box<dyn Engine> {
    let mut rtl = Rtl::new();
    rtl.waves = Some(waves);
    Box::new(Bench::new(rtl, memory))
}

macro_rules! drive {
    ($core:expr, $pins:expr, $port:literal, $valid:ident $data:ident $count:ident $first:ident $last:ident $error:ident $ready:ident) => {
        $core.$valid.next = $pins.rx_valid[$port];
        $core.$data.next = $pins.rx[$port].data.into();
        $core.$count.next = u64::from($pins.rx[$port].count).into();
        $core.$first.next = $pins.rx[$port].first;
        $core.$last.next = $pins.rx[$port].last;
        $core.$error.next = $pins.rx[$port].error;
        $core.$ready.next = $pins.tx_ready[$port];
    };
}

macro_rules! sample {
    ($core:expr, $out:expr, $port:literal, $valid:ident $data:ident $count:ident $first:ident $last:ident $error:ident $ready:ident) => {
        $out.tx_valid[$port] = $core.$valid.val();
        $out.tx[$port] = Beat {
            data: $core.$data.val().low(),
            count: number($core.$count.val()) as u8,
            first: $core.$first.val(),
            last: $core.$last.val(),
            error: $core.$error.val(),
        };
        $out.rx_ready[$port] = $core.$ready.val();
    };
}

fn number<const N: usize>(bits: nat64_hdl::bits::Bits<N>) -> u64 {
    bits.into()
}

impl PinEngine for Rtl {
    fn clock(&mut self, pins: &PinsIn) -> PinsOut {
        let core = self.core.as_mut();
        core.time_ns.next = pins.time_ns.into();
        drive!(core, pins, 0, rx0_valid rx0_data rx0_count rx0_first rx0_last rx0_error tx0_ready);
        drive!(core, pins, 1, rx1_valid rx1_data rx1_count rx1_first rx1_last rx1_error tx1_ready);
        core.csr_write.next = pins.csr_write;
        core.csr_bar2.next = pins.csr_bar2;
        core.csr_addr.next = u64::from(pins.csr_addr).into();
        core.csr_wdata.next = u64::from(pins.csr_wdata).into();
        core.csr_read.next = pins.csr_read;
        core.csr_raddr.next = u64::from(pins.csr_raddr).into();
        core.mw_ready.next = pins.mw_ready;
        core.mr_ready.next = pins.mr_ready;
        core.md_valid.next = pins.md_valid;
        core.md_data.next = pins.md_data.into();
        core.md_last.next = pins.md_last;
        core.md_error.next = pins.md_error;
        settle(core);
        let mut out = PinsOut {
            csr_done: core.csr_done.val(),
            csr_rdata: number(core.csr_rdata.val()) as u32,
            mw_valid: core.mw_valid.val(),
            mw_addr: core.mw_addr.val().low(),
            mw_data: core.mw_data.val().low(),
            mw_first: core.mw_first.val(),
            mw_last: core.mw_last.val(),
            mr_valid: core.mr_valid.val(),
            mr_addr: core.mr_addr.val().low(),
            mr_len: number(core.mr_len.val()) as u16,
            md_ready: core.md_ready.val(),
            irq: number(core.irq.val()) as u8,
            idle: core.idle.val(),
            ..PinsOut::default()
        };
        sample!(core, out, 0, tx0_valid tx0_data tx0_count tx0_first tx0_last tx0_error rx0_ready);
        sample!(core, out, 1, tx1_valid tx1_data tx1_count tx1_first tx1_last tx1_error rx1_ready);
        if let Some(waves) = &self.waves {
            waves.clock(core);
        }
        core.toggle_clock();
        settle(core);
        out
    }

    fn reset(&mut self) {
        // The large stack of the engine's thread is still there.
        let waves = self.waves.take();
        *self = Self::new();
        self.waves = waves;
    }
}
