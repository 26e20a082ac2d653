//! Decodes BAR2 writes into writes of records, tags and stash entries.
//!
//! Every write takes effect [`WRITE_LATENCY`] clocks after `window`, whatever it writes, so that the order of the host's
//! writes is the order in which lookups see them.

use super::TagWord;
use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::types::{WindowWrite, RECORD_BITS};
use crate::wide::{bit_cast_wide, bits_narrow, bits_wide, Wide};
use crate::FastBlock;
use nat64_layout::record::{
    Tag, RECORD_BASE, RECORD_STRIDE, RECORD_WORDS, STASH_BASE, STASH_STRIDE, TAG_BANK_STRIDE, TAG_BASE,
    TAG_BUCKET_STRIDE, TAG_INDEX_LSB, TAG_VALID_BIT,
};
use nat64_layout::{FINGERPRINT_BITS, INDEX_BITS, STASH, WAYS};

/// Clocks from `window` to the edge that changes the table.
pub const WRITE_LATENCY: usize = 2;
/// Bits of a stash entry: signature (45), index (17), valid.
pub const STASH_BITS: usize = 63;

/// The words of a record before the committing one.
///
/// A leaf, because eight registers put together by shifts cost the simulator more than the rest of the decoder.
#[derive(FastBlock, Default)]
pub struct StagedWords {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Stages `data` as word `word`.
    pub write: Signal<In, Bit>,
    /// Word number; those above 7 are ignored.
    pub word: Signal<In, Bits<4>>,
    /// Word.
    pub data: Signal<In, Bits<32>>,
    /// Words 7 to 0.
    pub words: Signal<Out, Wide<256>>,
    _words: Wide<256>,
    _quiet: Quiet,
}

impl Logic for StagedWords {
    fn update(&mut self) {
        if self._quiet.ticks() && self.write.val() {
            let word = self.word.val().index();
            if word < RECORD_WORDS - 1 {
                let data: u64 = self.data.val().into();
                let limb = &mut self._words.0[word / 2];
                let shift = 32 * (word % 2);
                *limb = *limb & !(0xffff_ffff << shift) | data << shift;
            }
            self.words.next = self._words;
        }
    }
    fn connect(&mut self) {
        self.words.connect();
    }
    fn hdl(&self) -> Verilog {
        let mut text = String::from("initial words = 256'h0;\nalways @(posedge clock) begin\n");
        for word in 0..RECORD_WORDS - 1 {
            text += &format!(
                "  if (write && (word == 4'd{word})) words[{}:{}] <= data;\n",
                32 * word + 31,
                32 * word
            );
        }
        Verilog::Custom(text + "end\n")
    }
}

/// See the module documentation.
#[derive(FastBlock)]
pub struct WindowDecode<const RECORD_LOG2: usize, const BUCKET_LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// BAR2 writes.
    pub window: Signal<In, WindowWrite>,
    /// Writes a record.
    pub record_write: Signal<Out, Bit>,
    /// Its index.
    pub record_index: Signal<Out, Bits<RECORD_LOG2>>,
    /// The record.
    pub record: Signal<Out, Wide<RECORD_BITS>>,
    /// Writes a tag.
    pub tag_write: Signal<Out, Bit>,
    /// Way it goes to, bank in bit 2.
    pub tag_way: Signal<Out, Bits<3>>,
    /// Bucket it goes to.
    pub tag_bucket: Signal<Out, Bits<BUCKET_LOG2>>,
    /// The tag.
    pub tag: Signal<Out, TagWord<RECORD_LOG2>>,
    /// Writes a stash entry.
    pub stash_write: Signal<Out, Bit>,
    /// Entry.
    pub stash_entry: Signal<Out, Bits<4>>,
    /// The same as a bit of each entry, from registers: every entry's comparison waits for its own.
    pub stash_writes: Signal<Out, Bits<16>>,
    /// Its bits: signature 44:0, index 61:45, valid 62.
    pub stash: Signal<Out, Wide<STASH_BITS>>,
    staged: StagedWords,
    stash_low: Reg<Wide<32>>,
    at: Reg<Wide<23>>,
    data: Reg<Wide<32>>,
    is_record: Reg<Bit>,
    is_tag0: Reg<Bit>,
    is_tag1: Reg<Bit>,
    is_stash: Reg<Bit>,
    stash_now: Reg<Bits<16>>,
    in_stash: Signal<Local, Bit>,
    new_entry: Signal<Local, Bits<4>>,
    one: Signal<Local, Bits<16>>,
    address: Signal<Local, Bits<23>>,
    taken: Signal<Local, Bit>,
    word: Signal<Local, Bits<4>>,
    way: Signal<Local, Bits<2>>,
    index: Signal<Local, Wide<17>>,
    above: Signal<Local, Wide<17>>,
    good: Signal<Local, Bit>,
    bank: Signal<Local, Bits<3>>,
    upper: Signal<Local, Wide<31>>,
    record_end: Constant<Bits<23>>,
    record_shift: Constant<Bits<5>>,
    record_last: Constant<Bits<4>>,
    tag0: Constant<Bits<23>>,
    tag0_end: Constant<Bits<23>>,
    tag1: Constant<Bits<23>>,
    tag1_end: Constant<Bits<23>>,
    bucket_shift: Constant<Bits<5>>,
    stash_base: Constant<Bits<23>>,
    stash_end: Constant<Bits<23>>,
    stash_shift: Constant<Bits<5>>,
    index_at: Constant<Bits<5>>,
    valid_at: Constant<Bits<5>>,
    index_bits: Constant<Bits<5>>,
    _quiet: Quiet,
}

impl<const RECORD_LOG2: usize, const BUCKET_LOG2: usize> Default for WindowDecode<RECORD_LOG2, BUCKET_LOG2> {
    fn default() -> Self {
        let record_end = RECORD_BASE + (RECORD_STRIDE << RECORD_LOG2);
        let bank_bytes = TAG_BUCKET_STRIDE << BUCKET_LOG2;
        // what the slices below take for granted
        assert_eq!(RECORD_BASE, 0);
        assert!(record_end <= TAG_BASE && bank_bytes <= TAG_BANK_STRIDE);
        assert!(TAG_BASE.is_multiple_of(TAG_BANK_STRIDE) && STASH_BASE.is_multiple_of(STASH_STRIDE * STASH as u32));
        assert_eq!((WAYS, STASH, INDEX_BITS, FINGERPRINT_BITS), (4, 16, 17, 13));
        assert_eq!(Tag::offset(0, 0, 1) - Tag::offset(0, 0, 0), 4);
        let address = |x: u32| Constant::new(u64::from(x).into());
        let log2 = |x: u32| Constant::new(u64::from(x.trailing_zeros()).into());
        let number = |x: usize| Constant::new((x as u64).into());
        Self {
            clock: Default::default(),
            window: Default::default(),
            record_write: Default::default(),
            record_index: Default::default(),
            record: Default::default(),
            tag_write: Default::default(),
            tag_way: Default::default(),
            tag_bucket: Default::default(),
            tag: Default::default(),
            stash_write: Default::default(),
            stash_entry: Default::default(),
            stash: Default::default(),
            staged: Default::default(),
            stash_low: Default::default(),
            at: Default::default(),
            data: Default::default(),
            is_record: Default::default(),
            is_tag0: Default::default(),
            is_tag1: Default::default(),
            is_stash: Default::default(),
            stash_writes: Default::default(),
            stash_now: Default::default(),
            in_stash: Default::default(),
            new_entry: Default::default(),
            one: Default::default(),
            address: Default::default(),
            taken: Default::default(),
            word: Default::default(),
            way: Default::default(),
            index: Default::default(),
            above: Default::default(),
            good: Default::default(),
            bank: Default::default(),
            upper: Default::default(),
            record_end: address(record_end),
            record_shift: log2(RECORD_STRIDE),
            record_last: Constant::new((RECORD_WORDS as u64 - 1).into()),
            tag0: address(TAG_BASE),
            tag0_end: address(TAG_BASE + bank_bytes),
            tag1: address(TAG_BASE + TAG_BANK_STRIDE),
            tag1_end: address(TAG_BASE + TAG_BANK_STRIDE + bank_bytes),
            bucket_shift: log2(TAG_BUCKET_STRIDE),
            stash_base: address(STASH_BASE),
            stash_end: address(STASH_BASE + STASH_STRIDE * STASH as u32),
            stash_shift: log2(STASH_STRIDE),
            index_at: number(TAG_INDEX_LSB),
            valid_at: number(TAG_VALID_BIT),
            index_bits: number(RECORD_LOG2),
            _quiet: Default::default(),
        }
    }
}

impl<const RECORD_LOG2: usize, const BUCKET_LOG2: usize> Logic for WindowDecode<RECORD_LOG2, BUCKET_LOG2> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, stash_low, at, data, is_record, is_tag0, is_tag1, is_stash, stash_now);
        clock!(self, clock, staged);
        // what kind of write it is
        self.address.next = self.window.val().address;
        self.taken.next = self.window.val().valid;
        if self.taken.val() {
            self.at.d.next = bits_wide::<23>(self.address.val());
            self.data.d.next = bits_wide::<32>(self.window.val().data);
        }
        self.is_record.d.next = self.taken.val() & (self.address.val() < self.record_end.val());
        self.is_tag0.d.next =
            self.taken.val() & (self.address.val() >= self.tag0.val()) & (self.address.val() < self.tag0_end.val());
        self.is_tag1.d.next =
            self.taken.val() & (self.address.val() >= self.tag1.val()) & (self.address.val() < self.tag1_end.val());
        self.in_stash.next = self.taken.val()
            & (self.address.val() >= self.stash_base.val())
            & (self.address.val() < self.stash_end.val());
        self.is_stash.d.next = self.in_stash.val();
        self.new_entry.next = bit_cast::<4, 23>(self.address.val() >> self.stash_shift.val());
        self.one.next = 1.into();
        self.stash_now.d.next = 0.into();
        if self.in_stash.val() & self.address.val().get_bit(2) {
            self.stash_now.d.next = self.one.val() << self.new_entry.val();
        }
        self.stash_writes.next = self.stash_now.q.val();
        // record
        self.word.next = bits_narrow::<4>(self.at.q.val().get_bits::<4>(2));
        self.staged.write.next = self.is_record.q.val();
        self.staged.word.next = self.word.val();
        self.staged.data.next = bits_narrow::<32>(self.data.q.val());
        self.record_write.next = self.is_record.q.val() & (self.word.val() == self.record_last.val());
        self.record_index.next =
            bits_narrow::<RECORD_LOG2>(self.at.q.val().get_bits::<RECORD_LOG2>(self.record_shift.val().index()));
        self.record.next = (bit_cast_wide::<RECORD_BITS, 32>(self.data.q.val()) << 256)
            | bit_cast_wide::<RECORD_BITS, 256>(self.staged.words.val());
        // tag; one whose index is out of range is stored as not valid
        self.index.next = self.data.q.val().get_bits::<17>(self.index_at.val().index());
        self.above.next = self.index.val() >> self.index_bits.val();
        self.good.next = self.data.q.val().get_bit(self.valid_at.val().index()) & !self.above.val().any();
        self.tag_write.next = self.is_tag0.q.val() | self.is_tag1.q.val();
        self.way.next = bits_narrow::<2>(self.at.q.val().get_bits::<2>(2));
        self.bank.next = 0.into();
        if self.is_tag1.q.val() {
            self.bank.next = 4.into();
        }
        self.tag_way.next = self.bank.val() | bit_cast::<3, 2>(self.way.val());
        self.tag_bucket.next =
            bits_narrow::<BUCKET_LOG2>(self.at.q.val().get_bits::<BUCKET_LOG2>(self.bucket_shift.val().index()));
        self.tag.next.fingerprint = bits_narrow::<13>(self.data.q.val().get_bits::<13>(0));
        self.tag.next.index = bits_narrow::<RECORD_LOG2>(self.index.val().get_bits::<RECORD_LOG2>(0));
        self.tag.next.valid = self.good.val();
        // stash entry: word 0 is staged, word 1 has the shape of a tag
        if self.is_stash.q.val() & !self.at.q.val().get_bit(2) {
            self.stash_low.d.next = self.data.q.val();
        }
        self.stash_write.next = self.is_stash.q.val() & self.at.q.val().get_bit(2);
        self.stash_entry.next = bits_narrow::<4>(self.at.q.val().get_bits::<4>(self.stash_shift.val().index()));
        self.upper.next = bit_cast_wide::<31, 32>(self.data.q.val());
        self.upper.next = self.upper.val().replace_bit(30, self.good.val());
        self.stash.next = (bit_cast_wide::<STASH_BITS, 31>(self.upper.val()) << 32)
            | bit_cast_wide::<STASH_BITS, 32>(self.stash_low.q.val());
    }
}
