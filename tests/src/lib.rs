//! What the tests that cross crates share: seeded traffic and captures of it.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod capture;
pub mod traffic;
