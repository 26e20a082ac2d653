//! A frame in the punt buffer.

// The LogicStruct derive adds accessors without documentation; every field below has its own.
#![allow(missing_docs)]

use crate::prelude::*;
use crate::wide::Wide;

/// What the descriptor needs.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct PuntEntry {
    /// Card time of its first beat, ns.
    pub time: Wide<64>,
    /// Bytes.
    pub bytes: Bits<16>,
    /// Reason code.
    pub reason: Bits<6>,
    /// Port it arrived on.
    pub port: Bit,
    /// Unit.
    pub unit: Bits<4>,
    /// A unit matched.
    pub unit_valid: Bit,
}
