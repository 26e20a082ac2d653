//! `cargo xtask fuzz`: runs the fuzz targets and notes how far they came.
//!
//! ```text
//!  corpus (committed) --+--> libFuzzer --> target/fuzz/TARGET (what it found on the way)
//!                       |                       | --minimise
//!                       +<----------------------+
//! ```
//!
//! cargo-fuzz asks for a nightly compiler because of the flags of coverage; the pinned one takes them with
//! `RUSTC_BOOTSTRAP=1`. No sanitizer is used: the translator has no unsafe code, and without one libFuzzer runs several
//! times as many inputs.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;

use crate::cargo;
use crate::run::Error;

/// The version of cargo-fuzz that is installed.
const CARGO_FUZZ: &str = "0.13.2";
/// Most bytes of one target's committed corpus.
const MOST_BYTES: u64 = 230_000;

/// A fuzz target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Bytes as packets.
    Parser,
    /// Bytes as a translator's life: configuration, packets, time, operators.
    Step,
    /// Bytes as texts and commands of the configuration language.
    Config,
}

impl Target {
    const fn name(self) -> &'static str {
        match self {
            Self::Parser => "parser",
            Self::Step => "step",
            Self::Config => "config",
        }
    }

    /// Folder of its fuzz crate; its README has a row for each target.
    const fn folder(self) -> &'static str {
        match self {
            Self::Parser | Self::Step => "driver/xlate/fuzz",
            Self::Config => "host/fuzz",
        }
    }

    /// Longest input, as an option of libFuzzer.
    const fn max_length(self) -> &'static str {
        match self {
            Self::Parser | Self::Step => "-max_len=2048",
            Self::Config => "-max_len=4096",
        }
    }

    /// Words that its inputs are made of, as an option of libFuzzer.
    const fn dictionary(self) -> Option<&'static str> {
        match self {
            Self::Parser | Self::Step => None,
            Self::Config => Some("-dict=host/fuzz/config.dict"),
        }
    }
}

/// What libFuzzer reports at its end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Report {
    executions: u64,
    peak_megabytes: u64,
    edges: u64,
}

impl Report {
    /// Takes a line of libFuzzer's output into account.
    fn read(&mut self, line: &str) {
        let number = |text: &str| text.trim().parse().unwrap_or(0);
        if let Some(rest) = line.strip_prefix("stat::number_of_executed_units:") {
            self.executions = number(rest);
        } else if let Some(rest) = line.strip_prefix("stat::peak_rss_mb:") {
            self.peak_megabytes = number(rest);
        } else if let Some((_, rest)) = line.split_once(" cov: ") {
            self.edges = number(rest.split(' ').next().unwrap_or_default());
        }
    }
}

/// Installs cargo-fuzz if it is missing or another version.
fn install(root: &Path) -> Result<(), Error> {
    let there = Command::new("cargo").args(["fuzz", "--version"]).output();
    if there.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).trim() == format!("cargo-fuzz {CARGO_FUZZ}")) {
        return Ok(());
    }
    let version = format!("={CARGO_FUZZ}");
    cargo(root, &["install", "cargo-fuzz", "--version", &version, "--locked"]).run()
}

/// `cargo fuzz run` on a target with these corpora and options of libFuzzer.
fn run(root: &Path, target: Target, corpora: &[&Path], options: &[&str]) -> Result<Report, Error> {
    let mut command = Command::new("cargo");
    command
        .args([
            "fuzz",
            "run",
            "--sanitizer",
            "none",
            "--fuzz-dir",
            target.folder(),
            target.name(),
        ])
        .args(corpora)
        .arg("--")
        .args(options)
        .current_dir(root)
        .env("RUSTC_BOOTSTRAP", "1")
        .stderr(Stdio::piped());
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let command_line = format!("RUSTC_BOOTSTRAP=1 {}", words.join(" "));
    println!("$ {command_line}");
    let start = |source| Error::Start {
        command: command_line.clone(),
        source,
    };
    let mut child = command.spawn().map_err(start)?;
    let mut report = Report::default();
    if let Some(output) = child.stderr.take() {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line);
            eprintln!("{line}");
            report.read(&line);
        }
    }
    let status = child.wait().map_err(start)?;
    if status.success() {
        Ok(report)
    } else {
        Err(Error::Failed {
            command: command_line,
            status,
        })
    }
}

/// What a program says, in one line; empty if it cannot be run.
fn said(root: &Path, program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program).args(arguments).current_dir(root).output();
    out.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_string())
        .unwrap_or_default()
}

/// Runs the targets for so many seconds each, writes what came of it into the table of their README.
pub fn fuzz(root: &Path, targets: &[Target], seconds: u32, minimise: bool) -> Result<(), Error> {
    install(root)?;
    for &target in targets {
        let committed = root.join(target.folder()).join("corpus").join(target.name());
        let working = root.join("target/fuzz").join(target.name());
        std::fs::create_dir_all(&working).map_err(|error| Error::file(&working, error))?;
        let time = format!("-max_total_time={seconds}");
        let mut options = vec![
            &time[..],
            target.max_length(),
            "-timeout=20",
            "-rss_limit_mb=1024",
            "-print_final_stats=1",
        ];
        options.extend(target.dictionary());
        let report = run(root, target, &[&working, &committed], &options)?;
        if minimise {
            replace_corpus(root, target, &committed, &working)?;
        }
        let date = said(root, "date", &["+%F"]);
        // The row of the last target is no change of the code.
        let changed = said(
            root,
            "git",
            &["status", "--porcelain", "--untracked-files=no", "--", "*.rs"],
        );
        let mut commit = said(root, "git", &["rev-parse", "--short=10", "HEAD"]);
        if !changed.is_empty() {
            commit.push_str("-dirty");
        }
        let row = format!(
            "| `{}` | {date} | {commit} | {seconds} | {} | {} | {} |",
            target.name(),
            report.executions,
            report.edges,
            report.peak_megabytes
        );
        println!("{row}");
        note(&root.join(target.folder()).join("README.md"), target, &row)?;
    }
    Ok(())
}

/// Puts the smallest inputs that reach everything in place of the committed corpus.
fn replace_corpus(root: &Path, target: Target, committed: &Path, working: &Path) -> Result<(), Error> {
    let fresh = root.join("target/fuzz").join(format!("{}-small", target.name()));
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh).map_err(|error| Error::file(&fresh, error))?;
    }
    std::fs::create_dir_all(&fresh).map_err(|error| Error::file(&fresh, error))?;
    run(
        root,
        target,
        &[&fresh, working, committed],
        &["-set_cover_merge=1", target.max_length()],
    )?;
    let mut files = files(&fresh)?;
    files.sort_by_key(|file| (file.1, file.0.clone()));
    for (old, _) in self::files(committed)? {
        std::fs::remove_file(&old).map_err(|error| Error::file(&old, error))?;
    }
    let (mut bytes, mut kept) = (0, 0);
    for (path, size) in &files {
        if bytes + size > MOST_BYTES {
            break;
        }
        let to = committed.join(path.file_name().unwrap_or_default());
        std::fs::copy(path, &to).map_err(|error| Error::file(path, error))?;
        bytes += size;
        kept += 1;
    }
    println!(
        "corpus of {}: {kept} of {} inputs, {bytes} bytes",
        target.name(),
        files.len()
    );
    Ok(())
}

/// Files of a folder with their sizes.
fn files(folder: &Path) -> Result<Vec<(PathBuf, u64)>, Error> {
    let error = |error| Error::file(folder, error);
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        out.push((entry.path(), entry.metadata().map_err(error)?.len()));
    }
    Ok(out)
}

/// Writes a target's row of the table, in place of its last one.
fn note(readme: &Path, target: Target, row: &str) -> Result<(), Error> {
    let text = std::fs::read_to_string(readme).map_err(|error| Error::file(readme, error))?;
    let text = with_row(&text, target, row);
    std::fs::write(readme, text).map_err(|error| Error::file(readme, error))
}

fn with_row(text: &str, target: Target, row: &str) -> String {
    let begins = format!("| `{}` |", target.name());
    let lines = text
        .lines()
        .map(|line| if line.starts_with(&begins) { row } else { line });
    lines.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read() {
        let mut report = Report::default();
        for line in [
            "#2097152\tpulse  cov: 2731 ft: 14000 corp: 1500/300Kb lim: 900 exec/s: 9000 rss: 200Mb",
            "stat::number_of_executed_units: 2468013",
            "stat::average_exec_per_sec:     4113",
            "stat::peak_rss_mb:              211",
        ] {
            report.read(line);
        }
        let want = Report {
            executions: 2_468_013,
            peak_megabytes: 211,
            edges: 2731,
        };
        assert_eq!(report, want);
    }

    #[test]
    fn only_the_row_of_the_target_changes() {
        let text = "# x\n| `parser` | old |\n| `step` | old |\n";
        assert_eq!(
            with_row(text, Target::Step, "| `step` | new |"),
            "# x\n| `parser` | old |\n| `step` | new |\n"
        );
        for target in Target::value_variants() {
            let readme = crate::root().join(target.folder()).join("README.md");
            let readme = std::fs::read_to_string(readme).unwrap();
            assert!(
                readme.contains(&format!("\n| `{}` |", target.name())),
                "no row for {target:?}"
            );
        }
    }
}
