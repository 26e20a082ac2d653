//! Classify: which unit, prefix, rule term and pool a packet belongs to, and the key its session is looked up with.

use crate::prim::Quiet;
use crate::types::{Key, Phv, RegisterWrite};
use crate::FastBlock;
use rust_hdl::prelude::*;

/// Clocks from `valid` to `out_valid`.
pub const LATENCY: usize = 6;

/// Unit, pref64, term and pool tables; one packet per clock.
#[derive(FastBlock, Default)]
pub struct Classify {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// There is a packet.
    pub valid: Signal<In, Bit>,
    /// The packet, from parse.
    pub phv: Signal<In, Phv>,
    /// Register writes; the unit, pref64, term and pool tables and `Policy` are owned here.
    pub write: Signal<In, RegisterWrite>,
    /// There is a result.
    pub out_valid: Signal<Out, Bit>,
    /// The packet with its fate, unit, set, pref64 and remote.
    pub out_phv: Signal<Out, Phv>,
    /// What its session is looked up with; meaningful with fate `FATE_LOOKUP`.
    pub out_key: Signal<Out, Key>,
    _quiet: Quiet,
}

impl Logic for Classify {
    #[hdl_gen]
    fn update(&mut self) {
        self.out_valid.next = false;
    }
}
