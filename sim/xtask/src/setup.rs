//! `cargo xtask setup`: the Debian packages that simulation and tests need, installed only when missing, and the Python
//! packages of the tests in `.venv`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::run::{Error, Step};
use crate::PYTHON;

/// What shows that a package is there.
enum Probe {
    /// A program in the path.
    Program(&'static str),
    /// A module of Debian's Python.
    Module(&'static str),
}

/// Packages, what shows that they are there, and what for.
const TOOLS: [(&str, Probe, &str); 19] = [
    (
        "verilator",
        Probe::Program("verilator"),
        "compiles the exported Verilog for `--engine rtl-compiled`",
    ),
    (
        "iverilog",
        Probe::Program("iverilog"),
        "runs and lints the exported Verilog in tests",
    ),
    (
        "yosys",
        Probe::Program("yosys-abc"),
        "proves blocks and lists crossings between clocks (`cargo xtask formal`, `cdc`)",
    ),
    (
        "tshark",
        Probe::Program("tshark"),
        "reads translated packets and checks their checksums in tests",
    ),
    (
        "python3-scapy",
        Probe::Module("scapy.all"),
        "makes the example captures",
    ),
    (
        "valgrind",
        Probe::Program("valgrind"),
        "counts the instructions of the translator",
    ),
    (
        "python3-venv",
        Probe::Module("ensurepip"),
        "holds the models that endpoint and network ports are tested against",
    ),
    ("g++", Probe::Program("g++"), "compiles what verilator makes"),
    ("make", Probe::Program("make"), "compiles what verilator makes"),
    (
        "mmdebstrap",
        Probe::Program("mmdebstrap"),
        "unpacks QEMU for `cargo xtask vm-test`",
    ),
    (
        "busybox-static",
        Probe::Program("busybox"),
        "runs in the guest of `cargo xtask vm-test`",
    ),
    (
        "cpio",
        Probe::Program("cpio"),
        "packs the guest of `cargo xtask vm-test`",
    ),
    ("pciutils", Probe::Program("lspci"), "shows the card in the guest"),
    ("xz-utils", Probe::Program("xz"), "unpacks kernel modules"),
    ("binutils", Probe::Program("strip"), "makes the guest's program smaller"),
    ("zsh", Probe::Program("zsh"), "completes commands of nat64ctl in tests"),
    (
        "fish",
        Probe::Program("fish"),
        "completes commands of nat64ctl in tests",
    ),
    ("mandoc", Probe::Program("mandoc"), "checks manual pages in tests"),
    (
        "systemd",
        Probe::Program("systemd-analyze"),
        "checks the unit file in tests",
    ),
];

/// What the lab and its tests need besides.
const LAB_TOOLS: [(&str, Probe, &str); 8] = [
    ("iproute2", Probe::Program("ip"), "makes the namespaces of the lab"),
    ("iputils-ping", Probe::Program("ping"), "a client in the lab"),
    ("curl", Probe::Program("curl"), "a client in the lab"),
    ("iperf3", Probe::Program("iperf3"), "client and server in the lab"),
    ("traceroute", Probe::Program("traceroute"), "a client in the lab"),
    ("bind9-dnsutils", Probe::Program("dig"), "a client in the lab"),
    ("dnsmasq-base", Probe::Program("dnsmasq"), "a server in the lab"),
    (
        "procps",
        Probe::Program("pgrep"),
        "finds what outlived the lab in tests",
    ),
];

/// What benchmarks need besides.
const BENCH_TOOLS: [(&str, Probe, &str); 1] = [("tayga", Probe::Program("tayga"), "a gateway to compare with")];

impl Probe {
    fn present(&self) -> bool {
        match self {
            Self::Program(name) => in_path(name),
            Self::Module(name) => quiet(PYTHON, &["-c", &format!("import {name}")]),
        }
    }
}

fn in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where Debian keeps programs for administrators is not in everybody's path.
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .any(|folder| folder.join(name).is_file())
}

/// Whether a program runs and succeeds; it shows nothing.
fn quiet(program: &str, arguments: &[&str]) -> bool {
    let null = Stdio::null;
    let status = Command::new(program)
        .args(arguments)
        .stdin(null())
        .stdout(null())
        .stderr(null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|out| out.stdout.trim_ascii() == b"0")
}

/// Python packages of the tests, pinned.
const REQUIREMENTS: &str = "tests/cocotb/requirements.txt";

/// Installs what is missing; does nothing when nothing is.
pub fn setup(root: &Path) -> Result<(), Error> {
    let tools: Vec<_> = TOOLS.iter().chain(&LAB_TOOLS).collect();
    packages(&tools)?;
    python(root)
}

/// The same for benchmarks.
pub fn bench(root: &Path) -> Result<(), Error> {
    // In the namespaces of the benchmark there is no network, and everything was installed before.
    if std::env::var_os(crate::bench::INSIDE).is_some() {
        return Ok(());
    }
    setup(root)?;
    packages(&BENCH_TOOLS.iter().collect::<Vec<_>>())
}

/// Makes `.venv` of Debian's Python with exactly the packages of [`REQUIREMENTS`]; a copy of that file in it says that it is
/// whole.
fn python(root: &Path) -> Result<(), Error> {
    let file = |path: &Path| std::fs::read(path).map_err(|error| Error::file(path, error));
    let wanted = root.join(REQUIREMENTS);
    let requirements = file(&wanted)?;
    let venv = root.join(".venv");
    let stamp = venv.join("installed.txt");
    if file(&stamp).is_ok_and(|installed| installed == requirements) {
        println!("setup: .venv has what {REQUIREMENTS} names");
        return Ok(());
    }
    Step::new(PYTHON, ["-m", "venv", "--clear", ".venv"], root).run()?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
        REQUIREMENTS,
    ];
    Step::new(venv.join("bin/python"), pip, root).run()?;
    std::fs::write(&stamp, requirements).map_err(|error| Error::file(&stamp, error))
}

fn packages(tools: &[&(&str, Probe, &str)]) -> Result<(), Error> {
    let missing: Vec<_> = tools.iter().filter(|(_, probe, _)| !probe.present()).collect();
    if missing.is_empty() {
        println!(
            "setup: all tools are there ({})",
            tools.iter().map(|tool| tool.0).collect::<Vec<_>>().join(", ")
        );
        return Ok(());
    }
    for (package, _, purpose) in &missing {
        println!("setup: {package} is missing: {purpose}");
    }
    let packages: Vec<&str> = missing.iter().map(|(package, ..)| *package).collect();
    let fail = |why| {
        Err(Error::Tools {
            packages: packages.join(" "),
            why,
        })
    };
    if !in_path("apt-get") {
        return fail("there is no apt-get here; install them with your system's package manager");
    }
    let prefix: &[&str] = match (is_root(), in_path("sudo")) {
        (true, _) => &[],
        (false, true) => &["sudo"],
        (false, false) => return fail("run `cargo xtask setup` as root, or install sudo"),
    };
    println!("setup: installing {}", packages.join(" "));
    // A package must not stop to ask questions (tshark would).
    let command = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
    let apt = |arguments: &[&str]| {
        let words: Vec<&str> = prefix.iter().chain(&command).chain(arguments).copied().collect();
        Step::new(words[0], &words[1..], Path::new(".")).run()
    };
    apt(&["update"])?;
    let install = ["install", "--yes", "--no-install-recommends"];
    apt(&install.into_iter().chain(packages.iter().copied()).collect::<Vec<_>>())?;
    match tools.iter().find(|(_, probe, _)| !probe.present()) {
        None => Ok(()),
        Some(_) => fail("they were installed and are still not found"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_tell_there_from_not_there() {
        assert!(Probe::Program("sh").present());
        assert!(!Probe::Program("no-such-program").present());
        assert!(!Probe::Module("no_such_module").present());
    }
}
