//! `host/docs/commands.md`: every command with what it prints, by the real `nat64ctl` from the real `nat64d` on a simulated
//! card with a client's packets in it. `cargo xtask generate` writes the file; the test compares.
//!
//! What differs from run to run (times, rates, sizes in memory) is written over, field by field, by [`SCRUBBED`].

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use nat64_host::ctl::grammar::{Command, CONFIGURATION, OPERATIONAL};
use nat64_host::ctl::manual::{self, Example};
use nat64_host::ctl::parse::Mode;
use nat64_tests::cables::{self, Cables};
use nat64_tests::site::Site;
use regex::Regex;

const SEED: &str = include_str!("../../examples/seed.conf");

/// What the daemon of the manual has besides the worked example: subscribers with computed ports, pairing.
const MORE: &[&str] = &[
    "set services nat pool det-pool address-range low 198.51.100.1 high 198.51.100.4",
    "set services nat pool det-pool port deterministic-port-block-allocation block-size 512",
    "set services nat rule subscribers match-direction input",
    "set services nat rule subscribers term t1 from source-address 2001:db8:d::/120",
    "set services nat rule subscribers term t1 from destination-address 64:ff9b::/96",
    "set services nat rule subscribers term t1 then translated source-pool det-pool",
    "set services nat rule subscribers term t1 then translated destination-prefix 64:ff9b::/96",
    "set services nat rule subscribers term t1 then translated translation-type deterministic-napt64",
    "set services nat rule stateful-nat64 term t1 then translated address-pooling paired",
    "set services service-set sset-nat64 nat-rules subscribers",
];

/// Lines for the manual: each is run in a session of its own, after `configure` and what prepares it.
const EXAMPLES: &[(Mode, &str)] = &[
    (Mode::Operational, "show services nat pool"),
    (Mode::Operational, "show services nat pool src-pool-nat64 detail"),
    (Mode::Operational, "show services nat mappings"),
    (
        Mode::Operational,
        "show services nat mappings detail private 2001:db8::1",
    ),
    (Mode::Operational, "show services nat mappings summary"),
    (Mode::Operational, "show services nat mappings address-pooling-paired"),
    (Mode::Operational, "show services nat statistics"),
    (
        Mode::Operational,
        "show services nat deterministic-nat internal-host 198.51.100.1 nat-port 4100",
    ),
    (
        Mode::Operational,
        "show services nat deterministic-nat nat-port-block 2001:db8:d::7",
    ),
    (Mode::Operational, "show services sessions"),
    (Mode::Operational, "show services sessions extensive limit 1"),
    (Mode::Operational, "show services sessions terse"),
    (Mode::Operational, "show services sessions count protocol tcp"),
    (Mode::Operational, "show services sessions utilization"),
    (Mode::Operational, "show services stateful-firewall flows"),
    (
        Mode::Operational,
        "show services stateful-firewall flows extensive protocol tcp",
    ),
    (Mode::Operational, "show services stateful-firewall flows count"),
    (Mode::Operational, "show services service-sets summary"),
    (Mode::Operational, "show services service-sets statistics packet-drops"),
    (Mode::Operational, "show chassis card"),
    (Mode::Operational, "show drops punts"),
    (Mode::Operational, "show registers Geometry"),
    (Mode::Operational, "show neighbours"),
    (Mode::Operational, "show configuration services service-set sset-nat64"),
    (
        Mode::Operational,
        "show configuration services nat pool src-pool-nat64 | display set",
    ),
    (
        Mode::Operational,
        "show configuration services nat pool src-pool-nat64 | display json",
    ),
    (Mode::Operational, "show system commit"),
    (Mode::Operational, "show system rollback 0 | match pool"),
    (Mode::Operational, "show system uptime"),
    (Mode::Operational, "show system alarms"),
    (Mode::Operational, "show log | match taken"),
    (Mode::Operational, "show version"),
    (Mode::Operational, "show cli"),
    (Mode::Operational, "monitor drops count 1"),
    (Mode::Operational, "monitor sessions count 2"),
    (Mode::Operational, "clear system commit"),
    (
        Mode::Operational,
        "test nat64 packet source 2001:db8::1 source-port 40000 destination 64:ff9b::192.0.2.1 destination-port 80 \
         protocol tcp",
    ),
    (
        Mode::Operational,
        "request nat64 drain pool src-pool-nat64 address 203.0.113.1",
    ),
    (Mode::Operational, "show nat64 drain"),
    (
        Mode::Operational,
        "request nat64 undrain pool src-pool-nat64 address 203.0.113.1",
    ),
    (Mode::Operational, "request support information | match \"^===\""),
    (Mode::Operational, "clear services sessions source-prefix 2001:db8::/96"),
    (
        Mode::Operational,
        "clear services nat mappings eim subscriber 2001:db8:d::7",
    ),
    (Mode::Operational, "clear services nat statistics"),
    (Mode::Operational, "card list"),
    (Mode::Operational, "card bind ffff:ff:1f.7"),
    (Mode::Operational, "card unbind ffff:ff:1f.7"),
    (Mode::Operational, "set cli screen-length 40"),
    (Mode::Operational, "configure"),
    (Mode::Operational, "help show services nat pool"),
    (Mode::Operational, "exit"),
    (Mode::Operational, "quit"),
    (
        Mode::Configuration,
        "set services nat pool src-pool-nat64 address 198.51.100.0/24",
    ),
    (Mode::Configuration, "delete services nat pool src-pool-nat64 port"),
    (Mode::Configuration, "deactivate services service-set sset-nat64"),
    (Mode::Configuration, "activate services service-set sset-nat64"),
    (
        Mode::Configuration,
        "annotate services nat pool src-pool-nat64 \"leased until 2030\"",
    ),
    (
        Mode::Configuration,
        "rename services nat pool src-pool-nat64 to customers",
    ),
    (Mode::Configuration, "copy services nat pool src-pool-nat64 to spare"),
    (
        Mode::Configuration,
        "insert services nat rule stateful-nat64 term t2 before term t1",
    ),
    (Mode::Configuration, "replace pattern src-pool-nat64 with customers"),
    (Mode::Configuration, "edit services nat"),
    (Mode::Configuration, "up"),
    (Mode::Configuration, "top"),
    (Mode::Configuration, "show services nat pool src-pool-nat64"),
    (Mode::Configuration, "show | compare"),
    (Mode::Configuration, "commit check"),
    (Mode::Configuration, "commit comment \"more addresses\""),
    (Mode::Configuration, "commit confirmed 5"),
    (Mode::Configuration, "rollback 1"),
    (
        Mode::Configuration,
        "load set inline set services nat pool p2 address 198.51.100.0/24",
    ),
    (Mode::Configuration, "save terminal | match pool"),
    (Mode::Configuration, "update"),
    (Mode::Configuration, "status"),
    (Mode::Configuration, "run show services sessions count"),
    (Mode::Configuration, "help insert"),
    (Mode::Configuration, "exit"),
    (Mode::Configuration, "quit"),
];

/// What goes before an example of the configuration mode so that it has something to work on.
fn prepared(line: &str) -> &'static [&'static str] {
    match line {
        "show | compare" | "commit comment \"more addresses\"" | "commit confirmed 5" => {
            &["set services nat pool src-pool-nat64 address 192.0.2.0/24"]
        }
        "activate services service-set sset-nat64" => &["deactivate services service-set sset-nat64"],
        line if line.starts_with("insert") => &["copy services nat rule stateful-nat64 term t1 to t2"],
        _ => &[],
    }
}

/// How the configuration mode is entered: what an example leaves behind must not be there for the next.
fn entered(line: &str) -> &'static str {
    match line {
        "status" => "configure",
        "update" => "configure private",
        _ => "configure exclusive",
    }
}

/// Commands that put things in order after an example.
fn restored(line: &str) -> &'static [&'static str] {
    match line {
        "commit comment \"more addresses\"" | "commit confirmed 5" => &["configure", "rollback 1", "commit", "exit"],
        _ => &[],
    }
}

/// What differs from run to run, and what is written in its place.
const SCRUBBED: &[(&str, &str)] = &[
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "2026-12-23 04:26:40 UTC"),
    (r"(?m)^\d\d:\d\d:\d\d\.\d{3} ", "04:26:40.000 "),
    // How long ago something was.
    (r"\(\d\d:\d\d:\d\d ago\)", "(00:00:07 ago)"),
    (r"(opened|of the last) \d\d:\d\d:\d\d", "$1 00:00:07"),
    (r"Timeout: 74\d\d", "Timeout: 7438"),
    (r"card, 74\d\ds", "card, 7438s"),
    (r"card, [56]\ds", "card, 58s"),
    (r"card, (300|29\d)s", "card, 298s"),
    (r"(?m) 1(200|19\d)s$", " 1198s"),
    // How busy it was.
    (r"(setup rate|teardown rate|drop rate)( *): [\d.]+", "$1$2: 0"),
    (r"CPU load of slow path( *): [\d.]+ %", "CPU load of slow path$1: 0.4 %"),
    (r"Memory of the daemon( *): \d+ MiB", "Memory of the daemon$1: 17 MiB"),
    (r"\([\d.]+ per second, \d+ in all\)", "(1 per second, 2 in all)"),
    (
        r"(?m)^(\S+ +(?:drop|punt|answer) +\S+ +\d+ ) {9}[ \d.]{3}  ",
        "$1           0  ",
    ),
    // Whose it was, and the contract, which moves.
    (r"=== end, \d+ s ===", "=== end, 1798000000 s ==="),
    (r"process \d+", "process 4711"),
    (r" by \S+ via ", " by admin via "),
    (r"(?m)(Last configured: .*) by \S+$", "$1 by admin"),
    (r"CLI user: \S+ \(uid \d+\)", "CLI user: admin (uid 1000)"),
    (r"(?m)^  \S+ since ", "  admin since "),
    (r"(?m)^Hostname: .*$", "Hostname: gateway"),
    (r"ABI hash( *): 0x[0-9a-f]{8}", "ABI hash$1: 0x12345678"),
    (r"nat64ctl 0x[0-9a-f]{8}", "nat64ctl 0x12345678"),
];

fn scrubbed(text: &str) -> String {
    SCRUBBED.iter().fold(text.to_owned(), |text, (pattern, with)| {
        Regex::new(pattern)
            .expect("a pattern")
            .replace_all(&text, *with)
            .into_owned()
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// A query of a client to the server.
fn udp(client: &str, port: u16) -> Vec<u8> {
    let server = "64:ff9b::192.0.2.1".parse().expect("an address");
    let mut frame = Vec::new();
    cables::from_client(client.parse().expect("an address"), server)
        .udp(port, 53)
        .write(&mut frame, b"query")
        .expect("memory");
    frame
}

/// The daemon of the manual.
struct Gateway {
    site: Site,
    cables: Cables,
}

impl Gateway {
    fn start() -> Self {
        let mut site = Site::new();
        let path = |name: &str| site.folder().join(name);
        let (inside, outside) = (path("inside"), path("outside"));
        let ports = [
            format!("inside=unix:{}", inside.display()),
            format!("outside=unix:{}", outside.display()),
        ];
        site.start(&["--card", "sim", "--sim-port", &ports[0], "--sim-port", &ports[1]]);
        site.until("show chassis card", |said| said.contains("idle"));
        let cables = Cables::plug([&inside, &outside]);
        let gateway = Self { site, cables };
        let seed = gateway.site.folder().join("seed.conf");
        std::fs::write(&seed, SEED).expect("a file");
        let load = format!("load override {}", seed.display());
        gateway.all(&["configure", &load, "commit comment \"first customers\"", "exit"]);
        let mut more = vec!["configure"];
        more.extend(MORE);
        more.extend(["commit comment \"subscribers with computed ports\"", "exit"]);
        gateway.all(&more);
        gateway.traffic();
        gateway
    }

    fn ctl(&self, commands: &[&str]) -> Output {
        let mut program = self.site.ctl();
        for command in commands {
            program.args(["-c", command]);
        }
        program.stdin(Stdio::null()).output().expect("nat64ctl starts")
    }

    fn all(&self, commands: &[&str]) {
        let output = self.ctl(commands);
        assert!(
            output.status.success(),
            "{commands:?}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
    }

    /// A TCP connection, a ping, a query of a subscriber with computed ports; and packets that are dropped.
    fn traffic(&self) {
        let server = "192.0.2.1".parse().expect("an address");
        let server6 = "64:ff9b::192.0.2.1".parse().expect("an address");
        let client = |text: &str| cables::from_client(text.parse().expect("an address"), server6);
        let frame = |builder: etherparse::PacketBuilderStep<etherparse::TcpHeader>, payload: &[u8]| {
            let mut frame = Vec::new();
            builder.write(&mut frame, payload).expect("memory");
            frame
        };
        self.cables
            .arrive(0, &frame(client("2001:db8::1").tcp(40_000, 80, 1, 65_535).syn(), &[]));
        let ends = cables::ends(&self.cables.next4());
        let back = || cables::from_server(server, ends.source);
        let answer = back().tcp(80, ends.source_port, 9, 65_535).syn().ack(2);
        self.cables.arrive(1, &frame(answer, &[]));
        self.cables.next(0, |frame| frame.get(12..14) == Some(&[0x86, 0xdd]));
        for n in 0..5_u32 {
            let request = client("2001:db8::1").tcp(40_000, 80, 2 + 100 * n, 65_535).ack(10);
            self.cables.arrive(0, &frame(request, &[b'x'; 100]));
            self.cables.next4();
        }
        let data = back().tcp(80, ends.source_port, 10, 65_535).ack(502);
        self.cables.arrive(1, &frame(data, &[b'y'; 1_000]));
        self.cables.next(0, |frame| frame.len() > 1_000);

        let mut ping = Vec::new();
        let builder = client("2001:db8::2").icmpv6_echo_request(7, 1);
        builder.write(&mut ping, b"ping").expect("memory");
        self.cables.arrive(0, &ping);
        self.cables.next4();

        self.cables.arrive(0, &udp("2001:db8:d::7", 5_000));
        self.cables.next4();

        // Nobody's client, and one hop too far; the answer to the latter says that both were seen.
        self.cables.arrive(0, &udp("2001:db8:ffff::1", 1));
        let mut tired = udp("2001:db8::1", 40_000);
        // The hop limit, behind the Ethernet header and seven bytes of the IPv6 header.
        tired[14 + 7] = 1;
        self.cables.arrive(0, &tired);
        self.cables.next(0, |frame| frame.get(20) == Some(&58));
    }

    /// Gives an example, after what prepares it, and puts in order what it changed.
    fn give(&self, json: bool, mode: Mode, line: &str) -> (Output, usize) {
        if line == "clear system commit" {
            let later = "commit at \"2099-01-01 00:00\"";
            let pool = "set services nat pool later address 192.0.2.0/24";
            self.all(&["configure", pool, later, "rollback 0", "exit"]);
        }
        let mut commands = Vec::new();
        if mode == Mode::Configuration {
            commands.push(entered(line));
            commands.extend(prepared(line));
        }
        commands.push(line);
        let mut program = self.site.ctl();
        program.args(json.then_some("--json"));
        for command in &commands {
            program.args(["-c", command]);
        }
        program.stdin(Stdio::null());
        let output = if line.starts_with("monitor") {
            self.watched(program)
        } else {
            program.output().expect("nat64ctl starts")
        };
        let restored = restored(line);
        if !restored.is_empty() {
            self.all(restored);
        }
        (output, commands.len())
    }

    /// A command that watches: a session comes and goes, and a packet is dropped, until it has seen enough.
    fn watched(&self, mut program: std::process::Command) -> Output {
        let child = program
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nat64ctl starts");
        let seen = std::thread::spawn(move || child.wait_with_output().expect("it ends"));
        while !seen.is_finished() {
            // It begins to watch in one of these pauses, as good as surely.
            std::thread::sleep(Duration::from_millis(1_000));
            self.cables.arrive(0, &udp("2001:db8::3", 6_000));
            self.cables.next4();
            self.all(&["clear services sessions source-prefix 2001:db8::3/128"]);
            self.cables.arrive(0, &udp("2001:db8:ffff::1", 1));
        }
        seen.join().expect("no panic")
    }

    /// What an example prints, errors too.
    fn example(&self, mode: Mode, line: &str) -> String {
        let (output, _) = self.give(false, mode, line);
        self.readable(&(text(&output.stdout) + &text(&output.stderr)))
    }

    fn readable(&self, said: &str) -> String {
        let folder = self.site.folder().display().to_string();
        scrubbed(&said.replace(&folder, "/run/nat64d"))
    }
}

fn of(command: &Command, line: &str) -> bool {
    line == command.words || line.starts_with(&format!("{} ", command.words))
}

/// All examples with what they print, made once.
fn examples() -> &'static [String] {
    static PRINTED: OnceLock<Vec<String>> = OnceLock::new();
    PRINTED.get_or_init(|| {
        let gateway = Gateway::start();
        EXAMPLES
            .iter()
            .map(|(mode, line)| gateway.example(*mode, line))
            .collect()
    })
}

#[test]
fn commands_manual_is_current() {
    let of_command = |mode: Mode, command: &Command| -> Vec<Example> {
        let prompt = if mode == Mode::Operational {
            "admin@gateway> "
        } else {
            "admin@gateway# "
        };
        let mine = |(of_mode, line): &(Mode, &str)| *of_mode == mode && of(command, line);
        EXAMPLES
            .iter()
            .zip(examples())
            .filter(|(example, _)| mine(example))
            .map(|((_, line), output)| Example {
                line: format!("{prompt}{line}"),
                output: output.clone(),
            })
            .collect()
    };
    let wanted = manual::commands(&of_command);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/docs/commands.md");
    if std::env::var_os("NAT64_GENERATE").is_some() {
        std::fs::write(&file, wanted).expect("a file");
        return;
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = wanted
        .lines()
        .zip(found.lines())
        .find(|(wanted, found)| wanted != found);
    assert!(
        wanted == found,
        "host/docs/commands.md is out of date: cargo xtask generate; the first line that differs: {differs:#?}"
    );
}

#[test]
fn every_command_has_an_example() {
    for (mode, commands) in [(Mode::Operational, OPERATIONAL), (Mode::Configuration, CONFIGURATION)] {
        for command in commands {
            let has = EXAMPLES
                .iter()
                .any(|(of_mode, line)| *of_mode == mode && of(command, line));
            assert!(has, "no example of `{}`", command.words);
        }
    }
}

#[test]
fn examples_do_what_they_show() {
    // A failed example would make the manual teach an error; these two show one on purpose.
    let errors = ["card bind ffff:ff:1f.7", "card unbind ffff:ff:1f.7"];
    for ((_, line), output) in EXAMPLES.iter().zip(examples()) {
        let failed = output.lines().any(|line| line.starts_with("error"));
        assert_eq!(failed, errors.contains(line), "{line}:\n{output}");
    }
}

#[test]
fn every_command_answers_in_json() {
    // These two refuse, as there is no such device; others are lines of output, not answers.
    let refused = ["card bind ffff:ff:1f.7", "card unbind ffff:ff:1f.7"];
    let gateway = Gateway::start();
    let looks = EXAMPLES
        .iter()
        .filter(|(_, line)| !line.contains('|') && !refused.contains(line));
    for (mode, line) in looks {
        let (output, commands) = gateway.give(true, *mode, line);
        let answers = text(&output.stdout);
        assert!(output.status.success(), "{line}: {answers}{}", text(&output.stderr));
        let parsed: Vec<Result<serde_json::Value, _>> =
            serde_json::Deserializer::from_str(&answers).into_iter().collect();
        assert!(parsed.iter().all(Result::is_ok), "{line}: {answers}");
        let streamed = line.starts_with("monitor");
        assert!(streamed || parsed.len() == commands, "{line}: {answers}");
    }
}
