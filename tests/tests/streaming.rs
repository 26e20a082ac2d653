//! The core streams: one bus word per clock at every length, in both directions, with a fixed latency.

use nat64_layout::PORTS;
use nat64_sim::engine::TxFrame;
use nat64_tests::rig::{client_udp, example, server_arp, server_udp, Clock, Rig};

const POOL: [u8; 4] = [203, 0, 113, 1];

/// A rig with one UDP session in the card: client 1, port 40000, pool port 1024.
fn rig() -> Rig {
    let mut rig = Rig::new(example("seed.conf"));
    rig.send(1, &server_arp(POOL));
    rig.send(0, &client_udp(1, 40_000, 100));
    let sent = rig.send(0, &client_udp(1, 40_000, 100));
    assert_eq!(sent.len(), 1);
    let card = rig
        .gateway
        .card_counters()
        .expect("the card answers")
        .expect("there is a card");
    assert_eq!(card.translated(), [1, 0], "the second packet is the card's own");
    rig
}

/// Clock numbers at which first words went in, and first words came out, of all ports.
fn firsts(record: &[Clock]) -> (Vec<usize>, Vec<usize>) {
    let (mut into, mut out) = (Vec::new(), Vec::new());
    for (clock, (i, o)) in record.iter().enumerate() {
        for port in 0..PORTS {
            if i.rx_valid[port] && o.rx_ready[port] && i.rx[port].first {
                into.push(clock);
            }
            if o.tx_valid[port] && i.tx_ready[port] && o.tx[port].first {
                out.push(clock);
            }
        }
    }
    (into, out)
}

/// Sends `count` frames of this length back to back; gives the record and what left.
fn burst(rig: &mut Rig, port: u8, frame: &[u8], count: usize) -> (Vec<Clock>, Vec<TxFrame>) {
    rig.record.take();
    for _ in 0..count {
        rig.wire.rx(port, frame, false);
    }
    let sent = rig.run();
    assert_eq!(sent.len(), count, "every frame of {} bytes is translated", frame.len());
    (rig.record.take(), sent)
}

#[test]
fn back_to_back_hits_take_one_word_a_clock_at_every_length() {
    let mut rig = rig();
    const COUNT: usize = 24;
    // every residue of the bus width at both ends, and a walk through the middle
    let lengths = (60..=92).chain((93..1480).step_by(97)).chain(1480..=1514);
    for length in lengths {
        for port in 0..2u8 {
            // an IPv6 frame has 62 bytes at least; what is shorter arrives padded
            let frame = match port {
                0 => client_udp(1, 40_000, length.max(62)),
                _ => server_udp(POOL, 1024, length),
            };
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
            let frame = if port == 0 {
                client_udp(1, 40_000, length)
            } else {
                server_udp(POOL, 1024, length)
            };
            let (record, _) = burst(&mut rig, port, &frame, 1);
            let (into, out) = firsts(&record);
            assert_eq!(out[0] - into[0], told, "port {port}, {length} bytes");
        }
    }
    assert!(told <= 64, "{told} clocks from port to port");
    println!("port-to-port latency: {told} clocks");
}
