//! The core after synthesis for an ECP5 does what the core does: the example captures through a gateway on the RustHDL simulator, every
//! clock of the card's pins recorded, then the netlist under Verilator with the same inputs. `cargo xtask netlist` makes the netlist
//! and runs this.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;

use nat64_driver::HostMemory;
use nat64_sim::compiled::Compiled;
use nat64_sim::pins::{Beat, PinsIn, PinsOut};
use nat64_tests::program::workspace;
use nat64_tests::rig::{example, Clock, Rig};
use pcap_file::pcap::PcapReader;

/// Configuration and captures of what is replayed, and frames of them at most.
const RUNS: [(&str, [&str; 2], usize); 3] = [
    ("seed.conf", ["inside.pcap", "outside.pcap"], usize::MAX),
    ("vlan.conf", ["inside-vlan.pcap", "outside-vlan.pcap"], usize::MAX),
    ("seed.conf", ["flows-inside.pcap", "flows-outside.pcap"], 1000),
];

/// Look-up tables that are turned over in the netlist that must not agree.
const BROKEN: usize = 16;

/// Frames of the two ports in the order of their times, ns.
fn frames(names: [&str; 2], most: usize) -> Vec<(u64, u8, Vec<u8>)> {
    let mut all = Vec::new();
    for (port, name) in (0u8..).zip(names) {
        let file = File::open(workspace().join("examples").join(name)).expect("an example");
        let mut reader = PcapReader::new(file).expect("a capture");
        while let Some(packet) = reader.next_packet() {
            let packet = packet.expect("a packet");
            all.push((packet.timestamp().as_nanos() as u64, port, packet.data().to_vec()));
        }
    }
    all.sort_by_key(|(time, port, _)| (*time, *port));
    all.truncate(most);
    all
}

/// What the RustHDL simulator does with it, clock by clock from power-on, and how many frames came out.
fn record(config: &str, frames: &[(u64, u8, Vec<u8>)]) -> (Vec<Clock>, usize) {
    let mut rig = Rig::new(example(config));
    let (begin, first) = (rig.now, frames[0].0);
    let mut left = 0;
    for (time, port, frame) in frames {
        rig.now = begin + (time - first);
        rig.wire.set_time(rig.now);
        left += rig.send(*port, frame).len();
    }
    (rig.record.take(), left)
}

/// Beats that are not valid mean nothing.
fn meant(mut out: PinsOut) -> PinsOut {
    for port in 0..2 {
        if !out.tx_valid[port] {
            out.tx[port] = Beat::default();
        }
    }
    if !out.mw_valid {
        (out.mw_addr, out.mw_data, out.mw_first, out.mw_last) = (0, 0, false, false);
    }
    if !out.mr_valid {
        (out.mr_addr, out.mr_len) = (0, 0);
    }
    if !out.csr_done {
        out.csr_rdata = 0;
    }
    out
}

/// The first clock in which the netlist does otherwise.
fn first_difference(netlist: &str, record: &[Clock]) -> Option<(usize, PinsOut, PinsOut)> {
    let mut engine = Compiled::start_verilog(netlist, 64, HostMemory::new()).unwrap_or_else(|e| panic!("{e}"));
    for (part, clocks) in record.chunks(1 << 14).enumerate() {
        let inputs: Vec<PinsIn> = clocks.iter().map(|(i, _)| *i).collect();
        let outputs = engine.clock_pins(&inputs).unwrap_or_else(|e| panic!("{e}"));
        for (i, (got, (_, want))) in outputs.into_iter().zip(clocks).enumerate() {
            let (got, want) = (meant(got), meant(*want));
            if got != want {
                return Some(((part << 14) + i, got, want));
            }
        }
    }
    None
}

/// The netlist with some look-up tables turned over, evenly from all of it.
fn broken(netlist: &str) -> String {
    const INIT: &str = ".INIT(16'h";
    let places: Vec<usize> = netlist.match_indices(INIT).map(|(at, _)| at + INIT.len()).collect();
    assert!(places.len() > 1000, "only {} look-up tables", places.len());
    let mut bytes = netlist.as_bytes().to_vec();
    for at in places.iter().step_by(places.len() / BROKEN) {
        for digit in &mut bytes[*at..*at + 4] {
            let value = char::from(*digit).to_digit(16).expect("a hexadecimal digit");
            *digit = b"fedcba9876543210"[value as usize];
        }
    }
    String::from_utf8(bytes).expect("it was text")
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(report)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: netlist NETLIST REPORT (`cargo xtask netlist` makes the one and keeps the other)");
        std::process::exit(2);
    };
    let netlist = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
    let mut text = String::new();
    let mut shortest: Option<Vec<Clock>> = None;
    for (config, captures, most) in RUNS {
        let frames = frames(captures, most);
        let (record, left) = record(config, &frames);
        assert!(
            left > frames.len() / 2,
            "{config}: {left} of {} frames left the card",
            frames.len()
        );
        if let Some((clock, got, want)) = first_difference(&netlist, &record) {
            panic!("{config}, {captures:?}, clock {clock}: the netlist has {got:?}, the simulator {want:?}");
        }
        let line = format!(
            "{config}, {}: {} frames in, {left} out, {} clocks, every output of each the same",
            captures.join(" and "),
            frames.len(),
            record.len()
        );
        println!("{line}");
        text += &(line + "\n");
        if shortest.as_ref().is_none_or(|shortest| record.len() < shortest.len()) {
            shortest = Some(record);
        }
    }
    let record = shortest.expect("there are runs");
    let (clock, ..) = first_difference(&broken(&netlist), &record).expect("a broken netlist does otherwise");
    let _ = writeln!(
        text,
        "with {BROKEN} look-up tables turned over, the first difference is in clock {clock}"
    );
    std::fs::write(Path::new(&report), text).unwrap_or_else(|e| panic!("{report}: {e}"));
}
