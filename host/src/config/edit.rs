//! Changing a tree by commands, from where `edit` stands: `set`, `delete`, `deactivate`, `activate`, `annotate`,
//! `rename`, `copy`, `insert`, `replace pattern`.
//!
//! Each command is all or nothing: on an error the tree is as before.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::load::{
    holder, holder_mut, insert, key_of, named, remove, resolve, switch, Marks, Purpose, Route, Word, TOP,
};
use super::place::Source;
use super::problem::{ConfigError, Problem, ProblemKind};
use super::schema::Kind;
use super::set::{clear, no_list, Applied};
use super::tree::{quoted, Node, Tree};
use super::{parse, MAX_TEXT};

/// Where in the tree a person stands: the words of `[edit services nat]`, none at the top.
///
/// The statement need not be there yet: `edit services nat pool new` is how one begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EditPath {
    /// Keywords and keys, as they are typed without quotes, and whether each begins a level.
    words: Vec<(String, bool)>,
}

impl fmt::Display for EditPath {
    /// `[edit services nat]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[edit")?;
        for (word, _) in &self.words {
            write!(f, " {}", quoted(word))?;
        }
        f.write_str("]")
    }
}

impl EditPath {
    /// The top of the configuration.
    pub fn top() -> Self {
        Self::default()
    }

    /// Whether this is the top.
    pub fn is_top(&self) -> bool {
        self.words.is_empty()
    }

    /// The words, without quotes.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(|(word, _)| word.as_str())
    }

    /// Follows `edit WORDS` from here; `line` has the words alone, quoted where they must be.
    ///
    /// # Errors
    /// A word that is no statement, a key of the wrong kind, or a statement nothing stands below.
    pub fn edit(&self, line: &str) -> Result<Self, ConfigError> {
        let source = line_source(line)?;
        let words = words_of(&source)?;
        let full = self.absolute(&words, &source);
        let route = resolve(TOP, &full, &[], Purpose::Block)?;
        match route.end {
            Some(end) if end.list.is_none() => Ok(Self::from_route(&route)),
            end => {
                let kind = match end.and_then(|end| end.list) {
                    Some(list) => ProblemKind::MissingValue {
                        statement: list.name.to_string(),
                        expected: list.fields.first().map_or_else(String::new, |f| f.value.expected()),
                    },
                    None => ProblemKind::NoBlock {
                        statement: route.text(),
                    },
                };
                Err(Problem::new(kind, words.last().map(|word| word.place())).into())
            }
        }
    }

    /// `up N`: the level `levels` above, at most the top.
    pub fn up(&self, levels: usize) -> Self {
        let mut words = self.words.clone();
        for _ in 0..levels {
            while words.pop().is_some_and(|(_, begins)| !begins) {}
        }
        Self { words }
    }

    fn from_route(route: &Route) -> Self {
        let mut words = Vec::new();
        for step in route.steps() {
            let mut begins = true;
            if !step.schema.name.is_empty() {
                words.push((step.schema.name.to_string(), true));
                begins = false;
            }
            for (field, value) in step.schema.fields.iter().zip(&step.values) {
                for word in [field.word, value] {
                    if !word.is_empty() {
                        words.push((word.to_string(), std::mem::take(&mut begins)));
                    }
                }
            }
        }
        Self { words }
    }

    /// The words from the top: those of the path, then `words`.
    pub(crate) fn absolute<'w>(&'w self, words: &[Word<'w>], source: &'w Arc<Source>) -> Vec<Word<'w>> {
        let span = words.first().map_or(0..0, |word| word.span.clone());
        let own = self
            .words
            .iter()
            .map(|(text, _)| Word::at(text.as_str(), source, span.clone()));
        own.chain(words.iter().cloned()).collect()
    }

    /// Changes the statement here; `None`: it is not there, or is no one statement.
    pub(crate) fn change<T>(&self, tree: &mut Tree, change: impl FnOnce(&mut Node) -> T) -> Option<T> {
        if self.is_top() {
            return Some(change(tree.root_mut()));
        }
        let source = line_source("").ok()?;
        let route = resolve(TOP, &self.absolute(&[], &source), &[], Purpose::Block).ok()?;
        let last = route.steps().last()?;
        let holder = holder_mut(tree.root_mut(), route.steps())?;
        let at = holder.find(last.schema, &last.values)?;
        Some(change(holder.child_mut(at)))
    }

    /// The statement here, if it is there.
    pub fn node<'t>(&self, tree: &'t Tree) -> Option<&'t Node> {
        if self.is_top() {
            return Some(tree.root());
        }
        let source = line_source("").ok()?;
        let route = resolve(TOP, &self.absolute(&[], &source), &[], Purpose::Block).ok()?;
        named(tree.root(), route.steps()).first().copied()
    }
}

/// Words of a line that holds nothing else.
pub(crate) fn words_of(source: &Arc<Source>) -> Result<Vec<Word<'_>>, ConfigError> {
    let (words, list) = parse::command(source, 0..source.text.len())?;
    no_list(list.as_deref())?;
    Ok(words)
}

pub(crate) fn line_source(line: &str) -> Result<Arc<Source>, Problem> {
    if line.len() > MAX_TEXT {
        let kind = ProblemKind::TooLong {
            length: line.len(),
            limit: MAX_TEXT,
        };
        return Err(Problem::new(kind, None));
    }
    Ok(Arc::new(Source {
        name: "command".into(),
        text: line.into(),
    }))
}

/// Changes `tree` by one command line, given at the top. On an error the tree is as before.
///
/// # Errors
/// As [`apply_at`].
pub fn apply_command(tree: &mut Tree, line: &str) -> Result<Applied, ConfigError> {
    apply_at(tree, &EditPath::top(), line)
}

/// Changes `tree` by one command line, given where `path` stands. On an error the tree is as before.
///
/// | command | |
/// |---|---|
/// | `set STATEMENT` | `set pool p address [ 203.0.113.0/25 198.51.100.0/25 ]` sets several |
/// | `delete [STATEMENT]` | without a statement: all below the path |
/// | `deactivate STATEMENT`, `activate STATEMENT` | |
/// | `annotate STATEMENT "text"` | comment before the statement; an empty text takes it away |
/// | `rename ENTRY to NAME`, `copy ENTRY to NAME` | entries of lists |
/// | `insert ENTRY before\|after ENTRY` | order of terms, rules and all other lists |
/// | `replace pattern TEXT with TEXT` | in names and values below the path |
/// | `clear services sessions [FILTERS]` | changes nothing here: the caller does it |
///
/// # Errors
/// Unknown command or statement, missing or bad value, nothing there to delete, rename, copy or move.
pub fn apply_at(tree: &mut Tree, path: &EditPath, line: &str) -> Result<Applied, ConfigError> {
    let source = line_source(line)?;
    apply(tree, path, &source, 0..line.len())
}

pub(crate) fn apply(
    tree: &mut Tree,
    path: &EditPath,
    source: &Arc<Source>,
    range: Range<usize>,
) -> Result<Applied, ConfigError> {
    let (words, list) = parse::command(source, range)?;
    let Some((verb, rest)) = words.split_first() else {
        return Ok(Applied::Nothing);
    };
    if verb.text == "set" {
        return set(tree, path, source, verb, rest, list);
    }
    no_list(list.as_deref())?;
    match verb.text.as_ref() {
        "delete" | "deactivate" | "activate" => mark(tree, path, source, verb, rest),
        "annotate" => annotate(tree, path, source, verb, rest),
        "rename" | "copy" => rename(tree, path, source, verb, rest),
        "insert" => reorder(tree, path, source, verb, rest),
        "replace" => super::replace::pattern(tree, path, verb, rest),
        "clear" => clear(verb, rest),
        "protect" | "unprotect" => {
            let kind = ProblemKind::NotImplemented {
                name: verb.text.to_string(),
                why: "statements are not protected one by one; `configure exclusive` keeps others out",
            };
            Err(Problem::new(kind, verb.place()).into())
        }
        _ => {
            let kind = ProblemKind::UnknownCommand {
                name: verb.text.to_string(),
            };
            let help =
                "commands are `set`, `delete`, `deactivate`, `activate`, `annotate`, `rename`, `copy`, `insert`, \
                        `replace pattern` and `clear services sessions`";
            Err(Problem::new(kind, verb.place()).help(help).into())
        }
    }
}

fn set(
    tree: &mut Tree,
    path: &EditPath,
    source: &Arc<Source>,
    verb: &Word,
    rest: &[Word],
    list: Option<Vec<Word>>,
) -> Result<Applied, ConfigError> {
    let mut words = path.absolute(nonempty(verb, rest)?, source);
    let mut routes = Vec::new();
    // All routes first: a problem in one must leave the tree as it was.
    match list {
        None => routes.push(resolve(TOP, &words, &[], Purpose::Whole)?),
        Some(list) => {
            for word in list {
                words.push(word);
                routes.push(resolve(TOP, &words, &[], Purpose::Whole)?);
                words.pop();
            }
        }
    }
    for route in routes {
        insert(tree.root_mut(), route, Marks::default(), false)?;
    }
    Ok(Applied::Changed)
}

fn mark(
    tree: &mut Tree,
    path: &EditPath,
    source: &Arc<Source>,
    verb: &Word,
    rest: &[Word],
) -> Result<Applied, ConfigError> {
    let whole = rest.is_empty() && verb.text == "delete";
    if whole && path.is_top() {
        *tree = Tree::new();
        return Ok(Applied::Changed);
    }
    let rest = if whole { rest } else { nonempty(verb, rest)? };
    let route = resolve(TOP, &path.absolute(rest, source), &[], Purpose::Name)?;
    if named(tree.root(), route.steps()).is_empty() {
        return Err(not_there(&route, rest, verb).into());
    }
    match verb.text.as_ref() {
        "delete" => remove(tree.root_mut(), route.steps()),
        verb => switch(tree.root_mut(), route.steps(), verb == "deactivate"),
    };
    Ok(Applied::Changed)
}

/// `annotate STATEMENT "text" ...`, or `annotate STATEMENT trailing "text" ...` for comments before the closing brace.
fn annotate(
    tree: &mut Tree,
    path: &EditPath,
    source: &Arc<Source>,
    verb: &Word,
    rest: &[Word],
) -> Result<Applied, ConfigError> {
    let count = comments_of(tree, path, source, rest);
    let (mut words, texts) = rest.split_at(rest.len() - count);
    let trailing = words.last().is_some_and(|word| word.text == "trailing");
    if trailing {
        words = &words[..words.len() - 1];
    } else {
        nonempty(verb, words)?;
    }
    let mut comments = Vec::new();
    for word in texts.iter().filter(|word| !word.text.is_empty()) {
        comments.push(comment(word)?);
    }
    let apply = |node: &mut Node| match trailing {
        true => node.trailing = comments.clone().into(),
        false => node.comments = comments.clone().into(),
    };
    let full = path.absolute(words, source);
    if full.is_empty() {
        apply(tree.root_mut());
        return Ok(Applied::Changed);
    }
    let route = resolve(TOP, &full, &[], Purpose::Name)?;
    let missing = || not_there(&route, words, verb);
    let Some(last) = route.steps().last() else {
        return Err(missing().into());
    };
    let holder = holder_mut(tree.root_mut(), route.steps()).ok_or_else(missing)?;
    let at = match last.schema.kind {
        Kind::List => holder.find(last.schema, &last.values),
        _ => holder.children.iter().position(|node| last.names(node)),
    };
    match at {
        Some(at) => apply(holder.child_mut(at)),
        None => return Err(missing().into()),
    }
    Ok(Applied::Changed)
}

/// A comment with its marks; the text alone is put between some.
fn comment(word: &Word) -> Result<String, Problem> {
    let text = word.text.trim_end();
    let bad = || {
        let kind = ProblemKind::BadValue {
            value: word.text.to_string(),
            expected: "the text of a comment".into(),
        };
        Problem::new(kind, word.place())
    };
    match text {
        _ if text.starts_with("/*") || text.starts_with('#') => {
            is_comment(text).then(|| text.to_string()).ok_or_else(bad)
        }
        _ if text.contains("*/") => Err(bad()),
        _ => Ok(format!("/* {text} */")),
    }
}

/// How many words at the end of `annotate` are comments. A name may look like one: as many as leave the name of
/// something that is there.
fn comments_of(tree: &Tree, path: &EditPath, source: &Arc<Source>, rest: &[Word]) -> usize {
    let marked = rest.iter().rev().take_while(|word| is_comment(&word.text)).count();
    let there = |count: &usize| {
        let mut words = &rest[..rest.len() - count];
        if words.last().is_some_and(|word| word.text == "trailing") {
            words = &words[..words.len() - 1];
        }
        let full = path.absolute(words, source);
        let route = resolve(TOP, &full, &[], Purpose::Whole);
        full.is_empty() || route.is_ok_and(|route| !named(tree.root(), route.steps()).is_empty())
    };
    // Junos wants the bare text; it becomes a comment here.
    (1..=marked).rev().find(there).unwrap_or(1).min(rest.len())
}

/// Whether a text is a comment with its marks, and would be read back as one.
pub(crate) fn is_comment(text: &str) -> bool {
    match text.strip_prefix("/*") {
        Some(rest) => rest.len() >= 2 && rest.find("*/") == Some(rest.len() - 2),
        None => text.starts_with('#') && !text.contains('\n') && text.trim_end() == text,
    }
}

/// `words` around the word `between`: the first place where both halves name something decides.
fn around<'w, 's>(words: &'w [Word<'s>], between: &str) -> impl Iterator<Item = (&'w [Word<'s>], &'w [Word<'s>])> {
    let between = between.to_string();
    (1..words.len().saturating_sub(1)).filter_map(move |at| {
        let (left, right) = words.split_at(at);
        (right[0].text == between).then(|| (left, &right[1..]))
    })
}

fn usage(verb: &Word, usage: &'static str) -> ConfigError {
    let kind = ProblemKind::MissingValue {
        statement: verb.text.to_string(),
        expected: format!("`{usage}`"),
    };
    Problem::new(kind, verb.place()).into()
}

/// The entry of a list that `route` ends at.
fn entry(tree: &Tree, route: &Route, words: &[Word], verb: &Word) -> Result<usize, Problem> {
    let last = route.steps().last();
    let Some(last) = last.filter(|step| step.schema.kind == Kind::List && !step.values.is_empty()) else {
        let kind = ProblemKind::BadValue {
            value: route.text(),
            expected: "an entry of a list (a keyword and its name)".into(),
        };
        return Err(Problem::new(kind, words.last().map(|word| word.place())));
    };
    holder(tree.root(), route.steps())
        .and_then(|holder| holder.find(last.schema, &last.values))
        .ok_or_else(|| not_there(route, words, verb))
}

fn rename(
    tree: &mut Tree,
    path: &EditPath,
    source: &Arc<Source>,
    verb: &Word,
    rest: &[Word],
) -> Result<Applied, ConfigError> {
    let mut first = None;
    for (left, right) in around(rest, "to") {
        match rename_to(tree, path, source, verb, left, right) {
            Ok(applied) => return Ok(applied),
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    Err(first.map_or_else(|| usage(verb, "ENTRY to NAME"), ConfigError::from))
}

fn rename_to(
    tree: &mut Tree,
    path: &EditPath,
    source: &Arc<Source>,
    verb: &Word,
    left: &[Word],
    right: &[Word],
) -> Result<Applied, Problem> {
    let route = resolve(TOP, &path.absolute(left, source), &[], Purpose::Name)?;
    let at = entry(tree, &route, left, verb)?;
    let list = route.steps().last().map(|step| step.schema).unwrap_or(TOP.container);
    let (values, used) = key_of(list, right, verb)?;
    if let Some(word) = right.get(used) {
        let kind = ProblemKind::Syntax {
            expected: "the end of the command",
            found: format!("`{}`", word.text),
        };
        return Err(Problem::new(kind, word.place()));
    }
    let missing = || not_there(&route, left, verb);
    let holder = holder_mut(tree.root_mut(), route.steps()).ok_or_else(missing)?;
    if holder.find(list, &values).is_some() {
        let kind = ProblemKind::AlreadyThere {
            path: format!("{} {}", list.name, values.join(" ")),
        };
        return Err(Problem::new(kind, right.first().map(|word| word.place())));
    }
    let place = right.first().zip(right.last()).map(|(first, last)| first.to(last));
    if verb.text == "copy" {
        let mut copy = holder.children[at].clone();
        let node = Arc::make_mut(&mut copy);
        node.values = values;
        node.place = place;
        // Behind the last entry of the list, as `set` would put it.
        let end = holder.children.iter().rposition(|c| std::ptr::eq(c.schema, list));
        holder.insert_at(end.map_or(holder.children.len(), |end| end + 1), copy);
    } else {
        let node = holder.child_mut(at);
        node.values = values;
        node.place = place;
        holder.reindex();
    }
    Ok(Applied::Changed)
}

fn reorder(
    tree: &mut Tree,
    path: &EditPath,
    source: &Arc<Source>,
    verb: &Word,
    rest: &[Word],
) -> Result<Applied, ConfigError> {
    let mut first = None;
    for before in [true, false] {
        for (left, right) in around(rest, if before { "before" } else { "after" }) {
            match reorder_to(tree, path, source, verb, left, right, before) {
                Ok(applied) => return Ok(applied),
                Err(error) => {
                    first.get_or_insert(error);
                }
            }
        }
    }
    Err(first.map_or_else(|| usage(verb, "ENTRY before ENTRY"), ConfigError::from))
}

fn reorder_to(
    tree: &mut Tree,
    path: &EditPath,
    source: &Arc<Source>,
    verb: &Word,
    left: &[Word],
    right: &[Word],
    before: bool,
) -> Result<Applied, Problem> {
    let route = resolve(TOP, &path.absolute(left, source), &[], Purpose::Name)?;
    let from = entry(tree, &route, left, verb)?;
    let list = route.steps().last().map(|step| step.schema).unwrap_or(TOP.container);
    let (values, _) = key_of(list, right, verb)?;
    let missing = || not_there(&route, right, verb);
    let other = holder(tree.root(), route.steps()).and_then(|holder| holder.find(list, &values));
    let Some(other) = other else {
        let path = format!("{} {}", list.name, values.join(" "));
        let place = right.first().map(|word| word.place());
        return Err(Problem::new(ProblemKind::NotFound { path }, place));
    };
    if other == from {
        let kind = ProblemKind::BadValue {
            value: values.join(" "),
            expected: "another entry".into(),
        };
        return Err(Problem::new(kind, right.first().map(|word| word.place())));
    }
    let holder = holder_mut(tree.root_mut(), route.steps()).ok_or_else(missing)?;
    let node = holder.remove_at(from);
    let other = other - usize::from(other > from);
    holder.insert_at(if before { other } else { other + 1 }, node);
    Ok(Applied::Changed)
}

fn not_there(route: &Route, words: &[Word], verb: &Word) -> Problem {
    let place = match (words.first(), words.last()) {
        (Some(first), Some(last)) => first.to(last),
        _ => verb.place(),
    };
    Problem::new(ProblemKind::NotFound { path: route.text() }, place)
}

pub(crate) fn nonempty<'a, 's>(verb: &Word<'_>, path: &'a [Word<'s>]) -> Result<&'a [Word<'s>], Problem> {
    if path.is_empty() {
        let kind = ProblemKind::MissingValue {
            statement: verb.text.to_string(),
            expected: "a statement".into(),
        };
        return Err(Problem::new(kind, verb.place()));
    }
    Ok(path)
}
