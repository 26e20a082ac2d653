//! Waves of a packet, opened by a reader that is not ours: the packet is in them, word by word, as it came and as it left.

use std::collections::HashMap;
use std::io::BufReader;
use std::path::Path;

use fst_reader::{FstFilter, FstHierarchyEntry, FstReader, FstSignalValue};
use nat64_sim::pcap::Capture;
use nat64_sim::waves::PERIOD_PS;
use nat64_sim::SIDES;
use nat64_tests::program::{nat64_sim, workspace};

/// Values of the signals of the core's own ports, by name, at each rising edge.
fn edges(path: &Path) -> Vec<HashMap<String, u64>> {
    let file = BufReader::new(std::fs::File::open(path).expect("the waves are there"));
    let mut reader = FstReader::open(file).expect("an FST file");
    let (mut scope, mut names) = (Vec::new(), HashMap::new());
    let (mut deepest, mut handles) = (0, Vec::new());
    reader
        .read_hierarchy(|entry| match entry {
            FstHierarchyEntry::Scope { name, .. } => {
                scope.push(name);
                deepest = deepest.max(scope.len());
            }
            FstHierarchyEntry::UpScope => drop(scope.pop()),
            FstHierarchyEntry::Var { name, handle, .. } if scope == ["core"] => {
                names.insert(handle.get_index(), name);
                handles.push(handle);
            }
            _ => {}
        })
        .expect("names");
    assert!(deepest > 3, "blocks within blocks are there");
    let mut now = HashMap::new();
    let mut list = Vec::new();
    let mut at = 0;
    reader
        .read_signals(&FstFilter::filter_signals(handles), |time, handle, value| {
            // The values of a period are complete when the next begins.
            while time / PERIOD_PS > at {
                list.push(now.clone());
                at += 1;
            }
            if let (Some(name), FstSignalValue::String(text)) = (names.get(&handle.get_index()), value) {
                let text = std::str::from_utf8(text).expect("digits");
                now.insert(name.clone(), u64::from_str_radix(text, 2).unwrap_or_default());
            }
            Ok::<_, ()>(())
        })
        .expect("values");
    list
}

/// The frames that cross a port: `rx0`, `tx1`.
fn frames(edges: &[HashMap<String, u64>], port: &str) -> Vec<Vec<u8>> {
    let (mut frames, mut frame) = (Vec::new(), Vec::new());
    for values in edges {
        let value = |name: &str| values[&format!("{port}_{name}")];
        if value("valid") == 1 && value("ready") == 1 {
            frame.extend(value("data").to_be_bytes());
            if value("last") == 1 {
                // Bytes of the last word; 0 is all of them.
                let spare = (8 - value("count") as usize) % 8;
                frame.truncate(frame.len() - spare);
                frames.push(std::mem::take(&mut frame));
            }
        }
    }
    frames
}

/// Replays the example captures of these sides.
fn replay(out: &Path, sides: &[&str], options: &[&str]) -> std::process::Output {
    let mut command = nat64_sim();
    command
        .args(["replay", "--config", "examples/seed.conf", "--out-dir"])
        .arg(out);
    for side in sides {
        command.args(["--in", &format!("{side}=examples/{side}.pcap")]);
    }
    command.args(options).output().expect("the program starts")
}

#[test]
fn the_chosen_packet_is_in_its_waves() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("packet.fst");
    let path = file.display().to_string();
    let mut capture = Capture::open(&workspace().join("examples/inside.pcap")).expect("a capture");
    let first = capture.next_packet().expect("it reads").expect("not empty").bytes;
    let mut found = false;
    for number in 1..=4 {
        let options = [
            "--engine",
            "rtl",
            "--waves",
            &path,
            "--waves-packet",
            &number.to_string(),
        ];
        let out = replay(folder.path(), &SIDES, &options);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}");
        assert!(
            said.contains(&format!("waves of packet {number} are written")),
            "{said}"
        );
        let edges = edges(&file);
        assert!(edges.len() > 20, "{} clocks", edges.len());
        let seen = [frames(&edges, "rx0"), frames(&edges, "rx1")].concat();
        assert_eq!(seen.len(), 1, "one packet, whichever side it came from");
        found |= seen[0].starts_with(&first);
        let left = [frames(&edges, "tx0"), frames(&edges, "tx1")].concat();
        assert!(left.iter().all(|frame| frame.len() >= 14), "{left:02x?}");
        println!("packet {number}: {} clocks, {} frames left", edges.len(), left.len());
    }
    assert!(found, "the first packet of the inside is none of them");
}

#[test]
fn waves_are_kept_of_the_first_packet_that_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("failing.fst");
    let path = file.display().to_string();
    // ARP requests are answered; then comes what nobody has asked for.
    let out = replay(folder.path(), &["outside"], &["--engine", "rtl", "--waves", &path]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        out.status.success() && said.contains("waves of packet 4 are written"),
        "{said}"
    );
    assert_eq!(frames(&edges(&file), "rx1").len(), 1);
}

#[test]
fn an_engine_without_waves_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = replay(folder.path(), &SIDES, &["--engine", "soft", "--waves", "x.fst"]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("--engine rtl"), "{said}");
}
