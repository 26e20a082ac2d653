//! A session of the command line: in which mode it is, where in the configuration, and what each command does.
//!
//! Who types and who reads is behind [`Front`]: the interactive shell, a script, a test.

mod configuration;
mod names;
mod operational;
mod statement;

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Instant;

use crate::api::routes::RouteId;
use crate::api::system::{System, Whoami};

use super::client::{Call, Client};
use super::error::CtlError;
use super::grammar::{Action, Live};
use super::output::{Format, Output, Screen};
use super::parse::{self, Completion, Line, Mode, NoNames};

use configuration::Editing;

pub use names::LiveNames;

/// The world around a session.
pub trait Front {
    /// Where output goes.
    fn screen(&mut self) -> &mut dyn Screen;

    /// Lines until the end of input or a line with Ctrl-D, for `load ... terminal`.
    ///
    /// # Errors
    /// Input could not be read.
    fn text(&mut self) -> Result<String, CtlError>;

    /// Asks the user; without a user the answer is yes.
    ///
    /// # Errors
    /// Input could not be read.
    fn confirm(&mut self, question: &str) -> Result<bool, CtlError>;

    /// Whether a user sits there.
    fn interactive(&self) -> bool;
}

/// What comes after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next command.
    Go,
    /// The end.
    Leave,
}

/// Settings of the command line itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Lines of a screen; `Some(0)`: do not stop at screens; `None`: as the terminal has.
    pub screen_length: Option<usize>,
    /// A space completes the word before it.
    pub complete_on_space: bool,
}

/// A session.
pub struct Session {
    client: Client,
    mode: Mode,
    editing: Option<Editing>,
    json: Option<Format>,
    /// Settings, which the shell reads.
    pub settings: Settings,
    names: RefCell<HashMap<Live, (Instant, Vec<String>)>>,
    kept: statement::Kept,
    who: Option<Whoami>,
    host: Option<String>,
}

impl Session {
    /// A session with this daemon. `json`: answers are given in this form unless a command asks for another.
    pub fn new(client: Client, json: Option<Format>) -> Self {
        Self {
            client,
            mode: Mode::Operational,
            editing: None,
            json,
            settings: Settings {
                screen_length: None,
                complete_on_space: true,
            },
            names: RefCell::new(HashMap::new()),
            kept: statement::Kept::default(),
            who: None,
            host: None,
        }
    }

    /// Asks the daemon who we are, for the prompt and `show cli`.
    ///
    /// # Errors
    /// No daemon, or it does not want us.
    pub fn greet(&mut self) -> Result<(), CtlError> {
        self.who = Some(self.client.call(&Call::new(RouteId::Whoami))?);
        let system: System = self.client.call(&Call::new(RouteId::System))?;
        self.host = Some(system.host_name);
        Ok(())
    }

    /// The mode.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// `[edit services nat]`, in configuration mode.
    pub fn banner(&self) -> Option<String> {
        self.editing.as_ref().map(|editing| editing.path.to_string())
    }

    /// `admin@gateway> ` or `admin@gateway# `.
    pub fn prompt(&self) -> String {
        let user = self.who.as_ref().map_or("nat64", |who| &who.user);
        let host = self.host.as_deref().unwrap_or("nat64ctl");
        let host = host.split('.').next().unwrap_or(host);
        let mark = if self.mode == Mode::Operational { '>' } else { '#' };
        format!("{user}@{host}{mark} ")
    }

    /// Names of the daemon, for the parser and completion.
    pub fn live(&self) -> LiveNames<'_> {
        LiveNames::new(&self.client, &self.names)
    }

    /// Does one line.
    ///
    /// # Errors
    /// It is no command, or the command was refused or failed.
    pub fn execute(&mut self, line: &str, front: &mut dyn Front) -> Result<Next, CtlError> {
        self.execute_in(self.mode, line, front)
    }

    fn execute_in(&mut self, mode: Mode, line: &str, front: &mut dyn Front) -> Result<Next, CtlError> {
        let parsed = parse::parse(mode, line, &self.live()).map_err(|error| CtlError::Parse {
            line: line.to_string(),
            error,
        })?;
        let Some(parsed) = parsed else {
            return Ok(Next::Go);
        };
        check_pipes(&parsed)?;
        match parsed.command.command.action {
            Action::Run => {
                let inner = parsed.command.value("command").unwrap_or_default().to_string();
                return self.nested(Mode::Operational, line, &inner, front);
            }
            Action::Top | Action::Up if parsed.command.has("command") => {
                return self.elsewhere(line, &parsed, front);
            }
            _ => {}
        }
        let format = self.json.unwrap_or(Format::Text);
        let action = parsed.command.command.action;
        if mode == Mode::Configuration || changes_mode(action) {
            self.kept.forget();
            return self.configuration(&parsed, format, front);
        }
        let mut out = Output::new(&parsed.pipes, format, front.screen())?;
        let done = self.operational(&parsed.command, &mut out);
        // What was written before an error is shown before it.
        let finished = out.finish();
        done?;
        finished?;
        Ok(Next::Go)
    }

    /// Runs the command behind `run`, `top` or `up`; places of errors are those of the whole line.
    fn nested(&mut self, mode: Mode, line: &str, inner: &str, front: &mut dyn Front) -> Result<Next, CtlError> {
        let offset = line.rfind(inner).unwrap_or(0);
        let before = self.mode;
        let done = self.execute_in(mode, inner, front).map_err(|error| match error {
            CtlError::Parse { line: _, mut error } => {
                error.span = error.span.start + offset..error.span.end + offset;
                CtlError::Parse {
                    line: line.to_string(),
                    error,
                }
            }
            other => other,
        });
        // `run exit` must not end the session, nor `run configure` begin another edit.
        if before == Mode::Configuration && mode == Mode::Operational {
            return done.map(|_| Next::Go);
        }
        done
    }

    /// What could stand at the end of `line`.
    ///
    /// # Errors
    /// What is wrong with the words before.
    pub fn complete(&self, line: &str) -> Result<Completion, CtlError> {
        let mut found = parse::complete(self.mode, line, &self.live()).map_err(|error| CtlError::Parse {
            line: line.to_string(),
            error,
        })?;
        if let Some((from, purpose)) = found.statement.take() {
            let enter = found.enter;
            found = self.complete_statement(line, from, purpose);
            found.enter |= enter;
        }
        Ok(found)
    }

    /// Ends an edit that is still open, quietly: for the end of a script or a lost terminal.
    pub fn close(&mut self) {
        if let Some(editing) = self.editing.take() {
            let call = Call::new(RouteId::EditEnd).part(&editing.token);
            // The daemon ends it by itself later when this fails.
            let _ = self.client.text(&call);
        }
    }
}

/// Commands of the operational mode that the configuration half does.
fn changes_mode(action: Action) -> bool {
    matches!(
        action,
        Action::Configure
            | Action::Exit
            | Action::Quit
            | Action::Help
            | Action::SetCli
            | Action::ShowCli
            | Action::ShowActiveConfiguration
            | Action::ShowRollback
    )
}

/// Pipes that only configurations can go through.
fn check_pipes(line: &Line) -> Result<(), CtlError> {
    let shows = matches!(
        line.command.command.action,
        Action::ShowCandidate | Action::ShowActiveConfiguration | Action::ShowRollback
    );
    for pipe in &line.pipes {
        let only = matches!(pipe.command.action, Action::PipeDisplaySet | Action::PipeCompare);
        if only && !shows {
            return Err(CtlError::Usage(format!(
                "`| {}` is for configurations: show configuration | {}",
                pipe.command.words, pipe.command.words
            )));
        }
    }
    Ok(())
}

/// For tests and tools that have no daemon: the commands a line means, or what is wrong with it.
///
/// # Errors
/// As [`parse::parse`].
pub fn check(mode: Mode, line: &str) -> Result<Option<Line>, parse::ParseError> {
    parse::parse(mode, line, &NoNames)
}
