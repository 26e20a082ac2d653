//! The interactive shell: prompt, history, `?`, the tab key, space that completes, pasting.
//!
//! Reedline edits the line. `?` and tab leave it for a moment: what could come next is asked of the session with the
//! line as it stands then. A space completes the keyword before it in the editor itself, since leaving it would lose
//! keys that were typed ahead; it does so only when the line that was painted last is the line that is edited.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use reedline::{
    default_emacs_keybindings, EditCommand, EditMode, Emacs, FileBackedHistory, Highlighter, Prompt, PromptEditMode,
    PromptHistorySearch, Reedline, ReedlineEvent, ReedlineRawEvent, Signal, StyledText,
};

use super::error::CtlError;
use super::output::Screen;
use super::pager::Pager;
use super::parse::{Candidate, Completion, Mode};
use super::session::{Front, Next, Session};

/// Lines of history that are kept.
const HISTORY: usize = 5_000;
/// What the editor hands over instead of a line.
const ASK: &str = "ask";
const TAB: &str = "tab";
const PASTE: &str = "paste";
/// Ends the text of a `load terminal` that is pasted.
const END_OF_TEXT: &str = "\u{4}";

type Shared<T> = Arc<Mutex<T>>;

/// A lock whose holder panicked is still good: nothing here is left half changed.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The line as it was painted last.
#[derive(Default)]
struct Painted {
    line: String,
    cursor: usize,
    /// No key came since.
    current: bool,
}

struct Watch(Shared<Painted>);

impl Highlighter for Watch {
    fn highlight(&self, line: &str, cursor: usize) -> StyledText {
        *lock(&self.0) = Painted {
            line: line.to_string(),
            cursor,
            current: true,
        };
        let mut out = StyledText::new();
        out.push((nu_ansi_term::Style::new(), line.to_string()));
        out
    }
}

struct Keys {
    emacs: Emacs,
    painted: Shared<Painted>,
    session: Shared<Session>,
    pasted: Shared<String>,
}

impl Keys {
    /// The end of the keyword before the cursor, when only one is meant.
    fn rest_of_keyword(&self) -> Option<String> {
        let painted = lock(&self.painted);
        let line = &painted.line;
        let begun = line.chars().last().is_some_and(|c| !c.is_whitespace());
        if !painted.current || painted.cursor != line.len() || !begun {
            return None;
        }
        let session = lock(&self.session);
        if !session.settings.complete_on_space {
            return None;
        }
        let found = session.complete(line).ok()?;
        let word = &line[found.from..];
        match &found.candidates[..] {
            [only] if only.literal && only.keyword => only.text.strip_prefix(word).map(str::to_string),
            _ => None,
        }
    }
}

impl EditMode for Keys {
    fn parse_event(&mut self, event: ReedlineRawEvent) -> ReedlineEvent {
        let event: Event = event.into();
        let event = match event {
            Event::Key(KeyEvent {
                code: KeyCode::Char('?'),
                ..
            }) => {
                let quotes = lock(&self.painted).line.matches('"').count();
                if quotes.is_multiple_of(2) {
                    return ReedlineEvent::ExecuteHostCommand(ASK.into());
                }
                event
            }
            Event::Key(KeyEvent { code: KeyCode::Tab, .. }) => return ReedlineEvent::ExecuteHostCommand(TAB.into()),
            Event::Key(KeyEvent {
                code: KeyCode::Char(' '),
                modifiers: KeyModifiers::NONE,
                ..
            }) => {
                let rest = self.rest_of_keyword().unwrap_or_default();
                lock(&self.painted).current = false;
                return ReedlineEvent::Edit(vec![EditCommand::InsertString(rest + " ")]);
            }
            Event::Paste(text) => {
                let text = text.replace("\r\n", "\n").replace('\r', "\n");
                if !text.contains('\n') {
                    lock(&self.painted).current = false;
                    return ReedlineEvent::Edit(vec![EditCommand::InsertString(text)]);
                }
                *lock(&self.pasted) = text;
                return ReedlineEvent::ExecuteHostCommand(PASTE.into());
            }
            other => other,
        };
        lock(&self.painted).current = false;
        match ReedlineRawEvent::try_from(event) {
            Ok(event) => self.emacs.parse_event(event),
            Err(()) => ReedlineEvent::None,
        }
    }

    fn edit_mode(&self) -> PromptEditMode {
        PromptEditMode::Emacs
    }
}

struct JunosPrompt(String);

impl Prompt for JunosPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("(search `{}`) ", search.term))
    }

    fn get_prompt_color(&self) -> reedline::Color {
        reedline::Color::Default
    }
}

/// The terminal, and lines that were pasted and not yet done.
struct Terminal {
    pager: Pager,
    pasted: VecDeque<String>,
}

impl Front for Terminal {
    fn screen(&mut self) -> &mut dyn Screen {
        &mut self.pager
    }

    fn text(&mut self) -> Result<String, CtlError> {
        let mut text = String::new();
        while let Some(line) = self.pasted.pop_front() {
            if line.starts_with(END_OF_TEXT) {
                return Ok(text);
            }
            println!("{line}");
            text.push_str(&line);
            text.push('\n');
        }
        let mut input = io::stdin().lock();
        loop {
            let before = text.len();
            let read = input.read_line(&mut text).map_err(CtlError::Output)?;
            let line = &text[before..];
            if read == 0 || line.trim_end() == END_OF_TEXT {
                text.truncate(before);
                return Ok(text);
            }
        }
    }

    fn confirm(&mut self, question: &str) -> Result<bool, CtlError> {
        let mut out = io::stdout();
        write!(out, "{question} [yes,no] (no) ")
            .and_then(|()| out.flush())
            .map_err(CtlError::Output)?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(CtlError::Output)?;
        Ok(matches!(answer.trim(), "y" | "ye" | "yes"))
    }

    fn interactive(&self) -> bool {
        true
    }
}

/// File of the history: `$XDG_STATE_HOME/nat64ctl/history`, or below `~/.local/state`.
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").filter(|path| !path.is_empty());
    let state = state.map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME").filter(|path| !path.is_empty())?;
        Some(PathBuf::from(home).join(".local/state"))
    })?;
    Some(state.join("nat64ctl/history"))
}

/// The shell.
pub struct Shell {
    session: Shared<Session>,
    editor: Reedline,
    painted: Shared<Painted>,
    pasted: Shared<String>,
    terminal: Terminal,
}

impl Shell {
    /// A shell on the terminal of this process.
    pub fn new(session: Session) -> Self {
        let session = Arc::new(Mutex::new(session));
        let painted: Shared<Painted> = Shared::default();
        let pasted: Shared<String> = Shared::default();
        let keys = Keys {
            emacs: Emacs::new(default_emacs_keybindings()),
            painted: Arc::clone(&painted),
            session: Arc::clone(&session),
            pasted: Arc::clone(&pasted),
        };
        let mut editor = Reedline::create()
            .with_edit_mode(Box::new(keys))
            .with_highlighter(Box::new(Watch(Arc::clone(&painted))))
            .with_ansi_colors(false)
            .use_bracketed_paste(true);
        // A shell without a history file is still a shell.
        if let Some(history) = history_file().and_then(|file| FileBackedHistory::with_file(HISTORY, file).ok()) {
            editor = editor.with_history(Box::new(history));
        }
        Self {
            session,
            editor,
            painted,
            pasted,
            terminal: Terminal {
                pager: Pager::new(),
                pasted: VecDeque::new(),
            },
        }
    }

    /// Reads and does lines until the user leaves. Whatever goes wrong with a command is told and is no reason to end.
    ///
    /// # Errors
    /// The terminal cannot be read.
    pub fn run(&mut self) -> Result<(), CtlError> {
        let mut fresh = true;
        loop {
            let prompt = {
                let session = lock(&self.session);
                if fresh {
                    if let Some(banner) = session.banner() {
                        println!("\n{banner}");
                    }
                }
                session.prompt()
            };
            fresh = true;
            if let Some(line) = self.terminal.pasted.pop_front() {
                println!("{prompt}{line}");
                if self.one(&prompt, &line)? == Next::Leave {
                    return Ok(());
                }
                continue;
            }
            let signal = self
                .editor
                .read_line(&JunosPrompt(prompt.clone()))
                .map_err(|error| CtlError::Output(io::Error::other(error.to_string())))?;
            let next = match signal {
                Signal::Success(line) => self.one(&prompt, &line)?,
                Signal::HostCommand(what) => {
                    fresh = false;
                    match what.as_str() {
                        ASK => self.ask(&prompt),
                        TAB => self.tab(&prompt),
                        _ => {
                            self.paste();
                            println!();
                        }
                    }
                    Next::Go
                }
                Signal::CtrlD => self.one(&prompt, "exit")?,
                _ => Next::Go,
            };
            if next == Next::Leave {
                return Ok(());
            }
        }
    }

    fn one(&mut self, prompt: &str, line: &str) -> Result<Next, CtlError> {
        let mut session = lock(&self.session);
        self.terminal.pager.set_length(session.settings.screen_length);
        match session.execute(line, &mut self.terminal) {
            Ok(next) => Ok(next),
            Err(CtlError::Output(error)) => Err(CtlError::Output(error)),
            Err(error) => {
                // What is left of a paste was meant for after this line: it is still done, as on Junos.
                self.terminal.pager.flush()?;
                print!("{}", shown(&error, prompt));
                Ok(Next::Go)
            }
        }
    }

    /// `?`: what could come next.
    fn ask(&mut self, prompt: &str) {
        let line = self.editor.current_buffer_contents().to_string();
        let found = lock(&self.session).complete(&line);
        self.below(prompt, &line);
        match found {
            Ok(found) => print!("{}", possible(&found)),
            Err(error) => print!("{}", shown(&error, prompt)),
        }
    }

    /// Tab: as far as all that could come agree; else the list of it.
    fn tab(&mut self, prompt: &str) {
        let line = self.editor.current_buffer_contents().to_string();
        let found = match lock(&self.session).complete(&line) {
            Ok(found) => found,
            Err(error) => {
                self.below(prompt, &line);
                print!("{}", shown(&error, prompt));
                return;
            }
        };
        let word = &line[found.from..];
        match common(&found, word) {
            Some(more) if !more.is_empty() => self.editor.run_edit_commands(&[EditCommand::InsertString(more)]),
            _ => {
                self.below(prompt, &line);
                print!("{}", possible(&found));
            }
        }
    }

    /// Goes to the line below the one that is edited. Keys that came all at once have not been painted yet.
    fn below(&self, prompt: &str, line: &str) {
        if lock(&self.painted).line == line {
            println!();
        } else {
            println!("\r{prompt}{line}");
        }
    }

    /// Whole lines that were pasted are done one after the other; the rest of a line stays to be edited.
    fn paste(&mut self) {
        let text = std::mem::take(&mut *lock(&self.pasted));
        let text = self.editor.current_buffer_contents().to_string() + &text;
        let (lines, rest) = text.rsplit_once('\n').unwrap_or(("", &text));
        self.terminal.pasted.extend(lines.split('\n').map(str::to_string));
        self.editor
            .run_edit_commands(&[EditCommand::Clear, EditCommand::InsertString(rest.to_string())]);
    }
}

/// An error below the line that was just typed: the mark stands under the place.
fn shown(error: &CtlError, prompt: &str) -> String {
    if let CtlError::Parse { line, error: wrong } = error {
        let before = prompt.chars().count() + line[..wrong.span.start].chars().count();
        let width = crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
        if prompt.chars().count() + line.chars().count() < width {
            return format!("{}^\n{}", " ".repeat(before), error.to_text(false));
        }
        return error.to_text(true);
    }
    error.to_text(false)
}

/// What all that could come begins with, beyond `word`; with a space when there is only one.
fn common(found: &Completion, word: &str) -> Option<String> {
    let literal: Vec<&Candidate> = found.candidates.iter().filter(|candidate| candidate.literal).collect();
    let first = literal.first()?;
    let mut shared = first.text.as_str();
    for candidate in &literal[1..] {
        let same = shared.chars().zip(candidate.text.chars()).take_while(|(a, b)| a == b);
        let bytes: usize = same.map(|(c, _)| c.len_utf8()).sum();
        shared = &shared[..bytes];
    }
    let more = shared.strip_prefix(word)?;
    // A value that is not listed may be meant too: then nothing is certain.
    let only = literal.len() == 1 && found.candidates.len() == 1;
    Some(if only { format!("{more} ") } else { more.to_string() })
}

/// The list that `?` shows.
pub fn possible(found: &Completion) -> String {
    if found.candidates.is_empty() && !found.enter {
        return "No valid completions\n".into();
    }
    let mut out = String::from("Possible completions:\n");
    let widths = found.candidates.iter().map(|candidate| candidate.text.chars().count());
    let width = widths.max().unwrap_or(0).clamp(20, 40);
    if found.enter {
        out += &format!("  {:<width$} Execute this command\n", "<[Enter]>");
    }
    for candidate in &found.candidates {
        let line = format!("{} {:<width$} {}", candidate.mark, candidate.text, candidate.help);
        out += line.trim_end();
        out.push('\n');
    }
    if found.pipe {
        out += &format!("  {:<width$} Pipe through a command\n", "|");
    }
    out
}

/// Whether the shell can run: standard input and output are a terminal.
pub fn possible_here() -> bool {
    use std::io::IsTerminal;
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// What the shell says first.
pub fn greeting(mode: Mode) -> &'static str {
    match mode {
        Mode::Operational => "`?` shows what can be typed, `configure` enters configuration mode, `exit` leaves.",
        Mode::Configuration => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(texts: &[(&str, bool)]) -> Completion {
        Completion {
            candidates: texts
                .iter()
                .map(|(text, literal)| Candidate {
                    literal: *literal,
                    ..Candidate::literal(text, "help")
                })
                .collect(),
            enter: true,
            ..Completion::default()
        }
    }

    #[test]
    fn tab_inserts_what_is_certain() {
        assert_eq!(common(&found(&[("pool", true)]), "p"), Some("ool ".into()));
        assert_eq!(
            common(&found(&[("src-a", true), ("src-b", true)]), "s"),
            Some("rc-".into())
        );
        assert_eq!(
            common(&found(&[("src-a", true), ("<pool>", false)]), "s"),
            Some("rc-a".into())
        );
        assert_eq!(common(&found(&[("<pool>", false)]), ""), None);
    }

    #[test]
    fn question_mark_lists_what_may_follow() {
        let text = possible(&found(&[("brief", true), ("<pool>", false)]));
        assert_eq!(
            text,
            "Possible completions:\n  <[Enter]>            Execute this command\n  brief                help\n  \
             <pool>               help\n"
        );
        assert_eq!(possible(&Completion::default()), "No valid completions\n");
    }
}
