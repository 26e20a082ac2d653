//! FIFOs of distributed RAM that show a word one clock after it was pushed.
//!
//! Whether a word waits is a register, not a comparison of the pointers: it decides what moves, and the pointers need no bit
//! that tells a full memory from an empty one.

use crate::prelude::*;
use crate::prim::{LutRam, Quiet, Reg};
use crate::FastBlock;

/// 2^N words. `valid` and `data` show the oldest, `pop` takes it. It has no full flag: whoever pushes
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
    write_at: Reg<Bits<N>>,
    read_at: Reg<Bits<N>>,
    some: Reg<Bit>,
    after: Signal<Local, Bits<N>>,
    _quiet: Quiet,
}

impl<T: Synth, const N: usize> Default for Queue<T, N> {
    fn default() -> Self {
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
            some: Default::default(),
            after: Default::default(),
            _quiet: Default::default(),
        }
    }
}

impl<T: Synth, const N: usize> Logic for Queue<T, N> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, write_at, read_at, some);
        clock!(self, clock, memory);
        self.memory.write.next = self.push.val();
        self.memory.write_address.next = self.write_at.q.val();
        self.memory.write_data.next = self.data_in.val();
        self.memory.read_address.next = self.read_at.q.val();
        self.after.next = self.read_at.q.val() + 1;
        if self.pop.val() {
            self.read_at.d.next = self.after.val();
            self.some.d.next = self.write_at.q.val() != self.after.val();
        }
        if self.push.val() {
            self.write_at.d.next = self.write_at.q.val() + 1;
            self.some.d.next = true;
        }
        self.valid.next = self.some.q.val();
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
    write_at: Reg<Bits<N>>,
    read_at: Reg<Bits<N>>,
    /// There is a word in memory.
    some: Reg<Bit>,
    after: Signal<Local, Bits<N>>,
    full: Reg<Bit>,
    word: Reg<T>,
    load: Signal<Local, Bit>,
    /// Words are left in memory behind the one that is read.
    left: Signal<Local, Bit>,
    take: Signal<Local, Bit>,
    _quiet: Quiet,
}

impl<T: Synth, const N: usize> Default for FallThrough<T, N> {
    fn default() -> Self {
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
            some: Default::default(),
            after: Default::default(),
            full: Default::default(),
            word: Default::default(),
            load: Default::default(),
            left: Default::default(),
            take: Default::default(),
            _quiet: Default::default(),
        }
    }
}

impl<T: Synth, const N: usize> Logic for FallThrough<T, N> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, write_at, read_at, some, full, word);
        clock!(self, clock, memory);
        self.load.next = (!self.full.q.val()) | self.pop.val();
        self.take.next = self.load.val() & (self.some.q.val() | self.push.val());
        // a word that goes around the memory has its place there all the same: the pointers pass over it, so that what is written where
        // does not wait for `pop`
        self.memory.write.next = self.push.val();
        self.memory.write_address.next = self.write_at.q.val();
        self.memory.write_data.next = self.data_in.val();
        self.memory.read_address.next = self.read_at.q.val();
        self.after.next = self.read_at.q.val() + 1;
        self.left.next = self.write_at.q.val() != self.after.val();
        if self.push.val() {
            self.write_at.d.next = self.write_at.q.val() + 1;
        }
        if self.take.val() {
            self.read_at.d.next = self.after.val();
        }
        if self.load.val() {
            self.some.d.next = self.some.q.val() & (self.push.val() | self.left.val());
        } else {
            self.some.d.next = self.some.q.val() | self.push.val();
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
        let (mut model, mut direct, mut waited, mut brim) = (VecDeque::new(), 0, 0, 0);
        for clock in 0..3000 {
            // now and then it runs full, now and then empty
            let (pushes, pops) = [(0.9, 0.3), (0.3, 0.9), (0.5, 0.5)][clock / 50 % 3];
            // eight words of memory and the register
            let push = rng.random_bool(pushes) && model.len() < 9;
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
            brim += usize::from(model.len() == 9);
        }
        assert!(direct > 50 && waited > 50 && brim > 50, "{direct} {waited} {brim}");
        bench.agrees_with_verilog("fall_through");
    }

    #[test]
    fn a_queue_that_runs_full_and_empty_keeps_order_and_the_verilog_agrees() {
        let mut rng = StdRng::seed_from_u64(92);
        let mut bench = Bench::new(Queue::<Wide<40>, 3>::default());
        let (mut model, mut lone, mut brim) = (VecDeque::new(), 0, 0);
        for clock in 0..3000 {
            let (pushes, pops) = [(0.9, 0.3), (0.3, 0.9), (0.9, 0.9)][clock / 50 % 3];
            let push = rng.random_bool(pushes) && model.len() < 8;
            let word = rng.random::<u64>() >> 24;
            let pop = !model.is_empty() && rng.random_bool(pops);
            bench.uut.push.next = push;
            bench.uut.data_in.next = word.into();
            bench.uut.pop.next = pop;
            bench.settle();
            assert_eq!(bench.uut.valid.val(), !model.is_empty(), "clock {clock}");
            if let Some(&oldest) = model.front() {
                assert_eq!(bench.uut.data.val().low(), oldest, "clock {clock}");
            }
            bench.edge();
            // the only word goes while the next one comes
            lone += usize::from(push && pop && model.len() == 1);
            if pop {
                model.pop_front();
            }
            if push {
                model.push_back(word);
            }
            brim += usize::from(model.len() == 8);
        }
        assert!(lone > 50 && brim > 50, "{lone} {brim}");
        bench.agrees_with_verilog("queue");
    }
}
