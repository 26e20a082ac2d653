//! Capture: writes every beat to the payload ring, cuts the header out of the stream and measures the frame.
//!
//! ```text
//!  beat --+--> register --> payload ring, written, end record
//!         |
//!         +--> head: shifts a beat in per clock, zeros after the end of the frame --+--> header
//!               |  next frame begins before the header is whole                     |
//!               +--> tail: goes on shifting zeros in ------------------------------ +
//! ```
//!
//! A header is whole after `HB` shifts: `HB` clocks after the first beat, and one more for each clock without a beat
//! before the header's last beat. `tail` holds the header of one short frame while the next one comes in; ingress
//! keeps the starts of frames `ceil(60 * 8 / W)` shifts apart, and twice that is at least `HB`, so one is enough. Headers are
//! as many clocks apart at least: when a frame starts, the one before it needs at most `HB` less that many shifts more, which
//! `tail` does without a stop, and the new one has all `HB` before it.

use crate::prelude::*;
use nat64_layout::MIN_FRAME;

use crate::ingress::with_constants;
use crate::prim::{Quiet, Reg};
use crate::types::HEADER_BITS;
use crate::wide::{bit_cast_wide, bits_literal, Wide};
use crate::FastBlock;

/// Stream to payload ring, header vector and end records. `HB` = beats of the header window, `LB` = log2 of the bytes of
/// a beat, `RN` = log2 of the beats of the ring.
#[derive(FastBlock)]
pub struct Capture<const W: usize, const HB: usize, const LB: usize, const RN: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// There is a beat.
    pub valid: Signal<In, Bit>,
    /// Its bytes.
    pub data: Signal<In, Wide<W>>,
    /// Valid bytes of the last beat, 0 for all.
    pub count: Signal<In, Bits<LB>>,
    /// First beat of a frame.
    pub first: Signal<In, Bit>,
    /// Last beat of a frame.
    pub last: Signal<In, Bit>,
    /// Port the frame came from.
    pub port: Signal<In, Bit>,
    /// With `last`: one of the `FAULT_` constants.
    pub fault: Signal<In, Bits<2>>,
    /// Write a beat to the ring.
    pub ring_write: Signal<Out, Bit>,
    /// Where.
    pub ring_address: Signal<Out, Bits<RN>>,
    /// The beat.
    pub ring_data: Signal<Out, Wide<W>>,
    /// Beats written so far, modulo 2^RN; a read of those addresses gives them.
    pub written: Signal<Out, Bits<RN>>,
    /// A header is complete; one clock.
    pub header_valid: Signal<Out, Bit>,
    /// The first 88 bytes, byte 0 in the top bits, zero past the end of the frame; zero without `header_valid`.
    pub header: Signal<Out, Wide<HEADER_BITS>>,
    /// Port of that frame.
    pub header_port: Signal<Out, Bit>,
    /// A frame has ended; one clock, with the ring write of its last beat.
    pub end_valid: Signal<Out, Bit>,
    /// Its bytes.
    pub end_bytes: Signal<Out, Bits<16>>,
    /// One of the `FAULT_` constants.
    pub end_fault: Signal<Out, Bits<2>>,
    /// No frame is under way and no header is still to come.
    pub idle: Signal<Out, Bit>,
    // what goes into the header
    begins: Signal<Local, Bit>,
    cut: Signal<Local, Wide<W>>,
    cut_by: Signal<Local, Bits<10>>,
    beat: Signal<Local, Wide<W>>,
    part: Signal<Local, Wide<W>>,
    shift: Signal<Local, Bit>,
    head: Reg<Wide<HEADER_BITS>>,
    head_left: Reg<Bits<4>>,
    /// `head_left` is not 0, and is 1: registers of their own, since each bit of `head` and `tail` waits for them.
    head_some: Reg<Bit>,
    head_one: Reg<Bit>,
    head_port: Reg<Bit>,
    tail: Reg<Wide<HEADER_BITS>>,
    tail_left: Reg<Bits<4>>,
    tail_some: Reg<Bit>,
    tail_one: Reg<Bit>,
    tail_port: Reg<Bit>,
    busy: Reg<Bit>,
    head_two: Signal<Local, Bit>,
    tail_from: Signal<Local, Wide<HEADER_BITS>>,
    tail_shift_one: Signal<Local, Bit>,
    complete: Reg<Bit>,
    from_tail: Reg<Bit>,
    // ring and end record
    put: Reg<Bit>,
    put_data: Reg<Wide<W>>,
    at: Reg<Bits<RN>>,
    bytes: Reg<Bits<16>>,
    bytes_before: Signal<Local, Bits<16>>,
    bytes_here: Signal<Local, Bits<16>>,
    ended: Reg<Bit>,
    ended_fault: Reg<Bits<2>>,
    ones: Constant<Wide<W>>,
    beat_bytes: Constant<Bits<16>>,
    header_left: Constant<Bits<4>>,
    by_beat: Constant<Bits<10>>,
    by_part: Constant<Bits<10>>,
    out_of_part: Constant<Bits<10>>,
    _quiet: Quiet,
}

impl<const W: usize, const HB: usize, const LB: usize, const RN: usize> Default for Capture<W, HB, LB, RN> {
    /// Panics unless `HB` and `LB` follow from `W`.
    fn default() -> Self {
        let beat = W / 8;
        assert_eq!(beat, 1 << LB);
        assert_eq!(HB, HEADER_BITS.div_ceil(W));
        assert!(HB > 1 && 2 * MIN_FRAME.div_ceil(beat) >= HB);
        let part = HEADER_BITS - (HB - 1) * W;
        with_constants!(
            clock valid data count first last port fault ring_write ring_address ring_data written header_valid header
            header_port end_valid end_bytes end_fault idle begins cut cut_by beat part shift head head_left head_port tail
            tail_left tail_port head_some head_one tail_some tail_one head_two tail_from tail_shift_one busy complete from_tail put put_data at bytes bytes_before bytes_here ended ended_fault
            _quiet;
            ones = !Wide::<W>::default(),
            beat_bytes = beat as u64,
            header_left = (HB - 1) as u64,
            by_beat = W as u64,
            by_part = part as u64,
            out_of_part = (W - part) as u64,
        )
    }
}

impl<const W: usize, const HB: usize, const LB: usize, const RN: usize> Logic for Capture<W, HB, LB, RN> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, head, head_left, head_port, tail, tail_left, tail_port, busy, complete, from_tail);
        dff_setup!(
            self,
            clock,
            put,
            put_data,
            at,
            bytes,
            ended,
            ended_fault,
            head_some,
            head_one,
            tail_some,
            tail_one
        );
        // zeros past the end of the frame
        self.begins.next = self.valid.val() & self.first.val();
        self.cut_by.next = bit_cast::<10, LB>(self.count.val()) << 3;
        self.cut.next = bits_literal::<W>(0);
        self.beat.next = bits_literal::<W>(0);
        if self.valid.val() {
            self.beat.next = self.data.val();
            if self.last.val() & self.count.val().any() {
                self.cut.next = self.ones.val() >> self.cut_by.val();
                self.beat.next = self.data.val() & !self.cut.val();
            }
        }
        self.part.next = self.beat.val() >> self.out_of_part.val();
        if self.valid.val() {
            self.busy.d.next = !self.last.val();
        }
        // the last shift takes the part of a beat that the window still has room for
        self.head_two.next = self.head_left.q.val() == 2;
        self.shift.next = self.head_some.q.val() & (self.valid.val() | !self.busy.q.val());
        self.complete.d.next = false;
        self.from_tail.d.next = false;
        if self.begins.val() | self.shift.val() {
            if !self.begins.val() & self.head_one.q.val() {
                self.head.d.next =
                    (self.head.q.val() << self.by_part.val()) | bit_cast_wide::<HEADER_BITS, W>(self.part.val());
            } else {
                self.head.d.next =
                    (self.head.q.val() << self.by_beat.val()) | bit_cast_wide::<HEADER_BITS, W>(self.beat.val());
            }
        }
        if self.begins.val() {
            self.head_left.d.next = self.header_left.val();
            self.head_some.d.next = true;
            self.head_one.d.next = self.header_left.val() == 1;
            self.head_port.d.next = self.port.val();
        } else {
            if self.shift.val() {
                self.head_left.d.next = self.head_left.q.val() - 1;
                self.head_some.d.next = !self.head_one.q.val();
                self.head_one.d.next = self.head_two.val();
                self.complete.d.next = self.head_one.q.val();
            }
        }
        // `tail` is free when a frame begins, so what it is loaded with waits for no beat: it has what `head` has one shift later until
        // it is needed
        self.tail_shift_one.next = self.head_one.q.val();
        self.tail_from.next = self.head.q.val();
        if self.tail_some.q.val() {
            self.tail_shift_one.next = self.tail_one.q.val();
            self.tail_from.next = self.tail.q.val();
        }
        self.tail.d.next = self.tail_from.val() << self.by_beat.val();
        if self.tail_shift_one.val() {
            self.tail.d.next = self.tail_from.val() << self.by_part.val();
        }
        if self.tail_some.q.val() {
            if self.tail_one.q.val() {
                self.complete.d.next = true;
                self.from_tail.d.next = true;
            }
            self.tail_left.d.next = self.tail_left.q.val() - 1;
            self.tail_some.d.next = !self.tail_one.q.val();
            self.tail_one.d.next = self.tail_left.q.val() == 2;
        } else {
            self.tail_left.d.next = self.head_left.q.val() - 1;
            self.tail_one.d.next = self.head_two.val();
            self.tail_port.d.next = self.head_port.q.val();
            if self.begins.val() & self.head_some.q.val() {
                self.complete.d.next = self.head_one.q.val();
                self.from_tail.d.next = self.head_one.q.val();
                self.tail_some.d.next = !self.head_one.q.val();
            }
        }
        self.header_valid.next = self.complete.q.val();
        self.header.next = bits_literal::<HEADER_BITS>(0);
        self.header_port.next = false;
        if self.complete.q.val() {
            if self.from_tail.q.val() {
                self.header.next = self.tail.q.val();
                self.header_port.next = self.tail_port.q.val();
            } else {
                self.header.next = self.head.q.val();
                self.header_port.next = self.head_port.q.val();
            }
        }
        // ring
        self.put.d.next = self.valid.val();
        self.put_data.d.next = self.data.val();
        if self.put.q.val() {
            self.at.d.next = self.at.q.val() + 1;
        }
        self.ring_write.next = self.put.q.val();
        self.ring_address.next = self.at.q.val();
        self.ring_data.next = self.put_data.q.val();
        self.written.next = self.at.q.val();
        // end record
        self.bytes_here.next = self.beat_bytes.val();
        if self.last.val() & self.count.val().any() {
            self.bytes_here.next = bit_cast::<16, LB>(self.count.val());
        }
        self.bytes_before.next = self.bytes.q.val();
        if self.first.val() {
            self.bytes_before.next = 0.into();
        }
        if self.valid.val() {
            self.bytes.d.next = self.bytes_before.val() + self.bytes_here.val();
        }
        self.ended.d.next = self.valid.val() & self.last.val();
        self.ended_fault.d.next = self.fault.val();
        self.end_valid.next = self.ended.q.val();
        self.end_bytes.next = self.bytes.q.val();
        self.end_fault.next = self.ended_fault.q.val();
        self.idle.next = !self.busy.q.val()
            & !self.head_some.q.val()
            & !self.tail_some.q.val()
            & !self.complete.q.val()
            & !self.put.q.val();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::tests::{random_frame, Ports, Traffic};
    use crate::ingress::Ingress;
    use crate::testkit::Bench;
    use nat64_layout::HEADER_BYTES;
    use rand::{rngs::StdRng, Rng, SeedableRng};
    use std::collections::VecDeque;

    const RN: usize = 6;

    /// What must come out, and when.
    #[derive(Default)]
    struct Model {
        ring: Vec<Vec<u8>>,
        written: usize,
        /// Header, port, and the clock it is due in once that is known.
        headers: VecDeque<(Vec<u8>, usize, Option<u64>)>,
        ends: VecDeque<(usize, u64)>,
        seen: usize,
    }

    struct Driver<const W: usize, const HB: usize, const LB: usize> {
        bench: Bench<Capture<W, HB, LB, RN>>,
        model: Model,
    }

    impl<const W: usize, const HB: usize, const LB: usize> Driver<W, HB, LB> {
        fn new(record: bool) -> Self {
            let bench = Bench::new(Capture::default());
            Self {
                bench: if record { bench } else { bench.without_record() },
                model: Model {
                    ring: vec![Vec::new(); 1 << RN],
                    ..Model::default()
                },
            }
        }

        /// One clock, with a beat or without.
        fn clock(&mut self, beat: Option<(&[u8], bool, bool, usize, u64)>, rng: &mut StdRng) {
            let bytes = W / 8;
            let uut = &mut self.bench.uut;
            uut.valid.next = beat.is_some();
            let (data, first, last, port, fault) = beat.unwrap_or((&[], rng.random(), rng.random(), 0, 3));
            let mut filled = data.to_vec();
            filled.resize_with(bytes, || rng.random());
            uut.data.next = Wide::from_frame(&filled);
            uut.count.next = ((data.len() % bytes) as u64).into();
            uut.first.next = first;
            uut.last.next = last;
            uut.port.next = port == 1;
            uut.fault.next = fault.into();
            self.bench.settle();
            let now = self.bench.clocks;
            let (uut, model) = (&self.bench.uut, &mut self.model);
            assert_eq!(uut.written.val().index(), model.written % (1 << RN));
            if uut.ring_write.val() {
                assert_eq!(uut.ring_address.val().index(), model.written % (1 << RN));
                model.ring[model.written % (1 << RN)] = uut.ring_data.val().to_frame(bytes);
                model.written += 1;
            }
            if uut.end_valid.val() {
                let end = (uut.end_bytes.val().index(), uut.end_fault.val().index() as u64);
                assert_eq!(Some(end), model.ends.pop_front());
            }
            if uut.header_valid.val() {
                let (header, port, due) = model.headers.pop_front().expect("a header too many");
                assert_eq!(uut.header.val().to_frame(HEADER_BYTES), header);
                assert_eq!(usize::from(uut.header_port.val()), port);
                assert_eq!(due, Some(now), "header at the wrong clock");
                model.seen += 1;
            } else {
                assert!(!uut.header.val().any());
                assert!(
                    model.headers.front().is_none_or(|h| h.2.is_none_or(|due| due > now)),
                    "late"
                );
            }
            self.bench.edge();
        }
    }

    /// Frames with gaps inside and between; `gap` is the share of clocks without a beat.
    fn check<const W: usize, const HB: usize, const LB: usize>(
        seed: u64,
        inside: f64,
        between: f64,
        sizes: &[usize],
        record: bool,
    ) -> Bench<Capture<W, HB, LB, RN>> {
        println!("seed {seed}, W {W}, gaps {inside} {between}");
        let mut rng = StdRng::seed_from_u64(seed);
        let mut driver = Driver::<W, HB, LB>::new(record);
        let apart = MIN_FRAME.div_ceil(W / 8);
        for &size in sizes {
            let frame = random_frame(&mut rng, size).bytes;
            let (port, fault) = (rng.random_range(0..2), rng.random_range(0..3));
            let beats: Vec<_> = frame.chunks(W / 8).collect();
            let mut header = frame[..size.min(HEADER_BYTES)].to_vec();
            header.resize(HEADER_BYTES, 0);
            let mut due = driver.bench.clocks + HB as u64;
            driver.model.headers.push_back((header, port, None));
            for (i, beat) in beats.iter().enumerate() {
                while i > 0 && rng.random_bool(inside) {
                    due += u64::from(i < HB);
                    driver.clock(None, &mut rng);
                }
                if i + 1 == beats.len().min(HB) {
                    let waiting = driver.model.headers.back_mut().expect("pushed above");
                    waiting.2 = Some(due);
                }
                if i + 1 == beats.len() {
                    driver.model.ends.push_back((size, fault));
                }
                driver.clock(Some((beat, i == 0, i + 1 == beats.len(), port, fault)), &mut rng);
                let at = driver.model.written;
                if i > 0 {
                    let before = beats[i - 1];
                    assert_eq!(&driver.model.ring[(at - 1) % (1 << RN)][..before.len()], before);
                }
            }
            for _ in beats.len()..apart {
                driver.clock(None, &mut rng);
            }
            while rng.random_bool(between) {
                driver.clock(None, &mut rng);
            }
        }
        for _ in 0..2 * HB {
            driver.clock(None, &mut rng);
        }
        assert!(driver.bench.uut.idle.val());
        assert_eq!(driver.model.seen, sizes.len());
        assert!(driver.model.ends.is_empty());
        driver.bench
    }

    fn sizes<const W: usize>(seed: u64) -> Vec<usize> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut sizes: Vec<usize> = (1..60 + W / 8).chain(60..100).chain(1510..1529).collect();
        sizes.extend((0..30).map(|_| rng.random_range(60..1518)));
        sizes.extend([60; 20]);
        for i in (1..sizes.len()).rev() {
            sizes.swap(i, rng.random_range(0..=i));
        }
        sizes
    }

    fn grid<const W: usize, const HB: usize, const LB: usize>() {
        for (i, inside) in [0.0, 0.2, 0.8].into_iter().enumerate() {
            for (k, between) in [0.0, 0.3, 0.9].into_iter().enumerate() {
                let seed = (10 * i + k) as u64;
                check::<W, HB, LB>(seed, inside, between, &sizes::<W>(seed), false);
            }
        }
    }

    #[test]
    fn header_ring_and_end_record_at_64() {
        grid::<64, 11, 3>();
    }

    #[test]
    fn header_ring_and_end_record_at_128() {
        grid::<128, 6, 4>();
    }

    #[test]
    fn header_ring_and_end_record_at_512() {
        grid::<512, 2, 6>();
    }

    #[test]
    fn verilog_agrees() {
        let sizes: Vec<usize> = (50..105).chain([1, 2, 9, 60, 60, 1522, 300, 17, 60, 64, 65]).collect();
        check::<64, 11, 3>(71, 0.1, 0.2, &sizes, true).agrees_with_verilog("capture_64");
        check::<128, 6, 4>(72, 0.1, 0.2, &sizes, true).agrees_with_verilog("capture_128");
        check::<512, 2, 6>(73, 0.1, 0.2, &sizes, true).agrees_with_verilog("capture_512");
    }

    /// Ingress keeps the rule that capture relies on, whatever the ports do: no header is lost.
    fn behind_ingress<const W: usize, const HB: usize, const LB: usize>(seed: u64, idle: f64, room: f64) {
        println!("seed {seed}, W {W}, idle {idle}, room {room}");
        let mut rng = StdRng::seed_from_u64(seed);
        let mut ports = Ports::new(Bench::new(Ingress::<W, LB>::default()).without_record(), true);
        let mut bench = Bench::new(Capture::<W, HB, LB, RN>::default()).without_record();
        let mut model: [VecDeque<Vec<u8>>; 2] = Default::default();
        for _ in 0..400 {
            let size = if rng.random_bool(0.7) {
                rng.random_range(1..130)
            } else {
                rng.random_range(60..1600)
            };
            let frame = random_frame(&mut rng, size);
            let mut header = frame.bytes[..size.min(HEADER_BYTES)].to_vec();
            header.resize(HEADER_BYTES, 0);
            let port = rng.random_range(0..2);
            model[port].push_back(header);
            ports.push(port, frame);
        }
        let (mut quiet, mut before, mut nearest) = (0, None, u64::MAX);
        while quiet < 2 * HB {
            quiet = if ports.done() { quiet + 1 } else { 0 };
            let beat = ports.clock(&mut rng, Traffic { idle, room });
            let uut = &mut bench.uut;
            uut.valid.next = beat.is_some();
            let beat = beat.unwrap_or_default();
            uut.data.next = Wide::from_frame(&beat.data);
            uut.count.next = ((beat.data.len() % (W / 8)) as u64).into();
            uut.first.next = beat.first;
            uut.last.next = beat.last;
            uut.port.next = beat.port == 1;
            bench.settle();
            if bench.uut.header_valid.val() {
                let header = model[usize::from(bench.uut.header_port.val())].pop_front();
                assert_eq!(Some(bench.uut.header.val().to_frame(HEADER_BYTES)), header);
                if let Some(clock) = before.replace(bench.clocks) {
                    nearest = nearest.min(bench.clocks - clock);
                }
            }
            bench.edge();
        }
        // the hasher of the session table relies on this
        let apart = MIN_FRAME.div_ceil(W / 8) as u64;
        assert!(nearest >= apart, "headers {nearest} clocks apart");
        if idle == 0.0 && room == 1.0 {
            assert_eq!(nearest, apart);
        }
        assert!(model.iter().all(VecDeque::is_empty), "headers were lost");
        assert!(bench.uut.idle.val());
    }

    #[test]
    fn no_header_is_lost_behind_ingress() {
        for (i, idle) in [0.0, 0.3, 0.9].into_iter().enumerate() {
            for (k, room) in [1.0, 0.4].into_iter().enumerate() {
                let seed = (10 * i + k) as u64;
                behind_ingress::<64, 11, 3>(seed, idle, room);
                behind_ingress::<128, 6, 4>(seed, idle, room);
                behind_ingress::<512, 2, 6>(seed, idle, room);
            }
        }
    }
}
