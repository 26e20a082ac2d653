//! Placement of sessions in the card's table: records, two banks of tag buckets, a stash.
//!
//! ```text
//!   session --- record index i --- IPv6-side key --+-- bucket in bank 0 --[way|way|way|way]
//!                              \                   +-- bucket in bank 1 --[way|way|way|way]
//!                               \                  +-- or a stash entry
//!                                - IPv4-side key ---- the same
//! ```
//!
//! The card looks into both buckets of a key and into the stash, takes the index of the entries that match, and reads
//! one record. So all entries that match an *installed* key must carry the same index. A tag matches every key with
//! its fingerprint whose bucket in that bank is this one; therefore:
//!
//! **Claim rule.** A key claims `(bank, bucket, fingerprint)` in both banks. Where two sessions claim the same, neither
//! has its tag there: both are *barred* from that bank and live in the other one or in the stash. Two keys with one
//! stash signature cannot both be installed.
//!
//! A key that finds both buckets full makes room by moving others to their other bucket, along the shortest chain
//! (breadth first). A move writes the new tag and then clears the old one, so a lookup never misses; for a moment two
//! tags carry the same index. Install writes the record, then the tags. Remove clears the tags, then the record.
//!
//! Everything is kept in host memory; the card is only written ([`TableWriter`]). It is read once, when a running card is taken over
//! ([`SessionTable::rebuild`]).

mod rebuild;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use nat64_layout::record::RECORD_WORDS;
use nat64_layout::{Geometry, HashKey, KeyHash, Record, StashEntry, Tag, BANKS, WAYS};
use nat64_xlate::SessionId;

use crate::transport::DeviceError;

pub use rebuild::{Orphan, RebuildError, Scrambled, TableImage, TableRepairs};

/// A hasher for numbers that nobody else chooses.
#[derive(Clone, Copy, Debug, Default)]
struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u32(byte.into()));
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0.rotate_left(32) ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Takes posted writes to BAR2.
pub trait TableWriter {
    /// Writes consecutive words from byte `offset` of BAR2 on.
    fn write(&mut self, offset: u32, words: &[u32]) -> Result<(), DeviceError>;
}

/// Why a session could not be placed in the card's table; the session stays in software.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// No record is free, or no chain of moves makes room and the stash is taken.
    #[error("session table is full ({used} of {capacity} sessions)")]
    Full {
        /// Sessions installed.
        used: u32,
        /// Records of the card.
        capacity: u32,
    },
    /// The session is installed already; replacing it would cut a live flow.
    #[error("session is already installed at record {index}")]
    Exists {
        /// Its record.
        index: u32,
    },
    /// Another installed key has the same hash, so the card could not tell the two apart.
    #[error("a key with the same hash is installed at record {index}")]
    Collision {
        /// Record of the other.
        index: u32,
    },
    /// The bus failed beneath us; the card must be reset before it is used again.
    #[error("device access failed")]
    Device(#[from] DeviceError),
}

/// One installed session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Record index.
    pub index: u32,
    /// Its record.
    pub record: Record,
    /// Service set of the record's unit.
    pub service_set: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Not in the table.
    None,
    /// Tag slot, numbered over both banks.
    Slot(usize),
    /// Stash entry.
    Stash(usize),
}

/// A key is named by its record index and direction: `2 * index + direction`.
type KeyId = u32;
const NO_KEY: KeyId = KeyId::MAX;

#[derive(Clone, Copy, Debug)]
struct Key {
    hash: KeyHash,
    place: Place,
}

/// Buckets a search may look at before it gives up: every bucket of the standard card, and a bound on bigger ones.
const SEARCH_BUCKETS: usize = 4096;

/// See the module documentation.
#[derive(Debug)]
pub struct SessionTable {
    geometry: Geometry,
    secret: HashKey,
    // Session numbers are our own, so no keyed hash is needed against those who would choose them.
    sessions: HashMap<SessionId, Installed, BuildHasherDefault<NumberHasher>>,
    owners: Vec<Option<SessionId>>,
    // Freed records go to the back: a packet that is still in the card's pipeline with an old index meets an empty
    // record, not a new session's.
    free_records: VecDeque<u32>,
    keys: Vec<Key>,
    slots: Vec<KeyId>,
    stash: Vec<KeyId>,
    // By bucket of both banks: the keys that may stand there, some eight each when the card is full.
    claims: Vec<Vec<KeyId>>,
    tags_used: usize,
    stuck: bool,
    // A search marks the buckets it saw with its own number, so that nothing is cleared between searches.
    seen: Vec<u32>,
    search: u32,
}

impl SessionTable {
    /// The table of a card that is empty.
    pub fn new(geometry: Geometry, secret: HashKey) -> Self {
        let records = geometry.records();
        Self {
            geometry,
            secret,
            sessions: HashMap::default(),
            owners: vec![None; records],
            free_records: (0..records as u32).collect(),
            keys: vec![
                Key {
                    hash: KeyHash(0),
                    place: Place::None
                };
                2 * records
            ],
            slots: vec![NO_KEY; geometry.tags()],
            stash: vec![NO_KEY; geometry.stash],
            claims: vec![Vec::new(); BANKS << geometry.bucket_log2],
            tags_used: 0,
            stuck: false,
            seen: vec![0; BANKS << geometry.bucket_log2],
            search: 0,
        }
    }

    /// Sessions installed.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether no session is installed.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Tag slots in use, the stash not counted.
    pub fn tags_used(&self) -> usize {
        self.tags_used
    }

    /// Stash entries in use.
    pub fn stash_used(&self) -> usize {
        self.stash.iter().filter(|&&key| key != NO_KEY).count()
    }

    /// Sizes.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The session, when it is installed.
    pub fn get(&self, id: SessionId) -> Option<&Installed> {
        self.sessions.get(&id)
    }

    /// The session at a record.
    pub fn owner(&self, index: u32) -> Option<SessionId> {
        self.owners.get(index as usize).copied().flatten()
    }

    /// Every installed session, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &Installed)> {
        self.sessions.iter().map(|(&id, installed)| (id, installed))
    }

    /// Installs a session; returns its record index. `service_set` is that of the record's unit.
    ///
    /// A refused session leaves no trace in the card but moved tags of others.
    pub fn install(
        &mut self,
        id: SessionId,
        record: &Record,
        service_set: u8,
        writer: &mut impl TableWriter,
    ) -> Result<u32, TableError> {
        if let Some(installed) = self.sessions.get(&id) {
            return Err(TableError::Exists { index: installed.index });
        }
        let full = self.full();
        let index = *self.free_records.front().ok_or(full)?;
        let hashes = [
            record.hash_six_to_four(self.secret),
            record.hash_four_to_six(self.secret, service_set),
        ];
        let keys = [2 * index, 2 * index + 1];
        for (key, hash) in keys.into_iter().zip(hashes) {
            if let Err(error) = self.reserve(key, hash, writer) {
                keys.into_iter().for_each(|key| self.release(key));
                return Err(error);
            }
        }
        self.free_records.pop_front();
        self.owners[index as usize] = Some(id);
        self.sessions.insert(
            id,
            Installed {
                index,
                record: *record,
                service_set,
            },
        );
        writer.write(Record::offset(index), &record.to_words())?;
        for key in keys {
            self.write_entry(key, writer)?;
        }
        Ok(index)
    }

    /// Removes a session; `None` when it is not installed.
    pub fn remove(&mut self, id: SessionId, writer: &mut impl TableWriter) -> Result<Option<Installed>, TableError> {
        let Some(installed) = self.sessions.remove(&id) else {
            return Ok(None);
        };
        let index = installed.index;
        self.owners[index as usize] = None;
        self.stuck = false;
        for key in [2 * index, 2 * index + 1] {
            let place = self.keys[key as usize].place;
            self.release(key);
            self.clear_entry(place, writer)?;
        }
        writer.write(Record::offset(index), &[0; RECORD_WORDS])?;
        self.free_records.push_back(index);
        self.drain_stash(false, writer)?;
        Ok(Some(installed))
    }

    fn full(&self) -> TableError {
        TableError::Full {
            used: self.sessions.len() as u32,
            capacity: self.geometry.records() as u32,
        }
    }

    fn bucket(&self, key: KeyId, bank: usize) -> usize {
        bank << self.geometry.bucket_log2
            | self.keys[key as usize].hash.bucket(bank, self.geometry.bucket_log2) as usize
    }

    /// Books a key's claims in both banks.
    fn claim(&mut self, key: KeyId) {
        for bank in 0..BANKS {
            let bucket = self.bucket(key, bank);
            let claims = &mut self.claims[bucket];
            if !claims.contains(&key) {
                claims.push(key);
            }
        }
    }

    /// Keys of other sessions that claim the same in `bank`. The two keys of one session may share a claim: whichever
    /// matches, the index is the same.
    fn rivals(&self, key: KeyId, bank: usize) -> impl Iterator<Item = KeyId> + '_ {
        let fingerprint = self.keys[key as usize].hash.fingerprint();
        self.claims[self.bucket(key, bank)]
            .iter()
            .copied()
            .filter(move |&o| o / 2 != key / 2 && self.keys[o as usize].hash.fingerprint() == fingerprint)
    }

    fn barred(&self, key: KeyId, bank: usize) -> bool {
        self.rivals(key, bank).next().is_some()
    }

    /// Finds a place for a new key and books it, without writing its entry: the record must come first.
    fn reserve(&mut self, key: KeyId, hash: KeyHash, writer: &mut impl TableWriter) -> Result<(), TableError> {
        self.keys[key as usize] = Key {
            hash,
            place: Place::None,
        };
        let twin = self
            .rivals(key, 0)
            .find(|&other| self.keys[other as usize].hash.signature() == hash.signature());
        if let Some(other) = twin {
            return Err(TableError::Collision { index: other / 2 });
        }
        self.claim(key);
        // From here on a search bars the key's rivals; those that already stand where they now may not have to go.
        for bank in 0..BANKS {
            let standing: Vec<_> = self.rivals(key, bank).collect();
            for other in standing {
                if self.stands_in(other, bank) {
                    let place = self.find_place(other, writer)?;
                    self.relocate(other, place, writer)?;
                }
            }
        }
        let place = self.find_place(key, writer)?;
        self.book(key, place);
        Ok(())
    }

    /// A free place for `key`, made by moving others if need be.
    fn find_place(&mut self, key: KeyId, writer: &mut impl TableWriter) -> Result<Place, TableError> {
        if let Some(slot) = self.find_slot(key, writer)? {
            return Ok(Place::Slot(slot));
        }
        if let Some(entry) = self.stash.iter().position(|&k| k == NO_KEY) {
            return Ok(Place::Stash(entry));
        }
        // Searching for every stashed key is dear; once in vain is enough until something has left.
        if self.stuck {
            return Err(self.full());
        }
        self.drain_stash(true, writer)?;
        match self.stash.iter().position(|&k| k == NO_KEY) {
            Some(entry) => Ok(Place::Stash(entry)),
            None => {
                self.stuck = true;
                Err(self.full())
            }
        }
    }

    /// A free tag slot in one of the key's buckets, made by moving others if need be.
    fn find_slot(&mut self, key: KeyId, writer: &mut impl TableWriter) -> Result<Option<usize>, TableError> {
        if let Some(slot) = self.free_slot(key) {
            return Ok(Some(slot));
        }
        let Some(path) = self.find_path(key) else {
            return Ok(None);
        };
        for pair in path.windows(2).rev() {
            let moved = self.slots[pair[0]];
            self.relocate(moved, Place::Slot(pair[1]), writer)?;
        }
        Ok(path.first().copied())
    }

    /// A free slot in one of the key's own buckets, of the emptier one if both have any: what a search would find first.
    fn free_slot(&self, key: KeyId) -> Option<usize> {
        let mut best = None;
        for bank in (0..BANKS).filter(|&bank| !self.barred(key, bank)) {
            let bucket = self.bucket(key, bank);
            let occupied = self.occupied(bucket);
            if occupied < WAYS && best.is_none_or(|(least, _)| occupied < least) {
                best = Some((occupied, bucket));
            }
        }
        let (_, bucket) = best?;
        (bucket * WAYS..(bucket + 1) * WAYS).find(|&slot| self.slots[slot] == NO_KEY)
    }

    /// Shortest chain of slots, from one in a bucket of `key` to a free one: each slot's key can move to the next.
    fn find_path(&mut self, key: KeyId) -> Option<Vec<usize>> {
        struct Step {
            slot: usize,
            parent: usize,
        }
        const ROOT: usize = usize::MAX;
        self.search = self.search.wrapping_add(1);
        if self.search == 0 {
            self.seen.fill(0);
            self.search = 1;
        }
        let mut steps: Vec<Step> = Vec::new();
        let mut entered = 0;
        // The key's own buckets come first, then those its neighbours can move to, nearest first.
        let mut enter = Vec::from_iter(
            (0..BANKS)
                .filter(|&b| !self.barred(key, b))
                .map(|b| (self.bucket(key, b), ROOT)),
        );
        // Of its own two buckets the emptier one is better: a fuller one would be full sooner.
        enter.sort_by_key(|&(bucket, _)| self.occupied(bucket));
        let mut next = 0;
        loop {
            for (bucket, parent) in enter.drain(..) {
                if std::mem::replace(&mut self.seen[bucket], self.search) == self.search {
                    continue;
                }
                entered += 1;
                for slot in bucket * WAYS..(bucket + 1) * WAYS {
                    if self.slots[slot] == NO_KEY {
                        let mut path = vec![slot];
                        let mut at = parent;
                        while at != ROOT {
                            path.push(steps[at].slot);
                            at = steps[at].parent;
                        }
                        path.reverse();
                        return Some(path);
                    }
                    steps.push(Step { slot, parent });
                }
            }
            if entered >= SEARCH_BUCKETS {
                return None;
            }
            let step = steps.get(next)?;
            let (occupant, other_bank) = (self.slots[step.slot], 1 - self.bank_of(step.slot));
            if self.is_written(occupant) && !self.barred(occupant, other_bank) {
                enter.push((self.bucket(occupant, other_bank), next));
            }
            next += 1;
        }
    }

    /// Whether the key's entry is in the card. While a session is being installed its first key is only booked: its
    /// entry must not be written before the record, so it is not moved either.
    fn is_written(&self, key: KeyId) -> bool {
        self.owners[key as usize / 2].is_some()
    }

    fn stands_in(&self, key: KeyId, bank: usize) -> bool {
        matches!(self.keys[key as usize].place, Place::Slot(slot) if self.bank_of(slot) == bank)
    }

    fn occupied(&self, bucket: usize) -> usize {
        self.slots[bucket * WAYS..(bucket + 1) * WAYS]
            .iter()
            .filter(|&&key| key != NO_KEY)
            .count()
    }

    fn bank_of(&self, slot: usize) -> usize {
        (slot / WAYS) >> self.geometry.bucket_log2
    }

    /// Moves keys of the stash back to tags; with `search` by moving others too.
    fn drain_stash(&mut self, search: bool, writer: &mut impl TableWriter) -> Result<(), TableError> {
        for entry in 0..self.stash.len() {
            let key = self.stash[entry];
            if key == NO_KEY || !self.is_written(key) {
                continue;
            }
            let slot = if search {
                self.find_slot(key, writer)?
            } else {
                (0..BANKS)
                    .filter(|&bank| !self.barred(key, bank))
                    .flat_map(|bank| {
                        let bucket = self.bucket(key, bank);
                        bucket * WAYS..(bucket + 1) * WAYS
                    })
                    .find(|&slot| self.slots[slot] == NO_KEY)
            };
            if let Some(slot) = slot {
                self.relocate(key, Place::Slot(slot), writer)?;
            }
        }
        Ok(())
    }

    /// Moves an installed key: the new entry is written before the old one is cleared.
    fn relocate(&mut self, key: KeyId, to: Place, writer: &mut impl TableWriter) -> Result<(), TableError> {
        let from = self.keys[key as usize].place;
        self.unbook(from);
        self.book(key, to);
        self.write_entry(key, writer)?;
        self.clear_entry(from, writer)
    }

    fn book(&mut self, key: KeyId, place: Place) {
        self.keys[key as usize].place = place;
        match place {
            Place::Slot(slot) => {
                self.slots[slot] = key;
                self.tags_used += 1;
            }
            Place::Stash(entry) => self.stash[entry] = key,
            Place::None => {}
        }
    }

    fn unbook(&mut self, place: Place) {
        match place {
            Place::Slot(slot) => {
                self.slots[slot] = NO_KEY;
                self.tags_used -= 1;
            }
            Place::Stash(entry) => self.stash[entry] = NO_KEY,
            Place::None => {}
        }
    }

    /// Forgets a key and its claims.
    fn release(&mut self, key: KeyId) {
        self.unbook(self.keys[key as usize].place);
        self.keys[key as usize].place = Place::None;
        for bank in 0..BANKS {
            let bucket = self.bucket(key, bank);
            let claims = &mut self.claims[bucket];
            if let Some(at) = claims.iter().position(|&k| k == key) {
                claims.swap_remove(at);
            }
        }
    }

    fn tag_offset(&self, slot: usize) -> u32 {
        let (bucket, way) = (slot / WAYS, slot % WAYS);
        let within = bucket & ((1 << self.geometry.bucket_log2) - 1);
        Tag::offset(self.bank_of(slot), within as u32, way)
    }

    fn write_entry(&self, key: KeyId, writer: &mut impl TableWriter) -> Result<(), TableError> {
        let Key { hash, place } = self.keys[key as usize];
        let index = key / 2;
        match place {
            Place::Slot(slot) => {
                let tag = Tag {
                    fingerprint: hash.fingerprint(),
                    index,
                };
                writer.write(self.tag_offset(slot), &[tag.to_word()])?;
            }
            Place::Stash(entry) => {
                let words = StashEntry {
                    signature: hash.signature(),
                    index,
                }
                .to_words();
                writer.write(StashEntry::offset(entry), &words)?;
            }
            Place::None => {}
        }
        Ok(())
    }

    fn clear_entry(&self, place: Place, writer: &mut impl TableWriter) -> Result<(), TableError> {
        match place {
            Place::Slot(slot) => writer.write(self.tag_offset(slot), &[Tag::EMPTY])?,
            Place::Stash(entry) => writer.write(StashEntry::offset(entry), &StashEntry::EMPTY)?,
            Place::None => {}
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
