//! Real clients, a real server, the gateway between them: the tools of the lab, each as a test.
//!
//! `nat64-sim lab` makes the namespaces and takes them away; nothing leaves them. The server is always
//! [`SERVER`], an IPv4-only machine, the client IPv6-only.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{kill, killpg, Signal};
use nix::unistd::Pid;

use nat64_tests::program::{nat64_sim, nat64d};
use serde_json::Value;

const SERVER: &str = "64:ff9b::192.0.2.80";

/// Runs the lab with a shell script at the client; `servers` are scripts beside the server.
fn lab(options: &[&str], servers: &[&str], client: &str) -> Output {
    let mut command = nat64_sim();
    command.arg("lab").args(options);
    for server in servers {
        command.args(["--server", server]);
    }
    command.args(["--", "sh", "-ec", client]).stdin(Stdio::null());
    command.output().expect("the program starts")
}

fn text(out: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}

/// The same, where the client's script must end well; gives what it printed.
fn good(options: &[&str], servers: &[&str], client: &str) -> String {
    let out = lab(options, servers, client);
    assert!(out.status.success(), "{}: {client}\n{}", out.status, text(&out));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A web server of everything under a directory, with room for many connections at once.
fn web(directory: &str) -> String {
    format!(
        "exec python3 -c '
import http.server, functools, socketserver
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512
class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *a): pass
Server((\"192.0.2.80\", 80), functools.partial(Handler, directory=\"{directory}\")).serve_forever()'"
    )
}

/// Waits until the server's web server answers.
const READY: &str = "curl -sS -o /dev/null --retry 50 --retry-connrefused --retry-delay 1 \"http://[$SERVER]/\";";

/// Seeded bytes that do not compress or repeat.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    use rand::{RngCore, SeedableRng};
    let mut bytes = vec![0; length];
    rand::rngs::StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// A download that is compared with the file, and by its SHA-256.
fn download(options: &[&str], length: usize) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("file"), noise(length as u64, length)).expect("written");
    let path = directory.path().display().to_string();
    let out = good(
        options,
        &[&web(&path)],
        &format!("{READY} curl -sS -o {path}/got \"http://[$SERVER]/file\"; sha256sum {path}/file {path}/got"),
    );
    let sums: Vec<&str> = out.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(sums.len() == 2 && sums[0].len() == 64 && sums[0] == sums[1], "{out}");
    assert_eq!(std::fs::read(at("got")).expect("it came").len(), length);
    out
}

#[test]
fn ping_through_the_rtl_in_rusthdls_simulator() {
    let out = good(&["--engine", "rtl"], &[], "ping -c 5 -i 0.2 -W 5 $SERVER");
    assert!(out.contains("5 received, 0% packet loss"), "{out}");
    assert!(out.contains("ttl=63"), "one router on the way: {out}");
}

#[test]
fn curl_of_ten_megabytes_through_the_compiled_rtl() {
    download(&["--engine", "rtl-compiled"], 10_000_000);
}

#[test]
fn a_long_conversation_through_the_compiled_rtl() {
    let server = "exec python3 -c '
import socket
s = socket.create_server((\"192.0.2.80\", 22))
c, _ = s.accept()
while (line := c.recv(999)): c.sendall(line.upper())'";
    let client = "python3 -c '
import os, socket, time
for attempt in range(50):
    try:
        c = socket.create_connection((os.environ[\"SERVER\"], 22)); break
    except OSError: time.sleep(0.1)
for i in range(100):
    word = b\"line %d\" % i
    c.sendall(word)
    got = c.recv(999)
    assert got == word.upper(), got
    time.sleep(0.01)
print(\"talked\")'";
    let out = good(&["--engine", "rtl-compiled"], &[server], client);
    assert!(out.contains("talked"), "{out}");
}

/// Bits per second and retransmissions of an iperf3 run.
fn iperf(options: &[&str], arguments: &str) -> (f64, u64) {
    let out = good(
        options,
        &["exec iperf3 -s >/dev/null"],
        &format!("sleep 1; iperf3 --json -c $SERVER -t 2 {arguments}"),
    );
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"));
    let end = &report["end"];
    let rate = end["sum_received"]["bits_per_second"].as_f64().unwrap_or(0.0);
    (rate, end["sum_sent"]["retransmits"].as_u64().unwrap_or(0))
}

#[test]
fn iperf3_through_the_software_card_both_ways() {
    for way in ["", "-R"] {
        // Far below what it does on an idle machine, far above what works without super-segments on a busy one.
        let (rate, _) = iperf(&["--engine", "soft"], way);
        assert!(rate > 0.5e9, "{way}: {rate} bits per second");
    }
}

#[test]
fn iperf3_through_several_workers_and_tap_devices() {
    for options in [
        &["--engine", "soft", "--workers", "3"][..],
        &["--engine", "soft", "--tap"],
        &["--engine", "soft", "--tap", "--workers", "2"],
    ] {
        let (rate, _) = iperf(options, "-P 4");
        assert!(rate > 0.2e9, "{options:?}: {rate} bits per second");
    }
}

#[test]
fn many_downloads_at_once_through_the_software_card() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display().to_string();
    let whole = noise(7, 100_000);
    std::fs::write(directory.path().join("file"), &whole).expect("written");
    for workers in ["1", "3"] {
        let client = format!(
            "{READY} mkdir -p {path}/got{workers}; cd {path}/got{workers}
             curl -sS --fail --parallel --parallel-immediate --parallel-max 200 \
                 -o '#1' \"http://[$SERVER]/file?[1-200]\""
        );
        good(&["--engine", "soft", "--workers", workers], &[&web(&path)], &client);
        for i in 1..=200 {
            let got = std::fs::read(directory.path().join(format!("got{workers}/{i}"))).expect("it came");
            assert!(
                got == whole,
                "download {i} with {workers} workers has {} bytes",
                got.len()
            );
        }
    }
}

#[test]
fn traceroute_sees_the_gateway_and_the_routers_behind_it() {
    let out = good(
        &["--engine", "soft", "--server-link-mtu", "1500"],
        &[],
        "traceroute -6 -n -q 1 -w 2 $SERVER",
    );
    let hops: Vec<&str> = out
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .filter(|(number, _)| number.parse::<u8>().is_ok())
        .map(|(_, rest)| rest.trim().split(' ').next().unwrap_or_default())
        .collect();
    assert_eq!(hops.len(), 4, "{out}");
    // The second router's address is a private one, which must not stand under the well-known prefix: the gateway
    // speaks for it.
    for ours in [hops[0], hops[2]] {
        assert!(ours.starts_with("64:ff9b::cb00:71"), "a pool address: {out}");
    }
    assert_eq!([hops[1], hops[3]], ["64:ff9b::c633:6401", "64:ff9b::c000:250"], "{out}");
}

#[test]
fn names_over_udp_and_tcp() {
    let server = "exec dnsmasq --no-daemon --no-resolv --no-hosts --listen-address=192.0.2.80 --bind-interfaces \
                  --pid-file= --user=root --address=/example.test/192.0.2.7 2>/dev/null";
    let client = "for way in +notcp +tcp; do
        dig +tries=20 +timeout=1 +retry=10 $way +short @$SERVER example.test A
    done";
    let out = good(&["--engine", "soft"], &[server], &format!("sleep 1; {client}"));
    assert_eq!(out, "192.0.2.7\n192.0.2.7\n");
}

#[test]
fn path_mtu_is_found_toward_the_server() {
    let options = ["--engine", "soft", "--server-link-mtu", "1400"];
    let out = lab(&options, &[], "ping -M do -s 1400 -c 3 -i 0.3 -W 1 $SERVER");
    // The router says 1,400; an IPv6 header is 20 bytes longer.
    assert!(
        text(&out).contains("mtu=1420") || text(&out).contains("mtu = 1420"),
        "{}",
        text(&out)
    );
    // The server offers segments that do not fit the link; the client finds out.
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display().to_string();
    std::fs::write(directory.path().join("file"), noise(9, 2_000_000)).expect("written");
    let server = format!(
        "exec python3 -c '
import socket
s = socket.create_server((\"192.0.2.80\", 80))
while True:
    c, _ = s.accept()
    with open(\"{path}/got\", \"wb\") as f:
        while (data := c.recv(65536)): f.write(data)
    c.close()'"
    );
    let client = format!(
        "python3 -c '
import os, socket, time
for attempt in range(50):
    try:
        c = socket.create_connection((os.environ[\"SERVER\"], 80)); break
    except OSError: time.sleep(0.1)
c.sendall(open(\"{path}/file\", \"rb\").read())
c.shutdown(socket.SHUT_WR)
c.recv(1)'; sleep 0.5; ip -6 route get $SERVER; cmp {path}/file {path}/got; echo same"
    );
    let out = good(&options, &[&server], &client);
    assert!(out.contains("mtu 1420") && out.ends_with("same\n"), "{out}");
}

#[test]
fn path_mtu_is_found_toward_the_client() {
    download(&["--engine", "soft", "--client-link-mtu", "1280"], 2_000_000);
    // Of what the server may send, 1,260 bytes fit the client's narrow link as IPv6.
    let options = ["--engine", "soft", "--client-link-mtu", "1280"];
    let script = "curl -sS -o /dev/null --retry 50 --retry-connrefused --retry-delay 1 \"http://[$SERVER]/\"
        ip netns exec server ip route get 203.0.113.1
        for i in $(seq 4); do ip netns exec server ip route show cache 203.0.113.$i; done";
    let directory = tempfile::tempdir().expect("a directory");
    for i in 0..100 {
        // A listing that fills several packets.
        std::fs::write(directory.path().join(format!("{:0100}", i)), "").expect("written");
    }
    let out = good(&options, &[&web(&directory.path().display().to_string())], script);
    assert!(out.contains("mtu 1260"), "{out}");
}

#[test]
fn both_sides_are_captured_with_verdicts() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display().to_string();
    good(
        &["--engine", "rtl-compiled", "--capture", &path],
        &[],
        "ping -c 2 -i 0.2 -W 5 $SERVER",
    );
    let read = |side: &str| {
        let out = Command::new("tshark")
            .args(["-r", &format!("{path}/{side}.pcapng"), "-T", "fields"])
            .args([
                "-e",
                "frame.comment",
                "-e",
                "ip.dst",
                "-e",
                "ipv6.dst",
                "-Y",
                "icmp || icmpv6.type == 128",
            ])
            .output()
            .expect("tshark is there");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let (inside, outside) = (read("inside"), read("outside"));
    assert!(inside.contains("punted: NoSession"), "the first packet: {inside}");
    assert!(inside.contains("translated"), "the second packet: {inside}");
    assert!(
        outside.contains("192.0.2.80") && outside.contains("203.0.113."),
        "{outside}"
    );
}

#[test]
fn the_exit_code_is_the_commands() {
    assert_eq!(lab(&["--engine", "soft"], &[], "exit 7").status.code(), Some(7));
    let out = lab(&["--engine", "soft", "--config", "/nonexistent"], &[], "true");
    assert_eq!(out.status.code(), Some(2), "{}", text(&out));
}

/// Processes of the lab's client command, as the test's own namespace shows them.
fn running(marker: &str) -> bool {
    let out = Command::new("pgrep")
        .args(["-xf", marker])
        .output()
        .expect("pgrep runs");
    out.status.success()
}

/// Waits until the marked process is there, or is gone.
fn await_process(marker: &str, there: bool) {
    let start = Instant::now();
    // The compiled engine may have to be built first; going away takes no work.
    let patience = Duration::from_secs(if there { 600 } else { 30 });
    while running(marker) != there {
        assert!(start.elapsed() < patience, "waited for {there}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Ctrl-C ends the client's command; the lab then tells its sums, as it does otherwise, and takes everything away.
#[test]
fn ctrl_c_ends_the_command_and_the_lab_still_tells_its_sums() {
    nat64d();
    for (options, sums) in [
        (&["--engine", "soft"][..], "worker 0:"),
        (&["--engine", "rtl"], "card:"),
        (&["--engine", "rtl-compiled"], "card:"),
        (&["--engine", "soft", "--daemon"], "Sessions count"),
    ] {
        let marker = format!("sleep 8{}", std::process::id());
        let child = nat64_sim()
            .arg("lab")
            .args(options)
            .args(["--server", &format!("exec {marker}9"), "--"])
            .args(["sh", "-c", &format!("ping -c 2 -i 0.2 -W 5 $SERVER; exec {marker}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // As a terminal sends it: to all processes of the foreground.
            .process_group(0)
            .spawn()
            .expect("the program starts");
        await_process(&marker, true);
        let group = Pid::from_raw(child.id() as i32);
        killpg(group, Signal::SIGINT).expect("sent");
        let out = child.wait_with_output().expect("it ends");
        assert_eq!(out.status.code(), Some(130), "{options:?}: {}", text(&out));
        assert!(
            text(&out).contains("2 received, 0% packet loss"),
            "{options:?}: {}",
            text(&out)
        );
        assert!(
            String::from_utf8_lossy(&out.stderr).contains(sums),
            "{options:?}: {}",
            text(&out)
        );
        for marker in [&marker, &format!("{marker}9")] {
            await_process(marker, false);
        }
    }
}

#[test]
fn nothing_outlives_a_lab_that_is_killed() {
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGHUP] {
        let marker = format!("sleep 7{}{}", signal as i32, std::process::id());
        let mut child = nat64_sim()
            .args(["lab", "--engine", "soft", "--server", &format!("exec {marker}"), "--"])
            .args(marker.split(' '))
            .spawn()
            .expect("the program starts");
        await_process(&marker, true);
        kill(Pid::from_raw(child.id() as i32), signal).expect("sent");
        let status = child.wait().expect("it ended");
        let code = (signal != Signal::SIGKILL).then_some(128 + signal as i32);
        assert_eq!(status.code(), code, "{signal}");
        await_process(&marker, false);
    }
    let names = Command::new("ip").args(["netns", "list"]).output().expect("ip runs");
    assert!(!String::from_utf8_lossy(&names.stdout).contains("router6"));
}

/// The daemon owns the card, and the operator's commands are at the client's prompt.
#[test]
fn the_daemon_and_its_command_line_are_in_the_lab() {
    // Builds both, which the lab looks for beside itself.
    nat64d();
    for (engine, name) in [("soft", "soft:inside,outside"), ("rtl-compiled", "sim:rtl-compiled")] {
        let out = good(
            &["--daemon", "--quiet", "--engine", engine],
            &[],
            "ping -c 3 -i 0.2 -W 5 $SERVER; nat64ctl show services sessions; nat64ctl show chassis card",
        );
        assert!(out.contains("3 received, 0% packet loss"), "{engine}: {out}");
        assert!(
            out.contains("2001:db8::c6") && out.contains("192.0.2.80"),
            "{engine}: {out}"
        );
        assert!(out.contains(name), "{engine}: {out}");
    }
}

/// A configuration that the daemon refuses ends the lab with what it said.
#[test]
fn a_configuration_that_the_daemon_refuses_is_told() {
    nat64d();
    let file = tempfile::NamedTempFile::with_suffix(".conf").expect("a file");
    std::fs::write(file.path(), "services { nat { pool p { adress 203.0.113.0/24; } } }\n").expect("written");
    let path = file.path().display().to_string();
    let out = lab(&["--daemon", "--engine", "soft", "--config", &path], &[], "true");
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    assert!(text(&out).contains("adress"), "{}", text(&out));
}

#[test]
fn the_server_is_where_the_lab_says() {
    let out = good(&["--engine", "soft"], &[], "echo $SERVER $SERVER4");
    assert_eq!(out, format!("{SERVER} 192.0.2.80\n"));
}
