//! Stamps and counters of one direction: a block RAM that is read, changed and written back.
//!
//! ```text
//!  update --> fifo --+--> address | address | RAM | RAM | + packet, bytes, stamp | --> write
//!  clear ------------+                                    ^                        |
//!                                                         +-- three words back <---+
//! ```
//!
//! One update or clear per clock. A clear goes first and keeps the updates waiting for a clock; the FIFO holds 31 of them.
//! Updates are lost only when more than that many wait: when they come in every clock, without a gap, while 32 records are
//! being written (288 writes of BAR2). A word that was changed in one of the three clocks before is not yet in the RAM and is
//! taken from there instead, so that hits of the same record in consecutive clocks all count.

// The LogicStruct derive adds accessors without documentation; every field below has its own.
#![allow(missing_docs)]

use crate::prelude::*;
use crate::prim::{ApartRam, Quiet, Reg, SmallFifo};
use crate::wide::{bit_cast_wide, bits_wide, Wide};
use crate::FastBlock;

/// What a direction of a record has.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct SideWord {
    /// Ticks of the last hit.
    pub stamp: Bits<18>,
    /// Packets since the record was written; wraps.
    pub packets: Bits<32>,
    /// Bytes since the record was written; wraps.
    pub bytes: Wide<40>,
}

/// A hit.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct Hit {
    /// Record index.
    pub index: Bits<17>,
    /// Bytes of the packet.
    pub bytes: Bits<16>,
}

/// See the module documentation.
#[derive(FastBlock, Default)]
pub struct Side<const RECORD_LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Tick of the clock.
    pub tick: Signal<In, Bits<18>>,
    /// A hit.
    pub update: Signal<In, Bit>,
    /// Which.
    pub hit: Signal<In, Hit>,
    /// Sets a record to the present tick and zero.
    pub clear: Signal<In, Bit>,
    /// Which.
    pub clear_index: Signal<In, Bits<RECORD_LOG2>>,
    /// Asks for a word; only what updates leave free of the RAM's read port is given.
    pub read: Signal<In, Bit>,
    /// Which.
    pub read_index: Signal<In, Bits<RECORD_LOG2>>,
    /// It is being read.
    pub taken: Signal<Out, Bit>,
    /// The word of three clocks ago.
    pub word: Signal<Out, SideWord>,
    fifo: SmallFifo<Hit, 5>,
    words: ApartRam<SideWord, RECORD_LOG2>,
    /// The address of the RAM.
    at: Reg<Bits<RECORD_LOG2>>,
    valid0: Reg<Bit>,
    clear0: Reg<Bit>,
    index0: Reg<Bits<RECORD_LOG2>>,
    bytes0: Reg<Bits<16>>,
    valid1: Reg<Bit>,
    clear1: Reg<Bit>,
    index1: Reg<Bits<RECORD_LOG2>>,
    bytes1: Reg<Bits<16>>,
    valid2: Reg<Bit>,
    clear2: Reg<Bit>,
    index2: Reg<Bits<RECORD_LOG2>>,
    bytes2: Reg<Bits<16>>,
    from3: Reg<Bit>,
    from4: Reg<Bit>,
    from5: Reg<Bit>,
    valid3: Reg<Bit>,
    index3: Reg<Bits<RECORD_LOG2>>,
    word3: Reg<SideWord>,
    valid4: Reg<Bit>,
    index4: Reg<Bits<RECORD_LOG2>>,
    word4: Reg<SideWord>,
    word5: Reg<SideWord>,
    pop: Signal<Local, Bit>,
    meets: Signal<Local, Bit>,
    read_meets: Signal<Local, Bit>,
    index: Signal<Local, Bits<RECORD_LOG2>>,
    old: Signal<Local, SideWord>,
    new: Signal<Local, SideWord>,
    _quiet: Quiet,
}

impl<const RECORD_LOG2: usize> Logic for Side<RECORD_LOG2> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, at, valid0, clear0, index0, bytes0);
        dff_setup!(self, clock, valid1, clear1, index1, bytes1, valid2, clear2, index2, bytes2, from3, from4, from5);
        dff_setup!(self, clock, valid3, index3, word3, valid4, index4, word4, word5);
        clock!(self, clock, fifo, words);
        self.fifo.push.next = self.update.val();
        self.fifo.data_in.next = self.hit.val();
        // stage 0: address
        self.pop.next = self.fifo.valid.val() & !self.clear.val();
        self.fifo.pop.next = self.pop.val();
        self.index.next = bit_cast::<RECORD_LOG2, 17>(self.fifo.data.val().index);
        if self.clear.val() {
            self.index.next = self.clear_index.val();
        }
        // A word is not read in the clock in which it is written: RAMs differ in what they would give. The one beside it is, for
        // nothing: an update takes the word from where it waits, a copy asks again. The address is a register, since to compare and to
        // reach a RAM is too much for a clock.
        self.meets.next = self.valid2.q.val() & (self.index2.q.val() == self.index.val());
        self.read_meets.next = self.valid2.q.val() & (self.index2.q.val() == self.read_index.val());
        self.at.d.next = self.read_index.val();
        if self.read_meets.val() {
            self.at.d.next = self.read_index.val() ^ 1;
        }
        if self.pop.val() | self.clear.val() {
            self.at.d.next = self.index.val();
            if self.meets.val() {
                self.at.d.next = self.index.val() ^ 1;
            }
        }
        self.words.read_address.next = self.at.q.val();
        self.taken.next = self.read.val() & !self.pop.val() & !self.clear.val() & !self.read_meets.val();
        self.word.next = self.words.read_data.val();
        self.valid0.d.next = self.pop.val() | self.clear.val();
        self.clear0.d.next = self.clear.val();
        self.index0.d.next = self.index.val();
        self.bytes0.d.next = self.fifo.data.val().bytes;
        self.valid1.d.next = self.valid0.q.val();
        self.clear1.d.next = self.clear0.q.val();
        self.index1.d.next = self.index0.q.val();
        self.bytes1.d.next = self.bytes0.q.val();
        // stage 1: where the present value is
        self.valid2.d.next = self.valid1.q.val();
        self.clear2.d.next = self.clear1.q.val();
        self.index2.d.next = self.index1.q.val();
        self.bytes2.d.next = self.bytes1.q.val();
        self.from3.d.next = self.valid2.q.val() & (self.index2.q.val() == self.index1.q.val());
        self.from4.d.next = self.valid3.q.val() & (self.index3.q.val() == self.index1.q.val());
        self.from5.d.next = self.valid4.q.val() & (self.index4.q.val() == self.index1.q.val());
        // stage 2: the new value
        self.old.next = self.words.read_data.val();
        if self.from3.q.val() {
            self.old.next = self.word3.q.val();
        } else if self.from4.q.val() {
            self.old.next = self.word4.q.val();
        } else if self.from5.q.val() {
            self.old.next = self.word5.q.val();
        }
        self.new.next.stamp = self.tick.val();
        self.new.next.packets = self.old.val().packets + 1;
        self.new.next.bytes = self.old.val().bytes + bit_cast_wide::<40, 16>(bits_wide::<16>(self.bytes2.q.val()));
        if self.clear2.q.val() {
            self.new.next.packets = 0.into();
            self.new.next.bytes = 0.into();
        }
        // stage 3: written
        self.valid3.d.next = self.valid2.q.val();
        if self.valid2.q.val() {
            self.index3.d.next = self.index2.q.val();
            self.word3.d.next = self.new.val();
        }
        self.words.write.next = self.valid3.q.val();
        self.words.write_address.next = self.index3.q.val();
        self.words.write_data.next = self.word3.q.val();
        self.valid4.d.next = self.valid3.q.val();
        self.index4.d.next = self.index3.q.val();
        self.word4.d.next = self.word3.q.val();
        self.word5.d.next = self.word4.q.val();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::Bench;

    #[test]
    fn a_read_waits_for_the_address_and_for_the_write_of_its_word() {
        for (index, want) in [
            (3u64, [true, true, false, true, true, false, true, true]),
            (2, [true, true, false, true, true, true, true, true]),
        ] {
            let mut bench = Bench::new(Side::<4>::default()).without_record();
            bench.uut.read.next = true;
            bench.uut.read_index.next = index.into();
            bench.uut.hit.next.index = 3u64.into();
            let mut taken = [false; 8];
            for (clock, taken) in taken.iter_mut().enumerate() {
                bench.uut.update.next = clock == 0;
                bench.settle();
                *taken = bench.uut.taken.val();
                bench.edge();
            }
            assert_eq!(taken, want, "record {index}");
        }
    }
}
