//! What can come next, for `?` and the tab key.
//!
//! Words are followed through the schema from where `edit` stands, as far as they are right; what may follow is told
//! with one line of help each: keywords, hints about values with their ranges, names of the candidate (a pool for
//! `source-pool`), and names that only the running system knows ([`LiveNames`]).

use super::edit::EditPath;
use super::schema::{Field, Kind, Live, Names, Statement, Support, Value, ROOT};
use super::tree::{quoted, Node, Tree};

/// What the words that are completed are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `set`: everything the language has.
    Set,
    /// `delete`, `show`, `activate`, `deactivate`, `annotate`, `rename`, `copy`, `insert`: only what is there.
    Existing,
    /// `edit`: statements others stand below, whether there or not.
    Edit,
}

/// One thing that may come next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The word to insert, quoted if it must be; for hints what to show: `<1..65535>`.
    pub text: String,
    /// What it is.
    pub kind: CompletionKind,
    /// One line of help.
    pub help: String,
}

/// What a [`Completion`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompletionKind {
    /// Others stand below it (Junos shows `>`).
    Container,
    /// May stand several times (Junos shows `+`).
    List,
    /// A word with a value, or a word alone.
    Leaf,
    /// A value, or a name that exists.
    Value,
    /// Not a word: says what a value looks like.
    Hint,
    /// Not a word: the line may end here.
    Enter,
}

/// Names that only the running system knows.
pub trait LiveNames {
    /// The names of a kind, each with a line of help (may be empty).
    fn names(&self, kind: Live) -> Vec<(String, String)>;
}

/// No running system.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLiveNames;

impl LiveNames for NoLiveNames {
    fn names(&self, _: Live) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Most names that are told of one kind: a prefix list may have 100,000.
const MAX_NAMES: usize = 500;

/// What may follow `words` (whole words behind the command, without quotes), begun with `partial` (empty: nothing yet).
///
/// Empty when a word before is wrong. The order is that of the schema, then names.
pub fn complete(
    tree: &Tree,
    path: &EditPath,
    purpose: Purpose,
    words: &[&str],
    partial: &str,
    live: &dyn LiveNames,
) -> Vec<Completion> {
    let mut at = Walk {
        tree,
        purpose,
        live,
        container: &ROOT,
        node: Some(tree.root()),
        pending: None,
        // Standing somewhere is no statement yet.
        complete: false,
        only: None,
    };
    for word in path.words() {
        if !at.word(word) {
            return Vec::new();
        }
    }
    at.complete = purpose != Purpose::Set;
    for word in words {
        if !at.word(word) {
            return Vec::new();
        }
    }
    at.next(partial)
}

/// A leaf or list whose values are being given.
struct Pending<'t> {
    schema: &'static Statement,
    /// Values so far.
    values: Vec<String>,
    /// The word of the next field has been given.
    named: bool,
    node: Option<&'t Node>,
}

struct Walk<'t> {
    tree: &'t Tree,
    purpose: Purpose,
    live: &'t dyn LiveNames,
    container: &'static Statement,
    /// The statement in the candidate, if it is there.
    node: Option<&'t Node>,
    pending: Option<Pending<'t>>,
    /// The words so far are a whole command.
    complete: bool,
    /// Behind a leaf of one line: nothing but more of the same container.
    only: Option<()>,
}

impl<'t> Walk<'t> {
    fn word(&mut self, word: &str) -> bool {
        if let Some(pending) = &mut self.pending {
            let Some(field) = pending.schema.fields.get(pending.values.len()) else {
                return false;
            };
            if !field.word.is_empty() && !pending.named {
                pending.named = word == field.word;
                return pending.named;
            }
            let Some(value) = field.value.normalise(word) else {
                return false;
            };
            pending.values.push(value);
            pending.named = false;
            if pending.values.len() == pending.schema.fields.len() {
                self.settle();
            }
            return true;
        }
        if let Some(child) = self.container.child(word) {
            if matches!(child.support, Support::Refused(_)) {
                return false;
            }
            match child.kind {
                Kind::Leaf | Kind::List => {
                    self.pending = Some(Pending {
                        schema: child,
                        values: Vec::new(),
                        named: false,
                        node: self.node,
                    });
                    self.complete = self.purpose == Purpose::Existing;
                }
                Kind::Flag => {
                    self.complete = true;
                    self.only = Some(());
                }
                Kind::Container | Kind::Presence => {
                    self.node = self
                        .node
                        .and_then(|node| node.find(child, &[]).map(|at| &*node.children[at]));
                    self.container = child;
                    self.complete = child.kind == Kind::Presence || self.purpose != Purpose::Set;
                    self.only = None;
                }
            }
            return true;
        }
        let Some(list) = self.container.unnamed() else {
            return false;
        };
        self.pending = Some(Pending {
            schema: list,
            values: Vec::new(),
            named: false,
            node: self.node,
        });
        self.word(word)
    }

    /// All values of a leaf or list are given.
    fn settle(&mut self) {
        let Some(pending) = self.pending.take() else { return };
        self.complete = true;
        if pending.schema.kind == Kind::List {
            self.node = pending
                .node
                .and_then(|node| node.find(pending.schema, &pending.values).map(|at| &*node.children[at]));
            self.container = pending.schema;
            self.only = None;
        } else {
            self.only = Some(());
        }
    }

    fn next(&self, partial: &str) -> Vec<Completion> {
        let mut out = Vec::new();
        if self.complete && partial.is_empty() {
            out.push(Completion {
                text: "<[Enter]>".into(),
                kind: CompletionKind::Enter,
                help: "Execute this command".into(),
            });
        }
        if let Some(pending) = &self.pending {
            self.values(pending, partial, &mut out);
            return out;
        }
        for child in self.container.children {
            if child.name.is_empty() || !child.name.starts_with(partial) || !self.offers(child) {
                continue;
            }
            out.push(Completion {
                text: child.name.to_string(),
                kind: match child.kind {
                    Kind::List => CompletionKind::List,
                    Kind::Container | Kind::Presence if child.has_children() => CompletionKind::Container,
                    _ => CompletionKind::Leaf,
                },
                help: child.help.to_string(),
            });
        }
        if let (Some(list), None) = (self.container.unnamed(), self.only) {
            let pending = Pending {
                schema: list,
                values: Vec::new(),
                named: false,
                node: self.node,
            };
            self.values(&pending, partial, &mut out);
        }
        out
    }

    fn offers(&self, child: &'static Statement) -> bool {
        if matches!(child.support, Support::Refused(_)) {
            return false;
        }
        match self.purpose {
            Purpose::Set => true,
            Purpose::Edit => {
                let level = matches!(child.kind, Kind::Container | Kind::Presence | Kind::List);
                self.only.is_none() && level && child.has_children()
            }
            Purpose::Existing => {
                let is = |node: &'t Node| node.children.iter().any(|c| std::ptr::eq(c.schema, child));
                self.only.is_none() && self.node.is_some_and(is)
            }
        }
    }

    fn values(&self, pending: &Pending<'t>, partial: &str, out: &mut Vec<Completion>) {
        let Some(field) = pending.schema.fields.get(pending.values.len()) else {
            return;
        };
        if !field.word.is_empty() && !pending.named {
            if field.word.starts_with(partial) {
                out.push(Completion {
                    text: field.word.to_string(),
                    kind: CompletionKind::Leaf,
                    help: field.value.expected(),
                });
            }
            return;
        }
        if self.purpose != Purpose::Existing {
            self.hints(pending.schema, field, partial, out);
        }
        let mut names: Vec<(String, String)> = Vec::new();
        // What is there: entries of the list, or the value of the leaf.
        if let Some(node) = pending.node {
            let at = pending.values.len();
            let same = |child: &&'t Node| {
                std::ptr::eq(child.schema, pending.schema) && child.values.starts_with(&pending.values)
            };
            let there = node.children.iter().map(AsRef::as_ref).filter(same);
            let value = |child: &'t Node| child.values.get(at).filter(|v| v.starts_with(partial)).cloned();
            if pending.schema.kind == Kind::List || self.purpose == Purpose::Existing {
                names.extend(there.filter_map(value).take(MAX_NAMES).map(|v| (v, String::new())));
            }
        }
        if self.purpose != Purpose::Existing {
            match field.names {
                Names::Nothing => {}
                Names::Entries(path) => names.extend(self.entries(path, partial)),
                Names::Live(kind) => names.extend(self.live.names(kind)),
            }
        }
        let mut seen = std::collections::HashSet::new();
        for (name, help) in names {
            if name.starts_with(partial) && seen.insert(name.clone()) {
                out.push(Completion {
                    text: quoted(&name),
                    kind: CompletionKind::Value,
                    help,
                });
            }
        }
    }

    /// Names of the entries of the list at `path`.
    fn entries(&self, path: &[&str], partial: &str) -> Vec<(String, String)> {
        let Some((list, above)) = path.split_last() else {
            return Vec::new();
        };
        let Some(node) = self.tree.root().at(above) else {
            return Vec::new();
        };
        let entries = node.children.iter().filter(|child| child.schema.name == *list);
        let named = entries.filter(|child| child.value().starts_with(partial));
        let help = format!("{} of the candidate", list);
        named
            .take(MAX_NAMES)
            .map(|child| (child.value().to_string(), help.clone()))
            .collect()
    }

    fn hints(&self, schema: &Statement, field: &Field, partial: &str, out: &mut Vec<Completion>) {
        if let Value::Word(words) = field.value {
            for word in words.iter().filter(|word| word.starts_with(partial)) {
                out.push(Completion {
                    text: (*word).to_string(),
                    kind: CompletionKind::Value,
                    help: schema.help.to_string(),
                });
            }
            return;
        }
        out.push(Completion {
            text: hint(field.value),
            kind: CompletionKind::Hint,
            help: format!("{} ({})", schema.help, field.value.expected()),
        });
    }
}

/// What a value looks like.
fn hint(value: Value) -> String {
    match value {
        Value::Name => "<name>".into(),
        Value::Text => "<text>".into(),
        Value::Number(low, high) | Value::Count(low, high) => format!("<{low}..{high}>"),
        Value::Word(words) => format!("<{}>", words.join("|")),
        Value::Prefix4 | Value::Prefix6 | Value::Prefix | Value::Prefix6OrAny => "<prefix>".into(),
        Value::Ports => "<port>".into(),
        Value::Pci => "<pci-address>".into(),
        Value::Path => "<path>".into(),
        Value::Address | Value::Address4 | Value::Address6 => "<address>".into(),
        Value::Host4 | Value::Host6 => "<address/length>".into(),
        Value::Mac => "<mac-address>".into(),
        Value::Interface => "<interface>".into(),
    }
}
