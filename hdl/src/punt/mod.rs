//! Punt: buffers punted frames and writes them into the exception ring.
//!
//! ```text
//!  punt stream -> buffer of 512 beats -> queue of 16 beats -> slot writer -> DMA writes
//!              -> frames (32)         ----------------------/
//! ```
//!
//! A frame enters the buffer whole or not at all (`PuntOverflow`). The slot writer writes the frame, then the descriptor,
//! its word with OWN last; only when that word is taken are `head`, `irq` and the count of the punt's reason given.

mod entry;
#[cfg(test)]
mod tests;

use crate::egress::queue::Queue;
use crate::egress::PuntMeta;
use crate::prelude::*;
use crate::prim::{ApartRam, Quiet, Reg};
use crate::types::{RegisterWrite, Tally};
use crate::wide::*;
use crate::FastBlock;
use entry::PuntEntry;
use nat64_layout::regs::{ExcBaseHigh, ExcBaseLow, ExcCtrl, ExcTail};
use nat64_layout::ring::SLOT_FRAME;
use nat64_layout::Reason;

/// See the module documentation. `LB` = log2 of the bytes of a beat.
#[derive(FastBlock)]
pub struct Punt<const W: usize, const LB: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Card time, nanoseconds.
    pub time_ns: Signal<In, Wide<64>>,
    /// Register writes; the `Exc` registers are owned here.
    pub write: Signal<In, RegisterWrite>,
    /// There is a beat (no back-pressure).
    pub punt_valid: Signal<In, Bit>,
    /// Its bytes, the first in the top bits.
    pub punt_data: Signal<In, Wide<W>>,
    /// Valid bytes of the last beat, 0 for all.
    pub punt_count: Signal<In, Bits<LB>>,
    /// First beat of a frame.
    pub punt_first: Signal<In, Bit>,
    /// Last beat of a frame.
    pub punt_last: Signal<In, Bit>,
    /// With `last`: throw the frame away.
    pub punt_abort: Signal<In, Bit>,
    /// With `last`: why and from where.
    pub punt_meta: Signal<In, PuntMeta>,
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
    /// Slots filled, free running (`ExcHead`).
    pub head: Signal<Out, Bits<32>>,
    /// A slot was filled; one clock.
    pub irq: Signal<Out, Bit>,
    /// A frame was punted, or dropped here.
    pub tally: Signal<Out, Tally>,
    /// A frame is buffered or being written.
    pub busy: Signal<Out, Bit>,

    // registers
    base: Reg<Wide<64>>,
    enable: Reg<Bit>,
    /// Slots of the ring less one.
    slots: Reg<Bits<16>>,
    tail: Reg<Bits<32>>,
    head1: Reg<Bits<32>>,
    /// The ring was switched on by the write of the clock before.
    switched_on: Reg<Bit>,
    log2: Signal<Local, Bits<4>>,
    above: Signal<Local, Bits<16>>,

    // buffer
    buffer: ApartRam<Wide<W>, 9>,
    frames: Queue<PuntEntry, 5>,
    write_at: Reg<Bits<9>>,
    committed: Reg<Bits<9>>,
    /// A frame was good, or found no room, in the clock before; with it, why and from where.
    commit1: Reg<Bit>,
    overflow1: Reg<Bit>,
    meta1: Reg<PuntMeta>,
    /// The buffer has no room behind `write_at`, or behind the committed frames; by the reader's place of the clock before.
    full_here: Reg<Bit>,
    full_first: Reg<Bit>,
    /// `read_at` - 1 and `read_at` - 2, inverted but for bit 0 of the second, so that both begin as zero.
    back1: Reg<Bits<9>>,
    back2: Reg<Bits<9>>,
    waiting: Reg<Bits<6>>,
    lost: Reg<Bit>,
    bytes: Reg<Bits<16>>,
    stamp: Reg<Wide<64>>,
    receiving: Reg<Bit>,
    overflows: Reg<Bits<4>>,
    tally1: Reg<Tally>,
    irq1: Reg<Bit>,
    start: Signal<Local, Bits<9>>,
    behind1: Signal<Local, Bits<9>>,
    behind2: Signal<Local, Bits<9>>,
    here_meets1: Signal<Local, Bit>,
    here_meets2: Signal<Local, Bit>,
    start_meets1: Signal<Local, Bit>,
    start_meets2: Signal<Local, Bit>,
    moved_meets: Signal<Local, Bit>,
    crowd: Signal<Local, Bits<5>>,
    crowded: Signal<Local, Bit>,
    full: Signal<Local, Bit>,
    losing: Signal<Local, Bit>,
    commit: Signal<Local, Bit>,
    overflow: Signal<Local, Bit>,
    at: Signal<Local, Bits<9>>,
    next_at: Signal<Local, Bits<9>>,
    size: Signal<Local, Bits<16>>,
    total: Signal<Local, Bits<16>>,
    entry: Signal<Local, PuntEntry>,

    // beats on their way to the slot writer
    read_at: Reg<Bits<9>>,
    issued: Reg<Bit>,
    coming: Reg<Bit>,
    arriving: Reg<Bit>,
    used: Reg<Bits<4>>,
    beats: Queue<Wide<W>, 4>,
    issue: Signal<Local, Bit>,
    pop: Signal<Local, Bit>,
    popped: Reg<Bit>,

    // slot writer; state: 0 idle, 6 measure the frame and find its slot, 1 write it, 3 skip the rest of one that is cut, 2 write
    // the descriptor, 5 wait for its last word, 4 skip a whole frame
    state: Reg<Bits<3>>,
    slot: Reg<Wide<64>>,
    stale: Reg<Bit>,
    cut: Reg<Bit>,
    length: Reg<Bits<16>>,
    words_left: Reg<Bits<9>>,
    beats_left: Reg<Bits<9>>,
    sub: Reg<Bits<3>>,
    offset: Reg<Bits<11>>,
    first: Reg<Bit>,
    out_valid: Reg<Bit>,
    out_offset: Reg<Bits<11>>,
    out_data: Reg<Wide<64>>,
    out_first: Reg<Bit>,
    out_last: Reg<Bit>,
    head_entry: Signal<Local, PuntEntry>,
    room: Signal<Local, Bits<32>>,
    outside: Signal<Local, Bits<32>>,
    /// The ring is full, which slot the head is, in which lap: all of the clock before.
    no_room: Reg<Bit>,
    index: Reg<Bits<16>>,
    phase: Reg<Bit>,
    head_low: Signal<Local, Bits<16>>,
    lap: Signal<Local, Bits<16>>,
    longer: Signal<Local, Bit>,
    part: Signal<Local, Bits<2>>,
    words: Signal<Local, Bits<16>>,
    up: Signal<Local, Bits<16>>,
    open: Signal<Local, Bit>,
    load: Signal<Local, Bit>,
    done: Signal<Local, Bit>,
    dropped: Signal<Local, Bit>,
    gone: Signal<Local, Bit>,
    move_on: Signal<Local, Bits<12>>,
    moved: Signal<Local, Wide<W>>,
    word: Signal<Local, Wide<64>>,
    byte: Signal<Local, Wide<8>>,
    swapped: Signal<Local, Wide<64>>,
    mask: Signal<Local, Wide<64>>,
    /// What of the frame's last word belongs to it.
    end_mask: Reg<Wide<64>>,
    tag: Signal<Local, Wide<64>>,
    last_word: Signal<Local, Bit>,
    keep: Signal<Local, Bits<3>>,
    drain: Signal<Local, Bit>,
    eight: Constant<Bits<12>>,
    all: Constant<Bits<16>>,

    lb: Constant<Bits<4>>,
    beat_bytes: Constant<Bits<16>>,
    round: Constant<Bits<16>>,
    sub_last: Constant<Bits<3>>,
    top: Constant<Bits<12>>,
    most: Constant<Bits<4>>,
    slot_frame: Constant<Bits<16>>,
    slot_words: Constant<Bits<9>>,
    at_base_low: Constant<Bits<16>>,
    at_base_high: Constant<Bits<16>>,
    at_ctrl: Constant<Bits<16>>,
    at_tail: Constant<Bits<16>>,
    ring_full: Constant<Bits<6>>,
    punt_overflow: Constant<Bits<6>>,
    _quiet: Quiet,
}

impl<const W: usize, const LB: usize> Default for Punt<W, LB> {
    fn default() -> Self {
        assert_eq!(W, 8 << LB, "LB is log2 of the bytes of a beat");
        Self {
            clock: Default::default(),
            time_ns: Default::default(),
            write: Default::default(),
            punt_valid: Default::default(),
            punt_data: Default::default(),
            punt_count: Default::default(),
            punt_first: Default::default(),
            punt_last: Default::default(),
            punt_abort: Default::default(),
            punt_meta: Default::default(),
            mw_valid: Default::default(),
            mw_ready: Default::default(),
            mw_addr: Default::default(),
            mw_data: Default::default(),
            mw_first: Default::default(),
            mw_last: Default::default(),
            head: Default::default(),
            irq: Default::default(),
            tally: Default::default(),
            busy: Default::default(),
            base: Default::default(),
            enable: Default::default(),
            slots: Default::default(),
            tail: Default::default(),
            head1: Default::default(),
            switched_on: Default::default(),
            log2: Default::default(),
            above: Default::default(),
            buffer: Default::default(),
            frames: Default::default(),
            write_at: Default::default(),
            committed: Default::default(),
            commit1: Default::default(),
            overflow1: Default::default(),
            meta1: Default::default(),
            full_here: Default::default(),
            full_first: Default::default(),
            back1: Default::default(),
            back2: Default::default(),
            waiting: Default::default(),
            lost: Default::default(),
            bytes: Default::default(),
            stamp: Default::default(),
            receiving: Default::default(),
            overflows: Default::default(),
            tally1: Default::default(),
            irq1: Default::default(),
            start: Default::default(),
            behind1: Default::default(),
            behind2: Default::default(),
            here_meets1: Default::default(),
            here_meets2: Default::default(),
            start_meets1: Default::default(),
            start_meets2: Default::default(),
            moved_meets: Default::default(),
            crowd: Default::default(),
            crowded: Default::default(),
            full: Default::default(),
            losing: Default::default(),
            commit: Default::default(),
            overflow: Default::default(),
            at: Default::default(),
            next_at: Default::default(),
            size: Default::default(),
            total: Default::default(),
            entry: Default::default(),
            read_at: Default::default(),
            issued: Default::default(),
            coming: Default::default(),
            arriving: Default::default(),
            used: Default::default(),
            beats: Default::default(),
            issue: Default::default(),
            pop: Default::default(),
            popped: Default::default(),
            state: Default::default(),
            slot: Default::default(),
            stale: Default::default(),
            cut: Default::default(),
            length: Default::default(),
            words_left: Default::default(),
            beats_left: Default::default(),
            sub: Default::default(),
            offset: Default::default(),
            first: Default::default(),
            out_valid: Default::default(),
            out_offset: Default::default(),
            out_data: Default::default(),
            out_first: Default::default(),
            out_last: Default::default(),
            head_entry: Default::default(),
            room: Default::default(),
            outside: Default::default(),
            no_room: Default::default(),
            index: Default::default(),
            phase: Default::default(),
            head_low: Default::default(),
            lap: Default::default(),
            longer: Default::default(),
            part: Default::default(),
            words: Default::default(),
            up: Default::default(),
            open: Default::default(),
            load: Default::default(),
            done: Default::default(),
            dropped: Default::default(),
            gone: Default::default(),
            move_on: Default::default(),
            moved: Default::default(),
            word: Default::default(),
            byte: Default::default(),
            swapped: Default::default(),
            mask: Default::default(),
            end_mask: Default::default(),
            tag: Default::default(),
            last_word: Default::default(),
            keep: Default::default(),
            drain: Default::default(),
            eight: Constant::new(8u64.into()),
            all: Constant::new(0xffffu64.into()),
            lb: Constant::new((LB as u64).into()),
            beat_bytes: Constant::new((W as u64 / 8).into()),
            round: Constant::new((W as u64 / 8 - 1).into()),
            sub_last: Constant::new((W as u64 / 64 - 1).into()),
            top: Constant::new((W as u64 - 64).into()),
            most: Constant::new(15u64.into()),
            slot_frame: Constant::new((SLOT_FRAME as u64).into()),
            slot_words: Constant::new((SLOT_FRAME as u64 / 8).into()),
            at_base_low: Constant::new(u64::from(ExcBaseLow::OFFSET).into()),
            at_base_high: Constant::new(u64::from(ExcBaseHigh::OFFSET).into()),
            at_ctrl: Constant::new(u64::from(ExcCtrl::OFFSET).into()),
            at_tail: Constant::new(u64::from(ExcTail::OFFSET).into()),
            ring_full: Constant::new((Reason::ExceptionRingFull as u64).into()),
            punt_overflow: Constant::new((Reason::PuntOverflow as u64).into()),
            _quiet: Default::default(),
        }
    }
}

impl<const W: usize, const LB: usize> Logic for Punt<W, LB> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self,
            clock,
            base,
            enable,
            slots,
            switched_on,
            tail,
            head1,
            write_at,
            committed,
            commit1,
            overflow1,
            meta1,
            full_here,
            full_first,
            back1,
            back2,
            waiting,
            lost,
            bytes,
            stamp,
            receiving,
            overflows,
            tally1,
            irq1
        );
        dff_setup!(
            self, clock, read_at, issued, coming, arriving, used, popped, no_room, index, phase, state, slot, stale,
            cut, length, words_left, beats_left, sub, offset, first
        );
        dff_setup!(self, clock, out_valid, out_offset, out_data, out_first, out_last, end_mask);
        clock!(self, clock, buffer, frames, beats);

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
            if self.write.val().address == self.at_tail.val() {
                self.tail.d.next = self.write.val().data;
            }
            if self.write.val().address == self.at_ctrl.val() {
                self.enable.d.next = (self.write.val().data & 1) == 1;
                self.slots.d.next = !self.above.val();
                self.switched_on.d.next = (!self.enable.q.val()) & ((self.write.val().data & 1) == 1);
            }
        }

        // frames in: written behind the committed ones, which move up a clock after a last beat that is good
        self.start.next = self.committed.q.val();
        if self.commit1.q.val() {
            self.start.next = self.write_at.q.val();
            self.committed.d.next = self.write_at.q.val();
        }
        self.at.next = self.write_at.q.val();
        self.losing.next = self.lost.q.val();
        self.full.next = self.full_here.q.val();
        self.size.next = self.beat_bytes.val();
        if self.punt_last.val() & self.punt_count.val().any() {
            self.size.next = bit_cast::<16, LB>(self.punt_count.val());
        }
        self.total.next = self.bytes.q.val() + self.size.val();
        if self.punt_first.val() {
            self.at.next = self.start.val();
            self.losing.next = false;
            self.full.next = self.full_first.q.val();
            self.total.next = self.size.val();
        }
        self.next_at.next = self.at.val() + 1;
        self.crowd.next = bit_cast::<5, 6>(self.waiting.q.val());
        self.crowded.next = self.waiting.q.val().get_bit(5) | (self.commit1.q.val() & self.crowd.val().all());
        self.losing.next = self.losing.val() | self.full.val() | self.crowded.val();
        self.commit.next =
            self.punt_valid.val() & self.punt_last.val() & (!self.losing.val()) & (!self.punt_abort.val());
        self.overflow.next =
            self.punt_valid.val() & self.punt_last.val() & self.losing.val() & (!self.punt_abort.val());
        self.commit1.d.next = self.commit.val();
        self.overflow1.d.next = self.overflow.val();
        self.meta1.d.next = self.punt_meta.val();
        self.buffer.write.next = self.punt_valid.val() & (!self.losing.val());
        self.buffer.write_address.next = self.at.val();
        self.buffer.write_data.next = self.punt_data.val();
        if self.punt_valid.val() {
            self.write_at.d.next = self.next_at.val();
            self.lost.d.next = self.losing.val();
            self.bytes.d.next = self.total.val();
            self.receiving.d.next = !self.punt_last.val();
            if self.punt_first.val() {
                self.stamp.d.next = self.time_ns.val();
            }
        }
        // whether the next beat will find room is known before it comes; one place stays free
        self.behind1.next = !self.back1.q.val();
        self.behind2.next = self.back2.q.val() ^ 1;
        self.behind2.next = !self.behind2.val();
        self.here_meets1.next = self.write_at.q.val() == self.behind1.val();
        self.here_meets2.next = self.write_at.q.val() == self.behind2.val();
        self.start_meets1.next = self.committed.q.val() == self.behind1.val();
        self.start_meets2.next = self.committed.q.val() == self.behind2.val();
        if self.commit1.q.val() {
            self.start_meets1.next = self.here_meets1.val();
            self.start_meets2.next = self.here_meets2.val();
        }
        self.moved_meets.next = self.here_meets2.val();
        if self.punt_first.val() {
            self.moved_meets.next = self.start_meets2.val();
        }
        self.full_here.d.next = self.here_meets1.val();
        if self.punt_valid.val() {
            self.full_here.d.next = self.moved_meets.val();
        }
        self.full_first.d.next = self.start_meets1.val();
        if self.commit.val() {
            self.full_first.d.next = self.moved_meets.val();
        }
        self.entry.next.time = self.stamp.q.val();
        self.entry.next.bytes = self.bytes.q.val();
        self.entry.next.reason = self.meta1.q.val().reason;
        self.entry.next.port = self.meta1.q.val().port;
        self.entry.next.unit = self.meta1.q.val().unit;
        self.entry.next.unit_valid = self.meta1.q.val().unit_valid;
        self.frames.push.next = self.commit1.q.val();
        self.frames.data_in.next = self.entry.val();

        // beats out of the buffer, three clocks after their issue: the RAM is read one place behind `read_at`, where nothing is written
        self.issue.next = (self.read_at.q.val() != self.committed.q.val()) & (self.used.q.val() != self.most.val());
        if self.issue.val() {
            self.back2.d.next = self.back1.q.val() ^ 1;
            self.back1.d.next = !self.read_at.q.val();
            self.read_at.d.next = self.read_at.q.val() + 1;
        }
        self.buffer.read_address.next = self.behind1.val();
        self.issued.d.next = self.issue.val();
        self.coming.d.next = self.issued.q.val();
        self.arriving.d.next = self.coming.q.val();
        self.beats.push.next = self.arriving.q.val();
        self.beats.data_in.next = self.buffer.read_data.val();

        // the slot writer
        self.head_entry.next = self.frames.data.val();
        // registers between the head and what is decided with it
        self.room.next = self.head1.q.val() - self.tail.q.val();
        self.outside.next = self.room.val() & (!bit_cast::<32, 16>(self.slots.q.val()));
        self.no_room.d.next = self.outside.val().any();
        self.head_low.next = bit_cast::<16, 32>(self.head1.q.val());
        self.index.d.next = self.head_low.val() & self.slots.q.val();
        self.lap.next = (self.slots.q.val() << 1) | 1;
        self.lap.next = (self.lap.val() ^ self.slots.q.val()) & self.head_low.val();
        self.phase.d.next = self.lap.val().any();
        self.open.next = (!self.out_valid.q.val()) | self.mw_ready.val();
        self.load.next = false;
        self.pop.next = false;
        self.done.next = false;
        self.dropped.next = false;
        self.last_word.next = self.words_left.q.val() == 1;

        // the next word of the frame, byte 0 to the low end, nothing behind its end
        self.move_on.next = bit_cast::<12, 3>(self.sub.q.val()) << 6;
        self.moved.next = self.beats.data.val() << self.move_on.val();
        self.word.next = self.moved.val().get_bits::<64>(self.top.val().index());
        self.swapped.next = bits_literal::<64>(0);
        for i in 0..8 {
            self.byte.next = self.word.val().get_bits::<8>(i * 8);
            self.swapped.next = (self.swapped.val() << 8) | bit_cast_wide::<64, 8>(self.byte.val());
        }
        self.keep.next = bit_cast::<3, 16>(self.length.q.val());
        self.move_on.next = self.eight.val() - bit_cast::<12, 3>(self.keep.val());
        self.move_on.next = self.move_on.val() << 3;
        self.mask.next = bits_literal::<64>(0);
        self.mask.next = !self.mask.val();
        // of the clock before: the length stands before the first word, but for a frame that is cut, whose words are many
        self.end_mask.d.next = self.mask.val();
        if self.keep.val().any() {
            self.end_mask.d.next = self.mask.val() >> self.move_on.val();
        }
        if self.last_word.val() {
            self.swapped.next = self.swapped.val() & self.end_mask.q.val();
        }

        // word 3 of the descriptor (nat64_layout::ring)
        self.tag.next = bit_cast_wide::<64, 6>(bits_wide(self.head_entry.val().reason))
            | (bit_cast_wide::<64, 16>(bits_wide(self.length.q.val())) << 32);
        if self.head_entry.val().port {
            self.tag.next = self.tag.val() | (bits_literal::<64>(1) << 8);
        }
        if self.head_entry.val().unit_valid {
            self.tag.next = self.tag.val()
                | (bits_literal::<64>(1) << 16)
                | (bit_cast_wide::<64, 4>(bits_wide(self.head_entry.val().unit)) << 12);
        }
        if self.cut.q.val() {
            self.tag.next = self.tag.val() | (bits_literal::<64>(1) << 17);
        }
        // a slot of a ring that was switched off and on meanwhile is nobody's
        if (!self.phase.q.val()) & (!self.stale.q.val()) {
            self.tag.next = self.tag.val() | (bits_literal::<64>(1) << 63);
        }

        self.stale.d.next = self.stale.q.val() | self.switched_on.q.val();
        self.words.next = self.length.q.val() + 7;
        self.up.next = self.length.q.val() + self.round.val();
        self.longer.next = self.length.q.val() > self.slot_frame.val();
        if self.state.q.val() == 0 {
            self.stale.d.next = false;
            self.length.d.next = self.head_entry.val().bytes;
            if self.frames.valid.val() & (!self.switched_on.q.val()) {
                self.state.d.next = 6.into();
            }
        }
        if self.state.q.val() == 6 {
            self.stale.d.next = false;
            self.cut.d.next = self.longer.val();
            self.words_left.d.next = bit_cast::<9, 16>(self.words.val() >> 3);
            if self.longer.val() {
                self.length.d.next = self.slot_frame.val();
                self.words_left.d.next = self.slot_words.val();
            }
            self.beats_left.d.next = bit_cast::<9, 16>(self.up.val() >> self.lb.val());
            self.sub.d.next = 0.into();
            self.offset.d.next = 32.into();
            self.first.d.next = true;
            self.slot.d.next = self.base.q.val() + (bit_cast_wide::<64, 16>(bits_wide(self.index.q.val())) << 11);
            self.state.d.next = 1.into();
            if (!self.enable.q.val()) | self.no_room.q.val() {
                self.state.d.next = 4.into();
            }
            // what the registers say of the ring is not yet of the one just switched on
            if self.switched_on.q.val() {
                self.state.d.next = 0.into();
            }
        }
        if (self.state.q.val() == 1) & self.open.val() & self.beats.valid.val() {
            // the frame
            self.load.next = true;
            self.out_data.d.next = self.swapped.val();
            self.out_first.d.next = self.first.q.val();
            self.out_last.d.next = self.last_word.val() | (self.offset.q.val().get_bits::<4>(3) == 15);
            self.first.d.next = self.offset.q.val().get_bits::<4>(3) == 15;
            self.words_left.d.next = self.words_left.q.val() - 1;
            self.offset.d.next = self.offset.q.val() + 8;
            self.sub.d.next = self.sub.q.val() + 1;
            if self.last_word.val() | (self.sub.q.val() == self.sub_last.val()) {
                self.pop.next = true;
                self.sub.d.next = 0.into();
                self.beats_left.d.next = self.beats_left.q.val() - 1;
            }
            if self.last_word.val() {
                self.offset.d.next = 0.into();
                self.state.d.next = 3.into();
                if self.beats_left.q.val() == 1 {
                    self.state.d.next = 2.into();
                }
            }
        }
        self.part.next = self.offset.q.val().get_bits::<2>(3);
        if (self.state.q.val() == 2) & self.open.val() {
            // the descriptor
            self.load.next = true;
            self.out_first.d.next = self.part.val() == 0;
            self.out_last.d.next = self.part.val() == 3;
            self.offset.d.next = self.offset.q.val() + 8;
            self.out_data.d.next = bits_literal::<64>(0);
            if self.part.val() == 0 {
                self.out_data.d.next = self.head_entry.val().time;
            }
            if self.part.val() == 1 {
                self.out_data.d.next = bit_cast_wide::<64, 32>(bits_wide(self.head1.q.val()));
            }
            if self.part.val() == 3 {
                self.out_data.d.next = self.tag.val();
                self.state.d.next = 5.into();
            }
        }
        // what is not written: the rest of a frame that is cut (3), a whole frame (4)
        self.drain.next = ((self.state.q.val() == 3) | (self.state.q.val() == 4)) & self.beats.valid.val();
        if self.drain.val() {
            self.pop.next = true;
            self.beats_left.d.next = self.beats_left.q.val() - 1;
            if self.beats_left.q.val() == 1 {
                self.state.d.next = 2.into();
                if self.state.q.val() == 4 {
                    self.dropped.next = true;
                    self.state.d.next = 0.into();
                }
            }
        }
        // the last word is taken: the slot is the host's
        if (self.state.q.val() == 5) & (!self.out_valid.q.val()) {
            self.done.next = true;
            self.state.d.next = 0.into();
        }
        self.irq1.d.next = false;
        if self.done.val() & (!self.stale.q.val()) {
            self.head1.d.next = self.head1.q.val() + 1;
            self.irq1.d.next = true;
        }
        if self.switched_on.q.val() {
            self.head1.d.next = 0.into();
        }
        if self.load.val() {
            self.out_offset.d.next = self.offset.q.val();
        }
        self.out_valid.d.next = self.load.val() | (self.out_valid.q.val() & (!self.mw_ready.val()));
        self.beats.pop.next = self.pop.val();
        self.gone.next = self.done.val() | self.dropped.val();
        self.frames.pop.next = self.gone.val();
        // a beat that is written makes room a clock later
        self.popped.d.next = self.pop.val();
        if self.issue.val() & (!self.popped.q.val()) {
            self.used.d.next = self.used.q.val() + 1;
        }
        if self.popped.q.val() & (!self.issue.val()) {
            self.used.d.next = self.used.q.val() - 1;
        }
        if self.commit1.q.val() & (!self.gone.val()) {
            self.waiting.d.next = self.waiting.q.val() + 1;
        }
        if self.gone.val() & (!self.commit1.q.val()) {
            self.waiting.d.next = self.waiting.q.val() - 1;
        }

        // counts; an overflow waits for a clock in which the writer has none
        self.tally1.d.next.valid = true;
        self.tally1.d.next.reason = self.head_entry.val().reason;
        if self.overflow1.q.val() {
            self.overflows.d.next = self.overflows.q.val() + 1;
        }
        if self.dropped.val() | (self.done.val() & self.stale.q.val()) {
            self.tally1.d.next.reason = self.ring_full.val();
        } else if !self.done.val() {
            self.tally1.d.next.reason = self.punt_overflow.val();
            self.tally1.d.next.valid = self.overflows.q.val().any();
            if self.overflows.q.val().any() & (!self.overflow1.q.val()) {
                self.overflows.d.next = self.overflows.q.val() - 1;
            } else if self.overflows.q.val().any() {
                self.overflows.d.next = self.overflows.q.val();
            }
        }
        self.tally.next = self.tally1.q.val();
        self.irq.next = self.irq1.q.val();
        self.head.next = self.head1.q.val();
        self.mw_valid.next = self.out_valid.q.val();
        // the slot stays until its last word is taken
        self.mw_addr.next = self.slot.q.val() | bit_cast_wide::<64, 11>(bits_wide(self.out_offset.q.val()));
        self.mw_data.next = self.out_data.q.val();
        self.mw_first.next = self.out_first.q.val();
        self.mw_last.next = self.out_last.q.val();
        self.busy.next = self.punt_valid.val()
            | self.receiving.q.val()
            | self.commit1.q.val()
            | self.overflow1.q.val()
            | self.frames.valid.val()
            | self.state.q.val().any()
            | self.out_valid.q.val()
            | self.tally1.q.val().valid
            | self.overflows.q.val().any();
    }
}
