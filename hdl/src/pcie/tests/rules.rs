//! What single blocks promise: latency, interrupts, bus master enable, who may pass whom, a core that does not answer.

use super::super::msix::Msix;
use super::*;
use nat64_layout::pcie::mac_base;

fn irq(rig: &mut Rig, vectors: u64) {
    rig.bench.uut.irq.next = vectors.into();
    rig.clock(0.0);
    rig.bench.uut.irq.next = 0.into();
}

/// Runs some clocks and takes the card's posted writes off.
fn run(rig: &mut Rig, clocks: usize) {
    for _ in 0..clocks {
        rig.clock(0.0);
    }
    for tlp in std::mem::take(&mut rig.out) {
        rig.posted(&tlp);
    }
}

fn read_tlp(offset: u32, tag: u8) -> (Vec<u32>, u32) {
    (
        request(0xf000_0000 + u64::from(offset), false, 1, [15, 0], tag, 0, None),
        1,
    )
}

#[test]
fn latencies_are_those_of_the_constants_and_of_the_readme() {
    let mut rig = Rig::new(1, false);
    let tlp = request(0xf000_0100, false, 1, [15, 0], 0, 0, Some(&[1]));
    rig.rx.push_back((tlp, 1));
    let mut clocks = 0;
    while rig.registers.is_empty() {
        rig.clock(0.0);
        clocks += 1;
    }
    // the last of them is the clock in which csr_write stands
    let write = clocks - 1;
    rig.drain();
    rig.rx.push_back(read_tlp(0x100, 1));
    let (mut clocks, mut core) = (0, 0);
    while !rig.bench.uut.tlp_tx_valid.val() {
        core += usize::from(rig.read.is_some());
        rig.clock(0.0);
        clocks += 1;
        rig.bench.settle();
    }
    assert_eq!((write, clocks - core), (WRITE_CLOCKS, READ_CLOCKS), "write, read");
    let readme = include_str!("../../../README.md");
    for (block, clocks) in [
        ("BAR write to the core", WRITE_CLOCKS),
        ("BAR read beside the core", READ_CLOCKS),
    ] {
        assert!(
            readme.contains(&format!("\n| {block} | {clocks} | ")),
            "README.md: {block} takes {clocks}"
        );
    }
}

#[test]
fn words_of_the_macs_are_read_and_written() {
    let mut rig = Rig::new(7, true);
    for port in 0..2 {
        let want: Vec<u32> = (16 * port as u32..).take(16).map(|word| word * 0x0101_0101).collect();
        assert_eq!(rig.registers(mac_base(port), 16), want, "port {port}");
        assert_eq!(rig.registers(mac_base(port) - 8, 4)[2..], want[..2]);
    }
    // from the core's registers into those of the layer
    assert_eq!(rig.registers(0x4fc, 2), [3 * 0x4fc, u32::from(ID) << 16 | 3]);
    rig.write_register(Mac1Mdio::OFFSET, &[0xc052_1234]);
    rig.write_register(Mac0Status::OFFSET, &[1, 2]);
    rig.write_register(PcieState::OFFSET, &[3]);
    rig.write_register(MsixModeration0::OFFSET, &[4, 5]);
    assert_eq!(rig.macs, [(30, 0xc052_1234), (0, 1), (1, 2)]);
    assert_eq!(rig.registers(MsixModeration0::OFFSET, 2), [4, 5]);
    // bytes that are not enabled are zero, so nothing begins
    let data = [0xffff_ffffu32];
    rig.rx.push_back((
        request(
            0xf000_0000 + u64::from(Mac0Mdio::OFFSET),
            false,
            1,
            [7, 0],
            0,
            0,
            Some(&data),
        ),
        1,
    ));
    rig.drain();
    assert_eq!(rig.macs[3..], [(14, 0x00ff_ffff)]);
    rig.bench.agrees_with_verilog("pcie_macs");
}

#[test]
fn vectors_are_masked_pending_and_moderated_one_by_one() {
    let mut rig = Rig::new(2, true);
    assert_eq!(
        rig.registers(MSIX_TABLE, 8),
        [0, 0, 0, 1, 0, 0, 0, 1],
        "masked at power-on"
    );
    rig.write_register(MSIX_TABLE, &[0xfee0_1003, 0x12, 0x40, 1, 0xfee0_2000, 0, 0x41, 0]);
    assert_eq!(
        rig.registers(MSIX_TABLE, 8),
        [0xfee0_1000, 0x12, 0x40, 1, 0xfee0_2000, 0, 0x41, 0],
        "the lowest bits of an address are zero"
    );
    irq(&mut rig, 3);
    run(&mut rig, 100);
    assert_eq!(std::mem::take(&mut rig.messages), [0x41], "vector 0 is masked");
    assert_eq!(rig.registers(MSIX_PBA, 2), [1, 0]);
    // bus master and function mask hold all of them
    rig.bench.uut.cfg_msix_mask.next = true;
    rig.write_register(MSIX_TABLE + 12, &[0]);
    irq(&mut rig, 2);
    run(&mut rig, 100);
    assert_eq!(rig.registers(MSIX_PBA, 1), [3]);
    rig.bench.uut.cfg_msix_mask.next = false;
    rig.bench.uut.cfg_bus_master.next = false;
    run(&mut rig, 100);
    assert_eq!(rig.registers(MSIX_PBA, 1), [3]);
    rig.bench.uut.cfg_bus_master.next = true;
    rig.bench.uut.cfg_msix_enable.next = false;
    run(&mut rig, 100);
    assert!(rig.messages.is_empty());
    rig.bench.uut.cfg_msix_enable.next = true;
    run(&mut rig, 100);
    assert_eq!(std::mem::take(&mut rig.messages), [0x40, 0x41]);
    assert_eq!(rig.registers(MSIX_PBA, 1), [0]);
    // one byte of the control word masks
    let tlp = request(0xf000_c00c, false, 1, [1, 0], 0, 0, Some(&[u32::MAX]));
    rig.rx.push_back((tlp, 1));
    rig.drain();
    assert_eq!(rig.registers(MSIX_TABLE + 12, 1), [1]);
    // events within the moderation time are one message, after it
    rig.write_register(MsixModeration1::OFFSET, &[10]);
    assert_eq!(rig.registers(MsixModeration0::OFFSET, 2), [0, 10]);
    irq(&mut rig, 2);
    run(&mut rig, 20);
    assert_eq!(std::mem::take(&mut rig.messages), [0x41]);
    for _ in 0..5 {
        irq(&mut rig, 2);
        run(&mut rig, 20);
    }
    assert!(rig.messages.is_empty());
    run(&mut rig, 320);
    assert_eq!(std::mem::take(&mut rig.messages), [0x41]);
    rig.bench.agrees_with_verilog("pcie_msix");
}

#[test]
fn no_dma_before_bus_master_is_enabled() {
    let mut rig = Rig::new(3, false);
    rig.bench.uut.cfg_bus_master.next = false;
    rig.burst = (0..40).map(|i| (0x1000 + 8 * i, i, i % 8 == 7)).collect();
    rig.reading.push_back((0x2000, 1024));
    rig.drain();
    assert!(rig.out.is_empty(), "{:x?}", rig.out);
    assert_eq!(rig.got.len(), 8, "one word for each piece");
    assert!(rig.got.iter().all(|g| g.2));
    assert!(rig.got.back().is_some_and(|g| g.1));
    rig.words.clear();
    assert_eq!(rig.registers(PcieDropped::OFFSET, 1), [5]);
    rig.bench.uut.cfg_bus_master.next = true;
    rig.burst = [(0x1000, 5, true)].into();
    rig.drain();
    let tlps = std::mem::take(&mut rig.out);
    assert_eq!(tlps.len(), 1);
    rig.posted(&tlps[0]);
}

/// Words are thrown away one by one: bus master that is enabled between two of them neither saves nor takes one too many.
#[test]
fn a_tlp_that_is_thrown_away_goes_whole() {
    let (mut some, mut none) = (0, 0);
    for wait in 0..130 {
        let mut rig = Rig::new(8, wait == 50);
        rig.bench.uut.cfg_bus_master.next = false;
        // TLPs of one word back to back, then two of 16
        rig.burst = (0..48)
            .map(|i| (0x1000 + 8 * i, i + 1, i < 16 || i % 16 == 15))
            .collect();
        run(&mut rig, wait);
        rig.bench.uut.cfg_bus_master.next = true;
        rig.drain();
        let tlps = std::mem::take(&mut rig.out);
        let dropped = 18 - tlps.len();
        rig.words
            .drain(..(0..dropped).map(|tlp| if tlp < 16 { 1 } else { 16 }).sum::<usize>());
        for tlp in &tlps {
            rig.posted(tlp);
        }
        assert!(rig.words.is_empty(), "{wait}");
        assert_eq!(rig.registers(PcieDropped::OFFSET, 1), [dropped as u32], "{wait}");
        if wait == 50 {
            rig.bench.agrees_with_verilog("pcie_discard");
        }
        some += usize::from(dropped > 0 && !tlps.is_empty());
        none += usize::from(tlps.is_empty());
    }
    assert!(some > 20 && none > 5, "{some} {none}");
}

/// Posted writes of both directions get on whatever happens to reads and completions.
#[test]
fn posted_writes_wait_for_nothing_but_their_own_credit() {
    let mut rig = Rig::new(4, true);
    rig.bench.uut.credit_n.next = false;
    rig.bench.uut.credit_c.next = false;
    rig.reading.push_back((0x2000, 128));
    for tag in 0..30 {
        rig.rx.push_back(read_tlp(0x1000, tag));
    }
    run(&mut rig, 600);
    assert!(!rig.bench.uut.tlp_rx_np_ok.val(), "no more reads are asked for");
    let held = rig.rx.len();
    assert!(held > 0, "reads that wait in the link block");
    // what the host writes, past its own reads
    let reads = std::mem::take(&mut rig.rx);
    rig.rx.extend((0..30).map(|i| {
        let tlp = request(0xf000_2000 + 4 * i, false, 1, [15, 0], 0, 0, Some(&[0x0100_0000]));
        (tlp, 1)
    }));
    rig.burst = (0..32).map(|i| (0x1000 + 8 * i, i, i % 16 == 15)).collect();
    run(&mut rig, 600);
    assert_eq!(rig.seen, 32);
    assert!((0..30).all(|i| rig.registers.get(&(0x2000 + 4 * i)) == Some(&1)));
    // with credits everything comes
    rig.bench.uut.credit_n.next = true;
    rig.bench.uut.credit_c.next = true;
    rig.rx = reads;
    for _ in 0..3000 {
        rig.clock(0.0);
    }
    let completions = rig.out.iter().filter(|t| t[0] >> 24 == 0x4a).count();
    assert_eq!((completions, rig.out.len()), (30, 31));
    rig.bench.agrees_with_verilog("pcie_order");
}

/// A completion and a read request wait for the posted writes before them, also when those have no credit.
#[test]
fn nothing_passes_a_posted_write() {
    let mut rig = Rig::new(5, false);
    rig.bench.uut.credit_p.next = false;
    rig.burst = [(0x1000, 7, true)].into();
    rig.clock(0.0);
    rig.clock(0.0);
    rig.reading.push_back((0x2000, 8));
    rig.rx.push_back(read_tlp(PROGRESS, 3));
    for _ in 0..300 {
        rig.clock(0.0);
    }
    assert!(rig.out.is_empty());
    rig.bench.uut.credit_p.next = true;
    for _ in 0..100 {
        rig.clock(0.0);
    }
    let kinds: Vec<u32> = rig.out.iter().map(|t| t[0] >> 24).collect();
    assert_eq!(kinds.len(), 3);
    assert_eq!(kinds[0], 0x40, "{kinds:x?}");
}

#[test]
fn a_register_that_does_not_answer_aborts_the_read() {
    let mut rig = Rig::new(6, true);
    rig.rx
        .push_back((request(0xf000_1002, false, 3, [12, 3], 9, 0, None), 1));
    for _ in 0..1200 {
        rig.clock(0.0);
        rig.read = None;
    }
    assert_eq!(
        rig.out,
        [vec![
            0x0a00_0000,
            u32::from(ID) << 16 | 4 << 13 | 8,
            u32::from(HOST) << 16 | 9 << 8 | 2
        ]]
    );
    assert_eq!(rig.registers(PcieAborted::OFFSET, 1), [1]);
    rig.bench.agrees_with_verilog("pcie_abort");
}

/// A completion that comes after its request timed out is not taken for one of the next request.
#[test]
fn a_late_completion_is_unexpected() {
    let mut rig = Rig::new(7, false);
    rig.reading.push_back((0x2000, 8));
    for _ in 0..(1 << TIMEOUT) + 100 {
        rig.clock(0.0);
    }
    assert_eq!(rig.got.pop_front(), Some((0, true, true)));
    assert_eq!(rig.out.len(), 1);
    let tag = (rig.out[0][1] >> 8) as u8;
    // seven more, so that the next one has its place in the buffer
    for _ in 0..8 {
        rig.out.clear();
        rig.reading.push_back((0x3000, 8));
        while rig.out.is_empty() {
            rig.clock(0.0);
        }
        let next = (rig.out[0][1] >> 8) as u8;
        assert_ne!(next, tag);
        rig.rx.push_back((completion(tag, 0, 8, 0, 0, &[1, 2]), 0));
        rig.rx.push_back((completion(next, 0, 8, 0, 0, &[0x0300_0000, 0]), 0));
        while rig.got.is_empty() {
            rig.clock(0.0);
        }
        assert_eq!(rig.got.pop_front(), Some((3, true, false)));
    }
    assert_eq!(rig.registers(PcieUnexpected::OFFSET, 2), [8, 1]);
}

/// What happens in the very clock in which a message leaves is told by another message.
#[test]
fn an_event_in_the_clock_of_its_message_comes_after_it() {
    let mut bench = Bench::new(Msix::default());
    let uut = &mut bench.uut;
    uut.enable.next = true;
    uut.go.next = true;
    // vector 0: not masked
    uut.write.next.valid = true;
    uut.write.next.word = 3.into();
    uut.write.next.mask = 0xffff_ffffu64.into();
    bench.settle();
    bench.edge();
    bench.uut.write.next.valid = false;
    let mut clock = |irq: u64, ready: bool| {
        bench.uut.irq.next = irq.into();
        bench.uut.message_ready.next = ready;
        bench.settle();
        let offered = bench.uut.message_valid.val();
        bench.edge();
        offered
    };
    assert!(!clock(1, false));
    assert!(clock(0, false), "the message is offered");
    assert!(clock(1, true), "it is taken while another event comes");
    assert!(clock(0, true), "which has a message of its own");
    assert!(!clock(0, true) && !clock(0, true), "and no more");
}
