//! The gateware of nat64-nic in RustHDL; module order is the order along the packet's path.
//!
//! Every block is plain RustHDL: its simulation is the reference engine, its Verilog goes to Verilator and to synthesis.
//! The derive [`FastBlock`] replaces RustHDL's own for speed, [`bits::Bits`] and [`wide::Wide`] replace its
//! bit vectors ([`prelude`]).
//! Registers have power-on values and no reset. Numbers come from `nat64-layout` through `Constant` fields, since a Rust
//! `const` named in a kernel is emitted as an undeclared Verilog name.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
// RustHDL kernels are written in the subset its macro translates: no `let`, no compound assignment, casts by `into`.
#![allow(
    clippy::assign_op_pattern,
    clippy::useless_conversion,
    clippy::precedence,
    clippy::collapsible_if
)]

pub mod activity;
pub mod bits;
pub mod board;
pub mod cam;
pub mod capture;
pub mod classify;
pub mod core;
pub mod counters;
pub mod csr;
pub mod dma;
pub mod egress;
pub mod export;
pub mod hash;
pub mod ingress;
pub mod inject;
pub mod mac;
pub mod parse;
pub mod pcie;
pub mod prelude;
pub mod prim;
pub mod punt;
pub mod rewrite;
pub mod serial;
pub mod testkit;
pub mod totals;
pub mod types;
pub mod wide;

pub use nat64_hdl_derive::FastBlock;
