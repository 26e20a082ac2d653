//! What can go wrong, and the exit code for it.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{json, Value};

use crate::api::{ErrorBody, ErrorCode};
use crate::config::ConfigError;

use super::parse::ParseError;

/// Exit codes and what they mean; the manual prints this table.
pub const EXIT_CODES: &[(u8, &str)] = &[
    (0, "done"),
    (
        1,
        "the daemon or the machine refused: no such pool, a commit check that failed, a file that cannot be read",
    ),
    (2, "the command line is wrong"),
    (3, "no daemon answers at the socket"),
    (4, "this user may not do that"),
    (5, "the daemon failed, or did not answer in time"),
    (130, "interrupted"),
];

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// The line is no command.
    #[error("{error}")]
    Parse {
        /// The line.
        line: String,
        /// What is wrong, and where.
        error: ParseError,
    },
    /// The line is a command, but not with these arguments or not now.
    #[error("{0}")]
    Usage(String),
    /// A statement of the configuration that does not exist.
    #[error("{0}")]
    Statement(#[from] ConfigError),
    /// Nothing listens at the socket.
    #[error("no daemon answers at {}: {why}", .socket.display())]
    NoDaemon {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// The socket is there and this user may not use it.
    #[error("this user may not use {}", .socket.display())]
    NotAllowed {
        /// The socket.
        socket: PathBuf,
    },
    /// The daemon refused.
    #[error("{0}")]
    Refused(#[from] ErrorBody),
    /// The daemon's answer cannot be understood.
    #[error("the daemon's answer to {request} cannot be understood: {why}")]
    BadAnswer {
        /// Method and path.
        request: String,
        /// What is wrong with it.
        why: String,
    },
    /// The connection broke before the answer was there.
    #[error("the daemon closed the connection during {request}: {why}")]
    Broken {
        /// Method and path.
        request: String,
        /// What was seen.
        why: String,
    },
    /// No answer in time.
    #[error("no answer to {request} within {seconds} s")]
    Timeout {
        /// Method and path.
        request: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A file of this machine.
    #[error("{}: {why}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// Output could not be written.
    #[error("output: {0}")]
    Output(std::io::Error),
    /// A PCI device.
    #[error("{0}")]
    Card(String),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl CtlError {
    /// Exit code of the program when this ends it; see [`EXIT_CODES`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Parse { .. } | Self::Usage(_) | Self::Statement(_) => 2,
            Self::NoDaemon { .. } => 3,
            Self::NotAllowed { .. } => 4,
            Self::Refused(body) => match body.code {
                ErrorCode::Forbidden => 4,
                ErrorCode::Internal | ErrorCode::Timeout => 5,
                _ => 1,
            },
            Self::BadAnswer { .. } | Self::Broken { .. } | Self::Timeout { .. } => 5,
            Self::File { .. } | Self::Output(_) | Self::Card(_) => 1,
            Self::Interrupted => 130,
        }
    }

    /// A word for the kind, for JSON.
    fn code(&self) -> Value {
        match self {
            Self::Parse { .. } | Self::Usage(_) => "usage".into(),
            Self::Statement(_) => "syntax".into(),
            Self::NoDaemon { .. } => "no-daemon".into(),
            Self::NotAllowed { .. } => "forbidden".into(),
            Self::Refused(body) => json!(body.code),
            Self::BadAnswer { .. } | Self::Broken { .. } => "bad-answer".into(),
            Self::Timeout { .. } => "timeout".into(),
            Self::File { .. } => "file".into(),
            Self::Output(_) => "output".into(),
            Self::Card(_) => "card".into(),
            Self::Interrupted => "interrupted".into(),
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::NoDaemon { .. } => Some(
                "start it with `systemctl start nat64d` (or `nat64d --help`), or name its socket: \
                 `nat64ctl --socket PATH` or NAT64CTL_SOCKET"
                    .into(),
            ),
            Self::NotAllowed { .. } => {
                Some("the socket is open to members of the group that the daemon was told to serve".into())
            }
            Self::Refused(body) if body.code == ErrorCode::Forbidden => {
                Some("`show cli` says which class this user has".into())
            }
            _ => None,
        }
    }

    /// The error as JSON: `{"error": {"code", "message", ...}}`, as the daemon writes its own.
    pub fn to_json(&self) -> Value {
        let mut body = match self {
            Self::Refused(body) => json!(body),
            _ => json!({ "code": self.code(), "message": self.to_string() }),
        };
        if let Self::Parse { line, error } = self {
            body["line"] = line.as_str().into();
            body["column"] = (line[..error.span.start].chars().count() + 1).into();
        }
        if let Some(remedy) = self.remedy() {
            body["remedy"] = remedy.into();
        }
        json!({ "error": body })
    }

    /// The error for people. `echo`: whether the line was not just typed and has to be shown.
    pub fn to_text(&self, echo: bool) -> String {
        let mut out = String::new();
        match self {
            Self::Parse { line, error } => {
                let width = |text: &str| text.chars().count();
                let before = width(&line[..error.span.start]);
                if echo {
                    let marks = width(&line[error.span.clone()]).max(1);
                    let _ = writeln!(out, "{line}\n{}{}", " ".repeat(before), "^".repeat(marks));
                }
                let _ = write!(out, "error: {error}");
            }
            Self::Refused(body) if !body.places.is_empty() => {
                for place in &body.places {
                    let text = place.rendered.as_deref().unwrap_or(&place.message);
                    let _ = writeln!(out, "{}", text.trim_end());
                    if let (None, Some(help)) = (&place.rendered, &place.help) {
                        let _ = writeln!(out, "  {help}");
                    }
                }
                // One problem says all there is to say.
                let said = body.places.iter().any(|place| place.message == body.message);
                if !said {
                    let _ = write!(out, "error: {}", body.message);
                }
                out.truncate(out.trim_end().len());
            }
            Self::Statement(error) => {
                let _ = write!(out, "{}", error.to_string().trim_end());
            }
            _ => {
                let _ = write!(out, "error: {self}");
            }
        }
        if let Some(remedy) = self.remedy() {
            let _ = write!(out, "\n  {remedy}");
        }
        out.push('\n');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::{parse, Mode, NoNames};
    use super::*;

    fn wrong(line: &str) -> CtlError {
        let error = parse(Mode::Operational, line, &NoNames).unwrap_err();
        CtlError::Parse {
            line: line.into(),
            error,
        }
    }

    #[test]
    fn a_wrong_line_is_shown_underlined() {
        let text = wrong("show servces").to_text(true);
        assert_eq!(
            text,
            "show servces\n     ^^^^^^^\nerror: unknown command or argument `servces`; did you mean `services`?\n"
        );
        let json = wrong("show servces").to_json();
        assert_eq!(
            (json["error"]["code"].as_str(), json["error"]["column"].as_u64()),
            (Some("usage"), Some(6))
        );
    }

    #[test]
    fn exit_codes_are_all_documented() {
        let io = || std::io::Error::from_raw_os_error(2);
        let refused = |code| CtlError::Refused(ErrorBody::new(code, "x"));
        let all = [
            wrong("x"),
            CtlError::NoDaemon {
                socket: "s".into(),
                why: io(),
            },
            CtlError::NotAllowed { socket: "s".into() },
            refused(ErrorCode::Forbidden),
            refused(ErrorCode::NotFound),
            refused(ErrorCode::Internal),
            CtlError::Output(io()),
            CtlError::Interrupted,
        ];
        for error in all {
            let code = error.exit_code();
            assert!(EXIT_CODES.iter().any(|(known, _)| *known == code), "{error}");
            assert!(error.to_json()["error"]["code"].is_string());
        }
    }
}
