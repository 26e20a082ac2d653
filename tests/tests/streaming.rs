//! The core streams: one bus word per clock at every length, in both directions, with a fixed latency.

use nat64_tests::datapath::{burst, firsts, frame, rig};

#[test]
fn back_to_back_hits_take_one_word_a_clock_at_every_length() {
    let mut rig = rig();
    const COUNT: usize = 24;
    // every residue of the bus width at both ends, and a walk through the middle
    let lengths = (60..=92).chain((93..1480).step_by(97)).chain(1480..=1514);
    for length in lengths {
        for port in 0..2u8 {
            let frame = frame(port, length);
            if port == 1 && length > 1494 {
                continue; // more than 1,500 bytes of IPv6: the host answers with Fragmentation Needed
            }
            let (record, sent) = burst(&mut rig, port, &frame, COUNT);
            let (into, out) = firsts(&record);
            let longest = frame.len().max(sent[0].bytes.len());
            let limit = (longest * 8).div_ceil(64) + 1;
            for (name, firsts) in [("in", &into), ("out", &out)] {
                // the pipeline fills first; what counts is the steady state
                let span = firsts[COUNT - 1] - firsts[COUNT / 3];
                let packets = COUNT - 1 - COUNT / 3;
                assert!(
                    span <= limit * packets,
                    "port {port}, {length} bytes, {name}: {span} clocks for {packets} packets, {limit} each allowed"
                );
            }
        }
    }
}

#[test]
fn latency_is_fixed_and_as_the_card_says() {
    let mut rig = rig();
    let told = rig.gateway.card().expect("there is a card").datapath().latency() as usize;
    for length in [62, 64, 80, 88, 90, 100, 128, 300, 777, 1400, 1494] {
        for port in 0..2u8 {
            let (record, _) = burst(&mut rig, port, &frame(port, length), 1);
            let (into, out) = firsts(&record);
            assert_eq!(out[0] - into[0], told, "port {port}, {length} bytes");
        }
    }
    assert!(told <= 64, "{told} clocks from port to port");
    println!("port-to-port latency: {told} clocks");
}
