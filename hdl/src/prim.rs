//! Leaves: register, block RAMs, distributed RAM, and a small FIFO made of them.
//!
//! A leaf has two descriptions, its Rust `update` and its Verilog text; the tests below replay one against the other.
//! Every leaf starts at zero, in both.

use crate::prelude::*;
use crate::FastBlock;

/// What the simulator remembers of a block between visits; see the derive.
#[derive(Clone, Debug)]
pub struct Quiet {
    /// The kernel must run.
    run: bool,
    /// Sub-blocks must be visited.
    below: bool,
    /// An output moved in the last visit.
    moved: bool,
    /// A leaf is visited for the clock edge.
    edge: bool,
}

impl Default for Quiet {
    fn default() -> Self {
        Self {
            run: true,
            below: true,
            moved: false,
            edge: false,
        }
    }
}

/// An output of the block may have moved: the kernel around it must run.
const MOVED: u8 = 1;
/// The block must be visited.
const VISIT: u8 = 2;

impl Quiet {
    /// Begins a visit: whether the kernel must run, whether sub-blocks must be visited.
    #[inline(always)]
    pub fn start(&mut self) -> (bool, bool) {
        let todo = (self.run, self.below);
        (self.run, self.below, self.moved) = (false, false, false);
        todo
    }

    /// Ends a visit.
    #[inline(always)]
    pub fn finish(&mut self, moved: bool) {
        self.moved = moved;
    }

    /// Whether an output moved in the last visit.
    #[inline(always)]
    pub fn moved(&self) -> bool {
        self.moved
    }

    /// Whether a leaf is visited for the clock edge.
    #[inline(always)]
    pub fn ticks(&self) -> bool {
        self.edge
    }

    /// A leaf's edge begins: its `update` is to run and to see [`Quiet::ticks`].
    #[inline(always)]
    pub fn begin_edge(&mut self) {
        (self.run, self.edge) = (true, true);
    }

    /// A leaf's edge is over; what its parent has to know.
    #[inline(always)]
    pub fn end_edge(&mut self) -> u8 {
        self.edge = false;
        if self.moved {
            MOVED
        } else {
            0
        }
    }

    /// The edge of everything in a block is over; what its parent has to know.
    #[inline(always)]
    pub fn after_edge(&mut self, below: u8) -> u8 {
        self.run |= below & MOVED != 0;
        self.below |= below & VISIT != 0;
        if below == 0 {
            0
        } else {
            VISIT
        }
    }
}

/// A part of a design that clock edges reach.
pub trait Edge {
    /// The clock edge: registers and memories take over their inputs, which must have settled. Tells the parent what moved,
    /// for its [`Quiet`].
    fn edge(&mut self) -> u8;
}

impl<B: Edge, const N: usize> Edge for [B; N] {
    #[inline(always)]
    fn edge(&mut self) -> u8 {
        self.iter_mut().fold(0, |all, part| all | part.edge())
    }
}

/// A block with a clock input, as test benches and engines step it.
///
/// In the simulator the clock line itself never moves: an edge is a walk over the registers ([`Edge`]). The Verilog has
/// rising edges only.
pub trait Clocked: Block + Edge {
    /// Lets inputs settle, then the next rising edge; outputs follow with the next `update_all`.
    fn toggle_clock(&mut self) {
        crate::testkit::settle(self);
        self.edge();
    }
}

/// A block whose parts run on clocks of their own, as test benches step it.
pub trait Domains: Block {
    /// Names of its clock inputs.
    const CLOCKS: &'static [&'static str];

    /// The rising edge of one of [`Domains::CLOCKS`]; inputs must have settled. Edges of several clocks without settling in
    /// between are at the same moment.
    fn edge_of(&mut self, clock: usize);
}

/// A register with power-on value zero.
#[derive(Clone, Debug)]
pub struct Reg<T: Synth> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Next value.
    pub d: Signal<In, T>,
    /// Value.
    pub q: Signal<Out, T>,
}

/// By hand: registers are most of a design, and between edges there is nothing to do for them. Only `next` of their signals
/// is used, which is what the kernel around them writes and reads.
impl<T: Synth> Edge for Reg<T> {
    #[inline(always)]
    fn edge(&mut self) -> u8 {
        if self.q.next == self.d.next {
            return 0;
        }
        self.q.next = self.d.next;
        MOVED
    }
}

impl<T: Synth> Block for Reg<T> {
    fn connect_all(&mut self) {
        self.connect();
    }
    #[inline(always)]
    fn update_all(&mut self) {}
    #[inline(always)]
    fn has_changed(&self) -> bool {
        false
    }
    fn accept(&self, name: &str, probe: &mut dyn Probe) {
        probe.visit_start_scope(name, self);
        self.clock.accept("clock", probe);
        self.d.accept("d", probe);
        self.q.accept("q", probe);
        probe.visit_end_scope(name, self);
    }
}

impl<T: Synth> Default for Reg<T> {
    fn default() -> Self {
        Self {
            clock: Default::default(),
            d: Default::default(),
            q: Default::default(),
        }
    }
}

impl<T: Synth> Logic for Reg<T> {
    fn update(&mut self) {}
    fn connect(&mut self) {
        self.q.connect();
    }
    fn hdl(&self) -> Verilog {
        Verilog::Custom(format!(
            "initial q = {:x};\nalways @(posedge clock) q <= d;\n",
            T::default().verilog()
        ))
    }
}

/// Simple dual-port block RAM of 2^N words with an output register: data two clocks after the address. A read of the
/// word being written gives the old one.
///
/// The session table relies on that: a lookup beside a write must see the old tag or the new one, never a mixture. So the
/// Verilog has no `no_rw_check`, which would let synthesis return anything; where a RAM cannot read first, synthesis
/// has to add the comparison and the bypass.
#[derive(FastBlock)]
pub struct BlockRam<T: Synth, const N: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Read address.
    pub read_address: Signal<In, Bits<N>>,
    /// Word of the address two clocks ago.
    pub read_data: Signal<Out, T>,
    /// Write enable.
    pub write: Signal<In, Bit>,
    /// Write address.
    pub write_address: Signal<In, Bits<N>>,
    /// Word to write.
    pub write_data: Signal<In, T>,
    _memory: Vec<T>,
    _pipe: T,
    _quiet: Quiet,
}

impl<T: Synth, const N: usize> Default for BlockRam<T, N> {
    fn default() -> Self {
        Self {
            clock: Default::default(),
            read_address: Default::default(),
            read_data: Default::default(),
            write: Default::default(),
            write_address: Default::default(),
            write_data: Default::default(),
            _memory: vec![T::default(); 1 << N],
            _pipe: T::default(),
            _quiet: Default::default(),
        }
    }
}

impl<T: Synth, const N: usize> Logic for BlockRam<T, N> {
    fn update(&mut self) {
        if self._quiet.ticks() {
            self.read_data.next = self._pipe;
            self._pipe = self._memory[self.read_address.val().index()];
            if self.write.val() {
                self._memory[self.write_address.val().index()] = self.write_data.val();
            }
        }
    }
    fn connect(&mut self) {
        self.read_data.connect();
    }
    fn hdl(&self) -> Verilog {
        Verilog::Custom(format!(
            "(* ram_style = \"block\" *) reg [{top}:0] mem [0:{last}];\nreg [{top}:0] pipe;\ninteger i;\n\
             initial begin\n  for (i = 0; i <= {last}; i = i + 1) mem[i] = {bits}'h0;\n  pipe = {bits}'h0;\n  read_data = {bits}'h0;\nend\n\
             always @(posedge clock) begin\n  pipe <= mem[read_address];\n  read_data <= pipe;\n  if (write) mem[write_address] <= write_data;\nend\n",
            top = T::BITS - 1,
            bits = T::BITS,
            last = (1usize << N) - 1
        ))
    }
}

/// Simple dual-port block RAM of 2^N words with an output register, for who keeps reads and writes apart: data two clocks after
/// the address, and in no clock the word being written is read.
///
/// A block RAM promises nothing for such a read, and [`BlockRam`] costs a comparison and a bypass of the whole word where the
/// part cannot read first. Here the Verilog says `no_rw_check`; the simulator panics.
#[derive(FastBlock)]
pub struct ApartRam<T: Synth, const N: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Read address.
    pub read_address: Signal<In, Bits<N>>,
    /// Word of the address two clocks ago.
    pub read_data: Signal<Out, T>,
    /// Write enable; not while `read_address` is `write_address`.
    pub write: Signal<In, Bit>,
    /// Write address.
    pub write_address: Signal<In, Bits<N>>,
    /// Word to write.
    pub write_data: Signal<In, T>,
    _memory: Vec<T>,
    _pipe: T,
    _quiet: Quiet,
}

impl<T: Synth, const N: usize> ApartRam<T, N> {
    /// Puts a word into the memory, for tests of what takes too many clocks to come about.
    #[cfg(test)]
    pub(crate) fn preset(&mut self, address: usize, word: T) {
        self._memory[address] = word;
    }
}

impl<T: Synth, const N: usize> Default for ApartRam<T, N> {
    fn default() -> Self {
        Self {
            clock: Default::default(),
            read_address: Default::default(),
            read_data: Default::default(),
            write: Default::default(),
            write_address: Default::default(),
            write_data: Default::default(),
            _memory: vec![T::default(); 1 << N],
            _pipe: T::default(),
            _quiet: Default::default(),
        }
    }
}

impl<T: Synth, const N: usize> Logic for ApartRam<T, N> {
    fn update(&mut self) {
        if self._quiet.ticks() {
            self.read_data.next = self._pipe;
            self._pipe = self._memory[self.read_address.val().index()];
            if self.write.val() {
                assert_ne!(
                    self.read_address.val(),
                    self.write_address.val(),
                    "a word is read while it is written"
                );
                self._memory[self.write_address.val().index()] = self.write_data.val();
            }
        }
    }
    fn connect(&mut self) {
        self.read_data.connect();
    }
    fn hdl(&self) -> Verilog {
        Verilog::Custom(format!(
            "(* ram_style = \"block\", no_rw_check *) reg [{top}:0] mem [0:{last}];\nreg [{top}:0] pipe;\ninteger i;\n\
             initial begin\n  for (i = 0; i <= {last}; i = i + 1) mem[i] = {bits}'h0;\n  pipe = {bits}'h0;\n  read_data = {bits}'h0;\nend\n\
             always @(posedge clock) begin\n  pipe <= mem[read_address];\n  read_data <= pipe;\n  if (write) mem[write_address] <= write_data;\nend\n",
            top = T::BITS - 1,
            bits = T::BITS,
            last = (1usize << N) - 1
        ))
    }
}

/// Distributed RAM of 2^N words: written at the clock, read at once.
#[derive(FastBlock)]
pub struct LutRam<T: Synth, const N: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Read address.
    pub read_address: Signal<In, Bits<N>>,
    /// Word of this address.
    pub read_data: Signal<Out, T>,
    /// Write enable.
    pub write: Signal<In, Bit>,
    /// Write address.
    pub write_address: Signal<In, Bits<N>>,
    /// Word to write.
    pub write_data: Signal<In, T>,
    _memory: Vec<T>,
    _quiet: Quiet,
}

impl<T: Synth, const N: usize> Default for LutRam<T, N> {
    fn default() -> Self {
        Self {
            clock: Default::default(),
            read_address: Default::default(),
            read_data: Default::default(),
            write: Default::default(),
            write_address: Default::default(),
            write_data: Default::default(),
            _memory: vec![T::default(); 1 << N],
            _quiet: Default::default(),
        }
    }
}

impl<T: Synth, const N: usize> Logic for LutRam<T, N> {
    fn update(&mut self) {
        if self._quiet.ticks() && self.write.val() {
            self._memory[self.write_address.val().index()] = self.write_data.val();
        }
        self.read_data.next = self._memory[self.read_address.val().index()];
    }
    fn connect(&mut self) {
        self.read_data.connect();
    }
    fn hdl(&self) -> Verilog {
        Verilog::Custom(format!(
            "(* ram_style = \"distributed\" *) reg [{top}:0] mem [0:{last}];\ninteger i;\n\
             initial for (i = 0; i <= {last}; i = i + 1) mem[i] = {bits}'h0;\n\
             always @(posedge clock) if (write) mem[write_address] <= write_data;\nalways @(*) read_data = mem[read_address];\n",
            top = T::BITS - 1,
            bits = T::BITS,
            last = (1usize << N) - 1
        ))
    }
}

/// FIFO of 2^N words in distributed RAM and one output register: `valid` and `data` show the oldest word, `pop` takes it.
///
/// It has no full flag: whoever pushes counts (credits). Latency from `push` to `valid`: 2 clocks. One word per clock.
#[derive(FastBlock)]
pub struct SmallFifo<T: Synth, const N: usize> {
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
    full: Reg<Bit>,
    word: Reg<T>,
    load: Signal<Local, Bit>,
    _quiet: Quiet,
}

impl<T: Synth, const N: usize> Default for SmallFifo<T, N> {
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
            full: Default::default(),
            word: Default::default(),
            load: Default::default(),
            _quiet: Default::default(),
        }
    }
}

impl<T: Synth, const N: usize> Logic for SmallFifo<T, N> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, write_at, read_at, full, word);
        clock!(self, clock, memory);
        self.memory.write.next = self.push.val();
        self.memory.write_address.next = self.write_at.q.val();
        self.memory.write_data.next = self.data_in.val();
        self.memory.read_address.next = self.read_at.q.val();
        if self.push.val() {
            self.write_at.d.next = self.write_at.q.val() + 1;
        }
        self.load.next = (self.write_at.q.val() != self.read_at.q.val()) & (!self.full.q.val() | self.pop.val());
        if self.load.val() {
            self.read_at.d.next = self.read_at.q.val() + 1;
            self.word.d.next = self.memory.read_data.val();
        }
        self.full.d.next = self.load.val() | (self.full.q.val() & !self.pop.val());
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
    fn small_fifo_keeps_order_and_its_verilog_agrees() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut bench = Bench::new(SmallFifo::<Wide<40>, 3>::default());
        let (mut model, mut inside, mut seen) = (VecDeque::new(), 0usize, 0);
        for _ in 0..2000 {
            let push = rng.random::<bool>() && inside < 7;
            let word = rng.random::<u64>() >> 24;
            bench.uut.push.next = push;
            bench.uut.data_in.next = word.into();
            bench.uut.pop.next = false;
            bench.settle();
            let pop = bench.uut.valid.val() && rng.random::<bool>();
            bench.uut.pop.next = pop;
            bench.settle();
            if pop {
                assert_eq!(Some(bench.uut.data.val().low()), model.pop_front());
                inside -= 1;
                seen += 1;
            }
            bench.edge();
            if push {
                model.push_back(word);
                inside += 1;
            }
        }
        assert!(seen > 500);
        bench.agrees_with_verilog("small_fifo");
        bench.agrees_with_netlist("small_fifo");
    }

    #[test]
    fn block_ram_agrees_with_its_verilog() {
        let mut rng = StdRng::seed_from_u64(2);
        let mut bench = Bench::new(BlockRam::<Wide<70>, 4>::default());
        for _ in 0..500 {
            bench.uut.read_address.next = rng.random_range(0..16u64).into();
            bench.uut.write_address.next = rng.random_range(0..16u64).into();
            bench.uut.write.next = rng.random();
            bench.uut.write_data.next = rng.random::<u64>().into();
            bench.tick();
        }
        bench.agrees_with_verilog("block_ram");
        bench.agrees_with_netlist("block_ram");
    }

    #[test]
    fn apart_ram_agrees_with_its_verilog() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut bench = Bench::new(ApartRam::<Wide<70>, 4>::default());
        let (mut model, mut expected) = ([0u64; 16], VecDeque::from([0, 0]));
        for _ in 0..500 {
            let (read, write) = (rng.random_range(0..16usize), rng.random_range(0..16usize));
            let word = rng.random();
            bench.uut.read_address.next = (read as u64).into();
            bench.uut.write_address.next = (write as u64).into();
            bench.uut.write.next = read != write && rng.random();
            bench.uut.write_data.next = Wide::from(word);
            bench.settle();
            assert_eq!(Some(bench.uut.read_data.val().low()), expected.pop_front());
            expected.push_back(model[read]);
            if bench.uut.write.val() {
                model[write] = word;
            }
            bench.edge();
        }
        bench.agrees_with_verilog("apart_ram");
        bench.agrees_with_netlist("apart_ram");
    }

    #[test]
    #[should_panic(expected = "a word is read while it is written")]
    fn apart_ram_refuses_a_read_of_the_word_being_written() {
        let mut bench = Bench::new(ApartRam::<Bits<8>, 4>::default());
        bench.uut.read_address.next = 5u64.into();
        bench.uut.write_address.next = 5u64.into();
        bench.uut.write.next = true;
        bench.tick();
    }
}
