//! What is measured without a network: the data path in the simulator, the engines, the translator; and what the boards reached.

use std::path::Path;
use std::process::Command;

use serde_json::{json, Value};

use super::{failed, output};
use crate::run::{Error, Step};
use crate::synth::{manifests, ClockEntry};

/// Groups of figures of `cargo bench -p nat64-xlate`; the long ones are left out of a quick run.
const GROUPS: [(&str, bool); 5] = [
    ("translate64-", true),
    ("life100k-", true),
    ("allocate-", true),
    ("translate1m-", false),
    ("life1m-", false),
];

fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn parsed(text: &str) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|e| failed(format!("{e} in {text:?}")))
}

/// Clocks from packet to packet and from port to port, by length and direction, counted on the core's pins.
pub fn datapath(root: &Path) -> Result<Value, Error> {
    // With the whole workspace's features, as `cargo test --workspace` has them: what the tests built is not built again.
    let build = [
        "build",
        "--quiet",
        "--workspace",
        "--example",
        "datapath",
        "--bin",
        "nat64-sim",
    ];
    Step::new(cargo(), build, root).run()?;
    println!("data path, in the simulator");
    parsed(&output(
        Command::new(root.join("target/debug/examples/datapath")).current_dir(root),
    )?)
}

/// Clocks that each engine simulates in a second.
pub fn engines(root: &Path, seconds: u32) -> Result<Value, Error> {
    let mut all = Vec::new();
    for (engine, width) in [
        ("rtl", 64),
        ("rtl-compiled", 64),
        ("rtl-compiled", 128),
        ("rtl-compiled", 512),
    ] {
        println!("engine {engine} at {width} bits, {seconds} s");
        let mut command = Command::new(root.join("target/debug/nat64-sim"));
        command.args([
            "bench-engine",
            "--json",
            "--engine",
            engine,
            "--time",
            &format!("{seconds}s"),
        ]);
        command.args(["--width", &width.to_string()]);
        let speed = parsed(&output(&mut command)?)?;
        all.push(json!({"engine": engine, "width": width, "clocks_per_second": speed["clocks_per_second"]}));
    }
    Ok(all.into())
}

/// A line of the translator's benchmark: name, figure, unit, limit.
fn figure(line: &str) -> Option<Value> {
    let (first, limit) = line.split_once("(limit ")?;
    let words: Vec<&str> = first.split_whitespace().collect();
    let &[name, figure, unit] = &words[..] else { return None };
    let number = |text: &str| text.parse::<f64>().ok();
    Some(json!({
        "name": name,
        "figure": number(figure)?,
        "unit": unit,
        "limit": number(limit.trim_end_matches(')'))?,
    }))
}

/// What the translator costs: processor time of its thread.
pub fn translator(root: &Path, quick: bool) -> Result<Value, Error> {
    let mut all = Vec::new();
    for (group, short) in GROUPS {
        if quick && !short {
            continue;
        }
        println!("$ cargo bench -p nat64-xlate -- {group}");
        let mut command = Command::new(cargo());
        command
            .args(["bench", "--quiet", "-p", "nat64-xlate", "--", group])
            .current_dir(root);
        let figures: Vec<Value> = output(&mut command)?.lines().filter_map(figure).collect();
        if figures.is_empty() {
            return Err(failed(format!("cargo bench -p nat64-xlate has no figures {group}")));
        }
        all.extend(figures);
    }
    Ok(all.into())
}

/// What a core reaches on a board: every clock takes a word of the bus.
pub fn boards(root: &Path) -> Result<Value, Error> {
    let mut all = Vec::new();
    for manifest in manifests(root)? {
        let worst = manifest.clocks.iter().map(|clock: &ClockEntry| clock.worst_mhz);
        let mhz = worst.fold(f64::INFINITY, f64::min);
        all.push(json!({
            "board": manifest.board,
            "width": manifest.width,
            "sessions": manifest.sessions,
            "seeds": manifest.clocks.iter().map(|clock| clock.seeds_mhz.len()).max(),
            "mhz": mhz,
            "constraint_mhz": manifest.clocks.iter().map(|clock| clock.constraint_mhz).fold(0.0, f64::max),
            "gbits": mhz * f64::from(manifest.width) / 1000.0,
        }));
    }
    Ok(all.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_and_other_lines_are_not() {
        let line = "life100k-setup-batch                480.3 ns  (limit 500)";
        let want = json!({"name": "life100k-setup-batch", "figure": 480.3, "unit": "ns", "limit": 500.0});
        assert_eq!(figure(line), Some(want));
        for other in ["", "small pages: no", "a b c (limit x)", "a 1.0 (limit 3)"] {
            assert_eq!(figure(other), None, "{other}");
        }
    }
}
