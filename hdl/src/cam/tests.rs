//! Tests of the session table: a clock-by-clock model in plain Rust, and what a host relies on.

use super::*;
use crate::testkit::Bench;
use nat64_layout::hash::{message_four, message_six, HashKey, KeyHash};
use nat64_layout::record::{Protocol, Record, StashEntry, Tag, RECORD_WORDS};
use nat64_layout::regs::{HashKey0, HashKey1};
use nat64_layout::{half_sip_hash_1_3, Geometry};
use peeking::Peeker;
use rand::{rngs::StdRng, Rng, SeedableRng};
use std::collections::VecDeque;

mod model;
mod peeking;
use model::{Model, Place};

const SECRET: HashKey = HashKey([0x1234_5678, 0x9abc_def0]);

fn bits<const N: usize>(x: impl Into<u64>) -> Bits<N> {
    x.into().into()
}

fn wide128(x: u128) -> Wide<128> {
    Wide::from_frame(&x.to_be_bytes())
}

/// A key in plain numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Plain {
    six: bool,
    protocol: Protocol,
    local: u128,
    remote: u32,
    local_port: u16,
    remote_port: u16,
    pref64: u8,
    unit: u8,
    set: u8,
}

impl Plain {
    fn six_of(r: &Record) -> Self {
        Self {
            six: true,
            protocol: r.protocol,
            local: r.client,
            remote: r.remote,
            local_port: r.client_port,
            remote_port: r.remote_port,
            pref64: r.pref64,
            unit: r.unit,
            set: 0,
        }
    }
    fn four_of(r: &Record, sets: &[u8; 16]) -> Self {
        Self {
            six: false,
            local: u128::from(r.pool),
            local_port: r.pool_port,
            pref64: 0,
            unit: 0,
            set: sets[r.unit as usize],
            ..Self::six_of(r)
        }
    }
    fn of(r: &Record, six: bool, sets: &[u8; 16]) -> Self {
        if six {
            Self::six_of(r)
        } else {
            Self::four_of(r, sets)
        }
    }
    fn random(rng: &mut StdRng, sets: &[u8; 16]) -> Self {
        Self::of(&random_record(rng), rng.random(), sets)
    }
    fn hash(&self) -> KeyHash {
        let (p, remote, lp, rp) = (self.protocol, self.remote, self.local_port, self.remote_port);
        if self.six {
            half_sip_hash_1_3(
                SECRET,
                &message_six(p, self.local, remote, lp, rp, self.pref64, self.unit),
            )
        } else {
            half_sip_hash_1_3(SECRET, &message_four(p, self.local as u32, remote, lp, rp, self.set))
        }
    }
    fn pins(&self) -> Key {
        Key {
            six: self.six,
            protocol: bits(self.protocol as u64),
            local: wide128(self.local),
            remote: bits(self.remote),
            local_port: bits(self.local_port),
            remote_port: bits(self.remote_port),
            pref64: bits(self.pref64),
            unit: bits(self.unit),
            set: bits(self.set),
        }
    }
    fn is_key_of(&self, r: &Record, sets: &[u8; 16]) -> bool {
        *self == Self::of(r, self.six, sets)
    }
    /// The key with one field changed, for every field that this kind of key has.
    fn neighbours(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let other = if self.protocol == Protocol::Tcp {
            Protocol::Udp
        } else {
            Protocol::Tcp
        };
        all.push(Self {
            protocol: other,
            ..*self
        });
        for bit in 0..if self.six { 128 } else { 32 } {
            all.push(Self {
                local: self.local ^ 1 << bit,
                ..*self
            });
        }
        for bit in 0..32 {
            all.push(Self {
                remote: self.remote ^ 1 << bit,
                ..*self
            });
        }
        for bit in 0..16 {
            all.push(Self {
                local_port: self.local_port ^ 1 << bit,
                ..*self
            });
            all.push(Self {
                remote_port: self.remote_port ^ 1 << bit,
                ..*self
            });
        }
        for bit in 0..3 {
            if self.six {
                all.push(Self {
                    pref64: self.pref64 ^ 1 << bit,
                    ..*self
                });
            } else {
                all.push(Self {
                    set: self.set ^ 1 << bit,
                    ..*self
                });
            }
        }
        for bit in 0..if self.six { 4 } else { 0 } {
            all.push(Self {
                unit: self.unit ^ 1 << bit,
                ..*self
            });
        }
        all
    }
}

fn random_record(rng: &mut StdRng) -> Record {
    Record {
        protocol: Protocol::ALL[rng.random_range(0..3)],
        pref64: rng.random_range(0..8),
        unit: rng.random_range(0..16),
        hop6: rng.random_range(0..64),
        hop4: rng.random_range(0..64),
        client_port: rng.random(),
        remote_port: rng.random(),
        pool_port: rng.random(),
        remote: rng.random(),
        pool: rng.random(),
        client: rng.random(),
    }
}

fn record_bits(words: &[u32; RECORD_WORDS]) -> Wide<RECORD_BITS> {
    words.iter().rev().fold(Wide::default(), |acc: Wide<RECORD_BITS>, &w| {
        acc << 32 | Wide::from(u64::from(w))
    })
}

/// The table where a lookup may come in every clock, as behind a wide bus.
type Fast<const R: usize, const B: usize> = Pair<R, B, 5, 7, 6>;
/// Where lookups are four clocks apart.
type Middle<const R: usize, const B: usize> = Pair<R, B, 4, 2, 2>;
/// Where they are seven clocks apart.
type Slow<const R: usize, const B: usize> = Pair<R, B, 4, 1, 1>;

/// Block and model side by side.
struct Pair<const R: usize, const B: usize, const RING: usize, const WORDS: usize, const FINAL: usize> {
    bench: Bench<SessionCam<R, B, RING, WORDS, FINAL>>,
    model: Model,
    /// Clock from which on the next lookup may come.
    free: u64,
    hits: [u64; 2],
    misses: u64,
    peeker: Option<Peeker>,
}

impl<const R: usize, const B: usize, const RING: usize, const WORDS: usize, const FINAL: usize>
    Pair<R, B, RING, WORDS, FINAL>
{
    /// Clocks lookups are apart.
    const APART: u64 = hash::distance(WORDS, FINAL) as u64;

    fn new(record: bool) -> Self {
        let bench = Bench::from_box(Box::<SessionCam<R, B, RING, WORDS, FINAL>>::default());
        let mut pair = Self {
            bench: if record { bench } else { bench.without_record() },
            model: Model::new(R, B),
            free: 0,
            hits: [0; 2],
            misses: 0,
            peeker: None,
        };
        for (offset, word) in [(HashKey0::OFFSET, SECRET.0[0]), (HashKey1::OFFSET, SECRET.0[1])] {
            pair.register(offset, word);
            pair.step(None, None, None);
        }
        pair
    }

    fn register(&mut self, offset: u32, data: u32) {
        self.bench.uut.write.next = RegisterWrite {
            valid: true,
            address: bits(offset),
            data: bits(data),
        };
    }

    /// A lookup may come in this clock.
    fn ready(&self) -> bool {
        self.model.clock >= self.free
    }

    /// A lookup as soon as one may come; the answers that show meanwhile.
    fn look(&mut self, key: Plain) -> Vec<(Plain, Option<u32>)> {
        let mut answers = Vec::new();
        while !self.ready() {
            answers.extend(self.step(None, None, None));
        }
        answers.extend(self.step(Some(key), None, None));
        answers
    }

    /// One clock; compares the outputs with the model and returns whether a lookup that ended in it hit.
    fn step(
        &mut self,
        key: Option<Plain>,
        write: Option<(u32, u32)>,
        set: Option<(usize, u8)>,
    ) -> Option<(Plain, Option<u32>)> {
        let clock = self.model.clock;
        if key.is_some() {
            assert!(self.ready(), "a lookup too early");
            self.free = clock + Self::APART;
        }
        let uut = &mut self.bench.uut;
        uut.valid.next = key.is_some();
        if let Some(key) = key {
            uut.key.next = key.pins();
            uut.phv.next = Phv {
                source: wide128(u128::from(clock) << 64 | 0xabcd),
                destination: wide128(!u128::from(clock)),
                remote: bits(key.remote),
                ..Default::default()
            };
        }
        let (address, data) = write.unwrap_or_default();
        uut.window.next = WindowWrite {
            valid: write.is_some(),
            address: bits(address),
            data: bits(data),
        };
        if let Some((unit, value)) = set {
            let offset = UNIT_BASE + UNIT_STRIDE * unit as u32 + 4;
            self.register(offset, u32::from(value) | 0x8000_0018);
        }
        if let Some(peeker) = &mut self.peeker {
            self.bench.uut.peek.next = peeker.ask(self.model.records.len(), 1 << self.model.bucket_log2);
        }
        self.bench.settle();
        if let Some(peeker) = &mut self.peeker {
            let uut = &self.bench.uut;
            let answer = uut.peek_done.val().then(|| uut.peek_words.val());
            peeker.see(&self.model, uut.peek_taken.val(), answer);
        }
        let answer = self.model.step(key, write, set);
        let uut = &self.bench.uut;
        assert_eq!(uut.out_valid.val(), answer.is_some(), "out_valid in clock {clock}");
        let mut result = None;
        if let Some(answer) = answer {
            let (found, phv) = (uut.found.val(), uut.out_phv.val());
            assert_eq!(
                phv.source,
                wide128(u128::from(answer.start) << 64 | 0xabcd),
                "packet in clock {clock}"
            );
            assert_eq!(phv.remote.index() as u32, answer.key.remote);
            assert_eq!(found.ident.index() as u16, answer.key.hash().ident_offset());
            assert_eq!(found.hit, answer.hit.is_some(), "clock {clock}: {:?}", answer.key);
            if let Some((index, words)) = answer.hit {
                assert_eq!(found.index.index() as u32, index, "clock {clock}");
                assert_eq!(found.record, record_bits(&words), "clock {clock}");
                self.hits[usize::from(answer.key.six)] += 1;
            } else {
                self.misses += 1;
            }
            result = Some((answer.key, answer.hit.map(|h| h.0)));
        }
        self.bench.edge();
        self.bench.uut.write.next = RegisterWrite::default();
        result
    }

    fn write(&mut self, address: u32, data: u32) {
        self.step(None, Some((address, data)), None);
    }

    fn record(&mut self, index: u32, words: &[u32; RECORD_WORDS]) {
        for (i, &word) in words.iter().enumerate() {
            self.write(Record::offset(index) + 4 * i as u32, word);
        }
    }

    fn drain(&mut self) -> Vec<(Plain, Option<u32>)> {
        (0..=LATENCY).filter_map(|_| self.step(None, None, None)).collect()
    }
}

/// The writes that put a tag (or nothing) at a place.
fn place_writes(hash: KeyHash, place: Place, index: Option<u32>, bucket_log2: usize) -> Vec<(u32, u32)> {
    match place {
        Place::Bucket { bank, way } => {
            let tag = index.map_or(Tag::EMPTY, |index| {
                Tag {
                    fingerprint: hash.fingerprint(),
                    index,
                }
                .to_word()
            });
            vec![(Tag::offset(bank, hash.bucket(bank, bucket_log2), way), tag)]
        }
        Place::Stash(entry) => {
            let words = index.map_or(StashEntry::EMPTY, |index| {
                StashEntry {
                    signature: hash.signature(),
                    index,
                }
                .to_words()
            });
            let at = StashEntry::offset(entry);
            vec![(at, words[0]), (at + 4, words[1])]
        }
    }
}

/// Random tables, writes and lookups at once; every answer as the model says.
fn random_run<const R: usize, const B: usize, const RING: usize, const WORDS: usize, const FINAL: usize>(
    seed: u64,
    lookups: u64,
    record: bool,
) -> Pair<R, B, RING, WORDS, FINAL> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut pair = Pair::new(record);
    let clocks = lookups * Pair::<R, B, RING, WORDS, FINAL>::APART;
    pair.peeker = Some(Peeker::new(seed));
    let mut sessions: Vec<Option<Record>> = vec![None; 1 << R];
    let mut queue: VecDeque<(u32, u32)> = VecDeque::new();
    for _ in 0..clocks {
        if queue.is_empty() {
            let index = rng.random_range(0..1u32 << R);
            let place = Place::random(&mut rng);
            match (rng.random_range(0..12), sessions[index as usize]) {
                (0..4, Some(r)) => {
                    let hash = Plain::of(&r, rng.random(), &pair.model.sets).hash();
                    let set = (rng.random_range(0..4) != 0).then_some(index);
                    queue.extend(place_writes(hash, place, set, B));
                }
                (4, Some(_)) => {
                    sessions[index as usize] = None;
                    let at = Record::offset(index);
                    queue.extend((0..RECORD_WORDS as u32).map(|i| (at + 4 * i, 0)));
                }
                (5, _) => {
                    // out of range, or not an address of anything
                    let tag = Tag {
                        fingerprint: rng.random_range(0..1 << 13),
                        index: rng.random_range(1 << R..1 << 17),
                    };
                    queue.extend([
                        (
                            Record::offset(index | 1 << R) + 4 * rng.random_range(0..9),
                            rng.random(),
                        ),
                        (Record::offset(index) + 4 * rng.random_range(9..16), rng.random()),
                        (Tag::offset(0, 1 << B, 0), rng.random()),
                        (Tag::offset(1, 1 << B, 3), rng.random()),
                        (Tag::offset(1, 0, 1), tag.to_word()),
                        (0x60_0080 + 4 * rng.random_range(0..8), rng.random()),
                        (0x7f_fffc, rng.random()),
                    ]);
                }
                (6..9, _) | (_, None) => {
                    let r = random_record(&mut rng);
                    sessions[index as usize] = Some(r);
                    let at = Record::offset(index);
                    queue.extend(r.to_words().iter().enumerate().map(|(i, &w)| (at + 4 * i as u32, w)));
                    for six in [true, false] {
                        let hash = Plain::of(&r, six, &pair.model.sets).hash();
                        queue.extend(place_writes(hash, Place::random(&mut rng), Some(index), B));
                    }
                }
                _ => {}
            }
        }
        let write = if rng.random_range(0..3) == 0 {
            queue.pop_front()
        } else {
            None
        };
        let set = (rng.random_range(0..200) == 0).then(|| (rng.random_range(0..16), rng.random_range(0..8)));
        let key = match (rng.random_range(0..10), sessions[rng.random_range(0..1 << R)]) {
            (0..7, Some(r)) => Some(Plain::of(&r, rng.random(), &pair.model.sets)),
            (7, _) => Some(Plain::random(&mut rng, &pair.model.sets)),
            _ => None,
        };
        let key = key.filter(|_| pair.ready());
        pair.step(key, write, set);
    }
    assert!(
        pair.hits[0] > lookups / 50 && pair.hits[1] > lookups / 50 && pair.misses > lookups / 50,
        "seed {seed}: {:?} hits, {} misses",
        pair.hits,
        pair.misses
    );
    let peeked = pair.peeker.as_ref().map_or([0; 3], |peeker| peeker.answers);
    assert!(
        peeked.iter().all(|&n| n > clocks / 200),
        "seed {seed}: {peeked:?} entries read back"
    );
    pair
}

#[test]
fn random_lookups_and_writes_are_those_of_the_model() {
    for seed in 31..34 {
        random_run::<4, 2, 5, 7, 6>(seed, 8000, false);
    }
}

#[test]
fn random_lookups_four_and_seven_clocks_apart_are_those_of_the_model() {
    for seed in 31..34 {
        random_run::<4, 2, 4, 2, 2>(seed, 4000, false);
        random_run::<4, 2, 4, 1, 1>(seed, 4000, false);
    }
}

#[test]
fn agrees_with_its_verilog() {
    random_run::<4, 2, 5, 7, 6>(35, 1200, true)
        .bench
        .agrees_with_verilog("cam");
    random_run::<4, 2, 4, 2, 2>(35, 400, true)
        .bench
        .agrees_with_verilog("cam_2_2");
    random_run::<4, 2, 4, 1, 1>(35, 300, true)
        .bench
        .agrees_with_verilog("cam_1_1");
}

#[test]
fn lookups_in_every_clock_keep_table_reads_waiting_and_the_first_gap_serves_them() {
    let mut rng = StdRng::seed_from_u64(38);
    let mut pair = Fast::<4, 2>::new(false);
    pair.peeker = Some(Peeker::new(38));
    let key = Plain::random(&mut rng, &pair.model.sets);
    // until the lookups fill the pipeline there are gaps at its end
    for _ in 0..=LATENCY {
        pair.step(Some(key), None, None);
    }
    let count = |pair: &Fast<4, 2>| pair.peeker.as_ref().map_or(0, |p| p.answers[0] + p.answers[1]);
    let before = count(&pair);
    for _ in 0..200 {
        pair.step(Some(key), None, None);
    }
    // the stash is a copy that lookups do not read
    assert_eq!(count(&pair), before);
    pair.drain();
    pair.drain();
    assert!(count(&pair) > before);
}

#[test]
fn lookups_as_near_as_minimum_frames_leave_clocks_for_table_reads() {
    let mut rng = StdRng::seed_from_u64(38);
    let mut pair = Slow::<4, 2>::new(false);
    pair.peeker = Some(Peeker::new(38));
    let key = Plain::random(&mut rng, &pair.model.sets);
    for _ in 0..200 {
        pair.look(key);
    }
    let read = pair.peeker.as_ref().map_or([0; 3], |peeker| peeker.answers);
    assert!(read.iter().all(|&entries| entries > 20), "{read:?} entries read back");
}

#[test]
fn every_single_field_that_differs_is_a_miss() {
    single_fields(Fast::new(false));
    single_fields(Middle::new(false));
    single_fields(Slow::new(false));
}

fn single_fields<const RING: usize, const WORDS: usize, const FINAL: usize>(mut pair: Pair<4, 2, RING, WORDS, FINAL>) {
    let mut rng = StdRng::seed_from_u64(36);
    for unit in 0..16 {
        pair.step(None, None, Some((unit, rng.random_range(0..8))));
    }
    let mut tried = 0;
    for round in 0..4 {
        let r = random_record(&mut rng);
        let index = round + 5;
        pair.record(index, &r.to_words());
        let key = Plain::of(&r, round % 2 == 0, &pair.model.sets);
        let mut cases = key.neighbours();
        tried += cases.len();
        cases.push(key);
        for case in cases {
            // the tag that this very key would have, so that only the comparison of the key can tell
            let place = Place::random(&mut rng);
            for (address, data) in place_writes(case.hash(), place, Some(index), 2) {
                pair.write(address, data);
            }
            pair.step(None, None, None);
            pair.step(Some(case), None, None);
            let answers = pair.drain();
            assert_eq!(answers, [(case, (case == key).then_some(index))]);
            for (address, data) in place_writes(case.hash(), place, None, 2) {
                pair.write(address, data);
            }
        }
    }
    assert_eq!(tried, 2 * 200 + 2 * 100);
}

#[test]
fn moves_lose_no_lookup() {
    moves(Fast::new(false), 400);
    moves(Middle::new(false), 1600);
    moves(Slow::new(false), 2800);
}

/// `rounds` so many that over 1,000 lookups are answered.
fn moves<const RING: usize, const WORDS: usize, const FINAL: usize>(
    mut pair: Pair<4, 2, RING, WORDS, FINAL>,
    rounds: usize,
) {
    let mut rng = StdRng::seed_from_u64(37);
    let (r, index) = (random_record(&mut rng), 0b1011);
    pair.record(index, &r.to_words());
    let keys = [true, false].map(|six| Plain::of(&r, six, &pair.model.sets));
    // two keys of one session may share a bucket, so they keep to different ways
    let mut places = [0, 1].map(|way| Place::Bucket { bank: 0, way });
    for (key, place) in keys.iter().zip(places) {
        for (address, data) in place_writes(key.hash(), place, Some(index), 2) {
            pair.write(address, data);
        }
    }
    let mut answers = 0;
    for round in 0..rounds {
        let which = round % 2;
        let new = match rng.random_range(0..3) {
            0 => Place::Stash(2 * rng.random_range(0..8) + which),
            _ => Place::Bucket {
                bank: rng.random_range(0..2),
                way: 2 * rng.random_range(0..2) + which,
            },
        };
        if new == places[which] {
            continue;
        }
        let hash = keys[which].hash();
        let mut writes = place_writes(hash, new, Some(index), 2);
        // an old stash entry is also taken over by another signature at once, which clears it as well
        if let (Place::Stash(_), true) = (places[which], rng.random()) {
            writes.extend(place_writes(KeyHash(rng.random()), places[which], Some(4), 2));
        } else {
            writes.extend(place_writes(hash, places[which], None, 2));
        }
        places[which] = new;
        for write in writes
            .into_iter()
            .map(Some)
            .chain((0..rng.random_range(0..6)).map(|_| None))
        {
            let key = keys[rng.random_range(0..2)];
            let key = pair.ready().then_some(key);
            if let Some((key, hit)) = pair.step(key, write, None) {
                assert_eq!(hit, Some(index), "round {round}: {key:?}");
                answers += 1;
            }
        }
    }
    assert!(answers > 1000);
}

#[test]
fn all_ways_and_all_stash_entries_are_found() {
    all_places(Fast::new(false));
    all_places(Middle::new(false));
    all_places(Slow::new(false));
}

fn all_places<const RING: usize, const WORDS: usize, const FINAL: usize>(mut pair: Pair<5, 1, RING, WORDS, FINAL>) {
    let mut rng = StdRng::seed_from_u64(38);
    let places = (0..8)
        .map(|i| Place::Bucket {
            bank: i / 4,
            way: i % 4,
        })
        .chain((0..16).map(Place::Stash));
    let mut keys = Vec::new();
    for (i, place) in places.enumerate() {
        let r = random_record(&mut rng);
        let key = Plain::of(&r, rng.random(), &pair.model.sets);
        pair.record(i as u32, &r.to_words());
        for (address, data) in place_writes(key.hash(), place, Some(i as u32), 1) {
            pair.write(address, data);
        }
        keys.push(key);
    }
    for key in &keys {
        pair.look(*key);
    }
    let answers = pair.drain();
    let last = answers.last().expect("lookups end");
    assert_eq!(*last, (keys[23], Some(23)));
    assert_eq!(pair.hits[0] + pair.hits[1], 24);
}

#[test]
fn an_empty_record_never_hits() {
    empty_record::<5, 7, 6>();
    empty_record::<4, 2, 2>();
    empty_record::<4, 1, 1>();
}

fn empty_record<const RING: usize, const WORDS: usize, const FINAL: usize>() {
    // a key of zeros and no protocol has the content of an empty record; the classifier never makes one
    let mut bench = Bench::from_box(Box::<SessionCam<4, 2, RING, WORDS, FINAL>>::default()).without_record();
    let mut message = [0u8; nat64_layout::hash::MESSAGE_BYTES];
    for six in [true, false] {
        message[25] = if six { 0 } else { 0x80 };
        let hash = half_sip_hash_1_3(HashKey::default(), &message);
        for (address, data) in place_writes(hash, Place::Stash(0), Some(0), 2) {
            bench.uut.window.next = WindowWrite {
                valid: true,
                address: bits(address),
                data: bits(data),
            };
            bench.tick();
        }
        bench.uut.window.next = WindowWrite::default();
        bench.tick();
        bench.uut.valid.next = true;
        bench.uut.key.next = Key {
            six,
            ..Default::default()
        };
        bench.tick();
        bench.uut.valid.next = false;
        let mut candidates = 0;
        for _ in 0..LATENCY {
            bench.tick();
            candidates += usize::from(bench.uut.hit0.q.val());
        }
        assert!(candidates > 0, "the tag was planted");
        assert!(!bench.uut.found.val().hit);
    }
}

#[test]
fn commits_tell_the_record() {
    let mut rng = StdRng::seed_from_u64(40);
    let mut pair = Slow::<4, 2>::new(false);
    let mut seen = Vec::new();
    for index in [3u32, 15, 16, 0] {
        for (i, word) in random_record(&mut rng).to_words().into_iter().enumerate() {
            pair.write(Record::offset(index) + 4 * i as u32, word);
            pair.bench.settle();
            let commit = pair.bench.uut.commit.val();
            if commit.valid {
                seen.push((commit.index.index() as u32, i));
            }
        }
    }
    assert_eq!(seen, [(3, 8), (15, 8), (0, 8)]);
}

#[test]
fn the_standard_card_finds_its_sessions() {
    standard_card(Fast::new(false));
    standard_card(Middle::new(false));
    standard_card(Slow::new(false));
}

fn standard_card<const RING: usize, const WORDS: usize, const FINAL: usize>(mut pair: Pair<11, 9, RING, WORDS, FINAL>) {
    let mut rng = StdRng::seed_from_u64(41);
    let sessions: Vec<(u32, Record)> = (0..160u32).map(|i| (i * 13 % 2048, random_record(&mut rng))).collect();
    for (i, (index, r)) in sessions.iter().enumerate() {
        pair.record(*index, &r.to_words());
        for (j, six) in [true, false].into_iter().enumerate() {
            let hash = Plain::of(r, six, &pair.model.sets).hash();
            let place = Place::Bucket {
                bank: (i + j) % 2,
                way: i / 2 % 4,
            };
            for (address, data) in place_writes(hash, place, Some(*index), 9) {
                pair.write(address, data);
            }
        }
    }
    for (_, r) in &sessions {
        for six in [true, false] {
            let key = Plain::of(r, six, &pair.model.sets);
            pair.look(key);
        }
        let other = Plain::random(&mut rng, &pair.model.sets);
        pair.look(other);
    }
    pair.drain();
    assert!(
        pair.hits[0] > 140 && pair.hits[1] > 140 && pair.misses >= 160,
        "{:?}",
        pair.hits
    );
}

/// Bits of every block RAM below a block, by the name of its field.
#[derive(Default)]
pub(crate) struct RamBits {
    path: Vec<String>,
    address: usize,
    /// Field name and bits.
    pub rams: Vec<(String, usize)>,
}

impl Probe for RamBits {
    fn visit_start_scope(&mut self, name: &str, _node: &dyn Block) {
        self.path.push(name.to_string());
    }
    fn visit_end_scope(&mut self, _name: &str, _node: &dyn Block) {
        self.path.pop();
    }
    fn visit_atom(&mut self, name: &str, signal: &dyn rust_hdl::core::atom::Atom) {
        match name {
            "read_address" => self.address = signal.bits(),
            "read_data" => self.rams.push((
                self.path.last().cloned().unwrap_or_default(),
                signal.bits() << self.address,
            )),
            _ => {}
        }
    }
}

#[test]
fn ram_bits_are_those_of_the_geometry() {
    let cam = Box::<SessionCam<11, 9, 4, 1, 1>>::default();
    let mut probe = RamBits::default();
    cam.accept("uut", &mut probe);
    let bits: usize = probe
        .rams
        .iter()
        .filter(|r| r.0 == "tags" || r.0 == "records")
        .map(|r| r.1)
        .sum();
    assert_eq!(probe.rams.iter().filter(|r| r.0 == "tags").count(), 8);
    assert_eq!(bits, Geometry::STANDARD.session_bits() * Geometry::STANDARD.records());
    assert_eq!(TagWord::<11>::BITS, 1 + nat64_layout::FINGERPRINT_BITS + 11);
}
