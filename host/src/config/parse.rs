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

/// One word as it stands in the text.
#[derive(Clone, Debug)]
struct Raw<'a> {
    text: Cow<'a, str>,
    span: Range<usize>,
    quoted: bool,
}

/// One statement as it stands in the text.
#[derive(Debug)]
struct Statement<'a> {
    comments: Vec<&'a str>,
    inactive: bool,
    /// `replace:` or `delete:`, and where it stands.
    tag: Option<(Tag, Range<usize>)>,
    words: Vec<Raw<'a>>,
    /// A bracketed list at the end, in place of the last word.
    list: Option<Vec<Raw<'a>>>,
    block: Option<Block<'a>>,
}

/// What stands between braces.
#[derive(Debug, Default)]
struct Block<'a> {
    statements: Vec<Statement<'a>>,
    trailing: Vec<&'a str>,
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
    !c.is_whitespace() && !"{}[];\"".contains(c)
}

/// A word, quoted or not.
fn word<'a>(input: &mut Input<'a>) -> Parsed<Raw<'a>> {
    let start = input.current_token_start();
    let quoted = input.starts_with('"');
    let text = if quoted {
        quoted_text(input)?
    } else {
        take_while(1.., is_plain).map(Cow::Borrowed).parse_next(input)?
    };
    Ok(Raw {
        text,
        span: start..input.current_token_start(),
        quoted,
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
fn bracketed<'a>(input: &mut Input<'a>) -> Parsed<Vec<Raw<'a>>> {
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
            Some(c) if is_plain(c) || c == '"' => out.push(word(input)?),
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

/// One statement; its first character is there.
fn statement<'a>(input: &mut Input<'a>, before: Vec<&'a str>, depth: usize) -> Parsed<Statement<'a>> {
    let mut out = Statement {
        comments: before,
        inactive: false,
        tag: None,
        words: Vec::new(),
        list: None,
        block: None,
    };
    loop {
        let found = comments(input)?;
        out.comments.extend(found);
        let start = input.current_token_start();
        match input.chars().next() {
            Some(';') if !out.words.is_empty() => {
                let _ = any.parse_next(input)?;
                return Ok(out);
            }
            Some('{') if !out.words.is_empty() && out.list.is_none() => {
                let _ = any.parse_next(input)?;
                out.block = Some(block(input, start, depth + 1)?);
                return Ok(out);
            }
            Some('[') if !out.words.is_empty() && out.list.is_none() => out.list = Some(bracketed(input)?),
            Some(c) if out.list.is_none() && (is_plain(c) || c == '"') => {
                let word = word(input)?;
                if out.words.len() >= MAX_WORDS {
                    return Err(Broken {
                        at: word.span,
                        kind: ProblemKind::TooManyWords { limit: MAX_WORDS },
                    });
                }
                match word.text.as_ref() {
                    "inactive:" if out.words.is_empty() && !word.quoted => out.inactive = true,
                    "replace:" if out.words.is_empty() && !word.quoted => out.tag = Some((Tag::Replace, word.span)),
                    "delete:" if out.words.is_empty() && !word.quoted => out.tag = Some((Tag::Delete, word.span)),
                    "protect:" if out.words.is_empty() && !word.quoted => {
                        let found = format!("`{}`", word.text);
                        let expected = "a statement (statements are not protected one by one)";
                        return Err(Broken {
                            at: word.span,
                            kind: ProblemKind::Syntax { expected, found },
                        });
                    }
                    _ => out.words.push(word),
                }
            }
            Some(_) if out.words.is_empty() => return Err(Broken::expected(input, "a statement")),
            Some(_) if out.list.is_some() => return Err(Broken::expected(input, "`;`")),
            _ => return Err(Broken::expected(input, "`;` or `{` after the statement")),
        }
    }
}

/// What stands up to the closing brace of the block opened at `opened`, or up to the end of the text at depth 0.
fn block<'a>(input: &mut Input<'a>, opened: usize, depth: usize) -> Parsed<Block<'a>> {
    if depth > MAX_DEPTH {
        return Err(Broken {
            at: opened..opened + 1,
            kind: ProblemKind::TooDeep { limit: MAX_DEPTH },
        });
    }
    let mut out = Block::default();
    loop {
        let found = comments(input)?;
        match input.chars().next() {
            Some('}') if depth > 0 => {
                let _ = any.parse_next(input)?;
                out.trailing = found;
                return Ok(out);
            }
            None if depth > 0 => {
                return Err(Broken {
                    at: opened..opened + 1,
                    kind: ProblemKind::Unterminated { what: "block" },
                });
            }
            None => {
                out.trailing = found;
                return Ok(out);
            }
            Some(_) => out.statements.push(statement(input, found, depth)?),
        }
    }
}

/// Words, a bracketed list and an end: one command line. Used by the `set` form.
pub(super) fn command(source: &Arc<Source>, range: Range<usize>) -> Result<(Vec<Word>, Option<Vec<Word>>), Problem> {
    let text = source.text.get(range.clone()).unwrap_or("");
    let offset = range.start;
    let place = |span: Range<usize>| Place::new(source, offset + span.start, offset + span.end);
    let mut input = LocatingSlice::new(text);
    let parsed = (|| {
        let (mut words, mut list) = (Vec::new(), None);
        loop {
            comments(&mut input)?;
            match input.chars().next() {
                None => return Ok((words, list)),
                Some('[') if !words.is_empty() && list.is_none() => list = Some(bracketed(&mut input)?),
                Some(c) if list.is_none() && (is_plain(c) || c == '"') => {
                    let word = word(&mut input)?;
                    if words.len() >= MAX_WORDS {
                        return Err(Broken {
                            at: word.span,
                            kind: ProblemKind::TooManyWords { limit: MAX_WORDS },
                        });
                    }
                    words.push(word);
                }
                Some(_) => return Err(Broken::expected(&input, "a word")),
            }
        }
    })();
    let (words, list) = parsed.map_err(|broken: Broken| Problem::new(broken.kind, place(broken.at)))?;
    let owned = |raw: Raw<'_>| Word {
        text: raw.text.into_owned(),
        place: place(raw.span),
    };
    let list = list.map(|list| list.into_iter().map(owned).collect());
    Ok((words.into_iter().map(owned).collect(), list))
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
    let mut input = LocatingSlice::new(source.text.as_str());
    let top = block(&mut input, 0, 0)
        .map_err(|broken| Problem::new(broken.kind, Place::new(source, broken.at.start, broken.at.end)))?;
    let mut loader = Loader {
        source,
        problems: Problems::default(),
        trail,
        tags,
    };
    loader.block(parent, at, top);
    let problems = loader.problems;
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ConfigError::new(problems.into_vec()))
    }
}

/// What is the same for all statements of a text.
struct Loader<'s> {
    source: &'s Arc<Source>,
    problems: Problems,
    /// Names of the statements around, for messages.
    trail: Vec<String>,
    /// `replace:` and `delete:` mean something.
    tags: bool,
}

impl Loader<'_> {
    fn word(&self, raw: Raw<'_>) -> Word {
        Word {
            place: Place::new(self.source, raw.span.start, raw.span.end),
            text: raw.text.into_owned(),
        }
    }

    fn block(&mut self, parent: &mut Node, at: Cursor, block: Block<'_>) {
        for statement in block.statements {
            if self.problems.full() {
                return;
            }
            self.statement(parent, at, statement);
        }
        parent.trailing.extend(block.trailing.into_iter().map(str::to_string));
    }

    fn statement(&mut self, parent: &mut Node, at: Cursor, mut statement: Statement<'_>) {
        let words = std::mem::take(&mut statement.words);
        let mut words: Vec<Word> = words.into_iter().map(|raw| self.word(raw)).collect();
        let tag = match statement.tag.take() {
            None => Tag::None,
            Some((tag, _)) if self.tags => tag,
            Some((_, span)) => {
                let kind = ProblemKind::Syntax {
                    expected: "a statement",
                    found: format!("`{}`", self.source.text.get(span.clone()).unwrap_or("")),
                };
                let place = Place::new(self.source, span.start, span.end);
                let help = "`load replace` reads the marks `replace:` and `delete:`";
                self.problems.push(Problem::new(kind, place).help(help));
                return;
            }
        };
        if let Some(block) = statement.block.take() {
            return self.with_block(parent, at, &words, statement, tag, block);
        }
        let inactive = statement.inactive;
        let mut marks = Marks {
            comments: owned(statement.comments),
            inactive,
            tag,
        };
        let Some(list) = statement.list else {
            self.whole(parent, at, &words, marks);
            return;
        };
        if list.is_empty() {
            let expected = "a word between the brackets".to_string();
            let last = words.last();
            let statement = last.map_or_else(String::new, |word| word.text.clone());
            let place = last.map(|word| word.place.clone());
            self.problems
                .push(Problem::new(ProblemKind::MissingValue { statement, expected }, place));
        }
        for raw in list {
            words.push(self.word(raw));
            if !self.whole(parent, at, &words, std::mem::take(&mut marks)) {
                return;
            }
            (marks.inactive, marks.tag) = (inactive, tag);
            words.pop();
        }
    }

    /// A statement without a block; `false` when it has a problem.
    fn whole(&mut self, parent: &mut Node, at: Cursor, words: &[Word], marks: Marks) -> bool {
        let purpose = match marks.tag {
            Tag::Delete => Purpose::Name,
            _ => Purpose::Whole,
        };
        let done = resolve(at, words, &self.trail, purpose).and_then(|route| insert(parent, route, marks, true));
        done.map_err(|problem| self.problems.push(problem)).is_ok()
    }

    fn with_block<'a>(
        &mut self,
        parent: &mut Node,
        at: Cursor,
        words: &[Word],
        statement: Statement<'a>,
        tag: Tag,
        mut block: Block<'a>,
    ) {
        let route = match resolve(at, words, &self.trail, Purpose::Block) {
            Ok(route) => route,
            Err(problem) => {
                self.problems.push(problem);
                return;
            }
        };
        let Some(end) = route.end else {
            let place = words.last().map(|word| word.place.clone());
            self.problems.push(Problem::new(
                ProblemKind::NoBlock {
                    statement: route.text(),
                },
                place,
            ));
            return;
        };
        let mut marks = Marks::default();
        if end.list.is_none() {
            marks = Marks {
                comments: owned(statement.comments),
                inactive: statement.inactive,
                tag,
            };
        } else {
            // The keyword of `source-address { ... }` has no node of its own: its marks mean the entries.
            for entry in &mut block.statements {
                entry.inactive |= statement.inactive;
                if let (Tag::Replace | Tag::Delete, None) = (tag, &entry.tag) {
                    entry.tag = Some((tag, 0..0));
                }
            }
            match block.statements.first_mut() {
                Some(first) => {
                    let own = std::mem::replace(&mut first.comments, statement.comments);
                    first.comments.extend(own);
                }
                None => {
                    let place = words.last().map(|word| word.place.clone());
                    let kind = ProblemKind::MissingValue {
                        statement: route.text(),
                        expected: "an entry".into(),
                    };
                    self.problems.push(Problem::new(kind, place));
                }
            }
        }
        let known = self.trail.len();
        route.extend(&mut self.trail);
        match insert(parent, route, marks, true) {
            Ok(node) => self.block(node, end, block),
            Err(problem) => {
                self.problems.push(problem);
            }
        }
        self.trail.truncate(known);
    }
}

fn owned(comments: Vec<&str>) -> Vec<String> {
    comments.into_iter().map(str::to_string).collect()
}
