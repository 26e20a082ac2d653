//! The tree: every statement of a configuration, in order, with its place and comments.
//!
//! Both forms of the language are read into it and written from it. A node is only ever made for a statement that the
//! schema knows, with values that have been checked, so whoever reads the tree need not check them again.

use std::collections::HashMap;
use std::fmt::{self, Write};

use super::place::Place;
use super::schema::{Kind, Layout, Statement, ROOT};

/// Children of one node from which on they are found through an index.
const INDEX_FROM: usize = 32;

/// A configuration.
#[derive(Clone)]
pub struct Tree {
    root: Node,
}

/// One statement.
#[derive(Clone)]
pub struct Node {
    pub(crate) schema: &'static Statement,
    pub(crate) values: Vec<String>,
    pub(crate) children: Vec<Node>,
    /// Position of each child by statement and key; made when there are many.
    index: HashMap<(usize, Vec<String>), usize>,
    pub(crate) inactive: bool,
    /// Comments before the statement, with their marks.
    pub(crate) comments: Vec<String>,
    /// Comments before the closing brace.
    pub(crate) trailing: Vec<String>,
    pub(crate) place: Option<Place>,
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
    /// Same statements in the same order, whatever their places and comments.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.schema, other.schema)
            && self.values == other.values
            && self.inactive == other.inactive
            && self.children == other.children
    }
}

impl PartialEq for Tree {
    /// Same statements in the same order, whatever their places and comments.
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
    pub(crate) fn new(schema: &'static Statement, values: Vec<String>, place: Option<Place>) -> Self {
        Self {
            schema,
            values,
            children: Vec::new(),
            index: HashMap::new(),
            inactive: false,
            comments: Vec::new(),
            trailing: Vec::new(),
            place,
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
    pub fn children(&self) -> &[Node] {
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
            .find(|node| !node.inactive && node.schema.name == name)
    }

    /// All active statements of this name below, in order.
    pub fn all(&self, name: &'static str) -> impl Iterator<Item = &Node> {
        self.children
            .iter()
            .filter(move |node| !node.inactive && node.schema.name == name)
    }

    /// Follows a path of names through active statements.
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, name| node.child(name))
    }

    fn key(schema: &'static Statement, values: &[String]) -> (usize, Vec<String>) {
        let values = if schema.kind == Kind::List {
            values.to_vec()
        } else {
            Vec::new()
        };
        (std::ptr::from_ref(schema) as usize, values)
    }

    /// Position of the child with this statement and, for lists, this key.
    pub(crate) fn find(&self, schema: &'static Statement, values: &[String]) -> Option<usize> {
        if self.children.len() >= INDEX_FROM {
            return self.index.get(&Self::key(schema, values)).copied();
        }
        self.children
            .iter()
            .position(|c| std::ptr::eq(c.schema, schema) && (schema.kind != Kind::List || c.values == values))
    }

    pub(crate) fn push(&mut self, child: Node) -> usize {
        self.children.push(child);
        let at = self.children.len() - 1;
        if self.children.len() == INDEX_FROM {
            self.reindex();
        } else if self.children.len() > INDEX_FROM {
            let child = &self.children[at];
            self.index.insert(Self::key(child.schema, &child.values), at);
        }
        at
    }

    /// Keeps the children `keep` says.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&Node) -> bool) {
        self.children.retain(keep);
        self.reindex();
    }

    fn reindex(&mut self) {
        self.index.clear();
        if self.children.len() >= INDEX_FROM {
            let keys = self
                .children
                .iter()
                .enumerate()
                .map(|(i, c)| (Self::key(c.schema, &c.values), i));
            self.index.extend(keys);
        }
    }

    /// Keyword and values as they are written on one line.
    pub(crate) fn words(&self) -> String {
        let mut out = self.schema.name.to_string();
        self.write_values(&mut out);
        out
    }

    fn write_values(&self, out: &mut String) {
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
        let plain = |node: &Node| !node.inactive && node.comments.is_empty() && node.children.is_empty();
        self.trailing.is_empty() && self.children.iter().all(plain)
    }

    fn write_curly(&self, out: &mut String, depth: usize) {
        let mut i = 0;
        while let Some(child) = self.children.get(i) {
            if child.schema.layout != Layout::Grouped {
                child.write_statement(out, depth, &child.words());
                i += 1;
                continue;
            }
            let same = |c: &&Node| std::ptr::eq(c.schema, child.schema);
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
        for comment in &self.trailing {
            indent(out, depth);
            let _ = writeln!(out, "{comment}");
        }
    }

    fn write_statement(&self, out: &mut String, depth: usize, words: &str) {
        for comment in &self.comments {
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

    fn write_set(&self, prefix: &mut String, out: &mut String, deactivate: &mut String) {
        for child in &self.children {
            let length = prefix.len();
            let words = child.words();
            prefix.push(' ');
            prefix.push_str(words.trim_start());
            if child.inactive {
                let _ = writeln!(deactivate, "deactivate{prefix}");
            }
            if child.children.is_empty() {
                let _ = writeln!(out, "set{prefix}");
            } else {
                child.write_set(prefix, out, deactivate);
            }
            prefix.truncate(length);
        }
    }
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("    ");
    }
}

/// A value as it is written: in quotes when it would not be read back as one word.
pub(crate) fn quoted(value: &str) -> String {
    let special = |c: char| c.is_whitespace() || c.is_control() || "{}[];\"\\".contains(c);
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
            root: Node::new(&ROOT, Vec::new(), None),
        }
    }

    /// The statement above all others; it has no name.
    pub fn root(&self) -> &Node {
        &self.root
    }

    pub(crate) fn root_mut(&mut self) -> &mut Node {
        &mut self.root
    }

    /// The curly form, four spaces per level, comments kept.
    pub fn to_curly(&self) -> String {
        let mut out = String::new();
        self.root.write_curly(&mut out, 0);
        out
    }

    /// The `set` form: one `set` command per statement, then one `deactivate` per inactive one. Has no comments.
    pub fn to_set(&self) -> String {
        let mut out = String::new();
        let mut deactivate = String::new();
        self.root.write_set(&mut String::new(), &mut out, &mut deactivate);
        out + &deactivate
    }
}
