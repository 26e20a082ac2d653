//! The programs of the workspace, as a user starts them.

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

/// Where Cargo puts programs.
pub fn folder() -> PathBuf {
    // target/debug/deps/test-123 -> target/debug
    let test = std::env::current_exe().expect("a test has a path");
    test.ancestors()
        .nth(2)
        .expect("it lies in target/debug/deps")
        .to_owned()
}

/// Builds the programs of a package, since Cargo does not build those of other packages for a test.
fn build(package: &str) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "-p", package, "--bins"])
        .current_dir(workspace())
        .status()
        .expect("cargo starts");
    assert!(status.success(), "{package} builds");
}

/// A call of a program in the root of the workspace.
fn program(name: &str) -> Command {
    let mut command = Command::new(folder().join(name));
    command.current_dir(workspace());
    command
}

/// A call of `nat64-sim`, run in the root of the workspace.
pub fn nat64_sim() -> Command {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| build("nat64-sim"));
    program("nat64-sim")
}

fn host(name: &str) -> Command {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| build("nat64-host"));
    program(name)
}

/// A call of `nat64d`, run in the root of the workspace. With `--card sim` it starts the `nat64-sim` beside it: call
/// [`nat64_sim()`] first.
pub fn nat64d() -> Command {
    host("nat64d")
}

/// A call of `nat64ctl`, run in the root of the workspace.
pub fn nat64ctl() -> Command {
    host("nat64ctl")
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
