//! Configuration: text -> tree -> model.
//!
//! ```text
//!  curly text --parse--+                                       +--> curly text
//!                      +--> Tree (only statements the schema --+--> set commands
//!  set commands --set--+         knows, each with its place)   +--> build --> GatewayConfig
//! ```
//!
//! * [`parse`], [`parse_curly`], [`parse_set`] read a whole text; [`apply_command`] changes a tree by one line.
//! * [`build`] does the commit checks and makes the model. All problems are reported at once, each with its place.
//!
//! No input makes this module panic, recurse without bound or take more than linear memory.
//!
//! ```
//! use nat64_host::config::{self, BuildOptions};
//!
//! let text = "services { nat { pool p { address 203.0.113.0/24; port automatic; } } }";
//! let mut tree = config::parse_curly(text, "seed.conf").unwrap();
//! config::apply_command(&mut tree, "set services nat pool p port automatic random-allocation").unwrap();
//! assert!(tree.to_set().contains("random-allocation"));
//! // A pool alone is no gateway: the problem says what is missing.
//! let problems = config::build(&tree, BuildOptions::default()).unwrap_err();
//! assert!(problems[0].to_string().contains("service-set"));
//! ```

mod load;
mod model;
mod parse;
mod place;
mod problem;
pub mod schema;
mod set;
mod tree;
mod value;

pub use model::{build, BuildOptions};
pub use parse::parse_curly;
pub use place::{Place, Source};
pub use problem::{ConfigError, Problem, ProblemKind, Warning, WarningKind, MAX_PROBLEMS};
pub use set::{apply_command, parse_set, Applied, SessionFilter};
pub use tree::{Node, Tree};

/// Longest text that is read, bytes.
pub const MAX_TEXT: usize = 16 << 20;
/// Deepest nesting of braces that is read; the schema is not half as deep.
pub const MAX_DEPTH: usize = 64;
/// Most words of one statement or command.
pub const MAX_WORDS: usize = 64;

/// Reads a text in whichever form it is: `set` commands when its first word is a command, curly otherwise.
///
/// # Errors
/// As [`parse_curly`] and [`parse_set`].
pub fn parse(text: &str, name: &str) -> Result<Tree, ConfigError> {
    let first = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'));
    let word = first.and_then(|line| line.split_whitespace().next()).unwrap_or("");
    match word {
        "set" | "delete" | "activate" | "deactivate" => parse_set(text, name),
        _ => parse_curly(text, name),
    }
}
