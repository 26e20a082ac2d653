//! The card itself, in both simulators: clock by clock, packet by packet.

use std::path::PathBuf;
use std::process::Command;

use nat64_driver::{HostMemory, LinkType};
use nat64_host::config;
use nat64_sim::compare::Compare;
use nat64_sim::compiled::{self, Compiled};
use nat64_sim::device::{Device, Output};
use nat64_sim::gateway::{compiled_factory, rtl_factory, GatewayDevice};
use nat64_sim::pcap::{Capture, Merge};
use nat64_sim::pins::{Bench, PinsIn, Trace};
use nat64_sim::rtl::Rtl;

fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

fn tree(name: &str) -> config::Tree {
    config::parse(
        &std::fs::read_to_string(example(name)).expect("the example is there"),
        name,
    )
    .expect("it is right")
}

/// Fails where the compiled engine cannot be built: a comparison that is left out would look like one that passed.
fn need_verilator() {
    let found = Command::new("verilator").arg("--version").output();
    let found = found.is_ok_and(|output| output.status.success());
    assert!(found, "verilator is missing: run `cargo xtask setup`");
}

/// Runs an example's captures through a device; returns how many packets left.
fn run(device: &mut dyn Device, names: [&str; 2], limit: usize) -> usize {
    let captures = [0, 1].map(|port| (port, Capture::open(&example(names[usize::from(port)])).expect("opens")));
    let mut merge = Merge::new(captures.into()).expect("packets");
    let mut sent = 0;
    let mut out = Output::default();
    for _ in 0..limit {
        let Some((port, packet)) = merge.next_packet().expect("whole") else {
            break;
        };
        out.clear();
        device.advance(packet.time_ns, &mut out).expect("time passes");
        device
            .packet(packet.time_ns, port, &packet.bytes, &mut out)
            .unwrap_or_else(|e| panic!("{e}"));
        sent += out.sent.len();
    }
    sent
}

#[test]
fn software_and_rtl_agree_on_the_examples() {
    for (conf, names) in [
        ("seed.conf", ["inside.pcap", "outside.pcap"]),
        ("vlan.conf", ["inside-vlan.pcap", "outside-vlan.pcap"]),
    ] {
        let device = |factory| -> Box<dyn Device> {
            Box::new(GatewayDevice::new(tree(conf), LinkType::Ethernet, 1, 0, factory, false).expect("it opens"))
        };
        let (soft, card) = (device(None), device(Some(rtl_factory())));
        let mut both = Compare::new(("soft".into(), soft), ("rtl".into(), card), LinkType::Ethernet);
        assert!(run(&mut both, names, usize::MAX) > 20, "{conf}");
        let totals = both.totals().unwrap_or_else(|e| panic!("{conf}: {e}"));
        assert!(
            totals.card_packets.iter().all(|&n| n > 0),
            "{conf}: the card translated: {totals:?}"
        );
    }
}

#[test]
fn the_card_translates_almost_everything_after_set_up() {
    need_verilator();
    let names = ["flows-inside.pcap", "flows-outside.pcap"];
    let mut device = GatewayDevice::new(
        tree("seed.conf"),
        LinkType::Ethernet,
        1,
        0,
        Some(compiled_factory(compiled::WIDTH)),
        false,
    )
    .expect("it opens");
    run(&mut device, names, usize::MAX);
    let totals = device.totals().expect("counters");
    let (card, host): (u64, u64) = (totals.card_packets.iter().sum(), totals.host_packets.iter().sum());
    println!("{totals:?}");
    assert!(
        card * 100 >= (card + host) * 98,
        "{card} by the card, {host} by the host"
    );
}

#[test]
fn the_verilog_agrees_with_the_simulator_clock_by_clock() {
    need_verilator();
    let trace = Trace::default();
    let recorded = trace.clone();
    let factory: nat64_sim::card::EngineFactory =
        Box::new(move |memory| Ok(Box::new(Bench::new(Rtl::new(), memory).with_trace(recorded))));
    let mut device =
        GatewayDevice::new(tree("seed.conf"), LinkType::Ethernet, 1, 0, Some(factory), false).expect("it opens");
    run(&mut device, ["inside.pcap", "outside.pcap"], 40);
    let trace = trace.lock().expect("nobody panicked").clone();
    assert!(trace.len() > 2000, "{} clocks", trace.len());
    let inputs: Vec<PinsIn> = trace.iter().map(|(input, _)| *input).collect();
    let mut compiled = Compiled::start(HostMemory::new()).expect("it starts");
    let outputs = compiled.clock_pins(&inputs).expect("clocks");
    for (clock, (output, (input, want))) in outputs.iter().zip(&trace).enumerate() {
        assert_eq!(output, want, "clock {clock}, {input:?}");
    }
}
