//! A command line against the tables of [`super::grammar`]: what it means, what is wrong with it, what could follow.
//!
//! Words may be abbreviated as long as one command is meant. A keyword written in full beats a name, a name that exists
//! beats an abbreviation, and a word in quotes is always a value; so whatever a pool is called, it can be reached.

use std::fmt;
use std::ops::Range;

use super::grammar::{Arg, Command, Form, Live, Value, CONFIGURATION, OPERATIONAL, PIPES};
use super::lex::{self, Word};

mod completion;

pub use completion::{complete, Candidate, Completion};

/// Mode of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Looking and acting.
    Operational,
    /// Changing the configuration.
    Configuration,
}

impl Mode {
    /// Its commands.
    pub fn commands(self) -> &'static [Command] {
        match self {
            Self::Operational => OPERATIONAL,
            Self::Configuration => CONFIGURATION,
        }
    }
}

/// Where live names come from: the daemon, or a fixture.
pub trait Names {
    /// The names of this kind that exist, sorted; empty when they cannot be told.
    fn names(&self, kind: Live) -> Vec<String>;
}

/// No names at all: for parsing without a daemon.
pub struct NoNames;

impl Names for NoNames {
    fn names(&self, _: Live) -> Vec<String> {
        Vec::new()
    }
}

/// A command with its arguments.
#[derive(Debug)]
pub struct Parsed {
    /// The command of the tables.
    pub command: &'static Command,
    values: Vec<(&'static str, String)>,
}

impl Parsed {
    /// Value of an argument; for a choice the word that was chosen, for the rest of a line its text.
    pub fn value(&self, name: &str) -> Option<&str> {
        let found = self.values.iter().find(|(given, _)| *given == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Value of an argument that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.value(name)?.parse().ok()
    }

    /// Whether an argument was given.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// All arguments, in the order they were given.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

/// A whole line: a command and what its output goes through.
#[derive(Debug)]
pub struct Line {
    /// The command.
    pub command: Parsed,
    /// Behind each `|` one.
    pub pipes: Vec<Parsed>,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What.
    pub kind: ParseErrorKind,
    /// Bytes of the line it is about; empty at the end when something is missing.
    pub span: Range<usize>,
}

/// What is wrong with a line, without the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseErrorKind {
    /// No such word here.
    Unknown {
        /// The word.
        word: String,
        /// A word there is that looks like it.
        near: Option<String>,
        /// It is a command of the other mode.
        other_mode: Option<Mode>,
    },
    /// More than one word begins so.
    Ambiguous {
        /// The word.
        word: String,
        /// What it could be.
        candidates: Vec<String>,
    },
    /// The line ends too early.
    Missing {
        /// What should follow.
        expected: String,
    },
    /// A value that cannot be.
    BadValue {
        /// The value.
        value: String,
        /// What it should be.
        expected: String,
    },
    /// A quote that does not end.
    OpenQuote,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ParseErrorKind::Unknown { word, near, other_mode } => {
                write!(f, "unknown command or argument `{word}`")?;
                if let Some(near) = near {
                    write!(f, "; did you mean `{near}`?")?;
                }
                match other_mode {
                    Some(Mode::Configuration) => {
                        f.write_str("; it is a command of the configuration mode: `configure`")
                    }
                    Some(Mode::Operational) => write!(f, "; for a command of the operational mode: `run {word} ...`"),
                    None => Ok(()),
                }
            }
            ParseErrorKind::Ambiguous { word, candidates } => {
                write!(f, "`{word}` is ambiguous: {}", candidates.join(", "))
            }
            ParseErrorKind::Missing { expected } => write!(f, "missing {expected}"),
            ParseErrorKind::BadValue { value, expected } => write!(f, "`{value}` is not {expected}"),
            ParseErrorKind::OpenQuote => f.write_str("the quote does not end"),
        }
    }
}

impl std::error::Error for ParseError {}

/// Where a walk along the words of one command stands.
struct Walk {
    table: &'static [Command],
    /// Commands that begin with the words so far.
    matching: Vec<&'static Command>,
    depth: usize,
    command: Option<Parsed>,
    used: Vec<bool>,
    /// Argument whose keyword was read and whose value was not.
    pending: Option<usize>,
}

/// The word of a command at a depth.
fn word_at(command: &'static Command, depth: usize) -> Option<&'static str> {
    command.words.split(' ').nth(depth)
}

/// One of `all` that looks like `word`.
fn near<'a>(word: &str, all: impl Iterator<Item = &'a str>) -> Option<String> {
    let scored = all.map(|other| (strsim::damerau_levenshtein(word, other), other));
    let best = scored.min()?;
    (best.0 <= 1 + word.chars().count() / 4 && best.0 < word.chars().count()).then(|| best.1.to_string())
}

impl Walk {
    fn new(table: &'static [Command]) -> Self {
        Self {
            table,
            matching: table.iter().collect(),
            depth: 0,
            command: None,
            used: Vec::new(),
            pending: None,
        }
    }

    /// Words that may stand here while the command is not settled.
    fn next_words(&self) -> Vec<&'static str> {
        let mut out: Vec<&str> = Vec::new();
        for command in &self.matching {
            match word_at(command, self.depth) {
                Some(word) if !out.contains(&word) => out.push(word),
                _ => {}
            }
        }
        out
    }

    fn path(&self) -> String {
        let first = self.matching.first().map_or("", |command| command.words);
        first.split(' ').take(self.depth).collect::<Vec<_>>().join(" ")
    }

    /// Keywords that may stand here as arguments, with the argument each belongs to.
    fn keywords(&self) -> Vec<(usize, &'static str, &'static str)> {
        let mut out = Vec::new();
        let args = self.command.as_ref().map_or(&[][..], |parsed| parsed.command.args);
        for (i, arg) in args.iter().enumerate().filter(|(i, _)| !self.used[*i]) {
            match arg.form {
                Form::Word | Form::Keyed(_) | Form::KeyedOptional(_) => out.push((i, arg.name, arg.help)),
                Form::Choice(words) => out.extend(words.iter().map(|(word, help)| (i, *word, *help))),
                _ => {}
            }
        }
        out
    }

    /// The argument that stands alone and may come next.
    fn alone(&self) -> Option<(usize, &'static Arg)> {
        let args = self.command.as_ref()?.command.args;
        args.iter().enumerate().find(|(i, arg)| {
            let keyword = matches!(
                arg.form,
                Form::Word | Form::Keyed(_) | Form::KeyedOptional(_) | Form::Choice(_)
            );
            !keyword && !self.used[*i]
        })
    }

    fn settle(&mut self) {
        if let [command] = self.matching[..] {
            if word_at(command, self.depth).is_none() {
                self.used = vec![false; command.args.len()];
                self.command = Some(Parsed {
                    command,
                    values: Vec::new(),
                });
            }
        }
    }

    fn put(&mut self, at: usize, name: &'static str, value: String) {
        self.used[at] = true;
        if let Some(parsed) = &mut self.command {
            parsed.values.push((name, value));
        }
    }

    /// Takes one word. An argument that takes the rest of the line ends the walk: then the byte it ends at is told.
    /// `pipe` is where the next `|` of the line stands.
    fn step(
        &mut self,
        word: &Word,
        line: &str,
        pipe: Option<usize>,
        names: &dyn Names,
    ) -> Result<Option<usize>, ParseError> {
        let fail = |kind| ParseError {
            kind,
            span: word.span.clone(),
        };
        if self.command.is_none() {
            let words = self.next_words();
            let chosen = pick(&word.text, &words).map_err(|candidates| {
                fail(if candidates.is_empty() || word.quoted {
                    let other = match self.depth {
                        0 => other_mode(self.table, &word.text),
                        _ => None,
                    };
                    ParseErrorKind::Unknown {
                        word: word.text.clone(),
                        near: near(&word.text, words.iter().copied()),
                        other_mode: other,
                    }
                } else {
                    ParseErrorKind::Ambiguous {
                        word: word.text.clone(),
                        candidates,
                    }
                })
            })?;
            let depth = self.depth;
            self.matching.retain(|command| word_at(command, depth) == Some(chosen));
            self.depth += 1;
            self.settle();
            return Ok(None);
        }
        let args = self.command.as_ref().map_or(&[][..], |parsed| parsed.command.args);
        if let Some(at) = self.pending.take() {
            let arg = &args[at];
            match arg.form {
                Form::KeyedOptional(value) if word.quoted || !value.accepts(&word.text) => {
                    let number = word.text.bytes().all(|b| b.is_ascii_digit());
                    if number {
                        return Err(fail(ParseErrorKind::BadValue {
                            value: word.text.clone(),
                            expected: value.expected(),
                        }));
                    }
                    self.put(at, arg.name, String::new());
                }
                Form::Keyed(value) | Form::KeyedOptional(value) => {
                    let text = value_text(value, &word.text).ok_or_else(|| {
                        fail(ParseErrorKind::BadValue {
                            value: word.text.clone(),
                            expected: value.expected(),
                        })
                    })?;
                    self.put(at, arg.name, text);
                    return Ok(None);
                }
                _ => {}
            }
        }
        let keywords = self.keywords();
        let alone = self.alone();
        let spelled: Vec<&str> = keywords.iter().map(|(_, word, _)| *word).collect();
        let full = !word.quoted && spelled.contains(&word.text.as_str());
        let named = || match alone {
            Some((_, arg)) => match arg.form {
                Form::Alone(Value::Live(kind)) => names.names(kind).contains(&word.text),
                _ => false,
            },
            None => false,
        };
        let picked = if word.quoted {
            Err(Vec::new())
        } else {
            pick(&word.text, &spelled)
        };
        match picked {
            Ok(chosen) if full || !named() => {
                let (at, name, _) = keywords
                    .into_iter()
                    .find(|(_, word, _)| *word == chosen)
                    .unwrap_or((0, chosen, ""));
                match args[at].form {
                    Form::Keyed(_) | Form::KeyedOptional(_) => {
                        self.used[at] = true;
                        self.pending = Some(at);
                    }
                    Form::Choice(_) => self.put(at, args[at].name, name.to_string()),
                    _ => self.put(at, name, String::new()),
                }
                Ok(None)
            }
            picked => match alone {
                Some((at, arg)) => self.take(at, arg, word, line, pipe).map_err(|kind| {
                    // What was meant as a keyword is told as one.
                    let near = near(&word.text, spelled.iter().copied());
                    match (kind, near) {
                        (ParseErrorKind::BadValue { value, .. }, Some(near)) if !word.quoted => {
                            fail(ParseErrorKind::Unknown {
                                word: value,
                                near: Some(near),
                                other_mode: None,
                            })
                        }
                        (kind, _) => fail(kind),
                    }
                }),
                None => Err(fail(match picked {
                    Err(candidates) if !candidates.is_empty() => ParseErrorKind::Ambiguous {
                        word: word.text.clone(),
                        candidates,
                    },
                    _ => ParseErrorKind::Unknown {
                        word: word.text.clone(),
                        near: near(&word.text, spelled.iter().copied()),
                        other_mode: None,
                    },
                })),
            },
        }
    }

    /// Takes a word as the argument that stands alone.
    fn take(
        &mut self,
        at: usize,
        arg: &'static Arg,
        word: &Word,
        line: &str,
        pipe: Option<usize>,
    ) -> Result<Option<usize>, ParseErrorKind> {
        match arg.form {
            Form::Alone(value) => {
                let text = value_text(value, &word.text);
                match text {
                    Some(text) => {
                        self.put(at, arg.name, text);
                        Ok(None)
                    }
                    // `up` may be followed by a command instead of a number.
                    None if !arg.required => {
                        self.used[at] = true;
                        match self.alone() {
                            Some((next, arg)) => self.take(next, arg, word, line, pipe),
                            None => {
                                self.used[at] = false;
                                Err(ParseErrorKind::BadValue {
                                    value: word.text.clone(),
                                    expected: value.expected(),
                                })
                            }
                        }
                    }
                    None => Err(ParseErrorKind::BadValue {
                        value: word.text.clone(),
                        expected: value.expected(),
                    }),
                }
            }
            _ => {
                let piped = self
                    .command
                    .as_ref()
                    .is_some_and(|parsed| ends_at_pipe(parsed.command, arg));
                let end = pipe.filter(|_| piped).unwrap_or(line.len());
                self.put(at, arg.name, line[word.span.start..end].trim_end().to_string());
                Ok(Some(end))
            }
        }
    }

    /// The line ended: what is missing?
    fn finish(mut self, end: usize) -> Result<Parsed, ParseError> {
        let missing = |expected: String| ParseError {
            kind: ParseErrorKind::Missing { expected },
            span: end..end,
        };
        if self.command.is_none() {
            let words = self.next_words();
            return Err(missing(format!("one of {}", words.join(", "))));
        }
        let args = self.command.as_ref().map_or(&[][..], |parsed| parsed.command.args);
        if let Some(at) = self.pending.take() {
            match args[at].form {
                Form::Keyed(value) => return Err(missing(format!("{} after `{}`", value.expected(), args[at].name))),
                _ => self.put(at, args[at].name, String::new()),
            }
        }
        for (arg, used) in args.iter().zip(&self.used) {
            if arg.required && !used {
                return Err(missing(match arg.form {
                    Form::Keyed(_) | Form::Choice(_) => format!("`{}`", arg.usage()),
                    Form::Alone(value) => value.expected(),
                    _ => arg.help.to_lowercase(),
                }));
            }
        }
        match self.command {
            Some(parsed) => Ok(parsed),
            None => Err(missing("a command".into())),
        }
    }
}

/// The value as it is kept; words of a set may be abbreviated.
fn value_text(value: Value, text: &str) -> Option<String> {
    if let Value::Words(words) = value {
        return pick(text, words).ok().map(str::to_string);
    }
    value.accepts(text).then(|| text.to_string())
}

/// The one of `words` that `text` is or begins; else all that it begins.
fn pick<'a>(text: &str, words: &[&'a str]) -> Result<&'a str, Vec<String>> {
    if let Some(word) = words.iter().find(|word| **word == text) {
        return Ok(word);
    }
    let begun: Vec<&str> = words.iter().copied().filter(|word| word.starts_with(text)).collect();
    match begun[..] {
        [word] => Ok(word),
        _ => Err(begun.iter().map(|word| (*word).to_string()).collect()),
    }
}

/// The other mode, when it has a command that begins with this word.
fn other_mode(table: &'static [Command], word: &str) -> Option<Mode> {
    let other = if std::ptr::eq(table, OPERATIONAL) {
        Mode::Configuration
    } else if std::ptr::eq(table, CONFIGURATION) {
        Mode::Operational
    } else {
        return None;
    };
    let known = |command: &Command| command.words.split(' ').next() == Some(word);
    other.commands().iter().any(known).then_some(other)
}

/// Whether the rest of a line that this argument takes ends at a `|`.
fn ends_at_pipe(command: &Command, arg: &Arg) -> bool {
    use super::grammar::Action;
    match arg.form {
        Form::Command | Form::ConfigurationCommand | Form::Rest => false,
        Form::Statement(_) => matches!(command.action, Action::ShowCandidate | Action::ShowActiveConfiguration),
        _ => true,
    }
}

/// Reads a line. `None`: it is empty or a comment (`# ...`).
///
/// # Errors
/// What is wrong with it, and where.
pub fn parse(mode: Mode, line: &str, names: &dyn Names) -> Result<Option<Line>, ParseError> {
    if line.trim_start().starts_with('#') {
        return Ok(None);
    }
    let words = lex::words(line).or_else(|open| raw_rest(mode, line, open, names))?;
    if words.is_empty() {
        return Ok(None);
    }
    let mut parts = Vec::new();
    let mut walk = Walk::new(mode.commands());
    let mut at = 0;
    let mut end = line.len();
    while at < words.len() {
        let word = &words[at];
        if word.is_pipe() {
            parts.push(walk.finish(word.span.start)?);
            walk = Walk::new(PIPES);
            at += 1;
            continue;
        }
        end = word.span.end;
        let stop = words[at..].iter().find(|word| word.is_pipe());
        if let Some(cut) = walk.step(word, line, stop.map(|pipe| pipe.span.start), names)? {
            end = cut;
            at = words
                .iter()
                .position(|word| word.span.start >= cut)
                .unwrap_or(words.len());
        } else {
            at += 1;
        }
    }
    parts.push(walk.finish(end)?);
    let command = parts.remove(0);
    Ok(Some(Line { command, pipes: parts }))
}

/// A line whose quote does not end may still be a command that takes its rest as it stands (`load ... inline`).
fn raw_rest(mode: Mode, line: &str, open: lex::OpenQuote, names: &dyn Names) -> Result<Vec<Word>, ParseError> {
    let error = ParseError {
        kind: ParseErrorKind::OpenQuote,
        span: open.at..line.len(),
    };
    let head = lex::words(&line[..open.at]).map_err(|_| error.clone())?;
    let mut walk = Walk::new(mode.commands());
    for word in &head {
        match walk.step(word, line, None, names) {
            Ok(Some(_)) => return Ok(head),
            Ok(None) => {}
            Err(_) => return Err(error),
        }
    }
    Err(error)
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
