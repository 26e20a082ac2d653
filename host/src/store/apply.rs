//! What the engine asks of the daemon: a new configuration on the card, or none at all.

use std::sync::Arc;

use crate::config::Model;

/// Brings a checked configuration to the card, in two steps.
///
/// `prepare` does all that can fail and changes nothing anybody can see; `apply` makes the change; `abort` forgets what
/// was prepared. The engine calls exactly one of the two for every value `prepare` gave.
pub trait Apply {
    /// What `prepare` hands to `apply`.
    type Prepared;

    /// Finds out whether the card takes the configuration, and gets it ready.
    ///
    /// # Errors
    /// The card or the daemon cannot take it; everything is as before.
    fn prepare(&mut self, model: &Arc<Model>) -> Result<Self::Prepared, Refusal>;

    /// Makes it so. Sessions of pools and rules that are still there live on.
    ///
    /// # Errors
    /// It failed after all; the card runs on what it had before, unless the error says otherwise.
    fn apply(&mut self, prepared: Self::Prepared) -> Result<ApplyReport, ApplyError>;

    /// Forgets what was prepared.
    fn abort(&mut self, prepared: Self::Prepared);
}

/// Why a configuration cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{card}: {reason}")]
pub struct Refusal {
    /// Which card, or `nat64d`.
    pub card: String,
    /// What it cannot do.
    pub reason: String,
}

/// Why applying failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{card}: {reason}")]
pub struct ApplyError {
    /// Which card, or `nat64d`.
    pub card: String,
    /// What went wrong.
    pub reason: String,
    /// The card may be in neither state: it was reset, or does not answer.
    pub card_lost: bool,
}

/// What a commit did to traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyReport {
    /// Sessions that live on.
    pub sessions_kept: u64,
    /// Sessions that went with their pool, rule or unit.
    pub sessions_removed: u64,
    /// Anything worth telling, a line each.
    pub notes: Vec<String>,
}
