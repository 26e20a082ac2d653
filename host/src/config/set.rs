//! The `set` form: one command per line, and the commands of event files.
//!
//! `set`, `delete`, `deactivate` and `activate` change the tree; `clear services sessions` changes nothing in it and
//! is handed to the caller.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use nat64_layout::Protocol;

use super::load::{insert, remove, resolve, switch, Marks, Purpose, Word, TOP};
use super::parse::command;
use super::place::Source;
use super::problem::{ConfigError, Problem, ProblemKind, Problems};
use super::tree::Tree;
use super::value::{number, prefix, Value};
use super::MAX_TEXT;

/// What a command did.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// The tree has changed, or said so already.
    Changed,
    /// `clear services sessions`: the sessions that match go.
    ClearSessions(SessionFilter),
    /// An empty line or a comment.
    Nothing,
}

/// Which sessions a `clear services sessions` means; `None` fields match all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionFilter {
    /// `service-set NAME`.
    pub service_set: Option<String>,
    /// `source-prefix`: address and length, either family.
    pub source_prefix: Option<(IpAddr, u8)>,
    /// `destination-prefix`: address and length, either family.
    pub destination_prefix: Option<(IpAddr, u8)>,
    /// `source-port`.
    pub source_port: Option<u16>,
    /// `destination-port`.
    pub destination_port: Option<u16>,
    /// `protocol tcp|udp|icmp|icmp6`.
    pub protocol: Option<Protocol>,
}

/// Changes `tree` by one command line. On an error the tree is as before.
///
/// # Errors
/// Unknown command or statement, missing or bad value, nothing there to delete.
pub fn apply_command(tree: &mut Tree, line: &str) -> Result<Applied, ConfigError> {
    if line.len() > MAX_TEXT {
        return Err(Problem::new(
            ProblemKind::TooLong {
                length: line.len(),
                limit: MAX_TEXT,
            },
            None,
        )
        .into());
    }
    let source = Arc::new(Source {
        name: "command".into(),
        text: line.into(),
    });
    apply(tree, &source, 0..line.len())
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
    let mut problems = Problems::default();
    let mut start = 0;
    for line in source.text.split_inclusive('\n') {
        let range = start..start + line.len();
        start = range.end;
        if let Err(error) = apply(&mut tree, &source, range) {
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

fn apply(tree: &mut Tree, source: &Arc<Source>, range: Range<usize>) -> Result<Applied, ConfigError> {
    let (words, list) = command(source, range)?;
    let Some((verb, path)) = words.split_first() else {
        return Ok(Applied::Nothing);
    };
    let root = tree.root_mut();
    match verb.text.as_str() {
        "set" => {
            let mut routes = Vec::new();
            // All routes first: a problem in one must leave the tree as it was.
            match list {
                None => routes.push(resolve(TOP, nonempty(verb, path)?, &[], Purpose::Whole)?),
                Some(list) => {
                    let mut path = path.to_vec();
                    for word in list {
                        path.push(word);
                        routes.push(resolve(TOP, &path, &[], Purpose::Whole)?);
                        path.pop();
                    }
                }
            }
            for route in routes {
                insert(root, route, Marks::default(), false)?;
            }
            Ok(Applied::Changed)
        }
        "delete" | "deactivate" | "activate" => {
            no_list(list.as_deref())?;
            let route = resolve(TOP, nonempty(verb, path)?, &[], Purpose::Name)?;
            let done = match verb.text.as_str() {
                "delete" => remove(root, route.steps()),
                verb => switch(root, route.steps(), verb == "deactivate"),
            };
            if done {
                return Ok(Applied::Changed);
            }
            let place = path
                .first()
                .map(|first| path.last().map_or(first.place.clone(), |l| first.place.to(&l.place)));
            Err(Problem::new(ProblemKind::NotFound { path: route.text() }, place).into())
        }
        "clear" => {
            no_list(list.as_deref())?;
            clear(verb, path)
        }
        _ => {
            let kind = ProblemKind::UnknownCommand {
                name: verb.text.clone(),
            };
            let help = "commands are `set`, `delete`, `deactivate`, `activate` and `clear services sessions`";
            Err(Problem::new(kind, verb.place.clone()).help(help).into())
        }
    }
}

fn nonempty<'a>(verb: &Word, path: &'a [Word]) -> Result<&'a [Word], Problem> {
    if path.is_empty() {
        let kind = ProblemKind::MissingValue {
            statement: verb.text.clone(),
            expected: "a statement".into(),
        };
        return Err(Problem::new(kind, verb.place.clone()));
    }
    Ok(path)
}

fn no_list(list: Option<&[Word]>) -> Result<(), Problem> {
    match list {
        None => Ok(()),
        Some(list) => {
            let kind = ProblemKind::Syntax {
                expected: "a word",
                found: "`[`".into(),
            };
            Err(Problem::new(kind, list.first().map(|word| word.place.clone())))
        }
    }
}

fn clear(verb: &Word, path: &[Word]) -> Result<Applied, ConfigError> {
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
            Some((word, _)) => return Err(expected(word.place.clone())),
            None => return Err(expected(verb.place.clone())),
        }
    }
    let mut filter = SessionFilter::default();
    while let Some((word, more)) = rest.split_first() {
        let value = match word.text.as_str() {
            "service-set" => Value::Name,
            "source-prefix" | "destination-prefix" => Value::Prefix,
            "source-port" | "destination-port" => Value::Number(0, 65_535),
            "protocol" => Value::Word(&["tcp", "udp", "icmp", "icmp6"]),
            _ => {
                let kind = ProblemKind::UnknownStatement {
                    name: word.text.clone(),
                    parent: "clear services sessions".into(),
                };
                let help = "filters are service-set, source-prefix, destination-prefix, source-port, \
                            destination-port, protocol";
                return Err(Problem::new(kind, word.place.clone()).help(help).into());
            }
        };
        let Some((given, more)) = more.split_first() else {
            let kind = ProblemKind::MissingValue {
                statement: word.text.clone(),
                expected: value.expected(),
            };
            return Err(Problem::new(kind, word.place.clone()).into());
        };
        let text = given.text.as_str();
        if value.normalise(text).is_none() {
            let kind = ProblemKind::BadValue {
                value: given.text.clone(),
                expected: value.expected(),
            };
            return Err(Problem::new(kind, given.place.clone()).into());
        }
        let port = || number(text).and_then(|port| u16::try_from(port).ok());
        match word.text.as_str() {
            "service-set" => filter.service_set = Some(given.text.clone()),
            "source-prefix" => filter.source_prefix = prefix(text),
            "destination-prefix" => filter.destination_prefix = prefix(text),
            "source-port" => filter.source_port = port(),
            "destination-port" => filter.destination_port = port(),
            _ => {
                filter.protocol = Some(match text {
                    "tcp" => Protocol::Tcp,
                    "udp" => Protocol::Udp,
                    _ => Protocol::Icmp,
                });
            }
        }
        rest = more;
    }
    Ok(Applied::ClearSessions(filter))
}
