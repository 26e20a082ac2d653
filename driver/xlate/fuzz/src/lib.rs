//! Fuzz targets of `nat64-xlate`: what bytes do to the packet parser, and to a translator's life.
//!
//! The targets need nothing of libFuzzer, so `driver/xlate/tests/corpus.rs` replays the corpus with the stable compiler.
//! A fault is a panic.
#![forbid(unsafe_code)]

mod check;
mod life;
mod packets;
mod source;

pub use life::step;

use nat64_xlate::packet::{lengths, Packet4, Packet6};

/// Bytes as one packet of either family: reading, what an error quotes, and the lengths of packets in a row.
pub fn parser(data: &[u8]) {
    if let Ok(packet) = Packet6::parse(data) {
        assert!(packet.bytes.len() <= data.len() && packet.payload_at <= packet.bytes.len());
        assert!(packet.payload().len() + packet.payload_at == packet.bytes.len());
        let _ = packet.quote();
        // Padding behind the packet changes nothing.
        let longer = [data, &[0; 7]].concat();
        let again = Packet6::parse(&longer).expect("padding is ignored");
        assert_eq!((again.transport, again.bytes), (packet.transport, packet.bytes));
    }
    // The header checksum is nothing a fuzzer finds by chance.
    let mut bytes = data.to_vec();
    packets::sum_header4(&mut bytes);
    for bytes in [data, &bytes] {
        if let Ok(packet) = Packet4::parse(bytes) {
            assert!(packet.bytes.len() <= bytes.len() && packet.payload_at <= packet.bytes.len());
            let _ = packet.quote();
            let longer = [bytes, &[0; 7]].concat();
            let again = Packet4::parse(&longer).expect("padding is ignored");
            assert_eq!((again.transport, again.bytes), (packet.transport, packet.bytes));
        }
        let total: usize = lengths(bytes).sum();
        assert!(total <= bytes.len());
    }
}
