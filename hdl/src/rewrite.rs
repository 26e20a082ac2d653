//! Rewrite: from packet, session and tables to the decision, with the whole new header of a translated packet.

use crate::prim::Quiet;
use crate::types::{Decision, Found, Phv, RegisterWrite};
use crate::FastBlock;
use rust_hdl::prelude::*;

/// Clocks from `valid` to `out_valid`.
pub const LATENCY: usize = 9;

/// See the module documentation. One packet per clock, never stalls.
#[derive(FastBlock, Default)]
pub struct Rewrite {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// There is a packet.
    pub valid: Signal<In, Bit>,
    /// The packet.
    pub phv: Signal<In, Phv>,
    /// Its session.
    pub found: Signal<In, Found>,
    /// Register writes; next hops, service sets and prefixes are taken from them.
    pub write: Signal<In, RegisterWrite>,
    /// There is a decision.
    pub out_valid: Signal<Out, Bit>,
    /// The decision, [`LATENCY`] clocks after its packet.
    pub decision: Signal<Out, Decision>,
    _quiet: Quiet,
}

impl Logic for Rewrite {
    #[hdl_gen]
    fn update(&mut self) {
        self.out_valid.next = false;
    }
}
