//! Synchronizer: takes a signal of another clock over, in two registers.
//!
//! ```text
//!  d (any clock) --> | meta | --> | stable | --> q (this clock)
//! ```
//!
//! Several bits may change together at `d` only if any mixture of old and new is right: a Gray-coded counter, or bits that
//! have nothing to do with each other. The source must be a register. Both registers are marked for synthesis (`async_reg`,
//! `keep`); the crossing check of `cargo xtask cdc` knows a crossing by the name of the first, `meta`.

use crate::prelude::*;
use crate::prim::Quiet;
use crate::FastBlock;

/// See the module documentation. Latency: two clocks.
#[derive(FastBlock, Default)]
pub struct Synchronizer<const N: usize> {
    /// Clock of the side that takes over.
    pub clock: Signal<In, Clock>,
    /// What the other side says.
    pub d: Signal<In, Bits<N>>,
    /// What is known of it here.
    pub q: Signal<Out, Bits<N>>,
    _meta: Bits<N>,
    _before: Bits<N>,
    _now: Bits<N>,
    _dice: u64,
    _quiet: Quiet,
}

impl<const N: usize> Synchronizer<N> {
    /// From now on each bit that changed since the last edge is seen old or new, as dice fall: what a real register does with
    /// a change beside its edge. `seed` 0: the new value is seen, as in the Verilog.
    pub fn unsure(&mut self, seed: u64) {
        self._dice = seed;
    }

    fn sample(&mut self) -> Bits<N> {
        if self._dice == 0 {
            return self._now;
        }
        // xorshift, for a simulation that can be repeated
        self._dice ^= self._dice << 13;
        self._dice ^= self._dice >> 7;
        self._dice ^= self._dice << 17;
        let old = Bits::<N>::from(self._dice >> 20);
        let seen = (self._before & old) | (self._now & !old);
        self._before = self._now;
        seen
    }
}

impl<const N: usize> Logic for Synchronizer<N> {
    fn update(&mut self) {
        if self.d.val() != self._now {
            self._before = self._now;
            self._now = self.d.val();
        }
        if self._quiet.ticks() {
            self.q.next = self._meta;
            self._meta = self.sample();
        }
    }
    fn connect(&mut self) {
        self.q.connect();
    }
    fn hdl(&self) -> Verilog {
        Verilog::Custom(format!(
            "(* async_reg = \"true\", keep = \"true\" *) reg [{top}:0] meta;\n\
             (* async_reg = \"true\", keep = \"true\" *) reg [{top}:0] stable;\n\
             initial begin\n  meta = {N}'h0;\n  stable = {N}'h0;\nend\n\
             always @(posedge clock) begin\n  meta <= d;\n  stable <= meta;\nend\nalways @(*) q = stable;\n",
            top = N - 1,
        ))
    }
}
