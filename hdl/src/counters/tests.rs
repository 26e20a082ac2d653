//! Counters against a model in plain Rust, at every rate, and their Verilog.

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

#[test]
fn its_netlist_agrees() {
    run(54, 4, true).agrees_with_netlist("counters");
}

/// One event of every kind, of the same counters each time, with as many bytes as there can be.
fn most(uut: &mut Counters, model: &mut Model) {
    let mut count = |offset: u32, amount: u64| *model.entry(offset).or_default() += amount;
    uut.tally0.next = tally(9);
    uut.tally1.next = tally(9);
    count(COUNTER_BASE + 8 * 9, 2);
    uut.translated.next = Translated {
        valid: true,
        index: 0u64.into(),
        direction: true,
        set: 5u64.into(),
        bytes: 0xffffu64.into(),
    };
    count(SET_COUNTER_BASE + 32 * 5 + 16, 1);
    count(SET_COUNTER_BASE + 32 * 5 + 24, 0xffff);
    (uut.in_valid.next, uut.in_port.next, uut.in_bytes.next) = (true, true, 0xffffu64.into());
    (uut.out_valid0.next, uut.out_bytes0.next) = (true, 0xffffu64.into());
    (uut.out_valid1.next, uut.out_bytes1.next) = (true, 0xffffu64.into());
    for way in [PORT_COUNTER_BASE + 32, PORT_COUNTER_BASE + 16, PORT_COUNTER_BASE + 48] {
        count(way, 1);
        count(way + 8, 0xffff);
    }
}

/// Every input at its highest rate, reads as close as they may come and at all distances from the sweep: each read has what was
/// counted 8 clocks before its visit, and in the end nothing is missing.
#[test]
fn nothing_is_lost_at_the_highest_rate() {
    let mut rng = StdRng::seed_from_u64(55);
    for pause in 0..20 {
        let mut bench = Bench::new(Counters::default()).without_record();
        let mut model = Model::new();
        let mut past = std::collections::VecDeque::from(vec![Model::new(); 8]);
        let mut asked: Option<(u32, Model)> = None;
        let (mut wait, mut reads) = (0, 0);
        for _ in 0..1500 {
            most(&mut bench.uut, &mut model);
            past.push_back(model.clone());
            let before = past.pop_front().unwrap_or_default();
            bench.uut.read.next = false;
            bench.settle();
            if bench.uut.read_done.val() {
                let (address, least) = asked.take().expect("a read is under way");
                let got: u64 = bench.uut.read_data.val().into();
                let bounds = [&least, &model].map(|model| model.get(&address).copied().unwrap_or(0));
                assert!(
                    (bounds[0]..=bounds[1]).contains(&got),
                    "pause {pause}, {address:#x}: {got} in {bounds:?}"
                );
                reads += 1;
                wait = if pause == 19 { rng.random_range(0..30) } else { pause };
            }
            if asked.is_none() {
                if wait == 0 {
                    // the reason over and over; at times another one
                    let others: Vec<u32> = model.keys().copied().collect();
                    let address = match rng.random_range(0..8) {
                        0 => others[rng.random_range(0..others.len())],
                        _ => COUNTER_BASE + 8 * 9,
                    };
                    bench.uut.read.next = true;
                    bench.uut.address.next = u64::from(address).into();
                    asked = Some((address, before));
                } else {
                    wait -= 1;
                }
            }
            bench.tick();
        }
        assert!(reads > 1500 / (LATENCY + 31), "{reads} reads");
        bench.uut.read.next = false;
        quiet(&mut bench.uut);
        for _ in 0..40 {
            bench.tick();
        }
        for (&address, &want) in &model {
            assert_eq!(read64(&mut bench, address, |_| ()), want, "pause {pause}, {address:#x}");
        }
    }
}

/// What was counted before a wipe is gone, what comes after it counts, whatever is read and counted meanwhile.
#[test]
fn a_wipe_under_load() {
    for seed in 0..40 {
        let mut rng = StdRng::seed_from_u64(560 + seed);
        let mut bench = Bench::new(Counters::default()).without_record();
        let mut model = Model::new();
        let all: Vec<u32> = (0..64)
            .map(|i| COUNTER_BASE + 8 * i)
            .chain((0..8).map(|i| PORT_COUNTER_BASE + 8 * i))
            .chain((0..32).map(|i| SET_COUNTER_BASE + 8 * i))
            .collect();
        let (mut before, mut after) = (Model::new(), Model::new());
        let (start, mut free) = (300 + rng.random_range(0..200), true);
        for clock in 0..start + WIPE_CLOCKS + 100 {
            if clock == start - 40 {
                before = model.clone();
            }
            if clock == start + WIPE_CLOCKS {
                after = model.clone();
            }
            bench.uut.wipe.next = (start..start + WIPE_CLOCKS).contains(&clock);
            events(&mut bench.uut, &mut model, &mut rng);
            bench.uut.read.next = false;
            bench.settle();
            free |= bench.uut.read_done.val();
            if free {
                free = false;
                bench.uut.read.next = true;
                bench.uut.address.next = u64::from(all[rng.random_range(0..all.len())]).into();
            }
            bench.tick();
        }
        bench.uut.read.next = false;
        quiet(&mut bench.uut);
        for _ in 0..40 {
            bench.tick();
        }
        for &address in &all {
            let of = |model: &Model| model.get(&address).copied().unwrap_or(0);
            let got = read64(&mut bench, address, |_| ());
            let (least, most) = (of(&model) - of(&after), of(&model) - of(&before));
            assert!(
                (least..=most).contains(&got),
                "seed {seed}, {address:#x}: {least} <= {got} <= {most}"
            );
        }
    }
}

/// A wipe of counters at rest leaves zero, wherever the sweep was.
#[test]
fn a_wipe_at_rest() {
    for wait in 0..SWEPT {
        let mut bench = Bench::new(Counters::default()).without_record();
        for _ in 0..300 + wait {
            most(&mut bench.uut, &mut Model::new());
            bench.tick();
        }
        quiet(&mut bench.uut);
        for _ in 0..4 {
            bench.tick();
        }
        bench.uut.wipe.next = true;
        for _ in 0..WIPE_CLOCKS {
            bench.tick();
        }
        bench.uut.wipe.next = false;
        for at in [
            COUNTER_BASE + 8 * 9,
            SET_COUNTER_BASE + 32 * 5 + 16,
            SET_COUNTER_BASE + 32 * 5 + 24,
            PORT_COUNTER_BASE + 56,
        ] {
            assert_eq!(read64(&mut bench, at, |_| ()), 0, "{wait}, {at:#x}");
        }
    }
}

#[test]
fn counters_wrap_at_48_bits() {
    let mut bench = Bench::new(Counters::default()).without_record();
    let start = (1u64 << COUNTER_BITS) - 0x12_3456;
    for place in 0..SWEPT {
        let account = Account {
            total: start.into(),
            last: Default::default(),
        };
        bench.uut.accounts.preset(place, account);
    }
    let mut model = Model::new();
    for address in (0..64)
        .map(|i| COUNTER_BASE + 8 * i)
        .chain((0..8).map(|i| PORT_COUNTER_BASE + 8 * i))
        .chain((0..32).map(|i| SET_COUNTER_BASE + 8 * i))
    {
        model.insert(address, start);
    }
    let mut rng = StdRng::seed_from_u64(57);
    for _ in 0..1000 {
        events(&mut bench.uut, &mut model, &mut rng);
        bench.tick();
    }
    quiet(&mut bench.uut);
    for _ in 0..40 {
        bench.tick();
    }
    let mut wrapped = 0;
    for (&address, &total) in &model {
        let want = total & ((1 << COUNTER_BITS) - 1);
        wrapped += usize::from(want != total);
        assert_eq!(read64(&mut bench, address, |_| ()), want, "{address:#x}");
    }
    assert!(wrapped > 5, "{wrapped} wrapped");
}
