//! FIFO of distributed RAM that shows a word one clock after it was pushed.

use crate::prelude::*;
use crate::prim::{LutRam, Quiet, Reg};
use crate::FastBlock;

/// 2^N words, N at most 7. `valid` and `data` show the oldest, `pop` takes it. It has no full flag: whoever pushes
/// counts.
#[derive(FastBlock)]
pub struct Queue<T: Synth, const N: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Adds `data_in`.
    pub push: Signal<In, Bit>,
    /// Word to add.
    pub data_in: Signal<In, T>,
    /// Takes the oldest word; only with `valid`.
    pub pop: Signal<In, Bit>,
    /// There is a word.
    pub valid: Signal<Out, Bit>,
    /// The oldest word.
    pub data: Signal<Out, T>,
    memory: LutRam<T, N>,
    write_at: Reg<Bits<8>>,
    read_at: Reg<Bits<8>>,
    _quiet: Quiet,
}

impl<T: Synth, const N: usize> Default for Queue<T, N> {
    fn default() -> Self {
        assert!(N < 8, "pointers have eight bits");
        Self {
            clock: Default::default(),
            push: Default::default(),
            data_in: Default::default(),
            pop: Default::default(),
            valid: Default::default(),
            data: Default::default(),
            memory: Default::default(),
            write_at: Default::default(),
            read_at: Default::default(),
            _quiet: Default::default(),
        }
    }
}

impl<T: Synth, const N: usize> Logic for Queue<T, N> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, write_at, read_at);
        clock!(self, clock, memory);
        self.memory.write.next = self.push.val();
        self.memory.write_address.next = bit_cast::<N, 8>(self.write_at.q.val());
        self.memory.write_data.next = self.data_in.val();
        self.memory.read_address.next = bit_cast::<N, 8>(self.read_at.q.val());
        if self.push.val() {
            self.write_at.d.next = self.write_at.q.val() + 1;
        }
        if self.pop.val() {
            self.read_at.d.next = self.read_at.q.val() + 1;
        }
        self.valid.next = self.write_at.q.val() != self.read_at.q.val();
        self.data.next = self.memory.read_data.val();
    }
}
