//! The fuzzer's corpus and its dictionary, without a fuzzer.

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::collections::BTreeSet;
use std::path::Path;

use nat64_host::config::schema::{walk, Value};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

#[test]
fn the_corpus_does_no_harm() {
    let mut files: Vec<_> = std::fs::read_dir(folder().join("corpus/config"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() > 20, "{}", files.len());
    for file in files {
        println!("{}", file.display());
        fuzz::config(&std::fs::read(&file).unwrap());
    }
}

#[test]
fn the_dictionary_is_current() {
    let mut words = BTreeSet::new();
    walk(&mut |_, statement| {
        words.insert(statement.name);
        for field in statement.fields {
            words.insert(field.word);
            if let Value::Word(all) = field.value {
                words.extend(all);
            }
        }
    });
    words.remove("");
    let mut text = String::from("# Made by `cargo xtask generate` from the schema.\n");
    for word in words {
        text += &format!("\"{word} \"\n");
    }
    let extra = [
        "set ",
        "delete ",
        "deactivate ",
        "activate ",
        "annotate ",
        "rename ",
        "copy ",
        "insert ",
        "replace pattern ",
        " to ",
        " before ",
        " after ",
        " with ",
        "inactive: ",
        "replace: ",
        "delete: ",
        "[edit ",
        "\\x0A+   ",
        "\\x0A-   ",
        "\\x0A!   ",
        " { ... }",
        "/* ",
        " */",
        "# ",
        "192.0.2.0/24 ",
        "2001:db8::/32 ",
        "64:ff9b::/96 ",
        "{\\\"configuration\\\": {",
        "\\\"@\\\": {",
        "\\\"name\\\": ",
        "[null]",
        "nat64-commit 1 ",
    ];
    for word in extra {
        text += &format!("\"{word}\"\n");
    }
    let file = folder().join("config.dict");
    if std::env::var_os("NAT64_GENERATE").is_some() {
        std::fs::write(&file, text).unwrap();
    } else {
        let there = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            there == text,
            "host/fuzz/config.dict is out of date: cargo xtask generate"
        );
    }
}
