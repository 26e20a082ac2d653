//! State: what a MAC counts, and how its link is, in the core's clock.
//!
//! ```text
//!  ended verdict told (store) ------> | state | --> data (of `word`, READ clocks later)
//!  good poisoned underrun (transmit clock) --> synchronizers, changes counted
//!  alive (receive clock) -----------> synchronizer, missed for 4,096 clocks: no receive clock
//! ```
//!
//! Words are named in [`nat64_layout::pcie::MAC_WORDS`]. Word 0: bit 0 link up, bits 2:1 speed (2: 1000 Mbit/s), bit 3 full duplex, bit 4 the
//! receive clock runs; without it the link is told as down. Counters have 32 bits and wrap.

use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::totals::Totals;
use crate::FastBlock;

use super::sync::Synchronizer;

pub use crate::totals::READ;

/// See the module documentation.
#[derive(FastBlock, Default)]
pub struct State {
    /// Clock of the core.
    pub clock: Signal<In, Clock>,
    /// A frame ended or the link's status came.
    pub ended: Signal<In, Bit>,
    /// Which, a [`super::types::Verdict`].
    pub verdict: Signal<In, Bits<4>>,
    /// The status, with [`super::types::Verdict::Status`].
    pub told: Signal<In, Bits<4>>,
    /// Of the transmit clock: bits 0 good, 1 poisoned, 2 underrun; each change is a frame.
    pub sent: Signal<In, Bits<3>>,
    /// Of the receive clock: changes every 64 clocks.
    pub alive: Signal<In, Bit>,
    /// Word to read.
    pub word: Signal<In, Bits<4>>,
    /// That word; `word` stands still for [`READ`] clocks before.
    pub data: Signal<Out, Bits<32>>,
    /// The link is up at 1000 Mbit/s and its clock runs.
    pub up: Signal<Out, Bit>,
    sent_here: Synchronizer<3>,
    alive_here: Synchronizer<1>,
    sent_before: Reg<Bits<3>>,
    alive_before: Reg<Bits<1>>,
    missed: Reg<Bits<12>>,
    runs: Reg<Bit>,
    status: Reg<Bits<4>>,
    /// By word; 0, the status, is none of them.
    totals: Totals<14>,
    changes: Signal<Local, Bits<3>>,
    hot: Signal<Local, Bits<14>>,
    counted: Signal<Local, Bits<14>>,
    _quiet: Quiet,
}

impl Logic for State {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, sent_before, alive_before, missed, runs, status);
        clock!(self, clock, sent_here, alive_here, totals);
        self.sent_here.d.next = self.sent.val();
        self.alive_here.d.next = self.alive.val().into();
        self.sent_before.d.next = self.sent_here.q.val();
        self.changes.next = self.sent_here.q.val() ^ self.sent_before.q.val();
        // the receive clock
        self.alive_before.d.next = self.alive_here.q.val();
        self.missed.d.next = self.missed.q.val() + 1;
        if self.missed.q.val().all() {
            self.missed.d.next = self.missed.q.val();
            self.runs.d.next = false;
        }
        if self.alive_here.q.val() != self.alive_before.q.val() {
            self.missed.d.next = 0.into();
            self.runs.d.next = true;
        }
        if self.ended.val() & self.verdict.val().all() {
            self.status.d.next = self.told.val();
        }
        // counters and words
        self.hot.next = 2.into();
        self.hot.next = self.hot.val() << self.verdict.val();
        self.counted.next = 0.into();
        if self.ended.val() & (self.verdict.val() < 10) {
            self.counted.next = self.hot.val();
        }
        self.totals.events.next = (bit_cast::<14, 3>(self.changes.val()) << 11) | self.counted.val();
        self.totals.twice.next = 0.into();
        self.totals.word.next = self.word.val();
        self.data.next = self.totals.data.val();
        if self.word.val() == 0 {
            self.data.next = bit_cast::<32, 4>(self.status.q.val()) & 14;
            if self.runs.q.val() {
                self.data.next = bit_cast::<32, 4>(self.status.q.val()) | 16;
            }
        }
        self.up.next = self.runs.q.val() & self.status.q.val().get_bit(0) & self.status.q.val().get_bit(2);
    }
}
