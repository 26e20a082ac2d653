//! The gateware against models we did not write, in cocotb, on the exported Verilog as Verilator compiles it: the PCI Express
//! endpoint against the root complex of cocotbext-pcie, a network port against the RGMII models of cocotbext-eth. The Python
//! side is in `tests/cocotb/`.
//!
//! A program is built once for each Verilog text, below `target/nat64-cocotb/`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use nat64_hdl::mac::pads;

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

/// The names of a module's ports.
fn ports(verilog: &str, module: &str) -> Vec<String> {
    let list = verilog
        .split(&format!("module {module}("))
        .nth(1)
        .and_then(|rest| rest.split(')').next());
    // a list of names, or of declarations with a width in brackets
    let name = |port: &str| port.split_whitespace().last().unwrap_or_default().to_string();
    list.expect("a module of this name").split(',').map(name).collect()
}

/// Verilog with cocotb in it: the program, for top module `module`.
fn build(verilog: &str, module: &str) -> PathBuf {
    let version = run(Command::new("verilator").arg("--version"));
    let requirements = std::fs::read_to_string(root().join("tests/cocotb/requirements.txt")).expect("it is there");
    let mut hasher = DefaultHasher::new();
    (verilog, module, &version, &requirements, OPTIONS).hash(&mut hasher);
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
    std::fs::write(dir.join("design.v"), verilog).expect("writes");
    // only ports are looked at from outside; all else may be optimised away
    let public: String = ports(verilog, module)
        .iter()
        .map(|port| format!("public_flat_rw -module \"{module}\" -var \"{port}\"\n"))
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
            module,
            "--prefix",
            "Vtop",
            "--Mdir",
            "obj",
            "-o",
            "Vtop",
            "-LDFLAGS",
        ])
        .arg(format!("-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"))
        .args(["ports.vlt", "design.v"])
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

/// Runs the tests of a Python module of `tests/cocotb/` with these settings; gives the numbers behind the word `told` that it
/// prints at its end.
fn simulate(
    program: &Path,
    (top, module): (&str, &str),
    run_name: &str,
    settings: &[(&str, String)],
    told: &str,
) -> String {
    let python = python();
    let interpreter = ask("import find_libpython as f; print(f.find_libpython())");
    let results = program.with_extension(format!("{run_name}.xml"));
    let _ = std::fs::remove_file(&results);
    let start = Instant::now();
    let mut command = Command::new(program);
    command
        .env("LIBPYTHON_LOC", interpreter)
        .env("PYTHONPATH", root().join("tests/cocotb"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("VIRTUAL_ENV", root().join(".venv"))
        .env_remove("PYTHONHOME")
        .env("PYGPI_PYTHON_BIN", &python)
        .env("MODULE", module)
        .env("TOPLEVEL", top)
        .env("TOPLEVEL_LANG", "verilog")
        .env("COCOTB_REDUCED_LOG_FMT", "1")
        .env("COCOTB_RESULTS_FILE", &results);
    settings.iter().for_each(|(name, value)| {
        command.env(name, value);
    });
    let said = run(&mut command);
    // the simulator itself ends well whatever the tests say
    let xml = std::fs::read_to_string(&results).unwrap_or_else(|e| panic!("{}: {e}\n{said}", results.display()));
    let line = said.lines().find_map(|l| l.strip_prefix(told));
    let good = xml.contains("<testcase") && !xml.contains("<failure") && !xml.contains("<error");
    assert!(good && line.is_some(), "{settings:?}:\n{said}");
    let line = line.unwrap_or_default();
    println!("{run_name}: {line} in {:.1?}", start.elapsed());
    line.trim_start().to_string()
}

/// Gives the TLPs that crossed the link.
fn load(program: &Path, seed: u64, payload: u32) -> u64 {
    let settings = [
        ("RANDOM_SEED", seed.to_string()),
        ("NAT64_SEED", seed.to_string()),
        ("NAT64_PAYLOAD", payload.to_string()),
        ("NAT64_ACCESSES", "2000".to_string()),
        ("NAT64_FRAMES", "60".to_string()),
        (
            "NAT64_REGISTERS",
            root().join("hdl/layout/registers.json").display().to_string(),
        ),
    ];
    let name = format!("seed{seed}-payload{payload}");
    let line = simulate(program, ("top", "endpoint"), &name, &settings, "TRANSACTIONS ");
    line.split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a number of TLPs")
}

#[test]
fn a_foreign_root_complex_loses_nothing_and_finds_nothing_wrong() {
    let verilog = nat64_hdl::export::endpoint_verilog().expect("it exports");
    let program = build(&verilog, "top");
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

/// Frames each way and run.
const FRAMES: u64 = 40;

#[test]
fn foreign_rgmii_models_get_and_give_every_frame() {
    let port = nat64_hdl::export::rgmii_port_verilog().expect("it exports");
    let verilog = pads::with_pins(&port, pads::RECEIVE_DELAY) + pads::ECP5_MODELS;
    let program = build(&verilog, "rgmii_port");
    // a core's clock as on the boards, and a slow one
    std::thread::scope(|scope| {
        for (seed, core_ns) in [(1, "6.4"), (2, "11.3")] {
            let program = &program;
            scope.spawn(move || {
                let settings = [
                    ("RANDOM_SEED", seed.to_string()),
                    ("NAT64_SEED", seed.to_string()),
                    ("NAT64_FRAMES", FRAMES.to_string()),
                    ("NAT64_CORE_NS", core_ns.to_string()),
                ];
                let name = format!("rgmii-{core_ns}ns");
                simulate(program, ("rgmii_port", "rgmii"), &name, &settings, "FRAMES ");
            });
        }
    });
}
