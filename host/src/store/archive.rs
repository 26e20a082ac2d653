//! Commits as files: what is written, what is read back, which one is active.

use std::io;

use serde::{Deserialize, Serialize};

use super::engine::UnixTime;
use super::files::Files;
use crate::config::{self, Tree};

/// Commits that are kept, the active one among them: `rollback 0` to `rollback 49`.
pub const ROLLBACKS: usize = 50;

/// First word of every file.
const MAGIC: &str = "nat64-commit";
/// Format of the files.
const VERSION: u32 = 1;
/// A commit while it is being written.
const STAGED: &str = "staged.tmp";
/// What `commit at` waits with.
const SCHEDULED: &str = "scheduled";
/// The same while it is being written.
const SCHEDULED_STAGED: &str = "scheduled.tmp";

/// Who committed what, when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitInfo {
    /// Number of the commit, rising.
    pub number: u64,
    /// When.
    pub time: UnixTime,
    /// User.
    pub user: String,
    /// How: `cli`, `api`, `nat64d`, ...
    pub client: String,
    /// `commit comment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// `commit confirmed`: goes away at this time unless it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_by: Option<UnixTime>,
    /// `commit at`: becomes active at this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<UnixTime>,
}

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Its name.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What was found when the directory was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// The active commit; `None`: there is none yet, the configuration is empty.
    pub active: Option<CommitInfo>,
    /// Files that are torn, unreadable or of another version; they stay where they are.
    pub torn: Vec<Torn>,
    /// Leftovers of a commit that was interrupted, removed.
    pub removed: Vec<String>,
}

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file system says no.
    #[error("cannot {what} `{file}`: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Which file.
        file: String,
        /// Why not.
        source: io::Error,
    },
    /// There is no such rollback.
    #[error("there is no rollback {number}; there are {count}")]
    NoSuchRollback {
        /// As given.
        number: usize,
        /// How many there are.
        count: usize,
    },
    /// A file that was good when the directory was opened is not any more.
    #[error("`{file}` cannot be used: {reason}")]
    Torn {
        /// Its name.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// One commit on disk.
#[derive(Clone, Debug)]
struct Entry {
    info: CommitInfo,
    /// It was not confirmed.
    pending: bool,
    file: String,
}

/// All commits of a directory, oldest first.
#[derive(Debug)]
pub(super) struct Archive<F> {
    files: F,
    entries: Vec<Entry>,
    /// Highest number any file has, torn ones too.
    last_number: u64,
}

fn io_error(what: &'static str, file: &str) -> impl FnOnce(io::Error) -> StoreError {
    let file = file.to_string();
    move |source| StoreError::Io { what, file, source }
}

fn file_name(number: u64, pending: bool) -> String {
    let kind = if pending { "confirm" } else { "commit" };
    format!("{number:010}.{kind}")
}

/// Number and whether it waits for a confirmation.
fn parse_name(name: &str) -> Option<(u64, bool)> {
    let (number, kind) = name.split_once('.')?;
    let pending = match kind {
        "commit" => false,
        "confirm" => true,
        _ => return None,
    };
    let digits = number.len() >= 10 && number.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| number.parse().ok())
        .flatten()
        .map(|number| (number, pending))
}

/// A file: magic, version, length and checksum of the rest; a line of JSON; the text.
fn encode(info: &CommitInfo, text: &str) -> Vec<u8> {
    // The fields are plain: this cannot fail, and a file without them is refused when it is read.
    let info = serde_json::to_string(info).unwrap_or_default();
    let length = info.len() + 1 + text.len();
    let mut hasher = crc32fast::Hasher::new();
    for part in [info.as_bytes(), b"\n", text.as_bytes()] {
        hasher.update(part);
    }
    let mut out = format!("{MAGIC} {VERSION} {length} {:08x}\n{info}\n", hasher.finalize()).into_bytes();
    out.extend_from_slice(text.as_bytes());
    out
}

fn decode(bytes: &[u8]) -> Result<(CommitInfo, &str), String> {
    let end = bytes
        .iter()
        .take(200)
        .position(|b| *b == b'\n')
        .ok_or("it has no first line")?;
    let first = std::str::from_utf8(&bytes[..end]).map_err(|_| "its first line is no text")?;
    let rest = &bytes[end + 1..];
    let words: Vec<&str> = first.split(' ').collect();
    let [MAGIC, version, length, sum] = words[..] else {
        return Err("its first line is none of ours".into());
    };
    if version.parse() != Ok(VERSION) {
        return Err(format!("it has format {version}, not {VERSION}"));
    }
    if length.parse() != Ok(rest.len()) {
        return Err(format!("it has {} bytes where {length} were written", rest.len()));
    }
    let found = crc32fast::hash(rest);
    if u32::from_str_radix(sum, 16) != Ok(found) {
        return Err(format!("its checksum is {found:08x}, not {sum}"));
    }
    let text = std::str::from_utf8(rest).map_err(|_| "it is no text")?;
    let (info, text) = text.split_once('\n').ok_or("it has no second line")?;
    let info = serde_json::from_str(info).map_err(|error| format!("its second line cannot be read: {error}"))?;
    Ok((info, text))
}

impl<F: Files> Archive<F> {
    /// Reads the directory; the tree is that of the active commit.
    pub(super) fn open(mut files: F) -> Result<(Self, Tree, Opened), StoreError> {
        let mut opened = Opened::default();
        let mut entries = Vec::new();
        let mut last_number = 0;
        let mut names = files.list().map_err(io_error("list", "."))?;
        names.sort_unstable();
        for name in names {
            if name == STAGED || name == SCHEDULED_STAGED {
                files.remove(&name).map_err(io_error("remove", &name))?;
                opened.removed.push(name);
                continue;
            }
            let Some((number, pending)) = parse_name(&name) else {
                continue;
            };
            last_number = last_number.max(number);
            let torn = |reason: String| Torn {
                file: name.clone(),
                reason,
            };
            match files.read(&name) {
                Err(error) => opened.torn.push(torn(error.to_string())),
                Ok(bytes) => match decode(&bytes) {
                    Err(reason) => opened.torn.push(torn(reason)),
                    Ok((info, _)) if info.number != number => {
                        opened.torn.push(torn(format!("it is commit {}", info.number)));
                    }
                    Ok((info, _)) => entries.push(Entry {
                        info,
                        pending,
                        file: name,
                    }),
                },
            }
        }
        let mut archive = Self {
            files,
            entries,
            last_number,
        };
        // The newest whose text this version of the language reads.
        let tree = loop {
            let Some(last) = archive.entries.last() else {
                break Tree::new();
            };
            match archive.read(last) {
                Ok(tree) => break tree,
                Err(error) => {
                    let file = last.file.clone();
                    let reason = error.to_string();
                    opened.torn.push(Torn { file, reason });
                    archive.entries.pop();
                }
            }
        };
        opened.active = archive.active().cloned();
        Ok((archive, tree, opened))
    }

    fn read(&self, entry: &Entry) -> Result<Tree, StoreError> {
        let bytes = self.files.read(&entry.file).map_err(io_error("read", &entry.file))?;
        let torn = |reason: String| StoreError::Torn {
            file: entry.file.clone(),
            reason,
        };
        let (_, text) = decode(&bytes).map_err(torn)?;
        config::parse_curly(text, &entry.file).map_err(|error| torn(error.to_string()))
    }

    pub(super) fn active(&self) -> Option<&CommitInfo> {
        self.entries.last().map(|entry| &entry.info)
    }

    /// When the active commit goes away; `None`: it stays.
    pub(super) fn confirm_by(&self) -> Option<UnixTime> {
        let last = self.entries.last().filter(|last| last.pending)?;
        // One without a time, which we never write, is due at once.
        Some(last.info.confirm_by.unwrap_or_default())
    }

    /// Newest first.
    pub(super) fn history(&self) -> impl Iterator<Item = &CommitInfo> {
        self.entries.iter().rev().map(|entry| &entry.info)
    }

    /// `rollback N`; 0 is the active one.
    pub(super) fn rollback(&self, number: usize) -> Result<Tree, StoreError> {
        let count = self.entries.len();
        let entry = count.checked_sub(number + 1).and_then(|at| self.entries.get(at));
        match entry {
            Some(entry) => self.read(entry),
            None if number == 0 => Ok(Tree::new()),
            None => Err(StoreError::NoSuchRollback { number, count }),
        }
    }

    /// The newest commit that was not left unconfirmed, and its number: what a `commit confirmed` goes back to.
    /// Commits that cannot be read are skipped and told.
    pub(super) fn confirmed(&self, torn: &mut Vec<Torn>) -> (Tree, Option<u64>) {
        for entry in self.entries.iter().rev().filter(|entry| !entry.pending) {
            match self.read(entry) {
                Ok(tree) => return (tree, Some(entry.info.number)),
                Err(error) => torn.push(Torn {
                    file: entry.file.clone(),
                    reason: error.to_string(),
                }),
            }
        }
        (Tree::new(), None)
    }

    /// Number of the next commit.
    pub(super) fn next_number(&self) -> u64 {
        self.last_number + 1
    }

    /// Writes a commit beside the others, all of it on disk.
    pub(super) fn stage(&mut self, info: &CommitInfo, text: &str) -> Result<(), StoreError> {
        let write = |files: &mut F| {
            files
                .write(STAGED, &encode(info, text))
                .map_err(io_error("write", STAGED))?;
            files.sync(STAGED).map_err(io_error("sync", STAGED))
        };
        write(&mut self.files).inspect_err(|_| self.unstage())
    }

    /// Removes what was staged; what cannot be removed is when the directory is opened.
    pub(super) fn unstage(&mut self) {
        let _ = self.files.remove(STAGED);
    }

    /// Makes the staged commit the active one.
    ///
    /// On an error it is taken back; should that fail too, the error that is returned says what is left.
    pub(super) fn publish(&mut self, info: CommitInfo) -> Result<(), StoreError> {
        let pending = info.confirm_by.is_some();
        let file = file_name(info.number, pending);
        let done = self
            .files
            .rename(STAGED, &file)
            .map_err(io_error("rename", STAGED))
            .and_then(|()| self.files.sync_dir().map_err(io_error("sync", ".")));
        if let Err(error) = done {
            // It may be under either name.
            let _ = self.files.remove(&file);
            self.unstage();
            let _ = self.files.sync_dir();
            return Err(error);
        }
        self.last_number = self.last_number.max(info.number);
        self.entries.push(Entry { info, pending, file });
        self.prune();
        Ok(())
    }

    /// Removes commits that are more than enough. What cannot be removed now is next time.
    fn prune(&mut self) {
        while self.entries.len() > ROLLBACKS {
            let oldest = self.entries.remove(0);
            let _ = self.files.remove(&oldest.file);
        }
    }

    /// Confirms the active commit.
    pub(super) fn confirm(&mut self) -> Result<(), StoreError> {
        let Some(last) = self.entries.last().filter(|last| last.pending) else {
            return Ok(());
        };
        let name = file_name(last.info.number, false);
        let old = last.file.clone();
        self.files.rename(&old, &name).map_err(io_error("rename", &old))?;
        if let Err(error) = self.files.sync_dir() {
            // Not certain, so not done: it is as it was, or goes away in time after all.
            let _ = self.files.rename(&name, &old);
            return Err(io_error("sync", ".")(error));
        }
        if let Some(last) = self.entries.last_mut() {
            last.pending = false;
            last.file = name;
        }
        Ok(())
    }

    /// Keeps a commit for later. On an error nothing is kept.
    pub(super) fn schedule(&mut self, info: &CommitInfo, text: &str) -> Result<(), StoreError> {
        self.write_schedule(info, text).inspect_err(|_| {
            let _ = self.files.remove(SCHEDULED);
            let _ = self.files.remove(SCHEDULED_STAGED);
            let _ = self.files.sync_dir();
        })
    }

    fn write_schedule(&mut self, info: &CommitInfo, text: &str) -> Result<(), StoreError> {
        let staged = SCHEDULED_STAGED;
        self.files
            .write(staged, &encode(info, text))
            .map_err(io_error("write", staged))?;
        self.files.sync(staged).map_err(io_error("sync", staged))?;
        self.files
            .rename(staged, SCHEDULED)
            .map_err(io_error("rename", staged))?;
        self.files.sync_dir().map_err(io_error("sync", "."))
    }

    /// What `schedule` keeps; a torn one is told and `None`.
    pub(super) fn scheduled(&self, torn: &mut Vec<Torn>) -> Option<(CommitInfo, Tree)> {
        let bytes = match self.files.read(SCHEDULED) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                torn.push(Torn {
                    file: SCHEDULED.into(),
                    reason: error.to_string(),
                });
                return None;
            }
        };
        let read = decode(&bytes).and_then(|(info, text)| {
            let tree = config::parse_curly(text, SCHEDULED).map_err(|error| error.to_string())?;
            Ok((info, tree))
        });
        read.map_err(|reason| {
            torn.push(Torn {
                file: SCHEDULED.into(),
                reason,
            });
        })
        .ok()
    }

    /// Forgets what `schedule` keeps.
    pub(super) fn unschedule(&mut self) -> Result<(), StoreError> {
        match self.files.remove(SCHEDULED) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.map_err(io_error("remove", SCHEDULED)),
        }?;
        self.files.sync_dir().map_err(io_error("sync", "."))
    }
}
