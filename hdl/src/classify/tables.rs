//! The classifier's tables as registers, written by register writes.
//!
//! An entry's words are shifted into one staging register; the last word commits. A word of another entry in between
//! would be taken for a word of this one, so an entry is written in one go, as the driver does.

use crate::prelude::*;
use nat64_layout::regs::Policy;
use nat64_layout::tables::{
    POOLS, POOL_BASE, POOL_STRIDE, PREF64S, PREF64_BASE, PREF64_STRIDE, TERMS, TERM_BASE, TERM_STRIDE, UNITS,
    UNIT_BASE, UNIT_STRIDE,
};

use crate::ingress::with_constants;
use crate::prim::{Quiet, Reg};
use crate::types::RegisterWrite;
use crate::wide::{bit_cast_wide, bits_literal, bits_wide, Wide};
use crate::FastBlock;

/// Entry i of each table stands i slots above bit 0.
#[derive(FastBlock)]
pub struct Tables {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Register writes.
    pub write: Signal<In, RegisterWrite>,
    /// Units: word 0, 28 bits each.
    pub unit_match: Signal<Out, Wide<448>>,
    /// Units: service set 2:0, take IPv6 3, take IPv4 4; 5 bits each.
    pub unit_info: Signal<Out, Wide<80>>,
    /// Units in use.
    pub unit_valid: Signal<Out, Bits<16>>,
    /// Prefixes: the first 96 bits.
    pub pref_bits: Signal<Out, Wide<768>>,
    /// Prefixes: length code 2:0, service set 5:3; 6 bits each.
    pub pref_info: Signal<Out, Wide<48>>,
    /// Prefixes in use.
    pub pref_valid: Signal<Out, Bits<8>>,
    /// Terms: upper 64 bits of the source prefix.
    pub term_high: Signal<Out, Wide<512>>,
    /// Terms: lower 64 bits of the source prefix.
    pub term_low: Signal<Out, Wide<512>>,
    /// Terms: upper 64 bits of the mask.
    pub mask_high: Signal<Out, Wide<512>>,
    /// Terms: lower 64 bits of the mask.
    pub mask_low: Signal<Out, Wide<512>>,
    /// Terms: service set 2:0, prefixes 10:3, action 12:11; 13 bits each.
    pub term_info: Signal<Out, Wide<104>>,
    /// Terms in use.
    pub term_valid: Signal<Out, Bits<8>>,
    /// Pool ranges: first address.
    pub pool_low: Signal<Out, Wide<256>>,
    /// Pool ranges: last address.
    pub pool_high: Signal<Out, Wide<256>>,
    /// Pool ranges: service set, 3 bits each.
    pub pool_set: Signal<Out, Wide<24>>,
    /// Pool ranges in use.
    pub pool_valid: Signal<Out, Bits<8>>,
    /// `Policy`.
    pub policy: Signal<Out, Bits<8>>,
    // a write, decoded
    address: Signal<Local, Bits<16>>,
    word: Signal<Local, Bits<32>>,
    kind: Signal<Local, Bits<4>>,
    staged: Reg<Wide<128>>,
    /// `commit_word` is a word to stage.
    stage: Reg<Bit>,
    commit: Reg<Bits<4>>,
    commit_index: Reg<Bits<4>>,
    commit_word: Reg<Bits<32>>,
    /// What a prefix as long as the low byte of `commit_word` says leaves, but for the last 0 to 15 bits of that.
    commit_mask: Reg<Wide<128>>,
    commit_fine: Reg<Bits<4>>,
    commits: Signal<Local, Bits<4>>,
    last: Signal<Local, Bits<32>>,
    last_valid: Signal<Local, Bit>,
    slot28: Signal<Local, Wide<448>>,
    entry28: Signal<Local, Wide<448>>,
    slot5: Signal<Local, Wide<80>>,
    entry5: Signal<Local, Wide<80>>,
    slot96: Signal<Local, Wide<768>>,
    entry96: Signal<Local, Wide<768>>,
    slot6: Signal<Local, Wide<48>>,
    entry6: Signal<Local, Wide<48>>,
    slot64: Signal<Local, Wide<512>>,
    term_mask: Signal<Local, Wide<128>>,
    entry_high: Signal<Local, Wide<512>>,
    entry_low: Signal<Local, Wide<512>>,
    entry_mask_high: Signal<Local, Wide<512>>,
    entry_mask_low: Signal<Local, Wide<512>>,
    slot13: Signal<Local, Wide<104>>,
    entry13: Signal<Local, Wide<104>>,
    slot32: Signal<Local, Wide<256>>,
    entry_first: Signal<Local, Wide<256>>,
    entry_last: Signal<Local, Wide<256>>,
    slot3: Signal<Local, Wide<24>>,
    entry3: Signal<Local, Wide<24>>,
    units: Reg<Wide<448>>,
    units_info: Reg<Wide<80>>,
    units_valid: Reg<Bits<16>>,
    prefs: Reg<Wide<768>>,
    prefs_info: Reg<Wide<48>>,
    prefs_valid: Reg<Bits<8>>,
    terms_high: Reg<Wide<512>>,
    terms_low: Reg<Wide<512>>,
    terms_mask_high: Reg<Wide<512>>,
    terms_mask_low: Reg<Wide<512>>,
    terms_info: Reg<Wide<104>>,
    terms_valid: Reg<Bits<8>>,
    pools_low: Reg<Wide<256>>,
    pools_high: Reg<Wide<256>>,
    pools_set: Reg<Wide<24>>,
    pools_valid: Reg<Bits<8>>,
    policies: Reg<Bits<8>>,
    policy_address: Constant<Bits<16>>,
    unit_table: Constant<Bits<4>>,
    pref_table: Constant<Bits<4>>,
    term_table: Constant<Bits<4>>,
    pool_table: Constant<Bits<4>>,
    ones: Constant<Wide<128>>,
    _quiet: Quiet,
}

impl Default for Tables {
    /// Panics when the contract has other table sizes than this text.
    fn default() -> Self {
        assert_eq!((UNITS, PREF64S, TERMS, POOLS), (16, 8, 8, 8));
        assert_eq!((UNIT_STRIDE, PREF64_STRIDE, TERM_STRIDE, POOL_STRIDE), (8, 16, 32, 16));
        assert!([UNIT_BASE, PREF64_BASE, TERM_BASE, POOL_BASE]
            .iter()
            .all(|b| b & 0xfff == 0));
        with_constants!(
            clock write unit_match unit_info unit_valid pref_bits pref_info pref_valid term_high term_low mask_high mask_low
            term_info term_valid pool_low pool_high pool_set pool_valid policy address word kind staged stage commit commit_index
            commit_word commit_mask commit_fine commits last last_valid slot28 entry28 slot5 entry5 slot96 entry96 slot6 entry6 slot64 term_mask
            entry_high entry_low entry_mask_high entry_mask_low slot13 entry13 slot32 entry_first entry_last slot3 entry3
            units units_info units_valid prefs prefs_info prefs_valid terms_high terms_low terms_mask_high terms_mask_low
            terms_info terms_valid pools_low pools_high pools_set pools_valid policies _quiet;
            policy_address = u64::from(Policy::OFFSET),
            unit_table = u64::from(UNIT_BASE >> 12),
            pref_table = u64::from(PREF64_BASE >> 12),
            term_table = u64::from(TERM_BASE >> 12),
            pool_table = u64::from(POOL_BASE >> 12),
            ones = !Wide::<128>::default(),
        )
    }
}

impl Logic for Tables {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self,
            clock,
            staged,
            stage,
            commit,
            commit_index,
            commit_word,
            commit_mask,
            commit_fine,
            policies
        );
        dff_setup!(
            self,
            clock,
            units,
            units_info,
            units_valid,
            prefs,
            prefs_info,
            prefs_valid
        );
        dff_setup!(
            self,
            clock,
            terms_high,
            terms_low,
            terms_mask_high,
            terms_mask_low,
            terms_info,
            terms_valid
        );
        dff_setup!(self, clock, pools_low, pools_high, pools_set, pools_valid);
        // words in
        self.address.next = self.write.val().address;
        self.word.next = self.write.val().data;
        self.kind.next = self.address.val().get_bits::<4>(12);
        self.commit.d.next = 0.into();
        self.commit_word.d.next = self.word.val();
        // the prefix's length in two steps, since a shifter of 128 bits is too deep for one; sixteens are few registers
        self.commit_mask.d.next = self.ones.val() >> (self.word.val().get_bits::<8>(0) & 0xf0);
        self.commit_fine.d.next = self.word.val().get_bits::<4>(0);
        self.term_mask.next = self.commit_mask.q.val() >> self.commit_fine.q.val();
        self.term_mask.next = !self.term_mask.val();
        // where the entry's number stands: looked at with `commit` only
        self.commit_index.d.next = bit_cast::<4, 3>(self.address.val().get_bits::<3>(4));
        if self.kind.val() == self.unit_table.val() {
            self.commit_index.d.next = self.address.val().get_bits::<4>(3);
        }
        if self.kind.val() == self.term_table.val() {
            self.commit_index.d.next = bit_cast::<4, 3>(self.address.val().get_bits::<3>(5));
        }
        // words are staged a clock later, which is early enough for the one that commits
        self.stage.d.next = false;
        if self.stage.q.val() {
            self.staged.d.next =
                (self.staged.q.val() << 32) | bit_cast_wide::<128, 32>(bits_wide(self.commit_word.q.val()));
        }
        if self.write.val().valid {
            self.stage.d.next = true;
            if self.address.val() == self.policy_address.val() {
                self.policies.d.next = self.word.val().get_bits::<8>(0);
            }
            if (self.kind.val() == self.unit_table.val()) & !self.address.val().get_bits::<5>(7).any() {
                if self.address.val().get_bit(2) {
                    self.commit.d.next = 1.into();
                    self.stage.d.next = false;
                }
            }
            if (self.kind.val() == self.pref_table.val()) & !self.address.val().get_bits::<5>(7).any() {
                if self.address.val().get_bits::<2>(2) == 3 {
                    self.commit.d.next = 2.into();
                    self.stage.d.next = false;
                }
            }
            if (self.kind.val() == self.term_table.val()) & !self.address.val().get_bits::<4>(8).any() {
                if self.address.val().get_bits::<3>(2) == 4 {
                    self.commit.d.next = 4.into();
                    self.stage.d.next = false;
                }
            }
            if (self.kind.val() == self.pool_table.val()) & !self.address.val().get_bits::<5>(7).any() {
                if self.address.val().get_bits::<2>(2) == 2 {
                    self.commit.d.next = 8.into();
                    self.stage.d.next = false;
                }
            }
        }
        // entries in: the slot and the entry move up until they stand where the index says
        self.commits.next = self.commit.q.val();
        self.last.next = self.commit_word.q.val();
        self.last_valid.next = self.last.val().get_bit(31);
        self.slot28.next = bits_literal::<448>(0xfff_ffff);
        self.entry28.next = bits_literal::<448>(0);
        self.slot5.next = bits_literal::<80>(0x1f);
        self.entry5.next = bits_literal::<80>(0);
        if self.commits.val().get_bit(0) {
            self.entry28.next = bit_cast_wide::<448, 28>(self.staged.q.val().get_bits::<28>(0));
            self.entry5.next = bit_cast_wide::<80, 5>(bits_wide(self.last.val().get_bits::<5>(0)));
            for k in 0..16 {
                if self.commit_index.q.val() == k.to_bits() {
                    self.units.d.next = (self.units.q.val() & !self.slot28.val()) | self.entry28.val();
                    self.units_info.d.next = (self.units_info.q.val() & !self.slot5.val()) | self.entry5.val();
                    self.units_valid.d.next = self.units_valid.q.val().replace_bit(k, self.last_valid.val());
                }
                self.slot28.next = self.slot28.val() << 28;
                self.entry28.next = self.entry28.val() << 28;
                self.slot5.next = self.slot5.val() << 5;
                self.entry5.next = self.entry5.val() << 5;
            }
        }
        self.slot96.next = bit_cast_wide::<768, 96>(self.ones.val().get_bits::<96>(0));
        self.entry96.next = bits_literal::<768>(0);
        self.slot6.next = bits_literal::<48>(0x3f);
        self.entry6.next = bits_literal::<48>(0);
        if self.commits.val().get_bit(1) {
            self.entry96.next = bit_cast_wide::<768, 96>(self.staged.q.val().get_bits::<96>(0));
            self.entry6.next = bit_cast_wide::<48, 3>(bits_wide(self.last.val().get_bits::<3>(0)))
                | (bit_cast_wide::<48, 3>(bits_wide(self.last.val().get_bits::<3>(4))) << 3);
            for k in 0..8 {
                if self.commit_index.q.val() == k.to_bits() {
                    self.prefs.d.next = (self.prefs.q.val() & !self.slot96.val()) | self.entry96.val();
                    self.prefs_info.d.next = (self.prefs_info.q.val() & !self.slot6.val()) | self.entry6.val();
                    self.prefs_valid.d.next = self.prefs_valid.q.val().replace_bit(k, self.last_valid.val());
                }
                self.slot96.next = self.slot96.val() << 96;
                self.entry96.next = self.entry96.val() << 96;
                self.slot6.next = self.slot6.val() << 6;
                self.entry6.next = self.entry6.val() << 6;
            }
        }
        self.slot64.next = bit_cast_wide::<512, 64>(self.ones.val().get_bits::<64>(0));
        self.entry_high.next = bits_literal::<512>(0);
        self.entry_low.next = bits_literal::<512>(0);
        self.entry_mask_high.next = bits_literal::<512>(0);
        self.entry_mask_low.next = bits_literal::<512>(0);
        self.slot13.next = bits_literal::<104>(0x1fff);
        self.entry13.next = bits_literal::<104>(0);
        if self.commits.val().get_bit(2) {
            self.entry_high.next = bit_cast_wide::<512, 64>(self.staged.q.val().get_bits::<64>(64));
            self.entry_low.next = bit_cast_wide::<512, 64>(self.staged.q.val().get_bits::<64>(0));
            self.entry_mask_high.next = bit_cast_wide::<512, 64>(self.term_mask.val().get_bits::<64>(64));
            self.entry_mask_low.next = bit_cast_wide::<512, 64>(self.term_mask.val().get_bits::<64>(0));
            self.entry13.next = bit_cast_wide::<104, 3>(bits_wide(self.last.val().get_bits::<3>(8)))
                | (bit_cast_wide::<104, 10>(bits_wide(self.last.val().get_bits::<10>(12))) << 3);
            for k in 0..8 {
                if self.commit_index.q.val() == k.to_bits() {
                    self.terms_high.d.next = (self.terms_high.q.val() & !self.slot64.val()) | self.entry_high.val();
                    self.terms_low.d.next = (self.terms_low.q.val() & !self.slot64.val()) | self.entry_low.val();
                    self.terms_mask_high.d.next =
                        (self.terms_mask_high.q.val() & !self.slot64.val()) | self.entry_mask_high.val();
                    self.terms_mask_low.d.next =
                        (self.terms_mask_low.q.val() & !self.slot64.val()) | self.entry_mask_low.val();
                    self.terms_info.d.next = (self.terms_info.q.val() & !self.slot13.val()) | self.entry13.val();
                    self.terms_valid.d.next = self.terms_valid.q.val().replace_bit(k, self.last_valid.val());
                }
                self.slot64.next = self.slot64.val() << 64;
                self.entry_high.next = self.entry_high.val() << 64;
                self.entry_low.next = self.entry_low.val() << 64;
                self.entry_mask_high.next = self.entry_mask_high.val() << 64;
                self.entry_mask_low.next = self.entry_mask_low.val() << 64;
                self.slot13.next = self.slot13.val() << 13;
                self.entry13.next = self.entry13.val() << 13;
            }
        }
        self.slot32.next = bit_cast_wide::<256, 32>(self.ones.val().get_bits::<32>(0));
        self.entry_first.next = bits_literal::<256>(0);
        self.entry_last.next = bits_literal::<256>(0);
        self.slot3.next = bits_literal::<24>(7);
        self.entry3.next = bits_literal::<24>(0);
        if self.commits.val().get_bit(3) {
            self.entry_first.next = bit_cast_wide::<256, 32>(self.staged.q.val().get_bits::<32>(32));
            self.entry_last.next = bit_cast_wide::<256, 32>(self.staged.q.val().get_bits::<32>(0));
            self.entry3.next = bit_cast_wide::<24, 3>(bits_wide(self.last.val().get_bits::<3>(0)));
            for k in 0..8 {
                if self.commit_index.q.val() == k.to_bits() {
                    self.pools_low.d.next = (self.pools_low.q.val() & !self.slot32.val()) | self.entry_first.val();
                    self.pools_high.d.next = (self.pools_high.q.val() & !self.slot32.val()) | self.entry_last.val();
                    self.pools_set.d.next = (self.pools_set.q.val() & !self.slot3.val()) | self.entry3.val();
                    self.pools_valid.d.next = self.pools_valid.q.val().replace_bit(k, self.last_valid.val());
                }
                self.slot32.next = self.slot32.val() << 32;
                self.entry_first.next = self.entry_first.val() << 32;
                self.entry_last.next = self.entry_last.val() << 32;
                self.slot3.next = self.slot3.val() << 3;
                self.entry3.next = self.entry3.val() << 3;
            }
        }
        self.unit_match.next = self.units.q.val();
        self.unit_info.next = self.units_info.q.val();
        self.unit_valid.next = self.units_valid.q.val();
        self.pref_bits.next = self.prefs.q.val();
        self.pref_info.next = self.prefs_info.q.val();
        self.pref_valid.next = self.prefs_valid.q.val();
        self.term_high.next = self.terms_high.q.val();
        self.term_low.next = self.terms_low.q.val();
        self.mask_high.next = self.terms_mask_high.q.val();
        self.mask_low.next = self.terms_mask_low.q.val();
        self.term_info.next = self.terms_info.q.val();
        self.term_valid.next = self.terms_valid.q.val();
        self.pool_low.next = self.pools_low.q.val();
        self.pool_high.next = self.pools_high.q.val();
        self.pool_set.next = self.pools_set.q.val();
        self.pool_valid.next = self.pools_valid.q.val();
        self.policy.next = self.policies.q.val();
    }
}
