//! The tree: every statement of a configuration, in order, with its place and comments.
//!
//! Both forms of the language are read into it and written from it. A node is only ever made for a statement that the
//! schema knows, with values that have been checked, so whoever reads the tree need not check them again.
//!
//! Nodes are shared: a copy of a tree costs nothing, and a change copies the nodes on the way to it and no others. Two
//! trees that come from one another differ only where their nodes are not the same, which is what makes comparing and
//! checking a small change to a large configuration quick.

use std::fmt::{self, Write};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, LazyLock};

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::place::Place;
use super::schema::{Kind, Layout, Statement, ROOT};

/// Children of one node from which on they are found through an index.
const INDEX_FROM: usize = 32;

/// Hashes keys of children. Keyed afresh in every process, so that no text can be made to collide.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Values of a leaf or key of a list entry: nearly always one.
pub(crate) type Values = SmallVec<[String; 1]>;

/// A configuration.
#[derive(Clone)]
pub struct Tree {
    root: Arc<Node>,
}

/// One statement.
#[derive(Clone)]
pub struct Node {
    pub(crate) schema: &'static Statement,
    pub(crate) values: Values,
    pub(crate) children: Vec<Arc<Node>>,
    /// Position of each child by statement and key; made when there are many.
    index: Option<Box<HashTable<u32>>>,
    pub(crate) inactive: bool,
    /// Comments before the statement, with their marks.
    pub(crate) comments: Comments,
    /// Comments before the closing brace.
    pub(crate) trailing: Comments,
    pub(crate) place: Option<Place>,
    /// `replace:` or `delete:` in a text that is being loaded; never in a configuration.
    pub(crate) tag: Tag,
}

/// Comments with their marks. Few statements have any, so that none takes little room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::box_collection)]
pub(crate) struct Comments(Option<Box<Vec<String>>>);

impl std::ops::Deref for Comments {
    type Target = [String];

    fn deref(&self) -> &[String] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl From<Vec<String>> for Comments {
    fn from(comments: Vec<String>) -> Self {
        Self((!comments.is_empty()).then(|| Box::new(comments)))
    }
}

impl Extend<String> for Comments {
    fn extend<I: IntoIterator<Item = String>>(&mut self, comments: I) {
        for comment in comments {
            self.0.get_or_insert_default().push(comment);
        }
    }
}

/// What a text that is loaded wants done with what is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tag {
    /// Merge.
    #[default]
    None,
    /// Take the place of it.
    Replace,
    /// Remove it.
    Delete,
}

impl fmt::Debug for Node {
    /// The statement in curly form: the schema behind it is the same for all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write_statement(&mut out, 0, &self.words());
        f.write_str(&out)
    }
}

impl fmt::Debug for Tree {
    /// The curly form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_curly())
    }
}

impl PartialEq for Node {
    /// Same statements, entries of each list in the same order, whatever their places and comments. In which order
    /// different statements stand means nothing.
    fn eq(&self, other: &Self) -> bool {
        if std::ptr::eq(self, other) {
            return true;
        }
        if !std::ptr::eq(self.schema, other.schema)
            || self.values != other.values
            || self.inactive != other.inactive
            || self.children.len() != other.children.len()
        {
            return false;
        }
        let kind = |node: &Arc<Node>| std::ptr::from_ref(node.schema) as usize;
        let pairs = self.children.iter().zip(&other.children);
        if pairs.clone().all(|(a, b)| kind(a) == kind(b)) {
            return pairs.into_iter().all(|(a, b)| a == b);
        }
        let sorted = |node: &'_ Self| {
            let mut children: Vec<Arc<Node>> = node.children.clone();
            children.sort_by_key(kind);
            children
        };
        sorted(self) == sorted(other)
    }
}

impl PartialEq for Tree {
    /// Same statements, entries of each list in the same order, whatever their places and comments.
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Node {
    pub(crate) fn new(schema: &'static Statement, values: Values, place: Option<Place>) -> Self {
        Self {
            schema,
            values,
            children: Vec::new(),
            index: None,
            inactive: false,
            comments: Comments::default(),
            trailing: Comments::default(),
            place,
            tag: Tag::None,
        }
    }

    /// Keyword; empty for entries that begin with their key.
    pub fn name(&self) -> &'static str {
        self.schema.name
    }

    /// The schema's entry.
    pub fn schema(&self) -> &'static Statement {
        self.schema
    }

    /// Values of a leaf or key of a list entry, in their canonical spelling.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// First value, or an empty text.
    pub fn value(&self) -> &str {
        self.values.first().map_or("", String::as_str)
    }

    /// Statements below, in order, the inactive ones too.
    pub fn children(&self) -> &[Arc<Node>] {
        &self.children
    }

    /// Whether it is there but switched off.
    pub fn is_inactive(&self) -> bool {
        self.inactive
    }

    /// Where it was written.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The first active statement of this name below.
    pub fn child(&self, name: &str) -> Option<&Node> {
        self.children
            .iter()
            .map(AsRef::as_ref)
            .find(|node| !node.inactive && node.schema.name == name)
    }

    /// All active statements of this name below, in order.
    pub fn all(&self, name: &'static str) -> impl Iterator<Item = &Node> {
        self.children
            .iter()
            .map(AsRef::as_ref)
            .filter(move |node| !node.inactive && node.schema.name == name)
    }

    /// The active entry with this key of the list `name` below; quick however long the list is.
    pub fn entry(&self, name: &str, key: &str) -> Option<&Node> {
        let schema = self.schema.children.iter().find(|child| child.name == name)?;
        let at = self.find(schema, std::slice::from_ref(&key.to_string()))?;
        Some(&*self.children[at]).filter(|node| !node.inactive)
    }

    /// Follows a path of names through active statements.
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, name| node.child(name))
    }

    fn key(schema: &'static Statement, values: &[String]) -> u64 {
        let mut hasher = HASHER.build_hasher();
        (std::ptr::from_ref(schema) as usize).hash(&mut hasher);
        if schema.kind == Kind::List {
            values.hash(&mut hasher);
        }
        hasher.finish()
    }

    pub(crate) fn is(&self, schema: &'static Statement, values: &[String]) -> bool {
        std::ptr::eq(self.schema, schema) && (schema.kind != Kind::List || self.values.as_slice() == values)
    }

    /// Position of the child with this statement and, for lists, this key.
    pub(crate) fn find(&self, schema: &'static Statement, values: &[String]) -> Option<usize> {
        match &self.index {
            Some(index) => {
                let hash = Self::key(schema, values);
                let same = |at: &u32| self.children[*at as usize].is(schema, values);
                index.find(hash, same).map(|at| *at as usize)
            }
            None => self.children.iter().position(|c| c.is(schema, values)),
        }
    }

    pub(crate) fn push(&mut self, child: Node) -> usize {
        let at = self.children.len();
        self.insert_at(at, Arc::new(child));
        at
    }

    /// Puts a child at a position; those from there on move by one.
    pub(crate) fn insert_at(&mut self, at: usize, child: Arc<Node>) {
        let many = self.children.len() + 1 >= INDEX_FROM;
        let Some(index) = &mut self.index else {
            self.children.insert(at, child);
            if many {
                self.reindex();
            }
            return;
        };
        let hash = Self::key(child.schema, &child.values);
        if at < self.children.len() {
            index
                .iter_mut()
                .filter(|to| **to as usize >= at)
                .for_each(|to| *to += 1);
        }
        self.children.insert(at, child);
        let children = &self.children;
        let rehash = |to: &u32| {
            let child = &children[*to as usize];
            Self::key(child.schema, &child.values)
        };
        index.insert_unique(hash, at as u32, rehash);
    }

    /// Takes a child out; those behind it move by one.
    pub(crate) fn remove_at(&mut self, at: usize) -> Arc<Node> {
        let child = self.children.remove(at);
        if self.children.len() < INDEX_FROM {
            self.index = None;
        }
        if let Some(index) = &mut self.index {
            let hash = Self::key(child.schema, &child.values);
            if let Ok(entry) = index.find_entry(hash, |to| *to as usize == at) {
                entry.remove();
            }
            index.iter_mut().filter(|to| **to as usize > at).for_each(|to| *to -= 1);
        }
        child
    }

    /// A child to change: a copy of its own when it is shared.
    pub(crate) fn child_mut(&mut self, at: usize) -> &mut Node {
        Arc::make_mut(&mut self.children[at])
    }

    /// Keeps the children `keep` says.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Node) -> bool) {
        self.children.retain(|child| keep(child));
        self.reindex();
    }

    /// Makes the index anew, after children were moved or got other keys.
    pub(crate) fn reindex(&mut self) {
        self.index = None;
        if self.children.len() < INDEX_FROM {
            return;
        }
        let children = &self.children;
        let hash = |to: &u32| {
            let child = &children[*to as usize];
            Self::key(child.schema, &child.values)
        };
        let mut index = Box::new(HashTable::with_capacity(children.len()));
        for at in 0..children.len() as u32 {
            index.insert_unique(hash(&at), at, hash);
        }
        self.index = Some(index);
    }

    /// Keyword and values as they are written on one line.
    pub(crate) fn words(&self) -> String {
        let mut out = self.schema.name.to_string();
        self.write_values(&mut out);
        out
    }

    pub(crate) fn write_values(&self, out: &mut String) {
        for (field, value) in self.schema.fields.iter().zip(&self.values) {
            for word in [field.word, &quoted(value)] {
                if !word.is_empty() {
                    if !out.is_empty() {
                        out.push(' ');
                    }
                    out.push_str(word);
                }
            }
        }
    }

    fn fits_on_a_line(&self) -> bool {
        let plain = |node: &Arc<Node>| !node.inactive && node.comments.is_empty() && node.children.is_empty();
        self.trailing.is_empty() && self.children.iter().all(plain)
    }

    pub(crate) fn write_curly(&self, out: &mut String, depth: usize) {
        let mut i = 0;
        while let Some(child) = self.children.get(i) {
            if child.schema.layout != Layout::Grouped {
                child.write_statement(out, depth, &child.words());
                i += 1;
                continue;
            }
            let same = |c: &&Arc<Node>| std::ptr::eq(c.schema, child.schema);
            let group = self.children[i..].iter().take_while(same).count();
            indent(out, depth);
            let _ = writeln!(out, "{} {{", child.schema.name);
            for entry in &self.children[i..i + group] {
                let mut words = String::new();
                entry.write_values(&mut words);
                entry.write_statement(out, depth + 1, &words);
            }
            indent(out, depth);
            out.push_str("}\n");
            i += group;
        }
        for comment in self.trailing.iter() {
            indent(out, depth);
            let _ = writeln!(out, "{comment}");
        }
    }

    pub(crate) fn write_statement(&self, out: &mut String, depth: usize, words: &str) {
        for comment in self.comments.iter() {
            indent(out, depth);
            let _ = writeln!(out, "{comment}");
        }
        indent(out, depth);
        if self.inactive {
            out.push_str("inactive: ");
        }
        out.push_str(words);
        let inline = self.schema.layout != Layout::Block && self.fits_on_a_line();
        if inline {
            for child in &self.children {
                let _ = write!(out, " {}", child.words());
            }
        }
        if inline || (self.children.is_empty() && self.trailing.is_empty()) {
            out.push_str(";\n");
        } else {
            out.push_str(" {\n");
            self.write_curly(out, depth + 1);
            indent(out, depth);
            out.push_str("}\n");
        }
    }

    /// Commands that make what is below this statement; `prefix` is the path to it with a space before.
    pub(crate) fn write_set(&self, prefix: &mut String, out: &mut SetLines) {
        out.notes("trailing ", prefix, &self.trailing);
        for child in &self.children {
            child.write_set_whole(prefix, out);
        }
    }

    /// Commands that make this statement and what is below it.
    pub(crate) fn write_set_whole(&self, prefix: &mut String, out: &mut SetLines) {
        let length = prefix.len();
        let words = self.words();
        prefix.push(' ');
        prefix.push_str(words.trim_start());
        if self.inactive {
            let _ = writeln!(out.after, "deactivate{prefix}");
        }
        out.notes("", prefix, &self.comments);
        if self.children.is_empty() {
            let _ = writeln!(out.set, "set{prefix}");
            out.notes("trailing ", prefix, &self.trailing);
        } else {
            self.write_set(prefix, out);
        }
        prefix.truncate(length);
    }
}

/// The lines of the `set` form: what makes the statements, then what marks them.
#[derive(Debug, Default)]
pub(crate) struct SetLines {
    set: String,
    after: String,
}

impl SetLines {
    fn notes(&mut self, which: &str, prefix: &str, comments: &[String]) {
        if comments.is_empty() {
            return;
        }
        let _ = write!(self.after, "annotate{prefix} {which}");
        let texts: Vec<String> = comments.iter().map(|text| quoted(text)).collect();
        let _ = writeln!(self.after, "{}", texts.join(" "));
    }

    pub(crate) fn into_text(self) -> String {
        self.set + &self.after
    }
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("    ");
    }
}

/// A value as it is written: in quotes when it would not be read back as one word.
pub(crate) fn quoted(value: &str) -> String {
    let special =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '{' | '}' | '[' | ']' | ';' | '"' | '\\');
    let tag = matches!(value, "inactive:" | "protect:" | "replace:" | "delete:");
    if !value.is_empty() && !tag && !value.contains(special) && !value.starts_with('#') && !value.starts_with("/*") {
        return value.to_string();
    }
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

impl Tree {
    /// A configuration without a statement.
    pub fn new() -> Self {
        Self {
            root: Arc::new(Node::new(&ROOT, Values::new(), None)),
        }
    }

    /// The statement above all others; it has no name.
    pub fn root(&self) -> &Node {
        &self.root
    }

    pub(crate) fn root_mut(&mut self) -> &mut Node {
        Arc::make_mut(&mut self.root)
    }

    /// The curly form, four spaces per level, comments kept.
    pub fn to_curly(&self) -> String {
        let mut out = String::new();
        self.root.write_curly(&mut out, 0);
        out
    }

    /// The `set` form: one `set` command per statement, then one `deactivate` per inactive one and one `annotate` per
    /// statement with comments.
    pub fn to_set(&self) -> String {
        let mut out = SetLines::default();
        self.root.write_set(&mut String::new(), &mut out);
        out.into_text()
    }
}
