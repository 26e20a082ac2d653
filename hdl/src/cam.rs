//! Session table: from a key to its record, one lookup per clock.

// The LogicStruct derive adds accessors without documentation; every field below has its own.
#![allow(missing_docs)]

use crate::prim::{Quiet, Reg};
use crate::types::{Found, Key, Phv, RegisterWrite, WindowWrite};
use crate::FastBlock;
use rust_hdl::prelude::*;

/// Clocks from `valid` to `out_valid`.
pub const LATENCY: usize = 23;

/// A record was written whole.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct Commit {
    /// One clock.
    pub valid: Bit,
    /// Record index.
    pub index: Bits<17>,
}

/// See the module documentation.
#[derive(FastBlock, Default)]
pub struct SessionCam<const RECORD_LOG2: usize, const BUCKET_LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// A key is on the pins.
    pub valid: Signal<In, Bit>,
    /// Key to look up.
    pub key: Signal<In, Key>,
    /// The packet it belongs to; comes out with the answer.
    pub phv: Signal<In, Phv>,
    /// BAR0 writes.
    pub write: Signal<In, RegisterWrite>,
    /// BAR2 writes.
    pub window: Signal<In, WindowWrite>,
    /// An answer is on the pins.
    pub out_valid: Signal<Out, Bit>,
    /// The packet.
    pub out_phv: Signal<Out, Phv>,
    /// The answer.
    pub found: Signal<Out, Found>,
    /// A record was written.
    pub commit: Signal<Out, Commit>,
    committed: Reg<Commit>,
    _quiet: Quiet,
}

impl<const RECORD_LOG2: usize, const BUCKET_LOG2: usize> Logic for SessionCam<RECORD_LOG2, BUCKET_LOG2> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, committed);
        self.out_valid.next = self.valid.val();
        self.out_phv.next = self.phv.val();
        self.found.next.ident = 0.into();
        self.commit.next = self.committed.q.val();
    }
}
