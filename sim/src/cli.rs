//! The command line of `nat64-sim`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use nat64_driver::LinkType;
use serde_json::json;

use crate::bench_engine::measure_new;
use crate::compiled::{self, Compiled};
use crate::events;
use crate::failure::Failure;
use crate::gateway::{open, warnings, Carrier, Setup};
use crate::lab;
use crate::output::Outputs;
use crate::pcap::{Capture, Merge};
use crate::replay::{replay, Plan};
use crate::rtl;
use crate::serve::{self, command::ServeArgs};
use crate::stdio::Server;
use crate::waves::{Pick, Waves};
use crate::SIDES;

const REPLAY_EXAMPLES: &str = "\
Examples, from the root of the source tree:
  # Two captures through the RTL; translated packets come out in out/inside.pcapng and out/outside.pcapng
  nat64-sim replay --config examples/seed.conf --in inside=examples/inside.pcap \\
      --in outside=examples/outside.pcap --out-dir out

  # The same on the compiled core, time running on for 30 s after the last packet, summary as JSON
  nat64-sim replay --config examples/seed.conf --in inside=examples/inside.pcap \\
      --in outside=examples/outside.pcap --out-dir out --engine rtl-compiled --until 30s --json

  # Software and card side by side; any difference is an error
  nat64-sim replay --config examples/seed.conf --in inside=examples/inside.pcap \\
      --in outside=examples/outside.pcap --out-dir out --engine both

  # As a co-process, one JSON object a line
  echo '{\"op\":\"query\",\"what\":\"sessions\"}' |
      nat64-sim replay --stdio --linktype raw --config examples/seed.conf --engine soft

Output files appear under their names only when the whole run succeeded.

Exit codes: 0 done, 1 card, driver or disk failed or two engines differ, 2 something in the input is wrong, 130 Ctrl-C.";

const LAB_EXAMPLES: &str = "\
Examples, as root or as a user who may make user namespaces:
  # A shell at the IPv6-only client; the IPv4-only server is 64:ff9b::192.0.2.80
  nat64-sim lab

  # Ping through the RTL in RustHDL's simulator
  nat64-sim lab --engine rtl -- ping -c 3 64:ff9b::192.0.2.80

  # A download through the compiled Verilog, captured on both sides
  nat64-sim lab --capture out --server 'cd /usr/share && python3 -m http.server 80' -- \\
      sh -c 'curl --retry 9 --retry-connrefused -o /dev/null http://[$SERVER]/common-licenses/GPL-3'

  # Throughput of the software card
  nat64-sim lab --engine soft --server 'iperf3 -s' -- sh -c 'sleep 1; iperf3 -c $SERVER'

The exit code is the command's; 128 and the signal's number when a signal ended it.";

/// The simulated NAT64 card.
#[derive(Debug, Parser)]
#[command(name = "nat64-sim", version, about, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send captures through a simulated card, on the clock of their time stamps.
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArgs),
    /// Serve a simulated card as a PCI device behind a socket (vfio-user), in real time.
    #[command(after_help = serve::command::EXAMPLES)]
    Serve(ServeArgs),
    /// Measure how many clocks a second an engine simulates.
    BenchEngine(BenchArgs),
    /// A real client and a real server in namespaces, with the gateway between them.
    #[command(after_help = LAB_EXAMPLES)]
    Lab(LabArgs),
}

#[derive(Debug, Args)]
struct LabArgs {
    /// What carries the packets.
    #[arg(long, value_enum, default_value_t = LabEngine::RtlCompiled)]
    engine: LabEngine,
    /// Let nat64d own the card, and have nat64ctl at the prompt; both are looked for beside this program and in PATH. The daemon
    /// chooses its own seed.
    #[arg(long, conflicts_with_all = ["capture", "waves"])]
    daemon: bool,
    /// Configuration file; the worked example unless given. Port 0 keeps its MAC address, the pool is 203.0.113.0/24.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Seed of everything random, such as pool ports and the card's hash secret.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Worker threads of the software card.
    #[arg(long, value_name = "N", default_value_t = 1)]
    workers: usize,
    /// The software card on TAP devices, in place of veth pairs.
    #[arg(long)]
    tap: bool,
    /// Two routers with a link of this MTU between them, between client and gateway.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(1280..=1500))]
    client_link_mtu: Option<u16>,
    /// Two routers with a link of this MTU between them, between gateway and server.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(576..=1500))]
    server_link_mtu: Option<u16>,
    /// Command run by a shell beside the server, started before the client's command; may be given more than once.
    #[arg(long, value_name = "COMMAND")]
    server: Vec<String>,
    /// Directory for inside.pcapng and outside.pcapng: both directions, with the verdict on each packet that arrived.
    #[arg(long, value_name = "DIR")]
    capture: Option<PathBuf>,
    #[command(flatten)]
    waves: WavesArgs,
    /// No summary on standard error at the end.
    #[arg(long)]
    quiet: bool,
    /// Command run at the client, with the server's address in $SERVER; a shell when there is none.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LabEngine {
    /// The RustHDL core in its own simulator.
    Rtl,
    /// The exported Verilog, compiled by Verilator.
    RtlCompiled,
    /// The software card.
    Soft,
}

#[derive(Debug, Args)]
struct WavesArgs {
    /// Waves of the core while it works on one packet, every signal by its name in the RustHDL source: FST, for GTKWave or Surfer.
    /// With the engine rtl, or both with rtl.
    #[arg(long, value_name = "FILE.fst")]
    waves: Option<PathBuf>,
    /// Which packet, counted from 1; `failing`: the first that is dropped, or in which two engines differ.
    #[arg(long, value_name = "N", default_value = "failing", requires = "waves")]
    waves_packet: Pick,
}

impl WavesArgs {
    /// The request, which only RustHDL's simulator can fulfil.
    fn request(&self, rtl: bool) -> Result<Option<Arc<Waves>>, Failure> {
        match &self.waves {
            Some(_) if !rtl => Err(Failure::Usage(
                "--waves belongs to RustHDL's simulator: --engine rtl (the compiled core does the same clock by clock)"
                    .into(),
            )),
            Some(path) => Ok(Some(Arc::new(Waves::new(path, self.waves_packet)))),
            None => Ok(None),
        }
    }
}

/// Says what became of a request for waves.
fn tell_waves(waves: Option<&Arc<Waves>>) {
    match waves.map(|waves| waves.kept()) {
        Some(Some(number)) => eprintln!("waves of packet {number} are written"),
        Some(None) => eprintln!("no waves: no such packet came"),
        None => {}
    }
}

#[derive(Debug, Args)]
struct ReplayArgs {
    /// Configuration file, Junos curly form or set commands; host/docs/configuration.md has the statements.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Capture of packets that arrive on a side: inside=FILE or outside=FILE, each at most once.
    #[arg(long = "in", value_name = "SIDE=FILE", value_parser = side_file)]
    inputs: Vec<(u8, PathBuf)>,
    /// Directory for inside.pcapng, outside.pcapng and exceptions.pcapng.
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
    /// What the captures must hold; without it, what they do hold. With --stdio, what packets are: ethernet unless given.
    #[arg(long, value_enum)]
    linktype: Option<Link>,
    /// Configuration changes: JSON lines {"t_ns": N, "commands": ["set ...", ...]}.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// How long time goes on after the last packet: 30s, 5m, 250ms, ...
    #[arg(long, value_name = "TIME", value_parser = duration, allow_hyphen_values = true)]
    until: Option<Duration>,
    /// Seed of everything random, such as pool ports and the card's hash secret.
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    /// What carries the packets.
    #[arg(long, value_enum, default_value_t = Engine::Rtl)]
    engine: Engine,
    /// The engine that `--engine both` compares with the software.
    #[arg(long, value_enum, value_name = "ENGINE")]
    with: Option<Rtl>,
    /// Bus width of the compiled core, in bits: 64, 128 or 512 (64 unless given).
    #[arg(long, value_name = "BITS", value_parser = bus_width)]
    width: Option<usize>,
    #[command(flatten)]
    waves: WavesArgs,
    /// Be a co-process: JSON lines on standard input and output.
    #[arg(long, conflicts_with_all = ["inputs", "out_dir", "events", "until"])]
    stdio: bool,
    /// Summary and errors as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct BenchArgs {
    /// Engine to measure.
    #[arg(long, value_enum, default_value_t = Rtl::Rtl)]
    engine: Rtl,
    /// Bus width of the compiled core, in bits: 64, 128 or 512 (64 unless given).
    #[arg(long, value_name = "BITS", value_parser = bus_width)]
    width: Option<usize>,
    /// How long to measure.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "3s")]
    time: Duration,
    /// Result and errors as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Link {
    /// Ethernet frames; the host resolves neighbours.
    Ethernet,
    /// IP packets without Ethernet.
    Raw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// The RustHDL core in its own simulator.
    Rtl,
    /// The exported Verilog, compiled by Verilator.
    RtlCompiled,
    /// No card: the driver and the translator alone.
    Soft,
    /// Software and card side by side; any difference is an error.
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rtl {
    /// The RustHDL core in its own simulator.
    Rtl,
    /// The exported Verilog, compiled by Verilator.
    RtlCompiled,
}

fn side_file(text: &str) -> Result<(u8, PathBuf), String> {
    let (side, file) = text.split_once('=').ok_or("expected SIDE=FILE")?;
    let port = SIDES.iter().position(|name| *name == side);
    let port = port.ok_or_else(|| format!("no side {side:?}; there are {}", SIDES.join(" and ")))?;
    if file.is_empty() {
        return Err("expected SIDE=FILE".into());
    }
    Ok((port as u8, file.into()))
}

/// Reads `30s`, `1.5m`, `250ms`; a number alone is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("no unit of time {other:?}; there are ns, us, ms, s, m and h")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{text:?} is no time; write 30s or 250ms"))?;
    Duration::try_from_secs_f64(number * factor).map_err(|e| e.to_string())
}

pub(crate) fn interrupted() -> &'static AtomicBool {
    static FLAG: OnceLock<AtomicBool> = OnceLock::new();
    FLAG.get_or_init(|| {
        // The second Ctrl-C does not wait for the run to notice. Without a handler Ctrl-C ends the process at once and
        // may leave unnamed temporary files, never a named one.
        let _ = ctrlc::set_handler(|| {
            if interrupted().swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        });
        AtomicBool::new(false)
    })
}

fn bus_width(text: &str) -> Result<usize, String> {
    let widths = nat64_hdl::export::WIDTHS;
    let width = text.parse().ok().filter(|width| widths.contains(width));
    width.ok_or_else(|| format!("there is no core of {text} bits; there are {widths:?}"))
}

/// The width of the core, which only a compiled one has a choice of.
fn width_of(wanted: Option<usize>, compiled: bool) -> Result<usize, Failure> {
    match wanted {
        Some(width) if width != compiled::WIDTH && !compiled => {
            Err(Failure::Usage("--width belongs to the engine rtl-compiled".into()))
        }
        wanted => Ok(wanted.unwrap_or(compiled::WIDTH)),
    }
}

fn carrier(engine: Engine, with: Option<Rtl>) -> Result<Carrier, Failure> {
    if with.is_some() && engine != Engine::Both {
        return Err(Failure::Usage("--with belongs to --engine both".into()));
    }
    Ok(match (engine, with) {
        (Engine::Soft, _) => Carrier::Soft,
        (Engine::Rtl, _) => Carrier::Rtl,
        (Engine::RtlCompiled, _) => Carrier::Compiled,
        (Engine::Both, Some(Rtl::Rtl)) => Carrier::BothRtl,
        (Engine::Both, _) => Carrier::BothCompiled,
    })
}

fn run_replay(args: ReplayArgs) -> Result<(), Failure> {
    let carrier = carrier(args.engine, args.with)?;
    let width = width_of(args.width, matches!(carrier, Carrier::Compiled | Carrier::BothCompiled))?;
    let waves = args.waves.request(matches!(carrier, Carrier::Rtl | Carrier::BothRtl))?;
    let wanted = args.linktype.map(|link| match link {
        Link::Ethernet => LinkType::Ethernet,
        Link::Raw => LinkType::Raw,
    });
    if args.stdio {
        let setup = Setup {
            link: wanted.unwrap_or(LinkType::Ethernet),
            carrier,
            width,
            waves,
        };
        let mut make = |path: &std::path::Path, seed| open(&setup, path, seed, 0);
        let mut server = Server::new(&mut make, args.config, args.seed)?;
        return server.serve(std::io::stdin().lock(), std::io::stdout().lock());
    }
    let missing = |option: &str| Failure::Usage(format!("{option} is missing (or --stdio)"));
    let config = args.config.ok_or_else(|| missing("--config FILE"))?;
    let out_dir = args.out_dir.ok_or_else(|| missing("--out-dir DIR"))?;
    if args.inputs.is_empty() {
        return Err(missing("--in SIDE=FILE"));
    }
    for (i, (port, path)) in args.inputs.iter().enumerate() {
        if let Some((_, first)) = args.inputs[..i].iter().find(|(other, _)| other == port) {
            let side = SIDES[usize::from(*port)];
            let (first, second) = (first.display(), path.display());
            return Err(Failure::Usage(format!(
                "--in {side} is given twice: {first} and {second}"
            )));
        }
    }
    let flag = interrupted();
    let captures = args
        .inputs
        .iter()
        .map(|(port, path)| Ok((*port, Capture::open(path)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    let merge = Merge::new(captures)?;
    let link = merge.link(wanted)?;
    let events_path = args.events.clone().unwrap_or_default();
    let events = args
        .events
        .as_deref()
        .map(events::read)
        .transpose()?
        .unwrap_or_default();
    let start = merge
        .peek_time()
        .into_iter()
        .chain(events.first().map(|e| e.t_ns))
        .min()
        .unwrap_or(0);
    if let Some(until) = args.until {
        if until.as_nanos() > u128::from(crate::MAX_TIME.saturating_sub(start)) {
            return Err(Failure::Usage("--until is too long: virtual time ends in 2116".into()));
        }
    }
    let setup = Setup {
        link,
        carrier,
        width,
        waves: waves.clone(),
    };
    if !args.json {
        for warning in warnings(&config, link)? {
            anstream::eprintln!("{warning}");
        }
    }
    let stopped = |failure: Failure| {
        // Ctrl-C reaches the child processes too, and their end must not be told as the cause.
        if flag.load(Ordering::Relaxed) {
            Failure::Interrupted
        } else {
            failure
        }
    };
    let mut device = open(&setup, &config, args.seed, start).map_err(|e| stopped(e.into()))?;
    let outputs = Outputs::create(&out_dir, link)?;
    let plan = Plan {
        events,
        events_path,
        until: args.until.unwrap_or_default(),
        until_given: args.until.is_some(),
        interrupted: &|| flag.load(Ordering::Relaxed),
    };
    let summary = replay(plan, merge, device.as_mut(), outputs, carrier.name());
    // Those of a packet in which the engines differ are what they were wanted for.
    tell_waves(waves.as_ref());
    let summary = summary.map_err(stopped)?;
    let text = if args.json {
        format!("{}\n", summary.to_json())
    } else {
        summary.to_text()
    };
    print(&text)
}

fn run_bench(args: BenchArgs) -> Result<(), Failure> {
    let width = width_of(args.width, args.engine == Rtl::RtlCompiled)?;
    let speed = match args.engine {
        Rtl::Rtl => measure_new(|memory| Ok(rtl::engine(memory)), args.time),
        Rtl::RtlCompiled => measure_new(
            move |memory| Ok(Box::new(Compiled::start_width(width, memory)?)),
            args.time,
        ),
    };
    let speed = speed.map_err(|e| Failure::Device(e.into()))?;
    let rate = speed.clocks_per_second();
    if args.json {
        let seconds = speed.elapsed.as_secs_f64();
        return print(&format!(
            "{}\n",
            json!({"clocks": speed.clocks, "seconds": seconds, "clocks_per_second": rate, "best_per_cpu_second": speed.best})
        ));
    }
    print(&format!(
        "{} clocks in {:.2?}: {rate:.0} clocks/s; at best {:.0} clocks per second of processor time\n",
        speed.clocks, speed.elapsed, speed.best
    ))
}

fn run_lab(args: LabArgs) -> Result<u8, Failure> {
    let engine = match args.engine {
        LabEngine::Rtl => lab::LabEngine::Rtl,
        LabEngine::RtlCompiled => lab::LabEngine::Compiled,
        LabEngine::Soft => lab::LabEngine::Soft {
            workers: args.workers,
            tap: args.tap,
        },
    };
    let waves = args.waves.request(args.engine == LabEngine::Rtl)?;
    let code = lab::run(&lab::LabOptions {
        engine,
        waves: waves.clone(),
        daemon: args.daemon,
        config: args.config,
        seed: args.seed,
        client_link_mtu: args.client_link_mtu,
        server_link_mtu: args.server_link_mtu,
        server: args.server,
        capture: args.capture,
        quiet: args.quiet,
        command: args.command,
    });
    tell_waves(waves.as_ref());
    code
}

/// Writes to standard output; a reader that went away (`| head`) is no error.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::Pipe(e)),
        _ => Ok(()),
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let (json, result) = match cli.command {
        Command::Replay(args) => (args.json, run_replay(args)),
        Command::Serve(args) => {
            let flag = interrupted();
            let result = serve::command::run(&args, flag).and_then(|text| print(&text));
            (args.json, result)
        }
        Command::BenchEngine(args) => (args.json, run_bench(args)),
        Command::Lab(args) => match run_lab(args) {
            Ok(code) => return ExitCode::from(code),
            Err(failure) => (false, Err(failure)),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if json {
                eprintln!("{}", failure.to_json());
            } else {
                // What the configuration's parser says begins with the word already.
                let text = failure.to_string();
                let text = text.strip_prefix("error: ").unwrap_or(&text);
                anstream::eprintln!("\u{1b}[1;31merror\u{1b}[0m: {text}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        for (text, wanted) in [
            ("30s", Duration::from_secs(30)),
            ("30", Duration::from_secs(30)),
            ("250ms", Duration::from_millis(250)),
            ("1.5m", Duration::from_secs(90)),
            ("2h", Duration::from_secs(7200)),
        ] {
            assert_eq!(duration(text), Ok(wanted), "{text}");
        }
        for text in ["", "s", "-1s", "3 days", "1e400s", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
