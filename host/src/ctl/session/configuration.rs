//! The configuration mode: where in the candidate one stands, changes, commits; and the showing of configurations.

use std::path::PathBuf;

use chrono::{Local, NaiveDateTime, NaiveTime, TimeZone};
use serde_json::{json, Value};

use crate::api::configuration::{
    Changed, Checked, Commands, Commit, Commits, Committed, CompareQuery, Comparison, Edit, EditMode,
    Format as TextFormat, Load, LoadMode, Rollback, Text, TextQuery,
};
use crate::api::routes::RouteId;
use crate::api::Done;
use crate::config::{self, EditPath};

use super::super::client::Call;
use super::super::error::CtlError;
use super::super::grammar::Action;
use super::super::lex;
use super::super::manual;
use super::super::output::{Format, Output};
use super::super::parse::{Line, Mode, Parsed};
use super::super::render;
use super::{Front, Next, Session};

/// An edit of the candidate.
pub(super) struct Editing {
    /// Its name in requests.
    pub(super) token: String,
    /// Level commands are read from.
    pub(super) path: EditPath,
    /// Levels that `exit` goes back to.
    back: Vec<EditPath>,
    mode: EditMode,
}

/// Minutes of a `commit confirmed` without a number, as on Junos.
const CONFIRM_MINUTES: u32 = 10;

impl Editing {
    /// A statement, given where we stand, as words from the top.
    fn full(&self, statement: &str) -> String {
        let mut words: Vec<String> = self.path.words().map(lex::quoted).collect();
        words.push(statement.to_string());
        words.join(" ").trim().to_string()
    }
}

impl Session {
    /// Commands of the configuration mode, and those of the operational mode that show configurations, change modes
    /// or belong to both.
    pub(super) fn configuration(
        &mut self,
        line: &Line,
        format: Format,
        front: &mut dyn Front,
    ) -> Result<Next, CtlError> {
        let given = &line.command;
        match given.command.action {
            Action::Configure => {
                self.configure(given, front)?;
                self.tell_level(&line.pipes, format, front)?;
            }
            Action::Exit | Action::Quit => {
                let next = self.leave(given, front)?;
                self.tell_level(&line.pipes, format, front)?;
                return Ok(next);
            }
            Action::Edit => {
                let editing = self.editing()?;
                let path = editing.path.edit(given.value("statement").unwrap_or_default())?;
                let before = std::mem::replace(&mut editing.path, path);
                editing.back.push(before);
                self.tell_level(&line.pipes, format, front)?;
            }
            Action::Up => {
                let levels = given.number("levels").unwrap_or(1);
                let editing = self.editing()?;
                editing.path = editing.path.up(usize::try_from(levels).unwrap_or(usize::MAX));
                self.tell_level(&line.pipes, format, front)?;
            }
            Action::Top => {
                let editing = self.editing()?;
                editing.path = EditPath::top();
                editing.back.clear();
                self.tell_level(&line.pipes, format, front)?;
            }
            Action::Load => {
                // Input for `terminal` is read before output takes the screen.
                let load = self.loaded(given, front)?;
                let changed: Changed = self.client.call(&Call::new(RouteId::Load).body(&load))?;
                let mut out = Output::new(&line.pipes, format, front.screen())?;
                out.answer(&changed, |changed| render::changed(changed, "load complete"))?;
                out.finish()?;
            }
            Action::Change if given.command.words == "delete" && !given.has("statement") => {
                let question = "Delete everything under this level?";
                if front.interactive() && !front.confirm(question)? {
                    return Ok(Next::Go);
                }
                self.change(given, &line.pipes, format, front)?;
            }
            Action::Change | Action::Annotate | Action::Rename | Action::Copy | Action::Insert => {
                self.change(given, &line.pipes, format, front)?;
            }
            Action::SetCli => {
                if let Some(lines) = given.number("screen-length") {
                    self.settings.screen_length = usize::try_from(lines).ok();
                }
                if let Some(word) = given.value("complete-on-space") {
                    self.settings.complete_on_space = word == "on";
                }
                if format != Format::Text {
                    let mut out = Output::new(&line.pipes, format, front.screen())?;
                    out.answer(&self.cli_json(), |_| String::new())?;
                    out.finish()?;
                }
            }
            Action::Commit => {
                let leave = given.has("and-quit");
                let mut out = Output::new(&line.pipes, format, front.screen())?;
                let done = self.commit(given, &mut out);
                out.finish()?;
                done?;
                if leave {
                    self.end_edit(front)?;
                }
            }
            _ => {
                let mut out = Output::new(&line.pipes, format, front.screen())?;
                let done = self.look(given, &mut out);
                out.finish()?;
                done?;
            }
        }
        Ok(Next::Go)
    }

    /// With JSON: in which mode and at which level one is now. People see the banner.
    fn tell_level(&self, pipes: &[Parsed], format: Format, front: &mut dyn Front) -> Result<(), CtlError> {
        if format == Format::Text {
            return Ok(());
        }
        let mut out = Output::new(pipes, format, front.screen())?;
        let level = self.editing.as_ref().map(|editing| editing.full(""));
        let mode = if level.is_some() {
            "configuration"
        } else {
            "operational"
        };
        out.answer(&json!({ "mode": mode, "path": level }), |_| String::new())?;
        out.finish()
    }

    fn editing(&mut self) -> Result<&mut Editing, CtlError> {
        let none = || CtlError::Usage("this is a command of the configuration mode: `configure` first".into());
        self.editing.as_mut().ok_or_else(none)
    }

    fn configure(&mut self, given: &Parsed, front: &mut dyn Front) -> Result<(), CtlError> {
        if self.editing.is_some() {
            return Err(CtlError::Usage("this is the configuration mode already".into()));
        }
        let mode = match given.value("mode") {
            Some("exclusive") => EditMode::Exclusive,
            Some("private") => EditMode::Private,
            _ => EditMode::Shared,
        };
        let edit = self.begin_edit(mode)?;
        if front.interactive() {
            let mut text = String::from("Entering configuration mode\n");
            if !edit.others.is_empty() {
                text += &render::editors(&edit.others);
            }
            if mode != EditMode::Shared {
                text += "warning: uncommitted changes will be discarded on exit\n";
            }
            if edit.modified {
                text += "The configuration has been changed but not committed\n";
            }
            show(front, &text)?;
        }
        self.editing = Some(Editing {
            token: edit.edit,
            path: EditPath::top(),
            back: Vec::new(),
            mode,
        });
        self.mode = Mode::Configuration;
        Ok(())
    }

    fn leave(&mut self, given: &Parsed, front: &mut dyn Front) -> Result<Next, CtlError> {
        let Some(editing) = &mut self.editing else {
            return Ok(Next::Leave);
        };
        if !given.has("configuration-mode") {
            if let Some(before) = editing.back.pop() {
                editing.path = before;
                return Ok(Next::Go);
            }
        }
        if front.interactive() {
            let call = Call::new(RouteId::EditTouch).part(&editing.token);
            let edit: Result<Edit, _> = self.client.call(&call);
            // An edit that the daemon ended by itself can only be left.
            if edit.is_ok_and(|edit| edit.modified) {
                if editing.mode != EditMode::Shared {
                    show(front, "The configuration has been changed but not committed\n")?;
                    if !front.confirm("Exit and discard uncommitted changes?")? {
                        return Ok(Next::Go);
                    }
                } else {
                    show(front, "The configuration has been changed but not committed\n")?;
                }
            }
        }
        self.end_edit(front)?;
        Ok(Next::Go)
    }

    fn end_edit(&mut self, front: &mut dyn Front) -> Result<(), CtlError> {
        self.mode = Mode::Operational;
        let Some(editing) = self.editing.take() else {
            return Ok(());
        };
        let call = Call::new(RouteId::EditEnd).part(&editing.token);
        let ended: Result<Done, CtlError> = self.client.call(&call);
        if front.interactive() {
            show(front, "Exiting configuration mode\n")?;
        }
        match ended {
            // It was ended before, by its age or a restart of the daemon.
            Err(CtlError::Refused(_)) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn change(
        &mut self,
        given: &Parsed,
        pipes: &[Parsed],
        format: Format,
        front: &mut dyn Front,
    ) -> Result<(), CtlError> {
        let editing = self.editing()?;
        let verb = given.command.words;
        let statement = given.value("statement").unwrap_or_default();
        let path = if verb == "replace pattern" {
            if !editing.path.is_top() {
                return Err(CtlError::Usage(
                    "`replace pattern` works on the whole candidate: `top replace pattern ...`".into(),
                ));
            }
            statement.to_string()
        } else {
            editing.full(statement)
        };
        let body = Commands {
            edit: editing.token.clone(),
            commands: vec![format!("{verb} {path}").trim_end().to_string()],
        };
        let changed: Changed = self.client.call(&Call::new(RouteId::Commands).body(&body))?;
        let mut out = Output::new(pipes, format, front.screen())?;
        out.answer(&changed, |changed| render::changed(changed, ""))?;
        out.finish()
    }

    /// The body of a `load`, with the text from wherever it comes.
    fn loaded(&mut self, given: &Parsed, front: &mut dyn Front) -> Result<Load, CtlError> {
        let editing = self.editing()?;
        let here = editing.full("");
        let mut load = Load {
            edit: editing.token.clone(),
            mode: match given.value("how") {
                Some("override") => LoadMode::Override,
                Some("replace") => LoadMode::Replace,
                Some("set") => LoadMode::Set,
                Some("update") => LoadMode::Update,
                _ => LoadMode::Merge,
            },
            ..Load::default()
        };
        let from = given.value("from").unwrap_or_default();
        if let Some(text) = from.strip_prefix("inline") {
            if text.starts_with(char::is_whitespace) {
                let words = lex::words(text).unwrap_or_default();
                load.text = match &words[..] {
                    [word] if word.quoted => word.text.clone(),
                    _ => text.trim().to_string(),
                };
                load.name = Some("inline".into());
                return Ok(load);
            }
        }
        let words = lex::words(from).map_err(|error| CtlError::Usage(error.to_string()))?;
        let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let (file, relative) = match words[..] {
            [file] => (file, false),
            [file, "relative"] => (file, true),
            _ => {
                return Err(CtlError::Usage(
                    "load wants one file, `terminal`, or `inline` and a text; `relative` may follow".into(),
                ))
            }
        };
        load.path = (relative && !here.is_empty()).then_some(here);
        if file == "terminal" || file == "-" {
            if front.interactive() {
                show(front, "[Type ^D at a new line to end input]\n")?;
            }
            load.text = front.text()?;
        } else {
            let path = PathBuf::from(file);
            load.text = std::fs::read_to_string(&path).map_err(|why| CtlError::File { file: path, why })?;
            load.name = Some(file.to_string());
        }
        Ok(load)
    }

    fn commit(&mut self, given: &Parsed, out: &mut Output<'_>) -> Result<(), CtlError> {
        let editing = self.editing()?;
        let token = editing.token.clone();
        if given.has("check") {
            let checked: Checked = self.client.call(&Call::new(RouteId::Check).body(&self.edit_query()))?;
            out.answer(&checked, |checked| {
                render::warnings(&checked.warnings) + "configuration check succeeds\n"
            })?;
            return Ok(());
        }
        let minutes = match given.value("confirmed") {
            Some("") => Some(CONFIRM_MINUTES),
            Some(minutes) => minutes.parse().ok(),
            None => None,
        };
        let body = Commit {
            edit: token,
            comment: given.value("comment").map(str::to_string),
            confirmed: minutes,
            at: given.value("at").map(moment).transpose()?,
        };
        let committed: Committed = self.client.call(&Call::new(RouteId::Commit).body(&body))?;
        out.answer(&committed, |committed| render::commit(committed, minutes))?;
        Ok(())
    }

    /// Commands that show something of a configuration, or of this command line.
    fn look(&mut self, given: &Parsed, out: &mut Output<'_>) -> Result<(), CtlError> {
        let statement = given.value("statement").unwrap_or_default();
        match given.command.action {
            Action::ShowCandidate => {
                let editing = self.editing()?;
                let path = editing.full(statement);
                let path = (!path.is_empty()).then_some(path);
                let edit = self.edit_query().edit;
                if let Some(rollback) = out.compare() {
                    let query = CompareQuery {
                        rollback: rollback.and_then(|n| u32::try_from(n).ok()),
                        edit,
                        path,
                    };
                    let found: Comparison = self.client.call(&Call::new(RouteId::Compare).query(&query))?;
                    out.answer(&found, render::compared)?;
                    return Ok(());
                }
                let text = self.text(Call::new(RouteId::Candidate), text_format(out), path, edit)?;
                out.text(&text)?;
            }
            Action::ShowActiveConfiguration => {
                if let Some(rollback) = out.compare() {
                    let other = rollback.unwrap_or(0).to_string();
                    return self.compare_stored(&other, None, out);
                }
                let path = (!statement.is_empty()).then(|| statement.to_string());
                if path.is_none() && out.format() == Format::Text {
                    let commits: Commits = self.client.call(&Call::new(RouteId::Commits))?;
                    if let Some(last) = commits.commits.first() {
                        out.text(&format!("## Last commit: {} by {}", render::time(last.time), last.user))?;
                    }
                }
                let text = self.text(Call::new(RouteId::Active), text_format(out), path, None)?;
                out.text(&text)?;
            }
            Action::ShowRollback => {
                let number = given.value("number").unwrap_or("0");
                if let Some(other) = given.value("compare") {
                    return self.compare_stored(other, Some(number), out);
                }
                let call = Call::new(RouteId::RollbackText).part(number);
                let text = self.text(call, text_format(out), None, None)?;
                out.text(&text)?;
            }
            Action::Rollback => {
                let body = Rollback {
                    edit: self.editing()?.token.clone(),
                    n: given.number("number").and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
                };
                let changed: Changed = self.client.call(&Call::new(RouteId::Rollback).body(&body))?;
                out.answer(&changed, |changed| render::changed(changed, "load complete"))?;
            }
            Action::Save => {
                let path = self.editing()?.full("");
                let path = (!path.is_empty()).then_some(path);
                let edit = self.edit_query().edit;
                let text = self.text(Call::new(RouteId::Candidate), TextFormat::Curly, path, edit)?;
                let file = PathBuf::from(given.value("file").unwrap_or_default());
                if file.as_os_str() == "terminal" {
                    out.text(&text)?;
                    return Ok(());
                }
                std::fs::write(&file, &text).map_err(|why| CtlError::File {
                    file: file.clone(),
                    why,
                })?;
                let answer = json!({ "file": file.display().to_string(), "lines": text.lines().count() });
                out.answer(&answer, |answer| {
                    format!(
                        "Wrote {} lines of configuration to '{}'\n",
                        answer["lines"],
                        file.display()
                    )
                })?;
            }
            Action::Update => {
                let changed: Changed = self.client.call(&Call::new(RouteId::Update).body(&self.edit_query()))?;
                out.answer(&changed, |changed| render::changed(changed, "update complete"))?;
            }
            Action::Status => {
                let commits: Commits = self.client.call(&Call::new(RouteId::Commits))?;
                out.answer(&commits.editors, |editors| render::editors(editors))?;
            }
            Action::Help => {
                let words = given.value("command").unwrap_or_default();
                let text = manual::help(self.mode, words)?;
                out.answer(&json!({ "help": text }), |_| text.clone())?;
            }
            Action::ShowCli => {
                if self.who.is_none() {
                    self.greet()?;
                }
                out.answer(&self.cli_json(), |_| self.cli_text())?;
            }
            other => return Err(CtlError::Usage(format!("{other:?} is no command of this mode"))),
        }
        Ok(())
    }

    fn cli_json(&self) -> Value {
        json!({
            "who": self.who,
            "socket": self.client.socket().display().to_string(),
            "screen-length": self.settings.screen_length,
            "complete-on-space": self.settings.complete_on_space,
        })
    }

    fn cli_text(&self) -> String {
        let who = self.who.as_ref().map_or_else(
            || "unknown".into(),
            |who| format!("{} (uid {}), class {}", who.user, who.uid, who.class),
        );
        let length = match self.settings.screen_length {
            None => "as the terminal has".into(),
            Some(0) => "output does not stop".to_string(),
            Some(lines) => format!("{lines} lines"),
        };
        let space = if self.settings.complete_on_space { "on" } else { "off" };
        format!(
            "CLI user: {who}\nCLI socket: {}\nCLI screen-length: {length}\nCLI complete-on-space: {space}\n",
            self.client.socket().display()
        )
    }

    fn text(
        &self,
        call: Call<'_>,
        format: TextFormat,
        path: Option<String>,
        edit: Option<String>,
    ) -> Result<String, CtlError> {
        let text: Text = self.client.call(&call.query(&TextQuery { format, path, edit }))?;
        Ok(text.text)
    }

    /// How stored configuration `old` becomes `new`; no `new`: the active one.
    fn compare_stored(&self, old: &str, new: Option<&str>, out: &mut Output<'_>) -> Result<(), CtlError> {
        let stored = |number: Option<&str>| {
            let call = match number {
                Some(number) => Call::new(RouteId::RollbackText).part(number),
                None => Call::new(RouteId::Active),
            };
            let text = self.text(call, TextFormat::Curly, None, None)?;
            Ok::<_, CtlError>(config::parse(&text, number.unwrap_or("active"))?)
        };
        let text = config::compare_text(&stored(Some(old))?, &stored(new)?);
        let found = Comparison {
            differs: !text.is_empty(),
            text,
        };
        out.answer(&found, render::compared)?;
        Ok(())
    }

    /// `top COMMAND` and `up N COMMAND`: the command is given there, and one is back here after it unless it went
    /// somewhere itself.
    pub(super) fn elsewhere(&mut self, line: &str, parsed: &Line, front: &mut dyn Front) -> Result<Next, CtlError> {
        let given = &parsed.command;
        let inner = given.value("command").unwrap_or_default().to_string();
        let editing = self.editing()?;
        let here = editing.path.clone();
        let there = match given.command.action {
            Action::Top => EditPath::top(),
            _ => here.up(usize::try_from(given.number("levels").unwrap_or(1)).unwrap_or(usize::MAX)),
        };
        editing.path = there.clone();
        let done = self.nested(Mode::Configuration, line, &inner, front);
        if let Some(editing) = &mut self.editing {
            if editing.path == there {
                editing.path = here;
            }
        }
        done
    }
}

fn text_format(out: &Output<'_>) -> TextFormat {
    match out.format() {
        Format::Text => TextFormat::Curly,
        Format::Set => TextFormat::Set,
        Format::Json | Format::JsonLines => TextFormat::Json,
    }
}

fn show(front: &mut dyn Front, text: &str) -> Result<(), CtlError> {
    for line in text.lines() {
        front.screen().line(line)?;
    }
    front.screen().flush()
}

/// A [`Value::Time`](super::super::grammar::Value::Time) as Unix time: today or, when that has passed, tomorrow.
fn moment(text: &str) -> Result<u64, CtlError> {
    let wrong = || CtlError::Usage(format!("`{text}` is no time there is"));
    let utc = text.ends_with('Z');
    let plain = text.trim_end_matches('Z').replace('T', " ");
    let clock =
        |text: &str| NaiveTime::parse_from_str(text, "%H:%M:%S").or_else(|_| NaiveTime::parse_from_str(text, "%H:%M"));
    let local = match plain.split_once(' ') {
        Some((day, time)) => {
            let time = clock(time).map_err(|_| wrong())?;
            let day = chrono::NaiveDate::parse_from_str(day, "%Y-%m-%d").map_err(|_| wrong())?;
            NaiveDateTime::new(day, time)
        }
        None => {
            let time = clock(&plain).map_err(|_| wrong())?;
            let today = Local::now().naive_local();
            let at = NaiveDateTime::new(today.date(), time);
            if at > today {
                at
            } else {
                at + chrono::Days::new(1)
            }
        }
    };
    let seconds = if utc {
        local.and_utc().timestamp()
    } else {
        Local
            .from_local_datetime(&local)
            .earliest()
            .ok_or_else(wrong)?
            .timestamp()
    };
    u64::try_from(seconds).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_the_next_one() {
        let day = 86_400;
        for text in ["00:00", "12:30:15", "23:59"] {
            let at = moment(text).unwrap();
            // Daylight saving may make the day longer.
            let now = u64::try_from(Local::now().timestamp()).unwrap();
            assert!(at > now && at <= now + day + 3_600, "{text}: {at}");
        }
        assert_eq!(moment("2026-12-31T04:00:00Z").unwrap(), 1_798_689_600);
        assert!(moment("2026-02-30 04:00").is_err());
    }
}
