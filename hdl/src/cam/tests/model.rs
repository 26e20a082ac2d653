//! The session table in plain Rust, clock by clock.

use super::Plain;
use crate::{cam, hash};
use nat64_layout::hash::KeyHash;
use nat64_layout::record::{Record, Tag, RECORD_WORDS};
use rand::rngs::StdRng;
use rand::Rng;
use std::collections::VecDeque;

/// Clocks after `valid`: tags and stash are looked at, the record, the sets.
const TAGS_AT: u64 = hash::LATENCY as u64;
const RECORD_AT: u64 = TAGS_AT + 4;
const SETS_AT: u64 = TAGS_AT + 6;
const ANSWER_AT: u64 = cam::LATENCY as u64;

/// Where a key's tag is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    Bucket { bank: usize, way: usize },
    Stash(usize),
}

impl Place {
    pub(super) fn random(rng: &mut StdRng) -> Self {
        if rng.random_range(0..5) == 0 {
            Self::Stash(rng.random_range(0..16))
        } else {
            Self::Bucket {
                bank: rng.random_range(0..2),
                way: rng.random_range(0..4),
            }
        }
    }
}

/// The card's tables and the lookups under way.
pub(super) struct Model {
    pub(super) record_log2: usize,
    pub(super) bucket_log2: usize,
    pub(super) clock: u64,
    pub(super) staged: [u32; RECORD_WORDS],
    pub(super) stash_low: u32,
    pub(super) records: Vec<[u32; RECORD_WORDS]>,
    /// (bank, way, bucket) -> word
    pub(super) tags: Vec<u32>,
    pub(super) stash: [[u32; 2]; 16],
    pub(super) sets: [u8; 16],
    /// The write of a set that takes effect at the end of this clock.
    pub(super) set: Option<(usize, u8)>,
    pub(super) writes: VecDeque<(u64, u32, u32)>,
    pub(super) flying: VecDeque<Flying>,
}

pub(super) struct Flying {
    pub(super) start: u64,
    pub(super) key: Plain,
    pub(super) index: Option<u32>,
    pub(super) record: [u32; RECORD_WORDS],
    pub(super) hit: bool,
}

pub(super) struct Answer {
    pub(super) start: u64,
    pub(super) key: Plain,
    pub(super) hit: Option<(u32, [u32; RECORD_WORDS])>,
}

impl Model {
    pub(super) fn new(record_log2: usize, bucket_log2: usize) -> Self {
        Self {
            record_log2,
            bucket_log2,
            clock: 0,
            staged: [0; RECORD_WORDS],
            stash_low: 0,
            records: vec![[0; RECORD_WORDS]; 1 << record_log2],
            tags: vec![0; 8 << bucket_log2],
            stash: [[0; 2]; 16],
            sets: [0; 16],
            set: None,
            writes: VecDeque::new(),
            flying: VecDeque::new(),
        }
    }

    pub(super) fn good(&self, word: u32) -> u32 {
        Tag::from_word(word)
            .filter(|t| t.index < 1 << self.record_log2)
            .map_or(0, |_| word)
    }

    /// One clock with these pins; the answer that shows in this clock. Writes take effect at the end of the next clock.
    pub(super) fn step(
        &mut self,
        key: Option<Plain>,
        write: Option<(u32, u32)>,
        set: Option<(usize, u8)>,
    ) -> Option<Answer> {
        // the stash entry that is written in this clock does not match
        let due = self.writes.front().copied().filter(|w| w.0 == self.clock);
        let blocked = due
            .filter(|w| (0x60_0000..0x60_0080).contains(&w.1) && w.1 % 8 == 4)
            .map(|w| (w.1 - 0x60_0000) as usize / 8);
        let mut flying = std::mem::take(&mut self.flying);
        for f in &mut flying {
            match self.clock - f.start {
                TAGS_AT => f.index = self.candidate(f.key.hash(), blocked),
                RECORD_AT => f.record = self.records[f.index.unwrap_or(0) as usize],
                SETS_AT => {
                    let record = Record::from_words(&f.record);
                    f.hit = f.index.is_some() && record.is_some_and(|r| f.key.is_key_of(&r, &self.sets));
                }
                _ => {}
            }
        }
        self.flying = flying;
        if let Some(key) = key {
            self.flying.push_back(Flying {
                start: self.clock,
                key,
                index: None,
                record: [0; RECORD_WORDS],
                hit: false,
            });
        }
        if let Some((address, data)) = write {
            self.writes.push_back((self.clock + 1, address, data));
        }
        if due.is_some() {
            self.apply();
        }
        if let Some((unit, set)) = std::mem::replace(&mut self.set, set) {
            self.sets[unit] = set;
        }
        let old = self.flying.front().is_some_and(|f| f.start + ANSWER_AT == self.clock);
        self.clock += 1;
        if !old {
            return None;
        }
        let f = self.flying.pop_front()?;
        Some(Answer {
            start: f.start,
            key: f.key,
            hit: f.hit.then_some((f.index.unwrap_or(0), f.record)),
        })
    }

    pub(super) fn candidate(&self, hash: KeyHash, blocked: Option<usize>) -> Option<u32> {
        let mut found = None;
        for bank in 0..2 {
            for way in 0..4 {
                let bucket = hash.bucket(bank, self.bucket_log2) as usize;
                let tag = Tag::from_word(self.tags[(bank * 4 + way) << self.bucket_log2 | bucket]);
                if let Some(tag) = tag.filter(|t| t.fingerprint == hash.fingerprint()) {
                    found = Some(found.unwrap_or(0) | tag.index);
                }
            }
        }
        for (i, entry) in self.stash.iter().enumerate() {
            if let Some(tag) = Tag::from_word(entry[1]) {
                let signature = u64::from(tag.fingerprint) << 32 | u64::from(entry[0]);
                if blocked != Some(i) && signature == hash.signature() {
                    found = Some(found.unwrap_or(0) | tag.index);
                }
            }
        }
        found
    }

    pub(super) fn apply(&mut self) {
        let Some((_, address, data)) = self.writes.pop_front() else {
            return;
        };
        match address {
            0..0x40_0000 => {
                let (index, word) = ((address / 64) as usize, (address % 64 / 4) as usize);
                if index >= self.records.len() || word >= RECORD_WORDS {
                    return;
                }
                self.staged[word] = data;
                if word == RECORD_WORDS - 1 {
                    self.staged[word] &= 31;
                    self.records[index] = self.staged;
                }
            }
            0x40_0000..0x60_0000 => {
                let (bank, at) = ((address - 0x40_0000) as usize >> 20, address as usize & 0xf_ffff);
                let (bucket, way) = (at / 16, at % 16 / 4);
                if bucket < 1 << self.bucket_log2 {
                    self.tags[(bank * 4 + way) << self.bucket_log2 | bucket] = self.good(data);
                }
            }
            _ => {
                let at = (address - 0x60_0000) as usize;
                match (at / 8, at % 8) {
                    (0..16, 0) => self.stash_low = data,
                    (entry @ 0..16, _) => self.stash[entry] = [self.stash_low, self.good(data)],
                    _ => {}
                }
            }
        }
    }
}
