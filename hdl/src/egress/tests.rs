//! Random frames, kinds, faults, gaps, back-pressure and injected frames against a model on byte vectors; clocks per packet.

use super::*;
use crate::testkit::Bench;
use crate::types::{KIND_DROP, KIND_FORWARD, KIND_PUNT, KIND_TRANSLATE};
use nat64_layout::Reason;
use rand::{rngs::StdRng, Rng, SeedableRng};
use std::collections::VecDeque;

/// A frame as it arrives and what is to become of it.
#[derive(Clone)]
struct Frame {
    bytes: Vec<u8>,
    fault: u64,
    decision: Decision,
    /// Bytes sent when nothing is wrong with it.
    out: Vec<u8>,
    /// Reason it is dropped or ended with an error for.
    wrong: Option<u64>,
}

fn number<const N: usize>(x: Bits<N>) -> u64 {
    x.index() as u64
}

/// One direction, tags and transport header of a translated packet.
#[derive(Clone, Copy)]
struct Shape {
    six: bool,
    tags_in: usize,
    tags_out: usize,
    l4: usize,
}

fn translated(rng: &mut StdRng, shape: Shape, ip_end: usize, padding: usize) -> Frame {
    let (ip_in, ip_out) = if shape.six { (40, 20) } else { (20, 40) };
    let skip = 14 + 4 * shape.tags_in + ip_in + shape.l4;
    let header_bytes = 14 + 4 * shape.tags_out + ip_out + shape.l4;
    let need = ip_end.max(skip);
    let bytes: Vec<u8> = (0..(need + padding).max(60)).map(|_| rng.random()).collect();
    let header: Vec<u8> = (0..header_bytes).map(|_| rng.random()).collect();
    let out = [&header[..], &bytes[skip..need]].concat();
    let decision = Decision {
        kind: KIND_TRANSLATE.into(),
        port: rng.random(),
        port_in: rng.random(),
        header: Wide::from_frame(&header),
        header_bytes: (header_bytes as u64).into(),
        skip: (skip as u64).into(),
        length: (out.len() as u64).into(),
        need: (need as u64).into(),
        index: rng.random_range(0..1u64 << 17).into(),
        direction: !shape.six,
        set: rng.random_range(0..8u64).into(),
        ip_bytes: rng.random_range(0..1500u64).into(),
        ..Decision::default()
    };
    Frame {
        bytes,
        fault: 0,
        decision,
        out,
        wrong: None,
    }
}

fn any_shape(rng: &mut StdRng) -> Shape {
    Shape {
        six: rng.random(),
        tags_in: rng.random_range(0..3),
        tags_out: rng.random_range(0..3),
        l4: if rng.random() { 20 } else { 8 },
    }
}

fn any_frame(rng: &mut StdRng, faults: bool) -> Frame {
    let size = match rng.random_range(0..8) {
        0..4 => rng.random_range(60..140),
        4..7 => rng.random_range(60..400),
        _ => rng.random_range(60..=1518usize),
    };
    let padding = if rng.random_range(0..3) == 0 {
        rng.random_range(0..20)
    } else {
        0
    };
    let shape = any_shape(rng);
    let mut frame = translated(rng, shape, size.saturating_sub(padding), padding);
    let kind = [
        KIND_TRANSLATE,
        KIND_TRANSLATE,
        KIND_TRANSLATE,
        KIND_FORWARD,
        KIND_PUNT,
        KIND_DROP,
    ][rng.random_range(0..6)];
    let d = &mut frame.decision;
    d.kind = kind.into();
    d.unit = rng.random_range(0..16u64).into();
    d.unit_valid = rng.random();
    d.reason = rng.random_range(1..32u64).into();
    if kind != KIND_TRANSLATE {
        frame.out = frame.bytes.clone();
        if rng.random() {
            d.need = 0u64.into();
        }
    }
    if kind == KIND_DROP {
        d.reason = rng.random_range(32..36u64).into();
        frame.wrong = Some(number(d.reason));
    }
    if faults && rng.random_range(0..5) == 0 {
        match rng.random_range(0..3) {
            0 => {
                let keep = rng.random_range(60..=frame.bytes.len());
                frame.bytes.truncate(keep);
                if kind != KIND_TRANSLATE {
                    frame.out.truncate(keep);
                }
            }
            fault => frame.fault = fault,
        }
    }
    if (frame.bytes.len() as u64) < number(frame.decision.need) {
        frame.wrong = Some(Reason::Truncated as u64);
    }
    match frame.fault {
        1 => frame.wrong = Some(Reason::RxError as u64),
        2 => frame.wrong = Some(Reason::Oversize as u64),
        _ => {}
    }
    frame
}

/// Probabilities in percent.
#[derive(Clone, Copy, Debug, Default)]
struct Stress {
    idle: u32,
    stall: u32,
    inject: u32,
}

#[derive(Default)]
struct Out {
    frame: Vec<u8>,
    open: bool,
}

/// Collects the beats of a stream; gives a frame and its error flag at its end.
impl Out {
    fn beat<const W: usize>(
        &mut self,
        data: Wide<W>,
        count: u64,
        first: bool,
        last: bool,
        error: bool,
    ) -> Option<(Vec<u8>, bool)> {
        assert_eq!(first, !self.open, "first");
        let bytes = if last && count != 0 { count as usize } else { W / 8 };
        self.frame.extend(data.to_frame(bytes));
        self.open = !last;
        last.then(|| (std::mem::take(&mut self.frame), error))
    }
}

struct Report {
    /// Clock of the end of each frame on the ports.
    ends: Vec<u64>,
    /// Frames that were ended with an error.
    broken: u32,
    /// Clocks from the first push to the first beat out.
    latency: u64,
    clocks: u64,
}

fn run<const W: usize, const LB: usize, const RN: usize>(
    seed: u64,
    frames: Vec<Frame>,
    stress: Stress,
    replay: Option<&str>,
) -> Report {
    let mut rng = StdRng::seed_from_u64(seed);
    let bench = Bench::new(Egress::<W, LB, RN, 4, 5>::default());
    let mut bench = if replay.is_some() {
        bench
    } else {
        bench.without_record()
    };
    let size = 1usize << RN;
    let mut memory = vec![Wide::<W>::default(); size];
    let mut pipe = Wide::<W>::default();
    let beats_of = |bytes: usize| bytes.div_ceil(W / 8);
    let chance = |rng: &mut StdRng, percent: u32| rng.random_range(0..100) < percent;

    let mut ports: [VecDeque<Frame>; 2] = Default::default();
    let (mut punts, mut dones, mut tallies) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
    for f in &frames {
        match number(f.decision.kind) {
            KIND_TRANSLATE | KIND_FORWARD => ports[usize::from(f.decision.port)].push_back(f.clone()),
            KIND_PUNT => punts.push_back(f.clone()),
            _ => {}
        }
        match f.wrong {
            Some(reason) => tallies.push_back(reason),
            None if number(f.decision.kind) == KIND_TRANSLATE => dones.push_back(f.decision),
            None => {}
        }
    }
    let mut injected: [VecDeque<Vec<u8>>; 2] = Default::default();
    let mut inject: VecDeque<(bool, Vec<u8>)> = VecDeque::new();
    for _ in 0..frames.len() {
        if chance(&mut rng, stress.inject) {
            let bytes = (0..rng.random_range(14..300)).map(|_| rng.random()).collect();
            inject.push_back((rng.random(), bytes));
        }
    }
    for (port, bytes) in &inject {
        injected[usize::from(*port)].push_back(bytes.clone());
    }
    let mut inject_at = 0;

    let (mut written, mut outstanding) = (0usize, 0);
    let mut poisoned = 0;
    let mut arriving = frames.iter().peekable();
    let mut current: Option<(&Frame, usize)> = None;
    let mut decisions: VecDeque<(u64, Decision)> = VecDeque::new();
    let mut outs: [Out; 3] = Default::default();
    let mut stalled: [Option<(Wide<W>, bool)>; 2] = [None; 2];
    let mut report = Report {
        ends: vec![],
        broken: 0,
        latency: 0,
        clocks: 0,
    };
    let mut pushed_at = None;
    let mut sent_want: [VecDeque<u64>; 2] = Default::default();
    let mut quiet = 0;
    let all: usize = frames.iter().map(|f| f.bytes.len() + f.out.len() + 400).sum();
    let limit = (all * 8 / W * 12 + 4000) as u64;

    while quiet < 12 {
        // what arrives
        let release = bench.uut.freed.val().index();
        // what was given back is overwritten at once: a beat given back too early is seen in a frame
        while poisoned != release {
            memory[poisoned] = !memory[poisoned];
            poisoned = (poisoned + 1) % size;
        }
        if current.is_none() {
            if let Some(f) = arriving.peek() {
                let inside = (written + size - release) % size;
                if inside + beats_of(f.bytes.len()) + 2 < size && outstanding < 16 && !chance(&mut rng, stress.idle) {
                    let f = arriving.next().unwrap();
                    let earliest = decisions.back().map_or(0, |d| d.0 + 1);
                    let delay = if stress.idle == 0 { 12 } else { rng.random_range(1..40) };
                    decisions.push_back(((bench.clocks + delay).max(earliest), f.decision));
                    outstanding += 1;
                    current = Some((f, 0));
                }
            }
        }
        let mut store = None;
        bench.uut.end_valid.next = false;
        if let Some((f, at)) = current {
            if !chance(&mut rng, stress.idle) {
                let end = (at + W / 8).min(f.bytes.len());
                store = Some((written, Wide::<W>::from_frame(&f.bytes[at..end])));
                current = Some((f, end));
                if end == f.bytes.len() {
                    bench.uut.end_valid.next = true;
                    bench.uut.end_bytes.next = (end as u64).into();
                    bench.uut.end_fault.next = f.fault.into();
                    current = None;
                }
            }
        }
        bench.uut.push.next = false;
        if decisions.front().is_some_and(|d| d.0 <= bench.clocks) {
            let (_, decision) = decisions.pop_front().unwrap();
            bench.uut.push.next = true;
            bench.uut.decision.next = decision;
            pushed_at.get_or_insert(bench.clocks);
        }
        // what leaves
        let ready = [!chance(&mut rng, stress.stall), !chance(&mut rng, stress.stall)];
        bench.uut.tx0_ready.next = ready[0];
        bench.uut.tx1_ready.next = ready[1];
        if let Some((port, bytes)) = inject.front() {
            if !bench.uut.inj_valid.next {
                bench.uut.inj_valid.next = chance(&mut rng, 60);
            }
            let end = (inject_at + W / 8).min(bytes.len());
            bench.uut.inj_data.next = Wide::from_frame(&bytes[inject_at..end]);
            bench.uut.inj_first.next = inject_at == 0;
            bench.uut.inj_last.next = end == bytes.len();
            bench.uut.inj_count.next = ((end % (W / 8)) as u64).into();
            bench.uut.inj_port.next = *port;
        }
        bench.settle();
        let u = &bench.uut;
        if u.inj_valid.val() && u.inj_ready.val() {
            inject_at += W / 8;
            if u.inj_last.val() {
                inject.pop_front();
                inject_at = 0;
            }
        }
        let injected_beat = u.inj_valid.val() && u.inj_ready.val();
        let tx = [
            (
                u.tx0_valid.val(),
                u.tx0_data.val(),
                number(u.tx0_count.val()),
                u.tx0_first.val(),
                u.tx0_last.val(),
                u.tx0_error.val(),
            ),
            (
                u.tx1_valid.val(),
                u.tx1_data.val(),
                number(u.tx1_count.val()),
                u.tx1_first.val(),
                u.tx1_last.val(),
                u.tx1_error.val(),
            ),
        ];
        for (p, &(valid, data, count, first, last, error)) in tx.iter().enumerate() {
            if let Some(was) = stalled[p].take() {
                assert!(
                    valid && was == (data, last),
                    "seed {seed}: port {p} changed a beat that was not taken"
                );
            }
            if !valid {
                continue;
            }
            if !ready[p] {
                stalled[p] = Some((data, last));
                continue;
            }
            if report.latency == 0 {
                report.latency = bench.clocks - pushed_at.unwrap_or(bench.clocks);
            }
            let Some((frame, error)) = outs[p].beat(data, count, first, last, error && last) else {
                continue;
            };
            report.ends.push(bench.clocks);
            if !error && injected[p].front() == Some(&frame) {
                sent_want[p].push_back(frame.len() as u64);
                injected[p].pop_front();
                continue;
            }
            // frames that are wrong may have been dropped in whole
            while !error && ports[p].front().is_some_and(|f| f.wrong.is_some()) {
                ports[p].pop_front();
            }
            if error {
                while ports[p]
                    .front()
                    .is_some_and(|f| f.wrong.is_some() && f.out.get(..W / 8) != frame.get(..W / 8))
                {
                    ports[p].pop_front();
                }
            }
            let want = ports[p]
                .pop_front()
                .unwrap_or_else(|| panic!("seed {seed}: a frame too many on port {p}"));
            assert_eq!(error, want.wrong.is_some(), "seed {seed} clock {}", bench.clocks);
            report.broken += u32::from(error);
            if !error {
                assert_eq!(frame, want.out, "seed {seed} port {p} clock {}", bench.clocks);
                sent_want[p].push_back(frame.len() as u64);
            }
        }
        if u.punt_valid.val() {
            let beat = outs[2].beat(
                u.punt_data.val(),
                number(u.punt_count.val()),
                u.punt_first.val(),
                u.punt_last.val(),
                u.punt_abort.val(),
            );
            if let Some((frame, error)) = beat {
                while !error && punts.front().is_some_and(|f| f.wrong.is_some()) {
                    punts.pop_front();
                }
                if error {
                    while punts.front().is_some_and(|f| f.out.get(..W / 8) != frame.get(..W / 8)) {
                        punts.pop_front();
                    }
                }
                let want = punts
                    .pop_front()
                    .unwrap_or_else(|| panic!("seed {seed}: a punt too many"));
                assert_eq!(error, want.wrong.is_some(), "seed {seed}");
                if !error {
                    assert_eq!(frame, want.out, "seed {seed}");
                    let meta = u.punt_meta.val();
                    assert_eq!(number(meta.reason), number(want.decision.reason), "seed {seed}");
                    assert_eq!(meta.port, want.decision.port_in, "seed {seed}");
                    assert_eq!(
                        (meta.unit, meta.unit_valid),
                        (want.decision.unit, want.decision.unit_valid),
                        "seed {seed}"
                    );
                }
            }
        }
        if u.done.val().valid {
            let (done, want) = (
                u.done.val(),
                dones
                    .pop_front()
                    .unwrap_or_else(|| panic!("seed {seed}: done too often")),
            );
            assert_eq!(done.index, want.index, "seed {seed}");
            assert_eq!(
                (done.direction, done.set, done.bytes),
                (want.direction, want.set, want.ip_bytes),
                "seed {seed}"
            );
        }
        if u.tally.val().valid {
            assert_eq!(Some(number(u.tally.val().reason)), tallies.pop_front(), "seed {seed}");
        }
        for (p, (valid, bytes)) in [
            (u.sent0_valid.val(), u.sent0_bytes.val()),
            (u.sent1_valid.val(), u.sent1_bytes.val()),
        ]
        .into_iter()
        .enumerate()
        {
            if valid {
                // told one clock after the beat went to the output register: the frame may still be on its way out
                sent_want[p].push_back(u64::MAX - number(bytes));
            }
        }
        outstanding -= usize::from(u.credit.val());
        let busy = u.busy.val()
            || current.is_some()
            || arriving.peek().is_some()
            || !decisions.is_empty()
            || !inject.is_empty();
        quiet = if busy { 0 } else { quiet + 1 };
        let address = u.ring_address.val().index();
        bench.edge();
        if injected_beat {
            bench.uut.inj_valid.next = false;
        }
        bench.uut.ring_data.next = pipe;
        pipe = memory[address];
        if let Some((at, beat)) = store {
            memory[at] = beat;
            written = (written + 1) % size;
        }
        bench.uut.written.next = (written as u64).into();
        assert!(bench.clocks < limit, "seed {seed}: stuck, {stress:?}");
    }
    for p in 0..2 {
        assert!(
            ports[p].iter().all(|f| f.wrong.is_some()),
            "seed {seed}: a frame is missing on port {p}"
        );
        assert!(injected[p].is_empty(), "seed {seed}: an injected frame is missing");
        let mut told: Vec<u64> = sent_want[p]
            .iter()
            .filter(|&&x| x > 1 << 20)
            .map(|x| u64::MAX - x)
            .collect();
        let mut want: Vec<u64> = sent_want[p].iter().copied().filter(|&x| x <= 1 << 20).collect();
        told.sort_unstable();
        want.sort_unstable();
        assert_eq!(told, want, "seed {seed}: frames told as sent on port {p}");
    }
    assert!(
        punts.iter().all(|f| f.wrong.is_some()),
        "seed {seed}: a punt is missing"
    );
    assert!(dones.is_empty() && tallies.is_empty(), "seed {seed}: not all was told");
    assert_eq!(
        bench.uut.freed.val().index(),
        written,
        "seed {seed}: beats are still held"
    );
    assert_eq!(outstanding, 0, "seed {seed}: credits");
    report.clocks = bench.clocks;
    if let Some(name) = replay {
        bench.agrees_with_verilog(name);
    }
    report
}

/// The grid {gaps} x {back-pressure} x {injected frames}; sizes and kinds are random.
fn grid<const W: usize, const LB: usize, const RN: usize>(frames: usize) {
    let mut broken = 0;
    let mut seed = W as u64 * 1000;
    for idle in [0, 30, 80] {
        for stall in [0, 40, 80] {
            for inject in [0, 50] {
                seed += 1;
                let mut rng = StdRng::seed_from_u64(seed);
                let faults = seed.is_multiple_of(2);
                let frames = (0..frames)
                    .map(|_| any_frame(&mut rng, faults || stall == 40))
                    .collect();
                broken += run::<W, LB, RN>(seed, frames, Stress { idle, stall, inject }, None).broken;
            }
        }
    }
    assert!(broken > 0, "no frame turned out damaged on its way");
}

#[test]
fn random_frames_64() {
    grid::<64, 3, 9>(120);
}

#[test]
fn random_frames_128() {
    grid::<128, 4, 8>(120);
}

#[test]
fn random_frames_512() {
    grid::<512, 6, 6>(120);
}

/// Every length from 60 to 1514 in both directions (in steps of one up to 200, then each residue of the beat).
fn every_length<const W: usize, const LB: usize, const RN: usize>() {
    for six in [true, false] {
        let mut size = 60;
        while size <= 1514 {
            let shape = Shape {
                six,
                tags_in: 0,
                tags_out: 0,
                l4: if size % 3 == 0 { 8 } else { 20 },
            };
            let mut rng = StdRng::seed_from_u64(size as u64);
            let mut frame = translated(&mut rng, shape, size, 0);
            frame.decision.port = false;
            let frames = vec![frame.clone(); 8];
            let report = run::<W, LB, RN>(1, frames, Stress::default(), None);
            let beat = W / 8;
            let most = frame.bytes.len().max(frame.out.len()).div_ceil(beat) as u64;
            // while the first frames leave the ring fills: the later ones wait for nothing but this block
            let spans: Vec<u64> = report.ends.windows(2).map(|w| w[1] - w[0]).collect();
            assert!(
                spans.iter().all(|&s| s <= most),
                "W {W} six {six} size {size}: {spans:?}, at most {most}"
            );
            let prime = u64::from(W == 512 && six);
            assert!(report.latency <= 7 + prime, "latency {}", report.latency);
            size += if size < 200 { 1 } else { beat - 1 };
        }
    }
}

#[test]
fn clocks_per_packet_64() {
    every_length::<64, 3, 9>();
}

#[test]
fn clocks_per_packet_128() {
    every_length::<128, 4, 8>();
}

#[test]
fn clocks_per_packet_512() {
    every_length::<512, 6, 6>();
}

#[test]
fn verilog_agrees() {
    let frames = |seed| {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..25).map(|_| any_frame(&mut rng, true)).collect()
    };
    let stress = Stress {
        idle: 20,
        stall: 20,
        inject: 50,
    };
    run::<64, 3, 9>(5, frames(1), stress, Some("egress64"));
    run::<128, 4, 8>(6, frames(2), stress, Some("egress128"));
    run::<512, 6, 6>(7, frames(3), stress, Some("egress512"));
}
