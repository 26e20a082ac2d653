//! FIFO between two clocks that have nothing to do with each other.
//!
//! ```text
//!            write clock                          |            read clock
//!  push  --> | FifoWrite | -- write_gray ---------|--> meta, stable --> | FifoRead | --> valid
//!  room <--  |   memory  | <-- meta, stable ------|------ read_gray --- |          | <-- pop
//!  data  --> |           | -- word at read_address|-------------------> | register | --> data
//! ```
//!
//! Each side counts its words in Gray code, so that one bit moves at a time and the other side sees the old or the new count,
//! whenever it looks. A word is read only after its writer's count came through two registers, and was stable by then.
//! Full and empty are seen late, never early: a full FIFO may have room and an empty one a word, not the other way round.
//!
//! The halves are blocks with one clock each; [`AsyncFifo`] joins them. What place and route must know of the three
//! crossings is in [`super::crossing`].

use crate::ingress::with_constants;
use crate::prelude::*;
use crate::prim::{Domains, Edge, LutRam, Quiet, Reg};
use crate::FastBlock;

use super::sync::Synchronizer;

/// The side that writes. 2^N words, `P` = N + 1.
#[derive(FastBlock)]
pub struct FifoWrite<D: Synth, M: Synth, const N: usize, const P: usize> {
    /// Clock of the writer.
    pub clock: Signal<In, Clock>,
    /// Adds a word; without `room` nothing happens.
    pub push: Signal<In, Bit>,
    /// Bytes of the word to add.
    pub data_in: Signal<In, D>,
    /// What is said of them.
    pub meta_in: Signal<In, M>,
    /// There is room for a word.
    pub room: Signal<Out, Bit>,
    /// Words written, in Gray code; a register.
    pub write_gray: Signal<Out, Bits<P>>,
    /// Words read, in Gray code, of the other clock.
    pub read_gray: Signal<In, Bits<P>>,
    /// Place the reader looks at, of the other clock.
    pub read_address: Signal<In, Bits<N>>,
    /// Bytes of the word there; stable while the reader may look at them.
    pub read_data: Signal<Out, D>,
    /// What is said of them.
    pub read_meta: Signal<Out, M>,
    memory: LutRam<D, N>,
    metas: LutRam<M, N>,
    seen: Synchronizer<P>,
    at: Reg<Bits<P>>,
    gray: Reg<Bits<P>>,
    /// There is room: late by a clock, and therefore at worst for a word less than there is.
    free: Reg<Bit>,
    take: Signal<Local, Bit>,
    after: Signal<Local, Bits<P>>,
    after_gray: Signal<Local, Bits<P>>,
    full: Signal<Local, Bits<P>>,
    two_top: Constant<Bits<P>>,
    _quiet: Quiet,
}

impl<D: Synth, M: Synth, const N: usize, const P: usize> Default for FifoWrite<D, M, N, P> {
    /// Panics unless `P` is N + 1 and N is at least 2.
    fn default() -> Self {
        assert!(P == N + 1 && N >= 2);
        with_constants!(
            clock push data_in meta_in room write_gray read_gray read_address read_data read_meta memory metas seen at gray free take after after_gray full _quiet;
            two_top = 3u64 << (P - 2),
        )
    }
}

impl<D: Synth, M: Synth, const N: usize, const P: usize> Logic for FifoWrite<D, M, N, P> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, at, gray, free);
        clock!(self, clock, memory, metas, seen);
        self.seen.d.next = self.read_gray.val();
        // full: the counts differ by 2^N, which in Gray code are the two topmost bits
        self.full.next = self.seen.q.val() ^ self.two_top.val();
        self.take.next = self.push.val() & self.free.q.val();
        self.room.next = self.free.q.val();
        self.after.next = self.at.q.val() + 1;
        self.after_gray.next = self.after.val() ^ (self.after.val() >> 1);
        self.free.d.next = self.gray.q.val() != self.full.val();
        if self.take.val() {
            self.at.d.next = self.after.val();
            self.gray.d.next = self.after_gray.val();
            self.free.d.next = self.after_gray.val() != self.full.val();
        }
        self.memory.write.next = self.take.val();
        self.memory.write_address.next = bit_cast::<N, P>(self.at.q.val());
        self.memory.write_data.next = self.data_in.val();
        self.memory.read_address.next = self.read_address.val();
        self.read_data.next = self.memory.read_data.val();
        self.metas.write.next = self.take.val();
        self.metas.write_address.next = bit_cast::<N, P>(self.at.q.val());
        self.metas.write_data.next = self.meta_in.val();
        self.metas.read_address.next = self.read_address.val();
        self.read_meta.next = self.metas.read_data.val();
        self.write_gray.next = self.gray.q.val();
    }
}

/// The side that reads. 2^N words, `P` = N + 1.
#[derive(FastBlock)]
pub struct FifoRead<D: Synth, M: Synth, const N: usize, const P: usize> {
    /// Clock of the reader.
    pub clock: Signal<In, Clock>,
    /// There is a word.
    pub valid: Signal<Out, Bit>,
    /// Bytes of the oldest word.
    pub data: Signal<Out, D>,
    /// What is said of them.
    pub meta: Signal<Out, M>,
    /// Takes it; without `valid` nothing happens.
    pub pop: Signal<In, Bit>,
    /// Words read, in Gray code; a register.
    pub read_gray: Signal<Out, Bits<P>>,
    /// Words written, in Gray code, of the other clock.
    pub write_gray: Signal<In, Bits<P>>,
    /// Place this side looks at.
    pub read_address: Signal<Out, Bits<N>>,
    /// Bytes of the word there, of the other clock.
    pub read_data: Signal<In, D>,
    /// What is said of them.
    pub read_meta: Signal<In, M>,
    seen: Synchronizer<P>,
    at: Reg<Bits<P>>,
    gray: Reg<Bits<P>>,
    full: Reg<Bit>,
    word: Reg<D>,
    word_meta: Reg<M>,
    load: Signal<Local, Bit>,
    after: Signal<Local, Bits<P>>,
    _quiet: Quiet,
}

impl<D: Synth, M: Synth, const N: usize, const P: usize> Default for FifoRead<D, M, N, P> {
    /// Panics unless `P` is N + 1 and N is at least 2.
    fn default() -> Self {
        assert!(P == N + 1 && N >= 2);
        with_constants!(
            clock valid data meta pop read_gray write_gray read_address read_data read_meta seen at gray full word word_meta load after _quiet;
        )
    }
}

impl<D: Synth, M: Synth, const N: usize, const P: usize> Logic for FifoRead<D, M, N, P> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, at, gray, full, word, word_meta);
        clock!(self, clock, seen);
        self.seen.d.next = self.write_gray.val();
        self.load.next = (self.seen.q.val() != self.gray.q.val()) & ((!self.full.q.val()) | self.pop.val());
        self.after.next = self.at.q.val() + 1;
        if self.load.val() {
            self.at.d.next = self.after.val();
            self.gray.d.next = self.after.val() ^ (self.after.val() >> 1);
            self.word.d.next = self.read_data.val();
            self.word_meta.d.next = self.read_meta.val();
        }
        self.full.d.next = self.load.val() | (self.full.q.val() & (!self.pop.val()));
        self.read_address.next = bit_cast::<N, P>(self.at.q.val());
        self.read_gray.next = self.gray.q.val();
        self.valid.next = self.full.q.val();
        self.data.next = self.word.q.val();
        self.meta.next = self.word_meta.q.val();
    }
}

/// Both sides. 2^N words and one in the reader's register, `P` = N + 1.
///
/// A word is seen three edges of the reader's clock after the edge of the writer's clock that took it.
#[derive(FastBlock)]
pub struct AsyncFifo<D: Synth, M: Synth, const N: usize, const P: usize> {
    /// Clock of the writer.
    pub write_clock: Signal<In, Clock>,
    /// Clock of the reader.
    pub read_clock: Signal<In, Clock>,
    /// Writer: adds a word; without `room` nothing happens.
    pub push: Signal<In, Bit>,
    /// Writer: bytes of the word to add.
    pub data_in: Signal<In, D>,
    /// Writer: what is said of them.
    pub meta_in: Signal<In, M>,
    /// Writer: there is room for a word.
    pub room: Signal<Out, Bit>,
    /// Reader: there is a word.
    pub valid: Signal<Out, Bit>,
    /// Reader: bytes of the oldest word.
    pub data: Signal<Out, D>,
    /// Reader: what is said of them.
    pub meta: Signal<Out, M>,
    /// Reader: takes it; without `valid` nothing happens.
    pub pop: Signal<In, Bit>,
    writer: FifoWrite<D, M, N, P>,
    reader: FifoRead<D, M, N, P>,
    _quiet: Quiet,
}

impl<D: Synth, M: Synth, const N: usize, const P: usize> Default for AsyncFifo<D, M, N, P> {
    /// Panics unless `P` is N + 1 and N is at least 2.
    fn default() -> Self {
        with_constants!(
            write_clock read_clock push data_in meta_in room valid data meta pop writer reader _quiet;
        )
    }
}

impl<D: Synth, M: Synth, const N: usize, const P: usize> AsyncFifo<D, M, N, P> {
    /// Lets synchronizers be unsure about changes beside an edge; see [`Synchronizer::unsure`].
    pub fn unsure(&mut self, seed: u64) {
        self.writer.seen.unsure(seed);
        self.reader.seen.unsure(seed.wrapping_mul(3));
    }

    /// An edge of the writer's clock; what the block around it has to know.
    pub fn write_edge(&mut self) -> u8 {
        let moved = self.writer.edge();
        self._quiet.after_edge(moved)
    }

    /// An edge of the reader's clock; what the block around it has to know.
    pub fn read_edge(&mut self) -> u8 {
        let moved = self.reader.edge();
        self._quiet.after_edge(moved)
    }
}

impl<D: Synth, M: Synth, const N: usize, const P: usize> Domains for AsyncFifo<D, M, N, P> {
    const CLOCKS: &'static [&'static str] = &["write_clock", "read_clock"];
    fn edge_of(&mut self, clock: usize) {
        match clock {
            0 => self.write_edge(),
            _ => self.read_edge(),
        };
    }
}

impl<D: Synth, M: Synth, const N: usize, const P: usize> Logic for AsyncFifo<D, M, N, P> {
    #[hdl_gen]
    fn update(&mut self) {
        self.writer.clock.next = self.write_clock.val();
        self.reader.clock.next = self.read_clock.val();
        self.writer.push.next = self.push.val();
        self.writer.data_in.next = self.data_in.val();
        self.writer.meta_in.next = self.meta_in.val();
        self.room.next = self.writer.room.val();
        self.reader.write_gray.next = self.writer.write_gray.val();
        self.writer.read_gray.next = self.reader.read_gray.val();
        self.writer.read_address.next = self.reader.read_address.val();
        self.reader.read_data.next = self.writer.read_data.val();
        self.reader.read_meta.next = self.writer.read_meta.val();
        self.valid.next = self.reader.valid.val();
        self.data.next = self.reader.data.val();
        self.meta.next = self.reader.meta.val();
        self.reader.pop.next = self.pop.val();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::DomainBench;
    use crate::wide::Wide;
    use rand::{rngs::StdRng, Rng, SeedableRng};
    use std::collections::VecDeque;

    type Fifo = AsyncFifo<Wide<40>, Bits<4>, 3, 4>;

    /// Words through a FIFO with clocks of these periods (in the same unit), the reader's drifting; gives how many.
    fn through(bench: &mut DomainBench<Fifo>, seed: u64, periods: [f64; 2], busy: [f64; 2]) -> u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut model, mut next, mut seen) = (VecDeque::new(), [0.1f64, 0.0], 0);
        for _ in 0..4000 {
            // the edge that comes first, or both at once
            let first = next[0].min(next[1]);
            let mask = u32::from(next[0] - first < 1e-9) | u32::from(next[1] - first < 1e-9) << 1;
            let uut = &mut bench.uut;
            if mask & 1 != 0 {
                uut.push.next = rng.random_bool(busy[0]);
                uut.data_in.next = (rng.random::<u64>() >> 24).into();
                uut.meta_in.next = rng.random::<u64>().into();
            }
            if mask & 2 != 0 {
                uut.pop.next = rng.random_bool(busy[1]);
            }
            bench.settle();
            let uut = &bench.uut;
            if mask & 2 != 0 && uut.valid.val() && uut.pop.val() {
                assert_eq!(
                    Some((uut.data.val().low(), uut.meta.val())),
                    model.pop_front(),
                    "seed {seed}"
                );
                seen += 1;
            }
            if mask & 1 != 0 && uut.push.val() && uut.room.val() {
                model.push_back((uut.data_in.val().low(), uut.meta_in.val()));
                assert!(model.len() <= 9, "seed {seed}: more words than places");
            }
            bench.edge(mask);
            for (i, next) in next.iter_mut().enumerate() {
                if mask >> i & 1 != 0 {
                    *next += periods[i]
                        * if i == 1 {
                            1.0 + rng.random_range(-0.01..0.01)
                        } else {
                            1.0
                        };
                }
            }
        }
        // nothing is left behind
        bench.uut.push.next = false;
        bench.uut.pop.next = true;
        for _ in 0..40 {
            bench.settle();
            if bench.uut.valid.val() {
                assert_eq!(
                    Some((bench.uut.data.val().low(), bench.uut.meta.val())),
                    model.pop_front(),
                    "seed {seed}"
                );
                seen += 1;
            }
            bench.edge(2);
        }
        assert!(model.is_empty(), "seed {seed}: {} words are lost", model.len());
        for _ in 0..4 {
            bench.edge(1);
        }
        seen
    }

    const PERIODS: [[f64; 2]; 6] = [
        [8.0, 8.0],
        [8.0, 6.4],
        [6.4, 8.0],
        [8.0, 40.0],
        [40.0, 8.0],
        [8.0, 8.001],
    ];

    #[test]
    fn words_keep_their_order_between_unrelated_clocks() {
        let mut least = u64::MAX;
        for (i, periods) in PERIODS.into_iter().enumerate() {
            for (j, busy) in [[1.0, 1.0], [0.5, 0.9], [0.9, 0.3]].into_iter().enumerate() {
                let mut bench = DomainBench::new(Fifo::default()).without_record();
                bench.uut.unsure(1 + i as u64);
                least = least.min(through(&mut bench, (10 * i + j) as u64, periods, busy));
            }
        }
        assert!(least > 150, "only {least} words came through");
    }

    #[test]
    fn its_verilog_agrees() {
        for (i, periods) in PERIODS.into_iter().enumerate() {
            let mut bench = DomainBench::new(Fifo::default());
            through(&mut bench, 100 + i as u64, periods, [0.7, 0.7]);
            bench.agrees_with_verilog("async_fifo");
            bench.agrees_with_netlist("async_fifo");
        }
    }

    #[test]
    fn fast_clocks_carry_a_word_per_slow_clock() {
        // equal clocks: the loop of both synchronizers is shorter than the FIFO is deep
        let mut bench = DomainBench::new(AsyncFifo::<Wide<40>, Bits<4>, 4, 5>::default()).without_record();
        (bench.uut.push.next, bench.uut.pop.next) = (true, true);
        let mut seen = 0;
        for clock in 0..200 {
            bench.settle();
            seen += u32::from(clock >= 100 && bench.uut.valid.val());
            bench.edge(3);
        }
        assert_eq!(seen, 100);
    }
}
