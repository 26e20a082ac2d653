//! Where in a text something stands, kept with every statement so that a commit check can point at it.

use std::fmt;
use std::sync::Arc;

/// A text that was read: a file, or one command.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Name shown in messages, as a rule the file's name.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// A piece of a [`Source`]: bytes `start..end`. The source lives as long as a place points into it.
#[derive(Clone)]
pub struct Place {
    source: Arc<Source>,
    // Texts are at most MAX_TEXT bytes long; places are many.
    start: u32,
    end: u32,
}

impl Place {
    /// The bytes `start..end` of `source`, cut to what the text has.
    pub(crate) fn new(source: &Arc<Source>, start: usize, end: usize) -> Self {
        let length = source.text.len();
        let start = start.min(length);
        let cut = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            source: Arc::clone(source),
            start: cut(start),
            end: cut(end.clamp(start, length)),
        }
    }

    fn range(&self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    /// Name of the text.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// The text at the place.
    pub fn text(&self) -> &str {
        self.source.text.get(self.range()).unwrap_or("")
    }

    /// Line and column, both counted from 1, the column in characters.
    pub fn line_column(&self) -> (usize, usize) {
        let before = self.source.text.get(..self.range().start).unwrap_or("");
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        (line, before.get(line_start..).unwrap_or("").chars().count() + 1)
    }

    /// The line the place starts on, and the place as a byte range in it. A place that goes over several lines is
    /// cut at the end of the first.
    pub(crate) fn line(&self) -> (&str, std::ops::Range<usize>) {
        let text = self.source.text.as_str();
        let range = self.range();
        let line_start = text
            .get(..range.start)
            .and_then(|before| before.rfind('\n'))
            .map_or(0, |at| at + 1);
        let line_end = text
            .get(range.start..)
            .and_then(|rest| rest.find('\n'))
            .map_or(text.len(), |at| range.start + at);
        let line = text.get(line_start..line_end).unwrap_or("").trim_end_matches('\r');
        let clamp = |at: usize| at.saturating_sub(line_start).min(line.len());
        (line, clamp(range.start)..clamp(range.end))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_column();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} {:?}", self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_and_column_count_from_one_and_in_characters() {
        let source = Arc::new(Source {
            name: "f".into(),
            text: "ab\nc\u{e4}d e\r\nf".into(),
        });
        let at = |start, end| Place::new(&source, start, end);
        assert_eq!(at(0, 2).to_string(), "f:1:1");
        let e = source.text.find('e').unwrap();
        assert_eq!(at(e, e + 1).line_column(), (2, 5));
        assert_eq!(at(e, e + 1).line(), ("c\u{e4}d e", 5..6));
        assert_eq!(at(900, 2000).line_column(), (3, 2));
    }
}
