//! The stash: sessions whose two buckets are full, compared by their whole signature.
//!
//! Two clocks from `signature` to `hit` and `index`. An entry that is being written does not match in the clock of
//! the write: its index is read one clock after the comparison and must be the one that belongs to the signature.

use super::window::STASH_BITS;
use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::wide::{bits_narrow, Wide};
use crate::FastBlock;

/// See the module documentation.
#[derive(FastBlock, Default)]
pub struct Stash {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Signature of a key.
    pub signature: Signal<In, Wide<45>>,
    /// Writes this entry, a bit for each.
    pub writes: Signal<In, Bits<16>>,
    /// Its bits: signature 44:0, index 61:45, valid 62.
    pub word: Signal<In, Wide<STASH_BITS>>,
    /// An entry has this signature.
    pub hit: Signal<Out, Bit>,
    /// Its record index; 0 without a hit.
    pub index: Signal<Out, Bits<17>>,
    entries: [Reg<Wide<STASH_BITS>>; 16],
    same: Reg<Bits<16>>,
    any: Reg<Bit>,
    pick: Reg<Bits<17>>,
    now: Signal<Local, Bits<16>>,
    chosen: Signal<Local, Bits<17>>,
    one: Signal<Local, Wide<17>>,
    _quiet: Quiet,
}

impl Logic for Stash {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, same, any, pick);
        self.now.next = 0.into();
        for i in 0..16 {
            self.entries[i].clock.next = self.clock.val();
            self.entries[i].d.next = self.entries[i].q.val();
            if self.writes.val().get_bit(i) {
                self.entries[i].d.next = self.word.val();
            } else {
                if self.entries[i].q.val().get_bits::<45>(0) == self.signature.val() {
                    self.now.next = self.now.val().replace_bit(i, self.entries[i].q.val().get_bit(62));
                }
            }
        }
        self.same.d.next = self.now.val();
        self.chosen.next = 0.into();
        for i in 0..16 {
            self.one.next = self.entries[i].q.val().get_bits::<17>(45);
            if self.same.q.val().get_bit(i) {
                self.chosen.next = self.chosen.val() | bits_narrow::<17>(self.one.val());
            }
        }
        self.pick.d.next = self.chosen.val();
        self.any.d.next = self.same.q.val().any();
        self.hit.next = self.any.q.val();
        self.index.next = self.pick.q.val();
    }
}
