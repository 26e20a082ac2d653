//! The software card beside Tayga, on veth pairs.
//!
//! ```text
//!   client --veth-- gateway namespace: software card, or Tayga and the kernel's routing --veth-- server
//! ```
//!
//! Contenders take turns, round by round, so that whatever else the machine does meets all of them; what is compared is
//! processor time of the gateway's process (user and system, as the kernel accounts it) for the same work. For the
//! software card that is everything between the two interfaces, the kernel's sending and the receiver's soft interrupt
//! included. For the others it is the program alone: what the kernel does to route packets to and from it is accounted
//! elsewhere, so their figures flatter them.
//!
//! The program starts itself again in namespaces of its own, as the lab does; nothing outlives it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{json, Value};

use super::{contenders, failed, sh, table};
use crate::run::{Error, Step};

/// Set in the environment of the program when it runs inside its namespaces: the file for the figures.
pub const INSIDE: &str = "NAT64_BENCH";
/// The prefix all contenders use; Tayga refuses documentation addresses under the well-known one.
pub(super) const SERVER: &str = "2001:db8:64::192.0.2.80";
/// Connections that are set up for the rate.
const CONNECTIONS: u64 = 60_000;
/// iperf3's options for small datagrams, 98,000 a second.
const SMALL: &str = "-u -l 64 -b 50M";
/// Packets a ping sends for the latencies, 2 ms apart.
const PINGS: usize = 500;

/// Measures in namespaces of their own, `seconds` each in `rounds`; the figures of each round, by contender.
pub fn measure(root: &Path, rounds: usize, seconds: u32, file: &Path) -> Result<Value, Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = ["build", "--release", "--package", "nat64-host", "--example", "soft"];
    Step::new(cargo, build, root).run()?;
    let exe = std::env::current_exe().map_err(|e| failed(e.to_string()))?;
    let (rounds, seconds) = (rounds.to_string(), seconds.to_string());
    let mut own: Vec<&std::ffi::OsStr> = Vec::new();
    let options = [
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
    ];
    own.extend(options.map(std::ffi::OsStr::new));
    own.push(exe.as_os_str());
    own.extend(["bench", "--rounds", &rounds, "--seconds", &seconds].map(std::ffi::OsStr::new));
    Step::new("unshare", own, root)
        .env(INSIDE, &file.display().to_string())
        .run()?;
    let text = std::fs::read_to_string(file).map_err(|e| Error::file(file, e))?;
    serde_json::from_str(&text).map_err(|e| failed(format!("{}: {e}", file.display())))
}

/// What the program does inside: measures, and leaves the figures in the file.
pub fn inside(root: &Path, rounds: usize, seconds: u32, file: &Path) -> Result<(), Error> {
    let mut runs: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    network()?;
    for round in 1..=rounds {
        for name in contenders() {
            println!("round {round} of {rounds}: {name}");
            let mut gateway = Gateway::start(root, name)?;
            let mut measured = gateway.measure(seconds)?;
            if name == "soft" && round == rounds {
                measured["table"] = table::measure(&mut gateway)?;
            }
            println!("  {measured}");
            runs.entry(name).or_default().push(measured);
        }
    }
    let text = serde_json::to_string(&runs).map_err(|e| failed(e.to_string()))?;
    std::fs::write(file, text).map_err(|e| Error::file(file, e))
}

/// Client and server, with the gateway's ends of their links.
fn network() -> Result<(), Error> {
    sh("mount -t tmpfs tmpfs /run
        for n in client gateway server; do
            ip netns add $n
            ip netns exec $n sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
            ip -n $n link set lo up
        done
        ip link add eth0 netns client type veth peer name g0 netns gateway
        ip link add eth0 netns server type veth peer name g1 netns gateway
        for d in 'client eth0' 'server eth0' 'gateway g0' 'gateway g1'; do set -- $d; ip -n $1 link set $2 up; done
        ip -n client addr add 2001:db8::c6/96 dev eth0 nodad
        for n in $(seq 16); do ip -n client addr add 2001:db8::c:$(printf %x $n)/96 dev eth0 nodad; done
        ip -n server addr add 192.0.2.80/24 dev eth0")
    .map(|_| ())
}

/// A gateway that runs.
pub(super) struct Gateway {
    pub(super) child: Child,
    /// Process whose processor time counts.
    pub(super) process: u32,
    name: &'static str,
    _folder: Folder,
}

/// A folder that goes when it is dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // It lies on a file system of ours, which goes as well.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A million sessions that live 60 seconds: see [`table`].
const SOFT_CONFIG: &str = "
set nat64-nic timers udp 60
set nat64-nic limits sessions 1000000
set services nat pool p address 203.0.113.0/24
set services nat pool p port automatic
set services nat rule r match-direction input
set services nat rule r term t from source-address 2001:db8::/96
set services nat rule r term t from destination-address 2001:db8:64::/96
set services nat rule r term t then translated source-pool p
set services nat rule r term t then translated destination-prefix 2001:db8:64::/96
set services nat rule r term t then translated translation-type stateful-nat64
set services service-set s nat-rules r
set services service-set s interface-service service-interface ms-0/1/0
";

const TAYGA_CONFIG: &str = "
tun-device nat64
ipv4-addr 203.0.113.1
prefix 2001:db8:64::/96
dynamic-pool 203.0.113.0/24
";

/// Addresses and routes of a gateway that the kernel routes packets to and from.
const KERNEL_ROUTES: &str = "ip netns exec gateway sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv4.ip_forward=1 \
         net.ipv6.conf.all.forwarding=1
     ip -n gateway addr add 2001:db8::1/96 dev g0 nodad
     ip -n gateway addr add 192.0.2.1/24 dev g1
     ip -n client route add 2001:db8:64::/96 via 2001:db8::1
     ip -n server route add 203.0.113.0/24 via 192.0.2.1
";

fn start_soft(root: &Path, folder: &Path) -> Result<Command, Error> {
    let config = folder.join("config");
    std::fs::write(&config, SOFT_CONFIG).map_err(|e| Error::file(&config, e))?;
    sh(
        "ip netns exec gateway sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv4.ip_forward=0
        ip -n client route add 2001:db8:64::/96 via fe80::4e:36ff:fe34:0 dev eth0
        ip -n server route add 203.0.113.0/24 dev eth0",
    )?;
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", "gateway"])
        .arg(root.join("target/release/examples/soft"))
        .arg(&config)
        .args(["g0", "g1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    Ok(command)
}

fn start_tayga(folder: &Path) -> Result<Command, Error> {
    let config = folder.join("config");
    std::fs::write(&config, format!("{TAYGA_CONFIG}data-dir {}\n", folder.display()))
        .map_err(|e| Error::file(&config, e))?;
    sh(&format!(
        "{KERNEL_ROUTES}
         ip netns exec gateway tayga -c {} --mktun
         ip -n gateway link set nat64 up
         ip -n gateway route add 203.0.113.0/24 dev nat64
         ip -n gateway route add 2001:db8:64::/96 dev nat64",
        config.display()
    ))?;
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", "gateway", "tayga", "-d", "-c"])
        .arg(&config);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

/// It makes its device and the routes to it by itself.
fn start_protomask() -> Result<Command, Error> {
    sh(KERNEL_ROUTES)?;
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", "gateway", "protomask", "--interface", "nat64"])
        .args([
            "--translation-prefix",
            "2001:db8:64::/96",
            "--pool-prefix",
            "203.0.113.0/24",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(command)
}

impl Gateway {
    fn start(root: &Path, name: &'static str) -> Result<Self, Error> {
        let folder = PathBuf::from(format!("/run/bench-{name}"));
        std::fs::create_dir_all(&folder).map_err(|e| Error::file(&folder, e))?;
        // Each round begins without what the one before left.
        sh(
            "ip -n client -6 route flush 2001:db8:64::/96; ip -n server route flush 203.0.113.0/24 || true
            ip -n client neigh flush all; ip -n server neigh flush all
            ip -n gateway addr flush dev g0; ip -n gateway addr flush dev g1",
        )?;
        let command = match name {
            "soft" => start_soft(root, &folder),
            "tayga" => start_tayga(&folder),
            _ => start_protomask(),
        };
        let child = command?.spawn();
        let child = child.map_err(|e| failed(format!("{name}: {e}")))?;
        // `ip netns exec` becomes the program: same process.
        let process = child.id();
        let gateway = Self {
            child,
            process,
            name,
            _folder: Folder(folder),
        };
        sh(&format!(
            "for i in $(seq 50); do ip netns exec client ping -c 1 -W 1 {SERVER} >/dev/null && exit; sleep 0.1; done; \
             echo {name} does not answer; exit 1"
        ))?;
        Ok(gateway)
    }

    /// Seconds of processor time of the process so far.
    fn time(&self) -> Result<f64, Error> {
        let path = format!("/proc/{}/stat", self.process);
        let text = std::fs::read_to_string(&path).map_err(|e| failed(format!("{} has ended: {e}", self.name)))?;
        // Behind the name in parentheses: state is field 3, utime 14, stime 15, in hundredths of a second.
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
        Ok((ticks(11) + ticks(12)) / 100.0)
    }

    fn iperf(&self, arguments: &str) -> Result<(Value, f64), Error> {
        let before = self.time()?;
        let report = sh(&format!(
            "ip netns exec server iperf3 -s -1 -D >/dev/null; sleep 0.3
             ip netns exec client iperf3 --json -c {SERVER} {arguments}"
        ))?;
        let used = self.time()? - before;
        let report = serde_json::from_str(&report).map_err(|e| failed(e.to_string()))?;
        Ok((report, used))
    }

    /// Microseconds of processor time for a connection whose first packet got through, interfaces and all; nothing for a
    /// gateway that keeps no state.
    fn connect(&self) -> Result<Option<f64>, Error> {
        if self.name != "soft" {
            return Ok(None);
        }
        let arrived = || -> Result<u64, Error> {
            let text = sh("ip netns exec server cat /sys/class/net/eth0/statistics/rx_packets")?;
            text.trim().parse().map_err(|_| failed(format!("rx_packets is {text}")))
        };
        let (before, packets) = (self.time()?, arrived()?);
        table::offer(CONNECTIONS)?;
        std::thread::sleep(Duration::from_millis(500));
        let (used, through) = (self.time()? - before, arrived()? - packets);
        if through < CONNECTIONS / 2 {
            return Err(failed(format!("of {CONNECTIONS} connections {through} got through")));
        }
        Ok(Some(used * 1e6 / through as f64))
    }

    /// Round trips in milliseconds, the shortest first.
    fn ping(&self) -> Result<Vec<f64>, Error> {
        // It ends with an error when answers are lost, which a busy gateway may do.
        let pings = sh(&format!(
            "ip netns exec client ping -i 0.002 -c {PINGS} {SERVER} || true"
        ))?;
        let mut times: Vec<f64> = pings
            .lines()
            .filter_map(|line| line.split("time=").nth(1)?.split(' ').next()?.parse().ok())
            .collect();
        times.sort_by(f64::total_cmp);
        if times.len() < PINGS / 2 {
            return Err(failed(format!(
                "{}: {} of {PINGS} pings were answered",
                self.name,
                times.len()
            )));
        }
        Ok(times)
    }

    fn measure(&self, seconds: u32) -> Result<Value, Error> {
        let number = |v: &Value| v.as_f64().unwrap_or(0.0);
        let (tcp, used) = self.iperf(&format!("-t {seconds}"))?;
        let bits = number(&tcp["end"]["sum_received"]["bits_per_second"]);
        let bytes = number(&tcp["end"]["sum_received"]["bytes"]);
        let (udp, udp_used) = self.iperf(&format!("-t {seconds} {SMALL}"))?;
        let sent = number(&udp["end"]["sum"]["packets"]);
        let lost = number(&udp["end"]["sum"]["lost_packets"]);
        let set_up = self.connect()?;
        let alone = self.ping()?;
        let busy = std::thread::scope(|scope| {
            // The stream lasts longer than the pings, and has begun when they begin.
            let stream = scope.spawn(|| self.iperf(&format!("-t 4 {SMALL}")));
            std::thread::sleep(Duration::from_secs(1));
            let busy = self.ping();
            stream.join().map_err(|_| failed("iperf3's thread panicked"))??;
            busy
        })?;
        Ok(json!({
            "tcp_gbits": bits / 1e9,
            "tcp_gbits_per_cpu": bytes * 8.0 / 1e9 / used.max(0.01),
            "udp_sent": sent,
            "udp_lost": lost,
            "udp_us_per_packet": udp_used * 1e6 / (sent - lost).max(1.0),
            "setup_us": set_up,
            "rtt_p50_us": rank(&alone, 0.5),
            "rtt_p99_us": rank(&alone, 0.99),
            "busy_rtt_p50_us": rank(&busy, 0.5),
            "busy_rtt_p99_us": rank(&busy, 0.99),
        }))
    }
}

/// The time that a share of the round trips are not longer than, in microseconds.
fn rank(times: &[f64], share: f64) -> Option<f64> {
    let at = (times.len() as f64 * share) as usize;
    times.get(at).map(|ms| ms * 1000.0)
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if self.name != "soft" {
            // Tayga's device stays when it ends.
            let _ = sh("ip -n gateway link del nat64");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
