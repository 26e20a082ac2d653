//! `cargo xtask budget`: the instructions that the translator takes, against what was agreed.
//!
//! Times depend on the machine and its neighbours; the instructions that valgrind counts do not, as long as compiler and C
//! library stay what they are (`rust-toolchain.toml` pins the one; the other matters little). So this is what can fail a
//! build: more than [`TOLERANCE`] above the figures of `driver/xlate/benches/budget.txt`. Who makes the translator slower on
//! purpose, or faster, writes new ones with `--write` and says why.
//!
//! Counted is what happens inside one function of the benchmark, so neither the packets it makes beforehand nor the start
//! of the program count.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::Error;

/// Share of the budget by which it may be exceeded.
const TOLERANCE: f64 = 0.04;

/// The agreed figures.
const FILE: &str = "driver/xlate/benches/budget.txt";

const HEAD: &str = "\
# Instructions of the translator, counted by `cargo xtask budget` (valgrind --tool=callgrind), the benchmark's loop around
# it included: per packet of an established session, per session set up (half of them while the tables grow), per session
# that ends; per port that is taken and given back. `cargo xtask budget --write` makes this file.
";

/// A figure.
struct Case {
    /// Name in the file, and of the benchmark.
    name: &'static str,
    /// Benchmark to run.
    bench: &'static str,
    /// Function inside of which instructions count.
    function: &'static str,
    /// Rounds to run.
    rounds: u64,
    /// What the count is divided by.
    units: u64,
}

const fn packets(name: &'static str) -> Case {
    Case {
        name,
        bench: name,
        function: "engine::translate",
        rounds: 100,
        units: 100 * 64,
    }
}

const fn sessions(name: &'static str, bench: &'static str, function: &'static str) -> Case {
    Case {
        name,
        bench,
        function,
        rounds: 1,
        units: 2 * 20_000,
    }
}

/// The allocation of a port, in an empty pool and in one that is nearly full: what it costs must be about the same.
const fn ports(name: &'static str) -> Case {
    Case {
        name,
        bench: name,
        function: "engine::allocate",
        rounds: 1000,
        units: 1000,
    }
}

const CASES: [Case; 9] = [
    packets("translate64-64-6to4-single"),
    packets("translate64-64-6to4-batch"),
    packets("translate64-64-4to6-single"),
    packets("translate64-64-4to6-batch"),
    sessions("setup-single", "life20k-setup-single", "engine::set_up"),
    sessions("setup-batch", "life20k-setup-batch", "engine::set_up"),
    sessions("expire", "life20k-expire-single", "engine::expire"),
    ports("allocate-empty"),
    ports("allocate-full"),
];

fn unreadable(what: &'static str, output: &str) -> Error {
    Error::Unreadable {
        what,
        output: output.lines().rev().take(5).collect::<Vec<_>>().join(" / "),
    }
}

/// Runs a program and returns what it wrote, both streams.
fn output(command: &mut Command) -> Result<String, Error> {
    let shown = format!("{command:?}").replace('"', "");
    let output = command.output().map_err(|source| Error::Start {
        command: shown.clone(),
        source,
    })?;
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        return Err(Error::Failed {
            command: shown,
            status: output.status,
        });
    }
    Ok([output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat())
}

/// Builds the benchmark; its program.
fn build(root: &Path) -> Result<PathBuf, Error> {
    println!("$ cargo bench -p nat64-xlate --bench engine --no-run");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["bench", "-p", "nat64-xlate", "--bench", "engine", "--no-run"];
    let text = output(Command::new(cargo).args(arguments).current_dir(root))?;
    executable(&text)
        .map(|path| root.join(path))
        .ok_or_else(|| unreadable("program of the benchmark", &text))
}

/// The path in `Executable benches/engine.rs (target/release/deps/engine-0123)`.
fn executable(text: &str) -> Option<&str> {
    let line = text.lines().find(|line| line.contains("Executable"))?;
    line.rsplit_once('(')?.1.strip_suffix(')')
}

/// The number in `==1== Collected : 123`.
fn collected(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit_once(':')?.1.trim().parse().ok()
}

fn count(program: &Path, case: &Case) -> Result<f64, Error> {
    let toggle = format!("--toggle-collect={}", case.function);
    let text = output(
        Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", &toggle])
            // Told what to do with pages, the benchmark does not start anew, which valgrind would not follow.
            .env("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")
            .arg(program)
            .args([case.bench, &case.rounds.to_string()]),
    )?;
    match collected(&text) {
        Some(count) if count > 0 => Ok(count as f64 / case.units as f64),
        _ => Err(unreadable("count of instructions", &text)),
    }
}

/// The figures of a file, by name.
fn read(text: &str) -> Vec<(&str, f64)> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (name, figure) = line.split_once(' ')?;
            Some((name, figure.trim().parse().ok()?))
        })
        .collect()
}

/// Counts, and compares with the file or writes it.
pub fn budget(root: &Path, write: bool) -> Result<(), Error> {
    let file = root.join(FILE);
    let program = build(root)?;
    let mut text = HEAD.to_owned();
    let agreed_text = if write {
        String::new()
    } else {
        std::fs::read_to_string(&file).map_err(|error| Error::file(&file, error))?
    };
    let agreed = read(&agreed_text);
    let mut over = Vec::new();
    println!("{:<30} {:>12} {:>8}", "instructions", "counted", "agreed");
    for case in &CASES {
        let figure = count(&program, case)?.round();
        text += &format!("{} {figure}\n", case.name);
        let limit = agreed
            .iter()
            .find(|(name, _)| *name == case.name)
            .map(|(_, limit)| *limit);
        println!(
            "{:<30} {figure:>12} {:>8}",
            case.name,
            limit.map_or_else(|| "-".into(), |limit| limit.to_string())
        );
        if !write && limit.is_none_or(|limit| figure > limit * (1.0 + TOLERANCE)) {
            over.push(case.name);
        }
    }
    if write {
        return std::fs::write(&file, text).map_err(|error| Error::file(&file, error));
    }
    match &over[..] {
        [] => Ok(()),
        _ => Err(Error::OverBudget {
            cases: over.join(", "),
            file,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read() {
        let text = "   Compiling a v1\n  Executable benches/engine.rs (target/release/deps/engine-0a1b)\n";
        assert_eq!(executable(text), Some("target/release/deps/engine-0a1b"));
        assert_eq!(executable("Finished"), None);
        assert_eq!(collected("==7== Events    : Ir\n==7== Collected : 1234\n"), Some(1234));
        assert_eq!(collected("==7== nothing"), None);
    }

    #[test]
    fn the_file_has_a_figure_for_every_case() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(here.join("../..").join(FILE)).unwrap();
        let names: Vec<&str> = read(&text).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, CASES.map(|case| case.name));
        assert!(text.starts_with(HEAD));
    }
}
