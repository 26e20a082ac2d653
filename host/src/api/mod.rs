//! The control API between `nat64d` and its clients: every request and answer, and the list of routes.
//!
//! HTTP/1.1 over a UNIX socket (default [`DEFAULT_SOCKET`]), bodies in JSON. Field names are the Junos leaf names where
//! Junos has the leaf (`show services nat pool` and its neighbours), in kebab case everywhere.
//!
//! * **Who asks** is told by the kernel (`SO_PEERCRED`); the user's [`Class`] decides which [`ROUTES`] are open.
//! * **Errors** have one shape ([`error::ErrorBody`]) and a status code that fits.
//! * **Listings** that can be long come in pages ([`Page`]): ask again with `cursor` until there is none. An entry that
//!   lives during the whole listing is seen exactly once; one that comes or goes meanwhile may or may not be.
//! * **A field or query parameter nobody knows is an error**: a misspelt filter must not clear everything.
//! * **Streams** (`monitor`) are lines of JSON (NDJSON, `application/x-ndjson`), one [`monitor::Event`] per line; what
//!   a slow reader missed is told in a line of its own.
//!
//! ```sh
//! curl --unix-socket /run/nat64d/control.sock http://nat64d/v1/cards
//! ```

pub mod card;
pub mod configuration;
pub mod error;
pub mod monitor;
pub mod nat;
pub mod routes;
pub mod sessions;
pub mod system;

use serde::{Deserialize, Serialize};

pub use error::{ErrorBody, ErrorCode, Place};
pub use routes::{Method, Route, ROUTES};

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/nat64d/control.sock";
/// First part of every path but `/metrics`; changes when an answer changes in a way a client has to know of.
pub const PREFIX: &str = "/v1";
/// Entries of one page at most, and when nothing is asked for.
pub const MAX_PAGE: usize = 10_000;
/// Media type of streams.
pub const NDJSON: &str = "application/x-ndjson";

/// What a user may do; each class may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Looks at everything, changes nothing.
    ReadOnly,
    /// Also clears sessions, mappings and statistics, drains addresses, collects support information.
    Operator,
    /// Also changes the configuration.
    SuperUser,
}

impl Class {
    /// Name in configuration, messages and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::Operator => "operator",
            Self::SuperUser => "super-user",
        }
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// One page of a listing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last one. Opaque.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            cursor: None,
        }
    }
}

/// What page is asked for (query parameters).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct PageQuery {
    /// [`Page::cursor`] of the page before; none for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Entries wanted, 1 to [`MAX_PAGE`]; none: [`MAX_PAGE`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// Selects a card (query parameter); none: every card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct CardQuery {
    /// Name of the card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
}

/// An answer without content, `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}
