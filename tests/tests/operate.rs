//! The gateway as its operator sees it, with nothing in the place of anything: the real `nat64ctl` in a pseudo terminal, the
//! real `nat64d`, the simulated card behind its socket, Linux machines as client and server in namespaces.

#[path = "../../host/tests/pty/mod.rs"]
mod pty;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nat64_tests::program;
use nat64_tests::site::Site;
use pty::Terminal;

/// How long the daemon may take to roll back after its minute.
const PATIENCE: Duration = Duration::from_secs(60);
/// The worked example, curly.
const SEED: &str = include_str!("../../examples/seed.conf");
const README: &str = include_str!("../../README.md");

/// Arguments of `nat64d`, as README has them.
const CARD: [&str; 6] = [
    "--card",
    "sim",
    "--sim-port",
    "inside=tap:nat64-in",
    "--sim-port",
    "outside=tap:nat64-out",
];

fn shell(site: &Site, rows: u16) -> Terminal {
    let socket = site.socket().display().to_string();
    let program = program::nat64ctl();
    let terminal = Terminal::start(
        Path::new(program.get_program()),
        &["--socket", &socket],
        site.folder(),
        rows,
    );
    terminal.wait("a prompt", |screen| screen.ends_with('>'));
    terminal
}

/// Whether a screen has a line of these words.
fn has_line(screen: &str, words: &[&str]) -> bool {
    screen
        .lines()
        .any(|line| line.split_whitespace().eq(words.iter().copied()))
}

/// The code blocks of a section of README: language and text.
fn blocks(title: &str) -> Vec<(&'static str, &'static str)> {
    let (_, section) = README
        .split_once(&format!("\n## {title}\n"))
        .expect("the section is there");
    let section = section.split("\n## ").next().unwrap_or(section);
    let mut fences = section.split("\n```");
    let mut found = Vec::new();
    fences.next();
    while let (Some(block), _) = (fences.next(), fences.next()) {
        found.push(block.split_once('\n').unwrap_or((block, "")));
    }
    found
}

/// A line with its numbers as one sign, since ports, counts and times differ from run to run.
fn masked(line: &str) -> String {
    let mut out = String::new();
    for word in line.split_whitespace() {
        for c in word.chars() {
            match c {
                '0'..='9' if out.ends_with('9') => {}
                '0'..='9' => out.push('9'),
                _ => out.push(c),
            }
        }
        out.push(' ');
    }
    out
}

/// Types the commands of a transcript and compares what comes with what stands there.
fn transcript(terminal: &Terminal, text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let (prompt, command) = line
            .split_once("> ")
            .filter(|(prompt, _)| prompt.contains('@') && !prompt.contains(' '))
            .or_else(|| line.split_once("# "))
            .unwrap_or_else(|| panic!("no prompt in `{line}`"));
        assert!(prompt.starts_with("root@"), "{line}");
        at += 1;
        let answer: Vec<&str> = lines[at..]
            .iter()
            .take_while(|line| !line.starts_with("root@"))
            .copied()
            .collect();
        at += answer.len();
        let screen = terminal.command(command);
        let shown: Vec<String> = screen.lines().map(masked).collect();
        // An ellipsis stands for more.
        for line in answer.iter().filter(|line| !["", "..."].contains(&line.trim())) {
            assert!(
                shown.contains(&masked(line)),
                "README says after `{command}`:\n{line}\nthe screen:\n{screen}"
            );
        }
    }
}

#[test]
fn the_section_of_readme_works_as_it_stands() {
    // README's paths are those of the root of the workspace; the other test here has none that are relative.
    std::env::set_current_dir(program::workspace()).expect("it is there");
    let mut site = Site::new();
    let folder = site.folder().display().to_string();
    let programs = program::folder().display().to_string();
    let mut terminal = None;
    let (mut daemons, mut scripts, mut typed) = (0, 0, 0);
    for (language, text) in blocks("Operate it") {
        let here = text.replace("/tmp/nat64", &folder).replace("target/debug", &programs);
        match language {
            "sh" if text.starts_with("cargo build") => {
                // What it names is what is built here.
                assert_eq!(text.trim_end(), "cargo build -p nat64-sim -p nat64-host");
            }
            "sh" if text.starts_with("target/debug/nat64d") => {
                let line = here.replace("\\\n", " ");
                let words: Vec<&str> = line.split_whitespace().skip(1).collect();
                site.start(&words);
                daemons += 1;
            }
            "sh" if text.starts_with("target/debug/nat64ctl --socket") && text.lines().count() == 1 => {
                let words: Vec<&str> = here.split_whitespace().skip(1).collect();
                let program = program::nat64ctl();
                let started = Terminal::start(Path::new(program.get_program()), &words, site.folder(), 60);
                started.wait("a prompt", |screen| screen.ends_with('>'));
                terminal = Some(started);
            }
            "sh" => {
                site.script(&here);
                scripts += 1;
            }
            _ => {
                transcript(terminal.as_ref().expect("nat64ctl runs"), text);
                typed += 1;
            }
        }
    }
    assert!(
        daemons == 1 && scripts >= 2 && typed >= 2,
        "{daemons} {scripts} {typed}"
    );
}

#[test]
fn an_operator_configures_looks_and_rolls_back() {
    let mut site = Site::new();
    site.start(&CARD);
    site.script(network());
    let shell = shell(&site, 70);
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
        screen.contains('+') && screen.contains("source-pool src-pool-nat64;"),
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
    let mut connection = Connection::open(&site);
    assert_eq!(connection.address, "203.0.113.1", "the address the server saw");
    let screen = shell.command("run show services nat mappings");
    let mapping = "Mapping          : 2001:db8::c6    : 40000  --> 203.0.113.1   : ";
    assert!(screen.contains(mapping), "{mapping}\n{screen}");
    assert!(
        screen.contains("Interface: ms-0/1/0, Service set: sset-nat64"),
        "{screen}"
    );
    let screen = shell.command("run show services sessions extensive protocol tcp");
    for wanted in [
        "Service Set: sset-nat64, Session: ",
        "Offload: yes",
        "Translation Type - NAT64",
        "2001:db8::c6:40000     ->     203.0.113.1:",
        "64:ff9b::c000:250:80   ->     192.0.2.80:80",
        "Flow role: Initiator",
    ] {
        assert!(screen.contains(wanted), "{wanted}\n{screen}");
    }
    let screen = shell.command("run sh serv sess count protocol tcp");
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
    let screen = shell.command("run show services sessions count protocol tcp");
    assert!(has_line(&screen, &["ms-0/1/0", "sset-nat64", "1"]), "{screen}");

    // Rolled back by hand: the candidate before this one has the trial, the one before that has not.
    let screen = shell.command("rollback 1");
    assert!(screen.contains("load complete"), "{screen}");
    let screen = shell.command("show | compare");
    assert!(screen.contains('+') && screen.contains("198.51.100.0/24;"), "{screen}");
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
    // The translation was the card's work, and traffic goes on after all that.
    site.script("ip netns exec client ping -c 3 -i 0.2 -W 10 64:ff9b::192.0.2.80");
    let screen = shell.command("show chassis card");
    assert!(
        screen.contains("Card card0: online") && screen.contains("sim"),
        "{screen}"
    );
    let screen = shell.command("clear services sessions protocol tcp");
    assert!(has_line(&screen, &["ms-0/1/0", "sset-nat64", "1"]), "{screen}");
    connection.close();
    let mut shell = shell;
    shell.clear();
    shell.keys("exit\r");
    assert!(shell.ended());
    assert!(site.stop(), "{}", site.log());
}

/// A TCP connection from the client to the server, until it is closed.
struct Connection {
    server: Child,
    client: Child,
    /// The client's address as the server saw it.
    address: String,
}

/// Says who is there, then waits for the end.
const SERVER: &str = "
import socket
s = socket.create_server((\"192.0.2.80\", 80))
c, a = s.accept()
c.sendall(a[0].encode())
c.recv(1)";

/// Tells what the server said, holds the connection until its own input ends.
const CLIENT: &str = "
import socket, sys, time
for attempt in range(100):
    try:
        c = socket.create_connection((\"64:ff9b::192.0.2.80\", 80), source_address=(\"2001:db8::c6\", 40000)); break
    except OSError as error: why = error; time.sleep(0.1)
else: sys.exit(f\"no connection: {why}\")
print(c.recv(99).decode(), flush=True)
sys.stdin.read()";

impl Connection {
    fn open(site: &Site) -> Self {
        let python = |namespace: &str, text: &str| {
            let mut command = site.inside(Path::new("ip"));
            command.args(["netns", "exec", namespace, "python3", "-c", text]);
            command
        };
        let server = python("server", SERVER)
            .stdin(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut client = python("client", CLIENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut address = String::new();
        let said = client.stdout.as_mut().expect("a pipe");
        BufReader::new(said)
            .read_line(&mut address)
            .expect("the client says it");
        Self {
            server,
            client,
            address: address.trim().to_owned(),
        }
    }

    fn close(&mut self) {
        drop(self.client.stdin.take());
        assert!(self.client.wait().expect("a child").success());
        // Its session was cleared, so what it is told of the end may not reach it.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        for child in [&mut self.client, &mut self.server] {
            // It has ended already when the test went well.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The network of README.
fn network() -> &'static str {
    blocks("Operate it")
        .into_iter()
        .find_map(|(_, text)| text.starts_with("ip netns add").then_some(text))
        .expect("README has the network")
}
