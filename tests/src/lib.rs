//! What the tests that cross crates share: seeded traffic, captures of it, a card on a rig, floods, the simulator's program.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod cables;
pub mod capture;
pub mod datapath;
pub mod pci;
pub mod program;
pub mod rig;
pub mod site;
pub mod soak;
pub mod traffic;
