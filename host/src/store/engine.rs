//! Sessions, the candidate, and commits. What `configure private` adds is in [`super::private`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::apply::{Apply, ApplyError, ApplyReport, Refusal};
use super::archive::{Archive, CommitInfo, Opened, StoreError, Torn};
use super::files::Files;
use super::private::Private;
use crate::config::{
    self, Applied, BuildOptions, Checker, Clash, ConfigError, EditPath, Hunk, LoadMode, Model, Problem, Tree, Warning,
};

/// Longest `commit confirmed`, minutes.
pub const MAX_CONFIRM_MINUTES: u32 = 65_535;
/// `commit confirmed` without a number, minutes.
const CONFIRM_MINUTES: u32 = 10;

/// A moment: milliseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// This moment and `later` on.
    pub fn plus(self, later: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(later.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// From now to this moment; zero when it has passed.
    pub fn after(self, now: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(now.0))
    }
}

impl From<SystemTime> for UnixTime {
    /// Moments before 1970 are 1970.
    fn from(time: SystemTime) -> Self {
        Self::default().plus(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

/// One who edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub u64);

/// How one who edits shares the candidate with others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// `configure`: one candidate for all.
    #[default]
    Shared,
    /// `configure exclusive`: nobody else changes anything.
    Exclusive,
    /// `configure private`: a candidate of one's own.
    Private,
}

/// Who edits, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// User.
    pub user: String,
    /// `cli`, `api`, ...
    pub client: String,
    /// Since when.
    pub since: UnixTime,
    /// How the candidate is shared.
    pub sharing: Sharing,
}

/// What a commit is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommitRequest {
    /// `comment TEXT`.
    pub comment: Option<String>,
    /// `confirmed [MINUTES]`, 1 to [`MAX_CONFIRM_MINUTES`].
    pub confirmed: Option<u32>,
    /// `at TIME`: later, not now.
    pub at: Option<UnixTime>,
}

impl CommitRequest {
    /// `commit confirmed` without a number.
    pub fn confirmed() -> Self {
        Self {
            confirmed: Some(CONFIRM_MINUTES),
            ..Self::default()
        }
    }
}

/// What a commit did.
#[derive(Debug)]
pub struct CommitReport {
    /// The commit; `None` when nothing was different and nothing was written.
    pub commit: Option<CommitInfo>,
    /// It confirmed the `commit confirmed` before it.
    pub confirmed: bool,
    /// It waits for its time.
    pub scheduled: Option<UnixTime>,
    /// What is accepted and worth saying.
    pub warnings: Vec<Warning>,
    /// What became of the sessions.
    pub applied: ApplyReport,
}

/// Why a commit was refused. Disk, daemon and card are as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Another session has the configuration for itself.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Others committed other values for what this private candidate changes.
    #[error("{}; `update` takes what they committed and keeps yours", told(clashes))]
    Clash {
        /// All of it.
        clashes: Vec<Clash>,
    },
    /// The commit checks found something.
    #[error("{}", all(problems))]
    Check {
        /// All of it.
        problems: Vec<Problem>,
    },
    /// The card or the daemon does not take it.
    #[error("the configuration is right, but {0}")]
    Refused(Refusal),
    /// It failed while it was made so.
    #[error("applying failed: {0}")]
    Apply(ApplyError),
    /// It cannot be written.
    #[error("the commit cannot be kept: {error}{}", back.as_deref().map_or(String::new(), |back| format!("; going back failed too: {back}")))]
    Store {
        /// Why.
        error: StoreError,
        /// The card had it already, and going back failed for this reason: it runs on what was not committed.
        back: Option<String>,
    },
    /// The time of `commit at` has passed.
    #[error("the time of `commit at` has passed")]
    Past,
    /// Minutes of `commit confirmed` out of range.
    #[error("`commit confirmed` takes 1 to {MAX_CONFIRM_MINUTES} minutes, not {minutes}")]
    Minutes {
        /// As given.
        minutes: u32,
    },
}

fn all(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n\n")
}

fn told(clashes: &[Clash]) -> String {
    clashes.iter().map(Clash::to_string).collect::<Vec<_>>().join("\n")
}

/// Why something cannot be done now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Another session has the configuration for itself.
    #[error("the configuration is locked by {} ({})", owner.user, owner.client)]
    Locked {
        /// Whose session.
        owner: Owner,
    },
    /// `configure exclusive` while there are changes that were not committed.
    #[error("the candidate has changes that are not committed")]
    Modified,
    /// `configure` while others edit privately, whose candidates are made of the active configuration.
    #[error("private edits in use; try `configure private` or `configure exclusive`")]
    PrivateInUse,
    /// `update` in a session that is not private.
    #[error("only a private candidate can be updated")]
    NotPrivate,
    /// The session has ended.
    #[error("there is no such session")]
    NoSession,
    /// A commit waits for its time.
    #[error("a commit waits for its time; `clear system commit` drops it")]
    Scheduled {
        /// The commit.
        commit: CommitInfo,
    },
}

/// Why the candidate was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Changes {
    /// It cannot be changed now.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The command or text is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The rollback cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Something that happened by itself.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A `commit confirmed` was not confirmed, and is gone.
    RolledBack {
        /// The commit that went.
        from: CommitInfo,
        /// Its end: the commit that took its place, or why it is still there.
        result: Result<CommitReport, CommitError>,
    },
    /// The time of a `commit at` has come.
    Scheduled {
        /// Who asked for it.
        commit: CommitInfo,
        /// What became of it.
        result: Result<CommitReport, CommitError>,
    },
    /// A file cannot be used.
    Torn(Torn),
}

/// The commit engine; see the module documentation.
#[derive(Debug)]
pub struct Engine<F> {
    pub(super) archive: Archive<F>,
    options: BuildOptions,
    /// What the last check left for the next.
    checker: Mutex<Checker>,
    pub(super) active: Tree,
    /// What the card runs on; `None` before [`Self::start`].
    running: Option<Arc<Model>>,
    pub(super) candidate: Tree,
    sessions: BTreeMap<SessionId, Owner>,
    /// Candidates of private sessions.
    pub(super) private: BTreeMap<SessionId, Private>,
    next_session: u64,
    scheduled: Option<(CommitInfo, Tree)>,
    /// A rollback that was refused is tried again then.
    retry: Option<UnixTime>,
}

/// How long to wait before a rollback that was refused is tried again.
const RETRY: Duration = Duration::from_secs(30);

impl<F: Files> Engine<F> {
    /// Opens a directory. Nothing is applied yet: [`Self::start`] does.
    ///
    /// # Errors
    /// The directory cannot be read. Files that are torn are no error; [`Opened::torn`] names them.
    pub fn open(files: F, options: BuildOptions) -> Result<(Self, Opened), StoreError> {
        let (archive, active, mut opened) = Archive::open(files)?;
        let scheduled = archive.scheduled(&mut opened.torn);
        let engine = Self {
            archive,
            options,
            checker: Mutex::default(),
            candidate: active.clone(),
            active,
            running: None,
            sessions: BTreeMap::new(),
            private: BTreeMap::new(),
            next_session: 1,
            scheduled,
            retry: None,
        };
        Ok((engine, opened))
    }

    /// What the cards can hold, as the checks want to know it; the next check looks at these.
    pub fn set_options(&mut self, options: BuildOptions) {
        self.options = options;
    }

    /// Brings the active configuration to the card, after a rollback that is overdue. An empty configuration is not
    /// applied.
    ///
    /// # Errors
    /// It is refused; the daemon runs without one, and commits are taken.
    pub fn start<A: Apply>(&mut self, apply: &mut A, now: UnixTime) -> Result<Vec<Event>, CommitError> {
        let events = self.tick(apply, now);
        if self.running.is_none() && !self.active.root().children().is_empty() {
            let (model, _) = self.model(&self.active)?;
            let prepared = apply.prepare(&model).map_err(CommitError::Refused)?;
            apply.apply(prepared).map_err(CommitError::Apply)?;
            self.running = Some(model);
        }
        Ok(events)
    }

    /// The active configuration.
    pub fn active(&self) -> &Tree {
        &self.active
    }

    /// The model the card runs on.
    pub fn running(&self) -> Option<&Arc<Model>> {
        self.running.as_ref()
    }

    /// The shared candidate.
    pub fn candidate(&self) -> &Tree {
        &self.candidate
    }

    /// Whether the shared candidate has changes.
    pub fn modified(&self) -> bool {
        !config::compare(&self.active, &self.candidate).is_empty()
    }

    /// `configure`, `configure exclusive`, `configure private`.
    ///
    /// # Errors
    /// Another session has the configuration for itself; exclusive or private: the shared candidate has changes that are
    /// not committed; shared: others edit privately.
    pub fn enter(
        &mut self,
        user: &str,
        client: &str,
        sharing: Sharing,
        now: UnixTime,
    ) -> Result<SessionId, EngineError> {
        let exclusive = |owner: &&Owner| owner.sharing == Sharing::Exclusive;
        if let Some(owner) = self.sessions.values().find(exclusive) {
            let owner = owner.clone();
            return Err(EngineError::Locked { owner });
        }
        match sharing {
            Sharing::Shared if !self.private.is_empty() => return Err(EngineError::PrivateInUse),
            Sharing::Exclusive | Sharing::Private if self.modified() => return Err(EngineError::Modified),
            _ => {}
        }
        let id = SessionId(self.next_session);
        self.next_session += 1;
        if sharing == Sharing::Private {
            self.private.insert(id, Private::new(&self.active));
        }
        self.sessions.insert(
            id,
            Owner {
                user: user.to_string(),
                client: client.to_string(),
                since: now,
                sharing,
            },
        );
        Ok(id)
    }

    /// The session ends. Changes of an exclusive or private one that are not committed go.
    pub fn leave(&mut self, session: SessionId) {
        let owner = self.sessions.remove(&session);
        self.private.remove(&session);
        if owner.is_some_and(|owner| owner.sharing == Sharing::Exclusive) {
            self.candidate = self.active.clone();
        }
    }

    /// All who edit.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, &Owner)> {
        self.sessions.iter().map(|(id, owner)| (*id, owner))
    }

    pub(super) fn may_change(&self, session: SessionId) -> Result<&Owner, EngineError> {
        let own = self.sessions.get(&session).ok_or(EngineError::NoSession)?;
        match self
            .sessions
            .iter()
            .find(|(id, owner)| owner.sharing == Sharing::Exclusive && **id != session)
        {
            Some((_, owner)) => Err(EngineError::Locked { owner: owner.clone() }),
            None => Ok(own),
        }
    }

    /// Changes the candidate by one command, given where `path` stands.
    ///
    /// # Errors
    /// As [`config::apply_at`]; the candidate is locked.
    pub fn edit(&mut self, session: SessionId, path: &EditPath, line: &str) -> Result<Applied, Changes> {
        self.may_change(session)?;
        Ok(config::apply_at(self.candidate_mut(session), path, line)?)
    }

    /// Loads a text into the candidate.
    ///
    /// # Errors
    /// As [`config::load`]; the candidate is locked.
    pub fn load(
        &mut self,
        session: SessionId,
        path: &EditPath,
        mode: LoadMode,
        relative: bool,
        text: &str,
        name: &str,
    ) -> Result<(), Changes> {
        self.may_change(session)?;
        Ok(config::load(
            self.candidate_mut(session),
            path,
            mode,
            relative,
            text,
            name,
        )?)
    }

    /// `rollback N`: the candidate becomes what was committed N commits ago; 0 drops all changes.
    ///
    /// # Errors
    /// There is none, or it cannot be read; the candidate is locked.
    pub fn rollback(&mut self, session: SessionId, number: usize) -> Result<(), Changes> {
        self.may_change(session)?;
        *self.candidate_mut(session) = self.rollback_tree(number)?;
        Ok(())
    }

    /// What was committed N commits ago.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn rollback_tree(&self, number: usize) -> Result<Tree, StoreError> {
        match number {
            0 => Ok(self.active.clone()),
            number => self.archive.rollback(number),
        }
    }

    /// `show | compare [rollback N]`: what changes from there to the candidate; 0: from the active configuration, of a
    /// private candidate from the one it began with.
    ///
    /// # Errors
    /// There is no such rollback.
    pub fn compare(&self, session: Option<SessionId>, number: usize) -> Result<Vec<Hunk>, StoreError> {
        let candidate = self.candidate_of(session);
        match self.private_base(session) {
            Some(base) if number == 0 => Ok(config::compare(base, candidate)),
            _ => Ok(config::compare(&self.rollback_tree(number)?, candidate)),
        }
    }

    /// `show system commit`: all commits that are kept, newest first; the position is the number of the rollback.
    pub fn history(&self) -> Vec<CommitInfo> {
        self.archive.history().cloned().collect()
    }

    /// When the active commit goes away unless it is confirmed.
    pub fn confirm_by(&self) -> Option<UnixTime> {
        self.archive.confirm_by()
    }

    /// The commit that waits for its time.
    pub fn scheduled(&self) -> Option<&CommitInfo> {
        self.scheduled.as_ref().map(|(info, _)| info)
    }

    /// `clear system commit`: drops the commit that waits for its time. `false`: there was none.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn unschedule(&mut self) -> Result<bool, StoreError> {
        if self.scheduled.is_none() {
            return Ok(false);
        }
        self.archive.unschedule()?;
        self.scheduled = None;
        Ok(true)
    }

    fn model(&self, tree: &Tree) -> Result<(Arc<Model>, Vec<Warning>), CommitError> {
        // A check that panicked would leave it whole, too: it only ever adds what is true.
        let mut checker = self.checker.lock().unwrap_or_else(PoisonError::into_inner);
        let (model, warnings) = checker
            .model(tree, &self.options)
            .map_err(|problems| CommitError::Check { problems })?;
        Ok((Arc::new(model), warnings))
    }

    /// `commit check`: the checks alone, and whether the card would take it.
    ///
    /// # Errors
    /// All problems, each with its place; clashes of a private candidate; or the card's refusal.
    pub fn check<A: Apply>(&self, session: Option<SessionId>, apply: &mut A) -> Result<Vec<Warning>, CommitError> {
        self.check_tree(&self.to_commit(session)?, apply)
    }

    fn check_tree<A: Apply>(&self, tree: &Tree, apply: &mut A) -> Result<Vec<Warning>, CommitError> {
        let (model, warnings) = self.model(tree)?;
        let prepared = apply.prepare(&model).map_err(CommitError::Refused)?;
        apply.abort(prepared);
        Ok(warnings)
    }

    /// `commit`: makes the candidate active, or confirms the `commit confirmed` before it.
    ///
    /// # Errors
    /// Refused by the checks, by the card or by the disk; then everything is as before.
    pub fn commit<A: Apply>(
        &mut self,
        session: SessionId,
        apply: &mut A,
        request: &CommitRequest,
        now: UnixTime,
    ) -> Result<CommitReport, CommitError> {
        let owner = self.may_change(session)?.clone();
        if let Some((commit, _)) = &self.scheduled {
            let commit = commit.clone();
            return Err(EngineError::Scheduled { commit }.into());
        }
        if let Some(minutes) = request.confirmed.filter(|m| !(1..=MAX_CONFIRM_MINUTES).contains(m)) {
            return Err(CommitError::Minutes { minutes });
        }
        let minutes = |minutes: u32| now.plus(Duration::from_secs(u64::from(minutes) * 60));
        let info = CommitInfo {
            number: self.archive.next_number(),
            time: now,
            user: owner.user,
            client: owner.client,
            comment: request.comment.clone(),
            confirm_by: request.confirmed.map(minutes),
            at: request.at,
        };
        let tree = self.to_commit(Some(session))?;
        if let Some(at) = request.at {
            if at <= now {
                return Err(CommitError::Past);
            }
            let warnings = self.check_tree(&tree, apply)?;
            self.archive
                .schedule(&info, &tree.to_curly())
                .map_err(|error| CommitError::Store { error, back: None })?;
            self.scheduled = Some((info, tree));
            return Ok(CommitReport {
                commit: None,
                confirmed: false,
                scheduled: Some(at),
                warnings,
                applied: ApplyReport::default(),
            });
        }
        let pending = self.archive.confirm_by().is_some();
        let unchanged = self.running.is_some() && config::compare(&self.active, &tree).is_empty();
        if unchanged && info.confirm_by.is_none() && (pending || info.comment.is_none()) {
            let warnings = self.check_tree(&tree, apply)?;
            self.archive
                .confirm()
                .map_err(|error| CommitError::Store { error, back: None })?;
            return Ok(CommitReport {
                commit: None,
                confirmed: pending,
                scheduled: None,
                warnings,
                applied: ApplyReport::default(),
            });
        }
        let before = self.active.clone();
        let mut report = self.perform(tree, apply, info)?;
        self.committed(session, &before);
        report.confirmed = pending && request.confirmed.is_none();
        Ok(report)
    }

    /// Check, prepare, write, apply, publish.
    fn perform<A: Apply>(&mut self, tree: Tree, apply: &mut A, info: CommitInfo) -> Result<CommitReport, CommitError> {
        let (model, warnings) = self.model(&tree)?;
        let prepared = apply.prepare(&model).map_err(CommitError::Refused)?;
        // All that can run out of space comes before the card is touched.
        if let Err(error) = self.archive.stage(&info, &tree.to_curly()) {
            apply.abort(prepared);
            return Err(CommitError::Store { error, back: None });
        }
        let applied = match apply.apply(prepared) {
            Ok(applied) => applied,
            Err(error) => {
                self.archive.unstage();
                return Err(CommitError::Apply(error));
            }
        };
        if let Err(error) = self.archive.publish(info.clone()) {
            let back = self.back(apply).err();
            return Err(CommitError::Store { error, back });
        }
        self.running = Some(model);
        self.active = tree;
        Ok(CommitReport {
            commit: Some(info),
            confirmed: false,
            scheduled: None,
            warnings,
            applied,
        })
    }

    /// Brings what the card ran on before back to it.
    fn back<A: Apply>(&self, apply: &mut A) -> Result<(), String> {
        // Before the first commit there was none, which is a configuration too.
        let model = self.running.clone().unwrap_or_default();
        let prepared = apply.prepare(&model).map_err(|refusal| refusal.to_string())?;
        apply.apply(prepared).map(drop).map_err(|error| error.to_string())
    }

    /// When [`Self::tick`] has something to do.
    pub fn next_due(&self) -> Option<UnixTime> {
        let rollback = self
            .archive
            .confirm_by()
            .map(|due| self.retry.map_or(due, |retry| due.max(retry)));
        let scheduled = self.scheduled.as_ref().and_then(|(info, _)| info.at);
        rollback.into_iter().chain(scheduled).min()
    }

    /// Does what is due: takes back a commit that was not confirmed, makes one that waited for its time.
    ///
    /// A rollback that fails is tried again after half a minute; a commit that is refused at its time is dropped.
    pub fn tick<A: Apply>(&mut self, apply: &mut A, now: UnixTime) -> Vec<Event> {
        let mut events = Vec::new();
        let due = |time: Option<UnixTime>| time.is_some_and(|time| time <= now);
        if due(self.archive.confirm_by()) && self.retry.is_none_or(|retry| retry <= now) {
            if let Some(from) = self.archive.active().cloned() {
                let mut torn = Vec::new();
                let (tree, number) = self.archive.confirmed(&mut torn);
                events.extend(torn.into_iter().map(Event::Torn));
                let info = CommitInfo {
                    number: self.archive.next_number(),
                    time: now,
                    user: from.user.clone(),
                    client: "nat64d".into(),
                    comment: Some(match number {
                        Some(number) => format!("commit {} was not confirmed; back to {number}", from.number),
                        None => format!(
                            "commit {} was not confirmed; back to an empty configuration",
                            from.number
                        ),
                    }),
                    confirm_by: None,
                    at: None,
                };
                let untouched = !self.modified();
                let result = self.perform(tree, apply, info);
                self.retry = result.is_err().then(|| now.plus(RETRY));
                if result.is_ok() && untouched {
                    self.candidate = self.active.clone();
                }
                events.push(Event::RolledBack { from, result });
            }
        }
        if due(self.scheduled.as_ref().and_then(|(info, _)| info.at)) {
            if let Some((commit, tree)) = self.scheduled.take() {
                // A crash between the commit and the removal of the file: it has been made already.
                let made = self
                    .archive
                    .history()
                    .any(|info| info.at == commit.at && info.user == commit.user);
                if !made {
                    let info = CommitInfo {
                        number: self.archive.next_number(),
                        time: now,
                        ..commit.clone()
                    };
                    let untouched = !self.modified() || config::compare(&self.candidate, &tree).is_empty();
                    let result = self.perform(tree, apply, info);
                    if result.is_ok() && untouched {
                        self.candidate = self.active.clone();
                    }
                    events.push(Event::Scheduled { commit, result });
                }
                if let Err(error) = self.archive.unschedule() {
                    events.push(Event::Torn(Torn {
                        file: "scheduled".into(),
                        reason: error.to_string(),
                    }));
                }
            }
        }
        events
    }
}
