//! Three trees to one: what `configure private` changed, onto what others committed meanwhile.
//!
//! ```text
//!   base --- mine      a statement that only one side changed (came, went, other value, switched off) is as that side
//!      \               has it; one that both changed, and not to the same, is a clash: mine is taken, and it is named
//!       theirs
//! ```
//!
//! Entries of lists keep theirs' order, mine if only mine moved them; what came stands behind what it stood behind, or at the
//! end if it did.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::compare::same;
use super::schema::{Kind, Statement};
use super::tree::{Comments, Node, Tree};

/// A statement that both sides changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The statement, as words from the top.
    pub path: String,
    /// What the others made of it.
    pub theirs: Theirs,
}

/// What the others made of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Theirs {
    /// It has these values there.
    Values(String),
    /// It is gone there.
    Gone,
    /// It is switched off there, or on.
    Activity,
    /// Its entries were moved there.
    Order,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.theirs {
            Theirs::Values(values) => write!(f, "`{path}` was changed by others too, to `{values}`"),
            Theirs::Gone => write!(f, "`{path}` was deleted by others"),
            Theirs::Activity => write!(f, "`{path}` was activated or deactivated by others"),
            Theirs::Order => write!(f, "what stands below `{path}` was moved by others too"),
        }
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Merged {
    /// All changes of both; mine where they clash.
    pub tree: Tree,
    /// Where they do.
    pub clashes: Vec<Clash>,
}

/// Makes the changes from `base` to `mine` in `theirs`.
pub fn merge(base: &Tree, mine: &Tree, theirs: &Tree) -> Merged {
    let mut merging = Merging { clashes: Vec::new() };
    let mut tree = theirs.clone();
    if same(base.root(), theirs.root()) {
        tree = mine.clone();
    } else if !same(base.root(), mine.root()) {
        let root = merging.inside(Some(base.root()), mine.root(), theirs.root(), "");
        *tree.root_mut() = root;
    }
    Merged {
        tree,
        clashes: merging.clashes,
    }
}

struct Merging {
    clashes: Vec<Clash>,
}

type Branch<'a> = Option<&'a Arc<Node>>;

fn equal(a: Branch<'_>, b: Branch<'_>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => same(a, b),
        (None, None) => true,
        _ => false,
    }
}

fn find<'a>(node: Option<&'a Node>, like: &Node) -> Branch<'a> {
    let node = node?;
    node.find(like.schema, &like.values)
        .and_then(|at| node.children.get(at))
}

/// Whether the entries that both have stand in the same order in both.
fn same_order(a: &Node, b: &Node) -> bool {
    let mut last = None;
    a.children
        .iter()
        .filter(|child| child.schema.kind == Kind::List)
        .filter_map(|child| Some((child.schema, b.find(child.schema, &child.values)?)))
        .all(|(schema, at)| {
            // Different lists stand as they like.
            let before = last.replace((std::ptr::from_ref(schema), at));
            before.is_none_or(|(list, before)| list != std::ptr::from_ref(schema) || before < at)
        })
}

/// One of three values; `None`: both changed it, to different ones.
fn choose<T: PartialEq + Clone>(base: Option<&T>, mine: &T, theirs: &T) -> Option<T> {
    if mine == theirs || base == Some(theirs) {
        Some(mine.clone())
    } else if base == Some(mine) {
        Some(theirs.clone())
    } else {
        None
    }
}

impl Merging {
    fn clash(&mut self, path: &str, theirs: Theirs) {
        self.clashes.push(Clash {
            path: path.trim_start().to_owned(),
            theirs,
        });
    }

    /// One statement; `None`: it is not there.
    fn statement(&mut self, base: Branch<'_>, mine: Branch<'_>, theirs: Branch<'_>, path: &str) -> Option<Arc<Node>> {
        if equal(mine, theirs) || equal(base, theirs) {
            return mine.cloned();
        }
        if equal(base, mine) {
            return theirs.cloned();
        }
        let any = mine.or(theirs)?;
        let words = any.words();
        let path = format!("{path} {}", words.trim_start());
        match (mine, theirs) {
            (Some(mine), Some(theirs)) => {
                let base = base.map(Arc::as_ref);
                Some(Arc::new(self.inside(base, mine, theirs, &path)))
            }
            (mine, None) => {
                self.clash(&path, Theirs::Gone);
                mine.cloned()
            }
            (_, Some(theirs)) => {
                self.clash(&path, Theirs::Values(theirs.words()));
                None
            }
        }
    }

    /// A statement that is there on both sides, and what is below it.
    fn inside(&mut self, base: Option<&Node>, mine: &Node, theirs: &Node, path: &str) -> Node {
        let mut out = mine.clone();
        match choose(base.map(|base| &base.values), &mine.values, &theirs.values) {
            Some(values) => out.values = values,
            None => self.clash(path, Theirs::Values(theirs.words())),
        }
        match choose(base.map(|base| &base.inactive), &mine.inactive, &theirs.inactive) {
            Some(inactive) => out.inactive = inactive,
            None => self.clash(path, Theirs::Activity),
        }
        // Comments are nobody's behaviour: mine are good enough where both wrote some.
        let comments = |of: fn(&Node) -> &Comments| choose(base.map(of), of(mine), of(theirs));
        out.comments = comments(|node| &node.comments).unwrap_or_else(|| mine.comments.clone());
        out.trailing = comments(|node| &node.trailing).unwrap_or_else(|| mine.trailing.clone());
        let (order, other) = match base {
            Some(base) if !same_order(base, mine) => {
                if !same_order(base, theirs) && !same_order(mine, theirs) {
                    self.clash(path, Theirs::Order);
                }
                (mine, theirs)
            }
            _ => (theirs, mine),
        };
        out.children = Vec::with_capacity(order.children.len());
        for child in &order.children {
            let merged = self.statement(
                find(base, child),
                find(Some(mine), child),
                find(Some(theirs), child),
                path,
            );
            out.children.extend(merged);
        }
        out.reindex();
        // Of each list, the last entry that both have: what stands behind it came at the end.
        let mut last: HashMap<*const Statement, usize> = HashMap::new();
        let mut came = Vec::new();
        for (at, child) in other.children.iter().enumerate() {
            match find(Some(order), child) {
                Some(_) => drop(last.insert(child.schema, at)),
                None => came.push((at, child)),
            }
        }
        for (at, child) in came {
            let merged = self.statement(
                find(base, child),
                find(Some(mine), child),
                find(Some(theirs), child),
                path,
            );
            if let Some(merged) = merged {
                let behind = last
                    .get(&std::ptr::from_ref(child.schema))
                    .is_some_and(|last| at < *last);
                let before = at.checked_sub(1).and_then(|at| other.children.get(at));
                let to = place(&out, before.filter(|_| behind), behind, &merged);
                out.insert_at(to, merged);
            }
        }
        out
    }
}

/// Where a statement that came goes: behind the one it stood behind if that is there, else first or last of its list.
fn place(out: &Node, before: Option<&Arc<Node>>, between: bool, new: &Node) -> usize {
    let like = |node: &Arc<Node>| std::ptr::eq(node.schema, new.schema);
    let behind = before
        .filter(|before| like(before))
        .and_then(|before| out.find(before.schema, &before.values));
    let listed = || {
        if between {
            out.children.iter().position(like)
        } else {
            out.children.iter().rposition(like).map(|at| at + 1)
        }
    };
    behind.map(|at| at + 1).or_else(listed).unwrap_or(out.children.len())
}

#[cfg(test)]
mod tests {
    use super::super::{apply_command, parse_set};
    use super::*;

    const BASE: &str = "set services nat pool a address 203.0.113.0/28
set services nat pool a mapping-timeout 200
set services nat pool b address 203.0.113.16/28
set services nat rule r match-direction input
set services nat rule r term t1 then no-translation
set services nat rule r term t2 then no-translation
set services nat rule r term t3 then no-translation
";

    fn changed(commands: &[&str]) -> Tree {
        let mut tree = parse_set(BASE, "base").unwrap();
        for command in commands {
            apply_command(&mut tree, command).unwrap();
        }
        tree
    }

    fn merged(mine: &[&str], theirs: &[&str]) -> Merged {
        let base = changed(&[]);
        merge(&base, &changed(mine), &changed(theirs))
    }

    #[test]
    fn changes_of_both_are_there() {
        let mine = [
            "set services nat pool a address 198.51.100.0/28",
            "delete services nat pool b",
            "set services nat pool c address 192.0.2.0/28",
            "deactivate services nat rule r term t3",
        ];
        let theirs = [
            "set services nat pool a mapping-timeout 300",
            "set services nat pool d address 192.0.2.16/28",
            "delete services nat rule r term t1",
            "annotate services nat pool a \"theirs\"",
        ];
        let all: Vec<&str> = mine.iter().chain(&theirs).copied().collect();
        let both = merged(&mine, &theirs);
        assert_eq!(both.clashes, []);
        let wanted = changed(&all);
        let sorted = |tree: &Tree| {
            let mut lines: Vec<String> = tree.to_set().lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&both.tree), sorted(&wanted));
        // The other way round it is the same configuration.
        let other = merged(&theirs, &mine);
        assert_eq!((other.clashes, sorted(&other.tree)), (vec![], sorted(&wanted)));
    }

    #[test]
    fn what_one_side_left_alone_is_the_other_sides() {
        let change = ["set services nat pool a mapping-timeout 400"];
        for both in [merged(&change, &[]), merged(&[], &change)] {
            assert_eq!((both.clashes, both.tree), (vec![], changed(&change)));
        }
        let same = merged(&change, &change);
        assert_eq!((same.clashes, same.tree), (vec![], changed(&change)));
    }

    #[test]
    fn clashes_are_named_and_mine_is_taken() {
        let cases: [(&str, &str, &str); 5] = [
            (
                "set services nat pool a mapping-timeout 300",
                "set services nat pool a mapping-timeout 400",
                "`services nat pool a mapping-timeout 300` was changed by others too, to `mapping-timeout 400`",
            ),
            (
                "set services nat pool a mapping-timeout 300",
                "delete services nat pool a",
                "`services nat pool a` was deleted by others",
            ),
            (
                "delete services nat pool a",
                "set services nat pool a mapping-timeout 400",
                "`services nat pool a` was changed by others too, to `pool a`",
            ),
            (
                "set services nat pool new mapping-timeout 300",
                "set services nat pool new mapping-timeout 400",
                "`services nat pool new mapping-timeout 300` was changed by others too, to `mapping-timeout 400`",
            ),
            (
                "insert services nat rule r term t3 before term t1",
                "insert services nat rule r term t2 before term t1",
                "what stands below `services nat rule r` was moved by others too",
            ),
        ];
        for (mine, theirs, wanted) in cases {
            let both = merged(&[mine], &[theirs]);
            let texts: Vec<String> = both.clashes.iter().map(ToString::to_string).collect();
            assert_eq!(texts, [wanted], "{mine} / {theirs}");
            assert_eq!(both.tree.to_set(), changed(&[mine]).to_set(), "{mine} / {theirs}");
        }
    }

    #[test]
    fn order_is_that_of_whoever_moved() {
        let order = |both: &Merged| -> Vec<String> {
            assert_eq!(both.clashes, []);
            let rule = both.tree.root().at(&["services", "nat", "rule"]).unwrap();
            rule.all("term").map(|term| term.value().to_owned()).collect()
        };
        let moved = "insert services nat rule r term t3 before term t1";
        let came = "set services nat rule r term t9 then no-translation";
        let between = "insert services nat rule r term t9 before term t2";
        assert_eq!(order(&merged(&[moved], &[came])), ["t3", "t1", "t2", "t9"]);
        assert_eq!(order(&merged(&[came], &[moved])), ["t3", "t1", "t2", "t9"]);
        assert_eq!(order(&merged(&[came, between], &[moved])), ["t3", "t1", "t9", "t2"]);
        let gone = "delete services nat rule r term t2";
        assert_eq!(order(&merged(&[came, between], &[gone])), ["t1", "t9", "t3"]);
    }
}
