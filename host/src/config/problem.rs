//! What can be wrong with a configuration, and how it is told.
//!
//! A [`Problem`] refuses the configuration, a [`Warning`] does not. Both carry facts and, where there is a text to
//! point at, a [`Place`]; their `Display` shows the line with the place underlined, fit for a terminal.

use std::fmt;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use thiserror::Error;

use super::place::Place;

/// Problems after which reading stops: nobody reads more, and a broken file could have millions.
pub const MAX_PROBLEMS: usize = 50;

/// Longest line that is shown with the place underlined, bytes.
const MAX_SHOWN_LINE: usize = 400;

/// A reason to refuse a configuration.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What is wrong.
    pub kind: ProblemKind,
    /// Where; `None` when something is missing altogether.
    pub place: Option<Place>,
    /// What to do about it.
    pub help: Option<String>,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The text is longer than what is read.
    #[error("the text has {length} bytes, more than the {limit} that are read")]
    TooLong {
        /// Bytes of the text.
        length: usize,
        /// Bytes that are read at most.
        limit: usize,
    },
    /// Braces nest deeper than any configuration does.
    #[error("statements nest deeper than {limit} levels")]
    TooDeep {
        /// Levels that are read at most.
        limit: usize,
    },
    /// A statement or command has too many words.
    #[error("a statement of more than {limit} words")]
    TooManyWords {
        /// Words that are read at most.
        limit: usize,
    },
    /// Something else stands where the grammar wants `expected`.
    #[error("expected {expected}, found {found}")]
    Syntax {
        /// What the grammar wants.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A quoted string or comment has no end.
    #[error("{what} without an end")]
    Unterminated {
        /// `quoted string`, `comment`, `block`, or `bracketed list`.
        what: &'static str,
    },
    /// No statement of this name exists here.
    #[error("unknown statement `{name}` under `{parent}`")]
    UnknownStatement {
        /// Name as given.
        name: String,
        /// Path of the statement it stands under.
        parent: String,
    },
    /// A Junos statement that we do not implement and cannot ignore.
    #[error("the Junos statement `{name}` is not implemented: {why}")]
    NotImplemented {
        /// Name.
        name: String,
        /// What it would do.
        why: &'static str,
    },
    /// A statement lacks a value.
    #[error("`{statement}` lacks {expected}")]
    MissingValue {
        /// Name.
        statement: String,
        /// What is expected.
        expected: String,
    },
    /// A value of the wrong kind or out of range.
    #[error("`{value}` is not {expected}")]
    BadValue {
        /// As given.
        value: String,
        /// What is expected.
        expected: String,
    },
    /// A leaf has a block, or something has no block where it needs one.
    #[error("`{statement}` takes no block")]
    NoBlock {
        /// Name.
        statement: String,
    },
    /// A leaf is given twice with different values.
    #[error("`{statement}` is given twice: `{first}` and `{second}`")]
    GivenTwice {
        /// Name.
        statement: String,
        /// First value.
        first: String,
        /// Second value.
        second: String,
    },
    /// `delete`, `activate` or `deactivate` of something that is not there.
    #[error("there is no `{path}`")]
    NotFound {
        /// The path.
        path: String,
    },
    /// `rename` or `copy` to something that is there already.
    #[error("there is a `{path}` already")]
    AlreadyThere {
        /// The path.
        path: String,
    },
    /// A text is no JSON.
    #[error("this is no JSON: {0}")]
    Json(String),
    /// No such command.
    #[error("unknown command `{name}`")]
    UnknownCommand {
        /// As given.
        name: String,
    },
    /// A commit check failed.
    #[error("{0}")]
    Check(String),
    /// Reading stopped.
    #[error("more than {limit} problems; reading stopped")]
    TooMany {
        /// [`MAX_PROBLEMS`].
        limit: usize,
    },
}

/// Something worth saying about a configuration that is accepted.
#[derive(Clone, Debug)]
pub struct Warning {
    /// What.
    pub kind: WarningKind,
    /// Where.
    pub place: Option<Place>,
    /// What to do about it.
    pub help: Option<String>,
}

/// What a warning is about.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WarningKind {
    /// An old spelling.
    #[error("`{old}` is deprecated and means `{new}`")]
    Deprecated {
        /// As given.
        old: &'static str,
        /// What to write.
        new: &'static str,
    },
    /// Accepted, and without any effect here.
    #[error("`{name}` has no effect: {why}")]
    NoEffect {
        /// Statement.
        name: String,
        /// Reason.
        why: &'static str,
    },
    /// Two rules of a service set can map one client to one server with the same public address and port.
    #[error("{0}")]
    EimConflict(String),
    /// Anything else that may surprise.
    #[error("{0}")]
    Note(String),
}

/// Why a text or command was refused: at least one problem.
#[derive(Clone, Debug)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        debug_assert!(!problems.is_empty());
        Self { problems }
    }

    /// The problems, in the order of the text.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The problems, in the order of the text.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self::new(vec![problem])
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, place: impl Into<Option<Place>>) -> Self {
        Self {
            kind,
            place: place.into(),
            help: None,
        }
    }

    pub(crate) fn check(text: impl Into<String>, place: impl Into<Option<Place>>) -> Self {
        Self::new(ProblemKind::Check(text.into()), place)
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The message with its line underlined, with terminal colours when `styled`.
    pub fn render(&self, styled: bool) -> String {
        render(
            Level::ERROR,
            &self.kind.to_string(),
            self.place.as_ref(),
            self.help.as_deref(),
            styled,
        )
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problem {}

impl Warning {
    pub(crate) fn new(kind: WarningKind, place: impl Into<Option<Place>>) -> Self {
        Self {
            kind,
            place: place.into(),
            help: None,
        }
    }

    pub(crate) fn note(text: impl Into<String>, place: impl Into<Option<Place>>) -> Self {
        Self::new(WarningKind::Note(text.into()), place)
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The message with its line underlined, with terminal colours when `styled`.
    pub fn render(&self, styled: bool) -> String {
        render(
            Level::WARNING,
            &self.kind.to_string(),
            self.place.as_ref(),
            self.help.as_deref(),
            styled,
        )
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// Values come from the user: control characters must not reach the terminal.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn render(level: Level<'_>, title: &str, place: Option<&Place>, help: Option<&str>, styled: bool) -> String {
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    let title = clean(title);
    let name;
    let mut group = level
        .primary_title(title.as_str())
        .elements(None::<annotate_snippets::Message<'_>>);
    if let Some(place) = place {
        let (line, span) = place.line();
        name = clean(place.name());
        let (number, column) = place.line_column();
        if line.len() <= MAX_SHOWN_LINE && !line.contains(|c: char| c.is_control() && c != '\t') {
            let annotation = AnnotationKind::Primary.span(span);
            group = group.element(
                Snippet::source(line)
                    .line_start(number)
                    .path(name.as_str())
                    .annotation(annotation),
            );
        } else {
            let origin = annotate_snippets::Origin::path(name.as_str())
                .line(number)
                .char_column(column);
            group = group.element(origin);
        }
    }
    if let Some(help) = help {
        group = group.element(Level::HELP.message(clean(help)));
    }
    renderer.render(&[group])
}

/// Collects problems up to [`MAX_PROBLEMS`].
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// Adds one; `false` when no more are taken.
    pub(crate) fn push(&mut self, problem: Problem) -> bool {
        match self.0.len() {
            n if n < MAX_PROBLEMS => self.0.push(problem),
            MAX_PROBLEMS => self
                .0
                .push(Problem::new(ProblemKind::TooMany { limit: MAX_PROBLEMS }, None)),
            _ => {}
        }
        !self.full()
    }

    pub(crate) fn full(&self) -> bool {
        self.0.len() > MAX_PROBLEMS
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_vec(self) -> Vec<Problem> {
        self.0
    }
}
