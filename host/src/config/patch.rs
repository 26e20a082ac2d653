//! `load patch`: what `show | compare` prints, back into a tree.

use std::sync::Arc;

use super::edit::{is_comment, line_source, EditPath};
use super::load::{resolve, Cursor, Purpose, Route, TOP};
use super::place::{Place, Source};
use super::problem::{ConfigError, Problem, ProblemKind};
use super::schema::Statement;
use super::tree::{Node, Tree, Values};

/// Applies the hunks of a text.
pub(super) fn apply(tree: &mut Tree, source: &Arc<Source>) -> Result<(), ConfigError> {
    let mut start = 0;
    let mut hunk: Option<Hunk> = None;
    for line in source.text.split_inclusive('\n') {
        let range = start..start + line.len();
        start = range.end;
        let text = line.trim_end_matches(['\n', '\r']);
        if text.trim().is_empty() {
            continue;
        }
        if let Some(path) = text.strip_prefix("[edit").and_then(|rest| rest.strip_suffix(']')) {
            finish(tree, hunk.take())?;
            hunk = Some(Hunk {
                path: path.trim().to_string(),
                place: Place::new(source, range.start, range.start + text.len()),
                lines: Vec::new(),
            });
            continue;
        }
        let mark = text.chars().next().unwrap_or(' ');
        let place = Place::new(source, range.start, range.start + text.len());
        match (&mut hunk, mark) {
            (Some(hunk), ' ' | '+' | '-' | '!') => hunk.lines.push(Line {
                mark,
                text: text[1..]
                    .strip_prefix("   ")
                    .unwrap_or(text[1..].trim_start())
                    .to_string(),
                place,
            }),
            _ => {
                let kind = ProblemKind::Syntax {
                    expected: "`[edit ...]`, or a line that begins with `+`, `-`, `!` or a space",
                    found: format!("`{mark}`"),
                };
                return Err(Problem::new(kind, place).into());
            }
        }
    }
    finish(tree, hunk)
}

struct Hunk {
    path: String,
    place: Place,
    lines: Vec<Line>,
}

struct Line {
    mark: char,
    text: String,
    place: Place,
}

/// A statement of a hunk: the lines of one mark up to its end.
struct Piece {
    mark: char,
    text: String,
    place: Place,
}

fn finish(tree: &mut Tree, hunk: Option<Hunk>) -> Result<(), ConfigError> {
    let Some(hunk) = hunk else { return Ok(()) };
    let source = line_source(&hunk.path)?;
    let top = EditPath::top();
    let words = top.absolute(&super::edit::words_of(&source)?, &source);
    let route = if words.is_empty() {
        None
    } else {
        Some(resolve(TOP, &words, &[], Purpose::Block)?)
    };
    let at = match &route {
        None => TOP,
        Some(route) => route.end.ok_or_else(|| {
            let statement = route.text();
            Problem::new(ProblemKind::NoBlock { statement }, hunk.place.clone())
        })?,
    };
    let pieces = pieces(&hunk)?;
    let mut edits = Vec::new();
    for piece in pieces {
        edits.push(read(at, piece)?);
    }
    let missing = |text: String, place: &Place| Problem::new(ProblemKind::NotFound { path: text }, place.clone());
    let node = level(tree, route).map_err(|path| missing(path, &hunk.place))?;
    perform(node, edits).map_err(|(text, place)| missing(text, &place).into())
}

/// The statement a hunk is about, for changing; made when it is not there.
fn level(tree: &mut Tree, route: Option<Route>) -> Result<&mut Node, String> {
    match route {
        None => Ok(tree.root_mut()),
        Some(route) => {
            let text = route.text();
            super::load::insert(tree.root_mut(), route, super::load::Marks::default(), false).map_err(|_| text)
        }
    }
}

/// Joins lines of one mark into statements: up to `;` or the matching brace, comments alone.
fn pieces(hunk: &Hunk) -> Result<Vec<Piece>, Problem> {
    let mut out: Vec<Piece> = Vec::new();
    let mut open: Option<(Piece, i32, bool)> = None;
    for line in &hunk.lines {
        let text = line.text.trim();
        let (mut piece, mut depth, mut comment) = match open.take() {
            Some((mut piece, depth, comment)) if piece.mark == line.mark => {
                piece.text.push('\n');
                piece.text.push_str(&line.text);
                (piece, depth, comment)
            }
            Some((piece, ..)) => return Err(cut_off(&piece)),
            None => {
                let piece = Piece {
                    mark: line.mark,
                    text: text.to_string(),
                    place: line.place.clone(),
                };
                (piece, 0, false)
            }
        };
        if !comment && text.starts_with("/*") {
            comment = true;
        }
        if comment {
            comment = !text.ends_with("*/");
            let done = !comment && depth == 0 && piece.text.starts_with("/*");
            if done {
                out.push(piece);
            } else {
                open = Some((piece, depth, comment));
            }
            continue;
        }
        if text.starts_with('#') {
            if depth == 0 {
                out.push(piece);
            } else {
                open = Some((piece, depth, comment));
            }
            continue;
        }
        if text.ends_with("{ ... }") {
            piece.text.truncate(piece.text.len() - "{ ... }".len());
            piece.text.push(';');
        } else if text.ends_with('{') {
            depth += 1;
        } else if text.ends_with('}') {
            depth -= 1;
        }
        if depth <= 0 {
            out.push(piece);
        } else {
            open = Some((piece, depth, comment));
        }
    }
    match open {
        Some((piece, ..)) => Err(cut_off(&piece)),
        None => Ok(out),
    }
}

fn cut_off(piece: &Piece) -> Problem {
    let what = "statement of a patch";
    Problem::new(ProblemKind::Unterminated { what }, piece.place.clone())
}

enum Edit {
    Comment(char, String),
    /// Mark, whether the text said `inactive:` or `active:`, statement.
    Statement(char, Option<bool>, Box<Node>, Place),
}

fn read(at: Cursor, piece: Piece) -> Result<Edit, ConfigError> {
    if is_comment(&piece.text) {
        return Ok(Edit::Comment(piece.mark, piece.text));
    }
    let (state, text) = match piece.text.strip_prefix("active: ") {
        Some(rest) => (Some(false), rest.to_string()),
        None if piece.text.starts_with("inactive: ") => (Some(true), piece.text.clone()),
        None => (None, piece.text.clone()),
    };
    let source = Arc::new(Source {
        name: piece.place.name().to_string(),
        text,
    });
    let mut holder = Node::new(at.container, Values::new(), None);
    super::parse::read(&source, &mut holder, at, Vec::new(), false)?;
    match holder.children.pop() {
        Some(node) if holder.children.is_empty() => Ok(Edit::Statement(
            piece.mark,
            state,
            Box::new(Arc::unwrap_or_clone(node)),
            piece.place,
        )),
        _ => Err(cut_off(&piece).into()),
    }
}

/// Statements on their way into a list, and where they go.
struct Placing<'n> {
    node: &'n mut Node,
    /// Position of the statement that the next one stands behind.
    anchor: Option<usize>,
    /// Statements without one before them: they stand before the next that is shown, or at the end of their list.
    waiting: Vec<Arc<Node>>,
}

impl Placing<'_> {
    fn anchor_of(&self, schema: &'static Statement) -> Option<usize> {
        let of_list = |at: &usize| {
            let child = self.node.children.get(*at);
            child.is_some_and(|child| std::ptr::eq(child.schema, schema))
        };
        self.anchor.filter(of_list)
    }

    fn put(&mut self, statement: Arc<Node>) {
        match self.anchor_of(statement.schema) {
            Some(at) => {
                self.node.insert_at(at + 1, statement);
                self.anchor = Some(at + 1);
            }
            None => {
                let other = |first: &Arc<Node>| !std::ptr::eq(first.schema, statement.schema);
                if self.waiting.first().is_some_and(other) {
                    self.flush();
                }
                self.waiting.push(statement);
            }
        }
    }

    fn take(&mut self, at: usize) -> Arc<Node> {
        self.anchor = match self.anchor {
            Some(anchor) if anchor == at => None,
            Some(anchor) if anchor > at => Some(anchor - 1),
            anchor => anchor,
        };
        self.node.remove_at(at)
    }

    /// The statement at `at` is shown: what waits stands before it if it is of the same list.
    fn shown(&mut self, at: usize) {
        let mut at = at;
        let schema = self.node.children[at].schema;
        if self
            .waiting
            .first()
            .is_some_and(|first| std::ptr::eq(first.schema, schema))
        {
            for statement in std::mem::take(&mut self.waiting) {
                self.node.insert_at(at, statement);
                at += 1;
            }
        } else {
            self.flush();
        }
        self.anchor = Some(at);
    }

    fn flush(&mut self) {
        for statement in std::mem::take(&mut self.waiting) {
            let same = |child: &Arc<Node>| std::ptr::eq(child.schema, statement.schema);
            let end = self.node.children.iter().rposition(same);
            let at = end.map_or(self.node.children.len(), |end| end + 1);
            self.node.insert_at(at, statement);
        }
    }
}

fn perform(node: &mut Node, edits: Vec<Edit>) -> Result<(), (String, Place)> {
    let mut placing = Placing {
        node,
        anchor: None,
        waiting: Vec::new(),
    };
    let mut came: Vec<String> = Vec::new();
    let mut noted = false;
    for edit in edits {
        let (mark, state, mut statement, place) = match edit {
            Edit::Comment(mark, text) => {
                if mark == '+' {
                    came.push(text);
                }
                noted = true;
                continue;
            }
            Edit::Statement(mark, state, statement, place) => (mark, state, statement, place),
        };
        let found = placing.node.find(statement.schema, &statement.values);
        let missing = |statement: &Node| (statement.words(), place.clone());
        match mark {
            '-' => {
                let at = found.ok_or_else(|| missing(&statement))?;
                if placing.node.children[at].values != statement.values {
                    return Err(missing(&statement));
                }
                placing.take(at);
            }
            '+' => {
                let waits = placing
                    .waiting
                    .iter()
                    .any(|w| w.is(statement.schema, &statement.values));
                if found.is_some() || waits {
                    return Err((format!("place for {}", statement.words()), place));
                }
                if std::mem::take(&mut noted) {
                    statement.comments = std::mem::take(&mut came).into();
                }
                placing.put(Arc::new(*statement));
            }
            mark => {
                let at = found.ok_or_else(|| missing(&statement))?;
                if std::mem::take(&mut noted) {
                    placing.node.child_mut(at).comments = std::mem::take(&mut came).into();
                }
                match (mark, state) {
                    ('!', Some(inactive)) => {
                        placing.node.child_mut(at).inactive = inactive;
                        placing.shown(at);
                    }
                    ('!', None) => {
                        let moved = placing.take(at);
                        placing.put(moved);
                    }
                    _ => placing.shown(at),
                }
            }
        }
    }
    placing.flush();
    if noted {
        placing.node.trailing = came.into();
    }
    Ok(())
}
