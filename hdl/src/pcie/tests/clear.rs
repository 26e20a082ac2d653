//! The function-level reset.

use super::*;
use nat64_layout::record::{STASH_BASE, TAG_BANK_STRIDE, TAG_BASE};

#[test]
fn a_reset_drains_then_clears_everything_the_host_can_see() {
    let mut rig = Rig::new(20, true);
    rig.write_register(Ctrl::OFFSET, &[1]);
    rig.write_register(MSIX_TABLE, &[0xfee0_0000, 0, 0x40, 0]);
    // a read of the card is under way, and the core has work
    rig.reading.push_back((0x2000, 64));
    for _ in 0..50 {
        rig.clock(0.0);
    }
    let asked = std::mem::take(&mut rig.out);
    assert_eq!(asked.len(), 1);
    rig.bench.uut.core_drained.next = false;
    rig.registers.clear();
    rig.bench.uut.cfg_flr.next = true;
    rig.clock(0.0);
    rig.bench.uut.cfg_flr.next = false;
    rig.bench.uut.irq.next = 1.into();
    rig.burst = (0..16).map(|i| (0x1000 + 8 * i, i, i % 8 == 7)).collect();
    rig.reading.push_back((0x4000, 256));
    for _ in 0..200 {
        rig.clock(0.0);
        rig.bench.uut.irq.next = 0.into();
    }
    assert!(rig.bench.uut.resetting.val());
    let off: HashMap<u32, u32> = [Ctrl::OFFSET, ExcCtrl::OFFSET, InjCtrl::OFFSET].map(|o| (o, 0)).into();
    assert_eq!(rig.registers, off, "switched off, and no more before the core is empty");
    assert!(rig.out.is_empty(), "no requests of the card");
    // what the host asks meanwhile
    rig.rx
        .push_back((request(0xf000_0100, false, 1, [15, 0], 0, 0, Some(&[u32::MAX])), 1));
    rig.rx
        .push_back((request(0xf000_0100, false, 1, [15, 0], 5, 0, None), 1));
    for _ in 0..100 {
        rig.clock(0.0);
    }
    assert_eq!(
        rig.out,
        [vec![
            0x0a00_0000,
            u32::from(ID) << 16 | 1 << 13 | 4,
            u32::from(HOST) << 16 | 5 << 8
        ]]
    );
    assert_eq!(rig.registers, off);
    // the core is empty, but the read is not over
    rig.bench.uut.core_drained.next = true;
    for _ in 0..200 {
        rig.clock(0.0);
    }
    assert_eq!(rig.registers, off);
    assert!(rig.bench.uut.pending.val());
    let tag = (asked[0][1] >> 8) as u8;
    let data: Vec<u32> = (0..16).map(|i| memory(0x2000 + 4 * i)).collect();
    rig.rx.push_back((completion(tag, 0, 64, 0, 0, &data), 0));
    let mut clocks = 0;
    while rig.bench.uut.resetting.val() {
        rig.clock(0.0);
        clocks += 1;
        assert!(clocks < 20_000);
    }
    // eight words of the first read, an error for each piece of the second
    let errors: Vec<bool> = rig.got.drain(..).map(|g| g.2).collect();
    assert_eq!(errors, [vec![false; 8], vec![true; 2]].concat());
    rig.words.clear();
    let end = 0x6000 + 8 * 8;
    let mut want: HashMap<u32, u32> = (0..end).step_by(4).map(|o| (o, 0)).collect();
    want.remove(&DumpGo::OFFSET);
    assert_eq!(rig.registers, want);
    let tags = |bank: u32| (0..16).map(move |i| (TAG_BASE + bank * TAG_BANK_STRIDE + 4 * i, 0));
    let window: Vec<(u32, u32)> = tags(0)
        .chain(tags(1))
        .chain((0..32).map(|i| (STASH_BASE + 4 * i, 0)))
        .collect();
    assert_eq!(rig.window, window);
    assert_eq!(rig.registers(MSIX_TABLE, 4), [0, 0, 0, 1]);
    assert_eq!(
        rig.registers(MSIX_PBA, 1),
        [0],
        "what happened in the reset is forgotten"
    );
    // two bursts and one write of the host
    assert_eq!(rig.registers(PcieDropped::OFFSET, 2), [3, 1]);
    rig.bench.agrees_with_verilog("pcie_clear");
}
