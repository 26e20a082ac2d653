//! `replace pattern TEXT with TEXT`: in all names and values below where `edit` stands.

use std::sync::Arc;

use super::edit::EditPath;
use super::load::Word;
use super::problem::{ConfigError, Problem, ProblemKind};
use super::set::Applied;
use super::tree::{Node, Tree};

/// Replaces a text wherever it stands in a name or value; each new value is checked as if it had been typed.
pub(super) fn pattern(tree: &mut Tree, path: &EditPath, verb: &Word, rest: &[Word]) -> Result<Applied, ConfigError> {
    let words: Vec<&str> = rest.iter().map(|word| word.text.as_ref()).collect();
    let ["pattern", from, "with", to] = words[..] else {
        let kind = ProblemKind::MissingValue {
            statement: verb.text.to_string(),
            expected: "`pattern TEXT with TEXT`".into(),
        };
        return Err(Problem::new(kind, verb.place()).into());
    };
    if from.is_empty() {
        let kind = ProblemKind::BadValue {
            value: String::new(),
            expected: "a text that is not empty".into(),
        };
        return Err(Problem::new(kind, rest[1].place()).into());
    }
    let mut changed = tree.clone();
    let place = rest[3].place();
    let done = path.change(&mut changed, |node| {
        replace_below(node, from, to).map_err(|kind| Problem::new(kind, place.clone()))
    });
    match done {
        Some(Ok(true)) => {
            *tree = changed;
            Ok(Applied::Changed)
        }
        Some(Err(problem)) => Err(problem.into()),
        Some(Ok(false)) | None => {
            let kind = ProblemKind::NotFound { path: from.to_string() };
            Err(Problem::new(kind, rest[1].place()).into())
        }
    }
}

/// Whether anything was replaced below `node`.
fn replace_below(node: &mut Node, from: &str, to: &str) -> Result<bool, ProblemKind> {
    let mut any = false;
    let mut keys = false;
    for at in 0..node.children.len() {
        if !mentions(&node.children[at], from) {
            continue;
        }
        let child = Arc::make_mut(&mut node.children[at]);
        for (field, value) in child.schema.fields.iter().zip(&mut child.values) {
            if !value.contains(from) {
                continue;
            }
            let new = value.replace(from, to);
            *value = field.value.normalise(&new).ok_or_else(|| ProblemKind::BadValue {
                value: new,
                expected: field.value.expected(),
            })?;
            any = true;
            keys = true;
        }
        any |= replace_below(child, from, to)?;
    }
    if keys {
        node.reindex();
        for (at, child) in node.children.iter().enumerate() {
            if node.find(child.schema, &child.values) != Some(at) {
                return Err(ProblemKind::AlreadyThere { path: child.words() });
            }
        }
    }
    Ok(any)
}

fn mentions(node: &Node, text: &str) -> bool {
    node.values.iter().any(|value| value.contains(text)) || node.children.iter().any(|child| mentions(child, text))
}
