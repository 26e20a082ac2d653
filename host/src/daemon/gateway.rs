//! The [`Dataplane`] of one [`Gateway`]: behind a card, or on frames that somebody hands in ([`Frames`]).
//!
//! The card's clock is read every `RESYNC`; between, this machine's clock tells how far it is. Time never goes back:
//! where the card's is behind what was guessed, it stands until the card is there.
//!
//! A card that fails ([`Gateway::check_card`] every `CHECK`, or whatever is done with it) is let go; the gateway holds its
//! sessions, does the rest of what it was about, and gives them to the card when it can be opened again ([`Reopener`]).

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nat64_driver::gateway::CardShare as DriverShare;
use nat64_driver::{Adopted, Card, Gateway, GatewayConfig, GatewayError, Phy, Reopened, Reopener};
use nat64_layout::{Protocol, Reason, ABI_HASH, PORTS};
use nat64_xlate::{Event, ReconfigureReport, SessionId, SessionInfo, Time};

use super::dataplane::{
    Block, Bounds, CardConfig, CardShare, Counters, Cursor, Dataplane, DataplaneError, Deterministic, HardwareIdentity,
    Identity, MappingRow, NeighbourRow, Probe, SessionRow, Slice, Walk, Work,
};
use super::filter::{MappingMatch, SessionMatch};
use super::state::MemoryFile;
use super::{answers, walk};
use crate::config::RouterAdvertisement;
use crate::soft::ra::Advertiser;

/// Time between two looks at the card's clock.
const RESYNC: Duration = Duration::from_millis(50);
/// Time between two looks at whether hosts are to be told of their router.
const ADVERTISE: Duration = Duration::from_millis(100);
/// Time between two looks at whether the card is what it should be.
const CHECK: Duration = Duration::from_secs(1);
/// Frames taken from a [`Frames`] in one round.
const ROUND: usize = 256;

/// Where a gateway without a card has its frames from; for tests and replays.
pub trait Frames: Send {
    /// The next frame that arrived: port and bytes.
    fn receive(&mut self) -> Option<(usize, Vec<u8>)>;
    /// Sends a frame.
    fn send(&mut self, port: usize, frame: Vec<u8>);
    /// Waits for a frame, at most so long.
    fn wait(&mut self, timeout: Duration);
}

enum Carrier {
    Card,
    Frames(Box<dyn Frames>),
}

/// See the module documentation.
pub struct GatewayDataplane {
    carrier: Carrier,
    /// The card, until there is a gateway.
    card: Option<Card>,
    gateway: Option<Gateway>,
    config: Option<Arc<CardConfig>>,
    prepared: Option<Arc<CardConfig>>,
    hardware: Option<HardwareIdentity>,
    seed: u64,
    clock: Clock,
    not_kept: u64,
    page: Vec<SessionInfo>,
    /// Where what a restart needs is kept.
    memory: Option<MemoryFile>,
    /// A card that runs and may be taken over with its sessions, until the first configuration.
    takeover: Option<Takeover>,
    adopted: bool,
    reopener: Option<Reopener>,
    advertiser: Advertiser,
    next_advertisement: Instant,
    /// The card failed and is not back yet: what is said of it.
    lost: Option<Lost>,
    next_check: Instant,
}

/// A card that is away.
struct Lost {
    error: String,
    held: usize,
    /// What is shown.
    says: Arc<str>,
}

impl Lost {
    fn new(error: String, held: usize) -> Self {
        let says = format!("{error}; {held} sessions are held for it").into();
        Self { error, held, says }
    }

    fn tried(&mut self, attempts: u32, why: &str) {
        let Self { error, held, .. } = self;
        self.says = format!("{error}; {held} sessions are held for it; opened {attempts} times in vain: {why}").into();
    }
}

struct Clock {
    at: Instant,
    base: Time,
    last: Time,
}

impl Clock {
    fn new(base: Time) -> Self {
        Self {
            at: Instant::now(),
            base,
            last: base,
        }
    }

    fn now(&mut self) -> Time {
        let guess = self.base + self.at.elapsed().as_nanos() as u64;
        self.last = self.last.max(guess);
        self.last
    }

    fn old(&self) -> bool {
        self.at.elapsed() > RESYNC
    }

    fn set(&mut self, base: Time) {
        self.at = Instant::now();
        self.base = base;
    }
}

impl From<GatewayError> for DataplaneError {
    fn from(error: GatewayError) -> Self {
        let text = chain(&error);
        match error {
            GatewayError::Device(_) => Self::Fault(text),
            _ => Self::Refused(text),
        }
    }
}

/// An error with its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// A card that another daemon left running: how it is taken over, and how it is opened when it cannot be.
pub trait TakeOver: Send {
    /// Takes it over; the inner error says why that cannot be and it has to be opened anew.
    ///
    /// # Errors
    /// It cannot be used at all.
    fn adopt(&self, config: &GatewayConfig) -> Result<Result<Adopted, String>, DataplaneError>;

    /// Opens it: reset, tables empty.
    ///
    /// # Errors
    /// It cannot be used at all.
    fn open(&self) -> Result<Card, DataplaneError>;
}

/// See [`TakeOver`].
pub type Takeover = Box<dyn TakeOver>;

fn hardware_of(card: &Card) -> HardwareIdentity {
    HardwareIdentity {
        identity: nat64_layout::regs::MAGIC,
        abi_hash: ABI_HASH,
        geometry: card.geometry(),
        datapath: card.datapath(),
        bitstream: None,
        temperature: None,
    }
}

impl GatewayDataplane {
    /// Behind a card that was just opened. `seed` decides the translator's random choices.
    ///
    /// # Errors
    /// The card fails already.
    pub fn new(mut card: Card, seed: u64) -> Result<Self, DataplaneError> {
        let base = card.time().map_err(|error| DataplaneError::Fault(chain(&error)))?;
        let hardware = Some(hardware_of(&card));
        Ok(Self {
            card: Some(card),
            hardware,
            ..Self::empty(Carrier::Card, base, seed)
        })
    }

    /// Keeps in `memory` what a restart needs.
    pub fn keep(&mut self, memory: MemoryFile) {
        self.memory = Some(memory);
    }

    /// Opens the card with `open` when it failed, with all sessions held meanwhile; without, it is a fault of the whole.
    pub fn reopen_with(&mut self, open: impl FnMut() -> Result<Card, String> + Send + 'static) {
        self.reopener = Some(Reopener::new(open));
    }

    /// A card that runs, to be taken over with its sessions when the configuration is known: only then can be told whether
    /// it is the one it was left with. Until then nothing is done to it.
    pub fn running(takeover: Takeover, seed: u64) -> Self {
        Self {
            takeover: Some(takeover),
            ..Self::empty(Carrier::Card, 0, seed)
        }
    }

    /// The first gateway: on a card that was opened, or on one that is taken over with its sessions.
    fn first(&mut self, config: &GatewayConfig) -> Result<Gateway, DataplaneError> {
        let Some(takeover) = self.takeover.take() else {
            return Ok(Gateway::new(config.clone(), self.card.take(), self.seed)?);
        };
        match takeover.adopt(config)? {
            Ok(mut adopted) => {
                let base = adopted
                    .card
                    .time()
                    .map_err(|error| DataplaneError::Fault(chain(&error)))?;
                self.clock = Clock::new(base);
                self.hardware = Some(hardware_of(&adopted.card));
                let (gateway, report) = Gateway::adopt(config.clone(), adopted, self.seed, base)?;
                for (why, count) in &report.refused {
                    tracing::warn!(count, why, "sessions of the card are not taken on");
                }
                tracing::info!(
                    adopted = report.adopted,
                    moved = report.moved,
                    refused = report.refused.iter().map(|(_, count)| count).sum::<u32>(),
                    repairs = ?report.repairs,
                    "the card is taken over with its sessions"
                );
                self.adopted = true;
                Ok(gateway)
            }
            Err(why) => {
                tracing::warn!(
                    why,
                    "the card cannot be taken over with its sessions, it is opened anew"
                );
                let mut card = takeover.open()?;
                let base = card.time().map_err(|error| DataplaneError::Fault(chain(&error)))?;
                self.clock = Clock::new(base);
                self.hardware = Some(hardware_of(&card));
                Ok(Gateway::new(config.clone(), Some(card), self.seed)?)
            }
        }
    }

    fn keep_memory(&mut self) {
        let card = self.gateway.as_ref().and_then(Gateway::card);
        if let (Some(memory), Some(card)) = (&mut self.memory, card) {
            memory.keep(card.memory_version(), || card.memory());
        }
    }

    /// On frames that somebody hands in.
    pub fn on_frames(frames: Box<dyn Frames>, seed: u64) -> Self {
        Self::empty(Carrier::Frames(frames), 0, seed)
    }

    fn empty(carrier: Carrier, base: Time, seed: u64) -> Self {
        Self {
            carrier,
            card: None,
            gateway: None,
            config: None,
            prepared: None,
            hardware: None,
            seed,
            clock: Clock::new(base),
            not_kept: 0,
            page: Vec::new(),
            memory: None,
            takeover: None,
            adopted: false,
            reopener: None,
            advertiser: Advertiser::new(seed),
            next_advertisement: Instant::now(),
            lost: None,
            next_check: Instant::now(),
        }
    }

    fn gateway(&mut self) -> Result<&mut Gateway, DataplaneError> {
        let none = || DataplaneError::Refused("the card has no configuration yet".into());
        self.gateway.as_mut().ok_or_else(none)
    }

    /// Has the gateway do something; when the card fails in it, the gateway lets go of it and does it once more.
    fn drive<T>(&mut self, act: impl Fn(&mut Gateway, Time) -> Result<T, GatewayError>) -> Result<T, DataplaneError> {
        let now = self.now()?;
        match act(self.gateway()?, now) {
            Err(error) if error.is_device() && self.reopener.is_some() => {
                self.lose(&error);
                Ok(act(self.gateway()?, now)?)
            }
            done => Ok(done?),
        }
    }

    /// Lets go of a card that failed.
    fn lose(&mut self, error: &GatewayError) {
        let now = self.clock.now();
        let Some(gateway) = &mut self.gateway else { return };
        let (card, moved) = gateway.detach_card(now);
        drop(card);
        let (error, held) = (chain(error), moved.installed);
        tracing::error!(
            error,
            held,
            "the card failed; its sessions are held and it is opened again"
        );
        self.lost = Some(Lost::new(error, held));
    }

    /// Tries to open a card that was lost, when it is time.
    fn reopen(&mut self, now: Time) {
        let (Some(lost), Some(reopener), Some(gateway)) = (&mut self.lost, &mut self.reopener, &mut self.gateway)
        else {
            return;
        };
        match reopener.poll(now, gateway) {
            Reopened::Nothing(_) => {}
            Reopened::Failed { attempts, error } => {
                tracing::warn!(attempts, error, "the card cannot be opened");
                lost.tried(attempts, &error);
            }
            Reopened::Back(moved) => {
                tracing::info!(
                    installed = moved.installed,
                    waiting = moved.waiting,
                    "the card is back with its sessions"
                );
                self.lost = None;
                self.adopted = false;
                self.hardware = gateway.card().map(hardware_of);
                if let Some(memory) = &mut self.memory {
                    memory.renew();
                }
            }
        }
    }

    fn card_mut(&mut self) -> Option<&mut Card> {
        match &mut self.gateway {
            Some(gateway) => gateway.card_mut(),
            None => self.card.as_mut(),
        }
    }

    fn empty_slice<T>(&mut self) -> Slice<T> {
        Slice {
            rows: Vec::new(),
            next: None,
            config: self.config().unwrap_or_else(|| Arc::new(answers::no_config())),
            now: self.clock.now(),
        }
    }

    /// Takes what the card punted, or what arrived without one.
    fn take_frames(&mut self, now: Time) -> Result<usize, DataplaneError> {
        let Carrier::Frames(frames) = &mut self.carrier else {
            return self.drive(|gateway, now| gateway.poll(now));
        };
        let Some(gateway) = &mut self.gateway else { return Ok(0) };
        let mut count = 0;
        while count < ROUND {
            let Some((port, frame)) = frames.receive() else { break };
            gateway.frame(now, port, &frame)?;
            count += 1;
        }
        Ok(count)
    }

    /// Tells hosts of their router when it is time, or with `told` what they are told from now on.
    fn advertise(&mut self, now: Time, told: Option<Vec<Option<RouterAdvertisement>>>) -> Result<(), DataplaneError> {
        let Some(gateway) = &mut self.gateway else {
            return Ok(());
        };
        for (unit, packet) in gateway.take_solicitations() {
            if !self.advertiser.solicit(now, unit, &packet) {
                gateway.count_refused(Reason::BadNeighbourMessage);
            }
        }
        let units = gateway.neighbours().units();
        let mtu = |unit: usize| gateway.config().xlate.units.get(unit).map_or(1500, |unit| unit.mtu);
        let frames = match told {
            Some(told) => {
                let heard = told.iter().map(Option::is_some).collect();
                let frames = self.advertiser.configure(now, told, units, mtu);
                gateway.hear_solicitations(heard);
                frames
            }
            None => self.advertiser.advance(now, units, mtu),
        };
        if !frames.is_empty() {
            self.drive(|gateway, _| {
                let mut frames = frames.iter().cloned();
                frames.try_for_each(|(port, frame)| gateway.send_frame(port, frame))
            })?;
            self.send_output();
        }
        Ok(())
    }

    /// Sends what a gateway without a card made.
    fn send_output(&mut self) {
        if let (Carrier::Frames(frames), Some(gateway)) = (&mut self.carrier, &mut self.gateway) {
            for (port, frame) in gateway.take_output() {
                frames.send(port, frame);
            }
        }
    }

    /// A page of sessions: those that match, and where it goes on.
    fn session_rows(&mut self, from: Cursor, filter: &SessionMatch, bounds: Bounds) -> Slice<SessionRow> {
        let mut slice = self.empty_slice();
        let (Some(gateway), Ok(start)) = (&self.gateway, u32::try_from(from)) else {
            return slice;
        };
        let (nat, bound) = (gateway.translator(), filter.bind(gateway.config()));
        let in_card = |id| gateway.is_installed(id);
        let (rows, next) = answers::sessions(nat, 0, start, &bound, bounds, in_card, &mut self.page);
        (slice.rows, slice.next) = (rows, next.map(Cursor::from));
        slice
    }

    fn mapping_rows(&mut self, from: Cursor, filter: &MappingMatch, bounds: Bounds) -> Slice<MappingRow> {
        let mut slice = self.empty_slice();
        let (Some(gateway), Ok(start)) = (&self.gateway, u32::try_from(from)) else {
            return slice;
        };
        let bound = filter.bind(gateway.config());
        let (rows, next) = answers::mappings(gateway.translator(), 0, start, &bound, bounds);
        (slice.rows, slice.next) = (rows, next.map(Cursor::from));
        slice
    }
}

impl Dataplane for GatewayDataplane {
    fn identity(&mut self) -> Result<Identity, DataplaneError> {
        Ok(Identity {
            hardware: self.hardware.clone(),
            adopted: self.adopted,
            ..Identity::default()
        })
    }

    fn now(&mut self) -> Result<Time, DataplaneError> {
        if self.clock.old() {
            let base = match (&mut self.gateway, &mut self.card) {
                (Some(gateway), _) => gateway.card_time(),
                (None, Some(card)) => card.time().map(Some).map_err(Into::into),
                (None, None) => Ok(None),
            };
            match base {
                Ok(Some(base)) => self.clock.set(base),
                Ok(None) => {}
                Err(error) if self.gateway.is_some() && self.reopener.is_some() => self.lose(&error),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.clock.now())
    }

    fn work(&mut self) -> Result<Work, DataplaneError> {
        let now = self.now()?;
        if self.gateway.is_none() {
            return Ok(Work::Idle);
        }
        self.reopen(now);
        let mut count = self.take_frames(now)?;
        if self.gateway()?.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.drive(|gateway, now| gateway.advance(now))?;
            count += 1;
        }
        let instant = Instant::now();
        if instant >= self.next_advertisement {
            self.next_advertisement = instant + ADVERTISE;
            self.advertise(now, None)?;
        }
        if instant >= self.next_check {
            self.next_check = instant + CHECK;
            self.drive(|gateway, _| gateway.check_card())?;
        }
        self.send_output();
        self.keep_memory();
        Ok(if count > 0 { Work::Busy } else { Work::Idle })
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), DataplaneError> {
        let now = self.clock.now();
        let due = self.gateway.as_ref().and_then(Gateway::next_deadline);
        let until_due = due.map_or(timeout, |due| Duration::from_nanos(due.saturating_sub(now)));
        let timeout = timeout.min(until_due);
        match (&mut self.carrier, self.gateway.as_mut().and_then(Gateway::card_mut)) {
            (Carrier::Frames(frames), _) => frames.wait(timeout),
            (Carrier::Card, Some(card)) => {
                let waited = card.wait(timeout);
                match waited.map_err(GatewayError::from) {
                    Err(error) if self.reopener.is_some() => self.lose(&error),
                    Err(error) => return Err(error.into()),
                    Ok(_) => {}
                }
            }
            // A card without a configuration takes no frames, and one that is away neither.
            (Carrier::Card, None) => std::thread::sleep(timeout),
        }
        Ok(())
    }

    fn prepare(&mut self, config: Arc<CardConfig>) -> Result<(), DataplaneError> {
        self.prepared = None;
        Gateway::check(&config.gateway, matches!(self.carrier, Carrier::Card))?;
        self.prepared = Some(config);
        Ok(())
    }

    fn apply(&mut self) -> Result<ReconfigureReport, DataplaneError> {
        let Some(config) = self.prepared.take() else {
            return Err(DataplaneError::Refused("no configuration is prepared".into()));
        };
        let report = match &mut self.gateway {
            Some(_) => self.drive(|gateway, now| gateway.reconfigure(now, (*config.gateway).clone()))?,
            None => {
                self.now()?;
                // Checked in `prepare`: what can fail now is the card, and then it has to be opened anew.
                let gateway = self.first(&config.gateway);
                self.gateway = Some(gateway.map_err(|error| DataplaneError::Fault(error.to_string()))?);
                ReconfigureReport::default()
            }
        };
        let told = config.advertisements.clone();
        self.config = Some(config);
        self.keep_memory();
        self.send_output();
        let now = self.now()?;
        self.advertise(now, Some(told))?;
        Ok(report)
    }

    fn abort(&mut self) {
        self.prepared = None;
    }

    fn in_force(&self) -> Option<Arc<CardConfig>> {
        self.config.clone()
    }

    fn sessions(
        &mut self,
        from: Cursor,
        filter: &SessionMatch,
        bounds: Bounds,
    ) -> Result<Slice<SessionRow>, DataplaneError> {
        let mut slice = self.session_rows(from, filter, bounds);
        if filter.extensive {
            let ids: Vec<SessionId> = slice
                .rows
                .iter()
                .filter(|row| row.in_card)
                .map(|row| row.info.flow.id)
                .collect();
            let mut shares = self.drive(|gateway, now| gateway.shares(now, &ids))?;
            shares.sort_unstable_by_key(|(id, _)| *id);
            for row in &mut slice.rows {
                let found = shares.binary_search_by_key(&row.info.flow.id, |(id, _)| *id);
                row.card = found.ok().map(|at| {
                    let DriverShare { packets, bytes, last } = shares[at].1;
                    CardShare { packets, bytes, last }
                });
            }
        }
        Ok(slice)
    }

    fn clear_sessions(
        &mut self,
        from: Cursor,
        filter: &SessionMatch,
        bounds: Bounds,
    ) -> Result<Slice<SessionRow>, DataplaneError> {
        let slice = self.session_rows(from, filter, bounds);
        let ids = answers::session_ids(&slice.rows);
        if !ids.is_empty() {
            self.drive(|gateway, now| gateway.close_sessions(now, &ids))?;
            self.send_output();
        }
        Ok(slice)
    }

    fn mappings(
        &mut self,
        from: Cursor,
        filter: &MappingMatch,
        bounds: Bounds,
    ) -> Result<Slice<MappingRow>, DataplaneError> {
        Ok(self.mapping_rows(from, filter, bounds))
    }

    fn clear_mappings(
        &mut self,
        from: Cursor,
        filter: &MappingMatch,
        bounds: Bounds,
    ) -> Result<Slice<MappingRow>, DataplaneError> {
        let slice = self.mapping_rows(from, filter, bounds);
        let keys = answers::binding_keys(&slice.rows);
        if !keys.is_empty() {
            self.drive(|gateway, now| gateway.close_bindings(now, &keys))?;
            self.send_output();
        }
        Ok(slice)
    }

    fn neighbours(&mut self, from: Cursor, bounds: Bounds) -> Result<Slice<NeighbourRow>, DataplaneError> {
        let mut slice = self.empty_slice();
        let Some(gateway) = &self.gateway else { return Ok(slice) };
        (slice.rows, slice.next) = answers::neighbours(gateway.neighbours(), from, bounds);
        Ok(slice)
    }

    fn counters(&mut self) -> Result<Counters, DataplaneError> {
        let card = self.drive(|gateway, _| gateway.card_counters())?;
        let now = self.now()?;
        let gateway = self.gateway()?;
        let nat = gateway.translator();
        Ok(Counters {
            host: gateway.stats(),
            sessions: nat.session_count() as u64,
            mappings: [Protocol::Tcp, Protocol::Udp, Protocol::Icmp].map(|p| nat.bib_count_of(p) as u64),
            stored_syns: nat.stored_syns() as u64,
            fragmented: nat.fragmented_packets() as u64,
            translator: nat.stats(),
            card,
            bytes: None,
            now,
        })
    }

    fn phys(&mut self) -> Result<[Option<Phy>; PORTS], DataplaneError> {
        let mut phys = [None; PORTS];
        if let Some(card) = self.card_mut() {
            for (port, phy) in phys.iter_mut().enumerate() {
                *phy = card.phy(port).map_err(|error| DataplaneError::Fault(chain(&error)))?;
            }
        }
        Ok(phys)
    }

    fn registers(&mut self) -> Result<Vec<(u32, u32)>, DataplaneError> {
        let Some(card) = self.card_mut() else {
            return Err(DataplaneError::Unsupported("the software card has no registers"));
        };
        card.registers().map_err(|error| DataplaneError::Fault(chain(&error)))
    }

    fn drain(&mut self, pool: &str, address: Ipv4Addr, on: bool) -> Result<(), DataplaneError> {
        let gateway = self.gateway()?;
        answers::has_address(gateway.config(), pool, address)?;
        answers::drained(if on {
            gateway.drain(address)
        } else {
            gateway.undrain(address)
        })
    }

    fn drains(&mut self) -> Result<Vec<(String, Ipv4Addr, u32)>, DataplaneError> {
        let Some(gateway) = &self.gateway else {
            return Ok(Vec::new());
        };
        Ok(answers::drains(gateway.config(), &gateway.translator().draining()))
    }

    fn explain(&mut self, probe: &Probe) -> Result<Walk, DataplaneError> {
        let now = self.now()?;
        let gateway = self.gateway()?;
        let unit = walk::unit_of(gateway.config(), probe)?;
        let told = gateway.translator().explain(now, unit, &probe.packet);
        let carried = told.session.map(|info| gateway.is_installed(info.flow.id));
        let card = gateway.card().map(|_| carried.unwrap_or(false));
        Ok(walk::of(gateway.config(), gateway.neighbours(), card, &told))
    }

    fn deterministic(&mut self, of: Deterministic) -> Result<Vec<Block>, DataplaneError> {
        let Some(gateway) = &self.gateway else {
            return Ok(Vec::new());
        };
        Ok(answers::blocks(gateway.translator(), of))
    }

    fn trouble(&self) -> Option<Arc<str>> {
        self.lost.as_ref().map(|lost| lost.says.clone())
    }

    fn take_events(&mut self, into: &mut Vec<Event>) -> u64 {
        let Some(gateway) = &mut self.gateway else { return 0 };
        into.append(&mut gateway.take_events());
        let not_kept = gateway.not_kept();
        let lost = not_kept - self.not_kept;
        self.not_kept = not_kept;
        lost
    }

    fn shut_down(&mut self) -> Result<(), DataplaneError> {
        // The card goes on with what it knows; frames in the inject ring are its already.
        self.send_output();
        self.keep_memory();
        Ok(())
    }
}
