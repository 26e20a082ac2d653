//! Running other programs: each is shown before it runs, and its failure names it.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

/// Why a chore failed.
#[derive(Debug, Error)]
pub enum Error {
    /// A program could not be started.
    #[error("cannot run `{command}`: {source}")]
    Start {
        /// Program and arguments.
        command: String,
        /// Reason.
        source: std::io::Error,
    },
    /// A program failed.
    #[error("`{command}` failed ({status})")]
    Failed {
        /// Program and arguments.
        command: String,
        /// Exit status.
        status: std::process::ExitStatus,
    },
    /// A file could not be read or made.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// File.
        path: PathBuf,
        /// Reason.
        source: std::io::Error,
    },
    /// A generated file is not what its generator makes.
    #[error("{path} is out of date: run `cargo xtask generate` and commit the result", path = path.display())]
    OutOfDate {
        /// File.
        path: PathBuf,
    },
    /// A program's output is not what was expected.
    #[error("no {what} in the output: {output}")]
    Unreadable {
        /// What was looked for.
        what: &'static str,
        /// The end of the output.
        output: String,
    },
    /// The translator takes more instructions than agreed.
    #[error("more instructions than {file} allows: {cases}", file = file.display())]
    OverBudget {
        /// Which figures.
        cases: String,
        /// The agreed ones.
        file: PathBuf,
    },
    /// Something that was looked at is not as it should be.
    #[error("{what}")]
    Check {
        /// What.
        what: String,
    },
    /// A measurement failed.
    #[error("{0}")]
    Bench(String),
    /// A file of a tool cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Json {
        /// File.
        path: PathBuf,
        /// Reason.
        source: serde_json::Error,
    },
    /// Something a tool should have made is not there.
    #[error("there is no {what}")]
    Missing {
        /// What.
        what: String,
    },
    /// A clock is slower than it must be.
    #[error("clock {clock} reaches {reached:.1} MHz on the worst seed, its constraint is {wanted} MHz")]
    Timing {
        /// Clock.
        clock: String,
        /// MHz.
        reached: f64,
        /// MHz.
        wanted: f64,
    },
    /// Tools are missing and cannot be installed from here.
    #[error("missing: {packages}; {why}")]
    Tools {
        /// Debian packages.
        packages: String,
        /// What stands in the way.
        why: &'static str,
    },
}

impl Error {
    /// A file could not be read or made.
    pub fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File {
            path: path.to_path_buf(),
            source,
        }
    }
}

/// One program to run.
pub struct Step {
    command: Command,
    shown: String,
}

impl Step {
    /// A program, its arguments, and the folder it runs in.
    pub fn new<S: AsRef<OsStr>>(
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = S>,
        directory: &Path,
    ) -> Self {
        let arguments: Vec<OsString> = arguments.into_iter().map(|a| a.as_ref().to_os_string()).collect();
        let name = Path::new(program.as_ref()).file_name().unwrap_or(program.as_ref());
        let words: Vec<_> = std::iter::once(name)
            .chain(arguments.iter().map(OsString::as_os_str))
            .collect();
        let shown = words
            .iter()
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory);
        Self { command, shown }
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self.shown = format!("{name}='{value}' {}", self.shown);
        self
    }

    /// Shows and runs it.
    pub fn run(mut self) -> Result<(), Error> {
        println!("$ {}", self.shown);
        let command = self.shown;
        match self.command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Error::Failed { command, status }),
            Err(source) => Err(Error::Start { command, source }),
        }
    }
}

/// Runs `cargo test`, passes its output on, and ends with the sum over all crates.
pub fn test(step: Step) -> Result<(), Error> {
    let Step { mut command, shown } = step;
    println!("$ {shown}");
    let start = |source| Error::Start {
        command: shown.clone(),
        source,
    };
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(start)?;
    let (mut passed, mut failed) = (0, 0);
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            if let Some((p, f)) = result_line(&line) {
                passed += p;
                failed += f;
            }
        }
    }
    let status = child.wait().map_err(start)?;
    println!("\n{passed} passed, {failed} failed");
    if status.success() {
        Ok(())
    } else {
        Err(Error::Failed { command: shown, status })
    }
}

/// The numbers of a line `test result: ok. 7 passed; 0 failed; ...`.
fn result_line(line: &str) -> Option<(u64, u64)> {
    let rest = line.strip_prefix("test result: ")?;
    let number = |what: &str| {
        let before = rest.split(what).next()?;
        before.split_whitespace().last()?.parse().ok()
    };
    Some((number(" passed")?, number(" failed")?))
}

/// Whether two files have the same bytes.
pub fn compare(committed: &Path, fresh: &Path) -> Result<(), Error> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| Error::file(path, error));
    if read(committed)? == read(fresh)? {
        Ok(())
    } else {
        Err(Error::OutOfDate {
            path: committed.to_path_buf(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s";
        assert_eq!(result_line(line), Some((12, 3)));
        assert_eq!(result_line("test a ... ok"), None);
        assert_eq!(result_line("test result: nonsense"), None);
    }

    #[test]
    fn a_failing_program_is_named() {
        let error = Step::new("sh", ["-c", "exit 3"], Path::new(".")).run().unwrap_err();
        assert!(error.to_string().contains("sh -c exit 3"), "{error}");
        let error = Step::new("no-such-program", ["x"], Path::new(".")).run().unwrap_err();
        assert!(error.to_string().contains("no-such-program x"), "{error}");
    }
}
