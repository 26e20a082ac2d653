//! The transaction layer between a root complex and a core in plain Rust: under random load, then what each block promises beside
//! that.

use super::layer::{Layer, READ_CLOCKS, WRITE_CLOCKS};
use crate::prelude::*;
use crate::testkit::Bench;
use nat64_layout::pcie::{MSIX_PBA, MSIX_TABLE};
use nat64_layout::regs::*;
use rand::{rngs::StdRng, Rng, SeedableRng};
use std::collections::{BTreeMap, HashMap, VecDeque};

mod clear;
mod load;
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
    /// Words of MACs that were written.
    macs: Vec<(u32, u32)>,
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
            macs: Vec::new(),
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
        uut.mac_data.next = (number(uut.mac_word.val()) * 0x0101_0101).into();
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
        if uut.mac_write.val() {
            let word = number(uut.mac_word.val()) as u32;
            self.macs.push((word, number(uut.mac_wdata.val()) as u32));
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
