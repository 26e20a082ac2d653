//! Receive: bytes of GMII to words of frames, with a verdict on each frame.
//!
//! ```text
//!  gmii --> preamble, delimiter --> | 4 bytes | --> | word of 8 bytes | --> push data meta
//!                   |                 (check sequence stays here)    |
//!                   +--> sum, length, EtherType ----------------> verdict, with the last word
//! ```
//!
//! Words leave while the frame is still coming; whoever takes them keeps them until the verdict ([`super::store`]). Every frame,
//! however short or wrong, ends with exactly one word that has `last`. While `room` is lacking, words are lost: the frame then
//! ends as [`Verdict::Overrun`], and frames whose last word was lost too are owed and made good one by one (up to 255).
//!
//! Between frames the link's status is sent as a word of its own ([`Verdict::Status`]) once it has changed and stood still for
//! eight clocks: so all there is to know crosses to the core's clock through one FIFO.

use crate::ingress::with_constants;
use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::wide::{bit_cast_wide, bits_wide, Wide};
use crate::FastBlock;

use super::crc::{CrcStep, RESIDUE};
use super::types::{RxMeta, Verdict, MAX_BYTES, MIN_BYTES};

/// See the module documentation.
#[derive(FastBlock)]
pub struct Receive {
    /// Receive clock.
    pub clock: Signal<In, Clock>,
    /// There is a byte.
    pub valid: Signal<In, Bit>,
    /// The PHY signals an error.
    pub error: Signal<In, Bit>,
    /// The byte.
    pub data: Signal<In, Bits<8>>,
    /// `data` is the link's status, in its low four bits.
    pub status: Signal<In, Bit>,
    /// There is a word.
    pub push: Signal<Out, Bit>,
    /// It can be taken; else it is lost.
    pub room: Signal<In, Bit>,
    /// Its bytes, the first in the top bits.
    pub word: Signal<Out, Wide<64>>,
    /// What it is.
    pub meta: Signal<Out, RxMeta>,
    crc: CrcStep,
    // 0 between frames, 1 preamble, 2 frame, 3 not a frame
    state: Reg<Bits<2>>,
    sum: Reg<Bits<32>>,
    line: Reg<Bits<32>>,
    held: Reg<Bits<3>>,
    gather: Reg<Wide<64>>,
    fill: Reg<Bits<4>>,
    bytes: Reg<Bits<14>>,
    symbol: Reg<Bit>,
    control_type: Reg<Bits<2>>,
    pause_code: Reg<Bits<2>>,
    spoiled: Reg<Bit>,
    owed: Reg<Bits<8>>,
    seen: Reg<Bits<4>>,
    known: Reg<Bits<4>>,
    steady: Reg<Bits<3>>,
    tell: Reg<Bit>,
    in_frame: Signal<Local, Bit>,
    byte_in: Signal<Local, Bit>,
    byte_out: Signal<Local, Bit>,
    ending: Signal<Local, Bit>,
    /// What is compared is a register each, told with the byte that changes it.
    over: Reg<Bit>,
    /// With the next byte the oldest of four leaves; it begins a word behind a full one.
    primed: Reg<Bit>,
    filled: Reg<Bit>,
    runt_so_far: Reg<Bit>,
    sum_right: Reg<Bit>,
    oldest: Signal<Local, Bits<8>>,
    spread: Signal<Local, Wide<64>>,
    want_word: Signal<Local, Bit>,
    owing: Signal<Local, Bit>,
    status_now: Signal<Local, Bits<4>>,
    telling: Signal<Local, Bit>,
    what: Signal<Local, Bits<4>>,
    last_of_runt: Constant<Bits<14>>,
    max_bytes: Constant<Bits<14>>,
    residue: Constant<Bits<32>>,
    ones: Constant<Bits<32>>,
    good: Constant<Bits<4>>,
    runt: Constant<Bits<4>>,
    oversize: Constant<Bits<4>>,
    symbol_error: Constant<Bits<4>>,
    fcs: Constant<Bits<4>>,
    pause: Constant<Bits<4>>,
    control: Constant<Bits<4>>,
    no_start: Constant<Bits<4>>,
    overrun: Constant<Bits<4>>,
    status_word: Constant<Bits<4>>,
    _quiet: Quiet,
}

impl Default for Receive {
    fn default() -> Self {
        with_constants!(
            clock valid error data status push room word meta crc state sum line held gather fill bytes symbol control_type pause_code
            spoiled owed seen known steady tell in_frame byte_in byte_out ending over primed filled runt_so_far sum_right oldest spread want_word owing status_now telling what
            _quiet;
            last_of_runt = MIN_BYTES as u64 - 1,
            max_bytes = MAX_BYTES as u64,
            residue = u64::from(RESIDUE),
            ones = u64::from(u32::MAX),
            good = Verdict::Good as u64,
            runt = Verdict::Runt as u64,
            oversize = Verdict::Oversize as u64,
            symbol_error = Verdict::Symbol as u64,
            fcs = Verdict::Fcs as u64,
            pause = Verdict::Pause as u64,
            control = Verdict::Control as u64,
            no_start = Verdict::NoStart as u64,
            overrun = Verdict::Overrun as u64,
            status_word = Verdict::Status as u64,
        )
    }
}

impl Logic for Receive {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self,
            clock,
            state,
            sum,
            line,
            held,
            gather,
            fill,
            bytes,
            symbol,
            control_type,
            pause_code
        );
        dff_setup!(
            self,
            clock,
            spoiled,
            owed,
            seen,
            known,
            steady,
            tell,
            over,
            primed,
            filled,
            runt_so_far,
            sum_right
        );
        self.crc.sum.next = self.sum.q.val();
        self.crc.octet.next = self.data.val();
        self.in_frame.next = self.state.q.val() == 2;
        self.byte_in.next = self.in_frame.val() & self.valid.val();
        self.byte_out.next = self.byte_in.val() & self.primed.q.val();
        self.ending.next = self.state.q.val().any() & (!self.valid.val());
        self.oldest.next = self.line.q.val().get_bits::<8>(24);
        self.spread.next = bit_cast_wide::<64, 8>(bits_wide::<8>(self.oldest.val()));
        // preamble and delimiter
        if self.state.q.val() == 0 {
            if self.valid.val() {
                self.state.d.next = 3.into();
                if (self.data.val() == 0x55) & (!self.error.val()) {
                    self.state.d.next = 1.into();
                }
            }
        }
        if self.state.q.val() == 1 {
            if (self.data.val() != 0x55) | self.error.val() {
                self.state.d.next = 3.into();
            }
        }
        if (!self.state.q.val().get_bit(1)) & self.valid.val() & (self.data.val() == 0xd5) & (!self.error.val()) {
            self.state.d.next = 2.into();
            self.sum.d.next = self.ones.val();
            self.held.d.next = 0.into();
            self.fill.d.next = 0.into();
            self.bytes.d.next = 0.into();
            self.over.d.next = false;
            self.primed.d.next = false;
            self.filled.d.next = false;
            self.runt_so_far.d.next = true;
            self.sum_right.d.next = false;
            self.symbol.d.next = false;
            self.control_type.d.next = 0.into();
            self.pause_code.d.next = 0.into();
            self.spoiled.d.next = false;
        }
        // the bytes of a frame
        if self.byte_in.val() {
            self.sum.d.next = self.crc.then.val();
            self.sum_right.d.next = self.crc.then.val() == self.residue.val();
            self.line.d.next = (self.line.q.val() << 8) | bit_cast::<32, 8>(self.data.val());
            if !self.over.q.val() {
                self.bytes.d.next = self.bytes.q.val() + 1;
            }
            self.primed.d.next = ((self.held.q.val() == 3) | (self.held.q.val() == 4)) & (!self.over.q.val());
            if self.bytes.q.val() == self.max_bytes.val() {
                self.over.d.next = true;
                self.primed.d.next = false;
            }
            if self.bytes.q.val() == self.last_of_runt.val() {
                self.runt_so_far.d.next = false;
            }
            if self.held.q.val() != 4 {
                self.held.d.next = self.held.q.val() + 1;
            }
            if self.error.val() {
                self.symbol.d.next = true;
            }
            if (self.bytes.q.val() == 12) & (self.data.val() == 0x88) {
                self.control_type.d.next = 1.into();
            }
            if (self.bytes.q.val() == 13) & (self.data.val() == 0x08) {
                self.control_type.d.next = self.control_type.q.val() << 1;
            }
            if (self.bytes.q.val() == 14) & (self.data.val() == 0) {
                self.pause_code.d.next = 1.into();
            }
            if (self.bytes.q.val() == 15) & (self.data.val() == 1) {
                self.pause_code.d.next = self.pause_code.q.val() << 1;
            }
        }
        // words; `gather` is filled from the top, and its rest is zero
        self.want_word.next = self.byte_out.val() & self.filled.q.val();
        if self.byte_out.val() {
            self.fill.d.next = self.fill.q.val() + 1;
            self.filled.d.next = self.fill.q.val() == 7;
            if self.fill.q.val() == 1 {
                self.gather.d.next = self.gather.q.val() | (self.spread.val() << 48);
            }
            if self.fill.q.val() == 2 {
                self.gather.d.next = self.gather.q.val() | (self.spread.val() << 40);
            }
            if self.fill.q.val() == 3 {
                self.gather.d.next = self.gather.q.val() | (self.spread.val() << 32);
            }
            if self.fill.q.val() == 4 {
                self.gather.d.next = self.gather.q.val() | (self.spread.val() << 24);
            }
            if self.fill.q.val() == 5 {
                self.gather.d.next = self.gather.q.val() | (self.spread.val() << 16);
            }
            if self.fill.q.val() == 6 {
                self.gather.d.next = self.gather.q.val() | (self.spread.val() << 8);
            }
            if self.fill.q.val() == 7 {
                self.gather.d.next = self.gather.q.val() | self.spread.val();
            }
            if (self.fill.q.val() == 0) | (self.fill.q.val() == 8) {
                self.gather.d.next = self.spread.val() << 56;
                self.fill.d.next = 1.into();
            }
        }
        // the verdict
        self.what.next = self.good.val();
        if self.control_type.q.val().get_bit(1) {
            self.what.next = self.control.val();
            if self.pause_code.q.val().get_bit(1) {
                self.what.next = self.pause.val();
            }
        }
        if !self.sum_right.q.val() {
            self.what.next = self.fcs.val();
        }
        if self.symbol.q.val() {
            self.what.next = self.symbol_error.val();
        }
        if self.runt_so_far.q.val() {
            self.what.next = self.runt.val();
        }
        if self.over.q.val() {
            self.what.next = self.oversize.val();
        }
        if !self.in_frame.val() {
            self.what.next = self.no_start.val();
        }
        if self.spoiled.q.val() & self.in_frame.val() {
            self.what.next = self.overrun.val();
        }
        if self.ending.val() {
            self.state.d.next = 0.into();
        }
        // the link's status
        self.status_now.next = bit_cast::<4, 8>(self.data.val());
        if self.status.val() & (self.state.q.val() == 0) {
            self.seen.d.next = self.status_now.val();
            self.steady.d.next = 0.into();
            if self.status_now.val() == self.seen.q.val() {
                self.steady.d.next = self.steady.q.val();
                if self.steady.q.val() != 7 {
                    self.steady.d.next = self.steady.q.val() + 1;
                }
            }
        }
        self.telling.next = (self.state.q.val() == 0)
            & self.status.val()
            & (self.steady.q.val() == 7)
            & (self.status_now.val() == self.seen.q.val())
            & (self.seen.q.val() != self.known.q.val())
            & (!self.tell.q.val());
        self.tell.d.next = self.telling.val();
        if self.telling.val() {
            self.gather.d.next = bit_cast_wide::<64, 4>(bits_wide::<4>(self.seen.q.val())) << 56;
        }
        // what is sent; what is owed comes first
        self.owing.next = self.owed.q.val().any();
        self.push.next =
            self.room.val() & (self.ending.val() | self.want_word.val() | self.tell.q.val() | self.owing.val());
        self.word.next = self.gather.q.val();
        self.meta.next.last = self.ending.val() | self.tell.q.val();
        self.meta.next.count = bit_cast::<6, 4>(self.fill.q.val());
        if (self.fill.q.val() == 8) | self.tell.q.val() {
            self.meta.next.count = 0.into();
        }
        self.meta.next.verdict = self.what.val();
        if self.tell.q.val() & (!self.ending.val()) {
            self.meta.next.verdict = self.status_word.val();
            if self.room.val() & (!self.owing.val()) {
                self.known.d.next = self.seen.q.val();
            }
        }
        if self.owing.val() {
            self.meta.next.last = true;
            self.meta.next.verdict = self.overrun.val();
        }
        if self.want_word.val() & (self.owing.val() | (!self.room.val())) {
            self.spoiled.d.next = true;
        }
        // a frame whose end cannot be told now is owed; one that was owed is told
        if self.ending.val() & (!self.room.val()) & (!self.owed.q.val().all()) {
            self.owed.d.next = self.owed.q.val() + 1;
        }
        if (!self.ending.val()) & self.owing.val() & self.room.val() {
            self.owed.d.next = self.owed.q.val() - 1;
        }
    }
}
