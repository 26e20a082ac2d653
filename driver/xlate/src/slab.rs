//! Entries with numbers: a vector whose free places are used again, and a count of uses for each place.

const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Place<T> {
    entry: Option<T>,
    /// Times the place was emptied.
    generation: u32,
    /// Next free place.
    next: u32,
}

/// See the module documentation.
#[derive(Clone, Debug)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    free: u32,
    used: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
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
        if self.free == NONE {
            self.places.push(Place {
                entry: Some(entry),
                generation: 0,
                next: NONE,
            });
            return self.places.len() as u32 - 1;
        }
        let slot = self.free;
        let place = &mut self.places[slot as usize];
        self.free = place.next;
        place.entry = Some(entry);
        slot
    }

    /// Takes an entry out.
    pub fn remove(&mut self, slot: u32) -> Option<T> {
        let place = self.places.get_mut(slot as usize)?;
        let entry = place.entry.take()?;
        place.generation = place.generation.wrapping_add(1);
        place.next = self.free;
        self.free = slot;
        self.used -= 1;
        Some(entry)
    }

    /// The entry with this number.
    #[inline]
    pub fn get(&self, slot: u32) -> Option<&T> {
        self.places.get(slot as usize)?.entry.as_ref()
    }

    /// The entry with this number.
    #[inline]
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.places.get_mut(slot as usize)?.entry.as_mut()
    }

    /// Times this place was emptied before.
    pub fn generation(&self, slot: u32) -> u32 {
        self.places.get(slot as usize).map_or(0, |place| place.generation)
    }

    /// All entries.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(|place| place.entry.as_mut())
    }

    /// All entries with their numbers, by rising number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.places
            .iter()
            .enumerate()
            .filter_map(|(slot, place)| Some((slot as u32, place.entry.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_with_another_generation() {
        let mut slab = Slab::default();
        let a = slab.insert('a');
        let b = slab.insert('b');
        assert_eq!((a, b, slab.generation(a)), (0, 1, 0));
        assert_eq!((slab.remove(a), slab.remove(a)), (Some('a'), None));
        assert_eq!(slab.insert('c'), a);
        assert_eq!((slab.generation(a), slab.generation(b), slab.len()), (1, 0, 2));
        assert_eq!(slab.iter().collect::<Vec<_>>(), [(0, &'c'), (1, &'b')]);
        assert_eq!(slab.get(7), None);
    }
}
