//! Transmit: words of frames to bytes of GMII.
//!
//! ```text
//!  words --> | word of 8 bytes | --> preamble, bytes, padding to 60, check sequence, gap of 12 --> gmii
//!                      |
//!                      +--> next word missing, or error: check sequence inverted, error signalled
//! ```
//!
//! A frame begins with its first word; from then on the words must come in time, one per eight bytes. When one does not, the frame is
//! ended there as a damaged one and its rest is thrown away as it comes (underrun). A frame whose last word has `error` is
//! damaged the same way (poisoned): nobody takes it for a good one. IEEE 802.3, 3.2 and 4.2.
//!
//! `good`, `poisoned` and `underrun` change their level once for each frame that ended so, at most once in 72 clocks, so that
//! another clock can count them through a synchronizer.

use crate::ingress::with_constants;
use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::wide::{bits_narrow, Wide};
use crate::FastBlock;

use super::crc::CrcStep;
use super::types::{TxMeta, MIN_BYTES};

/// See the module documentation.
#[derive(FastBlock)]
pub struct Transmit {
    /// Transmit clock, 125 MHz.
    pub clock: Signal<In, Clock>,
    /// There is a word.
    pub word_valid: Signal<In, Bit>,
    /// Its bytes, the first in the top bits.
    pub word: Signal<In, Wide<64>>,
    /// What it is.
    pub meta: Signal<In, TxMeta>,
    /// It is taken.
    pub pop: Signal<Out, Bit>,
    /// There is a byte.
    pub valid: Signal<Out, Bit>,
    /// The other side is to take the frame for damaged.
    pub error: Signal<Out, Bit>,
    /// The byte.
    pub data: Signal<Out, Bits<8>>,
    /// Changes with every good frame that was sent.
    pub good: Signal<Out, Bit>,
    /// Changes with every frame that was sent damaged because it was given so.
    pub poisoned: Signal<Out, Bit>,
    /// Changes with every frame that was cut because a word came too late.
    pub underrun: Signal<Out, Bit>,
    crc: CrcStep,
    // 0 idle, 1 preamble, 2 bytes, 3 padding, 4 check sequence, 5 gap
    state: Reg<Bits<3>>,
    count: Reg<Bits<4>>,
    shift: Reg<Wide<64>>,
    left: Reg<Bits<4>>,
    /// The last byte of the preamble is sent, the last byte of a word: told a clock ahead, as the way to the next word is long.
    begins: Reg<Bit>,
    ends: Reg<Bit>,
    last: Reg<Bit>,
    damaged: Reg<Bit>,
    short: Reg<Bit>,
    draining: Reg<Bit>,
    sent: Reg<Bits<6>>,
    sum: Reg<Bits<32>>,
    out_valid: Reg<Bit>,
    out_error: Reg<Bit>,
    out_data: Reg<Bits<8>>,
    out_good: Reg<Bit>,
    out_poisoned: Reg<Bit>,
    out_underrun: Reg<Bit>,
    head: Signal<Local, TxMeta>,
    load: Signal<Local, Bit>,
    summed: Signal<Local, Bit>,
    top: Signal<Local, Wide<8>>,
    octet: Signal<Local, Bits<8>>,
    low: Signal<Local, Bits<8>>,
    enough: Signal<Local, Bit>,
    finished: Signal<Local, Bit>,
    drain: Signal<Local, Bit>,
    last_padded: Constant<Bits<6>>,
    ones: Constant<Bits<32>>,
    _quiet: Quiet,
}

impl Default for Transmit {
    fn default() -> Self {
        with_constants!(
            clock word_valid word meta pop valid error data good poisoned underrun crc state count shift left begins ends last damaged short
            draining sent sum out_valid out_error out_data out_good out_poisoned out_underrun head load summed top octet low enough
            finished drain _quiet;
            last_padded = (MIN_BYTES - 4 - 1) as u64,
            ones = u64::from(u32::MAX),
        )
    }
}

impl Logic for Transmit {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, state, count, shift, left, last, damaged, short, draining, sent, sum, begins, ends);
        dff_setup!(
            self,
            clock,
            out_valid,
            out_error,
            out_data,
            out_good,
            out_poisoned,
            out_underrun
        );
        self.head.next = self.meta.val();
        self.top.next = self.shift.q.val().get_bits::<8>(56);
        self.begins.d.next = (self.state.q.val() == 1) & (self.count.q.val() == 6);
        self.load.next = self.begins.q.val() | (self.ends.q.val() & (!self.last.q.val()) & self.word_valid.val());
        self.summed.next = false;
        self.finished.next = false;
        self.octet.next = 0.into();
        // 60 bytes with this one
        self.enough.next = self.sent.q.val() == self.last_padded.val();
        self.out_valid.d.next = self.state.q.val().any() & (self.state.q.val() != 5);
        self.out_error.d.next = false;
        self.count.d.next = self.count.q.val() + 1;
        if self.state.q.val() == 0 {
            self.count.d.next = 0.into();
            if self.word_valid.val() {
                self.state.d.next = 1.into();
            }
        }
        if self.state.q.val() == 1 {
            self.octet.next = 0x55.into();
            if self.begins.q.val() {
                self.octet.next = 0xd5.into();
                self.state.d.next = 2.into();
                self.sum.d.next = self.ones.val();
                self.sent.d.next = 0.into();
                self.damaged.d.next = false;
                self.short.d.next = false;
            }
        }
        if self.state.q.val() == 2 {
            self.octet.next = bits_narrow::<8>(self.top.val());
            self.summed.next = true;
            self.shift.d.next = self.shift.q.val() << 8;
            self.left.d.next = self.left.q.val() - 1;
            if self.ends.q.val() {
                self.count.d.next = 0.into();
                if self.last.q.val() {
                    self.state.d.next = 3.into();
                    if self.enough.val() | (self.sent.q.val() > self.last_padded.val()) {
                        self.state.d.next = 4.into();
                    }
                } else if !self.word_valid.val() {
                    self.state.d.next = 4.into();
                    self.short.d.next = true;
                    self.draining.d.next = true;
                }
            }
        }
        if self.state.q.val() == 3 {
            self.summed.next = true;
            if self.enough.val() {
                self.state.d.next = 4.into();
                self.count.d.next = 0.into();
            }
        }
        // the next byte of the check sequence; of a damaged frame every bit of it is wrong
        self.low.next = bit_cast::<8, 32>(self.sum.q.val());
        if self.state.q.val() == 4 {
            self.octet.next = self.low.val() ^ 0xff;
            if self.damaged.q.val() | self.short.q.val() {
                self.octet.next = self.low.val();
                self.out_error.d.next = true;
            }
            self.sum.d.next = self.sum.q.val() >> 8;
            if self.count.q.val() == 3 {
                self.finished.next = true;
                self.state.d.next = 5.into();
                self.count.d.next = 0.into();
            }
        }
        // the gap is eleven clocks and the one of state 0; it lasts until the rest of a cut frame is thrown away
        self.drain.next = self.draining.q.val() & self.word_valid.val() & (self.state.q.val() != 2);
        if self.drain.val() & self.head.val().last {
            self.draining.d.next = false;
        }
        if self.state.q.val() == 5 {
            if self.count.q.val() == 10 {
                self.count.d.next = 10.into();
                if !self.draining.q.val() {
                    self.state.d.next = 0.into();
                }
            }
        }
        self.ends.d.next = (self.state.q.val() == 2) & (self.left.q.val() == 2);
        if self.load.val() {
            self.ends.d.next = self.head.val().last & (self.head.val().count == 1);
            self.shift.d.next = self.word.val();
            self.last.d.next = self.head.val().last;
            self.damaged.d.next = self.head.val().last & self.head.val().error;
            self.left.d.next = 8.into();
            if self.head.val().last & self.head.val().count.any() {
                self.left.d.next = bit_cast::<4, 6>(self.head.val().count);
            }
        }
        self.pop.next = self.load.val() | self.drain.val();
        self.crc.sum.next = self.sum.q.val();
        // the bytes of the frame or the padding: what else is sent has no part in it, and would only be late
        self.crc.octet.next = 0.into();
        if self.state.q.val() == 2 {
            self.crc.octet.next = bits_narrow::<8>(self.top.val());
        }
        if self.summed.val() {
            self.sum.d.next = self.crc.then.val();
            if !self.sent.q.val().all() {
                self.sent.d.next = self.sent.q.val() + 1;
            }
        }
        if self.finished.val() {
            if self.short.q.val() {
                self.out_underrun.d.next = !self.out_underrun.q.val();
            } else if self.damaged.q.val() {
                self.out_poisoned.d.next = !self.out_poisoned.q.val();
            } else {
                self.out_good.d.next = !self.out_good.q.val();
            }
        }
        self.out_data.d.next = self.octet.val();
        self.valid.next = self.out_valid.q.val();
        self.error.next = self.out_error.q.val();
        self.data.next = self.out_data.q.val();
        self.good.next = self.out_good.q.val();
        self.poisoned.next = self.out_poisoned.q.val();
        self.underrun.next = self.out_underrun.q.val();
    }
}
