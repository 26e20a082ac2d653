//! The command line of `nat64-sim serve`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::{Options, PortSpec, ServeError, Service, Stats};
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
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
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
    let service = Service::start(&args.socket, &options, |memory| {
        PciCard::start(engine, Box::new(memory))
    })?;
    anstream::eprintln!(
        "serving the card at {} (ready after {:.1?}); Ctrl-C ends",
        args.socket.display(),
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
