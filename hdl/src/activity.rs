//! Activity stamps and counters of the sessions, and the engine that copies them to host memory.

use crate::cam::Commit;
use crate::prim::{Quiet, Reg};
use crate::types::{RegisterWrite, Translated};
use crate::wide::{bits_literal, Wide};
use crate::FastBlock;
use rust_hdl::prelude::*;

/// See the module documentation.
#[derive(FastBlock, Default)]
pub struct Activity<const RECORD_LOG2: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Card time.
    pub time_ns: Signal<In, Wide<64>>,
    /// BAR0 writes.
    pub write: Signal<In, RegisterWrite>,
    /// Translated packets, up to one per clock.
    pub translated: Signal<In, Translated>,
    /// Records written.
    pub commit: Signal<In, Commit>,
    /// A word for host memory.
    pub mw_valid: Signal<Out, Bit>,
    /// Host memory takes it.
    pub mw_ready: Signal<In, Bit>,
    /// Its address.
    pub mw_addr: Signal<Out, Wide<64>>,
    /// The word.
    pub mw_data: Signal<Out, Wide<64>>,
    /// First of a burst.
    pub mw_first: Signal<Out, Bit>,
    /// Last of a burst.
    pub mw_last: Signal<Out, Bit>,
    /// A copy has ended: one clock.
    pub irq: Signal<Out, Bit>,
    /// A copy runs.
    pub busy: Signal<Out, Bit>,
    done: Reg<Bit>,
    _quiet: Quiet,
}

impl<const RECORD_LOG2: usize> Logic for Activity<RECORD_LOG2> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, done);
        self.mw_valid.next = false;
        self.mw_addr.next = bits_literal::<64>(0);
        self.mw_data.next = bits_literal::<64>(0);
        self.mw_first.next = false;
        self.mw_last.next = false;
        self.irq.next = self.done.q.val();
        self.busy.next = false;
    }
}
