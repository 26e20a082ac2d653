//! The gateway as its operator sees it: the real `nat64ctl` in a pseudo terminal, and a daemon with a wire that the test
//! holds, whose client opens a connection. The worked example in both forms, a look at that client, rollbacks.

#[path = "daemon/rig.rs"]
#[allow(dead_code)]
mod rig;

mod pty;

use std::path::Path;
use std::time::{Duration, Instant};

use pty::Terminal;
use rig::{client_address, ends4, server, Rig, SEED};

/// How long the daemon may take to roll back after its minute.
const PATIENCE: Duration = Duration::from_secs(60);

fn shell(rig: &Rig) -> Terminal {
    let socket = rig.socket.display().to_string();
    let home = rig.socket.parent().expect("it lies in a folder");
    let program = Path::new(env!("CARGO_BIN_EXE_nat64ctl"));
    let terminal = Terminal::start(program, &["--socket", &socket], home, 70);
    terminal.wait("a prompt", |screen| screen.ends_with('>'));
    terminal
}

/// Whether a screen has a line of these words.
fn has_line(screen: &str, words: &[&str]) -> bool {
    screen
        .lines()
        .any(|line| line.split_whitespace().eq(words.iter().copied()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_configures_looks_and_rolls_back() {
    let rig = Rig::start().await;
    let shell = shell(&rig);
    // The worked example, pasted in its curly form.
    shell.command("configure");
    shell.clear();
    shell.keys("load merge terminal\r");
    shell.see("[Type ^D at a new line to end input]");
    shell.keys(&SEED.replace('\n', "\r"));
    shell.keys("\x04");
    shell.see("load complete");
    let screen = shell.command("show | compare");
    assert!(
        screen.contains("+") && screen.contains("source-pool src-pool-nat64;"),
        "{screen}"
    );
    let screen = shell.command("commit comment \"worked example\"");
    assert!(screen.contains("commit complete"), "{screen}");

    // In its set form it is the same configuration: nothing to compare.
    let set = nat64_host::config::parse(SEED, "seed.conf").unwrap().to_set();
    shell.command("delete services service-set sset-nat64");
    shell.command("delete services nat rule stateful-nat64");
    shell.clear();
    shell.keys(&format!("\x1b[200~{}\x1b[201~", set.replace('\n', "\r")));
    let last = set.lines().last().unwrap();
    shell.wait("the last line", |screen| screen.contains(last) && screen.ends_with('#'));
    let screen = shell.command("show | compare | count");
    assert!(screen.contains("Count: 0 lines"), "{screen}");

    // A change that takes itself back while the rest goes on.
    shell.command("set services nat pool spare address 198.51.100.0/24");
    let confirmed = Instant::now();
    let screen = shell.command("commit confirmed 1 comment trial");
    assert!(
        screen.contains("rolled back in 1 minute") && screen.contains("commit complete"),
        "{screen}"
    );
    let screen = shell.command("run show configuration services nat pool spare");
    assert!(screen.contains("198.51.100.0/24"), "{screen}");

    // A client gets through, and is seen.
    let packet = rig.open_session(client_address(1), 40_000, server(), 80);
    let ((nat, public), to) = ends4(&packet);
    assert_eq!(
        (nat.to_string().as_str(), to.0.to_string().as_str()),
        ("203.0.113.1", "192.0.2.1")
    );
    let screen = shell.command("run show services nat mappings");
    let mapping = format!("Mapping          : 2001:db8::1     : 40000  --> 203.0.113.1   : {public:>5}");
    assert!(screen.contains(&mapping), "{mapping}\n{screen}");
    assert!(
        screen.contains("Interface: ms-0/1/0, Service set: sset-nat64"),
        "{screen}"
    );
    let screen = shell.command("run show services sessions extensive");
    for wanted in [
        "Service Set: sset-nat64, Session: ",
        "Translation Type - NAT64",
        &format!("2001:db8::1:40000      ->     203.0.113.1:{public}"),
        "Flow role: Initiator",
    ] {
        assert!(screen.contains(wanted), "{wanted}\n{screen}");
    }
    let screen = shell.command("run sh serv sess count");
    assert!(has_line(&screen, &["ms-0/1/0", "sset-nat64", "1"]), "{screen}");
    // Names of the running gateway complete.
    shell.clear();
    shell.keys("run show services nat pool src\t");
    shell.see("run show services nat pool src-pool-nat64");
    shell.keys("\r");
    shell.see("203.0.113.1-203.0.113.254");

    // Unconfirmed, the trial is gone after its minute; the session is not.
    while confirmed.elapsed() < Duration::from_secs(61) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let start = Instant::now();
    while shell
        .command("run show configuration services nat pool spare")
        .contains("198.51.100.0/24")
    {
        assert!(start.elapsed() < PATIENCE, "not rolled back");
    }
    let screen = shell.command("run show services sessions count");
    assert!(has_line(&screen, &["ms-0/1/0", "sset-nat64", "1"]), "{screen}");

    // Rolled back by hand: the candidate before this one has the trial, the one before that has not.
    let screen = shell.command("rollback 1");
    assert!(screen.contains("load complete"), "{screen}");
    let screen = shell.command("show | compare");
    assert!(screen.contains("+") && screen.contains("198.51.100.0/24;"), "{screen}");
    let screen = shell.command("commit and-quit");
    assert!(
        screen.contains("commit complete") && screen.contains("Exiting configuration mode"),
        "{screen}"
    );
    let screen = shell.command("show system commit");
    assert!(
        screen.contains("worked example") && screen.contains("trial"),
        "{screen}"
    );
    let screen = shell.command("clear services sessions");
    assert!(has_line(&screen, &["ms-0/1/0", "sset-nat64", "1"]), "{screen}");
    let mut shell = shell;
    shell.clear();
    shell.keys("exit\r");
    assert!(shell.ended());
    rig.running.stop().await;
}
