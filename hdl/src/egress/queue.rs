//! FIFOs of distributed RAM that show a word one clock after it was pushed.

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

/// The same with a register behind the memory, for words that decide what happens next: `valid` and `data` are registers. A word
/// that is pushed while none waits goes around the memory, so that it costs no clock.
#[derive(FastBlock)]
pub struct FallThrough<T: Synth, const N: usize> {
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
    /// Words in memory.
    waiting: Reg<Bits<8>>,
    some: Reg<Bit>,
    full: Reg<Bit>,
    word: Reg<T>,
    load: Signal<Local, Bit>,
    keep: Signal<Local, Bit>,
    take: Signal<Local, Bit>,
    _quiet: Quiet,
}

impl<T: Synth, const N: usize> Default for FallThrough<T, N> {
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
            waiting: Default::default(),
            some: Default::default(),
            full: Default::default(),
            word: Default::default(),
            load: Default::default(),
            keep: Default::default(),
            take: Default::default(),
            _quiet: Default::default(),
        }
    }
}

impl<T: Synth, const N: usize> Logic for FallThrough<T, N> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, write_at, read_at, waiting, some, full, word);
        clock!(self, clock, memory);
        self.load.next = (!self.full.q.val()) | self.pop.val();
        self.take.next = self.load.val() & self.some.q.val();
        self.keep.next = self.push.val() & ((!self.load.val()) | self.some.q.val());
        // a word that goes around the memory is written there all the same, where the next one will be
        self.memory.write.next = self.push.val();
        self.memory.write_address.next = bit_cast::<N, 8>(self.write_at.q.val());
        self.memory.write_data.next = self.data_in.val();
        self.memory.read_address.next = bit_cast::<N, 8>(self.read_at.q.val());
        if self.keep.val() {
            self.write_at.d.next = self.write_at.q.val() + 1;
        }
        if self.take.val() {
            self.read_at.d.next = self.read_at.q.val() + 1;
        }
        if self.keep.val() & (!self.take.val()) {
            self.waiting.d.next = self.waiting.q.val() + 1;
            self.some.d.next = true;
        }
        if self.take.val() & (!self.keep.val()) {
            self.waiting.d.next = self.waiting.q.val() - 1;
            self.some.d.next = self.waiting.q.val() != 1;
        }
        if self.load.val() {
            self.full.d.next = self.some.q.val() | self.push.val();
            self.word.d.next = self.data_in.val();
            if self.some.q.val() {
                self.word.d.next = self.memory.read_data.val();
            }
        }
        self.valid.next = self.full.q.val();
        self.data.next = self.word.q.val();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::Bench;
    use crate::wide::Wide;
    use rand::{rngs::StdRng, Rng, SeedableRng};
    use std::collections::VecDeque;

    #[test]
    fn a_word_shows_one_clock_after_its_push_in_order_and_the_verilog_agrees() {
        let mut rng = StdRng::seed_from_u64(91);
        let mut bench = Bench::new(FallThrough::<Wide<40>, 3>::default());
        let (mut model, mut direct, mut waited) = (VecDeque::new(), 0, 0);
        for clock in 0..3000 {
            // now and then it runs full, now and then empty
            let (pushes, pops) = [(0.9, 0.3), (0.3, 0.9), (0.5, 0.5)][clock / 50 % 3];
            let push = rng.random_bool(pushes) && model.len() < 8;
            let word = rng.random::<u64>() >> 24;
            bench.uut.push.next = push;
            bench.uut.data_in.next = word.into();
            bench.settle();
            assert_eq!(bench.uut.valid.val(), !model.is_empty(), "clock {clock}");
            if let Some(&oldest) = model.front() {
                assert_eq!(bench.uut.data.val().low(), oldest, "clock {clock}");
            }
            let pop = !model.is_empty() && rng.random_bool(pops);
            bench.uut.pop.next = pop;
            bench.settle();
            bench.edge();
            if pop {
                model.pop_front();
            }
            if push {
                direct += usize::from(model.is_empty());
                waited += usize::from(model.len() > 3);
                model.push_back(word);
            }
        }
        assert!(direct > 50 && waited > 50, "{direct} {waited}");
        bench.agrees_with_verilog("fall_through");
    }
}
