//! Words of a command line, each with its place.
//!
//! A word ends at white space or `|`; double quotes keep both, and a backslash inside quotes keeps the character after
//! it. Nothing is refused here but a quote that does not end.

use std::ops::Range;

/// One word of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The word, without quotes and escapes.
    pub text: String,
    /// Bytes of the line it was written with, quotes included.
    pub span: Range<usize>,
    /// Whether any of it stood in quotes: such a word is always a value, never a keyword.
    pub quoted: bool,
}

impl Word {
    /// Whether this is the `|` between a command and what its output goes through.
    pub fn is_pipe(&self) -> bool {
        self.text == "|" && !self.quoted
    }
}

/// A quote without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the quote at column {} does not end", .at + 1)]
pub struct OpenQuote {
    /// Byte of the line the quote is at.
    pub at: usize,
}

/// Splits a line into words; `|` is a word of its own.
///
/// # Errors
/// A quote that does not end.
pub fn words(line: &str) -> Result<Vec<Word>, OpenQuote> {
    let mut out = Vec::new();
    let mut chars = line.char_indices().peekable();
    while let Some(&(start, c)) = chars.peek() {
        if c.is_whitespace() {
            chars.next();
            continue;
        }
        if c == '|' {
            chars.next();
            out.push(Word {
                text: "|".into(),
                span: start..start + 1,
                quoted: false,
            });
            continue;
        }
        let mut text = String::new();
        let mut quoted = false;
        let mut end = start;
        while let Some(&(at, c)) = chars.peek() {
            if c.is_whitespace() || c == '|' {
                break;
            }
            chars.next();
            end = at + c.len_utf8();
            if c != '"' {
                text.push(c);
                continue;
            }
            quoted = true;
            let mut closed = false;
            while let Some((inside, c)) = chars.next() {
                end = inside + c.len_utf8();
                match c {
                    '"' => {
                        closed = true;
                        break;
                    }
                    '\\' => {
                        if let Some((_, kept)) = chars.next() {
                            text.push(if kept == 'n' { '\n' } else { kept });
                        }
                    }
                    _ => text.push(c),
                }
            }
            if !closed {
                return Err(OpenQuote { at });
            }
        }
        out.push(Word {
            text,
            span: start..end,
            quoted,
        });
    }
    Ok(out)
}

/// A word as it must be written to be read back as one word.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !"|\"\\;".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_string();
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// As [`quoted`], for one argument of a program: what needs no quotes stays as it is, `;` and `{` too.
pub fn quoted_value(text: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !"|\"\\".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_string()
    } else {
        quoted(text)
    }
}

/// Splits a script at `;` and line ends, outside quotes and braces; keeps `{ ... }` and what stands in them together.
pub fn commands(script: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut start = 0;
    let (mut quote, mut escape, mut depth) = (false, false, 0_usize);
    for (at, c) in script.char_indices() {
        match c {
            _ if escape => escape = false,
            '\\' if quote => escape = true,
            '"' => quote = !quote,
            _ if quote => {}
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ';' | '\n' if depth == 0 => {
                out.push(script[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    out.push(script[start..].trim());
    out.retain(|command| !command.is_empty());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        words(line).unwrap().into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_end_at_spaces_and_pipes() {
        assert_eq!(texts("show  services|match a"), ["show", "services", "|", "match", "a"]);
        assert_eq!(texts(r#"match "a | b" x"#), ["match", "a | b", "x"]);
        assert_eq!(texts(r#""a\"b\\""#), [r#"a"b\"#]);
        assert_eq!(texts("   "), Vec::<String>::new());
        assert_eq!(words("a \"b").unwrap_err(), OpenQuote { at: 2 });
    }

    #[test]
    fn spans_cover_the_words_as_written() {
        let line = r#"set é "a b" c"#;
        let words = words(line).unwrap();
        let spans: Vec<&str> = words.iter().map(|w| &line[w.span.clone()]).collect();
        assert_eq!(spans, ["set", "é", r#""a b""#, "c"]);
    }

    #[test]
    fn quoting_is_undone_by_reading() {
        for text in [
            "plain",
            "two words",
            "",
            "a|b",
            "q\"q",
            "back\\slash",
            "line\nline",
            "semi;colon",
        ] {
            assert_eq!(texts(&quoted(text)), [text], "{text:?}");
        }
    }

    #[test]
    fn scripts_split_outside_quotes_and_braces() {
        let script = "configure; set a \"x;y\"\nload merge inline { a { b; } };commit";
        assert_eq!(
            commands(script),
            ["configure", "set a \"x;y\"", "load merge inline { a { b; } }", "commit"]
        );
    }
}
