//! Secret keys: hash tables that a client cannot aim at, and numbers it cannot foresee.
//!
//! The two ask for different things. A number we draw is seen outside (a port, an Identification), so it comes from a
//! pseudo-random function: SipHash-1-3. The hash of a table is seen by nobody: neither it nor the place it leads to, nor an
//! order that follows from it, leaves the process. What a client could do is to choose, without ever seeing a hash, keys that
//! collide. Against that stands aHash: its 256 bits of keys are drawn from the seed, each 128 bits of a key are masked with two
//! of them before the product that mixes them, and no input can cancel a mask it does not know. It takes a fifth of the time of
//! SipHash, which was a sixth of the time of a packet. What is left of a collision is bounded elsewhere: a bucket holds as many
//! entries whatever they are (`index.rs`).

use std::hash::{BuildHasher, Hasher};

use ahash::{AHasher, RandomState};
use siphasher::sip::SipHasher13;

/// Keys of all tables of a translator.
#[derive(Clone, Debug)]
pub struct Keyed {
    tables: RandomState,
    numbers: [u64; 2],
}

impl Keyed {
    /// Keys drawn from a seed.
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        let numbers = [split_mix(&mut state), split_mix(&mut state)];
        let [a, b, c, d] = std::array::from_fn(|_| split_mix(&mut state));
        Self {
            tables: RandomState::with_seeds(a, b, c, d),
            numbers,
        }
    }

    /// The hash of a key whose width the compiler knows.
    #[inline(always)]
    pub fn words<const N: usize>(&self, words: [u128; N]) -> u64 {
        let mut hasher = self.tables.build_hasher();
        for word in words {
            hasher.write_u128(word);
        }
        hasher.finish()
    }

    /// A seed for [`Random`], of what bears this name.
    pub fn seed_of(&self, name: &str) -> u64 {
        SipHasher13::new_with_keys(self.numbers[0], self.numbers[1]).hash(name.as_bytes())
    }
}

impl BuildHasher for Keyed {
    type Hasher = AHasher;

    #[inline]
    fn build_hasher(&self) -> AHasher {
        self.tables.build_hasher()
    }
}

/// Spreads a seed over 64 bits (Steele, Lea, Flood: SplitMix64).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// A generator in counter mode: who does not know the key cannot foresee its numbers (RFC 6056 section 3.1).
#[derive(Clone, Debug)]
pub struct Random {
    keys: [u64; 2],
    counter: u64,
}

impl Random {
    /// A generator with keys drawn from a seed.
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self {
            keys: [split_mix(&mut state), split_mix(&mut state)],
            counter: 0,
        }
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.counter += 1;
        let mut hasher = SipHasher13::new_with_keys(self.keys[0], self.keys[1]);
        hasher.write_u64(self.counter);
        hasher.finish()
    }

    /// A number below `bound`, all with equal chance up to 2^-32; 0 for a bound of 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same seed hashes alike; another seed, or any other bit of a key, does not.
    #[test]
    fn every_bit_of_key_and_seed_counts() {
        let words = |seed: u64, words: [u128; 2]| Keyed::new(seed).words(words);
        let key = [0x2001_0db8 << 96 | 1, 443];
        assert_eq!(words(1, key), words(1, key));
        assert_ne!(words(1, key), words(2, key));
        for bit in 0..256 {
            let mut other = key;
            other[bit / 128] ^= 1 << (bit % 128);
            let changed = (words(1, key) ^ words(1, other)).count_ones();
            // 32 of 64 on average; fewer than 8 once in 10^10.
            assert!(changed >= 8, "bit {bit} changes {changed}");
        }
    }

    /// What a scanning client sends, and what clients of one prefix send, spreads over buckets as chance would have it.
    #[test]
    fn neighbours_spread_evenly() {
        const BUCKETS: usize = 1 << 10;
        const KEYS: u128 = 1 << 16;
        for shift in [0, 16, 32, 48, 64, 80, 112] {
            for seed in 0..8 {
                let keyed = Keyed::new(seed);
                for half in [0, 32] {
                    let mut counts = [0u32; BUCKETS];
                    for n in 0..KEYS {
                        counts[(keyed.words([0x2001_0db8 << 96, n << shift]) >> half) as usize % BUCKETS] += 1;
                    }
                    // 64 on average with a deviation of 8.
                    let most = counts.iter().copied().max().unwrap_or(0);
                    assert!(most < 64 + 6 * 8, "shift {shift}, seed {seed}: {most}");
                }
            }
        }
    }

    #[test]
    fn draws_do_not_repeat() {
        let mut random = Random::new(7);
        let drawn: std::collections::HashSet<u64> = (0..10_000).map(|_| random.draw()).collect();
        assert_eq!(drawn.len(), 10_000);
        assert_ne!(Keyed::new(7).seed_of("a"), Keyed::new(7).seed_of("b"));
        assert_ne!(Keyed::new(7).seed_of("a"), Keyed::new(8).seed_of("a"));
    }
}
