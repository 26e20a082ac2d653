//! The one shape of an error.

use serde::{Deserialize, Serialize};

/// What kind of error; decides the HTTP status and, in `nat64ctl`, the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// 400: the request cannot be read.
    BadRequest,
    /// 400: a configuration text or command that is wrong; [`ErrorBody::places`] says where.
    Syntax,
    /// 422: the configuration as a whole is refused by a commit check; [`ErrorBody::places`] has every problem.
    CommitCheck,
    /// 403: the user's class does not allow it.
    Forbidden,
    /// 404: no such route, card, pool, service set, rollback, ...
    NotFound,
    /// 405: the route exists with another method.
    MethodNotAllowed,
    /// 409: another user edits exclusively, the candidate changed meanwhile, a commit is under way.
    Conflict,
    /// 413: the body is too long.
    TooLarge,
    /// 422: a card refuses the configuration or request.
    CardRefused,
    /// 429: too many requests of this client at once.
    TooMany,
    /// 500: a fault of the daemon.
    Internal,
    /// 501: the card cannot tell or do this.
    Unsupported,
    /// 503: the card is gone or being opened; the daemon is shutting down.
    Unavailable,
    /// 504: not done in time.
    Timeout,
    /// 507: the configuration could not be stored.
    Storage,
}

impl ErrorCode {
    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest | Self::Syntax => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::CommitCheck | Self::CardRefused => 422,
            Self::TooMany => 429,
            Self::Internal => 500,
            Self::Unsupported => 501,
            Self::Unavailable => 503,
            Self::Timeout => 504,
            Self::Storage => 507,
        }
    }
}

/// Body of every answer whose status is 400 or more: `{"error": {...}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorAnswer {
    /// The error.
    pub error: ErrorBody,
}

/// An error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
#[error("{message}")]
pub struct ErrorBody {
    /// Kind.
    pub code: ErrorCode,
    /// One line for people.
    pub message: String,
    /// Where, for errors in a configuration: one entry per problem.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Place>,
}

impl ErrorBody {
    /// An error without places.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            places: Vec::new(),
        }
    }
}

/// A problem or warning and where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Place {
    /// What is wrong, one line.
    pub message: String,
    /// What to do about it ("did you mean").
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The text it is in: a file's name, `command 3`, `candidate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column, from 1, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The offending text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The path of the statement, `services nat pool p port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Message with the source line and the text underlined, several lines, no colours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rendered: Option<String>,
}
