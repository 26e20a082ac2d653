//! Tests of stamps, counters and the dump, against a model in plain Rust.

use super::*;
use crate::cam::tests::RamBits;
use crate::testkit::Bench;
use nat64_layout::dump::{stamp_of, DumpEntry, DumpKind, DUMP_WORDS};
use nat64_layout::Geometry;
use rand::{rngs::StdRng, Rng, SeedableRng};
use std::collections::VecDeque;

/// Where the tests have the card write to.
const TARGET: u64 = 0x12_3456_7000;
const DONE: u64 = 0x9_8765_43f8;

/// A hit: record, direction, bytes.
type Shot = (u32, usize, u16);

struct Model {
    entries: Vec<DumpEntry>,
    /// Hits that wait, with the clock they came in.
    waiting: [VecDeque<(u64, u32, u16)>; 2],
    /// The record that was written in the clock before.
    committed: Option<u32>,
}

/// Block, model, and a host memory that takes words when it likes.
struct Pair<const R: usize> {
    bench: Bench<Activity<R, 3>>,
    model: Model,
    rng: StdRng,
    clock: u64,
    time: u64,
    /// Of ten clocks, how many take a word.
    ready: u32,
    open: Option<u64>,
    held: Option<(u64, u64, bool, bool)>,
    words: Vec<(u64, u64)>,
    bursts: usize,
    irqs: usize,
    /// Clocks until the table answers, and with what.
    peek: Option<(u32, Wide<PEEK_BITS>)>,
}

/// What the table of these tests has: words that name their kind, entry and place.
fn table_word(kind: DumpKind, index: u64, word: usize) -> u64 {
    (kind as u64) << 56 | index << 16 | 0xa000 | word as u64
}

fn table_entry(kind: DumpKind, index: u64) -> Wide<PEEK_BITS> {
    let add = |row: Wide<PEEK_BITS>, word| row << 64 | Wide::from(table_word(kind, index, word));
    (0..kind.words().min(PEEK_BITS / 64)).rev().fold(Wide::default(), add)
}

impl<const R: usize> Pair<R> {
    fn new(seed: u64, record: bool) -> Self {
        let bench = Bench::from_box(Box::<Activity<R, 3>>::default());
        Self {
            bench: if record { bench } else { bench.without_record() },
            model: Model {
                entries: vec![DumpEntry::default(); 1 << R],
                waiting: Default::default(),
                committed: None,
            },
            rng: StdRng::seed_from_u64(seed),
            clock: 0,
            // close to the wrap of the stamps
            time: (1 << 44) - (1 << 30),
            ready: 10,
            open: None,
            held: None,
            words: Vec::new(),
            bursts: 0,
            irqs: 0,
            peek: None,
        }
    }

    fn step(&mut self, hit: Option<Shot>, commit: Option<u32>, write: Option<(u32, u32)>) {
        let uut = &mut self.bench.uut;
        let (index, direction, bytes) = hit.unwrap_or_default();
        uut.time_ns.next = self.time.into();
        uut.translated.next = Translated {
            valid: hit.is_some(),
            index: u64::from(index).into(),
            direction: direction == 1,
            set: 0u64.into(),
            bytes: u64::from(bytes).into(),
        };
        uut.commit.next = Commit {
            valid: commit.is_some(),
            index: u64::from(commit.unwrap_or(0)).into(),
        };
        let (address, data) = write.unwrap_or_default();
        uut.write.next = RegisterWrite {
            valid: write.is_some(),
            address: u64::from(address).into(),
            data: u64::from(data).into(),
        };
        uut.mw_ready.next = self.rng.random_range(0..10) < self.ready;
        uut.peek_taken.next = false;
        uut.peek_done.next = matches!(self.peek, Some((0, _)));
        uut.peek_words.next = self.peek.map_or_else(|| self.rng.random::<u64>().into(), |peek| peek.1);
        self.bench.settle();
        self.table();
        self.memory();
        // the model: a clear of the clock before, else the oldest hit that has come through the FIFO; stamped three clocks later
        if let Some(hit) = hit {
            self.model.waiting[hit.1].push_back((self.clock, hit.0, hit.2));
        }
        let stamp = stamp_of(self.time + 3 * STEP);
        let cleared = std::mem::replace(&mut self.model.committed, commit);
        for side in 0..2 {
            if let Some(index) = cleared {
                let entry = &mut self.model.entries[index as usize];
                (entry.stamp[side], entry.packets[side], entry.bytes[side]) = (stamp, 0, 0);
            } else if self.model.waiting[side].front().is_some_and(|w| w.0 + 2 <= self.clock) {
                if let Some((_, index, bytes)) = self.model.waiting[side].pop_front() {
                    let entry = &mut self.model.entries[index as usize];
                    entry.stamp[side] = stamp;
                    entry.packets[side] += 1;
                    entry.bytes[side] += u64::from(bytes);
                }
            }
        }
        self.bench.edge();
        self.clock += 1;
        self.time += STEP;
    }

    /// The session table in this clock: takes a request when it likes and answers some clocks later.
    fn table(&mut self) {
        let peek = self.bench.uut.peek.val();
        self.peek = match self.peek {
            Some((0, _)) => None,
            Some((clocks, words)) => Some((clocks - 1, words)),
            None => None,
        };
        let wanted = [peek.record, peek.tags, peek.stash];
        let Some(kind) = wanted.iter().position(|&w| w) else {
            return;
        };
        assert!(
            self.peek.is_none() && wanted.iter().filter(|&&w| w).count() == 1,
            "one at a time"
        );
        if self.rng.random() {
            let index: u64 = peek.index.into();
            self.peek = Some((self.rng.random_range(0..3), table_entry(DumpKind::ALL[kind + 1], index)));
            self.bench.uut.peek_taken.next = true;
            self.bench.settle();
        }
    }

    /// What host memory sees in this clock, and the rules of the `mw` pins.
    fn memory(&mut self) {
        let uut = &self.bench.uut;
        self.irqs += usize::from(uut.irq.val());
        let word = uut.mw_valid.val().then(|| {
            let (first, last) = (uut.mw_first.val(), uut.mw_last.val());
            (uut.mw_addr.val().low(), uut.mw_data.val().low(), first, last)
        });
        if let Some(held) = self.held {
            assert_eq!(word, Some(held), "a word that was not taken stays");
        }
        self.held = word.filter(|_| !uut.mw_ready.val());
        let Some((address, data, first, last)) = word.filter(|_| uut.mw_ready.val()) else {
            return;
        };
        assert_eq!(address % 8, 0);
        assert_eq!(self.open.is_none(), first, "first of a burst at {address:#x}");
        let start = self.open.unwrap_or(address);
        assert!(
            address - start < 128 && start >> 12 == address >> 12,
            "burst of {start:#x}"
        );
        if !first {
            assert_eq!(self.words.last().map(|w| w.0), Some(address - 8));
        }
        self.open = (!last).then_some(start);
        self.bursts += usize::from(last);
        self.words.push((address, data));
    }

    fn set_up(&mut self, first: u32) {
        for (offset, value) in [
            // the low bits are to be ignored
            (DumpAddrLow::OFFSET, TARGET as u32 | 0xabc),
            (DumpAddrHigh::OFFSET, (TARGET >> 32) as u32),
            (DumpDoneLow::OFFSET, DONE as u32 | 5),
            (DumpDoneHigh::OFFSET, (DONE >> 32) as u32),
            (DumpFirst::OFFSET, first),
        ] {
            self.step(None, None, Some((offset, value)));
        }
    }

    fn go(count: u32, sequence: u32) -> (u32, u32) {
        let mut go = DumpGo(0);
        go.set_count(count);
        go.set_sequence(sequence);
        (DumpGo::OFFSET, go.0)
    }

    /// Ends a copy that was started: checks the shape of what it wrote and gives the entries back.
    fn finish(&mut self, sequence: u32, mut each: impl FnMut(&mut StdRng) -> Option<Shot>) -> Vec<DumpEntry> {
        let mut left = 100_000;
        while self.bench.uut.busy.val() {
            let hit = each(&mut self.rng);
            self.step(hit, None, None);
            left -= 1;
            assert!(left > 0, "the copy does not end");
        }
        self.step(None, None, None);
        assert_eq!(std::mem::take(&mut self.irqs), 1);
        let mut words = std::mem::take(&mut self.words);
        assert_eq!(words.pop(), Some((DONE, sequence.into())), "the sequence comes last");
        assert_eq!(std::mem::take(&mut self.bursts), words.len() / DUMP_WORDS + 1);
        for (i, word) in words.iter().enumerate() {
            assert_eq!(word.0, TARGET + 8 * i as u64);
        }
        let entries = words.chunks_exact(DUMP_WORDS).map(|w| {
            let raw = [w[0].1, w[1].1, w[2].1, w[3].1];
            let entry = DumpEntry::from_words(raw);
            assert_eq!(entry.to_words(), raw, "bits that mean nothing are 0");
            entry
        });
        entries.collect()
    }

    /// Copies a part of the table under traffic; gives the words back.
    fn table_dump(&mut self, kind: DumpKind, first: u32, count: u32) -> Vec<u64> {
        self.set_up(first);
        let mut go = DumpGo(0);
        go.set_count(count);
        go.set_sequence(9);
        go.set_kind(kind as u32);
        self.step(None, None, Some((DumpGo::OFFSET, go.0)));
        let mut left = 100_000;
        while self.bench.uut.busy.val() {
            let hit = self.rng.random::<bool>().then(|| (self.rng.random_range(0..16), 0, 64));
            self.step(hit, None, None);
            left -= 1;
            assert!(left > 0, "the copy does not end");
        }
        self.step(None, None, None);
        assert_eq!(std::mem::take(&mut self.irqs), 1);
        let mut words = std::mem::take(&mut self.words);
        assert_eq!(words.pop(), Some((DONE, 9)), "the sequence comes last");
        assert_eq!(std::mem::take(&mut self.bursts), words.len() / kind.words() + 1);
        for (i, word) in words.iter().enumerate() {
            assert_eq!(word.0, TARGET + 8 * i as u64);
        }
        words.into_iter().map(|word| word.1).collect()
    }

    /// Copies with nothing else going on.
    fn dump(&mut self, first: u32, count: u32) -> Vec<DumpEntry> {
        self.set_up(first);
        for _ in 0..50 {
            self.step(None, None, None);
        }
        let sequence = self.rng.random_range(0..256);
        self.step(None, None, Some(Self::go(count, sequence)));
        self.finish(sequence, |_| None)
    }
}

/// Nanoseconds a clock of these tests lasts: stamps move every few clocks.
const STEP: u64 = 1 << 24;

/// Hits of few records in consecutive clocks, commits in between.
fn traffic<const R: usize>(pair: &mut Pair<R>, clocks: usize, hits: u32, commits: u32) {
    let mut hot = 0;
    let mut since = 9;
    for _ in 0..clocks {
        if pair.rng.random_range(0..6) == 0 {
            hot = pair.rng.random_range(0..1u32 << R);
        }
        let index = match pair.rng.random_range(0..4) {
            0 => pair.rng.random_range(0..1u32 << R),
            1 => hot ^ 1,
            _ => hot,
        };
        let shot = (index, pair.rng.random_range(0..4) % 2, pair.rng.random());
        let hit = (pair.rng.random_range(0..100) < hits).then_some(shot);
        // a commit takes nine writes
        since += 1;
        let commit = (since > 8 && pair.rng.random_range(0..100) < commits).then_some(hot);
        if commit.is_some() {
            since = 0;
        }
        pair.step(hit, commit, None);
    }
}

#[test]
fn hits_and_commits_are_those_of_the_model() {
    for (seed, hits, commits) in [(61, 100, 0), (62, 95, 100), (63, 50, 10), (64, 10, 50)] {
        let mut pair = Pair::<4>::new(seed, false);
        traffic(&mut pair, 3000, hits, commits);
        let got = pair.dump(0, 16);
        assert_eq!(got, pair.model.entries, "seed {seed}");
        assert!(got.iter().any(|e| e.packets[0] + e.packets[1] > 1), "seed {seed}");
    }
}

#[test]
fn a_full_stream_and_commits_one_after_another_fit_the_fifo() {
    let mut pair = Pair::<4>::new(65, false);
    for i in 0..9 * 28 {
        pair.step(Some((i % 3, 0, 1)), (i % 9 == 8).then_some(7), None);
    }
    assert_eq!(pair.dump(0, 16), pair.model.entries);
}

#[test]
fn every_record_counts_for_itself() {
    let mut pair = Pair::<6>::new(66, false);
    for i in 0..64u32 {
        for n in 0..=i % 4 {
            pair.step(Some((i, n as usize % 2, 100 + i as u16)), None, None);
        }
    }
    let got = pair.dump(0, 64);
    assert_eq!(got, pair.model.entries);
    assert_eq!((got[63].packets, got[63].bytes), ([2, 2], [326, 326]));
}

#[test]
fn a_dump_under_traffic_and_back_pressure_is_between_start_and_end() {
    let mut pair = Pair::<5>::new(67, false);
    for round in 0..12 {
        traffic(&mut pair, 300, 60, 5);
        let (first, count) = (pair.rng.random_range(0..32), pair.rng.random_range(1..33));
        pair.set_up(first);
        for _ in 0..20 {
            pair.step(None, None, None);
        }
        let before = pair.model.entries.clone();
        pair.ready = [10, 5, 1][round % 3];
        pair.step(None, None, Some(Pair::<5>::go(count, 7)));
        let busy = if round % 2 == 0 { 80 } else { 30 };
        let got = pair.finish(7, |rng| {
            (rng.random_range(0..100) < busy).then(|| (rng.random_range(0..32), rng.random_range(0..2), rng.random()))
        });
        pair.ready = 10;
        for _ in 0..20 {
            pair.step(None, None, None);
        }
        assert_eq!(got.len() as u32, count.min(32 - first), "round {round}");
        for (i, entry) in got.iter().enumerate() {
            let (old, new) = (before[first as usize + i], pair.model.entries[first as usize + i]);
            for side in 0..2 {
                assert!(
                    (old.packets[side]..=new.packets[side]).contains(&entry.packets[side]),
                    "round {round}, {i}"
                );
                assert!(
                    (old.bytes[side]..=new.bytes[side]).contains(&entry.bytes[side]),
                    "round {round}, {i}"
                );
                let age = |stamp: u32| new.stamp[side].wrapping_sub(stamp) & 0x3_ffff;
                assert!(
                    age(entry.stamp[side]) <= age(old.stamp[side]),
                    "round {round}, {i}: {entry:?}"
                );
            }
        }
    }
}

#[test]
fn counts_past_the_last_record_end_there() {
    let mut pair = Pair::<4>::new(68, false);
    traffic(&mut pair, 300, 90, 10);
    for (first, count, want) in [
        (14, 10, 2),
        (15, 1, 1),
        (16, 5, 0),
        (0x1_ffff, 0x1_ffff, 0),
        (3, 0, 0),
        (0, 0x1_ffff, 16),
        (2, 3, 3),
    ] {
        let got = pair.dump(first, count);
        assert_eq!(got.len(), want, "{count} from {first}");
        let first = (first as usize).min(16);
        assert_eq!(got, pair.model.entries[first..first + want]);
    }
}

#[test]
fn a_second_go_while_busy_is_ignored_and_registers_may_change() {
    let mut pair = Pair::<4>::new(69, false);
    traffic(&mut pair, 100, 90, 10);
    pair.set_up(4);
    for _ in 0..40 {
        pair.step(None, None, None);
    }
    pair.ready = 3;
    pair.step(None, None, Some(Pair::<4>::go(5, 100)));
    for write in [
        Pair::<4>::go(9, 101),
        (DumpFirst::OFFSET, 1),
        (DumpAddrLow::OFFSET, 0x5000),
        (DumpDoneHigh::OFFSET, 0x77),
        Pair::<4>::go(9, 102),
    ] {
        assert!(pair.bench.uut.busy.val());
        pair.step(None, None, Some(write));
    }
    let got = pair.finish(100, |_| None);
    assert_eq!(got, pair.model.entries[4..9]);
    for _ in 0..200 {
        pair.step(None, None, None);
    }
    assert!(pair.words.is_empty() && !pair.bench.uut.busy.val());
}

#[test]
fn the_table_is_copied_entry_by_entry() {
    for (kind, first, count, want) in [
        (DumpKind::Records, 3, 5, 3..8),
        (DumpKind::Records, 10, 100, 10..16),
        (DumpKind::Tags, 0, 8, 0..8),
        (DumpKind::Tags, 7, 2, 7..8),
        (DumpKind::Stash, 0, 16, 0..16),
        (DumpKind::Stash, 15, 9, 15..16),
        (DumpKind::Stash, 16, 1, 16..16),
    ] {
        let mut pair = Pair::<4>::new(72, false);
        pair.ready = 7;
        let got = pair.table_dump(kind, first, count);
        let word = |index, word| if word < 5 { table_word(kind, index, word) } else { 0 };
        let want: Vec<u64> = want.flat_map(|i| (0..kind.words()).map(move |w| word(i, w))).collect();
        assert_eq!(got, want, "{kind:?} from {first}");
        // and activity after it as before
        traffic(&mut pair, 200, 80, 30);
        assert_eq!(pair.dump(0, 16), pair.model.entries);
    }
}

#[test]
fn agrees_with_its_verilog() {
    let mut pair = Pair::<4>::new(70, true);
    traffic(&mut pair, 400, 80, 30);
    pair.ready = 6;
    let got = pair.dump(1, 9);
    assert_eq!(got, pair.model.entries[1..10]);
    for kind in [DumpKind::Records, DumpKind::Tags, DumpKind::Stash] {
        assert!(!pair.table_dump(kind, 2, 3).is_empty());
    }
    pair.bench.agrees_with_verilog("activity");
}

#[test]
fn the_standard_card_keeps_its_last_record() {
    let mut pair = Pair::<11>::new(71, false);
    for i in 0..300u32 {
        pair.step(
            Some((2047 - i % 5, i as usize % 2, 1280)),
            (i == 150).then_some(2046),
            None,
        );
    }
    assert_eq!(pair.dump(2040, 100), pair.model.entries[2040..]);
}

#[test]
fn ram_bits_are_those_of_the_geometry() {
    let activity = Box::<Activity<11, 9>>::default();
    let mut probe = RamBits::default();
    activity.accept("uut", &mut probe);
    let bits: usize = probe.rams.iter().filter(|r| r.0 == "words").map(|r| r.1).sum();
    let geometry = Geometry::STANDARD;
    assert_eq!(
        bits,
        (geometry.activity_bits() + geometry.counter_bits()) * geometry.records()
    );
}
