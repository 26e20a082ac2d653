//! The core streams: one bus word per clock at every length, in both directions, with a fixed latency.

use nat64_tests::datapath::{burst, compiled_rig, firsts, frame, rig};

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
            let limit = (longest * 8).div_ceil(64);
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

/// Clocks of the packets of a burst at which their last words left, in the steady state: the longest gap, and the mean.
fn gaps(sent: &[nat64_sim::engine::TxFrame]) -> (u64, f64) {
    let steady = &sent[sent.len() / 3..];
    let longest = steady.windows(2).map(|pair| pair[1].clock - pair[0].clock).max();
    let span = steady[steady.len() - 1].clock - steady[0].clock;
    (longest.expect("packets"), span as f64 / (steady.len() - 1) as f64)
}

#[test]
fn wide_cores_take_one_word_a_clock_and_one_lookup_a_clock() {
    for width in [128usize, 512] {
        let bytes = width / 8;
        let mut rig = compiled_rig(width);
        const COUNT: usize = 48;
        for length in (60..=140).chain((141..1480).step_by(61)).chain(1480..=1494) {
            for port in 0..2u8 {
                let frame = frame(port, length);
                let (_, sent) = burst(&mut rig, port, &frame, COUNT);
                let words = frame.len().max(sent[0].bytes.len()).div_ceil(bytes);
                let (longest, mean) = gaps(&sent);
                assert!(
                    mean <= words as f64 && longest <= words as u64,
                    "{width} bits, port {port}, {length} bytes: {mean} clocks a packet, {longest} at most, for {words} words"
                );
                if width == 512 && words == 1 {
                    assert_eq!(longest, 1, "a packet, and so a lookup, at every clock");
                }
            }
        }
    }
}
