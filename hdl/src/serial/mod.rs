//! The serial link block: the TLP port of the transaction layer on two wires.
//!
//! ```text
//!  rx pin --> | UartReceive  | --octets--> | SerialReceive  | --> tlp_rx, set-up of the link (cfg_*)
//!                                               | acknowledgments
//!  tx pin <-- | UartTransmit | <--octets-- | SerialTransmit | <-- tlp_tx
//! ```
//!
//! It stands where the link block of PCI Express will stand (see [`crate::pcie`]): whoever drives the card drives it over the
//! same TLPs. `nat64_layout::serial` defines the frames and why nothing is lost.
//!
//! A line of 3 Mbit/s carries some 300 kB/s: it is for bringing a board up, not for traffic.

pub mod link;
pub mod receive;
#[cfg(test)]
pub(crate) mod tests;
pub mod transmit;
pub mod uart;

pub use link::SerialLink;
