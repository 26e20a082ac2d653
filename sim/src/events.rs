//! Configuration changes at points in virtual time: the file given with `--events`.
//!
//! JSON lines, each `{"t_ns": N, "commands": ["set services nat ...", "delete ...", "clear services sessions"]}`.
//! `t_ns` is on the clock of the captures' stamps. The commands of a line are committed together, before the first
//! packet whose stamp is not older. Lines may stand in any order; equal times keep the order of the file.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Longest line, in bytes.
const MAX_LINE: u64 = 1 << 20;
/// Most lines.
const MAX_LINES: usize = 1 << 20;

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Virtual time, in nanoseconds.
    pub t_ns: u64,
    /// Commands committed together.
    pub commands: Vec<String>,
    /// Line in the file, from 1.
    pub line: usize,
}

/// What can be wrong with an events file.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// File.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A line is no event.
    #[error("{}:{line}:{column}: {reason}", path.display())]
    Line {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    t_ns: u64,
    commands: Vec<String>,
}

/// Reads an events file, sorted by time.
///
/// # Errors
/// The file cannot be read, or a line is not what the module describes.
pub fn read(path: &Path) -> Result<Vec<Event>, EventsError> {
    let io = |source| EventsError::Io {
        path: path.to_owned(),
        source,
    };
    let mut reader = BufReader::new(std::fs::File::open(path).map_err(io)?);
    let mut events = Vec::new();
    let mut text = Vec::new();
    for number in 1usize.. {
        text.clear();
        let n = reader
            .by_ref()
            .take(MAX_LINE + 1)
            .read_until(b'\n', &mut text)
            .map_err(io)?;
        if n == 0 {
            break;
        }
        let at = |column: usize, reason: String| EventsError::Line {
            path: path.to_owned(),
            line: number,
            column: column.max(1),
            reason,
        };
        if n as u64 > MAX_LINE {
            return Err(at(1, format!("the line is longer than {MAX_LINE} bytes")));
        }
        if events.len() == MAX_LINES {
            return Err(at(1, format!("more than {MAX_LINES} events")));
        }
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let line: Line = serde_json::from_slice(&text).map_err(|e| {
            let full = e.to_string();
            // serde_json adds its own place, which counts lines within the line.
            let reason = full.split(" at line ").next().unwrap_or(&full).to_string();
            at(e.column(), reason)
        })?;
        events.push(Event {
            t_ns: line.t_ns,
            commands: line.commands,
            line: number,
        });
    }
    events.sort_by_key(|e| e.t_ns);
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Event>, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        read(file.path()).map_err(|e| e.to_string().split(".tmp").last().unwrap_or_default().to_string())
    }

    #[test]
    fn events_are_sorted_by_time_and_stable() {
        let events = parse(
            "{\"t_ns\":5,\"commands\":[\"b\"]}\n\n{\"t_ns\":1,\"commands\":[\"a\",\"x\"]}\n{\"t_ns\":5,\"commands\":[]}",
        )
        .expect("right");
        assert_eq!(
            events.iter().map(|e| (e.t_ns, e.line)).collect::<Vec<_>>(),
            [(1, 3), (5, 1), (5, 4)]
        );
        assert_eq!(events[0].commands, ["a", "x"]);
    }

    #[test]
    fn a_wrong_line_is_told_with_its_place() {
        for (text, place, reason) in [
            (
                "{\"t_ns\":1,\"commands\":[]}\n{\"t_ns\":1}\n",
                ":2:10:",
                "missing field `commands`",
            ),
            ("{\"t_ns\":-1,\"commands\":[]}", ":1:10:", "invalid value"),
            ("{\"t_ns\":1,\"commands\":[],\"at\":2}", ":1:", "unknown field `at`"),
            ("nonsense", ":1:2:", "expected"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(place) && error.contains(reason), "{text}: {error}");
        }
    }
}
