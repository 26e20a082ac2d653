//! State: what the transaction layer counts and how it is set up, as registers, and the way to those of the network ports' MACs.
//!
//! ```text
//!  count_* --> | state | --> data (of `word`, READ clocks later)
//!  word write  |       | --> mac_word mac_write mac_wdata --> MACs
//!              |       | <-- mac_data (of `mac_word`) --/
//! ```
//!
//! Counters have 32 bits and wrap. A function-level reset leaves them as they are, so that one can be looked into.
//!
//! The word goes through a register on its way in and its contents through one on their way back, because the MACs are at the edge
//! of the part, and what reads is in its middle. Whoever reads keeps `word` for [`READ`] clocks.

use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::totals::{self, Totals};
use crate::FastBlock;

/// Clocks from `word` to `data`: the registers, and those of the counters here and in a MAC.
pub const READ: usize = 2 + totals::READ;

/// See the module documentation. `word` counts from `PcieState`; words 16 to 31 and 48 to 63 are the MACs'
/// (`nat64_layout::pcie::mac_base`).
#[derive(FastBlock, Default)]
pub struct State {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// `PcieState` as it is now.
    pub setup: Signal<In, Bits<32>>,
    /// One clock each: `PcieWrites` (bit 0) to `PcieResets` (bit 10), in the order of their offsets.
    pub events: Signal<In, Bits<11>>,
    /// A second drop in the same clock.
    pub dropped: Signal<In, Bit>,
    /// A second unsupported request in the same clock.
    pub unsupported: Signal<In, Bit>,
    /// Word to read or write, 4 bytes each from `PcieState` up.
    pub word: Signal<In, Bits<6>>,
    /// It is written; only those of the MACs can be.
    pub write: Signal<In, Bit>,
    /// What is written.
    pub wdata: Signal<In, Bits<32>>,
    /// The word of [`READ`] clocks ago.
    pub data: Signal<Out, Bits<32>>,
    /// Word of a MAC: bit 4 the port, bits 3:0 its word.
    pub mac_word: Signal<Out, Bits<5>>,
    /// It is written.
    pub mac_write: Signal<Out, Bit>,
    /// What is written.
    pub mac_wdata: Signal<Out, Bits<32>>,
    /// The MAC's word, [`totals::READ`] clocks behind `mac_word` at the latest; 0 where there is no MAC.
    pub mac_data: Signal<In, Bits<32>>,
    totals: Totals<11>,
    at: Reg<Bits<6>>,
    writes: Reg<Bit>,
    written: Reg<Bits<32>>,
    kept: Reg<Bits<32>>,
    _quiet: Quiet,
}

impl Logic for State {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, at, writes, written, kept);
        clock!(self, clock, totals);
        self.at.d.next = self.word.val();
        self.writes.d.next = self.write.val() & self.word.val().get_bit(4);
        self.written.d.next = self.wdata.val();
        self.mac_word.next = bit_cast::<5, 4>(self.at.q.val().get_bits::<4>(0))
            | (bit_cast::<5, 1>(self.at.q.val().get_bits::<1>(5)) << 4);
        self.mac_write.next = self.writes.q.val();
        self.mac_wdata.next = self.written.q.val();
        self.totals.events.next = bit_cast::<14, 11>(self.events.val());
        self.totals.twice.next = (bit_cast::<14, 1>(self.unsupported.val().into()) << 2)
            | (bit_cast::<14, 1>(self.dropped.val().into()) << 9);
        // four words before the first counter; what is left of the 16 is no counter
        self.totals.word.next = self.at.q.val().get_bits::<4>(0) - 4;
        self.kept.d.next = 0.into();
        if !self.at.q.val().get_bit(5) {
            self.kept.d.next = self.totals.data.val();
        }
        if self.at.q.val() == 0 {
            self.kept.d.next = self.setup.val();
        }
        if self.at.q.val().get_bit(4) {
            self.kept.d.next = self.mac_data.val();
        }
        self.data.next = self.kept.q.val();
    }
}
