//! Random slots, good and bad, slow and failing DMA, back-pressure; the host is a model of memory.

use super::*;
use crate::testkit::Bench;
use nat64_layout::ring::{own_phase, InjectDescriptor, SLOT_BYTES};
use rand::{rngs::StdRng, Rng, SeedableRng};
use std::collections::VecDeque;

const BASE: u64 = 0x7_ffff_e000;
const BACK: u64 = 0x1_2345_6788;
const LOG2: usize = 2;

#[derive(Clone, PartialEq, Debug)]
enum Want {
    Frame(bool, Vec<u8>),
    Count(u64),
}

fn number<const N: usize>(x: Bits<N>) -> u64 {
    x.index() as u64
}

/// `stall`: percent of clocks something is not ready or has no data.
fn run<const W: usize, const LB: usize>(seed: u64, slots: u32, stall: u32, replay: bool) -> [usize; 3] {
    let mut rng = StdRng::seed_from_u64(seed);
    let bench = Bench::new(Inject::<W, LB>::default());
    let mut bench = if replay { bench } else { bench.without_record() };
    let mut memory = vec![0u8; SLOT_BYTES << LOG2];
    let mut registers: VecDeque<(u32, u32)> = VecDeque::from([
        (InjBaseLow::OFFSET, BASE as u32),
        (InjBaseHigh::OFFSET, (BASE >> 32) as u32),
        (InjWbLow::OFFSET, BACK as u32),
        (InjWbHigh::OFFSET, (BACK >> 32) as u32),
        (InjTail::OFFSET, 99),
        (InjCtrl::OFFSET, 1 | (LOG2 as u32) << 8),
    ]);
    let (mut filled, mut head) = (0u32, 0u32);
    let mut wants: VecDeque<Want> = VecDeque::new();
    let mut fails: VecDeque<bool> = VecDeque::new();
    // words on their way to the card: data, last, error
    let mut words: VecDeque<(u64, bool, bool)> = VecDeque::new();
    let (mut frame, mut counts, mut quiet, mut sending) = (Vec::new(), [0; 3], 0, false);
    while quiet < 20 {
        let chance = |rng: &mut StdRng| rng.random_range(0..100) >= stall;
        bench.uut.write.next = RegisterWrite::default();
        if let Some((address, data)) = registers.pop_front() {
            bench.uut.write.next = RegisterWrite {
                valid: true,
                address: u64::from(address).into(),
                data: u64::from(data).into(),
            };
        } else if filled < slots && filled - head < 1 << LOG2 && rng.random_range(0..4) == 0 {
            let at = (filled as usize % (1 << LOG2)) * SLOT_BYTES;
            let bad_length = rng.random_range(0..10) == 0;
            let bad_own = rng.random_range(0..10) == 0;
            let length: u16 = match rng.random_range(0..4) {
                _ if bad_length => [0, 1, 13, 2017, 2048, 65535][rng.random_range(0..6)],
                0 => 14 + (filled % 80) as u16,
                1 => rng.random_range(14..=2016),
                2 => 2009 + (filled % 8) as u16,
                _ => rng.random_range(60..200),
            };
            let descriptor = InjectDescriptor {
                port: rng.random_range(0..2),
                length,
                own: own_phase(filled, LOG2) != bad_own,
            };
            for (i, word) in descriptor.to_words().iter().enumerate() {
                memory[at + 8 * i..at + 8 * i + 8].copy_from_slice(&word.to_le_bytes());
            }
            rng.fill(&mut memory[at + DESCRIPTOR_BYTES..at + SLOT_BYTES]);
            // 0 for the descriptor, 1 for the frame
            let fail = rng.random_range(0..30);
            fails.push_back(fail == 0);
            if fail == 0 {
                wants.push_back(Want::Count(Reason::DmaError as u64));
            } else if bad_length || bad_own {
                wants.push_back(Want::Count(Reason::BadInject as u64));
            } else {
                fails.push_back(fail == 1);
                wants.push_back(if fail == 1 {
                    Want::Count(Reason::DmaError as u64)
                } else {
                    let start = at + DESCRIPTOR_BYTES;
                    Want::Frame(
                        descriptor.port == 1,
                        memory[start..start + usize::from(length)].to_vec(),
                    )
                });
            }
            filled += 1;
            registers.push_back((InjTail::OFFSET, filled));
        }
        let u = &mut bench.uut;
        u.mr_ready.next = chance(&mut rng);
        u.mw_ready.next = chance(&mut rng);
        u.inj_ready.next = chance(&mut rng);
        u.md_valid.next = chance(&mut rng) && !words.is_empty();
        if let Some(&(data, last, error)) = words.front() {
            u.md_data.next = data.into();
            u.md_last.next = last;
            u.md_error.next = error;
        }
        bench.settle();
        let u = &bench.uut;
        if u.md_valid.val() && u.md_ready.val() {
            words.pop_front();
        }
        if u.mr_valid.val() && u.mr_ready.val() {
            let (address, length) = (u.mr_addr.val().low(), number(u.mr_len.val()) as usize);
            assert!(length % 8 == 0 && length <= 2048, "seed {seed}");
            let at = (address - BASE) as usize;
            let count = length / 8;
            let fail = fails.pop_front().unwrap();
            // a failed read: an error flag somewhere, or an answer that is too short
            let wrong = rng.random_range(0..count);
            let short = fail && count > 1 && rng.random();
            for i in 0..if short { count - 1 } else { count } {
                let data = u64::from_le_bytes(memory[at + 8 * i..at + 8 * i + 8].try_into().unwrap());
                let last = i + 1 == if short { count - 1 } else { count };
                words.push_back((data, last, fail && !short && i == wrong));
            }
        }
        if u.inj_valid.val() && u.inj_ready.val() {
            assert_eq!(u.inj_first.val(), !sending, "seed {seed}");
            let count = number(u.inj_count.val()) as usize;
            let bytes = if u.inj_last.val() && count != 0 { count } else { W / 8 };
            frame.extend(u.inj_data.val().to_frame(bytes));
            sending = !u.inj_last.val();
            if !sending {
                let got = Want::Frame(u.inj_port.val(), std::mem::take(&mut frame));
                assert_eq!(Some(got), wants.pop_front(), "seed {seed}");
                counts[0] += 1;
            }
        } else if stall == 0 {
            assert!(!sending, "seed {seed}: a gap in a frame");
        }
        if u.tally.val().valid {
            let reason = number(u.tally.val().reason);
            assert_eq!(Some(Want::Count(reason)), wants.pop_front(), "seed {seed}");
            counts[if reason == Reason::BadInject as u64 { 1 } else { 2 }] += 1;
        }
        if u.mw_valid.val() && u.mw_ready.val() {
            assert_eq!(u.mw_addr.val().low(), BACK);
            assert_eq!(u.mw_data.val().low(), u64::from(head + 1), "seed {seed}");
            assert!(u.mw_first.val() && u.mw_last.val());
            head += 1;
        }
        if u.irq.val() {
            assert_eq!(number(u.head.val()), u64::from(head), "seed {seed}");
        }
        quiet = if u.busy.val() || filled < slots || !registers.is_empty() {
            0
        } else {
            quiet + 1
        };
        bench.edge();
        assert!(bench.clocks < 1_000_000, "seed {seed}: stuck");
    }
    assert_eq!(head, slots);
    assert!(wants.is_empty());
    if replay {
        bench.agrees_with_verilog("inject");
    }
    counts
}

fn grid<const W: usize, const LB: usize>() {
    let mut all = [0; 3];
    for (i, stall) in [0, 20, 60].into_iter().enumerate() {
        let counts = run::<W, LB>((W + i) as u64, 160, stall, false);
        for (sum, n) in all.iter_mut().zip(counts) {
            *sum += n;
        }
    }
    assert!(all.iter().all(|&n| n > 5), "a case was not met: {all:?}");
}

#[test]
fn slots_are_sent_or_counted_64() {
    grid::<64, 3>();
}

#[test]
fn slots_are_sent_or_counted_128() {
    grid::<128, 4>();
}

#[test]
fn slots_are_sent_or_counted_512() {
    grid::<512, 6>();
}

#[test]
fn verilog_agrees() {
    run::<64, 3>(1, 12, 20, true);
    run::<128, 4>(2, 12, 20, true);
    run::<512, 6>(3, 12, 20, true);
}

/// A ring that is switched off with slots waiting and on again begins at slot 0, with what was written for it: also when its tail
/// follows at once, while registers still speak of the old ring.
#[test]
fn a_ring_switched_on_again_begins_at_its_first_slot() {
    for (gap, off_at) in (0..5).flat_map(|gap| (60..90).map(move |at| (gap, at))) {
        let mut bench = Bench::new(Inject::<64, 3>::default()).without_record();
        // switched off in some clock of the slots before it, with 5 of them given
        let mut writes = vec![
            (0, InjBaseLow::OFFSET, BASE as u32),
            (1, InjBaseHigh::OFFSET, (BASE >> 32) as u32),
            (2, InjCtrl::OFFSET, 1 | (LOG2 as u32) << 8),
            (3, InjTail::OFFSET, 5),
            (off_at, InjCtrl::OFFSET, 0),
            (off_at + 1, InjTail::OFFSET, 7),
        ];
        let on_at = off_at + 60;
        writes.push((on_at, InjCtrl::OFFSET, 1 | (LOG2 as u32) << 8));
        writes.push((on_at + 1 + gap, InjTail::OFFSET, 2));
        let (mut asked, mut words) = (Vec::new(), 0);
        for clock in 0..on_at + 200 {
            let write = writes.iter().find(|w| w.0 == clock);
            bench.uut.write.next = write.map_or_else(RegisterWrite::default, |w| RegisterWrite {
                valid: true,
                address: u64::from(w.1).into(),
                data: u64::from(w.2).into(),
            });
            // descriptors of zeros: every slot is skipped and counted
            bench.uut.mr_ready.next = true;
            bench.uut.mw_ready.next = true;
            bench.uut.md_valid.next = words > 0;
            bench.uut.md_last.next = words == 1;
            bench.settle();
            let u = &bench.uut;
            if u.md_valid.val() && u.md_ready.val() {
                words -= 1;
            }
            if u.mr_valid.val() && u.mr_ready.val() {
                words = number(u.mr_len.val()) / 8;
                asked.push((clock, u.mr_addr.val().low()));
            }
            if clock > on_at + 1 {
                assert!(number(u.head.val()) <= 2, "gap {gap}, off at {off_at}");
            }
            bench.edge();
        }
        let after: Vec<u64> = asked.iter().filter(|a| a.0 > on_at).map(|a| a.1).collect();
        assert_eq!(after, [BASE, BASE + SLOT_BYTES as u64], "gap {gap}, off at {off_at}");
        assert!(asked.iter().all(|a| a.0 > on_at || a.0 <= off_at + 1));
        assert_eq!(number(bench.uut.head.val()), 2);
        assert!(!bench.uut.busy.val());
    }
}
