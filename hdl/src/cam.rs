//! Session table: from a key to its record, in [`LATENCY`] clocks; keys as near as the hasher takes them ([`hash::distance`]),
//! with enough round units one per clock.
//!
//! ```text
//!  key --> hasher --> 2 banks x 4 ways of tags --> fingerprint --+--> OR of the indices --> record --> whole key --> found
//!            |                                                   |                           RAM      compared
//!            +------> stash (16 whole signatures) ---------------+                                       ^
//!  key, phv --> rings ------------------------------------------------------------------------------------+
//! ```
//!
//! The claim rule of the host makes at most one tag match an installed key, so the indices of all that match are put
//! together by OR; during a move two tags match with the same index. A key that is not installed may match tags of
//! others and get any index: the comparison of the whole key decides. Fields of the record that the lookup does not
//! know (the client behind an IPv4-side key, the pool address of an IPv6-side key) are not compared.
//!
//! Writes may come at any clock. Each tag way is a RAM of its own, so that the write of a tag touches one way; a
//! record is staged word by word and written in one clock. A lookup sees each tag, stash entry and record either as it was
//! before a write or as it is after, never a mixture, and sees writes in their order: when the new tag of a move is
//! written before the old one is cleared, no lookup misses.
//!
//! `peek` reads the table back. Its reads take the RAMs' read ports only in clocks that no lookup uses, so that no lookup is
//! delayed; under a lookup in every clock they would wait for ever, which headers of more than one beat never make.

// The LogicStruct derive adds accessors without documentation; every field below has its own.
#![allow(missing_docs)]

mod compare;
mod stash;
#[cfg(test)]
pub(crate) mod tests;
mod way;
mod window;

use crate::hash::{self, KeyHasher};
use crate::prelude::*;
use crate::prim::{BlockRam, LutRam, Quiet, Reg};
use crate::types::{Found, Key, Peek, Phv, RegisterWrite, WindowWrite, PEEK_BITS, RECORD_BITS};
use crate::wide::{bit_cast_wide, bits_narrow, bits_wide, Wide};
use crate::FastBlock;
pub use compare::KeyCompare;
use nat64_layout::record::{TAG_INDEX_LSB, TAG_VALID_BIT};
use nat64_layout::tables::{UNITS, UNIT_BASE, UNIT_STRIDE};
pub use stash::Stash;
pub use way::{TagWord, Way};
use window::STASH_BITS;
pub use window::{StagedWords, WindowDecode, WRITE_LATENCY};

/// Clocks from `valid` to `out_valid`: hash, tags (RAM 2, compare 1, select 1), record (RAM 2, compare 1, output 1).
pub const LATENCY: usize = hash::LATENCY + 8;
/// Places of the ring of hash bits, log2: they wait from the hash to the record only.
const IDENT_RING: usize = 4;
/// Clocks from `valid` to the one in which the ring gives the key back, one before the record is there.
const KEY_AT: usize = LATENCY - 3;

/// A record is written whole.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct Commit {
    /// One clock.
    pub valid: Bit,
    /// Record index.
    pub index: Bits<17>,
}

/// See the module documentation. `RING`: places for lookups under way, log2; `WORDS` and `FINAL`: round units of [`KeyHasher`].
#[derive(FastBlock)]
pub struct SessionCam<
    const RECORD_LOG2: usize,
    const BUCKET_LOG2: usize,
    const RING: usize,
    const WORDS: usize,
    const FINAL: usize,
> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// A key is on the pins, [`hash::distance`] clocks after the one before it or later.
    pub valid: Signal<In, Bit>,
    /// Key to look up.
    pub key: Signal<In, Key>,
    /// The packet it belongs to; comes out with the answer.
    pub phv: Signal<In, Phv>,
    /// BAR0 writes: the secret, and the service set of each unit.
    pub write: Signal<In, RegisterWrite>,
    /// BAR2 writes: records, tags, stash.
    pub window: Signal<In, WindowWrite>,
    /// An answer is on the pins.
    pub out_valid: Signal<Out, Bit>,
    /// The packet.
    pub out_phv: Signal<Out, Phv>,
    /// The answer.
    pub found: Signal<Out, Found>,
    /// A record is being written.
    pub commit: Signal<Out, Commit>,
    /// An entry to read back.
    pub peek: Signal<In, Peek>,
    /// It is being read.
    pub peek_taken: Signal<Out, Bit>,
    /// It is on `peek_words`: one clock.
    pub peek_done: Signal<Out, Bit>,
    /// The entry in the form of `nat64_layout::dump`, the first word lowest.
    pub peek_words: Signal<Out, Wide<PEEK_BITS>>,
    hasher: KeyHasher<WORDS, FINAL>,
    decode: WindowDecode<RECORD_LOG2, BUCKET_LOG2>,
    ways: [Way<RECORD_LOG2, BUCKET_LOG2>; 8],
    stash: Stash,
    compare: KeyCompare,
    records: BlockRam<Wide<RECORD_BITS>, RECORD_LOG2>,
    sets: LutRam<Bits<3>, 4>,
    key_ring: LutRam<Key, RING>,
    phv_ring: LutRam<Phv, RING>,
    ident_ring: LutRam<Bits<16>, IDENT_RING>,
    /// The stash once more: its registers can only be compared.
    stash_copy: LutRam<Wide<STASH_BITS>, 4>,
    peek_tags1: Reg<Bit>,
    peek_tags2: Reg<Bit>,
    peek_record1: Reg<Bit>,
    peek_record2: Reg<Bit>,
    peek_record3: Reg<Bit>,
    peek_stash1: Reg<Bit>,
    done: Reg<Bit>,
    take_tags: Signal<Local, Bit>,
    take_record: Signal<Local, Bit>,
    take_stash: Signal<Local, Bit>,
    asking: Reg<Peek>,
    answered: Reg<Bit>,
    row: Signal<Local, Wide<PEEK_BITS>>,
    tag: Signal<Local, TagWord<RECORD_LOG2>>,
    tag_bits: Signal<Local, Wide<32>>,
    stash_bits: Signal<Local, Wide<64>>,
    stash_valid: Signal<Local, Bit>,
    tag_at: [Constant<Bits<9>>; 8],
    tag_index_at: Constant<Bits<6>>,
    tag_valid_at: Constant<Bits<6>>,
    record_slot: Constant<Bits<5>>,
    put: Reg<Bits<RING>>,
    put_ident: Reg<Bits<IDENT_RING>>,
    take_key: Reg<Bits<RING>>,
    take_phv: Reg<Bits<RING>>,
    flying: Reg<Wide<LATENCY>>,
    shifted: Signal<Local, Wide<LATENCY>>,
    fingerprint1: Reg<Bits<13>>,
    fingerprint2: Reg<Bits<13>>,
    stash_hit: Reg<Bit>,
    stash_index: Reg<Bits<RECORD_LOG2>>,
    hit0: Reg<Bit>,
    hit1: Reg<Bit>,
    hit2: Reg<Bit>,
    hit3: Reg<Bit>,
    index0: Reg<Bits<RECORD_LOG2>>,
    index1: Reg<Bits<RECORD_LOG2>>,
    index2: Reg<Bits<RECORD_LOG2>>,
    index3: Reg<Bits<RECORD_LOG2>>,
    wanted: Reg<Key>,
    same: Reg<Bits<9>>,
    wanted_six: Reg<Bit>,
    record3: Reg<Wide<RECORD_BITS>>,
    result: Reg<Found>,
    packet: Reg<Phv>,
    digest: Signal<Local, Wide<64>>,
    print: Signal<Local, Wide<13>>,
    bucket0: Signal<Local, Bits<BUCKET_LOG2>>,
    bucket1: Signal<Local, Bits<BUCKET_LOG2>>,
    any: Signal<Local, Bit>,
    pick: Signal<Local, Bits<RECORD_LOG2>>,
    record: Signal<Local, Wide<RECORD_BITS>>,
    common: Signal<Local, Bit>,
    equal: Signal<Local, Bit>,
    set_address: Signal<Local, Bits<16>>,
    set_unit: Signal<Local, Wide<16>>,
    // a write of a unit's set, decoded a clock ahead: the register it comes from is far
    set_write: Reg<Bit>,
    set_place: Reg<Bits<4>>,
    set_value: Reg<Bits<3>>,
    unit_base: Constant<Bits<16>>,
    unit_end: Constant<Bits<16>>,
    unit_shift: Constant<Bits<5>>,
    hash_valid: Constant<Bits<5>>,
    key_valid: Constant<Bits<5>>,
    phv_valid: Constant<Bits<5>>,
    out_valid_at: Constant<Bits<5>>,
    _quiet: Quiet,
}

impl<const RECORD_LOG2: usize, const BUCKET_LOG2: usize, const RING: usize, const WORDS: usize, const FINAL: usize>
    Default for SessionCam<RECORD_LOG2, BUCKET_LOG2, RING, WORDS, FINAL>
{
    fn default() -> Self {
        assert!(RECORD_LOG2 >= 1 && RECORD_LOG2 <= 16 && BUCKET_LOG2 >= 1 && BUCKET_LOG2 <= 16);
        // packets wait as long as a lookup takes; hash bits are taken by the low bits of the packets' place
        assert!(LATENCY <= hash::distance(WORDS, FINAL) << RING && RING >= IDENT_RING);
        const { assert!(LATENCY - hash::LATENCY <= 1 << IDENT_RING) };
        let address = |x: u32| Constant::new(u64::from(x).into());
        // bit of `flying` that is set so many clocks after `valid`
        let stage = |clocks: usize| Constant::new((clocks as u64 - 1).into());
        Self {
            clock: Default::default(),
            valid: Default::default(),
            key: Default::default(),
            phv: Default::default(),
            write: Default::default(),
            window: Default::default(),
            out_valid: Default::default(),
            out_phv: Default::default(),
            found: Default::default(),
            commit: Default::default(),
            peek: Default::default(),
            peek_taken: Default::default(),
            peek_done: Default::default(),
            peek_words: Default::default(),
            hasher: Default::default(),
            decode: Default::default(),
            ways: Default::default(),
            stash: Default::default(),
            compare: Default::default(),
            records: Default::default(),
            sets: Default::default(),
            key_ring: Default::default(),
            phv_ring: Default::default(),
            ident_ring: Default::default(),
            stash_copy: Default::default(),
            peek_tags1: Default::default(),
            peek_tags2: Default::default(),
            peek_record1: Default::default(),
            peek_record2: Default::default(),
            peek_record3: Default::default(),
            peek_stash1: Default::default(),
            done: Default::default(),
            take_tags: Default::default(),
            take_record: Default::default(),
            take_stash: Default::default(),
            asking: Default::default(),
            answered: Default::default(),
            row: Default::default(),
            tag: Default::default(),
            tag_bits: Default::default(),
            stash_bits: Default::default(),
            stash_valid: Default::default(),
            tag_at: std::array::from_fn(|way| Constant::new((32 * way as u64).into())),
            tag_index_at: Constant::new((TAG_INDEX_LSB as u64).into()),
            tag_valid_at: Constant::new((TAG_VALID_BIT as u64).into()),
            // the clock in which a lookup's index goes into `index0`: tags (RAM 2, compare 1) after the hash
            record_slot: stage(hash::LATENCY + 3),
            put: Default::default(),
            put_ident: Default::default(),
            take_key: Default::default(),
            take_phv: Default::default(),
            flying: Default::default(),
            shifted: Default::default(),
            fingerprint1: Default::default(),
            fingerprint2: Default::default(),
            stash_hit: Default::default(),
            stash_index: Default::default(),
            hit0: Default::default(),
            hit1: Default::default(),
            hit2: Default::default(),
            hit3: Default::default(),
            index0: Default::default(),
            index1: Default::default(),
            index2: Default::default(),
            index3: Default::default(),
            wanted: Default::default(),
            same: Default::default(),
            wanted_six: Default::default(),
            record3: Default::default(),
            result: Default::default(),
            packet: Default::default(),
            digest: Default::default(),
            print: Default::default(),
            bucket0: Default::default(),
            bucket1: Default::default(),
            any: Default::default(),
            pick: Default::default(),
            record: Default::default(),
            common: Default::default(),
            equal: Default::default(),
            set_address: Default::default(),
            set_unit: Default::default(),
            set_write: Default::default(),
            set_place: Default::default(),
            set_value: Default::default(),
            unit_base: address(UNIT_BASE),
            unit_end: address(UNIT_BASE + UNIT_STRIDE * UNITS as u32),
            unit_shift: Constant::new(u64::from(UNIT_STRIDE.trailing_zeros()).into()),
            hash_valid: stage(hash::LATENCY),
            key_valid: stage(KEY_AT),
            phv_valid: stage(LATENCY - 1),
            out_valid_at: stage(LATENCY),
            _quiet: Default::default(),
        }
    }
}

impl<const RECORD_LOG2: usize, const BUCKET_LOG2: usize, const RING: usize, const WORDS: usize, const FINAL: usize>
    Logic for SessionCam<RECORD_LOG2, BUCKET_LOG2, RING, WORDS, FINAL>
{
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self,
            clock,
            put,
            put_ident,
            take_key,
            take_phv,
            flying,
            fingerprint1,
            fingerprint2
        );
        dff_setup!(
            self,
            clock,
            stash_hit,
            stash_index,
            hit0,
            hit1,
            hit2,
            hit3,
            index0,
            index1,
            index2,
            index3
        );
        dff_setup!(self, clock, wanted, same, wanted_six, record3, result, packet, set_write, set_place, set_value);
        dff_setup!(
            self,
            clock,
            peek_tags1,
            peek_tags2,
            peek_record1,
            peek_record2,
            peek_record3,
            peek_stash1,
            done,
            asking,
            answered
        );
        clock!(self, clock, hasher, decode, stash, records, sets, key_ring, phv_ring, ident_ring, stash_copy);
        // writes
        self.hasher.write.next = self.write.val();
        self.decode.window.next = self.window.val();
        self.set_address.next = self.write.val().address;
        self.set_write.d.next = self.write.val().valid
            & (self.set_address.val() >= self.unit_base.val())
            & (self.set_address.val() < self.unit_end.val())
            & self.set_address.val().get_bit(2);
        self.set_unit.next = bits_wide::<16>(self.set_address.val());
        self.set_place.d.next = bits_narrow::<4>(self.set_unit.val().get_bits::<4>(self.unit_shift.val().index()));
        self.set_value.d.next = bit_cast::<3, 32>(self.write.val().data);
        self.sets.write.next = self.set_write.q.val();
        self.sets.write_address.next = self.set_place.q.val();
        self.sets.write_data.next = self.set_value.q.val();
        self.commit.next.valid = self.decode.record_write.val();
        self.commit.next.index = bit_cast::<17, RECORD_LOG2>(self.decode.record_index.val());
        // key and packet wait in rings
        self.shifted.next = self.flying.q.val() << 1;
        self.flying.d.next = self.shifted.val().replace_bit(0, self.valid.val());
        self.key_ring.write.next = self.valid.val();
        self.key_ring.write_address.next = self.put.q.val();
        self.key_ring.write_data.next = self.key.val();
        self.phv_ring.write.next = self.valid.val();
        self.phv_ring.write_address.next = self.put.q.val();
        self.phv_ring.write_data.next = self.phv.val();
        if self.valid.val() {
            self.put.d.next = self.put.q.val() + 1;
        }
        self.key_ring.read_address.next = self.take_key.q.val();
        if self.flying.q.val().get_bit(self.key_valid.val().index()) {
            self.take_key.d.next = self.take_key.q.val() + 1;
            self.wanted.d.next = self.key_ring.read_data.val();
        }
        self.phv_ring.read_address.next = self.take_phv.q.val();
        self.ident_ring.read_address.next = bit_cast::<IDENT_RING, RING>(self.take_phv.q.val());
        if self.flying.q.val().get_bit(self.phv_valid.val().index()) {
            self.take_phv.d.next = self.take_phv.q.val() + 1;
            self.packet.d.next = self.phv_ring.read_data.val();
        }
        // what is asked for a clock ago, so that no lookup waits for it; whoever asks sees a clock late as well that it has been read
        self.asking.d.next = self.peek.val();
        // hash to tags and stash
        self.hasher.valid.next = self.valid.val();
        self.hasher.key.next = self.key.val();
        self.digest.next = self.hasher.hash.val();
        self.ident_ring.write.next = self.flying.q.val().get_bit(self.hash_valid.val().index());
        self.ident_ring.write_address.next = self.put_ident.q.val();
        self.ident_ring.write_data.next = bits_narrow::<16>(self.digest.val().get_bits::<16>(48));
        if self.flying.q.val().get_bit(self.hash_valid.val().index()) {
            self.put_ident.d.next = self.put_ident.q.val() + 1;
        }
        self.bucket0.next = bits_narrow::<BUCKET_LOG2>(self.digest.val().get_bits::<BUCKET_LOG2>(0));
        self.bucket1.next = bits_narrow::<BUCKET_LOG2>(self.digest.val().get_bits::<BUCKET_LOG2>(16));
        self.take_tags.next = self.asking.q.val().tags
            & !self.answered.q.val()
            & !self.flying.q.val().get_bit(self.hash_valid.val().index());
        if self.take_tags.val() {
            self.bucket0.next = bit_cast::<BUCKET_LOG2, 17>(self.asking.q.val().index);
            self.bucket1.next = bit_cast::<BUCKET_LOG2, 17>(self.asking.q.val().index);
        }
        self.print.next = self.digest.val().get_bits::<13>(32);
        self.fingerprint1.d.next = bits_narrow::<13>(self.print.val());
        self.fingerprint2.d.next = self.fingerprint1.q.val();
        for i in 0..8 {
            self.ways[i].clock.next = self.clock.val();
            self.ways[i].fingerprint.next = self.fingerprint2.q.val();
            self.ways[i].write.next = self.decode.tag_write.val() & (self.decode.tag_way.val() == i.to_bits());
            self.ways[i].write_bucket.next = self.decode.tag_bucket.val();
            self.ways[i].tag.next = self.decode.tag.val();
        }
        for i in 0..4 {
            self.ways[i].bucket.next = self.bucket0.val();
            self.ways[i + 4].bucket.next = self.bucket1.val();
        }
        self.stash.signature.next = self.digest.val().get_bits::<45>(0);
        self.stash.writes.next = self.decode.stash_writes.val();
        self.stash.word.next = self.decode.stash.val();
        self.stash_hit.d.next = self.stash.hit.val();
        self.stash_index.d.next = bit_cast::<RECORD_LOG2, 17>(self.stash.index.val());
        // one index
        self.any.next = self.stash_hit.q.val();
        self.pick.next = self.stash_index.q.val();
        for i in 0..8 {
            if self.ways[i].hit.val() {
                self.any.next = true;
                self.pick.next = self.pick.val() | self.ways[i].index.val();
            }
        }
        self.hit0.d.next = self.any.val();
        self.index0.d.next = self.pick.val();
        self.take_record.next = self.asking.q.val().record
            & !self.answered.q.val()
            & !self.flying.q.val().get_bit(self.record_slot.val().index());
        if self.take_record.val() {
            self.index0.d.next = bit_cast::<RECORD_LOG2, 17>(self.asking.q.val().index);
        }
        // its record
        self.records.read_address.next = self.index0.q.val();
        self.records.write.next = self.decode.record_write.val();
        self.records.write_address.next = self.decode.record_index.val();
        self.records.write_data.next = self.decode.record.val();
        self.hit1.d.next = self.hit0.q.val();
        self.index1.d.next = self.index0.q.val();
        self.hit2.d.next = self.hit1.q.val();
        self.index2.d.next = self.index1.q.val();
        // the whole key, in chunks
        self.record.next = self.records.read_data.val();
        self.compare.record.next = self.record.val();
        self.compare.key.next = self.wanted.q.val();
        self.sets.read_address.next = self.compare.unit.val();
        self.compare.set.next = self.sets.read_data.val();
        self.same.d.next = self.compare.same.val();
        self.wanted_six.d.next = self.wanted.q.val().six;
        self.record3.d.next = self.record.val();
        self.hit3.d.next = self.hit2.q.val();
        self.index3.d.next = self.index2.q.val();
        // what is read back: tags two clocks after their bucket, a record three after its index, the stash at once
        self.stash_copy.write.next = self.decode.stash_write.val();
        self.stash_copy.write_address.next = self.decode.stash_entry.val();
        self.stash_copy.write_data.next = self.decode.stash.val();
        self.stash_copy.read_address.next = bit_cast::<4, 17>(self.asking.q.val().index);
        self.take_stash.next = self.asking.q.val().stash & !self.answered.q.val();
        self.answered.d.next = self.take_tags.val() | self.take_record.val() | self.take_stash.val();
        self.peek_taken.next = self.take_tags.val() | self.take_record.val() | self.take_stash.val();
        self.peek_tags1.d.next = self.take_tags.val();
        self.peek_tags2.d.next = self.peek_tags1.q.val();
        self.peek_record1.d.next = self.take_record.val();
        self.peek_record2.d.next = self.peek_record1.q.val();
        self.peek_record3.d.next = self.peek_record2.q.val();
        self.peek_stash1.d.next = self.take_stash.val();
        self.done.d.next = self.peek_tags1.q.val() | self.peek_record2.q.val() | self.take_stash.val();
        self.peek_done.next = self.done.q.val();
        self.row.next = 0.into();
        for i in 0..8 {
            self.tag.next = self.ways[i].word.val();
            self.tag_bits.next = bit_cast_wide::<32, 13>(bits_wide::<13>(self.tag.val().fingerprint))
                | (bit_cast_wide::<32, RECORD_LOG2>(bits_wide::<RECORD_LOG2>(self.tag.val().index))
                    << self.tag_index_at.val());
            if self.tag.val().valid {
                self.tag_bits.next = self.tag_bits.val().replace_bit(self.tag_valid_at.val().index(), true);
            }
            self.row.next =
                self.row.val() | (bit_cast_wide::<PEEK_BITS, 32>(self.tag_bits.val()) << self.tag_at[i].val());
        }
        // the stash's valid bit stands where a tag has it
        self.stash_bits.next = bit_cast_wide::<64, STASH_BITS>(self.stash_copy.read_data.val());
        self.stash_valid.next = self.stash_bits.val().get_bit(62);
        self.stash_bits.next = self.stash_bits.val().replace_bit(62, false);
        if self.stash_valid.val() {
            self.stash_bits.next = self.stash_bits.val().replace_bit(63, true);
        }
        self.peek_words.next = self.row.val();
        if self.peek_record3.q.val() {
            self.peek_words.next = bit_cast_wide::<PEEK_BITS, RECORD_BITS>(self.record.val());
        }
        if self.peek_stash1.q.val() {
            self.peek_words.next = bit_cast_wide::<PEEK_BITS, 64>(self.stash_bits.val());
        }
        // the answer
        self.common.next = self.hit3.q.val() & self.same.q.val().get_bit(7) & self.same.q.val().get_bit(8);
        self.equal.next = self.same.q.val().get_bit(5) & self.same.q.val().get_bit(6);
        if self.wanted_six.q.val() {
            self.equal.next = self.same.q.val().get_bit(0)
                & self.same.q.val().get_bit(1)
                & self.same.q.val().get_bit(2)
                & self.same.q.val().get_bit(3)
                & self.same.q.val().get_bit(4);
        }
        self.result.d.next.hit = self.common.val() & self.equal.val();
        self.result.d.next.index = bit_cast::<17, RECORD_LOG2>(self.index3.q.val());
        self.result.d.next.record = self.record3.q.val();
        self.result.d.next.ident = self.ident_ring.read_data.val();
        self.found.next = self.result.q.val();
        self.out_phv.next = self.packet.q.val();
        self.out_valid.next = self.flying.q.val().get_bit(self.out_valid_at.val().index());
    }
}
