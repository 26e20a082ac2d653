//! The one's complement sum of the terms of the transport checksum: 27 -> 9 -> 3 -> 1 -> 16 bits, two additions a stage.

use super::select::TERM_BITS;
use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::wide::*;
use crate::FastBlock;

/// Sums of three terms, 18 bits each; the first group lowest.
#[derive(FastBlock, Default)]
pub struct Groups {
    /// Terms of 16 bits.
    pub terms: Signal<In, Wide<TERM_BITS>>,
    /// Sums.
    pub sums: Signal<Out, Wide<162>>,
    a: Signal<Local, Wide<16>>,
    b: Signal<Local, Wide<16>>,
    c: Signal<Local, Wide<16>>,
    sum: Signal<Local, Wide<18>>,
    all: Signal<Local, Wide<162>>,
    _quiet: Quiet,
}

impl Logic for Groups {
    #[hdl_gen]
    fn update(&mut self) {
        self.all.next = bits_literal::<162>(0);
        for i in 0..9 {
            self.a.next = self.terms.val().get_bits::<16>(i * 48);
            self.b.next = self.terms.val().get_bits::<16>(i * 48 + 16);
            self.c.next = self.terms.val().get_bits::<16>(i * 48 + 32);
            self.sum.next = bit_cast_wide::<18, 16>(self.a.val())
                + bit_cast_wide::<18, 16>(self.b.val())
                + bit_cast_wide::<18, 16>(self.c.val());
            self.all.next = (self.all.val() << 18) | bit_cast_wide::<162, 18>(self.sum.val());
        }
        self.sums.next = self.all.val();
    }
}

/// Folded sum, four clocks after the terms.
#[derive(FastBlock, Default)]
pub struct Sum {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Terms of 16 bits.
    pub terms: Signal<In, Wide<TERM_BITS>>,
    /// Their one's complement sum, four clocks later; 0 only when all terms are 0.
    pub sum: Signal<Out, Bits<16>>,
    groups: Groups,
    nine: Reg<Wide<162>>,
    three: [Reg<Bits<20>>; 3],
    one: Reg<Bits<22>>,
    folded: Reg<Bits<16>>,
    a: Signal<Local, Wide<18>>,
    b: Signal<Local, Wide<18>>,
    c: Signal<Local, Wide<18>>,
    once: Signal<Local, Bits<17>>,
    _quiet: Quiet,
}

impl Logic for Sum {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, nine, one, folded);
        self.groups.terms.next = self.terms.val();
        self.nine.d.next = self.groups.sums.val();
        for i in 0..3 {
            self.three[i].clock.next = self.clock.val();
            self.a.next = self.nine.q.val().get_bits::<18>(i * 54);
            self.b.next = self.nine.q.val().get_bits::<18>(i * 54 + 18);
            self.c.next = self.nine.q.val().get_bits::<18>(i * 54 + 36);
            self.three[i].d.next = bit_cast::<20, 18>(bits_narrow(self.a.val()))
                + bit_cast::<20, 18>(bits_narrow(self.b.val()))
                + bit_cast::<20, 18>(bits_narrow(self.c.val()));
        }
        self.one.d.next = bit_cast::<22, 20>(self.three[0].q.val())
            + bit_cast::<22, 20>(self.three[1].q.val())
            + bit_cast::<22, 20>(self.three[2].q.val());
        self.once.next = bit_cast::<17, 16>(self.one.q.val().get_bits::<16>(0))
            + bit_cast::<17, 6>(self.one.q.val().get_bits::<6>(16));
        self.folded.d.next = self.once.val().get_bits::<16>(0) + bit_cast::<16, 1>(self.once.val().get_bits::<1>(16));
        self.sum.next = self.folded.q.val();
    }
}
