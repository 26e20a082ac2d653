//! The example captures through the program, judged by tshark and scapy's captures, not by our own parser.

use std::path::Path;
use std::process::Command;

use nat64_tests::program::{nat64_sim, output, workspace};
use serde_json::Value;

/// Replays two captures; gives the summary.
fn replay(config: &str, inside: &str, outside: &str, engine: &str, out: &Path) -> Value {
    let text = output(
        nat64_sim()
            .args(["replay", "--json", "--engine", engine, "--config", config])
            .args([
                "--in",
                &format!("inside={inside}"),
                "--in",
                &format!("outside={outside}"),
            ])
            .arg("--out-dir")
            .arg(out),
    );
    serde_json::from_str(&text).expect("the summary is JSON")
}

/// Fields of every packet as tshark reads them, with all checksums verified.
fn tshark(capture: &Path, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command
        .arg("-r")
        .arg(capture)
        .args(["-n", "-T", "fields", "-E", "separator=|", "-E", "occurrence=f"]);
    for protocol in ["ip", "tcp", "udp"] {
        command.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
    }
    for field in fields {
        command.args(["-e", field]);
    }
    output(&mut command)
        .lines()
        .map(|line| line.split('|').map(str::to_string).collect())
        .collect()
}

/// Every checksum of every packet is "Good" (1 in tshark's words) or absent; gives how many were good.
fn checksums_are_good(capture: &Path) -> usize {
    let statuses = [
        "ip.checksum.status",
        "tcp.checksum.status",
        "udp.checksum.status",
        "icmp.checksum.status",
        "icmpv6.checksum.status",
    ];
    let mut good = 0;
    for (number, packet) in tshark(capture, &statuses).iter().enumerate() {
        for (name, status) in statuses.iter().zip(packet) {
            assert!(
                matches!(status.as_str(), "" | "1"),
                "{}: packet {}: {name} is {status}",
                capture.display(),
                number + 1
            );
            good += usize::from(status == "1");
        }
    }
    // A damaged or cut packet shows here, whatever its checksums say.
    let malformed = output(
        Command::new("tshark")
            .arg("-r")
            .arg(capture)
            .args(["-n", "-Y", "_ws.malformed"]),
    );
    assert_eq!(malformed, "", "{}", capture.display());
    good
}

#[test]
fn the_rtl_translates_the_worked_example_with_good_checksums() {
    let out = tempfile::tempdir().unwrap();
    let summary = replay(
        "examples/seed.conf",
        "examples/inside.pcap",
        "examples/outside.pcap",
        "rtl",
        out.path(),
    );
    let (inside, outside) = (out.path().join("inside.pcapng"), out.path().join("outside.pcapng"));
    assert!(checksums_are_good(&inside) >= 20 && checksums_are_good(&outside) >= 20);
    // Every IPv6 packet that tshark sees go in comes out as an IPv4 packet of the pool, and the other way round.
    let count = |capture: &Path, filter: &str| {
        output(Command::new("tshark").arg("-r").arg(capture).args(["-n", "-Y", filter]))
            .lines()
            .count()
    };
    let examples = workspace().join("examples");
    for protocol in ["tcp", "udp", "icmpv6.type == 128"] {
        let v4 = protocol.replace("icmpv6.type == 128", "icmp.type == 8");
        let sent = count(
            &examples.join("inside.pcap"),
            &format!("ipv6.dst == 64:ff9b::/96 && {protocol}"),
        );
        let left = count(&outside, &format!("ip.src == 203.0.113.0/24 && {v4}"));
        assert!(sent > 0 && sent == left, "{protocol}: {sent} in, {left} out");
    }
    for protocol in ["tcp", "udp", "icmp.type == 0"] {
        let v6 = protocol.replace("icmp.type == 0", "icmpv6.type == 129");
        let sent = count(
            &examples.join("outside.pcap"),
            &format!("ip.dst == 203.0.113.0/24 && {protocol}"),
        );
        let left = count(&inside, &format!("ipv6.src == 64:ff9b::/96 && {v6}"));
        assert!(sent > 0 && sent == left, "{protocol}: {sent} in, {left} out");
    }
    // Streams are whole: tshark follows them without lost or repeated segments.
    for capture in [&inside, &outside] {
        assert_eq!(
            count(capture, "tcp.analysis.lost_segment || tcp.analysis.retransmission"),
            0
        );
    }
    assert!(summary["translated_by_card"]["six_to_four"].as_u64() > Some(0));
}

#[test]
fn vlan_units_get_their_tags() {
    let out = tempfile::tempdir().unwrap();
    replay(
        "examples/vlan.conf",
        "examples/inside-vlan.pcap",
        "examples/outside-vlan.pcap",
        "rtl",
        out.path(),
    );
    for (file, vid) in [("inside.pcapng", "10"), ("outside.pcapng", "20")] {
        let capture = out.path().join(file);
        assert!(checksums_are_good(&capture) > 4);
        for packet in tshark(&capture, &["vlan.id", "frame.number"]) {
            assert_eq!(packet[0], vid, "{file}, packet {}", packet[1]);
        }
    }
}

#[test]
fn the_card_translates_nearly_every_packet_of_known_sessions() {
    let out = tempfile::tempdir().unwrap();
    let summary = replay(
        "examples/seed.conf",
        "examples/flows-inside.pcap",
        "examples/flows-outside.pcap",
        "rtl-compiled",
        out.path(),
    );
    let sum = |value: &Value| value["six_to_four"].as_u64().unwrap() + value["four_to_six"].as_u64().unwrap();
    // The card's own counters, against all that was translated: 20 flows of 500 packets, each set up by a few.
    let (card, host) = (sum(&summary["translated_by_card"]), sum(&summary["translated_by_host"]));
    assert!(card + host >= 9_900, "{card} by the card, {host} by the host");
    assert!(
        card * 100 >= (card + host) * 98,
        "{card} by the card, {host} by the host"
    );
    checksums_are_good(&out.path().join("outside.pcapng"));
    checksums_are_good(&out.path().join("inside.pcapng"));
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let run = || {
        let out = tempfile::tempdir().unwrap();
        replay(
            "examples/seed.conf",
            "examples/inside.pcap",
            "examples/outside.pcap",
            "rtl-compiled",
            out.path(),
        );
        ["inside", "outside", "exceptions"].map(|n| std::fs::read(out.path().join(format!("{n}.pcapng"))).unwrap())
    };
    assert_eq!(run(), run());
}
