//! The project's chores: `cargo xtask setup | check | ci | demo | generate | emit | budget | vm-test | faults | soak | fuzz | mutate |
//! bench | synth | load | formal | cdc`.
//!
//! Each command says what it runs. A laptop and the continuous integration run the same ones.
#![forbid(unsafe_code)]

mod bench;
mod budget;
mod cdc;
mod daemon;
mod formal;
mod fuzz;
mod mutate;
mod run;
mod setup;
mod synth;
mod vm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use run::{compare, test, Error, Step};

/// Chores of nat64-nic.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what simulation and tests need, as far as it is missing: Debian packages, and Python packages in `.venv`.
    Setup,
    /// Re-make the generated files: register map, statement manual, example captures.
    Generate,
    /// Check format, lints, documentation, generated files, and run all tests.
    Check,
    /// What the continuous integration runs: setup, then check, then vm-test.
    Ci,
    /// Write the Verilog of the cores and of the PCI Express endpoint, and the project of the 100G-class card.
    Emit {
        /// Bus widths in bits, any of 64, 128, 512; all, the endpoint and the project when none is given.
        #[arg(long)]
        width: Vec<u32>,
        /// Folder for coreWIDTH.v, endpoint.v and ultrascale/; `target/verilog` of the workspace when not given.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Count the instructions of the translator (valgrind) and compare them with `driver/xlate/benches/budget.txt`.
    Budget {
        /// Write the file instead.
        #[arg(long)]
        write: bool,
    },
    /// Put the simulated card into a Linux guest as a PCI device and run the driver there; needs root.
    VmTest {
        /// Engine that simulates the card: rtl or rtl-compiled.
        #[arg(long, default_value = "rtl-compiled")]
        engine: String,
    },
    /// Let accidents happen to a card, one run a seed, and write driver/faults.txt.
    Faults {
        /// Seeds to run.
        #[arg(long, default_value_t = 100_000)]
        seeds: u64,
        /// First seed.
        #[arg(long, default_value_t = 0)]
        first: u64,
    },
    /// Put a gateway under floods of seven kinds while watched conversations go on; a run of ten minutes or more is kept in
    /// tests/results/soak-ENGINE.txt.
    #[command(
        after_help = "Examples:\n  cargo xtask soak --engine soft --minutes 60\n  cargo xtask soak --engine rtl-compiled --minutes 10 --seed 4"
    )]
    Soak {
        /// Engine under load: soft or rtl-compiled.
        #[arg(long, default_value = "soft", value_parser = ["soft", "rtl-compiled"])]
        engine: String,
        /// No new cycle of floods begins after this many minutes.
        #[arg(long, default_value_t = 10)]
        minutes: u32,
        /// Decides everything random.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Synthesize the core of 64 bits for an ECP5 and replay the example captures on the netlist, every clock of its pins compared
    /// with the RustHDL simulator; writes tests/results/netlist.txt. Takes some half an hour.
    #[command(after_help = "Example:\n  cargo xtask netlist")]
    Netlist,
    /// Build a board: Verilog, synthesis, place and route with several seeds, image, manifest and report.
    Synth(synth::Options),
    /// Put a board's image into it with openFPGALoader.
    Load(synth::LoadOptions),
    /// Prove what `hdl/formal/` states of blocks of the gateware, and see that each proof fails on a broken block.
    Formal,
    /// List every path between registers of two clocks, and fail on one without a known synchronizer.
    Cdc,
    /// Translate the example captures with the simulated card, RTL engine; setup first.
    Demo,
    /// Run a fuzz target with cargo-fuzz, which is installed when it is missing, and note the result in the README of its
    /// folder.
    Fuzz {
        /// Target; all when none is given.
        target: Option<fuzz::Target>,
        /// How long each target runs.
        #[arg(long, default_value_t = 600)]
        seconds: u32,
        /// Put the smallest inputs that reach everything in place of the committed corpus.
        #[arg(long)]
        minimise: bool,
    },
    /// Break key lines of the translator (driver/xlate/mutations.txt) and of the gateware (hdl/mutations.txt), one at a time, and
    /// see whether their tests notice.
    Mutate {
        /// Only one of the lists.
        #[arg(long, value_enum)]
        suite: Option<mutate::Suite>,
        /// Only the changes whose name contains this.
        only: Option<String>,
        /// Only so many of them, chosen by the seed: all take the better part of an hour.
        #[arg(long)]
        sample: Option<usize>,
        /// Which ones.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Send random requests to the daemon's control API; the result goes to host/tests/results.
    FuzzApi {
        /// How long.
        #[arg(long, default_value_t = 10)]
        minutes: u64,
    },
    /// Kill the daemon at random moments while it commits; the result goes to host/tests/results.
    KillNine {
        /// How often.
        #[arg(long, default_value_t = 200)]
        kills: u64,
    },
    /// Measure data path, engines, translator, and the software card beside Tayga, and write BENCHMARKS.md; as root. Takes some ten
    /// minutes.
    Bench {
        /// Times every contender is measured.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Seconds of each measurement.
        #[arg(long, default_value_t = 5)]
        seconds: u32,
        /// One short round, and without a million sessions.
        #[arg(long)]
        quick: bool,
    },
}

/// Files that [`CAPTURES`] makes.
const CAPTURE_FILES: [&str; 6] = [
    "inside.pcap",
    "outside.pcap",
    "inside-vlan.pcap",
    "outside-vlan.pcap",
    "flows-inside.pcap",
    "flows-outside.pcap",
];

/// The script that makes the example captures.
const CAPTURES: &str = "examples/make-captures.py";

/// Debian's own interpreter: the scapy package belongs to it, and another `python3` may stand first in the path.
const PYTHON: &str = "/usr/bin/python3";

fn main() -> ExitCode {
    let root = root();
    let result = match Arguments::parse().chore {
        Chore::Setup => setup::setup(&root),
        Chore::Generate => generate(&root),
        Chore::Check => check(&root),
        Chore::Ci => setup::setup(&root)
            .and_then(|()| check(&root))
            .and_then(|()| vm::vm_test(&root, "rtl-compiled")),
        Chore::Emit { width, out } => emit(&root, &width, out),
        Chore::Budget { write } => budget::budget(&root, write),
        Chore::VmTest { engine } => setup::setup(&root).and_then(|()| vm::vm_test(&root, &engine)),
        Chore::Faults { seeds, first } => faults(&root, seeds, first),
        Chore::Soak { engine, minutes, seed } => soak(&root, &engine, minutes, seed),
        Chore::Netlist => setup::setup(&root).and_then(|()| netlist(&root)),
        Chore::Demo => setup::setup(&root).and_then(|()| demo(&root)),
        Chore::Fuzz {
            target,
            seconds,
            minimise,
        } => {
            let all = fuzz::Target::value_variants();
            let targets = target.as_ref().map_or(all, std::slice::from_ref);
            fuzz::fuzz(&root, targets, seconds, minimise)
        }
        Chore::Mutate {
            suite,
            only,
            sample,
            seed,
        } => mutate::mutate(&root, suite, only.as_deref(), sample, seed),
        Chore::FuzzApi { minutes } => daemon::fuzz_api(&root, minutes),
        Chore::KillNine { kills } => daemon::kill_nine(&root, kills),
        Chore::Bench { rounds, seconds, quick } => {
            let (rounds, seconds) = if quick { (1, 2) } else { (rounds, seconds) };
            setup::bench(&root).and_then(|()| bench::bench(&root, rounds, seconds, quick))
        }
        Chore::Formal => formal(&root),
        Chore::Cdc => cdc(&root),
        Chore::Synth(options) => synth::synth(&root, &options),
        Chore::Load(options) => synth::load(&root, &options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace: two folders above this crate.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

fn cargo(root: &Path, arguments: &[&str]) -> Step {
    // Cargo tells its children which cargo it is.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Step::new(cargo, arguments, root)
}

fn captures(root: &Path, directory: &Path) -> Result<(), Error> {
    Step::new(PYTHON, [Path::new(CAPTURES), directory], root).run()
}

fn generate(root: &Path) -> Result<(), Error> {
    let crates = ["-p", "nat64-layout", "-p", "nat64-host"];
    let mut arguments = vec!["test", "--quiet"];
    arguments.extend(crates);
    arguments.push("current");
    cargo(root, &arguments).env("NAT64_GENERATE", "1").run()?;
    let manual = ["test", "--quiet", "-p", "nat64-tests", "--test", "manual", "current"];
    cargo(root, &manual).env("NAT64_GENERATE", "1").run()?;
    captures(root, &root.join("examples"))
}

/// Bus widths there are cores of.
const WIDTHS: [u32; 3] = [64, 128, 512];

fn emit(root: &Path, widths: &[u32], out: Option<PathBuf>) -> Result<(), Error> {
    let here = std::env::current_dir().unwrap_or_else(|_| root.to_path_buf());
    let out = out.map_or_else(|| root.join("target/verilog"), |out| here.join(out));
    let out = out.display().to_string();
    let all = widths.is_empty();
    let widths = if all { &WIDTHS } else { widths };
    let mut names: Vec<String> = widths.iter().map(u32::to_string).collect();
    if all {
        names.extend(["endpoint", "ultrascale"].map(str::to_string));
    }
    let program = [
        "run",
        "--quiet",
        "--package",
        "nat64-hdl",
        "--example",
        "emit",
        "--",
        &out,
    ];
    let arguments: Vec<&str> = program.into_iter().chain(names.iter().map(String::as_str)).collect();
    cargo(root, &arguments).run()
}

/// Writes Verilog for a check to `target/FOLDER`.
fn verilog(root: &Path, folder: &str, what: &str) -> Result<Step, Error> {
    let out = root.join("target").join(folder);
    std::fs::create_dir_all(&out).map_err(|error| Error::file(&out, error))?;
    let out = out.display().to_string();
    let program = ["run", "--quiet", "--package", "nat64-hdl", "--example", "emit", "--"];
    let arguments: Vec<&str> = program.into_iter().chain([out.as_str(), what]).collect();
    Ok(cargo(root, &arguments))
}

fn formal(root: &Path) -> Result<(), Error> {
    formal::formal(root, verilog(root, "formal", "proven")?)
}

fn cdc(root: &Path) -> Result<(), Error> {
    cdc::cdc(root, |name| verilog(root, "cdc", name))
}

/// Replays the netlist of the core and keeps the report.
fn netlist(root: &Path) -> Result<(), Error> {
    let stamp = stamp(root);
    let (file, what) = synth::netlist(root)?;
    println!("== replay");
    let fresh = root.join("target/synth/netlist/report.txt");
    let program = ["run", "--package", "nat64-tests", "--example", "netlist", "--"];
    let files = [file.display().to_string(), fresh.display().to_string()];
    let arguments: Vec<&str> = program.into_iter().chain(files.iter().map(String::as_str)).collect();
    cargo(root, &arguments).run()?;
    let report = root.join("tests/results/netlist.txt");
    let text = std::fs::read_to_string(&fresh).map_err(|error| Error::file(&fresh, error))?;
    std::fs::write(&report, format!("{what}\n{text}")).map_err(|error| Error::file(&report, error))?;
    head_report(&report, "cargo xtask netlist", &stamp)
}

fn check(root: &Path) -> Result<(), Error> {
    cargo(root, &["fmt", "--all", "--check"]).run()?;
    cargo(
        root,
        &[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    )
    .run()?;
    // What the workspace's own build leaves out.
    let iommufd = [
        "clippy",
        "--quiet",
        "--package",
        "nat64-driver",
        "--all-targets",
        "--features",
        "iommufd",
    ];
    let arguments: Vec<&str> = iommufd.into_iter().chain(["--", "-D", "warnings"]).collect();
    cargo(root, &arguments).run()?;
    cargo(root, &["doc", "--quiet", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()?;
    let fresh = root.join("target/captures");
    std::fs::create_dir_all(&fresh).map_err(|error| Error::file(&fresh, error))?;
    captures(root, &fresh)?;
    for name in CAPTURE_FILES {
        compare(&root.join("examples").join(name), &fresh.join(name))?;
    }
    synth::check(root)?;
    // The other generated files are compared by tests of the crates that make them.
    test(cargo(root, &["test", "--workspace", "--no-fail-fast"]))?;
    formal(root)?;
    cdc(root)?;
    budget::budget(root, false)
}

/// Runs the fault injection of the driver's tests with more seeds, optimised, and keeps its report.
fn faults(root: &Path, seeds: u64, first: u64) -> Result<(), Error> {
    let report = root.join("driver/faults.txt");
    let stamp = stamp(root);
    let test = [
        "test",
        "--release",
        "--package",
        "nat64-driver",
        "--lib",
        "no_session_is_lost_whatever_happens_to_the_card",
        "--",
        "--nocapture",
    ];
    cargo(root, &test)
        .env("NAT64_FAULT_SEEDS", &seeds.to_string())
        .env("NAT64_FAULT_FIRST", &first.to_string())
        .env("NAT64_FAULT_REPORT", &report.display().to_string())
        .run()?;
    head_report(
        &report,
        &format!("cargo xtask faults --first {first} --seeds {seeds}"),
        &stamp,
    )
}

/// Minutes from which on a soak's report is kept: a short trial does not replace the record of an hour.
const SOAK_KEPT: u32 = 10;

/// Runs the soak of `nat64_tests::soak` and keeps its report. A check that fails ends it with what it was. In the profile of the
/// tests: arithmetic that overflows is to be noticed too.
fn soak(root: &Path, engine: &str, minutes: u32, seed: u64) -> Result<(), Error> {
    let report = root.join(format!("tests/results/soak-{engine}.txt"));
    let stamp = stamp(root);
    let kept = minutes >= SOAK_KEPT;
    let (minutes, seed) = (minutes.to_string(), seed.to_string());
    let fresh = root.join(format!("target/soak-{engine}.txt"));
    let file = fresh.display().to_string();
    let program = ["run", "--package", "nat64-tests", "--example", "soak", "--"];
    let arguments = [
        "--engine",
        engine,
        "--minutes",
        &minutes,
        "--seed",
        &seed,
        "--report",
        &file,
    ];
    cargo(root, &[&program[..], &arguments].concat()).run()?;
    if !kept {
        return Ok(());
    }
    // Only now: a run that fails or is stopped leaves the last one's report.
    std::fs::copy(&fresh, &report).map_err(|error| Error::file(&report, error))?;
    let command = format!("cargo xtask soak --engine {engine} --minutes {minutes} --seed {seed}");
    head_report(&report, &command, &stamp)
}

/// Date and commit of what a run is made of, to be asked before it: sources may change while it goes on.
fn stamp(root: &Path) -> String {
    let word = |program: &str, arguments: &[&str]| {
        let output = std::process::Command::new(program)
            .args(arguments)
            .current_dir(root)
            .output();
        output
            .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string())
            .unwrap_or_default()
    };
    let date = word("date", &["-u", "+%F"]);
    format!("{date}, commit {}", word("git", &["describe", "--always", "--dirty"]))
}

/// Puts in front of a report what made it.
fn head_report(report: &Path, command: &str, stamp: &str) -> Result<(), Error> {
    let text = std::fs::read_to_string(report).map_err(|error| Error::file(report, error))?;
    std::fs::write(report, format!("{command}, {stamp}\n\n{text}")).map_err(|error| Error::file(report, error))?;
    println!("the report is in {}", report.display());
    Ok(())
}

fn demo(root: &Path) -> Result<(), Error> {
    println!("\n== the simulator (built once, a few minutes)");
    cargo(root, &["build", "--package", "nat64-sim"]).run()?;
    let examples = [
        ("seed", "", "the worked example"),
        ("vlan", "-vlan", "the same with VLANs"),
    ];
    for (config, suffix, what) in examples {
        println!("\n== {what}");
        let config_file = format!("examples/{config}.conf");
        let inside = format!("inside=examples/inside{suffix}.pcap");
        let outside = format!("outside=examples/outside{suffix}.pcap");
        let out = format!("target/demo/{config}");
        let program = ["run", "--quiet", "--package", "nat64-sim", "--"];
        let replay = [
            "replay",
            "--engine",
            "rtl",
            "--config",
            &config_file,
            "--in",
            &inside,
            "--in",
            &outside,
        ];
        let arguments: Vec<&str> = program.into_iter().chain(replay).chain(["--out-dir", &out]).collect();
        cargo(root, &arguments).run()?;
    }
    println!("\nThe packets are in target/demo; to look at them: tshark -r target/demo/seed/outside.pcapng");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_workspace() {
        assert!(root().join("ARCHITECTURE.md").is_file());
        assert!(root().join(CAPTURES).is_file());
        for name in CAPTURE_FILES {
            assert!(root().join("examples").join(name).is_file(), "{name}");
        }
    }

    #[test]
    fn arguments_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn readme_and_ci_name_the_same_test_command() {
        let read = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
        let commands: Vec<String> = read(".ci/run")
            .lines()
            .filter_map(|l| l.strip_prefix("exec "))
            .map(str::to_string)
            .collect();
        let [command] = commands.as_slice() else {
            panic!("{commands:?}")
        };
        assert!(
            read("README.md").contains(&format!("\n{command}\n")),
            "README.md lacks `{command}`"
        );
    }
}
