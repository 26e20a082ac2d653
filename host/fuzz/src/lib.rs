//! What is done with the bytes of a fuzzer, and what must hold afterwards. `host/tests/corpus.rs` runs the same.

use std::io;

use nat64_host::config::{
    self, BuildOptions, CardLimits, CompletionPurpose, EditPath, Format, LoadMode, NoLiveNames, Tree,
};
use nat64_host::store::{Engine, Files};
use nat64_xlate::policy::Policy;

/// What commands and loads begin with.
const SEED: &str = include_str!("../../../examples/vlan.conf");

/// What somebody else did meanwhile.
const OTHERS: &[&str] = &[
    "set services nat pool src-pool-nat64 mapping-timeout 400",
    "set services nat pool another address 198.51.100.0/28",
    "set services nat rule stateful-nat64 term t0 then no-translation",
    "insert services nat rule stateful-nat64 term t0 before term t1",
    "deactivate services service-set sset-nat64 interface-service",
    "delete nat64-nic port 1",
];

/// One input: its first byte says what the text behind it is.
pub fn config(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(rest);
    match first % 8 {
        0 | 1 => whole(&text),
        2 => commands(&text),
        3 => loads(&text, LoadMode::Merge),
        4 => loads(&text, LoadMode::Replace),
        5 => loads(&text, LoadMode::Patch),
        6 => file(rest),
        _ => words(&text),
    }
}

fn seed() -> Tree {
    config::parse_curly(SEED, "seed").expect("the example is right")
}

/// A whole configuration in whatever form.
fn whole(text: &str) {
    if let Ok(tree) = config::parse(text, "fuzz") {
        check(&tree);
        patch(&seed(), &tree);
    }
}

/// Commands, one per line, at a place that `edit` lines change.
fn commands(text: &str) {
    let mut tree = seed();
    let mut path = EditPath::top();
    for line in text.lines().take(40) {
        if let Some(words) = line.strip_prefix("edit ") {
            path = path.edit(words).unwrap_or(path);
            continue;
        }
        if line == "up" {
            path = path.up(1);
            continue;
        }
        let before = tree.clone();
        if config::apply_at(&mut tree, &path, line).is_err() {
            assert!(
                before.to_curly() == tree.to_curly(),
                "a refused command changed something: {line}"
            );
        } else {
            patch(&before, &tree);
        }
        for format in [Format::Curly, Format::Set, Format::SetRelative, Format::Json] {
            let _ = config::show(&tree, &path, "", format);
        }
    }
    check(&tree);
    merged(&tree);
}

/// What one changed alone is there after a merge, whoever it was; what two changed alike is no clash.
fn merged(tree: &Tree) {
    let seed = seed();
    for (mine, theirs) in [(tree, &seed), (&seed, tree), (tree, tree)] {
        let both = config::merge(&seed, mine, theirs);
        assert!(both.clashes.is_empty() && both.tree == *tree, "{:?}", both.clashes);
    }
    let mut other = seed.clone();
    for command in OTHERS {
        config::apply_command(&mut other, command).expect("the commands are right");
    }
    for (mine, theirs) in [(tree, &other), (&other, tree)] {
        let both = config::merge(&seed, mine, theirs);
        check(&both.tree);
        if both.clashes.is_empty() {
            // Nothing is left to do, and nothing that was done is undone.
            assert!(config::merge(&seed, &both.tree, theirs).clashes.is_empty());
        }
    }
}

fn loads(text: &str, mode: LoadMode) {
    let mut tree = seed();
    if config::load(&mut tree, &EditPath::top(), mode, false, text, "fuzz").is_err() {
        assert!(tree.to_curly() == seed().to_curly(), "a refused text changed something");
    }
    check(&tree);
}

/// The words of a line that is being typed.
fn words(text: &str) {
    let tree = seed();
    let mut words: Vec<&str> = text.split(' ').take(40).collect();
    let partial = words.pop().unwrap_or("");
    for purpose in [
        CompletionPurpose::Set,
        CompletionPurpose::Existing,
        CompletionPurpose::Edit,
    ] {
        config::complete(&tree, &EditPath::top(), purpose, &words, partial, &NoLiveNames);
    }
}

/// What must hold for every tree.
fn check(tree: &Tree) {
    let curly = tree.to_curly();
    let again = config::parse_curly(&curly, "curly").expect("what is written is read");
    assert!(again.to_curly() == curly && again == *tree, "curly form");
    let again = config::parse_set(&tree.to_set(), "set").expect("what is written is read");
    assert!(again == *tree && config::compare(tree, &again).is_empty(), "set form");
    let again = config::parse_json(&tree.to_json(), "json").expect("what is written is read");
    assert!(again == *tree && config::compare(tree, &again).is_empty(), "JSON");
    for limits in [CardLimits::SOFT, BuildOptions::default().limits] {
        let options = BuildOptions {
            limits,
            ..BuildOptions::default()
        };
        match config::model(tree, &options) {
            Err(problems) => assert!(!problems.is_empty()),
            Ok((model, _)) => {
                for card in model.cards {
                    if let Err(error) = Policy::new(card.gateway.xlate) {
                        panic!("the checks let pass what the translator does not take: {error}\n{curly}");
                    }
                }
            }
        }
    }
}

/// A comparison, loaded as a patch, makes one of the other.
fn patch(old: &Tree, new: &Tree) {
    let text = config::compare_text(old, new);
    let mut patched = old.clone();
    config::load(&mut patched, &EditPath::top(), LoadMode::Patch, false, &text, "patch").expect("our own patch");
    assert!(patched == *new && config::compare(&patched, new).is_empty(), "{text}");
}

/// A directory with one file.
struct OneFile(Vec<u8>);

impl Files for OneFile {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(vec!["0000000001.commit".into()])
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        match name {
            "0000000001.commit" => Ok(self.0.clone()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
    fn write(&mut self, _: &str, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn sync(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn rename(&mut self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn remove(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn sync_dir(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file of the commit engine.
fn file(bytes: &[u8]) {
    let (engine, opened) = Engine::open(OneFile(bytes.to_vec()), BuildOptions::default()).expect("files are no error");
    assert!(opened.active.is_some() != opened.torn.iter().any(|torn| torn.file.ends_with(".commit")));
    let _ = engine.rollback_tree(0);
}
