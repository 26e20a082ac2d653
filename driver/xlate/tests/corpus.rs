//! Replays the fuzz targets' corpus, so that what fuzzing once reached stays reached, without a fuzzer.

#[path = "../fuzz/src/lib.rs"]
mod harness;

use std::path::Path;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(files.len() > 20, "{}: {} files", folder.display(), files.len());
    for file in files {
        // Printed if the input fails.
        println!("{}", file.display());
        run(&std::fs::read(&file).expect("a readable file"));
    }
}

#[test]
fn the_corpus_of_the_parser_passes() {
    replay("parser", harness::parser);
}

#[test]
fn random_lives_pass() {
    use rand::{Rng, SeedableRng};
    for seed in 0..400 {
        // Printed if the life fails.
        println!("seed {seed}");
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        let mut data = vec![0; rng.random_range(60..900)];
        rng.fill(&mut data[..]);
        harness::step(&data);
    }
}

#[test]
fn the_corpus_of_step_passes() {
    replay("step", harness::step);
}

/// One input by hand: `NAT64_INPUT=file cargo test -p nat64-xlate --test corpus one_input`.
#[test]
fn one_input() {
    if let Some(file) = std::env::var_os("NAT64_INPUT") {
        harness::step(&std::fs::read(file).expect("a readable file"));
    }
}
