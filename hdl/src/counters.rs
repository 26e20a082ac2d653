//! Counters by reason, port and service set, and the port they are read by.
//!
//! ```text
//!  tally0 -----------------------> | reasons a |--+
//!  tally1 --> fifo --+             |           |  +--> sum --+
//!  tally2 --> fifo --+--> one ---> | reasons b |--+          |
//!  tally3 --> fifo --+                                       +--> read_data (low word, then the held high word)
//!  translated -------------------> | sets: packets, bytes x 16 |--+
//!  in_*, out_*0, out_*1 ---------> | ports: packets, bytes     |--+
//! ```
//!
//! Nothing that is counted is ever lost: `tally0`, `translated` and the port events have counters of their own that take one event
//! per clock, and `tally1` to `tally3` share one through FIFOs of 15 that lose nothing while the three together have no
//! more than one event per clock over 15 clocks (punt and inject need many clocks for a frame). A read shows the events of
//! up to a few clocks before.
//!
//! Counters have `COUNTER_BITS` and wrap. Reading a low word holds the high word of the same counter for the next read of a
//! high word, whatever its address.

use crate::prelude::*;
use crate::prim::{LutRam, Quiet, Reg, SmallFifo};
use crate::types::{Tally, Translated};
use crate::wide::{bit_cast_wide, bits_literal, bits_narrow, bits_wide, Wide};
use crate::FastBlock;
use nat64_layout::regs::{COUNTER_BASE, COUNTER_BITS, PORT_COUNTER_BASE, SET_COUNTER_BASE};
use nat64_layout::tables::SERVICE_SETS;
use nat64_layout::{PORTS, REASON_COUNTERS};

/// Clocks from `read` to `read_done`.
pub const LATENCY: usize = 3;

/// 2^N counters of 48 bits in distributed RAM: adds once per clock, reads at once.
///
/// Two copies, so that the read never takes a turn of the adder. An event counts two clocks after it came; the sum that
/// is being written is forwarded to an event of the same counter.
#[derive(FastBlock, Default)]
pub struct Count<const N: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// An event.
    pub add: Signal<In, Bit>,
    /// Counter.
    pub counter: Signal<In, Bits<N>>,
    /// What it adds.
    pub amount: Signal<In, Bits<16>>,
    /// Sets the counters to zero, one per clock, all in 2^N clocks; events meanwhile are lost.
    pub wipe: Signal<In, Bit>,
    /// Counter to read.
    pub read_counter: Signal<In, Bits<N>>,
    /// Its value.
    pub value: Signal<Out, Wide<48>>,
    adder: LutRam<Wide<48>, N>,
    reader: LutRam<Wide<48>, N>,
    now: Reg<Bit>,
    now_counter: Reg<Bits<N>>,
    now_amount: Reg<Bits<16>>,
    sum: Reg<Wide<48>>,
    sum_valid: Reg<Bit>,
    sum_counter: Reg<Bits<N>>,
    wiping: Reg<Bits<N>>,
    old: Signal<Local, Wide<48>>,
    _quiet: Quiet,
}

impl<const N: usize> Logic for Count<N> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self,
            clock,
            now,
            now_counter,
            now_amount,
            sum,
            sum_valid,
            sum_counter,
            wiping
        );
        clock!(self, clock, adder, reader);
        self.now.d.next = self.add.val();
        if self.add.val() {
            self.now_counter.d.next = self.counter.val();
            self.now_amount.d.next = self.amount.val();
        }
        self.adder.read_address.next = self.now_counter.q.val();
        self.old.next = self.adder.read_data.val();
        if self.sum_valid.q.val() & (self.sum_counter.q.val() == self.now_counter.q.val()) {
            self.old.next = self.sum.q.val();
        }
        self.sum_valid.d.next = self.now.q.val();
        if self.now.q.val() {
            self.sum.d.next = self.old.val() + bit_cast_wide::<48, 16>(bits_wide::<16>(self.now_amount.q.val()));
            self.sum_counter.d.next = self.now_counter.q.val();
        }
        if self.wipe.val() {
            self.wiping.d.next = self.wiping.q.val() + 1;
            self.sum_valid.d.next = true;
            self.sum_counter.d.next = self.wiping.q.val();
            self.sum.d.next = bits_literal::<48>(0);
        }
        self.adder.write.next = self.sum_valid.q.val();
        self.adder.write_address.next = self.sum_counter.q.val();
        self.adder.write_data.next = self.sum.q.val();
        self.reader.write.next = self.sum_valid.q.val();
        self.reader.write_address.next = self.sum_counter.q.val();
        self.reader.write_data.next = self.sum.q.val();
        self.reader.read_address.next = self.read_counter.val();
        self.value.next = self.reader.read_data.val();
    }
}

/// See the module documentation.
#[derive(FastBlock)]
pub struct Counters {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reasons from egress, up to one per clock.
    pub tally0: Signal<In, Tally>,
    /// Reasons from ingress.
    pub tally1: Signal<In, Tally>,
    /// Reasons from punt.
    pub tally2: Signal<In, Tally>,
    /// Reasons from inject.
    pub tally3: Signal<In, Tally>,
    /// Translated packets, up to one per clock.
    pub translated: Signal<In, Translated>,
    /// A frame came in, up to one per clock.
    pub in_valid: Signal<In, Bit>,
    /// The port it came in by.
    pub in_port: Signal<In, Bit>,
    /// Its bytes.
    pub in_bytes: Signal<In, Bits<16>>,
    /// A frame left by port 0.
    pub out_valid0: Signal<In, Bit>,
    /// Its bytes.
    pub out_bytes0: Signal<In, Bits<16>>,
    /// A frame left by port 1.
    pub out_valid1: Signal<In, Bit>,
    /// Its bytes.
    pub out_bytes1: Signal<In, Bits<16>>,
    /// Sets all counters to zero; to be held for 64 clocks.
    pub wipe: Signal<In, Bit>,
    /// Reads a word; not again before `read_done`.
    pub read: Signal<In, Bit>,
    /// Its BAR0 byte offset, from `COUNTER_BASE` up. Offsets of no counter read as 0.
    pub address: Signal<In, Bits<16>>,
    /// The word is there, for one clock.
    pub read_done: Signal<Out, Bit>,
    /// The word.
    pub read_data: Signal<Out, Bits<32>>,
    reasons_a: Count<6>,
    reasons_b: Count<6>,
    set_packets: Count<4>,
    set_bytes: Count<4>,
    in_packets: Count<1>,
    in_octets: Count<1>,
    out_packets0: Count<1>,
    out_octets0: Count<1>,
    out_packets1: Count<1>,
    out_octets1: Count<1>,
    fifo1: SmallFifo<Bits<6>, 4>,
    fifo2: SmallFifo<Bits<6>, 4>,
    fifo3: SmallFifo<Bits<6>, 4>,
    asked: Reg<Bit>,
    at: Reg<Bits<16>>,
    got: Reg<Bit>,
    part_a: Reg<Wide<48>>,
    part_b: Reg<Wide<48>>,
    high: Reg<Bit>,
    done: Reg<Bit>,
    data: Reg<Bits<32>>,
    held: Reg<Bits<16>>,
    number: Signal<Local, Wide<16>>,
    total: Signal<Local, Wide<48>>,
    top: Signal<Local, Wide<16>>,
    is_reason: Signal<Local, Bit>,
    is_port: Signal<Local, Bit>,
    is_set: Signal<Local, Bit>,
    set: Signal<Local, Wide<3>>,
    direction_set: Signal<Local, Wide<4>>,
    reason_base: Constant<Bits<16>>,
    reason_end: Constant<Bits<16>>,
    port_base: Constant<Bits<16>>,
    port_end: Constant<Bits<16>>,
    set_base: Constant<Bits<16>>,
    set_end: Constant<Bits<16>>,
    _quiet: Quiet,
}

impl Default for Counters {
    fn default() -> Self {
        // what the slices of the address below take for granted
        assert_eq!((REASON_COUNTERS, PORTS, SERVICE_SETS, COUNTER_BITS), (64, 2, 8, 48));
        const {
            assert!(COUNTER_BASE.is_multiple_of(0x200));
            assert!(PORT_COUNTER_BASE.is_multiple_of(0x40) && SET_COUNTER_BASE.is_multiple_of(0x100));
        }
        let address = |x: u32| Constant::new(u64::from(x).into());
        Self {
            clock: Default::default(),
            tally0: Default::default(),
            tally1: Default::default(),
            tally2: Default::default(),
            tally3: Default::default(),
            translated: Default::default(),
            in_valid: Default::default(),
            in_port: Default::default(),
            in_bytes: Default::default(),
            out_valid0: Default::default(),
            out_bytes0: Default::default(),
            out_valid1: Default::default(),
            out_bytes1: Default::default(),
            wipe: Default::default(),
            read: Default::default(),
            address: Default::default(),
            read_done: Default::default(),
            read_data: Default::default(),
            reasons_a: Default::default(),
            reasons_b: Default::default(),
            set_packets: Default::default(),
            set_bytes: Default::default(),
            in_packets: Default::default(),
            in_octets: Default::default(),
            out_packets0: Default::default(),
            out_octets0: Default::default(),
            out_packets1: Default::default(),
            out_octets1: Default::default(),
            fifo1: Default::default(),
            fifo2: Default::default(),
            fifo3: Default::default(),
            asked: Default::default(),
            at: Default::default(),
            got: Default::default(),
            part_a: Default::default(),
            part_b: Default::default(),
            high: Default::default(),
            done: Default::default(),
            data: Default::default(),
            held: Default::default(),
            number: Default::default(),
            total: Default::default(),
            top: Default::default(),
            is_reason: Default::default(),
            is_port: Default::default(),
            is_set: Default::default(),
            set: Default::default(),
            direction_set: Default::default(),
            reason_base: address(COUNTER_BASE),
            reason_end: address(COUNTER_BASE + 8 * REASON_COUNTERS as u32),
            port_base: address(PORT_COUNTER_BASE),
            port_end: address(PORT_COUNTER_BASE + 32 * PORTS as u32),
            set_base: address(SET_COUNTER_BASE),
            set_end: address(SET_COUNTER_BASE + 32 * SERVICE_SETS as u32),
            _quiet: Default::default(),
        }
    }
}

impl Logic for Counters {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, asked, at, got, part_a, part_b, high, done, data, held);
        clock!(
            self,
            clock,
            reasons_a,
            reasons_b,
            set_packets,
            set_bytes,
            in_packets,
            in_octets,
            fifo1,
            fifo2,
            fifo3
        );
        clock!(self, clock, out_packets0, out_octets0, out_packets1, out_octets1);
        self.reasons_a.wipe.next = self.wipe.val();
        self.reasons_b.wipe.next = self.wipe.val();
        self.set_packets.wipe.next = self.wipe.val();
        self.set_bytes.wipe.next = self.wipe.val();
        self.in_packets.wipe.next = self.wipe.val();
        self.in_octets.wipe.next = self.wipe.val();
        self.out_packets0.wipe.next = self.wipe.val();
        self.out_octets0.wipe.next = self.wipe.val();
        self.out_packets1.wipe.next = self.wipe.val();
        self.out_octets1.wipe.next = self.wipe.val();
        // reasons
        self.reasons_a.add.next = self.tally0.val().valid;
        self.reasons_a.counter.next = self.tally0.val().reason;
        self.reasons_a.amount.next = 1.into();
        self.fifo1.push.next = self.tally1.val().valid;
        self.fifo1.data_in.next = self.tally1.val().reason;
        self.fifo2.push.next = self.tally2.val().valid;
        self.fifo2.data_in.next = self.tally2.val().reason;
        self.fifo3.push.next = self.tally3.val().valid;
        self.fifo3.data_in.next = self.tally3.val().reason;
        // punt and inject come first: they are rare, ingress may have one every clock
        self.fifo2.pop.next = self.fifo2.valid.val();
        self.fifo3.pop.next = self.fifo3.valid.val() & !self.fifo2.valid.val();
        self.fifo1.pop.next = self.fifo1.valid.val() & !self.fifo2.valid.val() & !self.fifo3.valid.val();
        self.reasons_b.add.next = self.fifo1.valid.val() | self.fifo2.valid.val() | self.fifo3.valid.val();
        self.reasons_b.amount.next = 1.into();
        self.reasons_b.counter.next = self.fifo1.data.val();
        if self.fifo2.valid.val() {
            self.reasons_b.counter.next = self.fifo2.data.val();
        } else if self.fifo3.valid.val() {
            self.reasons_b.counter.next = self.fifo3.data.val();
        }
        // service sets: counter 2 * set + direction
        self.set.next = bits_wide::<3>(self.translated.val().set);
        self.direction_set.next = bit_cast_wide::<4, 3>(self.set.val()) << 1;
        self.direction_set.next = self.direction_set.val().replace_bit(0, self.translated.val().direction);
        self.set_packets.add.next = self.translated.val().valid;
        self.set_packets.counter.next = bits_narrow::<4>(self.direction_set.val());
        self.set_packets.amount.next = 1.into();
        self.set_bytes.add.next = self.translated.val().valid;
        self.set_bytes.counter.next = bits_narrow::<4>(self.direction_set.val());
        self.set_bytes.amount.next = self.translated.val().bytes;
        // ports
        self.in_packets.add.next = self.in_valid.val();
        self.in_packets.counter.next = bit_cast::<1, 1>(self.in_port.val().into());
        self.in_packets.amount.next = 1.into();
        self.in_octets.add.next = self.in_valid.val();
        self.in_octets.counter.next = bit_cast::<1, 1>(self.in_port.val().into());
        self.in_octets.amount.next = self.in_bytes.val();
        self.out_packets0.add.next = self.out_valid0.val();
        self.out_packets0.counter.next = 0.into();
        self.out_packets0.amount.next = 1.into();
        self.out_octets0.add.next = self.out_valid0.val();
        self.out_octets0.counter.next = 0.into();
        self.out_octets0.amount.next = self.out_bytes0.val();
        self.out_packets1.add.next = self.out_valid1.val();
        self.out_packets1.counter.next = 0.into();
        self.out_packets1.amount.next = 1.into();
        self.out_octets1.add.next = self.out_valid1.val();
        self.out_octets1.counter.next = 0.into();
        self.out_octets1.amount.next = self.out_bytes1.val();
        // reads, first clock: address
        self.asked.d.next = self.read.val();
        if self.read.val() {
            self.at.d.next = self.address.val();
        }
        // second: the counter, the reasons in two parts
        self.number.next = bits_wide::<16>(self.at.q.val());
        self.reasons_a.read_counter.next = bits_narrow::<6>(self.number.val().get_bits::<6>(3));
        self.reasons_b.read_counter.next = bits_narrow::<6>(self.number.val().get_bits::<6>(3));
        self.set_packets.read_counter.next = bits_narrow::<4>(self.number.val().get_bits::<4>(4));
        self.set_bytes.read_counter.next = bits_narrow::<4>(self.number.val().get_bits::<4>(4));
        self.in_packets.read_counter.next = bits_narrow::<1>(self.number.val().get_bits::<1>(5));
        self.in_octets.read_counter.next = bits_narrow::<1>(self.number.val().get_bits::<1>(5));
        self.out_packets0.read_counter.next = 0.into();
        self.out_octets0.read_counter.next = 0.into();
        self.out_packets1.read_counter.next = 0.into();
        self.out_octets1.read_counter.next = 0.into();
        self.is_reason.next = (self.at.q.val() >= self.reason_base.val()) & (self.at.q.val() < self.reason_end.val());
        self.is_port.next = (self.at.q.val() >= self.port_base.val()) & (self.at.q.val() < self.port_end.val());
        self.is_set.next = (self.at.q.val() >= self.set_base.val()) & (self.at.q.val() < self.set_end.val());
        self.got.d.next = self.asked.q.val();
        if self.asked.q.val() {
            self.high.d.next = self.at.q.val().get_bit(2);
            self.part_a.d.next = 0.into();
            self.part_b.d.next = 0.into();
            if self.is_reason.val() {
                self.part_a.d.next = self.reasons_a.value.val();
                self.part_b.d.next = self.reasons_b.value.val();
            } else if self.is_set.val() {
                self.part_a.d.next = self.set_packets.value.val();
                if self.at.q.val().get_bit(3) {
                    self.part_a.d.next = self.set_bytes.value.val();
                }
            } else if self.is_port.val() {
                if !self.at.q.val().get_bit(4) {
                    self.part_a.d.next = self.in_packets.value.val();
                    if self.at.q.val().get_bit(3) {
                        self.part_a.d.next = self.in_octets.value.val();
                    }
                } else if !self.at.q.val().get_bit(5) {
                    self.part_a.d.next = self.out_packets0.value.val();
                    if self.at.q.val().get_bit(3) {
                        self.part_a.d.next = self.out_octets0.value.val();
                    }
                } else {
                    self.part_a.d.next = self.out_packets1.value.val();
                    if self.at.q.val().get_bit(3) {
                        self.part_a.d.next = self.out_octets1.value.val();
                    }
                }
            }
        }
        // third: the sum, and the word of it
        self.total.next = self.part_a.q.val() + self.part_b.q.val();
        self.top.next = self.total.val().get_bits::<16>(32);
        self.done.d.next = self.got.q.val();
        if self.got.q.val() {
            if self.high.q.val() {
                self.data.d.next = bit_cast::<32, 16>(self.held.q.val());
            } else {
                self.data.d.next = bits_narrow::<32>(self.total.val().get_bits::<32>(0));
                self.held.d.next = bits_narrow::<16>(self.top.val());
            }
        }
        self.read_done.next = self.done.q.val();
        self.read_data.next = self.data.q.val();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::Bench;
    use rand::{rngs::StdRng, Rng, SeedableRng};
    use std::collections::BTreeMap;

    /// Counter values by BAR0 offset of their low word.
    type Model = BTreeMap<u32, u64>;

    fn tally(reason: u64) -> Tally {
        Tally {
            valid: true,
            reason: reason.into(),
        }
    }

    /// Sets the inputs of one clock at random and counts them.
    fn events(uut: &mut Counters, model: &mut Model, rng: &mut StdRng) {
        let mut count = |offset: u32, amount: u64| *model.entry(offset).or_default() += amount;
        let rates = [9, 5, 1, 1];
        let mut tallies = rates.map(|rate| rng.random_range(0..10) < rate).map(|valid| {
            // few reasons, so that the same one comes in consecutive clocks
            let reason = [3, 3, 3, 63, 0, rng.random_range(0..64)][rng.random_range(0..6)];
            if valid {
                count(COUNTER_BASE + 8 * reason as u32, 1);
            }
            if valid {
                tally(reason)
            } else {
                Tally::default()
            }
        });
        uut.tally0.next = std::mem::take(&mut tallies[0]);
        uut.tally1.next = std::mem::take(&mut tallies[1]);
        uut.tally2.next = std::mem::take(&mut tallies[2]);
        uut.tally3.next = std::mem::take(&mut tallies[3]);
        let (set, direction, bytes) = (rng.random_range(0..3u64), rng.random::<bool>(), rng.random::<u16>());
        let valid = rng.random_range(0..8) != 0;
        uut.translated.next = Translated {
            valid,
            index: rng.random_range(0..100u64).into(),
            direction,
            set: (set * 3).into(),
            bytes: u64::from(bytes).into(),
        };
        if valid {
            let at = SET_COUNTER_BASE + 96 * set as u32 + 16 * u32::from(direction);
            count(at, 1);
            count(at + 8, bytes.into());
        }
        let mut frame = |port: bool, out: u32| {
            let (valid, bytes) = (rng.random::<bool>(), rng.random::<u16>());
            if valid {
                count(PORT_COUNTER_BASE + 32 * u32::from(port) + out, 1);
                count(PORT_COUNTER_BASE + 32 * u32::from(port) + out + 8, bytes.into());
            }
            (valid, u64::from(bytes).into())
        };
        (uut.out_valid0.next, uut.out_bytes0.next) = frame(false, 16);
        (uut.out_valid1.next, uut.out_bytes1.next) = frame(true, 16);
        let port = set == 1;
        uut.in_port.next = port;
        (uut.in_valid.next, uut.in_bytes.next) = frame(port, 0);
    }

    fn quiet(uut: &mut Counters) {
        uut.tally0.next = Tally::default();
        uut.tally1.next = Tally::default();
        uut.tally2.next = Tally::default();
        uut.tally3.next = Tally::default();
        uut.translated.next = Translated::default();
        uut.in_valid.next = false;
        uut.out_valid0.next = false;
        uut.out_valid1.next = false;
    }

    fn read(bench: &mut Bench<Counters>, address: u32, mut each: impl FnMut(&mut Counters)) -> u32 {
        bench.uut.read.next = true;
        bench.uut.address.next = u64::from(address).into();
        for _ in 0..LATENCY {
            each(&mut bench.uut);
            bench.tick();
            bench.uut.read.next = false;
        }
        each(&mut bench.uut);
        bench.settle();
        assert!(bench.uut.read_done.val(), "{address:#x} answers after {LATENCY} clocks");
        let data: u64 = bench.uut.read_data.val().into();
        bench.edge();
        assert!(!bench.uut.read_done.val());
        data as u32
    }

    fn read64(bench: &mut Bench<Counters>, address: u32, mut each: impl FnMut(&mut Counters)) -> u64 {
        let low = read(bench, address, &mut each);
        u64::from(read(bench, address + 4, &mut each)) << 32 | u64::from(low)
    }

    fn run(seed: u64, reads: usize, record: bool) -> Bench<Counters> {
        let mut rng = StdRng::seed_from_u64(seed);
        let bench = Bench::new(Counters::default());
        let mut bench = if record { bench } else { bench.without_record() };
        let mut model = Model::new();
        let reasons = (0..64).map(|i| COUNTER_BASE + 8 * i);
        let ports = (0..8).map(|i| PORT_COUNTER_BASE + 8 * i);
        let sets = (0..32).map(|i| SET_COUNTER_BASE + 8 * i);
        let all: Vec<u32> = reasons.chain(ports).chain(sets).collect();
        for _ in 0..reads {
            // while counting: at least what had been counted 40 clocks ago, at most what is counted now
            for _ in 0..40 - 2 * (LATENCY + 1) {
                events(&mut bench.uut, &mut model, &mut rng);
                bench.tick();
            }
            let address = all[rng.random_range(0..all.len())];
            let before = model.clone();
            for _ in 0..32 {
                events(&mut bench.uut, &mut model, &mut rng);
                bench.tick();
            }
            let got = read64(&mut bench, address, |uut| events(uut, &mut model, &mut rng));
            let least = before.get(&address).copied().unwrap_or(0);
            let most = model.get(&address).copied().unwrap_or(0);
            assert!(
                (least..=most).contains(&got),
                "seed {seed}, {address:#x}: {least} <= {got} <= {most}"
            );
        }
        quiet(&mut bench.uut);
        for _ in 0..40 {
            bench.tick();
        }
        for &address in &all {
            let want = model.get(&address).copied().unwrap_or(0);
            assert_eq!(read64(&mut bench, address, |_| ()), want, "seed {seed}, {address:#x}");
        }
        bench
    }

    #[test]
    fn nothing_is_lost() {
        run(51, 150, false);
    }

    #[test]
    fn agrees_with_its_verilog() {
        run(52, 4, true).agrees_with_verilog("counters");
    }

    #[test]
    fn high_words_are_held() {
        let mut bench = Bench::new(Counters::default()).without_record();
        bench.uut.out_valid1.next = true;
        bench.uut.out_bytes1.next = 0xffffu64.into();
        for _ in 0..2 * 65_537 {
            bench.tick();
        }
        let at = PORT_COUNTER_BASE + 32 + 24;
        let low = read(&mut bench, at, |_| ());
        // the counter goes on past the next 2^32, the high word stays
        for _ in 0..65_537 {
            bench.tick();
        }
        let high = read(&mut bench, at + 4, |_| ());
        let total = u64::from(high) << 32 | u64::from(low);
        let clocks = total / 0xffff;
        assert_eq!(total % 0xffff, 0);
        assert!((2 * 65_530..=2 * 65_540).contains(&clocks), "{clocks} frames");
        assert_eq!(read64(&mut bench, at, |_| ()) >> 32, 3, "while it had gone on");
    }

    #[test]
    fn other_offsets_read_as_zero() {
        let mut bench = Bench::new(Counters::default()).without_record();
        let mut rng = StdRng::seed_from_u64(53);
        for _ in 0..300 {
            events(&mut bench.uut, &mut Model::new(), &mut rng);
            bench.tick();
        }
        for offset in [
            COUNTER_BASE + 0x200,
            PORT_COUNTER_BASE + 64,
            SET_COUNTER_BASE + 0x100,
            0xfff8,
        ] {
            assert_eq!(read64(&mut bench, offset, |_| ()), 0, "{offset:#x}");
        }
    }
}
