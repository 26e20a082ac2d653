//! Ethernet MACs: what stands between the core's streams and a cable.
//!
//! ```text
//!            +------------------------- RgmiiPort (port.rs) -------------------------+
//!  PHY <---> | pads.rs | rgmii.rs | receive.rs, transmit.rs | bridge.rs (fifo, store) | <---> rx, tx of the core
//!            +------- receive clock, transmit clock ----------|---- core's clock -----+
//! ```
//!
//! * A frame with a wrong check sequence, too short, too long, with an error of the PHY, or for the MAC itself (PAUSE) never
//!   reaches the core: each is counted ([`types::Verdict`]). The core gets whole good frames without their check sequence.
//! * A frame that the core ends with `error` after its first beats were sent goes out with an inverted check sequence and the
//!   error signal of GMII: nobody takes it for a good one. The same happens to a frame whose bytes come too late.
//! * Three clocks meet in [`bridge::Bridge`] and nowhere else: words cross in [`fifo::AsyncFifo`], single bits in
//!   [`sync::Synchronizer`].
//!
//! [`bridge::Bridge`] is also the boundary for MACs of a vendor.

pub mod bridge;
pub mod crc;
pub mod crossing;
pub mod fifo;
pub mod mdio;
pub mod pads;
pub mod port;
pub mod receive;
pub mod rgmii;
pub mod state;
pub mod store;
pub mod sync;
pub mod transmit;
pub mod types;

#[cfg(test)]
mod tests;
