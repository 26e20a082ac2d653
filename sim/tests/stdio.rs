//! `nat64-sim replay --stdio` end to end, without a card.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use common::{check4, check6, program, udp4, udp6, CLIENT, SEED, SERVER};
use nat64_sim::compare::hex;
use serde_json::{json, Value};

struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    fn start(args: &[&str]) -> Self {
        let mut child = program()
            .args(["replay", "--stdio", "--linktype", "raw", "--engine", "soft"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, stdin, stdout }
    }

    /// Sends one line and reads one; a process that buffers its answer would hang here.
    fn line(&mut self, line: &str) -> Value {
        writeln!(self.stdin, "{line}").expect("it reads");
        let mut answer = String::new();
        self.stdout.read_line(&mut answer).expect("it answers");
        serde_json::from_str(&answer).expect("JSON")
    }

    fn ask(&mut self, request: Value) -> Value {
        self.line(&request.to_string())
    }

    fn packet(&mut self, side: &str, t_ns: u64, bytes: &[u8]) -> Vec<(String, u64, Vec<u8>)> {
        let answer = self.ask(json!({"op": "packet", "side": side, "t_ns": t_ns, "hex": hex(bytes)}));
        let list = answer["tx"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        list.iter()
            .map(|tx| {
                let text = tx["hex"].as_str().expect("hex");
                let byte = |i: usize| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex");
                let side = tx["side"].as_str().expect("a side").to_string();
                (
                    side,
                    tx["t_ns"].as_u64().expect("a time"),
                    (0..text.len() / 2).map(byte).collect(),
                )
            })
            .collect()
    }

    fn count(&mut self, what: &str) -> u64 {
        self.ask(json!({"op": "query", "what": what}))["count"]
            .as_u64()
            .expect("a count")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), SEED).expect("written");
    file
}

#[test]
fn a_udp_flow_is_translated_both_ways() {
    let config = config();
    let mut process = Process::start(&["--config", config.path().to_str().expect("text")]);
    let sent = process.packet("inside", 1000, &udp6(CLIENT, 5000, SERVER, 53, b"question"));
    let [(side, t_ns, packet)] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!((side.as_str(), *t_ns), ("outside", 1000));
    check4(packet);
    assert_eq!((packet[8], packet[9]), (63, 17));
    assert_eq!(
        (&packet[12..15], &packet[16..20]),
        (&[203, 0, 113][..], &SERVER.octets()[..])
    );
    assert_eq!((&packet[22..24], &packet[28..]), (&[0, 53][..], &b"question"[..]));
    assert_eq!((process.count("sessions"), process.count("bibs")), (1, 1));

    let pool = [packet[12], packet[13], packet[14], packet[15]].into();
    let port = u16::from_be_bytes([packet[20], packet[21]]);
    let back = process.packet("outside", 2000, &udp4(SERVER, 53, pool, port, b"answer"));
    let [(side, 2000, packet)] = &back[..] else {
        panic!("{back:?}")
    };
    assert_eq!(side, "inside");
    check6(packet);
    assert_eq!((&packet[24..40], &packet[48..]), (&CLIENT.octets()[..], &b"answer"[..]));

    // Nobody has this port: at most the scanner hears of it.
    let scan = process.packet("outside", 3000, &udp4(SERVER, 53, pool, port ^ 1, b"scan"));
    assert!(
        scan.iter().all(|(side, _, packet)| side == "outside" && packet[9] == 1),
        "{scan:?}"
    );
    assert_eq!(
        process.ask(json!({"op": "advance", "t_ns": 299_000_000_000u64})),
        json!({"tx": []})
    );
    assert_eq!(process.count("sessions"), 1);
    assert_eq!(
        process.ask(json!({"op": "advance", "t_ns": 301_000_000_000u64})),
        json!({"tx": []})
    );
    assert_eq!((process.count("sessions"), process.count("bibs")), (0, 0));
}

#[test]
fn bad_lines_and_bad_configurations_are_survived() {
    let config = config();
    let path = config.path().to_str().expect("text");
    let mut process = Process::start(&[]);
    assert!(
        process.ask(json!({"op": "advance", "t_ns": 1}))["error"].is_string(),
        "no configuration yet"
    );
    assert!(process.ask(json!({"op": "reset", "config": "/nonexistent/x.conf"}))["error"].is_string());
    assert_eq!(
        process.ask(json!({"op": "reset", "config": path, "seed": 3})),
        json!({"tx": []})
    );
    for line in [
        "",
        "{",
        "\u{0}",
        "{\"op\":\"packet\"}",
        "{\"op\":\"packet\",\"side\":\"inside\",\"t_ns\":1,\"hex\":\"0g\"}",
    ] {
        assert!(process.line(line)["error"].is_string(), "{line:?}");
    }
    let refused = process.ask(json!({"op": "config", "t_ns": 5, "commands": ["set services nat nonsense 1"]}));
    assert!(
        refused["error"].as_str().is_some_and(|e| e.contains("nonsense")),
        "{refused}"
    );
    let half = [
        "set services nat pool second address 192.0.2.0/24",
        "set services nat nonsense 1",
    ];
    assert!(process.ask(json!({"op": "config", "t_ns": 5, "commands": half}))["error"].is_string());
    assert_eq!(
        process.ask(json!({"op": "config", "t_ns": 5, "commands": [half[0]]})),
        json!({"tx": []})
    );
    assert_eq!(
        process.packet("inside", 6, &udp6(CLIENT, 1, SERVER, 53, b"")).len(),
        1,
        "and it still translates"
    );
    // Packets that make no sense are dropped, whatever they are.
    for bytes in [&[0x60u8][..], &[0x45; 19], &[0xff; 40], &[0x60; 2000]] {
        assert!(process.packet("inside", 7, bytes).is_empty());
    }
    assert_eq!(process.count("sessions"), 1);
    assert_eq!(process.ask(json!({"op": "reset"})), json!({"tx": []}));
    assert_eq!(process.count("sessions"), 0);
}

#[test]
fn a_reset_with_the_same_seed_repeats_the_run() {
    let config = config();
    let mut process = Process::start(&["--config", config.path().to_str().expect("text")]);
    let run = |process: &mut Process, seed: u64| {
        process.ask(json!({"op": "reset", "seed": seed}));
        (0..40u16)
            .flat_map(|i| process.packet("inside", u64::from(i), &udp6(CLIENT, 1000 + i, SERVER, 53, b"x")))
            .collect()
    };
    let first: Vec<_> = run(&mut process, 1);
    assert_eq!(first.len(), 40);
    assert_eq!(run(&mut process, 1), first);
}

#[test]
fn thousands_of_packets_a_second() {
    let config = config();
    let mut process = Process::start(&["--config", config.path().to_str().expect("text")]);
    let packet = udp6(CLIENT, 5000, SERVER, 53, &[7; 100]);
    let start = std::time::Instant::now();
    for i in 0..2000 {
        assert_eq!(process.packet("inside", i, &packet).len(), 1);
    }
    let rate = 2000.0 / start.elapsed().as_secs_f64();
    println!("{rate:.0} packets/s");
    // Far below what it does, so that a busy machine does not fail the test.
    assert!(rate > 500.0, "{rate:.0} packets/s");
}
