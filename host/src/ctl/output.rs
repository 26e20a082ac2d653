//! Lines of output on their way: through what stands behind the `|`, then to a screen or a file.
//!
//! ```text
//!  text --lines--> match, except, find, trim, count, last, save --> Screen: plain, paged, captured
//! ```
//!
//! A screen may say that it has enough (the user left the pager, a pipe was closed): whoever fetches pages stops then.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::PathBuf;

use regex::{Regex, RegexBuilder};
use serde::Serialize;

use super::error::CtlError;
use super::grammar::Action;
use super::parse::Parsed;

/// Whether more output is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// Go on.
    Wanted,
    /// Whoever reads has enough.
    Enough,
}

impl More {
    /// Whether to go on.
    pub fn is_wanted(self) -> bool {
        self == Self::Wanted
    }

    /// Whether to stop.
    pub fn is_enough(self) -> bool {
        self == Self::Enough
    }
}

/// Where lines end up.
pub trait Screen {
    /// One line, without its line end.
    ///
    /// # Errors
    /// It could not be written.
    fn line(&mut self, line: &str) -> Result<More, CtlError>;

    /// Output of a command begins; `paged`: it may stop at each screen.
    fn begin(&mut self, _paged: bool) {}

    /// Output of a command ends, or pauses: what was held back is shown.
    ///
    /// # Errors
    /// It could not be written.
    fn flush(&mut self) -> Result<(), CtlError> {
        Ok(())
    }

    /// Lines of a screen, when there is one.
    fn height(&self) -> Option<usize> {
        None
    }
}

/// Lines as they come, to standard output or the like.
pub struct Plain<W: Write> {
    to: BufWriter<W>,
}

impl<W: Write> Plain<W> {
    /// Writes to `to`.
    pub fn new(to: W) -> Self {
        Self { to: BufWriter::new(to) }
    }
}

impl<W: Write> Screen for Plain<W> {
    fn line(&mut self, line: &str) -> Result<More, CtlError> {
        more(writeln!(self.to, "{line}"))
    }

    fn flush(&mut self) -> Result<(), CtlError> {
        more(self.to.flush()).map(|_| ())
    }
}

/// A reader that went away is no error: nothing more is wanted.
fn more(written: std::io::Result<()>) -> Result<More, CtlError> {
    match written {
        Ok(()) => Ok(More::Wanted),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(More::Enough),
        Err(error) => Err(CtlError::Output(error)),
    }
}

/// Lines kept in memory, for tests and the manual.
#[derive(Default)]
pub struct Captured {
    /// The lines, each with its line end.
    pub text: String,
}

impl Screen for Captured {
    fn line(&mut self, line: &str) -> Result<More, CtlError> {
        self.text.push_str(line);
        self.text.push('\n');
        Ok(More::Wanted)
    }
}

/// Form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// As the daemon gives it, indented.
    Json,
    /// As the daemon gives it, one answer a line.
    JsonLines,
    /// A configuration as `set` commands.
    Set,
}

enum Filter {
    Match(Regex),
    Except(Regex),
    Find(Regex, bool),
    Trim(usize),
    Count(u64),
    Last(usize, VecDeque<String>),
    Save(PathBuf, BufWriter<File>, u64),
}

/// Output of one command.
pub struct Output<'a> {
    filters: Vec<Filter>,
    screen: &'a mut dyn Screen,
    format: Format,
    compare: Option<Option<u64>>,
    /// Elements of a JSON array so far, while one is open.
    elements: Option<usize>,
}

impl<'a> Output<'a> {
    /// Output through these pipes to `screen`; `format` is what is shown without `| display`.
    ///
    /// # Errors
    /// A file that cannot be written, a pattern too large.
    pub fn new(pipes: &[Parsed], format: Format, screen: &'a mut dyn Screen) -> Result<Self, CtlError> {
        let mut out = Self {
            filters: Vec::new(),
            format,
            compare: None,
            elements: None,
            screen,
        };
        let mut paged = true;
        for pipe in pipes {
            let pattern = || {
                let text = pipe.value("pattern").unwrap_or_default();
                // As on Junos, case does not matter.
                let built = RegexBuilder::new(text).case_insensitive(true).build();
                built.map_err(|error| CtlError::Usage(error.to_string()))
            };
            let number = |name: &str, otherwise: usize| {
                let given = pipe.number(name).and_then(|n| usize::try_from(n).ok());
                given.unwrap_or(otherwise)
            };
            let filter = match pipe.command.action {
                Action::PipeMatch => Filter::Match(pattern()?),
                Action::PipeExcept => Filter::Except(pattern()?),
                Action::PipeFind => Filter::Find(pattern()?, false),
                Action::PipeTrim => Filter::Trim(number("columns", 0)),
                Action::PipeCount => Filter::Count(0),
                Action::PipeLast => {
                    let screen = out.screen.height().unwrap_or(24).saturating_sub(1).max(1);
                    Filter::Last(number("lines", screen), VecDeque::new())
                }
                Action::PipeSave | Action::PipeAppend => {
                    let path = PathBuf::from(pipe.value("file").unwrap_or_default());
                    let append = pipe.command.action == Action::PipeAppend;
                    let opened = File::options()
                        .create(true)
                        .write(true)
                        .append(append)
                        .truncate(!append)
                        .open(&path);
                    match opened {
                        Ok(file) => Filter::Save(path, BufWriter::new(file), 0),
                        Err(why) => return Err(CtlError::File { file: path, why }),
                    }
                }
                Action::PipeNoMore => {
                    paged = false;
                    continue;
                }
                Action::PipeDisplayJson => {
                    if format != Format::JsonLines {
                        out.format = Format::Json;
                    }
                    continue;
                }
                Action::PipeDisplaySet => {
                    out.format = Format::Set;
                    continue;
                }
                _ => {
                    out.compare = Some(pipe.number("rollback"));
                    continue;
                }
            };
            out.filters.push(filter);
        }
        out.screen.begin(paged);
        Ok(out)
    }

    /// Form that was asked for.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether JSON was asked for.
    pub fn is_json(&self) -> bool {
        matches!(self.format, Format::Json | Format::JsonLines)
    }

    /// `| compare`, and with which earlier configuration.
    pub fn compare(&self) -> Option<Option<u64>> {
        self.compare
    }

    /// Lines of text.
    ///
    /// # Errors
    /// They could not be written.
    pub fn text(&mut self, text: &str) -> Result<More, CtlError> {
        for line in text.lines() {
            if push(&mut self.filters, self.screen, line)?.is_enough() {
                return Ok(More::Enough);
            }
        }
        Ok(More::Wanted)
    }

    /// An answer: as JSON if that was asked for, else as `text` writes it.
    ///
    /// # Errors
    /// It could not be written.
    pub fn answer<T: Serialize>(&mut self, answer: &T, text: impl FnOnce(&T) -> String) -> Result<More, CtlError> {
        if self.is_json() {
            self.json(answer)
        } else {
            let text = text(answer);
            self.text(&text)
        }
    }

    fn json<T: Serialize>(&mut self, answer: &T) -> Result<More, CtlError> {
        let text = self.encoded(answer)?;
        self.text(&text)
    }

    fn encoded<T: Serialize>(&self, answer: &T) -> Result<String, CtlError> {
        let text = if self.format == Format::JsonLines {
            serde_json::to_string(answer)
        } else {
            serde_json::to_string_pretty(answer)
        };
        text.map_err(|error| CtlError::BadAnswer {
            request: "output".into(),
            why: error.to_string(),
        })
    }

    /// Elements of a listing that comes in pages: one JSON array over all pages, or `text` for each page.
    ///
    /// # Errors
    /// They could not be written.
    pub fn page<T: Serialize>(&mut self, items: &[T], text: impl FnOnce(&[T]) -> String) -> Result<More, CtlError> {
        if !self.is_json() {
            return self.text(&text(items));
        }
        let mut written = self.elements.unwrap_or(0);
        for item in items {
            let item = self.encoded(item)?;
            let before = if written == 0 { "[" } else { "," };
            written += 1;
            if self.text(&format!("{before}{item}"))?.is_enough() {
                return Ok(More::Enough);
            }
        }
        self.elements = Some(written);
        Ok(More::Wanted)
    }

    /// One event of a stream: one line of JSON, or text; shown at once.
    ///
    /// # Errors
    /// It could not be written.
    pub fn event<T: Serialize>(&mut self, event: &T, text: impl FnOnce(&T) -> String) -> Result<More, CtlError> {
        let text = if self.is_json() {
            serde_json::to_string(event).unwrap_or_default()
        } else {
            text(event)
        };
        let more = self.text(&text)?;
        self.screen.flush()?;
        Ok(more)
    }

    /// The end: what pipes held back comes out.
    ///
    /// # Errors
    /// It could not be written.
    pub fn finish(mut self) -> Result<(), CtlError> {
        match self.elements {
            Some(0) => self.text("[]").map(|_| ())?,
            Some(_) => self.text("]").map(|_| ())?,
            None => {}
        }
        for at in 0..self.filters.len() {
            let (before, after) = self.filters.split_at_mut(at + 1);
            let held: Vec<String> = match &mut before[at] {
                Filter::Count(lines) => vec![format!("Count: {lines} lines")],
                Filter::Last(_, kept) => kept.drain(..).collect(),
                Filter::Save(path, file, lines) => {
                    file.flush().map_err(|why| CtlError::File {
                        file: path.clone(),
                        why,
                    })?;
                    vec![format!("Wrote {lines} lines of output to '{}'", path.display())]
                }
                _ => continue,
            };
            for line in held {
                if push(after, self.screen, &line)?.is_enough() {
                    break;
                }
            }
        }
        self.screen.flush()
    }
}

fn push(filters: &mut [Filter], screen: &mut dyn Screen, line: &str) -> Result<More, CtlError> {
    let Some((filter, rest)) = filters.split_first_mut() else {
        return screen.line(line);
    };
    let pass = match filter {
        Filter::Match(pattern) => pattern.is_match(line),
        Filter::Except(pattern) => !pattern.is_match(line),
        Filter::Find(pattern, found) => {
            *found = *found || pattern.is_match(line);
            *found
        }
        Filter::Trim(columns) => {
            let cut = line.char_indices().nth(*columns).map_or(line.len(), |(at, _)| at);
            return push(rest, screen, &line[cut..]);
        }
        Filter::Count(lines) => {
            *lines += 1;
            false
        }
        Filter::Last(keep, kept) => {
            if kept.len() == *keep {
                kept.pop_front();
            }
            kept.push_back(line.to_string());
            false
        }
        Filter::Save(path, file, lines) => {
            *lines += 1;
            writeln!(file, "{line}").map_err(|why| CtlError::File {
                file: path.clone(),
                why,
            })?;
            false
        }
    };
    if pass {
        push(rest, screen, line)
    } else {
        Ok(More::Wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::{parse, Mode, NoNames};
    use super::*;

    fn through(pipes: &str, text: &str) -> String {
        let line = parse(Mode::Operational, &format!("show drops {pipes}"), &NoNames);
        let line = line.unwrap().unwrap();
        let mut screen = Captured::default();
        let mut out = Output::new(&line.pipes, Format::Text, &mut screen).unwrap();
        assert!(out.text(text).unwrap().is_wanted());
        out.finish().unwrap();
        screen.text
    }

    const TEXT: &str = "alpha 1\nbeta 2\nGamma 3\nalpha 4\n";

    #[test]
    fn pipes_select_lines() {
        assert_eq!(through("", TEXT), TEXT);
        assert_eq!(through("| match ALPHA", TEXT), "alpha 1\nalpha 4\n");
        assert_eq!(through("| except alpha | trim 1", TEXT), "eta 2\namma 3\n");
        assert_eq!(through("| find \"^b\" | last 2", TEXT), "Gamma 3\nalpha 4\n");
        assert_eq!(through("| match alpha | count", TEXT), "Count: 2 lines\n");
        assert_eq!(through("| last 3 | count", TEXT), "Count: 3 lines\n");
        assert_eq!(through("| match nothing | count", TEXT), "Count: 0 lines\n");
    }

    #[test]
    fn save_and_append_write_files() {
        let folder = std::env::temp_dir().join(format!("nat64ctl-output-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("out");
        let name = file.display();
        assert_eq!(
            through(&format!("| match alpha | save {name}"), TEXT),
            format!("Wrote 2 lines of output to '{name}'\n")
        );
        through(&format!("| match beta | append {name}"), TEXT);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "alpha 1\nalpha 4\nbeta 2\n");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error_before_anything_is_done() {
        let line = parse(Mode::Operational, "show drops | save /nonexistent/x", &NoNames);
        let mut screen = Captured::default();
        let error = Output::new(&line.unwrap().unwrap().pipes, Format::Text, &mut screen)
            .err()
            .unwrap();
        assert_eq!(error.exit_code(), 1);
    }

    #[test]
    fn pages_make_one_json_array() {
        for (pages, wanted) in [
            (vec![vec![1, 2], vec![3]], vec![1, 2, 3]),
            (vec![vec![]], vec![]),
            (vec![vec![7]], vec![7]),
        ] {
            for format in [Format::Json, Format::JsonLines] {
                let mut screen = Captured::default();
                let mut out = Output::new(&[], format, &mut screen).unwrap();
                for page in &pages {
                    assert!(out.page(page, |_| String::new()).unwrap().is_wanted());
                }
                out.finish().unwrap();
                assert_eq!(serde_json::from_str::<Vec<i32>>(&screen.text).unwrap(), wanted);
            }
        }
    }
}
