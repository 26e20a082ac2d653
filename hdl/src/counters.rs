//! Counters by reason, port and service set, and their read port.

use crate::prim::{Quiet, Reg};
use crate::types::{Tally, Translated};
use crate::FastBlock;
use rust_hdl::prelude::*;

/// Clocks from `read` to `read_done`.
pub const LATENCY: usize = 3;

/// See the module documentation.
#[derive(FastBlock, Default)]
pub struct Counters {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reasons from egress, up to one per clock.
    pub tally0: Signal<In, Tally>,
    /// Reasons from ingress.
    pub tally1: Signal<In, Tally>,
    /// Reasons from punt.
    pub tally2: Signal<In, Tally>,
    /// Reasons from inject.
    pub tally3: Signal<In, Tally>,
    /// Translated packets, up to one per clock.
    pub translated: Signal<In, Translated>,
    /// A frame came in.
    pub in_valid: Signal<In, Bit>,
    /// On this port.
    pub in_port: Signal<In, Bit>,
    /// With so many bytes.
    pub in_bytes: Signal<In, Bits<16>>,
    /// A frame left by port 0.
    pub out_valid0: Signal<In, Bit>,
    /// Its bytes.
    pub out_bytes0: Signal<In, Bits<16>>,
    /// A frame left by port 1.
    pub out_valid1: Signal<In, Bit>,
    /// Its bytes.
    pub out_bytes1: Signal<In, Bits<16>>,
    /// Reads a word.
    pub read: Signal<In, Bit>,
    /// Its BAR0 byte offset, from `COUNTER_BASE` up.
    pub address: Signal<In, Bits<16>>,
    /// The word is there, for one clock.
    pub read_done: Signal<Out, Bit>,
    /// The word.
    pub read_data: Signal<Out, Bits<32>>,
    done: Reg<Bit>,
    _quiet: Quiet,
}

impl Logic for Counters {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, done);
        self.done.d.next = self.read.val();
        self.read_done.next = self.done.q.val();
        self.read_data.next = 0.into();
    }
}
