//! `bitstreams/BOARD/manifest.toml`: what an image was made from and what was reached.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::facts::{Board, Utilization};
use super::report::PATHS;
use super::sdf::Paths;
use super::tools::Tools;
use super::Seed;
use crate::run::Error;

/// Builds that `history` keeps, this one included.
const HISTORY: usize = 10;

/// One clock over all seeds.
#[derive(Clone, Serialize, Deserialize)]
pub struct ClockEntry {
    /// Port it enters by.
    pub net: String,
    /// What runs on it.
    pub what: String,
    /// Constraint, MHz.
    pub constraint_mhz: f64,
    /// Reached by the worst seed, MHz.
    pub worst_mhz: f64,
    /// Reached by the best seed, MHz.
    pub best_mhz: f64,
    /// By seed, MHz.
    pub seeds_mhz: Vec<f64>,
    /// Whether the worst seed meets the constraint.
    pub met: bool,
}

/// Cells of one kind.
#[derive(Clone, Serialize, Deserialize)]
pub struct UtilizationEntry {
    /// Kind, as nextpnr names it.
    pub kind: String,
    /// In use.
    pub used: u64,
    /// On the part.
    pub available: u64,
}

/// One of the worst paths between registers of one clock.
#[derive(Clone, Serialize, Deserialize)]
pub struct PathEntry {
    /// Delay, ns.
    pub ns: f64,
    /// Share of it that is routing.
    pub routing: f64,
    /// Levels of logic, a carry chain as one.
    pub levels: usize,
    /// Register or RAM it starts at, as the source names it, with the port.
    pub from: String,
    /// Register or RAM it ends at.
    pub to: String,
}

/// A build, in a line.
#[derive(Clone, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Day.
    pub date: String,
    /// Commit.
    pub commit: String,
    /// The worst clock of the worst seed, as a share of its constraint.
    pub margin: f64,
    /// Look-up tables and registers.
    pub luts: u64,
    /// Registers.
    pub registers: u64,
    /// Block RAMs.
    pub block_rams: u64,
}

/// The manifest.
#[derive(Serialize, Deserialize)]
pub struct Manifest {
    /// Board.
    pub board: String,
    /// What it is.
    pub what: String,
    /// Part.
    pub part: String,
    /// Bus width, bits.
    pub width: u32,
    /// Two-way sessions.
    pub sessions: u32,
    /// Hash over the contract, as the card shows it.
    pub abi_hash: String,
    /// Day of the build.
    pub date: String,
    /// Commit the sources were at.
    pub commit: String,
    /// Whether files of the work tree differed from that commit.
    pub modified: bool,
    /// Tools and their versions.
    pub tools: Vec<String>,
    /// Seed of the image.
    pub seed: u32,
    /// SHA-256 of the exported Verilog.
    pub verilog_sha256: String,
    /// SHA-256 of the image.
    pub image_sha256: String,
    /// The image beside the manifest; empty when it is too large to be kept.
    #[serde(default)]
    pub image_file: String,
    /// Where paths within a clock end: data, enable and reset inputs of registers, inputs of RAMs; of the image's seed.
    #[serde(default)]
    pub path_ends: usize,
    /// Those that are later than the period.
    #[serde(default)]
    pub late_ends: usize,
    /// Clocks.
    pub clocks: Vec<ClockEntry>,
    /// The longest paths, longest first; of the image's seed.
    #[serde(default)]
    pub worst_paths: Vec<PathEntry>,
    /// Cells in use, of the image's seed.
    pub utilization: Vec<UtilizationEntry>,
    /// The last builds, newest first.
    #[serde(default)]
    pub history: Vec<HistoryEntry>,
}

fn output(root: &Path, program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program).args(arguments).current_dir(root).output();
    out.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_string())
        .unwrap_or_default()
}

impl Manifest {
    /// The manifest of a build.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        root: &Path,
        board: &Board,
        tools: &Tools,
        seeds: &[Seed],
        best: u32,
        utilization: &Utilization,
        verilog: &str,
        image: &str,
    ) -> Self {
        let clocks = board.clocks.iter().enumerate().map(|(i, clock)| {
            let seeds_mhz: Vec<f64> = seeds.iter().map(|s| rounded(s.timing.clocks[i].mhz)).collect();
            let worst = seeds_mhz.iter().copied().fold(f64::INFINITY, f64::min);
            ClockEntry {
                net: clock.net.clone(),
                what: clock.what.clone(),
                constraint_mhz: clock.mhz,
                worst_mhz: worst,
                best_mhz: seeds_mhz.iter().copied().fold(0.0, f64::max),
                met: worst >= clock.mhz,
                seeds_mhz,
            }
        });
        let clocks: Vec<ClockEntry> = clocks.collect();
        let date = output(root, "date", &["-u", "+%F"]);
        let commit = output(root, "git", &["rev-parse", "HEAD"]);
        let margin = clocks
            .iter()
            .map(|c| c.worst_mhz / c.constraint_mhz)
            .fold(f64::INFINITY, f64::min);
        let history = vec![HistoryEntry {
            date: date.clone(),
            commit: commit.clone(),
            margin: (margin * 1000.0).round() / 1000.0,
            luts: utilization.used("TRELLIS_COMB"),
            registers: utilization.used("TRELLIS_FF"),
            block_rams: utilization.used("DP16KD"),
        }];
        Self {
            board: board.name.clone(),
            what: board.what.clone(),
            part: board.part.clone(),
            width: board.width,
            sessions: board.sessions,
            abi_hash: format!("{:#010x}", board.abi_hash),
            date,
            modified: !output(root, "git", &["status", "--porcelain", "--", "hdl", "Cargo.lock"]).is_empty(),
            commit,
            tools: vec![tools.yosys_version.clone(), tools.nextpnr_version.clone()],
            seed: best,
            verilog_sha256: verilog.to_string(),
            image_sha256: image.to_string(),
            image_file: String::new(),
            path_ends: 0,
            late_ends: 0,
            clocks,
            worst_paths: Vec::new(),
            utilization: utilization
                .0
                .iter()
                .map(|(kind, used, available)| UtilizationEntry {
                    kind: kind.clone(),
                    used: *used,
                    available: *available,
                })
                .collect(),
            history,
        }
    }

    /// With the worst paths of the image's seed.
    pub fn with_paths(mut self, paths: &Paths) -> Self {
        self.path_ends = paths.ends;
        self.late_ends = paths.late;
        let entries = paths.worst.iter().take(PATHS).map(|path| PathEntry {
            ns: (path.ns() * 1000.0).round() / 1000.0,
            routing: (path.routing() * 100.0).round() / 100.0,
            levels: path.levels(),
            from: path.first().to_string(),
            to: path.last().to_string(),
        });
        self.worst_paths = entries.collect();
        self
    }

    /// Reads one.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::file(path, e))?;
        toml::from_str(&text).map_err(|e| Error::Check {
            what: format!("{}: {e}", path.display()),
        })
    }

    /// Takes over the history of an earlier manifest, if there is one; the same commit is not listed twice.
    pub fn with_history(mut self, earlier: &Path) -> Self {
        let text = std::fs::read_to_string(earlier).unwrap_or_default();
        if let Ok(earlier) = toml::from_str::<Self>(&text) {
            let others = earlier.history.into_iter().filter(|entry| entry.commit != self.commit);
            self.history.extend(others);
            self.history.truncate(HISTORY);
        }
        self
    }

    /// Writes it.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let head = "# Made by `cargo xtask synth`; do not edit.\n";
        let text = toml::to_string_pretty(self).map_err(|e| Error::Missing {
            what: format!("a form of the manifest that can be written ({e})"),
        })?;
        std::fs::write(path, head.to_string() + &text).map_err(|e| Error::file(path, e))
    }
}

fn rounded(mhz: f64) -> f64 {
    (mhz * 100.0).round() / 100.0
}
