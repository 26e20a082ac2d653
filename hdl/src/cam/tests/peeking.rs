//! Reads entries of the table back at random, and knows from the model what they must be.

use super::model::Model;
use super::{bits, record_bits};
use crate::types::{Peek, PEEK_BITS};
use crate::wide::{bit_cast_wide, Wide};
use nat64_layout::dump::DumpKind;
use rand::{rngs::StdRng, Rng, SeedableRng};

/// See the module documentation.
pub(super) struct Peeker {
    rng: StdRng,
    /// What is asked for and not answered yet, and whether it was taken.
    open: Option<(DumpKind, usize, bool)>,
    /// What the entry was when it was read.
    expected: Option<Wide<PEEK_BITS>>,
    /// Taken in the clock before.
    reading: bool,
    /// Entries that came back: records, tags, stash.
    pub(super) answers: [u64; 3],
}

impl Peeker {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed ^ 0x9e37),
            open: None,
            expected: None,
            reading: false,
            answers: [0; 3],
        }
    }

    /// The pins of the next clock.
    pub(super) fn ask(&mut self, records: usize, buckets: usize) -> Peek {
        if self.open.is_none() && self.rng.random_range(0..4) == 0 {
            let kind = DumpKind::ALL[self.rng.random_range(1..4)];
            let entries = [0, records, buckets, 16][kind as usize];
            self.open = Some((kind, self.rng.random_range(0..entries), false));
        }
        let Some((kind, index, taken)) = self.open else {
            return Peek::default();
        };
        let wanted = |this| kind == this && !taken;
        Peek {
            record: wanted(DumpKind::Records),
            tags: wanted(DumpKind::Tags),
            stash: wanted(DumpKind::Stash),
            index: bits(index as u64),
        }
    }

    /// The pins of this clock, with the model before the writes that take effect in it.
    pub(super) fn see(&mut self, model: &Model, taken: bool, answer: Option<Wide<PEEK_BITS>>) {
        let Some((kind, index, was_taken)) = &mut self.open else {
            assert!(!taken && answer.is_none(), "nothing was asked for");
            return;
        };
        // tags are read in the clock they are taken in, the others in the one after
        if (*kind == DumpKind::Tags && taken) || (*kind != DumpKind::Tags && self.reading) {
            self.expected = Some(entry(model, *kind, *index));
        }
        self.reading = taken;
        assert!(!(taken && *was_taken), "taken twice");
        *was_taken |= taken;
        if let Some(words) = answer {
            assert_eq!(
                Some(meaning(words, *kind)),
                self.expected.take(),
                "{kind:?} {index} in clock {}",
                model.clock
            );
            self.answers[*kind as usize - 1] += 1;
            self.open = None;
        }
    }
}

/// What an entry says: the bits of a tag that is not valid mean nothing.
fn meaning(words: Wide<PEEK_BITS>, kind: DumpKind) -> Wide<PEEK_BITS> {
    if kind == DumpKind::Records {
        return words;
    }
    let tag = |row: Wide<PEEK_BITS>, at: usize| {
        let word = words.get_bits::<32>(32 * at).low();
        let is_low = kind == DumpKind::Stash && at == 0;
        row << 32 | Wide::from(if is_low || word >> 31 != 0 { word } else { 0 })
    };
    (0..8).rev().fold(Wide::default(), tag)
}

/// An entry in the form of `nat64_layout::dump`.
fn entry(model: &Model, kind: DumpKind, index: usize) -> Wide<PEEK_BITS> {
    let of = |words: &[u32]| {
        let add = |row: Wide<PEEK_BITS>, &word: &u32| row << 32 | Wide::from(u64::from(word));
        words.iter().rev().fold(Wide::default(), add)
    };
    match kind {
        DumpKind::Activity => Wide::default(),
        DumpKind::Records => {
            bit_cast_wide::<PEEK_BITS, { crate::types::RECORD_BITS }>(record_bits(&model.records[index]))
        }
        DumpKind::Tags => of(&std::array::from_fn::<u32, 8, _>(|way| {
            model.tags[way << model.bucket_log2 | index]
        })),
        DumpKind::Stash => of(&model.stash[index]),
    }
}
