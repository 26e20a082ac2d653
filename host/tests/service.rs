//! `nat64d` as the service manager sees it: its unit file, what it says on the notify socket, what privileges it keeps, what
//! it logs, how it ends.

use std::collections::HashSet;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nat64_host::api::system::{LogLine, Severity};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

/// How long something may take that takes moments, on a machine with other work.
const PATIENCE: Duration = Duration::from_secs(60);
/// Numbers of the capabilities the software card keeps (capabilities(7)).
const NET_ADMIN_AND_RAW: u64 = 1 << 12 | 1 << 13;

struct Service {
    process: Child,
    notify: UnixDatagram,
}

impl Service {
    fn start(folder: &Path, card: &str) -> Self {
        Self::start_with(folder, card, &[])
    }

    fn start_with(folder: &Path, card: &str, more: &[&str]) -> Self {
        let path = folder.join("notify");
        let notify = UnixDatagram::bind(&path).expect("a socket");
        notify.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let log = std::fs::File::create(folder.join("log")).expect("a file");
        let process = Command::new(env!("CARGO_BIN_EXE_nat64d"))
            .args(["--card", card, "--folder"])
            .arg(folder.join("config"))
            .arg("--run")
            .arg(folder.join("run"))
            .args(more)
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "400000")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it starts");
        Self { process, notify }
    }

    /// The next states it tells.
    fn told(&self) -> HashSet<String> {
        let mut text = [0; 4096];
        let length = self.notify.recv(&mut text).expect("it says something");
        let text = String::from_utf8_lossy(&text[..length]);
        let names = text
            .lines()
            .map(|line| line.split_once('=').map_or(line, |(name, _)| name));
        names.map(str::to_owned).collect()
    }

    fn until(&self, state: &str) -> Vec<HashSet<String>> {
        let mut all = Vec::new();
        loop {
            let told = self.told();
            all.push(told.clone());
            if told.contains(state) {
                return all;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).expect("it runs");
    }

    /// A line of `/proc/PID/status`.
    fn status(&self, name: &str) -> String {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.expect("a line of the kernel's").trim().to_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It has ended, when all is well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_service_manager_is_told_and_privileges_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = Service::start(folder.path(), "soft:eth1,eth2");
    service.until("READY");
    // As long as all threads go round, twice in the time the manager waits.
    let start = Instant::now();
    (0..4).for_each(|_| drop(service.until("WATCHDOG")));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());

    // What is left of the privileges is what a software card needs, in every thread; nobody gets more.
    let bits = |name: &str| u64::from_str_radix(&service.status(name), 16).expect("hexadecimal");
    let had = u64::from_str_radix(
        &std::fs::read_to_string("/proc/self/status").map_or(String::new(), |text| {
            let line = text.lines().find_map(|line| line.strip_prefix("CapPrm:"));
            line.unwrap_or("0").trim().to_owned()
        }),
        16,
    )
    .expect("hexadecimal");
    for set in ["CapPrm", "CapEff", "CapInh"] {
        assert_eq!(bits(set), had & NET_ADMIN_AND_RAW, "{set}");
    }
    assert_eq!(bits("CapAmb"), 0);
    assert_eq!(service.status("NoNewPrivs"), "1");
    let pid = service.process.id();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs") {
        let status = std::fs::read_to_string(task.expect("a thread").path().join("status")).expect("it runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .expect("a line");
        assert_eq!(u64::from_str_radix(line.trim(), 16), Ok(had & NET_ADMIN_AND_RAW));
    }
    let log = || std::fs::read_to_string(folder.path().join("log")).expect("a log");
    assert!(
        log().contains("privileges dropped") && log().contains("landlock="),
        "{}",
        log()
    );

    service.signal(Signal::SIGHUP);
    let told = service.until("RELOADING");
    assert!(
        told.last().is_some_and(|last| last.contains("MONOTONIC_USEC")),
        "{told:?}"
    );
    service.until("READY");
    service.signal(Signal::SIGTERM);
    service.until("STOPPING");
    assert!(service.process.wait().expect("it ends").success());
    assert!(!folder.path().join("run/control.sock").exists(), "its socket is gone");
    assert!(log().contains("stopped"), "{}", log());
}

#[test]
fn what_cannot_start_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nat64d"));
        command.args(["--folder"]).arg(folder.path().join("config"));
        command.args(["--run"]).arg(folder.path().join("run")).args(arguments);
        let out = command.stdin(Stdio::null()).output().expect("it starts");
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    for (arguments, code, says) in [
        (&["--card", "hard"][..], 2, "names no card"),
        (&["--card", "soft:a,b,c"], 2, "a card has 2 ports"),
        (&["--card", "soft", "--workers", "0"], 2, "--workers"),
        (&["--card", "sim", "--card", "soft"], 2, "two cards `card0`"),
        (&["--allow", "king=root"], 2, "--allow"),
        (&["--log", "=="], 2, "error"),
    ] {
        let (ended, text) = run(arguments);
        assert_eq!(ended, Some(code), "{arguments:?}: {text}");
        assert!(text.contains(says), "{arguments:?}: {text}");
    }
    // Two daemons do not share a folder.
    let service = Service::start(folder.path(), "soft");
    service.until("READY");
    let (ended, text) = run(&["--card", "soft"]);
    assert_eq!(ended, Some(1), "{text}");
    assert!(text.contains("another nat64d uses"), "{text}");
}

#[test]
fn the_log_is_structured() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = || std::fs::read_to_string(folder.path().join("log")).expect("a log");
    // As JSON: every line is what `show log` gives, facts are fields.
    let mut service = Service::start_with(
        folder.path(),
        "soft:eth1,eth2",
        &["--log-format", "json", "--log", "debug"],
    );
    service.until("READY");
    service.signal(Signal::SIGTERM);
    assert!(service.process.wait().expect("it ends").success());
    let lines: Vec<LogLine> = log()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let dropped = lines
        .iter()
        .find(|line| line.message == "privileges dropped")
        .expect("it says so");
    assert_eq!(dropped.severity, Severity::Info);
    assert_eq!(dropped.target, "nat64d");
    assert!(
        dropped.fields.contains_key("capabilities") && dropped.fields.contains_key("landlock"),
        "{dropped:?}"
    );
    let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64 - dropped.time;
    assert!(age < 10 * PATIENCE.as_millis() as u64, "{dropped:?}");
    assert!(lines.is_sorted_by_key(|line| line.time / 1000), "{lines:?}");
    // A daemon that does not start says so in the same form.
    let failed = Command::new(env!("CARGO_BIN_EXE_nat64d"))
        .args([
            "--log-format",
            "json",
            "--keep-privileges",
            "--card",
            "soft",
            "--folder",
        ])
        .arg(folder.path().join("log"))
        .arg("--run")
        .arg(folder.path().join("run"))
        .output()
        .expect("it starts");
    assert_eq!(failed.status.code(), Some(1));
    let text = String::from_utf8_lossy(&failed.stderr);
    let last: LogLine = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!(
        (last.severity, last.message.as_str()),
        (Severity::Error, "nat64d did not start")
    );
    assert!(last.fields.contains_key("error"), "{last:?}");
    // As text: the same facts as `name=value`.
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::start(folder.path(), "soft:eth1,eth2");
    service.until("READY");
    let text = std::fs::read_to_string(folder.path().join("log")).expect("a log");
    let line = text
        .lines()
        .find(|line| line.contains("privileges dropped"))
        .expect("it says so");
    assert!(
        line.contains(" INFO ") && line.contains("capabilities=") && line.contains("landlock="),
        "{line}"
    );
}

/// The unit file in a folder of its own, for the program that is tested: none is installed where the tests run.
fn unit(folder: &Path) -> PathBuf {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/nat64d.service");
    let text = std::fs::read_to_string(unit).unwrap();
    let here = text.replace("/usr/sbin/nat64d", env!("CARGO_BIN_EXE_nat64d"));
    assert!(here != text);
    let file = folder.join("nat64d.service");
    std::fs::write(&file, here).unwrap();
    file
}

fn systemd_analyze(arguments: &[&str], file: &Path) -> (bool, String) {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .arg(file)
        .output()
        .expect("systemd-analyze runs; `cargo xtask setup` installs it");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    (output.status.success(), said)
}

/// What `systemd-analyze security` may find at most, in tenths of its points: 0 is all closed, 100 nothing. systemd 252 finds
/// 26: root with the capabilities of a card, the network, devices.
const EXPOSURE: &str = "30";

#[test]
fn the_unit_is_closed_but_for_what_a_card_needs() {
    let dir = tempfile::tempdir().unwrap();
    let file = unit(dir.path());
    let threshold = format!("--threshold={EXPOSURE}");
    let (good, said) = systemd_analyze(&["security", "--no-pager", "--offline=yes", &threshold], &file);
    assert!(good && said.contains("Overall exposure level"), "{said}");
    // It can fail: the same unit without its lines about it.
    let text = std::fs::read_to_string(&file).unwrap();
    let open: String = text
        .lines()
        .filter(|line| {
            !["Protect", "Restrict", "SystemCall", "Capability"]
                .iter()
                .any(|word| line.starts_with(word))
        })
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&file, open).unwrap();
    let (good, said) = systemd_analyze(&["security", "--no-pager", "--offline=yes", &threshold], &file);
    assert!(!good && said.contains("Overall exposure level"), "{said}");
}

#[test]
fn the_unit_file_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let (good, said) = systemd_analyze(&["verify", "--man=no"], &unit(dir.path()));
    // Units of the machine are none of ours.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("nat64d")).collect();
    assert!(good && ours.is_empty(), "{said}");
}
