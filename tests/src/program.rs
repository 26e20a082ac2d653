//! The programs, as a user starts them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the workspace is there")
}

/// Where a program of the workspace is; built first, since Cargo does not build the programs of other packages for a test.
fn built(package: &str, program: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "-p", package, "--bin", program])
        .current_dir(workspace())
        .status()
        .expect("cargo starts");
    assert!(status.success(), "{program} builds");
    // target/debug/deps/test-123 -> target/debug/PROGRAM
    let test = std::env::current_exe().expect("a test has a path");
    test.ancestors()
        .nth(2)
        .expect("it lies in target/debug/deps")
        .join(program)
}

/// A call of a program, run in the root of the workspace.
fn call(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace());
    command
}

/// A call of `nat64-sim`, run in the root of the workspace.
pub fn nat64_sim() -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    call(BUILT.get_or_init(|| built("nat64-sim", "nat64-sim")))
}

/// A call of `nat64d`, run in the root of the workspace.
pub fn nat64d() -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    call(BUILT.get_or_init(|| built("nat64-host", "nat64d")))
}

/// A call of `nat64ctl`, run in the root of the workspace.
pub fn nat64ctl() -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    call(BUILT.get_or_init(|| built("nat64-host", "nat64ctl")))
}

/// Runs a command that must end well; gives its standard output.
pub fn output(command: &mut Command) -> String {
    let out = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}; run `cargo xtask setup`"));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.success(),
        "{command:?}: {}\n{}{text}",
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
    text
}
