//! Card and software side by side over random traffic: packets, drops and their reasons must agree.

use nat64_tests::capture::write_ethernet;
use nat64_tests::program::{nat64_sim, output};
use nat64_tests::traffic::{Mix, Side, Traffic};

/// VLAN ids inside and outside, and the percentage of frames that are tagged.
type Vlans = Option<(u16, u16, u32)>;

/// Two configurations the traffic is sent through: the worked example, and the one with VLAN units.
const CONFIGS: [(&str, Vlans); 2] = [("examples/seed.conf", None), ("examples/vlan.conf", Some((10, 20, 85)))];

/// `NAT64_SEED` gives another seed.
fn seed() -> u64 {
    let seed = std::env::var("NAT64_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(64);
    println!("seed {seed}; NAT64_SEED={seed} repeats it");
    seed
}

fn compare(engine: &str, width: &str, packets: usize, mix: Mix) {
    for (config, vlans) in CONFIGS {
        let seed = seed();
        let frames: Vec<_> = Traffic::new(seed, Mix { vlans, ..mix })
            .take(packets / CONFIGS.len())
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let side = |side| {
            frames
                .iter()
                .filter(move |f| f.side == side)
                .map(|f| (f.time, f.bytes.clone()))
        };
        write_ethernet(&dir.path().join("inside.pcap"), side(Side::Inside)).unwrap();
        write_ethernet(&dir.path().join("outside.pcap"), side(Side::Outside)).unwrap();
        let summary = output(
            nat64_sim()
                .args([
                    "replay", "--json", "--engine", "both", "--with", engine, "--width", width, "--config", config,
                ])
                .args(["--until", "400s", "--seed", &seed.to_string(), "--out-dir"])
                .arg(dir.path().join("out"))
                .arg("--in")
                .arg(format!("inside={}", dir.path().join("inside.pcap").display()))
                .arg("--in")
                .arg(format!("outside={}", dir.path().join("outside.pcap").display())),
        );
        let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
        // Agreement over nothing would prove nothing.
        let card = summary["translated_by_card"]["six_to_four"].as_u64().unwrap()
            + summary["translated_by_card"]["four_to_six"].as_u64().unwrap();
        assert!(
            card as usize > packets / CONFIGS.len() / 8,
            "the card translated only {card} packets: {summary:#}"
        );
        let reasons = summary["drops"].as_array().unwrap().len() + summary["punts"].as_array().unwrap().len();
        assert!(
            packets < 2000 || reasons >= 20,
            "only {reasons} reasons came up: {summary:#}"
        );
        // UDP, ICMP and half-open sessions have ended by then, at the same instants on both sides.
        let (made, alive) = (
            summary["sessions_made"].as_u64().unwrap(),
            summary["sessions"].as_u64().unwrap(),
        );
        assert!(alive * 4 < made, "{alive} of {made} sessions are left");
    }
}

#[test]
fn the_compiled_core_and_the_software_agree_on_20000_packets() {
    compare("rtl-compiled", "64", 20_000, Mix::default());
}

#[test]
fn the_compiled_cores_of_128_and_512_bits_and_the_software_agree_on_20000_packets() {
    for width in ["128", "512"] {
        compare("rtl-compiled", width, 20_000, Mix::default());
    }
}

#[test]
fn the_rtl_simulator_and_the_software_agree_on_500_packets() {
    // few endpoints, so that many of the few packets hit
    compare(
        "rtl",
        "64",
        500,
        Mix {
            clients: 2,
            servers: 2,
            ports: 1,
            ..Mix::default()
        },
    );
}
