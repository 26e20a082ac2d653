//! What differs between two trees, as `show | compare` shows it.
//!
//! ```text
//! [edit services nat]
//! +   pool new {
//! +       address 198.51.100.0/24;
//! +   }
//! [edit services nat pool src-pool-nat64]
//! -   address 203.0.113.0/24;
//! !   inactive: port { ... }
//! [edit services nat rule r]
//!     term t1 { ... }
//! !   term t3 { ... }
//! ```
//!
//! Trees are compared, not texts: `+` and `-` are statements that came and went, `!` those that were switched off or on
//! or moved. A statement that came or moved, and is not last of its list, stands behind the one it follows (or before
//! the one it precedes), shown without a mark. Branches that both trees share are not looked at.

use std::fmt;

use super::schema::{Kind, Layout, Statement};
use super::tree::{Node, Tree};

/// The changes below one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hunk {
    /// The statement, as words of the `edit` command; empty: the top.
    pub path: String,
    /// The changes, in order.
    pub lines: Vec<HunkLine>,
}

/// One line of a hunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HunkLine {
    /// What became of it.
    pub mark: Mark,
    /// Levels below the hunk's statement.
    pub depth: usize,
    /// The line as in curly form; statements that are not shown in whole end in `{ ... }`.
    pub text: String,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nothing: it says where the next line stands.
    Context,
    /// It came.
    Added,
    /// It went.
    Removed,
    /// It was switched off or on, or moved.
    Changed,
}

impl Mark {
    /// The character at the beginning of the line.
    pub const fn as_char(self) -> char {
        match self {
            Self::Context => ' ',
            Self::Added => '+',
            Self::Removed => '-',
            Self::Changed => '!',
        }
    }
}

impl fmt::Display for Hunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => writeln!(f, "[edit]")?,
            path => writeln!(f, "[edit {path}]")?,
        }
        for line in &self.lines {
            writeln!(
                f,
                "{}   {:indent$}{}",
                line.mark.as_char(),
                "",
                line.text,
                indent = 4 * line.depth
            )?;
        }
        Ok(())
    }
}

/// What must change in `old` to make it `new`; empty: nothing.
pub fn compare(old: &Tree, new: &Tree) -> Vec<Hunk> {
    let mut out = Vec::new();
    if !std::ptr::eq(old.root(), new.root()) {
        Comparing { out: &mut out }.level(old.root(), new.root(), "");
    }
    out
}

/// The hunks as one text, as `show | compare` prints them.
pub fn compare_text(old: &Tree, new: &Tree) -> String {
    compare(old, new).iter().map(Hunk::to_string).collect()
}

/// One line for a statement: whole when it has nothing below it, else with `{ ... }`.
fn brief(node: &Node) -> String {
    let mut words = words(node);
    words.push_str(if node.children.is_empty() { ";" } else { " { ... }" });
    words
}

fn words(node: &Node) -> String {
    if node.schema.layout == Layout::Grouped {
        let mut words = String::new();
        node.write_values(&mut words);
        words
    } else {
        node.words()
    }
}

/// Written on one line, so shown as gone and come again when anything in it differs.
fn atomic(node: &Node) -> bool {
    node.schema.layout != Layout::Block
}

/// Whether anything that is shown differs.
pub(super) fn same(a: &Node, b: &Node) -> bool {
    std::ptr::eq(a, b)
        || (a.values == b.values
            && a.inactive == b.inactive
            && a.comments == b.comments
            && a.trailing == b.trailing
            && a.children.len() == b.children.len()
            && a.children
                .iter()
                .zip(&b.children)
                .all(|(x, y)| std::ptr::eq(x.schema, y.schema) && same(x, y)))
}

struct Comparing<'o> {
    out: &'o mut Vec<Hunk>,
}

impl Comparing<'_> {
    fn level(&mut self, old: &Node, new: &Node, path: &str) {
        let mut lines = Vec::new();
        comments(&old.trailing, &new.trailing, &mut lines);
        let trailing = std::mem::take(&mut lines);
        let mut below = Vec::new();
        let mut grouped = Vec::new();
        for schema in kinds(old, new) {
            if schema.layout == Layout::Grouped {
                let mut own = Vec::new();
                list(schema, old, new, &mut own, &mut below);
                if !own.is_empty() {
                    grouped.push((schema.name, own));
                }
            } else if schema.kind == Kind::List {
                list(schema, old, new, &mut lines, &mut below);
            } else {
                let find = |node: &'_ Node| node.find(schema, &[]);
                let old = find(old).map(|at| &*old.children[at]);
                let new = find(new).map(|at| &*new.children[at]);
                single(old, new, &mut lines, &mut below);
            }
        }
        lines.extend(trailing);
        if !lines.is_empty() {
            self.out.push(Hunk {
                path: path.trim_start().to_string(),
                lines,
            });
        }
        for (name, lines) in grouped {
            let path = format!("{path} {name}").trim_start().to_string();
            self.out.push(Hunk { path, lines });
        }
        for (a, b) in below {
            self.level(a, b, &format!("{path} {}", b.words()));
        }
    }
}

/// The statements below either, each once, in the order of `new` and then of `old`.
fn kinds(old: &Node, new: &Node) -> Vec<&'static Statement> {
    let mut out: Vec<&'static Statement> = Vec::new();
    for child in new.children.iter().chain(&old.children) {
        let is = |known: &&'static Statement| std::ptr::eq(*known, child.schema);
        if !out.last().is_some_and(is) && !out.iter().any(is) {
            out.push(child.schema);
        }
    }
    out
}

fn whole(node: &Node, mark: Mark, out: &mut Vec<HunkLine>) {
    let mut text = String::new();
    node.write_statement(&mut text, 0, &words(node));
    for line in text.lines() {
        // Further lines of a comment stand where they were written, which may be between two levels.
        let depth = (line.len() - line.trim_start_matches(' ').len()) / 4;
        out.push(HunkLine {
            mark,
            depth,
            text: line[4 * depth..].to_string(),
        });
    }
}

fn comments(old: &[String], new: &[String], out: &mut Vec<HunkLine>) -> bool {
    if old == new {
        return false;
    }
    for (mark, texts) in [(Mark::Removed, old), (Mark::Added, new)] {
        for line in texts.iter().flat_map(|text| text.lines()) {
            out.push(HunkLine {
                mark,
                depth: 0,
                text: line.to_string(),
            });
        }
    }
    true
}

/// Changes of a statement that both have and that is no line of its own: its marks; what is below comes later.
fn both<'n>(old: &'n Node, new: &'n Node, out: &mut Vec<HunkLine>, below: &mut Vec<(&'n Node, &'n Node)>) {
    let noted = comments(&old.comments, &new.comments, out);
    if old.inactive != new.inactive {
        let state = if new.inactive { "inactive" } else { "active" };
        out.push(HunkLine {
            mark: Mark::Changed,
            depth: 0,
            text: format!("{state}: {}", brief(new)),
        });
    } else if noted {
        out.push(HunkLine {
            mark: Mark::Context,
            depth: 0,
            text: brief(new),
        });
    }
    below.push((old, new));
}

fn single<'n>(
    old: Option<&'n Node>,
    new: Option<&'n Node>,
    out: &mut Vec<HunkLine>,
    below: &mut Vec<(&'n Node, &'n Node)>,
) {
    match (old, new) {
        (Some(a), Some(b)) if same(a, b) => {}
        (Some(a), Some(b)) if a.values == b.values && !atomic(a) => both(a, b, out, below),
        (a, b) => {
            if let Some(a) = a {
                whole(a, Mark::Removed, out);
            }
            if let Some(b) = b {
                whole(b, Mark::Added, out);
            }
        }
    }
}

/// Entries of one list: what went, then what came, changed or moved, in the order of `new`.
fn list<'n>(
    schema: &'static Statement,
    old: &'n Node,
    new: &'n Node,
    out: &mut Vec<HunkLine>,
    below: &mut Vec<(&'n Node, &'n Node)>,
) {
    let entries = |node: &'n Node| {
        let of_list = move |child: &&'n Node| std::ptr::eq(child.schema, schema);
        node.children.iter().map(AsRef::as_ref).filter(of_list)
    };
    let (before, after): (Vec<&Node>, Vec<&Node>) = (entries(old).collect(), entries(new).collect());
    // What both begin and end with is left out at once: a change to a long list touches little of it.
    let head = before.iter().zip(&after).take_while(|(a, b)| same(a, b)).count();
    let tail = before[head..]
        .iter()
        .rev()
        .zip(after[head..].iter().rev())
        .take_while(|(a, b)| same(a, b))
        .count();
    let (gone, came) = (&before[head..before.len() - tail], &after[head..after.len() - tail]);
    for node in gone.iter().filter(|node| new.find(schema, &node.values).is_none()) {
        whole(node, Mark::Removed, out);
    }
    let olds: Vec<Option<usize>> = came.iter().map(|node| old.find(schema, &node.values)).collect();
    let stay = rising(&olds);
    let context = |node: &Node| HunkLine {
        mark: Mark::Context,
        depth: 0,
        text: brief(node),
    };
    // What the next entry stands behind, and whether the lines so far end there.
    let mut anchor = head.checked_sub(1).map(|at| after[at]);
    let mut beside = false;
    let start = out.len();
    // Entries at the very front wait for what they precede.
    let mut front = false;
    for (at, node) in came.iter().enumerate() {
        let found = olds[at].map(|at| &*old.children[at]);
        let replaced = found.is_some_and(|a| atomic(a) && !same(a, node));
        let moved = found.is_some() && !stay[at];
        if let (Some(a), false, false) = (found, replaced, moved) {
            if std::mem::take(&mut front) {
                out.push(context(node));
            }
            if !std::ptr::eq(a, *node) {
                both(a, node, out, below);
            }
            anchor = Some(node);
            beside = false;
            continue;
        }
        let later = stay[at + 1..].iter().zip(&olds[at + 1..]);
        let last = tail == 0 && !later.into_iter().any(|(stay, old)| *stay && old.is_some());
        if !beside && (!last || moved || out.len() > start) {
            match anchor {
                Some(anchor) => out.push(context(anchor)),
                None => front = true,
            }
        }
        match found {
            Some(a) if replaced => {
                whole(a, Mark::Removed, out);
                whole(node, Mark::Added, out);
            }
            Some(a) => {
                out.push(HunkLine {
                    mark: Mark::Changed,
                    depth: 0,
                    text: brief(node),
                });
                if !std::ptr::eq(a, *node) {
                    both(a, node, out, below);
                }
            }
            None => whole(node, Mark::Added, out),
        }
        anchor = Some(node);
        beside = true;
    }
    if front {
        out.extend(after.get(head + came.len()).map(|next| context(next)));
    }
}

/// Which positions belong to a longest rising sequence: those entries kept their order, the others moved.
fn rising(positions: &[Option<usize>]) -> Vec<bool> {
    let mut keep = vec![false; positions.len()];
    // ends[k]: index of the smallest end of a rising sequence of k + 1 entries.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; positions.len()];
    for (at, position) in positions.iter().enumerate() {
        let Some(position) = position else { continue };
        let k = ends.partition_point(|end| positions[*end].is_some_and(|p| p < *position));
        before[at] = k.checked_sub(1).map(|k| ends[k]);
        if k == ends.len() {
            ends.push(at);
        } else {
            ends[k] = at;
        }
    }
    let mut at = ends.last().copied();
    while let Some(i) = at {
        keep[i] = true;
        at = before[i];
    }
    keep
}
