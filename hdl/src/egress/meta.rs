//! What travels with a frame on its way out.

// The LogicStruct derive adds accessors without documentation; every field below has its own.
#![allow(missing_docs)]

use rust_hdl::prelude::*;

/// What the exception ring says of a punted frame.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct PuntMeta {
    /// Reason code.
    pub reason: Bits<6>,
    /// Port it arrived on.
    pub port: Bit,
    /// Unit, when `unit_valid`.
    pub unit: Bits<4>,
    /// A unit matched.
    pub unit_valid: Bit,
}
