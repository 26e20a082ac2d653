//! Words -> tree: one machine for both forms of the language.
//!
//! A statement's words are followed through the schema from where they stand, so `port automatic;`,
//! `port { automatic; }` and `set ... port automatic` give the same nodes.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use super::place::{Place, Source};
use super::problem::{Problem, ProblemKind};
use super::schema::{walk, Field, Kind, Layout, Statement, Support, ROOT};
use super::tree::{Node, Tag, Values};

/// One word of a statement.
#[derive(Clone, Debug)]
pub(crate) struct Word<'s> {
    pub(crate) text: Cow<'s, str>,
    pub(crate) quoted: bool,
    pub(crate) span: Range<usize>,
    pub(crate) source: &'s Arc<Source>,
}

impl<'s> Word<'s> {
    /// A word that stands nowhere itself.
    pub(crate) fn at(text: impl Into<Cow<'s, str>>, source: &'s Arc<Source>, span: Range<usize>) -> Self {
        Self {
            text: text.into(),
            quoted: false,
            span,
            source,
        }
    }

    /// Where it stands.
    pub(crate) fn place(&self) -> Place {
        Place::new(self.source, self.span.start, self.span.end)
    }

    /// From here to the end of `last`.
    pub(crate) fn to(&self, last: &Self) -> Place {
        Place::new(self.source, self.span.start, last.span.end.max(self.span.end))
    }
}

/// Where words continue: below a statement, or behind the keyword of a list that still needs a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    pub(crate) container: &'static Statement,
    pub(crate) list: Option<&'static Statement>,
}

/// One node on the way.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) schema: &'static Statement,
    pub(crate) values: Values,
    pub(crate) place: Place,
}

/// Where words lead.
#[derive(Debug)]
pub(crate) struct Route {
    steps: SmallVec<[Step; 2]>,
    /// Where a block behind them continues; `None` behind a leaf or flag.
    pub(crate) end: Option<Cursor>,
}

/// What the words are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Curly: a block may follow, so the last keyword of a list needs no key yet.
    Block,
    /// A whole statement.
    Whole,
    /// Naming something: keys and values may be left out at the end.
    Name,
}

/// Whether statements can stand in a block behind this one.
fn takes_block(schema: &Statement) -> bool {
    !schema.children.is_empty()
}

/// Reads the values of `schema` off the front of `words`. `None` (with `words` used up) when `purpose` allows them to
/// be missing.
fn values(
    schema: &'static Statement,
    words: &mut &[Word<'_>],
    keyword: &Word<'_>,
    purpose: Purpose,
) -> Result<Option<Values>, Problem> {
    let may_lack = purpose == Purpose::Name || (purpose == Purpose::Block && schema.kind == Kind::List);
    if words.is_empty() && may_lack && !schema.name.is_empty() {
        return Ok(None);
    }
    let lacks = |field: &Field, at: &Word<'_>| {
        let value = field.value.expected();
        let expected = if field.word.is_empty() {
            value
        } else {
            format!("`{}` and {value}", field.word)
        };
        let statement = if schema.name.is_empty() {
            keyword.text.to_string()
        } else {
            schema.name.to_string()
        };
        Problem::new(ProblemKind::MissingValue { statement, expected }, at.place())
    };
    let mut out = Values::new();
    let mut last = keyword;
    let mut rest: &[Word<'_>] = words;
    for field in schema.fields {
        if !field.word.is_empty() {
            match rest.split_first() {
                Some((word, more)) if word.text == field.word => {
                    last = word;
                    rest = more;
                }
                Some((word, _)) => return Err(lacks(field, word)),
                None => return Err(lacks(field, last)),
            }
        }
        let Some((word, more)) = rest.split_first() else {
            return Err(lacks(field, last));
        };
        let Some(value) = field.value.normalise(&word.text) else {
            let kind = ProblemKind::BadValue {
                value: word.text.to_string(),
                expected: field.value.expected(),
            };
            let name = if schema.name.is_empty() {
                String::new()
            } else {
                format!("`{}`: ", schema.name)
            };
            return Err(Problem::new(kind, word.place()).help(format!("{name}{}", schema.help)));
        };
        out.push(value);
        last = word;
        rest = more;
    }
    let used = words.len() - rest.len();
    *words = &words[used..];
    Ok(Some(out))
}

/// The values of a leaf or key from all of `words`.
pub(crate) fn values_of(schema: &'static Statement, words: &[Word], keyword: &Word) -> Result<Values, Problem> {
    let mut rest = words;
    Ok(values(schema, &mut rest, keyword, Purpose::Whole)?.unwrap_or_default())
}

/// Splits the values of a key off the front of `words`, for a list whose keyword may have been left out.
pub(crate) fn key_of(list: &'static Statement, words: &[Word], keyword: &Word) -> Result<(Values, usize), Problem> {
    let named = words
        .first()
        .is_some_and(|word| !list.name.is_empty() && word.text == list.name);
    let start = usize::from(named && words.len() > list.fields.len());
    let mut rest = &words[start..];
    let values = values(list, &mut rest, keyword, Purpose::Whole)?;
    Ok((values.unwrap_or_default(), words.len() - rest.len()))
}

/// Follows `words` from `at`. `trail` are the words above, for messages.
pub(crate) fn resolve(at: Cursor, mut words: &[Word], trail: &[String], purpose: Purpose) -> Result<Route, Problem> {
    let mut steps = SmallVec::new();
    let mut at = at;
    let mut end = Some(at);
    while let Some((word, rest)) = words.split_first() {
        let schema = match at.list.take() {
            Some(list) => list,
            None => match at.container.child(&word.text) {
                Some(child) => {
                    words = rest;
                    child
                }
                None => match at.container.unnamed() {
                    Some(list) => list,
                    None => {
                        let mut trail = trail.to_vec();
                        Route { steps, end: None }.extend(&mut trail);
                        return Err(unknown(at.container, words, trail));
                    }
                },
            },
        };
        if let Support::Refused(why) = schema.support {
            let kind = ProblemKind::NotImplemented {
                name: word.text.to_string(),
                why,
            };
            return Err(Problem::new(kind, word.place()));
        }
        let first = word;
        match schema.kind {
            Kind::Container | Kind::Presence | Kind::Flag => {
                steps.push(Step {
                    schema,
                    values: Values::new(),
                    place: first.place(),
                });
                if schema.kind == Kind::Flag {
                    end = None;
                } else {
                    at = Cursor {
                        container: schema,
                        list: None,
                    };
                    end = takes_block(schema).then_some(at);
                }
            }
            Kind::Leaf | Kind::List => {
                let before = words;
                let Some(values) = values(schema, &mut words, first, purpose)? else {
                    if purpose == Purpose::Name {
                        steps.push(Step {
                            schema,
                            values: Values::new(),
                            place: first.place(),
                        });
                    }
                    let list = (schema.kind == Kind::List).then_some(schema);
                    end = list.map(|_| Cursor {
                        container: at.container,
                        list,
                    });
                    return Ok(Route { steps, end });
                };
                let used = &before[..before.len() - words.len()];
                let place = used.last().map_or_else(|| first.place(), |last| first.to(last));
                steps.push(Step { schema, values, place });
                if schema.kind == Kind::List {
                    at = Cursor {
                        container: schema,
                        list: None,
                    };
                    end = takes_block(schema).then_some(at);
                } else {
                    end = None;
                }
            }
        }
    }
    Ok(Route { steps, end })
}

/// What stands before a statement in curly form.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    pub(crate) comments: Vec<String>,
    pub(crate) inactive: bool,
    pub(crate) tag: Tag,
}

impl Marks {
    fn any(&self) -> bool {
        self.inactive || !self.comments.is_empty() || self.tag != Tag::None
    }
}

/// Puts the nodes of `route` under `parent`, as far as they are not there. `marks` go to the statement the words are
/// about. Returns the node a block continues in.
///
/// With `once` a leaf that is there with another value is a problem; otherwise its value is replaced.
pub(crate) fn insert(parent: &mut Node, route: Route, marks: Marks, once: bool) -> Result<&mut Node, Problem> {
    let subject = route.subject();
    let mut marks = Some(marks);
    let mut parent = parent;
    for (i, step) in route.steps.into_iter().enumerate() {
        let Step { schema, values, place } = step;
        let at = match parent.find(schema, &values) {
            Some(at) => {
                let node = &parent.children[at];
                if schema.kind == Kind::Leaf {
                    if once && node.values != values {
                        let statement = schema.name.to_string();
                        let (first, second) = (node.values.join(" "), values.join(" "));
                        return Err(Problem::new(
                            ProblemKind::GivenTwice {
                                statement,
                                first,
                                second,
                            },
                            place,
                        ));
                    }
                    let node = parent.child_mut(at);
                    node.values = values;
                    node.place = Some(place);
                }
                at
            }
            None => parent.push(Node::new(schema, values, Some(place))),
        };
        if i == subject {
            if let Some(marks) = marks.take().filter(Marks::any) {
                let node = parent.child_mut(at);
                node.inactive |= marks.inactive;
                node.comments.extend(marks.comments);
                node.tag = marks.tag;
            }
        }
        if descends(schema) {
            parent = parent.child_mut(at);
        }
    }
    Ok(parent)
}

pub(crate) fn descends(schema: &Statement) -> bool {
    matches!(schema.kind, Kind::Container | Kind::Presence | Kind::List)
}

/// The statement that holds what the last of `steps` names, for looking.
pub(crate) fn holder<'n>(parent: &'n Node, steps: &[Step]) -> Option<&'n Node> {
    let (_, above) = steps.split_last()?;
    above
        .iter()
        .filter(|step| descends(step.schema))
        .try_fold(parent, |node, step| {
            node.find(step.schema, &step.values).map(|at| &*node.children[at])
        })
}

/// The same, for changing. Copies nothing when it is not there.
pub(crate) fn holder_mut<'n>(parent: &'n mut Node, steps: &[Step]) -> Option<&'n mut Node> {
    holder(parent, steps)?;
    let (_, above) = steps.split_last()?;
    let mut node = parent;
    for step in above.iter().filter(|step| descends(step.schema)) {
        let at = node.find(step.schema, &step.values)?;
        node = node.child_mut(at);
    }
    Some(node)
}

/// What `steps` name below `parent`, in order: one statement, or all entries of a list that is named without a key.
pub(crate) fn named<'n>(parent: &'n Node, steps: &[Step]) -> Vec<&'n Node> {
    let Some(last) = steps.last() else {
        return Vec::new();
    };
    let Some(holder) = holder(parent, steps) else {
        return Vec::new();
    };
    if descends(last.schema) && (last.schema.kind != Kind::List || !last.values.is_empty()) {
        let found = holder.find(last.schema, &last.values);
        return found.map(|at| &*holder.children[at]).into_iter().collect();
    }
    let all = holder.children.iter().map(AsRef::as_ref);
    all.filter(|node| last.names(node)).collect()
}

/// Removes what `steps` name below `parent`, and containers that are left empty and mean nothing then.
///
/// A leaf named with a value must have that value. `false`: it is not there.
pub(crate) fn remove(parent: &mut Node, steps: &[Step]) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        return false;
    };
    if rest.is_empty() {
        if step.schema.kind == Kind::List && !step.values.is_empty() {
            // One entry of a list that may be long.
            let found = parent.find(step.schema, &step.values);
            return found.map(|at| parent.remove_at(at)).is_some();
        }
        let before = parent.children.len();
        parent.retain(|node| !step.names(node));
        return parent.children.len() < before;
    }
    if !descends(step.schema) {
        return remove(parent, rest);
    }
    let Some(at) = parent.find(step.schema, &step.values) else {
        return false;
    };
    let removed = remove(parent.child_mut(at), rest);
    if removed && step.schema.kind == Kind::Container && parent.children[at].children.is_empty() {
        parent.remove_at(at);
    }
    removed
}

/// Switches what `steps` name below `parent` off or on. `false`: it is not there.
pub(crate) fn switch(parent: &mut Node, steps: &[Step], inactive: bool) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        return false;
    };
    if rest.is_empty() {
        let mut any = false;
        for node in parent.children.iter_mut().filter(|node| step.names(node)) {
            Arc::make_mut(node).inactive = inactive;
            any = true;
        }
        return any;
    }
    if !descends(step.schema) {
        return switch(parent, rest, inactive);
    }
    match parent.find(step.schema, &step.values) {
        Some(at) => switch(parent.child_mut(at), rest, inactive),
        None => false,
    }
}

impl Route {
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The step that the statement is about: the last, or what is written on one line with it.
    fn subject(&self) -> usize {
        if self.steps.len() <= 1 {
            return 0;
        }
        let mut above = Vec::with_capacity(self.steps.len());
        let mut parent = None;
        for (i, step) in self.steps.iter().enumerate() {
            above.push(parent);
            if descends(step.schema) {
                parent = Some(i);
            }
        }
        let mut at = self.steps.len().saturating_sub(1);
        while let Some(Some(up)) = above.get(at) {
            if self.steps[*up].schema.layout == Layout::Block {
                break;
            }
            at = *up;
        }
        at
    }

    /// The words of the statements named, for messages.
    pub(crate) fn text(&self) -> String {
        let words = self.steps.iter().flat_map(|s| {
            let name = (!s.schema.name.is_empty()).then(|| s.schema.name.to_string());
            name.into_iter().chain(s.values.iter().cloned())
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Adds the names of the statements that a block stands below to `trail`.
    pub(crate) fn extend(&self, trail: &mut Vec<String>) {
        for step in self.steps.iter().filter(|step| descends(step.schema)) {
            if !step.schema.name.is_empty() {
                trail.push(step.schema.name.to_string());
            }
            trail.extend(step.values.iter().cloned());
        }
        if let Some(list) = self.end.and_then(|end| end.list) {
            trail.push(list.name.to_string());
        }
    }
}

impl Step {
    pub(crate) fn names(&self, node: &Node) -> bool {
        std::ptr::eq(node.schema, self.schema) && (self.values.is_empty() || node.values == self.values)
    }
}

pub(crate) fn unknown(container: &'static Statement, words: &[Word], trail: Vec<String>) -> Problem {
    let word = &words[0];
    let parent = if trail.is_empty() {
        "the top".to_string()
    } else {
        trail.join(" ")
    };
    let problem = Problem::new(
        ProblemKind::UnknownStatement {
            name: word.text.to_string(),
            parent,
        },
        word.place(),
    );
    match did_you_mean(container, words) {
        Some(help) => problem.help(help),
        None => problem,
    }
}

/// The path below `container` to a statement called `name`, as words; nearest first.
fn path_below(container: &'static Statement, name: &str) -> Option<Vec<&'static Statement>> {
    let mut level = vec![Vec::new()];
    // The schema is a tree of fixed depth, so this ends.
    while !level.is_empty() {
        let mut next = Vec::new();
        for path in level {
            let last: &'static Statement = path.last().copied().unwrap_or(container);
            for child in last.children {
                let mut longer: Vec<&'static Statement> = path.clone();
                longer.push(child);
                if child.name == name && !matches!(child.support, Support::Refused(_)) {
                    return Some(longer);
                }
                next.push(longer);
            }
        }
        level = next;
    }
    None
}

fn spell(path: &[&'static Statement]) -> String {
    let mut out = Vec::new();
    for (i, statement) in path.iter().enumerate() {
        if !statement.name.is_empty() {
            out.push(statement.name.to_string());
        }
        if statement.kind == Kind::List && i + 1 < path.len() {
            out.push("NAME".into());
        }
    }
    out.join(" ")
}

fn did_you_mean(container: &'static Statement, words: &[Word]) -> Option<String> {
    let name: &str = &words.first()?.text;
    if let Some(mut path) = path_below(container, name) {
        for word in &words[1..] {
            match path.last().and_then(|last| last.child(&word.text)) {
                Some(next) => path.push(next),
                None => break,
            }
        }
        return Some(format!("did you mean `{}`?", spell(&path)));
    }
    let allowed = (name.chars().count() / 3).clamp(1, 4);
    let near = container
        .children
        .iter()
        .filter(|c| !c.name.is_empty())
        .map(|c| (distance(name, c.name), c.name))
        .filter(|(distance, _)| *distance <= allowed)
        .min();
    if let Some((_, near)) = near {
        return Some(format!("did you mean `{near}`?"));
    }
    let mut elsewhere = None;
    walk(&mut |path, statement| {
        if elsewhere.is_none() && statement.name == name && !matches!(statement.support, Support::Refused(_)) {
            let mut path = path.to_vec();
            path.push(statement);
            elsewhere = Some(spell(&path));
        }
    });
    if let Some(path) = elsewhere {
        return Some(format!("this statement stands under `{path}`"));
    }
    let known: Vec<_> = container
        .children
        .iter()
        .filter(|c| !matches!(c.support, Support::Refused(_)))
        .collect();
    let names: Vec<_> = known
        .iter()
        .map(|c| if c.name.is_empty() { "a prefix" } else { c.name })
        .collect();
    (!names.is_empty()).then(|| format!("here stand: {}", names.join(", ")))
}

/// Edits between two words: insertions, deletions, replacements and swaps of neighbours. Words longer than 64
/// characters are as far as can be.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(65).collect();
    let b: Vec<char> = b.chars().take(65).collect();
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

/// The top of the tree.
pub(crate) const TOP: Cursor = Cursor {
    container: &ROOT,
    list: None,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distance_counts_swaps_once() {
        assert_eq!(distance("adress", "address"), 1);
        assert_eq!(distance("tremn", "term"), 2);
        assert_eq!(distance("addrses", "address"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance(&"a".repeat(65), "a"), usize::MAX);
    }

    #[test]
    fn statements_are_found_below() {
        let set = ROOT.child("services").and_then(|s| s.child("service-set")).unwrap();
        let path = path_below(set, "clear-dont-fragment-bit").unwrap();
        assert_eq!(spell(&path), "nat-options stateful-nat64 clear-dont-fragment-bit");
    }
}
