//! Candidate and active configuration, commits, rollbacks.
//!
//! An edit begins with `POST /v1/configuration/edit` and is named by the token that comes back; every later request of
//! it carries the token (query parameter or field `edit`). An edit that is not used for [`EDIT_IDLE_SECONDS`] ends by
//! itself, and with it its exclusive lock. A shared edit works on the one shared candidate, a private one on its own, as on a
//! Junos router.

use serde::{Deserialize, Serialize};

use super::error::Place;

/// Seconds after which an unused edit ends.
pub const EDIT_IDLE_SECONDS: u64 = 1800;

/// How an edit shares the candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EditMode {
    /// `configure`: everyone edits the same candidate.
    #[default]
    Shared,
    /// `configure exclusive`: nobody else edits; uncommitted changes are discarded at the end.
    Exclusive,
    /// `configure private`: a candidate of one's own, whose changes are merged with what others committed meanwhile at
    /// commit; what both changed is a conflict.
    Private,
}

/// Body of `POST /v1/configuration/edit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct EditRequest {
    /// Mode.
    pub mode: EditMode,
    /// What is told in the log of commits.
    pub client: EditClient,
}

/// What an edit is made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EditClient {
    /// A program that speaks to the API itself.
    #[default]
    Api,
    /// `nat64ctl`.
    Cli,
}

impl EditClient {
    /// Its name in the log of commits.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Cli => "cli",
        }
    }
}

/// Answer of `POST /v1/configuration/edit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Edit {
    /// Names the edit in later requests.
    pub edit: String,
    /// Mode.
    pub mode: EditMode,
    /// The candidate of this edit has changes that are not committed.
    pub modified: bool,
    /// Others who edit now.
    pub others: Vec<Editor>,
}

/// Someone who edits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Editor {
    /// User.
    pub user: String,
    /// Mode.
    pub mode: EditMode,
    /// Since when, Unix time in seconds.
    pub since: u64,
    /// Seconds since it was last used.
    pub idle: u64,
}

/// Names an edit (query parameter).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct EditQuery {
    /// Token of the edit. Needed by everything that changes a candidate; reads without it see the shared candidate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit: Option<String>,
}

/// Form of a configuration text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Braces.
    #[default]
    Curly,
    /// `set` commands.
    Set,
    /// JSON as Junos writes it.
    Json,
}

/// Query of `GET /v1/configuration/{active,candidate}` and `.../rollback/{n}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct TextQuery {
    /// Form.
    pub format: Format,
    /// Only the statement with this path and what is below it: `services nat pool p`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Token of the edit, for the candidate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit: Option<String>,
}

/// A configuration text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Text {
    /// Form.
    pub format: Format,
    /// The text; empty when there is nothing.
    pub text: String,
}

/// Body of `POST /v1/configuration/candidate/commands`: all of them, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Commands {
    /// Token of the edit.
    pub edit: String,
    /// `set`, `delete`, `activate`, `deactivate`, `annotate`, `rename`, `copy`, `insert` lines, paths from the top.
    pub commands: Vec<String>,
}

/// How a text is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadMode {
    /// Replaces the candidate.
    Override,
    /// Added to the candidate; single values are replaced.
    #[default]
    Merge,
    /// As merge, but statements marked `replace:` replace theirs.
    Replace,
    /// The text is `set` commands.
    Set,
    /// Makes the candidate the text, touching only what differs.
    Update,
}

/// Body of `POST /v1/configuration/candidate/load`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Load {
    /// Token of the edit.
    pub edit: String,
    /// How.
    pub mode: LoadMode,
    /// Curly text, `set` commands or JSON; told apart by how it begins.
    pub text: String,
    /// Name of the text in messages, as a rule the file's; none: `terminal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Path the text is relative to (`load merge relative`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// Answer to a change of the candidate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Changed {
    /// Commands or statements that were taken.
    pub applied: usize,
    /// What was odd about them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Place>,
}

/// Query of `GET /v1/configuration/candidate/compare`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct CompareQuery {
    /// Against this rollback; none or 0: the active configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<u32>,
    /// Token of the edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit: Option<String>,
    /// Only below this path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// Answer of `compare`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Comparison {
    /// Whether there is a difference.
    pub differs: bool,
    /// The differences as Junos shows them: `[edit ...]`, `+`, `-`.
    pub text: String,
}

/// Body of `POST /v1/configuration/candidate/rollback`: the candidate becomes rollback `n`, 0 the active one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Rollback {
    /// Token of the edit.
    pub edit: String,
    /// 0 to 49.
    pub n: u32,
}

/// Answer of `POST /v1/configuration/candidate/check`: it would be taken (refusals are errors).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Checked {
    /// What was odd about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Place>,
}

/// Body of `POST /v1/configuration/commit`. A plain commit within the time of `confirmed` confirms it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Commit {
    /// Token of the edit.
    pub edit: String,
    /// `comment`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// `confirmed MINUTES`: rolled back unless confirmed in this time, 1 to 65535.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<u32>,
    /// `at`: Unix time in seconds of when to do it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
}

/// Answer of a commit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Committed {
    /// Number of the commit, rising; none when it was put off with `at` or there was nothing to commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<u64>,
    /// When it will be done, Unix time in seconds, with `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// When it rolls back unless confirmed, Unix time in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolls_back_at: Option<u64>,
    /// This commit confirmed an earlier one.
    pub confirmed: bool,
    /// What was odd about the configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Place>,
    /// What it did to live sessions, by card.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<AppliedToCard>,
}

/// What a commit did on one card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct AppliedToCard {
    /// The card.
    pub card: String,
    /// Sessions that live on.
    pub sessions_kept: u64,
    /// Sessions that ended because their pool, rule, unit or service set did.
    pub sessions_removed: u64,
    /// Mappings that were removed.
    pub mappings_removed: u64,
}

/// A line of `show system commit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct CommitEntry {
    /// Rollback number: 0 is the active configuration.
    pub rollback: u32,
    /// Number of the commit.
    pub commit: u64,
    /// When, Unix time in seconds.
    pub time: u64,
    /// User.
    pub user: String,
    /// How: `cli`, `api`, `rollback`, `autoinstall`, ...
    pub client: String,
    /// Its comment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The file could not be read; what is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
}

/// Answer of `GET /v1/configuration/commits` (`show system commit`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Commits {
    /// Newest first.
    pub commits: Vec<CommitEntry>,
    /// A `commit confirmed` waits for its confirmation: when it rolls back, Unix time in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolls_back_at: Option<u64>,
    /// A `commit at` waits: when it is done, Unix time in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_at: Option<u64>,
    /// Who edits now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub editors: Vec<Editor>,
}
