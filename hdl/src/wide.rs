//! Wide bit vectors as 64-bit limbs, usable as a signal type in RustHDL.
//!
//! RustHDL keeps `Bits<N>` above 32 bits as `[bool; N]`, where a 200-bit add costs 250 ns. [`Wide`] has the method names
//! that `#[hdl_gen]` knows how to translate, and cast functions whose names start with `bit_cast` or `bits`, so that the
//! macro takes them as casts; the Verilog is the same as for `Bits<N>`.

use crate::prelude::*;
use num_bigint::BigUint;
use rust_hdl::core::ast::VerilogLiteral;
use rust_hdl::core::bits::Bits as SlowBits;
use rust_hdl::core::synth::VCDValue;
use rust_hdl::core::type_descriptor::{TypeDescriptor, TypeKind};

/// Limbs of every `Wide`: up to 768 bits.
pub const LIMBS: usize = 12;

/// `N` bits, least significant limb first.
#[derive(Copy, Clone)]
pub struct Wide<const N: usize>(pub [u64; LIMBS]);

impl<const N: usize> Wide<N> {
    /// Limbs in use.
    pub const LIMBS_USED: usize = N.div_ceil(64);

    const TOP_MASK: u64 = if N.is_multiple_of(64) {
        !0
    } else {
        (1u64 << (N % 64)) - 1
    };

    #[inline(always)]
    fn trim(mut self) -> Self {
        self.0[Self::LIMBS_USED - 1] &= Self::TOP_MASK;
        self
    }

    /// Bit `i`.
    #[inline(always)]
    pub fn get_bit(&self, i: usize) -> bool {
        debug_assert!(i < N, "bit {i} of {N}");
        self.0[i / 64] >> (i % 64) & 1 != 0
    }

    /// Bits `i .. i + M`; bits past the end are zero.
    #[inline(always)]
    pub fn get_bits<const M: usize>(&self, i: usize) -> Wide<M> {
        let mut r = [0u64; LIMBS];
        let (q, s) = (i / 64, i % 64);
        for (k, limb) in r.iter_mut().enumerate().take(Wide::<M>::LIMBS_USED) {
            let low = if q + k < LIMBS { self.0[q + k] } else { 0 };
            let high = if q + k + 1 < LIMBS { self.0[q + k + 1] } else { 0 };
            *limb = if s == 0 { low } else { low >> s | high << (64 - s) };
        }
        Wide::<M>(r).trim()
    }

    /// This vector with bit `i` replaced.
    #[inline(always)]
    pub fn replace_bit(&self, i: usize, v: bool) -> Self {
        let mut r = *self;
        let mask = 1u64 << (i % 64);
        if v {
            r.0[i / 64] |= mask;
        } else {
            r.0[i / 64] &= !mask;
        }
        r
    }

    /// Exclusive or over all bits.
    #[inline(always)]
    pub fn xor(&self) -> bool {
        self.0[..Self::LIMBS_USED]
            .iter()
            .fold(0, |acc, limb| acc ^ limb)
            .count_ones()
            & 1
            != 0
    }

    /// Whether a bit is set.
    #[inline(always)]
    pub fn any(&self) -> bool {
        self.0[..Self::LIMBS_USED].iter().fold(0, |acc, limb| acc | limb) != 0
    }

    /// Whether every bit is set.
    #[inline(always)]
    pub fn all(&self) -> bool {
        *self == !Self::default()
    }

    /// From a big integer, cut to `N` bits.
    pub fn from_big(big: &BigUint) -> Self {
        let mut r = [0u64; LIMBS];
        for (limb, digit) in r.iter_mut().zip(big.to_u64_digits()) {
            *limb = digit;
        }
        Self(r).cut()
    }

    /// As a big integer.
    pub fn big(&self) -> BigUint {
        self.0[..Self::LIMBS_USED]
            .iter()
            .rev()
            .fold(BigUint::default(), |acc, &limb| acc << 64 | BigUint::from(limb))
    }

    /// From bytes, the first byte most significant; short input is filled with zero bytes at the end, as a frame in a
    /// beat is.
    pub fn from_frame(bytes: &[u8]) -> Self {
        let mut r = [0u64; LIMBS];
        for (i, &byte) in bytes.iter().take(N / 8).enumerate() {
            let bit = N - 8 - 8 * i;
            r[bit / 64] |= u64::from(byte) << (bit % 64);
        }
        Self(r)
    }

    /// The first `count` bytes, most significant first.
    pub fn to_frame(&self, count: usize) -> Vec<u8> {
        (0..count.min(N / 8))
            .map(|i| {
                let bit = N - 8 - 8 * i;
                (self.0[bit / 64] >> (bit % 64)) as u8
            })
            .collect()
    }

    /// The low 64 bits.
    #[inline(always)]
    pub fn low(&self) -> u64 {
        self.0[0]
    }

    #[inline(always)]
    fn cut(mut self) -> Self {
        for limb in &mut self.0[Self::LIMBS_USED..] {
            *limb = 0;
        }
        self.trim()
    }
}

impl<const N: usize> std::fmt::Debug for Wide<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{N}'h{:x}", self.big())
    }
}

impl<const N: usize> PartialEq for Wide<N> {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.0[..Self::LIMBS_USED] == other.0[..Self::LIMBS_USED]
    }
}

impl<const N: usize> Eq for Wide<N> {}

impl<const N: usize> Default for Wide<N> {
    #[inline(always)]
    fn default() -> Self {
        Self([0; LIMBS])
    }
}

macro_rules! bitwise {
    ($trait:ident, $method:ident, $op:tt) => {
        impl<const N: usize> std::ops::$trait for Wide<N> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                let mut r = self;
                for k in 0..Self::LIMBS_USED {
                    r.0[k] = self.0[k] $op other.0[k];
                }
                r
            }
        }
    };
}
bitwise!(BitAnd, bitand, &);
bitwise!(BitOr, bitor, |);
bitwise!(BitXor, bitxor, ^);

/// Adds modulo 2^N. Emitted as `+`: assign the sum to a signal of this width before comparing, shifting or casting it.
impl<const N: usize> std::ops::Add for Wide<N> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let mut r = self;
        let mut carry = false;
        for k in 0..Self::LIMBS_USED {
            let (a, c1) = self.0[k].overflowing_add(other.0[k]);
            let (b, c2) = a.overflowing_add(u64::from(carry));
            r.0[k] = b;
            carry = c1 || c2;
        }
        r.trim()
    }
}

/// Adds a small number modulo 2^N.
impl<const N: usize> std::ops::Add<u64> for Wide<N> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: u64) -> Self {
        self + Self::from(other)
    }
}

impl<const N: usize> std::ops::Not for Wide<N> {
    type Output = Self;
    #[inline(always)]
    fn not(self) -> Self {
        let mut r = self;
        for k in 0..Self::LIMBS_USED {
            r.0[k] = !r.0[k];
        }
        r.trim()
    }
}

impl<const N: usize> std::ops::Shl<u64> for Wide<N> {
    type Output = Self;
    #[inline(always)]
    fn shl(self, n: u64) -> Self {
        let mut r = [0u64; LIMBS];
        let (q, s) = ((n / 64) as usize, n % 64);
        let mut below = 0;
        for (limb, &from) in r[..Self::LIMBS_USED].iter_mut().skip(q).zip(&self.0) {
            *limb = from << s;
            if s != 0 {
                *limb |= below >> (64 - s);
            }
            below = from;
        }
        Self(r).trim()
    }
}

impl<const N: usize> std::ops::Shr<u64> for Wide<N> {
    type Output = Self;
    #[inline(always)]
    fn shr(self, n: u64) -> Self {
        if n as usize >= N {
            Self::default()
        } else {
            self.get_bits::<N>(n as usize)
        }
    }
}

impl<const N: usize, const M: usize> std::ops::Shl<Bits<M>> for Wide<N> {
    type Output = Self;
    #[inline(always)]
    fn shl(self, n: Bits<M>) -> Self {
        self << n.index() as u64
    }
}

impl<const N: usize, const M: usize> std::ops::Shr<Bits<M>> for Wide<N> {
    type Output = Self;
    #[inline(always)]
    fn shr(self, n: Bits<M>) -> Self {
        self >> n.index() as u64
    }
}

/// Of at most 32 bits.
impl<const N: usize> From<Wide<N>> for Bits<N> {
    #[inline(always)]
    fn from(x: Wide<N>) -> Self {
        Bits::from(x.0[0])
    }
}

/// To RustHDL's own type, for literals in the Verilog.
impl<const N: usize> From<Wide<N>> for SlowBits<N> {
    fn from(x: Wide<N>) -> Self {
        x.big().into()
    }
}

impl<const N: usize> From<Bits<N>> for Wide<N> {
    #[inline(always)]
    fn from(x: Bits<N>) -> Self {
        u64::from(x).into()
    }
}

impl<const N: usize> From<u64> for Wide<N> {
    #[inline(always)]
    fn from(x: u64) -> Self {
        let mut r = [0; LIMBS];
        r[0] = x;
        Self(r).trim()
    }
}

impl<const N: usize> Synth for Wide<N> {
    const BITS: usize = N;
    fn descriptor() -> TypeDescriptor {
        TypeDescriptor {
            name: format!("Wide::<{N}>"),
            kind: TypeKind::Bits(N),
        }
    }
    fn vcd(self) -> VCDValue {
        SlowBits::<N>::from(self).vcd()
    }
    fn verilog(self) -> VerilogLiteral {
        SlowBits::<N>::from(self).verilog()
    }
}

/// Cast between widths of `Wide`: zero-extends or cuts. Its argument must not be a sum, difference or complement (Verilog
/// would widen it first).
#[inline(always)]
pub fn bit_cast_wide<const M: usize, const N: usize>(x: Wide<N>) -> Wide<M> {
    if M < N {
        Wide::<M>(x.0).cut()
    } else {
        Wide(x.0)
    }
}

/// `Bits<N>` (up to 32 bits) to `Wide<N>`.
#[inline(always)]
pub fn bits_wide<const N: usize>(x: Bits<N>) -> Wide<N> {
    x.into()
}

/// A literal as `Wide<N>`.
#[inline(always)]
pub fn bits_literal<const N: usize>(x: u64) -> Wide<N> {
    x.into()
}

/// `Wide<N>` to `Bits<N>` of the same width (up to 32 bits).
#[inline(always)]
pub fn bits_narrow<const N: usize>(x: Wide<N>) -> Bits<N> {
    x.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_big_integers() {
        let a = BigUint::parse_bytes(b"123456789abcdef0fedcba9876543210deadbeefcafef00d55aa", 16).unwrap();
        let b = BigUint::parse_bytes(b"ffffffffffffffffffffffffffffffff0000000000000001", 16).unwrap();
        let modulus = BigUint::from(1u32) << 200;
        let (wa, wb) = (Wide::<200>::from_big(&a), Wide::<200>::from_big(&b));
        let (a, b) = (a % &modulus, b % &modulus);
        assert_eq!(wa.big(), a);
        assert_eq!((wa + wb).big(), (&a + &b) % &modulus);
        assert_eq!((wa ^ wb).big(), &a ^ &b);
        for n in [0u64, 1, 63, 64, 65, 127, 128, 199] {
            assert_eq!((wa << n).big(), (&a << n) % &modulus, "<< {n}");
            assert_eq!((wa >> n).big(), &a >> n, ">> {n}");
            assert_eq!(
                wa.get_bits::<33>(n as usize).big(),
                (&a >> n) % (BigUint::from(1u32) << 33),
                "[{n}]"
            );
        }
        assert_eq!(bit_cast_wide::<70, 200>(wa).big(), &a % (BigUint::from(1u32) << 70));
        assert_eq!((!wa).big(), &modulus - 1u32 - &a);
    }

    #[test]
    fn frames_are_most_significant_byte_first() {
        let w = Wide::<64>::from_frame(&[1, 2, 3]);
        assert_eq!(w.low(), 0x0102_0300_0000_0000);
        assert_eq!(w.to_frame(3), [1, 2, 3]);
    }
}
