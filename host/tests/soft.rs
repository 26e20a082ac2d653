//! `nat64d --card soft` with real clients and a real server: the worked example committed, a ping, a download of 10 MB with
//! a commit in the middle of it, everything shown, refused packets counted, advertisements heard. On veth pairs and on TAP
//! devices, with one worker and with three.

mod netns;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use netns::{until, Background, Links, Network, CLIENT, SERVER};
use serde_json::Value;

/// How long something may take that takes moments, on a machine with other work.
const PATIENCE: Duration = Duration::from_secs(60);

/// The worked example of the reference.
const SEED: &str = include_str!("../../examples/seed.conf");

struct Daemon {
    process: Background,
    socket: PathBuf,
}

impl Daemon {
    fn start(network: &Network, folder: &Path, arguments: &[&str]) -> Self {
        let mut command = network.command(Path::new(env!("CARGO_BIN_EXE_nat64d")));
        command.arg("--folder").arg(folder.join("config"));
        command.arg("--run").arg(folder.join("run")).args(arguments);
        let log = std::fs::File::create(folder.join("log")).expect("a file");
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it starts");
        let daemon = Self {
            process: Background(process),
            socket: folder.join("run/control.sock"),
        };
        until(PATIENCE, "the control socket", || daemon.socket.exists());
        daemon
    }

    fn ask(&self, commands: &str) -> (bool, String) {
        let mut ctl = Command::new(env!("CARGO_BIN_EXE_nat64ctl"));
        ctl.arg("--socket").arg(&self.socket);
        let out = ctl
            .args(["-c", commands])
            .stdin(Stdio::null())
            .output()
            .expect("it starts");
        let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        (out.status.success(), text.into_owned())
    }

    fn ctl(&self, commands: &str) -> String {
        let (good, text) = self.ask(commands);
        assert!(good, "{commands}\n{text}");
        text
    }

    fn json(&self, command: &str) -> Value {
        let mut ctl = Command::new(env!("CARGO_BIN_EXE_nat64ctl"));
        ctl.arg("--socket").arg(&self.socket).arg("--json");
        let out = ctl
            .args(["-c", command])
            .stdin(Stdio::null())
            .output()
            .expect("it starts");
        serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{command}: {error}: {out:?}"))
    }

    fn drops(&self, reason: &str) -> u64 {
        let all = self.json("show drops");
        let rows = all.as_array().expect("rows");
        let found = rows.iter().find(|row| row["reason"] == reason);
        found.map_or(0, |row| row["count"].as_u64().expect("a count"))
    }

    fn sessions(&self) -> Vec<Value> {
        let page = self.json("show services sessions");
        page.as_array().expect("rows").clone()
    }

    /// Ends it as the service manager does.
    fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(self.process.0.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
        let status = self.process.0.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }
}

/// Seeded bytes that do not compress or repeat.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}

/// A client that waits for a router advertisement and prints its options: type and bytes, in hexadecimal.
const HEAR: &str = "exec python3 -c \"
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.settimeout(30)
while True:
    p = s.recv(2048)
    if p[0] == 134: break
p = p[16:]
while p:
    print(p[0], p[2:8 * p[1]].hex()); p = p[8 * p[1]:]
\"";

/// A web server that lets a download end only once the file `done` exists: some 2 MB/s for the first half and a trickle after
/// it, so that a commit of any length falls into the download.
const WEB: &str = r#"
import http.server, pathlib, time
done = pathlib.Path("done")
class Held(http.server.SimpleHTTPRequestHandler):
    def copyfile(self, source, out):
        sent = 0
        while data := source.read(65536 if done.exists() else 20000 if sent < 5000000 else 500):
            out.write(data)
            sent += len(data)
            if not done.exists(): time.sleep(0.01)
http.server.ThreadingHTTPServer(("192.0.2.80", 80), Held).serve_forever()
"#;

fn run(links: Links, workers: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("file"), noise(64, 10_000_000)).expect("written");
    std::fs::write(at("seed.conf"), SEED).expect("written");
    let network = Network::new(links);
    let place = match links {
        Links::Veth => "soft:inside,outside",
        Links::Tap => "soft:tap:inside,tap:outside",
    };
    let daemon = Daemon::start(
        &network,
        folder.path(),
        &["--card", place, "--workers", &workers.to_string()],
    );
    let seed = at("seed.conf").display().to_string();
    let text = daemon.ctl(&format!("configure; load override {seed}; commit comment seed"));
    assert!(text.contains("commit complete"), "{text}");
    network.address(links);

    // A ping, and a download that a commit does not disturb.
    let ping = network.client(&format!("ping -c 3 -i 0.2 -W 5 {SERVER}"));
    assert!(
        ping.contains("3 received, 0% packet loss") && ping.contains("ttl=63"),
        "{ping}"
    );
    std::fs::write(at("web.py"), WEB).expect("written");
    let _web = network.web(folder.path(), "web.py");
    let got = at("got").display().to_string();
    let download = network.background(
        "client",
        &format!("exec curl -sS -o {got} -w %{{local_port}} \"http://[{SERVER}]/file\""),
    );
    let begun = || std::fs::metadata(at("got")).is_ok_and(|file| file.len() > 100_000);
    until(PATIENCE, "the download", begun);
    let before: Vec<Value> = daemon.sessions();
    assert!(before.len() >= 2, "{before:?}");
    let text = daemon.ctl("configure; set services nat pool spare address 198.51.100.0/24; commit");
    assert!(text.contains("commit complete"), "{text}");
    let length = std::fs::metadata(at("got")).expect("it is there").len();
    assert!(length < 10_000_000, "{length} octets came before the commit");
    std::fs::write(at("done"), "").expect("written");
    let (status, port) = download.finish();
    assert!(status.success());
    assert!(std::fs::read(at("got")).expect("it came") == std::fs::read(at("file")).expect("it is there"));

    // Everything shows it.
    let text = daemon.ctl("show services sessions extensive");
    assert!(
        text.contains(&format!("{CLIENT}:{port}")) && text.contains("192.0.2.80:80"),
        "{port}\n{text}"
    );
    let ids = |rows: &[Value]| rows.iter().map(|row| row["session-id"].clone()).collect::<Vec<_>>();
    let after = daemon.sessions();
    assert!(
        ids(&before).iter().all(|id| ids(&after).contains(id)),
        "{before:?}\n{after:?}"
    );
    let text = daemon.ctl("show services nat mappings");
    assert!(text.contains(CLIENT) && text.contains("203.0.113."), "{text}");
    let text = daemon.ctl("show services nat pool src-pool-nat64");
    assert!(text.contains("203.0.113.1-203.0.113.254"), "{text}");
    let card = &daemon.json("show chassis card")[0];
    assert_eq!(card["state"], "online", "{card}");
    assert_eq!(card["workers"], workers, "{card}");
    assert_eq!(card["hardware"], Value::Null, "{card}");
    for port in 0..2 {
        let port = &card["ports"][port];
        assert!(port["packets-in"].as_u64().expect("a count") > 20, "{card}");
        assert!(port["bytes-out"].as_u64().expect("a count") > 2_000, "{card}");
        // A TAP device was moved to another namespace, from where its state cannot be seen.
        let up = (links == Links::Veth).then_some(true);
        assert_eq!(port["link-up"].as_bool(), up, "{card}");
    }
    assert!(
        card["ports"][1]["bytes-in"].as_u64().expect("a count") > 10_000_000,
        "{card}"
    );
    assert!(
        card["translated-by-host"].as_u64().expect("a count") > 6_800,
        "packets, not super-segments: {card}"
    );
    let text = daemon.ctl("show neighbours");
    assert!(text.contains("192.0.2.80") && text.contains(CLIENT), "{text}");
    let text = daemon.ctl(&format!(
        "test nat64 packet protocol udp source 2001:db8::77 destination {SERVER} source-port 5000 destination-port 53"
    ));
    assert!(text.contains("translated") && text.contains("192.0.2.80"), "{text}");

    // What is refused is counted: a source that no rule matches. Some packets of the kernels' own are, too.
    let refused = daemon.drops("NoRule");
    network.good("ip -n client addr add 2001:db8:1::5/128 dev eth0 nodad");
    let out = network.shell(&format!(
        "ip netns exec client ping -c 3 -i 0.2 -W 1 -I 2001:db8:1::5 {SERVER}"
    ));
    assert!(!out.status.success());
    network.good("ip -n client addr del 2001:db8:1::5/128 dev eth0");
    let refused = daemon.drops("NoRule") - refused;
    assert!((3..10).contains(&refused), "{refused}");
    let text = daemon.ctl("show drops");
    assert!(text.contains("NoRule"), "{text}");

    // Drained, an address gets nothing new; cleared, sessions are gone and their count is told.
    let nat = after[0]["nat-address"]
        .as_str()
        .map_or("203.0.113.1", |address| address);
    let text = daemon.ctl(&format!("request nat64 drain pool src-pool-nat64 address {nat}"));
    assert!(text.contains(nat), "{text}");
    let (good, text) = daemon.ask("request nat64 drain pool src-pool-nat64 address 192.0.2.1");
    assert!(!good && text.contains("192.0.2.1"), "{text}");
    let count = daemon.sessions().len();
    let text = daemon.ctl("clear services sessions");
    assert!(
        text.split_whitespace().any(|word| word == count.to_string()),
        "{count}\n{text}"
    );
    assert!(daemon.sessions().is_empty());

    // A commit that cannot be is refused, and changes nothing.
    if links == Links::Veth {
        network.good("ip link set outside mtu 1400");
        let (good, text) = daemon.ask("configure; delete services nat pool spare; commit");
        assert!(!good && text.contains("takes 1400"), "{text}");
        network.good("ip link set outside mtu 1500");
        assert!(daemon
            .ctl("show configuration services nat pool spare")
            .contains("198.51.100."));
    }
    let ping = network.client(&format!("ping -c 1 -W 5 {SERVER}"));
    assert!(ping.contains("1 received"), "{ping}");

    // Advertisements of the configuration are heard: PREF64 is option 38 (RFC 8781), its lifetime in units of 8 s above
    // the code of the length.
    let listening = network.background("client", HEAR);
    let text = daemon.ctl(
        "configure; set nat64-nic port 0 unit 0 family inet6 address 2001:db8::1/64; \
         set nat64-nic port 0 unit 0 router-advertisement nat-prefix 64:ff9b::/96 lifetime 600; \
         set nat64-nic port 1 unit 0 side outside; commit",
    );
    assert!(text.contains("commit complete"), "{text}");
    let (status, heard) = listening.finish();
    assert!(status.success());
    let lifetime = (600 / 8) << 3;
    assert!(
        heard.contains(&format!("38 {lifetime:04x}0064ff9b0000000000000000")),
        "{heard}"
    );
    assert!(
        heard.lines().any(|line| line.starts_with("3 40c0")),
        "a prefix of 64 bits: {heard}"
    );
    // The client has an address of that prefix now, which the rule of the worked example does not take.
    let ping = network.client(&format!("ping -c 1 -W 5 -I {CLIENT} {SERVER}"));
    assert!(ping.contains("1 received"), "{ping}");

    if links == Links::Veth {
        vanishes(&network, &daemon);
    }
    daemon.stop();
    if links == Links::Tap {
        assert!(
            !network.shell("ip netns exec client ip link show eth0").status.success(),
            "the TAP device is gone"
        );
    }
}

/// An interface that goes and comes again: the card goes on, its sessions too.
fn vanishes(network: &Network, daemon: &Daemon) {
    let sessions = daemon.sessions().len();
    assert!(sessions > 0);
    let link = |daemon: &Daemon| daemon.json("show chassis card")[0]["ports"][1]["link-up"].clone();
    network.good("ip link del outside");
    until(PATIENCE, "the link down", || link(daemon) == false);
    assert_eq!(daemon.json("show chassis card")[0]["state"], "online");
    network.link("outside");
    network.server_side(Links::Veth);
    let ping = || {
        network
            .shell(&format!("ip netns exec client ping -c 1 -W 1 -I {CLIENT} {SERVER}"))
            .status
            .success()
    };
    until(PATIENCE, "the server, again", ping);
    assert_eq!(link(daemon), true);
    assert!(daemon.sessions().len() >= sessions);
}

#[test]
fn the_worked_example_on_veth_pairs() {
    run(Links::Veth, 1);
}

#[test]
fn the_worked_example_on_veth_pairs_with_three_workers() {
    run(Links::Veth, 3);
}

#[test]
fn the_worked_example_on_tap_devices_with_two_workers() {
    run(Links::Tap, 2);
}
