//! Activity stamps and counters of the sessions, and the engine that copies them, or the session table, to host memory.
//!
//! ```text
//!  translated --+--> side 0 (IPv6 to IPv4) --+
//!               |                            +--> dump --> mw_* : entry, entry, .. entry, sequence; then irq
//!  commit ------+--> side 1 (IPv4 to IPv6) --+
//!  session table <-- peek, peek_words -------+
//! ```
//!
//! A record that is written starts with the present tick and zero packets in both directions. The dump reads what the
//! updates (and, in the session table, the lookups) leave free of the RAMs and writes each entry of `nat64_layout::dump` as one
//! burst of at most 64 bytes, which crosses no page because the target starts at a multiple of 4,096 (lower bits are taken as 0,
//! as are the lowest three of the completion address). The registers are those at the time of `DumpGo`; they may be written for the next copy while one runs. An
//! entry's two directions are read within a few clocks of each other; hits of the last clocks may be missing.

mod side;
#[cfg(test)]
mod tests;

use crate::cam::Commit;
use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::types::{Peek, RegisterWrite, Translated, PEEK_BITS, RECORD_BITS};
use crate::wide::{bit_cast_wide, bits_literal, bits_narrow, bits_wide, Wide};
use crate::FastBlock;
use nat64_layout::dump::{DumpKind, BYTE_BITS, DUMP_BYTES, PACKET_BITS};
use nat64_layout::regs::{DumpAddrHigh, DumpAddrLow, DumpDoneHigh, DumpDoneLow, DumpFirst, DumpGo};
use nat64_layout::{STAMP_BITS, STASH, TICK_SHIFT};
pub use side::{Hit, Side, SideWord};

/// See the module documentation.
#[derive(FastBlock)]
pub struct Activity<const RECORD_LOG2: usize, const BUCKET_LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Card time.
    pub time_ns: Signal<In, Wide<64>>,
    /// BAR0 writes: the dump registers.
    pub write: Signal<In, RegisterWrite>,
    /// Translated packets, up to one per clock.
    pub translated: Signal<In, Translated>,
    /// Records written.
    pub commit: Signal<In, Commit>,
    /// A word for host memory.
    pub mw_valid: Signal<Out, Bit>,
    /// Host memory takes it.
    pub mw_ready: Signal<In, Bit>,
    /// Its address.
    pub mw_addr: Signal<Out, Wide<64>>,
    /// The word.
    pub mw_data: Signal<Out, Wide<64>>,
    /// First of a burst.
    pub mw_first: Signal<Out, Bit>,
    /// Last of a burst.
    pub mw_last: Signal<Out, Bit>,
    /// A copy has ended and its sequence was taken: one clock.
    pub irq: Signal<Out, Bit>,
    /// A copy runs.
    pub busy: Signal<Out, Bit>,
    /// Asks the session table for an entry.
    pub peek: Signal<Out, Peek>,
    /// It is being read.
    pub peek_taken: Signal<In, Bit>,
    /// It is on `peek_words`.
    pub peek_done: Signal<In, Bit>,
    /// The entry.
    pub peek_words: Signal<In, Wide<PEEK_BITS>>,
    side0: Side<RECORD_LOG2>,
    side1: Side<RECORD_LOG2>,
    addr_low: Reg<Bits<32>>,
    addr_high: Reg<Bits<32>>,
    done_low: Reg<Bits<32>>,
    done_high: Reg<Bits<32>>,
    first: Reg<Bits<17>>,
    /// A copy runs; one of the next three is set then: clip the count, fetch an entry, write words.
    running: Reg<Bit>,
    clipping: Reg<Bit>,
    fetching: Reg<Bit>,
    writing: Reg<Bit>,
    /// What is written is the sequence.
    ending: Reg<Bit>,
    /// First clock of the writing of an entry: the next one's turn comes.
    advance: Reg<Bit>,
    target: Reg<Wide<64>>,
    done_at: Reg<Wide<64>>,
    index: Reg<Bits<17>>,
    left: Reg<Bits<18>>,
    /// `left` is 0; looked at while fetching.
    none: Reg<Bit>,
    sequence: Reg<Bits<8>>,
    kind: Reg<Bits<2>>,
    /// The words of an entry, the first one lowest.
    words: Reg<Wide<PEEK_BITS>>,
    beat: Reg<Bits<3>>,
    /// `beat` is the last one.
    at_last: Reg<Bit>,
    last: Reg<Bits<3>>,
    need_peek: Reg<Bit>,
    need0: Reg<Bit>,
    need1: Reg<Bit>,
    asked0: Reg<Bit>,
    asked1: Reg<Bit>,
    coming0: Reg<Bit>,
    coming1: Reg<Bit>,
    here0: Reg<Bit>,
    here1: Reg<Bit>,
    have0: Reg<Bit>,
    have1: Reg<Bit>,
    finished: Reg<Bit>,
    offset: Signal<Local, Bits<16>>,
    data: Signal<Local, Bits<32>>,
    asked: Signal<Local, Bits<17>>,
    room: Signal<Local, Bits<18>>,
    beyond: Signal<Local, Bit>,
    /// Second clock of clipping: `room1` and `beyond1` are of this copy.
    measured: Reg<Bit>,
    room1: Reg<Bits<18>>,
    beyond1: Reg<Bit>,
    commit1: Reg<Commit>,
    ticks: Signal<Local, Wide<18>>,
    hit: Signal<Local, Hit>,
    present: Signal<Local, Wide<PEEK_BITS>>,
    side_word: Signal<Local, SideWord>,
    arrived: Signal<Local, Bit>,
    step: Signal<Local, Bit>,
    next_beat: Signal<Local, Bits<3>>,
    fetched: Signal<Local, Bit>,
    entries: Signal<Local, Bits<18>>,
    words_by: Signal<Local, Bits<9>>,
    rest: Signal<Local, Wide<PEEK_BITS>>,
    at_addr_low: Constant<Bits<16>>,
    at_addr_high: Constant<Bits<16>>,
    at_done_low: Constant<Bits<16>>,
    at_done_high: Constant<Bits<16>>,
    at_first: Constant<Bits<16>>,
    at_go: Constant<Bits<16>>,
    tick_shift: Constant<Bits<7>>,
    records: Constant<Bits<18>>,
    buckets: Constant<Bits<18>>,
    stash: Constant<Bits<18>>,
    /// The bits of an entry that the other side's word has.
    not_side0: Constant<Wide<PEEK_BITS>>,
    not_side1: Constant<Wide<PEEK_BITS>>,
    last_word: [Constant<Bits<3>>; 4],
    _quiet: Quiet,
}

impl<const RECORD_LOG2: usize, const BUCKET_LOG2: usize> Default for Activity<RECORD_LOG2, BUCKET_LOG2> {
    fn default() -> Self {
        // what the words below take for granted
        assert_eq!((STAMP_BITS, PACKET_BITS, BYTE_BITS, DUMP_BYTES), (18, 32, 40, 32));
        assert!((1..=16).contains(&RECORD_LOG2) && (1..=16).contains(&BUCKET_LOG2));
        assert!(DumpKind::Records.words() * 64 >= RECORD_BITS && DumpKind::ALL.iter().all(|kind| kind.words() <= 8));
        let at = |x: u32| Constant::new(u64::from(x).into());
        // words 0 and 1 are the pairs of stamps and packets, 2 and 3 the bytes of one direction each
        let bits = |n: usize, at: usize| Wide::<PEEK_BITS>::from((1u64 << n) - 1) << at as u64;
        let side = |i: usize| bits(18, 32 * i) | bits(32, 64 + 32 * i) | bits(40, 128 + 64 * i);
        Self {
            clock: Default::default(),
            time_ns: Default::default(),
            write: Default::default(),
            translated: Default::default(),
            commit: Default::default(),
            mw_valid: Default::default(),
            mw_ready: Default::default(),
            mw_addr: Default::default(),
            mw_data: Default::default(),
            mw_first: Default::default(),
            mw_last: Default::default(),
            irq: Default::default(),
            busy: Default::default(),
            peek: Default::default(),
            peek_taken: Default::default(),
            peek_done: Default::default(),
            peek_words: Default::default(),
            side0: Default::default(),
            side1: Default::default(),
            addr_low: Default::default(),
            addr_high: Default::default(),
            done_low: Default::default(),
            done_high: Default::default(),
            first: Default::default(),
            running: Default::default(),
            clipping: Default::default(),
            fetching: Default::default(),
            writing: Default::default(),
            ending: Default::default(),
            advance: Default::default(),
            target: Default::default(),
            done_at: Default::default(),
            index: Default::default(),
            left: Default::default(),
            none: Default::default(),
            sequence: Default::default(),
            kind: Default::default(),
            words: Default::default(),
            beat: Default::default(),
            at_last: Default::default(),
            last: Default::default(),
            need_peek: Default::default(),
            need0: Default::default(),
            need1: Default::default(),
            here0: Default::default(),
            here1: Default::default(),
            asked0: Default::default(),
            asked1: Default::default(),
            coming0: Default::default(),
            coming1: Default::default(),
            have0: Default::default(),
            have1: Default::default(),
            finished: Default::default(),
            offset: Default::default(),
            data: Default::default(),
            asked: Default::default(),
            room: Default::default(),
            beyond: Default::default(),
            measured: Default::default(),
            room1: Default::default(),
            beyond1: Default::default(),
            commit1: Default::default(),
            ticks: Default::default(),
            hit: Default::default(),
            present: Default::default(),
            side_word: Default::default(),
            arrived: Default::default(),
            step: Default::default(),
            next_beat: Default::default(),
            fetched: Default::default(),
            entries: Default::default(),
            words_by: Default::default(),
            rest: Default::default(),
            at_addr_low: at(DumpAddrLow::OFFSET),
            at_addr_high: at(DumpAddrHigh::OFFSET),
            at_done_low: at(DumpDoneLow::OFFSET),
            at_done_high: at(DumpDoneHigh::OFFSET),
            at_first: at(DumpFirst::OFFSET),
            at_go: at(DumpGo::OFFSET),
            tick_shift: Constant::new(u64::from(TICK_SHIFT).into()),
            records: Constant::new((1u64 << RECORD_LOG2).into()),
            buckets: Constant::new((1u64 << BUCKET_LOG2).into()),
            stash: Constant::new((STASH as u64).into()),
            not_side0: Constant::new(!side(0)),
            not_side1: Constant::new(!side(1)),
            last_word: DumpKind::ALL.map(|kind| Constant::new((kind.words() as u64 - 1).into())),
            _quiet: Default::default(),
        }
    }
}

impl<const RECORD_LOG2: usize, const BUCKET_LOG2: usize> Logic for Activity<RECORD_LOG2, BUCKET_LOG2> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self, clock, addr_low, addr_high, done_low, done_high, first, running, clipping, fetching, writing, ending,
            advance, target, done_at, index, left, none
        );
        dff_setup!(
            self, clock, sequence, kind, words, beat, at_last, last, need_peek, need0, need1, coming0, coming1, here0,
            here1, have0, have1, finished, measured, asked0, asked1, room1, beyond1, commit1
        );
        clock!(self, clock, side0, side1);
        // hits and clears
        self.ticks.next = self.time_ns.val().get_bits::<18>(self.tick_shift.val().index());
        self.hit.next.index = self.translated.val().index;
        self.hit.next.bytes = self.translated.val().bytes;
        self.side0.tick.next = bits_narrow::<18>(self.ticks.val());
        self.side1.tick.next = bits_narrow::<18>(self.ticks.val());
        self.side0.update.next = self.translated.val().valid & !self.translated.val().direction;
        self.side1.update.next = self.translated.val().valid & self.translated.val().direction;
        self.side0.hit.next = self.hit.val();
        self.side1.hit.next = self.hit.val();
        // a clock late, long before the record's first packet is through
        self.commit1.d.next = self.commit.val();
        self.side0.clear.next = self.commit1.q.val().valid;
        self.side1.clear.next = self.commit1.q.val().valid;
        self.side0.clear_index.next = bit_cast::<RECORD_LOG2, 17>(self.commit1.q.val().index);
        self.side1.clear_index.next = bit_cast::<RECORD_LOG2, 17>(self.commit1.q.val().index);
        // registers
        self.offset.next = self.write.val().address;
        self.data.next = self.write.val().data;
        self.asked.next = bit_cast::<17, 32>(self.data.val());
        if self.write.val().valid {
            if self.offset.val() == self.at_addr_low.val() {
                self.addr_low.d.next = (self.data.val() >> 12) << 12;
            }
            if self.offset.val() == self.at_addr_high.val() {
                self.addr_high.d.next = self.data.val();
            }
            if self.offset.val() == self.at_done_low.val() {
                self.done_low.d.next = (self.data.val() >> 3) << 3;
            }
            if self.offset.val() == self.at_done_high.val() {
                self.done_high.d.next = self.data.val();
            }
            if self.offset.val() == self.at_first.val() {
                self.first.d.next = bit_cast::<17, 32>(self.data.val());
            }
            if (self.offset.val() == self.at_go.val()) & (!self.running.q.val()) {
                self.running.d.next = true;
                self.clipping.d.next = true;
            }
        }
        // an idle engine follows the registers, so that only the start of a copy waits for what the write's address is
        if !self.running.q.val() {
            self.index.d.next = self.first.q.val();
            self.left.d.next = bit_cast::<18, 17>(self.asked.val());
            self.sequence.d.next = bit_cast::<8, 32>(self.data.val() >> 24);
            self.kind.d.next = bit_cast::<2, 32>(self.data.val() >> 17);
            self.target.d.next = (bit_cast_wide::<64, 32>(bits_wide::<32>(self.addr_high.q.val())) << 32)
                | bit_cast_wide::<64, 32>(bits_wide::<32>(self.addr_low.q.val()));
            self.done_at.d.next = (bit_cast_wide::<64, 32>(bits_wide::<32>(self.done_high.q.val())) << 32)
                | bit_cast_wide::<64, 32>(bits_wide::<32>(self.done_low.q.val()));
        }
        // how many there are
        self.entries.next = self.records.val();
        if self.kind.q.val() == 2 {
            self.entries.next = self.buckets.val();
        }
        if self.kind.q.val() == 3 {
            self.entries.next = self.stash.val();
        }
        self.room.next = self.entries.val() - bit_cast::<18, 17>(self.index.q.val());
        self.beyond.next = bit_cast::<18, 17>(self.index.q.val()) >= self.entries.val();
        self.room1.d.next = self.room.val();
        self.beyond1.d.next = self.beyond.val();
        self.measured.d.next = self.clipping.q.val();
        if self.clipping.q.val() & self.measured.q.val() {
            self.clipping.d.next = false;
            self.fetching.d.next = true;
            self.last.d.next = self.last_word[0].val();
            if self.kind.q.val() == 1 {
                self.last.d.next = self.last_word[1].val();
            }
            if self.kind.q.val() == 2 {
                self.last.d.next = self.last_word[2].val();
            }
            if self.kind.q.val() == 3 {
                self.last.d.next = self.last_word[3].val();
            }
            self.none.d.next = self.beyond1.q.val() | !self.left.q.val().any();
            if self.beyond1.q.val() {
                self.left.d.next = 0.into();
            } else if self.left.q.val() > self.room1.q.val() {
                self.left.d.next = self.room1.q.val();
            }
        }
        // the next entry's turn comes when the words of this one are there, not when the last of them is taken: `mw_ready` is late
        self.advance.d.next = false;
        if self.advance.q.val() {
            self.index.d.next = self.index.q.val() + 1;
            self.left.d.next = self.left.q.val() - 1;
            self.none.d.next = self.left.q.val() == 1;
        }
        if self.clipping.q.val() | self.advance.q.val() {
            self.need_peek.d.next = true;
            self.need0.d.next = true;
            self.need1.d.next = true;
            self.have0.d.next = false;
            self.have1.d.next = false;
        }
        // fetch both directions of an entry
        self.side0.read_index.next = bit_cast::<RECORD_LOG2, 17>(self.index.q.val());
        self.side1.read_index.next = bit_cast::<RECORD_LOG2, 17>(self.index.q.val());
        self.fetched.next = self.fetching.q.val() & !self.none.q.val();
        self.side0.read.next = self.fetched.val() & (self.kind.q.val() == 0) & self.need0.q.val();
        self.side1.read.next = self.fetched.val() & (self.kind.q.val() == 0) & self.need1.q.val();
        self.peek.next.record = self.fetched.val() & (self.kind.q.val() == 1) & self.need_peek.q.val();
        self.peek.next.tags = self.fetched.val() & (self.kind.q.val() == 2) & self.need_peek.q.val();
        self.peek.next.stash = self.fetched.val() & (self.kind.q.val() == 3) & self.need_peek.q.val();
        self.peek.next.index = self.index.q.val();
        if self.peek_taken.val() {
            self.need_peek.d.next = false;
        }
        self.asked0.d.next = self.side0.taken.val();
        self.asked1.d.next = self.side1.taken.val();
        self.coming0.d.next = self.asked0.q.val();
        self.coming1.d.next = self.asked1.q.val();
        self.here0.d.next = self.coming0.q.val();
        self.here1.d.next = self.coming1.q.val();
        if self.side0.taken.val() {
            self.need0.d.next = false;
        }
        if self.side1.taken.val() {
            self.need1.d.next = false;
        }
        // the words of an entry; bits that mean nothing stay as the idle engine leaves them
        self.present.next = self.words.q.val();
        self.side_word.next = self.side0.word.val();
        if self.here0.q.val() {
            self.have0.d.next = true;
            self.present.next = (self.present.val() & self.not_side0.val())
                | bit_cast_wide::<PEEK_BITS, 18>(bits_wide::<18>(self.side_word.val().stamp))
                | (bit_cast_wide::<PEEK_BITS, 32>(bits_wide::<32>(self.side_word.val().packets)) << 64)
                | (bit_cast_wide::<PEEK_BITS, 40>(self.side_word.val().bytes) << 128);
        }
        self.side_word.next = self.side1.word.val();
        if self.here1.q.val() {
            self.have1.d.next = true;
            self.present.next = (self.present.val() & self.not_side1.val())
                | (bit_cast_wide::<PEEK_BITS, 18>(bits_wide::<18>(self.side_word.val().stamp)) << 32)
                | (bit_cast_wide::<PEEK_BITS, 32>(bits_wide::<32>(self.side_word.val().packets)) << 96)
                | (bit_cast_wide::<PEEK_BITS, 40>(self.side_word.val().bytes) << 192);
        }
        if self.peek_done.val() {
            self.present.next = self.peek_words.val();
        }
        if self.fetching.q.val() & self.none.q.val() {
            self.present.next = bit_cast_wide::<PEEK_BITS, 8>(bits_wide::<8>(self.sequence.q.val()));
        }
        if !self.running.q.val() {
            self.present.next = bits_literal::<PEEK_BITS>(0);
        }
        self.words.d.next = self.present.val();
        // write them; the sequence is an entry of one word
        self.step.next = self.writing.q.val() & self.mw_ready.val();
        self.next_beat.next = self.beat.q.val() + 1;
        if self.step.val() {
            self.target.d.next = self.target.q.val() + 8;
            self.beat.d.next = self.next_beat.val();
            self.at_last.d.next = self.next_beat.val() == self.last.q.val();
        }
        self.arrived.next = self.peek_done.val() | (self.have0.q.val() & self.have1.q.val());
        if self.fetching.q.val() {
            self.beat.d.next = 0.into();
            self.at_last.d.next = self.none.q.val() | !self.last.q.val().any();
            if self.none.q.val() {
                self.target.d.next = self.done_at.q.val();
                self.ending.d.next = true;
            }
            if self.none.q.val() | self.arrived.val() {
                self.fetching.d.next = false;
                self.writing.d.next = true;
                self.advance.d.next = !self.none.q.val();
            }
        }
        self.finished.d.next = false;
        if self.step.val() & self.at_last.q.val() {
            self.writing.d.next = false;
            self.fetching.d.next = !self.ending.q.val();
            self.running.d.next = !self.ending.q.val();
            self.ending.d.next = false;
            self.finished.d.next = self.ending.q.val();
        }
        self.mw_valid.next = self.writing.q.val();
        self.mw_addr.next = self.target.q.val();
        self.mw_first.next = !self.beat.q.val().any();
        self.mw_last.next = self.at_last.q.val();
        self.words_by.next = bit_cast::<9, 3>(self.beat.q.val()) << 6;
        self.rest.next = self.words.q.val() >> self.words_by.val();
        self.mw_data.next = self.rest.val().get_bits::<64>(0);
        self.irq.next = self.finished.q.val();
        self.busy.next = self.running.q.val();
    }
}
