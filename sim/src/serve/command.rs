//! The command line of `nat64-sim serve`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::{Options, PortSpec, SerialBoardStats, SerialService, ServeError, Service, Stats};
use crate::failure::Failure;
use crate::tlp::{PciCard, PciEngine};
use crate::SIDES;

/// Text behind `serve --help`.
pub const EXAMPLES: &str = "\
Examples:
  # A card whose ports are two TAP interfaces (needs root); the driver opens vfio-user:/run/card.sock
  nat64-sim serve --socket /run/card.sock --port inside=tap:nat64-in --port outside=tap:nat64-out

  # The card as compiled Verilog; frames come and go through SOCK_SEQPACKET sockets, one packet a frame
  nat64-sim serve --engine rtl-compiled --socket /tmp/card.sock \\
      --port inside=unix:/tmp/inside.sock --port outside=unix:/tmp/outside.sock

  # The card as a board on a serial line; the driver opens serial:/tmp/board
  nat64-sim serve --serial /tmp/board --port inside=tap:nat64-in --port outside=tap:nat64-out

  # Every transaction layer packet, decoded
  nat64-sim serve --socket /tmp/card.sock --tlp-log /tmp/card.tlp

  # The same card as a PCI device of a virtual machine (QEMU 10.1 or later, guest memory must be shared)
  qemu-system-x86_64 -M q35,memory-backend=m -m 1G -object memory-backend-memfd,id=m,size=1G,share=on \\
      -device intel-iommu,intremap=on,caching-mode=on,aw-bits=48 \\
      -device '{\"driver\":\"vfio-user-pci\",\"socket\":{\"type\":\"unix\",\"path\":\"/tmp/card.sock\"}}' ...

Ctrl-C ends it and says what the card did. Exit codes: 0 ended by Ctrl-C or --once, 1 card, port or socket failed,
2 something on the command line is wrong.";

/// Engine that simulates the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ServeEngine {
    /// The RustHDL card in its own simulator.
    Rtl,
    /// The exported Verilog, compiled by Verilator.
    RtlCompiled,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Socket to serve the card at (vfio-user).
    #[arg(
        long,
        value_name = "PATH",
        required_unless_present = "serial",
        conflicts_with = "serial"
    )]
    socket: Option<PathBuf>,
    /// Serve the card as a board on a serial line instead: a terminal device, to which PATH becomes a link.
    #[arg(long, value_name = "PATH", conflicts_with = "abi_hash")]
    serial: Option<PathBuf>,
    /// What simulates the card.
    #[arg(long, value_enum, default_value_t = ServeEngine::Rtl)]
    engine: ServeEngine,
    /// What a port is plugged into: inside=tap:NAME, outside=unix:PATH, inside=none; none when not given.
    #[arg(long = "port", value_name = "SIDE=WHAT")]
    ports: Vec<PortSpec>,
    /// Write one decoded line per transaction layer packet to this file.
    #[arg(long, value_name = "FILE")]
    tlp_log: Option<PathBuf>,
    /// Say that the ABI hash is this (hexadecimal): a card of another version, which a driver has to refuse.
    #[arg(long, value_name = "HASH", value_parser = hexadecimal)]
    abi_hash: Option<u32>,
    /// End when the first client has gone.
    #[arg(long)]
    once: bool,
    /// Summary and errors as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

fn hexadecimal(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u32::from_str_radix(digits, 16).map_err(|_| format!("`{text}` is no number of 32 bits in hexadecimal"))
}

/// What the card did, for people.
fn text(stats: &Stats) -> String {
    let mut text = format!(
        "registers   {} reads, {} writes\ninterrupts  {}, {} unheard\nDMA         {} accesses refused\nresets      {}\nclocks      {}\n",
        stats.reads, stats.writes, stats.interrupts, stats.unheard, stats.faults, stats.resets, stats.clocks
    );
    for (port, side) in SIDES.iter().enumerate() {
        text.push_str(&format!(
            "{side:11} {} frames in, {} out, {} of these not taken\n",
            stats.frames_in[port], stats.frames_out[port], stats.frames_lost[port]
        ));
    }
    text
}

fn json(stats: &Stats) -> serde_json::Value {
    serde_json::json!({
        "reads": stats.reads,
        "writes": stats.writes,
        "interrupts": stats.interrupts,
        "interrupts_unheard": stats.unheard,
        "dma_faults": stats.faults,
        "resets": stats.resets,
        "clocks": stats.clocks,
        "frames_in": stats.frames_in,
        "frames_out": stats.frames_out,
        "frames_lost": stats.frames_lost,
    })
}

/// Serves until `interrupted` (or, with `--once`, until the first client has gone); returns the summary.
pub(crate) fn run(args: &ServeArgs, interrupted: &AtomicBool) -> Result<String, Failure> {
    for (i, spec) in args.ports.iter().enumerate() {
        if args.ports[..i].iter().any(|other| other.port == spec.port) {
            let side = SIDES[usize::from(spec.port)];
            return Err(Failure::Usage(format!("--port {side} is given twice")));
        }
    }
    let options = Options {
        ports: args.ports.clone(),
        tlp_log: args.tlp_log.clone(),
        abi_hash: args.abi_hash,
    };
    let engine = match args.engine {
        ServeEngine::Rtl => PciEngine::Rtl,
        ServeEngine::RtlCompiled => PciEngine::Compiled,
    };
    let start = Instant::now();
    let socket = match (&args.serial, &args.socket) {
        (Some(path), _) => {
            let service = SerialService::start(path, &options, engine)?;
            return serve_line(args, path, &service, start, interrupted);
        }
        (None, Some(socket)) => socket,
        (None, None) => return Err(Failure::Usage("--socket or --serial is needed".into())),
    };
    let service = Service::start(socket, &options, |memory| PciCard::start(engine, Box::new(memory)))?;
    anstream::eprintln!(
        "serving the card at {} (ready after {:.1?}); Ctrl-C ends",
        socket.display(),
        start.elapsed()
    );
    loop {
        let ended = service.wait_for_end(Duration::from_millis(100));
        let stats = service.stats();
        if stats.is_none() {
            return Err(ServeError::Engine(crate::engine::EngineError::Stopped {
                reason: "see above".into(),
            })
            .into());
        }
        if interrupted.load(Ordering::Relaxed) || (ended && args.once) {
            let stats = stats.unwrap_or_default();
            return Ok(if args.json {
                format!("{}\n", json(&stats))
            } else {
                text(&stats)
            });
        }
    }
}

/// What a board on a serial line did, for people.
fn line_text(stats: &SerialBoardStats) -> String {
    let mut text = format!(
        "line        {} octets in, {} out\nTLPs        {} in, {} out\nresets      {}\nclocks      {}\n",
        stats.octets_in, stats.octets_out, stats.tlps_in, stats.tlps_out, stats.resets, stats.clocks
    );
    for (port, side) in SIDES.iter().enumerate() {
        text.push_str(&format!(
            "{side:11} {} frames in, {} out, {} of these not taken\n",
            stats.frames_in[port], stats.frames_out[port], stats.frames_lost[port]
        ));
    }
    text
}

fn line_json(stats: &SerialBoardStats) -> serde_json::Value {
    serde_json::json!({
        "octets_in": stats.octets_in,
        "octets_out": stats.octets_out,
        "tlps_in": stats.tlps_in,
        "tlps_out": stats.tlps_out,
        "resets": stats.resets,
        "clocks": stats.clocks,
        "frames_in": stats.frames_in,
        "frames_out": stats.frames_out,
        "frames_lost": stats.frames_lost,
    })
}

/// [`run`] for a board on a serial line.
fn serve_line(
    args: &ServeArgs,
    path: &std::path::Path,
    service: &SerialService,
    start: Instant,
    interrupted: &AtomicBool,
) -> Result<String, Failure> {
    anstream::eprintln!(
        "serving the card on the serial line {} (ready after {:.1?}); Ctrl-C ends",
        path.display(),
        start.elapsed()
    );
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let Some(stats) = service.stats() else {
            let reason = "see above".into();
            return Err(ServeError::Engine(crate::engine::EngineError::Stopped { reason }).into());
        };
        if interrupted.load(Ordering::Relaxed) || (stats.ended > 0 && args.once) {
            return Ok(if args.json {
                format!("{}\n", line_json(&stats))
            } else {
                line_text(&stats)
            });
        }
    }
}
