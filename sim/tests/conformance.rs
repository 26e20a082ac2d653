//! `--stdio` as a conformance harness drives it: bare IP packets, the worked example, without a card and with the compiled
//! one; and the answers of the two side by side.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use common::{embedded, program, udp4, udp6, CLIENT, SERVER};
use etherparse::PacketBuilder;
use nat64_sim::compare::hex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{json, Value};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
/// IPv6 header, next header, and the header after it.
const V6: usize = 40;
const V4: usize = 20;

/// A packet sent: side, time, bytes.
type Tx = (String, u64, Vec<u8>);

struct Harness {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Harness {
    fn start(engine: &str) -> Self {
        let config = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/seed.conf");
        let mut child = program()
            .args(["replay", "--stdio", "--linktype", "raw", "--engine", engine, "--config"])
            .arg(config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, stdin, stdout }
    }

    fn raw(&mut self, line: &[u8]) -> Value {
        self.stdin.write_all(line).expect("it reads");
        self.stdin.write_all(b"\n").expect("it reads");
        let mut answer = String::new();
        self.stdout.read_line(&mut answer).expect("it answers");
        serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {answer:?}"))
    }

    fn ask(&mut self, request: Value) -> Value {
        self.raw(request.to_string().as_bytes())
    }

    fn sent(&mut self, request: Value) -> Vec<Tx> {
        let answer = self.ask(request);
        let list = answer["tx"].as_array().unwrap_or_else(|| panic!("{answer}"));
        list.iter()
            .map(|tx| {
                let text = tx["hex"].as_str().expect("hex");
                let byte = |i: usize| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex");
                (
                    tx["side"].as_str().expect("a side").to_string(),
                    tx["t_ns"].as_u64().expect("a time"),
                    (0..text.len() / 2).map(byte).collect(),
                )
            })
            .collect()
    }

    fn packet(&mut self, side: &str, t_ns: u64, bytes: &[u8]) -> Vec<Tx> {
        self.sent(json!({"op": "packet", "side": side, "t_ns": t_ns, "hex": hex(bytes)}))
    }

    /// A packet that must come out as exactly one, on the other side, at once.
    fn through(&mut self, side: &str, t_ns: u64, bytes: &[u8]) -> Vec<u8> {
        let mut sent = self.packet(side, t_ns, bytes);
        let other = if side == "inside" { "outside" } else { "inside" };
        assert_eq!(sent.len(), 1, "{side} at {t_ns}: {}: {sent:?}", hex(bytes));
        let (to, at, packet) = sent.remove(0);
        assert_eq!((to.as_str(), at), (other, t_ns), "{}", hex(bytes));
        packet
    }

    fn advance(&mut self, t_ns: u64) -> Vec<Tx> {
        self.sent(json!({"op": "advance", "t_ns": t_ns}))
    }

    fn config(&mut self, t_ns: u64, commands: &[&str]) -> Value {
        self.ask(json!({"op": "config", "t_ns": t_ns, "commands": commands}))
    }

    fn counts(&mut self) -> [u64; 2] {
        ["sessions", "bibs"].map(|what| {
            let answer = self.ask(json!({"op": "query", "what": what}));
            answer["count"].as_u64().unwrap_or_else(|| panic!("{answer}"))
        })
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn port(packet: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

fn address(packet: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3])
}

/// SYN, and what is not SYN.
fn tcp6(from: (Ipv6Addr, u16), to: (Ipv4Addr, u16), syn: bool, payload: &[u8]) -> Vec<u8> {
    let tcp = PacketBuilder::ipv6(from.0.octets(), embedded(to.0).octets(), 64).tcp(from.1, to.1, 1000, 4000);
    let tcp = if syn { tcp.syn() } else { tcp.ack(7) };
    let mut bytes = Vec::new();
    tcp.write(&mut bytes, payload).expect("a packet");
    bytes
}

fn tcp4(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), syn: bool, payload: &[u8]) -> Vec<u8> {
    let tcp = PacketBuilder::ipv4(from.0.octets(), to.0.octets(), 60).tcp(from.1, to.1, 6, 4000);
    let tcp = if syn { tcp.syn().ack(1001) } else { tcp.ack(1001) };
    let mut bytes = Vec::new();
    tcp.write(&mut bytes, payload).expect("a packet");
    bytes
}

fn echo6(client: Ipv6Addr, id: u16, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv6(client.octets(), embedded(to).octets(), 64)
        .icmpv6_echo_request(id, 1)
        .write(&mut bytes, payload)
        .expect("a packet");
    bytes
}

fn echo_reply4(from: Ipv4Addr, to: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4(from.octets(), to.0.octets(), 60)
        .icmpv4_echo_reply(to.1, 1)
        .write(&mut bytes, payload)
        .expect("a packet");
    bytes
}

/// A UDP packet of a client in two fragments.
fn fragments6(client: (Ipv6Addr, u16), to: Ipv4Addr, id: u32) -> [Vec<u8>; 2] {
    let whole = udp6(client.0, client.1, to, 53, &[7; 1400]);
    let cut = V6 + 1024;
    [(V6..cut, 0u16, 1u16), (cut..whole.len(), 1024, 0)].map(|(range, offset, more)| {
        let mut bytes = whole[..V6].to_vec();
        bytes[4..6].copy_from_slice(&(8 + range.len() as u16).to_be_bytes());
        bytes[6] = 44;
        bytes.extend([17, 0]);
        bytes.extend((offset | more).to_be_bytes());
        bytes.extend(id.to_be_bytes());
        bytes.extend(&whole[range]);
        bytes
    })
}

/// An ICMPv4 error with the packet it is about.
fn error4(from: Ipv4Addr, to: Ipv4Addr, kind: u8, code: u8, about: &[u8]) -> Vec<u8> {
    use etherparse::Icmpv4Type;
    let mut bytes = Vec::new();
    let kind = Icmpv4Type::Unknown {
        type_u8: kind,
        code_u8: code,
        bytes5to8: [0, 0, 5, 20],
    };
    PacketBuilder::ipv4(from.octets(), to.octets(), 60)
        .icmpv4(kind)
        .write(&mut bytes, about)
        .expect("a packet");
    bytes
}

/// What RFC 6146 and RFC 7915 promise, in one run.
fn walk(engine: &str) {
    let mut h = Harness::start(engine);
    // UDP, both ways, and from another server (endpoint-independent filtering).
    let out = h.through("inside", MS, &udp6(CLIENT, 5000, SERVER, 53, b"question"));
    let (pool, public) = (address(&out, 12), port(&out, V4));
    assert_eq!(pool.octets()[..3], [203, 0, 113]);
    for (i, server) in [SERVER, SERVER, Ipv4Addr::new(1, 1, 1, 1)].into_iter().enumerate() {
        let t = (2 + i as u64) * MS;
        let back = h.through("outside", t, &udp4(server, 53, pool, public, b"answer"));
        assert_eq!((&back[24..40], port(&back, V6 + 2)), (&CLIENT.octets()[..], 5000));
        assert_eq!(&back[8..24], &embedded(server).octets());
    }
    assert_eq!(h.counts(), [2, 1], "two remotes, one binding");

    // TCP with data both ways; later packets are the card's, where there is one.
    let syn = h.through("inside", 10 * MS, &tcp6((CLIENT, 6000), (SERVER, 80), true, b""));
    let tcp = (address(&syn, 12), port(&syn, V4));
    let back = h.through("outside", 11 * MS, &tcp4((SERVER, 80), tcp, true, b""));
    assert_eq!((back[6], port(&back, V6 + 2)), (6, 6000));
    for i in 0..5 {
        let t = (12 + i) * MS;
        let out = h.through("inside", t, &tcp6((CLIENT, 6000), (SERVER, 80), false, b"GET /"));
        assert_eq!(
            (address(&out, 12), port(&out, V4), &out[V4 + 20..]),
            (tcp.0, tcp.1, &b"GET /"[..])
        );
        let back = h.through("outside", t, &tcp4((SERVER, 80), tcp, false, b"200 OK"));
        assert_eq!(&back[V6 + 20..], b"200 OK");
    }

    // Ping.
    let out = h.through("inside", 20 * MS, &echo6(CLIENT, 77, SERVER, b"ping"));
    assert_eq!((out[9], out[V4]), (1, 8));
    let id = port(&out, V4 + 4);
    let back = h.through("outside", 21 * MS, &echo_reply4(SERVER, (pool, id), b"ping"));
    assert_eq!((back[6], back[V6], port(&back, V6 + 4)), (58, 129, 77));

    // Fragments, the second before the first too.
    let [first, second] = fragments6((CLIENT, 5000), SERVER, 9);
    let out = h.through("inside", 30 * MS, &first);
    assert_eq!(
        (port(&out, 6) & 0x3fff, port(&out, 4)),
        (0x2000, 9),
        "first, more, Identification"
    );
    let out = h.through("inside", 31 * MS, &second);
    assert_eq!(port(&out, 6) & 0x3fff, 1024 / 8);
    let [first, second] = fragments6((CLIENT, 5000), SERVER, 10);
    assert_eq!(
        h.packet("inside", 32 * MS, &second),
        [],
        "it waits for its first fragment"
    );
    let both = h.packet("inside", 33 * MS, &first);
    assert_eq!(both.iter().map(|tx| tx.1).collect::<Vec<_>>(), [33 * MS; 2]);

    // ICMP errors: from a router about a packet of the session, and of our own about a hop limit.
    let about = tcp6((CLIENT, 6000), (SERVER, 80), false, b"GET /");
    let sent = h.through("inside", 40 * MS, &about);
    let error = error4(Ipv4Addr::new(8, 8, 4, 4), tcp.0, 3, 4, &sent);
    let back = h.through("outside", 41 * MS, &error);
    assert_eq!((back[6], back[V6], back[V6 + 1]), (58, 2, 0), "packet too big");
    assert_eq!(&back[24..40], &CLIENT.octets());
    assert_eq!(
        &back[V6 + 8 + 24..V6 + 8 + 40],
        &embedded(SERVER).octets(),
        "about what the client sent"
    );
    let mut last_hop = udp6(CLIENT, 5000, SERVER, 53, b"q");
    last_hop[7] = 1;
    let back = h.packet("inside", 42 * MS, &last_hop);
    assert_eq!(back.len(), 1);
    assert_eq!(
        (back[0].0.as_str(), back[0].1, back[0].2[V6]),
        ("inside", 42 * MS, 3),
        "time exceeded"
    );

    // Timers: an unknown SYN from outside is answered when its time is over, at that time.
    let unasked = PacketBuilder::ipv4(SERVER.octets(), pool.octets(), 60)
        .tcp(1, 9999, 1, 1)
        .syn();
    let mut bytes = Vec::new();
    unasked.write(&mut bytes, b"").expect("a packet");
    assert_eq!(h.packet("outside", 50 * MS, &bytes), []);
    let late = h.advance(20 * SECOND);
    let [(side, at, error)] = &late[..] else {
        panic!("{late:?}")
    };
    assert_eq!((side.as_str(), error[9], error[V4]), ("outside", 1, 3));
    let over = 6 * SECOND + 50 * MS;
    // With a card, time has the ticks of its activity stamps: 2^26 ns.
    let tick = if engine == "soft" { 0 } else { 1 << 26 };
    assert!((over..=over + tick).contains(at), "{at}");

    assert_eq!(h.counts(), [4, 3]);
    h.advance(100 * SECOND);
    assert_eq!(h.counts(), [3, 2], "the ping is over");
    h.advance(400 * SECOND);
    assert_eq!(h.counts(), [1, 1], "UDP too");
    let probe = h.advance(7_600 * SECOND);
    assert!(
        probe.len() == 1 && probe[0].0 == "inside" && probe[0].2[6] == 6,
        "a TCP probe: {probe:?}"
    );
    h.advance(9_000 * SECOND);
    assert_eq!(h.counts(), [0, 0]);

    // Configuration: refused as a whole, or taken; sessions of a pool that goes, go.
    let t = 9_001 * SECOND;
    h.through("inside", t, &udp6(CLIENT, 5000, SERVER, 53, b"q"));
    let rule = "services nat rule stateful-nat64 term t1 then translated";
    let to_other = [
        "set services nat pool other address 192.0.2.0/24".to_string(),
        "set services nat pool other port automatic".to_string(),
        format!("set {rule} source-pool other"),
    ];
    let refused = h.config(t, &[&to_other[0], "set services nat nonsense"]);
    assert!(
        refused["error"]
            .as_str()
            .is_some_and(|e| e.contains("nonsense") && !e.starts_with("error")),
        "{refused}"
    );
    assert_eq!(h.counts(), [1, 1]);
    let taken = h.config(t, &[&to_other[0], &to_other[1], &to_other[2]]);
    assert_eq!(taken, json!({"tx": []}));
    let out = h.through("inside", t + MS, &udp6(CLIENT, 5001, SERVER, 53, b"q"));
    assert_eq!(address(&out, 12).octets()[..3], [192, 0, 2]);
    let counts = h.counts();
    assert_eq!(
        h.config(t + 2 * MS, &["clear services sessions source-port 5001"]),
        json!({"tx": []})
    );
    assert_eq!(h.counts()[0], counts[0] - 1);
    // A filter means what it means to the daemon: the pool's address is where answers go to, not where they come from.
    for (filter, left) in [
        ("source-prefix 192.0.2.0/24", counts[0] - 1),
        ("source-prefix 2001:db8:ffff::/48", counts[0] - 1),
        ("source-prefix 2001:db8::/32 destination-prefix 64:ff9b::/96", 0),
    ] {
        h.config(t + 2 * MS, &[&format!("clear services sessions {filter}")]);
        assert_eq!(h.counts()[0], left, "{filter}");
    }
    assert_eq!(h.config(t + 2 * MS, &["clear services sessions"]), json!({"tx": []}));
    assert_eq!(h.counts(), [0, 0]);

    assert_eq!(h.ask(json!({"op": "reset", "seed": 5})), json!({"tx": []}));
    let out = h.through("inside", MS, &udp6(CLIENT, 5000, SERVER, 53, b"q"));
    assert_eq!(
        address(&out, 12).octets()[..3],
        [203, 0, 113],
        "the file again, and time from 0"
    );
}

#[test]
fn without_a_card() {
    walk("soft");
}

#[test]
fn with_the_compiled_card() {
    walk("rtl-compiled");
}

#[test]
fn nonsense_is_answered_and_the_next_line_works() {
    let mut h = Harness::start("soft");
    let packet = hex(&udp6(CLIENT, 5000, SERVER, 53, b"q"));
    let long_hex = format!(
        r#"{{"op":"packet","side":"inside","t_ns":1,"hex":"{}"}}"#,
        "60".repeat(1 << 20)
    );
    let deep = "[".repeat(100_000);
    let deep_object = r#"{"a":"#.repeat(10_000);
    let megabyte = "x".repeat(1 << 20);
    let five = "x".repeat(5 << 20);
    let lines: Vec<&[u8]> = vec![
        b"",
        b" ",
        b"\r",
        b"\0",
        b"null",
        b"{}",
        b"[]",
        b"\xff\xfe{}",
        b"{\"op\":\"packet\",\"side\":\"\xff\"}",
        br#"{"op":"fly"}"#,
        br#"{"op":null}"#,
        br#"{"op":"packet"}"#,
        br#"{"op":"packet","side":"inside","t_ns":-1,"hex":"60"}"#,
        br#"{"op":"packet","side":"inside","t_ns":1e99,"hex":"60"}"#,
        br#"{"op":"packet","side":"inside","t_ns":"1","hex":"60"}"#,
        br#"{"op":"packet","side":"inside","t_ns":1,"hex":"606"}"#,
        br#"{"op":"packet","side":"inside","t_ns":1,"hex":"6g"}"#,
        br#"{"op":"packet","side":"inside","t_ns":1,"hex":""}"#,
        br#"{"op":"packet","side":"between","t_ns":1,"hex":"60"}"#,
        br#"{"op":"advance","t_ns":18446744073709551615}"#,
        br#"{"op":"advance","t_ns":18446744073709551616}"#,
        br#"{"op":"config","t_ns":1,"commands":"set"}"#,
        br#"{"op":"config","t_ns":1,"commands":["commit"]}"#,
        br#"{"op":"query","what":"weather"}"#,
        br#"{"op":"reset","seed":-1}"#,
        br#"{"op":"reset","config":"/nonexistent"}"#,
        br#"{"op":"reset","config":"/"}"#,
        br#"{"op":"reset","config":"/dev/zero"}"#,
        br#"{"op":"query","what":"sessions","op":"query"}"#,
        long_hex.as_bytes(),
        deep.as_bytes(),
        deep_object.as_bytes(),
        megabyte.as_bytes(),
        five.as_bytes(),
    ];
    for line in lines {
        let answer = h.raw(line);
        let shown = String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
        assert!(
            answer["error"].as_str().is_some_and(|e| !e.is_empty()),
            "{shown:?}: {answer}"
        );
        assert!(
            answer.to_string().len() < 2_000,
            "{shown:?}: an answer of reasonable length"
        );
        assert_eq!(h.counts(), [0, 0]);
    }
    let upper = format!(
        r#" {{"hex":"{}","t_ns":7,"op":"packet","side":"inside"}} "#,
        packet.to_uppercase()
    );
    assert_eq!(h.raw(upper.as_bytes())["tx"].as_array().map(Vec::len), Some(1));
    assert_eq!(h.counts(), [1, 1]);
}

#[test]
fn side_by_side_both_refuse_what_is_longer_than_a_frame() {
    let mut h = Harness::start("both");
    // 1,508 bytes of packet fill a frame of 1,522.
    for (t, source, payload, sent) in [
        (1, 5000, 1461, 0),
        (2, 5000, 1460, 1),
        (3, 5000, 1461, 0),
        (4, 5000, 1460, 1),
        (5, 5000, 9000, 0),
        (6, 5001, 9000, 0),
    ] {
        let packet = udp6(CLIENT, source, SERVER, 53, &vec![1; payload]);
        assert_eq!(h.packet("inside", t * MS, &packet).len(), sent, "{payload} bytes");
    }
    assert_eq!(h.counts(), [1, 1], "and no session of what was refused");
}

/// The packet without what the translator is free to choose: Identification (and with it the header checksum) of an
/// IPv4 packet that is no fragment (RFC 7915 section 5.1).
fn comparable((side, t_ns, mut bytes): Tx) -> (String, u64, String) {
    if bytes[0] >> 4 == 4 && port(&bytes, 6) & 0x3fff == 0 {
        bytes[4..6].fill(0);
        bytes[10..12].fill(0);
    }
    (side, t_ns, hex(&bytes))
}

#[test]
fn software_and_compiled_card_answer_alike() {
    let seed = 0x6146;
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut soft, mut card) = (Harness::start("soft"), Harness::start("rtl-compiled"));
    // Bindings seen: protocol, client's port, public address and port.
    let mut known: Vec<(u8, Ipv4Addr, u16)> = Vec::new();
    let mut now = 0;
    let mut answered = 0;
    for step in 0..600 {
        now += rng.random_range(0..3 * MS);
        let client = Ipv6Addr::from(u128::from(CLIENT) + rng.random_range(0..4));
        let server = [SERVER, Ipv4Addr::new(1, 1, 1, 1)][rng.random_range(0..2)];
        let source = rng.random_range(5000..5004);
        let payload = vec![step as u8; [0, 1, 7, 8, 64, 511, 1200, 1440][rng.random_range(0..8)]];
        let pick = |rng: &mut StdRng| known.get(rng.random_range(0..known.len().max(1))).copied();
        let (side, mut bytes) = match (rng.random_range(0..10), pick(&mut rng)) {
            (0..=1, _) => ("inside", udp6(client, source, server, 53, &payload)),
            (2, _) => ("inside", tcp6((client, source), (server, 80), rng.random(), &payload)),
            (3, _) => ("inside", echo6(client, source, server, &payload)),
            (4, _) => {
                let fragments = fragments6((client, source), server, step);
                ("inside", fragments[rng.random_range(0..2)].clone())
            }
            (_, Some((17, pool, public))) => ("outside", udp4(server, 53, pool, public, &payload)),
            (_, Some((6, pool, public))) => {
                let syn = rng.random();
                ("outside", tcp4((server, 80), (pool, public), syn, &payload))
            }
            (_, Some((_, pool, public))) => ("outside", echo_reply4(server, (pool, public), &payload)),
            (_, None) => ("inside", udp6(client, source, server, 53, &payload)),
        };
        match rng.random_range(0..20) {
            0 => bytes.truncate(rng.random_range(1..=bytes.len())),
            1 => {
                let at = rng.random_range(0..bytes.len());
                bytes[at] ^= 1 << rng.random_range(0..8);
            }
            _ => {}
        }
        let answers = [&mut soft, &mut card].map(|h| {
            let sent = h.packet(side, now, &bytes);
            (sent.iter().cloned().map(comparable).collect::<Vec<_>>(), sent)
        });
        let [(a, sent), (b, _)] = answers;
        assert_eq!(a, b, "seed {seed}, step {step}, {side} at {now}: {}", hex(&bytes));
        for (to, _, packet) in &sent {
            answered += 1;
            // Only whole packets show a port.
            if to == "outside" && packet[0] == 0x45 && port(packet, 6) & 0x1fff == 0 {
                let at = if packet[9] == 1 { V4 + 4 } else { V4 };
                let binding = (packet[9], address(packet, 12), port(packet, at));
                if (packet[9] != 1 || packet[V4] == 8) && !known.contains(&binding) {
                    known.push(binding);
                }
            }
        }
        if step % 100 == 99 {
            assert_eq!(soft.counts(), card.counts(), "seed {seed}, step {step}");
        }
    }
    assert!(
        answered > 400 && known.len() > 10,
        "{answered} packets, {} bindings",
        known.len()
    );
    // Long after every timer.
    let late = [&mut soft, &mut card].map(|h| {
        h.advance(now + 20_000 * SECOND);
        h.counts()
    });
    assert_eq!(late, [[0, 0]; 2]);
}
