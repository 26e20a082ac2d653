//! Writes packets to capture files for `nat64-sim replay`.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapTsResolution, PcapWriteError, PcapWriter};
use pcap_file::DataLink;

/// Writes a nanosecond pcap of Ethernet frames: `(time in ns, bytes)`, rising times below 2^32 s.
pub fn write_ethernet(path: &Path, packets: impl IntoIterator<Item = (u64, Vec<u8>)>) -> Result<(), PcapWriteError> {
    let header = PcapHeader {
        datalink: DataLink::ETHERNET,
        ts_resolution: PcapTsResolution::NanoSecond,
        ..PcapHeader::default()
    };
    let file = File::create(path).map_err(PcapWriteError::Io)?;
    let mut writer = PcapWriter::with_header(BufWriter::new(file), header)?;
    for (time, bytes) in packets {
        let length = bytes.len() as u32;
        let packet = PcapPacket::new(Duration::from_nanos(time), length, bytes).map_err(PcapWriteError::Validation)?;
        writer.write_packet(&packet)?;
    }
    writer.flush()
}
