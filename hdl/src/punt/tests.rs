//! Random frames, aborts, bursts, back-pressure of the DMA and a host that is slow or gone, against a model of host memory.

use super::*;
use crate::testkit::Bench;
use nat64_layout::ring::{own_phase, ExceptionDescriptor, BURST_BYTES, DESCRIPTOR_BYTES, SLOT_BYTES};
use rand::{rngs::StdRng, Rng, SeedableRng};
use std::collections::{HashMap, VecDeque};

const BASE: u64 = 0x12_ffff_f000;
const LOG2: usize = 2;

struct Want {
    frame: Vec<u8>,
    meta: PuntMeta,
    time: u64,
}

fn number<const N: usize>(x: Bits<N>) -> u64 {
    x.index() as u64
}

struct Host {
    memory: HashMap<u64, u64>,
    burst: Option<(u64, usize)>,
    tail: u32,
}

impl Host {
    fn word(&mut self, address: u64, data: u64, first: bool, last: bool) {
        assert_eq!(first, self.burst.is_none(), "first word of a burst");
        let words = match self.burst {
            Some((next, words)) => {
                assert_eq!(address, next, "addresses of a burst follow each other");
                assert_ne!(address % 4096, 0, "a burst crosses 4 KiB");
                words + 1
            }
            None => 1,
        };
        assert!(words * 8 <= BURST_BYTES);
        self.burst = (!last).then_some((address + 8, words));
        self.memory.insert(address, data);
    }

    fn slot(&self, index: u32) -> u64 {
        BASE + u64::from(index % (1 << LOG2)) * SLOT_BYTES as u64
    }

    fn descriptor(&self, index: u32) -> ExceptionDescriptor {
        let at = self.slot(index);
        ExceptionDescriptor::from_words([0, 8, 16, 24].map(|o| self.memory.get(&(at + o)).copied().unwrap_or(0)))
    }

    /// Takes the next slot, if it is filled.
    fn take(&mut self) -> Option<(ExceptionDescriptor, Vec<u8>)> {
        let d = self.descriptor(self.tail);
        if d.own != own_phase(self.tail, LOG2) {
            return None;
        }
        let at = self.slot(self.tail) + DESCRIPTOR_BYTES as u64;
        let mut frame = Vec::new();
        for word in 0..u64::from(d.length).div_ceil(8) {
            frame.extend(self.memory[&(at + 8 * word)].to_le_bytes());
        }
        assert!(
            frame[usize::from(d.length)..].iter().all(|&b| b == 0),
            "bytes behind the frame"
        );
        frame.truncate(d.length.into());
        self.tail += 1;
        Some((d, frame))
    }
}

fn write<const W: usize, const LB: usize>(bench: &mut Bench<Punt<W, LB>>, address: u32, data: u32) {
    bench.uut.write.next = RegisterWrite {
        valid: true,
        address: u64::from(address).into(),
        data: u64::from(data).into(),
    };
}

/// `gap`: percent of clocks without a beat; `stall`: percent of clocks the DMA is not ready; `slow`: percent of clocks the
/// host does not look. Gives (punted, ring full, overflow).
fn run<const W: usize, const LB: usize>(
    seed: u64,
    frames: usize,
    gap: u32,
    stall: u32,
    slow: u32,
    replay: bool,
) -> [usize; 3] {
    let mut rng = StdRng::seed_from_u64(seed);
    let bench = Bench::new(Punt::<W, LB>::default());
    let mut bench = if replay { bench } else { bench.without_record() };
    for (address, data) in [
        (ExcBaseLow::OFFSET, BASE as u32),
        (ExcBaseHigh::OFFSET, (BASE >> 32) as u32),
        (ExcTail::OFFSET, 77),
        (ExcCtrl::OFFSET, 1 | (LOG2 as u32) << 8),
    ] {
        write(&mut bench, address, data);
        bench.tick();
    }
    bench.uut.write.next = RegisterWrite::default();
    let mut host = Host {
        memory: HashMap::new(),
        burst: None,
        tail: 0,
    };
    let mut todo: VecDeque<(Vec<u8>, bool)> = (0..frames)
        .map(|i| {
            let size = match rng.random_range(0..3) {
                0 => 60 + i % (W / 8),
                1 => rng.random_range(60..200),
                _ => rng.random_range(60..=1518),
            };
            // longer than a slot: no frame of the core is
            let size = if i % 17 == 16 { 2000 + i % 40 } else { size };
            ((0..size).map(|_| rng.random()).collect(), rng.random_range(0..8) == 0)
        })
        .collect();
    let (mut wanted, mut at, mut time, mut start) = (VecDeque::new(), 0, 1000u64, 0);
    let (mut irqs, mut counts, mut sent, mut quiet) = (0, [0usize; 3], 0, 0);
    while quiet < 400 {
        time += 7;
        bench.uut.time_ns.next = time.into();
        bench.uut.punt_valid.next = false;
        if let Some((frame, abort)) = todo.front() {
            if rng.random_range(0..100) >= gap {
                let end = (at + W / 8).min(frame.len());
                let last = end == frame.len();
                let u = &mut bench.uut;
                u.punt_valid.next = true;
                u.punt_data.next = Wide::from_frame(&frame[at..end]);
                u.punt_count.next = ((end % (W / 8)) as u64).into();
                u.punt_first.next = at == 0;
                u.punt_last.next = last;
                u.punt_abort.next = last && *abort;
                let meta = PuntMeta {
                    reason: rng.random_range(1..32u64).into(),
                    port: rng.random(),
                    unit: rng.random_range(0..16u64).into(),
                    unit_valid: rng.random(),
                };
                u.punt_meta.next = meta;
                if at == 0 {
                    start = time;
                }
                at = end;
                if last {
                    if !abort {
                        wanted.push_back(Want {
                            frame: frame.clone(),
                            meta,
                            time: start,
                        });
                        sent += 1;
                    }
                    at = 0;
                    todo.pop_front();
                }
            }
        }
        bench.uut.write.next = RegisterWrite::default();
        if rng.random_range(0..100) >= slow {
            if let Some((d, frame)) = host.take() {
                // frames between may have been dropped
                let want = loop {
                    let want: Want = wanted
                        .pop_front()
                        .unwrap_or_else(|| panic!("seed {seed}: a frame nobody sent"));
                    if want.time == d.time_ns {
                        break want;
                    }
                };
                assert_eq!(frame, want.frame[..want.frame.len().min(SLOT_FRAME)], "seed {seed}");
                assert_eq!(d.cut, want.frame.len() > SLOT_FRAME, "seed {seed}");
                assert_eq!(u64::from(d.reason), number(want.meta.reason), "seed {seed}");
                assert_eq!(d.port, u8::from(want.meta.port), "seed {seed}");
                assert_eq!(
                    d.unit,
                    want.meta.unit_valid.then_some(number(want.meta.unit) as u8),
                    "seed {seed}"
                );
                assert_eq!(d.sequence + 1, host.tail, "seed {seed}");
                write(&mut bench, ExcTail::OFFSET, host.tail);
            }
        }
        bench.uut.mw_ready.next = rng.random_range(0..100) >= stall;
        bench.settle();
        let u = &bench.uut;
        if u.mw_valid.val() && u.mw_ready.val() {
            host.word(
                u.mw_addr.val().low(),
                u.mw_data.val().low(),
                u.mw_first.val(),
                u.mw_last.val(),
            );
        }
        if u.irq.val() {
            irqs += 1;
            assert_eq!(number(u.head.val()), irqs, "seed {seed}");
            let newest = host.descriptor(irqs as u32 - 1);
            assert_eq!(
                newest.own,
                own_phase(irqs as u32 - 1, LOG2),
                "seed {seed}: interrupt before OWN is written"
            );
            assert_eq!(
                newest.sequence + 1,
                irqs as u32,
                "seed {seed}: interrupt before the slot is written"
            );
        }
        if u.tally.val().valid {
            let reason = number(u.tally.val().reason);
            let which = match reason {
                r if r == Reason::ExceptionRingFull as u64 => 1,
                r if r == Reason::PuntOverflow as u64 => 2,
                _ => 0,
            };
            counts[which] += 1;
        }
        quiet = if u.busy.val() || !todo.is_empty() { 0 } else { quiet + 1 };
        bench.edge();
        assert!(bench.clocks < 400_000, "seed {seed}: stuck");
    }
    while host.take().is_some() {}
    assert_eq!(counts[0], host.tail as usize, "seed {seed}");
    assert_eq!(counts.iter().sum::<usize>(), sent, "seed {seed}: {counts:?}");
    if replay {
        bench.agrees_with_verilog("punt");
    }
    counts
}

fn grid<const W: usize, const LB: usize>() {
    let mut all = [0; 3];
    let mut seed = W as u64;
    for gap in [0, 50] {
        for stall in [0, 30, 70] {
            for slow in [0, 99] {
                seed += 1000;
                let counts = run::<W, LB>(seed, 60, gap, stall, slow, false);
                for (sum, n) in all.iter_mut().zip(counts) {
                    *sum += n;
                }
            }
        }
    }
    assert!(all.iter().all(|&n| n > 5), "a case was not met: {all:?}");
}

#[test]
fn frames_reach_the_ring_64() {
    grid::<64, 3>();
}

#[test]
fn frames_reach_the_ring_128() {
    grid::<128, 4>();
}

#[test]
fn frames_reach_the_ring_512() {
    grid::<512, 6>();
}

#[test]
fn a_ring_that_is_off_loses_every_frame_and_says_so() {
    let mut bench = Bench::new(Punt::<64, 3>::default()).without_record();
    let mut full = 0;
    for clock in 0..2000u64 {
        bench.uut.punt_valid.next = clock < 800;
        bench.uut.punt_first.next = clock % 8 == 0;
        bench.uut.punt_last.next = clock % 8 == 7;
        bench.settle();
        assert!(!bench.uut.mw_valid.val());
        if bench.uut.tally.val().valid {
            assert_eq!(number(bench.uut.tally.val().reason), Reason::ExceptionRingFull as u64);
            full += 1;
        }
        bench.edge();
    }
    assert_eq!(full, 100);
    assert!(!bench.uut.busy.val());
}

#[test]
fn verilog_agrees() {
    run::<64, 3>(1, 12, 10, 30, 90, true);
    run::<128, 4>(2, 12, 10, 30, 90, true);
    run::<512, 6>(3, 18, 10, 30, 90, true);
}

/// A frame that comes about the clock in which a full ring is switched off or on again is written to the first slot of the new
/// ring or is dropped and counted, never written by what registers still say of the old ring.
#[test]
fn a_ring_switched_on_again_begins_at_its_first_slot() {
    let mut written = [0, 0];
    for (late, between) in (0..24).flat_map(|late| [1, 2, 9].map(|between| (late, between))) {
        let mut bench = Bench::new(Punt::<64, 3>::default()).without_record();
        let on = 1 | (LOG2 as u32) << 8;
        let again = 600;
        let writes = [
            (0, ExcBaseLow::OFFSET, BASE as u32),
            (1, ExcBaseHigh::OFFSET, (BASE >> 32) as u32),
            (2, ExcCtrl::OFFSET, on),
            (again - between, ExcCtrl::OFFSET, 0),
            (again, ExcCtrl::OFFSET, on),
        ];
        let (mut words, mut tallies) = (Vec::new(), Vec::new());
        // five frames fill the ring, of four slots, and lose one; the sixth is the one
        let starts: Vec<u64> = (0..5).map(|i| 10 + 40 * i).chain([again - 12 + late]).collect();
        for clock in 0..again + 100 {
            let write = writes.iter().find(|w| w.0 == clock);
            bench.uut.write.next = write.map_or_else(RegisterWrite::default, |w| RegisterWrite {
                valid: true,
                address: u64::from(w.1).into(),
                data: u64::from(w.2).into(),
            });
            let beat = starts
                .iter()
                .filter(|&&s| s <= clock)
                .map(|s| clock - s)
                .find(|&b| b < 8);
            let u = &mut bench.uut;
            u.punt_valid.next = beat.is_some();
            u.punt_first.next = beat == Some(0);
            u.punt_last.next = beat == Some(7);
            u.punt_meta.next.reason = 5u64.into();
            u.mw_ready.next = true;
            bench.settle();
            let u = &bench.uut;
            if u.mw_valid.val() {
                words.push((clock, u.mw_addr.val().low()));
            }
            if u.tally.val().valid {
                tallies.push(number(u.tally.val().reason));
            }
            bench.edge();
        }
        let full = Reason::ExceptionRingFull as u64;
        assert_eq!(tallies[..5], [5, 5, 5, 5, full], "{late} {between}");
        assert_eq!(tallies.len(), 6);
        let new: Vec<u64> = words.iter().filter(|w| w.0 > 400).map(|w| w.1).collect();
        let taken = tallies[5] == 5;
        written[usize::from(taken)] += 1;
        assert_eq!(new.len(), if taken { 12 } else { 0 }, "{late} {between}");
        assert!(new.iter().all(|a| (BASE..BASE + 2048).contains(a)), "{late} {between}");
        assert_eq!(number(bench.uut.head.val()), u64::from(taken), "{late} {between}");
        assert!(!bench.uut.busy.val());
    }
    assert!(written.iter().all(|&n| n > 5), "{written:?}");
}
