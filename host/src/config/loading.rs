//! `load merge`, `override`, `replace`, `update`, `set`: a text into a tree that is there.

use std::sync::Arc;

use super::edit::{apply, EditPath};
use super::load::{resolve, Cursor, Purpose, TOP};
use super::parse::read;
use super::place::Source;
use super::problem::{ConfigError, Problem, ProblemKind, Problems};
use super::schema::Kind;
use super::tree::{Node, Tag, Tree, Values};
use super::{is_set_form, parse_json, MAX_TEXT};

/// What becomes of what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadMode {
    /// It stays; the text is added, its values win.
    Merge,
    /// It goes; the text is the whole configuration.
    Override,
    /// As `Merge`, but statements marked `replace:` take the place of what is there, and `delete:` removes it.
    Replace,
    /// As `Override`. Junos marks only what differs as changed; here every commit does.
    Update,
    /// The text is commands, one per line.
    Set,
    /// The text is what `show | compare` prints.
    Patch,
}

/// Loads a text into `tree`. The form (curly, `set`, JSON) is found out; with `relative` it begins where `path` stands,
/// else at the top. On an error the tree is as before.
///
/// # Errors
/// The problems of the text, up to [`super::MAX_PROBLEMS`].
pub fn load(
    tree: &mut Tree,
    path: &EditPath,
    mode: LoadMode,
    relative: bool,
    text: &str,
    name: &str,
) -> Result<(), ConfigError> {
    if text.len() > MAX_TEXT {
        let kind = ProblemKind::TooLong {
            length: text.len(),
            limit: MAX_TEXT,
        };
        return Err(Problem::new(kind, None).into());
    }
    let path = if relative || mode == LoadMode::Set {
        path.clone()
    } else {
        EditPath::top()
    };
    let source = Arc::new(Source {
        name: name.into(),
        text: text.into(),
    });
    let mut changed = tree.clone();
    if mode == LoadMode::Patch {
        super::patch::apply(&mut changed, &source)?;
        *tree = changed;
        return Ok(());
    }
    if matches!(mode, LoadMode::Override | LoadMode::Update) {
        if path.is_top() {
            changed = Tree::new();
        } else {
            path.change(&mut changed, |node| node.retain(|_| false));
        }
    }
    if mode == LoadMode::Set || is_set_form(text) {
        commands(&mut changed, &path, &source)?;
    } else if text.trim_start().starts_with('{') && path.is_top() {
        let from = parse_json(text, name)?;
        merge(changed.root_mut(), from.root());
    } else {
        let tags = mode == LoadMode::Replace;
        statements(&mut changed, &path, &source, tags)?;
    }
    *tree = changed;
    Ok(())
}

/// Commands, one per line.
fn commands(tree: &mut Tree, path: &EditPath, source: &Arc<Source>) -> Result<(), ConfigError> {
    let mut problems = Problems::default();
    let mut start = 0;
    for line in source.text.split_inclusive('\n') {
        let range = start..start + line.len();
        start = range.end;
        if let Err(error) = apply(tree, path, source, range) {
            for problem in error.into_problems() {
                problems.push(problem);
            }
        }
        if problems.full() {
            break;
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ConfigError::new(problems.into_vec()))
    }
}

fn statements(tree: &mut Tree, path: &EditPath, source: &Arc<Source>, tags: bool) -> Result<(), ConfigError> {
    let mut from = Tree::new();
    if path.is_top() {
        read(source, from.root_mut(), TOP, Vec::new(), tags)?;
        merge(tree.root_mut(), from.root());
        return Ok(());
    }
    let route = resolve(TOP, &path.absolute(&[], source), &[], Purpose::Block)?;
    let mut trail = Vec::new();
    route.extend(&mut trail);
    let at = route.end.unwrap_or(TOP);
    let schema = at.container;
    let mut below = Node::new(schema, Values::new(), None);
    let at = Cursor {
        container: schema,
        list: None,
    };
    read(source, &mut below, at, trail, tags)?;
    // The statement may not be there yet.
    let into = super::load::insert(tree.root_mut(), route, super::load::Marks::default(), false)?;
    merge(into, &below);
    Ok(())
}

/// Puts the statements below `from` below `into`, by their tags.
pub(super) fn merge(into: &mut Node, from: &Node) {
    into.trailing.extend(from.trailing.iter().cloned());
    if from.children.iter().any(|child| child.tag == Tag::Delete) {
        let doomed = |node: &Node| {
            from.children.iter().any(|child| {
                child.tag == Tag::Delete
                    && std::ptr::eq(child.schema, node.schema)
                    && (child.values.is_empty() || child.values == node.values)
            })
        };
        into.retain(|node| !doomed(node));
    }
    for child in from.children.iter().filter(|child| child.tag != Tag::Delete) {
        let Some(at) = into.find(child.schema, &child.values) else {
            let mut child = Arc::clone(child);
            untag(&mut child);
            let end = into.children.len();
            into.insert_at(end, child);
            continue;
        };
        if child.tag == Tag::Replace {
            let mut child = Arc::clone(child);
            untag(&mut child);
            into.children[at] = child;
            continue;
        }
        if Arc::ptr_eq(&into.children[at], child) {
            continue;
        }
        let node = into.child_mut(at);
        if child.schema.kind == Kind::Leaf {
            node.values.clone_from(&child.values);
            node.place.clone_from(&child.place);
        }
        node.inactive |= child.inactive;
        if !child.comments.is_empty() {
            node.comments.clone_from(&child.comments);
        }
        merge(node, child);
    }
}

/// Takes the tags off a statement that is kept, and off what is below it.
fn untag(node: &mut Arc<Node>) {
    fn tagged(node: &Node) -> bool {
        node.tag != Tag::None || node.children.iter().any(|child| tagged(child))
    }
    if !tagged(node) {
        return;
    }
    let node = Arc::make_mut(node);
    node.tag = Tag::None;
    node.retain(|child| child.tag != Tag::Delete);
    node.children.iter_mut().for_each(untag);
}
