//! Narrow bit vectors as machine words, usable as a signal type in RustHDL.
//!
//! RustHDL's own `Bits<N>` is an enum of a word and of an array of `bool`, shifts and slices by way of big integers, and fills
//! 40 bytes where 4 do. [`Bits`] here has the same methods, operators and functions for 1 to 32 bits, so that kernels read
//! the same and give the same Verilog; wider vectors are [`crate::wide::Wide`]. `crate::prelude` puts it in the place of
//! RustHDL's.

use std::cmp::Ordering;

use rust_hdl::core::ast::VerilogLiteral;
use rust_hdl::core::bits::Bits as SlowBits;
use rust_hdl::core::synth::VCDValue;
use rust_hdl::core::type_descriptor::{TypeDescriptor, TypeKind};
use rust_hdl::prelude::Synth;

/// `N` bits, 1 to 32; bits above `N` are zero.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bits<const N: usize>(u32);

impl<const N: usize> Bits<N> {
    const MASK: u32 = {
        assert!(N >= 1 && N <= 32, "Bits are for 1 to 32 bits");
        u32::MAX >> (32 - N)
    };

    /// The low `N` bits of a number.
    #[inline(always)]
    const fn cut(x: u32) -> Self {
        Self(x & Self::MASK)
    }

    /// The number as an array index.
    #[inline(always)]
    pub const fn index(&self) -> usize {
        self.0 as usize
    }

    /// Whether a bit is set.
    #[inline(always)]
    pub const fn any(&self) -> bool {
        self.0 != 0
    }

    /// Whether every bit is set.
    #[inline(always)]
    pub const fn all(&self) -> bool {
        self.0 == Self::MASK
    }

    /// Exclusive or over all bits.
    #[inline(always)]
    pub const fn xor(&self) -> bool {
        self.0.count_ones() & 1 != 0
    }

    /// Bit `i`.
    #[inline(always)]
    pub const fn get_bit(&self, i: usize) -> bool {
        debug_assert!(i < N);
        self.0 >> i & 1 != 0
    }

    /// Bits `i .. i + M`; bits past the end are zero.
    #[inline(always)]
    pub const fn get_bits<const M: usize>(&self, i: usize) -> Bits<M> {
        debug_assert!(i < N);
        Bits::<M>::cut(self.0 >> i)
    }

    /// This vector with bit `i` replaced.
    #[inline(always)]
    pub const fn replace_bit(&self, i: usize, value: bool) -> Self {
        debug_assert!(i < N);
        Self(self.0 & !(1 << i) | (value as u32) << i)
    }
}

/// A literal, cut to `N` bits.
#[inline(always)]
pub fn bits<const N: usize>(x: u64) -> Bits<N> {
    x.into()
}

/// Cast between widths: zero-extends or cuts. Its argument must not be a sum, difference or complement (Verilog would widen
/// it first).
#[inline(always)]
pub fn bit_cast<const M: usize, const N: usize>(x: Bits<N>) -> Bits<M> {
    Bits::<M>::cut(x.0)
}

/// Integers that become bits: loop counters in kernels.
pub trait ToBits {
    /// Cut to `N` bits.
    fn to_bits<const N: usize>(self) -> Bits<N>;
}

impl ToBits for usize {
    #[inline(always)]
    fn to_bits<const N: usize>(self) -> Bits<N> {
        Bits::cut(self as u32)
    }
}

impl<const N: usize> From<u64> for Bits<N> {
    #[inline(always)]
    fn from(x: u64) -> Self {
        Self::cut(x as u32)
    }
}

impl<const N: usize> From<Bits<N>> for u64 {
    #[inline(always)]
    fn from(x: Bits<N>) -> Self {
        u64::from(x.0)
    }
}

impl From<bool> for Bits<1> {
    #[inline(always)]
    fn from(x: bool) -> Self {
        Self(u32::from(x))
    }
}

impl From<Bits<1>> for bool {
    #[inline(always)]
    fn from(x: Bits<1>) -> Self {
        x.0 != 0
    }
}

/// To RustHDL's own type, for literals in the Verilog.
impl<const N: usize> From<Bits<N>> for SlowBits<N> {
    fn from(x: Bits<N>) -> Self {
        u64::from(x.0).into()
    }
}

impl<const N: usize> PartialEq<u64> for Bits<N> {
    #[inline(always)]
    fn eq(&self, other: &u64) -> bool {
        u64::from(self.0) == *other
    }
}

impl<const N: usize> PartialOrd<u64> for Bits<N> {
    #[inline(always)]
    fn partial_cmp(&self, other: &u64) -> Option<Ordering> {
        u64::from(self.0).partial_cmp(other)
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident) => {
        impl<const N: usize> std::ops::$trait for Bits<N> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self::cut(std::ops::$trait::$method(std::num::Wrapping(self.0), std::num::Wrapping(other.0)).0)
            }
        }

        impl<const N: usize> std::ops::$trait<u64> for Bits<N> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: u64) -> Self {
                std::ops::$trait::$method(self, Self::from(other))
            }
        }
    };
}
operator!(Add, add);
operator!(Sub, sub);
operator!(BitAnd, bitand);
operator!(BitOr, bitor);
operator!(BitXor, bitxor);

impl<const N: usize> std::ops::Not for Bits<N> {
    type Output = Self;
    #[inline(always)]
    fn not(self) -> Self {
        Self::cut(!self.0)
    }
}

impl<const N: usize> std::ops::Shl<u64> for Bits<N> {
    type Output = Self;
    #[inline(always)]
    fn shl(self, n: u64) -> Self {
        Self::cut(if n < 32 { self.0 << n } else { 0 })
    }
}

impl<const N: usize> std::ops::Shr<u64> for Bits<N> {
    type Output = Self;
    #[inline(always)]
    fn shr(self, n: u64) -> Self {
        Self(if n < 32 { self.0 >> n } else { 0 })
    }
}

impl<const N: usize, const M: usize> std::ops::Shl<Bits<M>> for Bits<N> {
    type Output = Self;
    #[inline(always)]
    fn shl(self, n: Bits<M>) -> Self {
        self << u64::from(n)
    }
}

impl<const N: usize, const M: usize> std::ops::Shr<Bits<M>> for Bits<N> {
    type Output = Self;
    #[inline(always)]
    fn shr(self, n: Bits<M>) -> Self {
        self >> u64::from(n)
    }
}

impl<const N: usize> std::fmt::LowerHex for Bits<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::LowerHex::fmt(&self.0, f)
    }
}

impl<const N: usize> Synth for Bits<N> {
    const BITS: usize = N;
    fn descriptor() -> TypeDescriptor {
        TypeDescriptor {
            name: format!("Bits::<{N}>"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{rngs::StdRng, Rng, SeedableRng};

    /// Every operator and method gives what RustHDL's own type gives.
    fn agrees<const N: usize>(seed: u64) {
        let mut rng = StdRng::seed_from_u64(seed);
        let slow = |x: Bits<N>| SlowBits::<N>::from(x);
        for round in 0..300 {
            let (a, b): (u64, u64) = (rng.random(), rng.random());
            let (a, b) = (Bits::<N>::from(a), Bits::<N>::from(if round % 7 == 0 { a } else { b }));
            let (x, y) = (slow(a), slow(b));
            let what = format!("seed {seed}, {N} bits, {a:x} and {b:x}");
            assert_eq!(slow(a + b), x + y, "{what}");
            assert_eq!(slow(a - b), x - y, "{what}");
            assert_eq!(slow(a & b), x & y, "{what}");
            assert_eq!(slow(a | b), x | y, "{what}");
            assert_eq!(slow(a ^ b), x ^ y, "{what}");
            assert_eq!(slow(!a), !x, "{what}");
            assert_eq!(slow(a + 1), x + 1, "{what}");
            assert_eq!((a < b, a == b, a >= b), (x < y, x == y, x >= y), "{what}");
            assert_eq!((a.any(), a.all(), a.xor()), (x.any(), x.all(), x.xor()), "{what}");
            for n in 0..N {
                assert_eq!(slow(a << n as u64), x << n as u64, "{what} << {n}");
                assert_eq!(slow(a >> n as u64), x >> n as u64, "{what} >> {n}");
                assert_eq!(a.get_bit(n), x.get_bit(n), "{what} [{n}]");
                assert_eq!(
                    SlowBits::<5>::from(a.get_bits::<5>(n)),
                    x.get_bits::<5>(n),
                    "{what} [{n}+5]"
                );
                assert_eq!(slow(a.replace_bit(n, true)), x.replace_bit(n, true), "{what} [{n}]");
            }
            let cast = rust_hdl::core::bits::bit_cast::<9, N>(x);
            assert_eq!(SlowBits::<9>::from(bit_cast::<9, N>(a)), cast, "{what}");
        }
    }

    #[test]
    fn agrees_with_rust_hdls_own_type() {
        agrees::<1>(1);
        agrees::<2>(2);
        agrees::<7>(3);
        agrees::<16>(4);
        agrees::<31>(5);
        agrees::<32>(6);
    }

    #[test]
    fn shifts_by_more_than_the_width_give_zero() {
        assert_eq!(Bits::<8>::from(0xff) << 40u64, 0);
        assert_eq!(Bits::<32>::from(0xff) >> 32u64, 0);
        assert_eq!(Bits::<8>::from(0xff) << Bits::<4>::from(9), 0);
    }
}
