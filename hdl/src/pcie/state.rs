//! State: what the transaction layer counts and how it is set up, as registers, and the way to those of the network ports' MACs.
//!
//! ```text
//!  count_* --> | state | --> data (of `word`, READ clocks later)
//!  word write  |       | --> mac_word mac_write mac_wdata --> MACs
//!              |       | <-- mac_data (of `mac_word`, at once) --/
//! ```
//!
//! Counters have 32 bits and wrap. A function-level reset leaves them as they are, so that one can be looked into.
//!
//! The word goes through a register on its way in and its contents through one on their way back, because the MACs are at the edge
//! of the part, and what reads is in its middle. Whoever reads keeps `word` for [`READ`] clocks.

use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::FastBlock;

/// Clocks from `word` to `data`.
pub const READ: usize = 2;

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
    /// The MAC's word; 0 where there is no MAC.
    pub mac_data: Signal<In, Bits<32>>,
    counts: [Reg<Bits<32>>; 11],
    at: Reg<Bits<6>>,
    writes: Reg<Bit>,
    written: Reg<Bits<32>>,
    kept: Reg<Bits<32>>,
    index: Signal<Local, Bits<6>>,
    _quiet: Quiet,
}

impl Logic for State {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, at, writes, written, kept);
        self.at.d.next = self.word.val();
        self.writes.d.next = self.write.val() & self.word.val().get_bit(4);
        self.written.d.next = self.wdata.val();
        self.mac_word.next = bit_cast::<5, 4>(self.at.q.val().get_bits::<4>(0))
            | (bit_cast::<5, 1>(self.at.q.val().get_bits::<1>(5)) << 4);
        self.mac_write.next = self.writes.q.val();
        self.mac_wdata.next = self.written.q.val();
        self.kept.d.next = 0.into();
        self.index.next = self.at.q.val() - 4;
        if self.at.q.val() == 0 {
            self.kept.d.next = self.setup.val();
        }
        for i in 0..11 {
            self.counts[i].clock.next = self.clock.val();
            self.counts[i].d.next = self.counts[i].q.val();
            if self.events.val().get_bit(i) {
                self.counts[i].d.next = self.counts[i].q.val() + 1;
            }
            if self.index.val() == i.to_bits() {
                self.kept.d.next = self.counts[i].q.val();
            }
        }
        if self.unsupported.val() {
            self.counts[2].d.next = self.counts[2].q.val() + 1;
            if self.events.val().get_bit(2) {
                self.counts[2].d.next = self.counts[2].q.val() + 2;
            }
        }
        if self.dropped.val() {
            self.counts[9].d.next = self.counts[9].q.val() + 1;
            if self.events.val().get_bit(9) {
                self.counts[9].d.next = self.counts[9].q.val() + 2;
            }
        }
        if self.at.q.val().get_bit(4) {
            self.kept.d.next = self.mac_data.val();
        }
        self.data.next = self.kept.q.val();
    }
}
