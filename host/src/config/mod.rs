//! Configuration: text -> tree -> model.
//!
//! ```text
//!  curly text --parse--+                                       +--> curly text, `set` commands, JSON
//!  set commands -------+--> Tree (only statements the schema --+--> compare with another tree
//!  JSON ---------------+         knows, each with its place)   +--> model --> Model: a GatewayConfig per card
//!                                 ^                                           and what is around it
//!  one command at [edit ...] -----+
//! ```
//!
//! | for | use |
//! |---|---|
//! | a whole text | [`parse`] (finds the form out), [`parse_curly`], [`parse_set`], [`parse_json`] |
//! | one command of configuration mode, where `edit` stands | [`apply_at`] with an [`EditPath`] |
//! | `load merge`, `override`, `replace`, `update`, `set`, `patch` | [`load`] |
//! | `show`, `show \| display set`, `\| display json` | [`show`], or [`Tree::to_curly`], [`Tree::to_set`], [`Tree::to_json`] |
//! | `show \| compare` | [`compare`], [`compare_text`] |
//! | `?` and tab | [`complete`] with [`LiveNames`] |
//! | `commit check` | [`model`] or a [`Checker`]: all problems at once, each with its place; or [`build`] for the only card's gateway |
//! | commits, rollbacks, the candidate of several users | [`crate::store::Engine`] |
//!
//! Trees share their nodes: a clone is free, and a change copies only the way to it.
//!
//! No input makes this module panic, recurse without bound or take more than linear memory.
//!
//! ```
//! use nat64_host::config::{self, BuildOptions, EditPath, Format};
//!
//! let text = "services { nat { pool p { address 203.0.113.0/24; port automatic; } } }";
//! let mut tree = config::parse_curly(text, "seed.conf").unwrap();
//! let before = tree.clone();
//! let pool = EditPath::top().edit("services nat pool p").unwrap();
//! config::apply_at(&mut tree, &pool, "set port automatic random-allocation").unwrap();
//! assert_eq!(config::show(&tree, &pool, "port", Format::Curly).unwrap(), "automatic {\n    random-allocation;\n}\n");
//! assert_eq!(
//!     config::compare_text(&before, &tree),
//!     "[edit services nat pool p port automatic]\n+   random-allocation;\n"
//! );
//! // A pool alone is no gateway: the problem says what is missing.
//! let problems = config::build(&tree, BuildOptions::default()).unwrap_err();
//! assert!(problems[0].to_string().contains("service-set"));
//! ```

mod compare;
mod complete;
mod edit;
pub mod json;
mod load;
mod loading;
mod merge;
mod model;
mod parse;
mod patch;
mod place;
mod problem;
mod replace;
pub mod schema;
mod set;
mod show;
mod tree;
mod value;

pub use compare::{compare, compare_text, Hunk, HunkLine, Mark};
pub use complete::{complete, Completion, CompletionKind, LiveNames, NoLiveNames, Purpose as CompletionPurpose};
pub use edit::{apply_at, apply_command, EditPath};
pub use json::parse_json;
pub use loading::{load, LoadMode};
pub use merge::{merge, Clash, Merged, Theirs};
pub use model::{
    build, model, AdvertisedPrefix, Api, ApiClass, ApiMember, ApiWho, BuildOptions, Card, CardLimits, Checker, Device,
    Link, Model, NatPrefix, RouterAdvertisement, ServiceSetExtra, Syslog, SyslogClasses, SyslogHost, SyslogTarget,
    UnitExtra, MAX_WORKERS,
};
pub use parse::parse_curly;
pub use place::{Place, Source};
pub use problem::{ConfigError, Problem, ProblemKind, Warning, WarningKind, MAX_PROBLEMS};
pub use set::{parse_set, Applied};
pub use show::{show, Format};
pub use tree::{Node, Tree};

/// Longest text that is read, bytes.
pub const MAX_TEXT: usize = 16 << 20;
/// Deepest nesting of braces that is read; the schema is not half as deep.
pub const MAX_DEPTH: usize = 64;
/// Most words of one statement or command.
pub const MAX_WORDS: usize = 64;

/// Whether the first word of a text is a command, so that all of it is commands.
pub(crate) fn is_set_form(text: &str) -> bool {
    let first = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'));
    let word = first.and_then(|line| line.split_whitespace().next()).unwrap_or("");
    matches!(
        word,
        "set" | "delete" | "activate" | "deactivate" | "annotate" | "insert" | "rename" | "copy"
    )
}

/// Reads a text in whichever form it is: commands when its first word is one, JSON when it begins with a brace, curly
/// otherwise.
///
/// # Errors
/// As [`parse_curly`], [`parse_set`] and [`parse_json`].
pub fn parse(text: &str, name: &str) -> Result<Tree, ConfigError> {
    if is_set_form(text) {
        parse_set(text, name)
    } else if text.trim_start().starts_with('{') {
        parse_json(text, name)
    } else {
        parse_curly(text, name)
    }
}
