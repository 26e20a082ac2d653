//! `nat64d`: owns cards, serves the control API.
//!
//! ```text
//!   card thread, one per card                         control plane (tokio)
//!   +-----------------------------------+   messages  +---------------------------+
//!   | work, queries in bounded slices   |<------------| axum on a UNIX socket     |<-- nat64ctl, curl
//!   | Dataplane: Gateway + Card, or     |------------>| commit engine, monitors,  |
//!   |            sharded software card  |   answers,  | metrics, syslog, logs     |
//!   +-----------------------------------+   events    +---------------------------+
//! ```
//!
//! [`Daemon`] is the state behind the API; [`service`] starts and stops everything in order.

pub mod access;
pub mod answers;
pub mod cards;
pub mod configuration;
pub mod dataplane;
pub mod descriptors;
pub mod filter;
pub mod gateway;
pub mod journal;
pub mod metrics;
pub mod opening;
pub mod privileges;
pub mod probe;
pub mod samples;
pub mod server;
pub mod service;
pub mod soft;
pub mod state;
pub mod support;
pub mod syslog;
pub mod walk;
pub mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{broadcast, watch};

use crate::config::Model;
use cards::CardSet;
use configuration::Configuration;
use journal::LogBuffer;
use samples::{Baselines, Samples, Tally};
use syslog::Syslog;
use worker::{CardHandle, EventBatch};

/// What the API serves.
pub struct Daemon {
    /// The cards.
    card_set: Arc<CardSet>,
    /// Candidate and active configuration.
    pub configuration: Configuration,
    /// Last lines of the log.
    pub log: LogBuffer,
    /// Rates.
    pub samples: Samples,
    /// Counters at the last clear.
    pub baselines: Baselines,
    /// Messages to syslog hosts.
    pub syslog: Syslog,
    /// Name of the machine.
    pub host_name: String,
    /// When the daemon started.
    pub started: SystemTime,
    models: watch::Receiver<Arc<Model>>,
    stop: watch::Receiver<bool>,
}

/// Names that show commands need and the driver does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Services interface by service set.
    interfaces: HashMap<String, String>,
}

impl Names {
    /// The names of a configuration.
    pub fn new(model: &Model) -> Self {
        let mut interfaces = HashMap::new();
        for card in &model.cards {
            for (set, extra) in card.gateway.xlate.service_sets.iter().zip(&card.service_sets) {
                if let Some(interface) = &extra.interface {
                    interfaces.insert(set.name.clone(), without_unit(interface).to_owned());
                }
            }
        }
        Self { interfaces }
    }

    /// The services interface of a service set; empty when it has none.
    pub fn service_interface(&self, set: &str) -> String {
        self.interfaces.get(set).cloned().unwrap_or_default()
    }

    /// All services interfaces, sorted, each once.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        let mut all: Vec<&str> = self.interfaces.values().map(String::as_str).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter()
    }

    /// The same, comma separated.
    pub fn all_service_interfaces(&self) -> String {
        self.interfaces().collect::<Vec<_>>().join(", ")
    }

    /// The service sets of a services interface, named with or without its unit.
    pub fn sets_of(&self, interface: &str) -> Vec<String> {
        let interface = without_unit(interface);
        let of = self.interfaces.iter().filter(|(_, own)| *own == interface);
        of.map(|(set, _)| set.clone()).collect()
    }
}

/// `ms-0/1/0` of `ms-0/1/0.0`: listings name the interface.
fn without_unit(interface: &str) -> &str {
    match interface.rsplit_once('.') {
        Some((name, unit)) if unit.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => interface,
    }
}

impl Daemon {
    /// Over cards and a configuration. `stop` says when streams have to end.
    pub fn new(
        card_set: Arc<CardSet>,
        configuration: Configuration,
        log: LogBuffer,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let host_name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        Self {
            models: configuration.models(),
            card_set,
            configuration,
            log,
            samples: Samples::default(),
            baselines: Baselines::default(),
            syslog: Syslog::default(),
            host_name: host_name.unwrap_or_else(|| "localhost".into()),
            started: SystemTime::now(),
            stop,
        }
    }

    /// The cards.
    pub fn cards(&self) -> Vec<CardHandle> {
        self.card_set.handles()
    }

    /// Events of all cards from now on.
    pub fn events(&self) -> broadcast::Receiver<EventBatch> {
        self.card_set.events()
    }

    /// The configuration in force, and those that follow.
    pub fn models(&self) -> watch::Receiver<Arc<Model>> {
        self.models.clone()
    }

    /// Names of the configuration in force.
    pub fn names(&self) -> Names {
        Names::new(&self.models.borrow())
    }

    /// Says when the daemon stops.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.clone()
    }

    /// What a card's counters were when they were cleared.
    pub fn baseline(&self, card: &str) -> Option<Box<Tally>> {
        let (counters, _) = self.baselines.get(card)?;
        Some(Box::new(Tally::new(&counters)))
    }

    /// Looks at the counters of all cards, for the rates; every [`samples::INTERVAL`].
    pub async fn sample(&self) {
        let asked = self.cards().into_iter().map(|card| {
            tokio::spawn(async move { (card.look(|dataplane| dataplane.counters()).await, Instant::now(), card) })
        });
        for answer in asked.collect::<Vec<_>>() {
            // A card that does not answer has no rates.
            if let Ok((Ok(counters), at, card)) = answer.await {
                self.samples.note(&card.name, &counters, at);
            }
        }
    }
}

/// Waits until `stop` says so, or nobody is left to say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Unix time in seconds.
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Unix time in milliseconds.
pub fn unix_milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Resident memory of this process, bytes.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
