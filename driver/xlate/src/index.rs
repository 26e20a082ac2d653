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
//! same tag, passes for a live one until the slot is taken out again. That is one of 255, and costs its place only.)
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

    /// Puts an entry into a free place, if there is one.
    #[inline]
    fn put(&mut self, hash: Stored, slot: u32) -> bool {
        let free = zeros(self.tags());
        if free == 0 {
            return false;
        }
        // The lowest of the mask is a free one for certain.
        self.set(free.trailing_zeros() as usize / 8 % ENTRIES, hash, slot);
        true
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

    /// Adds an entry, whose tag is among `tags`.
    fn insert(&mut self, hash: Stored, slot: u32, tags: &Tags) {
        let places = self.buckets.len() * ENTRIES;
        if self.used * 10 >= places * 9 {
            for bucket in &mut self.buckets {
                self.used -= bucket.clean(tags);
            }
            // So much room that it is not soon needed again.
            if self.used * 4 >= places * 3 {
                self.grow(tags);
            }
        }
        let mut homeless = (hash, slot);
        while let Err(left) = self.place(homeless, tags) {
            homeless = left;
            self.grow(tags);
        }
        self.used += 1;
    }

    /// Places an entry, or gives back the one that found no place.
    fn place(&mut self, entry: (Stored, u32), tags: &Tags) -> Result<(), (Stored, u32)> {
        let (mut hash, mut slot) = entry;
        let (first, second) = (self.first(hash), self.second(hash));
        if self.buckets[first].put(hash, slot) || self.buckets[second].put(hash, slot) {
            return Ok(());
        }
        for at in [first, second] {
            let freed = self.buckets[at].clean(tags);
            if freed > 0 {
                self.used -= freed;
                self.buckets[at].put(hash, slot);
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
            if self.buckets[at].put(hash, slot) {
                return Ok(());
            }
        }
        Err((hash, slot))
    }

    /// A quarter more buckets, and more if the entries do not fit. What is stale is left behind.
    fn grow(&mut self, tags: &Tags) {
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
                larger.used += 1;
                if !larger.buckets[first].put(hash, slot) {
                    others.push((hash, slot));
                }
            }
            if others.into_iter().all(|entry| larger.place(entry, tags).is_ok()) {
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
}

impl Index {
    /// An empty table that is at its best with up to `most` entries; it takes more.
    pub fn new(most: usize) -> Self {
        let count = most.div_ceil(SEGMENT).next_power_of_two().clamp(1, 1 << 16);
        Self {
            segments: vec![Segment::default(); count],
            tags: Tags::default(),
            used: 0,
        }
    }

    #[inline]
    fn segment(&self, hash: u64) -> usize {
        // The stored half of the hash chooses the buckets, so this must be the other one.
        (hash >> 32) as usize & (self.segments.len() - 1)
    }

    /// The slot under this hash that is the right one.
    #[inline]
    pub fn find(&self, hash: u64, is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.segments.get(self.segment(hash))?.find(Stored::new(hash), is)
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
        self.tags.set(slot, stored.tag());
        self.segments[segment].insert(stored, slot, &self.tags);
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

    /// Sixteen entries with one hash fill both buckets; more could not be told apart by any growth, and a keyed hash gives
    /// nobody the means to make them.
    #[test]
    fn sixteen_equal_hashes_find_room() {
        let mut index = Index::new(1 << 20);
        for slot in 0..16 {
            index.insert(0x0123_4567_89ab_cdef, slot);
        }
        for slot in 0..16 {
            assert_eq!(index.find(0x0123_4567_89ab_cdef, |other| other == slot), Some(slot));
        }
    }
}
