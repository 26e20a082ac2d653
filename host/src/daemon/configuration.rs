//! The commit engine behind the API: edits by token, texts, commits, and a thread for what is due by itself.
//!
//! The engine is behind one lock, and a commit holds it while the cards are asked. Everything here may block; the
//! server calls it on threads that may.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::access::Caller;
use super::cards::{Applier, CardSet};
use super::{opening, unix_seconds};
use crate::api::configuration as wire;
use crate::api::configuration::{EditMode, EDIT_IDLE_SECONDS};
use crate::api::{ErrorBody, ErrorCode, Place};
use crate::config::{self, BuildOptions, Clash, ConfigError, EditPath, LoadMode, Model, Problem, Warning};
use crate::store::{
    Apply, Changes, CommitError, CommitRequest, Disk, Engine, EngineError, Event, Opened, SessionId, Sharing,
    StoreError, UnixTime,
};

/// Edits at a time, of all users.
const MAX_EDITS: usize = 64;
/// Longest comment of a commit, bytes.
const MAX_COMMENT: usize = 512;

/// One edit.
struct Token {
    session: SessionId,
    user: String,
    uid: u32,
    mode: EditMode,
    since: SystemTime,
    used: Instant,
}

struct Inner {
    engine: Engine<Disk>,
    tokens: HashMap<String, Token>,
}

/// See the module documentation.
pub struct Configuration {
    inner: Mutex<Inner>,
    changed: Condvar,
    cards: Arc<CardSet>,
    model: watch::Sender<Arc<Model>>,
    alarms: Vec<String>,
}

fn place(problem: &config::Place) -> Place {
    let (line, column) = problem.line_column();
    Place {
        source: Some(problem.name().to_owned()),
        line: Some(line),
        column: Some(column),
        text: Some(problem.text().to_owned()),
        ..Place::default()
    }
}

fn problem(problem: &Problem) -> Place {
    Place {
        message: problem.kind.to_string(),
        help: problem.help.clone(),
        rendered: Some(problem.render(false)),
        ..problem.place.as_ref().map(place).unwrap_or_default()
    }
}

fn clash(clash: &Clash) -> Place {
    Place {
        message: clash.to_string(),
        ..Place::default()
    }
}

fn warnings(warnings: &[Warning]) -> Vec<Place> {
    let one = |warning: &Warning| Place {
        message: warning.kind.to_string(),
        help: warning.help.clone(),
        rendered: Some(warning.render(false)),
        ..warning.place.as_ref().map(place).unwrap_or_default()
    };
    warnings.iter().map(one).collect()
}

fn with_places(code: ErrorCode, problems: &[Problem]) -> ErrorBody {
    let message = match problems {
        [one] => one.kind.to_string(),
        many => format!(
            "{} problems, the first: {}",
            many.len(),
            many.first().map_or(String::new(), |p| p.kind.to_string())
        ),
    };
    ErrorBody {
        places: problems.iter().map(problem).collect(),
        ..ErrorBody::new(code, message)
    }
}

impl From<ConfigError> for ErrorBody {
    fn from(error: ConfigError) -> Self {
        with_places(ErrorCode::Syntax, error.problems())
    }
}

impl From<EngineError> for ErrorBody {
    fn from(error: EngineError) -> Self {
        let code = match &error {
            EngineError::NoSession => ErrorCode::NotFound,
            _ => ErrorCode::Conflict,
        };
        Self::new(code, error.to_string())
    }
}

impl From<StoreError> for ErrorBody {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::NoSuchRollback { .. } => ErrorCode::NotFound,
            _ => ErrorCode::Storage,
        };
        Self::new(code, error.to_string())
    }
}

impl From<Changes> for ErrorBody {
    fn from(error: Changes) -> Self {
        match error {
            Changes::Engine(error) => error.into(),
            Changes::Config(error) => error.into(),
            Changes::Store(error) => error.into(),
        }
    }
}

impl From<CommitError> for ErrorBody {
    fn from(error: CommitError) -> Self {
        let code = match error {
            CommitError::Engine(error) => return error.into(),
            CommitError::Check { problems } => return with_places(ErrorCode::CommitCheck, &problems),
            CommitError::Clash { ref clashes } => {
                return Self {
                    places: clashes.iter().map(clash).collect(),
                    ..Self::new(
                        ErrorCode::Conflict,
                        "others committed other values; `update` takes what they committed and keeps yours",
                    )
                }
            }
            CommitError::Refused(_) | CommitError::Apply(_) => ErrorCode::CardRefused,
            CommitError::Store { .. } => ErrorCode::Storage,
            CommitError::Past | CommitError::Minutes { .. } => ErrorCode::BadRequest,
        };
        Self::new(code, error.to_string())
    }
}

const fn format_of(format: wire::Format) -> config::Format {
    match format {
        wire::Format::Curly => config::Format::Curly,
        wire::Format::Set => config::Format::Set,
        wire::Format::Json => config::Format::Json,
    }
}

fn now() -> UnixTime {
    SystemTime::now().into()
}

const fn seconds(time: UnixTime) -> u64 {
    time.0 / 1000
}

fn edit_path(path: Option<&str>) -> Result<EditPath, ErrorBody> {
    match path {
        None | Some("") => Ok(EditPath::top()),
        Some(path) => Ok(EditPath::top().edit(path)?),
    }
}

fn text(tree: &config::Tree, query: &wire::TextQuery) -> Result<wire::Text, ErrorBody> {
    let words = query.path.as_deref().unwrap_or("");
    let text = config::show(tree, &EditPath::top(), words, format_of(query.format))?;
    Ok(wire::Text {
        format: query.format,
        text,
    })
}

impl Configuration {
    /// Over an opened directory. Nothing is put in force yet: [`Configuration::start`] does.
    pub fn new(engine: Engine<Disk>, opened: &Opened, cards: Arc<CardSet>) -> Self {
        let alarms = opened.torn.iter().map(|torn| {
            tracing::error!(
                file = torn.file,
                reason = torn.reason,
                "configuration file cannot be used"
            );
            format!("configuration file {} cannot be used: {}", torn.file, torn.reason)
        });
        Self {
            alarms: alarms.collect(),
            inner: Mutex::new(Inner {
                engine,
                tokens: HashMap::new(),
            }),
            changed: Condvar::new(),
            cards,
            model: watch::Sender::new(Arc::new(Model::default())),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // The engine leaves itself whole whatever a card's answer does.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everyone what is in force.
    fn publish(&self, inner: &Inner) {
        if let Some(model) = inner.engine.running() {
            self.model.send_replace(model.clone());
        }
        self.changed.notify_all();
    }

    /// The configuration in force, and those that follow.
    pub fn models(&self) -> watch::Receiver<Arc<Model>> {
        self.model.subscribe()
    }

    fn options(&self) -> BuildOptions {
        BuildOptions {
            card_limits: self.cards.limits(),
            ..BuildOptions::default()
        }
    }

    /// Puts the active configuration in force.
    ///
    /// # Errors
    /// It is refused; the daemon goes on without one, and commits are taken.
    pub fn start(&self) -> Result<(), ErrorBody> {
        let mut inner = self.inner();
        inner.engine.set_options(self.options());
        let started = inner.engine.start(&mut Applier(&self.cards), now());
        let events = started.map_err(ErrorBody::from)?;
        log_events(&events);
        self.publish(&inner);
        Ok(())
    }

    /// Puts the active configuration in force once more; sessions live on.
    ///
    /// # Errors
    /// A card refuses it now.
    pub fn again(&self) -> Result<(), ErrorBody> {
        let inner = self.inner();
        let Some(model) = inner.engine.running().cloned() else {
            drop(inner);
            return self.start();
        };
        let mut applier = Applier(&self.cards);
        let refused = |text: String| ErrorBody::new(ErrorCode::CardRefused, text);
        let prepared = applier.prepare(&model).map_err(|error| refused(error.to_string()))?;
        applier.apply(prepared).map_err(|error| refused(error.to_string()))?;
        Ok(())
    }

    /// Does what is due by itself (`commit confirmed`, `commit at`, idle edits) until `stop`; on a thread of its own.
    pub fn keep(&self, stop: &watch::Receiver<bool>) {
        let mut inner = self.inner();
        while !*stop.borrow() {
            let due = inner.engine.next_due();
            if due.is_some_and(|due| due <= now()) {
                inner.engine.set_options(self.options());
                let events = inner.engine.tick(&mut Applier(&self.cards), now());
                log_events(&events);
                self.publish(&inner);
            }
            drop_idle(&mut inner);
            let wait = inner
                .engine
                .next_due()
                .map_or(Duration::from_secs(1), |due| due.after(now()));
            // Nothing lost if it wakes for nothing.
            let wait = wait.clamp(Duration::from_millis(5), Duration::from_secs(1));
            inner = match self.changed.wait_timeout(inner, wait) {
                Ok((inner, _)) => inner,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Wakes [`Configuration::keep`], so that it sees the end.
    pub fn wake(&self) {
        self.changed.notify_all();
    }

    /// What an operator should know.
    pub fn alarms(&self) -> Vec<String> {
        let inner = self.inner();
        let mut alarms = self.alarms.clone();
        if let Some(due) = inner.engine.confirm_by() {
            let left = due.after(now()).as_secs();
            alarms.push(format!("the commit is rolled back in {left} s unless it is confirmed"));
        }
        if inner.engine.running().is_none() {
            alarms.push("no configuration is in force".into());
        }
        alarms
    }

    /// Number of the active commit.
    pub fn active_commit(&self) -> Option<u64> {
        self.inner().engine.history().first().map(|info| info.number)
    }

    /// `configure`.
    ///
    /// # Errors
    /// Someone edits exclusively, or privately; the shared candidate has changes; too many edit.
    pub fn begin(&self, caller: &Caller, mode: EditMode, client: &str) -> Result<wire::Edit, ErrorBody> {
        let mut inner = self.inner();
        drop_idle(&mut inner);
        if inner.tokens.len() >= MAX_EDITS {
            return Err(ErrorBody::new(ErrorCode::TooMany, format!("{MAX_EDITS} edit already")));
        }
        let others = editors(&inner);
        let sharing = match mode {
            EditMode::Shared => Sharing::Shared,
            EditMode::Exclusive => Sharing::Exclusive,
            EditMode::Private => Sharing::Private,
        };
        let session = inner.engine.enter(&caller.user, client, sharing, now())?;
        let modified = inner.engine.modified_by(Some(session));
        let random = opening::random()?;
        let token = format!("{}-{random:016x}", session.0);
        inner.tokens.insert(
            token.clone(),
            Token {
                session,
                user: caller.user.clone(),
                uid: caller.uid,
                mode,
                since: SystemTime::now(),
                used: Instant::now(),
            },
        );
        Ok(wire::Edit {
            edit: token,
            mode,
            modified,
            others,
        })
    }

    /// Says that an edit is alive.
    ///
    /// # Errors
    /// It has ended, or is another user's.
    pub fn touch(&self, caller: &Caller, token: &str) -> Result<wire::Edit, ErrorBody> {
        let mut inner = self.inner();
        let (session, mode) = use_token(&mut inner, caller, token)?;
        let all = inner.engine.sessions();
        let here = all.map(|(id, _)| id).any(|id| id == session);
        if !here {
            return Err(EngineError::NoSession.into());
        }
        Ok(wire::Edit {
            edit: token.to_owned(),
            mode,
            modified: inner.engine.modified_by(Some(session)),
            others: editors(&inner),
        })
    }

    /// `exit`.
    ///
    /// # Errors
    /// It has ended, or is another user's.
    pub fn end(&self, caller: &Caller, token: &str) -> Result<(), ErrorBody> {
        let mut inner = self.inner();
        let (session, _) = use_token(&mut inner, caller, token)?;
        inner.tokens.remove(token);
        inner.engine.leave(session);
        Ok(())
    }

    /// The active configuration.
    ///
    /// # Errors
    /// The path is no statement.
    pub fn active(&self, query: &wire::TextQuery) -> Result<wire::Text, ErrorBody> {
        let tree = self.inner().engine.active().clone();
        text(&tree, query)
    }

    /// The candidate: that of the edit, the shared one without.
    ///
    /// # Errors
    /// The path is no statement; the edit has ended, or is another user's.
    pub fn candidate(&self, caller: &Caller, query: &wire::TextQuery) -> Result<wire::Text, ErrorBody> {
        let mut inner = self.inner();
        let session = seen(&mut inner, caller, query.edit.as_deref())?;
        let tree = inner.engine.candidate_of(session).clone();
        drop(inner);
        text(&tree, query)
    }

    /// What was committed `n` commits ago.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn rollback_text(&self, n: usize, query: &wire::TextQuery) -> Result<wire::Text, ErrorBody> {
        let tree = self.inner().engine.rollback_tree(n)?;
        text(&tree, query)
    }

    /// `show | compare`.
    ///
    /// # Errors
    /// There is no such rollback; the edit has ended, or is another user's.
    pub fn compare(&self, caller: &Caller, query: &wire::CompareQuery) -> Result<wire::Comparison, ErrorBody> {
        let mut inner = self.inner();
        let session = seen(&mut inner, caller, query.edit.as_deref())?;
        let hunks = inner.engine.compare(session, query.rollback.unwrap_or(0) as usize)?;
        drop(inner);
        let below = match query.path.as_deref() {
            None | Some("") => None,
            Some(path) => Some(edit_path(Some(path))?.words().collect::<Vec<_>>().join(" ")),
        };
        let wanted = |hunk: &&config::Hunk| {
            below.as_ref().is_none_or(|below| {
                let rest = hunk.path.strip_prefix(below.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            })
        };
        let text: String = hunks.iter().filter(wanted).map(ToString::to_string).collect();
        Ok(wire::Comparison {
            differs: !text.is_empty(),
            text,
        })
    }

    /// Commands, all or none.
    ///
    /// # Errors
    /// The first that is wrong; the candidate is locked.
    pub fn commands(&self, caller: &Caller, request: &wire::Commands) -> Result<wire::Changed, ErrorBody> {
        let mut inner = self.inner();
        let (session, _) = use_token(&mut inner, caller, &request.edit)?;
        if let Some(number) = request
            .commands
            .iter()
            .position(|command| command.contains(['\n', '\r']))
        {
            let text = format!("command {} has more than one line", number + 1);
            return Err(ErrorBody::new(ErrorCode::BadRequest, text));
        }
        let top = EditPath::top();
        match &request.commands[..] {
            [] => {}
            [one] => drop(inner.engine.edit(session, &top, one)?),
            many => inner
                .engine
                .load(session, &top, LoadMode::Set, false, &many.join("\n"), "commands")?,
        }
        Ok(wire::Changed {
            applied: request.commands.len(),
            warnings: Vec::new(),
        })
    }

    /// `load`.
    ///
    /// # Errors
    /// Everything that is wrong; the candidate is locked.
    pub fn load(&self, caller: &Caller, request: &wire::Load) -> Result<wire::Changed, ErrorBody> {
        let mut inner = self.inner();
        let (session, _) = use_token(&mut inner, caller, &request.edit)?;
        let mode = match request.mode {
            wire::LoadMode::Override => LoadMode::Override,
            wire::LoadMode::Merge => LoadMode::Merge,
            wire::LoadMode::Replace => LoadMode::Replace,
            wire::LoadMode::Set => LoadMode::Set,
            wire::LoadMode::Update => LoadMode::Update,
        };
        let path = edit_path(request.path.as_deref())?;
        let name = request.name.as_deref().unwrap_or("terminal");
        inner
            .engine
            .load(session, &path, mode, !path.is_top(), &request.text, name)?;
        let lines = request.text.lines().filter(|line| !line.trim().is_empty());
        Ok(wire::Changed {
            applied: lines.count(),
            warnings: Vec::new(),
        })
    }

    /// `rollback N`.
    ///
    /// # Errors
    /// There is none, or it is damaged; the candidate is locked.
    pub fn rollback(&self, caller: &Caller, request: &wire::Rollback) -> Result<wire::Changed, ErrorBody> {
        let mut inner = self.inner();
        let (session, _) = use_token(&mut inner, caller, &request.edit)?;
        inner.engine.rollback(session, request.n as usize)?;
        Ok(wire::Changed {
            applied: 1,
            warnings: Vec::new(),
        })
    }

    /// `update`.
    ///
    /// # Errors
    /// The edit is not private; it has ended, or is another user's; someone edits exclusively.
    pub fn update(&self, caller: &Caller, request: &wire::EditQuery) -> Result<wire::Changed, ErrorBody> {
        let mut inner = self.inner();
        let token = request.edit.as_deref().unwrap_or_default();
        let (session, _) = use_token(&mut inner, caller, token)?;
        let clashes = inner.engine.update(session)?;
        Ok(wire::Changed {
            applied: 1,
            warnings: clashes.iter().map(clash).collect(),
        })
    }

    /// `commit check`.
    ///
    /// # Errors
    /// Everything that is wrong, or the card's refusal; the edit has ended, or is another user's.
    pub fn check(&self, caller: &Caller, request: &wire::EditQuery) -> Result<wire::Checked, ErrorBody> {
        let mut inner = self.inner();
        let session = seen(&mut inner, caller, request.edit.as_deref())?;
        inner.engine.set_options(self.options());
        let found = inner.engine.check(session, &mut Applier(&self.cards))?;
        Ok(wire::Checked {
            warnings: warnings(&found),
        })
    }

    /// `commit`.
    ///
    /// # Errors
    /// Refused by the checks, a card or the disk; everything is as before.
    pub fn commit(&self, caller: &Caller, request: &wire::Commit) -> Result<wire::Committed, ErrorBody> {
        if request
            .comment
            .as_ref()
            .is_some_and(|comment| comment.len() > MAX_COMMENT)
        {
            let text = format!("a comment has at most {MAX_COMMENT} bytes");
            return Err(ErrorBody::new(ErrorCode::BadRequest, text));
        }
        let mut inner = self.inner();
        let (session, _) = use_token(&mut inner, caller, &request.edit)?;
        inner.engine.set_options(self.options());
        let asked = CommitRequest {
            comment: request.comment.clone(),
            confirmed: request.confirmed,
            at: request.at.map(|at| UnixTime(at.saturating_mul(1000))),
        };
        let made = inner.engine.commit(session, &mut Applier(&self.cards), &asked, now());
        let report = match made {
            Ok(report) => report,
            Err(error) => {
                let error = ErrorBody::from(error);
                tracing::warn!(user = caller.user, error = error.message, "commit refused");
                return Err(error);
            }
        };
        self.publish(&inner);
        let mut notes = warnings(&report.warnings);
        notes.extend(report.applied.notes.iter().map(|note| Place {
            message: note.clone(),
            ..Place::default()
        }));
        let committed = wire::Committed {
            commit: report.commit.as_ref().map(|info| info.number),
            at: report.scheduled.map(seconds),
            rolls_back_at: inner.engine.confirm_by().map(seconds),
            confirmed: report.confirmed,
            warnings: notes,
            cards: if report.commit.is_some() {
                self.cards.take_report()
            } else {
                Vec::new()
            },
        };
        tracing::info!(
            user = caller.user,
            commit = committed.commit,
            sessions_kept = report.applied.sessions_kept,
            sessions_removed = report.applied.sessions_removed,
            "commit complete"
        );
        Ok(committed)
    }

    /// Drops a `commit at` that waits.
    ///
    /// # Errors
    /// There is none, or its file cannot be removed.
    pub fn cancel(&self) -> Result<(), ErrorBody> {
        let mut inner = self.inner();
        if inner.engine.unschedule()? {
            Ok(())
        } else {
            Err(ErrorBody::new(ErrorCode::NotFound, "no commit waits for its time"))
        }
    }

    /// `show system commit`.
    pub fn commits(&self) -> wire::Commits {
        let inner = self.inner();
        let history = inner.engine.history();
        let commits = history
            .into_iter()
            .enumerate()
            .map(|(rollback, info)| wire::CommitEntry {
                rollback: rollback as u32,
                commit: info.number,
                time: seconds(info.time),
                user: info.user,
                client: info.client,
                comment: info.comment,
                damaged: None,
            });
        wire::Commits {
            commits: commits.collect(),
            rolls_back_at: inner.engine.confirm_by().map(seconds),
            pending_at: inner.engine.scheduled().and_then(|info| info.at).map(seconds),
            editors: editors(&inner),
        }
    }
}

fn use_token(inner: &mut Inner, caller: &Caller, token: &str) -> Result<(SessionId, EditMode), ErrorBody> {
    drop_idle(inner);
    let found = inner.tokens.get_mut(token).filter(|found| found.uid == caller.uid);
    let Some(found) = found else {
        let text = "there is no such edit of yours: it ended, or was not used for too long; begin a new one";
        return Err(ErrorBody::new(ErrorCode::NotFound, text));
    };
    found.used = Instant::now();
    Ok((found.session, found.mode))
}

/// The session of an edit whose candidate is looked at; none: the shared one.
fn seen(inner: &mut Inner, caller: &Caller, token: Option<&str>) -> Result<Option<SessionId>, ErrorBody> {
    let session = token.map(|token| use_token(inner, caller, token)).transpose()?;
    Ok(session.map(|(session, _)| session))
}

fn drop_idle(inner: &mut Inner) {
    let idle = Duration::from_secs(EDIT_IDLE_SECONDS);
    let old: Vec<String> = inner
        .tokens
        .iter()
        .filter(|(_, token)| token.used.elapsed() > idle)
        .map(|(name, _)| name.clone())
        .collect();
    for name in old {
        if let Some(token) = inner.tokens.remove(&name) {
            tracing::info!(user = token.user, "idle edit ended");
            inner.engine.leave(token.session);
        }
    }
}

fn editors(inner: &Inner) -> Vec<wire::Editor> {
    let mut editors: Vec<wire::Editor> = inner
        .tokens
        .values()
        .map(|token| wire::Editor {
            user: token.user.clone(),
            mode: token.mode,
            since: unix_seconds(token.since),
            idle: token.used.elapsed().as_secs(),
        })
        .collect();
    editors.sort_by(|a, b| (a.since, &a.user).cmp(&(b.since, &b.user)));
    editors
}

fn log_events(events: &[Event]) {
    for event in events {
        match event {
            Event::RolledBack { from, result: Ok(_) } => {
                tracing::warn!(commit = from.number, "commit was not confirmed and is rolled back");
            }
            Event::RolledBack {
                from,
                result: Err(error),
            } => {
                tracing::error!(commit = from.number, %error, "commit was not confirmed, and cannot be rolled back yet");
            }
            Event::Torn(torn) => tracing::error!(file = torn.file, reason = torn.reason, "file cannot be used"),
            other => tracing::info!(event = ?other, "commit engine"),
        }
    }
}
