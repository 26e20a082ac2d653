//! Inject: reads frames out of the inject ring and sends them.
//!
//! ```text
//!  idle -> read descriptor -> read frame -> buffer -> queue of 16 beats -> inject stream
//!   ^            \--- BadInject, DmaError ---\                             |
//!   \-------------------- write head to host memory <----------------------/
//! ```
//!
//! One slot at a time, the frame whole in the buffer before its first beat leaves (no gap on the wire). A slot that is
//! wrong is counted and skipped.

#[cfg(test)]
mod tests;

use crate::egress::queue::Queue;
use crate::prelude::*;
use crate::prim::{ApartRam, Quiet, Reg};
use crate::types::{RegisterWrite, Tally};
use crate::wide::*;
use crate::FastBlock;
use nat64_layout::regs::{InjBaseHigh, InjBaseLow, InjCtrl, InjTail, InjWbHigh, InjWbLow};
use nat64_layout::ring::{DESCRIPTOR_BYTES, MIN_INJECT, SLOT_FRAME};
use nat64_layout::Reason;

/// See the module documentation. `LB` = log2 of the bytes of a beat.
#[derive(FastBlock)]
pub struct Inject<const W: usize, const LB: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Register writes; the `Inj` registers are owned here.
    pub write: Signal<In, RegisterWrite>,
    /// DMA read request: there is one.
    pub mr_valid: Signal<Out, Bit>,
    /// DMA read request: it is taken.
    pub mr_ready: Signal<In, Bit>,
    /// DMA read request: address.
    pub mr_addr: Signal<Out, Wide<64>>,
    /// DMA read request: bytes, a multiple of 8.
    pub mr_len: Signal<Out, Bits<13>>,
    /// DMA read data: there is a word.
    pub md_valid: Signal<In, Bit>,
    /// DMA read data: it is taken.
    pub md_ready: Signal<Out, Bit>,
    /// DMA read data: the word, its byte 0 in the low bits.
    pub md_data: Signal<In, Wide<64>>,
    /// DMA read data: last word of the request.
    pub md_last: Signal<In, Bit>,
    /// DMA read data: the read failed.
    pub md_error: Signal<In, Bit>,
    /// DMA write: there is a word.
    pub mw_valid: Signal<Out, Bit>,
    /// DMA write: it is taken.
    pub mw_ready: Signal<In, Bit>,
    /// DMA write: address of the word.
    pub mw_addr: Signal<Out, Wide<64>>,
    /// DMA write: the word, its byte 0 in the low bits.
    pub mw_data: Signal<Out, Wide<64>>,
    /// DMA write: first word of a burst.
    pub mw_first: Signal<Out, Bit>,
    /// DMA write: last word of a burst.
    pub mw_last: Signal<Out, Bit>,
    /// There is a beat.
    pub inj_valid: Signal<Out, Bit>,
    /// It is taken.
    pub inj_ready: Signal<In, Bit>,
    /// Its bytes, the first in the top bits.
    pub inj_data: Signal<Out, Wide<W>>,
    /// Valid bytes of the last beat, 0 for all.
    pub inj_count: Signal<Out, Bits<LB>>,
    /// First beat of a frame.
    pub inj_first: Signal<Out, Bit>,
    /// Last beat of a frame.
    pub inj_last: Signal<Out, Bit>,
    /// Port to send on, with every beat.
    pub inj_port: Signal<Out, Bit>,
    /// Slots consumed, free running (`InjHead`).
    pub head: Signal<Out, Bits<32>>,
    /// The new head was written to host memory; one clock.
    pub irq: Signal<Out, Bit>,
    /// A slot was skipped: `BadInject` or `DmaError`.
    pub tally: Signal<Out, Tally>,
    /// The ring has slots to read or one is being worked on.
    pub busy: Signal<Out, Bit>,

    // registers
    base: Reg<Wide<64>>,
    write_back: Reg<Wide<64>>,
    enable: Reg<Bit>,
    /// Slots of the ring less one.
    slots: Reg<Bits<16>>,
    tail: Reg<Bits<32>>,
    head1: Reg<Bits<32>>,
    /// The ring was switched on by the write of the clock before.
    switched_on: Reg<Bit>,
    log2: Signal<Local, Bits<4>>,
    above: Signal<Local, Bits<16>>,

    // the slot at hand; state: 0 idle, 1 ask and 2 read descriptor, 3 check it, 4 ask and 5 read frame, 6 send, 7 and 8 write
    // the head back, 9 wait until what follows from the new head is in registers;
    // state n is bit n - 1, since much waits for some of them
    state: Reg<Bits<9>>,
    stale: Reg<Bit>,
    failed: Reg<Bit>,
    slot: Reg<Wide<64>>,
    want: Reg<Bits<9>>,
    got: Reg<Bits<9>>,
    length: Reg<Bits<16>>,
    port: Reg<Bit>,
    own: Reg<Bit>,
    back_valid: Reg<Bit>,
    tally1: Reg<Tally>,
    irq1: Reg<Bit>,
    /// The head and the tail differ, which slot the head is, in which lap: all of the clock before.
    some: Reg<Bit>,
    index: Reg<Bits<16>>,
    phase: Reg<Bit>,
    pending: Signal<Local, Bit>,
    head_low: Signal<Local, Bits<16>>,
    lap: Signal<Local, Bits<16>>,
    next_head: Signal<Local, Bits<32>>,
    up: Signal<Local, Bits<16>>,
    up_words: Signal<Local, Bits<16>>,
    take: Signal<Local, Bit>,
    over: Signal<Local, Bit>,
    broken: Signal<Local, Bit>,
    length_word: Signal<Local, Wide<16>>,

    // words to beats, into the buffer
    buffer: ApartRam<Wide<W>, 8>,
    gather: Reg<Wide<W>>,
    sub: Reg<Bits<3>>,
    write_at: Reg<Bits<8>>,
    byte: Signal<Local, Wide<8>>,
    word: Signal<Local, Wide<64>>,
    shifted: Signal<Local, Wide<W>>,
    place: Signal<Local, Bits<12>>,
    placed: Signal<Local, Wide<W>>,

    // beats out of it
    /// The place to read, inverted: 255, which no frame reaches, while there is nothing to read.
    read_not: Reg<Bits<8>>,
    issue_left: Reg<Bits<9>>,
    issued: Reg<Bit>,
    coming: Reg<Bit>,
    used: Reg<Bits<4>>,
    beats: Queue<Wide<W>, 4>,
    first: Reg<Bit>,
    beats_left: Reg<Bits<9>>,
    issue: Signal<Local, Bit>,
    sending: Signal<Local, Bit>,
    pop: Signal<Local, Bit>,
    popped: Reg<Bit>,
    before: Signal<Local, Bits<16>>,
    count: Signal<Local, Bits<9>>,

    all: Constant<Bits<16>>,
    lb: Constant<Bits<4>>,
    sub_last: Constant<Bits<3>>,
    top: Constant<Bits<12>>,
    most: Constant<Bits<4>>,
    min: Constant<Bits<16>>,
    max: Constant<Bits<16>>,
    descriptor: Constant<Bits<13>>,
    at_base_low: Constant<Bits<16>>,
    at_base_high: Constant<Bits<16>>,
    at_ctrl: Constant<Bits<16>>,
    at_tail: Constant<Bits<16>>,
    at_back_low: Constant<Bits<16>>,
    at_back_high: Constant<Bits<16>>,
    bad_inject: Constant<Bits<6>>,
    dma_error: Constant<Bits<6>>,
    _quiet: Quiet,
}

impl<const W: usize, const LB: usize> Default for Inject<W, LB> {
    fn default() -> Self {
        assert_eq!(W, 8 << LB, "LB is log2 of the bytes of a beat");
        Self {
            clock: Default::default(),
            write: Default::default(),
            mr_valid: Default::default(),
            mr_ready: Default::default(),
            mr_addr: Default::default(),
            mr_len: Default::default(),
            md_valid: Default::default(),
            md_ready: Default::default(),
            md_data: Default::default(),
            md_last: Default::default(),
            md_error: Default::default(),
            mw_valid: Default::default(),
            mw_ready: Default::default(),
            mw_addr: Default::default(),
            mw_data: Default::default(),
            mw_first: Default::default(),
            mw_last: Default::default(),
            inj_valid: Default::default(),
            inj_ready: Default::default(),
            inj_data: Default::default(),
            inj_count: Default::default(),
            inj_first: Default::default(),
            inj_last: Default::default(),
            inj_port: Default::default(),
            head: Default::default(),
            irq: Default::default(),
            tally: Default::default(),
            busy: Default::default(),
            base: Default::default(),
            write_back: Default::default(),
            enable: Default::default(),
            slots: Default::default(),
            tail: Default::default(),
            head1: Default::default(),
            switched_on: Default::default(),
            log2: Default::default(),
            above: Default::default(),
            state: Default::default(),
            stale: Default::default(),
            failed: Default::default(),
            slot: Default::default(),
            want: Default::default(),
            got: Default::default(),
            length: Default::default(),
            port: Default::default(),
            own: Default::default(),
            back_valid: Default::default(),
            tally1: Default::default(),
            irq1: Default::default(),
            some: Default::default(),
            index: Default::default(),
            phase: Default::default(),
            pending: Default::default(),
            head_low: Default::default(),
            lap: Default::default(),
            next_head: Default::default(),
            up: Default::default(),
            up_words: Default::default(),
            take: Default::default(),
            over: Default::default(),
            broken: Default::default(),
            length_word: Default::default(),
            buffer: Default::default(),
            gather: Default::default(),
            sub: Default::default(),
            write_at: Default::default(),
            byte: Default::default(),
            word: Default::default(),
            shifted: Default::default(),
            place: Default::default(),
            placed: Default::default(),
            read_not: Default::default(),
            issue_left: Default::default(),
            issued: Default::default(),
            coming: Default::default(),
            used: Default::default(),
            beats: Default::default(),
            first: Default::default(),
            beats_left: Default::default(),
            issue: Default::default(),
            sending: Default::default(),
            pop: Default::default(),
            popped: Default::default(),
            before: Default::default(),
            count: Default::default(),
            all: Constant::new(0xffffu64.into()),
            lb: Constant::new((LB as u64).into()),
            sub_last: Constant::new((W as u64 / 64 - 1).into()),
            top: Constant::new((W as u64 - 64).into()),
            most: Constant::new(15u64.into()),
            min: Constant::new(u64::from(MIN_INJECT).into()),
            max: Constant::new((SLOT_FRAME as u64).into()),
            descriptor: Constant::new((DESCRIPTOR_BYTES as u64).into()),
            at_base_low: Constant::new(u64::from(InjBaseLow::OFFSET).into()),
            at_base_high: Constant::new(u64::from(InjBaseHigh::OFFSET).into()),
            at_ctrl: Constant::new(u64::from(InjCtrl::OFFSET).into()),
            at_tail: Constant::new(u64::from(InjTail::OFFSET).into()),
            at_back_low: Constant::new(u64::from(InjWbLow::OFFSET).into()),
            at_back_high: Constant::new(u64::from(InjWbHigh::OFFSET).into()),
            bad_inject: Constant::new((Reason::BadInject as u64).into()),
            dma_error: Constant::new((Reason::DmaError as u64).into()),
            _quiet: Default::default(),
        }
    }
}

impl<const W: usize, const LB: usize> Logic for Inject<W, LB> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self,
            clock,
            base,
            write_back,
            enable,
            slots,
            tail,
            head1,
            switched_on,
            state,
            stale,
            failed,
            slot
        );
        dff_setup!(
            self, clock, want, got, some, index, phase, popped, length, port, own, back_valid, tally1, irq1, gather,
            sub, write_at
        );
        dff_setup!(self, clock, read_not, issue_left, issued, coming, used, first, beats_left);
        clock!(self, clock, buffer, beats);

        // registers; a tail that is written in the clock after the ring was switched on stays
        if self.switched_on.q.val() {
            self.tail.d.next = 0.into();
        }
        self.switched_on.d.next = false;
        self.log2.next = bit_cast::<4, 32>(self.write.val().data >> 8);
        self.above.next = self.all.val() << self.log2.val();
        if self.write.val().valid {
            if self.write.val().address == self.at_base_low.val() {
                self.base.d.next =
                    ((self.base.q.val() >> 32) << 32) | bit_cast_wide::<64, 32>(bits_wide(self.write.val().data));
            }
            if self.write.val().address == self.at_base_high.val() {
                self.base.d.next = bit_cast_wide::<64, 32>(self.base.q.val().get_bits::<32>(0))
                    | (bit_cast_wide::<64, 32>(bits_wide(self.write.val().data)) << 32);
            }
            if self.write.val().address == self.at_back_low.val() {
                self.write_back.d.next =
                    ((self.write_back.q.val() >> 32) << 32) | bit_cast_wide::<64, 32>(bits_wide(self.write.val().data));
            }
            if self.write.val().address == self.at_back_high.val() {
                self.write_back.d.next = bit_cast_wide::<64, 32>(self.write_back.q.val().get_bits::<32>(0))
                    | (bit_cast_wide::<64, 32>(bits_wide(self.write.val().data)) << 32);
            }
            if self.write.val().address == self.at_tail.val() {
                self.tail.d.next = self.write.val().data;
            }
            if self.write.val().address == self.at_ctrl.val() {
                self.enable.d.next = (self.write.val().data & 1) == 1;
                self.slots.d.next = !self.above.val();
                self.switched_on.d.next = (!self.enable.q.val()) & ((self.write.val().data & 1) == 1);
            }
        }

        // registers between the head and what is decided with it; the old head says nothing about a ring just switched on
        self.pending.next = self.head1.q.val() != self.tail.q.val();
        self.some.d.next = self.pending.val() & (!self.switched_on.q.val());
        self.head_low.next = bit_cast::<16, 32>(self.head1.q.val());
        self.index.d.next = self.head_low.val() & self.slots.q.val();
        self.lap.next = (self.slots.q.val() << 1) | 1;
        self.lap.next = (self.lap.val() ^ self.slots.q.val()) & self.head_low.val();
        self.phase.d.next = self.lap.val().any();
        self.next_head.next = self.head1.q.val() + 1;

        // words of the host, byte 0 to the front of the beat
        self.take.next = self.md_valid.val() & (self.state.q.val().get_bit(1) | self.state.q.val().get_bit(4));
        self.word.next = bits_literal::<64>(0);
        for i in 0..8 {
            self.byte.next = self.md_data.val().get_bits::<8>(i * 8);
            self.word.next = (self.word.val() << 8) | bit_cast_wide::<64, 8>(self.byte.val());
        }
        self.place.next = bit_cast::<12, 3>(self.sub.q.val()) << 6;
        self.shifted.next = bit_cast_wide::<W, 64>(self.word.val()) << self.top.val();
        self.placed.next = self.shifted.val() >> self.place.val();
        if self.sub.q.val().any() {
            self.placed.next = self.placed.val() | self.gather.q.val();
        }
        self.buffer.write.next = false;
        self.buffer.write_address.next = self.write_at.q.val();
        self.buffer.write_data.next = self.placed.val();
        self.over.next = self.got.q.val() > self.want.q.val();
        self.broken.next =
            self.failed.q.val() | self.md_error.val() | (self.md_last.val() != (self.got.q.val() == self.want.q.val()));
        self.length_word.next = self.md_data.val().get_bits::<16>(32);
        if self.take.val() {
            self.failed.d.next = self.broken.val();
            self.gather.d.next = self.placed.val();
            // words past those asked for are thrown away
            if !self.over.val() {
                self.got.d.next = self.got.q.val() + 1;
                self.buffer.write.next = self.state.q.val().get_bit(4);
                self.sub.d.next = self.sub.q.val() + 1;
                if self.sub.q.val() == self.sub_last.val() {
                    self.sub.d.next = 0.into();
                    self.write_at.d.next = self.write_at.q.val() + 1;
                }
            }
            if self.state.q.val().get_bit(1) & (self.got.q.val() == 3) {
                self.port.d.next = self.md_data.val().get_bit(8);
                self.length.d.next = bits_narrow(self.length_word.val());
                self.own.d.next = self.md_data.val().get_bit(63);
            }
        }

        // beats out of the buffer, two clocks after their address
        self.sending.next = self.state.q.val().get_bit(5);
        self.issue.next = self.sending.val() & self.issue_left.q.val().any() & (self.used.q.val() != self.most.val());
        self.pop.next = self.sending.val() & self.beats.valid.val() & self.inj_ready.val();
        if self.issue.val() {
            self.read_not.d.next = self.read_not.q.val() - 1;
            self.issue_left.d.next = self.issue_left.q.val() - 1;
        }
        self.buffer.read_address.next = !self.read_not.q.val();
        self.issued.d.next = self.issue.val();
        self.coming.d.next = self.issued.q.val();
        self.beats.push.next = self.coming.q.val();
        self.beats.data_in.next = self.buffer.read_data.val();
        self.beats.pop.next = self.pop.val();
        // a beat that is sent makes room a clock later
        self.popped.d.next = self.pop.val();
        if self.issue.val() & (!self.popped.q.val()) {
            self.used.d.next = self.used.q.val() + 1;
        }
        if self.popped.q.val() & (!self.issue.val()) {
            self.used.d.next = self.used.q.val() - 1;
        }

        // the slot at hand
        self.tally1.d.next.valid = false;
        self.irq1.d.next = false;
        self.stale.d.next = self.stale.q.val() | self.switched_on.q.val();
        self.up.next = self.length.q.val() + 7;
        self.up_words.next = self.up.val() >> 3;
        self.before.next = self.length.q.val() - 1;
        self.count.next = bit_cast::<9, 16>(self.before.val() >> self.lb.val());
        if !self.state.q.val().any() {
            self.stale.d.next = false;
            self.failed.d.next = false;
            self.read_not.d.next = 0.into();
            self.slot.d.next = self.base.q.val() + (bit_cast_wide::<64, 16>(bits_wide(self.index.q.val())) << 11);
            self.got.d.next = 0.into();
            self.want.d.next = 3.into();
            if self.enable.q.val() & (!self.switched_on.q.val()) & self.some.q.val() {
                self.state.d.next = 1.into();
            }
        }
        if self.state.q.val().get_bit(0) & self.mr_ready.val() {
            self.state.d.next = 2.into();
        }
        if self.state.q.val().get_bit(1) & self.take.val() & self.md_last.val() {
            self.state.d.next = 4.into();
        }
        if self.state.q.val().get_bit(2) {
            self.want.d.next = bit_cast::<9, 16>(self.up_words.val()) - 1;
            self.got.d.next = 0.into();
            self.sub.d.next = 0.into();
            self.write_at.d.next = 0.into();
            self.state.d.next = 8.into();
            if self.failed.q.val() {
                self.tally1.d.next.valid = true;
                self.tally1.d.next.reason = self.dma_error.val();
                self.state.d.next = 64.into();
            } else if (self.own.q.val() == self.phase.q.val())
                | (self.length.q.val() < self.min.val())
                | (self.length.q.val() > self.max.val())
            {
                self.tally1.d.next.valid = true;
                self.tally1.d.next.reason = self.bad_inject.val();
                self.state.d.next = 64.into();
            }
        }
        if self.state.q.val().get_bit(3) & self.mr_ready.val() {
            self.state.d.next = 16.into();
        }
        if self.state.q.val().get_bit(4) & self.take.val() & self.md_last.val() {
            self.state.d.next = 32.into();
            self.read_not.d.next = 255.into();
            self.issue_left.d.next = self.count.val() + 1;
            self.beats_left.d.next = self.count.val() + 1;
            self.first.d.next = true;
            if self.broken.val() {
                self.tally1.d.next.valid = true;
                self.tally1.d.next.reason = self.dma_error.val();
                self.state.d.next = 64.into();
            }
        }
        if self.pop.val() {
            self.first.d.next = false;
            self.beats_left.d.next = self.beats_left.q.val() - 1;
            if self.beats_left.q.val() == 1 {
                self.state.d.next = 64.into();
            }
        }
        if self.state.q.val().get_bit(6) {
            self.back_valid.d.next = !self.stale.q.val();
            self.state.d.next = 128.into();
        }
        if self.state.q.val().get_bit(7) & ((!self.back_valid.q.val()) | self.mw_ready.val()) {
            self.back_valid.d.next = false;
            self.state.d.next = 256.into();
            if !self.stale.q.val() {
                self.head1.d.next = self.next_head.val();
                self.irq1.d.next = true;
            }
        }
        if self.state.q.val().get_bit(8) {
            self.state.d.next = 0.into();
        }
        if self.switched_on.q.val() {
            self.head1.d.next = 0.into();
        }

        self.mr_valid.next = self.state.q.val().get_bit(0) | self.state.q.val().get_bit(3);
        self.mr_addr.next = self.slot.q.val();
        self.mr_len.next = self.descriptor.val();
        if self.state.q.val().get_bit(3) {
            self.mr_addr.next = self.slot.q.val() | bits_literal::<64>(32);
            self.mr_len.next = bit_cast::<13, 16>(self.up_words.val()) << 3;
        }
        self.md_ready.next = self.state.q.val().get_bit(1) | self.state.q.val().get_bit(4);
        self.mw_valid.next = self.back_valid.q.val();
        self.mw_addr.next = self.write_back.q.val();
        self.mw_data.next = bit_cast_wide::<64, 32>(bits_wide(self.next_head.val()));
        self.mw_first.next = true;
        self.mw_last.next = true;
        self.inj_valid.next = self.sending.val() & self.beats.valid.val();
        self.inj_data.next = self.beats.data.val();
        self.inj_first.next = self.first.q.val();
        self.inj_last.next = self.beats_left.q.val() == 1;
        self.inj_count.next = 0.into();
        if self.beats_left.q.val() == 1 {
            self.inj_count.next = bit_cast::<LB, 16>(self.length.q.val());
        }
        self.inj_port.next = self.port.q.val();
        self.head.next = self.head1.q.val();
        self.irq.next = self.irq1.q.val();
        self.tally.next = self.tally1.q.val();
        self.busy.next = self.state.q.val().any()
            | (self.enable.q.val() & self.pending.val())
            | self.tally1.q.val().valid
            | self.irq1.q.val();
    }
}
