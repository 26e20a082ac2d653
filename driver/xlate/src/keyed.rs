//! SipHash-1-3 with secret keys: hash tables that a client cannot aim at, and numbers it cannot foresee.

use std::hash::{BuildHasher, Hasher};

use siphasher::sip::SipHasher13;

/// Keys of all tables of a translator.
#[derive(Clone, Debug)]
pub struct Keyed {
    keys: [u64; 2],
}

impl Keyed {
    /// Keys drawn from a seed.
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self {
            keys: [split_mix(&mut state), split_mix(&mut state)],
        }
    }
}

impl Keyed {
    /// SipHash-1-3 of a message of `8 * N + tail` bytes: its whole words, then the word of its last bytes; all are read
    /// as little endian. The last bytes are at most seven, the rest of their word is zero.
    ///
    /// The keys of the tables have a width known to the compiler; without the bookkeeping of a hasher that is fed byte by
    /// byte, a hash costs a third.
    #[inline]
    pub fn words<const N: usize>(&self, whole: [u64; N], last: u64, tail: u64) -> u64 {
        let [k0, k1] = self.keys;
        let mut v = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        for word in whole {
            v[3] ^= word;
            round(&mut v);
            v[0] ^= word;
        }
        let last = last | (8 * N as u64 + tail) << 56;
        v[3] ^= last;
        round(&mut v);
        v[0] ^= last;
        v[2] ^= 0xff;
        for _ in 0..3 {
            round(&mut v);
        }
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

/// The round of SipHash.
#[inline(always)]
const fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.keys[0], self.keys[1])
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
    keyed: Keyed,
    counter: u64,
}

impl Random {
    /// A generator with keys drawn from a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            keyed: Keyed::new(seed),
            counter: 0,
        }
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.counter += 1;
        let mut hasher = self.keyed.build_hasher();
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
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    /// Whole words and a tail of each length, against the hasher of another's crate.
    #[test]
    fn words_are_hashed_as_their_bytes() {
        for seed in 0..200u64 {
            let mut rng = StdRng::seed_from_u64(seed);
            let keyed = Keyed::new(rng.random());
            let bytes: [u8; 39] = rng.random();
            let word = |at: usize| word_of(&bytes[8 * at..8 * at + 8]);
            for tail in 0..8 {
                let last = word_of(&bytes[32..32 + tail]);
                let want = |length: usize| keyed.build_hasher().hash(&bytes[..length]);
                assert_eq!(
                    keyed.words([word(0), word(1), word(2), word(3)], last, tail as u64),
                    want(32 + tail),
                    "seed {seed}, tail {tail}"
                );
            }
            assert_eq!(keyed.words([word(0)], 0, 0), keyed.build_hasher().hash(&bytes[..8]));
            assert_eq!(keyed.words([], 0, 0), keyed.build_hasher().hash(&[]));
        }
    }

    fn word_of(bytes: &[u8]) -> u64 {
        bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
    }
}
