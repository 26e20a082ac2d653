//! A leaf that hands on a value N clocks later: for what a pipeline carries past stages that do not look at it.

use crate::prelude::*;
use crate::prim::Quiet;
use crate::FastBlock;

/// `q` is `d` of `N` clocks ago (N at least 2). A ring of distributed RAM and one register, cheaper than N registers.
#[derive(FastBlock)]
pub struct Delay<T: Synth, const N: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Value.
    pub d: Signal<In, T>,
    /// Value of N clocks ago.
    pub q: Signal<Out, T>,
    _memory: Vec<T>,
    _at: usize,
    _quiet: Quiet,
}

impl<T: Synth, const N: usize> Default for Delay<T, N> {
    fn default() -> Self {
        assert!(N >= 2, "a delay has at least two clocks");
        Self {
            clock: Default::default(),
            d: Default::default(),
            q: Default::default(),
            _memory: vec![T::default(); N - 1],
            _at: 0,
            _quiet: Default::default(),
        }
    }
}

impl<T: Synth, const N: usize> Logic for Delay<T, N> {
    fn update(&mut self) {
        if self._quiet.ticks() {
            self.q.next = self._memory[self._at];
            self._memory[self._at] = self.d.val();
            self._at = (self._at + 1) % (N - 1);
        }
    }
    fn connect(&mut self) {
        self.q.connect();
    }
    fn hdl(&self) -> Verilog {
        Verilog::Custom(format!(
            "(* ram_style = \"distributed\" *) reg [{top}:0] mem [0:{last}];\nreg [7:0] at;\ninteger i;\n\
             initial begin\n  for (i = 0; i <= {last}; i = i + 1) mem[i] = {bits}'h0;\n  at = 8'h0;\n  q = {bits}'h0;\nend\n\
             always @(posedge clock) begin\n  q <= mem[at];\n  mem[at] <= d;\n  at <= (at == 8'd{last}) ? 8'h0 : at + 8'h1;\nend\n",
            top = T::BITS - 1,
            bits = T::BITS,
            last = N - 2
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::Bench;
    use crate::wide::Wide;

    #[test]
    fn delays_by_its_number_and_its_verilog_agrees() {
        let mut bench = Bench::new(Delay::<Wide<70>, 4>::default());
        for i in 0..40u64 {
            bench.uut.d.next = i.into();
            bench.settle();
            assert_eq!(bench.uut.q.val().low(), i.saturating_sub(4));
            bench.edge();
        }
        bench.agrees_with_verilog("delay");
    }
}
