//! `configure private`: a candidate of one's own, whose changes meet those of others when it is committed.
//!
//! ```text
//!   active A --- configure private ---> base A, candidate A + mine
//!      |                                      |
//!      B  (somebody else commits)             |  commit: merge(base A, candidate, active B), no clash -> new active C
//!      |                                      |  update: base B, candidate merge(A, candidate, B), clashes are told
//!      C <------------------------------------+
//! ```
//!
//! A clash refuses the commit; after `update`, which takes over what others committed and keeps what was changed here,
//! it is none any more.

use super::engine::{CommitError, Engine, EngineError, SessionId, Sharing};
use super::files::Files;
use crate::config::{self, Clash, Tree};

/// The candidate of one private session.
#[derive(Debug)]
pub(super) struct Private {
    /// The active configuration it began with.
    base: Tree,
    candidate: Tree,
}

impl Private {
    pub(super) fn new(active: &Tree) -> Self {
        Self {
            base: active.clone(),
            candidate: active.clone(),
        }
    }
}

impl<F: Files> Engine<F> {
    fn private_of(&self, session: Option<SessionId>) -> Option<&Private> {
        self.private.get(&session?)
    }

    /// The candidate that a session sees; `None`: the shared one.
    pub fn candidate_of(&self, session: Option<SessionId>) -> &Tree {
        self.private_of(session)
            .map_or(&self.candidate, |private| &private.candidate)
    }

    pub(super) fn private_base(&self, session: Option<SessionId>) -> Option<&Tree> {
        self.private_of(session).map(|private| &private.base)
    }

    pub(super) fn candidate_mut(&mut self, session: SessionId) -> &mut Tree {
        match self.private.get_mut(&session) {
            Some(private) => &mut private.candidate,
            None => &mut self.candidate,
        }
    }

    /// Whether the candidate that a session sees has changes of its own.
    pub fn modified_by(&self, session: Option<SessionId>) -> bool {
        let base = self.private_base(session).unwrap_or(&self.active);
        !config::compare(base, self.candidate_of(session)).is_empty()
    }

    /// How a session shares the candidate; `None`: it has ended.
    pub fn sharing(&self, session: SessionId) -> Option<Sharing> {
        self.sessions()
            .find(|(id, _)| *id == session)
            .map(|(_, owner)| owner.sharing)
    }

    /// What a commit of this session would make active.
    pub(super) fn to_commit(&self, session: Option<SessionId>) -> Result<Tree, CommitError> {
        let Some(private) = self.private_of(session) else {
            return Ok(self.candidate.clone());
        };
        let merged = config::merge(&private.base, &private.candidate, &self.active);
        match merged.clashes {
            clashes if clashes.is_empty() => Ok(merged.tree),
            clashes => Err(CommitError::Clash { clashes }),
        }
    }

    /// A session has committed; `before` was active until then.
    pub(super) fn committed(&mut self, session: SessionId, before: &Tree) {
        if let Some(private) = self.private.get_mut(&session) {
            *private = Private::new(&self.active);
            // What others have in the shared candidate stays a change, and what was committed is none there.
            self.candidate = config::merge(before, &self.candidate, &self.active).tree;
        }
    }

    /// `update`: what others committed since comes into the private candidate. What both changed stays as it is here, and
    /// is told.
    ///
    /// # Errors
    /// The session is not private; another one has the configuration for itself.
    pub fn update(&mut self, session: SessionId) -> Result<Vec<Clash>, EngineError> {
        self.may_change(session)?;
        let private = self.private.get_mut(&session).ok_or(EngineError::NotPrivate)?;
        let merged = config::merge(&private.base, &private.candidate, &self.active);
        *private = Private {
            base: self.active.clone(),
            candidate: merged.tree,
        };
        Ok(merged.clashes)
    }
}
