//! Random load: requests, DMA, completions, errors, with idle and back-pressure of every degree.

use super::*;

/// First and last byte enables of `bytes` bytes from `address`.
fn enables(address: u64, bytes: usize) -> ([u8; 2], usize) {
    let (first, end) = ((address & 3) as usize, (address & 3) as usize + bytes);
    let length = end.div_ceil(4);
    let head = 0xf << first & 0xf;
    let tail = 0xf >> (4 * length - end);
    if length == 1 {
        ([(head & tail) as u8, 0], 1)
    } else {
        ([head as u8, tail as u8], length)
    }
}

/// The whole layer under random load. Gives how many requests of the host, DMA words, reads of the card there were.
fn load(seed: u64, setup: &Setup) -> [usize; 4] {
    println!(
        "seed {seed}, idle {}, stall {}, code {}",
        setup.idle, setup.stall, setup.code
    );
    let mut rig = Rig::new(seed, setup.record);
    rig.bench.uut.cfg_max_payload.next = u64::from(setup.code).into();
    rig.bench.uut.cfg_max_read.next = u64::from(setup.code).into();
    let payload = 128usize << setup.code;
    // vectors: data 0x40 and 0x41
    rig.write_register(MSIX_TABLE, &[0xfee0_0000, 0, 0x40, 0, 0xfee0_0000, 0, 0x41, 0]);
    let mut waiting: HashMap<u8, Waiting> = HashMap::new();
    let mut tags: Vec<u8> = (0..32).collect();
    let mut model: BTreeMap<u32, u32> = BTreeMap::new();
    let mut window = Vec::new();
    let (mut writes, mut reads, mut unsupported, mut malformed, mut poisoned) = (1u32, 0u32, 0u32, 0u32, 0u32);
    let (mut unexpected, mut timeouts, mut errors) = (0u32, 0u32, 0u32);
    let mut owed: Vec<Owed> = Vec::new();
    let mut fates: VecDeque<(usize, bool)> = VecDeque::new();
    let mut current: Option<(u64, usize, usize)> = None;
    let mut requests: VecDeque<(u64, usize, usize)> = VecDeque::new();
    let mut known = 0;
    let mut silent = 0usize;
    let mut totals = [0usize; 4];
    let mut irqs = 0usize;
    // a long read takes some clocks for each of its registers, so what waits at the end may need longer
    for clock in 0..setup.clocks + 20_000 {
        if clock >= setup.clocks && waiting.is_empty() {
            break;
        }
        let ending = clock + 7000 > setup.clocks;
        rig.stall = if ending { 0.0 } else { setup.stall };
        let uut = &mut rig.bench.uut;
        uut.credit_p.next = ending || !rig.rng.random_bool(setup.stall / 2.0);
        uut.credit_n.next = ending || !rig.rng.random_bool(setup.stall / 2.0);
        uut.credit_c.next = ending || !rig.rng.random_bool(setup.stall / 2.0);
        uut.irq.next = 0.into();
        // new work
        if !ending && rig.rng.random_bool(0.02) {
            uut.irq.next = rig.rng.random_range(1..4u64).into();
            irqs += 1;
        }
        if !ending && rig.burst.is_empty() && rig.rng.random_bool(0.2) {
            let n = rig.rng.random_range(1..20u64);
            let base = rig.rng.random_range(0..1 << 20) * 8 + u64::from(rig.rng.random::<bool>()) * 0x12_0000_0000;
            let rng = &mut rig.rng;
            rig.burst = (0..n).map(|i| (base + 8 * i, rng.random(), i + 1 == n)).collect();
        }
        if !ending && rig.reading.is_empty() && rig.rng.random_bool(0.05) {
            let bytes = 8 * rig.rng.random_range(1..=256);
            let address = rig.rng.random_range(0..1 << 20) * 8 + u64::from(rig.rng.random::<bool>()) * 0x12_0000_0000;
            rig.reading.push_back((address, bytes));
        }
        if !ending && rig.rx.len() < 4 && rig.rng.random_bool(0.3) {
            let four = rig.rng.random::<bool>();
            let base = if four { 0x77_f000_0000u64 } else { 0xf000_0000 };
            match rig.rng.random_range(0..20) {
                0..8 => {
                    // a write; not where a read is under way
                    let length = [1, 1, 1, 2, rig.rng.random_range(1..=payload / 4)][rig.rng.random_range(0..5)];
                    let bar2 = rig.rng.random_range(0..3) == 0;
                    let offset = rig.rng.random_range(0x1000..0x7c00u32) & !3;
                    let room = (4096 - offset as usize % 4096) / 4;
                    let length = length.min(room);
                    let busy = |o: u32| waiting.values().any(|w: &Waiting| w.words.contains(&o));
                    if !bar2 && (0..length as u32).any(|i| busy(offset + 4 * i)) {
                        continue;
                    }
                    let be = match (length, rig.rng.random_range(0..4)) {
                        (1, 0) => [rig.rng.random_range(0..16), 0],
                        (1, _) => [15, 0],
                        (_, 0) => [rig.rng.random_range(1..16), rig.rng.random_range(1..16)],
                        _ => [15, 15],
                    };
                    let data: Vec<u32> = (0..length).map(|_| rig.rng.random()).collect();
                    let (fate, mut extra) = (rig.rng.random_range(0..12), 0);
                    let mut bar = if bar2 { 2 } else { 1 };
                    match fate {
                        0 => extra = 1 << 14,
                        1 => bar = 0,
                        _ => {}
                    }
                    let mut tlp = request(base + u64::from(offset), four, length, be, 0, extra, Some(&data));
                    if fate == 2 {
                        malformed += 1;
                        match rig.rng.random_range(0..4) {
                            0 => tlp[0] ^= 1,
                            1 => tlp.push(5),
                            2 => tlp.truncate(tlp.len() - 1),
                            _ => tlp[0] |= 7 << 29,
                        }
                        // what is neither of these any more is malformed all the same
                        rig.rx.push_back((tlp, bar));
                        continue;
                    }
                    if fate == 3 {
                        tlp[0] |= 1 << 15;
                        tlp.push(0xdead_beef);
                    }
                    rig.rx.push_back((tlp, bar));
                    poisoned += u32::from(fate == 0);
                    unsupported += u32::from(fate == 1);
                    if fate > 1 {
                        writes += 1;
                        totals[0] += 1;
                        for (i, dw) in data.iter().enumerate() {
                            let enable = if i == 0 {
                                be[0]
                            } else if i + 1 == length {
                                be[1]
                            } else {
                                15
                            };
                            let at = offset + 4 * i as u32;
                            let mask = (0..4)
                                .filter(|b| enable >> b & 1 == 1)
                                .fold(0, |m, b| m | 0xff << (8 * b));
                            if bar2 {
                                if enable == 15 {
                                    window.push((at, dw.swap_bytes()));
                                }
                                unsupported += u32::from(enable != 15 && enable != 0);
                            } else {
                                let old = model.get(&at).copied().unwrap_or(at * 3);
                                if mask != 0 {
                                    model.insert(at, old & !mask | dw.swap_bytes() & mask);
                                }
                            }
                        }
                    }
                }
                8..16 => {
                    let Some(tag) = tags.pop() else { continue };
                    let progress = rig.rng.random_range(0..4) == 0;
                    let start = if progress {
                        u64::from(PROGRESS)
                    } else {
                        rig.rng.random_range(0x1000..0x7800)
                    };
                    let room = 4096 - start as usize % 4096;
                    let bytes = [1, 2, 4, rig.rng.random_range(1..=2000)][rig.rng.random_range(0..4)].min(room);
                    let bytes = if progress { 4 } else { bytes };
                    let (mut be, length) = enables(start, bytes);
                    let bar2 = !progress && rig.rng.random_range(0..6) == 0;
                    let none = rig.rng.random_range(0..12) == 0;
                    let flush = !progress && length == 1 && rig.rng.random_range(0..4) == 0;
                    let attributes = rig.rng.random_range(0..8u32);
                    let extra = rig.rng.random_range(0..8u32) << 20 | (attributes & 3) << 12 | (attributes >> 2) << 18;
                    let bytes = if flush {
                        be = [0, 0];
                        1
                    } else {
                        bytes
                    };
                    let tlp = request(base + (start & !3), four, length, be, tag, extra, None);
                    let bar = if none {
                        0
                    } else if bar2 {
                        2
                    } else {
                        1
                    };
                    rig.rx.push_back((tlp, bar));
                    let word = |at: u32| model.get(&at).copied().unwrap_or(at * 3);
                    let want = (0..bytes as u64).map(|i| {
                        let at = start + i;
                        if flush || progress {
                            None
                        } else if bar2 {
                            Some(0)
                        } else {
                            Some(word(at as u32 & !3).to_le_bytes()[at as usize & 3])
                        }
                    });
                    let low = (start as u32 & 0x7c) + if flush { 0 } else { start as u32 & 3 };
                    waiting.insert(
                        tag,
                        Waiting {
                            bytes: want.collect(),
                            low,
                            left: bytes,
                            words: (0..length as u32).map(|i| (start as u32 & !3) + 4 * i).collect(),
                            unsupported: none,
                            extra,
                        },
                    );
                    reads += u32::from(!none);
                    unsupported += u32::from(none);
                    totals[1] += 1;
                }
                16 => {
                    // what is never ours: answered, if it wants an answer
                    let Some(tag) = tags.pop() else { continue };
                    let kind = [2, 4, 5, 12][rig.rng.random_range(0..4)];
                    let data = (kind == 12 || rig.rng.random()).then_some(&[1u32][..]);
                    let tlp = request(0xf000_1000, false, 1, [15, 0], tag, kind << 24, data);
                    rig.rx.push_back((tlp, 1));
                    unsupported += 1;
                    waiting.insert(
                        tag,
                        Waiting {
                            bytes: vec![None; 4],
                            low: 0,
                            left: 4,
                            words: Vec::new(),
                            unsupported: true,
                            extra: 0,
                        },
                    );
                }
                17 => {
                    // messages
                    let vendor = rig.rng.random::<bool>();
                    unsupported += u32::from(vendor);
                    let code = if vendor { 0x7e } else { 0x14 };
                    rig.rx
                        .push_back((vec![1 << 29 | 0x14 << 24, u32::from(HOST) << 16 | code, 0, 0], 0));
                }
                18 => {
                    // requests that break a rule
                    malformed += 1;
                    let tlp = match rig.rng.random_range(0..4) {
                        0 => request(0xf000_1ff8, false, 4, [15, 15], 1, 0, None),
                        1 => request(0xf000_1000, false, 1, [15, 15], 1, 0, None),
                        2 => request(0xf000_1000, false, 2, [15, 0], 1, 0, None),
                        _ => {
                            let data = vec![3; payload / 4 + 1];
                            request(0xf000_1000, false, data.len(), [15, 15], 1, 0, Some(&data))
                        }
                    };
                    rig.rx.push_back((tlp, 1));
                }
                _ => {
                    // a completion for nobody
                    unexpected += 1;
                    let tag = rig.rng.random_range(32..=255);
                    rig.rx.push_back((completion(tag, 0, 8, 0, 0, &[1, 2]), 0));
                }
            }
        }
        // completions of the card's reads, in pieces
        if !owed.is_empty() && rig.rx.len() < 6 && rig.rng.random_bool(if ending { 0.5 } else { 0.25 }) {
            let i = rig.rng.random_range(0..owed.len());
            let o = &mut owed[i];
            let position = o.total - o.left;
            let address = o.address + position as u64;
            let to_edge = 64 - (address as usize & 63);
            let most = payload.min(o.left);
            let mut bytes = to_edge;
            while bytes < most && rig.rng.random_bool(0.7) {
                bytes += 64;
            }
            let bytes = bytes.min(most);
            let mut extra = 0;
            let fate = rig.rng.random_range(0..60);
            if fate == 0 {
                // an error ends it
                rig.rx
                    .push_back((completion(o.tag, [1, 4][bytes / 64 % 2], o.left, 0, 0, &[]), 0));
                errors += 1;
                fates
                    .iter_mut()
                    .find(|f| f.0 == usize::from(o.tag))
                    .expect("outstanding")
                    .1 = true;
                owed.remove(i);
            } else if fate == 1 {
                // with a byte count that is wrong: has no effect
                unexpected += 1;
                rig.rx
                    .push_back((completion(o.tag, 0, o.left + 4, 0, 0, &vec![9; bytes / 4]), 0));
            } else if fate == 2 && silent == 0 {
                // never answered
                silent = clock;
                timeouts += 1;
                fates
                    .iter_mut()
                    .find(|f| f.0 == usize::from(o.tag))
                    .expect("outstanding")
                    .1 = true;
                owed.remove(i);
            } else {
                if fate == 3 {
                    extra = 1 << 14;
                    poisoned += 1;
                    fates
                        .iter_mut()
                        .find(|f| f.0 == usize::from(o.tag))
                        .expect("outstanding")
                        .1 = true;
                }
                let data: Vec<u32> = (0..bytes as u64 / 4).map(|i| memory(address + 4 * i)).collect();
                let mut tlp = completion(o.tag, 0, o.left, address as u32, extra, &data);
                if fate == 4 {
                    tlp[0] |= 1 << 15;
                    tlp.push(0x1234_5678);
                }
                rig.rx.push_back((tlp, 0));
                o.left -= bytes;
                if o.left == 0 {
                    owed.remove(i);
                }
            }
        }
        if silent != 0 && clock > silent + (2 << TIMEOUT) {
            silent = 0;
        }
        rig.clock(if ending { 0.0 } else { setup.idle });
        while known < rig.popped + rig.asked.len() {
            requests.push_back(rig.asked[known - rig.popped]);
            known += 1;
        }
        // what the card sent
        for tlp in std::mem::take(&mut rig.out) {
            match (tlp[0] >> 24 & 31, tlp[0] >> 29) {
                (0, 2 | 3) => rig.posted(&tlp),
                (0, fmt) => {
                    let four = fmt == 1;
                    assert_eq!(tlp.len(), if four { 4 } else { 3 });
                    let address = if four {
                        u64::from(tlp[2]) << 32 | u64::from(tlp[3])
                    } else {
                        u64::from(tlp[2])
                    };
                    let bytes = 4 * (tlp[0] & 0x3ff) as usize;
                    let tag = (tlp[1] >> 8) as u8;
                    assert_eq!((tlp[1] >> 16, tlp[1] & 0xff), (u32::from(ID), 0xff));
                    assert!(
                        bytes <= payload && address & 0xfff <= (4096 - bytes) as u64,
                        "{address:x} {bytes}"
                    );
                    assert_eq!(four, address >> 32 != 0);
                    let (next, left, given) = current.take().unwrap_or_else(|| requests.pop_front().expect("asked"));
                    assert_eq!(address, next, "pieces follow each other");
                    assert!(rig.seen >= given, "a read request passed posted writes");
                    assert!(bytes <= left);
                    if left > bytes {
                        current = Some((next + bytes as u64, left - bytes, given));
                    }
                    assert!(owed.iter().all(|o| o.tag != tag), "tag {tag} twice");
                    assert!(owed.len() < 8);
                    owed.push(Owed {
                        tag,
                        address,
                        left: bytes,
                        total: bytes,
                    });
                    fates.push_back((usize::from(tag), false));
                    rig.reads_sent(address, bytes);
                    totals[3] += 1;
                }
                (10, fmt) => {
                    let tag = (tlp[2] >> 8) as u8;
                    assert_eq!((tlp[1] >> 16, tlp[2] >> 16), (u32::from(ID), u32::from(HOST)));
                    let w = waiting
                        .get_mut(&tag)
                        .unwrap_or_else(|| panic!("tag {tag} is not asked"));
                    let status = tlp[1] >> 13 & 7;
                    assert_eq!(tlp[0] & 0x0074_3000, w.extra, "class and attributes");
                    let length = (tlp[0] & 0x3ff) as usize;
                    assert_eq!((tlp[1] & 0xfff) as usize, w.left & 0xfff, "byte count");
                    assert_eq!(tlp[2] & 0x7f, w.low, "lower address");
                    if w.unsupported {
                        assert_eq!((fmt, status, tlp.len()), (0, 1, 3));
                        waiting.remove(&tag);
                        tags.push(tag);
                        continue;
                    }
                    assert_eq!((fmt, status, tlp.len()), (2, 0, 3 + length));
                    assert!(4 * length <= payload);
                    let skip = (w.low & 3) as usize;
                    let n = (4 * length - skip).min(w.left);
                    if n < w.left {
                        let end = w.low as usize + n;
                        assert_eq!(end % 128, 0, "a completion ends at a read completion boundary");
                    }
                    let done = w.bytes.len() - w.left;
                    let data: Vec<u8> = tlp[3..].iter().flat_map(|d| d.to_be_bytes()).collect();
                    for (i, byte) in data[skip..skip + n].iter().enumerate() {
                        if let Some(want) = w.bytes[done + i] {
                            assert_eq!(*byte, want, "byte {} of tag {tag}", done + i);
                        }
                    }
                    if w.words == [PROGRESS] && w.bytes.len() == 4 {
                        let seen = u32::from_be_bytes(tlp[3].to_be_bytes()).swap_bytes();
                        assert!(rig.seen >= seen as usize, "a completion passed posted writes");
                    }
                    w.left -= n;
                    w.low = 0;
                    if w.left == 0 {
                        waiting.remove(&tag);
                        tags.push(tag);
                    }
                }
                other => panic!("{other:?}: {tlp:x?}"),
            }
        }
        // what the core read
        while let Some((data, last, error)) = rig.got.pop_front() {
            rig.check_word(data, last, error, &mut fates);
        }
    }
    rig.drain();
    while let Some((data, last, error)) = rig.got.pop_front() {
        rig.check_word(data, last, error, &mut fates);
    }
    assert!(rig.asked.is_empty(), "{:?}", rig.asked);
    assert!(rig.words.is_empty(), "{} words", rig.words.len());
    assert!(waiting.is_empty(), "{}", waiting.len());
    assert!(owed.is_empty(), "{}", owed.len());
    assert!(fates.is_empty());
    assert_eq!(rig.window, window);
    for (at, want) in &model {
        assert_eq!(rig.registers.get(at), Some(want), "{at:#x}");
    }
    assert!(!rig.messages.is_empty() && rig.messages.len() <= 2 * irqs);
    assert!(rig.messages.iter().all(|m| [0x40, 0x41].contains(m)));
    let counters = rig.registers(PcieWrites::OFFSET, 11);
    let want = [
        writes,
        reads + 1,
        unsupported,
        0,
        malformed,
        poisoned,
        unexpected,
        timeouts,
        errors,
        0,
        0,
    ];
    assert_eq!(counters, want);
    totals[2] = rig.seen;
    if setup.record {
        rig.bench.agrees_with_verilog("pcie_layer");
    }
    totals
}

#[test]
fn random_load_agrees_with_the_model_and_with_the_verilog() {
    let setup = Setup {
        idle: 0.3,
        stall: 0.3,
        code: 0,
        clocks: 20_000,
        record: true,
    };
    let totals = load(1, &setup);
    assert!(totals.iter().all(|&n| n > 20), "{totals:?}");
}

#[test]
fn idle_and_back_pressure_of_every_degree_and_payload() {
    let mut seed = 100;
    for idle in [0.0, 0.3, 0.6] {
        for stall in [0.0, 0.3, 0.8] {
            for code in 0..3 {
                seed += 1;
                load(
                    seed,
                    &Setup {
                        idle,
                        stall,
                        code,
                        clocks: 16_000,
                        record: false,
                    },
                );
            }
        }
    }
}
