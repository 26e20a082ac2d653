//! The curly form: `statement value;` and `statement { ... }`, comments, quoted strings, bracketed lists, `inactive:`.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use winnow::error::ParserError;
use winnow::prelude::*;
use winnow::stream::{Location, Stream};
use winnow::token::{any, take_till, take_until, take_while};
use winnow::LocatingSlice;

use super::load::{insert, resolve, Cursor, Marks, Purpose, Word, TOP};
use super::place::{Place, Source};
use super::problem::{ConfigError, Problem, ProblemKind, Problems};
use super::tree::{Node, Tag, Tree};
use super::{MAX_DEPTH, MAX_TEXT, MAX_WORDS};

type Input<'a> = LocatingSlice<&'a str>;

/// A place where the grammar is broken.
#[derive(Debug)]
struct Broken {
    at: Range<usize>,
    kind: ProblemKind,
}

type Parsed<T> = Result<T, Broken>;

impl<'a> ParserError<Input<'a>> for Broken {
    type Inner = Self;

    fn from_input(input: &Input<'a>) -> Self {
        Self::expected(input, "something else")
    }

    fn into_inner(self) -> Result<Self::Inner, Self> {
        Ok(self)
    }
}

impl Broken {
    fn expected(input: &Input<'_>, expected: &'static str) -> Self {
        let at = input.current_token_start();
        let (found, length) = match input.chars().next() {
            Some(c) => (format!("`{c}`"), c.len_utf8()),
            None => ("the end of the text".into(), 0),
        };
        Self {
            at: at..at + length,
            kind: ProblemKind::Syntax { expected, found },
        }
    }
}

/// White space and comments; returns the comments.
fn comments<'a>(input: &mut Input<'a>) -> Parsed<Vec<&'a str>> {
    let mut out = Vec::new();
    loop {
        let _: &str = take_while(0.., char::is_whitespace).parse_next(input)?;
        if input.starts_with('#') {
            let line: &str = take_till(0.., '\n').parse_next(input)?;
            out.push(line.trim_end());
        } else if input.starts_with("/*") {
            let at = input.current_token_start();
            let kind = ProblemKind::Unterminated { what: "comment" };
            let end = |_: Broken| Broken { at: at..at + 2, kind };
            let whole = ("/*", take_until::<_, _, Broken>(0.., "*/"), "*/").take();
            let text: &str = { whole }.parse_next(input).map_err(end)?;
            out.push(text);
        } else {
            return Ok(out);
        }
    }
}

fn is_plain(c: char) -> bool {
    !c.is_whitespace() && !matches!(c, '{' | '}' | '[' | ']' | ';' | '"')
}

/// A word, quoted or not.
fn word<'a>(input: &mut Input<'a>, source: &'a Arc<Source>, offset: usize) -> Parsed<Word<'a>> {
    let start = input.current_token_start();
    let quoted = input.starts_with('"');
    let text = if quoted {
        quoted_text(input)?
    } else {
        take_while(1.., is_plain).map(Cow::Borrowed).parse_next(input)?
    };
    Ok(Word {
        text,
        span: offset + start..offset + input.current_token_start(),
        quoted,
        source,
    })
}

fn quoted_text<'a>(input: &mut Input<'a>) -> Parsed<Cow<'a, str>> {
    let at = input.current_token_start();
    let unterminated = || Broken {
        at: at..at + 1,
        kind: ProblemKind::Unterminated { what: "quoted string" },
    };
    let _ = any.parse_next(input)?;
    let mut text = String::new();
    loop {
        let plain: &str = take_till(0.., ['"', '\\']).parse_next(input)?;
        text.push_str(plain);
        match input.next_token() {
            Some('"') => return Ok(Cow::Owned(text)),
            Some('\\') => match input.next_token() {
                Some('n') => text.push('\n'),
                Some(c) => text.push(c),
                None => return Err(unterminated()),
            },
            _ => return Err(unterminated()),
        }
    }
}

/// `[ a b c ]`, the opening bracket not yet read.
fn bracketed<'a>(input: &mut Input<'a>, source: &'a Arc<Source>, offset: usize) -> Parsed<Vec<Word<'a>>> {
    let at = input.current_token_start();
    let _ = any.parse_next(input)?;
    let mut out = Vec::new();
    loop {
        comments(input)?;
        match input.chars().next() {
            Some(']') => {
                let _ = any.parse_next(input)?;
                return Ok(out);
            }
            Some(c) if is_plain(c) || c == '"' => out.push(word(input, source, offset)?),
            Some(_) => return Err(Broken::expected(input, "a word or `]`")),
            None => {
                return Err(Broken {
                    at: at..at + 1,
                    kind: ProblemKind::Unterminated { what: "bracketed list" },
                });
            }
        }
    }
}

/// A command: its words, and the bracketed list at its end.
pub(super) type Command<'s> = (Vec<Word<'s>>, Option<Vec<Word<'s>>>);

/// Words, a bracketed list and an end: one command line. Used by the `set` form.
pub(super) fn command(source: &Arc<Source>, range: Range<usize>) -> Result<Command<'_>, Problem> {
    let text = source.text.get(range.clone()).unwrap_or("");
    let offset = range.start;
    let mut input = LocatingSlice::new(text);
    let parsed = (|| {
        let (mut words, mut list) = (Vec::new(), None);
        loop {
            comments(&mut input)?;
            match input.chars().next() {
                None => return Ok((words, list)),
                Some('[') if !words.is_empty() && list.is_none() => {
                    list = Some(bracketed(&mut input, source, offset)?);
                }
                Some(c) if list.is_none() && (is_plain(c) || c == '"') => {
                    let start = input.current_token_start();
                    let word = word(&mut input, source, offset)?;
                    if words.len() >= MAX_WORDS {
                        return Err(Broken {
                            at: start..input.current_token_start(),
                            kind: ProblemKind::TooManyWords { limit: MAX_WORDS },
                        });
                    }
                    words.push(word);
                }
                Some(_) => return Err(Broken::expected(&input, "a word")),
            }
        }
    })();
    parsed.map_err(|broken: Broken| {
        let at = offset + broken.at.start..offset + broken.at.end;
        Problem::new(broken.kind, Place::new(source, at.start, at.end))
    })
}

/// Reads a configuration in curly form. `name` is shown in messages, as a rule the file's name.
///
/// # Errors
/// Every broken, unknown, unimplemented or ill-valued statement, up to [`super::MAX_PROBLEMS`]; a broken grammar
/// (a missing brace, a string without an end) ends reading at once.
pub fn parse_curly(text: &str, name: &str) -> Result<Tree, ConfigError> {
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
    read(&source, tree.root_mut(), TOP, Vec::new(), false)?;
    Ok(tree)
}

/// Reads the statements of a text into `parent`, which stands where `at` says; `trail` are the words above, for
/// messages. `tags`: `replace:` and `delete:` are marks, not errors.
pub(super) fn read(
    source: &Arc<Source>,
    parent: &mut Node,
    at: Cursor,
    trail: Vec<String>,
    tags: bool,
) -> Result<(), ConfigError> {
    let mut loader = Loader {
        source,
        input: LocatingSlice::new(source.text.as_str()),
        problems: Problems::default(),
        trail,
        tags,
        words: Vec::new(),
    };
    // A broken grammar makes everything behind it guesswork: it is told alone.
    loader
        .block(Some((parent, at)), Inherited::default(), 0, 0)
        .map_err(|broken| Problem::new(broken.kind, Place::new(source, broken.at.start, broken.at.end)))?;
    let problems = loader.problems;
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ConfigError::new(problems.into_vec()))
    }
}

/// Reads and loads at once.
struct Loader<'s> {
    source: &'s Arc<Source>,
    input: Input<'s>,
    problems: Problems,
    /// Names of the statements around, for messages.
    trail: Vec<String>,
    /// `replace:` and `delete:` mean something.
    tags: bool,
    /// Words of the statement that is being read; its room is used again.
    words: Vec<Word<'s>>,
}

/// Marks before the words of a statement.
#[derive(Default)]
struct Before<'s> {
    comments: Vec<&'s str>,
    inactive: bool,
    /// `replace:` or `delete:`, and where it stands.
    tag: Option<(Tag, Range<usize>)>,
}

/// What the entries of `source-address { ... }` have from the keyword, which has no node of its own.
#[derive(Default)]
struct Inherited<'s> {
    /// For the first entry.
    comments: Vec<&'s str>,
    inactive: bool,
    tag: Tag,
    /// There must be an entry.
    needed: bool,
}

impl<'s> Loader<'s> {
    fn broken(&self, expected: &'static str) -> Broken {
        Broken::expected(&self.input, expected)
    }

    fn next(&mut self) -> Parsed<()> {
        any::<_, Broken>.parse_next(&mut self.input).map(drop)
    }

    /// What stands up to the closing brace of the block opened at `opened`, or up to the end of the text at depth 0.
    /// Without `into` it is read only. `true`: there was a statement.
    fn block(
        &mut self,
        mut into: Option<(&mut Node, Cursor)>,
        mut inherited: Inherited<'s>,
        opened: usize,
        depth: usize,
    ) -> Parsed<bool> {
        if depth > MAX_DEPTH {
            return Err(Broken {
                at: opened..opened + 1,
                kind: ProblemKind::TooDeep { limit: MAX_DEPTH },
            });
        }
        let mut any_statement = false;
        loop {
            let found = comments(&mut self.input)?;
            match self.input.chars().next() {
                Some('}') if depth > 0 => {
                    self.next()?;
                    if let Some((parent, _)) = into {
                        parent.trailing.extend(found.into_iter().map(str::to_string));
                    }
                    return Ok(any_statement);
                }
                None if depth > 0 => {
                    return Err(Broken {
                        at: opened..opened + 1,
                        kind: ProblemKind::Unterminated { what: "block" },
                    });
                }
                None => {
                    if let Some((parent, _)) = into {
                        parent.trailing.extend(found.into_iter().map(str::to_string));
                    }
                    return Ok(any_statement);
                }
                Some(_) => {
                    let mut before = Before {
                        comments: std::mem::take(&mut inherited.comments),
                        inactive: inherited.inactive,
                        tag: (inherited.tag != Tag::None).then_some((inherited.tag, 0..0)),
                    };
                    before.comments.extend(found);
                    let full = self.problems.full();
                    let target = into.as_mut().filter(|_| !full).map(|(node, at)| (&mut **node, *at));
                    self.statement(target, before, depth)?;
                    any_statement = true;
                }
            }
        }
    }

    /// One statement; its first character is there.
    fn statement(&mut self, into: Option<(&mut Node, Cursor)>, mut before: Before<'s>, depth: usize) -> Parsed<()> {
        let mut words = std::mem::take(&mut self.words);
        words.clear();
        let mut list: Option<Vec<Word<'s>>> = None;
        loop {
            let found = comments(&mut self.input)?;
            before.comments.extend(found);
            let start = self.input.current_token_start();
            match self.input.chars().next() {
                Some(';') if !words.is_empty() => {
                    self.next()?;
                    if let Some((parent, at)) = into {
                        self.plain(parent, at, &mut words, list, before);
                    }
                    self.words = words;
                    return Ok(());
                }
                Some('{') if !words.is_empty() && list.is_none() => {
                    self.next()?;
                    return self.with_block(into, words, before, start, depth + 1);
                }
                Some('[') if !words.is_empty() && list.is_none() => {
                    list = Some(bracketed(&mut self.input, self.source, 0)?);
                }
                Some(c) if list.is_none() && (is_plain(c) || c == '"') => {
                    let word = word(&mut self.input, self.source, 0)?;
                    if words.len() >= MAX_WORDS {
                        return Err(Broken {
                            at: word.span,
                            kind: ProblemKind::TooManyWords { limit: MAX_WORDS },
                        });
                    }
                    match word.text.as_ref() {
                        "inactive:" if words.is_empty() && !word.quoted => before.inactive = true,
                        "replace:" if words.is_empty() && !word.quoted => {
                            before.tag = Some((Tag::Replace, word.span));
                        }
                        "delete:" if words.is_empty() && !word.quoted => {
                            before.tag = Some((Tag::Delete, word.span));
                        }
                        "protect:" if words.is_empty() && !word.quoted => {
                            let found = format!("`{}`", word.text);
                            let expected = "a statement (statements are not protected one by one)";
                            return Err(Broken {
                                at: word.span,
                                kind: ProblemKind::Syntax { expected, found },
                            });
                        }
                        _ => words.push(word),
                    }
                }
                Some(_) if words.is_empty() => return Err(self.broken("a statement")),
                Some(_) if list.is_some() => return Err(self.broken("`;`")),
                _ => return Err(self.broken("`;` or `{` after the statement")),
            }
        }
    }

    /// The tag of a statement, if tags mean something here; else it is a problem.
    fn tag(&mut self, before: &mut Before<'s>) -> Option<Tag> {
        match before.tag.take() {
            None => Some(Tag::None),
            Some((tag, _)) if self.tags => Some(tag),
            Some((_, span)) => {
                let kind = ProblemKind::Syntax {
                    expected: "a statement",
                    found: format!("`{}`", self.source.text.get(span.clone()).unwrap_or("")),
                };
                let place = Place::new(self.source, span.start, span.end);
                let help = "`load replace` reads the marks `replace:` and `delete:`";
                self.problems.push(Problem::new(kind, place).help(help));
                None
            }
        }
    }

    /// A statement without a block.
    fn plain(
        &mut self,
        parent: &mut Node,
        at: Cursor,
        words: &mut Vec<Word<'s>>,
        list: Option<Vec<Word<'s>>>,
        mut before: Before<'s>,
    ) {
        let Some(tag) = self.tag(&mut before) else { return };
        let inactive = before.inactive;
        let mut marks = Marks {
            comments: owned(before.comments),
            inactive,
            tag,
        };
        let Some(list) = list else {
            self.whole(parent, at, words, marks);
            return;
        };
        if list.is_empty() {
            let expected = "a word between the brackets".to_string();
            let last = words.last();
            let statement = last.map_or_else(String::new, |word| word.text.to_string());
            let place = last.map(Word::place);
            self.problems
                .push(Problem::new(ProblemKind::MissingValue { statement, expected }, place));
        }
        for word in list {
            words.push(word);
            if !self.whole(parent, at, words, std::mem::take(&mut marks)) {
                return;
            }
            (marks.inactive, marks.tag) = (inactive, tag);
            words.pop();
        }
    }

    /// One statement of a list or none; `false` when it has a problem.
    fn whole(&mut self, parent: &mut Node, at: Cursor, words: &[Word<'s>], marks: Marks) -> bool {
        let purpose = match marks.tag {
            Tag::Delete => Purpose::Name,
            _ => Purpose::Whole,
        };
        let done = resolve(at, words, &self.trail, purpose).and_then(|route| insert(parent, route, marks, true));
        done.map_err(|problem| self.problems.push(problem)).is_ok()
    }

    /// A statement whose block has just been opened. The block is read whatever is wrong with the words.
    fn with_block(
        &mut self,
        into: Option<(&mut Node, Cursor)>,
        words: Vec<Word<'s>>,
        mut before: Before<'s>,
        opened: usize,
        depth: usize,
    ) -> Parsed<()> {
        let known = self.trail.len();
        let mut inherited = Inherited::default();
        let last = words.last().map(Word::place);
        let mut name = String::new();
        let target = into.and_then(|(parent, at)| {
            let tag = self.tag(&mut before)?;
            let route = resolve(at, &words, &self.trail, Purpose::Block)
                .map_err(|problem| self.problems.push(problem))
                .ok()?;
            let Some(end) = route.end else {
                let statement = route.text();
                self.problems
                    .push(Problem::new(ProblemKind::NoBlock { statement }, last.clone()));
                return None;
            };
            let mut marks = Marks::default();
            if end.list.is_none() {
                marks = Marks {
                    comments: owned(std::mem::take(&mut before.comments)),
                    inactive: before.inactive,
                    tag,
                };
            } else {
                name = route.text();
                inherited = Inherited {
                    comments: std::mem::take(&mut before.comments),
                    inactive: before.inactive,
                    tag,
                    needed: true,
                };
            }
            route.extend(&mut self.trail);
            insert(parent, route, marks, true)
                .map_err(|problem| self.problems.push(problem))
                .ok()
                .map(|node| (node, end))
        });
        self.words = words;
        let needed = inherited.needed;
        let any_statement = self.block(target, inherited, opened, depth)?;
        if needed && !any_statement {
            let kind = ProblemKind::MissingValue {
                statement: name,
                expected: "an entry".into(),
            };
            self.problems.push(Problem::new(kind, last));
        }
        self.trail.truncate(known);
        Ok(())
    }
}

fn owned(comments: Vec<&str>) -> Vec<String> {
    comments.into_iter().map(str::to_string).collect()
}
