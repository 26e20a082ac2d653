//! Transmit: which TLP leaves next, and DWs to beats.
//!
//! ```text
//!  p_* posted writes  -->|          |
//!  n_* read requests  -->| transmit |--> tx_valid tx_ready tx_data tx_keep tx_last
//!  c_* completions    -->|          |
//!  credit_p credit_n credit_c (the link block has credits for the largest TLP of that class)
//! ```
//!
//! Latency: 2 clocks from the choice to the first beat; choosing takes one clock between TLPs. One DW per clock, which is half the
//! stream's rate. A source offers whole TLPs only, so that a TLP has no gaps but the link block's own. It may withdraw one of which no
//! DW was taken, as in a reset; then the choice is made anew.
//!
//! # Order (PCI Express Base Specification, table "Ordering Rules Summary", without relaxed and ID-based ordering)
//!
//! | may pass | posted write | read request | completion |
//! |---|---|---|---|
//! | **posted write** | no: one queue | yes, and must be able to: own queue, own credit | yes: own queue |
//! | **read request** | **no**: it waits for `n_after` | no: one queue | yes |
//! | **completion** | **no**: it waits for `c_after` | yes, and must be able to | no need: one queue |
//!
//! A posted write waits for nothing but its own credit, so the three can never wait for each other in a circle. That a
//! completion does not pass posted writes is what lets a driver read a register and then find in memory everything the
//! card wrote before; that a read request does not, that the card reads what it wrote. `after` is the number of posted writes
//! accepted when the TLP was made, modulo 256; fewer than 16 wait at any time, so bit 7 of the difference tells "not yet".

use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::wide::{bit_cast_wide, bits_wide, Wide};
use crate::FastBlock;

/// See the module documentation.
#[derive(FastBlock, Default)]
pub struct Transmit {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// A posted write is offered.
    pub p_valid: Signal<In, Bit>,
    /// Its DW is taken.
    pub p_ready: Signal<Out, Bit>,
    /// Its DW.
    pub p_dw: Signal<In, Bits<32>>,
    /// Last of the TLP.
    pub p_last: Signal<In, Bit>,
    /// A read request is offered.
    pub n_valid: Signal<In, Bit>,
    /// Its DW is taken.
    pub n_ready: Signal<Out, Bit>,
    /// Its DW.
    pub n_dw: Signal<In, Bits<32>>,
    /// Last of the TLP.
    pub n_last: Signal<In, Bit>,
    /// Posted writes it comes after.
    pub n_after: Signal<In, Bits<8>>,
    /// A completion is offered.
    pub c_valid: Signal<In, Bit>,
    /// Its DW is taken.
    pub c_ready: Signal<Out, Bit>,
    /// Its DW.
    pub c_dw: Signal<In, Bits<32>>,
    /// Last of the TLP.
    pub c_last: Signal<In, Bit>,
    /// Posted writes it comes after.
    pub c_after: Signal<In, Bits<8>>,
    /// Posted writes sent so far, modulo 256.
    pub posted_sent: Signal<In, Bits<8>>,
    /// A posted TLP may be sent.
    pub credit_p: Signal<In, Bit>,
    /// A non-posted TLP may be sent.
    pub credit_n: Signal<In, Bit>,
    /// A completion may be sent.
    pub credit_c: Signal<In, Bit>,
    /// There is a beat.
    pub tx_valid: Signal<Out, Bit>,
    /// It is taken.
    pub tx_ready: Signal<In, Bit>,
    /// Two DWs, the first in the low half.
    pub tx_data: Signal<Out, Wide<64>>,
    /// Which of them there are: 1 the first, 3 both.
    pub tx_keep: Signal<Out, Bits<2>>,
    /// Last beat of a TLP.
    pub tx_last: Signal<Out, Bit>,
    /// A TLP is under way.
    pub busy: Signal<Out, Bit>,
    /// 0 none, 1 posted, 2 read request, 3 completion.
    owner: Reg<Bits<2>>,
    served: Reg<Bits<2>>,
    low: Reg<Bits<32>>,
    half: Reg<Bit>,
    /// A DW of the TLP was taken.
    begun: Reg<Bit>,
    out_valid: Reg<Bit>,
    out_data: Reg<Wide<64>>,
    out_keep: Reg<Bits<2>>,
    out_last: Reg<Bit>,
    open: Signal<Local, Bit>,
    behind_n: Signal<Local, Bits<8>>,
    behind_c: Signal<Local, Bits<8>>,
    can_p: Signal<Local, Bit>,
    can_n: Signal<Local, Bit>,
    can_c: Signal<Local, Bit>,
    choice: Signal<Local, Bits<2>>,
    take: Signal<Local, Bit>,
    gone: Signal<Local, Bit>,
    dw: Signal<Local, Bits<32>>,
    last: Signal<Local, Bit>,
    _quiet: Quiet,
}

impl Logic for Transmit {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, owner, served, low, half, begun, out_valid, out_data, out_keep, out_last);
        // who may
        self.behind_n.next = self.posted_sent.val() - self.n_after.val();
        self.behind_c.next = self.posted_sent.val() - self.c_after.val();
        self.can_p.next = self.p_valid.val() & self.credit_p.val();
        self.can_n.next = self.n_valid.val() & self.credit_n.val() & (!self.behind_n.val().get_bit(7));
        self.can_c.next = self.c_valid.val() & self.credit_c.val() & (!self.behind_c.val().get_bit(7));
        // the class after the one served last comes first
        self.choice.next = 0.into();
        if self.served.q.val() == 1 {
            if self.can_p.val() {
                self.choice.next = 1.into();
            }
            if self.can_c.val() {
                self.choice.next = 3.into();
            }
            if self.can_n.val() {
                self.choice.next = 2.into();
            }
        } else if self.served.q.val() == 2 {
            if self.can_n.val() {
                self.choice.next = 2.into();
            }
            if self.can_p.val() {
                self.choice.next = 1.into();
            }
            if self.can_c.val() {
                self.choice.next = 3.into();
            }
        } else {
            if self.can_c.val() {
                self.choice.next = 3.into();
            }
            if self.can_n.val() {
                self.choice.next = 2.into();
            }
            if self.can_p.val() {
                self.choice.next = 1.into();
            }
        }
        if self.owner.q.val() == 0 {
            self.owner.d.next = self.choice.val();
            if self.choice.val().any() {
                self.served.d.next = self.choice.val();
            }
        }
        // DWs of the chosen one
        self.open.next = (!self.out_valid.q.val()) | self.tx_ready.val();
        self.p_ready.next = false;
        self.n_ready.next = false;
        self.c_ready.next = false;
        self.take.next = false;
        self.dw.next = self.p_dw.val();
        self.last.next = self.p_last.val();
        if self.owner.q.val() == 1 {
            self.p_ready.next = self.open.val();
            self.take.next = self.open.val() & self.p_valid.val();
        }
        if self.owner.q.val() == 2 {
            self.n_ready.next = self.open.val();
            self.take.next = self.open.val() & self.n_valid.val();
            self.dw.next = self.n_dw.val();
            self.last.next = self.n_last.val();
        }
        if self.owner.q.val() == 3 {
            self.c_ready.next = self.open.val();
            self.take.next = self.open.val() & self.c_valid.val();
            self.dw.next = self.c_dw.val();
            self.last.next = self.c_last.val();
        }
        self.out_valid.d.next = self.out_valid.q.val() & (!self.tx_ready.val());
        if self.take.val() {
            self.half.d.next = (!self.half.q.val()) & (!self.last.val());
            self.low.d.next = self.dw.val();
            self.begun.d.next = !self.last.val();
            if self.last.val() {
                self.owner.d.next = 0.into();
            }
            if self.half.q.val() {
                self.out_valid.d.next = true;
                self.out_data.d.next = bit_cast_wide::<64, 32>(bits_wide::<32>(self.low.q.val()))
                    | (bit_cast_wide::<64, 32>(bits_wide::<32>(self.dw.val())) << 32);
                self.out_keep.d.next = 3.into();
                self.out_last.d.next = self.last.val();
            } else if self.last.val() {
                self.out_valid.d.next = true;
                self.out_data.d.next = bit_cast_wide::<64, 32>(bits_wide::<32>(self.dw.val()));
                self.out_keep.d.next = 1.into();
                self.out_last.d.next = true;
            }
        }
        // chosen, and withdrawn in that clock or while the beat before it waits: nothing else would ever be sent
        self.gone.next = ((self.owner.q.val() == 1) & !self.p_valid.val())
            | ((self.owner.q.val() == 2) & !self.n_valid.val())
            | ((self.owner.q.val() == 3) & !self.c_valid.val());
        if self.gone.val() & !self.begun.q.val() {
            self.owner.d.next = 0.into();
        }
        self.tx_valid.next = self.out_valid.q.val();
        self.tx_data.next = self.out_data.q.val();
        self.tx_keep.next = self.out_keep.q.val();
        self.tx_last.next = self.out_last.q.val();
        self.busy.next = self.owner.q.val().any() | self.out_valid.q.val();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::Bench;

    /// Clocks until a beat leaves, at most 20.
    fn clocks_to_a_beat(bench: &mut Bench<Transmit>) -> u32 {
        for clock in 0..20 {
            bench.settle();
            let beat = bench.uut.tx_valid.val();
            bench.edge();
            if beat {
                return clock;
            }
        }
        20
    }

    /// What Post does with a write whose turn comes in a reset, and Fetch with a request.
    #[test]
    fn a_tlp_that_is_withdrawn_holds_nothing_up() {
        let mut bench = Bench::new(Transmit::default());
        bench.uut.credit_p.next = true;
        bench.uut.credit_n.next = true;
        bench.uut.credit_c.next = true;
        bench.uut.tx_ready.next = true;
        for class in 1..=3 {
            // offered in the clock in which the choice is made, and no longer
            bench.uut.p_valid.next = class == 1;
            bench.uut.n_valid.next = class == 2;
            bench.uut.c_valid.next = class == 3;
            bench.tick();
            bench.uut.p_valid.next = false;
            bench.uut.n_valid.next = false;
            bench.uut.c_valid.next = false;
            bench.tick();
            bench.tick();
            bench.settle();
            assert!(!bench.uut.busy.val() && !bench.uut.tx_valid.val(), "class {class}");
            // the next is sent, and one that has begun is kept whatever its source says
            bench.uut.c_valid.next = true;
            bench.uut.c_last.next = true;
            assert!(clocks_to_a_beat(&mut bench) < 5, "class {class}");
            bench.uut.c_last.next = false;
            for _ in 0..3 {
                bench.tick();
            }
            bench.uut.c_valid.next = false;
            for _ in 0..3 {
                bench.tick();
            }
            assert!(bench.uut.busy.val(), "class {class}");
            bench.uut.c_valid.next = true;
            bench.uut.c_last.next = true;
            assert!(clocks_to_a_beat(&mut bench) < 5, "class {class}");
            bench.uut.c_valid.next = false;
            for _ in 0..4 {
                bench.tick();
            }
            assert!(!bench.uut.busy.val(), "class {class}");
        }
        bench.agrees_with_verilog("pcie_transmit");
    }
}
