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
    /// Hash of a whole key.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        self.build_hasher().hash(bytes)
    }
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
