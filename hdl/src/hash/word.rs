//! 32 bits as a machine word: what the rounds compute with.
//!
//! A type of its own keeps the rounds free of mixed widths; the Verilog is that of `Bits<32>`.

use crate::prelude::*;
use crate::wide::Wide;
use rust_hdl::core::ast::VerilogLiteral;
use rust_hdl::core::synth::VCDValue;
use rust_hdl::core::type_descriptor::{TypeDescriptor, TypeKind};

/// See the module documentation.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct SipWord(pub u32);

/// Adds modulo 2^32; assign the sum to a signal before anything else is done with it.
impl std::ops::Add for SipWord {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl std::ops::BitXor for SipWord {
    type Output = Self;
    #[inline(always)]
    fn bitxor(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }
}

impl std::ops::BitAnd for SipWord {
    type Output = Self;
    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl std::ops::BitOr for SipWord {
    type Output = Self;
    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::Shl<u64> for SipWord {
    type Output = Self;
    #[inline(always)]
    fn shl(self, n: u64) -> Self {
        Self(self.0 << n)
    }
}

impl std::ops::Shr<u64> for SipWord {
    type Output = Self;
    #[inline(always)]
    fn shr(self, n: u64) -> Self {
        Self(self.0 >> n)
    }
}

impl From<SipWord> for Bits<32> {
    #[inline(always)]
    fn from(x: SipWord) -> Self {
        u64::from(x.0).into()
    }
}

/// To RustHDL's own type, for literals in the Verilog.
impl From<SipWord> for rust_hdl::core::bits::Bits<32> {
    fn from(x: SipWord) -> Self {
        u64::from(x.0).into()
    }
}

impl Synth for SipWord {
    const BITS: usize = 32;
    fn descriptor() -> TypeDescriptor {
        TypeDescriptor {
            name: "SipWord".to_string(),
            kind: TypeKind::Bits(32),
        }
    }
    fn vcd(self) -> VCDValue {
        Bits::<32>::from(self).vcd()
    }
    fn verilog(self) -> VerilogLiteral {
        Bits::<32>::from(self).verilog()
    }
}

/// Zero-extends.
#[inline(always)]
pub fn bits_word<const N: usize>(x: Bits<N>) -> SipWord {
    SipWord(x.index() as u32)
}

/// The low 32 bits.
#[inline(always)]
pub fn bits_low_word<const N: usize>(x: Wide<N>) -> SipWord {
    SipWord(x.low() as u32)
}

/// Zero-extends.
#[inline(always)]
pub fn bits_word_wide<const N: usize>(x: SipWord) -> Wide<N> {
    u64::from(x.0).into()
}

/// A literal.
#[inline(always)]
pub fn bits_number(x: u64) -> SipWord {
    SipWord(x as u32)
}
