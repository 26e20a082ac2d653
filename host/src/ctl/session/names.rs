//! Live names: what the daemon knows, kept for a moment so that a tab key does not ask twice.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::api::routes::RouteId;
use crate::api::system::{NameKind, NameQuery, Names as Answer};

use super::super::client::{Call, Client};
use super::super::grammar::Live;
use super::super::parse::Names;

/// How long names are believed.
const FRESH: Duration = Duration::from_secs(2);

/// Names of the daemon.
pub struct LiveNames<'a> {
    client: &'a Client,
    kept: &'a RefCell<HashMap<Live, (Instant, Vec<String>)>>,
}

impl<'a> LiveNames<'a> {
    pub(super) fn new(client: &'a Client, kept: &'a RefCell<HashMap<Live, (Instant, Vec<String>)>>) -> Self {
        Self { client, kept }
    }

    fn ask(&self, kind: Live) -> Vec<String> {
        let kind = match kind {
            Live::Pool => NameKind::Pool,
            Live::Rule => NameKind::Rule,
            Live::ServiceSet => NameKind::ServiceSet,
            Live::Card => NameKind::Card,
            Live::Interface => NameKind::Interface,
            Live::Draining => NameKind::Draining,
            Live::Reason => NameKind::Reason,
            Live::Register => NameKind::Register,
            Live::Device => return super::super::card::addresses(),
        };
        // Completion must not be in the way: no names rather than an error.
        let answer: Result<Answer, _> = self.client.call(&Call::new(RouteId::Names).query(&NameQuery { kind }));
        answer.map_or_else(
            |_| Vec::new(),
            |answer| answer.names.into_iter().map(|name| name.name).collect(),
        )
    }
}

impl Names for LiveNames<'_> {
    fn names(&self, kind: Live) -> Vec<String> {
        if let Some((asked, names)) = self.kept.borrow().get(&kind) {
            if asked.elapsed() < FRESH {
                return names.clone();
            }
        }
        let names = self.ask(kind);
        self.kept.borrow_mut().insert(kind, (Instant::now(), names.clone()));
        names
    }
}
