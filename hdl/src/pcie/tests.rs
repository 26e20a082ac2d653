//! The transaction layer against a root complex and a core in plain Rust: random requests, DMA, completions, errors, idle and
//! back-pressure; then what each block promises beside that.

use super::layer::{Layer, READ_CLOCKS, WRITE_CLOCKS};
use crate::prelude::*;
use crate::testkit::Bench;
use nat64_layout::pcie::{MSIX_PBA, MSIX_TABLE};
use nat64_layout::regs::*;
use rand::{rngs::StdRng, Rng, SeedableRng};
use std::collections::{BTreeMap, HashMap, VecDeque};

mod clear;
mod rules;

/// Clocks of the completion timeout, log2.
const TIMEOUT: usize = 12;
type Uut = Layer<2, TIMEOUT>;
const ID: u16 = 0x0308;
const HOST: u16 = 0x0010;
/// What the core answers when asked how many words of complete bursts it has given.
const PROGRESS: u32 = 0x210;

fn number<const N: usize>(x: Bits<N>) -> u64 {
    x.index() as u64
}

/// A memory request; `data` in the order of the link (first byte most significant) for a write.
#[allow(clippy::too_many_arguments)]
fn request(
    address: u64,
    four: bool,
    length: usize,
    be: [u8; 2],
    tag: u8,
    extra: u32,
    data: Option<&[u32]>,
) -> Vec<u32> {
    let fmt = u32::from(four) | u32::from(data.is_some()) << 1;
    let mut dws = vec![
        fmt << 29 | extra | length as u32 & 0x3ff,
        u32::from(HOST) << 16 | u32::from(tag) << 8 | u32::from(be[1]) << 4 | u32::from(be[0]),
    ];
    if four {
        dws.push((address >> 32) as u32);
    }
    dws.push(address as u32);
    dws.extend(data.unwrap_or_default());
    dws
}

fn completion(tag: u8, status: u32, count: usize, low: u32, extra: u32, data: &[u32]) -> Vec<u32> {
    let fmt = if data.is_empty() { 0 } else { 2 };
    let mut dws = vec![
        fmt << 29 | 0x0a << 24 | extra | data.len() as u32 & 0x3ff,
        status << 13 | count as u32 & 0xfff,
        u32::from(ID) << 16 | u32::from(tag) << 8 | low & 0x7f,
    ];
    dws.extend(data);
    dws
}

/// Host memory: what a read of an aligned 4 bytes gives, in the order of the link.
fn memory(address: u64) -> u32 {
    let x = (address >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x >> 32) as u32 ^ x as u32
}

/// A read of the host that waits for completions.
struct Waiting {
    bytes: Vec<Option<u8>>,
    low: u32,
    left: usize,
    words: Vec<u32>,
    unsupported: bool,
    extra: u32,
}

/// A read request of the card, and what the host does about it.
struct Owed {
    tag: u8,
    address: u64,
    left: usize,
    total: usize,
}

struct Setup {
    idle: f64,
    stall: f64,
    code: u32,
    clocks: usize,
    record: bool,
}

struct Rig {
    bench: Bench<Uut>,
    rng: StdRng,
    rx: VecDeque<(Vec<u32>, u32)>,
    at: usize,
    offered: bool,
    tx: Vec<u32>,
    registers: HashMap<u32, u32>,
    window: Vec<(u32, u32)>,
    read: Option<(usize, u32)>,
    /// Words of finished bursts that the layer has taken, and those the host has seen.
    given: usize,
    words: VecDeque<(u64, u64)>,
    seen: usize,
    all: Vec<(u64, u64)>,
    burst: VecDeque<(u64, u64, bool)>,
    reading: VecDeque<(u64, usize)>,
    /// Requests of the core in order: words left to check, fault seen.
    asked: VecDeque<(u64, usize, usize)>,
    got: VecDeque<(u64, bool, bool)>,
    messages: Vec<u32>,
    out: Vec<Vec<u32>>,
    stall: f64,
    /// Pieces of the card's reads in order, bytes.
    sent_pieces: VecDeque<usize>,
    piece_done: usize,
    popped: usize,
}

impl Rig {
    fn new(seed: u64, record: bool) -> Self {
        let bench = Bench::from_box(Box::<Uut>::default());
        let mut bench = if record { bench } else { bench.without_record() };
        let uut = &mut bench.uut;
        uut.cfg_id.next = u64::from(ID).into();
        uut.cfg_bus_master.next = true;
        uut.cfg_msix_enable.next = true;
        uut.credit_p.next = true;
        uut.credit_n.next = true;
        uut.credit_c.next = true;
        uut.tlp_tx_ready.next = true;
        uut.md_ready.next = true;
        uut.core_drained.next = true;
        Self {
            bench,
            rng: StdRng::seed_from_u64(seed),
            rx: VecDeque::new(),
            at: 0,
            offered: false,
            tx: Vec::new(),
            registers: HashMap::new(),
            window: Vec::new(),
            read: None,
            given: 0,
            words: VecDeque::new(),
            seen: 0,
            all: Vec::new(),
            burst: VecDeque::new(),
            reading: VecDeque::new(),
            asked: VecDeque::new(),
            got: VecDeque::new(),
            messages: Vec::new(),
            out: Vec::new(),
            stall: 0.0,
            sent_pieces: VecDeque::new(),
            piece_done: 0,
            popped: 0,
        }
    }

    /// One clock: `idle` is the chance that the link has nothing although something waits.
    fn clock(&mut self, idle: f64) {
        let Self { bench, rng, .. } = self;
        let uut = &mut bench.uut;
        let non_posted = |t: &Vec<u32>| {
            let (fmt, kind) = (t[0] >> 29, t[0] >> 24 & 31);
            !(kind == 0 && fmt >= 2 || kind == 10 || kind >> 3 == 2)
        };
        if !self.offered && self.at == 0 && !uut.tlp_rx_np_ok.val() {
            // the first that may pass the requests that are not wanted now
            if let Some(i) = self.rx.iter().position(|(t, _)| !non_posted(t)) {
                let tlp = self.rx.remove(i).expect("found");
                self.rx.push_front(tlp);
            }
        }
        let wait = self.at == 0 && self.rx.front().is_some_and(|(t, _)| non_posted(t)) && !uut.tlp_rx_np_ok.val();
        if !self.offered && !wait {
            self.offered = !self.rx.is_empty() && !rng.random_bool(idle);
        }
        uut.tlp_rx_valid.next = self.offered;
        if let (true, Some((tlp, bar))) = (self.offered, self.rx.front()) {
            let high = tlp.get(self.at + 1).copied();
            uut.tlp_rx_data.next = (u64::from(tlp[self.at]) | u64::from(high.unwrap_or(0)) << 32).into();
            uut.tlp_rx_keep.next = if high.is_some() { 3u64 } else { 1 }.into();
            uut.tlp_rx_last.next = self.at + 2 >= tlp.len();
            uut.tlp_rx_bar.next = u64::from(*bar).into();
        }
        uut.tlp_tx_ready.next = !rng.random_bool(self.stall);
        // the core
        let word = self.burst.front().copied();
        uut.mw_valid.next = word.is_some() && (uut.mw_valid.val() || !rng.random_bool(idle));
        if let Some((address, data, last)) = word {
            uut.mw_addr.next = address.into();
            uut.mw_data.next = data.into();
            uut.mw_last.next = last;
        }
        let read = self.reading.front().copied();
        uut.mr_valid.next = read.is_some();
        if let Some((address, bytes)) = read {
            uut.mr_addr.next = address.into();
            uut.mr_len.next = (bytes as u64).into();
        }
        uut.md_ready.next = !rng.random_bool(self.stall);
        uut.csr_done.next = false;
        if let Some((left, value)) = &mut self.read {
            *left -= 1;
            if *left == 0 {
                uut.csr_done.next = true;
                uut.csr_rdata.next = u64::from(*value).into();
                self.read = None;
            }
        }
        bench.settle();
        let uut = &bench.uut;
        if uut.tlp_rx_valid.val() && uut.tlp_rx_ready.val() {
            self.offered = false;
            self.at += 2;
            if uut.tlp_rx_last.val() {
                self.rx.pop_front();
                self.at = 0;
            }
        }
        if uut.tlp_tx_valid.val() && uut.tlp_tx_ready.val() {
            let data = uut.tlp_tx_data.val().low();
            self.tx.push(data as u32);
            if number(uut.tlp_tx_keep.val()) == 3 {
                self.tx.push((data >> 32) as u32);
            } else {
                assert!(uut.tlp_tx_last.val() && data >> 32 == 0, "half a beat inside a TLP");
            }
            if uut.tlp_tx_last.val() {
                self.out.push(std::mem::take(&mut self.tx));
            }
        }
        if uut.mw_valid.val() && uut.mw_ready.val() {
            let (address, data, last) = self.burst.pop_front().expect("offered");
            self.words.push_back((address, data));
            if last {
                self.given = self.all.len() + 1;
            }
            self.all.push((address, data));
        }
        if uut.mr_valid.val() && uut.mr_ready.val() {
            let (address, bytes) = self.reading.pop_front().expect("offered");
            self.asked.push_back((address, bytes, self.given));
        }
        if uut.md_valid.val() && uut.md_ready.val() {
            self.got
                .push_back((uut.md_data.val().low(), uut.md_last.val(), uut.md_error.val()));
        }
        if uut.csr_write.val() {
            let (address, data) = (number(uut.csr_addr.val()) as u32, number(uut.csr_wdata.val()) as u32);
            if uut.csr_bar2.val() {
                self.window.push((address, data));
            } else {
                self.registers.insert(address, data);
            }
        }
        if uut.csr_read.val() {
            assert!(self.read.is_none(), "one read at a time");
            let address = number(uut.csr_raddr.val()) as u32;
            let value = if address == PROGRESS {
                self.given as u32
            } else {
                self.registers.get(&address).copied().unwrap_or(address * 3)
            };
            let clocks = self.rng.random_range(2..9);
            self.read = Some((clocks, value));
        }
        self.bench.edge();
    }

    /// Takes a posted write of the card off `words` or `messages`.
    fn posted(&mut self, tlp: &[u32]) {
        let four = tlp[0] >> 29 & 1 == 1;
        let header = if four { 4 } else { 3 };
        let length = (tlp[0] & 0x3ff) as usize;
        assert_eq!(tlp.len(), header + length, "{tlp:x?}");
        let address = if four {
            assert!(tlp[2] != 0, "four DWs for an address below 4 GiB");
            u64::from(tlp[2]) << 32 | u64::from(tlp[3])
        } else {
            u64::from(tlp[2])
        };
        assert_eq!(tlp[1] >> 16, u32::from(ID));
        if length == 1 {
            assert_eq!(tlp[1] & 0xff, 0x0f);
            self.messages.push(tlp[header].swap_bytes());
            return;
        }
        assert_eq!(tlp[1] & 0xff, 0xff);
        assert!(
            length <= 32 && address & 0xfff <= 4096 - 4 * length as u64,
            "{address:x} {length}"
        );
        for (i, pair) in tlp[header..].chunks(2).enumerate() {
            let word = u64::from(pair[0].swap_bytes()) | u64::from(pair[1].swap_bytes()) << 32;
            let want = self.words.pop_front().expect("the core gave it");
            assert_eq!((address + 8 * i as u64, word), want);
            self.seen += 1;
        }
    }

    /// Clocks until nothing is left to do.
    fn drain(&mut self) {
        let mut quiet = 0;
        for _ in 0..20_000 {
            self.clock(0.0);
            quiet = if self.bench.uut.idle.val() && self.rx.is_empty() {
                quiet + 1
            } else {
                0
            };
            if quiet > 20 {
                return;
            }
        }
        panic!("the layer does not become idle");
    }

    /// Reads registers of BAR0 and gives their words.
    fn registers(&mut self, offset: u32, count: usize) -> Vec<u32> {
        self.drain();
        self.out.clear();
        let be = [15, if count > 1 { 15 } else { 0 }];
        let tlp = request(0xf000_0000 + u64::from(offset), false, count, be, 77, 0, None);
        self.rx.push_back((tlp, 1));
        self.drain();
        let mut words = Vec::new();
        for tlp in std::mem::take(&mut self.out) {
            assert_eq!((tlp[0] >> 24, tlp[1] >> 13 & 7), (0x4a, 0), "{tlp:x?}");
            words.extend(tlp[3..].iter().map(|w| w.swap_bytes()));
        }
        assert_eq!(words.len(), count);
        words
    }

    fn write_register(&mut self, offset: u32, values: &[u32]) {
        let be = [15, if values.len() > 1 { 15 } else { 0 }];
        let data: Vec<u32> = values.iter().map(|v| v.swap_bytes()).collect();
        let tlp = request(
            0xf000_0000 + u64::from(offset),
            false,
            data.len(),
            be,
            0,
            0,
            Some(&data),
        );
        self.rx.push_back((tlp, 1));
        self.drain();
    }
}

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
    for clock in 0..setup.clocks {
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
    assert!(rig.asked.is_empty() && rig.words.is_empty() && waiting.is_empty() && owed.is_empty());
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

impl Rig {
    fn reads_sent(&mut self, _address: u64, bytes: usize) {
        self.sent_pieces.push_back(bytes);
    }

    /// Checks a word the core got: the pieces of its request in order, each whole or failed.
    fn check_word(&mut self, data: u64, last: bool, error: bool, fates: &mut VecDeque<(usize, bool)>) {
        let (_, failed) = *fates.front().expect("a piece is outstanding");
        let piece = *self.sent_pieces.front().expect("a piece was sent");
        let (address, left, _) = self.asked.front_mut().expect("the core asked");
        assert_eq!(error, failed, "piece at {address:x}");
        let n = if error { piece } else { 8 };
        if !error {
            let want = u64::from(memory(*address).swap_bytes()) | u64::from(memory(*address + 4).swap_bytes()) << 32;
            assert_eq!(data, want, "{address:x}");
        }
        *address += n as u64;
        *left -= n;
        assert_eq!(last, *left == 0);
        if *left == 0 {
            self.asked.pop_front();
            self.popped += 1;
        }
        self.piece_done += n;
        if self.piece_done == piece {
            self.piece_done = 0;
            self.sent_pieces.pop_front();
            fates.pop_front();
        }
    }
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
