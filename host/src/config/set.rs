//! The `set` form: one command per line, and the commands of event files.
//!
//! The commands themselves are in [`super::edit`]; `clear services sessions` changes nothing in the tree and is handed
//! to the caller.

use std::sync::Arc;

use super::edit::{apply, EditPath};
use super::load::Word;
use super::place::Source;
use super::problem::{ConfigError, Problem, ProblemKind, Problems};
use super::tree::Tree;
use super::value::{number, Value};
use super::MAX_TEXT;
use crate::api::sessions::SessionFilter;

/// What a command did.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// The tree has changed, or said so already.
    Changed,
    /// `clear services sessions`: the sessions that match go.
    ClearSessions(Box<SessionFilter>),
    /// An empty line or a comment.
    Nothing,
}

/// Reads a configuration in `set` form: commands, one per line; empty lines and lines that begin with `#` count for
/// nothing. `name` is shown in messages, as a rule the file's name.
///
/// # Errors
/// The problems of all lines, up to [`super::MAX_PROBLEMS`].
pub fn parse_set(text: &str, name: &str) -> Result<Tree, ConfigError> {
    if text.len() > MAX_TEXT {
        return Err(Problem::new(
            ProblemKind::TooLong {
                length: text.len(),
                limit: MAX_TEXT,
            },
            None,
        )
        .into());
    }
    let source = Arc::new(Source {
        name: name.into(),
        text: text.into(),
    });
    let mut tree = Tree::new();
    let top = EditPath::top();
    let mut problems = Problems::default();
    let mut start = 0;
    for line in source.text.split_inclusive('\n') {
        let range = start..start + line.len();
        start = range.end;
        if let Err(error) = apply(&mut tree, &top, &source, range) {
            for problem in error.into_problems() {
                problems.push(problem);
            }
        }
        if problems.full() {
            break;
        }
    }
    if problems.is_empty() {
        Ok(tree)
    } else {
        Err(ConfigError::new(problems.into_vec()))
    }
}

pub(super) fn no_list(list: Option<&[Word]>) -> Result<(), Problem> {
    match list {
        None => Ok(()),
        Some(list) => {
            let kind = ProblemKind::Syntax {
                expected: "a word",
                found: "`[`".into(),
            };
            Err(Problem::new(kind, list.first().map(|word| word.place())))
        }
    }
}

pub(super) fn clear(verb: &Word, path: &[Word]) -> Result<Applied, ConfigError> {
    let expected = |place| {
        let kind = ProblemKind::MissingValue {
            statement: "clear".into(),
            expected: "`services sessions`".into(),
        };
        ConfigError::from(Problem::new(kind, Some(place)))
    };
    let mut rest = path;
    for wanted in ["services", "sessions"] {
        match rest.split_first() {
            Some((word, more)) if word.text == wanted => rest = more,
            Some((word, _)) => return Err(expected(word.place())),
            None => return Err(expected(verb.place())),
        }
    }
    let mut filter = SessionFilter::default();
    while let Some((word, more)) = rest.split_first() {
        let value = match word.text.as_ref() {
            "service-set" => Value::Name,
            "source-prefix" | "destination-prefix" => Value::Prefix,
            "source-port" | "destination-port" => Value::Number(0, 65_535),
            "protocol" => Value::Word(&["tcp", "udp", "icmp", "icmp6"]),
            _ => {
                let kind = ProblemKind::UnknownStatement {
                    name: word.text.to_string(),
                    parent: "clear services sessions".into(),
                };
                let help = "filters are service-set, source-prefix, destination-prefix, source-port, \
                            destination-port, protocol";
                return Err(Problem::new(kind, word.place()).help(help).into());
            }
        };
        let Some((given, more)) = more.split_first() else {
            let kind = ProblemKind::MissingValue {
                statement: word.text.to_string(),
                expected: value.expected(),
            };
            return Err(Problem::new(kind, word.place()).into());
        };
        let text = given.text.as_ref();
        if value.normalise(text).is_none() {
            let kind = ProblemKind::BadValue {
                value: given.text.to_string(),
                expected: value.expected(),
            };
            return Err(Problem::new(kind, given.place()).into());
        }
        let port = || number(text).and_then(|port| u16::try_from(port).ok());
        let text = text.to_owned();
        match word.text.as_ref() {
            "service-set" => filter.service_set = Some(text),
            "source-prefix" => filter.source_prefix = Some(text),
            "destination-prefix" => filter.destination_prefix = Some(text),
            "source-port" => filter.source_port = port(),
            "destination-port" => filter.destination_port = port(),
            _ => filter.protocol = Some(text),
        }
        rest = more;
    }
    Ok(Applied::ClearSessions(Box::new(filter)))
}
