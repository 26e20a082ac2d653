//! A card and its daemon, each dying under the other: `nat64-sim serve` and `nat64d`, the real programs, over vfio-user.
//!
//! * The daemon ends, in order or by `kill -9`: sessions go on in the card, and the next daemon takes them on.
//! * What it cannot take on (another ABI hash, a scrambled table) it refuses, or makes anew, and says so.
//! * The card dies and comes back empty: the daemon holds the sessions and gives them to it again.
//!
//! Frames come and go through the sockets that the ports of a served card are; a host that answers every ARP request is
//! behind port 1.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use nat64_driver::transport::VfioUserTransport;
use nat64_driver::Transport;
use nat64_layout::record::TAG_BASE;
use nat64_layout::regs::Bar;
use nat64_tests::program::{nat64_sim, nat64ctl, nat64d};
use rustix::net::{
    connect, recv, send, socket_with, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use serde_json::Value;

/// How long something may take that takes moments, on a machine with other work.
const PATIENCE: Duration = Duration::from_secs(60);
/// Sessions of each test.
const SESSIONS: u16 = 6;
/// What a UDP session has left after a packet, in seconds (RFC 6146 section 4).
const UDP_TIMER: u64 = 300;
/// MAC address of everybody but the gateway.
const PEER: [u8; 6] = [2, 0, 0, 0, 0, 9];
/// MAC addresses of the gateway's ports.
const PORTS: [[u8; 6]; 2] = [[2, 0x4e, 0x36, 0x34, 0, 0], [2, 0x4e, 0x36, 0x34, 0, 1]];
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);

fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A process that ends with its value.
struct Process(Child);

impl Process {
    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    fn terminate(mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
        let status = self.0.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A cable: one packet is one frame.
struct Cable(OwnedFd);

impl Cable {
    fn plug(path: &Path) -> Self {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let socket = socket.expect("a socket");
        let address = SocketAddrUnix::new(path).expect("a path");
        until("the port", || connect(&socket, &address).ok());
        Self(socket)
    }

    fn put(&self, frame: &[u8]) {
        assert_eq!(send(&self.0, frame, SendFlags::empty()).expect("taken"), frame.len());
    }

    fn take(&self) -> Option<Vec<u8>> {
        let mut frame = vec![0; 2048];
        let (_, length) = recv(&self.0, &mut frame[..], RecvFlags::DONTWAIT).ok()?;
        frame.truncate(length);
        Some(frame)
    }
}

/// The answer to an ARP request.
fn arp_answer(request: &[u8]) -> Option<Vec<u8>> {
    let arp = request.get(14..42).filter(|_| request[12..14] == [8, 6])?;
    if arp[6..8] != [0, 1] {
        return None;
    }
    let mut answer = [
        &request[6..12],
        &PEER,
        &[8, 6],
        &arp[..6],
        &[0, 2],
        &PEER,
        &arp[24..28],
        &arp[8..18],
    ]
    .concat();
    answer.resize(60, 0);
    Some(answer)
}

/// A served card, with its cables.
struct Card {
    process: Process,
    inside: Cable,
    outside: Cable,
    folder: PathBuf,
}

impl Card {
    fn serve(folder: &Path, more: &[&str]) -> Self {
        let at = |name: &str| folder.join(name);
        for name in ["card.sock", "inside", "outside"] {
            // Of one that was killed.
            let _ = std::fs::remove_file(at(name));
        }
        let mut command = nat64_sim();
        command.arg("serve").arg("--socket").arg(at("card.sock")).args(more);
        for side in ["inside", "outside"] {
            command.arg("--port").arg(format!("{side}=unix:{}", at(side).display()));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process(command.spawn().expect("it starts"));
        until("the card's socket", || at("card.sock").exists().then_some(()));
        Self {
            process,
            inside: Cable::plug(&at("inside")),
            outside: Cable::plug(&at("outside")),
            folder: folder.to_owned(),
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("card.sock")
    }

    /// The next frame of a port that is no ARP and no neighbour discovery; requests are answered.
    fn frame(&self, port: usize) -> Option<Vec<u8>> {
        let cable = [&self.inside, &self.outside][port];
        while let Some(frame) = cable.take() {
            if let Some(answer) = arp_answer(&frame) {
                cable.put(&answer);
            } else if frame[12..14] == [8, 0] || (frame[12..14] == [0x86, 0xdd] && frame[20] == 17) {
                return Some(frame);
            }
        }
        None
    }

    /// Sends a request of session `n` until it comes out, and gives the pool port.
    fn request(&self, n: u16) -> u16 {
        let mut last = Instant::now() - PATIENCE;
        until("a request", || {
            if last.elapsed() > Duration::from_secs(2) {
                self.inside.put(&request(n));
                last = Instant::now();
            }
            let frame = self.frame(1)?;
            let (from, to) = ports(&frame);
            // One of another session may be late.
            (to == 5000 + n).then_some(from)
        })
    }

    /// Sends an answer to a pool port until it comes out at the client of session `n`.
    fn answer(&self, n: u16, pool: u16) {
        let mut last = Instant::now() - PATIENCE;
        until("an answer", || {
            if last.elapsed() > Duration::from_secs(2) {
                self.outside.put(&answer(n, pool));
                last = Instant::now();
            }
            let frame = self.frame(0)?;
            (ports(&frame) == (5000 + n, 4000 + n)).then_some(())
        });
    }

    /// Both ways through every session.
    fn traffic(&self) -> Vec<u16> {
        (0..SESSIONS)
            .map(|n| {
                let pool = self.request(n);
                self.answer(n, pool);
                pool
            })
            .collect()
    }
}

fn client(n: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100 + n)
}

fn request(n: u16) -> Vec<u8> {
    let server = Ipv6Addr::from(0x0064_ff9b_u128 << 96 | u128::from(u32::from(SERVER)));
    let builder = PacketBuilder::ethernet2(PEER, PORTS[0])
        .ipv6(client(n).octets(), server.octets(), 64)
        .udp(4000 + n, 5000 + n);
    let mut frame = Vec::new();
    builder.write(&mut frame, &[7; 20]).expect("a frame");
    frame
}

fn answer(n: u16, pool: u16) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(PEER, PORTS[1])
        .ipv4(SERVER.octets(), [203, 0, 113, 1], 64)
        .udp(5000 + n, pool);
    let mut frame = Vec::new();
    builder.write(&mut frame, &[8; 20]).expect("a frame");
    frame
}

/// Source and destination port of a UDP frame.
fn ports(frame: &[u8]) -> (u16, u16) {
    match SlicedPacket::from_ethernet(frame).map(|sliced| sliced.transport) {
        Ok(Some(TransportSlice::Udp(udp))) => (udp.source_port(), udp.destination_port()),
        other => panic!("{other:?}: {frame:02x?}"),
    }
}

/// A daemon on a served card.
struct Daemon {
    process: Process,
    socket: PathBuf,
    log: PathBuf,
}

impl Daemon {
    fn start(card: &Card) -> Self {
        static STARTS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let start = STARTS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = card.folder.join(format!("log-{start}"));
        let mut command = nat64d();
        command
            .arg("--card")
            .arg(format!("vfio-user:{}", card.socket().display()));
        command.arg("--folder").arg(card.folder.join("config"));
        command.arg("--run").arg(card.folder.join("run"));
        let socket = card.folder.join("run/control.sock");
        // Of one that was killed.
        let _ = std::fs::remove_file(&socket);
        let file = std::fs::File::create(&log).expect("a file");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
        let daemon = Self {
            process: Process(child.expect("it starts")),
            socket,
            log,
        };
        until("the control socket", || daemon.socket.exists().then_some(()));
        daemon
    }

    fn run(&self, command: &mut Command) -> Vec<u8> {
        let out = command.arg("--socket").arg(&self.socket).output().expect("it starts");
        assert!(out.status.success(), "{command:?}: {out:?}\n{}", self.log());
        out.stdout
    }

    fn commit_example(&self) {
        let text = self.run(nat64ctl().args(["-c", "configure; load override examples/seed.conf; commit"]));
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("commit complete"), "{text}");
    }

    fn json(&self, command: &str) -> Value {
        let text = self.run(nat64ctl().args(["--json", "-c", command]));
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{command}: {error}: {text:?}"))
    }

    fn card(&self) -> Value {
        self.json("show chassis card")[0].clone()
    }

    /// Sessions by client port: pool port, in the card, seconds left.
    fn sessions(&self) -> Vec<(u64, u64, bool, u64)> {
        let all = self.json("show services sessions");
        let number = |row: &Value, name: &str| row[name].as_u64().expect("a number");
        let row = |row: &Value| {
            let offload = row["offload"].as_bool().expect("yes or no");
            (
                number(row, "client-port"),
                number(row, "nat-port"),
                offload,
                number(row, "timeout"),
            )
        };
        let mut rows: Vec<_> = all.as_array().expect("rows").iter().map(row).collect();
        rows.sort_unstable();
        rows
    }

    /// Waits until all sessions are in the card; gives them.
    fn offloaded(&self) -> Vec<(u64, u64, bool, u64)> {
        until("all sessions in the card", || {
            let rows = self.sessions();
            (rows.len() == usize::from(SESSIONS) && rows.iter().all(|row| row.2)).then_some(rows)
        })
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// A card and a daemon with all sessions in the card; their pool ports.
fn running(folder: &Path) -> (Card, Daemon, Vec<u16>) {
    let card = Card::serve(folder, &[]);
    let daemon = Daemon::start(&card);
    daemon.commit_example();
    let pools = card.traffic();
    daemon.offloaded();
    (card, daemon, pools)
}

#[test]
fn the_next_daemon_takes_on_what_the_card_carries() {
    let folder = tempfile::tempdir().expect("a folder");
    let (card, daemon, pools) = running(folder.path());
    assert_eq!(daemon.card()["taken"], "opened");
    // The last session is left alone from here on, so that its age can be told from the others'.
    let busy = SESSIONS - 1;
    let mut daemon = daemon;
    // What a daemon shows of it may be older than the card's last packet, which no dump has told of yet; a daemon that has just
    // taken the card on has read it.
    let mut left = UDP_TIMER;
    for kill in [false, true] {
        if kill {
            daemon.process.kill();
        } else {
            daemon.process.terminate();
        }
        // Nobody is there but the card.
        std::thread::sleep(Duration::from_secs(2));
        for (n, &pool) in (0..busy).zip(&pools) {
            assert_eq!(card.request(n), pool, "session {n}, killed: {kill}");
            card.answer(n, pool);
        }
        daemon = Daemon::start(&card);
        let shown = daemon.card();
        assert_eq!(
            (&shown["state"], &shown["taken"]),
            (&"online".into(), &"adopted".into()),
            "{shown}\n{}",
            daemon.log()
        );
        let rows = daemon.sessions();
        let found: Vec<u64> = rows.iter().map(|row| row.1).collect();
        assert_eq!(
            found,
            pools.iter().map(|&pool| u64::from(pool)).collect::<Vec<_>>(),
            "{rows:?}\n{}",
            daemon.log()
        );
        assert!(rows.iter().all(|row| row.2), "all in the card: {rows:?}");
        // What was idle has less time left than before, what was busy has more than that.
        let idle = rows[usize::from(busy)].3;
        assert!(idle < left && idle + 60 > left, "{left} s, then {rows:?}");
        assert!(rows[..usize::from(busy)].iter().all(|row| row.3 > idle), "{rows:?}");
        left = idle;
        // And all goes on: old sessions, a new one of an old client's neighbour.
        for (n, &pool) in (0..busy).zip(&pools) {
            assert_eq!(card.request(n), pool, "session {n}");
        }
    }
    let new = card.request(SESSIONS);
    assert!(!pools.contains(&new), "a port that is in use: {new}, {pools:?}");
    daemon.process.terminate();
}

#[test]
fn what_cannot_be_believed_is_made_anew_and_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let (card, daemon, _) = running(folder.path());
    daemon.process.terminate();
    // Somebody writes to the table while nobody looks: entries of no session.
    let mut transport = VfioUserTransport::open(&card.socket()).expect("nobody else has it");
    for i in 0..200u32 {
        let word = 1 << 31 | i.wrapping_mul(0x9e37_79b9) >> 1;
        transport.write32(Bar::Bar2, TAG_BASE + 16 * i, word).expect("written");
    }
    // Writes are posted: what is read comes after them.
    transport.read32(Bar::Bar0, 0).expect("read");
    drop(transport);
    let daemon = Daemon::start(&card);
    let shown = daemon.card();
    assert_eq!(
        (&shown["state"], &shown["taken"]),
        (&"online".into(), &"opened".into()),
        "{shown}\n{}",
        daemon.log()
    );
    let log = daemon.log();
    assert!(
        log.contains("entries of the card's table belong to no session of this host"),
        "{log}"
    );
    assert!(daemon.sessions().is_empty());
    // The scrambled entries are gone with the old table: new sessions work.
    card.traffic();
    daemon.offloaded();
    daemon.process.terminate();

    // The memory of another version of the contract is of no use.
    let path = folder.path().join("run/memory-card0");
    let text = std::fs::read_to_string(&path).expect("kept");
    let (_, json) = text.split_once('\n').expect("two lines");
    let mut memory: Value = serde_json::from_str(json).expect("JSON");
    memory["abi_hash"] = 1.into();
    let json = memory.to_string();
    std::fs::write(&path, format!("{:08x}\n{json}\n", crc32(json.as_bytes()))).expect("written");
    let daemon = Daemon::start(&card);
    assert_eq!(daemon.card()["taken"], "opened");
    let log = daemon.log();
    assert!(
        log.contains("the card was left by a host with ABI hash 0x00000001"),
        "{log}"
    );
    daemon.process.terminate();
}

/// CRC-32 (ISO 3309), by the bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn a_card_of_another_version_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let card = Card::serve(folder.path(), &["--abi-hash", "0xdeadbeef"]);
    let daemon = Daemon::start(&card);
    let shown = daemon.card();
    assert_eq!(shown["state"], "fault", "{shown}");
    let fault = shown["fault"].as_str().expect("it says why");
    assert!(
        fault.contains("refused, nothing was written to it") && fault.contains("0xdeadbeef"),
        "{fault}"
    );
    let ours = shown["driver-abi-hash"].as_str().expect("ours");
    assert!(fault.contains(ours), "{fault}");
    daemon.process.terminate();
}

#[test]
fn a_card_that_dies_gets_its_sessions_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut card, daemon, pools) = running(folder.path());
    card.process.kill();
    let shown = until("the fault", || {
        Some(daemon.card()).filter(|card| card["state"] == "fault")
    });
    let says = shown["fault"].as_str().expect("it says why");
    assert!(
        says.contains(&format!("{SESSIONS} sessions are held for it")),
        "{shown}"
    );
    until("an attempt", || {
        daemon.card()["fault"].as_str()?.contains("in vain").then_some(())
    });
    // Listings go on, and so does the configuration.
    assert_eq!(daemon.sessions().len(), usize::from(SESSIONS));
    let text = daemon.run(nat64ctl().args([
        "-c",
        "configure; set services nat pool spare address 198.51.100.0/24; commit",
    ]));
    assert!(String::from_utf8_lossy(&text).contains("commit complete"));
    // Another one at the same place: its clock and its tables begin anew.
    let again = Card::serve(folder.path(), &[]);
    until("the card online", || (daemon.card()["state"] == "online").then_some(()));
    let rows = daemon.offloaded();
    assert!(rows.iter().all(|row| row.3 > 0), "{rows:?}");
    for (n, &pool) in (0..SESSIONS).zip(&pools) {
        assert_eq!(again.request(n), pool, "session {n}");
        again.answer(n, pool);
    }
    // It is the card that translates.
    let share = daemon.card()["translated-by-card"].as_u64().expect("a count");
    assert!(share >= u64::from(SESSIONS), "{share}");
    daemon.process.terminate();
}
