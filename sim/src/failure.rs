//! Everything that can end a run, with its exit code and its form for machines.

use std::path::PathBuf;

use serde_json::{json, Value};

use crate::device::DeviceFailure;
use crate::events::EventsError;
use crate::output::OutputError;
use crate::pcap::CaptureError;

/// Why a run ended.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Options that do not go together, or lack one.
    #[error("{0}")]
    Usage(String),
    /// An input capture.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The events file.
    #[error(transparent)]
    Events(#[from] EventsError),
    /// A command of the events file was refused.
    #[error("{}:{line}: {source}", path.display())]
    Event {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Why.
        source: DeviceFailure,
    },
    /// An output file.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Configuration, engine or driver.
    #[error(transparent)]
    Device(#[from] DeviceFailure),
    /// The served card.
    #[error(transparent)]
    Serve(#[from] crate::serve::ServeError),
    /// The lab.
    #[error(transparent)]
    Lab(#[from] crate::lab::LabError),
    /// Standard input or output failed.
    #[error("{0}")]
    Pipe(std::io::Error),
    /// Ctrl-C.
    #[error("interrupted; no output was written")]
    Interrupted,
}

impl Failure {
    /// The exit code: 2 for what the user gave, 130 for Ctrl-C as shells have it, 1 for everything else.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Capture(_) | Self::Events(_) => 2,
            Self::Event { source, .. } | Self::Device(source) => {
                if source.is_input() {
                    2
                } else {
                    1
                }
            }
            Self::Output(_) | Self::Serve(_) | Self::Lab(_) | Self::Pipe(_) => 1,
            Self::Interrupted => 130,
        }
    }

    /// The name of the error in JSON.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Usage(_) => "usage",
            Self::Capture(_) => "capture",
            Self::Events(_) => "events",
            Self::Event { source, .. } | Self::Device(source) => source.kind(),
            Self::Output(_) => "output",
            Self::Serve(_) => "serve",
            Self::Pipe(_) => "pipe",
            Self::Lab(_) => "lab",
            Self::Interrupted => "interrupted",
        }
    }

    /// `{"error": {"kind", "message", "exit_code"}}`, and for captures also file, packet and offset.
    pub fn to_json(&self) -> Value {
        let mut error = json!({
            "kind": self.kind(),
            "message": self.to_string(),
            "exit_code": self.exit_code(),
        });
        if let Self::Capture(
            CaptureError::Truncated { path, packet, offset }
            | CaptureError::Malformed {
                path, packet, offset, ..
            },
        ) = self
        {
            error["file"] = json!(path.display().to_string());
            error["packet"] = json!(packet);
            error["offset"] = json!(offset);
        }
        if let Self::Event { path, line, .. } | Self::Events(EventsError::Line { path, line, .. }) = self {
            error["file"] = json!(path.display().to_string());
            error["line"] = json!(line);
        }
        json!({ "error": error })
    }
}
