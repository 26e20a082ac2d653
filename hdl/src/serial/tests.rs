//! The link against a host in plain Rust, over a line that damages what it carries; and its Verilog.

use super::receive::SerialReceive;
use super::transmit::SerialTransmit;
use super::uart::{UartReceive, UartTransmit};
use super::SerialLink;
use crate::mac::crc::check_sequence;
use crate::testkit::Bench;
use nat64_layout::serial::{head, Kind, LinkSetup, Status, ESCAPE, ESCAPED, FLAG, NUMBERS, WINDOW};
use rand::{rngs::StdRng, Rng, SeedableRng};
use std::collections::VecDeque;

const DIV: usize = 4;
type Link = SerialLink<DIV, 14>;

/// The octets of a frame, flags included.
pub(crate) fn frame(head: u8, second: u8, dws: &[u32]) -> Vec<u8> {
    let mut bytes = vec![head, second];
    bytes.extend(dws.iter().flat_map(|dw| dw.to_be_bytes()));
    bytes.extend(check_sequence(&bytes));
    let mut out = vec![FLAG];
    for byte in bytes {
        match byte {
            FLAG | ESCAPE => out.extend([ESCAPE, byte ^ ESCAPED]),
            _ => out.push(byte),
        }
    }
    out.push(FLAG);
    out
}

/// Octets to levels of a line, DIV clocks each.
#[derive(Default)]
struct Line {
    octets: VecDeque<u8>,
    bits: VecDeque<bool>,
}

impl Line {
    fn level(&mut self) -> bool {
        if self.bits.is_empty() {
            let Some(octet) = self.octets.pop_front() else {
                return true;
            };
            let levels = std::iter::once(false)
                .chain((0..8).map(|i| octet >> i & 1 != 0))
                .chain([true]);
            self.bits = levels.flat_map(|level| [level; DIV]).collect();
        }
        self.bits.pop_front().unwrap_or(true)
    }
}

/// Levels of a line to frames: head, second byte, DWs; `None` for a damaged one.
#[derive(Default)]
struct Ear {
    clocks: usize,
    bits: Vec<bool>,
    bytes: Vec<u8>,
    escaped: bool,
}

impl Ear {
    fn hear(&mut self, level: bool, damage: impl FnOnce() -> u8) -> Option<Option<(u8, u8, Vec<u32>)>> {
        if self.clocks == 0 {
            if !level {
                self.clocks = 1;
                self.bits.clear();
            }
            return None;
        }
        self.clocks += 1;
        if self.clocks % DIV == DIV / 2 {
            self.bits.push(level);
        }
        if self.bits.len() < 10 {
            return None;
        }
        self.clocks = 0;
        assert!(!self.bits[0] && self.bits[9], "start and stop bit");
        let octet = (0..8).fold(0u8, |octet, i| octet | u8::from(self.bits[i + 1]) << i) ^ damage();
        match octet {
            FLAG => {
                let bytes = std::mem::take(&mut self.bytes);
                self.escaped = false;
                if bytes.is_empty() {
                    return None;
                }
                let Some((body, sum)) = bytes.split_at_checked(bytes.len().wrapping_sub(4)) else {
                    return Some(None);
                };
                if check_sequence(body) != sum || body.len() < 2 || !(body.len() - 2).is_multiple_of(4) {
                    return Some(None);
                }
                let dws = body[2..].chunks(4).map(|b| u32::from_be_bytes(b.try_into().unwrap()));
                return Some(Some((body[0], body[1], dws.collect())));
            }
            ESCAPE => self.escaped = true,
            _ => {
                self.bytes.push(if std::mem::take(&mut self.escaped) {
                    octet ^ ESCAPED
                } else {
                    octet
                });
            }
        }
        None
    }
}

/// A host: sends TLPs, acknowledges those of the card.
#[derive(Default)]
struct Host {
    line: Line,
    ear: Ear,
    /// TLPs with their BAR bits that were not acknowledged, the oldest first.
    waiting: VecDeque<(u8, Vec<u32>, Kind)>,
    /// Number of the oldest.
    number: u8,
    /// How many of them were sent.
    sent: usize,
    awaited: u8,
    asked: bool,
    silence: usize,
    status: u8,
    got: Vec<Vec<u32>>,
    greeted: bool,
}

impl Host {
    fn answer(&mut self, kind: Kind) {
        self.line
            .octets
            .extend(frame(head(kind, self.number, self.awaited), 0, &[]));
    }

    fn send(&mut self) {
        // a hello that goes out twice would let the card take twice what followed the first
        let window = if self.greeted { usize::from(WINDOW) } else { 1 };
        while self.sent < self.waiting.len().min(window) && self.line.octets.len() < 64 {
            let (bar, dws, kind) = &self.waiting[self.sent];
            let number = (self.number + self.sent as u8) % NUMBERS;
            self.line
                .octets
                .extend(frame(head(*kind, number, self.awaited), *bar, dws));
            self.sent += 1;
            self.silence = 0;
        }
        self.silence += 1;
        if self.silence > 6_000 && self.sent > 0 {
            (self.sent, self.silence) = (0, 0);
        }
    }

    fn take(&mut self, heard: Option<(u8, u8, Vec<u32>)>) {
        let Some((head, second, dws)) = heard else {
            if !std::mem::replace(&mut self.asked, true) && self.greeted {
                self.answer(Kind::Nak);
            }
            return;
        };
        self.status = second;
        let (number, awaited) = (head >> 3 & 7, head & 7);
        let done = awaited.wrapping_sub(self.number) % NUMBERS;
        if !self.greeted && (Kind::of(head) != Kind::Ack || done != 1) {
            return;
        }
        if usize::from(done) <= self.waiting.len() {
            self.waiting.drain(..usize::from(done));
            self.number = awaited;
            self.sent = self.sent.saturating_sub(usize::from(done));
            if done > 0 {
                self.silence = 0;
            }
        }
        if !self.greeted {
            (self.greeted, self.awaited) = (true, number);
            return;
        }
        match Kind::of(head) {
            Kind::Nak => self.sent = 0,
            Kind::Tlp if number == self.awaited => {
                self.awaited = (self.awaited + 1) % NUMBERS;
                self.asked = false;
                self.got.push(dws);
                self.answer(Kind::Ack);
            }
            Kind::Tlp if (1..=WINDOW).contains(&(self.awaited.wrapping_sub(number) % NUMBERS)) => {
                self.answer(Kind::Ack)
            }
            Kind::Tlp if !std::mem::replace(&mut self.asked, true) => self.answer(Kind::Nak),
            _ => {}
        }
    }
}

fn write_tlp(rng: &mut StdRng, longest: usize) -> Vec<u32> {
    let length = rng.random_range(1..=longest);
    // octets that have to be escaped are as likely as not
    let dw = |rng: &mut StdRng| match rng.random_range(0..3) {
        0 => 0x7e7d_7e7d,
        1 => 0x7d5e_5d7e,
        _ => rng.random::<u32>(),
    };
    let mut tlp = vec![0x4000_0000 | length as u32, rng.random(), rng.random()];
    tlp.extend((0..length).map(|_| dw(rng)));
    tlp
}

struct Run {
    /// One of so many octets is damaged on the line, each way; 0 for none.
    damage: u32,
    /// TLPs each way.
    tlps: usize,
    /// The transaction layer holds beats up.
    busy: f64,
    clocks: usize,
}

/// TLPs both ways; the bench, for the replay.
fn run(seed: u64, mut bench: Bench<Link>, run: &Run) -> Bench<Link> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut host = Host {
        number: rng.random_range(0..NUMBERS),
        ..Host::default()
    };
    let mut setup = LinkSetup(0);
    setup.set_hello(true);
    setup.set_bus_master(true);
    setup.set_id(0x0100 + seed as u32);
    host.waiting.push_back((0, vec![setup.0], Kind::Setup));
    let down: Vec<(u8, Vec<u32>)> = (0..run.tlps)
        .map(|i| (1 + (i % 2) as u8, write_tlp(&mut rng, 32)))
        .collect();
    let up: Vec<Vec<u32>> = (0..run.tlps).map(|_| write_tlp(&mut rng, 32)).collect();
    host.waiting
        .extend(down.iter().map(|(bar, dws)| (*bar, dws.clone(), Kind::Tlp)));
    let (mut at, mut next, mut collecting, mut collected) = (0, 0, Vec::new(), Vec::new());
    for clock in 0..run.clocks {
        host.send();
        bench.uut.rx.next = host.line.level();
        if run.damage > 0 && host.line.bits.len() == 5 * DIV && rng.random_range(0..run.damage) == 0 {
            let bit = host.line.bits.len() - 1;
            host.line.bits[bit] = !host.line.bits[bit];
        }
        let uut = &mut bench.uut;
        uut.tlp_rx_ready.next = rng.random_bool(run.busy);
        uut.tlp_rx_np_ok.next = rng.random_bool(0.5);
        let tlp = up.get(next);
        // what is sent before the host greets is forgotten
        uut.tlp_tx_valid.next = host.greeted && tlp.is_some() && rng.random_bool(run.busy);
        if let Some(tlp) = tlp {
            let high = tlp.get(at + 1).copied();
            uut.tlp_tx_data.next = (u64::from(tlp[at]) | u64::from(high.unwrap_or(0)) << 32).into();
            uut.tlp_tx_keep.next = if high.is_some() { 3u64 } else { 1 }.into();
            uut.tlp_tx_last.next = at + 2 >= tlp.len();
        }
        bench.settle();
        let uut = &bench.uut;
        if uut.tlp_tx_valid.val() && uut.tlp_tx_ready.val() {
            at += 2;
            if uut.tlp_tx_last.val() {
                (at, next) = (0, next + 1);
            }
        }
        if uut.tlp_rx_valid.val() && uut.tlp_rx_ready.val() {
            let data = uut.tlp_rx_data.val().low();
            collecting.push(data as u32);
            if uut.tlp_rx_keep.val().get_bit(1) {
                collecting.push((data >> 32) as u32);
            }
            if uut.tlp_rx_last.val() {
                let bar = u64::from(uut.tlp_rx_bar.val()) as u8;
                collected.push((bar, std::mem::take(&mut collecting)));
            }
        }
        let damage = || {
            if run.damage > 0 && rng.random_range(0..run.damage) == 0 {
                1 << rng.random_range(0..8)
            } else {
                0
            }
        };
        let heard = host.ear.hear(uut.tx.val(), damage);
        if let Some(heard) = heard {
            host.take(heard);
        }
        bench.edge();
        if collected.len() == down.len() && host.got.len() == up.len() && host.waiting.is_empty() && clock > 1000 {
            break;
        }
    }
    assert!(
        collected == down,
        "seed {seed}: {} of {} TLPs to the card",
        collected.len(),
        down.len()
    );
    assert!(
        host.got == up,
        "seed {seed}: {} of {} TLPs of the card",
        host.got.len(),
        up.len()
    );
    assert!(host.waiting.is_empty(), "seed {seed}");
    let uut = &bench.uut;
    assert_eq!(
        (uut.cfg_bus_master.val(), u64::from(uut.cfg_id.val())),
        (true, 0x0100 + seed)
    );
    if run.damage == 0 {
        assert_eq!(Status(host.status).damaged(), 0, "seed {seed}");
    }
    bench
}

/// Clocks from the one in which an octet, or a beat, is there to that in which the answer is.
#[test]
fn latencies_are_those_of_the_heads() {
    const LATENCY: u32 = 2;
    const OFFERED: u32 = 3;
    let mut receive = Bench::new(SerialReceive::default()).without_record();
    for octet in frame(head(Kind::Tlp, 0, 0), 1, &[0x4000_0001, 0xf, 0x100, 7]) {
        receive.uut.octet_valid.next = true;
        receive.uut.octet.next = u64::from(octet).into();
        receive.settle();
        assert!(!receive.uut.tlp_valid.val());
        receive.edge();
    }
    receive.uut.octet_valid.next = false;
    receive.settle();
    let mut clocks = 1;
    while !receive.uut.tlp_valid.val() && clocks < 20 {
        receive.tick();
        receive.settle();
        clocks += 1;
    }
    assert_eq!(clocks, LATENCY, "receive");

    let mut transmit = Bench::new(SerialTransmit::<14>::default()).without_record();
    transmit.settle();
    assert!(transmit.uut.tlp_ready.val() && !transmit.uut.octet_valid.val());
    transmit.uut.tlp_valid.next = true;
    transmit.uut.tlp_keep.next = 3u64.into();
    transmit.uut.tlp_last.next = true;
    transmit.edge();
    transmit.uut.tlp_valid.next = false;
    transmit.settle();
    let mut clocks = 1;
    while !transmit.uut.octet_valid.val() && clocks < 20 {
        transmit.tick();
        transmit.settle();
        clocks += 1;
    }
    assert_eq!(clocks, OFFERED, "transmit");
}

#[test]
fn tlps_pass_both_ways() {
    for seed in 0..6 {
        let bench = Bench::new(Link::default()).without_record();
        run(
            seed,
            bench,
            &Run {
                damage: 0,
                tlps: 20,
                busy: [1.0, 0.5, 0.05][seed as usize % 3],
                clocks: 600_000,
            },
        );
    }
}

#[test]
fn nothing_is_lost_doubled_or_moved_on_a_line_that_damages() {
    for seed in 10..22 {
        let bench = Bench::new(Link::default()).without_record();
        run(
            seed,
            bench,
            &Run {
                damage: [1000, 300, 100][seed as usize % 3],
                tlps: 20,
                busy: 0.7,
                clocks: 6_000_000,
            },
        );
    }
}

#[test]
fn agrees_with_its_verilog() {
    for seed in 30..32 {
        let bench = run(
            seed,
            Bench::new(Link::default()),
            &Run {
                damage: 400,
                tlps: 4,
                busy: 0.6,
                clocks: 400_000,
            },
        );
        bench.agrees_with_verilog("serial");
    }
}

/// A host that ended and one that begins while frames of the first are on their way: the second gets nothing of the first.
#[test]
fn a_new_host_begins_anew() {
    let mut bench = Bench::new(Link::default()).without_record();
    let tlp = [0x4000_0001u32, 1, 2, 3];
    let feed = |bench: &mut Bench<Link>, pair: usize, valid: bool| {
        bench.uut.tlp_tx_valid.next = valid;
        bench.uut.tlp_tx_data.next = (u64::from(tlp[pair]) | u64::from(tlp[pair + 1]) << 32).into();
        bench.uut.tlp_tx_keep.next = 3u64.into();
        bench.uut.tlp_tx_last.next = pair == 2;
    };
    let mut setup = LinkSetup(0);
    setup.set_hello(true);
    setup.set_reset(true);
    let mut host = Host {
        number: 5,
        ..Host::default()
    };
    // four frames that nobody acknowledges, and the first beat of a fifth that has to wait
    bench.uut.rx.next = true;
    for i in 0..8 {
        feed(&mut bench, i % 2 * 2, true);
        bench.settle();
        assert!(bench.uut.tlp_tx_ready.val());
        host.ear.hear(bench.uut.tx.val(), || 0);
        bench.edge();
    }
    feed(&mut bench, 0, true);
    bench.settle();
    assert!(!bench.uut.tlp_tx_ready.val(), "a window is full");
    bench.uut.tlp_tx_valid.next = false;
    host.waiting.push_back((0, vec![setup.0], Kind::Setup));
    let mut resets = 0;
    for clock in 0..60_000 {
        host.send();
        bench.uut.rx.next = host.line.level();
        bench.settle();
        resets += usize::from(bench.uut.cfg_flr.val());
        if let Some(heard) = host.ear.hear(bench.uut.tx.val(), || 0) {
            host.take(heard);
        }
        bench.edge();
        if host.greeted && clock % 4 == 0 {
            break;
        }
    }
    assert!(host.greeted && host.waiting.is_empty());
    assert_eq!(
        (resets, host.awaited),
        (1, 4),
        "the fifth frame of the card is its next"
    );
    for clock in 0..20_000 {
        feed(&mut bench, clock.min(1) * 2, clock < 2);
        host.send();
        bench.uut.rx.next = host.line.level();
        bench.settle();
        if let Some(heard) = host.ear.hear(bench.uut.tx.val(), || 0) {
            host.take(heard);
        }
        bench.edge();
    }
    assert_eq!(host.got, [tlp.to_vec()]);
}

#[test]
fn rates_may_differ_and_faults_are_told() {
    for clocks in [15.4, 16.0, 16.6] {
        let mut bench = Bench::new(UartReceive::<16>::default()).without_record();
        let (mut got, mut faults) = (Vec::new(), 0);
        let sent: Vec<u8> = (0..=255).collect();
        // behind them a break: the line is low for as long as two octets are
        let mut levels: Vec<bool> = sent
            .iter()
            .flat_map(|&octet| {
                std::iter::once(false)
                    .chain((0..8).map(move |i| octet >> i & 1 != 0))
                    .chain([true])
            })
            .collect();
        levels.extend([false; 20]);
        levels.extend([true; 30]);
        for clock in 0..(levels.len() as f64 * clocks) as usize {
            bench.uut.pin.next = levels[((clock as f64 / clocks) as usize).min(levels.len() - 1)];
            bench.settle();
            if bench.uut.valid.val() {
                got.push(u64::from(bench.uut.octet.val()) as u8);
            }
            faults += usize::from(bench.uut.fault.val());
            bench.edge();
        }
        assert_eq!(got, sent, "{clocks} clocks a bit");
        assert!(faults >= 1);
    }
}

#[test]
fn octets_are_sent_back_to_back() {
    let mut bench = Bench::new(UartTransmit::<DIV>::default());
    let mut ear = Ear::default();
    let (mut next, mut frames) = (0, Vec::new());
    let octets = frame(0x81, 2, &[0x7e7d_0001, 5]);
    for _ in 0..DIV * 12 * octets.len() {
        bench.uut.valid.next = next < octets.len();
        bench.uut.octet.next = u64::from(octets.get(next).copied().unwrap_or(0)).into();
        bench.settle();
        next += usize::from(bench.uut.ready.val() && next < octets.len());
        frames.extend(ear.hear(bench.uut.pin.val(), || 0));
        bench.edge();
    }
    assert_eq!(frames, [Some((0x81, 2, vec![0x7e7d_0001, 5]))]);
    bench.agrees_with_verilog("uart_transmit");
}
