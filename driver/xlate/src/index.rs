//! Hash tables of slot numbers, made for the memory they live in.
//!
//! ```text
//!  64-bit hash:  [ segment ................ | stored hash, 32 bits ]
//!                     |                             |
//!  segments  --> [ bucket | bucket | ... ]  two places: f(stored), g(stored)
//!                     |
//!  bucket, one cache line: [ 8 tags | 8 times the rest of the stored hash | 8 slots ]
//! ```
//!
//! An entry lies in one of two buckets of its segment, so a look-up reads one cache line and sometimes a second, never
//! more, whatever was added and removed before. Where both are full, entries move to their other bucket (bucketized
//! cuckoo hashing); that finds room up to some 95 % of the places, and a segment grows by a quarter at 90 %.
//!
//! Tables grow a segment at a time. A segment holds a few thousand entries when the table is as large as it may become,
//! and moving them reads the segment alone, for the hashes are stored: no packet pays for more than some 50
//! microseconds, and a packet does not look at the records of others.
//!
//! Taking a slot out is to forget its tag: its entry stays, stale, in a bucket that nobody looks at. No look-up is misled by
//! it, for the caller says which slot is the right one, and a slot that is free or another's is not. Room is made of stale
//! entries where some is needed: in a full bucket, and in all buckets of a segment before it grows. So who ends a million
//! sessions touches one byte for each of their entries, and no bucket. (A stale entry whose slot is in use again, with the
//! same tag, passes for a live one until the slot is taken out again. Of another's key that is one of 255, and costs its place
//! only. A key that comes back to the slot it had finds its own entry, which is live again: no bucket has it twice, or a
//! flow that begins and ends again and again would fill its two buckets, which no growth would help.)
//!
//! More keys with one hash than two buckets hold cannot be separated by growing either. Chance does not bring them about, and
//! who does not know the keys of the hash cannot; still, a segment that is less than half full does not grow for them: they
//! wait in a list that look-ups read when it has any.
//!
//! The tables know nothing of keys: the caller gives a keyed hash and says which slot is the right one.

use prefetch_index::prefetch_index;

use crate::slab::Chunks;

/// No slot: the largest number a slot may not have.
pub(crate) const NONE: u32 = u32::MAX;

/// Entries of a bucket: as many as a cache line holds.
const ENTRIES: usize = 8;
/// Entries a segment should hold when the table is as large as it may become.
const SEGMENT: usize = 4096;
/// Moves before a segment grows instead.
const MOVES: usize = 64;

/// A stored hash: its lowest byte is the tag, which is never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored(u32);

impl Stored {
    #[inline]
    const fn new(hash: u64) -> Self {
        let hash = hash as u32;
        Self(if hash & 0xff == 0 { hash | 0xff } else { hash })
    }

    #[inline]
    const fn tag(self) -> u8 {
        self.0 as u8
    }

    /// Without the tag.
    #[inline]
    const fn rest(self) -> u32 {
        self.0 >> 8
    }
}

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Bucket {
    /// Eight tags, 0 where the entry is free; then three bytes for each entry, the rest of its stored hash.
    hashes: [u8; 4 * ENTRIES],
    slots: [u32; ENTRIES],
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// The lowest bit of each byte.
const LOW: u64 = 0x0101_0101_0101_0101;

/// The highest bit of each byte that is 0, and perhaps of bytes of 1 above one that is 0. All bytes in a few steps
/// (Warren, Hacker's Delight, 6-1).
#[inline]
const fn zeros(bytes: u64) -> u64 {
    bytes.wrapping_sub(LOW) & !bytes & (LOW << 7)
}

/// The highest bit of each byte that is 0, and of no other.
#[inline]
const fn zeros_exactly(bytes: u64) -> u64 {
    // No sum of seven bits carries into the next byte.
    !(((bytes & !(LOW << 7)) + (LOW * 0x7f)) | bytes) & (LOW << 7)
}

impl Bucket {
    const EMPTY: Self = Self {
        hashes: [0; 4 * ENTRIES],
        slots: [NONE; ENTRIES],
    };

    /// All tags, entry 0 in the lowest byte.
    #[inline]
    fn tags(&self) -> u64 {
        u64::from_le_bytes(*self.hashes.first_chunk().unwrap_or(&[0; 8]))
    }

    /// The rest of the hash of an entry.
    #[inline]
    fn rest(&self, at: usize) -> u32 {
        // Read with the byte in front of it, for four bytes are one load.
        let from = ENTRIES - 1 + 3 * at;
        let bytes = self.hashes.get(from..from + 4).and_then(|bytes| bytes.try_into().ok());
        u32::from_le_bytes(bytes.unwrap_or_default()) >> 8
    }

    #[inline]
    fn find(&self, hash: Stored, mut is: impl FnMut(u32) -> bool) -> Option<usize> {
        let mut mask = zeros(self.tags() ^ (u64::from(hash.tag()) * LOW));
        while mask != 0 {
            let at = mask.trailing_zeros() as usize / 8 % ENTRIES;
            if self.rest(at) == hash.rest() && self.hashes[at] == hash.tag() && is(self.slots[at]) {
                return Some(at);
            }
            mask &= mask - 1;
        }
        None
    }

    /// The slot of the first entry with this tag, if the rest of its hash is right, too. Others are not looked at.
    #[inline]
    fn candidate(&self, hash: Stored) -> u32 {
        let mask = zeros(self.tags() ^ (u64::from(hash.tag()) * LOW));
        let at = mask.trailing_zeros() as usize / 8 % ENTRIES;
        match mask != 0 && self.rest(at) == hash.rest() {
            true => self.slots[at],
            false => NONE,
        }
    }

    /// Puts an entry into a free place, if there is one and the entry is not there already: how many were added. `None`: the
    /// bucket is full.
    #[inline]
    fn put(&mut self, hash: Stored, slot: u32) -> Option<usize> {
        if self.find(hash, |there| there == slot).is_some() {
            return Some(0);
        }
        let free = zeros(self.tags());
        if free == 0 {
            return None;
        }
        // The lowest of the mask is a free one for certain.
        self.set(free.trailing_zeros() as usize / 8 % ENTRIES, hash, slot);
        Some(1)
    }

    #[inline]
    fn set(&mut self, at: usize, hash: Stored, slot: u32) {
        let [tag, rest @ ..] = hash.0.to_le_bytes();
        self.hashes[at] = tag;
        self.hashes[ENTRIES + 3 * at..][..3].copy_from_slice(&rest);
        self.slots[at] = slot;
    }

    /// An entry that is in use.
    #[inline]
    fn get(&self, at: usize) -> (Stored, u32) {
        (Stored(self.rest(at) << 8 | u32::from(self.hashes[at])), self.slots[at])
    }

    /// All entries.
    #[inline]
    fn entries(&self) -> impl Iterator<Item = (Stored, u32)> + '_ {
        let mut used = !zeros_exactly(self.tags()) & (LOW << 7);
        std::iter::from_fn(move || {
            let at = used.trailing_zeros() as usize / 8;
            used &= used.wrapping_sub(1);
            (at < ENTRIES).then(|| self.get(at))
        })
    }

    /// Frees the entries that are stale; how many.
    fn clean(&mut self, tags: &Tags) -> usize {
        let mut count = 0;
        for (at, &slot) in self.slots.iter().enumerate() {
            let tag = self.hashes[at];
            if tag != 0 && tags.get(slot) != tag {
                self.hashes[at] = 0;
                count += 1;
            }
        }
        count
    }
}

/// By slot, the tag of its entry; 0 where there is none.
#[derive(Clone, Debug, Default)]
struct Tags(Chunks<u8>);

impl Tags {
    #[inline]
    fn get(&self, slot: u32) -> u8 {
        self.0.get(slot).copied().unwrap_or(0)
    }

    /// Sets the tag of a slot; returns what it was.
    #[inline]
    fn set(&mut self, slot: u32, tag: u8) -> u8 {
        match self.0.get_mut(slot) {
            Some(place) => std::mem::replace(place, tag),
            None if tag == 0 => 0,
            None => self.add(slot, tag),
        }
    }

    #[cold]
    fn add(&mut self, slot: u32, tag: u8) -> u8 {
        while self.0.len() < slot as usize {
            self.0.push(0);
        }
        self.0.push(tag);
        0
    }

    #[inline]
    fn is_stale(&self, (hash, slot): (Stored, u32)) -> bool {
        self.get(slot) != hash.tag()
    }
}

/// Buckets that grow together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segment {
    buckets: Vec<Bucket>,
    /// Places of buckets that are not free.
    used: usize,
}

impl Segment {
    /// The first place of a stored hash.
    #[inline]
    pub fn first(&self, hash: Stored) -> usize {
        ((u64::from(hash.0) * self.buckets.len() as u64) >> 32) as usize
    }

    /// The second place of a stored hash; it may be the first one again.
    #[inline]
    pub fn second(&self, hash: Stored) -> usize {
        self.first(Stored(hash.0.wrapping_mul(0x9e37_79b1)))
    }

    #[inline]
    fn find(&self, hash: Stored, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut place = self.first(hash);
        let mut last = false;
        loop {
            let bucket = self.buckets.get(place)?;
            if let Some(at) = bucket.find(hash, &mut is) {
                return Some(bucket.slots[at]);
            }
            if last {
                return None;
            }
            last = true;
            place = self.second(hash);
        }
    }

    /// Adds an entry, whose tag is among `tags`. Those that no growth makes room for go to the homeless.
    fn insert(&mut self, hash: Stored, slot: u32, tags: &Tags, homeless: &mut Vec<(Stored, u32)>) {
        let places = self.buckets.len() * ENTRIES;
        if self.used * 10 >= places * 9 {
            for bucket in &mut self.buckets {
                self.used -= bucket.clean(tags);
            }
            // So much room that it is not soon needed again.
            if self.used * 4 >= places * 3 {
                self.grow(tags, homeless);
            }
        }
        let mut entry = (hash, slot);
        while let Err(left) = self.place(entry, tags) {
            entry = left;
            if self.is_sparse() {
                homeless.push(entry);
                return;
            }
            self.grow(tags, homeless);
        }
    }

    /// Less than half of the places are in use: who finds none here finds none in a larger segment.
    fn is_sparse(&self) -> bool {
        self.used * 2 < self.buckets.len() * ENTRIES
    }

    /// Places an entry, or gives back the one that found no place.
    fn place(&mut self, entry: (Stored, u32), tags: &Tags) -> Result<(), (Stored, u32)> {
        let (mut hash, mut slot) = entry;
        let (first, second) = (self.first(hash), self.second(hash));
        for at in [first, second] {
            if let Some(added) = self.buckets[at].put(hash, slot) {
                self.used += added;
                return Ok(());
            }
        }
        for at in [first, second] {
            let freed = self.buckets[at].clean(tags);
            if freed > 0 {
                self.used -= freed;
                self.used += self.buckets[at].put(hash, slot).unwrap_or_default();
                return Ok(());
            }
        }
        let mut at = second;
        for turn in 0..MOVES {
            // Another one each time, or two entries would push each other to and fro.
            let victim = turn % ENTRIES;
            let bucket = &mut self.buckets[at];
            let moved = bucket.get(victim);
            bucket.set(victim, hash, slot);
            (hash, slot) = moved;
            let first = self.first(hash);
            at = if at == first { self.second(hash) } else { first };
            if let Some(added) = self.buckets[at].put(hash, slot) {
                self.used += added;
                return Ok(());
            }
        }
        Err((hash, slot))
    }

    /// A quarter more buckets, and more if the entries do not fit and there is any use in it. What is stale is left behind.
    #[cold]
    fn grow(&mut self, tags: &Tags, homeless: &mut Vec<(Stored, u32)>) {
        let mut count = self.buckets.len() * 5 / 4 + 1;
        loop {
            let mut larger = Self {
                buckets: vec![Bucket::EMPTY; count],
                used: 0,
            };
            let all = self.buckets.iter().flat_map(Bucket::entries);
            let all = all.filter(|&entry| !tags.is_stale(entry));
            // Most entries go to the first place, which costs little; the others follow once all of these are there.
            let mut others = Vec::new();
            for (hash, slot) in all {
                let first = larger.first(hash);
                match larger.buckets[first].put(hash, slot) {
                    Some(added) => larger.used += added,
                    None => others.push((hash, slot)),
                }
            }
            let left: Vec<_> = others
                .into_iter()
                .filter_map(|entry| larger.place(entry, tags).err())
                .collect();
            if left.is_empty() || larger.is_sparse() {
                homeless.extend(left);
                *self = larger;
                return;
            }
            count += count / 4 + 1;
        }
    }
}

/// See the module documentation.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    /// A power of two of them.
    segments: Vec<Segment>,
    tags: Tags,
    used: usize,
    /// Entries that no growth of their segment makes room for; none but by accident.
    homeless: Vec<(Stored, u32)>,
}

impl Index {
    /// An empty table that is at its best with up to `most` entries; it takes more.
    pub fn new(most: usize) -> Self {
        let count = most.div_ceil(SEGMENT).next_power_of_two().clamp(1, 1 << 16);
        Self {
            segments: vec![Segment::default(); count],
            tags: Tags::default(),
            used: 0,
            homeless: Vec::new(),
        }
    }

    #[inline]
    fn segment(&self, hash: u64) -> usize {
        // The stored half of the hash chooses the buckets, so this must be the other one.
        (hash >> 32) as usize & (self.segments.len() - 1)
    }

    /// The slot under this hash that is the right one.
    #[inline]
    pub fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let found = self.segments.get(self.segment(hash))?.find(Stored::new(hash), &mut is);
        match found {
            None if !self.homeless.is_empty() => self.find_homeless(hash, is),
            found => found,
        }
    }

    #[cold]
    fn find_homeless(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let alike = self.homeless.iter().filter(|entry| entry.0 == Stored::new(hash));
        alike.map(|entry| entry.1).find(|&slot| is(slot))
    }

    /// The slot under this hash that [`Index::find`] would in all likelihood return, or [`NONE`]. It reads what `find` reads
    /// and no records.
    #[inline]
    pub fn candidate(&self, hash: u64) -> u32 {
        match self.candidate_in(hash, Segment::first) {
            NONE => self.candidate_in(hash, Segment::second),
            slot => slot,
        }
    }

    /// As [`Index::candidate`], in the first place or the second.
    #[inline]
    pub fn candidate_in(&self, hash: u64, place: impl Fn(&Segment, Stored) -> usize) -> u32 {
        let stored = Stored::new(hash);
        let segment = self.segments.get(self.segment(hash));
        let bucket = segment.and_then(|segment| segment.buckets.get(place(segment, stored)));
        bucket.map_or(NONE, |bucket| bucket.candidate(stored))
    }

    /// Asks for the bucket in the first place or the second, without waiting for it.
    #[inline]
    pub fn prefetch(&self, hash: u64, place: impl Fn(&Segment, Stored) -> usize) {
        if let Some(segment) = self.segments.get(self.segment(hash)) {
            prefetch_index(&segment.buckets, place(segment, Stored::new(hash)));
        }
    }

    /// Adds a slot that is not there.
    #[inline]
    pub fn insert(&mut self, hash: u64, slot: u32) {
        let (segment, stored) = (self.segment(hash), Stored::new(hash));
        if !self.homeless.is_empty() {
            // Before the slot's new entry, for an old one of the same hash would pass for it.
            self.tags.set(slot, 0);
            self.homeless.retain(|&entry| !self.tags.is_stale(entry));
        }
        self.tags.set(slot, stored.tag());
        self.segments[segment].insert(stored, slot, &self.tags, &mut self.homeless);
        self.used += 1;
    }

    /// Takes a slot out. `false`: it was not there.
    #[inline(always)]
    pub fn remove(&mut self, slot: u32) -> bool {
        let was = self.tags.set(slot, 0) != 0;
        self.used -= usize::from(was);
        was
    }

    /// Takes all slots out.
    pub fn clear(&mut self) {
        self.segments.fill(Segment::default());
        (self.tags, self.used) = (Tags::default(), 0);
        self.homeless.clear();
    }

    /// Slots.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::seq::IteratorRandom;
    use rand::{Rng, SeedableRng};
    use std::collections::BTreeMap;

    #[test]
    fn agrees_with_an_ordered_map() {
        let (mut found, mut all) = (0, 0);
        for seed in 0..20u64 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut index = Index::new(1 << rng.random_range(0..16));
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            // Few different hashes: many entries under one.
            let spread = rng.random_range(4..64);
            let keep = rng.random_range(30..95);
            for slot in 0..6000 {
                if rng.random_range(0..100) < keep {
                    // Equal hashes share sixteen places, no more.
                    let hash =
                        rng.random::<u64>() >> (64 - spread) << 20 | u64::from(slot) << 52 | u64::from(slot >> 3);
                    index.insert(hash, slot);
                    model.insert(slot, hash);
                } else if let Some((&old, &hash)) = model.iter().choose(&mut rng) {
                    assert_eq!(index.find(hash, |other| other == old), Some(old), "seed {seed}");
                    assert!(index.remove(old), "seed {seed}");
                    assert!(!index.remove(old), "seed {seed}");
                    model.remove(&old);
                }
                assert_eq!(index.len(), model.len(), "seed {seed}");
            }
            for (&slot, &hash) in &model {
                assert_eq!(index.find(hash, |other| other == slot), Some(slot), "seed {seed}");
                // One that is stale may be in front of it.
                let first = index.candidate(hash);
                let known = model.get(&first).map(|&hash| Stored::new(hash));
                assert!(known.is_none_or(|known| known == Stored::new(hash)), "seed {seed}");
                found += u32::from(known.is_some());
                all += 1;
                assert_eq!(index.find(!hash, |other| other == slot), None, "seed {seed}");
            }
            index.clear();
            assert!(
                model.iter().all(|(_, &hash)| index.candidate(hash) == NONE),
                "seed {seed}"
            );
        }
        // Another entry of the bucket has the same tag in 1 case of 70, and here hashes are few.
        assert!(found * 100 > all * 80, "{found} of {all}");
    }

    /// Entries come and go, and their slots are used again: each is found as long as it is there, and a table that holds
    /// what it held before does not grow for what is gone.
    #[test]
    fn stale_entries_are_in_nobodys_way() {
        let mut rng = StdRng::seed_from_u64(2);
        let mut index = Index::new(1 << 14);
        let mut live: Vec<u64> = (0..10_000).map(|_| rng.random()).collect();
        for (slot, &hash) in live.iter().enumerate() {
            index.insert(hash, slot as u32);
        }
        for round in 0..60 {
            for _ in 0..10_000 {
                let slot = rng.random_range(0..live.len());
                assert!(index.remove(slot as u32), "round {round}");
                live[slot] = rng.random();
                index.insert(live[slot], slot as u32);
            }
            for (slot, &hash) in live.iter().enumerate() {
                let found = index.find(hash, |other| live.get(other as usize) == Some(&hash));
                assert_eq!(found, Some(slot as u32), "round {round}");
            }
            assert_eq!(index.len(), live.len());
        }
        let places = index
            .segments
            .iter()
            .map(|segment| segment.buckets.len() * ENTRIES)
            .sum::<usize>();
        assert!(
            places < live.len() * 3 / 2,
            "{places} places for {} entries",
            live.len()
        );
        let used = index.segments.iter().map(|segment| segment.used).sum::<usize>();
        let entries = index
            .segments
            .iter()
            .flat_map(|segment| &segment.buckets)
            .flat_map(Bucket::entries);
        assert_eq!(used, entries.count());
    }

    #[test]
    fn a_table_is_dense_and_its_segments_are_small() {
        const MOST: usize = 1 << 18;
        let mut rng = StdRng::seed_from_u64(1);
        let mut index = Index::new(MOST);
        let mut places = Vec::new();
        for slot in 0..MOST as u32 {
            index.insert(rng.random(), slot);
            if slot as usize > MOST / 2 && slot % 4096 == 0 {
                let buckets: usize = index.segments.iter().map(|segment| segment.buckets.len()).sum();
                places.push((buckets * ENTRIES) as f64 / f64::from(slot));
            }
        }
        let largest = index.segments.iter().map(|segment| segment.used).max();
        assert!(largest.is_some_and(|used| used < SEGMENT * 5 / 4), "{largest:?}");
        let worst = places.iter().copied().fold(0.0, f64::max);
        assert!(worst < 1.45, "{worst} places for an entry");
    }

    /// A flow that begins and ends again and again has the same hash and the same slot each time: its entry is the one that
    /// was left stale, and no second one.
    #[test]
    fn who_comes_back_to_the_same_slot_takes_one_place() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut index = Index::new(64);
        let others: Vec<u64> = (0..20).map(|_| rng.random()).collect();
        for (slot, &hash) in others.iter().enumerate() {
            index.insert(hash, slot as u32);
        }
        let hash: u64 = rng.random();
        for turn in 0..10_000 {
            index.insert(hash, 20);
            assert_eq!(index.find(hash, |slot| slot == 20), Some(20), "turn {turn}");
            assert!(index.remove(20), "turn {turn}");
        }
        let segment = &index.segments[0];
        assert!(segment.buckets.len() <= 6, "{} buckets", segment.buckets.len());
        assert_eq!(index.homeless, []);
    }

    /// Sixteen entries with one hash fill both buckets. A keyed hash gives nobody the means to make more, and if there are more
    /// they are found nevertheless, and the table does not grow for them.
    #[test]
    fn equal_hashes_find_room() {
        let hash = 0x0123_4567_89ab_cdef;
        let mut index = Index::new(1 << 20);
        for slot in 0..50 {
            index.insert(hash, slot);
        }
        for slot in 0..50 {
            assert_eq!(index.find(hash, |other| other == slot), Some(slot));
        }
        let buckets: usize = index.segments.iter().map(|segment| segment.buckets.len()).sum();
        assert!(buckets <= 8, "{buckets} buckets");
        for slot in 0..50 {
            assert!(index.remove(slot));
        }
        index.insert(hash, 50);
        assert_eq!(index.find(hash, |other| other == 50), Some(50));
        assert_eq!(index.homeless, []);
    }
}
