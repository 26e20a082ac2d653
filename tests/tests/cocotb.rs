//! The PCI Express endpoint against a root complex model we did not write: cocotb and cocotbext-pcie, on the exported Verilog
//! as Verilator compiles it. The Python side is in `tests/cocotb/`.
//!
//! The program is built once for each Verilog text, below `target/nat64-cocotb/`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// TLPs that must have crossed the link in both runs together.
const TRANSACTIONS: u64 = 10_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn run(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    let out = command
        .output()
        .unwrap_or_else(|e| panic!("{shown}: {e}; run `cargo xtask setup`"));
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(out.status.success(), "{shown} failed ({}):\n{said}", out.status);
    said
}

/// The interpreter that `cargo xtask setup` makes.
fn python() -> PathBuf {
    let python = root().join(".venv/bin/python");
    assert!(
        python.is_file(),
        "{} is missing: run `cargo xtask setup`",
        python.display()
    );
    python
}

/// What a line of Python prints.
fn ask(code: &str) -> String {
    run(Command::new(python()).args(["-c", code])).trim().to_string()
}

/// Options of verilator, beside those of the interface to cocotb.
const OPTIONS: [&str; 19] = [
    "--cc",
    "--exe",
    "-O3",
    "--default-language",
    "1364-2005",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--noassert",
    "--no-timing",
    "-Wno-lint",
    "-Wno-style",
    "-Wno-fatal",
    "--vpi",
    "--timescale",
    "1ns/1ps",
    "--output-split",
    "20000",
];

/// The names of the module's ports.
fn ports(verilog: &str) -> Vec<&str> {
    let list = verilog
        .split("module top(")
        .nth(1)
        .and_then(|rest| rest.split(')').next());
    list.expect("a module of this name").split(',').map(str::trim).collect()
}

/// The endpoint with cocotb in it.
fn build() -> PathBuf {
    let verilog = nat64_hdl::export::endpoint_verilog().expect("it exports");
    let version = run(Command::new("verilator").arg("--version"));
    let requirements = std::fs::read_to_string(root().join("tests/cocotb/requirements.txt")).expect("it is there");
    let mut hasher = DefaultHasher::new();
    (&verilog, &version, &requirements, OPTIONS).hash(&mut hasher);
    let dir = nat64_sim::compiled::target_dir()
        .join("nat64-cocotb")
        .join(format!("{:016x}", hasher.finish()));
    let done = dir.join("whole");
    let program = dir.join("obj/Vtop");
    if done.is_file() {
        return program;
    }
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join("endpoint.v"), &verilog).expect("writes");
    // only ports are looked at from outside; all else may be optimised away
    let public: String = ports(&verilog)
        .iter()
        .map(|port| format!("public_flat_rw -module \"top\" -var \"{port}\"\n"))
        .collect();
    std::fs::write(dir.join("ports.vlt"), format!("`verilator_config\n{public}")).expect("writes");
    let (share, libraries) = (
        ask("import cocotb.config as c; print(c.share_dir)"),
        ask("import cocotb.config as c; print(c.libs_dir)"),
    );
    let start = Instant::now();
    run(Command::new("verilator")
        .current_dir(&dir)
        .args(OPTIONS)
        .args([
            "--top-module",
            "top",
            "--prefix",
            "Vtop",
            "--Mdir",
            "obj",
            "-o",
            "Vtop",
            "-LDFLAGS",
        ])
        .arg(format!("-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"))
        .args(["ports.vlt", "endpoint.v"])
        .arg(Path::new(&share).join("lib/verilator/verilator.cpp")));
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    run(Command::new("make")
        .current_dir(dir.join("obj"))
        .env_remove("MAKEFLAGS")
        .args(["-f", "Vtop.mk", "OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O1"])
        .arg(format!("-j{jobs}")));
    println!("built in {:.0?}", start.elapsed());
    std::fs::write(&done, "").expect("writes");
    program
}

/// Gives the TLPs that crossed the link.
fn load(program: &Path, seed: u64, payload: u32) -> u64 {
    let python = python();
    let interpreter = ask("import find_libpython as f; print(f.find_libpython())");
    let scripts = root().join("tests/cocotb");
    let results = program.with_extension(format!("{payload}.xml"));
    let _ = std::fs::remove_file(&results);
    let start = Instant::now();
    let said = run(Command::new(program)
        .env("LIBPYTHON_LOC", interpreter)
        .env("PYTHONPATH", &scripts)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("VIRTUAL_ENV", root().join(".venv"))
        .env_remove("PYTHONHOME")
        .env("PYGPI_PYTHON_BIN", &python)
        .env("MODULE", "endpoint")
        .env("TOPLEVEL", "top")
        .env("TOPLEVEL_LANG", "verilog")
        .env("COCOTB_REDUCED_LOG_FMT", "1")
        .env("COCOTB_RESULTS_FILE", &results)
        .env("RANDOM_SEED", seed.to_string())
        .env("NAT64_SEED", seed.to_string())
        .env("NAT64_PAYLOAD", payload.to_string())
        .env("NAT64_ACCESSES", "2000")
        .env("NAT64_FRAMES", "60")
        .env("NAT64_REGISTERS", root().join("hdl/layout/registers.json")));
    // the simulator itself ends well whatever the tests say
    let xml = std::fs::read_to_string(&results).unwrap_or_else(|e| panic!("{}: {e}\n{said}", results.display()));
    let line = said.lines().find_map(|l| l.strip_prefix("TRANSACTIONS "));
    let good = xml.contains("<testcase") && !xml.contains("<failure") && !xml.contains("<error");
    assert!(good && line.is_some(), "seed {seed}, payload {payload}:\n{said}");
    let line = line.unwrap_or_default();
    println!("seed {seed}, payload {payload}: {line} in {:.1?}", start.elapsed());
    line.split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a number of TLPs")
}

#[test]
fn a_foreign_root_complex_loses_nothing_and_finds_nothing_wrong() {
    let program = build();
    // both payload sizes, one process each
    let total: u64 = std::thread::scope(|scope| {
        let runs = [(1, 0), (2, 1)].map(|(seed, payload)| {
            let program = &program;
            scope.spawn(move || load(program, seed, payload))
        });
        runs.into_iter().map(|r| r.join().expect("it passes")).sum()
    });
    assert!(total >= TRANSACTIONS, "only {total} TLPs");
}
