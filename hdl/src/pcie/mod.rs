//! The PCI Express transaction layer, between the core and a link block (hard or soft) that has the link's lower layers
//! and the configuration space.
//!
//! ```text
//!   rx TLPs --> unpack --> receive --> access <--> core: csr_*      clear (function-level reset)
//!                             |           |
//!                             |           +--> completions ------\
//!                             +--> fetch <--> core: mr_*, md_*    +--> transmit --> tx TLPs
//!                                    +--> read requests ---------/
//!                 core: mw_* --> stage --> post --> posted writes/
//!                          core: irq --> msix --^
//! ```
//!
//! # The TLP stream
//!
//! 64 bits each way: two DWs a beat, the first in bits 31:0, with `valid`, `ready`, `keep` (1: only the first DW, 3: both;
//! 1 only in a last beat) and `last`. A TLP starts in the low half of the beat after a `last`. A DW is a number whose most
//! significant byte comes first on the link: Fmt is in bits 31:29 of the first DW of a header, and byte 0 of a payload in
//! bits 31:24 of its first DW. Headers of three and four DWs are raw, so the payload of a three-DW header begins in a high
//! half. This is how the integrated block of 7-series FPGAs has it at 64 bits, and what soft cores for ECP5 are adapted to
//! with wiring alone. Digests (ECRC) may stand behind a TLP when its TD bit says so.
//!
//! Each block's file says what it does with the rules of the PCI Express Base Specification; the rules of order are argued in
//! [`transmit`].

pub mod access;
pub mod ahead;
pub mod area;
pub mod clear;
pub mod endpoint;
pub mod fetch;
pub mod layer;
pub mod msix;
pub mod post;
pub mod receive;
pub mod stage;
pub mod state;
#[cfg(test)]
mod tests;
pub mod transmit;
pub mod types;
pub mod unpack;

pub use endpoint::{Endpoint, Endpoint512, Endpoint64};
pub use layer::Layer;
