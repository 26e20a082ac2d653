//! Stage: a DMA word on its way from the core to [`super::post::Post`], so that the core's masters and the cutting into TLPs do not share
//! a clock.
//!
//! ```text
//!  mw_valid mw_addr mw_data mw_last --> | stage | --> out_valid out_addr out_data out_last
//!  mw_ready <-------------------------- |       | <-- out_ready, room
//! ```
//!
//! One word every other clock, which is what leaves as DWs. A word is taken only when Post has `room` for it and for one more, so it
//! is not held up here but by a cut: three clocks later it is counted as accepted. What must come after it waits for that: a read
//! request of the card begins only while no word is here, and a register that tells of the write is answered three clocks later at the
//! earliest, one of them in a register of [`super::layer`].
//!
//! Latency: one clock.

use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::wide::Wide;
use crate::FastBlock;

/// See the module documentation.
#[derive(FastBlock, Default)]
pub struct Stage {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// There is a word.
    pub mw_valid: Signal<In, Bit>,
    /// It is taken.
    pub mw_ready: Signal<Out, Bit>,
    /// Its address.
    pub mw_addr: Signal<In, Wide<64>>,
    /// The word.
    pub mw_data: Signal<In, Wide<64>>,
    /// Last of a burst.
    pub mw_last: Signal<In, Bit>,
    /// There is room for two words and two TLPs.
    pub room: Signal<In, Bit>,
    /// There is a word.
    pub out_valid: Signal<Out, Bit>,
    /// It is taken.
    pub out_ready: Signal<In, Bit>,
    /// Its address.
    pub out_addr: Signal<Out, Wide<64>>,
    /// The word.
    pub out_data: Signal<Out, Wide<64>>,
    /// Last of a burst.
    pub out_last: Signal<Out, Bit>,
    full: Reg<Bit>,
    ready: Reg<Bit>,
    addr: Reg<Wide<64>>,
    data: Reg<Wide<64>>,
    last: Reg<Bit>,
    take: Signal<Local, Bit>,
    _quiet: Quiet,
}

impl Logic for Stage {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, full, ready, addr, data, last);
        // a register, since all masters of the core wait for it; it is a clock late, which is why there is room for two
        self.take.next = self.mw_valid.val() & self.ready.q.val();
        self.ready.d.next = self.room.val() & (!self.take.val());
        self.mw_ready.next = self.ready.q.val();
        if self.full.q.val() {
            self.full.d.next = !self.out_ready.val();
            self.ready.d.next = self.room.val() & self.out_ready.val();
        } else {
            self.full.d.next = self.take.val();
            self.addr.d.next = self.mw_addr.val();
            self.data.d.next = self.mw_data.val();
            self.last.d.next = self.mw_last.val();
        }
        self.out_valid.next = self.full.q.val();
        self.out_addr.next = self.addr.q.val();
        self.out_data.next = self.data.q.val();
        self.out_last.next = self.last.q.val();
    }
}
