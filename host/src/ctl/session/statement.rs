//! Completion of statements: what the configuration has, and what its language allows.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use crate::api::configuration::{Format, Text, TextQuery};
use crate::api::routes::RouteId;
use crate::config::{self, CompletionKind, CompletionPurpose, EditPath, LiveNames, Tree};

use super::super::client::Call;
use super::super::grammar::Purpose;
use super::super::lex;
use super::super::parse::{Candidate, Completion};
use super::Session;

/// How long a fetched configuration serves completion.
const FRESH: Duration = Duration::from_secs(3);

/// A configuration that was fetched for completion.
#[derive(Default)]
pub(super) struct Kept(RefCell<Option<(Instant, bool, Tree)>>);

impl Kept {
    /// Something was changed: what was fetched is old.
    pub(super) fn forget(&self) {
        self.0.borrow_mut().take();
    }
}

/// Names that only this machine knows.
struct Machine;

impl LiveNames for Machine {
    fn names(&self, kind: config::schema::Live) -> Vec<(String, String)> {
        match kind {
            config::schema::Live::PciDevice => {
                let addresses = super::super::card::addresses();
                addresses.into_iter().map(|address| (address, String::new())).collect()
            }
            config::schema::Live::Interface => {
                let Ok(entries) = std::fs::read_dir("/sys/class/net") else {
                    return Vec::new();
                };
                let mut names: Vec<(String, String)> = entries
                    .flatten()
                    .map(|entry| (entry.file_name().to_string_lossy().into_owned(), String::new()))
                    .collect();
                names.sort();
                names
            }
            _ => Vec::new(),
        }
    }
}

impl Session {
    /// What could stand at the end of `line`, whose statement begins at byte `from`.
    pub(super) fn complete_statement(&self, line: &str, from: usize, purpose: Purpose) -> Completion {
        let mut out = Completion {
            from: line.len(),
            ..Completion::default()
        };
        let Ok(mut words) = lex::words(&line[from..]) else {
            return out;
        };
        let mut partial = String::new();
        if let Some(last) = words.last() {
            if from + last.span.end == line.len() {
                out.from = from + last.span.start;
                partial.clone_from(&last.text);
                words.pop();
            }
        }
        let candidate = self.editing.is_some();
        let top = EditPath::top();
        let path = self.editing.as_ref().map_or(&top, |editing| &editing.path);
        let purpose = match purpose {
            Purpose::Whole => CompletionPurpose::Set,
            Purpose::Place => CompletionPurpose::Edit,
            Purpose::Existing => CompletionPurpose::Existing,
        };
        let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        self.with_tree(candidate, |tree| {
            for found in config::complete(tree, path, purpose, &words, &partial, &Machine) {
                let (literal, mark) = match found.kind {
                    CompletionKind::Enter => {
                        out.enter = true;
                        continue;
                    }
                    CompletionKind::Hint => (false, ' '),
                    CompletionKind::Container => (true, '>'),
                    CompletionKind::List => (true, '+'),
                    CompletionKind::Leaf | CompletionKind::Value => (true, ' '),
                };
                out.candidates.push(Candidate {
                    text: found.text,
                    help: found.help,
                    literal,
                    mark,
                    keyword: literal && found.kind != CompletionKind::Value,
                });
            }
        });
        out
    }

    /// Calls with the candidate or the active configuration, as new as completion needs; an empty one when the daemon
    /// does not tell it.
    fn with_tree(&self, candidate: bool, use_it: impl FnOnce(&Tree)) {
        let mut kept = self.kept.0.borrow_mut();
        let fresh = matches!(&*kept, Some((asked, which, _)) if asked.elapsed() < FRESH && *which == candidate);
        if !fresh {
            let route = if candidate { RouteId::Candidate } else { RouteId::Active };
            let query = TextQuery {
                format: Format::Curly,
                path: None,
                edit: self.edit_query().edit,
            };
            let text: Result<Text, _> = self.client.call(&Call::new(route).query(&query));
            let tree = text
                .ok()
                .and_then(|text| config::parse_curly(&text.text, "candidate").ok());
            *kept = Some((Instant::now(), candidate, tree.unwrap_or_default()));
        }
        if let Some((_, _, tree)) = &*kept {
            use_it(tree);
        }
    }
}
