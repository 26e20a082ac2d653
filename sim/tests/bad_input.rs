//! What a user can get wrong: exit code 2, place and reason on standard error, and no output files. Ctrl-C: exit code 130
//! and no output files either.

mod common;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{names, pcap, program, run, stderr, udp6, CLIENT, SEED, SERVER};

/// A directory with `seed.conf` and `inside.pcap`.
fn workspace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("seed.conf"), SEED).expect("written");
    let packet = udp6(CLIENT, 5000, SERVER, 53, b"question");
    std::fs::write(
        dir.path().join("inside.pcap"),
        pcap(&[(1_000, packet.clone()), (2_000, packet)]),
    )
    .expect("written");
    dir
}

/// Runs `replay --engine soft` into the directory `o`: it must be refused with these words and leave nothing.
fn refused(dir: &Path, args: &[&str], words: &[&str]) {
    let all: Vec<&str> = ["replay", "--engine", "soft", "--out-dir", "o"]
        .iter()
        .chain(args)
        .copied()
        .collect();
    let output = run(dir, &all);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{args:?}: {word:?} is not in: {said}");
    }
    assert!(said.len() < 4000 && !said.contains("panicked"), "{args:?}: {said}");
    assert!(output.stdout.is_empty(), "{args:?}: an error is no result");
    assert!(
        names(&dir.join("o")).is_empty(),
        "{args:?} left {:?}",
        names(&dir.join("o"))
    );
}

#[test]
fn configurations() {
    let dir = workspace();
    let pool = SEED.find("        pool ").expect("a pool");
    let rule = SEED.find("        rule ").expect("a rule");
    let without_pool = [&SEED[..pool], &SEED[rule..]].concat();
    let other =
        "        pool other {\n            address 203.0.113.128/25;\n            port { automatic; }\n        }\n";
    let with_other = [&SEED[..rule], other, &SEED[rule..]].concat();
    let in_port = |text: &str| SEED.replacen("automatic;", text, 1);
    for (text, words) in [
        (
            SEED.replacen("address 203.0.113.0/24;", "colour red;", 1),
            &["c.conf:4:13", "colour"][..],
        ),
        (
            SEED.replacen("pool src-pool-nat64 {", "puddle src-pool-nat64 {", 1),
            &["c.conf:3:9", "puddle"],
        ),
        (
            in_port("automatic;\n                range low 2000 high 3000;"),
            &["c.conf:7:17", "exclude each other"],
        ),
        (
            in_port("range low 3000 high 2000;"),
            &["c.conf:6:17", "3000", "behind its end 2000"],
        ),
        (with_other, &["c.conf:9:9", "share addresses", "203.0.113.129"]),
        (
            SEED.replacen(
                "match-direction input;",
                "match-direction input;\n            match-direction output;",
                1,
            ),
            &["c.conf:11:13", "given twice"],
        ),
        (without_pool, &["c.conf", "pool"]),
        (SEED[..SEED.len() - 20].to_string(), &["c.conf:", "end of the text"]),
        (SEED.replacen("203.0.113.0/24", "203.0.113.0/33", 1), &["c.conf:4:21"]),
        (String::new(), &["no `services nat pool`", "no `services service-set`"]),
        ("{".repeat(100_000), &["c.conf:1:"]),
        ("services { ".repeat(10_000), &["c.conf:1:"]),
    ] {
        std::fs::write(dir.path().join("c.conf"), &text).expect("written");
        refused(dir.path(), &["--config", "c.conf", "--in", "inside=inside.pcap"], words);
    }
    std::fs::write(dir.path().join("c.conf"), b"services { nat {\n pool \xff {").expect("written");
    for (config, words) in [
        ("c.conf", &["c.conf", "UTF-8"][..]),
        ("none.conf", &["none.conf", "No such file"]),
        (".", &[".: Is a directory"]),
    ] {
        refused(dir.path(), &["--config", config, "--in", "inside=inside.pcap"], words);
    }
}

#[test]
fn captures() {
    let dir = workspace();
    let whole = std::fs::read(dir.path().join("inside.pcap")).expect("there");
    let second = 24 + 16 + u32::from_le_bytes(whole[32..36].try_into().expect("four bytes")) as usize;
    let input = ["--config", "seed.conf", "--in", "inside=c.pcap"];
    // Cut at every byte: in the file header, in a packet header, in a packet. Between packets it is a whole capture.
    for length in 0..whole.len() {
        if length == 24 || length == second {
            continue;
        }
        std::fs::write(dir.path().join("c.pcap"), &whole[..length]).expect("written");
        let place = format!(
            "packet {}, which starts at offset {}",
            if length < second { 1 } else { 2 },
            if length < second { 24 } else { second }
        );
        let words = if length < 24 {
            vec!["c.pcap"]
        } else {
            vec!["c.pcap", &*place]
        };
        // One process for each byte would take long: the first bytes of each part, and every ninth.
        if length % 9 == 0 || length - length.min(second) < 20 && length > 20 {
            refused(dir.path(), &input, &words);
        }
    }
    let mut long = whole.clone();
    long[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
    for (bytes, words) in [
        (&b"no capture at all, only text"[..], &["c.pcap", "not a pcap"][..]),
        (&long, &["c.pcap", "packet 1"]),
    ] {
        std::fs::write(dir.path().join("c.pcap"), bytes).expect("written");
        refused(dir.path(), &input, words);
    }
    for (file, words) in [
        ("inside=none.pcap", &["none.pcap", "No such file"][..]),
        ("inside=.", &["."]),
        ("inside=", &["SIDE=FILE"]),
        ("inside", &["SIDE=FILE"]),
        ("left=inside.pcap", &["no side \"left\"", "inside and outside"]),
    ] {
        refused(dir.path(), &["--config", "seed.conf", "--in", file], words);
    }
}

#[test]
fn options() {
    let dir = workspace();
    let base = ["--config", "seed.conf", "--in", "inside=inside.pcap"];
    for (more, words) in [
        (&["--config", "seed.conf"][..], &["--config", "multiple times"][..]),
        (&["--until", "1s", "--until", "2s"], &["--until", "multiple times"]),
        (
            &["--in", "inside=inside.pcap"],
            &["--in inside is given twice: inside.pcap and inside.pcap"],
        ),
        (&["--stdio"], &["cannot be used with"]),
        (&["--with", "rtl"], &["--engine both"]),
        (
            &["--linktype", "ethernet"],
            &["inside.pcap", "raw", "--linktype ethernet"],
        ),
        (&["--linktype", "token-ring"], &["token-ring", "ethernet, raw"]),
        (&["--seed", "-1"], &["--seed"]),
        (&["--seed", "18446744073709551616"], &["--seed"]),
        (&["--until", ""], &["--until", "30s"]),
        (&["--until", "-5s"], &["--until", "-5s"]),
        (&["--until", "soon"], &["--until", "soon"]),
        (&["--until", "1 day"], &["unit of time"]),
        (&["--until", "1..5s"], &["is no time"]),
        (&["--until", "nan"], &["--until"]),
        (&["--until", "99999999999h"], &["--until", "too long"]),
        (&["--until", "99999999999999999999999h"], &["--until"]),
        (&["--no-such-option"], &["--no-such-option"]),
        (&["--events", "none.jsonl"], &["none.jsonl", "No such file"]),
        (&["--events", "."], &[".: Is a directory"]),
    ] {
        let args: Vec<&str> = base.iter().chain(more).copied().collect();
        refused(dir.path(), &args, words);
    }
}

#[test]
fn events() {
    let dir = workspace();
    let args = [
        "--config",
        "seed.conf",
        "--in",
        "inside=inside.pcap",
        "--events",
        "e.jsonl",
    ];
    let good = "{\"t_ns\": 1, \"commands\": []}\n";
    for (text, words) in [
        (format!("{good}set services nat"), &["e.jsonl:2:"][..]),
        (format!("{good}{{\"t_ns\": 1}}"), &["e.jsonl:2:", "commands"]),
        (format!("{good}{{\"t_ns\": -1, \"commands\": []}}"), &["e.jsonl:2:"]),
        (format!("{good}{{\"t_ns\": 1.5, \"commands\": []}}"), &["e.jsonl:2:"]),
        (
            "{\"t_ns\": 1500, \"commands\": [\"set services nat nonsense\"]}".into(),
            &["e.jsonl:1: ", "nonsense"],
        ),
        // The first packets were translated by then; nothing of that is left.
        (
            "{\"t_ns\": 1500, \"commands\": [\"delete services nat pool src-pool-nat64\"]}".into(),
            &["e.jsonl:1: ", "pool"],
        ),
        (
            "{\"t_ns\": 1500, \"commands\": [\"fly\"]}".into(),
            &["e.jsonl:1: ", "fly"],
        ),
        (
            format!("{{\"t_ns\": 1, \"commands\": [\"{}\"]}}", "x".repeat(1 << 20)),
            &["e.jsonl:1:", "longer than"],
        ),
    ] {
        std::fs::write(dir.path().join("e.jsonl"), text).expect("written");
        refused(dir.path(), &args, words);
    }
    std::fs::write(dir.path().join("e.jsonl"), b"\xff\xfe\x00").expect("written");
    refused(dir.path(), &args, &["e.jsonl:1:"]);
}

#[test]
fn an_output_directory_that_cannot_be_is_told_and_earlier_output_stays() {
    let dir = workspace();
    let args = |out: &'static str, capture: &'static str| {
        [
            "replay",
            "--engine",
            "soft",
            "--config",
            "seed.conf",
            "--in",
            capture,
            "--out-dir",
            out,
        ]
    };
    let output = run(dir.path(), &args("seed.conf/o", "inside=inside.pcap"));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("seed.conf/o"), "{}", stderr(&output));

    let output = run(dir.path(), &args("o", "inside=inside.pcap"));
    assert!(output.status.success(), "{}", stderr(&output));
    let read = || {
        let files = names(&dir.path().join("o"));
        let bytes = files
            .iter()
            .map(|f| std::fs::read(dir.path().join("o").join(f)).expect("there"));
        (files.clone(), bytes.collect::<Vec<_>>())
    };
    let before = read();
    assert_eq!(before.0, ["exceptions.pcapng", "inside.pcapng", "outside.pcapng"]);
    let whole = std::fs::read(dir.path().join("inside.pcap")).expect("there");
    std::fs::write(dir.path().join("cut.pcap"), &whole[..whole.len() - 1]).expect("written");
    let output = run(dir.path(), &args("o", "inside=cut.pcap"));
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert_eq!(read(), before, "an earlier run's files are whole still");
}

/// Waits, for at most a minute.
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn interrupted_runs_leave_nothing() {
    let dir = workspace();
    // Far more than is translated before the signal comes.
    let packets: Vec<_> = (0..100_000u64)
        .map(|i| (i * 1000, udp6(CLIENT, 5000, SERVER, 53, &[0; 64])))
        .collect();
    std::fs::write(dir.path().join("long.pcap"), pcap(&packets)).expect("written");
    let out = dir.path().join("o");
    let mut child = program()
        .current_dir(dir.path())
        .args(["replay", "--engine", "rtl", "--config", "seed.conf", "--in"])
        .args(["inside=long.pcap", "--out-dir", "o"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    wait_until("no output is being written", || !names(&out).is_empty());
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.expect("kill runs").success());
    wait_until("it does not end", || child.try_wait().expect("a child").is_some());
    let output = child.wait_with_output().expect("it ended");
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(stderr(&output).contains("interrupted"), "{}", stderr(&output));
    assert!(output.stdout.is_empty(), "no summary of half a run");
    assert_eq!(names(&out), Vec::<String>::new());
}

#[test]
fn a_co_process_ends_with_its_input() {
    let dir = workspace();
    let mut child = program()
        .current_dir(dir.path())
        .args(["replay", "--stdio", "--engine", "soft", "--config", "seed.conf"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    writeln!(stdin, "{{\"op\":\"query\",\"what\":\"bibs\"}}").expect("it reads");
    let mut answer = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    std::io::BufRead::read_line(&mut stdout, &mut answer).expect("it answers");
    assert_eq!(answer, "{\"count\":0}\n");
    // The end of its input is how it ends, with success.
    drop(stdin);
    wait_until("it does not end", || child.try_wait().expect("a child").is_some());
    assert!(child.wait().expect("it ended").success());
}
