//! Runs the software card on two interfaces until standard input ends; says how many sessions there are for each line of it.
//!
//! `cargo run -p nat64-host --example soft -- FILE INSIDE OUTSIDE [WORKERS]`, as root. `tap:NAME` makes a TAP device.

use std::io::BufRead;
use std::process::ExitCode;
use std::sync::Arc;

use nat64_driver::LinkType;
use nat64_host::config::{self, BuildOptions};
use nat64_host::soft::card::{SoftCard, SoftOptions};
use nat64_host::soft::port::Link;
use nat64_layout::Reason;

fn link(text: &str) -> Link {
    match text.strip_prefix("tap:") {
        Some(name) => Link::Tap(name.into()),
        None => Link::Interface(text.into()),
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let [file, inside, outside, rest @ ..] = arguments else {
        return Err("usage: soft FILE INSIDE OUTSIDE [WORKERS]".into());
    };
    let tree = config::parse(&std::fs::read_to_string(file)?, file)?;
    let options = BuildOptions {
        link_type: LinkType::Ethernet,
        limits: config::CardLimits::SOFT,
        ..BuildOptions::default()
    };
    let (config, _) = config::build(&tree, options).map_err(|problems| {
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        texts.join("\n")
    })?;
    let options = SoftOptions {
        ports: [Some(link(inside)), Some(link(outside))],
        workers: rest.first().map_or(Ok(1), |text| text.parse())?,
        slots: 1024,
        seed: 64,
    };
    let card = SoftCard::start(options, Arc::new(config))?;
    println!("running");
    for line in std::io::stdin().lock().lines() {
        line?;
        let sessions = card.ask_all(|worker| worker.core().translator().session_count())?;
        println!("sessions {}", sessions.iter().sum::<usize>());
    }
    let workers = card.ask_all(|worker| {
        worker.count_lost();
        let core = worker.core();
        (core.stats().clone(), *core.soft_stats(), worker.processor_time())
    })?;
    for (number, (stats, soft, time)) in workers.iter().enumerate() {
        let packets: u64 = soft.packets_in.iter().sum();
        let frames: u64 = stats.frames_in.iter().sum();
        println!("worker {number}: {time:?} of processor time, {frames} frames, {packets} packets in");
        if frames > 0 {
            println!(
                "  {:.0} ns per frame, {:.0} ns per packet",
                time.as_nanos() as f64 / frames as f64,
                time.as_nanos() as f64 / packets as f64
            );
        }
        println!("  {soft:?}");
        for reason in Reason::ALL.iter().filter(|&&r| stats.reason(r) > 0) {
            println!("  {} {}", reason.name(), stats.reason(*reason));
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
