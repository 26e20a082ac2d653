//! What could stand at the end of a line: completion and `?`.

use super::super::grammar::{Arg, Command, Form, Purpose, Value, CONFIGURATION, GROUPS, OPERATIONAL, PIPES};
use super::super::lex;
use super::{Mode, Names, ParseError, Walk};

/// What could stand at the end of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// Byte at which the word begins that is being written; the line's length after a space.
    pub from: usize,
    /// Words and values.
    pub candidates: Vec<Candidate>,
    /// The command could end here.
    pub enter: bool,
    /// A `|` could follow.
    pub pipe: bool,
    /// The rest, from this byte on, is a statement: the configuration completes it.
    pub statement: Option<(usize, Purpose)>,
}

/// One word or value that could stand somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The word; for a value that cannot be listed its name in angle brackets.
    pub text: String,
    /// One line about it.
    pub help: String,
    /// Whether it can be inserted as it is.
    pub literal: bool,
    /// What Junos puts before a statement: `>` when others stand below it, `+` when it may stand several times.
    pub mark: char,
    /// Whether it is a word of the language: a space completes those, but never a name.
    pub keyword: bool,
}

impl Candidate {
    /// A word that can be inserted.
    pub fn literal(text: &str, help: &str) -> Self {
        Self {
            text: text.into(),
            help: help.into(),
            literal: true,
            mark: ' ',
            keyword: true,
        }
    }

    /// A name that exists.
    pub fn name(text: &str, help: &str) -> Self {
        Self {
            keyword: false,
            ..Self::literal(text, help)
        }
    }

    /// A value of which only the kind is known.
    pub fn value(name: &str, help: &str) -> Self {
        Self {
            text: format!("<{name}>"),
            help: help.into(),
            literal: false,
            mark: ' ',
            keyword: false,
        }
    }
}

/// What could stand at the end of `line`.
///
/// # Errors
/// What is wrong with the words before.
pub fn complete(mode: Mode, line: &str, names: &dyn Names) -> Result<Completion, ParseError> {
    complete_in(mode.commands(), line, 0, names)
}

fn complete_in(
    table: &'static [Command],
    line: &str,
    offset: usize,
    names: &dyn Names,
) -> Result<Completion, ParseError> {
    let shift = |mut error: ParseError| {
        error.span = error.span.start + offset..error.span.end + offset;
        error
    };
    let Ok(mut words) = lex::words(line) else {
        // Inside a quote nothing completes.
        return Ok(Completion {
            from: offset + line.len(),
            ..Completion::default()
        });
    };
    let begun = match words.last() {
        Some(last) if last.span.end == line.len() && !last.is_pipe() => words.pop(),
        _ => None,
    };
    let from = begun.as_ref().map_or(line.len(), |word| word.span.start);
    let mut walk = Walk::new(table);
    for word in &words {
        if word.is_pipe() {
            walk.finish(word.span.start).map_err(shift)?;
            walk = Walk::new(PIPES);
            continue;
        }
        let stop = words
            .iter()
            .find(|other| other.is_pipe() && other.span.start > word.span.start);
        if let Some(end) = walk
            .step(word, line, stop.map(|pipe| pipe.span.start), names)
            .map_err(shift)?
        {
            // The rest belongs to this argument, or goes on after a `|`.
            if let Some(pipe) = stop.filter(|pipe| pipe.span.start == end) {
                let tail = &line[pipe.span.end..];
                return complete_in(PIPES, tail, offset + pipe.span.end, names);
            }
            return Ok(rest_of(&walk, line, word.span.start, offset, names)?.unwrap_or_default());
        }
    }
    if walk.pending.is_none() {
        let start = from;
        if let Some(rest) = rest_of_next(&walk, line, start, offset, names)? {
            return Ok(rest);
        }
    }
    let prefix = begun.as_ref().map_or("", |word| word.text.as_str());
    let mut out = candidates(&walk, prefix, names);
    out.from = offset + from;
    out.enter = begun.is_none() && !words.is_empty() && walk.finish(line.len()).is_ok();
    out.pipe = out.enter;
    Ok(out)
}

/// Completion of a rest of the line that began at byte `start`.
fn rest_of(
    walk: &Walk,
    line: &str,
    start: usize,
    offset: usize,
    names: &dyn Names,
) -> Result<Option<Completion>, ParseError> {
    let arg = walk
        .command
        .as_ref()
        .and_then(|parsed| parsed.command.args.iter().zip(&walk.used).rfind(|(_, used)| **used));
    match arg {
        Some((arg, _)) => rest_form(arg, line, start, offset, names),
        None => Ok(None),
    }
}

/// Completion when what comes next is a rest of the line.
fn rest_of_next(
    walk: &Walk,
    line: &str,
    start: usize,
    offset: usize,
    names: &dyn Names,
) -> Result<Option<Completion>, ParseError> {
    let complete = walk.keywords().is_empty();
    match walk.alone() {
        Some((_, arg)) if complete => {
            let mut out = rest_form(arg, line, start, offset, names)?;
            if let Some(out) = &mut out {
                out.enter = !arg.required && line[start..].trim().is_empty();
                out.pipe = out.enter;
            }
            Ok(out)
        }
        _ => Ok(None),
    }
}

fn rest_form(
    arg: &'static Arg,
    line: &str,
    start: usize,
    offset: usize,
    names: &dyn Names,
) -> Result<Option<Completion>, ParseError> {
    let start_in = offset + start;
    match arg.form {
        Form::Statement(purpose) => Ok(Some(Completion {
            from: offset + line.len(),
            statement: Some((start_in, purpose)),
            ..Completion::default()
        })),
        Form::Command => complete_in(OPERATIONAL, &line[start..], start_in, names).map(Some),
        Form::ConfigurationCommand => complete_in(CONFIGURATION, &line[start..], start_in, names).map(Some),
        _ => Ok(None),
    }
}

fn candidates(walk: &Walk, prefix: &str, names: &dyn Names) -> Completion {
    let mut out = Completion::default();
    if walk.command.is_none() {
        let path = walk.path();
        for word in walk.next_words() {
            if !word.starts_with(prefix) {
                continue;
            }
            let full = if path.is_empty() {
                word.to_string()
            } else {
                format!("{path} {word}")
            };
            let own = walk.matching.iter().find(|command| command.words == full);
            let group = GROUPS.iter().find(|(words, _)| *words == full);
            let help = own.map_or_else(|| group.map_or("", |(_, help)| *help), |command| command.help);
            out.candidates.push(Candidate::literal(word, help));
        }
        return out;
    }
    let mut value = |name: &str, value: Value, help: &str| {
        match value {
            Value::Live(kind) => {
                let mut known = names.names(kind);
                known.retain(|name| name.starts_with(prefix));
                for name in known {
                    out.candidates.push(Candidate::name(&lex::quoted(&name), help));
                }
                if prefix.is_empty() {
                    out.candidates.push(Candidate::value(name, help));
                }
            }
            Value::Words(words) => {
                for word in words.iter().filter(|word| word.starts_with(prefix)) {
                    out.candidates.push(Candidate::literal(word, help));
                }
            }
            Value::Number(low, high) => {
                out.candidates
                    .push(Candidate::value(name, &format!("{help} ({low}..{high})")));
            }
            _ => out.candidates.push(Candidate::value(name, help)),
        };
    };
    let args = walk.command.as_ref().map_or(&[][..], |parsed| parsed.command.args);
    if let Some(at) = walk.pending {
        if let Form::Keyed(of) | Form::KeyedOptional(of) = args[at].form {
            value(args[at].name, of, args[at].help);
        }
        if matches!(args[at].form, Form::Keyed(_)) {
            return out;
        }
    }
    if let Some((_, arg)) = walk.alone() {
        if let Form::Alone(of) = arg.form {
            value(arg.name, of, arg.help);
        } else if arg.form_is_rest() && prefix.is_empty() {
            out.candidates.push(Candidate::value(arg.name, arg.help));
        }
    }
    for (_, word, help) in walk.keywords() {
        if word.starts_with(prefix) {
            out.candidates.push(Candidate::literal(word, help));
        }
    }
    out
}

impl Arg {
    fn form_is_rest(&self) -> bool {
        matches!(self.form, Form::Rest)
    }
}
