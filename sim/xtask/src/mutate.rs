//! `cargo xtask mutate`: breaks key lines of the translator and of the gateware one at a time and sees whether their tests
//! notice.
//!
//! The lists are `driver/xlate/mutations.txt` and `hdl/mutations.txt`; a normal test sees to it that every line they name is
//! still there, once. The work is done in a checkout of its own below `target`; what takes time is compiling. What came of each
//! change is noted in `mutated.txt` beside its list, with the commit it was made on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;
use sha2::{Digest, Sha256};

use crate::run::{Error, Step};

/// First lines of a file of results.
const RESULTS_HEAD: &str = "\
# What came of the changes of mutations.txt when each was made last, by `cargo xtask mutate`: date, commit, the change, the first
# test that noticed it.
";

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// The translator, nat64-xlate.
    Translator,
    /// The gateware, nat64-hdl.
    Gateware,
}

impl Suite {
    /// Folder of its crate.
    const fn folder(self) -> &'static str {
        match self {
            Self::Translator => "driver/xlate",
            Self::Gateware => "hdl",
        }
    }

    /// Its list, in the workspace.
    fn list(self) -> String {
        format!("{}/mutations.txt", self.folder())
    }

    /// What came of its changes, the last time each was made.
    fn results(self) -> String {
        format!("{}/mutated.txt", self.folder())
    }

    /// The tests that must notice a change of `file`, as arguments of `cargo test`, and the optimisation that compiling and running
    /// them takes least with: a simulator that is not optimised takes hours.
    fn tests(self, file: &str) -> (Vec<String>, &'static str) {
        let words = |text: &str| text.split(' ').map(str::to_string).collect();
        match self {
            Self::Translator => (
                words("--package nat64-xlate --lib --test corpus --test vectors --test properties"),
                "0",
            ),
            Self::Gateware => {
                let module = file
                    .trim_start_matches("src/")
                    .split(['/', '.'])
                    .next()
                    .unwrap_or_default();
                (words(&format!("--package nat64-hdl --lib {module}::")), "2")
            }
        }
    }
}

/// What `timeout` allows a build, or a run of the tests: some changes make an endless loop, which is noticed, too.
const LIMIT: &str = "5m";
/// How `timeout` ends after that.
const TIMED_OUT: i32 = 124;

/// What is said of a change that no test can judge.
const NOT_COMPILED: &str = "does not compile";

/// One change that must be noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mutation {
    /// What breaks.
    name: String,
    /// File in the crate.
    file: String,
    /// A line as it stands, without the space around it.
    from: String,
    /// What is put in its place.
    to: String,
}

/// Reads the list: blocks of a name, `file`, `-line` and `+line`; `#` begins a comment.
fn read(text: &str) -> Result<Vec<Mutation>, String> {
    let mut out = Vec::new();
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    for block in lines.chunks(4) {
        let &[name, file, from, to] = block else {
            return Err(format!("a mutation has four lines: {block:?}"));
        };
        let (Some(from), Some(to)) = (from.strip_prefix('-'), to.strip_prefix('+')) else {
            return Err(format!("{name}: no `-` or `+` line"));
        };
        out.push(Mutation {
            name: name.into(),
            file: file.into(),
            from: from.trim().into(),
            to: to.trim().into(),
        });
    }
    Ok(out)
}

impl Mutation {
    /// The changed text of its file.
    fn apply(&self, text: &str) -> Result<String, String> {
        let found = text.lines().filter(|line| line.trim() == self.from).count();
        if found != 1 {
            return Err(format!(
                "{}: {} has {found} lines `{}`",
                self.name, self.file, self.from
            ));
        }
        let change = |line: &str| {
            if line.trim() == self.from {
                format!("{}\n", self.to)
            } else {
                format!("{line}\n")
            }
        };
        Ok(text.lines().map(change).collect())
    }
}

fn mutations(root: &Path, suite: Suite) -> Result<Vec<Mutation>, Error> {
    let path = root.join(suite.list());
    let text = fs::read_to_string(&path).map_err(|error| Error::file(&path, error))?;
    read(&text).map_err(|why| Error::file(&path, std::io::Error::other(why)))
}

/// Runs the tests of `file` in a checkout; the first test that failed, `None` if all passed.
fn first_failure(suite: Suite, file: &str, checkout: &Path, build: &Path) -> Result<Option<String>, Error> {
    let (tests, optimisation) = suite.tests(file);
    let command = |more: &[&str]| {
        let mut command = Command::new("timeout");
        command
            .args([LIMIT, "cargo", "test", "--quiet"])
            .args(more)
            .args(&tests)
            .current_dir(checkout)
            .env("CARGO_TARGET_DIR", build)
            .env("CARGO_PROFILE_TEST_OPT_LEVEL", optimisation)
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", optimisation)
            .env("RUST_BACKTRACE", "0");
        command
    };
    let start = |source| Error::Start {
        command: format!("cargo test {}", tests.join(" ")),
        source,
    };
    let built = command(&["--no-run"]).stderr(Stdio::null()).status().map_err(start)?;
    if !built.success() {
        return Ok(Some(NOT_COMPILED.into()));
    }
    let out = command(&[]).output().map_err(start)?;
    if out.status.success() {
        return Ok(None);
    }
    if out.status.code() == Some(TIMED_OUT) {
        return Ok(Some(format!("no end within {LIMIT}")));
    }
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let failed = text
        .lines()
        .find_map(|line| line.strip_prefix("---- ")?.strip_suffix(" stdout ----"));
    Ok(Some(failed.unwrap_or("a test that printed nothing").to_string()))
}

/// The changes whose name contains `only`; of these as many as `sample` says, which ones by the seed.
fn choose(all: Vec<Mutation>, only: Option<&str>, sample: Option<usize>, seed: u64) -> Vec<Mutation> {
    let mut chosen: Vec<Mutation> = all
        .into_iter()
        .filter(|one| only.is_none_or(|only| one.name.contains(only)))
        .collect();
    if let Some(sample) = sample {
        chosen.sort_by_cached_key(|one| Sha256::digest(format!("{seed} {}", one.name)));
        chosen.truncate(sample);
    }
    chosen
}

/// The text of the results with one more: a change is in it once.
fn with_result(text: &str, name: &str, line: &str) -> String {
    let of_change = format!(" | {name} | ");
    let mut lines: Vec<&str> = text
        .lines()
        .filter(|other| !other.starts_with('#') && !other.contains(&of_change))
        .collect();
    lines.push(line);
    lines.sort_by_key(|line| line.split(" | ").nth(2).map(str::to_owned));
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    format!("{RESULTS_HEAD}{lines}")
}

/// Notes what came of a change.
fn note(root: &Path, suite: Suite, mutation: &Mutation, outcome: &str) -> Result<(), Error> {
    let said = |program: &str, arguments: &[&str]| {
        let out = Command::new(program).args(arguments).current_dir(root).output();
        out.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_string())
            .unwrap_or_default()
    };
    let (date, commit) = (
        said("date", &["+%F"]),
        said("git", &["rev-parse", "--short=10", "HEAD"]),
    );
    let path = root.join(suite.results());
    // There may be none yet.
    let text = fs::read_to_string(&path).unwrap_or_default();
    let line = format!("{date} | {commit} | {} | {outcome}", mutation.name);
    fs::write(&path, with_result(&text, &mutation.name, &line)).map_err(|error| Error::file(&path, error))
}

/// Makes the chosen changes in turn; with `suite`, of one list.
///
/// # Errors
/// A change that no test notices, or that does not compile, is one.
pub fn mutate(
    root: &Path,
    suite: Option<Suite>,
    only: Option<&str>,
    sample: Option<usize>,
    seed: u64,
) -> Result<(), Error> {
    let checkout = root.join("target/mutate/checkout");
    let text = checkout.display().to_string();
    if checkout.exists() {
        Step::new("git", ["worktree", "remove", "--force", &text], root).run()?;
    }
    Step::new("git", ["worktree", "add", "--detach", &text, "HEAD"], root).run()?;
    let mut unnoticed: Vec<PathBuf> = Vec::new();
    for &one in suite.as_ref().map_or(Suite::value_variants(), std::slice::from_ref) {
        let chosen = choose(mutations(root, one)?, only, sample, seed);
        unnoticed.extend(of_suite(root, one, &chosen, &checkout)?);
    }
    Step::new("git", ["worktree", "remove", "--force", &text], root).run()?;
    match unnoticed.first() {
        None => Ok(()),
        Some(path) => {
            let why = format!("{} changes were not noticed", unnoticed.len());
            Err(Error::file(path, std::io::Error::other(why)))
        }
    }
}

/// Makes these changes of a suite; the files of those that nobody noticed.
fn of_suite(root: &Path, suite: Suite, chosen: &[Mutation], checkout: &Path) -> Result<Vec<PathBuf>, Error> {
    let build = root.join("target/mutate/build");
    let mut unnoticed = Vec::new();
    let mut sound: Vec<Vec<String>> = Vec::new();
    for (index, mutation) in chosen.iter().enumerate() {
        // The same tests, once for all of their changes.
        let (tests, _) = suite.tests(&mutation.file);
        if !sound.contains(&tests) {
            if let Some(failure) = first_failure(suite, &mutation.file, checkout, &build)? {
                let why = std::io::Error::other(format!("its tests fail as it is: {failure}"));
                return Err(Error::file(checkout, why));
            }
            sound.push(tests);
        }
        let path = checkout.join(suite.folder()).join(&mutation.file);
        let text = fs::read_to_string(&path).map_err(|error| Error::file(&path, error))?;
        let changed = mutation
            .apply(&text)
            .map_err(|why| Error::file(&path, std::io::Error::other(why)))?;
        fs::write(&path, changed).map_err(|error| Error::file(&path, error))?;
        let failure = first_failure(suite, &mutation.file, checkout, &build)?;
        fs::write(&path, text).map_err(|error| Error::file(&path, error))?;
        let (index, all) = (index + 1, chosen.len());
        match failure {
            Some(failure) if failure != NOT_COMPILED => {
                println!("{index}/{all} noticed   {}: {failure}", mutation.name);
                note(root, suite, mutation, &failure)?;
            }
            other => {
                let why = other.unwrap_or_else(|| "NOBODY NOTICED".into());
                println!("{index}/{all} UNNOTICED {}: {why}", mutation.name);
                note(root, suite, mutation, &why)?;
                unnoticed.push(path);
            }
        }
    }
    Ok(unnoticed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_list_is_still_there() {
        let root = crate::root();
        for suite in Suite::value_variants() {
            let all = mutations(&root, *suite).unwrap();
            assert!(all.len() >= 20);
            for mutation in all {
                let text = fs::read_to_string(root.join(suite.folder()).join(&mutation.file)).unwrap();
                let changed = mutation.apply(&text).unwrap_or_else(|why| panic!("{why}"));
                assert_ne!(changed, text);
            }
        }
    }

    #[test]
    fn a_sample_depends_on_the_seed_alone() {
        let all = || mutations(&crate::root(), Suite::Translator).unwrap();
        let names = |sample, seed| -> Vec<String> {
            choose(all(), None, sample, seed)
                .into_iter()
                .map(|one| one.name)
                .collect()
        };
        assert_eq!(names(None, 1).len(), all().len());
        assert_eq!((names(Some(5), 1).len(), names(Some(5), 1)), (5, names(Some(5), 1)));
        assert_ne!(names(Some(5), 1), names(Some(5), 2));
        assert!(choose(all(), Some("no such change"), None, 1).is_empty());
    }

    #[test]
    fn a_change_of_the_gateware_is_judged_by_its_module() {
        let arguments = |file| Suite::Gateware.tests(file).0.pop().unwrap();
        assert_eq!(arguments("src/pcie/post.rs"), "pcie::");
        assert_eq!(arguments("src/cam.rs"), "cam::");
    }

    #[test]
    fn a_change_has_one_result() {
        let text = with_result("", "b", "d | c | b | x");
        let text = with_result(&text, "a", "d | c | a | x");
        let text = with_result(&text, "b", "d | c | b | y");
        assert_eq!(text, format!("{RESULTS_HEAD}d | c | a | x\nd | c | b | y\n"));
    }

    #[test]
    fn lists_that_cannot_be_right_are_refused() {
        assert!(read("a\nsrc/x.rs\n-b\n").is_err());
        assert!(read("a\nsrc/x.rs\nb\n+c\n").is_err());
        let all = read("# words\na\nsrc/x.rs\n- b\n+ c\n").unwrap();
        assert_eq!(all[0].apply("  b\nd\n").unwrap(), "c\nd\n");
        assert!(all[0].apply("b\nb\n").is_err() && all[0].apply("").is_err());
    }
}
