//! Frames through the halves of the MAC and through a whole port.
//!
//! The link is made and taken apart here byte by byte, with a check sequence computed apart from the gateware's.

use super::bridge::Bridge;
use super::crc::check_sequence;
use super::port::RgmiiPort;
use super::receive::Receive;
use super::store::Store;
use super::transmit::Transmit;
use super::types::{RxMeta, TxMeta, Verdict, MAX_BYTES};
use crate::prim::Domains;
use crate::testkit::{Bench, DomainBench};
use crate::wide::Wide;
use nat64_layout::pcie::MAC_WORDS;
use rand::{rngs::StdRng, seq::IndexedRandom, Rng, SeedableRng};
use std::collections::VecDeque;

/// One clock of GMII: valid, error, data.
type Octet = (bool, bool, u8);

fn random_bytes(rng: &mut StdRng, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    rng.fill(bytes.as_mut_slice());
    // no MAC control frame by accident
    if size > 13 {
        bytes[12] = 0x86;
    }
    bytes
}

/// A frame on its way in: what is on the link (from preamble to check sequence), and what must become of it.
#[derive(Clone, Debug)]
struct Incoming {
    octets: Vec<Octet>,
    verdict: Verdict,
    payload: Vec<u8>,
}

/// A frame of one kind, the payload with at most `most` bytes.
fn incoming(rng: &mut StdRng, kind: u32, most: usize) -> Incoming {
    let size = match kind {
        1 => rng.random_range(0..60),
        2 => MAX_BYTES - 4 + rng.random_range(1..20),
        _ => *[60, 61, 67, 68, most, rng.random_range(60..=most)].choose(rng).unwrap(),
    };
    let mut payload = random_bytes(rng, size);
    if kind == 5 || kind == 6 {
        payload[12..16].copy_from_slice(&[0x88, 0x08, 0, 1]);
        if kind == 6 {
            payload[14 + rng.random_range(0..2)] ^= 2;
        }
    }
    let mut body = [payload.as_slice(), &check_sequence(&payload)].concat();
    let mut verdict = [
        Verdict::Good,
        Verdict::Runt,
        Verdict::Oversize,
        Verdict::Symbol,
        Verdict::Fcs,
        Verdict::Pause,
        Verdict::Control,
        Verdict::NoStart,
    ][kind as usize];
    if kind == 4 {
        // one bit, anywhere
        let at = rng.random_range(0..body.len());
        body[at] ^= 1 << rng.random_range(0..8);
        verdict = Verdict::Fcs;
    }
    let mut octets = vec![(true, false, 0x55); rng.random_range(0..10)];
    octets.push((true, false, 0xd5));
    if kind == 7 {
        octets.pop();
        octets.push((true, rng.random(), *[0x00, 0x5d, 0xd4].choose(rng).unwrap()));
    }
    let bytes_at = octets.len();
    octets.extend(body.iter().map(|&byte| (true, false, byte)));
    if kind == 3 {
        let at = rng.random_range(bytes_at..octets.len());
        octets[at].1 = true;
    }
    Incoming {
        octets,
        verdict,
        payload,
    }
}

/// What the receiver pushed, frame by frame.
#[derive(Default)]
struct Pushed {
    bytes: Vec<u8>,
    frames: Vec<(u64, Vec<u8>)>,
}

impl Pushed {
    fn take(&mut self, word: Wide<64>, meta: RxMeta) {
        let count = match (meta.last, meta.count.index()) {
            (true, count) if count != 0 => count,
            _ => 8,
        };
        self.bytes.extend(word.to_frame(count));
        if meta.last {
            self.frames.push((meta.verdict.into(), std::mem::take(&mut self.bytes)));
        }
    }
}

fn receive_clock(bench: &mut Bench<Receive>, pushed: &mut Pushed, octet: Octet, status: Option<u8>, room: bool) {
    let uut = &mut bench.uut;
    (uut.valid.next, uut.error.next) = (octet.0, octet.1);
    uut.data.next = u64::from(status.unwrap_or(octet.2)).into();
    uut.status.next = status.is_some();
    uut.room.next = room;
    bench.settle();
    if bench.uut.push.val() {
        assert!(room);
        pushed.take(bench.uut.word.val(), bench.uut.meta.val());
    }
    bench.edge();
}

#[test]
fn every_kind_of_frame_gets_its_verdict() {
    for seed in 0..4 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bench = Bench::new(Receive::default());
        if seed > 0 {
            bench = bench.without_record();
        }
        let mut pushed = Pushed::default();
        let mut want = vec![(Verdict::Status as u64, vec![0x0d])];
        for _ in 0..12 {
            receive_clock(&mut bench, &mut pushed, (false, false, 0), Some(0x0d), true);
        }
        for round in 0..if seed == 0 { 40 } else { 120 } {
            let kind = if round == 7 {
                2
            } else {
                *[0, 0, 1, 3, 4, 5, 6, 7].choose(&mut rng).unwrap()
            };
            let frame = incoming(&mut rng, kind, if round == 9 { 9_618 } else { 150 });
            for &octet in &frame.octets {
                receive_clock(&mut bench, &mut pushed, octet, None, true);
            }
            for _ in 0..*[1, 2, 5, 12, 20].choose(&mut rng).unwrap() {
                let carrier = rng.random_bool(0.1).then_some((false, true, 0x0f));
                let status = carrier.is_none().then_some(0x0d);
                receive_clock(&mut bench, &mut pushed, carrier.unwrap_or_default(), status, true);
            }
            want.push((frame.verdict as u64, frame.payload));
        }
        let status = pushed.frames[0].1[0];
        assert_eq!((pushed.frames[0].0, status), (Verdict::Status as u64, 0x0d));
        assert_eq!(pushed.frames.len(), want.len(), "seed {seed}");
        for (i, (got, want)) in pushed.frames.iter().zip(&want).enumerate().skip(1) {
            assert_eq!(got.0, want.0, "seed {seed}, frame {i}");
            if got.0 == Verdict::Good as u64 {
                assert_eq!(got.1, want.1, "seed {seed}, frame {i}");
            }
        }
        if seed == 0 {
            bench.agrees_with_verilog("mac_receive");
            bench.agrees_with_netlist("mac_receive");
        }
    }
}

#[test]
fn without_room_frames_end_as_overruns_and_none_is_merged_with_another() {
    for seed in 0..6 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bench = Bench::new(Receive::default());
        let (mut pushed, mut sent) = (Pushed::default(), Vec::new());
        let (mut room, mut change) = (true, 0);
        for _ in 0..40 {
            let frame = incoming(&mut rng, 0, 200);
            for octet in frame.octets.iter().copied().chain([(false, false, 0); 12]) {
                if change == 0 {
                    (room, change) = (!room, rng.random_range(1..400));
                }
                change -= 1;
                receive_clock(&mut bench, &mut pushed, octet, None, room);
            }
            sent.push(frame.payload);
        }
        for _ in 0..300 {
            receive_clock(&mut bench, &mut pushed, (false, false, 0), None, true);
        }
        assert_eq!(pushed.frames.len(), sent.len(), "seed {seed}: every frame ends once");
        let lost = pushed.frames.iter().filter(|f| f.0 == Verdict::Overrun as u64).count();
        assert!((3..38).contains(&lost), "seed {seed}: {lost}");
        let mut at = sent.iter();
        for (verdict, bytes) in &pushed.frames {
            if *verdict == Verdict::Good as u64 {
                assert!(
                    at.any(|payload| payload == bytes),
                    "seed {seed}: a good frame that was not sent"
                );
            } else {
                assert_eq!(*verdict, Verdict::Overrun as u64);
            }
        }
        if seed == 0 {
            bench.agrees_with_verilog("mac_receive_overrun");
        }
    }
}

#[test]
fn the_status_is_told_when_it_stands_still() {
    let mut bench = Bench::new(Receive::default());
    let mut pushed = Pushed::default();
    for (status, clocks) in [(0x0d, 20), (0x0c, 3), (0x0d, 20), (0x0b, 20), (0x00, 9)] {
        for _ in 0..clocks {
            receive_clock(&mut bench, &mut pushed, (false, false, 0), Some(status), true);
        }
    }
    for _ in 0..4 {
        receive_clock(&mut bench, &mut pushed, (false, true, 0x0e), None, true);
    }
    let told: Vec<u8> = pushed.frames.iter().map(|frame| frame.1[0]).collect();
    assert_eq!(told, [0x0d, 0x0b, 0x00]);
    bench.agrees_with_verilog("mac_status");
}

/// Words into a store and what comes out, against the frames that had room.
#[test]
fn the_store_gives_whole_good_frames_only() {
    for seed in 0..4 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bench = Bench::new(Store::<64, 3, 5, 6>::default());
        if seed > 1 {
            bench = bench.without_record();
        }
        let mut words: VecDeque<(Vec<u8>, RxMeta)> = VecDeque::new();
        let (mut want, mut events, mut got, mut bytes) = (VecDeque::new(), VecDeque::new(), 0, Vec::new());
        let (mut refused, mut begun) = (0, false);
        let mut frame: Vec<u8> = Vec::new();
        for clock in 0..6000 {
            if words.is_empty() && clock < 5500 {
                let size = *[1, 8, 9, 64, 100, 255, 256, 257, 300].choose(&mut rng).unwrap();
                let body = random_bytes(&mut rng, size);
                let verdict = if rng.random_bool(0.3) {
                    rng.random_range(1..9u64)
                } else {
                    0
                };
                let chunks: Vec<_> = body.chunks(8).collect();
                for (i, chunk) in chunks.iter().enumerate() {
                    let meta = RxMeta {
                        last: i + 1 == chunks.len(),
                        count: ((chunk.len() % 8) as u64).into(),
                        verdict: verdict.into(),
                    };
                    words.push_back((chunk.to_vec(), meta));
                }
            }
            let offer = !words.is_empty() && rng.random_bool(0.5);
            bench.uut.word_valid.next = offer;
            if offer {
                bench.uut.word.next = Wide::from_frame(&words[0].0);
                bench.uut.meta.next = words[0].1;
            }
            bench.uut.rx_ready.next = rng.random_bool(if clock / 500 % 2 == 0 { 0.2 } else { 0.95 });
            bench.settle();
            let uut = &bench.uut;
            if uut.ended.val() {
                // a good frame either comes out or is told as refused; the queue says which
                let (verdict, body): (u64, Vec<u8>) = events.pop_front().expect("an event without a frame");
                let told = u64::from(uut.verdict.val());
                if verdict == 0 && told == Verdict::NoRoom as u64 {
                    refused += 1;
                } else {
                    assert_eq!(told, verdict, "seed {seed}");
                    if verdict == 0 {
                        want.push_back(body);
                    }
                }
            }
            if uut.rx_valid.val() && uut.rx_ready.val() {
                assert_eq!(uut.rx_first.val(), !begun);
                begun = !uut.rx_last.val();
                let count = uut.rx_count.val().index();
                bytes.extend(uut.rx_data.val().to_frame(if begun || count == 0 { 8 } else { count }));
                if !begun {
                    assert_eq!(Some(std::mem::take(&mut bytes)), want.pop_front(), "seed {seed}");
                    got += 1;
                }
            }
            bench.edge();
            if offer {
                let (chunk, meta) = words.pop_front().unwrap();
                frame.extend(chunk);
                if meta.last {
                    events.push_back((u64::from(meta.verdict), std::mem::take(&mut frame)));
                }
            }
        }
        assert!(
            want.is_empty() && got > 50 && refused > 5,
            "seed {seed}: {got} {refused} {}",
            want.len()
        );
        if seed < 2 {
            bench.agrees_with_verilog("mac_store");
        }
    }
}

#[test]
fn the_store_gives_a_beat_every_clock() {
    let mut bench = Bench::new(Store::<64, 3, 5, 6>::default()).without_record();
    bench.uut.rx_ready.next = false;
    for i in 0..20u64 {
        bench.uut.word_valid.next = true;
        bench.uut.meta.next.last = i == 19;
        bench.tick();
    }
    bench.uut.word_valid.next = false;
    (0..12).for_each(|_| bench.tick());
    bench.uut.rx_ready.next = true;
    for i in 0..20 {
        bench.settle();
        assert!(bench.uut.rx_valid.val(), "beat {i}");
        bench.edge();
    }
}

/// Takes the transmitter's link apart: frames with whether they are whole, and the shortest gap between two.
#[derive(Default)]
struct Listener {
    now: Vec<u8>,
    error: bool,
    gap: usize,
    shortest: usize,
    frames: Vec<(bool, Vec<u8>)>,
}

impl Listener {
    fn new() -> Self {
        Self {
            shortest: usize::MAX,
            ..Self::default()
        }
    }

    fn clock(&mut self, octet: Octet) {
        let (valid, error, data) = octet;
        if valid {
            if self.now.is_empty() && !self.frames.is_empty() {
                self.shortest = self.shortest.min(self.gap);
            }
            self.now.push(data);
            self.error |= error;
            self.gap = 0;
            return;
        }
        assert!(!error);
        self.gap += 1;
        if self.now.is_empty() {
            return;
        }
        let octets = std::mem::take(&mut self.now);
        assert_eq!(octets[..8], [0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0xd5]);
        let body = octets[8..].to_vec();
        let (frame, check) = body.split_at(body.len() - 4);
        let good = check_sequence(frame) == check;
        assert_ne!(
            good,
            std::mem::take(&mut self.error),
            "a wrong check sequence comes with the error signal"
        );
        assert!(!good || frame.len() >= 60);
        self.frames.push((good, frame.to_vec()));
    }
}

/// What goes out for a frame.
fn padded(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame.resize(frame.len().max(60), 0);
    frame
}

fn words_of(frame: &[u8], error: bool) -> Vec<(Wide<64>, TxMeta)> {
    let chunks: Vec<_> = frame.chunks(8).collect();
    let meta = |i: usize, chunk: &[u8]| TxMeta {
        last: i + 1 == chunks.len(),
        count: ((chunk.len() % 8) as u64).into(),
        error: error && i + 1 == chunks.len(),
    };
    chunks
        .iter()
        .enumerate()
        .map(|(i, c)| (Wide::from_frame(c), meta(i, c)))
        .collect()
}

#[test]
fn frames_go_out_whole_or_are_marked() {
    for seed in 0..4 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bench = Bench::new(Transmit::default());
        if seed > 1 {
            bench = bench.without_record();
        }
        let (mut listener, mut sent, mut counts) = (Listener::new(), Vec::new(), [0u32; 3]);
        let (mut before, mut words) = ([false; 3], VecDeque::new());
        let (mut starve, mut shown) = (0, false);
        for clock in 0..8000 {
            if words.is_empty() && clock < 7000 && rng.random_bool(0.3) {
                let size = *[1, 14, 59, 60, 61, 64, 100, 128].choose(&mut rng).unwrap();
                let (frame, error) = (random_bytes(&mut rng, size), rng.random_bool(0.2));
                words.extend(words_of(&frame, error));
                sent.push((error, frame));
            }
            // now and then words do not come for a while, from the second word of a frame on
            if starve == 0 && rng.random_bool(0.004) {
                starve = rng.random_range(1..120);
            }
            starve -= u32::from(starve > 0);
            // what was shown stays there until it is taken
            let offer = !words.is_empty() && (starve == 0 || shown);
            bench.uut.word_valid.next = offer;
            if offer {
                (bench.uut.word.next, bench.uut.meta.next) = words[0];
            }
            bench.settle();
            let uut = &bench.uut;
            listener.clock((uut.valid.val(), uut.error.val(), u64::from(uut.data.val()) as u8));
            let now = [uut.good.val(), uut.poisoned.val(), uut.underrun.val()];
            for i in 0..3 {
                counts[i] += u32::from(now[i] != before[i]);
            }
            before = now;
            assert!(offer || !uut.pop.val(), "a word is taken that is not there");
            shown = offer && !uut.pop.val();
            if uut.pop.val() {
                words.pop_front();
            }
            bench.edge();
        }
        // in order; a cut frame is a beginning of what was sent
        assert_eq!(listener.frames.len(), sent.len(), "seed {seed}");
        let mut want = [0u32; 3];
        for (i, ((good, got), (error, frame))) in listener.frames.iter().zip(&sent).enumerate() {
            if *good {
                assert!(!error, "seed {seed}: frame {i} was given as damaged");
                assert_eq!(*got, padded(frame), "seed {seed}, frame {i}");
                want[0] += 1;
            } else if *got == padded(frame) && *error {
                want[1] += 1;
            } else {
                assert!(frame.starts_with(got), "seed {seed}, frame {i}");
                want[2] += 1;
            }
        }
        assert_eq!(counts, want, "seed {seed}");
        assert!(want.iter().all(|&n| n > 3), "seed {seed}: {want:?}");
        assert_eq!(listener.shortest, 12, "seed {seed}");
        if seed < 2 {
            bench.agrees_with_verilog("mac_transmit");
            bench.agrees_with_netlist("mac_transmit");
        }
    }
}

/// A port with three clocks that drift, whose link is looped back with damage, and a core that is not always ready.
struct Loop {
    bench: DomainBench<RgmiiPort>,
    rng: StdRng,
    periods: [f64; 3],
    next: [f64; 3],
}

impl Loop {
    fn new(seed: u64, periods: [f64; 3], record: bool) -> Self {
        let mut bench = DomainBench::new(RgmiiPort::default());
        bench.uut.unsure(seed + 1);
        if !record {
            bench = bench.without_record();
        } else {
            // the Verilog is sure
            bench.uut.unsure(0);
        }
        Self {
            bench,
            rng: StdRng::seed_from_u64(seed),
            periods,
            next: [0.3, 0.1, 0.0],
        }
    }

    /// The clocks that rise next.
    fn mask(&self) -> u32 {
        let first = self.next.iter().copied().fold(f64::INFINITY, f64::min);
        (0..3).filter(|&i| self.next[i] - first < 1e-9).map(|i| 1 << i).sum()
    }

    fn edge(&mut self, mask: u32) {
        self.bench.edge(mask);
        for i in 0..3 {
            if mask >> i & 1 != 0 {
                self.next[i] += self.periods[i] * (1.0 + self.rng.random_range(-0.001..0.001));
            }
        }
    }

    fn word(&mut self, name: &str) -> u64 {
        let at = MAC_WORDS.iter().position(|&word| word == name).unwrap();
        self.bench.uut.word.next = (at as u64).into();
        for _ in 0..super::state::READ {
            self.bench.edge(1);
        }
        self.bench.settle();
        self.bench.uut.word_data.val().into()
    }
}

fn looped(seed: u64, periods: [f64; 3], clocks: usize, record: bool) -> Loop {
    let mut port = Loop::new(seed, periods, record);
    // a link that is up, with its status between frames
    let (mut link, mut beats): (VecDeque<Octet>, VecDeque<(Wide<64>, TxMeta)>) = Default::default();
    let (mut sent, mut got, mut bytes) = (VecDeque::new(), 0, Vec::new());
    let (mut damaged, mut hit) = (0, false);
    let mut kinds = [0u64; 3];
    let mut current: Vec<Octet> = Vec::new();
    // then time for what is still under way
    for clock in 0..clocks + 16_000 {
        let mask = port.mask();
        if beats.is_empty() && clock < clocks {
            let size = *[60, 64, 65, 250, 1514].choose(&mut port.rng).unwrap();
            let frame = random_bytes(&mut port.rng, size);
            let error = port.rng.random_bool(0.2);
            kinds[usize::from(error)] += 1;
            beats.extend(words_of(&frame, error));
            sent.push_back((error, frame));
        }
        let ready = port.rng.random_bool(0.7);
        let uut = &mut port.bench.uut;
        if mask & 1 != 0 {
            uut.tx_valid.next = !beats.is_empty();
            if let Some(&(word, meta)) = beats.front() {
                uut.tx_data.next = word;
                uut.tx_count.next = u64::from(meta.count).into();
                (uut.tx_last.next, uut.tx_error.next) = (meta.last, meta.error);
            }
            uut.rx_ready.next = ready;
        }
        if mask & 2 != 0 {
            let (valid, error, data) = link.pop_front().unwrap_or((false, false, 0xdd));
            uut.rxd_rise.next = u64::from(data & 15).into();
            uut.rxd_fall.next = u64::from(data >> 4).into();
            (uut.rx_ctl_rise.next, uut.rx_ctl_fall.next) = (valid, valid != error);
        }
        port.bench.settle();
        let uut = &port.bench.uut;
        if mask & 1 != 0 {
            if uut.tx_valid.val() && uut.tx_ready.val() {
                beats.pop_front();
            }
            if uut.rx_valid.val() && ready {
                let (last, count) = (uut.rx_last.val(), uut.rx_count.val().index());
                bytes.extend(uut.rx_data.val().to_frame(if last && count != 0 { count } else { 8 }));
                if last {
                    let frame = std::mem::take(&mut bytes);
                    // frames that were damaged never come
                    let found = sent.iter().position(|(error, f)| !error && *f == frame);
                    sent.drain(..=found.expect("a frame that was not sent"));
                    got += 1;
                }
            }
        }
        if mask & 4 != 0 {
            let data = u64::from(uut.txd_rise.val()) as u8 | (u64::from(uut.txd_fall.val()) as u8) << 4;
            let valid = uut.tx_ctl_rise.val();
            let mut octet = (valid, valid != uut.tx_ctl_fall.val(), data);
            // the cable spoils a frame in ten
            if valid && current.len() == 20 && port.rng.random_bool(0.1) && !octet.1 {
                octet.2 ^= 4;
                hit = true;
            }
            if valid {
                current.push(octet);
            } else if !current.is_empty() {
                damaged += u64::from(std::mem::take(&mut hit) && !current.iter().any(|o| o.1));
                link.extend(current.drain(..));
                link.extend([(false, false, 0xdd); 12]);
            }
        }
        port.edge(mask);
    }
    let frames = kinds[0] + kinds[1];
    assert_eq!(port.word("Status"), 0x8000_001d, "seed {seed}");
    assert!(port.bench.uut.up.val());
    assert_eq!(port.word("TxGood") + port.word("TxPoisoned"), frames, "seed {seed}");
    assert_eq!(port.word("TxPoisoned"), kinds[1], "seed {seed}");
    assert_eq!(port.word("TxUnderrun"), 0, "seed {seed}");
    assert_eq!(port.word("RxGood"), got, "seed {seed}");
    assert_eq!(port.word("RxGood") + port.word("RxFcs"), kinds[0], "seed {seed}");
    assert_eq!(port.word("RxFcs"), damaged, "seed {seed}");
    assert_eq!(port.word("RxSymbol"), kinds[1], "seed {seed}");
    for name in [
        "RxRunt",
        "RxOversize",
        "RxPause",
        "RxControl",
        "RxNoStart",
        "RxOverrun",
        "RxNoRoom",
    ] {
        assert_eq!(port.word(name), 0, "seed {seed}, {name}");
    }
    assert!(got > 1, "seed {seed}: {got} frames");
    port
}

#[test]
fn a_looped_port_gives_back_good_frames_only() {
    for (seed, periods) in [
        [8.0, 8.0, 8.0],
        [8.0, 8.0008, 7.9992],
        [6.4, 8.0, 8.0],
        [20.0, 8.0, 8.0],
        [5.0, 7.9, 8.0],
    ]
    .into_iter()
    .enumerate()
    {
        looped(seed as u64, periods, 30_000, false);
    }
}

#[test]
fn the_ports_verilog_agrees() {
    let port = looped(9, [6.4, 8.0, 7.999], 8_000, true);
    port.bench.agrees_with_verilog("mac_port");
}

#[test]
fn a_receive_clock_that_stops_takes_the_link_down_and_nothing_else() {
    let mut port = looped(3, [8.0, 8.0, 8.0], 6_000, false);
    // half a frame, then the cable is pulled with its clock
    for i in 0..200 {
        let uut = &mut port.bench.uut;
        uut.rxd_rise.next = 5u64.into();
        uut.rxd_fall.next = if i == 8 { 13u64 } else { 5 }.into();
        (uut.rx_ctl_rise.next, uut.rx_ctl_fall.next) = (true, true);
        port.bench.edge(7);
    }
    for _ in 0..5000 {
        assert!(!port.bench.uut.rx_valid.val(), "nothing of it reaches the core");
        port.bench.edge(5);
    }
    assert_eq!(port.word("Status") & 0x11, 0);
    assert!(!port.bench.uut.up.val());
}

#[test]
fn a_wide_bridge_carries_a_vendors_stream() {
    let mut bench = DomainBench::new(Bridge::<512, 6, 4, 5>::default());
    let mut rng = StdRng::seed_from_u64(1);
    let (mut want, mut got, mut word) = (Vec::new(), Vec::new(), 0u64);
    bench.uut.rx_ready.next = true;
    for clock in 0..600u64 {
        let mask = 1 << rng.random_range(0..3u32);
        let uut = &mut bench.uut;
        if mask == 2 {
            uut.rx_push.next = rng.random_bool(0.5);
            word = rng.random();
            uut.rx_word.next = Wide::<512>::from(word) << 300u64;
            uut.rx_meta.next.last = clock % 3 == 0;
            uut.rx_meta.next.count = (word % 64).into();
        }
        bench.settle();
        let uut = &bench.uut;
        if mask == 2 && uut.rx_push.val() && uut.rx_room.val() {
            want.push(word);
        }
        if mask == 1 && uut.rx_valid.val() {
            got.push((uut.rx_data.val() >> 300u64).low());
        }
        bench.edge(mask);
    }
    assert!(
        got.len() > 40 && want.starts_with(&got),
        "{} of {}",
        got.len(),
        want.len()
    );
    assert_eq!(Bridge::<512, 6, 4, 5>::CLOCKS.len(), 3);
    bench.agrees_with_verilog("mac_bridge");
}
