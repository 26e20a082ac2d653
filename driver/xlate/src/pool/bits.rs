//! A set of small numbers that finds its next member in a few steps, however full or empty it is.

/// A set of numbers below a fixed bound: a bitmap with summaries, each bit of a summary telling whether the 64 bits
/// below it hold a member.
#[derive(Clone, Debug)]
pub struct BitTree {
    /// Level 0 holds the members; the last level is one word.
    levels: Vec<Vec<u64>>,
    length: u32,
}

impl BitTree {
    /// The set of all numbers below `length`, or the empty one.
    pub fn new(length: u32, full: bool) -> Self {
        let mut levels = Vec::new();
        let mut bits = length as usize;
        loop {
            let words = bits.div_ceil(64).max(1);
            let mut level = vec![if full { u64::MAX } else { 0 }; words];
            if full {
                if bits == 0 {
                    level[0] = 0;
                } else if !bits.is_multiple_of(64) {
                    level[words - 1] = (1 << (bits % 64)) - 1;
                }
            }
            levels.push(level);
            if words == 1 {
                return Self { levels, length };
            }
            bits = words;
        }
    }

    /// Whether `bit` is a member.
    #[inline]
    pub fn contains(&self, bit: u32) -> bool {
        bit < self.length && self.levels[0][bit as usize / 64] >> (bit % 64) & 1 != 0
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.levels.last().is_none_or(|top| top[0] == 0)
    }

    /// Makes `bit` a member; no effect at or above the bound.
    pub fn insert(&mut self, bit: u32) {
        if bit >= self.length {
            return;
        }
        let mut at = bit as usize;
        for level in &mut self.levels {
            let word = &mut level[at / 64];
            let before = *word;
            *word |= 1 << (at % 64);
            if before != 0 {
                return;
            }
            at /= 64;
        }
    }

    /// Makes `bit` no member.
    pub fn remove(&mut self, bit: u32) {
        if bit >= self.length {
            return;
        }
        let mut at = bit as usize;
        for level in &mut self.levels {
            let word = &mut level[at / 64];
            *word &= !(1 << (at % 64));
            if *word != 0 {
                return;
            }
            at /= 64;
        }
    }

    /// The least member that is not below `from`.
    pub fn next(&self, from: u32) -> Option<u32> {
        if from >= self.length {
            return None;
        }
        let mut at = from as usize;
        // Up to the first level with a member at or behind the place ...
        let mut level = 0;
        loop {
            let words = &self.levels[level];
            let rest = words.get(at / 64).map_or(0, |word| word & (u64::MAX << (at % 64)));
            if rest != 0 {
                at = at / 64 * 64 + rest.trailing_zeros() as usize;
                break;
            }
            level += 1;
            if level == self.levels.len() {
                return None;
            }
            at = at / 64 + 1;
        }
        // ... and down to its first one.
        while level > 0 {
            level -= 1;
            at = at * 64 + self.levels[level][at].trailing_zeros() as usize;
        }
        Some(at as u32)
    }

    /// The least member not below `from`, or else the least of all.
    pub fn next_wrapping(&self, from: u32) -> Option<u32> {
        self.next(from).or_else(|| self.next(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use std::collections::BTreeSet;

    #[test]
    fn agrees_with_an_ordered_set() {
        for seed in 0..40u64 {
            let mut rng = StdRng::seed_from_u64(seed);
            let length = 1 + (rng.random_range(0..1u32 << 14) >> rng.random_range(0..14));
            let full = rng.random();
            let mut tree = BitTree::new(length, full);
            let mut model: BTreeSet<u32> = if full { (0..length).collect() } else { BTreeSet::new() };
            for _ in 0..2000 {
                let bit = rng.random_range(0..length + 3);
                match rng.random_range(0..3) {
                    0 => {
                        tree.insert(bit);
                        if bit < length {
                            model.insert(bit);
                        }
                    }
                    1 => {
                        tree.remove(bit);
                        model.remove(&bit);
                    }
                    _ => {
                        assert_eq!(tree.next(bit), model.range(bit..).next().copied(), "seed {seed}");
                        assert_eq!(tree.contains(bit), model.contains(&bit), "seed {seed}");
                        assert_eq!(tree.is_empty(), model.is_empty(), "seed {seed}");
                        let wrapped = model.range(bit..).next().or(model.first()).copied();
                        assert_eq!(tree.next_wrapping(bit), wrapped, "seed {seed}");
                    }
                }
            }
        }
    }
}
