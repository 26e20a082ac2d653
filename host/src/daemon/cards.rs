//! The cards of the daemon: which there are, and how a configuration gets to them.
//!
//! A card is named on the command line (`--card sim`, `--card core=vfio:0000:03:00.0`) or in the configuration
//! (`nat64-nic card NAME`). A commit starts the cards it adds and lets those go that it does not name any more. A card that
//! is in fault does not stop a commit: the configuration is checked as far as it can be without it, and put in force
//! when it comes back.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use nat64_driver::{CardSpec, Gateway};
use nat64_layout::{Geometry, PORTS};
use tokio::sync::broadcast;

use super::dataplane::{CardConfig, DataplaneError};
use super::opening::{self, OpenOptions};
use super::worker::{CardHandle, EventBatch, Opener, Sleep, Worker};
use crate::api::card::{CardKind, CardState};
use crate::api::configuration::AppliedToCard;
use crate::config::{self, CardLimits, Device, Link, Model};
use crate::store::{Apply, ApplyError, ApplyReport, Refusal};

/// Batches of events kept for slow readers.
const EVENT_BATCHES: usize = 1024;
/// How long a commit waits for a card that it adds.
const START: Duration = Duration::from_secs(60);

/// Where a card is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// `vfio:ADDRESS`, `vfio-user:PATH` or `serial:DEVICE`.
    Driver(CardSpec),
    /// `sim` or `sim:ENGINE`: a simulated card, started as a child process.
    Sim(Option<String>),
    /// `soft` or `soft:INSIDE,OUTSIDE`: software on these interfaces.
    Soft {
        /// By port.
        links: [Option<Link>; PORTS],
        /// Threads; `None`: what [`OpenOptions::workers`] says.
        workers: Option<u32>,
    },
}

impl Location {
    /// Kind of card.
    pub const fn kind(&self) -> CardKind {
        match self {
            Self::Driver(CardSpec::Vfio(_)) => CardKind::Vfio,
            Self::Driver(CardSpec::VfioUser(_)) => CardKind::VfioUser,
            Self::Driver(CardSpec::Serial(_)) => CardKind::Serial,
            Self::Sim(_) => CardKind::Sim,
            Self::Soft { .. } => CardKind::Soft,
        }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Driver(spec) => spec.fmt(f),
            Self::Sim(None) => f.write_str("sim"),
            Self::Sim(Some(engine)) => write!(f, "sim:{engine}"),
            Self::Soft { links, .. } if links.iter().all(Option::is_none) => f.write_str("soft"),
            Self::Soft { links, .. } => {
                let named = links
                    .each_ref()
                    .map(|link| link.as_ref().map(Link::to_string).unwrap_or_default());
                write!(f, "soft:{}", named.join(",").trim_end_matches(','))
            }
        }
    }
}

impl std::str::FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').unwrap_or((text, "")) {
            ("sim", "") => Ok(Self::Sim(None)),
            ("sim", engine) if engine.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') => {
                Ok(Self::Sim(Some(engine.to_owned())))
            }
            ("soft", links) => Ok(Self::Soft {
                links: soft_links(links)?,
                workers: None,
            }),
            _ => text
                .parse()
                .map(Self::Driver)
                .map_err(|error: nat64_driver::SpecError| {
                    format!("{error}, or sim, sim:rtl-compiled, soft, soft:eth1,eth2")
                }),
        }
    }
}

/// The ports of `soft:INSIDE,OUTSIDE`: each an interface, `tap:NAME` for a device that is made, or nothing.
fn soft_links(text: &str) -> Result<[Option<Link>; PORTS], String> {
    let mut links = [const { None }; PORTS];
    let mut parts = text.split(',');
    for (link, part) in links.iter_mut().zip(&mut parts) {
        let name = part.strip_prefix("tap:").unwrap_or(part);
        if part.is_empty() {
            continue;
        }
        if name.is_empty() || name.contains([':', '/']) {
            return Err(format!("`{part}` is no interface; write its name, or tap:NAME"));
        }
        *link = Some(match part == name {
            true => Link::Interface(name.into()),
            false => Link::Tap(name.into()),
        });
    }
    match parts.next() {
        Some(more) => Err(format!("`{more}`: a card has {PORTS} ports")),
        None => Ok(links),
    }
}

/// `--card [NAME=]LOCATION`; the name is `card0` when not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Name.
    pub name: String,
    /// Where it is.
    pub location: Location,
}

impl std::str::FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, location) = match text.split_once('=') {
            Some((name, location)) if !name.contains([':', '/']) => (name, location),
            _ => ("card0", text),
        };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return Err(format!("`{name}` is no name for a card"));
        }
        Ok(Self {
            name: name.to_owned(),
            location: location.parse()?,
        })
    }
}

/// How cards are run.
#[derive(Clone, Debug, Default)]
pub struct CardSetOptions {
    /// Cards of the command line.
    pub given: Vec<Given>,
    /// How threads sleep.
    pub sleep: Sleep,
    /// How cards are opened.
    pub open: OpenOptions,
}

/// Makes the opener of a card; tests give their own.
pub type MakeOpener = Box<dyn Fn(&str, &Location) -> Box<dyn Opener> + Send + Sync>;

struct Running {
    worker: Worker,
    location: Location,
}

/// See the module documentation. The locks are held for look-ups only, never while a card is asked.
pub struct CardSet {
    options: CardSetOptions,
    make: MakeOpener,
    running: Mutex<Vec<Running>>,
    handles: RwLock<Vec<CardHandle>>,
    events: broadcast::Sender<EventBatch>,
    report: Mutex<Vec<AppliedToCard>>,
}

impl CardSet {
    /// Starts the cards of the command line, without a configuration.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(options: CardSetOptions) -> std::io::Result<Self> {
        let open = options.open.clone();
        let make: MakeOpener = Box::new(move |name, location| opening::opener(name, location, &open));
        Self::start_with(options, make)
    }

    /// As [`CardSet::start`], with openers of one's own.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start_with(options: CardSetOptions, make: MakeOpener) -> std::io::Result<Self> {
        let (events, _) = broadcast::channel(EVENT_BATCHES);
        let set = Self {
            make,
            running: Mutex::new(Vec::new()),
            handles: RwLock::new(Vec::new()),
            events,
            report: Mutex::new(Vec::new()),
            options,
        };
        for given in set.options.given.clone() {
            let running = set.spawn(&given.name, given.location)?;
            set.running().push(running);
        }
        set.publish();
        Ok(set)
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, name: &str, location: Location) -> std::io::Result<Running> {
        let opener = (self.make)(name, &location);
        let text = location.to_string();
        let (kind, sleep, events) = (location.kind(), self.options.sleep, self.events.clone());
        let worker = Worker::start(name, kind, &text, opener, None, sleep, events)?;
        Ok(Running { worker, location })
    }

    fn publish(&self) {
        let handles = self
            .running()
            .iter()
            .map(|running| running.worker.handle().clone())
            .collect();
        *self.handles.write().unwrap_or_else(PoisonError::into_inner) = handles;
    }

    /// The cards, in the order they were added.
    pub fn handles(&self) -> Vec<CardHandle> {
        self.handles.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Events of all cards from now on.
    pub fn events(&self) -> broadcast::Receiver<EventBatch> {
        self.events.subscribe()
    }

    /// What the last configuration did on each card.
    pub fn take_report(&self) -> Vec<AppliedToCard> {
        std::mem::take(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets all cards go; they keep translating the sessions they know.
    pub fn stop(&self) {
        let all = std::mem::take(&mut *self.running());
        for mut running in all {
            running.worker.stop();
        }
        self.publish();
    }

    /// What each card holds, for the commit checks.
    pub fn limits(&self) -> Vec<(String, CardLimits)> {
        let handles = self.handles();
        let limits = handles.iter().map(|card| {
            let limits = match (card.kind, card.status().identity.hardware) {
                (CardKind::Soft, _) => CardLimits::SOFT,
                (_, Some(hardware)) => CardLimits::card(hardware.geometry),
                (_, None) => CardLimits::card(Geometry::STANDARD),
            };
            (card.name.to_string(), limits)
        });
        limits.collect()
    }

    /// Waits until every card is open or in fault.
    pub fn settle(&self, longest: Duration) {
        let until = Instant::now() + longest;
        for card in self.handles() {
            settle(&card, until);
        }
    }

    fn location(&self, card: &config::Card) -> Option<Location> {
        let given = self.options.given.iter().find(|given| given.name == card.name);
        let from_device = |device: &Device| match device {
            Device::Vfio(address) => Some(Location::Driver(CardSpec::Vfio(address.parse().ok()?))),
            Device::VfioUser(path) => Some(Location::Driver(CardSpec::VfioUser(path.clone()))),
            Device::Sim => Some(Location::Sim(None)),
            Device::Soft => Some(Location::Soft {
                links: card.links.clone(),
                workers: card.workers,
            }),
        };
        // The command line wins: it is what an operator says who wants this card now.
        match given.map(|given| &given.location) {
            // Ports it does not name are the configuration's.
            Some(Location::Soft { links, .. }) => {
                let mut links = links.clone();
                for (link, own) in links.iter_mut().zip(&card.links) {
                    *link = link.take().or_else(|| own.clone());
                }
                Some(Location::Soft {
                    links,
                    workers: card.workers,
                })
            }
            Some(location) => Some(location.clone()),
            None => from_device(card.device.as_ref()?),
        }
    }
}

fn settle(card: &CardHandle, until: Instant) {
    loop {
        let status = card.status();
        let tried = status.opened > 0 || status.fault.as_deref() != Some(super::worker::NOT_OPENED);
        if tried || Instant::now() >= until {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// One card with a configuration that it is to have.
struct PreparedCard {
    name: String,
    config: Arc<CardConfig>,
    /// A card that the configuration adds.
    added: Option<Running>,
    /// In fault: the configuration is kept for later.
    fault: Option<String>,
}

/// A card that was stopped for another one of its name.
struct Replaced {
    location: Location,
    /// What was in force there.
    config: Option<Arc<CardConfig>>,
}

/// What [`CardSet`] hands from prepare to apply.
pub struct Prepared {
    cards: Vec<PreparedCard>,
}

/// Everything is told to whoever listens: whether a service set's messages go anywhere is decided there.
fn card_config(card: &config::Card) -> Arc<CardConfig> {
    let mut config = card.gateway.clone();
    for set in &mut config.xlate.service_sets {
        set.log_sessions = true;
    }
    Arc::new(CardConfig {
        gateway: Arc::new(config),
        advertisements: card
            .units
            .iter()
            .map(|unit| unit.router_advertisement.clone())
            .collect(),
    })
}

/// The configuration engine's way to the cards. Calls block; they come from threads that may.
pub struct Applier<'a>(pub &'a CardSet);

impl Applier<'_> {
    fn prepare_card(&self, card: &config::Card) -> Result<PreparedCard, Refusal> {
        let set = self.0;
        let refuse = |reason: String| Refusal {
            card: card.name.clone(),
            reason,
        };
        let Some(location) = set.location(card) else {
            return Err(refuse(format!(
                "nobody says where it is: `set nat64-nic card {} device ...`, or `nat64d --card {}=...`",
                card.name, card.name
            )));
        };
        let config = card_config(card);
        let handle = {
            let running = set.running();
            let same = running
                .iter()
                .find(|running| *running.worker.handle().name == *card.name && running.location == location);
            same.map(|running| running.worker.handle().clone())
        };
        let (handle, added) = match handle {
            Some(handle) => (handle, None),
            None => {
                let running = set
                    .spawn(&card.name, location)
                    .map_err(|error| refuse(error.to_string()))?;
                (running.worker.handle().clone(), Some(running))
            }
        };
        settle(&handle, Instant::now() + START);
        let mut prepared = PreparedCard {
            name: card.name.clone(),
            config: config.clone(),
            added,
            fault: None,
        };
        let asked = handle.ask_blocking({
            let config = config.clone();
            move |dataplane| dataplane.prepare(config)
        });
        match asked {
            Ok(()) => Ok(prepared),
            Err(DataplaneError::Fault(fault)) => {
                let hardware = handle.kind != CardKind::Soft;
                Gateway::check(&config.gateway, hardware).map_err(|error| refuse(super::gateway::chain(&error)))?;
                prepared.fault = Some(fault);
                Ok(prepared)
            }
            Err(error) => Err(refuse(error.to_string())),
        }
    }

    fn drop_prepared(&self, cards: Vec<PreparedCard>) {
        for mut card in cards {
            match &mut card.added {
                Some(added) => added.worker.stop(),
                None => {
                    if let Some(handle) = self.handle(&card.name) {
                        // A card in fault has nothing prepared.
                        let _ = handle.ask_blocking(|dataplane| {
                            dataplane.abort();
                            Ok(())
                        });
                    }
                }
            }
        }
    }

    fn handle(&self, name: &str) -> Option<CardHandle> {
        self.0.handles().into_iter().find(|card| *card.name == *name)
    }

    /// Stops a card that another one of its name takes the place of: both may be on the same interfaces, or devices.
    fn take_out(&self, name: &str) -> Option<Replaced> {
        let mut old = {
            let mut running = self.0.running();
            let place = running.iter().position(|other| *other.worker.handle().name == *name)?;
            running.remove(place)
        };
        let config = old.worker.handle().ask_blocking(|dataplane| Ok(dataplane.in_force()));
        old.worker.stop();
        Some(Replaced {
            location: old.location,
            config: config.ok().flatten(),
        })
    }

    /// Starts a card again that was taken out.
    fn put_back(&self, name: &str, replaced: Replaced) -> std::io::Result<()> {
        let running = self.0.spawn(name, replaced.location)?;
        if let Some(config) = replaced.config {
            // Its thread was just started.
            let _ = running.worker.handle().keep_blocking(config);
        }
        self.0.running().push(running);
        self.0.publish();
        Ok(())
    }

    /// Puts a configuration back that was in force before.
    fn back(&self, name: &str, config: Option<Arc<CardConfig>>) -> Result<(), DataplaneError> {
        let (Some(handle), Some(config)) = (self.handle(name), config) else {
            return Ok(());
        };
        handle.ask_blocking(move |dataplane| {
            dataplane.prepare(config)?;
            dataplane.apply().map(drop)
        })
    }
}

impl Apply for Applier<'_> {
    type Prepared = Prepared;

    fn prepare(&mut self, model: &Arc<Model>) -> Result<Prepared, Refusal> {
        let mut cards = Vec::new();
        for card in &model.cards {
            match self.prepare_card(card) {
                Ok(prepared) => cards.push(prepared),
                Err(refusal) => {
                    self.drop_prepared(cards);
                    return Err(refusal);
                }
            }
        }
        Ok(Prepared { cards })
    }

    fn apply(&mut self, prepared: Prepared) -> Result<ApplyReport, ApplyError> {
        let mut report = ApplyReport::default();
        let mut done: Vec<(String, Option<Arc<CardConfig>>)> = Vec::new();
        let mut by_card = Vec::new();
        let mut rest = prepared.cards.into_iter();
        let kept: Vec<String> = rest.as_slice().iter().map(|card| card.name.clone()).collect();
        while let Some(card) = rest.next() {
            let handle = match &card.added {
                Some(added) => Some(added.worker.handle().clone()),
                None => self.handle(&card.name),
            };
            let Some(handle) = handle else { continue };
            let replaced = card.added.as_ref().and_then(|_| self.take_out(&card.name));
            let before = handle.ask_blocking(|dataplane| Ok(dataplane.in_force())).ok().flatten();
            let applied = match &card.fault {
                None => handle.ask_blocking(|dataplane| dataplane.apply()),
                Some(fault) => {
                    report.notes.push(format!(
                        "card {} is not usable now ({fault}); it gets the configuration when it is",
                        card.name
                    ));
                    handle.keep_blocking(card.config.clone()).map(|()| Default::default())
                }
            };
            match applied {
                Ok(applied) => {
                    report.sessions_kept += applied.sessions_kept as u64;
                    report.sessions_removed += applied.sessions_removed as u64;
                    by_card.push(AppliedToCard {
                        card: card.name.clone(),
                        sessions_kept: applied.sessions_kept as u64,
                        sessions_removed: applied.sessions_removed as u64,
                        mappings_removed: applied.bibs_removed as u64,
                    });
                    if let Some(added) = card.added {
                        self.0.running().push(added);
                        self.0.publish();
                        if let Some(Replaced {
                            location,
                            config: Some(_),
                        }) = replaced
                        {
                            report.notes.push(format!(
                                "card {} is opened anew, its sessions are gone: it was {location}",
                                card.name
                            ));
                        }
                    } else {
                        done.push((card.name, before));
                    }
                }
                Err(error) => {
                    let mut card_lost = matches!(error, DataplaneError::Fault(_));
                    let mut reason = error.to_string();
                    for (name, config) in done {
                        if let Err(error) = self.back(&name, config) {
                            card_lost = true;
                            reason.push_str(&format!("; card {name} did not go back: {error}"));
                        }
                    }
                    let failed = card.name.clone();
                    if card.added.is_some() {
                        self.drop_prepared(vec![card]);
                    }
                    if let Some(replaced) = replaced {
                        card_lost |= replaced.config.is_some();
                        if let Err(error) = self.put_back(&failed, replaced) {
                            reason.push_str(&format!("; card {failed} did not come back: {error}"));
                        }
                    }
                    self.drop_prepared(rest.collect());
                    return Err(ApplyError {
                        card: failed,
                        reason,
                        card_lost,
                    });
                }
            }
        }
        self.let_go(&kept, &mut report);
        *self.0.report.lock().unwrap_or_else(PoisonError::into_inner) = by_card;
        Ok(report)
    }

    fn abort(&mut self, prepared: Prepared) {
        self.drop_prepared(prepared.cards);
    }
}

impl Applier<'_> {
    /// Lets the cards go that the configuration does not name. One of the command line is taken again without a
    /// configuration: it translates nothing, and waits.
    fn let_go(&self, kept: &[String], report: &mut ApplyReport) {
        let set = self.0;
        let gone: Vec<Running> = {
            let mut running = set.running();
            let all = std::mem::take(&mut *running);
            let (stay, gone) = all.into_iter().partition(|running| {
                let handle = running.worker.handle();
                kept.iter().any(|name| **name == *handle.name) || handle.status().state == CardState::Idle
            });
            *running = stay;
            gone
        };
        for mut running in gone {
            let name = running.worker.handle().name.clone();
            running.worker.stop();
            if let Location::Driver(CardSpec::Vfio(address)) = &running.location {
                // Nobody here will take it up: it goes back to the state it has after a reset.
                set.options.open.descriptors.forget(*address);
            }
            report.notes.push(format!("card {name} is let go"));
            if set.options.given.iter().any(|given| *given.name == *name) {
                match set.spawn(&name, running.location.clone()) {
                    Ok(again) => set.running().push(again),
                    Err(error) => report.notes.push(format!("card {name}: {error}")),
                }
            }
        }
        set.publish();
    }
}

/// Where the files of a card are, below the daemon's folder.
pub fn state_file(folder: &Path, card: &str) -> PathBuf {
    folder.join(format!("memory-{card}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_read_and_shown_alike() {
        for text in [
            "soft",
            "soft:eth1",
            "soft:eth1,eth2",
            "soft:,eth2",
            "soft:tap:a,tap:b",
            "sim",
            "sim:rtl-compiled",
            "vfio:0000:03:00.0",
            "vfio-user:/run/card.sock",
        ] {
            let location: Location = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(location.to_string(), text);
        }
        let soft: Location = "soft:eth1,tap:b".parse().expect("two ports");
        let links = [Some(Link::Interface("eth1".into())), Some(Link::Tap("b".into()))];
        assert_eq!(soft, Location::Soft { links, workers: None });
        for text in [
            "soft:a,b,c",
            "soft:tap:,b",
            "soft:a/b",
            "soft:bond:a",
            "hard",
            "sim:../x",
        ] {
            assert!(text.parse::<Location>().is_err(), "{text}");
        }
    }
}
