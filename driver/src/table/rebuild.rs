//! The table of a card that another host filled: read back, checked entry by entry, and put in order.
//!
//! ```text
//!   TableImage --> every tag and stash entry: whose key is it? --> sessions with both keys --> orphans, adopted or discarded
//!                       | nobody's, or twice                 \--> sessions with one key: taken out
//!                       v
//!                    repairs (posted writes)
//! ```
//!
//! What a host that died in the middle of a write leaves behind is known: a record without tags, a session with one of its two
//! keys, a key with two tags (a move). These are put in order and counted. Entries that belong to no key of the record they
//! name are something else, a table of another secret or a memory gone bad: when there are many of them, nothing of the table
//! can be believed, and it is refused as a whole.

use nat64_layout::record::RECORD_WORDS;
use nat64_layout::{Geometry, HashKey, Record, Tag, BANKS, WAYS};
use nat64_xlate::SessionId;

use super::{Installed, Key, KeyId, Place, SessionTable, TableError, TableWriter};

/// The session table as a card holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableImage {
    /// Words of each record.
    pub records: Vec<[u32; RECORD_WORDS]>,
    /// Tag words by bank, bucket and way.
    pub tags: Vec<u32>,
    /// Words of each stash entry.
    pub stash: Vec<[u32; 2]>,
}

/// What was found in a table and put in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableRepairs {
    /// Tags and stash entries that are valid.
    pub entries: u32,
    /// Of these: belong to no key of the record they name.
    pub foreign: u32,
    /// Of these: name a key that has another entry already (a move that was not finished).
    pub duplicates: u32,
    /// Sessions with one of their two keys, or whose keys stand where another's would be found; taken out.
    pub incomplete: u32,
    /// Records without any entry; emptied.
    pub loose_records: u32,
}

/// The table cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{foreign} of {entries} entries of the card's table belong to no session of this host")]
pub struct Scrambled {
    /// Valid entries that are nobody's.
    pub foreign: u32,
    /// Valid entries.
    pub entries: u32,
}

/// A session that the card carries and no host knows yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Its record's index.
    pub index: u32,
    /// Its record.
    pub record: Record,
    /// Service set of the record's unit.
    pub service_set: u8,
}

/// Foreign entries that are put up with: single bits that flipped. One in so many of all entries, and this many in any case.
const FOREIGN_SHARE: u32 = 64;
const FOREIGN_FEW: u32 = 2;

impl SessionTable {
    /// The table of a running card. `sets` gives the service set of a unit. Until every orphan is adopted or discarded nothing else
    /// may be done with the table.
    ///
    /// # Errors
    /// [`Scrambled`]: nothing has been written then.
    pub fn rebuild(
        geometry: Geometry,
        secret: HashKey,
        image: &TableImage,
        sets: impl Fn(u8) -> Option<u8>,
        writer: &mut impl TableWriter,
    ) -> Result<(Self, Vec<Orphan>, TableRepairs), RebuildError> {
        let mut table = Self::new(geometry, secret);
        let mut repairs = TableRepairs::default();
        let mut clear: Vec<Place> = Vec::new();
        let records: Vec<Option<(Record, u8)>> = image
            .records
            .iter()
            .map(|words| Record::from_words(words).and_then(|record| Some((record, sets(record.unit)?))))
            .collect();
        for (index, found) in records.iter().enumerate() {
            if let Some((record, set)) = found {
                let hashes = [record.hash_six_to_four(secret), record.hash_four_to_six(secret, *set)];
                for (direction, hash) in hashes.into_iter().enumerate() {
                    table.keys[2 * index + direction] = Key {
                        hash,
                        place: Place::None,
                    };
                }
            }
        }
        let slots = image
            .tags
            .iter()
            .enumerate()
            .filter_map(|(slot, &word)| Some((Place::Slot(slot), Tag::from_word(word)?, 0)));
        let stash = image.stash.iter().enumerate().filter_map(|(entry, words)| {
            let tag = Tag::from_word(words[1])?;
            Some((
                Place::Stash(entry),
                tag,
                u64::from(tag.fingerprint) << 32 | u64::from(words[0]),
            ))
        });
        for (place, tag, signature) in slots.chain(stash) {
            repairs.entries += 1;
            let known = records.get(tag.index as usize).is_some_and(Option::is_some);
            let fits = |&key: &KeyId| match place {
                Place::Slot(slot) => {
                    let bank = table.bank_of(slot);
                    table.bucket(key, bank) == slot / WAYS
                        && table.keys[key as usize].hash.fingerprint() == tag.fingerprint
                }
                Place::Stash(_) => table.keys[key as usize].hash.signature() == signature,
                Place::None => false,
            };
            let fitting: Vec<KeyId> = [2 * tag.index, 2 * tag.index + 1]
                .into_iter()
                .filter(|key| known && fits(key))
                .collect();
            // The two keys of a session may share a claim: then an entry is that of the key that has none yet.
            let free = fitting
                .iter()
                .copied()
                .find(|&key| table.keys[key as usize].place == Place::None);
            match free {
                Some(key) => table.book(key, place),
                None => {
                    clear.push(place);
                    match fitting.is_empty() {
                        true => repairs.foreign += 1,
                        false => repairs.duplicates += 1,
                    }
                }
            }
        }
        if repairs.foreign > FOREIGN_FEW && repairs.foreign > repairs.entries / FOREIGN_SHARE {
            return Err(RebuildError::Scrambled(Scrambled {
                foreign: repairs.foreign,
                entries: repairs.entries,
            }));
        }
        for place in clear {
            table.clear_entry(place, writer)?;
        }
        let orphans = table.whole_sessions(&records, &image.records, &mut repairs, writer)?;
        Ok((table, orphans, repairs))
    }

    /// Keeps the sessions that have both keys in places where nothing else is found, takes the others out.
    fn whole_sessions(
        &mut self,
        records: &[Option<(Record, u8)>],
        words: &[[u32; RECORD_WORDS]],
        repairs: &mut TableRepairs,
        writer: &mut impl TableWriter,
    ) -> Result<Vec<Orphan>, TableError> {
        let placed = |table: &Self, index: usize| {
            let keys = [2 * index, 2 * index + 1].map(|key| table.keys[key].place != Place::None);
            (keys[0] || keys[1], keys[0] && keys[1])
        };
        for index in 0..records.len() {
            if placed(self, index).1 {
                for key in [2 * index as u32, 2 * index as u32 + 1] {
                    self.claim(key);
                }
            }
        }
        let mut orphans = Vec::new();
        for (index, found) in records.iter().enumerate() {
            let (any, both) = placed(self, index);
            let keys = [2 * index as u32, 2 * index as u32 + 1];
            let clean = both && keys.iter().all(|&key| !self.is_ambiguous(key));
            match found {
                Some((record, set)) if clean => orphans.push(Orphan {
                    index: index as u32,
                    record: *record,
                    service_set: *set,
                }),
                _ if any => {
                    repairs.incomplete += 1;
                    self.evict(index as u32, writer)?;
                }
                _ if words[index] != Record::EMPTY => {
                    repairs.loose_records += 1;
                    writer.write(Record::offset(index as u32), &Record::EMPTY)?;
                }
                _ => {}
            }
        }
        let kept: std::collections::HashSet<u32> = orphans.iter().map(|orphan| orphan.index).collect();
        self.free_records.retain(|index| !kept.contains(index));
        Ok(orphans)
    }

    /// Whether another session's key would be found by this key's entry, or is not told from it at all.
    fn is_ambiguous(&self, key: KeyId) -> bool {
        let stands = (0..BANKS).any(|bank| self.stands_in(key, bank) && self.barred(key, bank));
        let signature = self.keys[key as usize].hash.signature();
        let twin = self
            .rivals(key, 0)
            .any(|other| self.keys[other as usize].hash.signature() == signature);
        stands || twin
    }

    /// Clears the entries and the record of a session that nobody owns.
    fn evict(&mut self, index: u32, writer: &mut impl TableWriter) -> Result<(), TableError> {
        for key in [2 * index, 2 * index + 1] {
            let place = self.keys[key as usize].place;
            self.release(key);
            self.clear_entry(place, writer)?;
        }
        writer.write(Record::offset(index), &Record::EMPTY)?;
        Ok(())
    }

    /// Gives an orphan its session.
    pub fn adopt(&mut self, id: SessionId, orphan: &Orphan) {
        self.owners[orphan.index as usize] = Some(id);
        self.sessions.insert(
            id,
            Installed {
                index: orphan.index,
                record: orphan.record,
                service_set: orphan.service_set,
            },
        );
    }

    /// Takes an orphan out of the card.
    pub fn discard(&mut self, orphan: &Orphan, writer: &mut impl TableWriter) -> Result<(), TableError> {
        self.evict(orphan.index, writer)?;
        self.free_records.push_back(orphan.index);
        Ok(())
    }
}

/// Why a table was not rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// It cannot be believed.
    #[error(transparent)]
    Scrambled(#[from] Scrambled),
    /// The bus failed beneath us.
    #[error(transparent)]
    Table(#[from] TableError),
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use nat64_layout::record::{RECORD_STRIDE, STASH_BASE, TAG_BASE};
    use nat64_layout::{Protocol, StashEntry};
    use rand::{rngs::StdRng, Rng, SeedableRng};

    use super::*;
    use crate::transport::DeviceError;

    const SECRET: HashKey = HashKey([7, 9]);
    const SMALL: Geometry = Geometry {
        record_log2: 6,
        bucket_log2: 4,
        stash: 16,
    };

    /// BAR2 as words, and how often it was written.
    #[derive(Clone, Default, PartialEq)]
    struct Words(HashMap<u32, u32>, usize);

    impl TableWriter for Words {
        fn write(&mut self, offset: u32, words: &[u32]) -> Result<(), DeviceError> {
            self.1 += words.len();
            self.0.extend((offset..).step_by(4).zip(words.iter().copied()));
            Ok(())
        }
    }

    impl Words {
        fn at<const N: usize>(&self, offset: u32) -> [u32; N] {
            std::array::from_fn(|i| self.0.get(&(offset + 4 * i as u32)).copied().unwrap_or(0))
        }

        fn image(&self) -> TableImage {
            let slots = (0..BANKS).flat_map(|bank| (0..1 << SMALL.bucket_log2).map(move |bucket| (bank, bucket)));
            TableImage {
                records: (0..SMALL.records() as u32)
                    .map(|i| self.at(Record::offset(i)))
                    .collect(),
                tags: slots
                    .flat_map(|(bank, bucket)| self.at::<WAYS>(Tag::offset(bank, bucket, 0)))
                    .collect(),
                stash: (0..SMALL.stash).map(|i| self.at(StashEntry::offset(i))).collect(),
            }
        }
    }

    fn random_record(rng: &mut StdRng) -> Record {
        Record {
            protocol: Protocol::ALL[rng.random_range(0..3)],
            pref64: rng.random_range(0..8),
            unit: rng.random_range(0..8),
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

    const fn set_of(unit: u8) -> u8 {
        unit / 2
    }

    fn id(n: u32) -> SessionId {
        SessionId { slot: n, generation: 1 }
    }

    /// A card in use: sessions come and go until `wanted` are there.
    fn filled(rng: &mut StdRng, wanted: usize) -> (Words, SessionTable) {
        let (mut words, mut table) = (Words::default(), SessionTable::new(SMALL, SECRET));
        let mut next = 0;
        while table.len() < wanted {
            let record = random_record(rng);
            // A refusal for want of room is part of it.
            let _ = table.install(id(next), &record, set_of(record.unit), &mut words);
            next += 1;
            if rng.random_range(0..4) == 0 {
                let victim = table.iter().map(|(id, _)| id).min_by_key(|id| id.slot);
                victim.map(|id| table.remove(id, &mut words).unwrap());
            }
        }
        (words, table)
    }

    fn rebuild(words: &mut Words) -> Result<(SessionTable, Vec<Orphan>, TableRepairs), RebuildError> {
        let image = words.image();
        SessionTable::rebuild(SMALL, SECRET, &image, |unit| Some(set_of(unit)), words)
    }

    #[test]
    fn a_table_in_use_comes_back_whole_without_a_write_and_goes_on() {
        for seed in 0..20 {
            let mut rng = StdRng::seed_from_u64(seed);
            let wanted = rng.random_range(0..60);
            let (mut words, old) = filled(&mut rng, wanted);
            words.1 = 0;
            let (mut table, orphans, repairs) = rebuild(&mut words).unwrap();
            assert_eq!(words.1, 0, "seed {seed}: a table that is in order is not written");
            assert_eq!(
                (
                    repairs.foreign,
                    repairs.duplicates,
                    repairs.incomplete,
                    repairs.loose_records
                ),
                (0, 0, 0, 0)
            );
            assert_eq!(repairs.entries as usize, 2 * old.len(), "seed {seed}");
            let mut want: Vec<(u32, Record)> = old.iter().map(|(_, i)| (i.index, i.record)).collect();
            want.sort_by_key(|w| w.0);
            let got: Vec<(u32, Record)> = orphans.iter().map(|o| (o.index, o.record)).collect();
            assert_eq!(got, want, "seed {seed}");
            assert_eq!(
                (table.tags_used(), table.stash_used()),
                (old.tags_used(), old.stash_used()),
                "seed {seed}"
            );
            for (n, orphan) in orphans.iter().enumerate() {
                table.adopt(id(n as u32), orphan);
            }
            // Everything can be taken out again, and the card is empty then.
            for n in 0..orphans.len() {
                assert!(table.remove(id(n as u32), &mut words).unwrap().is_some());
            }
            let empty = words.image();
            assert!(
                empty.tags.iter().all(|&tag| tag == 0) && empty.stash.iter().all(|e| e[1] == 0),
                "seed {seed}"
            );
            assert!(
                empty.records.iter().all(|r| *r == Record::EMPTY) && table.is_empty(),
                "seed {seed}"
            );
        }
    }

    #[test]
    fn a_host_that_died_between_any_two_writes_leaves_what_can_be_put_in_order() {
        /// Forgets all writes after the first `left`.
        struct Cut<'a>(&'a mut Words, usize);
        impl TableWriter for Cut<'_> {
            fn write(&mut self, offset: u32, words: &[u32]) -> Result<(), DeviceError> {
                for (at, &word) in (offset..).step_by(4).zip(words) {
                    if self.1 > 0 {
                        self.1 -= 1;
                        // A record is staged: it is there with its last word or not at all.
                        let staged = at < TAG_BASE && at % RECORD_STRIDE != 4 * (RECORD_WORDS as u32 - 1);
                        match staged {
                            true => {}
                            false if at < TAG_BASE => self.0.write(offset, words)?,
                            false => self.0.write(at, &[word])?,
                        }
                    }
                }
                Ok(())
            }
        }
        let mut seen = TableRepairs::default();
        for seed in 0..60 {
            let mut rng = StdRng::seed_from_u64(1000 + seed);
            let (mut words, mut old) = filled(&mut rng, 55);
            let before = old.len();
            let left = rng.random_range(0..24);
            let mut cut = Cut(&mut words, left);
            if seed % 2 == 0 {
                let record = random_record(&mut rng);
                let _ = old.install(id(5000), &record, set_of(record.unit), &mut cut);
            } else {
                let victim = old.iter().map(|(id, _)| id).max_by_key(|id| id.slot).unwrap();
                old.remove(victim, &mut cut).unwrap();
            }
            let (_, orphans, repairs) = rebuild(&mut words).unwrap();
            assert_eq!(repairs.foreign, 0, "seed {seed}, cut after {left}");
            assert!(
                repairs.duplicates <= 1 && repairs.incomplete <= 1 && repairs.loose_records <= 1,
                "seed {seed}: {repairs:?}"
            );
            assert!(
                (before - 1..=before + 1).contains(&orphans.len()),
                "seed {seed}, cut after {left}"
            );
            seen.duplicates += repairs.duplicates;
            seen.incomplete += repairs.incomplete;
            seen.loose_records += repairs.loose_records;
            // What was put in order is in order.
            words.1 = 0;
            let (_, again, repairs) = rebuild(&mut words).unwrap();
            assert_eq!(
                (again, words.1),
                (orphans, 0),
                "seed {seed}, cut after {left}: {repairs:?}"
            );
        }
        assert!(
            seen.incomplete > 0 && seen.loose_records > 0,
            "the cuts met nothing: {seen:?}"
        );
    }

    #[test]
    fn another_secret_and_bad_memory_are_told_from_a_few_flipped_bits() {
        let mut rng = StdRng::seed_from_u64(5);
        let (words, old) = filled(&mut rng, 50);
        let image = words.image();
        let mut untouched = words.clone();
        let other = HashKey([8, 9]);
        let error = SessionTable::rebuild(SMALL, other, &image, |unit| Some(set_of(unit)), &mut untouched).unwrap_err();
        assert!(
            matches!(error, RebuildError::Scrambled(s) if s.entries == 100 && s.foreign > 90),
            "{error}"
        );
        assert!(untouched == words, "nothing is written to a table that is refused");

        let mut flipped = words.clone();
        let offset = (TAG_BASE..STASH_BASE)
            .step_by(4)
            .find(|o| flipped.0.get(o).is_some_and(|w| w >> 31 == 1))
            .unwrap();
        *flipped.0.get_mut(&offset).unwrap() ^= 1;
        let (_, orphans, repairs) = rebuild(&mut flipped).unwrap();
        assert_eq!(
            (repairs.foreign, repairs.incomplete, orphans.len()),
            (1, 1, old.len() - 1)
        );
        assert_eq!(flipped.at::<1>(offset), [0], "the entry is gone");
    }

    #[test]
    fn orphans_nobody_wants_are_taken_out_and_their_records_are_used_again() {
        let mut rng = StdRng::seed_from_u64(6);
        let (mut words, _) = filled(&mut rng, 40);
        let (mut table, orphans, _) = rebuild(&mut words).unwrap();
        for (n, orphan) in orphans.iter().enumerate() {
            match n % 2 {
                0 => table.adopt(id(n as u32), orphan),
                _ => table.discard(orphan, &mut words).unwrap(),
            }
        }
        assert_eq!(table.len(), 20);
        let (_, again, repairs) = rebuild(&mut words).unwrap();
        assert_eq!((again.len(), repairs.incomplete), (20, 0));
        for n in 0..30 {
            let record = random_record(&mut rng);
            table
                .install(id(100 + n), &record, set_of(record.unit), &mut words)
                .unwrap();
        }
        assert_eq!(rebuild(&mut words).unwrap().1.len(), 50);
    }
}
