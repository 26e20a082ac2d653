//! The compiled engine against the bench in Rust, both around the same small core.

use std::process::Command;

use super::*;
use crate::fake::Fake;
use crate::pins::Bench;

const FAKE: &str = include_str!("fake.v");

/// Fails where the engine cannot be built: a test that is left out would look like one that passed.
fn need_verilator() {
    let found = Command::new("verilator").arg("--version").output();
    let found = found.is_ok_and(|output| output.status.success());
    assert!(found, "verilator is missing: run `cargo xtask setup`");
}

/// What an engine did: frames, register values, interrupts, clocks.
#[derive(Debug, PartialEq, Eq)]
struct Did {
    tx: Vec<TxFrame>,
    values: Vec<u32>,
    ran: Vec<Ran>,
    sums: Vec<u64>,
    clocks: u64,
    faults: u64,
}

fn exercise(engine: &mut dyn Engine, memory: &HostMemory) -> Did {
    let buffer = memory.alloc(8192).expect("memory");
    (0..512).for_each(|i| buffer.memory.store(i, i as u64 * 0x0101_0101));
    let mut values = Vec::new();
    let mut ran = Vec::new();
    let mut sums = Vec::new();
    engine.set_time(0x1_2345_6789).expect("time");
    for (i, length) in [1usize, 60, 61, 64, 67, 1514, 9000].into_iter().enumerate() {
        let frame: Vec<u8> = (0..length).map(|b| (b * 7 + i) as u8).collect();
        engine.rx((i % 2) as u8, &frame, i == 3).expect("frame");
        engine
            .csr_write(Bar::Bar0, 0x1c, 0xabcd_0000 + i as u32)
            .expect("write");
        engine.csr_write(Bar::Bar2, 0x40_0000, 1).expect("write");
        values.push(engine.csr_read(0x1c).expect("read"));
    }
    ran.push(engine.run(100_000).expect("idle"));
    for (iova, len) in [
        (buffer.iova, 8),
        (buffer.iova + 8, 2048),
        (buffer.iova + 4096, 64),
        (0x1000, 64),
    ] {
        engine.csr_write(Bar::Bar0, 0x400, iova as u32).expect("write");
        engine.csr_write(Bar::Bar0, 0x404, (iova >> 32) as u32).expect("write");
        engine.csr_write(Bar::Bar0, 0x414, len).expect("write");
        ran.push(engine.run(100_000).expect("idle"));
        sums.push(memory.read_word(iova + 0x800).unwrap_or(1));
    }
    values.push(engine.csr_read(0x110).expect("read"));
    values.push(engine.csr_read(0x200).expect("read"));
    engine.csr_write(Bar::Bar0, 0x408, 1).expect("write");
    assert!(
        matches!(engine.run(500), Err(EngineError::Busy { clocks: 500 })),
        "a stuck core is told"
    );
    engine.csr_write(Bar::Bar0, 0x408, 0).expect("write");
    ran.push(engine.run(500).expect("idle"));
    assert!(matches!(
        engine.csr_read(0xfff0),
        Err(EngineError::NoAnswer { offset: 0xfff0, .. })
    ));
    assert!(matches!(
        engine.csr_write(Bar::Bar0, 2, 0),
        Err(EngineError::BadOffset { .. })
    ));
    assert!(matches!(
        engine.rx(2, &[0; 60], false),
        Err(EngineError::BadFrame { .. })
    ));
    Did {
        tx: engine.take_tx(),
        values,
        ran,
        sums,
        clocks: engine.clocks(),
        faults: engine.dma_faults(),
    }
}

#[test]
fn the_bench_moves_frames_registers_and_dma() {
    let memory = HostMemory::new();
    let did = exercise(&mut Bench::new(Fake::default(), memory.clone()), &memory);
    let lengths: Vec<_> = did.tx.iter().map(|t| (t.port, t.bytes.len(), t.error)).collect();
    assert!(
        lengths.contains(&(1, 60, false)),
        "a frame of 1 byte is padded: {lengths:?}"
    );
    assert!(
        lengths.contains(&(0, 64, true)),
        "the error mark goes through: {lengths:?}"
    );
    assert!(lengths.contains(&(1, 9000, false)), "{lengths:?}");
    assert_eq!(lengths.len(), 7);
    let long = did.tx.iter().find(|t| t.bytes.len() == 1514).expect("it came");
    assert!(
        long.bytes.iter().enumerate().all(|(b, &v)| v == (b * 7 + 5) as u8),
        "bytes are in order"
    );
    assert_eq!(&did.values[..7], (0..7).map(|i| 0xabcd_0000 + i).collect::<Vec<u32>>());
    assert_eq!(did.values[7], 0x2345_6789, "the time is on the pins");
    assert_eq!(did.values[8], 14 + 12, "every write arrived once");
    let sum = |words: std::ops::Range<u64>| words.map(|i| i * 0x0101_0101).sum::<u64>();
    // The second read covers the word the first sum was written to.
    assert_eq!(did.sums, [0, sum(1..257) - 256 * 0x0101_0101, 0, 1]);
    assert_eq!(did.faults, 1, "the sum of the unmapped read went nowhere");
    assert!(did.ran[1..5].iter().all(|r| r.irqs == 2), "{:?}", did.ran);
}

#[test]
fn the_compiled_bench_does_the_same_in_the_same_clocks() {
    need_verilator();
    let memory = HostMemory::new();
    let trace = crate::pins::Trace::default();
    let mut bench = Bench::new(Fake::default(), memory.clone()).with_trace(trace.clone());
    let want = exercise(&mut bench, &memory);
    let trace = trace.lock().expect("nobody panicked").clone();
    let memory = HostMemory::new();
    let mut compiled = Compiled::start_verilog(FAKE, WIDTH, memory.clone()).expect("built");
    assert_eq!(exercise(&mut compiled, &memory), want);
    // And pin by pin, from power-on.
    compiled.reset().expect("reset");
    let inputs: Vec<PinsIn> = trace.iter().map(|(i, _)| *i).collect();
    let outputs = compiled.clock_pins(&inputs).expect("clocks");
    for (clock, (out, (_, want))) in outputs.iter().zip(&trace).enumerate() {
        // Beats that are not valid mean nothing.
        let mut out = *out;
        for port in 0..2 {
            if !out.tx_valid[port] {
                out.tx[port] = Beat::default();
            }
        }
        assert_eq!(out, *want, "clock {clock}");
    }
}

#[test]
fn a_child_that_dies_is_an_error_with_its_words() {
    need_verilator();
    let mut compiled = Compiled::start_verilog(FAKE, WIDTH, HostMemory::new()).expect("built");
    compiled.pipe.send(&[&[99]]).expect("sent");
    let error = compiled.csr_read(0x1c).expect_err("it ended").to_string();
    assert!(
        error.contains("ended unexpectedly") && error.contains("unknown record"),
        "{error}"
    );
    assert!(compiled.run(10).is_err(), "and stays one");
}

#[test]
fn verilog_that_does_not_compile_is_an_error_with_the_reason() {
    need_verilator();
    let error = build("module top(input clock); nonsense\n", HARNESS)
        .expect_err("it does not build")
        .to_string();
    assert!(
        error.contains("verilator failed") && error.contains("core.v:"),
        "{error}"
    );
}
