//! State: what the transaction layer counts, and how it is set up, as registers.
//!
//! ```text
//!  count_* --> | state | --> data (of `word`, at once)
//! ```
//!
//! Counters have 32 bits and wrap. A function-level reset leaves them as they are, so that one can be looked into.

use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::FastBlock;

/// See the module documentation. `word` counts from `PcieState`.
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
    /// Word to read, 4 bytes each from `PcieState` up.
    pub word: Signal<In, Bits<6>>,
    /// That word.
    pub data: Signal<Out, Bits<32>>,
    counts: [Reg<Bits<32>>; 11],
    index: Signal<Local, Bits<6>>,
    _quiet: Quiet,
}

impl Logic for State {
    #[hdl_gen]
    fn update(&mut self) {
        self.data.next = 0.into();
        self.index.next = self.word.val() - 4;
        if self.word.val() == 0 {
            self.data.next = self.setup.val();
        }
        for i in 0..11 {
            self.counts[i].clock.next = self.clock.val();
            self.counts[i].d.next = self.counts[i].q.val();
            if self.events.val().get_bit(i) {
                self.counts[i].d.next = self.counts[i].q.val() + 1;
            }
            if self.index.val() == i.to_bits() {
                self.data.next = self.counts[i].q.val();
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
    }
}
