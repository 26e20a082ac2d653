//! Long trials of the daemon: random requests, and kills in the middle of commits. What came of the last ones is
//! committed in `host/tests/results`.

use std::path::Path;
use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::run::Error;

/// Folder of the results.
const RESULTS: &str = "host/tests/results";

/// One trial: a test that reads its length from the environment.
struct Trial<'a> {
    /// File of the result, without ending.
    name: &'a str,
    /// Title of the result.
    title: &'a str,
    /// Test binary.
    binary: &'a str,
    /// Name of the test.
    test: &'a str,
    /// Variables of the environment.
    variables: &'a [(&'a str, String)],
}

/// `cargo xtask fuzz-api`.
pub fn fuzz_api(root: &Path, minutes: u64) -> Result<(), Error> {
    run(
        root,
        &Trial {
            name: "fuzz-api",
            title: "Random requests to the control API",
            binary: "daemon",
            test: "no_request_ends_the_daemon",
            variables: &[("NAT64_FUZZ_SECONDS", (minutes * 60).to_string())],
        },
    )
}

/// `cargo xtask kill-nine`.
pub fn kill_nine(root: &Path, kills: u64) -> Result<(), Error> {
    run(
        root,
        &Trial {
            name: "kill-nine",
            title: "nat64d killed in the middle of commits",
            binary: "kill_nine",
            test: "the_configuration_is_the_old_or_the_new_one_whole",
            variables: &[("NAT64_KILLS", kills.to_string())],
        },
    )
}

fn output(root: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root).output();
    output.map_or(String::new(), |output| {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    })
}

fn run(root: &Path, trial: &Trial<'_>) -> Result<(), Error> {
    let arguments = [
        "test",
        "-p",
        "nat64-host",
        "--test",
        trial.binary,
        "--",
        "--nocapture",
        "--exact",
    ];
    let test = match trial.binary {
        "daemon" => format!("fuzz::{}", trial.test),
        _ => trial.test.to_owned(),
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command.args(arguments).arg(&test).current_dir(root);
    for (name, value) in trial.variables {
        command.env(name, value);
    }
    println!("== {}", trial.title);
    let start = Instant::now();
    let output_of = command
        .output()
        .map_err(|error| Error::file(Path::new("cargo"), error))?;
    let (out, err) = (
        String::from_utf8_lossy(&output_of.stdout).into_owned(),
        String::from_utf8_lossy(&output_of.stderr).into_owned(),
    );
    let said: Vec<&str> = err
        .lines()
        .chain(out.lines())
        .filter(|line| {
            let noise = ["Compiling", "Finished", "Running", "Blocking", "warning"];
            !line.trim().is_empty() && !noise.iter().any(|word| line.trim_start().starts_with(word))
        })
        .collect();
    said.iter().for_each(|line| println!("{line}"));
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let date = output(root, "date", &["-u", "+%Y-%m-%d", "-d", &format!("@{seconds}")]);
    let commit = output(root, "git", &["rev-parse", "--short", "HEAD"]);
    let variables: Vec<String> = trial
        .variables
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let text = format!(
        "# {}\n\n{date}, commit {commit}, {} s. Made by `cargo xtask {}`.\n\n```\n$ {} cargo {} {test}\n{}\n```\n",
        trial.title,
        start.elapsed().as_secs(),
        trial.name,
        variables.join(" "),
        arguments.join(" "),
        said.join("\n"),
    );
    let folder = root.join(RESULTS);
    let file = folder.join(trial.name).with_extension("md");
    std::fs::create_dir_all(&folder).map_err(|error| Error::file(&folder, error))?;
    std::fs::write(&file, text).map_err(|error| Error::file(&file, error))?;
    if output_of.status.success() && out.contains("1 passed") {
        Ok(())
    } else {
        Err(Error::file(&file, std::io::Error::other("the trial failed")))
    }
}
