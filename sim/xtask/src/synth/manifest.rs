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
    /// What the clock has on the board, MHz.
    pub runs_mhz: f64,
    /// Reached by the seed of the image, MHz.
    pub image_mhz: f64,
}

impl ClockEntry {
    /// Whether the image is fast enough for what the clock has on the board.
    pub fn safe(&self) -> bool {
        self.image_mhz >= self.runs_mhz
    }
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
    /// SHA-256 of the image; empty in entries of builds that did not note it.
    #[serde(default)]
    pub image_sha256: String,
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

/// What a program prints, without white space at the ends; nothing when it cannot be run.
pub fn output(root: &Path, program: &str, arguments: &[&str]) -> String {
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
        let image_mhz = |i: usize| {
            let made = seeds.iter().find(|s| s.seed == best);
            made.map_or(0.0, |s| rounded(s.timing.clocks[i].mhz))
        };
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
                runs_mhz: rounded(clock.runs),
                image_mhz: image_mhz(i),
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
            image_sha256: image.to_string(),
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

    /// Takes over the history of an earlier manifest, if there is one. An image is listed once, however often and from whichever
    /// commits it was made, and so is a commit: the newest entry stands for the others.
    pub fn with_history(mut self, earlier: &Path) -> Self {
        let text = std::fs::read_to_string(earlier).unwrap_or_default();
        if let Ok(mut earlier) = toml::from_str::<Self>(&text) {
            if let Some(entry) = earlier
                .history
                .first_mut()
                .filter(|entry| entry.commit == earlier.commit)
            {
                entry.image_sha256 = earlier.image_sha256;
            }
            for entry in earlier.history {
                let same = |of: &HistoryEntry| {
                    of.commit == entry.commit || (!of.image_sha256.is_empty() && of.image_sha256 == entry.image_sha256)
                };
                if !self.history.iter().any(same) {
                    self.history.push(entry);
                }
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a build of an image at a commit would write.
    fn build(commit: &str, image: &str) -> Manifest {
        let board = Board::for_block("b");
        let none = Utilization(Vec::new());
        let folder = std::env::temp_dir();
        let mut manifest = Manifest::new(&folder, &board, &Tools::for_tests(), &[], 1, &none, "verilog", image);
        manifest.commit = commit.into();
        manifest.history[0].commit = commit.into();
        manifest
    }

    fn listed(manifest: &Manifest) -> Vec<(&str, &str)> {
        let entries = manifest.history.iter();
        entries
            .map(|entry| (entry.commit.as_str(), entry.image_sha256.as_str()))
            .collect()
    }

    #[test]
    fn history_lists_each_image_and_each_commit_once() {
        let path = std::env::temp_dir().join(format!("nat64-history-{}.toml", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut last = Vec::new();
        for (commit, image) in [("c1", "i1"), ("c2", "i2"), ("c3", "i2"), ("c3", "i3"), ("c4", "i1")] {
            let manifest = build(commit, image).with_history(&path);
            manifest.write(&path).unwrap();
            last = listed(&Manifest::read(&path).unwrap())
                .into_iter()
                .map(|(commit, image)| (commit.to_string(), image.to_string()))
                .collect();
        }
        let want = [("c4", "i1"), ("c3", "i3")];
        let last: Vec<(&str, &str)> = last.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(last, want, "i2 went with the commit that made another image of it");
        for n in 0..2 * HISTORY {
            let manifest = build(&format!("d{n}"), &format!("j{n}")).with_history(&path);
            manifest.write(&path).unwrap();
        }
        assert_eq!(Manifest::read(&path).unwrap().history.len(), HISTORY);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn an_entry_that_has_no_image_takes_that_of_its_manifest() {
        let path = std::env::temp_dir().join(format!("nat64-history-old-{}.toml", std::process::id()));
        let mut old = build("c1", "i1");
        old.history.push(build("c0", "i0").history.remove(0));
        let text = toml::to_string_pretty(&old).unwrap();
        let text: Vec<&str> = text.lines().collect();
        // as it was written before entries had one
        let at = text.iter().position(|line| *line == "[[history]]").unwrap();
        let entries = text[at..].iter().filter(|line| !line.starts_with("image_sha256"));
        let text: Vec<&str> = text[..at].iter().chain(entries).copied().collect();
        std::fs::write(&path, text.join("\n")).unwrap();
        assert_eq!(listed(&Manifest::read(&path).unwrap()), [("c1", ""), ("c0", "")]);
        let again = build("c2", "i1").with_history(&path);
        assert_eq!(listed(&again), [("c2", "i1"), ("c0", "")]);
        let other = build("c2", "i2").with_history(&path);
        assert_eq!(listed(&other), [("c2", "i2"), ("c1", "i1"), ("c0", "")]);
        std::fs::remove_file(path).unwrap();
    }
}
