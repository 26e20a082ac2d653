//! The data path measured on its pins: clocks between packets, and from port to port.

use nat64_layout::PORTS;
use nat64_sim::engine::TxFrame;

use crate::rig::{client_udp, example, server_arp, server_udp, Clock, Rig};

/// Pool address of the session on the rig; its port is 1024.
pub const POOL: [u8; 4] = [203, 0, 113, 1];

/// A rig with one UDP session in the card: client 1, port 40000, pool port 1024.
pub fn rig() -> Rig {
    with_session(Rig::new(example("seed.conf")))
}

/// The same on the compiled core of `width` bits.
pub fn compiled_rig(width: usize) -> Rig {
    with_session(Rig::compiled(width, example("seed.conf")))
}

fn with_session(mut rig: Rig) -> Rig {
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

/// A frame of the rig's session into a port; an IPv6 frame has 62 bytes at least.
pub fn frame(port: u8, length: usize) -> Vec<u8> {
    match port {
        0 => client_udp(1, 40_000, length.max(62)),
        _ => server_udp(POOL, 1024, length),
    }
}

/// Clock numbers at which first words went in, and first words came out, of all ports.
pub fn firsts(record: &[Clock]) -> (Vec<usize>, Vec<usize>) {
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
pub fn burst(rig: &mut Rig, port: u8, frame: &[u8], count: usize) -> (Vec<Clock>, Vec<TxFrame>) {
    rig.record.take();
    for _ in 0..count {
        rig.wire.rx(port, frame, false);
    }
    let sent = rig.run();
    assert_eq!(sent.len(), count, "every frame of {} bytes is translated", frame.len());
    (rig.record.take(), sent)
}

/// Clocks from one packet to the next in the steady state of a burst, and from the first word of the first packet in
/// to its first word out.
pub fn measure(rig: &mut Rig, port: u8, length: usize) -> (f64, usize) {
    const COUNT: usize = 24;
    let (record, _) = burst(rig, port, &frame(port, length), COUNT);
    let (into, out) = firsts(&record);
    // The pipeline fills first.
    let from = COUNT / 3;
    let clocks = (out[COUNT - 1] - out[from]) as f64 / (COUNT - 1 - from) as f64;
    (clocks, out[0] - into[0])
}
