//! The card behind its PCI Express link: rings under a host that reorders what it may, the same on both engines, a function-level
//! reset in the middle of traffic, and an IOMMU that refuses everything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use nat64_driver::HostMemory;
use nat64_layout::pcie::{MSIX_PBA, MSIX_TABLE};
use nat64_layout::regs::*;
use nat64_layout::ring::{own_phase, ExceptionDescriptor, InjectDescriptor, DESCRIPTOR_BYTES, SLOT_BYTES};
use nat64_layout::Bar;
use nat64_sim::engine::EngineError;
use nat64_sim::tlp::compiled::CompiledLink;
use nat64_sim::tlp::link::RtlLink;
use nat64_sim::tlp::root::Root;
use nat64_sim::tlp::{DmaRefused, DmaTarget, Function, PciCard, PciEngine};
use rand::{rngs::StdRng, Rng, SeedableRng};

fn write(card: &mut PciCard, offset: u32, value: u32) {
    card.bar_write(Bar::Bar0, offset.into(), &value.to_le_bytes())
        .expect("it lives");
}

fn read(card: &mut PciCard, offset: u32) -> u32 {
    let mut bytes = [0; 4];
    card.bar_read(Bar::Bar0, offset.into(), &mut bytes).expect("it answers");
    u32::from_le_bytes(bytes)
}

/// Host memory that looks at the exception ring at each write of the card, as a driver might at any moment.
struct Watched {
    memory: HostMemory,
    ring: u64,
    log2: usize,
    want: Arc<Mutex<VecDeque<Vec<u8>>>>,
    index: u32,
    seen: Arc<Mutex<u32>>,
}

impl DmaTarget for Watched {
    fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), DmaRefused> {
        DmaTarget::read(&mut self.memory, address, out)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), DmaRefused> {
        DmaTarget::write(&mut self.memory, address, bytes)?;
        loop {
            let slot = self.ring + (u64::from(self.index) % (1 << self.log2)) * SLOT_BYTES as u64;
            let mut raw = [0; SLOT_BYTES];
            HostMemory::read(&self.memory, slot, &mut raw).expect("the ring is there");
            let word = |i: usize| u64::from_le_bytes(raw[8 * i..8 * i + 8].try_into().expect("eight bytes"));
            let descriptor = ExceptionDescriptor::from_words([word(0), word(1), word(2), word(3)]);
            if descriptor.own != own_phase(self.index, self.log2) {
                return Ok(());
            }
            // the slot is the host's: all of it must be there
            let frame = self
                .want
                .lock()
                .expect("nobody panicked")
                .pop_front()
                .expect("a frame was sent");
            assert_eq!(descriptor.sequence, self.index);
            assert_eq!(usize::from(descriptor.length), frame.len());
            assert_eq!(
                raw[DESCRIPTOR_BYTES..DESCRIPTOR_BYTES + frame.len()],
                frame,
                "slot {}",
                self.index
            );
            self.index += 1;
            *self.seen.lock().expect("nobody panicked") = self.index;
        }
    }
}

/// What a run leaves: TLPs, frames, clocks.
type Outcome = (Vec<String>, Vec<Vec<u8>>, u64);

/// Frames up and down through both rings, in every order that is allowed.
fn rings(seed: u64, engine: PciEngine, frames: u32) -> Outcome {
    {
        println!("seed {seed}, {engine:?}");
        let mut rng = StdRng::seed_from_u64(seed);
        let memory = HostMemory::new();
        let log2 = 3;
        let [exc, inj, back] = [1 << 14, 1 << 14, 4096].map(|n| memory.alloc(n).expect("memory"));
        let want = Arc::new(Mutex::new(VecDeque::new()));
        let seen = Arc::new(Mutex::new(0));
        let watched = Watched {
            memory: memory.clone(),
            ring: exc.iova,
            log2,
            want: want.clone(),
            index: 0,
            seen: seen.clone(),
        };
        let make = move || -> Result<Box<dyn Function>, EngineError> {
            let memory = Box::new(watched);
            Ok(match engine {
                PciEngine::Rtl => Box::new(Root::new(RtlLink::new(), memory)?.with_disorder(seed)),
                PciEngine::Compiled => Box::new(Root::new(CompiledLink::start()?, memory)?.with_disorder(seed)),
            })
        };
        let mut card = PciCard::start_with(make).unwrap_or_else(|e| panic!("{e}"));
        card.set_log(true).expect("it lives");
        card.set_payload(128 << (seed % 3), 128 << (seed % 3))
            .expect("it lives");
        card.set_bus_master(true).expect("it lives");
        for (offset, value) in [
            (ExcBaseLow::OFFSET, exc.iova as u32),
            (ExcBaseHigh::OFFSET, (exc.iova >> 32) as u32),
            (InjBaseLow::OFFSET, inj.iova as u32),
            (InjBaseHigh::OFFSET, (inj.iova >> 32) as u32),
            (InjWbLow::OFFSET, back.iova as u32),
            (InjWbHigh::OFFSET, (back.iova >> 32) as u32),
            (ExcCtrl::OFFSET, 1 | (log2 as u32) << 8),
            (InjCtrl::OFFSET, 1 | (log2 as u32) << 8),
            (Policy::OFFSET, 0x22),
            (Ctrl::OFFSET, 1),
        ] {
            write(&mut card, offset, value);
        }
        let mut injected: Vec<Vec<u8>> = Vec::new();
        let (mut sent, mut given) = (0u32, 0u32);
        let mut rounds = 0;
        while given < frames || injected.len() < frames as usize {
            rounds += 1;
            assert!(rounds < 20_000, "{given} frames up, {} down", injected.len());
            let have = *seen.lock().expect("nobody panicked");
            // what waits fits into the card's buffer for punts, which the link empties at half the speed of a port
            let waiting: usize = want.lock().expect("nobody panicked").iter().map(Vec::len).sum();
            if sent < frames && sent - given < 6 && waiting < 2000 && rng.random_bool(0.5) {
                let length = rng.random_range(60..1500);
                let mut frame: Vec<u8> = (0..length).map(|_| rng.random()).collect();
                frame[12..14].copy_from_slice(&[0x88, 0xb5]);
                want.lock().expect("nobody panicked").push_back(frame.clone());
                card.rx(0, &frame, false).expect("it lives");
                sent += 1;
            }
            if have > given && rng.random_bool(0.5) {
                given = have;
                write(&mut card, ExcTail::OFFSET, given);
            }
            let taken = back.memory.load_acquire(0) as usize;
            if injected.len() < frames as usize && injected.len() - taken < 8 && rng.random_bool(0.5) {
                let index = injected.len() as u32;
                let length = rng.random_range(60..1500);
                let frame: Vec<u8> = (0..length).map(|_| rng.random()).collect();
                let slot = (index as usize % 8) * SLOT_BYTES;
                inj.memory.write_bytes(slot + DESCRIPTOR_BYTES, &frame);
                let descriptor = InjectDescriptor {
                    port: 1,
                    length: length as u16,
                    own: own_phase(index, log2),
                };
                for (i, word) in descriptor.to_words().into_iter().enumerate() {
                    inj.memory.store_release(slot / 8 + i, word);
                }
                injected.push(frame);
                write(&mut card, InjTail::OFFSET, index + 1);
            }
            if rng.random_bool(0.2) {
                // a register that says how far the card is must not be ahead of memory
                let head = read(&mut card, ExcHead::OFFSET);
                assert!(head <= *seen.lock().expect("nobody panicked"), "ahead of memory");
            }
            card.step(rng.random_range(1..200)).expect("it lives");
        }
        for _ in 0..200 {
            card.step(200).expect("it lives");
        }
        assert_eq!(back.memory.load_acquire(0), u64::from(frames));
        let out: Vec<Vec<u8>> = card.take_tx().expect("it lives").into_iter().map(|f| f.bytes).collect();
        assert!(out == injected, "frames that were injected");
        assert!(want.lock().expect("nobody panicked").is_empty());
        assert_eq!(card.dma_faults().expect("it lives"), 0);
        let log = card.take_log().expect("it lives");
        (log, out, card.clocks().expect("it lives"))
    }
}

#[test]
fn rings_stand_every_order_that_is_allowed() {
    for seed in 0..4 {
        rings(seed, PciEngine::Compiled, 120);
    }
}

#[test]
fn both_engines_do_the_same_at_the_same_clock() {
    let (rtl, compiled) = (rings(7, PciEngine::Rtl, 12), rings(7, PciEngine::Compiled, 12));
    for (a, b) in rtl.0.iter().zip(&compiled.0) {
        assert_eq!(a, b);
    }
    assert_eq!(rtl, compiled);
    for what in ["> MWr", "> MRd", "> CplD", "< MWr", "< MRd", "< CplD"] {
        assert!(rtl.0.iter().any(|line| line.contains(what)), "no {what}");
    }
}

/// Exception ring on, everything punted.
fn start_ring(card: &mut PciCard, iova: u64) {
    card.set_bus_master(true).expect("it lives");
    card.set_msix(true, false).expect("it lives");
    card.program_vector(0, false).expect("it lives");
    for (offset, value) in [
        (ExcBaseLow::OFFSET, iova as u32),
        (ExcBaseHigh::OFFSET, (iova >> 32) as u32),
        (ExcCtrl::OFFSET, 1 | 3 << 8),
        (Policy::OFFSET, 0x22),
        (Scratch::OFFSET, 7),
        (Ctrl::OFFSET, 1),
    ] {
        write(card, offset, value);
    }
}

#[test]
fn a_function_level_reset_under_load_leaves_a_card_as_after_power_on() {
    let memory = HostMemory::new();
    let ring = memory.alloc(1 << 14).expect("memory");
    let mut card = PciCard::start(PciEngine::Compiled, Box::new(memory)).unwrap_or_else(|e| panic!("{e}"));
    start_ring(&mut card, ring.iova);
    // frames in all stages, and such that arrive during the reset
    for i in 0..60 {
        card.rx(i % 2, &vec![i; 60 + 23 * usize::from(i)], false)
            .expect("it lives");
    }
    card.step(700).expect("it lives");
    assert!(!card.take_interrupts().expect("it lives").is_empty() && read(&mut card, ExcHead::OFFSET) > 0);
    card.set_log(true).expect("it lives");
    card.function_reset().expect("it ends");
    assert!(card
        .take_log()
        .expect("it lives")
        .iter()
        .all(|line| !line.contains("< MRd")));
    let clocks = card.clocks().expect("it lives");
    for reg in nat64_layout::REGISTERS {
        let value = read(&mut card, reg.offset);
        match reg.name {
            "Ident" | "AbiHash" | "Geometry" | "Datapath" | "TimeLow" | "TimeHigh" | "ExcHead" | "InjHead" => {}
            "PcieResets" => assert_eq!(value, 1),
            name if name.starts_with("Pcie") => {}
            name => assert_eq!(value, 0, "{name}"),
        }
    }
    let disabled = COUNTER_BASE + 8 * nat64_layout::Reason::Disabled as u32;
    let counters = (COUNTER_BASE..COUNTER_BASE + 512).chain(PORT_COUNTER_BASE..PORT_COUNTER_BASE + 64);
    for offset in counters.step_by(4).filter(|&o| o != disabled) {
        // frames that came after the reset are counted, at the port and as dropped
        let arrived = [0, 8, 32, 40].map(|o| PORT_COUNTER_BASE + o).contains(&offset);
        assert!(arrived || read(&mut card, offset) == 0, "counter at {offset:#x}");
    }
    assert_eq!(read(&mut card, MSIX_TABLE + 12), 1, "vectors are masked");
    assert_eq!(read(&mut card, MSIX_PBA), 0);
    assert!(clocks > 11_000, "tables and tags were walked over");
    // nothing of the old life comes after it, and a new one begins
    assert!(card.step(100_000).expect("it lives").idle);
    card.take_tx().expect("it lives");
    assert!(card.take_interrupts().expect("it lives").is_empty());
    for i in 0..ring.memory.words() {
        ring.memory.store(i, 0);
    }
    start_ring(&mut card, ring.iova);
    card.rx(0, &[0x5a; 100], false).expect("it lives");
    assert!(card.step(100_000).expect("it lives").idle);
    assert_eq!(read(&mut card, ExcHead::OFFSET), 1, "the ring begins at 0");
    assert_eq!(card.take_interrupts().expect("it lives"), [0]);
    let mut frame = [0; 100];
    ring.memory.read_bytes(DESCRIPTOR_BYTES, &mut frame);
    assert_eq!(frame, [0x5a; 100]);
    assert_eq!(card.dma_faults().expect("it lives"), 0);
}

/// Whatever is under way: frames in every stage, a ring of frames to send, and a host that took bus mastering away first.
#[test]
fn a_function_level_reset_ends_whenever_it_comes() {
    let memory = HostMemory::new();
    let ring = memory.alloc(1 << 14).expect("memory");
    let inject = memory.alloc(1 << 14).expect("memory");
    let mut card = PciCard::start(PciEngine::Compiled, Box::new(memory)).unwrap_or_else(|e| panic!("{e}"));
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        start_ring(&mut card, ring.iova);
        for (offset, value) in [
            (InjBaseLow::OFFSET, inject.iova as u32),
            (InjBaseHigh::OFFSET, (inject.iova >> 32) as u32),
            (InjWbLow::OFFSET, (inject.iova + 0x3000) as u32),
            (InjWbHigh::OFFSET, (inject.iova >> 32) as u32),
            (InjCtrl::OFFSET, 1 | 3 << 8),
        ] {
            write(&mut card, offset, value);
        }
        for _ in 0..rng.random_range(1..40) {
            let length = rng.random_range(60..1500);
            card.rx(rng.random_range(0..2), &vec![7; length], false)
                .expect("it lives");
        }
        card.step(rng.random_range(1..4000)).expect("it lives");
        write(&mut card, InjTail::OFFSET, rng.random_range(0..8));
        if rng.random() {
            card.set_bus_master(false).expect("it lives");
        }
        if rng.random() {
            card.step(rng.random_range(1..400)).expect("it lives");
        }
        let before = card.clocks().expect("it lives");
        card.function_reset().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let took = card.clocks().expect("it lives") - before;
        assert!(took < 200_000, "seed {seed}: {took} clocks");
    }
}

/// An IOMMU that maps nothing: reads fail, writes are lost and counted, and the card goes on.
#[test]
fn refused_dma_is_an_error_not_a_hang() {
    struct Nothing;
    impl DmaTarget for Nothing {
        fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), DmaRefused> {
            let bytes = out.len();
            Err(DmaRefused { address, bytes })
        }
        fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), DmaRefused> {
            let bytes = bytes.len();
            Err(DmaRefused { address, bytes })
        }
    }
    let mut card = PciCard::start(PciEngine::Rtl, Box::new(Nothing)).unwrap_or_else(|e| panic!("{e}"));
    card.set_bus_master(true).expect("it lives");
    for (offset, value) in [
        (InjBaseLow::OFFSET, 0x1000),
        (InjWbLow::OFFSET, 0x8000),
        (InjCtrl::OFFSET, 1 | 3 << 8),
        (InjTail::OFFSET, 2),
    ] {
        write(&mut card, offset, value);
    }
    assert!(card.step(100_000).expect("it lives").idle);
    assert_eq!(
        read(&mut card, PcieErrors::OFFSET),
        2,
        "two descriptors could not be read"
    );
    let reason = COUNTER_BASE + 8 * nat64_layout::Reason::DmaError as u32;
    assert_eq!(read(&mut card, reason), 2, "counted DmaError");
    assert_eq!(
        card.dma_faults().expect("it lives"),
        4,
        "two reads, two writes of the head"
    );
}
