//! The table of connections of the software card, in the terms of RFC 9693: how many it holds, what each takes of memory, and
//! what it costs to tear them down.
//!
//! More connections are offered than the configuration allows, each one a datagram from another port of one of sixteen clients,
//! so each has a session and a BIB entry of its own. Then nothing is sent until all of them have timed out.

use std::io::{BufRead, BufReader, Write};
use std::time::{Duration, Instant};

use serde_json::{json, Value};

use super::network::{Gateway, SERVER};
use super::{failed, sh};
use crate::run::Error;

/// Connections that are offered; the configuration allows a million.
const OFFERED: u64 = 1_020_000;
/// The table has to be full after as many turns: what a burst has overrun is offered again.
const TURNS: u32 = 4;
/// Sessions live for a minute; nobody waits longer for their end.
const PATIENCE: Duration = Duration::from_secs(100);

/// The first datagram of each of some connections: 16 bytes from the ports of client after client. A hundred at a time, with a
/// breath between them that a burst does not overrun the receiver's ring.
const OFFER: &str = "
import socket, struct, sys, time
server, left = sys.argv[1], int(sys.argv[2])
for client in range(1, 17):
    s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_UDP)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, 6)
    s.bind((\"2001:db8::c:%x\" % client, 0))
    s.connect((server, 0))
    for port in range(1024, 1024 + min(left, 64512)):
        s.send(struct.pack(\"!HHHH\", port, 9, 24, 0) + bytes(16))
        if port % 100 == 0: time.sleep(0.0005)
    left -= min(left, 64512)
";

/// Offers connections, from the same ones on.
pub fn offer(connections: u64) -> Result<(), Error> {
    sh(&format!(
        "ip netns exec client python3 -c '{OFFER}' {SERVER} {connections}"
    ))
    .map(|_| ())
}

/// Sessions at this moment.
struct Sessions<R>(BufReader<R>);

impl<R: std::io::Read> Sessions<R> {
    fn count(&mut self, ask: &mut impl Write) -> Result<u64, Error> {
        let io = |e: std::io::Error| failed(format!("the software card: {e}"));
        ask.write_all(b"\n").map_err(io)?;
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).map_err(io)? == 0 {
                return Err(failed("the software card has ended"));
            }
            if let Some(count) = line.trim().strip_prefix("sessions ") {
                return count.parse().map_err(|_| failed(line));
            }
        }
    }
}

/// Seconds of processor time of all threads, to the nanosecond where they sleep between packets.
fn time(process: u32) -> Result<f64, Error> {
    let text = sh(&format!("cat /proc/{process}/task/*/schedstat"))?;
    let each = text
        .lines()
        .filter_map(|line| line.split(' ').next()?.parse::<f64>().ok());
    Ok(each.sum::<f64>() * 1e-9)
}

/// Resident memory, bytes.
fn memory(process: u32) -> Result<f64, Error> {
    let text = sh(&format!("grep VmRSS /proc/{process}/status"))?;
    let kib = text.split_whitespace().nth(1).and_then(|word| word.parse::<f64>().ok());
    kib.map(|kib| kib * 1024.0).ok_or_else(|| failed(text))
}

/// Fills the table of a gateway that has been idle, and lets it run empty.
pub fn measure(gateway: &mut Gateway) -> Result<Value, Error> {
    let process = gateway.process;
    let (Some(mut ask), Some(answers)) = (gateway.child.stdin.take(), gateway.child.stdout.take()) else {
        return Err(failed("the software card was not asked for its sessions in this way"));
    };
    let mut sessions = Sessions(BufReader::new(answers));
    let (left, empty) = (sessions.count(&mut ask)?, memory(process)?);
    let mut held = left;
    for turn in 1..=TURNS {
        println!("  table: {held} sessions; {OFFERED} are offered, turn {turn}");
        let before = held;
        offer(OFFERED)?;
        std::thread::sleep(Duration::from_millis(500));
        held = sessions.count(&mut ask)?;
        // Full: no more than what has just ended came in.
        if held.abs_diff(before) < OFFERED / 1000 {
            break;
        }
    }
    let full = memory(process)?;
    // What it takes when nothing is to be done.
    let (start, used) = (Instant::now(), time(process)?);
    std::thread::sleep(Duration::from_secs(5));
    let idle = (time(process)? - used) / start.elapsed().as_secs_f64();
    let (start, used) = (Instant::now(), time(process)?);
    let from = sessions.count(&mut ask)?;
    println!("  table: {from} sessions are waited for");
    // Those of TCP from the measurements before live longer.
    let (mut now, few) = (from, held / 1000);
    while now > few && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_secs(1));
        now = sessions.count(&mut ask)?;
    }
    if now > few {
        return Err(failed(format!("{now} of {held} sessions are left after {PATIENCE:?}")));
    }
    let used = time(process)? - used - idle * start.elapsed().as_secs_f64();
    gateway.child.stdin = Some(ask);
    Ok(json!({
        "offered": OFFERED,
        "held": held,
        "bytes_per_session": (full - empty) / (held - left).max(1) as f64,
        "teardown_us": used * 1e6 / (from - now).max(1) as f64,
    }))
}
