//! Ahead: a ring of 2^N words in block RAM that is read before its words are asked for, so that they are there in the clock in which they
//! are.
//!
//! ```text
//!  write write_address write_data --> | ring |      | --> queue of 8 --> valid data
//!  limit ---------------------------------> | issue |  <---------------- pop
//!  at (everything before it is free) <------|       |
//! ```
//!
//! Words before `limit` are read, in order. Whoever writes may take back what is not before `limit`: nothing of it is here. The writer is
//! never more than 2^N - 2 words ahead of `at`, so a word that is being written is never one that is read.
//!
//! Latency: three clocks from `limit` to `valid`; then a word per clock.

use crate::egress::queue::FallThrough;
use crate::prelude::*;
use crate::prim::{ApartRam, Quiet, Reg};
use crate::FastBlock;

/// Clocks from `limit` to `valid`.
pub const LATENCY: usize = 3;

/// See the module documentation.
#[derive(FastBlock, Default)]
pub struct Ahead<T: Synth, const N: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Write enable.
    pub write: Signal<In, Bit>,
    /// Write address.
    pub write_address: Signal<In, Bits<N>>,
    /// Word to write.
    pub write_data: Signal<In, T>,
    /// Words before this one may be read; a register.
    pub limit: Signal<In, Bits<N>>,
    /// The word to be read next: those before it may be overwritten.
    pub at: Signal<Out, Bits<N>>,
    /// There is a word.
    pub valid: Signal<Out, Bit>,
    /// The oldest word.
    pub data: Signal<Out, T>,
    /// It is taken; only with `valid`.
    pub pop: Signal<In, Bit>,
    memory: ApartRam<T, N>,
    queue: FallThrough<T, 3>,
    next: Reg<Bits<N>>,
    /// Words on their way or in the queue: at most 6, which is a clock's word for as long as a word takes.
    inside: Reg<Bits<3>>,
    asked: Reg<Bit>,
    comes: Reg<Bit>,
    issue: Signal<Local, Bit>,
    _quiet: Quiet,
}

impl<T: Synth, const N: usize> Logic for Ahead<T, N> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, next, inside, asked, comes);
        clock!(self, clock, memory, queue);
        self.memory.write.next = self.write.val();
        self.memory.write_address.next = self.write_address.val();
        self.memory.write_data.next = self.write_data.val();
        self.issue.next = (self.limit.val() != self.next.q.val()) & (self.inside.q.val() < 6);
        // beside a write of the next word the one before it is read, for nothing
        self.memory.read_address.next = self.next.q.val() - 1;
        if self.issue.val() {
            self.memory.read_address.next = self.next.q.val();
            self.next.d.next = self.next.q.val() + 1;
        }
        self.asked.d.next = self.issue.val();
        self.comes.d.next = self.asked.q.val();
        self.queue.push.next = self.comes.q.val();
        self.queue.data_in.next = self.memory.read_data.val();
        self.queue.pop.next = self.pop.val();
        if self.issue.val() & (!self.pop.val()) {
            self.inside.d.next = self.inside.q.val() + 1;
        }
        if self.pop.val() & (!self.issue.val()) {
            self.inside.d.next = self.inside.q.val() - 1;
        }
        self.at.next = self.next.q.val();
        self.valid.next = self.queue.valid.val();
        self.data.next = self.queue.data.val();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::Bench;
    use rand::{rngs::StdRng, Rng, SeedableRng};
    use std::collections::VecDeque;

    /// Random writes of which some are taken back, up to the last place of the ring.
    #[test]
    fn words_come_in_order_and_none_that_was_taken_back() {
        let mut rng = StdRng::seed_from_u64(17);
        let mut bench = Bench::new(Ahead::<Bits<16>, 4>::default());
        let (mut written, mut limit) = (0u64, 0u64);
        let (mut open, mut model): (Vec<u64>, VecDeque<u64>) = Default::default();
        let (mut seen, mut taken_back, mut full) = (0, 0, 0);
        for clock in 0..6000 {
            let (writes, pops) = [(0.9, 0.3), (0.3, 0.9), (1.0, 1.0)][clock / 60 % 3];
            let at = bench.uut.at.val().index() as u64;
            let ahead = written.wrapping_sub(at) % 16;
            full += usize::from(ahead == 14);
            let write = ahead < 14 && rng.random_bool(writes);
            let word = rng.random_range(0..1 << 16);
            bench.uut.write.next = write;
            bench.uut.write_address.next = (written % 16).into();
            bench.uut.write_data.next = word.into();
            bench.uut.limit.next = (limit % 16).into();
            bench.settle();
            let valid = bench.uut.valid.val();
            if valid {
                assert_eq!(
                    Some(&(bench.uut.data.val().index() as u64)),
                    model.front(),
                    "clock {clock}"
                );
            }
            let pop = valid && rng.random_bool(pops);
            bench.uut.pop.next = pop;
            bench.settle();
            bench.edge();
            if pop {
                model.pop_front();
                seen += 1;
            }
            if write {
                written += 1;
                open.push(word);
            }
            if rng.random_bool(0.3) {
                model.extend(open.drain(..));
                limit = written;
            } else if rng.random_bool(0.05) {
                taken_back += open.len();
                open.clear();
                written = limit;
            }
        }
        assert!(
            seen > 1000 && taken_back > 100 && full > 50,
            "{seen} {taken_back} {full}"
        );
        bench.agrees_with_verilog("pcie_ahead");
        bench.agrees_with_netlist("pcie_ahead");
    }

    #[test]
    fn a_word_per_clock_behind_the_latency() {
        let mut bench = Bench::new(Ahead::<Bits<16>, 5>::default());
        for word in 0..20u64 {
            bench.uut.write.next = true;
            bench.uut.write_address.next = word.into();
            bench.uut.write_data.next = word.into();
            bench.tick();
        }
        bench.uut.write.next = false;
        bench.uut.limit.next = 20u64.into();
        for _ in 0..LATENCY {
            bench.settle();
            assert!(!bench.uut.valid.val());
            bench.edge();
        }
        bench.uut.pop.next = true;
        for word in 0..20 {
            bench.settle();
            assert!(bench.uut.valid.val() && bench.uut.data.val().index() == word, "{word}");
            bench.edge();
        }
    }
}
