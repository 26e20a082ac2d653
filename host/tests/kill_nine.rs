//! `nat64d` killed at random moments while it commits: the next one comes up with the old or the new configuration
//! whole.
//!
//! Ten times as a test; `cargo xtask kill-nine` does it two hundred times. The seed is printed; `NAT64_KILL_SEED` sets
//! it, `NAT64_KILLS` how often.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nat64_xlate::keyed::Random;
use serde_json::{json, Value};

const SEED: &str = include_str!("../../examples/seed.conf");

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Daemon {
    /// Starts one and waits until it answers.
    fn start(folder: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_nat64d"))
            // Nobody serves a card there: the daemon keeps the configuration for when somebody does.
            .arg("--card")
            .arg(format!("vfio-user:{}", folder.join("no-card.sock").display()))
            .arg("--folder")
            .arg(folder.join("config"))
            .arg("--run")
            .arg(folder.join("run"))
            .args(["--log", "error", "--keep-privileges"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nat64d starts");
        let mut daemon = Self(child);
        let until = Instant::now() + Duration::from_secs(30);
        while request(folder, "GET", "/v1/whoami", None).is_none() {
            assert!(Instant::now() < until, "nat64d does not answer");
            assert!(daemon.0.try_wait().unwrap().is_none(), "nat64d ended");
            std::thread::sleep(Duration::from_millis(2));
        }
        daemon
    }
}

/// One request; `None` when the daemon is not there or dies meanwhile.
fn request(folder: &Path, method: &str, path: &str, body: Option<&Value>) -> Option<(u16, Value)> {
    let mut stream = UnixStream::connect(folder.join("run/control.sock")).ok()?;
    let body = body.map_or(String::new(), Value::to_string);
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let (_, text) = answer.split_once("\r\n\r\n")?;
    Some((status, serde_json::from_str(text).ok()?))
}

/// Commits configuration after configuration until the daemon is gone; the number of the last that was answered, and of
/// the last that was asked for.
fn commit_on(folder: &Path, mut number: u64) -> (u64, u64) {
    let begun = request(folder, "POST", "/v1/configuration/edit", Some(&json!({})));
    let Some((_, edit)) = begun else {
        return (number, number);
    };
    let edit = edit["edit"].clone();
    loop {
        let next = number + 1;
        let set = format!("set services service-set sset-nat64 max-flows {}", 1000 + next);
        let body = json!({"edit": edit, "commands": [set]});
        match request(folder, "POST", "/v1/configuration/candidate/commands", Some(&body)) {
            Some((200, _)) => {}
            Some((status, answer)) => panic!("{status} {answer}"),
            None => return (number, number),
        }
        match request(folder, "POST", "/v1/configuration/commit", Some(&json!({"edit": edit}))) {
            Some((200, _)) => number = next,
            Some((status, answer)) => panic!("{status} {answer}"),
            None => return (number, next),
        }
    }
}

/// The number in the active configuration, which is whole.
fn active(folder: &Path) -> u64 {
    let (status, answer) = request(folder, "GET", "/v1/configuration/active?format=set", None).expect("it answers");
    assert_eq!(status, 200, "{answer}");
    let text = answer["text"].as_str().unwrap();
    let flows = text
        .lines()
        .find_map(|line| line.strip_prefix("set services service-set sset-nat64 max-flows "));
    let number = flows.unwrap_or_else(|| panic!("{text}")).parse::<u64>().unwrap() - 1000;
    // Everything else is there, too.
    assert_eq!(text.lines().count(), 12 + 1, "{text}");
    let (_, system) = request(folder, "GET", "/v1/system", None).expect("it answers");
    let torn = system["alarms"]
        .as_array()
        .unwrap()
        .iter()
        .any(|alarm| alarm.as_str().unwrap().contains("configuration file"));
    assert!(!torn, "{system}");
    number
}

#[test]
fn the_configuration_is_the_old_or_the_new_one_whole() {
    let kills = number("NAT64_KILLS", 10);
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = number("NAT64_KILL_SEED", clock.unwrap().as_nanos() as u64);
    eprintln!("NAT64_KILL_SEED={seed} NAT64_KILLS={kills}");
    let mut random = Random::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    {
        let _daemon = Daemon::start(folder);
        let (_, edit) = request(folder, "POST", "/v1/configuration/edit", Some(&json!({}))).unwrap();
        let load = json!({"edit": edit["edit"], "mode": "override", "text": SEED});
        request(folder, "POST", "/v1/configuration/candidate/load", Some(&load)).unwrap();
        let set = json!({"edit": edit["edit"], "commands": ["set services service-set sset-nat64 max-flows 1000"]});
        request(folder, "POST", "/v1/configuration/candidate/commands", Some(&set)).unwrap();
        let committed = request(
            folder,
            "POST",
            "/v1/configuration/commit",
            Some(&json!({"edit": edit["edit"]})),
        );
        assert_eq!(committed.unwrap().0, 200);
    }
    let (mut number, mut commits, mut in_the_middle) = (0, 0, 0);
    for kill in 0..kills {
        let mut daemon = Daemon::start(folder);
        let found = active(folder);
        assert_eq!(found, number, "kill {kill}: what was found once is found again");
        let after = Duration::from_micros(u64::from(random.below(60_000)));
        let (answered, asked) = std::thread::scope(|scope| {
            let committing = scope.spawn(|| commit_on(folder, number));
            std::thread::sleep(after);
            daemon.0.kill().expect("it is killed");
            committing.join().unwrap()
        });
        drop(daemon);
        let _next = Daemon::start(folder);
        let found = active(folder);
        assert!(
            found == answered || found == asked,
            "kill {kill} after {after:?}: {found} is active; {answered} was answered, {asked} asked for"
        );
        commits += answered - number;
        in_the_middle += u64::from(asked > answered);
        number = found;
    }
    eprintln!("{kills} kills, {commits} commits between, {in_the_middle} kills in the middle of one");
}
