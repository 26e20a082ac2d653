//! The ledgers in `tests/rfc` tell the truth: every row has a verdict, what is done has a test, and every test exists.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Names of all functions in the Rust files below `folder`, and of all vector files.
fn collect(folder: &Path, names: &mut HashSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(&path, names);
            }
        } else if name.ends_with(".txt") {
            names.insert(name);
        } else if name.ends_with(".rs") {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            for rest in text.split("fn ").skip(1) {
                names.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
            }
        }
    }
}

#[test]
fn ledgers_name_tests_that_exist() {
    let mut names = HashSet::new();
    for folder in ["driver", "hdl", "host", "sim", "tests"] {
        collect(&root().join(folder), &mut names);
    }
    let mut rows = 0;
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(root().join("tests/rfc")).unwrap() {
        let path = entry.unwrap().path();
        let ledger = path.file_name().unwrap().to_string_lossy().into_owned();
        if !ledger.ends_with(".md") {
            continue;
        }
        for line in std::fs::read_to_string(&path)
            .unwrap()
            .lines()
            .filter(|line| line.starts_with('|'))
        {
            let cells: Vec<&str> = line.trim_matches('|').split(" |").map(str::trim).collect();
            let cells: Vec<&str> = cells.iter().map(|cell| cell.trim_start_matches('|').trim()).collect();
            if cells[0] == "Section" || cells[0].starts_with("---") {
                continue;
            }
            rows += 1;
            let verdict = cells.get(2).copied().unwrap_or_default();
            let tests: Vec<&str> = cells
                .get(3)
                .copied()
                .unwrap_or_default()
                .split('`')
                .skip(1)
                .step_by(2)
                .collect();
            if verdict.is_empty() || (tests.is_empty() && verdict.starts_with("Done")) {
                wrong.push(format!("{ledger}: no verdict or no test: {line}"));
            }
            for test in tests.into_iter().filter(|test| !names.contains(*test)) {
                wrong.push(format!("{ledger}: there is no test {test}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows > 90, "{rows} rows");
}
