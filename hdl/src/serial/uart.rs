//! Octets on an asynchronous serial line: 8 bits, no parity, least significant bit first, one stop bit.
//!
//! ```text
//!  pin: ---\___/ 0 / 1 / ... / 7 /---      start, eight bits, stop; a bit lasts DIV clocks
//! ```
//!
//! The receiver samples each bit in its middle, counted from the edge of the start bit, so that the two sides may differ by some
//! 4 percent. A start bit that is over by its middle was a glitch. A stop bit that is low is a `fault` (a break, or another rate).

use crate::ingress::with_constants;
use crate::mac::sync::Synchronizer;
use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::FastBlock;

/// Receives. `DIV`: clocks of a bit, 4 to 4,095. An octet comes three clocks behind the middle of its stop bit.
#[derive(FastBlock)]
pub struct UartReceive<const DIV: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// The line; high when nothing is sent.
    pub pin: Signal<In, Bit>,
    /// An octet has come.
    pub valid: Signal<Out, Bit>,
    /// The octet.
    pub octet: Signal<Out, Bits<8>>,
    /// Something came that is no octet.
    pub fault: Signal<Out, Bit>,
    line: Synchronizer<1>,
    active: Reg<Bit>,
    pause: Reg<Bits<12>>,
    bit: Reg<Bits<4>>,
    shift: Reg<Bits<8>>,
    got: Reg<Bit>,
    bad: Reg<Bit>,
    /// A stop bit was low, and the line still is: what is on it is no start bit.
    stuck: Reg<Bit>,
    inverse: Signal<Local, Bit>,
    low: Signal<Local, Bit>,
    half: Constant<Bits<12>>,
    whole: Constant<Bits<12>>,
    _quiet: Quiet,
}

impl<const DIV: usize> Default for UartReceive<DIV> {
    /// Panics unless `DIV` is 4 to 4,095.
    fn default() -> Self {
        assert!((4..4096).contains(&DIV));
        with_constants!(
            clock pin valid octet fault line active pause bit shift got bad stuck inverse low _quiet;
            half = (DIV / 2 - 1) as u64,
            whole = (DIV - 1) as u64,
        )
    }
}

impl<const DIV: usize> Logic for UartReceive<DIV> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, active, pause, bit, shift, got, bad, stuck);
        clock!(self, clock, line);
        // the synchronizer begins with 0: an idle line
        self.inverse.next = !self.pin.val();
        self.line.d.next = self.inverse.val().into();
        self.low.next = self.line.q.val().any();
        self.got.d.next = false;
        self.bad.d.next = false;
        if self.active.q.val() {
            self.pause.d.next = self.pause.q.val() - 1;
            if self.pause.q.val() == 0 {
                self.pause.d.next = self.whole.val();
                self.bit.d.next = self.bit.q.val() + 1;
                if self.bit.q.val() == 0 {
                    self.active.d.next = self.low.val();
                } else if self.bit.q.val() == 9 {
                    self.active.d.next = false;
                    self.got.d.next = !self.low.val();
                    self.bad.d.next = self.low.val();
                    self.stuck.d.next = self.low.val();
                } else {
                    self.shift.d.next = (self.shift.q.val() >> 1) | 128;
                    if self.low.val() {
                        self.shift.d.next = self.shift.q.val() >> 1;
                    }
                }
            }
        } else {
            self.pause.d.next = self.half.val();
            self.bit.d.next = 0.into();
            self.active.d.next = self.low.val() & (!self.stuck.q.val());
            if !self.low.val() {
                self.stuck.d.next = false;
            }
        }
        self.valid.next = self.got.q.val();
        self.fault.next = self.bad.q.val();
        self.octet.next = self.shift.q.val();
    }
}

/// Sends. `DIV`: clocks of a bit, 4 to 4,095.
#[derive(FastBlock)]
pub struct UartTransmit<const DIV: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// There is an octet.
    pub valid: Signal<In, Bit>,
    /// The octet.
    pub octet: Signal<In, Bits<8>>,
    /// It is taken.
    pub ready: Signal<Out, Bit>,
    /// The line; a register behind an inverter.
    pub pin: Signal<Out, Bit>,
    /// Bits that are still to be sent, with the one on the line.
    left: Reg<Bits<4>>,
    /// There are some.
    active: Reg<Bit>,
    pause: Reg<Bits<12>>,
    shift: Reg<Bits<8>>,
    low: Reg<Bit>,
    whole: Constant<Bits<12>>,
    _quiet: Quiet,
}

impl<const DIV: usize> Default for UartTransmit<DIV> {
    /// Panics unless `DIV` is 4 to 4,095.
    fn default() -> Self {
        assert!((4..4096).contains(&DIV));
        with_constants!(
            clock valid octet ready pin left active pause shift low _quiet;
            whole = (DIV - 1) as u64,
        )
    }
}

impl<const DIV: usize> Logic for UartTransmit<DIV> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, left, active, pause, shift, low);
        if self.active.q.val() {
            self.pause.d.next = self.pause.q.val() - 1;
            if self.pause.q.val() == 0 {
                self.pause.d.next = self.whole.val();
                self.left.d.next = self.left.q.val() - 1;
                self.active.d.next = self.left.q.val() != 1;
                self.low.d.next = false;
                if self.left.q.val() > 2 {
                    self.low.d.next = true;
                    if self.shift.q.val().get_bit(0) {
                        self.low.d.next = false;
                    }
                    self.shift.d.next = self.shift.q.val() >> 1;
                }
            }
        } else if self.valid.val() {
            self.low.d.next = true;
            self.left.d.next = 10.into();
            self.active.d.next = true;
            self.pause.d.next = self.whole.val();
            self.shift.d.next = self.octet.val();
        }
        self.ready.next = !self.active.q.val();
        self.pin.next = !self.low.q.val();
    }
}
