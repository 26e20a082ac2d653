//! RustHDL's prelude with this crate's fast types in the place of its own: what a kernel is written with.

pub use crate::bits::{bit_cast, bits, Bits, ToBits};
pub use nat64_hdl_derive::LogicStruct;
pub use rust_hdl::prelude::*;
