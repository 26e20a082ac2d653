//! The daemon itself: `whoami`, `show system`, `show log`, names for completion, support information.

use serde::{Deserialize, Serialize};

use super::Class;

/// Answer of `GET /v1/whoami`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Whoami {
    /// User name, or the number when it has none.
    pub user: String,
    /// User number.
    pub uid: u32,
    /// Class.
    pub class: Class,
}

/// Answer of `GET /v1/system`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct System {
    /// Version of the daemon.
    pub version: String,
    /// Process.
    pub pid: u32,
    /// Host name.
    pub host_name: String,
    /// When it started, Unix time in seconds.
    pub started: u64,
    /// Seconds since.
    pub uptime: u64,
    /// ABI hash of the driver, as hexadecimal.
    pub abi_hash: String,
    /// Number of the active commit; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<u64>,
    /// Names of the cards.
    pub cards: Vec<String>,
    /// What an operator should know: a damaged rollback, a card in fault, a commit that waits to be confirmed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<String>,
}

/// What names are asked for (query parameter `kind` of `GET /v1/names`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameKind {
    /// Cards.
    Card,
    /// Pools.
    Pool,
    /// Pool addresses that are drained.
    Draining,
    /// Rules.
    Rule,
    /// Service sets.
    ServiceSet,
    /// Service interfaces and units.
    Interface,
    /// Drop reasons.
    Reason,
    /// Registers.
    Register,
    /// Rollback numbers.
    Rollback,
}

/// Query of `GET /v1/names`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NameQuery {
    /// Which.
    pub kind: NameKind,
}

/// Answer of `GET /v1/names`, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Names {
    /// The names.
    pub names: Vec<Name>,
}

/// A name, for completion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Name {
    /// The name.
    pub name: String,
    /// A few words about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
}

/// Severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Something failed.
    Error,
    /// Something is odd.
    Warning,
    /// Normal but of note.
    Info,
    /// For those who look for a fault.
    Debug,
}

/// Query of `GET /v1/log` (with [`super::PageQuery`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct LogQuery {
    /// Only this severity and worse; none: `info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Only the newest so many of those kept; none: all. The cursor of a page goes on to the newest line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<usize>,
}

/// A line of the daemon's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LogLine {
    /// When, Unix time in milliseconds.
    pub time: u64,
    /// Severity.
    pub severity: Severity,
    /// Part of the daemon.
    pub target: String,
    /// Text.
    pub message: String,
    /// Further facts.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub fields: serde_json::Map<String, serde_json::Value>,
}
