//! Entries with numbers: chunks of places, whose free ones are used again.
//!
//! A slab grows by a chunk, never by moving what it holds, so that no insertion takes long; the chunk is two megabytes for
//! a record of a cache line, the size of a large page.

use prefetch_index::prefetch_index;

const NONE: u32 = u32::MAX;

/// The link of a free place lies where an entry would: a place is no larger than its entry, if that has a value to spare.
#[derive(Clone, Debug)]
enum Place<T> {
    Used(T),
    /// Next free place.
    Free(u32),
}

impl<T> Place<T> {
    #[inline]
    const fn entry(&self) -> Option<&T> {
        match self {
            Self::Used(entry) => Some(entry),
            Self::Free(_) => None,
        }
    }

    #[inline]
    const fn entry_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Used(entry) => Some(entry),
            Self::Free(_) => None,
        }
    }
}

/// A vector in chunks: places keep their addresses while it grows.
#[derive(Clone, Debug)]
pub(crate) struct Chunks<T> {
    chunks: Vec<Vec<T>>,
}

/// Places of a chunk, as a power of two.
const CHUNK_BITS: u32 = 15;
const CHUNK: usize = 1 << CHUNK_BITS;
/// Bytes of a cache line.
const LINE: usize = 64;

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T> Chunks<T> {
    /// Places.
    pub fn len(&self) -> usize {
        match self.chunks.split_last() {
            Some((last, full)) => full.len() * CHUNK + last.len(),
            None => 0,
        }
    }

    /// Adds a place at the end.
    pub fn push(&mut self, entry: T) {
        if self.chunks.last().is_none_or(|last| last.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        if let Some(last) = self.chunks.last_mut() {
            last.push(entry);
        }
    }

    /// The place with this number.
    #[inline]
    pub fn get(&self, at: u32) -> Option<&T> {
        self.chunks.get(at as usize >> CHUNK_BITS)?.get(at as usize % CHUNK)
    }

    /// Asks for the place with this number, without waiting for it.
    #[inline]
    pub fn prefetch(&self, at: u32) {
        if let Some(chunk) = self.chunks.get(at as usize >> CHUNK_BITS) {
            let at = at as usize % CHUNK;
            prefetch_index(chunk, at);
            if size_of::<T>() > LINE {
                // It ends in another line, mostly the one in which the next one begins.
                prefetch_index(chunk, at + 1);
            }
        }
    }

    /// The place with this number.
    #[inline]
    pub fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.chunks
            .get_mut(at as usize >> CHUNK_BITS)?
            .get_mut(at as usize % CHUNK)
    }

    /// All places in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }

    /// All places in order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.chunks.iter_mut().flatten()
    }
}

/// See the module documentation.
#[derive(Clone, Debug)]
pub struct Slab<T> {
    places: Chunks<Place<T>>,
    free: u32,
    used: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            places: Chunks::default(),
            free: NONE,
            used: 0,
        }
    }
}

impl<T> Slab<T> {
    /// Entries.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Adds an entry and returns its number.
    pub fn insert(&mut self, entry: T) -> u32 {
        self.used += 1;
        if let Some(place) = self.places.get_mut(self.free) {
            let slot = self.free;
            if let Place::Free(next) = std::mem::replace(place, Place::Used(entry)) {
                self.free = next;
            }
            return slot;
        }
        self.places.push(Place::Used(entry));
        self.places.len() as u32 - 1
    }

    /// Takes an entry out.
    pub fn remove(&mut self, slot: u32) -> Option<T> {
        let place = self.places.get_mut(slot)?;
        place.entry()?;
        match std::mem::replace(place, Place::Free(self.free)) {
            Place::Used(entry) => {
                self.free = slot;
                self.used -= 1;
                Some(entry)
            }
            Place::Free(_) => None,
        }
    }

    /// Frees the place of an entry, and returns what `keep` took of it. Whatever of it must be dropped is to be among that.
    #[inline(always)]
    pub(crate) fn free<R>(&mut self, slot: u32, keep: impl FnOnce(&mut T) -> R) -> Option<R> {
        let place = self.places.get_mut(slot)?;
        let kept = keep(place.entry_mut()?);
        // Nothing is left that would be worth the way through its destructor.
        std::mem::forget(std::mem::replace(place, Place::Free(self.free)));
        self.free = slot;
        self.used -= 1;
        Some(kept)
    }

    /// The entry with this number.
    #[inline]
    pub fn get(&self, slot: u32) -> Option<&T> {
        self.places.get(slot)?.entry()
    }

    /// The entry with this number.
    #[inline]
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.places.get_mut(slot)?.entry_mut()
    }

    /// Asks for the place with this number, without waiting for it.
    #[inline]
    pub(crate) fn prefetch(&self, slot: u32) {
        self.places.prefetch(slot);
    }

    /// All entries.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(Place::entry_mut)
    }

    /// Places, used or free: every number is below.
    pub fn places(&self) -> u32 {
        self.places.len() as u32
    }

    /// All entries with their numbers, by rising number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.places
            .iter()
            .enumerate()
            .filter_map(|(slot, place)| Some((slot as u32, place.entry()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bib::Bib;
    use crate::session::Session;

    #[test]
    fn places_are_used_again() {
        let mut slab = Slab::default();
        let a = slab.insert('a');
        let b = slab.insert('b');
        assert_eq!((a, b), (0, 1));
        assert_eq!((slab.remove(a), slab.remove(a)), (Some('a'), None));
        assert_eq!(slab.insert('c'), a);
        assert_eq!(slab.len(), 2);
        assert_eq!(slab.iter().collect::<Vec<_>>(), [(0, &'c'), (1, &'b')]);
        assert_eq!(slab.get(7), None);
        assert_eq!((slab.remove(a), slab.remove(b)), (Some('c'), Some('b')));
        assert_eq!((slab.insert('d'), slab.insert('e'), slab.insert('f')), (b, a, 2));
    }

    #[test]
    fn a_free_place_costs_nothing_beside_its_entry() {
        assert_eq!(
            (size_of::<Place<Session>>(), size_of::<Place<Bib>>()),
            (size_of::<Session>(), size_of::<Bib>())
        );
    }
}
