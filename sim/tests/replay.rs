//! `nat64-sim replay` end to end, without a card: captures in, captures out.

mod common;

use std::net::Ipv4Addr;

use common::{check4, check6, embedded, names, packets, pcap, run, stderr, udp4, udp6, CLIENT, SEED, SERVER};
use serde_json::Value;

const SECOND: u64 = 1_000_000_000;

fn pool_of(packet: &[u8]) -> (Ipv4Addr, u16) {
    let address = Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]);
    (address, u16::from_be_bytes([packet[20], packet[21]]))
}

/// A directory with a configuration and a client's capture: two packets of one flow, one that no rule matches.
fn workspace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("seed.conf"), SEED).expect("written");
    let stranger = udp6("2001:db8:1::1".parse().expect("an address"), 9, SERVER, 53, b"x");
    let inside = [
        (10 * SECOND, udp6(CLIENT, 5000, SERVER, 53, b"hello")),
        (10 * SECOND + 7, stranger),
        (
            12 * SECOND,
            udp6(CLIENT, 5000, SERVER, 53, b"again, and a little longer"),
        ),
    ];
    std::fs::write(dir.path().join("inside.pcap"), pcap(&inside)).expect("written");
    dir
}

const BASE: [&str; 8] = [
    "replay",
    "--engine",
    "soft",
    "--config",
    "seed.conf",
    "--in",
    "inside=inside.pcap",
    "--json",
];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    BASE.iter().copied().chain(more.iter().copied()).collect()
}

#[test]
fn a_flow_goes_there_and_back() {
    let dir = workspace();
    let output = run(dir.path(), &with(&["--out-dir", "one"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let sent = packets(&dir.path().join("one/outside.pcapng"));
    assert_eq!(
        sent.iter().map(|(t, _)| *t).collect::<Vec<_>>(),
        [10 * SECOND, 12 * SECOND]
    );
    let (pool, port) = pool_of(&sent[0].1);
    assert!(
        pool.octets().starts_with(&[203, 0, 113]) && port >= 1024,
        "{pool}:{port}"
    );
    for (packet, payload) in sent.iter().map(|(_, p)| p).zip(["hello", "again, and a little longer"]) {
        check4(packet);
        assert_eq!(pool_of(packet), (pool, port), "one mapping for the flow");
        assert_eq!(
            (packet[8], packet[9], &packet[16..20]),
            (63, 17, &SERVER.octets()[..]),
            "TTL, protocol, server"
        );
        assert_eq!(&packet[28..], payload.as_bytes());
    }

    // The server answers the second run, which gets the same port from the same seed.
    let answer = [(11 * SECOND, udp4(SERVER, 53, pool, port, b"answer"))];
    std::fs::write(dir.path().join("outside.pcap"), pcap(&answer)).expect("written");
    let output = run(dir.path(), &with(&["--in", "outside=outside.pcap", "--out-dir", "two"]));
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(packets(&dir.path().join("two/outside.pcapng")), sent);
    let back = packets(&dir.path().join("two/inside.pcapng"));
    assert_eq!(back.len(), 1);
    check6(&back[0].1);
    assert_eq!(back[0].0, 11 * SECOND);
    assert_eq!(back[0].1[7], 59, "hop limit is one less");
    assert_eq!(
        (&back[0].1[8..24], &back[0].1[24..40]),
        (&embedded(SERVER).octets()[..], &CLIENT.octets()[..])
    );
    assert_eq!(&back[0].1[48..], b"answer");

    let summary: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(summary["sessions_made"], 1);
    assert_eq!(summary["ports"]["inside"]["in"]["packets"], 3);
    assert_eq!(summary["ports"]["outside"]["out"]["packets"], 2);
    assert_eq!(summary["drops"][0]["reason"], "NoRule");
    assert!(
        output.stderr.is_empty(),
        "no progress bar without a terminal: {}",
        stderr(&output)
    );
}

#[test]
fn what_was_dropped_is_in_the_exceptions_with_its_reason() {
    let dir = workspace();
    let output = run(dir.path(), &with(&["--out-dir", "out"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let path = dir.path().join("out/exceptions.pcapng");
    let dropped = packets(&path);
    assert_eq!(dropped.len(), 1);
    assert_eq!((dropped[0].0, dropped[0].1[8 + 5]), (10 * SECOND + 7, 1));
    let text = String::from_utf8_lossy(&std::fs::read(path).expect("there")).into_owned();
    assert!(
        text.contains("dropped: NoRule: No NAT rule term matches the packet."),
        "{text}"
    );
}

#[test]
fn equal_runs_give_equal_bytes() {
    let dir = workspace();
    for out in ["a", "b"] {
        let output = run(dir.path(), &with(&["--out-dir", out, "--until", "400s", "--seed", "7"]));
        assert!(output.status.success(), "{}", stderr(&output));
    }
    assert_eq!(
        names(&dir.path().join("a")),
        ["exceptions.pcapng", "inside.pcapng", "outside.pcapng"]
    );
    for file in names(&dir.path().join("a")) {
        let read = |out: &str| std::fs::read(dir.path().join(out).join(&file)).expect("there");
        assert_eq!(read("a"), read("b"), "{file}");
    }
}

#[test]
fn time_goes_on_after_the_last_packet_as_long_as_asked() {
    let dir = workspace();
    for (until, sessions) in [("290s", 1), ("301s", 0)] {
        let output = run(dir.path(), &with(&["--out-dir", "out", "--until", until]));
        assert!(output.status.success(), "{}", stderr(&output));
        let summary: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(summary["sessions"], sessions, "{until}: UDP sessions live 5 minutes");
        assert_eq!(summary["sessions_made"], 1);
    }
}

#[test]
fn events_change_the_configuration_at_their_time() {
    let dir = workspace();
    let events = "{\"t_ns\": 11000000000, \"commands\": [\"clear services sessions\", \
         \"set services nat rule stateful-nat64 term t1 from source-address 2001:db8:1::/48\", \
         \"delete services nat rule stateful-nat64 term t1 from source-address 2001:db8::/96\"]}\n";
    std::fs::write(dir.path().join("events.jsonl"), events).expect("written");
    let output = run(dir.path(), &with(&["--out-dir", "out", "--events", "events.jsonl"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let sent = packets(&dir.path().join("out/outside.pcapng"));
    assert_eq!(
        sent.len(),
        1,
        "the second packet of the flow came after its rule was gone"
    );
    assert_eq!(packets(&dir.path().join("out/exceptions.pcapng")).len(), 2);

    for (events, reason) in [
        (
            "{\"t_ns\": 1, \"commands\": [\"set services nat nonsense\"]}",
            "events.jsonl:1: ",
        ),
        ("\n{\"t_ns\": 1}", "events.jsonl:2:"),
    ] {
        std::fs::write(dir.path().join("events.jsonl"), events).expect("written");
        let output = run(dir.path(), &with(&["--out-dir", "bad", "--events", "events.jsonl"]));
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
        assert!(names(&dir.path().join("bad")).is_empty(), "no partial output");
    }
}

#[test]
fn bad_input_is_refused_with_place_and_reason() {
    let dir = workspace();
    let at = |name: &str| dir.path().join(name);
    let whole = std::fs::read(at("inside.pcap")).expect("there");
    std::fs::write(at("cut.pcap"), &whole[..whole.len() - 3]).expect("written");
    std::fs::write(at("text.pcap"), "no capture").expect("written");
    std::fs::write(at("unknown.conf"), SEED.replace("match-direction", "match-colour")).expect("written");
    std::fs::write(at("no-pool.conf"), SEED.replace("source-pool src-pool-nat64;", "")).expect("written");
    let second = 24 + 16 + 53 + 16 + 49;
    let cut = format!("packet 3, which starts at offset {second}");
    for (args, reasons) in [
        (
            &["--config", "seed.conf", "--in", "inside=cut.pcap", "--out-dir", "o"][..],
            &["cut.pcap", &*cut][..],
        ),
        (
            &["--config", "seed.conf", "--in", "inside=text.pcap", "--out-dir", "o"],
            &["text.pcap", "not a pcap"],
        ),
        (
            &["--config", "seed.conf", "--in", "inside=missing.pcap", "--out-dir", "o"],
            &["missing.pcap"],
        ),
        (
            &[
                "--config",
                "missing.conf",
                "--in",
                "inside=inside.pcap",
                "--out-dir",
                "o",
            ],
            &["missing.conf"],
        ),
        (
            &[
                "--config",
                "unknown.conf",
                "--in",
                "inside=inside.pcap",
                "--out-dir",
                "o",
            ],
            &["unknown.conf:10:", "match-colour"],
        ),
        (
            &[
                "--config",
                "no-pool.conf",
                "--in",
                "inside=inside.pcap",
                "--out-dir",
                "o",
            ],
            &["no-pool.conf", "pool"],
        ),
        (
            &[
                "--config",
                "seed.conf",
                "--in",
                "inside=inside.pcap",
                "--in",
                "inside=cut.pcap",
                "--out-dir",
                "o",
            ],
            &["inside is given twice"],
        ),
        (
            &["--config", "seed.conf", "--in", "left=inside.pcap", "--out-dir", "o"],
            &["no side"],
        ),
        (&["--config", "seed.conf", "--in", "inside=inside.pcap"], &["--out-dir"]),
        (&["--config", "seed.conf", "--out-dir", "o"], &["--in"]),
        (&["--in", "inside=inside.pcap", "--out-dir", "o"], &["--config"]),
        (
            &["--config", "seed.conf", "--stdio", "--out-dir", "o"],
            &["cannot be used with"],
        ),
        (
            &[
                "--config",
                "seed.conf",
                "--in",
                "inside=inside.pcap",
                "--out-dir",
                "o",
                "--linktype",
                "ethernet",
            ],
            &["inside.pcap", "raw", "--linktype ethernet"],
        ),
        (
            &[
                "--config",
                "seed.conf",
                "--in",
                "inside=inside.pcap",
                "--out-dir",
                "o",
                "--with",
                "rtl",
            ],
            &["--engine both"],
        ),
        (
            &[
                "--config",
                "seed.conf",
                "--in",
                "inside=inside.pcap",
                "--out-dir",
                "o",
                "--until",
                "1 day",
            ],
            &["unit of time"],
        ),
    ] {
        let args: Vec<&str> = ["replay", "--engine", "soft"].iter().chain(args).copied().collect();
        let output = run(dir.path(), &args);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(
            reasons.iter().all(|r| said.contains(r)),
            "{args:?}: {reasons:?} is not in {said}"
        );
        assert!(names(&at("o")).is_empty(), "{args:?} left {:?}", names(&at("o")));
    }
}

#[test]
fn errors_for_machines_are_json() {
    let dir = workspace();
    let whole = std::fs::read(dir.path().join("inside.pcap")).expect("there");
    std::fs::write(dir.path().join("inside.pcap"), &whole[..30]).expect("written");
    let output = run(dir.path(), &with(&["--out-dir", "out"]));
    assert_eq!(output.status.code(), Some(2));
    let error: Value = serde_json::from_str(&stderr(&output)).expect("one JSON object");
    assert_eq!(error["error"]["kind"], "capture");
    assert_eq!(
        (&error["error"]["packet"], &error["error"]["offset"]),
        (&1.into(), &24.into())
    );
}

#[test]
fn the_version_is_told() {
    let dir = workspace();
    let output = run(dir.path(), &["--version"]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("nat64-sim {}\n", env!("CARGO_PKG_VERSION"))
    );
}
