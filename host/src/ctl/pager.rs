//! The screen of an interactive session: stops at each screenful, as Junos does, with `---(more)---`.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use crossterm::cursor::MoveToColumn;
use crossterm::event::{read, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::terminal::{self, Clear, ClearType};
use crossterm::QueueableCommand;

use super::error::CtlError;
use super::output::{More, Screen};

const MORE: &str = "---(more)---";
const HELP: &str = "---(space: next screen, enter: next line, G: to the end, q: stop)---";

/// What the user wants at a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Screen,
    Line,
    End,
    Stop,
    Help,
}

/// A terminal that is written a screen at a time.
pub struct Pager {
    to: BufWriter<Stdout>,
    /// Lines of a screen; `Some(0)`: do not stop; `None`: ask the terminal.
    length: Option<usize>,
    paged: bool,
    /// Rows written since the last stop.
    used: usize,
    stopped: bool,
}

impl Default for Pager {
    fn default() -> Self {
        Self::new()
    }
}

impl Pager {
    /// The terminal at standard output.
    pub fn new() -> Self {
        Self {
            to: BufWriter::new(io::stdout()),
            length: None,
            paged: false,
            used: 0,
            stopped: false,
        }
    }

    /// Sets the lines of a screen; see [`super::session::Settings`].
    pub fn set_length(&mut self, length: Option<usize>) {
        self.length = length;
    }

    /// Columns and rows.
    fn size(&self) -> (usize, usize) {
        let (columns, rows) = terminal::size().unwrap_or((80, 24));
        let rows = self.length.unwrap_or(usize::from(rows));
        (usize::from(columns).max(1), rows)
    }

    fn ask(&mut self) -> io::Result<Wish> {
        let mut text = MORE;
        loop {
            self.to.write_all(text.as_bytes())?;
            self.to.flush()?;
            terminal::enable_raw_mode()?;
            let wish = key();
            terminal::disable_raw_mode()?;
            self.to.queue(MoveToColumn(0))?.queue(Clear(ClearType::CurrentLine))?;
            match wish? {
                Wish::Help => text = HELP,
                wish => return Ok(wish),
            }
        }
    }
}

/// Waits for a key that means something.
fn key() -> io::Result<Wish> {
    loop {
        let Event::Key(key) = read()? else {
            continue;
        };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match (key.modifiers.contains(KeyModifiers::CONTROL), key.code) {
            (true, KeyCode::Char('c' | 'd')) | (false, KeyCode::Char('q' | 'Q') | KeyCode::Esc) => {
                return Ok(Wish::Stop);
            }
            (_, KeyCode::Char(' ' | 'f') | KeyCode::PageDown) => return Ok(Wish::Screen),
            (_, KeyCode::Enter | KeyCode::Down | KeyCode::Char('j')) => return Ok(Wish::Line),
            (_, KeyCode::End | KeyCode::Char('G')) => return Ok(Wish::End),
            (_, KeyCode::Char('h' | '?')) => return Ok(Wish::Help),
            _ => {}
        }
    }
}

impl Screen for Pager {
    fn line(&mut self, line: &str) -> Result<More, CtlError> {
        if self.stopped {
            return Ok(More::Enough);
        }
        let (columns, height) = self.size();
        let rows = line.chars().count().div_ceil(columns).max(1);
        if self.paged && height > 1 && self.used > 0 && self.used + rows >= height {
            match self.ask().map_err(CtlError::Output)? {
                Wish::Screen | Wish::Help => self.used = 0,
                Wish::Line => self.used = self.used.saturating_sub(rows),
                Wish::End => self.paged = false,
                Wish::Stop => {
                    self.stopped = true;
                    return Ok(More::Enough);
                }
            }
        }
        self.used += rows;
        writeln!(self.to, "{line}").map_err(CtlError::Output)?;
        Ok(More::Wanted)
    }

    fn begin(&mut self, paged: bool) {
        self.paged = paged && self.length != Some(0) && io::stdout().is_terminal();
        self.used = 0;
        self.stopped = false;
    }

    fn flush(&mut self) -> Result<(), CtlError> {
        self.to.flush().map_err(CtlError::Output)
    }

    fn height(&self) -> Option<usize> {
        Some(self.size().1).filter(|height| *height > 0)
    }
}
