//! Builds the compiled engine, once for each Verilog text, harness and Verilator version.
//!
//! ```text
//!   target/nat64-compiled/lock                 held while one process builds; others wait for it
//!   target/nat64-compiled/<hash>.building/     removed and made again when a build was cut off
//!   target/nat64-compiled/<hash>/core          the program; the directory is renamed to this when it is whole
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::engine::{EngineError, IDLE_CLOCKS, READS_OUTSTANDING, READ_CLOCKS};

/// Options of verilator. The export is Verilog-2005: words that only SystemVerilog reserves are names in it.
const OPTIONS: &[&str] = &[
    "--default-language",
    "1364-2005",
    "--cc",
    "--exe",
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--noassert",
    "--no-timing",
    "-Wno-lint",
    "-Wno-style",
    "-Wno-fatal",
    "--top-module",
    "top",
    "--prefix",
    "Vcore",
    "--Mdir",
    "obj",
    "--output-split",
    "20000",
    "-o",
    "../core",
];

/// The directory cargo builds into: the nearest one above this program that cargo marked as such, else `target`
/// in the present directory.
pub fn target_dir() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let marked = program
        .ancestors()
        .skip(1)
        .find(|dir| dir.join("CACHEDIR.TAG").is_file());
    marked.map_or_else(|| PathBuf::from("target"), Path::to_owned)
}

/// Two FNV-1a hashes with different starts: names a build, protects nothing.
fn name_of(parts: &[&str]) -> String {
    let hash = |mut h: u64| {
        for byte in parts.iter().flat_map(|p| p.bytes().chain([0xff])) {
            h = (h ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        h
    };
    format!(
        "{:016x}{:016x}",
        hash(0xcbf2_9ce4_8422_2325),
        hash(0x6c62_272e_07bb_0142)
    )
}

fn run(tool: &'static str, command: &mut Command) -> Result<Output, EngineError> {
    command.stdin(Stdio::null()).output().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => EngineError::MissingTool { tool },
        _ => EngineError::Build {
            what: format!("{tool} cannot be started"),
            output: e.to_string(),
        },
    })
}

fn check(what: &str, output: &Output) -> Result<(), EngineError> {
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(if output.stderr.is_empty() {
        &output.stdout
    } else {
        &output.stderr
    });
    // The first lines tell the cause; the rest of a failed build is its echo.
    let output_text: Vec<&str> = text.lines().take(40).collect();
    Err(EngineError::Build {
        what: format!("{what} failed ({})", output.status),
        output: output_text.join("\n"),
    })
}

/// The program for this Verilog, whose module `top` the harness has as `Vcore`, built when it is not there yet; progress is shown on stderr when that is a terminal.
///
/// # Errors
/// [`EngineError::MissingTool`], [`EngineError::Build`].
pub fn build(verilog: &str, harness: &str) -> Result<PathBuf, EngineError> {
    let version = run("verilator", Command::new("verilator").arg("--version"))?;
    check("verilator --version", &version)?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let constants = format!(
        "-DNAT64_IDLE_CLOCKS={IDLE_CLOCKS} -DNAT64_READ_CLOCKS={READ_CLOCKS} -DNAT64_READS_OUTSTANDING={READS_OUTSTANDING}"
    );
    let name = name_of(&[verilog, harness, &version, &constants, &OPTIONS.join(" ")]);
    let root = target_dir().join("nat64-compiled");
    let done = root.join(&name);
    let program = done.join("core");
    if program.is_file() {
        return Ok(program);
    }

    let io = |what: &str, path: &Path| {
        let what = format!("{}: cannot {what}", path.display());
        move |e: std::io::Error| EngineError::Build {
            what,
            output: e.to_string(),
        }
    };
    std::fs::create_dir_all(&root).map_err(io("make the directory", &root))?;
    let lock_path = root.join("lock");
    let lock = File::create(&lock_path).map_err(io("make the file", &lock_path))?;
    let spinner = indicatif::ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner.set_message("compiled engine: waiting for another build");
    lock.lock().map_err(io("lock the file", &lock_path))?;
    if program.is_file() {
        spinner.finish_and_clear();
        return Ok(program);
    }

    let dir = root.join(format!("{name}.building"));
    if dir.exists() {
        std::fs::remove_dir_all(&dir).map_err(io("remove the directory", &dir))?;
    }
    std::fs::create_dir_all(&dir).map_err(io("make the directory", &dir))?;
    std::fs::write(dir.join("core.v"), verilog).map_err(io("write core.v here", &dir))?;
    std::fs::write(dir.join("harness.cpp"), harness).map_err(io("write harness.cpp here", &dir))?;

    spinner.set_message("compiled engine (built once): verilator");
    let output = run(
        "verilator",
        Command::new("verilator").current_dir(&dir).args(OPTIONS).args([
            "-CFLAGS",
            &constants,
            "core.v",
            "harness.cpp",
        ]),
    )?;
    check("verilator", &output)?;

    spinner.set_message("compiled engine (built once): g++, about a minute");
    if run("g++", Command::new("g++").arg("--version")).is_err() {
        return Err(EngineError::MissingTool { tool: "g++" });
    }
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let output = run(
        "make",
        Command::new("make")
            .current_dir(dir.join("obj"))
            // A make above this one must not lend its job server.
            .env_remove("MAKEFLAGS")
            .args(["-f", "Vcore.mk", "OPT_FAST=-O3", "OPT_SLOW=-O1", "OPT_GLOBAL=-O2"])
            .arg(format!("-j{jobs}")),
    )?;
    check("make", &output)?;
    spinner.finish_and_clear();

    // The objects are large and never used again.
    std::fs::remove_dir_all(dir.join("obj")).map_err(io("remove the objects in", &dir))?;
    if done.exists() {
        std::fs::remove_dir_all(&done).map_err(io("remove the directory", &done))?;
    }
    std::fs::rename(&dir, &done).map_err(io("rename to this", &done))?;
    Ok(program)
}
