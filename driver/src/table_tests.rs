//! Placement against a model of the card's lookup, at every step of every write sequence.

use std::collections::HashMap;

use nat64_layout::record::{RECORD_BASE, RECORD_STRIDE, STASH_BASE, STASH_STRIDE, TAG_BANK_STRIDE, TAG_BASE};
use nat64_layout::Protocol;
use rand::{rngs::StdRng, Rng, SeedableRng};

use super::*;

/// What the card holds, and what its lookup finds.
struct CardModel {
    geometry: Geometry,
    secret: HashKey,
    records: Vec<Option<Record>>,
    tags: Vec<u32>,
    stash: Vec<[u32; 2]>,
    writes: usize,
    /// Sessions every write must leave reachable in both directions.
    live: HashMap<SessionId, (u32, Record)>,
    check: bool,
}

impl CardModel {
    fn new(geometry: Geometry, secret: HashKey, check: bool) -> Self {
        Self {
            geometry,
            secret,
            records: vec![None; geometry.records()],
            tags: vec![0; geometry.tags()],
            stash: vec![[0; 2]; geometry.stash],
            writes: 0,
            live: HashMap::new(),
            check,
        }
    }

    /// Every index the entries of a hash give.
    fn matches(&self, hash: KeyHash) -> Vec<u32> {
        let log2 = self.geometry.bucket_log2;
        let mut found = Vec::new();
        for bank in 0..BANKS {
            let bucket = (bank << log2 | hash.bucket(bank, log2) as usize) * WAYS;
            for tag in self.tags[bucket..bucket + WAYS]
                .iter()
                .filter_map(|&word| Tag::from_word(word))
            {
                if tag.fingerprint == hash.fingerprint() {
                    found.push(tag.index);
                }
            }
        }
        for &[low, high] in &self.stash {
            if let Some(tag) = Tag::from_word(high) {
                if u64::from(tag.fingerprint) << 32 | u64::from(low) == hash.signature() {
                    found.push(tag.index);
                }
            }
        }
        found
    }

    fn check_all(&self) {
        for (id, (index, record)) in &self.live {
            for hash in [
                record.hash_six_to_four(self.secret),
                record.hash_four_to_six(self.secret, 0),
            ] {
                let found = self.matches(hash);
                assert!(!found.is_empty(), "{id:?} is not found after write {}", self.writes);
                assert!(
                    found.iter().all(|i| i == index),
                    "{id:?} at {index} is ambiguous: {found:?}"
                );
                assert_eq!(self.records[*index as usize], Some(*record), "{id:?}");
            }
        }
    }
}

impl TableWriter for CardModel {
    fn write(&mut self, offset: u32, words: &[u32]) -> Result<(), DeviceError> {
        match offset {
            STASH_BASE.. => {
                let entry = ((offset - STASH_BASE) / STASH_STRIDE) as usize;
                self.stash[entry] = words.try_into().expect("whole entry");
            }
            TAG_BASE.. => {
                let at = offset - TAG_BASE;
                let (bank, slot) = ((at / TAG_BANK_STRIDE) as usize, (at % TAG_BANK_STRIDE / 4) as usize);
                assert_eq!(words.len(), 1);
                assert!(slot < WAYS << self.geometry.bucket_log2);
                let slot = ((bank * WAYS) << self.geometry.bucket_log2) + slot;
                assert!(
                    words[0] == 0 || self.tags[slot] == 0,
                    "a tag is written over another one"
                );
                self.tags[slot] = words[0];
            }
            _ => {
                let index = ((offset - RECORD_BASE) / RECORD_STRIDE) as usize;
                let words: &[u32; RECORD_WORDS] = words.try_into().expect("whole record");
                let tagged = self.tags.iter().chain(self.stash.iter().map(|s| &s[1]));
                let tagged = tagged
                    .filter_map(|&word| Tag::from_word(word))
                    .any(|tag| tag.index as usize == index);
                assert!(
                    !self.check || !tagged,
                    "record {index} is written while tags point at it"
                );
                self.records[index] = Record::from_words(words);
            }
        }
        self.writes += 1;
        if self.check {
            self.check_all();
        }
        Ok(())
    }
}

fn id(n: u32) -> SessionId {
    SessionId { slot: n, generation: 0 }
}

fn random_record(random: &mut StdRng) -> Record {
    Record {
        protocol: Protocol::ALL[random.random_range(0..3)],
        pref64: 0,
        unit: 0,
        hop6: 0,
        hop4: 1,
        client_port: random.random(),
        remote_port: random.random(),
        pool_port: random.random(),
        remote: random.random(),
        pool: 0xcb00_7101,
        client: random.random(),
    }
}

fn secret(random: &mut StdRng) -> HashKey {
    HashKey([random.random(), random.random()])
}

const SMALL: Geometry = Geometry {
    record_log2: 6,
    bucket_log2: 4,
    stash: 4,
};

#[test]
fn every_step_keeps_every_session_reachable_and_unambiguous() {
    for seed in 0..20 {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let key = secret(&mut random);
        let mut table = SessionTable::new(SMALL, key);
        let mut card = CardModel::new(SMALL, key, true);
        let mut refused = 0;
        for n in 0..400 {
            if random.random_bool(0.65) || card.live.is_empty() {
                let record = random_record(&mut random);
                match table.install(id(n), &record, 0, &mut card) {
                    Ok(index) => {
                        card.live.insert(id(n), (index, record));
                        card.check_all();
                    }
                    Err(TableError::Full { used, capacity }) => {
                        assert_eq!((used as usize, capacity), (card.live.len(), 64));
                        refused += 1;
                    }
                    Err(other) => panic!("{other}"),
                }
            } else {
                let mut ids: Vec<_> = card.live.keys().copied().collect();
                ids.sort();
                let gone = ids[random.random_range(0..ids.len())];
                let (index, record) = card.live.remove(&gone).expect("live");
                let removed = table.remove(gone, &mut card).expect("writes").expect("installed");
                assert_eq!((removed.index, removed.record), (index, record));
                for hash in [record.hash_six_to_four(key), record.hash_four_to_six(key, 0)] {
                    assert!(!card.matches(hash).contains(&index));
                }
                assert_eq!(card.records[index as usize], None);
            }
            assert_eq!(table.len(), card.live.len());
            let tags = card.tags.iter().filter(|&&w| w != 0).count();
            let stash = card.stash.iter().filter(|s| s[1] != 0).count();
            assert_eq!((tags, stash), (table.tags_used(), table.stash_used()));
            assert_eq!(tags + stash, 2 * table.len(), "exactly two entries a session");
        }
        assert!(refused > 0, "the table never filled up");
        let left: Vec<_> = card.live.drain().map(|(id, _)| id).collect();
        left.into_iter()
            .for_each(|id| assert!(table.remove(id, &mut card).expect("writes").is_some()));
        assert!(card.tags.iter().all(|&w| w == 0) && card.stash.iter().all(|s| s[1] == 0));
        assert!(table.claims.iter().all(Vec::is_empty) && table.free_records.len() == 64);
    }
}

/// Many rivals: two sessions in three share a claim with an earlier one.
#[test]
fn rivals_are_kept_apart_at_every_step() {
    for seed in 0..10 {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let key = secret(&mut random);
        let mut table = SessionTable::new(SMALL, key);
        let mut card = CardModel::new(SMALL, key, true);
        let mut barred = 0;
        let mut claimed: HashMap<(usize, u32, u16), u32> = HashMap::new();
        let mut n = 0;
        while card.live.len() < 40 && n < 4000 {
            n += 1;
            // Search for a record whose IPv6-side key shares a claim with one that is installed.
            let record = (0..20_000).map(|_| random_record(&mut random)).find(|record| {
                let hash = record.hash_six_to_four(key);
                n % 3 == 0 || (0..2).any(|bank| claimed.contains_key(&(bank, hash.bucket(bank, 4), hash.fingerprint())))
            });
            let Some(record) = record else { continue };
            match table.install(id(n), &record, 0, &mut card) {
                Ok(index) => {
                    card.live.insert(id(n), (index, record));
                    card.check_all();
                    for hash in [record.hash_six_to_four(key), record.hash_four_to_six(key, 0)] {
                        for bank in 0..2 {
                            *claimed
                                .entry((bank, hash.bucket(bank, 4), hash.fingerprint()))
                                .or_default() += 1;
                        }
                    }
                    barred += (0..2).filter(|&bank| table.barred(2 * index, bank)).count();
                }
                Err(TableError::Full { .. }) => break,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(barred > 5, "only {barred} rivals met");
    }
}

#[test]
fn load_factor_at_the_first_refusal_is_at_least_95_percent() {
    let (mut worst, mut sum, mut most_writes) = (1f64, 0f64, 0);
    for seed in 0..100 {
        let mut random = StdRng::seed_from_u64(seed);
        let key = secret(&mut random);
        let geometry = Geometry::STANDARD;
        let mut table = SessionTable::new(geometry, key);
        let mut card = CardModel::new(geometry, key, false);
        for n in 0.. {
            let record = random_record(&mut random);
            let before = card.writes;
            match table.install(id(n), &record, 0, &mut card) {
                Ok(index) => {
                    card.live.insert(id(n), (index, record));
                    most_writes = most_writes.max(card.writes - before);
                }
                Err(TableError::Full { .. }) => break,
                Err(other) => panic!("{other}"),
            }
        }
        card.check_all();
        let load = table.tags_used() as f64 / geometry.tags() as f64;
        sum += load;
        if load < worst {
            println!(
                "seed {seed}: {load:.4}, {} in the stash, {} sessions",
                table.stash_used(),
                table.len()
            );
            worst = load;
        }
    }
    println!(
        "load factor at the first refusal, tags in buckets over tag slots, 100 seeds: worst {worst:.4}, mean {:.4}",
        sum / 100.0
    );
    println!("most writes for one install: {most_writes}");
    assert!(worst >= 0.95, "worst {worst}");
}

#[test]
fn a_full_table_refuses_and_harms_nobody() {
    let mut random = StdRng::seed_from_u64(3);
    let key = secret(&mut random);
    // More tag slots than records need: the records run out first.
    let geometry = Geometry {
        record_log2: 4,
        bucket_log2: 5,
        stash: 2,
    };
    let mut table = SessionTable::new(geometry, key);
    let mut card = CardModel::new(geometry, key, true);
    for n in 0..16 {
        let record = random_record(&mut random);
        let index = table.install(id(n), &record, 0, &mut card).expect("room");
        card.live.insert(id(n), (index, record));
    }
    let writes = card.writes;
    let record = random_record(&mut random);
    let refused = table.install(id(99), &record, 0, &mut card);
    assert!(
        matches!(refused, Err(TableError::Full { used: 16, capacity: 16 })),
        "{refused:?}"
    );
    assert_eq!(card.writes, writes);
    card.check_all();
    card.live.remove(&id(5));
    table.remove(id(5), &mut card).expect("writes").expect("installed");
    table.install(id(99), &record, 0, &mut card).expect("room again");
    assert!(matches!(
        table.install(id(99), &record, 0, &mut card),
        Err(TableError::Exists { .. })
    ));
    let twin = table.install(id(100), &record, 0, &mut card);
    assert!(
        matches!(twin, Err(TableError::Full { .. } | TableError::Collision { .. })),
        "{twin:?}"
    );
    assert!(table.remove(id(1234), &mut card).expect("no write").is_none());
}

#[test]
fn two_sessions_with_one_key_are_refused() {
    let mut random = StdRng::seed_from_u64(4);
    let key = secret(&mut random);
    let mut table = SessionTable::new(SMALL, key);
    let mut card = CardModel::new(SMALL, key, true);
    let record = random_record(&mut random);
    let index = table.install(id(1), &record, 0, &mut card).expect("room");
    card.live.insert(id(1), (index, record));
    // Same IPv4 side, another client: the second direction collides.
    let other = Record { client: 1, ..record };
    let writes = card.writes;
    let refused = table.install(id(2), &other, 0, &mut card);
    assert!(
        matches!(refused, Err(TableError::Collision { index: i }) if i == index),
        "{refused:?}"
    );
    assert_eq!(card.writes, writes);
    let claims: usize = table.claims.iter().map(Vec::len).sum();
    assert_eq!((table.len(), claims), (1, 4));
    assert_eq!(table.tags_used() + table.stash_used(), 2);
}
