//! The `nat64-sim` program, as a user starts it.

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

/// A call of `nat64-sim`, run in the root of the workspace; built first, since Cargo does not build the programs of other
/// packages for a test.
pub fn nat64_sim() -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let program = BUILT.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--quiet", "-p", "nat64-sim", "--bin", "nat64-sim"])
            .current_dir(workspace())
            .status()
            .expect("cargo starts");
        assert!(status.success(), "nat64-sim builds");
        // target/debug/deps/test-123 -> target/debug/nat64-sim
        let test = std::env::current_exe().expect("a test has a path");
        test.ancestors()
            .nth(2)
            .expect("it lies in target/debug/deps")
            .join("nat64-sim")
    });
    let mut command = Command::new(program);
    command.current_dir(workspace());
    command
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
