//! `cargo xtask bench`: everything that is measured, in one run, and a page about it.
//!
//! ```text
//!   datapath   the core's pins in the simulator: clocks a packet, port to port  \
//!   boards     bitstreams/*/manifest.toml: clock rates, if boards were built     |
//!   engines    clocks simulated a second                                         |--> docs/benchmarks.json, docs/*.svg
//!   translator cargo bench -p nat64-xlate: nanoseconds, bytes                    |       --> BENCHMARKS.md
//!   network    the software card beside Tayga, in turn (network.rs)             /
//! ```
//!
//! Nothing here is a gate: wall-clock and processor time depend on the machine and on what else it does. What may not grow is
//! the number of instructions, which `cargo xtask budget` counts.

mod network;
mod page;
mod parts;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{json, Value};

use crate::run::Error;
pub use network::INSIDE;

/// The page, and the figures behind it.
const PAGE: &str = "BENCHMARKS.md";
const FIGURES: &str = "docs/benchmarks.json";
/// Who may be measured on a network, ours first: the software card, Tayga (Debian's package), protomask (`cargo install protomask`).
const CONTENDERS: [&str; 3] = ["soft", "tayga", "protomask"];

/// Who is: protomask only where it is there.
fn contenders() -> Vec<&'static str> {
    let there = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
    };
    CONTENDERS
        .into_iter()
        .filter(|&name| name != "protomask" || there(name))
        .collect()
}

fn failed(what: impl Into<String>) -> Error {
    Error::Bench(what.into())
}

fn output(command: &mut Command) -> Result<String, Error> {
    let shown = format!("{command:?}");
    let out = command.output().map_err(|e| failed(format!("{shown}: {e}")))?;
    if out.status.success() {
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    } else {
        Err(failed(format!(
            "{shown}: {}{}",
            String::from_utf8_lossy(&out.stderr),
            String::from_utf8_lossy(&out.stdout)
        )))
    }
}

fn sh(script: &str) -> Result<String, Error> {
    output(Command::new("sh").args(["-ec", script]))
}

/// Runs the benchmark and writes the page. `seconds` is for each measurement on a network, of `rounds`; `quick` leaves out what takes
/// minutes.
pub fn bench(root: &Path, rounds: usize, seconds: u32, quick: bool) -> Result<(), Error> {
    if let Some(file) = std::env::var_os(INSIDE) {
        return network::inside(root, rounds, seconds, &PathBuf::from(file));
    }
    let folder = root.join("target/bench");
    std::fs::create_dir_all(&folder).map_err(|e| Error::file(&folder, e))?;
    let datapath = parts::datapath(root)?;
    let engines = parts::engines(root, if quick { 1 } else { 3 })?;
    let translator = parts::translator(root, quick)?;
    let network = network::measure(root, rounds, seconds, &folder.join("network.json"))?;
    let figures = json!({
        "commit": sh("git rev-parse --short HEAD").unwrap_or_default().trim(),
        "date": sh("date -u +%F").unwrap_or_default().trim(),
        "machine": machine(),
        "rounds": rounds,
        "seconds": seconds,
        "quick": quick,
        "datapath": datapath,
        "boards": parts::boards(root)?,
        "engines": engines,
        "translator": translator,
        "versions": versions(),
        "runs": network,
    });
    let write = |name: &str, text: String| {
        let path = root.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, e))?;
        }
        std::fs::write(&path, text).map_err(|e| Error::file(&path, e))
    };
    let text = serde_json::to_string_pretty(&figures).map_err(|e| failed(e.to_string()))?;
    write(FIGURES, text + "\n")?;
    for (name, picture) in page::plots(&figures) {
        write(&format!("docs/{name}.svg"), picture)?;
    }
    write(PAGE, page::page(&figures))?;
    println!("{PAGE}, {FIGURES}");
    Ok(())
}

/// Versions of those beside us.
fn versions() -> Value {
    let of = |script: &str| sh(script).unwrap_or_default().trim().to_owned();
    json!({
        "tayga": of("dpkg-query -W -f '${Version}' tayga"),
        "protomask": of("protomask --version | cut -d ' ' -f 2"),
    })
}

fn machine() -> String {
    let model = sh("grep -m1 'model name' /proc/cpuinfo | cut -d: -f2").unwrap_or_default();
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = sh("uname -r").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "{count} x {}, Linux {}, load {load} when it ended",
        model.trim(),
        kernel.trim()
    )
}

/// The middle one of a figure over the rounds; not a number when there is none.
fn median(figures: &Value, name: &str, key: &str) -> f64 {
    let runs = figures["runs"][name].as_array().cloned().unwrap_or_default();
    let mut values: Vec<f64> = runs.iter().filter_map(|run| run[key].as_f64()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
