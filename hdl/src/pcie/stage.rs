//! Stage: a DMA word on its way from the core to [`super::post::Post`], so that the core's masters and the cutting into TLPs do not share
//! a clock.
//!
//! ```text
//!  mw_valid mw_addr mw_data mw_last --> | stage | --> out_valid out_addr out_data out_last out_fits
//!  mw_ready <-------------------------- |       | <-- out_ready, room, page, place, longer
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
use crate::wide::{bits_narrow, Wide};
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
    /// Page of the last word that was taken here, and the place in it of the one behind that; 0 where a page ends.
    pub page: Signal<In, Wide<52>>,
    /// See `page`.
    pub place: Signal<In, Bits<12>>,
    /// The TLP under way has room for another word.
    pub longer: Signal<In, Bit>,
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
    /// It goes into the TLP under way, if there is one.
    pub out_fits: Signal<Out, Bit>,
    full: Reg<Bit>,
    ready: Reg<Bit>,
    addr: Reg<Wide<64>>,
    data: Reg<Wide<64>>,
    last: Reg<Bit>,
    fits: Reg<Bit>,
    mw_page: Signal<Local, Wide<52>>,
    mw_place: Signal<Local, Bits<12>>,
    take: Signal<Local, Bit>,
    _quiet: Quiet,
}

impl Logic for Stage {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, full, ready, addr, data, last, fits);
        // a register, since all masters of the core wait for it; it is a clock late, which is why there is room for two
        self.take.next = self.mw_valid.val() & self.ready.q.val();
        self.ready.d.next = self.room.val() & (!self.take.val());
        self.mw_ready.next = self.ready.q.val();
        // Post has taken the word before when this one comes, so what it is compared with stands until it is taken itself
        self.mw_page.next = self.mw_addr.val().get_bits::<52>(12);
        self.mw_place.next = bits_narrow::<12>(self.mw_addr.val().get_bits::<12>(0));
        if self.full.q.val() {
            self.full.d.next = !self.out_ready.val();
            self.ready.d.next = self.room.val() & self.out_ready.val();
        } else {
            self.full.d.next = self.take.val();
            self.addr.d.next = self.mw_addr.val();
            self.data.d.next = self.mw_data.val();
            self.last.d.next = self.mw_last.val();
            self.fits.d.next = (self.mw_page.val() == self.page.val())
                & (self.mw_place.val() == self.place.val())
                & self.place.val().any()
                & self.longer.val();
        }
        self.out_valid.next = self.full.q.val();
        self.out_addr.next = self.addr.q.val();
        self.out_data.next = self.data.q.val();
        self.out_last.next = self.last.q.val();
        self.out_fits.next = self.fits.q.val();
    }
}
