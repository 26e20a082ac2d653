//! `cargo xtask synth --board B`: from RustHDL to an image, with the reports that say whether to trust it.
//!
//! ```text
//!   emit --> BOARD.v .lpf .json --> yosys --> netlist --> nextpnr, once for each seed --> ecppack --> image
//!                                    (stat)                (report, placement)             (best seed)
//!                                       \-----------------------\--> manifest.toml, report.html in bitstreams/BOARD
//! ```
//!
//! Everything in between is under `target/synth/BOARD`. A stage whose inputs have not changed is not run again: what it
//! was made from is kept as a SHA-256 beside what it made, so that a build that was stopped goes on where it was. Same
//! sources, tool versions and seed give the same image.

mod check;
mod estimate;
mod facts;
mod load;
mod manifest;
mod netlist;
mod replay;
mod report;
mod resources;
mod sdf;
mod stage;
mod tools;

use std::path::{Path, PathBuf};

use clap::Args;

pub use check::{check, manifests};
pub use load::{load, Options as LoadOptions};
pub use replay::netlist;

use crate::run::{Error, Step};
use facts::{Board, Placement, Timing, Utilization};
pub use manifest::ClockEntry;
use manifest::Manifest;
use sdf::Paths;
use stage::{sha256, Stage};
use tools::Tools;

/// Arguments of the chore.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask synth --list\n  cargo xtask synth --board ecp5-85f --seeds 5\n  cargo xtask synth --board ecp5-85f --estimate\n  cargo xtask synth --block egress\n  cargo xtask synth --ultrascale\n\n\
    Exit code 1 when a clock misses its constraint on any of the seeds; the manifest and the report are written all the same."
)]
pub struct Options {
    /// Board to build.
    #[arg(long, required_unless_present_any = ["list", "block", "ultrascale"], conflicts_with_all = ["block", "ultrascale"])]
    board: Option<String>,
    /// Time one block of the core alone instead, on the largest ECP5 with one seed: clock rate and worst path. Nothing is written
    /// but `target/synth/block-NAME`.
    #[arg(long, value_name = "NAME")]
    block: Option<String>,
    /// Count what the 100G-class card takes of its part instead, by synthesis alone, into bitstreams/ultrascale/resources.toml; takes
    /// some ten minutes.
    #[arg(long, conflicts_with = "block")]
    ultrascale: bool,
    /// How many seeds place and route is tried with: 1, 2, ...
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=64))]
    seeds: u32,
    /// Stop after synthesis and show the longest paths as the netlist lets expect them.
    #[arg(long)]
    estimate: bool,
    /// List the boards.
    #[arg(long)]
    list: bool,
    /// Write manifest and report to this folder instead of bitstreams/BOARD.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// From Verilog to cells of an ECP5, for boards and for the netlist that is replayed.
const SYNTHESIS: &str = "synth_ecp5 -abc9";

/// The largest image that is kept beside its manifest.
const KEPT_BYTES: u64 = 4 << 20;

/// What place and route made of one seed.
pub struct Seed {
    /// The seed.
    pub seed: u32,
    /// Its timing.
    pub timing: Timing,
}

/// Runs the chore.
pub fn synth(root: &Path, options: &Options) -> Result<(), Error> {
    let target = root.join("target/synth");
    if let Some(block) = &options.block {
        return time_block(root, &target, block);
    }
    if options.ultrascale {
        return resources::resources(root, &target);
    }
    let name = match (&options.board, options.list) {
        (Some(name), false) => name,
        _ => return emit(root, &target, &["--list"]),
    };
    let work = target.join(name);
    println!("== {name}: Verilog");
    emit(root, &work, &[name])?;
    let board = Board::read(&work.join(format!("{name}.json")))?;
    let tools = Tools::find(root)?;

    println!("== {name}: synthesis ({})", tools.yosys_version);
    let verilog_hash = synthesize(&work, name, &board.top, &tools)?;
    let netlist = work.join("netlist.json");
    if options.estimate {
        return show_estimate(&netlist, &board);
    }

    let mut seeds = Vec::new();
    let lpf = work.join(format!("{name}.lpf"));
    let netlist_hash = sha256(&netlist)?;
    for seed in 1..=options.seeds {
        println!(
            "== {name}: place and route, seed {seed} of {} ({})",
            options.seeds, tools.nextpnr_version
        );
        let file = |end: &str| work.join(format!("seed{seed}{end}"));
        let (report, config) = (file(".report.json"), file(".config"));
        let (placed, sdf) = (file(".placed.json"), file(".sdf"));
        let arguments = tools::nextpnr_arguments(&board, seed, &lpf);
        let inputs = [
            netlist_hash.as_str(),
            &sha256(&lpf)?,
            &tools.nextpnr_version,
            &arguments.join(" "),
        ];
        Stage::new(
            &work,
            &format!("seed{seed}"),
            &inputs,
            &[&report, &config, &placed, &sdf],
        )
        .run(|log| tools.nextpnr(&work, seed, &arguments, log))?;
        let timing = Timing::read(&report, &board)?;
        println!("{}", timing.line());
        seeds.push(Seed { seed, timing });
    }

    let best = seeds
        .iter()
        .max_by(|a, b| a.timing.margin().total_cmp(&b.timing.margin()));
    let Some(best) = best else {
        return Err(Error::Missing { what: "a seed".into() });
    };
    println!("== {name}: image of seed {}", best.seed);
    let config = work.join(format!("seed{}.config", best.seed));
    let image = work.join(format!("{name}.bit"));
    let inputs = [sha256(&config)?, tools.nextpnr_version.clone()];
    Stage::new(&work, "pack", &[&inputs[0], &inputs[1]], &[&image])
        .run(|log| tools.ecppack(&work, &config, &image, log))?;

    let out = options
        .out
        .clone()
        .unwrap_or_else(|| root.join("bitstreams").join(name));
    std::fs::create_dir_all(&out).map_err(|e| Error::file(&out, e))?;
    let utilization = Utilization::read(&work.join(format!("seed{}.report.json", best.seed)))?;
    let placement = Placement::read(&work.join(format!("seed{}.placed.json", best.seed)))?;
    let paths = Paths::read(&work.join(format!("seed{}.sdf", best.seed)), &board, report::PATHS)?;
    paths.check(&best.timing, &board)?;
    let mut manifest = Manifest::new(
        root,
        &board,
        &tools,
        &seeds,
        best.seed,
        &utilization,
        &verilog_hash,
        &sha256(&image)?,
    )
    .with_paths(&paths)
    .with_history(&out.join("manifest.toml"));
    manifest.image_file = keep(&image, &out)?;
    manifest.write(&out.join("manifest.toml"))?;
    report::write(
        &out.join("report.html"),
        &manifest,
        &board,
        &seeds,
        &utilization,
        &placement,
        &paths,
    )?;
    let registers = out.join("registers.json");
    std::fs::copy(root.join("hdl/layout/registers.json"), &registers).map_err(|e| Error::file(&registers, e))?;
    println!("== {}", out.join("manifest.toml").display());
    for clock in &manifest.clocks {
        println!(
            "{}: worst of {} seeds {:.1} MHz, best {:.1} MHz, constraint {} MHz: {}",
            clock.net,
            seeds.len(),
            clock.worst_mhz,
            clock.best_mhz,
            clock.constraint_mhz,
            if clock.met { "met" } else { "MISSED" }
        );
    }
    match manifest.clocks.iter().find(|clock| !clock.met) {
        None => Ok(()),
        Some(clock) => Err(Error::Timing {
            clock: clock.net.clone(),
            reached: clock.worst_mhz,
            wanted: clock.constraint_mhz,
        }),
    }
}

/// Puts the image into the board's folder when it is small enough; its name there, or nothing.
fn keep(image: &Path, out: &Path) -> Result<String, Error> {
    let name = image
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let bytes = std::fs::metadata(image).map_err(|e| Error::file(image, e))?.len();
    let copy = out.join(&name);
    if bytes > KEPT_BYTES {
        println!("   the image has {bytes} bytes and is not kept: {}", image.display());
        let _ = std::fs::remove_file(&copy);
        return Ok(String::new());
    }
    std::fs::copy(image, &copy).map_err(|e| Error::file(&copy, e))?;
    Ok(name)
}

/// Synthesis of `NAME.v` in `work` to `netlist.json`; the SHA-256 of the Verilog.
fn synthesize(work: &Path, name: &str, top: &str, tools: &Tools) -> Result<String, Error> {
    let script =
        format!("read_verilog {name}.v; {SYNTHESIS} -top {top} -json netlist.json; tee -q -o stat.json stat -json");
    let verilog = sha256(&work.join(format!("{name}.v")))?;
    Stage::new(
        work,
        "yosys",
        &[&verilog, &tools.yosys_version, &script],
        &[&work.join("netlist.json"), &work.join("stat.json")],
    )
    .run(|log| tools.yosys(work, &script, log))?;
    Ok(verilog)
}

/// Paths that are shown of an estimate or of a block.
const SHOWN: usize = 20;

/// The longest path of each pair of blocks, before placement.
fn show_estimate(netlist: &Path, board: &Board) -> Result<(), Error> {
    let fastest = board.clocks.iter().map(|clock| clock.mhz).fold(0.0, f64::max);
    let period = 1000.0 / fastest;
    let found = estimate::estimate(netlist, &board.top, period)?;
    let late: usize = found.over.iter().map(|(_, ends)| ends).sum();
    println!(
        "   estimate before placement: {late} of {} path ends later than {period} ns ({fastest} MHz)",
        found.ends
    );
    for (block, ends) in found.over.iter().take(SHOWN) {
        println!("   {ends:6} in {block}");
    }
    for path in found.paths.iter().take(SHOWN) {
        println!(
            "   {:5.2} ns, {:2} levels: {} to {}",
            path.ns, path.levels, path.from, path.to
        );
    }
    Ok(())
}

/// A block alone on the harness: how fast it is, and what holds it up.
fn time_block(root: &Path, target: &Path, name: &str) -> Result<(), Error> {
    let work = target.join(format!("block-{name}"));
    emit(root, &work, &[&format!("block:{name}")])?;
    let board = Board::for_block(name);
    let tools = Tools::find(root)?;
    println!("== {name}: synthesis ({})", tools.yosys_version);
    synthesize(&work, name, &board.top, &tools)?;
    println!("== {name}: place and route ({})", tools.nextpnr_version);
    let lpf = work.join(format!("{name}.lpf"));
    let constraint = format!(
        "FREQUENCY PORT \"{}\" {} MHZ;\n",
        board.clocks[0].net, board.clocks[0].mhz
    );
    std::fs::write(&lpf, constraint).map_err(|e| Error::file(&lpf, e))?;
    let (report, sdf) = (work.join("seed1.report.json"), work.join("seed1.sdf"));
    let arguments = tools::nextpnr_arguments(&board, 1, &lpf);
    let inputs = [
        sha256(&work.join("netlist.json"))?,
        tools.nextpnr_version.clone(),
        arguments.join(" "),
    ];
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    Stage::new(&work, "seed1", &inputs, &[&report, &sdf]).run(|log| tools.nextpnr(&work, 1, &arguments, log))?;
    let timing = Timing::read(&report, &board)?;
    for (kind, used, available) in Utilization::read(&report)?.0 {
        println!("   {kind} {used} of {available}");
    }
    println!("{}", timing.line());
    let paths = Paths::read(&sdf, &board, SHOWN)?;
    paths.check(&timing, &board)?;
    println!(
        "   {} of {} path ends are late ({} of falling edges are left out); the longest paths:",
        paths.late, paths.ends, paths.falling
    );
    for path in &paths.worst {
        println!(
            "   {:5.2} ns, {:2} levels, {:3.0} % routing: {} to {}",
            path.ns(),
            path.levels(),
            path.routing() * 100.0,
            path.first(),
            path.last()
        );
    }
    if let Some(worst) = paths.worst.first() {
        println!("   the first of them:");
        for step in &worst.steps {
            println!("   {:6.2}  {:8} {}", step.ns, step.kind, step.name);
        }
    }
    Ok(())
}

fn emit(root: &Path, directory: &Path, words: &[&str]) -> Result<(), Error> {
    let directory = directory.display().to_string();
    let program = ["run", "--quiet", "--package", "nat64-hdl", "--example", "emit", "--"];
    let arguments: Vec<&str> = program
        .into_iter()
        .chain([directory.as_str()])
        .chain(words.iter().copied())
        .collect();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Step::new(cargo, &arguments, root).run()
}
