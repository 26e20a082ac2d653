//! Counters by reason, port and service set, and the port they are read by.
//!
//! ```text
//!  tally0 --------------------------> | low: reasons a |--+
//!  tally1 --> fifo --+                |                |  +--+
//!  tally2 --> fifo --+--> one ------> | low: reasons b |--+  |
//!  tally3 --> fifo --+                                       +--> - last --> + total --> read_data (low word,
//!  translated --> | low: sets, packets and bytes x 16 |------+      ^           ^  |     then the held high word)
//!  in_*, out_* -> | low: ports, packets and bytes x 4 |------+      |           |  |
//!                                                               | block RAM: last, total |
//!                                            visits: sweep, read --> address ------+
//! ```
//!
//! Nothing that is counted is ever lost: `tally0`, `translated` and the port events have counters of their own that take one event
//! per clock, and `tally1` to `tally3` share one through FIFOs of 15 that lose nothing while the three together have no
//! more than one event per clock over 15 clocks (punt and inject need many clocks for a frame). A read shows the events of
//! up to a few clocks before.
//!
//! Events are counted in the low bits only, 8 of packets and 24 of bytes, which wrap. A sweep visits the counters in turn, one
//! a clock: what the low bits have grown by since the visit before goes to the total, and the low bits are kept beside it. A
//! read is a visit out of turn, and its answer the total it makes; so it takes [`LATENCY`] clocks, and is exact. Totals are
//! wide and in block RAM, since they move at visits alone.
//!
//! * Between two visits that count are `GAP` clocks at most, in which low bits do not go round: a reason has two events a
//!   clock, one in each of its halves, and they are summed before they are compared.
//! * A visit writes 4 clocks after it reads. It may meet another one of the same counter in between: each writes what was
//!   right at its own time, and the later one writes later, so nothing has to be forwarded.
//! * A word is not written in the clock it is read in, for the other visit's sake: that one has then seen the word before, and
//!   adds what both saw.
//!
//! Counters have `COUNTER_BITS` and wrap. Reading a low word holds the high word of the same counter for the next read of a
//! high word, whatever its address.

// The LogicStruct derive adds accessors without documentation; every field below has its own.
#![allow(missing_docs)]

use crate::prelude::*;
use crate::prim::{ApartRam, LutRam, Quiet, Reg, SmallFifo};
use crate::types::{Tally, Translated};
use crate::wide::{bit_cast_wide, bits_literal, bits_narrow, bits_wide, Wide};
use crate::FastBlock;
use nat64_layout::regs::{COUNTER_BASE, COUNTER_BITS, PORT_COUNTER_BASE, SET_COUNTER_BASE};
use nat64_layout::tables::SERVICE_SETS;
use nat64_layout::{PORTS, REASON_COUNTERS};

/// Clocks from `read` to `read_done`.
pub const LATENCY: usize = 7;

/// Clocks that [`Counters::wipe`] has to be held.
pub const WIPE_CLOCKS: usize = 128;

/// Counters the sweep visits: reasons, then packets and bytes of sets by direction, then of ports by direction.
const SWEPT: usize = REASON_COUNTERS + 4 * SERVICE_SETS + 4 * PORTS;

/// Clocks from a visit to its write.
const WRITE_AFTER: usize = 4;

/// Clocks between two visits of a counter whose writes happen, at most: a turn of the sweep that makes way for a read every
/// [`LATENCY`] clocks, and a write left out for a read that comes [`WRITE_AFTER`] clocks later. That read's own write happens, or,
/// where the sweep was next, the one of the read after it, as long after the sweep.
const GAP: usize = (SWEPT * LATENCY).div_ceil(LATENCY - 1) + WRITE_AFTER;

const _: () = {
    assert!(LATENCY > WRITE_AFTER, "two reads do not leave each other's writes out");
    assert!(2 * GAP < 1 << 8, "low bits of a reason");
    assert!(GAP * 0xffff < 1 << 24, "low bits of bytes");
    // those that were on their way when it began, and a turn without reads
    assert!(SWEPT + 2 * WRITE_AFTER < WIPE_CLOCKS);
};

/// Low bits of 2^N counters, `B` of each, in distributed RAM: add once per clock, are read at once.
///
/// Two copies, so that the read never takes a turn of the adder. An event counts two clocks after it came; the sum that
/// is being written is forwarded to an event of the same counter.
#[derive(FastBlock, Default)]
pub struct Low<const N: usize, const B: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// An event.
    pub add: Signal<In, Bit>,
    /// Counter.
    pub counter: Signal<In, Bits<N>>,
    /// What it adds.
    pub amount: Signal<In, Bits<B>>,
    /// Counter to read.
    pub read_counter: Signal<In, Bits<N>>,
    /// Its value.
    pub value: Signal<Out, Bits<B>>,
    adder: LutRam<Bits<B>, N>,
    reader: LutRam<Bits<B>, N>,
    now: Reg<Bit>,
    now_counter: Reg<Bits<N>>,
    now_amount: Reg<Bits<B>>,
    sum: Reg<Bits<B>>,
    sum_valid: Reg<Bit>,
    sum_counter: Reg<Bits<N>>,
    old: Signal<Local, Bits<B>>,
    _quiet: Quiet,
}

impl<const N: usize, const B: usize> Logic for Low<N, B> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, now, now_counter, now_amount, sum, sum_valid, sum_counter);
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
            self.sum.d.next = self.old.val() + self.now_amount.q.val();
            self.sum_counter.d.next = self.now_counter.q.val();
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

/// Low bits of the frames one way through a port, in registers. An event counts two clocks after it came.
#[derive(FastBlock, Default)]
pub struct LowFrames {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// A frame.
    pub add: Signal<In, Bit>,
    /// Its bytes.
    pub bytes: Signal<In, Bits<16>>,
    /// Frames.
    pub packets: Signal<Out, Bits<8>>,
    /// Bytes.
    pub octets: Signal<Out, Bits<24>>,
    now: Reg<Bit>,
    now_bytes: Reg<Bits<16>>,
    packet_sum: Reg<Bits<8>>,
    octet_sum: Reg<Bits<24>>,
    _quiet: Quiet,
}

impl Logic for LowFrames {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, now, now_bytes, packet_sum, octet_sum);
        self.now.d.next = self.add.val();
        // without an enable: both ports that frames come in by are given the same bytes, and synthesis makes one register of them
        self.now_bytes.d.next = self.bytes.val();
        if self.now.q.val() {
            self.packet_sum.d.next = self.packet_sum.q.val() + 1;
            self.octet_sum.d.next = self.octet_sum.q.val() + bit_cast::<24, 16>(self.now_bytes.q.val());
        }
        self.packets.next = self.packet_sum.q.val();
        self.octets.next = self.octet_sum.q.val();
    }
}

/// What the block RAM has of a counter.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct Account {
    /// What has been counted up to the last visit.
    pub total: Wide<48>,
    /// Low bits at that visit. Not those of the total: a wipe leaves low bits as they are.
    pub last: Bits<24>,
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
    /// Sets all counters to zero; to be held for [`WIPE_CLOCKS`]. Events meanwhile may be lost, reads give 0.
    pub wipe: Signal<In, Bit>,
    /// Reads a word; not again before `read_done`.
    pub read: Signal<In, Bit>,
    /// Its BAR0 byte offset, from `COUNTER_BASE` up. Offsets of no counter read as 0.
    pub address: Signal<In, Bits<16>>,
    /// The word is there, for one clock.
    pub read_done: Signal<Out, Bit>,
    /// The word.
    pub read_data: Signal<Out, Bits<32>>,
    reasons_a: Low<6, 8>,
    reasons_b: Low<6, 8>,
    set_packets: Low<4, 8>,
    set_bytes: Low<4, 24>,
    in0: LowFrames,
    in1: LowFrames,
    out0: LowFrames,
    out1: LowFrames,
    fifo1: SmallFifo<Bits<6>, 4>,
    fifo2: SmallFifo<Bits<6>, 4>,
    fifo3: SmallFifo<Bits<6>, 4>,
    accounts: ApartRam<Account, 7>,

    // a read: what it asks for
    asked: Reg<Bit>,
    number: Reg<Bits<7>>,
    known: Reg<Bit>,
    high: Reg<Bit>,
    /// It has been given a visit.
    visits: Reg<Bit>,

    // a visit, from the address of its counter to the write; the read's own are marked
    place: Reg<Bits<7>>,
    wiping: Reg<Bit>,
    visit0: Reg<Bits<7>>,
    visit1: Reg<Bits<7>>,
    visit2: Reg<Bits<7>>,
    visit3: Reg<Bits<7>>,
    visit4: Reg<Bits<7>>,
    mine0: Reg<Bit>,
    mine1: Reg<Bit>,
    mine2: Reg<Bit>,
    mine3: Reg<Bit>,
    mine4: Reg<Bit>,
    low_a1: Reg<Bits<8>>,
    low_b1: Reg<Bits<8>>,
    low1: Reg<Bits<24>>,
    low2: Reg<Bits<24>>,
    low3: Reg<Bits<24>>,
    low4: Reg<Bits<24>>,
    total3: Reg<Wide<48>>,
    grown3: Reg<Bits<24>>,
    total4: Reg<Wide<48>>,
    done: Reg<Bit>,
    data: Reg<Bits<32>>,
    held: Reg<Bits<16>>,

    taken: Signal<Local, Bit>,
    next_visit: Signal<Local, Bits<7>>,
    frames: Signal<Local, Bits<24>>,
    octets: Signal<Local, Bits<24>>,
    both: Signal<Local, Bits<8>>,
    found: Signal<Local, Account>,
    grown: Signal<Local, Bits<24>>,
    few: Signal<Local, Bits<8>>,
    account: Signal<Local, Account>,
    top: Signal<Local, Wide<16>>,
    set: Signal<Local, Wide<3>>,
    direction_set: Signal<Local, Wide<4>>,
    place_end: Constant<Bits<7>>,
    first_set: Constant<Bits<7>>,
    first_port: Constant<Bits<7>>,
    reason_page: Constant<Bits<16>>,
    port_page: Constant<Bits<16>>,
    set_page: Constant<Bits<16>>,
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
        let page = |base: u32, log2: u32| Constant::new(u64::from(base >> log2).into());
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
            in0: Default::default(),
            in1: Default::default(),
            out0: Default::default(),
            out1: Default::default(),
            fifo1: Default::default(),
            fifo2: Default::default(),
            fifo3: Default::default(),
            accounts: Default::default(),
            asked: Default::default(),
            number: Default::default(),
            known: Default::default(),
            high: Default::default(),
            visits: Default::default(),
            place: Default::default(),
            wiping: Default::default(),
            visit0: Default::default(),
            visit1: Default::default(),
            visit2: Default::default(),
            visit3: Default::default(),
            visit4: Default::default(),
            mine0: Default::default(),
            mine1: Default::default(),
            mine2: Default::default(),
            mine3: Default::default(),
            mine4: Default::default(),
            low_a1: Default::default(),
            low_b1: Default::default(),
            low1: Default::default(),
            low2: Default::default(),
            low3: Default::default(),
            low4: Default::default(),
            total3: Default::default(),
            grown3: Default::default(),
            total4: Default::default(),
            done: Default::default(),
            data: Default::default(),
            held: Default::default(),
            taken: Default::default(),
            next_visit: Default::default(),
            frames: Default::default(),
            octets: Default::default(),
            both: Default::default(),
            found: Default::default(),
            grown: Default::default(),
            few: Default::default(),
            account: Default::default(),
            top: Default::default(),
            set: Default::default(),
            direction_set: Default::default(),
            place_end: Constant::new((SWEPT as u64 - 1).into()),
            first_set: Constant::new((REASON_COUNTERS as u64).into()),
            first_port: Constant::new((REASON_COUNTERS as u64 + 4 * SERVICE_SETS as u64).into()),
            reason_page: page(COUNTER_BASE, 9),
            port_page: page(PORT_COUNTER_BASE, 6),
            set_page: page(SET_COUNTER_BASE, 8),
            _quiet: Default::default(),
        }
    }
}

impl Logic for Counters {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, asked, number, known, high, visits, place, wiping, done, data, held);
        dff_setup!(self, clock, visit0, visit1, visit2, visit3, visit4, mine0, mine1, mine2, mine3, mine4);
        dff_setup!(self, clock, low_a1, low_b1, low1, low2, low3, low4, total3, grown3, total4);
        clock!(
            self,
            clock,
            reasons_a,
            reasons_b,
            set_packets,
            set_bytes,
            in0,
            in1,
            out0,
            out1,
            fifo1,
            fifo2,
            fifo3
        );
        clock!(self, clock, accounts);
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
        self.set_bytes.amount.next = bit_cast::<24, 16>(self.translated.val().bytes);
        // ports
        self.in0.add.next = self.in_valid.val() & !self.in_port.val();
        self.in0.bytes.next = self.in_bytes.val();
        self.in1.add.next = self.in_valid.val() & self.in_port.val();
        self.in1.bytes.next = self.in_bytes.val();
        self.out0.add.next = self.out_valid0.val();
        self.out0.bytes.next = self.out_bytes0.val();
        self.out1.add.next = self.out_valid1.val();
        self.out1.bytes.next = self.out_bytes1.val();

        // a read: the counter's number, as the sweep has it
        self.asked.d.next = self.read.val();
        if self.read.val() {
            self.high.d.next = self.address.val().get_bit(2);
            self.known.d.next = true;
            self.number.d.next = bit_cast::<7, 6>(bit_cast::<6, 16>(self.address.val() >> 3));
            if (self.address.val() >> 8) == self.set_page.val() {
                self.number.d.next =
                    self.first_set.val() | bit_cast::<7, 5>(bit_cast::<5, 16>(self.address.val() >> 3));
            } else if (self.address.val() >> 6) == self.port_page.val() {
                self.number.d.next =
                    self.first_port.val() | bit_cast::<7, 3>(bit_cast::<3, 16>(self.address.val() >> 3));
            } else if (self.address.val() >> 9) != self.reason_page.val() {
                self.known.d.next = false;
            }
        }

        // a visit: the read's if there is one, else the next of the sweep, which alone sets to zero
        self.wiping.d.next = self.wipe.val();
        self.taken.next = self.asked.q.val() & self.known.q.val() & !self.wiping.q.val();
        if self.asked.q.val() {
            self.visits.d.next = self.taken.val();
        }
        self.next_visit.next = self.place.q.val();
        if self.taken.val() {
            self.next_visit.next = self.number.q.val();
        } else if self.place.q.val() == self.place_end.val() {
            self.place.d.next = 0.into();
        } else {
            self.place.d.next = self.place.q.val() + 1;
        }
        self.visit0.d.next = self.next_visit.val();
        self.mine0.d.next = self.asked.q.val();
        // its low bits
        self.accounts.read_address.next = self.visit0.q.val();
        self.reasons_a.read_counter.next = bit_cast::<6, 7>(self.visit0.q.val());
        self.reasons_b.read_counter.next = bit_cast::<6, 7>(self.visit0.q.val());
        self.set_packets.read_counter.next = bit_cast::<4, 7>(self.visit0.q.val() >> 1);
        self.set_bytes.read_counter.next = bit_cast::<4, 7>(self.visit0.q.val() >> 1);
        self.low_a1.d.next = self.reasons_a.value.val();
        self.low_b1.d.next = self.reasons_b.value.val();
        if self.visit0.q.val().get_bit(2) {
            self.frames.next = bit_cast::<24, 8>(self.in1.packets.val());
            self.octets.next = self.in1.octets.val();
            if self.visit0.q.val().get_bit(1) {
                self.frames.next = bit_cast::<24, 8>(self.out1.packets.val());
                self.octets.next = self.out1.octets.val();
            }
        } else {
            self.frames.next = bit_cast::<24, 8>(self.in0.packets.val());
            self.octets.next = self.in0.octets.val();
            if self.visit0.q.val().get_bit(1) {
                self.frames.next = bit_cast::<24, 8>(self.out0.packets.val());
                self.octets.next = self.out0.octets.val();
            }
        }
        if !self.visit0.q.val().get_bit(5) {
            self.frames.next = bit_cast::<24, 8>(self.set_packets.value.val());
            self.octets.next = self.set_bytes.value.val();
        }
        self.low1.d.next = self.frames.val();
        if self.visit0.q.val().get_bit(0) {
            self.low1.d.next = self.octets.val();
        }
        self.visit1.d.next = self.visit0.q.val();
        self.mine1.d.next = self.mine0.q.val();
        // of a reason, those of both halves together
        self.both.next = self.low_a1.q.val() + self.low_b1.q.val();
        self.low2.d.next = bit_cast::<24, 8>(self.both.val());
        if self.visit1.q.val().get_bit(6) {
            self.low2.d.next = self.low1.q.val();
        }
        self.visit2.d.next = self.visit1.q.val();
        self.mine2.d.next = self.mine1.q.val();
        // what they have grown by
        self.found.next = self.accounts.read_data.val();
        self.grown.next = self.low2.q.val() - self.found.val().last;
        self.few.next = bit_cast::<8, 24>(self.grown.val());
        self.grown3.d.next = bit_cast::<24, 8>(self.few.val());
        if self.visit2.q.val().get_bit(6) & self.visit2.q.val().get_bit(0) {
            self.grown3.d.next = self.grown.val();
        }
        self.total3.d.next = self.found.val().total;
        self.low3.d.next = self.low2.q.val();
        self.visit3.d.next = self.visit2.q.val();
        self.mine3.d.next = self.mine2.q.val();
        // the new total
        self.total4.d.next = self.total3.q.val() + bit_cast_wide::<48, 24>(bits_wide::<24>(self.grown3.q.val()));
        if self.wiping.q.val() {
            self.total4.d.next = bits_literal::<48>(0);
        }
        self.low4.d.next = self.low3.q.val();
        self.visit4.d.next = self.visit3.q.val();
        self.mine4.d.next = self.mine3.q.val();
        self.account.next.total = self.total4.q.val();
        self.account.next.last = self.low4.q.val();
        self.accounts.write.next = self.visit4.q.val() != self.visit0.q.val();
        self.accounts.write_address.next = self.visit4.q.val();
        self.accounts.write_data.next = self.account.val();

        // the read's answer
        self.top.next = self.total4.q.val().get_bits::<16>(32);
        self.done.d.next = self.mine4.q.val();
        if self.mine4.q.val() {
            if self.high.q.val() {
                self.data.d.next = bit_cast::<32, 16>(self.held.q.val());
            } else if self.visits.q.val() {
                self.data.d.next = bits_narrow::<32>(self.total4.q.val().get_bits::<32>(0));
                self.held.d.next = bits_narrow::<16>(self.top.val());
            } else {
                self.data.d.next = 0.into();
                self.held.d.next = 0.into();
            }
        }
        self.read_done.next = self.done.q.val();
        self.read_data.next = self.data.q.val();
    }
}

#[cfg(test)]
mod tests;
